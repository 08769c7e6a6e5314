//! Files that change while nobody looks, or while somebody does: what is published is what is
//! there, whatever the times say.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::{
    collections::BTreeMap,
    fs::{self, File, FileTimes, OpenOptions},
    os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant, SystemTime},
};

use memmap2::MmapMut;
use synapse_engine::{Digest, Tree, TreeEntry};
use synapse_tests::{Document, Space};
use walkdir::WalkDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_synapse_under_test");
const PLUGIN: &str = "plugins/p0";
const DATA: &str = "plugins/p0/plugin/data.txt";
const OTHER: &str = "plugins/p0/plugin/other.txt";
const DEBUG: [&str; 2] = ["--all", "--debug"];
/// Longer than a file must rest before its stat is trusted.
const REST: Duration = Duration::from_secs(42);

fn space() -> Space {
    let space = Space::tiny(PROGRAM, 1);
    space.write(DATA, "first content\n");
    space.write(OTHER, "other content\n");
    space.write("plugins/p0/assets/a.txt", "a\n");
    space.write("plugins/p0/assets/b.txt", "b\n");
    space.write("plugins/p0/draft/c.txt", "c\n");
    space
}

/// What the archive must hold: all that lies on the disk, apart from ignore files of git.
fn on_disk(folder: &Path) -> BTreeMap<String, (bool, Vec<u8>)> {
    let mut found = BTreeMap::new();
    for entry in WalkDir::new(folder).follow_links(true) {
        let entry = entry.unwrap();
        let path = entry
            .path()
            .strip_prefix(folder)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        if entry.file_type().is_file() && !path.ends_with(".gitignore") {
            let executable = entry.metadata().unwrap().permissions().mode() & 0o100 != 0;
            found.insert(path, (executable, fs::read(entry.path()).unwrap()));
        }
    }
    found
}

/// Content digest of an unpacked archive, made anew.
fn content(files: &BTreeMap<String, (bool, Vec<u8>)>) -> String {
    let entry = |(path, (executable, bytes)): (&String, &(bool, Vec<u8>))| TreeEntry {
        path: path.clone(),
        executable: *executable,
        size: bytes.len() as u64,
        digest: Digest::of(bytes),
    };
    Tree::new(files.iter().map(entry).collect()).digest().hex()
}

/// The archive holds what it says.
#[track_caller]
fn expect_honest(document: &Document) -> BTreeMap<String, (bool, Vec<u8>)> {
    let files = document.unpacked("tiny-0");
    assert_eq!(
        document.plugin("tiny-0")["checksum"]["content"],
        content(&files)
    );
    files
}

/// Sets a file's mtime back to what it was.
fn keeping_mtime(path: &Path, edit: impl FnOnce()) {
    let at = fs::metadata(path).unwrap().modified().unwrap();
    edit();
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.set_times(FileTimes::new().set_modified(at)).unwrap();
    assert_eq!(fs::metadata(path).unwrap().modified().unwrap(), at);
}

type Edit = (&'static str, fn(&Space));

/// Edits that stat shows in one field, or hardly.
const EDITS: &[Edit] = &[
    ("same size, mtime restored", |space| {
        keeping_mtime(&space.path(DATA), || space.write(DATA, "First content\n"));
    }),
    ("another inode, same size and mtime", |space| {
        let at = fs::metadata(space.path(DATA)).unwrap().modified().unwrap();
        let new = space.path("new");
        fs::write(&new, "first CONTENT\n").unwrap();
        File::options()
            .write(true)
            .open(&new)
            .unwrap()
            .set_times(FileTimes::new().set_modified(at))
            .unwrap();
        fs::rename(new, space.path(DATA)).unwrap();
    }),
    ("two files that change places", |space| {
        let at = fs::metadata(space.path(DATA)).unwrap().modified().unwrap();
        let file = OpenOptions::new()
            .write(true)
            .open(space.path(OTHER))
            .unwrap();
        file.set_times(FileTimes::new().set_modified(at)).unwrap();
        fs::rename(space.path(DATA), space.path("swap")).unwrap();
        fs::rename(space.path(OTHER), space.path(DATA)).unwrap();
        fs::rename(space.path("swap"), space.path(OTHER)).unwrap();
    }),
    ("two folders that change places", |space| {
        let path = |name: &str| space.path(&format!("{PLUGIN}/{name}"));
        fs::write(path("draft/a.txt"), "A\n").unwrap();
        fs::write(path("draft/b.txt"), "B\n").unwrap();
        fs::rename(path("assets"), path("swap")).unwrap();
        fs::rename(path("draft"), path("assets")).unwrap();
        fs::rename(path("swap"), path("draft")).unwrap();
    }),
    ("a byte appended, mtime restored", |space| {
        keeping_mtime(&space.path(DATA), || space.append(DATA, "x"));
    }),
    ("one byte through a descriptor, mtime restored", |space| {
        keeping_mtime(&space.path(DATA), || {
            let file = OpenOptions::new()
                .write(true)
                .open(space.path(DATA))
                .unwrap();
            file.write_all_at(b"F", 0).unwrap();
        });
    }),
    ("an mtime in the future", |space| {
        space.write(DATA, "FIRST content\n");
        let future = SystemTime::now() + Duration::from_hours(24 * 365 * 40);
        let file = OpenOptions::new()
            .write(true)
            .open(space.path(DATA))
            .unwrap();
        file.set_times(FileTimes::new().set_modified(future))
            .unwrap();
    }),
    ("an mtime before 1970", |space| {
        space.write(DATA, "FIRST content\n");
        let past = SystemTime::UNIX_EPOCH - Duration::from_hours(24 * 365);
        let file = OpenOptions::new()
            .write(true)
            .open(space.path(DATA))
            .unwrap();
        file.set_times(FileTimes::new().set_modified(past)).unwrap();
    }),
    ("the executable bit, mtime restored", |space| {
        keeping_mtime(&space.path(DATA), || space.chmod(DATA, 0o755));
    }),
    ("a new file in an old folder", |space| {
        space.write("plugins/p0/assets/new.txt", "new\n");
    }),
    ("a new file, the folder's mtime restored", |space| {
        let folder = File::open(space.path("plugins/p0/assets")).unwrap();
        let at = folder.metadata().unwrap().modified().unwrap();
        space.write("plugins/p0/assets/new.txt", "new\n");
        folder.set_times(FileTimes::new().set_modified(at)).unwrap();
    }),
    ("a file that is gone", |space| {
        fs::remove_file(space.path(DATA)).unwrap();
    }),
    (
        "a file that became a link to the same bytes and then some",
        |space| {
            space.write(OTHER, "first content, and more\n");
            fs::remove_file(space.path(DATA)).unwrap();
            symlink("other.txt", space.path(DATA)).unwrap();
        },
    ),
    ("a folder that became a link to another", |space| {
        fs::remove_dir_all(space.path("plugins/p0/assets")).unwrap();
        symlink("draft", space.path("plugins/p0/assets")).unwrap();
    }),
    ("a file that became a folder", |space| {
        fs::remove_file(space.path(DATA)).unwrap();
        space.write("plugins/p0/plugin/data.txt/inner", "inner\n");
    }),
    ("a file shared by a hard link, edited there", |space| {
        let elsewhere = space.root().join("elsewhere");
        fs::hard_link(space.path(DATA), &elsewhere).unwrap();
        keeping_mtime(&space.path(DATA), || {
            fs::write(&elsewhere, "FIRST CONTENT\n").unwrap();
        });
    }),
    ("the configuration, mtime restored", |space| {
        let path = "plugins/p0/config.yaml";
        keeping_mtime(&space.path(path), || {
            space.replace(path, "name: Tiny", "name: Toni");
        });
    }),
];

/// Publishes after an edit and holds the archive against the disk.
#[track_caller]
fn expect_fresh(space: &Space, name: &str) {
    let document = space.publish(&DEBUG).expect(0);
    assert_eq!(
        document.status("tiny-0"),
        "published",
        "{name}: it was not noticed"
    );
    assert_eq!(
        expect_honest(&document),
        on_disk(&space.path(PLUGIN)),
        "{name}"
    );
    space.publish(&DEBUG).expect_nothing_done();
}

#[test]
fn an_edit_right_after_a_publish_is_noticed() {
    for (name, edit) in EDITS {
        let space = space();
        space.publish(&DEBUG).expect(0);
        edit(&space);
        expect_fresh(&space, name);
    }
}

#[test]
fn an_edit_of_files_long_at_rest_is_noticed() {
    let spaces: Vec<Space> = EDITS.iter().map(|_| space()).collect();
    let ignores = space();
    let mapped = space();
    // A page that is dirty when it is hashed, and is written to again afterwards.
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(mapped.path(DATA))
        .unwrap();
    // SAFETY: nothing else maps or truncates this file.
    let mut map = unsafe { MmapMut::map_mut(&file) }.unwrap();
    map[0] = b'1';
    thread::sleep(REST);
    for ((name, edit), space) in EDITS.iter().zip(&spaces) {
        space.publish(&DEBUG).expect(0);
        let still = space.publish(&DEBUG).expect_nothing_done();
        if still.total("files_hashed") > 0 {
            eprintln!(
                "skipped: the filesystem of {} is not trusted",
                space.root().display()
            );
            return;
        }
        edit(space);
        expect_fresh(space, name);
    }
    for (round, byte) in [b'2', b'3', b'4'].into_iter().enumerate() {
        let first = mapped.publish(&DEBUG).expect(0);
        assert!(round > 0 || expect_honest(&first)["plugin/data.txt"].1[0] == b'1');
        map[0] = byte;
        let second = mapped.publish(&DEBUG).expect(0);
        assert_eq!(expect_honest(&second)["plugin/data.txt"].1[0], byte);
        mapped.publish(&DEBUG).expect_nothing_done();
    }
    ignore_files_count_from_the_workspace_down(&ignores);
}

/// On an index at rest: ignore files that come, change and go, in the plugin and above it.
fn ignore_files_count_from_the_workspace_down(space: &Space) {
    let count = || {
        let document = space.publish(&DEBUG).expect(0);
        document.plugin("tiny-0")["archive"]["files"]
            .as_array()
            .unwrap()
            .len()
    };
    let all = count();
    for path in [
        ".gitignore",
        ".synapseignore",
        "plugins/.gitignore",
        "plugins/p0/assets/.gitignore",
    ] {
        space.write(path, "a.txt\n");
        assert_eq!(count(), all - 1, "{path}");
        keeping_mtime(&space.path(path), || space.write(path, "q.txt\n"));
        assert_eq!(count(), all, "{path}");
        keeping_mtime(&space.path(path), || space.write(path, "*.txt\n"));
        assert!(count() < all, "{path}");
        fs::remove_file(space.path(path)).unwrap();
        assert_eq!(count(), all, "{path}");
    }
    // A member that comes, and one that goes.
    space.tiny_plugin("plugins/p1", "tiny-1");
    assert_eq!(space.publish(&DEBUG).expect(0).total("plugins"), 2);
    fs::rename(space.path("plugins/p1"), space.path("p1")).unwrap();
    assert_eq!(space.publish(&DEBUG).expect(0).total("plugins"), 1);
    space.write("synapse-workspace.yaml", "members: ['plugins/*', p1]\n");
    assert_eq!(space.publish(&DEBUG).expect(0).total("plugins"), 2);
}

#[test]
fn a_store_through_a_map_is_noticed() {
    let space = space();
    let path = space.path(DATA);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    // SAFETY: nothing else maps or truncates this file.
    let mut map = unsafe { MmapMut::map_mut(&file) }.unwrap();
    let mut trials = 0;
    for trial in 0..12u8 {
        map[0] = b'a' + trial;
        thread::sleep(Duration::from_millis(u64::from(trial) * 3));
        let first = space.publish(&DEBUG).expect(0);
        assert_eq!(expect_honest(&first)["plugin/data.txt"].1[0], b'a' + trial);
        let times = |meta: fs::Metadata| {
            (
                meta.mtime(),
                meta.mtime_nsec(),
                meta.ctime(),
                meta.ctime_nsec(),
            )
        };
        let before = times(fs::metadata(&path).unwrap());
        map[0] = b'A' + trial;
        if times(fs::metadata(&path).unwrap()) == before {
            trials += 1;
        }
        let second = space.publish(&DEBUG).expect(0);
        assert_eq!(second.status("tiny-0"), "published", "trial {trial}");
        assert_eq!(expect_honest(&second)["plugin/data.txt"].1[0], b'A' + trial);
    }
    if trials == 0 {
        eprintln!("no store kept the times: this system writes pages back at once");
    }
}

/// Whether `bytes` are what a file holds at one moment while every byte of it is raised by one,
/// from the start to the end.
fn is_one_state(bytes: &[u8]) -> bool {
    let (first, last) = (bytes[0], bytes[bytes.len() - 1]);
    let raised = bytes.iter().take_while(|byte| **byte == first).count();
    bytes[raised..].iter().all(|byte| *byte == last)
        && (first == last || first == last.wrapping_add(1))
}

#[test]
fn a_file_rewritten_in_place_while_it_is_archived_is_never_torn() {
    const SIZE: usize = 20 << 20;
    const TRIALS: u32 = 16;
    let space = space();
    space.write(DATA, vec![0; SIZE]);
    let stop = AtomicBool::new(false);
    let mut published = 0;
    thread::scope(|scope| {
        scope.spawn(|| {
            let file = OpenOptions::new()
                .write(true)
                .open(space.path(DATA))
                .unwrap();
            for state in 1..u32::MAX {
                let chunk = vec![state as u8; 1 << 20];
                for at in 0..SIZE as u64 >> 20 {
                    file.write_all_at(&chunk, at << 20).unwrap();
                }
                // Now hardly a pause, now one that is long enough.
                let pause = Instant::now();
                while pause.elapsed() < Duration::from_millis(u64::from(state % 5) * 150) {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    thread::sleep(Duration::from_millis(3));
                }
                if stop.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for trial in 0..TRIALS {
                let document = space.publish(&DEBUG);
                if document.run.code() == 0 {
                    published += 1;
                    let files = expect_honest(&document);
                    assert!(
                        is_one_state(&files["plugin/data.txt"].1),
                        "trial {trial}: a torn file"
                    );
                } else {
                    let document = document.expect(1);
                    let code = &document.errors()[0];
                    assert!(
                        code.starts_with("edited-while"),
                        "trial {trial}: {:#}",
                        document.value
                    );
                }
            }
        }));
        stop.store(true, Ordering::Relaxed);
        if let Err(panic) = failed {
            std::panic::resume_unwind(panic);
        }
    });
    eprintln!("{published} of {TRIALS} were published");
    // At rest it is published as it is.
    let document = space.publish(&DEBUG).expect(0);
    assert_eq!(
        expect_honest(&document)["plugin/data.txt"].1,
        fs::read(space.path(DATA)).unwrap()
    );
    space.expect_clean_store();
}

#[test]
fn a_file_replaced_while_it_is_archived_is_one_or_the_other() {
    const SIZE: usize = 6 << 20;
    let space = space();
    space.write(DATA, vec![0; SIZE]);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let new = space.root().join("new");
            for state in 1..=u8::MAX {
                fs::write(&new, vec![state; SIZE + usize::from(state % 3)]).unwrap();
                fs::rename(&new, space.path(DATA)).unwrap();
                thread::sleep(Duration::from_millis(u64::from(state % 7) * 40));
                if stop.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for trial in 0..16 {
                let document = space.publish(&DEBUG);
                if document.run.code() == 0 {
                    let bytes = &expect_honest(&document)["plugin/data.txt"].1;
                    assert!(bytes.iter().all(|byte| *byte == bytes[0]), "trial {trial}");
                    assert_eq!(
                        bytes.len(),
                        SIZE + usize::from(bytes[0] % 3),
                        "trial {trial}"
                    );
                } else {
                    assert!(
                        document.errors()[0].starts_with("edited-while"),
                        "{:#}",
                        document.value
                    );
                }
            }
        }));
        stop.store(true, Ordering::Relaxed);
        if let Err(panic) = failed {
            std::panic::resume_unwind(panic);
        }
    });
    space.publish(&DEBUG).expect(0);
    space.expect_clean_store();
}
