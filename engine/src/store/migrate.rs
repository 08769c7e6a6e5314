//! Owns the opening of SQLite files: pragmas, append-only migrations, and the lock that lets
//! several processes open a new file at once.

use std::{fs::OpenOptions, path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags};
use rustix::fs::{FlockOperation, flock};

use super::{Hook, StoreError};
use crate::filesystem;

/// How hard a commit is pressed onto the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// A power cut may lose the newest commits, never the order: for what can be made again.
    Ordered,
    /// Every commit survives: for the ledger.
    Full,
}

/// How long whoever waits for others waits.
const BUSY: Duration = Duration::from_mins(1);

/// Opens `path`, creating and migrating it as needed. `migrations` may only ever grow.
pub(crate) fn open(
    path: &Path,
    migrations: &[&str],
    durability: Durability,
    hook: Option<&Hook>,
) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || {
        let connection = Connection::open_with_flags(path, flags)?;
        // SQLite takes a file that appears while it looks for it to be read-only.
        if connection.is_readonly(rusqlite::MAIN_DB)? {
            return Connection::open_with_flags(path, flags);
        }
        Ok(connection)
    };
    if let Ok(connection) = open() {
        connection.busy_timeout(BUSY)?;
        // Before anything else, which might read tables that somebody is about to change.
        if version(&connection)? as usize == migrations.len() {
            prepare(&connection, durability)?;
            return Ok(connection);
        }
    }
    let lock = path.with_extension("init");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&lock)
        .map_err(StoreError::io(format!("cannot create {}", lock.display())))?;
    flock(&file, FlockOperation::LockExclusive)
        .map_err(|error| StoreError::io("cannot lock the store")(error.into()))?;
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_CREATE)?;
    prepare(&connection, durability)?;
    let found = version(&connection)?;
    if found as usize > migrations.len() {
        return Err(StoreError::TooNew {
            found,
            known: migrations.len() as u32,
        });
    }
    // WAL needs shared memory, which network filesystems do not give.
    let parent = path.parent().unwrap_or(path);
    let journal = if filesystem::kind(parent).is_network() {
        "DELETE"
    } else {
        "WAL"
    };
    connection.pragma_update(None, "journal_mode", journal)?;
    for (index, migration) in migrations.iter().enumerate().skip(found as usize) {
        if let Some(hook) = hook {
            hook("migrate").map_err(StoreError::io("cannot migrate the store"))?;
        }
        let next = index + 1;
        connection.execute_batch(&format!(
            "BEGIN IMMEDIATE; {migration} PRAGMA user_version = {next}; COMMIT;"
        ))?;
    }
    Ok(connection)
}

fn prepare(connection: &Connection, durability: Durability) -> Result<(), StoreError> {
    // First of all, or a concurrent opener makes the next statement fail.
    connection.busy_timeout(BUSY)?;
    let level = if durability == Durability::Full {
        "FULL"
    } else {
        "NORMAL"
    };
    connection.pragma_update(None, "synchronous", level)?;
    // Pages by memory map: thousands of look-ups without a system call each.
    connection.pragma_update(None, "mmap_size", 256 << 20)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(())
}

fn version(connection: &Connection) -> Result<u32, StoreError> {
    Ok(connection.pragma_query_value(None, "user_version", |row| row.get(0))?)
}
