//! Failures and kills at every step.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, exit};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rusqlite::ffi;

use super::*;
use crate::release::{Commit, after_commit};
use crate::{BackendError, HOOK_POINTS, Hook};

fn refuse(kind: io::ErrorKind) -> io::Result<()> {
    Err(kind.into())
}

/// A disk that works `steps` times, then never again: to what comes after, that is a kill.
fn dying(steps: usize, calls: &Arc<AtomicUsize>) -> Hook {
    let calls = Arc::clone(calls);
    Arc::new(move |_| {
        let alive = calls.fetch_add(1, Ordering::SeqCst) < steps;
        if alive {
            Ok(())
        } else {
            Err(io::Error::other("killed"))
        }
    })
}

/// Kills the making of `sample`, after `before` was made, at each step in turn, the steps of the
/// opening among them. Returns how many steps there were.
fn kill_at_each_step(sample: fn(&World) -> Sample, before: Option<fn(&World) -> Sample>) -> usize {
    for steps in 0.. {
        let world = World::new();
        let previous = before.map(|before| create(&world.open(), &before(&world)).unwrap());
        let sample = sample(&world);

        let calls = Arc::new(AtomicUsize::new(0));
        let options = Options {
            hook: Some(dying(steps, &calls)),
            ..options()
        };
        let result = match Embedded::open(&world.data(), options) {
            Ok(backend) => create(&backend, &sample),
            Err(error) => Err(error.into()),
        };
        let killed = calls.load(Ordering::SeqCst) > steps;

        let backend = world.open();
        assert_eq!(backend.check().unwrap(), [], "after {steps} steps");
        let found = backend.find(&sample.slot).unwrap();
        match &result {
            Ok(made) => assert_eq!(found.as_ref(), Some(made)),
            Err(ClientError::Unavailable(text)) => {
                assert!(text.contains("killed"), "{text}");
                assert_eq!(found, previous.clone(), "after {steps} steps");
            }
            Err(other) => panic!("{other:?} after {steps} steps"),
        }
        match create(&backend, &sample) {
            Ok(_) => assert!(result.is_err() || sample.slot.debug),
            Err(error) => assert!(matches!(error, ClientError::Exists(_)) && result.is_ok()),
        }
        assert_eq!(backend.all().unwrap().len(), 1);
        // What the kill left goes, what counts stays.
        let later = Options {
            clock: Arc::new(|| i64::MAX),
            ..Options::default()
        };
        let backend = Embedded::open(&world.data(), later).unwrap();
        backend.collect(Duration::ZERO).unwrap().unwrap();
        assert_eq!(world.files().len(), 1);
        assert_eq!(backend.check().unwrap(), []);
        if !killed {
            assert!(result.is_ok());
            return steps;
        }
    }
    unreachable!()
}

#[test]
fn a_kill_at_any_step_of_a_link() {
    // mkdir, journal, migrate; link, sync, sync-dir, commit.
    assert_eq!(
        kill_at_each_step(|world| world.sample("a", "0.1.0", "a").read_only(), None),
        7
    );
}

#[test]
fn a_kill_at_any_step_of_a_copy() {
    // mkdir, journal, migrate; copy, write, sync, sync-dir, commit.
    let steps = kill_at_each_step(|world| world.sample("a", "0.1.0", "a"), None);
    // A filesystem that clones has no write.
    assert!([7, 8].contains(&steps), "{steps}");
}

#[test]
fn a_kill_at_any_step_of_a_replacement() {
    // link, sync, sync-dir, commit, unlink.
    let steps = kill_at_each_step(
        |world| world.sample("a", "0.1.0", "new").read_only().debug(),
        Some(|world| world.sample("a", "0.1.0", "old").debug()),
    );
    assert_eq!(steps, 5);
}

#[test]
fn a_step_that_fails_once_leaves_nothing_and_says_so() {
    let mut told = Vec::new();
    let kinds = [
        io::ErrorKind::StorageFull,
        io::ErrorKind::PermissionDenied,
        io::ErrorKind::ReadOnlyFilesystem,
    ];
    for (index, point) in HOOK_POINTS[3..9].iter().enumerate() {
        let world = World::new();
        drop(world.open());
        let fired = Mutex::new(false);
        let backend = world.hooked(move |at| {
            let first = at == *point && !std::mem::replace(&mut *fired.lock().unwrap(), true);
            if first {
                refuse(kinds[index % 3])
            } else {
                Ok(())
            }
        });
        let mut sample = world.sample("yolo", "0.1.0", "a");
        if *point == "backend.link" {
            sample = sample.read_only();
        }
        let Err(ClientError::Unavailable(text)) = create(&backend, &sample) else {
            panic!("{point}")
        };
        told.push(format!("{point}: {text}"));
        assert_eq!(world.files(), [""; 0], "{point}");
        assert_eq!(backend.all().unwrap(), []);
        create(&backend, &sample).unwrap();
        assert_eq!(world.files().len(), 1);
    }
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"/\S* dir\+é", "[data]");
    settings.add_filter("[0-9a-f]{16}", "[random]");
    settings.bind(|| insta::assert_snapshot!(told.join("\n")));
}

#[test]
fn a_delete_that_fails_deletes_nothing() {
    let world = World::new();
    let made = create(&world.open(), &world.sample("yolo", "0.1.0", "a")).unwrap();
    let backend = world.hooked(|_| refuse(io::ErrorKind::StorageFull));
    let text = "cannot write the backend's database: the disk is full";
    assert_eq!(backend.delete(&made.id).unwrap_err().to_string(), text);
    assert_eq!(backend.all().unwrap(), [made]);
    assert_eq!(backend.check().unwrap(), []);
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let world = World::new();
    fs::write(world.root.path().join("file"), "").unwrap();
    let error = Embedded::open(&world.root.path().join("file/data"), options()).unwrap_err();
    let text = error.to_string();
    assert!(
        text.ends_with("file/data: part of its path is not a folder"),
        "{text}"
    );
}

#[test]
fn a_folder_that_may_not_be_written_to_is_told_of_plainly() {
    let world = World::new();
    drop(world.open());
    let files = world.data().join("files");
    fs::set_permissions(&files, Permissions::from_mode(0o500)).unwrap();
    let may = File::create(files.join("probe")).is_ok();
    let result = create(&world.open(), &world.sample("yolo", "0.1.0", "a"));
    fs::set_permissions(&files, Permissions::from_mode(0o700)).unwrap();
    // Root may all the same.
    if !may {
        let Err(ClientError::Unavailable(text)) = result else {
            panic!("{result:?}")
        };
        assert!(text.ends_with("permission denied"), "{text}");
    }
}

#[test]
fn a_damaged_database_is_an_error_with_plain_words() {
    let world = World::new();
    drop(world.open());
    for name in ["backend.db-wal", "backend.db-shm"] {
        fs::remove_file(world.data().join(name)).unwrap();
    }
    fs::write(world.data().join("backend.db"), [b'x'; 8192]).unwrap();
    let error = Embedded::open(&world.data(), options()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot open the backend's database: it is damaged"
    );
}

#[test]
fn a_failed_commit_is_unknown_only_where_it_is() {
    let error = |code| rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
    assert_eq!(
        after_commit(&error(ffi::SQLITE_FULL), Ok(false)),
        Commit::NotDone
    );
    assert_eq!(
        after_commit(&error(ffi::SQLITE_BUSY), Ok(false)),
        Commit::NotDone
    );
    assert_eq!(
        after_commit(&error(ffi::SQLITE_IOERR_FSYNC), Ok(false)),
        Commit::Unknown
    );
    assert_eq!(
        after_commit(&error(ffi::SQLITE_IOERR_FSYNC), Ok(true)),
        Commit::Done
    );
    let unread = Err(error(ffi::SQLITE_IOERR_READ));
    assert_eq!(
        after_commit(&error(ffi::SQLITE_FULL), unread),
        Commit::Unknown
    );
}

/// Not a test of its own: run in other processes by those below.
#[test]
fn victim() {
    let Some(point) = std::env::var_os("BACKEND_TEST_KILL_AT") else {
        return;
    };
    let world = World {
        root: tempfile::Builder::new()
            .disable_cleanup(true)
            .tempdir()
            .unwrap(),
    };
    let data = PathBuf::from(std::env::var_os("BACKEND_TEST_DATA").unwrap());
    let hook = move |at: &str| {
        if at == point {
            std::process::abort()
        } else {
            Ok(())
        }
    };
    let fs_root = world.root.path().to_owned();
    fs::create_dir(fs_root.join("sent")).unwrap();
    let sample = world.sample("yolo", "0.1.0", &std::process::id().to_string());
    let sample = if std::process::id().is_multiple_of(2) {
        sample
    } else {
        sample.read_only()
    };
    let result = Embedded::open(
        &data,
        Options {
            hook: Some(Arc::new(hook)),
            ..options()
        },
    )
    .map_err(ClientError::from)
    .and_then(|backend| create(&backend, &sample));
    fs::remove_dir_all(fs_root).unwrap();
    exit(match result {
        Ok(_) => 10,
        Err(ClientError::Exists(_)) => 11,
        Err(_) => 12,
    });
}

fn spawn_victim(world: &World, point: &str) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tests::faults::victim", "--nocapture"])
        .env("BACKEND_TEST_KILL_AT", point)
        .env("BACKEND_TEST_DATA", world.data())
        .env("TMPDIR", world.root.path())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn a_process_that_dies_leaves_no_row_without_file() {
    let world = World::new();
    for point in HOOK_POINTS {
        let status = spawn_victim(&world, point).wait().unwrap();
        let backend = world.open();
        assert_eq!(backend.check().unwrap(), [], "{point}");
        assert!(backend.all().unwrap().len() <= 1, "{point}");
        if status.signal().is_none() {
            assert!(
                [10, 11].contains(&status.code().unwrap()),
                "{point}: {status}"
            );
        }
        for release in backend.all().unwrap() {
            backend.delete(&release.id).unwrap();
        }
    }
}

#[test]
fn of_many_processes_one_wins() {
    let world = World::new();
    let children: Vec<_> = (0..6).map(|_| spawn_victim(&world, "never")).collect();
    let mut codes: Vec<_> = children
        .into_iter()
        .map(|mut child| child.wait().unwrap().code().unwrap())
        .collect();
    codes.sort_unstable();
    assert_eq!(codes, [10, 11, 11, 11, 11, 11]);
    assert_eq!(world.files().len(), 1);
    assert_eq!(world.open().check().unwrap(), []);
}

#[test]
fn a_newer_schema_is_refused_with_what_to_do() {
    let world = World::new();
    drop(world.open());
    let conn = rusqlite::Connection::open(world.data().join("backend.db")).unwrap();
    conn.pragma_update(None, "user_version", 99).unwrap();
    drop(conn);
    let error = Embedded::open(&world.data(), options()).unwrap_err();
    assert!(matches!(error, BackendError::Newer { found: 99, .. }));
    let text = error.to_string();
    assert!(
        text.contains("has schema 99, written by a newer synapse"),
        "{text}"
    );
    assert_eq!(
        error.hint(),
        Some("upgrade synapse, or give it another data folder")
    );
}
