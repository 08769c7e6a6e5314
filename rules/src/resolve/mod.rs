//! Owns the resolve stage: what a plugin requires, read from its files, becomes a lock of exact
//! versions and hashes.

pub mod credentials;
mod line;
mod options;
mod pyproject;
pub mod requirements;
