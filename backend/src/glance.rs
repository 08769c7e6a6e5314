//! Owns a look at the newest runs that changes nothing on disk: what a shell may do at the press
//! of a key. There is no answer wherever there is none to be had at once.

use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use crate::database::NAME;
use crate::token::DEFAULT_TENANT;

/// Ids of the newest runs of the backend in `dir`, newest first, each with what it ran and how
/// that is going.
pub fn newest_runs(dir: &Path, most: u32) -> Option<Vec<(i64, String)>> {
    let path = dir.join(NAME);
    if !path.is_file() {
        return None;
    }
    // Opening a database whose log is not there would make one. Without a log the file itself
    // is all that there is.
    let mut log = path.clone().into_os_string();
    log.push("-wal");
    let how = if Path::new(&log).exists() {
        "mode=ro"
    } else {
        "immutable=1"
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let database = Connection::open_with_flags(uri(&path, how), flags).ok()?;
    let mut select = database
        .prepare(
            "SELECT id, plugin, action, status FROM run WHERE tenant = ?1 ORDER BY id DESC LIMIT ?2",
        )
        .ok()?;
    let run = |row: &rusqlite::Row<'_>| {
        let (plugin, action): (String, String) = (row.get(1)?, row.get(2)?);
        let status: String = row.get(3)?;
        let what = format!("{plugin} {action}, {}", status.to_lowercase());
        Ok((row.get(0)?, what))
    };
    let rows = select
        .query_map(rusqlite::params![DEFAULT_TENANT, most], run)
        .ok()?;
    rows.collect::<rusqlite::Result<_>>().ok()
}

fn uri(path: &Path, how: &str) -> String {
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.~".contains(byte) {
            uri.push(char::from(*byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    format!("{uri}?{how}")
}
