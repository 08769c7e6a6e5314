//! Owns the upkeep of the folder: whether every release still has its archive, and the removal of
//! files that no row names, for all tenants at once.

use std::collections::HashSet;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use rusqlite::Connection;
use synapse_engine::Digest;
use synapse_rules::client::Release;

use crate::Embedded;
use crate::error::{BackendError, plain};
use crate::files;
use crate::release::Stored;

/// A release whose archive is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The release.
    pub release: Release,
    /// What is wrong with its archive.
    pub fault: Fault,
}

/// What is wrong with an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// There is no file.
    Missing,
    /// The file cannot be read.
    Unreadable(String),
    /// The file has another size.
    Size {
        /// Size in bytes when it was taken.
        expected: u64,
        /// Size now.
        actual: u64,
    },
    /// The file has other bytes.
    Changed {
        /// BLAKE3 when it was taken.
        expected: Digest,
        /// BLAKE3 now.
        actual: Digest,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Release { id, slot, .. } = &self.release;
        write!(out, "release {id} (`{}` {}): ", slot.code, slot.version)?;
        match &self.fault {
            Fault::Missing => write!(out, "its archive is missing"),
            Fault::Unreadable(why) => write!(out, "its archive cannot be read: {why}"),
            Fault::Size { expected, actual } => {
                write!(out, "its archive has {actual} bytes, it had {expected}")
            }
            Fault::Changed { expected, actual } => {
                write!(out, "its archive has BLAKE3 {actual}, it had {expected}")
            }
        }
    }
}

/// What [`Embedded::collect`] removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// Number of files.
    pub files: u64,
    /// Their sizes together.
    pub bytes: u64,
}

impl Embedded {
    /// Reads the archive of every release and lists those that are missing or damaged.
    pub fn check(&self) -> Result<Vec<Problem>, BackendError> {
        let mut problems = Vec::new();
        for stored in self.select_of_all("1", &[])? {
            let Some(fault) = self.fault(&stored) else {
                continue;
            };
            // A release that was replaced or deleted since the list was made has no fault.
            if !self
                .select_of_all("id = ?1", &[&stored.release.id])?
                .is_empty()
            {
                problems.push(Problem {
                    release: stored.release,
                    fault,
                });
            }
        }
        Ok(problems)
    }

    fn fault(&self, stored: &Stored) -> Option<Fault> {
        let read = || -> io::Result<Option<Fault>> {
            let mut file = File::open(self.files.path(&stored.file))?;
            let size = file.metadata()?.len();
            let expected = stored.release.size.unwrap_or(size);
            if size != expected {
                return Ok(Some(Fault::Size {
                    expected,
                    actual: size,
                }));
            }
            let (_, actual) = files::digest(&mut file)?;
            let expected = stored.blake3;
            Ok((actual != expected).then_some(Fault::Changed { expected, actual }))
        };
        match read() {
            Ok(fault) => fault,
            Err(error) if error.kind() == ErrorKind::NotFound => Some(Fault::Missing),
            Err(error) => Some(Fault::Unreadable(plain(&error))),
        }
    }

    /// Removes files that no release, model or upload names and that were not touched for `margin`: what crashes
    /// left behind. Does nothing, and answers `None`, while a release is being made or the
    /// database is in use for long.
    ///
    /// The lock is what keeps a running upload safe; the margin is for filesystems on which a
    /// lock taken by another machine is not seen.
    pub fn collect(&self, margin: Duration) -> Result<Option<Collected>, BackendError> {
        let Some(_sweeping) = self.files.sweeping()? else {
            return Ok(None);
        };
        let named: HashSet<String> = {
            let conn = self.database();
            // Settles commits that failed half way: see `after_commit`.
            if !fold_log(&conn)? {
                return Ok(None);
            }
            drop(conn);
            self.upload_expire()?;
            let releases = self.select_of_all("1", &[])?;
            let mut named: HashSet<String> =
                releases.into_iter().map(|stored| stored.file).collect();
            named.extend(self.local_files()?);
            named
        };
        let dir = self.files.dir();
        let failed = |cause| BackendError::io("read", dir, cause);
        let margin = i64::try_from(margin.as_secs()).unwrap_or(i64::MAX);
        let before = (self.options.clock)().saturating_sub(margin);
        let mut collected = Collected::default();
        for entry in fs::read_dir(dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let Some(name) = name.to_str().filter(|name| !named.contains(*name)) else {
                continue;
            };
            let meta = entry.metadata().map_err(failed)?;
            // A hard link keeps the age of its source in mtime; making the link shows in ctime.
            if !meta.is_file() || meta.mtime().max(meta.ctime()) > before {
                continue;
            }
            self.files
                .remove(name)
                .map_err(|cause| BackendError::io("remove", &self.files.path(name), cause))?;
            collected.files += 1;
            collected.bytes += meta.len();
        }
        Ok(Some(collected))
    }
}

/// Moves all of the write-ahead log into the database, so that nothing of it is read again.
/// False when others kept it from doing so.
fn fold_log(conn: &Connection) -> Result<bool, BackendError> {
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| {
        row.get::<_, i64>(0)
    })
    .map(|busy| busy == 0)
    .map_err(BackendError::database("write"))
}
