//! Owns the handing out of a dataset's files: only what was added is.

use std::fs::File;
use std::io::{self, Seek};

use rusqlite::{Connection, OptionalExtension, Row, params};
use synapse_engine::index::{FILE_REST, FileStat};
use synapse_engine::{Cancel, filesystem};

use super::scan::{Scanned, digest, open};
use super::{Item, item_of};
use crate::Embedded;
use crate::error::BackendError;

impl Embedded {
    /// Opens a file of a dataset, which is as it was when the dataset was added. One that looks
    /// otherwise is read to make sure.
    pub fn dataset_open(&self, id: i64) -> Result<(Item, File), BackendError> {
        let failed = BackendError::database("read");
        let found = {
            let conn = self.database();
            conn.prepare_cached(
                "SELECT id, dataset, path, split, sha256, size, size, dev, ino, mtime, ctime, \
                 settled FROM dataset_item WHERE id = ?1",
            )
            .and_then(|mut select| {
                select
                    .query_row([id], |row| {
                        let seen = Scanned {
                            path: row.get(2)?,
                            sha256: row.get(4)?,
                            stat: stat_of(row, 6)?,
                            settled: row.get(11)?,
                        };
                        Ok((item_of(row)?, seen))
                    })
                    .optional()
            })
            .map_err(failed)?
        };
        let (item, seen) = found.ok_or(BackendError::NoItem(id))?;
        // That of another tenant is none.
        let dataset = self.dataset(item.dataset).map_err(|error| match error {
            BackendError::NoDataset(_) => BackendError::NoItem(id),
            other => other,
        })?;
        let path = dataset.folder.join(&item.path);
        let mut file = match open(&path) {
            Ok(file) => file,
            // Where it was, nothing is: that is a change too.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                return Err(BackendError::Changed(item.path));
            }
            Err(cause) => return Err(BackendError::io("read", &path, cause)),
        };
        let unreadable = |cause| BackendError::io("read", &path, cause);
        let meta = file.metadata().map_err(unreadable)?;
        let before = FileStat::from(&meta);
        let honest = filesystem::kind(&path).is_honest();
        if seen.settled && honest && seen.stat == before {
            return Ok((item, file));
        }
        if !meta.is_file() || before.size != seen.stat.size {
            return Err(BackendError::Changed(item.path));
        }
        let now = (self.options.clock)().saturating_mul(1_000_000_000);
        let actual = digest(&mut file, before.size, &Cancel::default(), &|_| {});
        let actual = actual.map_err(unreadable)?;
        let after = FileStat::from(&file.metadata().map_err(unreadable)?);
        if actual != Some(seen.sha256) || before != after {
            return Err(BackendError::Changed(item.path));
        }
        file.rewind().map_err(unreadable)?;
        let settled = honest && after.ctime.saturating_add(FILE_REST) <= now;
        if settled {
            let seen = Scanned {
                stat: after,
                settled,
                ..seen
            };
            // Without it, the file is only read again the next time.
            let _ = update_stat(&self.database(), item.dataset, &seen);
        }
        Ok((item, file))
    }
}

/// The stat fields in a row, from `size` on.
pub(crate) fn stat_of(row: &Row<'_>, first: usize) -> rusqlite::Result<FileStat> {
    Ok(FileStat {
        size: row.get::<_, i64>(first)? as u64,
        dev: row.get::<_, i64>(first + 1)? as u64,
        ino: row.get::<_, i64>(first + 2)? as u64,
        mtime: row.get(first + 3)?,
        ctime: row.get(first + 4)?,
        executable: false,
    })
}

/// Writes down how a file with the same bytes looks now.
pub(crate) fn update_stat(conn: &Connection, id: i64, file: &Scanned) -> rusqlite::Result<()> {
    let stat = &file.stat;
    conn.prepare_cached(
        "UPDATE dataset_item SET dev = ?3, ino = ?4, mtime = ?5, ctime = ?6, settled = ?7 \
         WHERE dataset = ?1 AND path = ?2 AND sha256 = ?8",
    )?
    .execute(params![
        id,
        file.path,
        stat.dev as i64,
        stat.ino as i64,
        stat.mtime,
        stat.ctime,
        file.settled,
        file.sha256
    ])?;
    Ok(())
}
