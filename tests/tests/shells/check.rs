//! `synapse plugin check`: every problem of a plugin at once, without building or writing anything.

use std::{fs, os::unix::fs::symlink};

use serde_json::{Value, json};
use synapse_tests::{
    Run, Space, copy_tree, expect_schema, fixture, snapshot, space, wheels::Index,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_synapse_under_test");

#[track_caller]
fn check(space: &Space, args: &[&str], code: i32) -> Value {
    let run = space.synapse(&[&["plugin", "check", "--json"], args].concat());
    let document = run.expect(code).json();
    expect_schema("check", &document);
    assert_eq!(document["ok"], code == 0);
    document
}

/// Severity, code and place after the plugin's folder of every problem.
fn problems(document: &Value) -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    for plugin in document["plugins"].as_array().unwrap() {
        for problem in plugin["problems"].as_array().unwrap() {
            let text = |key: &str| problem[key].as_str().unwrap_or_default().to_owned();
            let place = text("where");
            let folder = plugin["path"].as_str().unwrap();
            let place = place.strip_prefix(folder).unwrap_or(&place);
            assert!(
                !text("hint").is_empty() || text("code").starts_with("config"),
                "{problem:#}"
            );
            found.push((
                text("severity"),
                text("code"),
                place.trim_start_matches('/').to_owned(),
            ));
        }
    }
    found
}

#[test]
fn the_samples_are_in_order_and_looking_writes_nothing() {
    let mut space = Space::workspace(PROGRAM);
    let before = snapshot(space.cwd());
    let document = check(&space, &["--all"], 0);
    assert_eq!(document["totals"]["plugins"], 7);
    assert_eq!(document["totals"]["errors"], 0, "{document:#}");
    assert_eq!(snapshot(space.cwd()), before);
    for made in ["data", "config", "cache/store.db", "cache/index"] {
        assert!(!space.home().join(made).exists(), "{made}");
    }
    // In a workspace it is about all of them, in a plugin about that one.
    assert_eq!(check(&space, &[], 0)["totals"]["plugins"], 7);
    space.set_cwd(space.path("plugins/synapse-coco-export-plugin"));
    let own = check(&space, &[], 0);
    assert_eq!(own["plugins"][0]["plugin"], "coco-export");
    assert_eq!(own["totals"]["plugins"], 1);
}

#[test]
fn every_problem_is_told_at_its_place() {
    let space = space!();
    space.tiny_plugin(".", "tiny-0");
    space.write(
        "config.yaml",
        "name: Tiny\ncode: tiny_0\nversion: 0.1.0\ncategory: custom\nreadme: docs/README.md\n\
         env:\n  API_TOKEN: sk-proj-0123456789abcdefghijABCDEFGHIJ0123456789\nactions:\n  \
         run: plugin.run:main\n  gone: plugin.gone:main\n  typo: plugin.run:mian\n  \
         bad: plugin.bad:main\n",
    );
    space.write("plugin/bad.py", "def main(:\n    pass\n");
    space.write("requirements.txt", "numpy\nthis is none\n-r more.txt\n");
    space.write("wheels/a-1.0-py3-none-any.whl", "x");
    space.write(".synapseignore", "wheels/*.whl\n");
    let key = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\n-----END RSA PRIVATE KEY-----\n";
    space.write("plugin/key.txt", format!("one\n{key}"));
    symlink("/etc/passwd", space.path("plugin/out")).unwrap();
    symlink("nowhere", space.path("plugin/dangling")).unwrap();
    let large = fs::File::create(space.path("weights.bin")).unwrap();
    large.set_len(101 << 20).unwrap();
    let document = check(&space, &[], 1);
    let found = problems(&document);
    insta::assert_debug_snapshot!("every-problem", found);
    assert!(
        !document.to_string().contains("0123456789abcdef"),
        "no secret is told"
    );
    let words = space.synapse(&["plugin", "check"]).expect(1);
    assert!(!words.stderr.contains("0123456789abcdef"));
    assert_eq!(
        words.stderr.matches("error: ").count() as u64,
        document["totals"]["errors"]
    );
    assert_eq!(
        words.stderr.matches("warning: ").count() as u64,
        document["totals"]["warnings"]
    );
    assert!(
        words.stdout.starts_with("1 plugin checked: "),
        "{}",
        words.stdout
    );
}

#[test]
fn warnings_fail_only_where_that_is_asked_for() {
    let space = space!();
    space.tiny_plugin(".", "tiny_0");
    let document = check(&space, &[], 0);
    assert_eq!(problems(&document)[0].1, "config-code-underscore");
    check(&space, &["--strict"], 1);
    let quiet = space.synapse(&["plugin", "check", "--quiet"]).expect(0);
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""));
}

#[test]
fn what_is_allowed_is_no_problem() {
    let space = space!();
    space.tiny_plugin(".", "tiny-0");
    space.write(
        ".netrc",
        "machine example.org login a password hunter2hunter2\n",
    );
    assert_eq!(problems(&check(&space, &[], 1)).len(), 1);
    check(&space, &["--allow-secret", ".netrc"], 0);
    space.append("config.yaml", "allow_secrets: [.netrc]\n");
    check(&space, &[], 0);
}

#[test]
fn a_broken_configuration_hides_no_other_problem() {
    let space = space!();
    space.tiny_plugin(".", "tiny-0");
    space.write("config.yaml", "name: Tiny\ncategory: customs\n");
    symlink("/etc/passwd", space.path("out")).unwrap();
    let found = problems(&check(&space, &[], 1));
    let codes: Vec<&str> = found.iter().map(|(_, code, _)| code.as_str()).collect();
    assert!(codes.contains(&"config-unknown-category"), "{found:?}");
    assert!(codes.contains(&"config-missing-field"), "{found:?}");
    assert!(codes.contains(&"symlink-out"), "{found:?}");
    for (name, text) in [("empty", ""), ("bytes", "\u{0}\u{1}"), ("list", "- a\n")] {
        space.write("config.yaml", text);
        assert!(!problems(&check(&space, &[], 1)).is_empty(), "{name}");
    }
    fs::remove_file(space.path("config.yaml")).unwrap();
    let document = space
        .synapse(&["plugin", "check", "--json"])
        .expect(1)
        .json();
    assert_eq!(document["errors"][0]["code"], "config-not-found");
}

#[test]
fn a_hook_names_files_and_their_plugins_are_checked() {
    let space = Space::tiny(PROGRAM, 3);
    space.write("README.md", "");
    space.write("plugins/p1/tests/data/config.yaml", "a: b\n");
    let document = check(
        &space,
        &[
            "plugins/p1/plugin/run.py",
            "plugins/p1/tests/data/config.yaml",
            "README.md",
            "plugins/p2/config.yaml",
        ],
        0,
    );
    let codes: Vec<&Value> = document["plugins"]
        .as_array()
        .unwrap()
        .iter()
        .map(|own| &own["plugin"])
        .collect();
    assert_eq!(codes, [&json!("tiny-1"), &json!("tiny-2")]);
    // What belongs to no plugin is nobody's mistake.
    let document = check(&space, &["README.md", "synapse-workspace.yaml"], 0);
    assert_eq!(document["totals"]["plugins"], 0);
    let said = space
        .synapse(&["plugin", "check", "README.md"])
        .expect(0)
        .stdout;
    assert!(said.contains("nothing to check"), "{said}");
    let missing = space
        .synapse(&["plugin", "check", "absent.py", "--json"])
        .expect(1)
        .json();
    assert_eq!(missing["errors"][0]["code"], "path");
    space
        .synapse(&["plugin", "check", "README.md", "--all"])
        .expect(2);
    // Without a workspace too.
    let space = space!();
    space.tiny_plugin("one", "tiny-0");
    space.write("one/tests/config.yaml", "a: b\n");
    let document = check(&space, &["one/tests/config.yaml"], 0);
    assert_eq!(document["plugins"][0]["plugin"], "tiny-0");
}

#[test]
fn two_plugins_of_one_code_are_told() {
    let space = Space::tiny(PROGRAM, 2);
    space.tiny_plugin("plugins/twin", "tiny-1");
    let found = problems(&check(&space, &["--all"], 1));
    assert_eq!(
        found.iter().filter(|own| own.1 == "duplicate-code").count(),
        2,
        "{found:?}"
    );
}

/// The files that a hook takes, and what it runs, as pre-commit would.
#[test]
fn the_hooks_run_as_they_are_written() {
    let text = fs::read_to_string(fixture("../.pre-commit-hooks.yaml")).unwrap();
    let hooks: Value =
        serde_json::to_value(serde_yaml::from_str::<serde_yaml::Value>(&text).unwrap()).unwrap();
    let hooks = hooks.as_array().unwrap();
    let ids: Vec<&str> = hooks
        .iter()
        .map(|hook| hook["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["synapse-check", "synapse-update-config"]);
    let known = [
        "id",
        "name",
        "description",
        "entry",
        "language",
        "files",
        "types",
        "require_serial",
    ];
    let mut space = space!();
    for (name, value) in Index::usual().variables() {
        space.set(name, &value);
    }
    copy_tree(&fixture("yolov8"), space.cwd());
    let folder = "synapse-yolov8-plugin";
    let run = |space: &Space, hook: &Value, files: &[&str]| -> Run {
        let entry = hook["entry"].as_str().unwrap();
        let mut words = entry.split(' ');
        assert_eq!(words.next(), Some("synapse"));
        let words: Vec<&str> = words.chain(files.iter().copied()).collect();
        space.synapse(&words)
    };
    let files = [
        format!("{folder}/config.yaml"),
        format!("{folder}/plugin/train.py"),
    ];
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    for hook in hooks {
        for key in hook.as_object().unwrap().keys() {
            assert!(known.contains(&key.as_str()), "{key}");
        }
        assert_eq!(hook["language"], "system");
        assert_eq!(
            hook["require_serial"], true,
            "one process, or two write at once"
        );
    }
    run(&space, &hooks[0], &files).expect(0);
    // What the code says is written once; the second time there is nothing to write.
    run(&space, &hooks[1], &files).expect(0);
    let before = snapshot(space.cwd());
    let again = run(&space, &hooks[1], &files).expect(0);
    assert!(
        again.stdout.contains("No changes needed."),
        "{}",
        again.stdout
    );
    assert_eq!(snapshot(space.cwd()), before);
    space.append(&format!("{folder}/config.yaml"), "category: custom\n");
    run(&space, &hooks[0], &files).expect(1);
}
