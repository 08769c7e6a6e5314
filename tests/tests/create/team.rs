//! A team's own templates, in folders and in git repositories, meant well and not.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::Command,
};

use synapse_tests::{Space, copy_tree, fixture, snapshot};

use crate::{CATEGORIES, create, names, space};

fn git(folder: &Path, args: &[&str]) {
    let done = Command::new("git")
        .args(["-c", "user.name=Test", "-c", "user.email=test@example.com"])
        .args([
            "-c",
            "init.defaultBranch=main",
            "-c",
            "protocol.file.allow=always",
        ])
        .args(args)
        .current_dir(folder)
        .env_remove("GIT_DIR")
        .output()
        .unwrap();
    assert!(done.status.success(), "{args:?}: {done:?}");
}

/// Our own template of a category, as a team would keep it.
fn ours(space: &Space, category: &str, folder: &str) {
    for part in ["every", category] {
        copy_tree(
            &fixture("../rules/templates").join(part),
            &space.path(folder),
        );
    }
}

const CONFIG: &str = "name: @@name:yaml@@\ncode: @@code@@\nversion: 0.1.0\ncategory: custom\n\
                      actions:\n  go:\n    entrypoint: plugin.go:Go\n";

fn small(space: &Space, folder: &str) {
    space.write(&format!("{folder}/config.yaml"), CONFIG);
    space.write(&format!("{folder}/plugin/go.py"), "class Go:\n    pass\n");
}

#[test]
fn our_templates_work_as_a_teams_from_a_folder_and_from_git() {
    let space = space();
    fs::create_dir(space.path("repo")).unwrap();
    git(&space.path("repo"), &["init", "-q"]);
    for category in CATEGORIES {
        ours(&space, category, &format!("teams/{category}"));
        for name in names(&space.path("repo")) {
            let path = space.path("repo").join(&name);
            match name.as_str() {
                ".git" => {}
                _ if path.is_dir() => fs::remove_dir_all(path).unwrap(),
                _ => fs::remove_file(path).unwrap(),
            }
        }
        ours(&space, category, "repo");
        git(
            &space.path("repo"),
            &["checkout", "-q", "--orphan", category],
        );
        git(&space.path("repo"), &["add", "-A", "-f", "."]);
        git(&space.path("repo"), &["commit", "-q", "-m", "template"]);
    }
    git(space.cwd(), &["clone", "-q", "--bare", "repo", "bare.git"]);
    let url = format!("file://{}", space.path("repo").display());
    let mut checked = 0;
    for category in CATEGORIES {
        let usual = ["--name", "My Plugin", "--yes", "--data-type", "image"];
        let usual = [&usual[..], &["--tasks", "image.classification"]].concat();
        let made = |path: &str, more: &[&str]| {
            let args = [&usual[..], &["--path", path], more].concat();
            create(&space, &args).expect(0);
            snapshot(&space.path(path).join("synapse-my-plugin-plugin"))
        };
        let own = made(&format!("own/{category}"), &["-c", category]);
        let (folder, at) = (format!("teams/{category}"), format!("{url}#{category}"));
        let bare = format!("bare.git@{category}");
        for (kind, template) in [("folder", &folder), ("url", &at), ("bare", &bare)] {
            let theirs = made(&format!("{kind}/{category}"), &["--template", template]);
            assert!(theirs == own, "{kind} {category}: {:?}", theirs.keys());
            checked += 1;
        }
    }
    assert_eq!(checked, 24);
}

#[test]
fn files_are_filled_or_copied_and_junk_is_left_out() {
    let space = space();
    small(&space, "t");
    space.write(
        "t/plugin/@@module@@.py",
        "NAME = @@name:quoted@@  # {{ jinja }} {brace}\n",
    );
    space.write("t/logo.bin", b"\0@@code@@\xff");
    space.write("t/run.sh", "#!/bin/sh\necho @@code@@\n");
    space.chmod("t/run.sh", 0o755);
    space.write("t/.env.example", "A=1\n");
    for junk in [
        ".git/config",
        "__pycache__/x.pyc",
        "plugin/__pycache__/y.pyc",
        ".DS_Store",
        ".venv/bin/p",
    ] {
        space.write(&format!("t/{junk}"), "junk");
    }
    symlink("run.sh", space.path("t/again.sh")).unwrap();
    let args = [
        "--name",
        "My \"Plugin\"",
        "--code",
        "my-plugin",
        "-y",
        "--template",
        "t",
        "--json",
    ];
    let document = create(&space, &args).expect(0).json();
    let template = space.path("t");
    assert_eq!(document["template"], template.to_str().unwrap());
    assert_eq!(document["next"][1], "synapse plugin run go");
    let folder = space.path("synapse-my-plugin-plugin");
    assert_eq!(
        names(&folder),
        [
            ".env.example",
            "again.sh",
            "config.yaml",
            "logo.bin",
            "plugin",
            "run.sh"
        ]
    );
    assert_eq!(names(&folder.join("plugin")), ["go.py", "my_plugin.py"]);
    let read = |name: &str| fs::read(folder.join(name)).unwrap();
    assert_eq!(read("logo.bin"), b"\0@@code@@\xff");
    assert_eq!(
        read("plugin/my_plugin.py"),
        b"NAME = \"My \\\"Plugin\\\"\"  # {{ jinja }} {brace}\n"
    );
    assert_eq!(read("again.sh"), b"#!/bin/sh\necho my-plugin\n");
    for (name, executable) in [("run.sh", true), ("again.sh", true), ("logo.bin", false)] {
        let meta = folder.join(name).symlink_metadata().unwrap();
        assert!(meta.is_file(), "{name}");
        assert_eq!(meta.permissions().mode() & 0o100 != 0, executable, "{name}");
    }
}

#[test]
fn what_a_template_says_is_not_asked_again() {
    let space = space();
    small(&space, "t");
    let other = create(
        &space,
        &["--name", "a", "-y", "--template", "t", "-c", "export"],
    )
    .expect(2);
    assert!(
        other
            .stderr
            .contains("the template makes custom plugins, not export"),
        "{other:?}"
    );
    let unused = create(
        &space,
        &[
            "--name",
            "a",
            "-y",
            "--template",
            "t",
            "--data-type",
            "text",
        ],
    );
    assert!(unused.expect(2).stderr.contains("no place for --data-type"));
    space.write(
        "t/config.yaml",
        CONFIG.replace("custom", "@@category@@\ndata_type: @@data_type@@"),
    );
    let args = ["--name", "a", "-y", "--template", "t", "-c", "export"];
    create(&space, &args).expect(0);
    let config = space.read("synapse-a-plugin/config.yaml");
    assert!(
        config.contains("category: export\ndata_type: image\n"),
        "{config}"
    );
}

/// What a case is called, what spoils the template, and what is said of it.
type Case = (&'static str, fn(&Space), &'static str);

#[test]
fn templates_that_are_wrong_are_told_and_write_nothing() {
    let space = space();
    let cases: [Case; 12] = [
        (
            "config",
            |s| fs::remove_file(s.path("t/config.yaml")).unwrap(),
            "has no config.yaml",
        ),
        (
            "yaml",
            |s| s.append("t/config.yaml", "  x: [\n"),
            "config.yaml",
        ),
        (
            "fixed",
            |s| s.replace("t/config.yaml", "@@code@@", "fixed"),
            "`code: @@code@@`",
        ),
        (
            "word",
            |s| s.append("t/plugin/go.py", "# @@nmae@@\n"),
            "did you mean name?",
        ),
        (
            "out",
            |s| symlink("/etc/passwd", s.path("t/x")).unwrap(),
            "leads out of it",
        ),
        (
            "above",
            |s| symlink("../../here", s.path("t/x")).unwrap(),
            "leads out of it",
        ),
        (
            "nowhere",
            |s| symlink("gone", s.path("t/x")).unwrap(),
            "leads nowhere",
        ),
        (
            "folder",
            |s| symlink("plugin", s.path("t/x")).unwrap(),
            "a link to no file",
        ),
        (
            "history",
            |s| {
                s.write("t/.git/config", "[remote]");
                symlink(".git/config", s.path("t/x")).unwrap();
            },
            "a link to no file",
        ),
        (
            "hooks",
            |s| s.write("t/.@@code@@/hooks/post-checkout", "#!/bin/sh\n"),
            ".git folder",
        ),
        (
            "twice",
            |s| {
                s.write("t/git", "");
                s.write("t/@@code@@", "");
            },
            "made twice",
        ),
        (
            "pipe",
            |s| {
                let path = s.path("t/x");
                assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
            },
            "is no file",
        ),
    ];
    for (name, spoil, what) in cases {
        small(&space, "t");
        spoil(&space);
        let args = ["--name", "a", "--code", "git", "-y", "--template", "t"];
        let refused = create(&space, &args).expect(1);
        assert!(refused.stderr.contains(what), "{name}: {}", refused.stderr);
        assert!(
            refused.stderr.contains("hint: "),
            "{name}: {}",
            refused.stderr
        );
        assert_eq!(names(space.cwd()), ["t"], "{name}");
        fs::remove_dir_all(space.path("t")).unwrap();
    }
    for (template, what) in [
        ("nothing", "there is no template `nothing`"),
        ("ext::sh -c touch% pwned", "there is no template"),
    ] {
        let gone = create(&space, &["--name", "a", "-y", "--template", template]).expect(1);
        assert!(gone.stderr.contains(what), "{gone:?}");
    }
    assert_eq!(names(space.cwd()), [""; 0]);
}

#[test]
fn git_runs_nothing_of_a_template_and_tells_no_login() {
    let mut space = space();
    small(&space, "repo");
    git(&space.path("repo"), &["init", "-q"]);
    git(&space.path("repo"), &["add", "-A"]);
    git(&space.path("repo"), &["commit", "-q", "-m", "template"]);
    git(&space.path("repo"), &["tag", "v1"]);
    // A hook that every checkout of this user would run.
    let marker = space.path("hook-ran");
    let hooks = space.root().join("hooks");
    fs::create_dir(&hooks).unwrap();
    let hook = hooks.join("post-checkout");
    fs::write(&hook, format!("#!/bin/sh\ntouch {}\n", marker.display())).unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let config = format!("[core]\n\thooksPath = {}\n", hooks.display());
    fs::write(space.root().join("user/.gitconfig"), config).unwrap();
    // And a repository that we are started in, as a hook of it is.
    space.set("GIT_DIR", "/nowhere/.git");
    let url = format!("file://{}#v1", space.path("repo").display());
    create(&space, &["--name", "a", "-y", "--template", &url]).expect(0);
    assert!(space.path("synapse-a-plugin/plugin/go.py").is_file());
    assert!(!marker.exists());
    assert!(!space.path("synapse-a-plugin/.git").exists());

    let gone = url.replace("#v1", "#v9");
    let gone = create(&space, &["--name", "b", "-y", "--template", &gone]).expect(1);
    assert!(
        gone.stderr.contains("no branch, tag or commit `v9`"),
        "{gone:?}"
    );

    let secret = "s3cret-canary";
    let url = format!("http://me:{secret}@127.0.0.1:9/a.git");
    for more in [&[][..], &["--json"]] {
        let args = [&["--name", "b", "-y", "--template", &url], more].concat();
        let failed = create(&space, &args).expect(3);
        let said = failed.text();
        assert!(said.contains("http://127.0.0.1:9/a.git"), "{said}");
        assert!(!said.contains(secret), "{said}");
    }
    // What git is started with, seen by one that notes it.
    let bin = space.root().join("bin");
    fs::create_dir(&bin).unwrap();
    let noted = space.root().join("noted");
    let fake = "#!/bin/sh\necho \"$@\" >> NOTED\nenv >> NOTED.env\ncase \"$*\" in *fetch*) echo \
                'fatal: could not read Username: terminal prompts disabled' >&2; exit 1;; esac\n";
    fs::write(
        bin.join("git"),
        fake.replace("NOTED", noted.to_str().unwrap()),
    )
    .unwrap();
    fs::set_permissions(bin.join("git"), fs::Permissions::from_mode(0o755)).unwrap();
    space.set("PATH", &format!("{}:/usr/bin:/bin", bin.display()));
    let failed = create(&space, &["--name", "b", "-y", "--template", &url]).expect(3);
    assert!(
        failed.stderr.contains("set up a credential helper"),
        "{failed:?}"
    );
    let noted_args = fs::read_to_string(&noted).unwrap();
    assert!(
        noted_args.contains("--depth=1") && !noted_args.contains(secret),
        "{noted_args}"
    );
    let environment = fs::read_to_string(space.root().join("noted.env")).unwrap();
    assert!(
        environment.contains("GIT_TERMINAL_PROMPT=0\n"),
        "{environment}"
    );
    assert!(!environment.contains("GIT_DIR="), "{environment}");
    space.set("PATH", "/nowhere");
    let absent = create(&space, &["--name", "b", "-y", "--template", &url]).expect(3);
    assert!(absent.stderr.contains("cannot start git"), "{absent:?}");
    assert!(absent.stderr.contains("hint: install git"), "{absent:?}");
    assert_eq!(names(space.cwd()), ["repo", "synapse-a-plugin"]);
}
