//! `synapse plugin run`: what an action is given, what is printed, what is refused before it
//! starts, and what is recorded.
#![allow(missing_docs, reason = "tests")]

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};
use synapse_tests::{Space, copy_tree, fixture, pythons};

/// What the fixture's configuration sets in vain.
const IGNORED: &str = "env.SYNAPSE_HOST is not set: a plugin cannot change it";

/// An environment for a Python, made once for all suites.
fn environment(python: &pythons::Python) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    pythons::sdk_environment(python, folder).expect("an environment")
}

fn space() -> Space {
    let mut space = synapse_tests::space!();
    copy_tree(&fixture("crashes"), space.cwd());
    let python = pythons::usual().expect("a Python");
    let environment = environment(&python);
    space.set("VIRTUAL_ENV", environment.to_str().expect("a path"));
    space
}

fn run(space: &Space, args: &[&str]) -> Value {
    space
        .synapse(&[&["plugin", "run", "--json"], args].concat())
        .expect(0)
        .json()
}

fn filtered(space: &Space, text: &str) -> String {
    let mut text = text.to_owned();
    for folder in [
        space.cwd().canonicalize().expect("a folder"),
        space.root().to_owned(),
    ] {
        text = text.replace(folder.to_str().expect("a path"), "[HERE]");
    }
    let lines = text
        .lines()
        .map(|line| match line.split_once("Environment:") {
            Some((start, _)) => format!("{start}Environment: [ENVIRONMENT]"),
            None => line.to_owned(),
        });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_run_reads_well() {
    let space = space();
    let run = space.synapse(&["plugin", "run", "train", "--params", "{\"epochs\": 3}"]);
    insta::assert_snapshot!(filtered(&space, &run.text()));
}

#[test]
fn a_document_holds_all_of_it() {
    let space = space();
    let document = run(&space, &["train", "--params", "{\"name\": \"a\"}"]);
    assert_eq!(document["ok"], true);
    assert_eq!(document["ending"], "returned");
    assert_eq!(document["result"], json!({"epochs": 2, "name": "a"}));
    assert_eq!(document["model"], "Trained");
    assert_eq!(
        document["metrics"]["train"],
        json!({"epoch": 2, "loss": 0.5})
    );
    assert_eq!(document["progress"]["train"]["percent"], 100.0);
    assert_eq!(document["exit"], 0);
    let output = document["output"].as_str().expect("a file");
    let kept = std::fs::read_to_string(output).expect("output");
    assert!(
        kept.contains("printed\n") && kept.contains("complained\n"),
        "{kept}"
    );
    let id = document["run"].as_i64().expect("an id").to_string();
    let shown = space.synapse(&["runs", "show", &id]).expect(0).stdout;
    assert!(shown.contains("Starting training..."), "{shown}");
}

#[test]
fn what_a_result_loses_is_noted() {
    let space = space();
    space.append(
        "config.yaml",
        "  lossy:\n    entrypoint: plugin.ends:lossy\n    method: task\n",
    );
    space.append(
        "plugin/ends.py",
        "\ndef lossy(params):\n    return {'loss': float('nan'), 'model': object()}\n",
    );
    let document = run(&space, &["lossy"]);
    let kept = json!({"loss": null, "model": "<object object>"});
    assert_eq!(document["result"], kept);
    let notes = [
        "result: loss is NaN, kept as null",
        "result: model has no plain form, its text is kept",
    ];
    let mut all = vec![IGNORED];
    all.extend(notes);
    assert_eq!(document["notes"], json!(all));
    let told = space.synapse(&["plugin", "run", "lossy"]).expect(0).stderr;
    assert!(notes.iter().all(|note| told.contains(note)), "{told}");
}

#[test]
fn a_language_without_messages_is_noted_and_one_that_is_none_refused() {
    let space = space();
    let refused = space.synapse(&["plugin", "run", "echo", "--lang", ""]);
    let refused = refused.expect(2).stderr;
    assert!(refused.contains("hint: known are en and ko"), "{refused}");
    let document = run(&space, &["echo", "--lang", "ja"]);
    let note = document["notes"][1].as_str().expect("a note");
    assert!(note.starts_with("--lang ja: the SDK's messages"), "{note}");
    let document = run(&space, &["echo", "--lang", "ko"]);
    assert_eq!(document["notes"], json!([IGNORED]));
}

#[test]
fn events_come_a_line_each() {
    let space = space();
    let run = space
        .synapse(&["plugin", "run", "train", "--events"])
        .expect(0);
    let lines: Vec<Value> = run
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let count = |name: &str| lines.iter().filter(|line| line["event"] == name).count();
    assert_eq!(count("log"), 2, "{}", run.stdout);
    assert_eq!(
        (count("progress"), count("metrics"), count("result")),
        (2, 2, 1)
    );
    assert!(count("output") >= 2);
    let last = lines.last().expect("a line");
    assert_eq!(last["event"], "summary");
    assert_eq!(last["document"]["ok"], true);
}

#[test]
fn the_process_is_what_a_plain_python_would_be() {
    for python in pythons::all() {
        let environment = environment(&python);
        let mut space = synapse_tests::space!();
        copy_tree(&fixture("crashes"), space.cwd());
        space.set("VIRTUAL_ENV", environment.to_str().expect("a path"));
        let executable = environment.join("bin/python");
        let args = ["look", "--gpus", "2", "--cpus", "1", "--env", "active"];
        let seen = run(&space, &args)["result"].clone();
        let script =
            "import json, sys; print(json.dumps([sys.executable, sys.prefix, sys.base_prefix]))";
        let plain = Command::new(&executable)
            .args(["-c", script])
            .output()
            .expect("a Python");
        let plain: Value = serde_json::from_slice(&plain.stdout).expect("JSON");
        let name = python.name();
        assert_eq!(
            json!([seen["executable"], seen["prefix"], seen["base_prefix"]]),
            plain,
            "{name}"
        );
        assert_eq!(seen["child_prefix"], seen["prefix"], "{name}");
        assert_eq!(seen["python_on_path"], seen["executable"], "{name}");
        let here = space.cwd().canonicalize().expect("a folder");
        assert_eq!(seen["cwd"], here.to_str().expect("a path"), "{name}");
        assert_eq!(seen["first"], seen["cwd"], "{name}");
        let entry = here.join("plugin/ends.py");
        assert_eq!(seen["argv"], json!([entry.to_str()]), "{name}");
        assert_eq!(seen["mode"], "fast");
        assert_eq!(seen["host"], Value::Null, "a plugin cannot name a host");
        assert_eq!(
            (&seen["gpus"], &seen["threads"]),
            (&json!("0,1"), &json!("1"))
        );
        assert_eq!(seen["processors"], 1);
        assert_eq!(seen["worker_variables"], json!([]));
        assert_eq!(seen["client"], true);
    }
}

#[test]
fn a_plugin_may_have_modules_named_like_standard_ones() {
    let space = space();
    let all = ["types.py", "enum.py", "json/__init__.py"];
    for name in all {
        space.write(
            name,
            "raise SystemExit('the plugin has modules of its own')\n",
        );
    }
    let document = run(&space, &["echo", "--params", r#"{"a": 1}"#]);
    assert_eq!(document["ok"], true);
}

#[test]
fn mistakes_are_told_before_anything_starts() {
    let space = space();
    space.write("p.json", "{\"epochs\": 1,\n  oops}");
    for args in [
        &["tarin"][..],
        &["nope"],
        &["train", "--params", "{'epochs': 5}"],
        &["train", "--params", "[1]"],
        &["train", "--params", "@p.json"],
        &["train", "--params", "@none.json"],
        &["train", "--mode", "job"],
        &["train", "--mode", "remote"],
        &["train", "--memory", "lots"],
        &["train", "--timeout", "soon"],
        &["train", "--plugin", "other"],
        &["train", "--path", "plugin"],
        &["train", "--path", "plugin/ends.py"],
    ] {
        let run = space.synapse(&[&["plugin", "run"], args].concat());
        let name = args.join(" ");
        insta::with_settings!({description => name, omit_expression => true}, {
            insta::assert_snapshot!(filtered(&space, &run.text()));
        });
    }
    let runs = space.synapse(&["runs", "--json"]).expect(0).stdout;
    assert!(!runs.contains("crashes"), "nothing was started: {runs}");
}

#[test]
fn every_wrong_parameter_is_named_with_its_value_and_rule() {
    let space = space();
    let params = "{\"epochs\": -1, \"name\": 3, \"sizes\": [1, \"x\"]}";
    let run = space.synapse(&["plugin", "run", "train", "--params", params]);
    insta::assert_snapshot!(filtered(&space, &run.text()));
}

#[test]
fn code_that_cannot_be_loaded_is_told_by_its_own_lines() {
    let space = space();
    for action in ["broken", "unknown_module"] {
        let run = space.synapse(&["plugin", "run", action]);
        insta::with_settings!({description => action, omit_expression => true}, {
            insta::assert_snapshot!(filtered(&space, &run.text()));
        });
    }
    space.write("plugin/broken.py", "def main():\n    x = = 1\n");
    let run = space.synapse(&["plugin", "run", "broken"]).expect(1);
    assert_eq!(
        run.stderr.matches("SyntaxError").count(),
        1,
        "{}",
        run.stderr
    );
    let shown = space.synapse(&["runs", "show", "3"]).expect(0).stdout;
    assert_eq!(shown.matches("SyntaxError").count(), 1, "{shown}");
    let run = space
        .synapse(&["plugin", "run", "nothing_there", "--json"])
        .expect(1)
        .json();
    assert_eq!(
        run["errors"][0]["code"], "config-entrypoint-object",
        "{run:#}"
    );
}

#[test]
fn a_saved_mode_is_taken_unless_the_command_line_has_one() {
    let space = space();
    let file = space.home().join("config/config.json");
    std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
    std::fs::write(&file, "{\"default_mode\": \"job\"}").expect("a file");
    let refused = space.synapse(&["plugin", "run", "echo"]).expect(3);
    assert!(
        refused.stderr.contains("comes with a later release"),
        "{}",
        refused.stderr
    );
    space
        .synapse(&["plugin", "run", "echo", "--mode", "local"])
        .expect(0);
    std::fs::write(&file, "{\"default_mode\": \"moon\"}").expect("a file");
    let refused = space.synapse(&["plugin", "run", "echo"]).expect(1);
    assert!(
        refused.stderr.contains("Invalid mode: moon"),
        "{}",
        refused.stderr
    );
}

#[test]
fn only_an_equal_run_of_a_cacheable_action_is_reused() {
    let space = space();
    let file = space.root().join("count");
    let params = json!({"name": file}).to_string();
    let count = |more: &[&str]| {
        let args = [&["counts", "--params", &params], more].concat();
        let document = run(&space, &args);
        (
            document["result"].as_i64().expect("a number"),
            document["reused"] == true,
        )
    };
    assert_eq!(count(&[]), (1, false));
    assert_eq!(count(&[]), (2, false), "without --reuse it runs");
    assert_eq!(count(&["--reuse"]), (3, false), "nothing was kept of those");
    assert_eq!(count(&["--reuse"]), (3, true));
    assert_eq!(count(&[]), (4, false));
    space.replace("config.yaml", "MODE: fast", "MODE: slow");
    assert_eq!(
        count(&["--reuse"]),
        (5, false),
        "what the configuration sets is an input"
    );
    assert_eq!(count(&["--reuse"]), (5, true));
    space.append("plugin/ends.py", "# edited\n");
    assert_eq!(count(&["--reuse"]), (6, false), "the sources are inputs");
    let other = json!({"name": file, "epochs": 9}).to_string();
    let document = run(&space, &["counts", "--params", &other, "--reuse"]);
    assert_eq!(document["result"], 7, "the parameters are inputs");
    let warned = space
        .synapse(&["plugin", "run", "echo", "--reuse"])
        .expect(0);
    assert!(
        warned.stderr.contains("not declared `cacheable: true`"),
        "{}",
        warned.stderr
    );
}

#[test]
fn the_executable_names_no_libpython() {
    let program = env!("CARGO_BIN_EXE_synapse_under_test");
    let Ok(output) = Command::new("ldd").arg(program).output() else {
        return;
    };
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("libc.so"), "{text}");
    assert!(!text.contains("python"), "{text}");
}

#[test]
fn a_value_of_env_is_in_no_row_and_no_output() {
    let space = space();
    space.replace("config.yaml", "MODE: fast", "MODE: canary-of-env");
    run(
        &space,
        &["counts", "--reuse", "--params", "{\"name\": \"count\"}"],
    );
    let printed = space
        .synapse(&["plugin", "run", "raises", "--debug"])
        .text();
    assert!(!printed.contains("canary-of-env"), "{printed}");
    for entry in walkdir::WalkDir::new(space.home()) {
        let entry = entry.expect("a tree that can be walked");
        if entry.file_type().is_file() {
            let bytes = std::fs::read(entry.path()).expect("a file");
            let found = bytes.windows(13).any(|part| part == b"canary-of-env");
            assert!(!found, "{}", entry.path().display());
        }
    }
}
