//! Owns `check`: every blob read and hashed, every row's blobs accounted for, and repair.

use std::{io::Read, path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags};
use serde::Serialize;

use super::{
    SqliteStore, Store, StoreError,
    blob::lock,
    sqlite::{forget_blob, row_sum},
};
use crate::{cancel::Cancel, digest::Digest};

/// How long a look waits for whoever writes.
const PATIENCE: Duration = Duration::from_secs(10);

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// The blob.
    pub blob: Digest,
    /// What is wrong with it, in words.
    pub what: String,
}

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// Blobs read.
    pub blobs: u64,
    /// Bytes read.
    pub bytes: u64,
    /// What is wrong with the database file, if anything.
    pub database: Option<String>,
    /// Results whose rows are damaged; they count as unknown.
    pub rows: u64,
    /// What is wrong with blobs.
    pub damage: Vec<Damage>,
    /// Files that no result names: harmless leavings of an interrupted run.
    pub orphans: u64,
    /// Damaged blobs were moved to quarantine and their results forgotten.
    pub repaired: bool,
}

impl CheckReport {
    /// Nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.database.is_none() && self.rows == 0 && self.damage.is_empty()
    }
}

/// Asks a database file whether it is whole, without changing it; what is wrong, if anything.
pub fn examine(path: &Path) -> Result<Option<String>, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(PATIENCE)?;
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    Ok((verdict != "ok").then_some(verdict))
}

impl SqliteStore {
    /// Reads and hashes every blob. With `repair`, moves damaged ones to quarantine and forgets
    /// the results that name them, so that their producers run again.
    pub fn check(&self, repair: bool, cancel: &Cancel) -> Result<CheckReport, StoreError> {
        let mut report = CheckReport {
            repaired: repair,
            ..CheckReport::default()
        };
        let named = match self.named_blobs(repair, &mut report) {
            // A database too damaged to be asked is the finding, not a failure of the check.
            Err(StoreError::Database(what)) => {
                report.database.get_or_insert(what);
                Vec::new()
            }
            named => named?,
        };
        if report.database.is_some() && repair {
            self.set_aside()?;
        }
        let mut known = std::collections::HashSet::new();
        for (bytes, size) in named {
            if cancel.cancelled() {
                break;
            }
            let Ok(digest) = Digest::from_slice(&bytes) else {
                continue;
            };
            known.insert(digest);
            report.blobs += 1;
            let Some(what) = self.examine(&digest, size, &mut report.bytes) else {
                continue;
            };
            if repair {
                forget_blob(&lock(&self.connection), &digest)?;
                self.blobs.quarantine(&digest)?;
            }
            report.damage.push(Damage { blob: digest, what });
        }
        report.orphans = self
            .blobs
            .list()?
            .iter()
            .filter(|(digest, _)| !known.contains(digest))
            .count() as u64;
        Ok(report)
    }

    /// Every blob that a row names, with the size that it should have.
    fn named_blobs(
        &self,
        repair: bool,
        report: &mut CheckReport,
    ) -> Result<Vec<(Vec<u8>, i64)>, StoreError> {
        let connection = lock(&self.connection);
        let verdict: String =
            connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
        report.database = (verdict != "ok").then_some(verdict);
        report.rows = damaged_rows(&connection, repair)?;
        let mut select = connection.prepare(
            "SELECT b.digest, b.size FROM blob b
             UNION SELECT nb.digest, -1 FROM node_blob nb
             WHERE nb.digest NOT IN (SELECT digest FROM blob)",
        )?;
        let rows = select.query_map([], |row| {
            Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, i64>(1)?))
        })?;
        Ok(rows.collect::<Result<Vec<_>, _>>()?)
    }

    fn examine(&self, digest: &Digest, size: i64, read: &mut u64) -> Option<String> {
        let blob = match self.open_blob(digest) {
            Ok(Some(blob)) => blob,
            Ok(None) => return Some("missing".to_owned()),
            Err(error) => return Some(error.to_string()),
        };
        if size >= 0 && blob.size != size as u64 {
            return Some(format!("{} bytes long instead of {size}", blob.size));
        }
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; 1 << 20];
        let mut file = blob.file;
        loop {
            match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => {
                    *read += n as u64;
                    hasher.update(&buffer[..n]);
                }
                Err(error) => return Some(format!("unreadable: {error}")),
            }
        }
        (Digest::from(hasher.finalize()) != *digest).then(|| "its bytes changed".to_owned())
    }
}

fn damaged_rows(connection: &rusqlite::Connection, repair: bool) -> Result<u64, StoreError> {
    let mut select = connection.prepare("SELECT key, outcome, sum FROM node")?;
    let rows = select.query_map([], |row| {
        let (key, outcome) = (row.get_ref(0)?.as_bytes()?, row.get_ref(1)?.as_bytes()?);
        let whole = row_sum(key, outcome) == row.get::<_, i64>(2)?
            && serde_json::from_slice::<crate::Outcome>(outcome).is_ok();
        Ok((!whole).then(|| key.to_vec()))
    })?;
    let damaged: Vec<Vec<u8>> = rows
        .filter_map(Result::transpose)
        .collect::<Result<_, _>>()?;
    if repair {
        for key in &damaged {
            connection.execute("DELETE FROM node WHERE key = ?1", [key])?;
        }
    }
    Ok(damaged.len() as u64)
}
