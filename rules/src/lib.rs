//! The stages of a publish, as rules over the engine, and what they know of plugins: the
//! configuration, the file set, the archive, and the trait of the outside.

pub mod action;
pub mod archive;
pub mod bump;
pub mod check;
pub mod checksum;
pub mod client;
pub mod config;
pub mod counters;
pub mod create;
pub mod digests;
pub mod environment;
pub mod fileset;
pub mod http;
pub mod inspect;
pub mod library;
pub mod platform;
pub mod plugin;
pub mod publish;
pub mod python;
pub mod resolve;
pub mod secrets;
pub mod storage;
pub mod sync;
pub mod target;
pub mod upload;
pub mod version;
pub mod watch;
pub mod wheel;
pub mod worker;
pub mod workspace;
