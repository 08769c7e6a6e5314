//! Owns the watch over folders: who tells of changes, and the thread that finds out what they are.

mod eyes;
mod keys;
mod lookout;

pub use self::{
    eyes::Polls,
    keys::{Key, listen},
    lookout::{Facts, Lookout, Told},
};
