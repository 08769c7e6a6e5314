//! Files of every kind: what is published, and what is refused with its path.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt, fs::symlink, net::UnixListener},
    process::Command,
};

use synapse_tests::{Document, Space};

const PROGRAM: &str = env!("CARGO_BIN_EXE_synapse_under_test");
const PLUGIN: &str = "plugins/p0";

fn space() -> Space {
    Space::tiny(PROGRAM, 1)
}

/// Refused by name, with a hint, and nothing is sent.
#[track_caller]
fn expect_refused(space: &Space, code: &str, path: &str) -> Document {
    let document = space.publish(&["--all"]).expect(1);
    let error = document.error();
    assert_eq!(error["code"], code, "{error:#}");
    assert!(
        error["where"].as_str().unwrap().ends_with(path),
        "{error:#}"
    );
    assert!(
        error["message"].as_str().unwrap().contains(path),
        "{error:#}"
    );
    assert!(error["hint"].is_string(), "{error:#}");
    assert_eq!(
        (document.total("nodes_run"), document.total("bytes_sent")),
        (0, 0)
    );
    let text = space
        .synapse(&["plugin", "publish", "--all", "--local"])
        .expect(1)
        .stderr;
    assert!(
        text.starts_with("error: ") && text.contains("hint: "),
        "{text}"
    );
    // Ignored, it is no obstacle.
    let name = path.rsplit('/').next().unwrap();
    space.write("plugins/p0/.synapseignore", format!("{name}\n"));
    space.publish(&["--all"]).expect(0);
    document
}

#[test]
fn a_link_that_leads_out() {
    let space = space();
    fs::write(space.root().join("outside.txt"), "outside").unwrap();
    symlink(
        "../../../../outside.txt",
        space.path("plugins/p0/plugin/out.txt"),
    )
    .unwrap();
    expect_refused(&space, "symlink-out", "plugin/out.txt");
}

#[test]
fn an_absolute_link_that_leads_out() {
    let space = space();
    symlink("/etc/passwd", space.path("plugins/p0/passwd")).unwrap();
    let document = expect_refused(&space, "symlink-out", "passwd");
    assert!(
        !document.run.stdout.contains("root:"),
        "nothing of it is read"
    );
}

#[test]
fn a_link_to_a_folder_outside() {
    let space = space();
    fs::create_dir(space.root().join("outside")).unwrap();
    fs::write(space.root().join("outside/x.py"), "x").unwrap();
    symlink(
        space.root().join("outside"),
        space.path("plugins/p0/outside"),
    )
    .unwrap();
    expect_refused(&space, "symlink-out", "outside");
}

#[test]
fn a_link_by_way_of_another_that_leads_out() {
    let space = space();
    fs::write(space.root().join("outside.txt"), "outside").unwrap();
    symlink(
        space.root().join("outside.txt"),
        space.path("plugins/p0/.env"),
    )
    .unwrap();
    symlink(".env", space.path("plugins/p0/innocent")).unwrap();
    expect_refused(&space, "symlink-out", "innocent");
}

#[test]
fn a_link_that_leads_nowhere() {
    let space = space();
    symlink("absent.txt", space.path("plugins/p0/dangling")).unwrap();
    expect_refused(&space, "symlink-dangling", "dangling");
}

#[test]
fn links_that_lead_back() {
    for (from, to) in [("loop", "loop"), ("plugin/up", ".."), ("plugin/here", ".")] {
        let space = space();
        symlink(to, space.path(&format!("{PLUGIN}/{from}"))).unwrap();
        expect_refused(&space, "symlink-circle", from);
    }
}

#[test]
fn pipes_sockets_and_devices() {
    let space = space();
    let pipe = space.path("plugins/p0/pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    expect_refused(&space, "special-file", "pipe");

    let space = self::space();
    let _listener = UnixListener::bind(space.path("plugins/p0/socket")).unwrap();
    expect_refused(&space, "special-file", "socket");

    let space = self::space();
    symlink("/dev/zero", space.path("plugins/p0/zero")).unwrap();
    expect_refused(&space, "symlink-out", "zero");
}

#[test]
fn a_pipe_where_a_file_was_does_not_hang() {
    let space = space();
    space.publish(&["--all", "--debug"]).expect(0);
    for path in ["plugin/run.py", "config.yaml", ".synapseignore"] {
        let whole = space.path(&format!("{PLUGIN}/{path}"));
        let before = fs::read(&whole).ok();
        let _ = fs::remove_file(&whole);
        assert!(
            Command::new("mkfifo")
                .arg(&whole)
                .status()
                .unwrap()
                .success()
        );
        let mut args = vec![
            "--signal=KILL".into(),
            "10".into(),
            space.command(&[]).get_program().to_owned(),
        ];
        args.extend(["plugin", "publish", "--all", "--local", "--debug", "--json"].map(Into::into));
        let synapse = space.command(&[]);
        let mut command = Command::new("timeout");
        command.args(args).current_dir(space.cwd()).env_clear();
        command.envs(
            synapse
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        let document = Document::of(command.output().unwrap().into());
        document.expect(1);
        fs::remove_file(&whole).unwrap();
        if let Some(before) = before {
            fs::write(whole, before).unwrap();
        }
    }
    space.publish(&["--all", "--debug"]).expect_nothing_done();
}

#[test]
fn links_inside_are_stored_as_content() {
    let space = space();
    space.write("plugins/p0/shared/data.txt", "data\n");
    space.write("plugins/p0/shared/run.sh", "#!/bin/sh\n");
    space.chmod("plugins/p0/shared/run.sh", 0o755);
    symlink(
        "../shared/data.txt",
        space.path("plugins/p0/plugin/data.txt"),
    )
    .unwrap();
    symlink("data.txt", space.path("plugins/p0/plugin/again.txt")).unwrap();
    symlink("../shared", space.path("plugins/p0/plugin/folder")).unwrap();
    symlink(
        space.path("plugins/p0/shared/run.sh"),
        space.path("plugins/p0/plugin/run.sh"),
    )
    .unwrap();
    let document = space.publish(&["--all"]).expect(0);
    let files = document.unpacked("tiny-0");
    for path in [
        "shared/data.txt",
        "plugin/data.txt",
        "plugin/again.txt",
        "plugin/folder/data.txt",
    ] {
        assert_eq!(files[path], (false, b"data\n".to_vec()), "{path}");
    }
    for path in ["shared/run.sh", "plugin/run.sh", "plugin/folder/run.sh"] {
        assert_eq!(files[path], (true, b"#!/bin/sh\n".to_vec()), "{path}");
    }
    space.publish(&["--all"]).expect_nothing_done();
    // What a link leads to is what counts.
    space.write("plugins/p0/shared/data.txt", "DATA\n");
    let document = space.publish(&["--all", "--debug"]).expect(0);
    assert_eq!(
        document.unpacked("tiny-0")["plugin/folder/data.txt"].1,
        b"DATA\n"
    );
}

#[test]
fn a_link_in_place_of_the_plugin_or_its_configuration() {
    let space = space();
    fs::rename(space.path("plugins/p0"), space.root().join("real")).unwrap();
    symlink(space.root().join("real"), space.path("plugins/p0")).unwrap();
    let text = space.synapse(&[
        "plugin",
        "publish",
        "--local",
        "--json",
        "--path",
        "plugins/p0",
    ]);
    Document::of(text).expect(0);
    let space = self::space();
    fs::rename(
        space.path("plugins/p0/config.yaml"),
        space.path("plugins/p0/plugin/c.yaml"),
    )
    .unwrap();
    symlink("plugin/c.yaml", space.path("plugins/p0/config.yaml")).unwrap();
    let document = space.publish(&["--all"]).expect(0);
    assert!(document.unpacked("tiny-0").contains_key("config.yaml"));
    space.append("plugins/p0/README.md", "edited\n");
    space.publish(&["--all", "--bump", "patch"]).expect(0);
    assert!(
        space
            .path("plugins/p0/config.yaml")
            .symlink_metadata()
            .unwrap()
            .is_symlink()
    );
    assert!(space.read("plugins/p0/plugin/c.yaml").contains("0.1.1"));
}

#[test]
fn names_of_all_scripts() {
    let space = space();
    let names = [
        "한국어 이름.txt",
        "日本語/ファイル.py",
        "naïve café.md",
        "e\u{301}.txt",
        "emoji 🦀🎉.txt",
        "עברית.txt",
        "with 'quotes\" and $(things); & more.txt",
        "-dash",
        "#hash",
        "!bang",
        " leading and trailing ",
        "a:b",
        "CON",
        "dot.",
        "*",
        "[x]",
    ];
    for name in names {
        space.write(&format!("{PLUGIN}/names/{name}"), name);
    }
    let document = space.publish(&["--all"]).expect(0);
    let files = document.unpacked("tiny-0");
    for name in names {
        assert_eq!(files[&format!("names/{name}")].1, name.as_bytes());
    }
    let script = "import sys, zipfile\n\
                  archive = zipfile.ZipFile(sys.argv[1])\n\
                  for name in archive.namelist():\n    \
                  if name.startswith('names/'): assert archive.read(name).decode() == name[6:], name";
    let python = Command::new("python3")
        .args(["-c", script])
        .arg(document.archive("tiny-0"))
        .output()
        .unwrap();
    assert!(python.status.success(), "{python:?}");
    space.publish(&["--all"]).expect_nothing_done();
}

#[test]
fn names_that_not_every_system_can_hold() {
    for (name, shown) in [
        (&b"back\\slash"[..], "back\\slash"),
        (b"new\nline", "new?line"),
        (b"tab\tbed", "tab?bed"),
        (b"bell\x07", "bell?"),
        (b"escape\x1b[31m", "escape?[31m"),
        (b"latin-\xe9", "latin-\u{fffd}"),
        ("right\u{202e}left".as_bytes(), "right\u{202e}left"),
    ] {
        let space = space();
        fs::write(space.path(PLUGIN).join(OsStr::from_bytes(name)), "x").unwrap();
        let document = space.publish(&["--all"]).expect(1);
        let error = document.error();
        assert_eq!(error["code"], "file-name", "{error:#}");
        assert!(
            error["message"].as_str().unwrap().contains(shown),
            "{shown:?}: {error:#}"
        );
        assert!(error["hint"].is_string());
        let text = space
            .synapse(&["plugin", "publish", "--all", "--local", "--color", "never"])
            .expect(1)
            .stderr;
        assert!(
            !text.contains('\u{1b}') && !text.contains('\u{7}'),
            "{text:?}"
        );
    }
}

#[test]
fn empty_files_and_folders() {
    let space = space();
    space.write("plugins/p0/empty.bin", "");
    fs::create_dir_all(space.path("plugins/p0/nothing/in/here")).unwrap();
    let document = space.publish(&["--all"]).expect(0);
    let files = document.unpacked("tiny-0");
    assert_eq!(files["empty.bin"], (false, Vec::new()));
    assert!(!files.keys().any(|path| path.starts_with("nothing")));
    fs::remove_dir_all(space.path("plugins/p0/nothing")).unwrap();
    space.publish(&["--all"]).expect_nothing_done();
    // An empty file in place of one with content is an edit.
    space.write("plugins/p0/README.md", "");
    assert_eq!(
        space.publish(&["--all"]).expect(1).errors(),
        ["version-exists"]
    );
}

#[test]
fn an_empty_configuration() {
    let space = space();
    space.write("plugins/p0/config.yaml", "");
    let document = space.publish(&["--all"]).expect(1);
    assert!(document.errors()[0].starts_with("config-") || !document.errors().is_empty());
    assert!(
        document.value["errors"][0]["where"]
            .as_str()
            .unwrap()
            .contains("config.yaml")
    );
}

#[test]
fn a_file_that_may_not_be_read() {
    let mut space = space();
    space.write("plugins/p0/plugin/private.bin", "private");
    space.chmod("plugins/p0/plugin/private.bin", 0o000);
    if !space.become_nobody() && rustix::process::geteuid().is_root() {
        return;
    }
    expect_refused(&space, "unreadable", "plugin/private.bin");
    space.write("plugins/p0/locked/inner", "x");
    space.chmod("plugins/p0/locked", 0o000);
    let document = space.publish(&["--all", "--debug"]);
    if document.run.code() != 0 {
        assert_eq!(document.errors(), ["unreadable"]);
        assert!(
            document.error()["where"]
                .as_str()
                .unwrap()
                .ends_with("locked")
        );
    }
    space.chmod("plugins/p0/locked", 0o755);
}

#[test]
fn folders_in_folders() {
    let space = space();
    let deep = (0..120)
        .map(|level| format!("level-{level:03}"))
        .collect::<Vec<_>>()
        .join("/");
    space.write(&format!("{PLUGIN}/{deep}/bottom.txt"), "bottom");
    let long = "n".repeat(250);
    space.write(&format!("{PLUGIN}/{long}.txt"), "long");
    let document = space.publish(&["--all"]).expect(0);
    let files = document.unpacked("tiny-0");
    assert_eq!(files[&format!("{deep}/bottom.txt")].1, b"bottom");
    assert_eq!(files[&format!("{long}.txt")].1, b"long");
    space.publish(&["--all"]).expect_nothing_done();
}

#[test]
fn many_small_and_some_large_files() {
    let space = space();
    for index in 0..700 {
        space.write(
            &format!("{PLUGIN}/many/{}/{index}.txt", index % 7),
            format!("{index}\n").repeat(index % 50),
        );
    }
    // Text, noise, and one that does not fit into any one buffer.
    let noise: Vec<u8> = (0..3_000_000u64)
        .map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
        .collect();
    space.write(&format!("{PLUGIN}/noise.bin"), &noise);
    space.write(
        &format!("{PLUGIN}/large.txt"),
        "a line of text\n".repeat(1_500_000),
    );
    let document = space.publish(&["--all"]).expect(0);
    let files = document.unpacked("tiny-0");
    assert_eq!(files["noise.bin"].1, noise);
    assert_eq!(files["large.txt"].1.len(), 15 * 1_500_000);
    let sum: usize = files.values().map(|(_, bytes)| bytes.len()).sum();
    assert!(fs::metadata(document.archive("tiny-0")).unwrap().len() < sum as u64 / 4);
    let unzip = Command::new("unzip")
        .arg("-tqq")
        .arg(document.archive("tiny-0"))
        .output()
        .unwrap();
    assert!(unzip.status.success(), "{unzip:?}");
    space.publish(&["--all"]).expect_nothing_done();
}
