//! The stages of a publish, as rules over the engine, and what they know of plugins: the
//! configuration, the file set, the archive, and the trait of the outside.

pub mod client;
pub mod fileset;
