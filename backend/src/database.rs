//! Owns the database file: how it is opened, its schema, and the way from an older schema.

use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use crate::Hooks;
use crate::error::BackendError;
use crate::files::FOLDER;

pub(crate) const NAME: &str = "backend.db";
const LOCK: &str = "backend.lock";

/// How long one process waits for another. Writers hold the database for one commit.
const PATIENCE: Duration = Duration::from_secs(30);

/// Pages after which the write-ahead log is folded into the database. Small, as every opening
/// of a log that was left behind reads it.
const LOG_PAGES: u32 = 128;

/// Each entry leads from the schema before it to the next. Entries are only ever added.
///
/// Variant `''` is no variant, since NULLs never collide in a unique index. Texts that may be
/// long live in a table of their own, so that a list of releases reads few pages.
pub(crate) const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE release (
        id      INTEGER PRIMARY KEY AUTOINCREMENT,
        code    TEXT    NOT NULL,
        variant TEXT    NOT NULL,
        version TEXT    NOT NULL,
        debug   INTEGER NOT NULL CHECK (debug IN (0, 1)),
        content BLOB    CHECK (length(content) = 32),
        blake3  BLOB    NOT NULL CHECK (length(blake3) = 32),
        md5     TEXT    NOT NULL,
        sha256  TEXT    NOT NULL,
        size    INTEGER NOT NULL,
        file    TEXT    NOT NULL,
        created INTEGER NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX release_slot
        ON release (code, variant, debug, CASE debug WHEN 1 THEN '' ELSE version END);
    CREATE TABLE release_text (
        release      INTEGER PRIMARY KEY REFERENCES release (id) ON DELETE CASCADE,
        config       TEXT NOT NULL,
        readme       TEXT,
        requirements TEXT
    ) STRICT;
",
    include_str!("local_data.sql"),
    include_str!("tenants.sql"),
    include_str!("agent_jobs.sql"),
];

/// Opens the database in `dir`, making and migrating what is missing.
pub(crate) fn open(dir: &Path, hooks: &Hooks) -> Result<Connection, BackendError> {
    open_on(dir, hooks, MIGRATIONS, network(dir))
}

fn open_on(
    dir: &Path,
    hooks: &Hooks,
    migrations: &[&str],
    network: bool,
) -> Result<Connection, BackendError> {
    let path = dir.join(NAME);
    let known = migrations.len() as i64;
    // Asked first, rather than after a failure, when another process may just have made it.
    if path.exists() {
        let conn = connect(&path, OpenFlags::empty()).map_err(BackendError::database("open"))?;
        let found = version(&conn)?;
        if found > known {
            return Err(BackendError::Newer { path, found, known });
        }
        if found == known && !(network && journal(&conn)? == "wal") {
            return configured(conn);
        }
    }
    initialise(dir, &path, hooks, migrations, network)
}

/// The slow way: one process at a time makes the folder, the file and its schema. The lock is
/// of the operating system, so it goes with its holder; it is there because a change of journal
/// mode fails at once when another connection does the same, without regard to the busy timeout.
fn initialise(
    dir: &Path,
    path: &Path,
    hooks: &Hooks,
    migrations: &[&str],
    network: bool,
) -> Result<Connection, BackendError> {
    let doing = "make";
    let io = |cause| BackendError::io(doing, dir, cause);
    let files = dir.join(FOLDER);
    let absent: Vec<&Path> = files.ancestors().take_while(|dir| !dir.exists()).collect();
    if !absent.is_empty() {
        hooks.at("backend.mkdir").map_err(io)?;
        // The folder of the files comes first: a database without it is never seen.
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&files)
            .map_err(io)?;
        for parent in absent.iter().filter_map(|made| made.parent()) {
            sync(parent)?;
        }
    }
    let lock = lock_file(&dir.join(LOCK))?;
    lock.lock()
        .map_err(|cause| BackendError::io("lock", dir, cause))?;

    hooks
        .at("backend.journal")
        .map_err(BackendError::stopped(doing))?;
    // Made for its owner only, and what SQLite puts beside it with it.
    drop(lock_file(path)?);
    let mut conn =
        connect(path, OpenFlags::SQLITE_OPEN_CREATE).map_err(BackendError::database("open"))?;
    // WAL needs memory shared between all who use the file, which network filesystems lack.
    let mode = if network { "DELETE" } else { "WAL" };
    conn.pragma_update_and_check(None, "journal_mode", mode, |_| Ok(()))
        .map_err(BackendError::database(doing))?;
    migrate(&mut conn, path, hooks, migrations)?;
    sync(dir)?;
    configured(conn)
}

/// Makes the entries of a folder durable.
fn sync(dir: &Path) -> Result<(), BackendError> {
    let synced = File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(|cause| BackendError::io("make", dir, cause))
}

fn migrate(
    conn: &mut Connection,
    path: &Path,
    hooks: &Hooks,
    migrations: &[&str],
) -> Result<(), BackendError> {
    let failed = BackendError::database("upgrade");
    let known = migrations.len() as i64;
    // A table that is made anew under its old name would else take its dependents' rows along.
    conn.pragma_update(None, "foreign_keys", false)
        .map_err(&failed)?;
    let tx = conn
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(&failed)?;
    // Looked at again: another process may have come first.
    let found = version(&tx)?;
    if found > known {
        return Err(BackendError::Newer {
            path: path.to_owned(),
            found,
            known,
        });
    }
    if found == 0 {
        let tables: i64 = tx
            .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
            .map_err(&failed)?;
        if tables > 0 {
            return Err(BackendError::Foreign {
                path: path.to_owned(),
            });
        }
    }
    if found == known {
        return Ok(());
    }
    for step in migrations.iter().skip(usize::try_from(found).unwrap_or(0)) {
        tx.execute_batch(step).map_err(&failed)?;
    }
    let dangling = tx
        .prepare("PRAGMA foreign_key_check")
        .and_then(|mut check| check.exists([]))
        .map_err(&failed)?;
    if dangling {
        return Err(BackendError::Database {
            doing: "upgrade",
            reason: "rows refer to others that are not there".to_owned(),
        });
    }
    tx.pragma_update(None, "user_version", known)
        .map_err(&failed)?;
    hooks
        .at("backend.migrate")
        .map_err(BackendError::stopped("upgrade"))?;
    tx.commit().map_err(&failed)
}

fn connect(path: &Path, extra: OpenFlags) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | extra;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(PATIENCE)?;
    Ok(conn)
}

/// Settings that are kept per connection, not in the file. None of these touches the file.
fn configured(conn: Connection) -> Result<Connection, BackendError> {
    let failed = BackendError::database("open");
    // fullfsync is what durable takes on macOS; elsewhere it changes nothing.
    conn.execute_batch(&format!(
        "PRAGMA synchronous = FULL; PRAGMA fullfsync = ON; PRAGMA foreign_keys = ON;
         PRAGMA wal_autocheckpoint = {LOG_PAGES};"
    ))
    .map_err(&failed)?;
    // A process that makes one release would else sync four times more, to fold the log into
    // the database when it closes and to make a new log the next time.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        .map_err(&failed)?;
    Ok(conn)
}

fn version(conn: &Connection) -> Result<i64, BackendError> {
    conn.pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(BackendError::database("open"))
}

fn journal(conn: &Connection) -> Result<String, BackendError> {
    conn.pragma_query_value(None, "journal_mode", |row| row.get(0))
        .map_err(BackendError::database("open"))
}

/// Opens a file that is there only to be locked.
pub(crate) fn lock_file(path: &Path) -> Result<File, BackendError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|cause| BackendError::io("lock", path, cause))
}

/// Whether `dir`, or what exists of it, is on a filesystem shared with other machines.
fn network(dir: &Path) -> bool {
    let nearest = dir.ancestors().find(|dir| dir.exists());
    nearest
        .and_then(|dir| rustix::fs::statfs(dir).ok())
        .is_some_and(|stat| is_network(&stat))
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn is_network(stat: &rustix::fs::StatFs) -> bool {
    // NFS, SMB, CIFS, SMB2, AFS, Coda, Ceph, Lustre, GPFS, 9P, VirtualBox's shared folders, and
    // FUSE, behind which anything may be.
    const KINDS: [u32; 12] = [
        0x6969,
        0x517b,
        0xff53_4d42,
        0xfe53_4d42,
        0x5346_414f,
        0x7375_7245,
        0x00c3_6400,
        0x0bd0_0bd0,
        0x4750_4653,
        0x0102_1997,
        0x786f_4256,
        0x6573_5546,
    ];
    KINDS.contains(&(stat.f_type as u32))
}

#[cfg(target_os = "macos")]
fn is_network(stat: &rustix::fs::StatFs) -> bool {
    const MNT_LOCAL: u32 = 0x1000;
    stat.f_flags & MNT_LOCAL == 0
}

#[cfg(test)]
mod tests {
    use rusqlite::params;
    use tempfile::TempDir;

    use super::*;

    const NONE: Hooks = Hooks(None);

    #[test]
    fn an_older_schema_is_led_to_the_current_one() {
        let dir = TempDir::new().unwrap();
        let first = ["CREATE TABLE a (x TEXT) STRICT;"];
        let conn = open_on(dir.path(), &NONE, &first, false).unwrap();
        conn.execute("INSERT INTO a VALUES (?1)", params!["kept"])
            .unwrap();
        drop(conn);

        let broken = [
            first[0],
            "CREATE TABLE b (y TEXT) STRICT;",
            "CREATE NONSENSE;",
        ];
        assert!(open_on(dir.path(), &NONE, &broken, false).is_err());
        let conn = open_on(dir.path(), &NONE, &first, false).unwrap();
        assert_eq!(
            version(&conn).unwrap(),
            1,
            "a failed upgrade changes nothing"
        );
        drop(conn);

        let all = [
            first[0],
            broken[1],
            "ALTER TABLE a ADD COLUMN z TEXT DEFAULT 'new';",
        ];
        let conn = open_on(dir.path(), &NONE, &all, false).unwrap();
        assert_eq!(version(&conn).unwrap(), 3);
        let row = conn
            .query_row("SELECT x, z FROM a", [], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
            })
            .unwrap();
        assert_eq!(row, ("kept".to_owned(), "new".to_owned()));
        drop(conn);
        let error = open_on(dir.path(), &NONE, &first, false).unwrap_err();
        assert!(matches!(
            error,
            BackendError::Newer {
                found: 3,
                known: 1,
                ..
            }
        ));
    }

    #[test]
    fn the_current_schema() {
        let dir = TempDir::new().unwrap();
        let conn = open_on(dir.path(), &NONE, MIGRATIONS, false).unwrap();
        let mut statement = conn
            .prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")
            .unwrap();
        let sql: Vec<String> = statement
            .query_map([], |row| row.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        insta::assert_snapshot!(sql.join(";\n"));
    }

    #[test]
    fn network_filesystems_get_no_shared_memory() {
        let dir = TempDir::new().unwrap();
        assert!(!network(dir.path()), "tests run on a local disk");
        let conn = open_on(dir.path(), &NONE, MIGRATIONS, true).unwrap();
        assert_eq!(journal(&conn).unwrap(), "delete");
        drop(conn);
        assert!(!dir.path().join("backend.db-wal").exists());

        // A folder that was moved to another kind of disk.
        let elsewhere = TempDir::new().unwrap();
        let conn = open_on(elsewhere.path(), &NONE, MIGRATIONS, false).unwrap();
        assert_eq!(journal(&conn).unwrap(), "wal");
        drop(conn);
        let conn = open_on(elsewhere.path(), &NONE, MIGRATIONS, true).unwrap();
        assert_eq!(journal(&conn).unwrap(), "delete");
    }

    #[test]
    fn every_connection_is_durable() {
        let dir = TempDir::new().unwrap();
        for _ in 0..2 {
            let conn = open_on(dir.path(), &NONE, MIGRATIONS, false).unwrap();
            let get = |pragma| conn.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
            assert_eq!(get("synchronous").unwrap(), 2);
            assert_eq!(get("foreign_keys").unwrap(), 1);
            assert_eq!(get("fullfsync").unwrap(), 1);
        }
    }

    #[test]
    fn a_database_of_something_else_is_left_alone() {
        let dir = TempDir::new().unwrap();
        let conn = Connection::open(dir.path().join(NAME)).unwrap();
        conn.execute_batch("CREATE TABLE theirs (x)").unwrap();
        drop(conn);
        let error = open_on(dir.path(), &NONE, MIGRATIONS, false).unwrap_err();
        assert!(matches!(error, BackendError::Foreign { .. }), "{error}");
    }

    #[test]
    fn first_openings_at_once_all_succeed() {
        for _ in 0..20 {
            let dir = TempDir::new().unwrap();
            let data = dir.path().join("new/data");
            std::thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| open_on(&data, &NONE, MIGRATIONS, false).unwrap());
                }
            });
        }
    }
}
