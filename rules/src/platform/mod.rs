//! Owns what we know of a Synapse platform: its address and who asks.

pub mod auth;
pub mod host;

pub use self::{
    auth::{Auth, BadToken, Secret},
    host::{BadHost, Host},
};
