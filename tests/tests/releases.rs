//! Releases of every kind: debug ones that replace each other, previews that make none, other
//! configurations, and archives that are lost before they are sent.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::{fs, process::Command};

use synapse_tests::{Document, Space, copy_tree, fixture, snapshot, space};

const PROGRAM: &str = env!("CARGO_BIN_EXE_synapse_under_test");
const COCO: &str = "plugins/synapse-coco-export-plugin";

#[test]
fn debug_releases_replace_each_other() {
    let space = Space::workspace(PROGRAM);
    let path = format!("{COCO}/plugin/export.py");
    let old = space.read(&path);
    let one = |args: &[&str]| space.publish(&[&["--plugin", "coco-export"], args].concat());
    let id =
        |document: &Document| document.plugin("coco-export")["targets"][0]["release"]["id"].clone();
    let first = one(&["--debug"]).expect(0);
    one(&["--debug"]).expect_nothing_done();
    space.append(&path, "# second\n");
    let second = one(&["--debug"]).expect(0);
    assert_eq!(second.total("published"), 1);
    one(&["--debug"]).expect_nothing_done();
    // Back to what was there before: the archive is known, the release must be made again.
    space.write(&path, &old);
    let back = one(&["--debug"]).expect(0);
    assert_eq!(back.ran(), ["coco-export upload"]);
    assert!(back.total("bytes_sent") > 0);
    assert_eq!(
        back.plugin("coco-export")["checksum"],
        first.plugin("coco-export")["checksum"]
    );
    one(&["--debug"]).expect_nothing_done();
    assert_eq!(space.releases()["coco-export"], ["debug"]);
    // A formal release of the same content is another release.
    let formal = one(&[]).expect(0);
    assert_eq!(formal.ran(), ["coco-export upload"]);
    assert_ne!(id(&formal), id(&back));
    assert_eq!(space.releases()["coco-export"], ["0.3.0", "debug"]);
    one(&[]).expect_nothing_done();
    one(&["--debug"]).expect_nothing_done();
    // Another version, same slot.
    space.replace(
        &format!("{COCO}/config.yaml"),
        "version: 0.3.0",
        "version: 0.4.0",
    );
    one(&["--debug"]).expect(0);
    one(&["--debug"]).expect_nothing_done();
    assert_eq!(space.releases()["coco-export"], ["0.3.0", "debug"]);
}

#[test]
fn a_debug_release_needs_no_valid_entrypoint() {
    let space = Space::tiny(PROGRAM, 1);
    space.replace(
        "plugins/p0/config.yaml",
        "plugin.run:main",
        "plugin.absent:main",
    );
    let formal = space.publish(&["--all"]).expect(1);
    assert_eq!(formal.status("tiny-0"), "refused", "{:#}", formal.value);
    assert_eq!(formal.total("bytes_sent"), 0);
    space.publish(&["--all", "--debug"]).expect(0);
    assert_eq!(space.releases()["tiny-0"], ["debug"]);
}

#[test]
fn a_dry_run_writes_and_sends_nothing() {
    let space = Space::workspace(PROGRAM);
    // It needs no login.
    let planned =
        Document::of(space.synapse(&["plugin", "publish", "--all", "--dry-run", "--json"]))
            .expect(0);
    assert!(
        planned
            .plugins()
            .iter()
            .all(|plugin| plugin["status"] == "planned")
    );
    // What would be sent takes a look at the code: inspection and sync, whose results are kept.
    assert_eq!(planned.total("nodes_run"), 14);
    let planned = space.publish(&["--all", "--dry-run"]).expect(0);
    assert_eq!(planned.total("nodes_run"), 0);
    assert_eq!(planned.total("bytes_sent"), 0);
    let files = planned.plugin("coco-export")["archive"]["files"]
        .as_array()
        .unwrap();
    assert_eq!(files.len(), 10);
    assert!(space.releases().values().all(Vec::is_empty));
    space.publish(&["--all"]).expect(0);
    let planned = space.publish(&["--all", "--dry-run"]).expect(0);
    assert!(
        planned
            .plugins()
            .iter()
            .all(|plugin| plugin["status"] == "up_to_date")
    );
}

#[test]
fn publishing_writes_nothing_into_the_source() {
    let space = Space::workspace(PROGRAM);
    let before = snapshot(space.cwd());
    space.publish(&["--all"]).expect(0);
    space.publish(&["--all", "--debug"]).expect(0);
    space.synapse(&["plan", "--all", "--local"]).expect(0);
    space.synapse(&["status", "--all", "--local"]).expect(0);
    assert_eq!(snapshot(space.cwd()), before);
}

#[test]
fn a_configuration_of_another_name_becomes_config_yaml() {
    let space = Space::tiny(PROGRAM, 1);
    let other = space
        .read("plugins/p0/config.yaml")
        .replace("0.1.0", "7.0.0")
        .replace("Tiny", "Other");
    space.write("other.yaml", &other);
    let made = space
        .publish(&["-p", "plugins/p0", "-c", "other.yaml"])
        .expect(0);
    assert_eq!(made.plugin("tiny-0")["version"], "7.0.0");
    assert_eq!(made.unpacked("tiny-0")["config.yaml"].1, other.as_bytes());
    space
        .publish(&["-p", "plugins/p0", "-c", "other.yaml"])
        .expect_nothing_done();
    // The plugin's own is another release, and unharmed by it.
    let own = space.publish(&["-p", "plugins/p0"]).expect(0);
    assert_eq!(
        own.unpacked("tiny-0")["config.yaml"].1,
        space.read("plugins/p0/config.yaml").as_bytes()
    );
    assert_eq!(space.releases()["tiny-0"], ["7.0.0", "0.1.0"]);
    // Named outright, its own is its own.
    space
        .publish(&["-p", "plugins/p0", "-c", "plugins/p0/config.yaml"])
        .expect_nothing_done();
    // An edit of the other file is seen.
    space.write("other.yaml", other.replace("7.0.0", "7.0.1"));
    let made = space
        .publish(&["-p", "plugins/p0", "-c", "other.yaml"])
        .expect(0);
    assert_eq!(made.status("tiny-0"), "published");
}

#[test]
fn a_lost_or_damaged_blob_is_made_again() {
    let space = Space::workspace(PROGRAM);
    let first = space.publish(&["--plugin", "coco-export"]).expect(0);
    let archive = first.archive("coco-export");
    let files = first.unpacked("coco-export");
    // Nobody needs the archive of what is published.
    fs::remove_file(&archive).unwrap();
    space
        .publish(&["--plugin", "coco-export"])
        .expect_nothing_done();
    for damage in ["lost", "short", "wrong"] {
        if archive.exists() {
            let bytes = fs::read(&archive).unwrap();
            fs::remove_file(&archive).unwrap();
            match damage {
                "short" => fs::write(&archive, &bytes[..bytes.len() / 2]).unwrap(),
                "wrong" => {
                    let mut wrong = bytes.clone();
                    wrong[bytes.len() / 2] ^= 1;
                    fs::write(&archive, wrong).unwrap();
                }
                _ => {}
            }
        }
        fs::remove_dir_all(space.home().join("data")).unwrap();
        let made = space.publish(&["--plugin", "coco-export"]).expect(0);
        assert_eq!(made.status("coco-export"), "published", "{damage}");
        assert_eq!(
            made.plugin("coco-export")["checksum"],
            first.plugin("coco-export")["checksum"]
        );
        assert_eq!(made.unpacked("coco-export"), files);
        space.expect_clean_store();
    }
}

#[test]
fn the_plugin_of_the_guide_is_published() {
    let mut space = space!();
    copy_tree(&fixture("yolov8"), space.cwd());
    space.set_cwd(space.path("synapse-yolov8-plugin"));
    let first = space.publish(&[]).expect(0);
    let files = [
        ".synapseignore",
        "README.md",
        "config.yaml",
        "plugin/__init__.py",
        "plugin/inference.py",
        "plugin/train.py",
        "pyproject.toml",
        "requirements.txt",
    ];
    let unpacked = first.unpacked("yolov8");
    assert!(unpacked.keys().eq(&files), "{:?}", unpacked.keys());
    let unzip = Command::new("unzip")
        .arg("-tqq")
        .arg(first.archive("yolov8"))
        .status();
    assert!(unzip.unwrap().success());
    let python = Command::new("python3")
        .args(["-m", "zipfile", "-t"])
        .arg(first.archive("yolov8"))
        .output();
    assert!(python.unwrap().status.success());
    space.publish(&[]).expect_nothing_done();
}

#[test]
fn checksums_are_those_of_the_archive() {
    let space = Space::workspace(PROGRAM);
    let document = space.publish(&["--plugin", "coco-export"]).expect(0);
    let archive = document.archive("coco-export");
    for (tool, name) in [("md5sum", "md5"), ("sha256sum", "sha256")] {
        let output = Command::new(tool).arg(&archive).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(
            document.plugin("coco-export")["checksum"][name],
            text.split(' ').next().unwrap()
        );
    }
    let size = document.plugin("coco-export")["archive"]["size"]
        .as_u64()
        .unwrap();
    assert_eq!(size, fs::metadata(&archive).unwrap().len());
    assert_eq!(document.total("bytes_sent"), size);
    assert_eq!(
        document.total("requests"),
        0,
        "the embedded backend is no network"
    );
}

#[test]
fn what_python_would_refuse_is_no_formal_release() {
    let space = Space::tiny(PROGRAM, 1);
    space.write("plugins/p0/plugin/other.py", "def (\n");
    let publish = ["plugin", "publish", "--local", "--all"];
    // No action is in it.
    space.synapse(&publish).expect(0);
    space.append("plugins/p0/plugin/run.py", "def (\n");
    let refused = space.synapse(&[&publish[..], &["--bump", "patch"]].concat());
    let refused = refused.expect(1).stderr;
    assert!(
        refused.contains("error: plugin/run.py is no Python: "),
        "{refused}"
    );
    assert!(refused.contains("plugin/run.py:3:5"), "{refused}");
    assert_eq!(space.releases()["tiny-0"], ["0.1.0"]);
    // A debug release skips the validation.
    space
        .synapse(&[&publish[..], &["--debug"]].concat())
        .expect(0);
}
