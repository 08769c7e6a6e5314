//! Owns collection: which results go by age and size, and that their blobs go after them.

use std::time::SystemTime;

use rusqlite::params;
use serde::Serialize;

use super::{Lock, SqliteStore, StoreError, blob::lock};
use crate::digest::Digest;

/// What may stay.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of blobs that may stay.
    pub bytes: u64,
    /// Seconds since the last use after which a result goes.
    pub age: i64,
    /// Files that no result names go when they are older than this many seconds.
    pub margin: u64,
}

/// What went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct GcReport {
    /// Results removed.
    pub results: u64,
    /// Blobs removed.
    pub blobs: u64,
    /// Their bytes. Bytes that another link holds (a release of the embedded backend) stay on
    /// the disk.
    pub bytes: u64,
    /// Files removed that no result named.
    pub orphans: u64,
}

impl SqliteStore {
    /// Removes results by age, then the least recently used down to the size, then blobs that
    /// no result names. Refused while another process uses the store.
    pub fn gc(&self, limits: Limits, now: i64) -> Result<GcReport, StoreError> {
        let alone = self.alone()?;
        let mut report = GcReport::default();
        let mut connection = lock(&self.connection);
        self.blobs.step("gc.begin")?;
        let transaction = connection.transaction()?;
        let oldest = now.saturating_sub(limits.age);
        report.results += transaction.execute("DELETE FROM node WHERE used < ?1", [oldest])? as u64;
        transaction.execute("DELETE FROM history WHERE at < ?1", [oldest])?;
        let sweep = "DELETE FROM node_blob WHERE key NOT IN (SELECT key FROM node)";
        transaction.execute(sweep, [])?;
        let named =
            "SELECT ifnull(sum(size), 0) FROM blob WHERE digest IN (SELECT digest FROM node_blob)";
        let mut total: u64 = transaction.query_row(named, [], |row| row.get(0))?;
        if total > limits.bytes {
            let mut by_use = transaction.prepare(
                "SELECT node.key, blob.digest, blob.size FROM node
                 JOIN node_blob ON node_blob.key = node.key JOIN blob ON blob.digest = node_blob.digest
                 ORDER BY node.used, node.key",
            )?;
            let rows = by_use.query_map([], |row| {
                Ok((
                    row.get::<_, Vec<u8>>(0)?,
                    row.get::<_, Vec<u8>>(1)?,
                    row.get::<_, u64>(2)?,
                ))
            })?;
            let rows = rows.collect::<Result<Vec<_>, _>>()?;
            for (key, digest, size) in rows {
                if total <= limits.bytes {
                    break;
                }
                report.results +=
                    transaction.execute("DELETE FROM node WHERE key = ?1", [&key])? as u64;
                transaction.execute("DELETE FROM node_blob WHERE key = ?1", [&key])?;
                let left: u64 = transaction.query_row(
                    "SELECT count(*) FROM node_blob WHERE digest = ?1",
                    [&digest],
                    |row| row.get(0),
                )?;
                if left == 0 {
                    total = total.saturating_sub(size);
                }
            }
        }
        let mut gone = Vec::new();
        {
            let mut unnamed = transaction.prepare(
                "SELECT digest, size FROM blob WHERE digest NOT IN (SELECT digest FROM node_blob)",
            )?;
            let mut rows = unnamed.query([])?;
            while let Some(row) = rows.next()? {
                if let Ok(digest) =
                    Digest::from_slice(row.get_ref(0)?.as_blob().unwrap_or_default())
                {
                    gone.push((digest, row.get::<_, u64>(1)?));
                }
            }
        }
        for (digest, _) in &gone {
            transaction.execute(
                "DELETE FROM stream WHERE archive = ?1",
                params![digest.as_bytes()],
            )?;
            transaction.execute(
                "DELETE FROM blob WHERE digest = ?1",
                params![digest.as_bytes()],
            )?;
        }
        self.blobs.step("gc.commit")?;
        // Names go before the files: a crash in between leaves files without a name.
        transaction.commit()?;
        for (digest, size) in gone {
            self.blobs.remove(&digest)?;
            report.blobs += 1;
            report.bytes += size;
        }
        let clock = SystemTime::now();
        let old = |time: std::io::Result<SystemTime>| {
            let age = time.ok().and_then(|time| clock.duration_since(time).ok());
            age.is_some_and(|age| age.as_secs() >= limits.margin)
        };
        for (digest, meta) in self.blobs.list()? {
            let sql = "SELECT count(*) FROM blob WHERE digest = ?1";
            let named: u64 = connection.query_row(sql, [digest.as_bytes()], |row| row.get(0))?;
            if named == 0 && old(meta.modified()) {
                self.blobs.remove(&digest)?;
                report.orphans += 1;
            }
        }
        for file in std::fs::read_dir(self.blobs.tmp())
            .into_iter()
            .flatten()
            .flatten()
        {
            if file.metadata().is_ok_and(|meta| old(meta.modified()))
                && std::fs::remove_file(file.path()).is_ok()
            {
                report.orphans += 1;
            }
        }
        let _ = connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA optimize;");
        drop(alone);
        Ok(report)
    }

    /// Deletes everything in the store. Costs time only: what was published is asked for again.
    /// Refused while another process uses the store.
    pub fn clear(self) -> Result<(), StoreError> {
        let _alone = self.alone()?;
        self.blobs.step("clear")?;
        // The database goes first: a crash in between leaves files without a name.
        for file in [
            "store.db",
            "store.db-wal",
            "store.db-shm",
            "store.db.damaged",
        ] {
            match std::fs::remove_file(self.root.join(file)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(StoreError::io("cannot clear the store")(error));
                }
                _ => {}
            }
        }
        for folder in ["blobs", "tmp", "index", "quarantine"] {
            match std::fs::remove_dir_all(self.root.join(folder)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(StoreError::io("cannot clear the store")(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Moves a damaged database aside; the next opening makes a new one.
    pub(super) fn set_aside(&self) -> Result<(), StoreError> {
        let _alone = self.alone()?;
        super::sqlite::set_aside(&self.root);
        Ok(())
    }

    /// Trades our shared use of the store for use alone, until the returned guard is dropped.
    pub(super) fn alone(&self) -> Result<Alone<'_>, StoreError> {
        *lock(&self.in_use) = None;
        match self.locks.try_use_alone() {
            Ok(Lock::Held(guard)) => Ok(Alone {
                store: self,
                guard: Some(guard),
            }),
            Ok(Lock::Busy(pid)) => {
                *lock(&self.in_use) = Some(self.locks.use_shared()?);
                Err(StoreError::Busy(pid))
            }
            Err(error) => Err(error),
        }
    }
}

/// Use of the store by this process alone.
pub(super) struct Alone<'a> {
    store: &'a SqliteStore,
    guard: Option<super::Guard>,
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        self.guard = None;
        *lock(&self.store.in_use) = self.store.locks.use_shared().ok();
    }
}
