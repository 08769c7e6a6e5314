//! The store on disk: commit order, collection, check and repair, locks, several processes.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, reason = "tests")]

mod toy;

use std::{
    fs,
    io::Write,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use synapse_engine::{
    Cacheability, Cancel, Digest, Key, NodeState, Outcome, Record, Store, StoreError,
    store::{Entry, Hook, Limits, Lock, SqliteStore, Subject},
};
use toy::{Bench, spec};

fn subject() -> Subject {
    Subject {
        scope: "s".into(),
        stage: "t".into(),
        name: "n".into(),
    }
}

fn put(store: &SqliteStore, text: &str, at: i64) -> Key {
    let mut file = store.writer().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let blob = Digest::of(text.as_bytes());
    store.place(file, &blob, text.len() as u64).unwrap();
    let key = Key(Digest::of(format!("key of {text}").as_bytes()));
    let outcome = Outcome::new(Cacheability::Store).blob("out", blob, text.len() as u64);
    let entry = Entry {
        key,
        subject: subject(),
        outcome,
        record: Record::default(),
        reasons: Vec::new(),
        at,
        ms: 1,
        streams: Vec::new(),
    };
    store.commit(&[entry]).unwrap();
    key
}

fn blob_path(root: &Path, text: &str) -> std::path::PathBuf {
    let hex = Digest::of(text.as_bytes()).hex();
    root.join("blobs").join(&hex[..2]).join(hex)
}

#[test]
fn blobs_are_durable_before_the_row_that_names_them() {
    let folder = tempfile::tempdir().unwrap();
    let steps = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&steps);
    let hook: Hook = Arc::new(move |step| {
        seen.lock().unwrap().push(step.to_owned());
        Ok(())
    });
    let store = SqliteStore::open(folder.path(), Some(hook)).unwrap();
    steps.lock().unwrap().clear();
    put(&store, "x", 1);
    let steps = steps.lock().unwrap().clone();
    assert_eq!(
        steps,
        [
            "blob.create",
            "blob.chmod",
            "blob.rename",
            "blob.sync",
            "row.begin",
            "row.commit"
        ]
    );
}

#[test]
fn every_step_may_fail_and_the_next_run_mends_it() {
    let specs = [
        spec("a", "1", &[]),
        spec("b", "2", &["a"]),
        spec("c", "3", &["b"]),
    ];
    let reached = Arc::new(Mutex::new(std::collections::BTreeSet::new()));
    let mut missing = Vec::new();
    let mut at = 0;
    // How many steps a run takes depends on what is committed together: where one slips through,
    // the sweep begins again.
    for _ in 0..200 {
        at += 1;
        let folder = tempfile::tempdir().unwrap();
        let count = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&count);
        let failed = Arc::clone(&reached);
        let hook: Hook = Arc::new(move |step| {
            if counted.fetch_add(1, Ordering::SeqCst) + 1 == at {
                failed.lock().unwrap().insert(step.to_owned());
                return Err(std::io::Error::other("injected"));
            }
            Ok(())
        });
        if let Ok(store) = SqliteStore::open(folder.path(), Some(hook)) {
            let _ = Bench::new(Arc::new(store)).try_run(&specs);
        }
        let store = Arc::new(SqliteStore::open(folder.path(), None).unwrap());
        let bench = Bench::new(Arc::<SqliteStore>::clone(&store));
        let reports = bench.run(&specs);
        assert!(
            reports
                .values()
                .all(|report| report.state == NodeState::Done),
            "step {at}"
        );
        bench.taken();
        bench.run(&specs);
        assert!(bench.taken().is_empty(), "step {at}");
        assert!(
            store.check(false, &Cancel::default()).unwrap().is_clean(),
            "step {at}"
        );
        let steps = ["migrate", "blob.create", "blob.chmod", "blob.rename"];
        let steps = steps
            .into_iter()
            .chain(["blob.sync", "row.begin", "row.commit"]);
        let seen = reached.lock().unwrap();
        missing = steps.filter(|step| !seen.contains(*step)).collect();
        if count.load(Ordering::SeqCst) < at {
            if missing.is_empty() {
                return;
            }
            at = 0;
        }
    }
    panic!("never swept: {missing:?}");
}

#[test]
fn collection_goes_by_age_then_by_size_and_blobs_follow() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path(), None).unwrap();
    let keys: Vec<Key> = (0..4)
        .map(|n| put(&store, &format!("{n}").repeat(100), n * 1000))
        .collect();
    let shared = put(&store, "shared", 3000);
    let keep_all = Limits {
        bytes: u64::MAX,
        age: 2500,
        margin: 3600,
    };
    let report = store.gc(keep_all, 3500).unwrap();
    assert_eq!((report.results, report.blobs), (1, 1));
    let by_size = Limits {
        bytes: 250,
        age: i64::MAX,
        margin: 3600,
    };
    let report = store.gc(by_size, 3500).unwrap();
    assert_eq!(
        (report.results, report.bytes),
        (1, 100),
        "the least recently used goes first"
    );
    let rows = store
        .rows(&[keys[0], keys[1], keys[2], keys[3], shared])
        .unwrap();
    let left: Vec<bool> = rows.iter().map(Option::is_some).collect();
    assert_eq!(left, [false, false, true, true, true]);
    assert!(!blob_path(folder.path(), &"0".repeat(100)).exists());
    assert!(blob_path(folder.path(), &"3".repeat(100)).exists());
    assert!(store.check(false, &Cancel::default()).unwrap().is_clean());
    // Leftovers of an interrupted run go when they are old enough.
    let mut file = store.writer().unwrap();
    file.write_all(b"left").unwrap();
    store.place(file, &Digest::of(b"left"), 4).unwrap();
    let none = Limits {
        bytes: u64::MAX,
        age: i64::MAX,
        margin: 3600,
    };
    assert_eq!(store.gc(none, 3500).unwrap().orphans, 0);
    assert_eq!(
        store
            .gc(Limits { margin: 0, ..none }, 3500)
            .unwrap()
            .orphans,
        1
    );
}

#[test]
fn collection_waits_for_nobody_and_hurts_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let one = SqliteStore::open(folder.path(), None).unwrap();
    let two = SqliteStore::open(folder.path(), None).unwrap();
    put(&one, "x", 1);
    let all = Limits {
        bytes: 0,
        age: 0,
        margin: 0,
    };
    assert!(matches!(two.gc(all, 100), Err(StoreError::Busy(_))));
    assert!(matches!(
        SqliteStore::open(folder.path(), None).unwrap().clear(),
        Err(StoreError::Busy(_))
    ));
    drop(one);
    assert_eq!(two.gc(all, 100).unwrap().blobs, 1);
    two.clear().unwrap();
    let store = SqliteStore::open(folder.path(), None).unwrap();
    assert_eq!(store.stats().unwrap().results, 0);
}

#[test]
fn check_finds_every_damage_and_repair_makes_it_a_miss() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path(), None).unwrap();
    let texts = ["whole", "flipped", "cut", "gone"];
    let keys: Vec<Key> = texts.iter().map(|text| put(&store, text, 1)).collect();
    for text in &texts[1..] {
        fs::remove_file(blob_path(folder.path(), text)).unwrap();
    }
    fs::write(blob_path(folder.path(), "flipped"), "Flipped").unwrap();
    fs::write(blob_path(folder.path(), "cut"), "cu").unwrap();
    let cancel = Cancel::default();
    let report = store.check(false, &cancel).unwrap();
    let mut found: Vec<&str> = report
        .damage
        .iter()
        .map(|damage| damage.what.as_str())
        .collect();
    found.sort_unstable();
    assert_eq!(
        found,
        ["2 bytes long instead of 3", "its bytes changed", "missing"]
    );
    assert_eq!(store.check(true, &cancel).unwrap().damage.len(), 3);
    assert!(store.check(false, &cancel).unwrap().is_clean());
    let left: Vec<bool> = store
        .rows(&keys)
        .unwrap()
        .iter()
        .map(Option::is_some)
        .collect();
    assert_eq!(left, [true, false, false, false]);
    assert_eq!(
        fs::read_dir(folder.path().join("quarantine"))
            .unwrap()
            .count(),
        2
    );
}

#[test]
fn a_damaged_database_is_moved_aside() {
    let folder = tempfile::tempdir().unwrap();
    put(&SqliteStore::open(folder.path(), None).unwrap(), "x", 1);
    for suffix in ["-wal", "-shm"] {
        let _ = fs::remove_file(folder.path().join(format!("store.db{suffix}")));
    }
    fs::write(
        folder.path().join("store.db"),
        "this is no database at all, but long enough".repeat(100),
    )
    .unwrap();
    let store = SqliteStore::open(folder.path(), None).unwrap();
    assert_eq!(store.stats().unwrap().results, 0);
    assert!(folder.path().join("store.db.damaged").exists());
    put(&store, "x", 1);
}

#[test]
fn a_store_of_a_later_release_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    put(&SqliteStore::open(folder.path(), None).unwrap(), "x", 1);
    let connection = rusqlite::Connection::open(folder.path().join("store.db")).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let message = SqliteStore::open(folder.path(), None)
        .err()
        .unwrap()
        .to_string();
    assert!(message.contains("later release"), "{message}");
}

#[test]
fn many_open_a_new_store_at_once() {
    // Whoever comes between two migrations must not remember what it saw: a matter of luck, so
    // it is tried many times.
    for _ in 0..40 {
        let folder = tempfile::tempdir().unwrap();
        let open = || SqliteStore::open(&folder.path().join("new"), None).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| put(&open(), "x", 1));
            }
        });
    }
}

#[test]
fn one_holds_a_lock_and_the_other_is_told_who() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (
        SqliteStore::open(folder.path(), None).unwrap(),
        SqliteStore::open(folder.path(), None).unwrap(),
    );
    let key = Key(Digest::of(b"x"));
    let Lock::Held(guard) = one.try_lock(&key).unwrap() else {
        panic!("free")
    };
    let Lock::Busy(pid) = two.try_lock(&key).unwrap() else {
        panic!("held")
    };
    assert_eq!(pid, Some(std::process::id()));
    drop(guard);
    assert!(matches!(two.try_lock(&key).unwrap(), Lock::Held(_)));
}

#[test]
fn two_runs_at_once_share_the_work() {
    let folder = tempfile::tempdir().unwrap();
    let specs: Vec<_> = (0..40)
        .map(|n| spec(&format!("n{n}"), &n.to_string(), &[]))
        .collect();
    let total = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let bench = Bench::new(Arc::new(SqliteStore::open(folder.path(), None).unwrap()));
                let reports = bench.run(&specs);
                assert!(
                    reports
                        .values()
                        .all(|report| report.state == NodeState::Done)
                );
                total.fetch_add(bench.taken().len() as u64, Ordering::SeqCst);
            });
        }
    });
    assert_eq!(total.load(Ordering::SeqCst), 40, "each node ran once");
}

#[test]
fn history_explains_and_forgets_slowly() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path(), None).unwrap();
    for n in 0..15 {
        put(&store, &n.to_string(), n);
    }
    let past = store.history(&subject(), 100).unwrap();
    assert_eq!(past.len(), 10);
    assert_eq!(past[0].at, 14, "newest first");
}
