//! Owns the store of one process and one run: rows in memory, blobs in a folder that goes with
//! it. For tests, and as the model that the others are held against.

use std::{
    collections::{HashMap, HashSet},
    fs,
    sync::Mutex,
};

use tempfile::{NamedTempFile, TempDir};

use super::{Blob, Entry, Guard, Lock, Past, Row, Store, StoreError, Stream, Subject, blob::lock};
use crate::{digest::Digest, manifest::Key};

/// A store in memory.
pub struct MemoryStore {
    folder: TempDir,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    rows: HashMap<Key, Row>,
    history: Vec<(Subject, Past)>,
    streams: HashMap<(String, Digest), Stream>,
    quarantined: HashSet<Digest>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Result<Self, StoreError> {
        let folder = TempDir::new().map_err(StoreError::io("cannot create a folder"))?;
        Ok(Self {
            folder,
            state: Mutex::default(),
        })
    }

    /// Forgets one result.
    pub fn forget(&self, key: &Key) {
        lock(&self.state).rows.remove(key);
    }

    /// Where a blob lies.
    pub fn blob_path(&self, blob: &Digest) -> std::path::PathBuf {
        self.folder.path().join(blob.hex())
    }
}

impl Store for MemoryStore {
    fn rows(&self, keys: &[Key]) -> Result<Vec<Option<Row>>, StoreError> {
        let state = lock(&self.state);
        Ok(keys
            .iter()
            .map(|key| state.rows.get(key).cloned())
            .collect())
    }

    fn touch(&self, keys: &[Key], now: i64) -> Result<(), StoreError> {
        let mut state = lock(&self.state);
        for key in keys {
            if let Some(row) = state.rows.get_mut(key) {
                row.used = now;
            }
        }
        Ok(())
    }

    fn has_blob(&self, blob: &Digest, size: u64) -> bool {
        fs::metadata(self.blob_path(blob)).is_ok_and(|meta| meta.len() == size)
    }

    fn open_blob(&self, blob: &Digest) -> Result<Option<Blob>, StoreError> {
        let path = self.blob_path(blob);
        let Ok(file) = fs::File::open(&path) else {
            return Ok(None);
        };
        let size = file
            .metadata()
            .map_err(StoreError::io("cannot read a blob"))?
            .len();
        Ok(Some(Blob { file, path, size }))
    }

    fn writer(&self) -> Result<NamedTempFile, StoreError> {
        NamedTempFile::new_in(self.folder.path()).map_err(StoreError::io("cannot create a file"))
    }

    fn place(&self, file: NamedTempFile, blob: &Digest, _size: u64) -> Result<(), StoreError> {
        let placed = file.persist(self.blob_path(blob));
        placed
            .map(|_| ())
            .map_err(|error| StoreError::io("cannot place a blob")(error.error))
    }

    fn commit(&self, entries: &[Entry]) -> Result<(), StoreError> {
        let mut state = lock(&self.state);
        for entry in entries {
            let row = Row {
                outcome: entry.outcome.clone(),
                used: entry.at,
            };
            state.rows.insert(entry.key, row);
            for (codec, content, stream) in &entry.streams {
                state.streams.insert((codec.clone(), *content), *stream);
            }
            let Entry {
                key,
                at,
                ms,
                reasons,
                record,
                subject,
                ..
            } = entry.clone();
            state.history.push((
                subject,
                Past {
                    key,
                    at,
                    ms,
                    reasons,
                    record,
                },
            ));
        }
        Ok(())
    }

    fn quarantine(&self, blob: &Digest) -> Result<bool, StoreError> {
        if fs::read(self.blob_path(blob)).is_ok_and(|bytes| Digest::of(&bytes) == *blob) {
            return Ok(false);
        }
        let mut state = lock(&self.state);
        state.quarantined.insert(*blob);
        state
            .rows
            .retain(|_, row| !row.outcome.blobs().any(|(digest, _)| digest == *blob));
        state.streams.retain(|_, stream| stream.archive != *blob);
        let _ = fs::remove_file(self.folder.path().join(blob.hex()));
        Ok(true)
    }

    fn streams(&self, codec: &str, contents: &[Digest]) -> Result<Vec<Option<Stream>>, StoreError> {
        let state = lock(&self.state);
        let find = |content: &Digest| state.streams.get(&(codec.to_owned(), *content)).copied();
        Ok(contents.iter().map(find).collect())
    }

    fn try_lock(&self, _key: &Key) -> Result<Lock, StoreError> {
        Ok(Lock::Held(Guard::none()))
    }

    fn history(&self, subject: &Subject, limit: usize) -> Result<Vec<Past>, StoreError> {
        let state = lock(&self.state);
        let own = state
            .history
            .iter()
            .rev()
            .filter(|(name, _)| name == subject);
        Ok(own.take(limit).map(|(_, past)| past.clone()).collect())
    }
}
