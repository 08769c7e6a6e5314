//! What people and disks do to our files, and odd files in theirs: noticed, mended, or refused
//! with a hint that works.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::{fs, process::Command};

use rusqlite::Connection;
use synapse_tests::Space;

const PROGRAM: &str = env!("CARGO_BIN_EXE_synapse_under_test");

#[test]
fn release_files_deleted_by_hand_are_sent_again() {
    let space = Space::tiny(PROGRAM, 2);
    let first = space.publish(&["--all"]).expect(0);
    let id = |document: &synapse_tests::Document, code: &str| {
        document.plugin(code)["targets"][0]["release"]["id"].clone()
    };
    let files = space.home().join("data/backend/files");
    let is_zip = |path: &std::path::Path| path.extension().is_some_and(|end| end == "zip");
    let zips = || {
        let files = fs::read_dir(&files)
            .unwrap()
            .map(|file| file.unwrap().path());
        files.filter(|path| is_zip(path)).collect::<Vec<_>>()
    };
    for file in zips() {
        fs::remove_file(file).unwrap();
    }
    let again = space.publish(&["--all"]).expect(0);
    assert_eq!(again.total("published"), 2);
    assert_eq!(again.ran(), ["tiny-0 upload", "tiny-1 upload"]);
    assert_eq!(
        id(&again, "tiny-0"),
        id(&first, "tiny-0"),
        "the same release, mended"
    );
    assert_eq!(zips().len(), 2);
    space.publish(&["--all"]).expect(0).expect_nothing_done();
    // Other content does not slip into a release whose file is gone.
    fs::remove_file(&zips()[0]).unwrap();
    fs::remove_file(&zips()[0]).unwrap();
    for code in ["p0", "p1"] {
        space.append(&format!("plugins/{code}/plugin/run.py"), "# other\n");
    }
    let refused = space.publish(&["--all"]).expect(1);
    assert_eq!(refused.total("published"), 0);
}

#[test]
fn a_flipped_bit_in_a_row_is_a_miss_and_check_finds_it() {
    let space = Space::tiny(PROGRAM, 3);
    let first = space.publish(&["--all"]).expect(0);
    let database = Connection::open(space.home().join("cache/store.db")).unwrap();
    let changed = database
        .execute(
            "UPDATE node SET outcome = replace(outcome, '\"md5\"', '\"md4\"')",
            [],
        )
        .unwrap();
    assert!(changed > 0);
    drop(database);
    let check = space.synapse(&["cache", "check", "--json"]).expect(1);
    assert!(check.json()["report"]["rows"].as_u64().unwrap() > 0);
    let again = space.publish(&["--all"]).expect(0);
    for code in ["tiny-0", "tiny-1", "tiny-2"] {
        // Unknown where the row was damaged; never wrong.
        let (sums, right) = (
            &again.plugin(code)["checksum"],
            &first.plugin(code)["checksum"],
        );
        assert!(sums.is_null() || sums == right, "{sums}");
    }
    assert_eq!(again.total("bytes_sent"), 0);
    space.synapse(&["cache", "check", "--repair"]).expect(0);
    space.expect_clean_store();
}

#[test]
fn a_damaged_ledger_is_named_with_a_hint_that_works() {
    let space = Space::tiny(PROGRAM, 1);
    space.publish(&["--all"]).expect(0);
    let ledger = space.home().join("data/ledger.db");
    for suffix in ["-wal", "-shm"] {
        let _ = fs::remove_file(space.home().join(format!("data/ledger.db{suffix}")));
    }
    fs::write(&ledger, "no database at all ".repeat(500)).unwrap();
    let refused = space.publish(&["--all"]).expect(3);
    let error = refused.error();
    assert!(
        error["where"].as_str().unwrap().ends_with("ledger.db"),
        "{error}"
    );
    assert!(
        error["hint"]
            .as_str()
            .unwrap()
            .starts_with("move the file away"),
        "{error}"
    );
    fs::remove_file(&ledger).unwrap();
    let again = space.publish(&["--all"]).expect(0);
    assert_eq!(again.total("up_to_date"), 1);
}

#[test]
fn folders_of_the_store_that_were_tidied_away_come_back() {
    for folder in ["locks", "tmp", "blobs", "index"] {
        let space = Space::tiny(PROGRAM, 1);
        space.publish(&["--all"]).expect(0);
        fs::remove_dir_all(space.home().join("cache").join(folder)).unwrap();
        space.append("plugins/p0/plugin/run.py", "# edited\n");
        space.publish(&["--all", "--bump", "patch"]).expect(0);
        space.synapse(&["cache", "check", "--repair"]).expect(0);
        space.expect_clean_store();
    }
}

#[test]
fn pipes_and_endless_files_are_refused_not_waited_for() {
    let space = Space::tiny(PROGRAM, 1);
    let pipe = space.path("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    for config in [pipe.to_str().unwrap(), "/dev/zero"] {
        space.publish(&["-p", "plugins/p0", "-c", config]).expect(1);
    }
    std::os::unix::fs::symlink("/dev/zero", space.path("plugins/p0/.synapseignore")).unwrap();
    space.publish(&["--all"]).expect(1);
    fs::remove_file(space.path("plugins/p0/.synapseignore")).unwrap();
    let huge = fs::File::create(space.path("plugins/p0/.gitignore")).unwrap();
    huge.set_len(3 << 30).unwrap();
    space.publish(&["--all"]).expect(1);
}

#[test]
fn a_line_of_an_exclamation_mark_ignores_nothing_and_keeps_nothing() {
    let space = Space::tiny(PROGRAM, 1);
    space.write("plugins/p0/.gitignore", "*.log\n!\n!/\n/\n");
    space.write("plugins/p0/.git/config", "x");
    space.write("plugins/p0/dist/y", "x");
    space.write("plugins/p0/x.log", "x");
    let document = space.publish(&["--all"]).expect(0);
    let files: Vec<String> = document.unpacked("tiny-0").into_keys().collect();
    assert!(
        files
            .iter()
            .all(|path| !path.contains("git") && !path.contains("dist")),
        "{files:?}"
    );
    assert!(!files.contains(&"x.log".to_owned()));
}

#[test]
fn programs_get_json_from_every_command_and_from_wrong_use() {
    let space = Space::tiny(PROGRAM, 1);
    space.publish(&["--all"]).expect(0);
    let commands: [&[&str]; 8] = [
        &["status", "--local"],
        &["plan", "--local"],
        &["explain", "tiny-0", "--local"],
        &["cache", "stats"],
        &["cache", "check"],
        &["cache", "gc"],
        &["login", "--local"],
        &["cache", "clear"],
    ];
    for command in commands {
        let run = space.synapse(&[command, &["--events"]].concat()).expect(0);
        let lines: Vec<serde_json::Value> = run
            .stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.last().unwrap()["event"], "summary", "{command:?}");
        let document = space.synapse(&[command, &["--json"]].concat()).json();
        assert_eq!(document["schema"], 1, "{command:?}");
    }
    for wrong in [
        &["plan", "--nope"][..],
        &["plugin", "publish", "-j", "0"],
        &["explain"],
    ] {
        let run = space.synapse(&[wrong, &["--json"]].concat()).expect(2);
        assert_eq!(run.json()["errors"][0]["code"], "usage", "{wrong:?}");
    }
}
