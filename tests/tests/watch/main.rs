//! A watch does again what changed and nothing else: once for each save, never for what the ignore
//! rules hide or for content that is the same, and errors stay until they are put right. Nothing
//! here measures time: what must not happen is ruled out by the save that comes after it.
#![allow(missing_docs, reason = "tests")]

mod runs;
mod watching;

use std::{collections::BTreeSet, fs, os::unix::fs::symlink};

use rustix::process::Signal;
use serde_json::Value;
use synapse_tests::Space;
use watching::{PROGRAM, Watch, append, replace, save, touch, watched_folders};

const ALL: &[&str] = &["publish", "--debug", "--all", "--local"];

/// A workspace whose three plugins a watch has published.
fn published() -> (Space, Watch) {
    let space = Space::tiny(PROGRAM, 3);
    let watch = Watch::start(&space, ALL);
    let watching = watch.next(&["watching"]);
    assert_eq!(watching["plugins"], 3, "{watching:#}");
    assert_eq!(watching["polls"], Value::Null, "{watching:#}");
    assert_eq!(watch.attempt(1)["code"], 0);
    (space, watch)
}

#[test]
fn one_save_publishes_the_plugin_that_it_is_in() {
    let (space, watch) = published();
    append(&space, "plugins/p1/plugin/run.py", "# a\n");
    assert_eq!(watch.changed(), ["tiny-1: plugin/run.py"]);
    let started = watch.next(&["attempt_started"]);
    assert_eq!(started["places"], serde_json::json!(["plugins/p1"]));
    let document = watch.document();
    assert_eq!(document["totals"]["published"], 1, "{document:#}");
    assert_eq!(document["totals"]["plugins"], 1, "{document:#}");
    assert_eq!(watch.next(&["attempt_finished"])["ok"], true);

    // By a file beside it that is moved over it.
    let text = space.read("plugins/p0/README.md") + "more\n";
    save(&space, "plugins/p0/README.md", &text);
    assert_eq!(watch.changed(), ["tiny-0: README.md"]);
    watch.attempt(3);

    fs::remove_file(space.path("plugins/p2/README.md")).expect("removed");
    assert_eq!(watch.changed(), ["tiny-2: README.md"]);
    watch.attempt(4);
    space.chmod("plugins/p2/plugin/run.py", 0o755);
    assert_eq!(watch.changed(), ["tiny-2: plugin/run.py"]);
    watch.attempt(5);

    // Vim's way: a test file, the old one moved away, a new one written.
    space.write("plugins/p0/4913", "");
    fs::remove_file(space.path("plugins/p0/4913")).expect("removed");
    let (own, old) = ("plugins/p0/README.md", "plugins/p0/README.md~");
    fs::rename(space.path(own), space.path(old)).expect("renamed");
    space.write(own, "by vim\n");
    fs::remove_file(space.path(old)).expect("removed");
    assert_eq!(watch.changed(), ["tiny-0: README.md"]);
    watch.attempt(6);
    let run = watch.interrupt();
    assert_eq!(run.stderr, "");
    let debug = vec!["debug".to_owned()];
    assert!(space.releases().values().all(|own| *own == debug));
}

#[test]
fn what_is_ignored_or_the_same_does_nothing() {
    let (space, watch) = published();
    // None of these is told: the next thing told is the save that comes last.
    let own = "plugins/p0/plugin/run.py";
    let text = space.read(own);
    append(&space, own, "");
    touch(&space.path(own));
    save(&space, own, &text);
    for path in [
        "plugins/p0/plugin/__pycache__/run.cpython-311.pyc",
        "plugins/p0/.venv/lib/x.py",
        "plugins/p0/node_modules/x/y.js",
        "plugins/p0/.git/index",
        "plugins/p0/train.log",
        "plugins/p0/plugin/.run.py.swp",
        "plugins/notes.txt",
        "notes.txt",
    ] {
        space.write(path, "x");
        append(&space, path, "y");
    }
    append(&space, "plugins/p1/README.md", "last\n");
    assert_eq!(watch.changed(), ["tiny-1: README.md"]);
    watch.attempt(2);

    // Ignored from now on, and no longer.
    save(&space, "plugins/p0/.synapseignore", "*.csv\n");
    assert_eq!(watch.changed(), ["tiny-0: .synapseignore"]);
    watch.attempt(3);
    save(&space, "plugins/p0/data.csv", "1\n");
    space.write(".gitignore", "*.nothing\n");
    append(&space, "plugins/p2/README.md", "last\n");
    assert_eq!(watch.changed(), ["tiny-2: README.md"]);
    watch.attempt(4);
    save(&space, "plugins/p0/.synapseignore", "*.other\n");
    assert_eq!(watch.changed(), ["tiny-0: .synapseignore, data.csv"]);
    watch.attempt(5);
    watch.interrupt();
}

#[test]
fn excluded_folders_are_not_watched() {
    use std::os::unix::fs::MetadataExt;

    let space = Space::tiny(PROGRAM, 1);
    let hidden = [
        "plugins/p0/.venv/lib",
        "plugins/p0/node_modules/a",
        "plugins/p0/plugin/__pycache__",
    ];
    for folder in hidden {
        space.write(&format!("{folder}/x"), "x");
    }
    let watch = Watch::start(&space, ALL);
    watch.attempt(1);
    let inode = |path: &str| {
        let inode = fs::metadata(space.path(path)).expect("a folder").ino();
        format!(" ino:{inode:x} ")
    };
    let watched = watched_folders(&watch);
    let has = |path: &str| watched.iter().any(|line| line.contains(&inode(path)));
    for path in ["plugins", "plugins/p0", "plugins/p0/plugin"] {
        assert!(has(path), "{path}: {watched:#?}");
    }
    for path in hidden
        .into_iter()
        .chain(["plugins/p0/.venv", "plugins/p0/node_modules"])
    {
        assert!(!has(path), "{path}: {watched:#?}");
    }
    watch.interrupt();
}

#[test]
fn errors_stay_until_they_are_put_right() {
    let (space, watch) = published();
    let good = space.read("plugins/p0/config.yaml");
    replace(
        &space,
        "plugins/p0/config.yaml",
        "code: tiny-0",
        "code: 'No Code'",
    );
    assert_eq!(watch.changed(), ["tiny-0: config.yaml"]);
    let finished = watch.attempt(2);
    assert_eq!(finished["ok"], false, "{finished:#}");
    assert_eq!(finished["failing"], serde_json::json!(["tiny-0"]));

    // It is as wrong as before: nothing is told.
    append(&space, "plugins/p0/README.md", "more\n");
    append(&space, "plugins/p1/README.md", "more\n");
    assert_eq!(watch.changed(), ["tiny-1: README.md"]);
    let started = watch.next(&["attempt_started"]);
    let places = serde_json::json!(["plugins/p0", "plugins/p1"]);
    assert_eq!(started["places"], places, "what is wrong is tried again");
    assert_eq!(watch.next(&["attempt_finished"])["code"], 4);

    save(&space, "plugins/p0/config.yaml", &good);
    assert_eq!(watch.changed(), ["tiny-0: config.yaml"]);
    assert_eq!(watch.attempt(4)["failing"], serde_json::json!([]));
    let fixed = watch.next(&["fixed", "changed"]);
    assert_eq!(fixed["what"], serde_json::json!(["tiny-0"]), "{fixed:#}");

    // A link that leads nowhere is no file, and wrong all the same.
    symlink("nowhere", space.path("plugins/p1/plugin/link.py")).expect("a link");
    watch.changed();
    assert_eq!(watch.attempt(5)["ok"], false);
    fs::remove_file(space.path("plugins/p1/plugin/link.py")).expect("removed");
    watch.changed();
    assert_eq!(watch.attempt(6)["ok"], true);
    watch.next(&["fixed"]);

    // Two of one code are refused, both of them.
    replace(
        &space,
        "plugins/p2/config.yaml",
        "code: tiny-2",
        "code: tiny-1",
    );
    watch.changed();
    let started = watch.next(&["attempt_started"]);
    let places = serde_json::json!(["plugins/p1", "plugins/p2"]);
    assert_eq!(started["places"], places);
    assert_eq!(watch.next(&["attempt_finished"])["ok"], false);
    watch.interrupt();
}

#[test]
fn plugins_and_folders_come_and_go() {
    let (space, watch) = published();
    save(&space, "plugins/p0/plugin/deep/er/a.py", "1\n");
    assert_eq!(watch.changed(), ["tiny-0: plugin/deep/er/a.py"]);
    watch.attempt(2);
    save(&space, "plugins/p0/plugin/deep/er/b.py", "2\n");
    assert_eq!(watch.changed(), ["tiny-0: plugin/deep/er/b.py"]);
    watch.attempt(3);
    fs::rename(
        space.path("plugins/p0/plugin/deep"),
        space.path("plugins/p0/plugin/dark"),
    )
    .expect("renamed");
    let four = "tiny-0: plugin/dark/er/a.py, plugin/dark/er/b.py, plugin/deep/er/a.py, \
                plugin/deep/er/b.py";
    assert_eq!(watch.changed(), [four]);
    watch.attempt(4);
    append(&space, "plugins/p0/plugin/dark/er/a.py", "3\n");
    assert_eq!(watch.changed(), ["tiny-0: plugin/dark/er/a.py"]);
    watch.attempt(5);

    // Made elsewhere and moved to its place, as whole as it is.
    space.tiny_plugin("new", "tiny-new");
    fs::rename(space.path("new"), space.path("plugins/new")).expect("renamed");
    assert_eq!(watch.changed(), ["tiny-new: plugins/new"]);
    let started = watch.next(&["attempt_started"]);
    assert_eq!(started["places"], serde_json::json!(["plugins/new"]));
    assert_eq!(watch.next(&["attempt_finished"])["ok"], true);
    append(&space, "plugins/new/plugin/run.py", "# more\n");
    assert_eq!(watch.changed(), ["tiny-new: plugin/run.py"]);
    watch.attempt(7);

    fs::rename(space.path("plugins/new"), space.path("../gone")).expect("renamed");
    let gone = watch.next(&["gone", "changed", "attempt_started"]);
    assert_eq!(gone["plugin"], "tiny-new", "{gone:#}");

    save(&space, "synapse-workspace.yaml", "members: {\n");
    let trouble = watch.next(&["trouble", "changed", "attempt_started"]);
    assert_eq!(
        trouble["errors"][0]["code"], "config-yaml-syntax",
        "{trouble:#}"
    );
    append(&space, "plugins/p1/README.md", "goes on\n");
    assert_eq!(watch.changed(), ["tiny-1: README.md"]);
    watch.attempt(8);
    space.tiny_plugin("more/p9", "tiny-9");
    save(
        &space,
        "synapse-workspace.yaml",
        "members: ['plugins/*', 'more/*']\n",
    );
    let fixed = watch.next(&["fixed"]);
    assert_eq!(fixed["what"], serde_json::json!(["synapse-workspace.yaml"]));
    assert_eq!(watch.changed(), ["tiny-9: more/p9"]);
    watch.attempt(9);
    watch.interrupt();
}

#[test]
fn many_files_at_once_are_one_burst_or_a_few() {
    let (space, watch) = published();
    for number in 0..1_000 {
        save(
            &space,
            &format!("plugins/p1/plugin/many/f{number}.py"),
            "x = 1\n",
        );
    }
    // However busy the machine: all of it arrives, in no more attempts than bursts can be.
    let (mut files, mut changes) = (BTreeSet::new(), 0);
    while files.len() < 1_000 {
        let event = watch.next(&["changed"]);
        let paths = event["paths"].as_array().expect("paths");
        files.extend(paths.iter().map(ToString::to_string));
        changes += 1;
    }
    assert!(changes < 200, "{changes}");
    append(&space, "plugins/p2/README.md", "last\n");
    let told = |event: &Value| event["paths"].to_string().contains("README.md");
    while !told(&watch.next(&["changed"])) {}
    watch.interrupt();
}

#[test]
fn what_was_lost_is_looked_for() {
    let (space, watch) = published();
    // More events than the system keeps, while nobody takes them.
    let most = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").expect("a number");
    let most: usize = most.trim().parse().expect("a number");
    watch.signal(Signal::STOP);
    let noise = ["plugins/p0/a.log", "plugins/p0/b.log"];
    for path in noise {
        space.write(path, "");
    }
    for _ in 0..=most / 2 {
        for path in noise {
            append(&space, path, "");
        }
    }
    append(&space, "plugins/p1/README.md", "lost\n");
    save(&space, "plugins/p1/plugin/later/a.py", "1\n");
    watch.signal(Signal::CONT);
    assert_eq!(watch.changed(), ["tiny-1: README.md, plugin/later/a.py"]);
    watch.attempt(2);
    append(&space, "plugins/p1/plugin/later/a.py", "2\n");
    assert_eq!(watch.changed(), ["tiny-1: plugin/later/a.py"]);
    watch.interrupt();
}

#[test]
fn where_nobody_tells_folders_are_listed() {
    let space = Space::tiny(PROGRAM, 2);
    let watch = Watch::start(&space, &[ALL, &["--poll"]].concat());
    assert_eq!(watch.next(&["watching"])["polls"], "asked");
    watch.attempt(1);
    append(&space, "plugins/p1/plugin/run.py", "# a\n");
    assert_eq!(watch.changed(), ["tiny-1: plugin/run.py"]);
    watch.attempt(2);
    save(&space, "plugins/p1/plugin/new/a.py", "1\n");
    assert_eq!(watch.changed(), ["tiny-1: plugin/new/a.py"]);
    watch.attempt(3);
    append(&space, "plugins/p1/plugin/new/a.py", "2\n");
    assert_eq!(watch.changed(), ["tiny-1: plugin/new/a.py"]);
    watch.attempt(4);
    assert!(watched_folders(&watch).is_empty());
    watch.interrupt();
}

#[test]
fn what_makes_no_sense_is_refused() {
    let space = Space::tiny(PROGRAM, 1);
    for (args, message, hint) in [
        (
            &["dev", "publish", "--all", "--local"][..],
            "dev publish makes debug releases only",
            "add --debug",
        ),
        (
            &["dev", "publish", "--all", "--local", "--debug", "--dry-run"],
            "it has no preview",
            "synapse plugin publish --debug --dry-run",
        ),
        (
            &["dev", "publish", "--all", "--local", "--debug", "--json"],
            "a watch has none",
            "--events",
        ),
        (
            &[
                "dev",
                "run",
                "run",
                "--path",
                "plugins/p0",
                "--mode",
                "remote",
            ],
            "dev run runs on this machine",
            "synapse dev publish --debug",
        ),
    ] {
        let run = space.synapse(args).expect(2);
        let told = run.stderr.clone() + &run.stdout;
        assert!(
            told.contains(message) && told.contains(hint),
            "{args:?}\n{told}"
        );
    }
    space
        .synapse(&["dev", "run", "run", "--path", "nowhere"])
        .expect(1);
    space
        .synapse(&["dev", "publish", "--debug", "--local"])
        .expect(1);
}
