//! Owns the sync of a configuration with the code: what config.yaml must say of its actions, and
//! the edit that makes it say so without touching another byte.

mod edit;
mod emit;
mod forms;
mod place;
mod rule;
mod rules;

use serde::{Deserialize, Serialize};

pub use edit::{Refused, edit};
pub(crate) use emit::text as yaml_text;
pub use rule::{RULE, Stages, SyncNode, Synced, applied, bytes, refused, stages, synced};
pub use rules::{Change, Wanted, wanted};

/// What a configuration was synced to: which bytes, and what could not be determined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memo {
    /// The synced configuration; none when it is the file as it is.
    pub config: Option<Config>,
    /// What could not be determined.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<crate::inspect::Note>,
}

/// A synced configuration that differs from its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Digest of its bytes, which the store has.
    pub digest: synapse_engine::Digest,
    /// Size in bytes.
    pub size: u64,
    /// Digest of the plugin's files with it in the place of the file.
    pub tree: synapse_engine::Digest,
}
