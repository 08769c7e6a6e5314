//! A token in the environment reaches no code that is not the user's action, and is kept and said
//! nowhere.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use synapse_tests::{
    Run, Space,
    wheels::{self, Index},
};
use walkdir::WalkDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_synapse_under_test");
/// Variables that hold tokens, ours and others'.
const NAMES: [&str; 6] = [
    "SYNAPSE_ACCESS_TOKEN",
    "SYNAPSE_PLUGIN_RUN_USER_TOKEN",
    "AWS_SECRET_ACCESS_KEY",
    "GITHUB_TOKEN",
    "UV_PUBLISH_TOKEN",
    "MY_OWN_SETTING",
];

/// Says what it sees into a file beside itself, named for its place in the work.
const SPY: &str = r#"
def spy(what):
    import os, pathlib
    seen = dict(os.environ)
    try:
        parent = pathlib.Path(f"/proc/{os.getppid()}/environ").read_bytes()
    except OSError:
        parent = b""
    text = repr(sorted(seen.items())) + "\nHOME " + os.path.expanduser("~") + "\n"
    fds = []
    for name in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []:
        try:
            fds.append(os.readlink(f"/proc/self/fd/{name}"))
        except OSError:
            pass
    text += "FDS " + repr(fds) + "\n"
    with open(os.path.join(r"@REPORTS@", what), "a") as file:
        file.write(text)
"#;

fn canary() -> String {
    // In pieces, so that this file holds none.
    [
        "can",
        "ary",
        "-",
        &format!("{:x}", std::process::id()),
        "-",
        "7f3a9d51c2",
    ]
    .concat()
}

/// A plugin whose requirement is built from source, and whose module looks around when imported.
fn space(reports: &Path) -> Space {
    let mut space = Space::new(PROGRAM);
    for (name, value) in Index::usual().variables() {
        space.set(name, &value);
    }
    for name in NAMES {
        space.set(name, &canary());
    }
    let spy = SPY.replace("@REPORTS@", reports.to_str().unwrap());
    space.write("config.yaml", "name: Spy\ncode: spy\nversion: 0.1.0\ncategory: custom\nactions:\n  look:\n    entrypoint: plugin.look:LookAction\n    method: task\n  train:\n    entrypoint: plugin.look:TrainAction\n    method: job\n");
    space.write("README.md", "# Spy\n");
    space.write("requirements.txt", "./sdist\n");
    space.write("plugin/__init__.py", "");
    space.write(
        "plugin/look.py",
        format!(
            "from pydantic import BaseModel\nfrom synapse_sdk.plugins import BaseAction\n{spy}\nspy('imported')\n\n\n\
             class LookParams(BaseModel):\n    depth: int = 1\n\n\n\
             class LookAction(BaseAction[LookParams]):\n    action_name = 'look'\n\n    \
             def execute(self):\n        spy('executed')\n        self.log_message('looked')\n        return {{'depth': self.params.depth}}\n\n\n\
             class TrainAction(LookAction):\n    action_name = 'train'\n"
        ),
    );
    space.write(
        "sdist/setup.py",
        format!("{spy}\nspy('setup')\nfrom setuptools import setup\nsetup(name='looker', version='1.0', py_modules=['looker'])\n"),
    );
    space.write("sdist/looker.py", "x = 1\n");
    space
}

fn report(reports: &Path, what: &str) -> String {
    fs::read_to_string(reports.join(what)).unwrap_or_default()
}

/// No byte of the home, nor of what was printed, is the canary's.
#[track_caller]
fn expect_unseen(space: &Space, runs: &[Run]) {
    let canary = canary();
    for run in runs {
        assert!(
            !run.stdout.contains(&canary) && !run.stderr.contains(&canary),
            "{run:#?}"
        );
    }
    for entry in WalkDir::new(space.home())
        .into_iter()
        .filter_map(Result::ok)
    {
        if entry.file_type().is_file() {
            let bytes = fs::read(entry.path()).unwrap();
            let found = bytes
                .windows(canary.len())
                .any(|window| window == canary.as_bytes());
            assert!(!found, "{} holds it", entry.path().display());
        }
    }
}

/// The command lines of all processes that can be seen, looked at again and again until `done`.
fn watch_arguments(done: &AtomicBool) -> (usize, Vec<String>) {
    let (mut looks, mut found) = (0, Vec::new());
    while !done.load(Ordering::Relaxed) {
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Ok(line) = fs::read(entry.path().join("cmdline")) else {
                continue;
            };
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            if line.contains(&canary()) {
                found.push(line);
            }
        }
        looks += 1;
        thread::sleep(std::time::Duration::from_millis(2));
    }
    (looks, found)
}

#[test]
fn only_the_action_sees_it() {
    let scratch = tempfile::tempdir().unwrap();
    let reports: PathBuf = scratch.path().canonicalize().unwrap();
    let space = space(&reports);
    let python = wheels::usual_python().executable;
    let python = python.to_str().unwrap();
    let done = AtomicBool::new(false);
    let (runs, (looks, seen)) = thread::scope(|scope| {
        let watch = scope.spawn(|| watch_arguments(&done));
        let mut runs = Vec::new();
        let run = [
            "plugin", "run", "look", "--env", "managed", "--python", python,
        ];
        for form in [&[][..], &["--json"], &["--events"], &["--verbose"]] {
            runs.push(space.synapse(&[&run[..], form].concat()).expect(0));
        }
        for other in [
            &["plugin", "update-config"][..],
            &[
                "plugin",
                "update-config",
                "--env",
                "managed",
                "--python",
                python,
            ],
            &["plugin", "lock", "--python", python],
            &["plugin", "publish", "--local", "--yes"],
            &["runs"],
            &["runs", "show", "1", "--json"],
            &["explain", "spy", "--local"],
            &["plan", "--local"],
            &["status", "--local"],
        ] {
            runs.push(space.synapse(other).expect(0));
        }
        runs.push(space.synapse(&["plugin", "run", "absent", "--env", "managed"]));
        done.store(true, Ordering::Relaxed);
        (runs, watch.join().unwrap())
    });
    assert!(looks > 10, "the watch worked");
    assert!(seen.is_empty(), "{seen:#?}");
    expect_unseen(&space, &runs);

    let setup = report(&reports, "setup");
    assert!(
        setup.contains("PATH"),
        "setup.py ran and could speak: {setup:?}"
    );
    assert!(!setup.contains(&canary()), "setup.py sees it");
    let home = space.root().join("user");
    assert!(
        !setup.contains(&format!("HOME {}\n", home.display())),
        "a HOME of its own: {setup}"
    );

    // An inspection may be kept from writing at all; what it did write holds nothing.
    let imported = report(&reports, "imported");
    let executed = report(&reports, "executed");
    assert!(
        executed.contains(&canary()),
        "the user's own action has the user's environment"
    );
    // Imported by the runs, with the user's environment; and by inspections, without it.
    let sights = imported.matches("HOME ").count();
    let bare = imported
        .split("HOME ")
        .filter(|sight| sight.contains("PATH") && !sight.contains(&canary()))
        .count();
    let runs_of_it = executed.matches("HOME ").count();
    assert!(sights > runs_of_it, "it was inspected as well: {imported}");
    assert_eq!(
        sights - runs_of_it,
        bare,
        "every import but those of runs was without it"
    );
}
