//! The incremental engine.

pub mod digest;

pub use digest::Digest;
