//! The rules.

pub mod client;
pub mod config;
pub mod version;
pub mod workspace;
