//! What a version is told to be built from.

use std::{fs, path::Path, process::Command};

use serde_json::Value;
use synapse_tests::space;

#[path = "../../../cli/build/commit.rs"]
mod commit;

fn git(folder: &Path, args: &[&str]) {
    let who = [
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@example.org",
        "-c",
        "commit.gpgsign=false",
    ];
    let output = Command::new("git")
        .arg("-C")
        .arg(folder)
        .args(who)
        .args(args)
        .output()
        .unwrap();
    assert!(output.status.success(), "{args:?}: {output:?}");
}

#[test]
fn the_number_alone_is_one_line_and_the_rest_is_asked_for() {
    let space = space!();
    let version = env!("CARGO_PKG_VERSION");
    for args in [&["--version"][..], &["-V"]] {
        let run = space.synapse(args).expect(0);
        assert_eq!(run.stdout, format!("synapse {version}\n"));
    }
    let more = space.synapse(&["--version", "--verbose"]).expect(0).stdout;
    assert!(more.starts_with(&format!("synapse {version}\n")), "{more}");
    for line in ["commit:", "built:", "features:", "sdk:", "python:"] {
        assert!(more.contains(&format!("\n{line}")), "{line}: {more}");
    }
    assert!(more.contains("rustc 1."), "{more}");
    assert!(!more.contains(env!("CARGO_MANIFEST_DIR")), "{more}");
    assert_eq!(space.synapse(&["-vV"]).expect(0).stdout, more);
    let document = space.synapse(&["--version", "--json"]).expect(0).json();
    assert_eq!(document["version"], version);
    assert_eq!(document["command"], "version");
    assert!(
        document["sdk"]["digest"].as_str().unwrap().len() == 64,
        "{document:#}"
    );
    let python = &document["python"];
    assert!(
        python.is_null() || python["version"].as_str().unwrap().starts_with("3."),
        "{document:#}"
    );
    for made in ["data", "config", "cache/store.db", "cache/python"] {
        assert!(!space.home().join(made).exists(), "{made}");
    }
    // Without any Python there is a version all the same.
    let mut command = space.command(&["--version", "--json"]);
    let output = command.env("PATH", "/nowhere").output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success() && document["version"] == version);
}

#[test]
fn the_commit_is_told_with_its_changes_and_outside_of_git_nothing_is() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("sources");
    fs::create_dir_all(root.join("cli/src")).unwrap();
    fs::write(root.join("Cargo.toml"), "").unwrap();
    assert_eq!(commit::of(&root), commit::UNKNOWN);
    // A repository around an unpacked archive is not that of the sources.
    git(folder.path(), &["init", "--quiet"]);
    assert_eq!(commit::of(&root), commit::UNKNOWN);
    fs::remove_dir_all(folder.path().join(".git")).unwrap();
    git(&root, &["init", "--quiet"]);
    git(&root, &["add", "."]);
    assert_eq!(commit::of(&root), commit::UNKNOWN, "there is no commit yet");
    git(&root, &["commit", "--quiet", "-m", "one"]);
    let clean = commit::of(&root);
    assert!(
        clean.len() >= 12 && clean.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{clean}"
    );
    // Of what it watches everything is there: else each build would be made anew.
    let watched = commit::watched(&root);
    assert!(
        watched.len() >= 4 && watched.iter().all(|path| path.exists()),
        "{watched:?}"
    );
    fs::write(root.join("other"), "").unwrap();
    assert_eq!(commit::of(&root), clean, "what is not tracked is not built");
    fs::write(root.join("Cargo.toml"), "[workspace]\n").unwrap();
    assert_eq!(commit::of(&root), format!("{clean}-dirty"));
    // In a worktree as well.
    git(
        &root,
        &["worktree", "add", "--quiet", "--detach", "../more"],
    );
    let more = folder.path().join("more");
    assert_eq!(commit::of(&more), clean);
    assert!(
        commit::watched(&more)
            .iter()
            .any(|path| path.ends_with("index")),
        "{:?}",
        commit::watched(&more)
    );
}
