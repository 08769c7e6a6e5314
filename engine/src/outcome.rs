//! Owns [`Outcome`]: what a node made, as digests and small values.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{digest::Digest, stable_hash::StableHash};

/// One named output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Output {
    /// A file in the store.
    Blob {
        /// Digest of its bytes.
        digest: Digest,
        /// Size in bytes.
        size: u64,
    },
    /// A small value.
    Value(serde_json::Value),
}

impl Output {
    /// The output's digest: what dependents' keys hold.
    pub fn digest(&self) -> Digest {
        match self {
            Self::Blob { digest, .. } => *digest,
            Self::Value(value) => value.stable_digest("synapse.value.v1"),
        }
    }
}

/// How far a result may be reused. Failures are never stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cacheability {
    /// By everyone who has the key.
    Store,
    /// Within this run only.
    SessionOnly,
    /// A receipt: only after its node finds it current.
    Recheck,
    /// On this machine only.
    Local,
}

/// What a node made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Outputs by name.
    pub outputs: BTreeMap<String, Output>,
    /// How far it may be reused.
    pub cacheability: Cacheability,
}

impl Outcome {
    /// An outcome without outputs yet.
    pub fn new(cacheability: Cacheability) -> Self {
        Self {
            outputs: BTreeMap::new(),
            cacheability,
        }
    }

    /// Adds a file of the store.
    pub fn blob(mut self, name: &str, digest: Digest, size: u64) -> Self {
        self.outputs
            .insert(name.to_owned(), Output::Blob { digest, size });
        self
    }

    /// Adds a small value.
    pub fn value(mut self, name: &str, value: impl Into<serde_json::Value>) -> Self {
        self.outputs
            .insert(name.to_owned(), Output::Value(value.into()));
        self
    }

    /// The value of that name, when there is one.
    pub fn get(&self, name: &str) -> Option<&serde_json::Value> {
        match self.outputs.get(name) {
            Some(Output::Value(value)) => Some(value),
            _ => None,
        }
    }

    /// The text of that name, when there is one.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(serde_json::Value::as_str)
    }

    /// The blobs among the outputs: digest and size.
    pub fn blobs(&self) -> impl Iterator<Item = (Digest, u64)> + '_ {
        self.outputs.values().filter_map(|output| match output {
            Output::Blob { digest, size } => Some((*digest, *size)),
            Output::Value(_) => None,
        })
    }

    /// The blob of that name.
    pub fn blob_of(&self, name: &str) -> Option<(Digest, u64)> {
        match self.outputs.get(name) {
            Some(Output::Blob { digest, size }) => Some((*digest, *size)),
            _ => None,
        }
    }
}
