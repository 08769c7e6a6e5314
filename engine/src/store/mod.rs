//! Owns [`Store`]: the action cache, its blobs and the history of manifests, behind one trait
//! with three implementers: SQLite and files, in memory, and one that fails on demand.

mod blob;
mod check;
mod fault;
mod gc;
mod ledger;
mod lock;
mod memory;
mod migrate;
mod sqlite;

use std::{fs::File, io, path::PathBuf, sync::Arc};

pub use check::{CheckReport, Damage, examine};
pub use fault::FaultStore;
pub use gc::{GcReport, Limits};
pub use ledger::{Effect, EffectState, Ledger, Receipt};
pub use lock::{Guard, Lock};
pub use memory::MemoryStore;
use serde::{Deserialize, Serialize};
pub use sqlite::{SqliteStore, Stats};
use tempfile::NamedTempFile;

use crate::{
    digest::Digest,
    manifest::{Key, Record},
    outcome::Outcome,
    reason::DirtyReason,
};

/// Called with the name of every state-changing step before it is taken; an error stops the
/// step. Fault tests use it to fail, or to kill the process, anywhere.
pub type Hook = Arc<dyn Fn(&str) -> io::Result<()> + Send + Sync>;

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk refused.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// The database refused.
    #[error("the store's database: {0}")]
    Database(String),
    /// Written by a later release.
    #[error(
        "the store was written by a later release of synapse (format {found}, this one knows {known})"
    )]
    TooNew {
        /// Format found.
        found: u32,
        /// Newest format known.
        known: u32,
    },
    /// Another process works on the store and this needs it alone.
    #[error("the store is in use by another synapse process{}", holder(*.0))]
    Busy(Option<u32>),
}

fn holder(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
}

impl StoreError {
    /// Wraps what the system said.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error.to_string())
    }
}

/// A stored result.
#[derive(Debug, Clone)]
pub struct Row {
    /// What the node made.
    pub outcome: Outcome,
    /// When it was last used, Unix seconds, to about a day.
    pub used: i64,
}

/// A deflated stream inside a blob of the store, found by the content it inflates to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stream {
    /// The blob that holds it.
    pub archive: Digest,
    /// Where it starts, in bytes.
    pub offset: u64,
    /// Its length in bytes.
    pub len: u64,
    /// CRC-32 of the content.
    pub crc: u32,
    /// BLAKE3 of the stream's own bytes.
    pub digest: Digest,
    /// Size of the content in bytes.
    pub size: u64,
}

/// A result to commit, with what explains it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its key.
    pub key: Key,
    /// Whose history it joins.
    pub subject: Subject,
    /// What the node made.
    pub outcome: Outcome,
    /// The full manifest.
    pub record: Record,
    /// Why it ran.
    pub reasons: Vec<DirtyReason>,
    /// When it finished, Unix seconds.
    pub at: i64,
    /// How long it took, milliseconds.
    pub ms: u64,
    /// Streams inside its blobs: codec, content, place.
    pub streams: Vec<(String, Digest, Stream)>,
}

/// Names one line of history: a stage of a subject in a workspace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    /// The workspace, by any stable name.
    pub scope: String,
    /// The stage.
    pub stage: String,
    /// What it is about: plugin, variant, target.
    pub name: String,
}

/// A past run of a node.
#[derive(Debug, Clone)]
pub struct Past {
    /// Its key.
    pub key: Key,
    /// When it finished, Unix seconds.
    pub at: i64,
    /// How long it took, milliseconds.
    pub ms: u64,
    /// Why it ran.
    pub reasons: Vec<DirtyReason>,
    /// Its full manifest.
    pub record: Record,
}

/// A blob opened for reading.
#[derive(Debug)]
pub struct Blob {
    /// The open file.
    pub file: File,
    /// Where it lies; its bytes never change.
    pub path: PathBuf,
    /// Its length in bytes.
    pub size: u64,
}

/// The action cache, its blobs and the history.
pub trait Store: Send + Sync {
    /// The results under the given keys.
    fn rows(&self, keys: &[Key]) -> Result<Vec<Option<Row>>, StoreError>;

    /// Notes that results are in use, so that collection spares them.
    fn touch(&self, keys: &[Key], now: i64) -> Result<(), StoreError>;

    /// Whether a blob lies there with the right length. Its bytes are checked by those who read.
    fn has_blob(&self, blob: &Digest, size: u64) -> bool;

    /// Opens a blob, if it is there.
    fn open_blob(&self, blob: &Digest) -> Result<Option<Blob>, StoreError>;

    /// A temporary file on the store's own filesystem.
    fn writer(&self) -> Result<NamedTempFile, StoreError>;

    /// Renames a written file into place under its digest, never over another. It is durable
    /// only after the next [`Store::commit`].
    fn place(&self, file: NamedTempFile, blob: &Digest, size: u64) -> Result<(), StoreError>;

    /// Makes placed blobs durable, then commits all entries in one transaction.
    fn commit(&self, entries: &[Entry]) -> Result<(), StoreError>;

    /// Reads a suspect blob. If it is damaged, moves it aside; if that, or missing, forgets
    /// every result that names it and returns true. A whole one is left alone.
    fn quarantine(&self, blob: &Digest) -> Result<bool, StoreError>;

    /// Streams of a codec by the content they inflate to.
    fn streams(&self, codec: &str, contents: &[Digest]) -> Result<Vec<Option<Stream>>, StoreError>;

    /// Tries to take the right to run a node, against all processes.
    fn try_lock(&self, key: &Key) -> Result<Lock, StoreError>;

    /// The newest runs of a subject, newest first.
    fn history(&self, subject: &Subject, limit: usize) -> Result<Vec<Past>, StoreError>;
}
