//! Owns object stores: where archives and wheels go besides platforms. A place is named by a URL,
//! reached through one library for all kinds, and asked before and after anything is sent.

mod connect;
mod errors;
mod node;
mod object;
mod place;
mod stages;

pub use self::{
    connect::{Storage, connect},
    node::{Kind, RULE, StoreNode, archive_name},
    place::{Place, Scheme},
    stages::{Prepared, Stages, Storing},
};
