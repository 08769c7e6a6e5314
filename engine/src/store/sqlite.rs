//! Owns the store on disk: one SQLite file for results and history, blobs beside it.

use std::{
    fs,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Mutex,
};

use rayon::prelude::*;
use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;
use tempfile::NamedTempFile;

use super::{
    Blob, Entry, Guard, Hook, Lock, Past, Row, Store, StoreError, Stream, Subject,
    blob::{Blobs, lock},
    lock::Locks,
    migrate::{self, Durability},
};
use crate::{
    digest::Digest,
    manifest::{Key, Record},
    outcome::Output,
};

/// Only ever appended to: each element brings a file of the version before it up to date.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE node (key BLOB PRIMARY KEY, outcome TEXT NOT NULL, created INTEGER NOT NULL,
        used INTEGER NOT NULL, ms INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE blob (digest BLOB PRIMARY KEY, size INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE node_blob (key BLOB NOT NULL, digest BLOB NOT NULL, PRIMARY KEY (key, digest))
        WITHOUT ROWID;
    CREATE INDEX node_blob_digest ON node_blob (digest);
    CREATE TABLE stream (content BLOB NOT NULL, codec TEXT NOT NULL, archive BLOB NOT NULL,
        start INTEGER NOT NULL, len INTEGER NOT NULL, crc INTEGER NOT NULL, digest BLOB NOT NULL,
        size INTEGER NOT NULL, PRIMARY KEY (content, codec)) WITHOUT ROWID;
    CREATE INDEX stream_archive ON stream (archive);
    CREATE TABLE history (id INTEGER PRIMARY KEY, scope TEXT NOT NULL, stage TEXT NOT NULL,
        subject TEXT NOT NULL, key BLOB NOT NULL, at INTEGER NOT NULL, ms INTEGER NOT NULL,
        reasons TEXT NOT NULL, manifest BLOB NOT NULL);
    CREATE INDEX history_subject ON history (scope, stage, subject, id);
",
    "
    DELETE FROM node;
    ALTER TABLE node ADD COLUMN sum INTEGER NOT NULL DEFAULT 0;
",
];

/// More rows than this are decoded by all processors.
const PARALLEL_ROWS: usize = 256;

/// Runs of one subject that history keeps.
const HISTORY_KEPT: u32 = 10;

/// A row as it lies in the database: outcome, last use, sum.
type Stored = (Vec<u8>, i64, i64);

/// The store on disk.
pub struct SqliteStore {
    pub(super) root: PathBuf,
    pub(super) connection: Mutex<Connection>,
    pub(super) blobs: Blobs,
    pub(super) locks: Locks,
    /// Held as long as the store is open, so that collection waits for us.
    pub(super) in_use: Mutex<Option<Guard>>,
}

/// What the store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Results.
    pub results: u64,
    /// Blobs that results name.
    pub blobs: u64,
    /// Their bytes.
    pub blob_bytes: u64,
    /// Deflated streams that can be reused.
    pub streams: u64,
    /// Past runs that can be explained.
    pub history: u64,
    /// Bytes of the database file.
    pub database_bytes: u64,
}

impl SqliteStore {
    /// Opens the store in `root`, creating it when it is not there. A damaged database is moved
    /// aside: it holds nothing that cannot be made again.
    pub fn open(root: &Path, hook: Option<Hook>) -> Result<Self, StoreError> {
        let path = root.join("store.db");
        if !path.exists() {
            for folder in ["", "blobs", "tmp", "locks", "index"] {
                let folder = root.join(folder);
                fs::DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(&folder)
                    .map_err(StoreError::io(format!(
                        "cannot create {}",
                        folder.display()
                    )))?;
            }
        }
        let locks = Locks::new(root.join("locks"));
        let in_use = locks.use_shared()?;
        let open = || migrate::open(&path, MIGRATIONS, Durability::Ordered, hook.as_ref());
        let connection = match open() {
            Err(StoreError::Database(why)) if is_damage(&why) => {
                set_aside(root);
                open()
            }
            other => other,
        }?;
        let blobs = Blobs::new(root.to_owned(), hook);
        let connection = Mutex::new(connection);
        let in_use = Mutex::new(Some(in_use));
        Ok(Self {
            root: root.to_owned(),
            connection,
            blobs,
            locks,
            in_use,
        })
    }

    /// Counts and sizes.
    pub fn stats(&self) -> Result<Stats, StoreError> {
        let connection = lock(&self.connection);
        let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, u64>(0));
        let file = |suffix: &str| fs::metadata(self.root.join(format!("store.db{suffix}")));
        Ok(Stats {
            results: count("SELECT count(*) FROM node")?,
            blobs: count("SELECT count(*) FROM blob")?,
            blob_bytes: count("SELECT ifnull(sum(size), 0) FROM blob")?,
            streams: count("SELECT count(*) FROM stream")?,
            history: count("SELECT count(*) FROM history")?,
            database_bytes: ["", "-wal"]
                .iter()
                .filter_map(|s| file(s).ok())
                .map(|m| m.len())
                .sum(),
        })
    }
}

/// Moves a damaged database out of the way; it holds nothing that cannot be made again.
pub(super) fn set_aside(root: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let file = root.join(format!("store.db{suffix}"));
        let aside = root.join(format!("store.db.damaged{suffix}"));
        let _ = fs::rename(file, aside);
    }
}

fn is_damage(why: &str) -> bool {
    ["not a database", "malformed", "disk image"]
        .iter()
        .any(|sign| why.contains(sign))
}

fn digest_at(row: &rusqlite::Row<'_>, index: usize) -> rusqlite::Result<Digest> {
    let bytes = row.get_ref(index)?.as_blob()?;
    Digest::from_slice(bytes).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(
            index,
            rusqlite::types::Type::Blob,
            Box::new(error),
        )
    })
}

impl Store for SqliteStore {
    fn rows(&self, keys: &[Key]) -> Result<Vec<Option<Row>>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let connection = lock(&self.connection);
        // One read transaction: without it every look-up takes and drops a lock of its own.
        let transaction = connection.unchecked_transaction()?;
        let mut select =
            transaction.prepare_cached("SELECT outcome, used, sum FROM node WHERE key = ?1")?;
        let mut found: Vec<Option<Stored>> = Vec::with_capacity(keys.len());
        for key in keys {
            let row = select.query_row([key.0.as_bytes().as_slice()], |row| {
                Ok((
                    row.get_ref(0)?.as_bytes()?.to_vec(),
                    row.get(1)?,
                    row.get(2)?,
                ))
            });
            found.push(row.optional()?);
        }
        drop(select);
        transaction.commit()?;
        drop(connection);
        let read = |(key, row): (&Key, Option<Stored>)| {
            // A row that was damaged, or cannot be read, is a miss.
            let (outcome, used, sum) = row?;
            let whole = row_sum(key.0.as_bytes(), &outcome) == sum;
            let outcome = serde_json::from_slice(&outcome).ok().filter(|_| whole)?;
            Some(Row { outcome, used })
        };
        if found.len() < PARALLEL_ROWS {
            return Ok(keys.iter().zip(found).map(read).collect());
        }
        Ok(keys
            .par_iter()
            .zip(found)
            .with_min_len(PARALLEL_ROWS / 2)
            .map(read)
            .collect())
    }

    fn touch(&self, keys: &[Key], now: i64) -> Result<(), StoreError> {
        self.blobs.step("row.touch")?;
        let mut connection = lock(&self.connection);
        let transaction = connection.transaction()?;
        for key in keys {
            transaction
                .prepare_cached("UPDATE node SET used = ?2 WHERE key = ?1")?
                .execute(params![key.0.as_bytes(), now])?;
        }
        Ok(transaction.commit()?)
    }

    fn has_blob(&self, blob: &Digest, size: u64) -> bool {
        self.blobs.has(blob, size)
    }

    fn open_blob(&self, blob: &Digest) -> Result<Option<Blob>, StoreError> {
        self.blobs.open(blob)
    }

    fn writer(&self) -> Result<NamedTempFile, StoreError> {
        self.blobs.writer()
    }

    fn place(&self, file: NamedTempFile, blob: &Digest, size: u64) -> Result<(), StoreError> {
        self.blobs.place(file, blob, size)
    }

    fn commit(&self, entries: &[Entry]) -> Result<(), StoreError> {
        self.blobs.sync()?;
        self.blobs.step("row.begin")?;
        let mut connection = lock(&self.connection);
        let transaction =
            connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        for entry in entries {
            insert(&transaction, entry)?;
        }
        self.blobs.step("row.commit")?;
        Ok(transaction.commit()?)
    }

    fn quarantine(&self, blob: &Digest) -> Result<bool, StoreError> {
        if self.blobs.is_whole(blob) {
            return Ok(false);
        }
        forget_blob(&lock(&self.connection), blob)?;
        self.blobs.quarantine(blob)?;
        Ok(true)
    }

    fn streams(&self, codec: &str, contents: &[Digest]) -> Result<Vec<Option<Stream>>, StoreError> {
        let connection = lock(&self.connection);
        let transaction = connection.unchecked_transaction()?;
        let mut select = transaction.prepare_cached(
            "SELECT archive, start, len, crc, digest, size FROM stream WHERE content = ?1 AND codec = ?2",
        )?;
        let mut found = Vec::with_capacity(contents.len());
        for content in contents {
            let row = select.query_row(params![content.as_bytes(), codec], |row| {
                Ok(Stream {
                    archive: digest_at(row, 0)?,
                    offset: row.get(1)?,
                    len: row.get(2)?,
                    crc: row.get(3)?,
                    digest: digest_at(row, 4)?,
                    size: row.get(5)?,
                })
            });
            found.push(row.optional()?);
        }
        drop(select);
        transaction.commit()?;
        Ok(found)
    }

    fn try_lock(&self, key: &Key) -> Result<Lock, StoreError> {
        self.locks.try_key(key)
    }

    fn history(&self, subject: &Subject, limit: usize) -> Result<Vec<Past>, StoreError> {
        let connection = lock(&self.connection);
        let mut select = connection.prepare_cached(
            "SELECT key, at, ms, reasons, manifest FROM history
             WHERE scope = ?1 AND stage = ?2 AND subject = ?3 ORDER BY id DESC LIMIT ?4",
        )?;
        let limit = limit as u64;
        let rows = select.query_map(
            params![subject.scope, subject.stage, subject.name, limit],
            |row| {
                let manifest = row.get_ref(4)?.as_blob()?;
                let past = Past {
                    key: Key(digest_at(row, 0)?),
                    at: row.get(1)?,
                    ms: row.get(2)?,
                    reasons: serde_json::from_str(row.get_ref(3)?.as_str()?).unwrap_or_default(),
                    record: unpack(manifest).unwrap_or_default(),
                };
                Ok(past)
            },
        )?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

fn insert(transaction: &Connection, entry: &Entry) -> Result<(), StoreError> {
    let bug = |error: serde_json::Error| StoreError::Database(error.to_string());
    let key = entry.key.0.as_bytes();
    let outcome = serde_json::to_string(&entry.outcome).map_err(bug)?;
    transaction
        .prepare_cached("INSERT OR REPLACE INTO node VALUES (?1, ?2, ?3, ?3, ?4, ?5)")?
        .execute(params![
            key,
            outcome,
            entry.at,
            entry.ms,
            row_sum(key, outcome.as_bytes())
        ])?;
    for output in entry.outcome.outputs.values() {
        if let Output::Blob { digest, size } = output {
            transaction
                .prepare_cached("INSERT OR IGNORE INTO blob VALUES (?1, ?2)")?
                .execute(params![digest.as_bytes(), size])?;
            transaction
                .prepare_cached("INSERT OR IGNORE INTO node_blob VALUES (?1, ?2)")?
                .execute(params![key, digest.as_bytes()])?;
        }
    }
    for (codec, content, stream) in &entry.streams {
        transaction
            .prepare_cached(
                "INSERT OR REPLACE INTO stream VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![
                content.as_bytes(),
                codec,
                stream.archive.as_bytes(),
                stream.offset,
                stream.len,
                stream.crc,
                stream.digest.as_bytes(),
                stream.size
            ])?;
    }
    let reasons = serde_json::to_string(&entry.reasons).map_err(bug)?;
    let Subject { scope, stage, name } = &entry.subject;
    transaction
        .prepare_cached(
            "INSERT INTO history (scope, stage, subject, key, at, ms, reasons, manifest)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            scope,
            stage,
            name,
            key,
            entry.at,
            entry.ms,
            reasons,
            pack(&entry.record)?
        ])?;
    transaction
        .prepare_cached(
            "DELETE FROM history WHERE scope = ?1 AND stage = ?2 AND subject = ?3 AND id <=
             (SELECT id FROM history WHERE scope = ?1 AND stage = ?2 AND subject = ?3
              ORDER BY id DESC LIMIT 1 OFFSET ?4)",
        )?
        .execute(params![scope, stage, name, HISTORY_KEPT])?;
    Ok(())
}

/// Ties a row's text to its key: SQLite itself does not notice a flipped bit.
pub(super) fn row_sum(key: &[u8], outcome: &[u8]) -> i64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(key);
    hasher.update(outcome);
    let bytes = hasher.finalize();
    let first: [u8; 8] = std::array::from_fn(|index| bytes.as_bytes()[index]);
    i64::from_le_bytes(first)
}

/// Forgets every result that names `blob`, and the streams inside it.
pub(super) fn forget_blob(connection: &Connection, blob: &Digest) -> Result<(), StoreError> {
    let blob = blob.as_bytes();
    let transaction = connection.unchecked_transaction()?;
    for sql in [
        "DELETE FROM node WHERE key IN (SELECT key FROM node_blob WHERE digest = ?1)",
        "DELETE FROM node_blob WHERE digest = ?1",
        "DELETE FROM stream WHERE archive = ?1",
        "DELETE FROM blob WHERE digest = ?1",
    ] {
        transaction
            .prepare_cached(sql)?
            .execute([blob.as_slice()])?;
    }
    Ok(transaction.commit()?)
}

/// Manifests repeat their paths: zstd pays even at its fastest level.
fn pack(record: &Record) -> Result<Vec<u8>, StoreError> {
    let json =
        serde_json::to_vec(record).map_err(|error| StoreError::Database(error.to_string()))?;
    zstd::bulk::compress(&json, 1).map_err(StoreError::io("cannot compress a manifest"))
}

fn unpack(bytes: &[u8]) -> Option<Record> {
    serde_json::from_slice(&zstd::stream::decode_all(bytes).ok()?).ok()
}
