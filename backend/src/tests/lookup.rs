//! Reading releases, and opening the folder.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::*;
use crate::BackendError;

#[test]
fn the_folder_is_private_and_opening_it_again_writes_nothing() {
    let world = World::new();
    drop(world.open());
    let stat = || {
        let mut stats = Vec::new();
        for name in ["", "backend.db", "backend.db-wal", "backend.lock", "files"] {
            let meta = fs::metadata(world.data().join(name)).unwrap();
            stats.push((
                name,
                meta.mode(),
                meta.mtime(),
                meta.mtime_nsec(),
                meta.size(),
            ));
        }
        stats
    };
    let before = stat();
    assert_eq!(before[0].1 & 0o777, 0o700);
    let backend = world.hooked(|point| panic!("{point} in an opening"));
    assert_eq!(backend.identity(), "embedded");
    drop(backend);
    assert_eq!(stat(), before);
}

#[test]
fn a_thousand_releases_are_listed_in_one_go() {
    let world = World::new();
    let backend = world.open();
    create(&backend, &world.sample("yolo", "0.1.0", "a")).unwrap();
    let conn = Connection::open(world.data().join("backend.db")).unwrap();
    conn.execute_batch(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 999)
         INSERT INTO release
             (code, variant, version, debug, content, blake3, md5, sha256, size, file, created)
         SELECT 'p' || i, '', version, debug, content, blake3, md5, sha256, size, file, created
         FROM release, n;
         INSERT INTO release_text SELECT release.id, config || printf('%4000s', ''), NULL, NULL
         FROM release, (SELECT config FROM release_text) WHERE id > 1;",
    )
    .unwrap();
    let best = (0..20)
        .map(|_| {
            let start = Instant::now();
            assert_eq!(backend.all().unwrap().len(), 1000);
            start.elapsed()
        })
        .min()
        .unwrap();
    let opening = (0..20)
        .map(|_| {
            let start = Instant::now();
            drop(world.open());
            start.elapsed()
        })
        .min()
        .unwrap();
    println!("all: {best:?}, open and close: {opening:?}");
    // Far above what either takes, so that a busy machine fails no test.
    assert!(best < Duration::from_millis(100) && opening < Duration::from_millis(50));
}

#[test]
fn the_archive_is_read_to_its_end_though_replaced() {
    let world = World::new();
    let backend = world.open();
    let sample = world.sample("yolo", "0.1.0", "a").debug();
    let first = create(&backend, &sample).unwrap();
    let mut file = backend.open_archive(&first.id).unwrap();
    create(&backend, &world.sample("yolo", "0.1.0", "b").debug()).unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    assert_eq!(Digest::of(&bytes), sample.blake3);
    assert!(matches!(
        backend.open_archive(&first.id),
        Err(BackendError::NoRelease(_))
    ));
}

#[test]
fn a_deleted_release_is_gone_and_its_id_stays_unused() {
    let world = World::new();
    let backend = world.open();
    let sample = world.sample("yolo", "0.1.0", "a");
    let first = create(&backend, &sample).unwrap();
    backend.delete(&first.id).unwrap();
    assert_eq!(world.files(), [""; 0]);
    assert_eq!(backend.find(&sample.slot).unwrap(), None);
    for id in [first.id.as_str(), "nonsense", ""] {
        let text = format!("there is no release {id}");
        assert_eq!(backend.delete(id).unwrap_err().to_string(), text);
        assert_eq!(backend.release(id).unwrap_err().to_string(), text);
        assert_eq!(backend.open_archive(id).unwrap_err().to_string(), text);
    }
    assert_eq!(
        backend.content(&first),
        Err(ClientError::Unavailable(format!(
            "there is no release {}",
            first.id
        )))
    );
    assert_ne!(create(&backend, &sample).unwrap().id, first.id);
}

#[test]
fn a_content_digest_that_was_not_recorded_is_computed() {
    let world = World::new();
    let backend = world.open();
    let archive = |name: &str, files: &[(&'static str, &'static [u8])]| {
        let archive = world.root.path().join("sent").join(name);
        zip_file(&archive, files.iter().copied());
        let sample = sample_of(name.trim_end_matches(".zip"), "0.1.0", archive).debug();
        create(&backend, &sample).unwrap()
    };
    let base = archive("base.zip", &[("a", b"1"), ("b/c", b"#!2")]);
    let order = archive("order.zip", &[("b/c", b"#!2"), ("a", b"1")]);
    let bytes = archive("bytes.zip", &[("a", b"2"), ("b/c", b"#!2")]);
    let name = archive("name.zip", &[("a", b"1"), ("b/d", b"#!2")]);
    let mode = archive("mode.zip", &[("a", b"1"), ("b/c", b"2")]);
    let conn = Connection::open(world.data().join("backend.db")).unwrap();
    conn.execute("UPDATE release SET content = NULL", [])
        .unwrap();
    assert_eq!(backend.find(&base.slot).unwrap().unwrap().content, None);

    let mut tree = b"synapse.tree.v1".to_vec();
    for (path, executable, bytes) in [("a", 0, &b"1"[..]), ("b/c", 1, b"#!2")] {
        tree.extend((path.len() as u64).to_le_bytes());
        tree.extend(path.bytes());
        tree.push(executable);
        tree.extend((bytes.len() as u64).to_le_bytes());
        tree.extend(Digest::of(bytes).as_bytes());
    }
    let content = |release| backend.content(release).unwrap();
    assert_eq!(content(&base), Digest::of(&tree));
    assert_eq!(content(&base), content(&order));
    for other in [&bytes, &name, &mode] {
        assert_ne!(content(&base), content(other));
    }
}
