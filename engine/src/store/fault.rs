//! Owns the store that fails on demand: every state-changing call of another store counts, and
//! the chosen one, or every one from it on, fails.

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering},
};

use tempfile::NamedTempFile;

use super::{Blob, Entry, Lock, Past, Row, Store, StoreError, Stream, Subject};
use crate::{digest::Digest, manifest::Key};

/// Fails the writes of another store.
pub struct FaultStore<S> {
    inner: S,
    calls: AtomicU64,
    fail_at: u64,
    sticky: bool,
}

impl<S: Store> FaultStore<S> {
    /// Fails the `fail_at`th write (from 1), and with `sticky` all after it.
    pub fn new(inner: S, fail_at: u64, sticky: bool) -> Self {
        Self {
            inner,
            calls: AtomicU64::new(0),
            fail_at,
            sticky,
        }
    }

    /// Whether the chosen write was reached.
    pub fn reached(&self) -> bool {
        self.calls.load(Ordering::SeqCst) >= self.fail_at
    }

    /// The store below.
    pub fn into_inner(self) -> S {
        self.inner
    }

    fn write(&self) -> Result<(), StoreError> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        if call == self.fail_at || (self.sticky && call > self.fail_at) {
            let error = io::Error::new(io::ErrorKind::StorageFull, "injected fault");
            return Err(StoreError::io("cannot write to the store")(error));
        }
        Ok(())
    }
}

impl<S: Store> Store for FaultStore<S> {
    fn rows(&self, keys: &[Key]) -> Result<Vec<Option<Row>>, StoreError> {
        self.inner.rows(keys)
    }

    fn touch(&self, keys: &[Key], now: i64) -> Result<(), StoreError> {
        self.write()?;
        self.inner.touch(keys, now)
    }

    fn has_blob(&self, blob: &Digest, size: u64) -> bool {
        self.inner.has_blob(blob, size)
    }

    fn open_blob(&self, blob: &Digest) -> Result<Option<Blob>, StoreError> {
        self.inner.open_blob(blob)
    }

    fn writer(&self) -> Result<NamedTempFile, StoreError> {
        self.write()?;
        self.inner.writer()
    }

    fn place(&self, file: NamedTempFile, blob: &Digest, size: u64) -> Result<(), StoreError> {
        self.write()?;
        self.inner.place(file, blob, size)
    }

    fn commit(&self, entries: &[Entry]) -> Result<(), StoreError> {
        self.write()?;
        self.inner.commit(entries)
    }

    fn quarantine(&self, blob: &Digest) -> Result<bool, StoreError> {
        self.write()?;
        self.inner.quarantine(blob)
    }

    fn streams(&self, codec: &str, contents: &[Digest]) -> Result<Vec<Option<Stream>>, StoreError> {
        self.inner.streams(codec, contents)
    }

    fn try_lock(&self, key: &Key) -> Result<Lock, StoreError> {
        self.inner.try_lock(key)
    }

    fn history(&self, subject: &Subject, limit: usize) -> Result<Vec<Past>, StoreError> {
        self.inner.history(subject, limit)
    }
}
