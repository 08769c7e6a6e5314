//! The same files give the same bytes and keys, wherever and by whomever they are published.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::{
    collections::BTreeMap,
    fs::{self, FileTimes},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::{Duration, SystemTime},
};

use synapse_tests::{Document, Space, copy_tree, fixture, space};
use walkdir::WalkDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_synapse_under_test");
const PUBLISH: [&str; 5] = ["plugin", "publish", "--all", "--local", "--json"];

/// Per plugin: the archive's bytes, all keys, all checksums.
type Made = BTreeMap<String, (Vec<u8>, BTreeMap<String, String>, String)>;

fn made(document: &Document) -> Made {
    let one = |plugin: &serde_json::Value| {
        let code = plugin["code"].as_str().unwrap().to_owned();
        let bytes = fs::read(document.archive(&code)).unwrap();
        let keys = document.keys(&code);
        assert_eq!(keys.len(), 5, "{code}");
        (code, (bytes, keys, plugin["checksum"].to_string()))
    };
    document.plugins().iter().map(one).collect()
}

/// What the plain fixture gives.
fn reference() -> &'static Made {
    static REFERENCE: OnceLock<Made> = OnceLock::new();
    REFERENCE.get_or_init(|| made(&Space::workspace(PROGRAM).publish(&["--all"]).expect(0)))
}

#[track_caller]
fn same(document: Document) {
    let found = made(&document.expect(0));
    assert_eq!(
        found.keys().collect::<Vec<_>>(),
        reference().keys().collect::<Vec<_>>()
    );
    for (code, (bytes, keys, sums)) in &found {
        let (reference_bytes, reference_keys, reference_sums) = &reference()[code];
        assert_eq!(keys, reference_keys, "{code}");
        assert_eq!(sums, reference_sums, "{code}");
        assert!(
            bytes == reference_bytes,
            "{code}: other bytes under an equal checksum"
        );
    }
}

fn git(folder: &Path, args: &[&str]) {
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
}

/// A repository with the fixture workspace as its only commit.
fn repository(space: &Space) -> PathBuf {
    let folder = space.root().join("repository");
    copy_tree(&fixture("workspace"), &folder);
    git(&folder, &["init", "--quiet"]);
    git(&folder, &["add", "--all", "--force"]);
    git(&folder, &["commit", "--quiet", "-m", "all"]);
    folder
}

#[test]
fn at_another_path() {
    let mut space = space!();
    let folder = space.path("a much longer path/with spaces/ünïcode 한글/deep/er");
    fs::create_dir_all(folder.parent().unwrap()).unwrap();
    copy_tree(&fixture("workspace"), &folder);
    space.set_cwd(&folder);
    same(space.publish(&["--all"]));
    // Through a link, and from below.
    let link = space.root().join("link");
    symlink(&folder, &link).unwrap();
    space.set_cwd(link.join("plugins"));
    space.set_home("other-home");
    same(space.publish(&["--all"]));
}

#[test]
fn as_a_clone_and_as_a_tarball() {
    let mut space = space!();
    let repository = repository(&space);
    let clone = space.root().join("clone");
    git(
        space.root(),
        &[
            "clone",
            "--quiet",
            repository.to_str().unwrap(),
            clone.to_str().unwrap(),
        ],
    );
    assert!(clone.join(".git").is_dir());
    space.set_cwd(&clone);
    same(space.publish(&["--all"]));

    let tarball = space.root().join("tarball.tar");
    git(
        &repository,
        &["archive", "-o", tarball.to_str().unwrap(), "HEAD"],
    );
    let unpacked = space.root().join("unpacked");
    fs::create_dir(&unpacked).unwrap();
    let tar = Command::new("tar")
        .arg("-xf")
        .arg(&tarball)
        .arg("-C")
        .arg(&unpacked)
        .status()
        .unwrap();
    assert!(tar.success() && !unpacked.join(".git").exists());
    space.set_cwd(&unpacked);
    space.set_home("tarball-home");
    same(space.publish(&["--all"]));
}

#[test]
fn with_what_git_ignores_elsewhere() {
    let mut space = space!();
    let repository = repository(&space);
    fs::create_dir_all(repository.join(".git/info")).unwrap();
    fs::write(
        repository.join(".git/info/exclude"),
        "*.py\nwheels/\nREADME.md\n",
    )
    .unwrap();
    let user = space.root().join("user");
    fs::create_dir_all(user.join(".config/git")).unwrap();
    fs::write(user.join(".config/git/ignore"), "*.py\nplugin/\n").unwrap();
    fs::write(user.join("excludes"), "*.py\n*.json\n").unwrap();
    let config = format!(
        "[core]\n\texcludesFile = {}\n",
        user.join("excludes").display()
    );
    fs::write(user.join(".gitconfig"), config).unwrap();
    fs::write(user.join(".gitignore"), "*\n").unwrap();
    space.set("XDG_CONFIG_HOME", user.join(".config").to_str().unwrap());
    space.set("GIT_DIR", repository.join(".git").to_str().unwrap());
    // Above the workspace.
    for name in [".gitignore", ".synapseignore", ".ignore", ".rgignore"] {
        fs::write(space.root().join(name), "*\n").unwrap();
    }
    space.set_cwd(&repository);
    same(space.publish(&["--all"]));
}

#[test]
fn under_another_locale_time_zone_home_and_umask() {
    for (locale, zone, umask) in [
        ("C", "UTC", "077"),
        ("tr_TR.UTF-8", "Asia/Kathmandu", "000"),
        ("ko_KR.EUC-KR", "America/St_Johns", "027"),
    ] {
        let space = Space::workspace(PROGRAM);
        let user = space.root().join("another user");
        fs::create_dir(&user).unwrap();
        let script = format!("umask {umask}; exec \"$0\" \"$@\"");
        let synapse = space.command(&PUBLISH);
        let mut command = Command::new("sh");
        command
            .args(["-c", &script])
            .arg(synapse.get_program())
            .args(synapse.get_args());
        command.current_dir(space.cwd()).env_clear();
        command.envs(
            synapse
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        command
            .env("LC_ALL", locale)
            .env("LANG", locale)
            .env("TZ", zone)
            .env("HOME", &user);
        command
            .env("USER", "somebody")
            .env("LOGNAME", "somebody")
            .env("SOURCE_DATE_EPOCH", "1");
        same(Document::of(command.output().unwrap().into()));
    }
}

#[test]
fn with_files_of_other_modes_and_times() {
    let space = Space::workspace(PROGRAM);
    for (index, entry) in WalkDir::new(space.cwd())
        .into_iter()
        .filter_map(Result::ok)
        .enumerate()
    {
        let mode = entry
            .path()
            .symlink_metadata()
            .unwrap()
            .permissions()
            .mode();
        if entry.file_type().is_file() {
            let at = SystemTime::UNIX_EPOCH + Duration::from_hours(24 * 400 * index as u64);
            let file = fs::OpenOptions::new()
                .write(true)
                .open(entry.path())
                .unwrap();
            file.set_times(FileTimes::new().set_modified(at)).unwrap();
            // All that is kept is the owner's executable bit.
            let mode = if mode & 0o100 != 0 {
                0o700
            } else {
                [0o400, 0o666, 0o640][index % 3]
            };
            file.set_permissions(fs::Permissions::from_mode(mode))
                .unwrap();
        } else if entry.file_type().is_dir() {
            fs::set_permissions(entry.path(), fs::Permissions::from_mode(0o700)).unwrap();
        }
    }
    same(space.publish(&["--all"]));
}

#[test]
fn with_files_made_in_another_order() {
    let space = space!();
    let from = fixture("workspace");
    let mut paths: Vec<PathBuf> = WalkDir::new(&from)
        .into_iter()
        .filter_map(Result::ok)
        .filter(|entry| !entry.file_type().is_dir())
        .map(|entry| entry.path().to_owned())
        .collect();
    paths.sort_by_key(|path| {
        std::cmp::Reverse(
            path.as_os_str()
                .as_encoded_bytes()
                .iter()
                .rev()
                .copied()
                .collect::<Vec<_>>(),
        )
    });
    for path in paths {
        let to = space.cwd().join(path.strip_prefix(&from).unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        // Names made and gone again leave folders in another order too.
        fs::write(to.with_extension("gone"), "x").unwrap();
        copy_tree(&path, &to);
        fs::remove_file(to.with_extension("gone")).unwrap();
    }
    same(space.publish(&["--all"]));
}

#[test]
fn by_another_user() {
    let mut space = Space::workspace(PROGRAM);
    if !space.become_nobody() {
        eprintln!("skipped: only root can become another user");
        return;
    }
    same(space.publish(&["--all"]));
    // What one user published, another finds.
    space.become_myself();
    space.publish(&["--all"]).expect_nothing_done();
}

#[test]
fn with_more_or_fewer_threads_and_from_kept_streams() {
    let space = Space::workspace(PROGRAM);
    same(space.publish(&["--all", "-j", "1"]));
    let mut space = Space::workspace(PROGRAM);
    same(space.publish(&["--all", "-j", "16"]));
    // Archives again, from the streams of archives made of other file sets.
    space.set_home("kept");
    for place in [
        "synapse-coco-export-plugin/plugin/x.py",
        "synapse-box-merge-plugin/plugin/x.py",
    ] {
        space.write(&format!("plugins/{place}"), "x = 1\n");
    }
    space.publish(&["--all", "--debug"]).expect(0);
    for place in [
        "synapse-coco-export-plugin/plugin/x.py",
        "synapse-box-merge-plugin/plugin/x.py",
    ] {
        fs::remove_file(space.path(&format!("plugins/{place}"))).unwrap();
    }
    let document = space.publish(&["--all"]).expect(0);
    for code in ["coco-export", "box-merge"] {
        assert_eq!(
            document.plugin(code)["stages"][2]["decision"],
            "run",
            "{code}"
        );
    }
    assert_eq!(document.total("files_deflated"), 0);
    for code in reference().keys() {
        assert_eq!(
            document.plugin(code)["checksum"].to_string(),
            reference()[code].2
        );
    }
    same(document);
}
