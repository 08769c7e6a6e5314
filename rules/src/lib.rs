//! The rules.

pub mod client;
