//! Wrong use: what is said, what is hinted, and the exit code, of every kind in one table.

use std::{
    fmt::Write,
    fs::{self, OpenOptions},
    process::Command,
};

use synapse_tests::{Run, Space, space};

use crate::{PROGRAM, in_shell, settled};

/// Each with one error, one hint, and its exit code.
fn table(space: &Space, cases: &[(&[&str], i32)]) -> String {
    let mut text = String::new();
    for (args, code) in cases {
        let run = space.synapse(args);
        assert_eq!(run.code(), *code, "{args:?}: {run:#?}");
        assert!(run.stdout.is_empty(), "{args:?}: {run:#?}");
        assert_eq!(
            run.stderr.matches("error: ").count(),
            1,
            "{args:?}: {run:#?}"
        );
        assert_eq!(
            run.stderr.matches("hint: ").count(),
            1,
            "{args:?}: {run:#?}"
        );
        let line = args.join(" ");
        let _ = write!(text, "$ synapse {line}\n{}-- exit {code}\n\n", run.stderr);
    }
    text
}

#[test]
fn commands_and_options() {
    let space = space!();
    let _bound = settled(&space).bind_to_scope();
    let text = table(
        &space,
        &[
            (&["publish"], 2),
            (&["run", "train"], 2),
            (&["push"], 2),
            (&["logs"], 2),
            (&["staus"], 2),
            (&["nope"], 2),
            (&["--nope"], 2),
            (&["plugin", "pubish"], 2),
            (&["plugin", "publish", "--dri-run"], 2),
            (&["plugin", "publish", "--bump"], 2),
            (&["plugin", "publish", "--bump", "tiny"], 2),
            (&["plugin", "publish", "--bump", "pacth"], 2),
            (&["plugin", "publish", "-j", "0"], 2),
            (&["plugin", "publish", "--all", "--plugin", "x"], 2),
            (&["plugin", "run"], 2),
            (&["cache"], 2),
            (&["cache", "gc", "--max-age", "-1"], 2),
            (&["cache", "gc", "--max-size", "much"], 2),
            (&["whoami", "extra"], 2),
        ],
    );
    insta::assert_snapshot!("commands-and-options", text);
    for name in ["create", "init", "new"] {
        let run = space.synapse(&[name]);
        assert_eq!(run.code(), 2, "{run:?}");
        assert!(run.stderr.contains("hint: "), "{run:?}");
    }
}

#[test]
fn parameters_that_are_no_json() {
    let space = space!();
    let _bound = settled(&space).bind_to_scope();
    space.write(
        "params.json",
        "{\n  \"epochs\": 5,\n  \"name\": \"canary\" \"more\": 1\n}\n",
    );
    let run = |params| (["plugin", "run", "train", "--params", params], 1);
    let all = [
        "{\"epochs\": 5,}",
        "{\"name\": \"canary\", epochs: 5}",
        "{epochs: canary}",
        "{\"epochs\": 5",
        "[1]",
        "",
        "@params.json",
        "@absent.json",
    ];
    let all = all.map(run);
    let cases: Vec<(&[&str], i32)> = all.iter().map(|(args, code)| (&args[..], *code)).collect();
    let text = table(&space, &cases);
    // As typed it is shown by the test, and by nothing else.
    let said: Vec<&str> = text.lines().filter(|line| !line.starts_with('$')).collect();
    assert!(!said.join("\n").contains("canary"), "{text}");
    insta::assert_snapshot!("parameters", text);
}

#[test]
fn folders_that_are_no_plugin() {
    let mut space = space!();
    let _bound = settled(&space).bind_to_scope();
    space.tiny_plugin("some/where/below", "tiny");
    space.write("file", "");
    let publish = |path| (["plugin", "publish", "--local", "--path", path], 1);
    let all = [".", "absent", "file", "some/where/below/plugin"].map(publish);
    let cases: Vec<(&[&str], i32)> = all.iter().map(|(args, code)| (&args[..], *code)).collect();
    insta::assert_snapshot!("folders", table(&space, &cases));
    // Where nothing can be kept.
    space.set("SYNAPSE_STORE", "/dev/null/store");
    let cases: [(&[&str], i32); 1] = [(&["plan", "--local", "--path", "some/where/below"], 3)];
    insta::assert_snapshot!("no-store", table(&space, &cases));
}

#[test]
fn output_that_cannot_be_written_is_told() {
    let space = Space::tiny(PROGRAM, 1);
    for args in [
        &["--version"][..],
        &["--help"],
        &["plugin", "publish", "--help"],
        &["plan", "--all", "--local"],
        &["plan", "--all", "--local", "--json"],
        &["plugin", "publish", "--all", "--local", "--events"],
        &["cache", "stats"],
    ] {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut command = space.command(args);
        let run: Run = command.stdout(full).output().unwrap().into();
        assert_eq!(run.code(), 3, "{args:?}: {run:?}");
        let told = "error: cannot write standard output: No space left on device";
        assert_eq!(run.stderr.matches(told).count(), 1, "{args:?}: {run:?}");
        assert!(run.stderr.contains("\nhint: "), "{args:?}: {run:?}");
        // Whoever stops reading has seen enough.
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        drop(reader);
        let mut command = space.command(args);
        let run: Run = command.stdout(writer).output().unwrap().into();
        assert_eq!((run.code(), &*run.stderr), (0, ""), "{args:?}: {run:?}");
    }
}

#[test]
fn alone_it_gives_an_overview() {
    let space = space!();
    let alone = space.synapse(&[]).expect(0);
    let help = space.synapse(&["--help"]).expect(0);
    assert_eq!((&alone.stdout, &*alone.stderr), (&help.stdout, ""));
    assert_eq!(space.synapse(&["-h"]).expect(0).stdout, help.stdout);
    let wide: Vec<&str> = help.stdout.lines().filter(|line| line.len() > 80).collect();
    assert!(wide.is_empty(), "{wide:?}");
    // In a narrow terminal no word is broken.
    let narrow = in_shell(&space, (60, 80), &[]).wait_for("exit 0");
    let hung = format!("into object\n{:24}stores only\n", "");
    assert!(narrow.contains(&hung), "{narrow}");
    // A program gets a document.
    let document = space.synapse(&["--json"]).expect(2).json();
    assert_eq!(document["errors"][0]["code"], "usage", "{document:#}");
}

/// Runs `synapse` where `small`, beside the current folder, is a disk of its own, mounted with
/// `options`; what is left on it is listed on standard output.
fn on_a_disk(space: &Space, options: &str, home: &str, args: &str) -> Run {
    let own = space.command(&[]);
    let script = format!(
        "mount -t tmpfs -o {options} tmpfs ../small || exit 9\n\
         SYNAPSE_HOME=$PWD/../{home} \"$SYNAPSE\" {args} > ../said\n\
         code=$?; ls -A ../small/plugins 2>/dev/null; exit $code"
    );
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script])
        .current_dir(space.cwd())
        .env_clear();
    let variables = own.get_envs();
    command.envs(variables.filter_map(|(name, value)| Some((name, value?))));
    command.env("SYNAPSE", own.get_program());
    command.output().unwrap().into()
}

#[test]
fn disks_that_are_full_or_read_only() {
    let space = space!();
    let _bound = settled(&space).bind_to_scope();
    fs::create_dir(space.root().join("small")).unwrap();
    space.tiny_plugin("tiny", "tiny");
    // Nothing in it repeats: no compression makes it fit.
    let mut state = 1_u64;
    let noise = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    });
    space.write("tiny/noise.bin", noise.take(3 << 20).collect::<Vec<u8>>());
    let create = "plugin create --name X --category custom --yes --path ../small/plugins";
    let publish = "plugin publish --local --path tiny";
    let mut text = String::new();
    for (options, home, args) in [
        ("size=2m", "small", publish),
        ("size=100k", "small", publish),
        ("ro", "small", publish),
        ("size=40k", "synapse-home", create),
        ("ro", "synapse-home", create),
    ] {
        let run = on_a_disk(&space, options, home, args);
        if run.stderr.contains("unshare: ") || run.code() == 9 {
            eprintln!("no disk can be mounted here: not tried ({})", run.stderr);
            return;
        }
        assert_eq!((run.code(), &*run.stdout), (3, ""), "{options}: {run:#?}");
        let marks = ["error: ", "hint: "].map(|mark| run.stderr.matches(mark).count());
        assert_eq!(marks, [1, 1], "{options}: {run:#?}");
        let _ = write!(
            text,
            "{options}$ synapse {args}\n{}-- exit 3\n\n",
            run.stderr
        );
    }
    insta::assert_snapshot!("disks", text);
}
