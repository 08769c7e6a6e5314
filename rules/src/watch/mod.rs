//! Owns what a watch looks at and when: the folders that count, the burst of events that one save
//! makes, and what is different once it is over. A watch only tells when to look; what is
//! published is read and hashed as always.

mod burst;
mod ground;
mod members;
mod seen;
mod survey;
mod touch;

pub use self::{
    burst::Burst,
    ground::{Change, Ground, News, Setting},
    members::Scope,
    touch::Touch,
};
