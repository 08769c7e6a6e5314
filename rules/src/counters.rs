//! Owns the counts of work done, which tests and `--json` read instead of clocks.

use std::sync::{Arc, atomic::AtomicU64};

/// What one command did.
#[derive(Debug, Default)]
pub struct Counters {
    /// Files whose bytes were hashed to find changes.
    pub files_hashed: AtomicU64,
    /// Files deflated into archives; the others came from kept streams or are stored.
    pub files_deflated: AtomicU64,
    /// Requests sent over HTTP, repeats included.
    pub requests: Arc<AtomicU64>,
    /// Bytes of archives sent.
    pub bytes_sent: AtomicU64,
}
