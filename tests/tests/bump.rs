//! `--bump`: the version's bytes and no other, for exactly the plugins that need it.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use synapse_tests::{Space, snapshot};

const PROGRAM: &str = env!("CARGO_BIN_EXE_synapse_under_test");
const BUMP: [&str; 3] = ["--all", "--bump", "patch"];

fn git(folder: &Path, args: &[&str]) -> String {
    let identity = [
        "-c",
        "user.name=t",
        "-c",
        "user.email=t@example.org",
        "-c",
        "commit.gpgsign=false",
    ];
    let mut command = Command::new("git");
    command.args(identity).args(args).current_dir(folder);
    command
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1");
    let output = command.output().unwrap();
    assert!(output.status.success(), "git {args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn two_of_seven_changed_means_two_published_and_two_lines() {
    let space = Space::workspace(PROGRAM);
    space.publish(&["--all"]).expect(0);
    git(space.cwd(), &["init", "--quiet"]);
    git(space.cwd(), &["add", "--all", "--force"]);
    git(space.cwd(), &["commit", "--quiet", "-m", "published"]);
    space.append(
        "plugins/synapse-coco-export-plugin/plugin/export.py",
        "# edited\n",
    );
    space.append(
        "plugins/synapse-box-merge-plugin/plugin/merge.py",
        "# edited\n",
    );
    git(space.cwd(), &["commit", "--quiet", "--all", "-m", "edited"]);
    let bumped = space.publish(&BUMP).expect(0);
    assert_eq!(
        (bumped.total("published"), bumped.total("up_to_date")),
        (2, 5)
    );
    assert_eq!(bumped.total("nodes_run"), 10);
    assert_eq!(bumped.plugin("coco-export")["version"], "0.3.1");
    assert_eq!(bumped.plugin("box-merge")["version"], "0.2.8");
    let changed = git(space.cwd(), &["diff", "--numstat"]);
    let expected = "1\t1\tplugins/synapse-box-merge-plugin/synapse.yaml\n\
                    1\t1\tplugins/synapse-coco-export-plugin/config.yaml\n";
    assert_eq!(changed, expected);
    assert_eq!(
        git(space.cwd(), &["status", "--porcelain"]).lines().count(),
        2,
        "nothing is left behind"
    );
    // Nothing differs any more: nothing is raised.
    space.publish(&BUMP).expect_nothing_done();
    assert_eq!(git(space.cwd(), &["diff", "--numstat"]), expected);
    let releases = space.releases();
    assert_eq!(releases["coco-export"], ["0.3.0", "0.3.1"]);
    assert_eq!(releases["box-merge"], ["0.2.7", "0.2.8"]);
    assert_eq!(releases["frame-check"], ["3.1.0"]);
}

#[test]
fn an_equal_version_in_pyproject_follows() {
    let space = Space::workspace(PROGRAM);
    space.publish(&["--all"]).expect(0);
    let folder = "plugins/synapse-tiny-classifier-plugin";
    let before = snapshot(&space.path(folder));
    space.append(&format!("{folder}/plugin/train.py"), "# edited\n");
    let bumped = space.publish(&["--all", "--bump", "minor"]).expect(0);
    assert_eq!(bumped.plugin("tiny-classifier")["version"], "1.5.0");
    let after = snapshot(&space.path(folder));
    for name in ["config.yaml", "pyproject.toml"] {
        let old = String::from_utf8(before[Path::new(name)].1.clone()).unwrap();
        let new = String::from_utf8(after[Path::new(name)].1.clone()).unwrap();
        assert_eq!(new, old.replace("1.4.2", "1.5.0"), "{name}");
        assert_eq!(
            after[Path::new(name)].0,
            before[Path::new(name)].0,
            "the mode of {name}"
        );
    }
    let packed = bumped.unpacked("tiny-classifier");
    assert!(String::from_utf8_lossy(&packed["pyproject.toml"].1).contains("1.5.0"));
    // One that goes its own way is left alone.
    space.replace(&format!("{folder}/pyproject.toml"), "1.5.0", "9.9.9");
    let bumped = space.publish(&["--all", "--bump", "major"]).expect(0);
    assert_eq!(bumped.plugin("tiny-classifier")["version"], "2.0.0");
    assert!(
        space
            .read(&format!("{folder}/pyproject.toml"))
            .contains("9.9.9")
    );
}

#[test]
fn every_other_byte_of_a_configuration_is_kept() {
    let base = "name: Tiny\ncode: tiny-0\nVERSION\ncategory: custom\nactions:\n  run:\n    entrypoint: plugin.run:main\n";
    let spellings = [
        ("version: 0.1.0", "\n"),
        ("version:    0.1.0   # keep 0.1.0 in mind", "\n"),
        ("version: \"0.1.0\"  # quoted", "\n"),
        ("'version' : '0.1.0'", "\n"),
        ("version: 0.1.0 # DOS", "\r\n"),
        ("# version: 0.1.0\nversion:\n  0.1.0", "\n"),
        ("version: !!str 0.1.0", "\n"),
    ];
    for (spelling, end) in spellings {
        let space = Space::tiny(PROGRAM, 1);
        let text = base.replace("VERSION", spelling).replace('\n', end);
        space.write("plugins/p0/config.yaml", &text);
        space.chmod("plugins/p0/config.yaml", 0o640);
        space.publish(&["--all"]).expect(0);
        space.append("plugins/p0/README.md", "edited\n");
        let bumped = space.publish(&BUMP).expect(0);
        assert_eq!(bumped.plugin("tiny-0")["version"], "0.1.1", "{spelling}");
        let kept = usize::from(spelling.starts_with('#'));
        let at = text.match_indices("0.1.0").nth(kept).unwrap().0;
        let expected = format!("{}0.1.1{}", &text[..at], &text[at + 5..]);
        assert_eq!(space.read("plugins/p0/config.yaml"), expected, "{spelling}");
        let mode = fs::metadata(space.path("plugins/p0/config.yaml"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o640);
        let names: Vec<_> = fs::read_dir(space.path("plugins/p0"))
            .unwrap()
            .flatten()
            .map(|e| e.file_name())
            .collect();
        assert_eq!(names.len(), 3, "{names:?}");
    }
}

#[test]
fn a_version_that_is_used_elsewhere_is_left_to_people() {
    let space = Space::tiny(PROGRAM, 1);
    space.replace(
        "plugins/p0/config.yaml",
        "version: 0.1.0",
        "version: &v 0.1.0\ndescription: *v",
    );
    space.publish(&["--all"]).expect(0);
    space.append("plugins/p0/README.md", "edited\n");
    let before = snapshot(space.cwd());
    let refused = space.publish(&BUMP).expect(1);
    assert!(
        refused.error()["hint"]
            .as_str()
            .is_some_and(|hint| hint.contains("by hand"))
    );
    assert_eq!(snapshot(space.cwd()), before);
}

#[test]
fn versions_that_are_taken_are_passed() {
    let space = Space::tiny(PROGRAM, 1);
    let publish = |version: &str| {
        space.write(
            "plugins/p0/plugin/run.py",
            format!("def main():\n    return '{version}'\n"),
        );
        let config = space.read("plugins/p0/config.yaml");
        let line = config
            .lines()
            .find(|line| line.starts_with("version"))
            .unwrap();
        space.write(
            "plugins/p0/config.yaml",
            config.replace(line, &format!("version: {version}")),
        );
        space.publish(&["--all"]).expect(0)
    };
    for version in ["0.1.1", "0.1.2", "0.1.4", "0.1.0"] {
        publish(version);
    }
    space.append("plugins/p0/README.md", "edited\n");
    let bumped = space.publish(&BUMP).expect(0);
    assert_eq!(bumped.plugin("tiny-0")["version"], "0.1.3");
    space.append("plugins/p0/README.md", "edited\n");
    let bumped = space.publish(&BUMP).expect(0);
    assert_eq!(bumped.plugin("tiny-0")["version"], "0.1.5");
    assert_eq!(
        space.releases()["tiny-0"],
        ["0.1.1", "0.1.2", "0.1.4", "0.1.0", "0.1.3", "0.1.5"]
    );
}

#[test]
fn what_is_new_keeps_its_version() {
    let space = Space::tiny(PROGRAM, 2);
    let first = space.publish(&BUMP).expect(0);
    assert_eq!(first.total("published"), 2);
    assert_eq!(first.plugin("tiny-1")["version"], "0.1.0");
}

#[test]
fn a_dry_run_says_the_version_and_writes_nothing() {
    let space = Space::workspace(PROGRAM);
    space.publish(&["--all"]).expect(0);
    space.append(
        "plugins/synapse-coco-export-plugin/plugin/export.py",
        "# edited\n",
    );
    let (source, data) = (snapshot(space.cwd()), space.releases());
    let dry = space
        .publish(&["--all", "--bump", "patch", "--dry-run"])
        .expect(0);
    assert_eq!(dry.status("coco-export"), "planned");
    assert_eq!(dry.plugin("coco-export")["version"], "0.3.1");
    // Its sources were looked at by the question before.
    assert_eq!((dry.total("nodes_run"), dry.total("bytes_sent")), (0, 0));
    assert_eq!(snapshot(space.cwd()), source);
    assert_eq!(space.releases(), data);
    let text = space.synapse(&[
        "plugin",
        "publish",
        "--all",
        "--local",
        "--bump",
        "patch",
        "--dry-run",
    ]);
    let text = text.expect(0).stdout;
    assert!(text.contains("0.3.0 -> 0.3.1"), "{text}");
    assert_eq!(snapshot(space.cwd()), source);
}

#[test]
fn a_version_that_cannot_be_written_is_said() {
    let space = Space::tiny(PROGRAM, 1);
    space.replace(
        "plugins/p0/config.yaml",
        "0.1.0",
        "0.1.18446744073709551615",
    );
    let run = space.synapse(&["plugin", "publish", "--all", "--local", "--json"]);
    if run.status.success() {
        space.append("plugins/p0/README.md", "edited\n");
        let full = space.publish(&BUMP).expect(1);
        assert_eq!(full.errors(), ["version-overflow"]);
    } else {
        assert_eq!(run.code(), 1, "{run:?}");
    }
}

#[test]
fn a_failed_upload_after_a_bump_does_not_raise_twice() {
    let space = Space::tiny(PROGRAM, 1);
    space.publish(&["--all"]).expect(0);
    space.append("plugins/p0/README.md", "edited\n");
    let failed = space.publish_with("SYNAPSE_TEST_FAIL_FROM", "1", &BUMP);
    assert_ne!(failed.run.code(), 0);
    space.publish(&BUMP).expect(0);
    assert_eq!(space.releases()["tiny-0"], ["0.1.0", "0.1.1"]);
}
