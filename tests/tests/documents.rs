//! Documents of `--json` are held against their schemas: of `run` however it ends, and of every
//! command that fails before it has one of its own.
#![allow(missing_docs, reason = "tests")]

use std::path::Path;

use serde_json::{Value, json};
use synapse_tests::{Document, Space, copy_tree, expect_schema, fixture, pythons};

fn space() -> Space {
    let mut space = synapse_tests::space!();
    copy_tree(&fixture("crashes"), space.cwd());
    let python = pythons::usual().expect("a Python");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let environment = pythons::sdk_environment(&python, folder).expect("an environment");
    space.set("VIRTUAL_ENV", environment.to_str().expect("a path"));
    space
}

/// The document of a run, which satisfies its schema.
#[track_caller]
fn run(space: &Space, args: &[&str], code: i32) -> Value {
    let run = space.synapse(&[&["--json", "plugin", "run"], args].concat());
    let document = run.expect(code).json();
    expect_schema("run", &document);
    assert_eq!(document["ok"], code == 0);
    document
}

#[test]
fn a_run_has_one_shape_however_it_ends() {
    let space = space();
    let params = json!({"name": space.root().join("count")}).to_string();
    let reuse = ["counts", "--reuse", "--params", &params];
    for (args, ending, code) in [
        (&["train"][..], "returned", 0),
        (&reuse, "returned", 0),
        (&["raises"], "raised", 1),
        (&["train", "--params", "{\"epochs\": -1}"], "raised", 1),
        (&["exits"], "raised", 1),
        (&["exits_at_once"], "exited", 1),
        (&["segfault"], "killed", 1),
        (&["hangs", "--timeout", "1s"], "timed-out", 1),
    ] {
        let document = run(&space, args, code);
        assert_eq!(document["ending"], ending, "{args:?}");
        assert_eq!(document["plugin"], "crashes");
        let errors = document["errors"].as_array().expect("errors");
        assert_eq!(errors.is_empty(), code == 0, "{args:?}");
    }
    let again = run(&space, &reuse, 0);
    assert_eq!(again["reused"], true);
}

#[test]
fn a_run_that_fails_early_has_that_shape_too() {
    let space = space();
    for (args, code) in [
        (&["nope"][..], 1),
        (&["train", "--timeout", "soon"], 2),
        (&["train", "--params", "[1]"], 1),
        (&["train", "--path", "nowhere"], 1),
        (&["train", "--mode", "job"], 3),
        (&["train", "--python", "9.9", "--env", "managed"], 3),
        (&["train", "--bogus"], 2),
        (&["train", "--mode", "moon"], 2),
        (&[], 2),
    ] {
        let document = run(&space, args, code);
        assert_eq!(document["run"], Value::Null, "{args:?}");
        assert_ne!(document["errors"], json!([]), "{args:?}");
    }
    let named = run(&space, &["nope"], 1);
    assert_eq!(named["action"], "nope");
    let events = space.synapse(&["plugin", "run", "nope", "--events"]);
    let events = events.expect(1).stdout;
    let last: Value = serde_json::from_str(events.lines().last().expect("a line")).expect("JSON");
    expect_schema("run", &last["document"]);
}

#[test]
fn every_other_command_that_fails_says_no_more_than_why() {
    let space = space();
    for (args, name) in [
        (&["plan", "--path", "nowhere"][..], "plan"),
        (&["explain", "nobody"], "explain"),
        (&["status", "--path", "nowhere"], "status"),
        (&["plugin", "lock", "--path", "nowhere"], "lock"),
        (
            &["plugin", "update-config", "--path", "nowhere"],
            "update-config",
        ),
        (&["runs", "--limit", "few"], "runs"),
        (&["runs", "show", "7"], "runs show"),
        (&["dataset", "show", "7"], "dataset show"),
        (&["dataset", "add", "nowhere"], "dataset add"),
        (&["model", "show", "7"], "model show"),
        (&["cache", "gc", "--max-size", "much"], "cache gc"),
        (&["login", "--bogus"], "login"),
        (&["bogus"], "synapse"),
    ] {
        let run = space.synapse(&[args, &["--json"]].concat());
        let document = run.json();
        expect_schema("failure", &document);
        assert_eq!(document["command"], name, "{args:?}");
        assert_ne!(run.code(), 0, "{args:?}");
    }
    for args in [&["--path", "nowhere"][..], &["--bogus"]] {
        let all = [&["plugin", "publish", "--json"], args].concat();
        let document = Document::of(space.synapse(&all));
        assert_eq!(document.value["command"], "publish");
    }
}
