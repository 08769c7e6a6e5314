//! The rules.

pub mod client;
pub mod version;
