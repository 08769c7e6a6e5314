//! The first publish and the ones after it: what is made, what is sent, and that nothing is done
//! twice.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::{
    fs::{self, FileTimes},
    process::Command,
    time::{Duration, SystemTime},
};

use serde_json::Value;
use synapse_tests::{Document, Space, copy_tree};
use walkdir::WalkDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_synapse_under_test");

/// What the archives of the fixtures must hold, no more and no less; `*` marks executables.
const EXPECTED: [(&str, &[&str]); 7] = [
    (
        "tiny-classifier",
        &[
            ".synapseignore",
            "README.md",
            "config.yaml",
            "notes/model-card.md",
            "plugin/__init__.py",
            "plugin/centroids.py",
            "plugin/defaults.tmp.json",
            "plugin/evaluate.py",
            "plugin/inference.py",
            "plugin/train.py",
            "plugin/weights/tiny.bin",
            "pyproject.toml",
            "requirements.txt",
        ],
    ),
    (
        "coco-export",
        &[
            "README.md",
            "config.yaml",
            "plugin/__init__.py",
            "plugin/assets/categories.json",
            "plugin/assets/logo.png",
            "plugin/export.py",
            "plugin/formats/__init__.py",
            "plugin/formats/coco/__init__.py",
            "plugin/formats/coco/document.py",
            "requirements.txt",
        ],
    ),
    (
        "drone-upload",
        &[
            "README.md",
            "config.yaml",
            "docs/설치-안내.md",
            "plugin/__init__.py",
            "plugin/upload.py",
            "requirements.txt",
            "scripts/split_flight.sh*",
        ],
    ),
    (
        "edge-snap",
        &[
            "README.md",
            "config.yaml",
            "plugin/__init__.py",
            "plugin/snap.py",
            "requirements.txt",
            "wheels/synapse_fixture_geometry-0.1.0-py3-none-any.whl",
        ],
    ),
    (
        "auto-tagger",
        &[
            "README.md",
            "config.yaml",
            "plugin/__init__.py",
            "plugin/tagger.py",
            "requirements.txt",
        ],
    ),
    (
        "box-merge",
        &[
            "README.md",
            "config.yaml",
            "plugin/__init__.py",
            "plugin/merge.py",
            "requirements.txt",
        ],
    ),
    (
        "frame-check",
        &[
            "README.md",
            "config.yaml",
            "plugin/__init__.py",
            "plugin/limits.json",
            "plugin/validate.py",
            "requirements.txt",
            "shared/limits.json",
        ],
    ),
];

const TINY: &str = "plugins/synapse-tiny-classifier-plugin";
const COCO: &str = "plugins/synapse-coco-export-plugin";

fn listed(document: &Document, code: &str) -> Vec<String> {
    let entries = document.unpacked(code).into_iter();
    entries
        .map(|(path, (executable, _))| if executable { path + "*" } else { path })
        .collect()
}

/// Python's zipfile and unzip have nothing to say against an archive.
fn accepted_elsewhere(document: &Document, code: &str) {
    let archive = document.archive(code);
    let script = "import sys, zipfile\n\
                  archive = zipfile.ZipFile(sys.argv[1])\n\
                  assert archive.testzip() is None\n\
                  assert 'config.yaml' in archive.namelist()\n\
                  print('\\n'.join(archive.namelist()))";
    let python = Command::new("python3")
        .args(["-c", script])
        .arg(&archive)
        .output()
        .unwrap();
    assert!(python.status.success(), "{python:?}");
    let names = String::from_utf8(python.stdout).unwrap();
    assert_eq!(names.lines().count(), document.unpacked(code).len());
    let unzip = Command::new("unzip")
        .args(["-tqq"])
        .arg(&archive)
        .output()
        .unwrap();
    assert!(
        unzip.status.success() && unzip.stdout.is_empty(),
        "{unzip:?}"
    );
}

fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort();
    texts
}

fn stages_of(codes: &[&str], stages: &[&str]) -> Vec<String> {
    let all = |code: &&str| {
        stages
            .iter()
            .map(|stage| format!("{code} {stage}"))
            .collect::<Vec<_>>()
    };
    sorted(codes.iter().flat_map(all).collect())
}

const ALL: [&str; 5] = ["inspect", "sync", "archive", "checksum", "upload"];
/// Those after a change of sources that changes nothing of what they say of actions.
const EDITED: [&str; 4] = ["inspect", "archive", "checksum", "upload"];

#[test]
fn the_fixture_workspace_is_published_once() {
    let space = Space::workspace(PROGRAM);
    let first = space.publish(&["--all"]).expect(0);
    assert_eq!((first.total("plugins"), first.total("published")), (7, 7));
    assert_eq!(first.total("nodes_run"), 35);
    assert_eq!(
        sorted(first.ran()),
        stages_of(&EXPECTED.map(|(code, _)| code), &ALL)
    );
    for (code, files) in EXPECTED {
        assert_eq!(listed(&first, code), files, "{code}");
        accepted_elsewhere(&first, code);
        let reported: Vec<Value> = first.plugin(code)["archive"]["files"]
            .as_array()
            .unwrap()
            .clone();
        let sizes: Vec<(String, u64)> = reported
            .iter()
            .map(|file| {
                (
                    file["path"].as_str().unwrap().to_owned(),
                    file["size"].as_u64().unwrap(),
                )
            })
            .collect();
        let packed: Vec<(String, u64)> = first
            .unpacked(code)
            .into_iter()
            .map(|(path, (_, bytes))| (path, bytes.len() as u64))
            .collect();
        assert_eq!(sizes, packed, "{code}");
    }
    // Bytes are those of the source, through a link as well.
    let frame = first.unpacked("frame-check");
    assert_eq!(frame["plugin/limits.json"], frame["shared/limits.json"]);
    let merge = first.unpacked("box-merge");
    assert_eq!(
        merge["config.yaml"].1,
        space
            .read("plugins/synapse-box-merge-plugin/synapse.yaml")
            .as_bytes()
    );
    for entry in WalkDir::new(space.path(COCO))
        .into_iter()
        .filter_map(Result::ok)
    {
        if entry.file_type().is_file() {
            let path = entry
                .path()
                .strip_prefix(space.path(COCO))
                .unwrap()
                .to_str()
                .unwrap();
            assert_eq!(
                first.unpacked("coco-export")[path].1,
                fs::read(entry.path()).unwrap(),
                "{path}"
            );
        }
    }
    assert!(
        space
            .releases()
            .values()
            .all(|versions| versions.len() == 1)
    );

    let again = space.publish(&["--all"]).expect_nothing_done();
    assert_eq!(again.total("nodes_hit"), 35);
    for (code, _) in EXPECTED {
        let release = |document: &Document| document.plugin(code)["targets"][0]["release"].clone();
        assert_eq!(release(&again), release(&first));
        // Checksums come with the receipt.
        assert_eq!(
            again.plugin(code)["checksum"],
            first.plugin(code)["checksum"]
        );
    }
    // The same, one at a time: from its folder, by path, by code.
    space.publish(&["--path", TINY]).expect_nothing_done();
    space
        .publish(&["--plugin", "box-merge", "--plugin", "auto-tagger@acme"])
        .expect_nothing_done();
    space.expect_clean_store();
}

#[test]
fn touching_everything_changes_nothing() {
    let space = Space::workspace(PROGRAM);
    space.publish(&["--all"]).expect(0);
    let ages = [
        Duration::ZERO,
        Duration::from_hours(24 * 365),
        Duration::from_hours(1),
    ];
    for (index, entry) in WalkDir::new(space.cwd())
        .into_iter()
        .filter_map(Result::ok)
        .enumerate()
    {
        if entry.file_type().is_file() {
            let at = SystemTime::now() - ages[index % 3];
            let file = fs::OpenOptions::new()
                .write(true)
                .open(entry.path())
                .unwrap();
            file.set_times(FileTimes::new().set_modified(at).set_accessed(at))
                .unwrap();
        }
    }
    space.publish(&["--all"]).expect_nothing_done();
    // Nor does giving every file a new inode.
    let copy = space.root().join("copy");
    copy_tree(space.cwd(), &copy);
    fs::remove_dir_all(space.cwd()).unwrap();
    fs::rename(&copy, space.cwd()).unwrap();
    space.publish(&["--all"]).expect_nothing_done();
}

#[test]
fn an_edit_runs_the_stages_of_its_plugin_only() {
    for flag in [&["--bump", "patch"][..], &["--debug"]] {
        let space = Space::workspace(PROGRAM);
        space.publish(&["--all"]).expect(0);
        if flag == ["--debug"] {
            space.publish(&["--all", "--debug"]).expect(0);
        }
        space.append(
            &format!("{COCO}/plugin/formats/coco/document.py"),
            "\n# edited\n",
        );
        let args = [&["--all"], flag].concat();
        let edited = space.publish(&args).expect(0);
        // A raised version is another configuration, and synced anew.
        let stages: &[&str] = if flag == ["--debug"] { &EDITED } else { &ALL };
        assert_eq!(edited.total("nodes_run"), stages.len() as u64, "{flag:?}");
        assert_eq!(sorted(edited.ran()), stages_of(&["coco-export"], stages));
        assert_eq!(
            (edited.total("published"), edited.total("up_to_date")),
            (1, 6)
        );
        let deflated = edited.total("files_deflated");
        assert!(deflated <= 2, "only what changed is deflated: {deflated}");
        space.publish(&args).expect_nothing_done();
        let debug: &[&str] = if flag == ["--debug"] {
            &["--debug"]
        } else {
            &[]
        };
        let why =
            space.synapse(&[&["explain", "coco-export", "archive", "--local"], debug].concat());
        let why = why.expect(0).stdout;
        assert!(why.contains("plugin/formats/coco/document.py"), "{why}");
        assert!(!why.contains("categories.json"), "{why}");
        let why = [&["explain", "coco-export", "--local", "--json"], debug].concat();
        let why = space.synapse(&why).expect(0).json();
        let sentences = why["stages"][2]["runs"][0]["sentences"].to_string();
        assert!(
            sentences.contains("plugin/formats/coco/document.py"),
            "{why:#}"
        );
        assert!(
            why["stages"][2]["runs"][0]["key"] == edited.keys("coco-export")["archive"].as_str()
        );
    }
}

#[test]
fn explain_and_plan_name_the_file_before_anything_runs() {
    let space = Space::workspace(PROGRAM);
    space.publish(&["--all"]).expect(0);
    space.append(&format!("{COCO}/plugin/export.py"), "# edited\n");
    space.chmod(
        "plugins/synapse-drone-upload-plugin/scripts/split_flight.sh",
        0o644,
    );
    for command in [
        &["explain", "coco-export", "--local", "--debug"][..],
        &["plan", "--all", "--local", "--debug"],
    ] {
        let text = space.synapse(command).expect(0).stdout;
        assert!(text.contains("plugin/export.py"), "{text}");
    }
    let plan = space
        .synapse(&["plan", "--all", "--local", "--debug"])
        .expect(0)
        .stdout;
    assert!(plan.contains("scripts/split_flight.sh"), "{plan}");
    let plan = space
        .synapse(&["plan", "--all", "--local", "--debug", "--json"])
        .expect(0)
        .json();
    let coco = plan["plugins"]
        .as_array()
        .unwrap()
        .iter()
        .find(|plugin| plugin["code"] == "coco-export");
    let reasons = coco.unwrap()["stages"][2]["reasons"].to_string();
    assert!(reasons.contains("plugin/export.py"), "{plan:#}");
    // Asking ran nothing.
    let debug = space.releases();
    assert!(
        debug.values().all(|versions| versions.len() == 1),
        "{debug:?}"
    );
}

#[test]
fn other_content_under_a_published_version_is_refused() {
    let space = Space::workspace(PROGRAM);
    space.publish(&["--all"]).expect(0);
    space.append(&format!("{TINY}/plugin/train.py"), "# edited\n");
    let refused = space.publish(&["--plugin", "tiny-classifier"]).expect(1);
    assert_eq!(refused.status("tiny-classifier"), "refused");
    assert_eq!(refused.errors(), ["version-exists"]);
    let error = refused.error();
    assert!(
        error["hint"].as_str().unwrap().contains("--bump"),
        "{error}"
    );
    assert_eq!(
        (refused.total("nodes_run"), refused.total("bytes_sent")),
        (1, 0),
        "its sources are inspected, and that is all"
    );
    // The others of a batch are not held up.
    let partly = space.publish(&["--all"]).expect(4);
    assert_eq!((partly.total("up_to_date"), partly.total("failed")), (6, 1));
    assert_eq!(space.releases()["tiny-classifier"], ["1.4.2"]);
    let text = space
        .synapse(&[
            "plugin",
            "publish",
            "--local",
            "--plugin",
            "tiny-classifier",
        ])
        .expect(1);
    assert!(
        text.stderr
            .contains("hint: raise the version with --bump patch"),
        "{}",
        text.stderr
    );
}

#[test]
fn an_ignored_file_does_not_matter() {
    let space = Space::workspace(PROGRAM);
    space.publish(&["--all"]).expect(0);
    for path in [
        "plugin/draft.tmp.json",
        "plugin/weights/large.bin",
        "notes/ideas.txt",
        "tests/test_centroids.py",
        "plugin/__pycache__/train.cpython-312.pyc",
        ".venv/lib/site.py",
        ".env",
        "runs/1/log.txt",
        "dist/x.whl",
        "debug.log",
    ] {
        space.write(&format!("{TINY}/{path}"), format!("new content of {path}"));
    }
    space.write("scratch/x.py", "x");
    space.write(
        &format!("{TINY}/scratch/x.py"),
        "the workspace's own ignore file hides it",
    );
    space.publish(&["--all"]).expect_nothing_done();
    // A file that is not ignored does.
    space.write(&format!("{TINY}/plugin/new.py"), "");
    let dry = space.publish(&["--all", "--debug", "--dry-run"]).expect(0);
    assert!(
        dry.plugin("tiny-classifier")
            .to_string()
            .contains("plugin/new.py")
    );
}

#[test]
fn an_executable_bit_is_content() {
    let space = Space::workspace(PROGRAM);
    space.publish(&["--all", "--debug"]).expect(0);
    let script = "plugins/synapse-drone-upload-plugin/plugin/upload.py";
    // Bits that an archive does not keep.
    space.chmod(script, 0o600);
    space.publish(&["--all", "--debug"]).expect_nothing_done();
    space.chmod(script, 0o755);
    let made = space.publish(&["--all", "--debug"]).expect(0);
    assert_eq!(sorted(made.ran()), stages_of(&["drone-upload"], &ALL[2..]));
    assert!(made.unpacked("drone-upload")["plugin/upload.py"].0);
    assert_eq!(made.total("files_deflated"), 0, "the bytes are known");
    let why = space
        .synapse(&["explain", "drone-upload", "archive", "--local", "--debug"])
        .expect(0);
    assert!(
        why.stdout.contains("plugin/upload.py") && why.stdout.contains("executable"),
        "{}",
        why.stdout
    );
}

#[test]
fn undoing_an_edit_and_its_bump_costs_nothing() {
    let space = Space::workspace(PROGRAM);
    let first = space.publish(&["--all"]).expect(0);
    let path = format!("{COCO}/plugin/export.py");
    let before = space.read(&path);
    space.append(&path, "# edited\n");
    let bumped = space.publish(&["--all", "--bump", "patch"]).expect(0);
    assert_eq!(bumped.plugin("coco-export")["version"], "0.3.1");
    space.write(&path, before);
    space.replace(
        &format!("{COCO}/config.yaml"),
        "version: 0.3.1",
        "version: 0.3.0",
    );
    let undone = space.publish(&["--all"]).expect_nothing_done();
    assert_eq!(
        undone.keys("coco-export"),
        first
            .keys("coco-export")
            .into_iter()
            .filter(|(stage, _)| undone.keys("coco-export").contains_key(stage))
            .collect()
    );
    assert_eq!(space.releases()["coco-export"], ["0.3.0", "0.3.1"]);
}

#[test]
fn without_the_store_the_backend_is_asked() {
    let space = Space::workspace(PROGRAM);
    let first = space.publish(&["--all"]).expect(0);
    let before = space.releases();
    fs::remove_dir_all(space.home().join("cache")).unwrap();
    // What a release must hold is found out again, and nothing else.
    let asked = space.publish(&["--all"]).expect(0);
    let codes = EXPECTED.map(|(code, _)| code);
    assert_eq!(sorted(asked.ran()), stages_of(&codes, &ALL[..2]));
    assert_eq!(
        (asked.total("up_to_date"), asked.total("bytes_sent")),
        (7, 0)
    );
    let release =
        |document: &Document| document.plugin("box-merge")["targets"][0]["release"].clone();
    assert_eq!(release(&asked), release(&first));
    assert_eq!(space.releases(), before);
    // The receipts are kept again.
    space.publish(&["--all"]).expect_nothing_done();
    // Without the ledger as well.
    fs::remove_dir_all(space.home().join("cache")).unwrap();
    for suffix in ["", "-wal", "-shm", ".init"] {
        let _ = fs::remove_file(space.home().join(format!("data/ledger.db{suffix}")));
    }
    let asked = space.publish(&["--all"]).expect(0);
    assert_eq!(
        (asked.total("up_to_date"), asked.total("published")),
        (7, 0)
    );
    space.publish(&["--all"]).expect_nothing_done();
    // An edit refused against the backend's content, not against the store's.
    fs::remove_dir_all(space.home().join("cache")).unwrap();
    space.append(&format!("{COCO}/plugin/export.py"), "# edited\n");
    let refused = space.publish(&["--plugin", "coco-export"]).expect(1);
    assert_eq!(refused.errors(), ["version-exists"]);
    space.expect_clean_store();
}

#[test]
fn without_the_backend_everything_is_sent_again() {
    let space = Space::workspace(PROGRAM);
    let first = space.publish(&["--all"]).expect(0);
    fs::remove_dir_all(space.home().join("data/backend")).unwrap();
    let again = space.publish(&["--all"]).expect(0);
    assert_eq!((again.total("published"), again.total("nodes_run")), (7, 7));
    assert!(
        again.ran().iter().all(|stage| stage.ends_with(" upload")),
        "{:?}",
        again.ran()
    );
    assert_eq!(again.total("bytes_sent"), first.total("bytes_sent"));
    space.publish(&["--all"]).expect_nothing_done();
    // Both gone: as new.
    fs::remove_dir_all(space.home()).unwrap();
    let anew = space.publish(&["--all"]).expect(0);
    assert_eq!((anew.total("published"), anew.total("nodes_run")), (7, 35));
    for (code, _) in EXPECTED {
        assert_eq!(
            anew.plugin(code)["checksum"],
            first.plugin(code)["checksum"]
        );
    }
}

#[test]
fn archives_made_by_another_rule_change_no_release() {
    let space = Space::workspace(PROGRAM);
    let first = space.publish(&["--all"]).expect(0);
    // To a later rule, or another compression, the results of this one are unknown.
    let script = "import sqlite3, sys\n\
                  store = sqlite3.connect(sys.argv[1])\n\
                  for key in sys.argv[2:]: store.execute('DELETE FROM node WHERE key = ?', [bytes.fromhex(key)])\n\
                  store.execute('DELETE FROM stream')\n\
                  store.commit()\n\
                  print(store.total_changes)";
    let keys = EXPECTED.iter().flat_map(|(code, _)| {
        let keys = first.keys(code);
        [keys["archive"].clone(), keys["checksum"].clone()]
    });
    let mut python = Command::new("python3");
    python
        .args(["-c", script])
        .arg(space.home().join("cache/store.db"))
        .args(keys);
    let output = python.output().unwrap();
    let changes: u64 = String::from_utf8(output.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    assert!(changes >= 14, "{changes}");
    let again = space.publish(&["--all"]).expect_nothing_done();
    assert_eq!(
        again.keys("coco-export")["upload"],
        first.keys("coco-export")["upload"]
    );
}
