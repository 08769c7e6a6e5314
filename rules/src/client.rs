//! Owns the one trait through which rules and platforms meet: [`Backend`], what a publish asks
//! of a target, implemented by the embedded backend and by clients of remote ones.

use std::{path::Path, time::Duration};

use serde::{Deserialize, Serialize};
use synapse_engine::Digest;

/// The place a release takes at a target. At most one formal release per slot, ever; a debug
/// release (whatever its version) has one slot per code and variant and is replaced.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Slot {
    /// Plugin code.
    pub code: String,
    /// Customer variant, none by default.
    pub variant: Option<String>,
    /// Version `X.Y.Z`.
    pub version: String,
    /// A debug release.
    pub debug: bool,
}

/// A release as a target describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// The target's own id.
    pub id: String,
    /// Its slot.
    pub slot: Slot,
    /// Content digest, when the target knows it.
    pub content: Option<Digest>,
    /// MD5 of the ZIP, 32 hex digits.
    pub md5: Option<String>,
    /// Size of the ZIP in bytes.
    pub size: Option<u64>,
    /// Where a person or program finds the archive.
    pub url: String,
    /// Unix seconds.
    pub created: i64,
}

/// What is sent to make a release.
#[derive(Debug, Clone, Copy)]
pub struct Upload<'a> {
    /// Where it goes.
    pub slot: &'a Slot,
    /// The configuration, whole, as JSON.
    pub config: &'a serde_json::Value,
    /// The text of README, when the archive has one.
    pub readme: Option<&'a str>,
    /// The text of requirements.txt, when the archive has one.
    pub requirements: Option<&'a str>,
    /// The ZIP file.
    pub archive: &'a Path,
    /// Size of the ZIP in bytes.
    pub size: u64,
    /// Content digest of the archive.
    pub content: Digest,
    /// BLAKE3 of the ZIP; the receiver must check the bytes that it keeps against it.
    pub blake3: Digest,
    /// MD5 of the ZIP, 32 hex digits.
    pub md5: &'a str,
    /// SHA-256 of the ZIP, 64 hex digits.
    pub sha256: &'a str,
}

/// Why a target did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The slot is taken.
    #[error("{0}")]
    Exists(String),
    /// The release was found invalid; one sentence a problem.
    #[error("{}", .0.join("; "))]
    Invalid(Vec<String>),
    /// The bytes that arrived are not those that were announced.
    #[error("the archive changed on its way: expected BLAKE3 {expected}, got {actual}")]
    Mismatch {
        /// Announced digest.
        expected: Digest,
        /// Digest of what arrived.
        actual: Digest,
    },
    /// What the target says that it keeps is not what was sent.
    #[error("the target keeps other bytes than were sent: expected MD5 {expected}, got {actual}")]
    WrongChecksum {
        /// Of what was sent.
        expected: String,
        /// Of what is there.
        actual: String,
        /// The release that was made of it.
        release: String,
    },
    /// The caller may not do this, and nothing else at this target either.
    #[error("{what}")]
    Denied {
        /// Code of the failure: who one is, or what one may do.
        code: &'static str,
        /// What the target said.
        what: String,
    },
    /// The target has too much to do. Nothing was done there.
    #[error("{what}")]
    Busy {
        /// What it said.
        what: String,
        /// How long it wants to be left alone.
        after: Option<Duration>,
    },
    /// The target cannot be used as it is given. Nothing was done there.
    #[error("{what}")]
    Unusable {
        /// Code of the failure.
        code: &'static str,
        /// What is wrong.
        what: String,
        /// What to do about it.
        hint: &'static str,
    },
    /// The target could not be reached, or failed. Nothing was done there.
    #[error("{0}")]
    Unavailable(String),
    /// It is unknown whether the target did it: ask before sending again.
    #[error("{0}")]
    Ambiguous(String),
    /// Work was asked to stop.
    #[error("interrupted")]
    Cancelled,
}

/// Follows the sending of one release.
pub trait Watch {
    /// So many bytes of the archive have gone out.
    fn progress(&self, bytes: u64);

    /// The id of an upload that an earlier try began, and that may be gone on with.
    fn begun(&self) -> Option<String> {
        None
    }

    /// An upload began that a later try may go on with.
    fn begins(&self, id: &str) {
        let _ = id;
    }
}

/// Looks at nothing.
#[derive(Debug, Clone, Copy)]
pub struct Unwatched;

impl Watch for Unwatched {
    fn progress(&self, _bytes: u64) {}
}

/// A target that holds releases.
pub trait Backend: Send + Sync {
    /// Stable name of the target, part of the keys of uploads. Never a path or a secret.
    fn identity(&self) -> String;

    /// All releases of a plugin, oldest first.
    fn releases(&self, code: &str) -> Result<Vec<Release>, ClientError>;

    /// The release in a slot. For a debug slot the version is not compared.
    fn find(&self, slot: &Slot) -> Result<Option<Release>, ClientError>;

    /// The content digest of a release: as recorded, else computed from its archive.
    fn content(&self, release: &Release) -> Result<Digest, ClientError>;

    /// Every release the target holds, in one call, oldest first.
    fn all(&self) -> Result<Vec<Release>, ClientError>;

    /// Makes a release. Checks the bytes; refuses a taken formal slot with
    /// [`ClientError::Exists`]; replaces the previous release of a debug slot.
    fn create(&self, upload: &Upload<'_>) -> Result<Release, ClientError>;

    /// The same, followed while it goes on.
    fn send(&self, upload: &Upload<'_>, watch: &dyn Watch) -> Result<Release, ClientError> {
        let release = self.create(upload)?;
        watch.progress(upload.size);
        Ok(release)
    }
}
