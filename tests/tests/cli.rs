//! The command line: wrong use and its hints, forms of output, and what people read.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::{fs, os::unix::fs::symlink};

use serde_json::Value;
use synapse_tests::{Document, Run, Space, copy_tree, fixture, space};

const PROGRAM: &str = env!("CARGO_BIN_EXE_synapse_under_test");

/// One error, by its exit code and its own code; returns its message and its hint.
#[track_caller]
fn expect_error(space: &Space, args: &[&str], exit: i32, code: &str) -> (String, String) {
    let json = space.synapse(&[args, &["--json"]].concat());
    let value = json.json();
    let error = value["errors"][0].clone();
    assert_eq!(error["code"], code, "{args:?}: {value:#}");
    assert_eq!(json.code(), exit, "{args:?}: {value:#}");
    assert_eq!(value["ok"], false);
    assert_eq!(value["errors"].as_array().unwrap().len(), 1, "{value:#}");
    let text = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
    let (message, hint) = (text("message"), text("hint"));
    assert!(
        !message.is_empty() && !hint.is_empty(),
        "{args:?}: {error:#}"
    );
    if args.starts_with(&["plugin", "publish"]) {
        let document = Document::of(json);
        let events = space.synapse(&[args, &["--events"]].concat()).expect(exit);
        let last: Value = serde_json::from_str(events.stdout.lines().last().unwrap()).unwrap();
        assert_eq!(last["document"]["errors"], document.value["errors"]);
        Document::check(&last["document"]);
    }
    // The same in words, and on standard error alone.
    let words = space.synapse(args).expect(exit);
    assert!(
        words.stderr.contains(&format!("error: {message}")),
        "{}",
        words.stderr
    );
    assert!(
        words.stderr.contains(&format!("hint: {hint}")),
        "{}",
        words.stderr
    );
    assert!(
        space
            .synapse(&[args, &["--quiet"]].concat())
            .stdout
            .is_empty()
    );
    (message, hint)
}

const PUBLISH: [&str; 3] = ["plugin", "publish", "--local"];

fn publish<'a>(args: &[&'a str]) -> Vec<&'a str> {
    [&PUBLISH, args].concat()
}

#[test]
fn in_a_folder_that_is_no_plugin() {
    let mut space = space!();
    let (message, hint) = expect_error(&space, &publish(&[]), 1, "config-not-found");
    assert!(message.starts_with("Config file not found"), "{message}");
    assert!(hint.contains("--path"), "{hint}");
    // A plugin lies below.
    space.tiny_plugin("below", "tiny-0");
    let (_, hint) = expect_error(&space, &publish(&[]), 1, "config-not-found");
    assert!(hint.contains("below") && hint.contains("--path"), "{hint}");
    // A plugin lies above.
    space.set_cwd(space.path("below/plugin"));
    let (_, hint) = expect_error(&space, &publish(&[]), 1, "config-not-found");
    let folder = hint.split("--path ").nth(1).expect("a folder to name");
    space.publish(&["--path", folder]).expect(0);
}

#[test]
fn at_the_root_of_a_workspace() {
    let space = Space::workspace(PROGRAM);
    let (_, hint) = expect_error(&space, &publish(&[]), 1, "config-not-found");
    assert!(hint.contains("--all"), "{hint}");
}

#[test]
fn without_a_workspace() {
    let space = space!();
    space.tiny_plugin(".", "tiny-0");
    for args in [&["--all"][..], &["--plugin", "tiny-0"]] {
        let (message, _) = expect_error(&space, &publish(args), 1, "no-workspace");
        assert!(message.contains("synapse-workspace.yaml"), "{message}");
    }
}

#[test]
fn with_a_code_that_nobody_has() {
    let space = Space::workspace(PROGRAM);
    let (message, hint) = expect_error(
        &space,
        &publish(&["--plugin", "coco-exprot"]),
        1,
        "unknown-plugin",
    );
    assert!(message.contains("coco-exprot"), "{message}");
    assert!(hint.contains("coco-export"), "{hint}");
    expect_error(&space, &publish(&["--plugin", "zzz"]), 1, "unknown-plugin");
    let (_, hint) = expect_error(&space, &["explain", "box-marge"], 1, "unknown-plugin");
    assert!(hint.contains("box-merge"), "{hint}");
    let (_, hint) = expect_error(&space, &["explain", "box-merge", "upgrade"], 2, "usage");
    assert!(hint.contains("upload"), "{hint}");
    // One that is right does not make up for one that is wrong, and nothing is sent.
    expect_error(
        &space,
        &publish(&["--plugin", "box-merge", "--plugin", "nope"]),
        1,
        "unknown-plugin",
    );
    assert!(space.releases().values().all(Vec::is_empty));
}

#[test]
fn with_paths_that_lead_nowhere() {
    let space = Space::workspace(PROGRAM);
    expect_error(&space, &publish(&["--path", "absent"]), 1, "path");
    let file = "plugins/synapse-coco-export-plugin/config.yaml";
    let (message, hint) = expect_error(&space, &publish(&["--path", file]), 1, "path");
    assert!(
        message.contains("is a file") && hint.contains("--config"),
        "{message} {hint}"
    );
    let folder = "plugins/synapse-coco-export-plugin";
    expect_error(
        &space,
        &publish(&["-p", folder, "-c", "absent.yaml"]),
        1,
        "config-not-found",
    );
    expect_error(
        &space,
        &publish(&["-p", folder, "-c", "plugins"]),
        1,
        "config-not-found",
    );
}

#[test]
fn with_a_configuration_full_of_mistakes() {
    let space = Space::tiny(PROGRAM, 2);
    for name in [
        "unknown-category",
        "missing-fields",
        "wrong-types",
        "tabs",
        "not-utf8",
        "empty",
        "billion-laughs",
    ] {
        let bad = fixture(&format!("bad-configs/{name}/config.yaml"));
        fs::copy(bad, space.path("plugins/p1/config.yaml")).unwrap();
        let document = space.publish(&["--path", "plugins/p1"]).expect(1);
        assert!(!document.errors().is_empty(), "{name}");
        for error in document.value["errors"].as_array().unwrap() {
            assert!(
                error["where"].as_str().unwrap().contains("config.yaml:"),
                "{name}: {error:#}"
            );
        }
        // It does not hold up its neighbour.
        let all = space.publish(&["--all"]).expect(4);
        assert_eq!(
            (
                all.total("published") + all.total("up_to_date"),
                all.total("failed")
            ),
            (1, 1),
            "{name}"
        );
        let text = space.synapse(&publish(&["--path", "plugins/p1"])).expect(1);
        assert!(
            text.stderr.starts_with("error: "),
            "{name}: {}",
            text.stderr
        );
    }
}

#[test]
fn two_plugins_of_one_code() {
    let space = Space::tiny(PROGRAM, 2);
    space.tiny_plugin("plugins/twin", "tiny-1");
    let document = space.publish(&["--all"]).expect(4);
    assert_eq!(document.errors(), ["duplicate-code", "duplicate-code"]);
    assert_eq!(document.status("tiny-0"), "published");
    assert_eq!(document.status("tiny-1"), "refused");
}

#[test]
fn a_workspace_without_members() {
    let space = space!();
    space.write("synapse-workspace.yaml", "members: ['plugins/*']\n");
    expect_error(&space, &publish(&["--all"]), 1, "no-members");
    space.write("synapse-workspace.yaml", "members: 3\n");
    let run = space.synapse(&publish(&["--all", "--json"])).expect(1);
    Document::of(run);
}

#[test]
fn logging_in() {
    let space = Space::tiny(PROGRAM, 1);
    let (message, hint) = expect_error(
        &space,
        &["plugin", "publish", "--all"],
        3,
        "not-authenticated",
    );
    assert_eq!(message, "Not authenticated. Run synapse login first");
    assert!(hint.contains("--local"), "{hint}");
    expect_error(&space, &["status", "--all"], 3, "not-authenticated");
    expect_error(&space, &["login"], 2, "usage");
    space.synapse(&["login", "--local"]).expect(0);
    let document = Document::of(space.synapse(&["plugin", "publish", "--all", "--json"])).expect(0);
    assert_eq!(document.total("published"), 1);
    space.synapse(&["login", "--local", "--json"]).expect(0);
    space.synapse(&["status", "--all"]).expect(0);
    space.publish(&["--all"]).expect_nothing_done();
}

#[test]
fn where_nothing_can_be_written() {
    // Root writes anywhere but below a file.
    let mut space = Space::tiny(PROGRAM, 1);
    fs::write(space.root().join("file"), "").unwrap();
    space.set_home("file/home");
    let run = space.synapse(&publish(&["--all", "--json"])).expect(3);
    let document = Document::of(run);
    assert!(document.error()["hint"].is_string(), "{:#}", document.value);
    space.set_home("home");
    let file = space.root().join("file");
    space.set("SYNAPSE_STORE", file.to_str().unwrap());
    let document = space.publish(&["--all"]).expect(3);
    assert!(
        document.error()["message"]
            .as_str()
            .unwrap()
            .contains("file"),
        "{:#}",
        document.value
    );
}

#[test]
fn a_source_that_may_not_be_written_is_published_all_the_same() {
    let mut space = Space::tiny(PROGRAM, 1);
    if !space.become_nobody() {
        return;
    }
    for path in [".", "plugins", "plugins/p0", "plugins/p0/plugin"] {
        space.chmod(path, 0o555);
    }
    space.publish(&["--all"]).expect(0);
    space.become_myself();
    space.append("plugins/p0/README.md", "edited\n");
    assert!(space.become_nobody());
    for path in ["plugins/p0", "plugins/p0/config.yaml"] {
        space.chmod(path, 0o555);
    }
    let document = space.publish(&["--all", "--bump", "patch"]).expect(3);
    assert_eq!(document.errors(), ["bump-write"]);
    for path in [".", "plugins", "plugins/p0", "plugins/p0/plugin"] {
        space.chmod(path, 0o755);
    }
}

#[test]
fn options_that_do_not_exist_or_do_not_agree() {
    let space = Space::tiny(PROGRAM, 1);
    for args in [
        &["plugin", "publish", "--nope"][..],
        &["plugin", "publish", "--all", "--plugin", "tiny-0"],
        &["plugin", "publish", "--debug", "--bump", "patch"],
        &["plugin", "publish", "--bump", "tiny"],
        &["plugin", "publish", "-j", "0"],
        &["plugin", "publish", "-q", "-v"],
        &["plugin"],
        &["nope"],
        &["cache", "gc", "--max-size", "much"],
        &["cache", "gc", "--max-age", "-1"],
    ] {
        let run = space.synapse(args);
        assert_eq!(run.code(), 2, "{args:?}: {run:#?}");
        assert!(
            run.stdout.is_empty() && !run.stderr.is_empty(),
            "{args:?}: {run:#?}"
        );
    }
    let run = space.synapse(&["plugin", "publish", "--dri-run"]).expect(2);
    assert!(run.stderr.contains("--dry-run"), "{}", run.stderr);
}

#[test]
fn every_event_is_one_line_of_json() {
    let space = Space::workspace(PROGRAM);
    let lines = |run: &Run| -> Vec<Value> {
        run.stdout
            .lines()
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
            })
            .collect()
    };
    let run = space.synapse(&publish(&["--all", "--events"])).expect(0);
    let events = lines(&run);
    let of =
        |events: &[Value], name: &str| events.iter().filter(|event| event["event"] == name).count();
    // Five stages of seven plugins, and the environment that they are inspected in.
    assert_eq!((of(&events, "started"), of(&events, "finished")), (36, 36));
    assert!(
        events.iter().all(|event| event["event"].is_string()),
        "{events:#?}"
    );
    let last = events.last().unwrap();
    assert_eq!(last["event"], "summary");
    Document::check(&last["document"]);
    space.append("plugins/synapse-coco-export-plugin/README.md", "edited\n");
    for args in [
        &["--all"][..],
        &["--all", "--dry-run"],
        &["--all", "--debug"],
        &["--all", "--bump", "patch"],
    ] {
        let events = lines(&space.synapse(&publish(&[args, &["--events"]].concat())));
        Document::check(&events.last().unwrap()["document"]);
        assert_eq!(of(&events, "summary"), 1);
    }
}

#[test]
fn quiet_says_nothing_but_errors() {
    let space = Space::workspace(PROGRAM);
    let quiet = |args: &[&str]| space.synapse(&publish(&[args, &["--quiet"]].concat()));
    let run = quiet(&["--all"]).expect(0);
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("", ""));
    let run = quiet(&["--all", "--dry-run"]).expect(0);
    assert_eq!(run.stderr, "");
    space.append("plugins/synapse-coco-export-plugin/README.md", "edited\n");
    let run = quiet(&["--all"]).expect(4);
    assert_eq!(run.stdout, "");
    assert!(
        run.stderr
            .starts_with("error: coco-export 0.3.0 is published already"),
        "{}",
        run.stderr
    );
}

#[test]
fn colour_where_it_is_wanted() {
    let space = Space::workspace(PROGRAM);
    let escapes = |run: &Run| run.stdout.contains('\u{1b}') || run.stderr.contains('\u{1b}');
    for args in [&["--all"][..], &["--all", "--path", "absent"]] {
        let plain = publish(args);
        assert!(!escapes(&space.synapse(&plain)), "not on a terminal");
        assert!(!escapes(
            &space.synapse(&publish(&[args, &["--color=never"]].concat()))
        ));
        assert!(!escapes(&space.synapse_with("NO_COLOR", "1", &plain)));
        assert!(escapes(
            &space.synapse(&publish(&[args, &["--color=always"]].concat()))
        ));
        let json = space.synapse(&publish(&[args, &["--color=always", "--json"]].concat()));
        assert!(!escapes(&json));
        let events = space.synapse(&publish(&[args, &["--color=always", "--events"]].concat()));
        assert!(!escapes(&events));
    }
}

#[test]
fn a_reader_that_has_seen_enough() {
    let space = Space::workspace(PROGRAM);
    for form in ["--verbose", "--json", "--events"] {
        let mut child = space.command(&publish(&["--all", form])).spawn().unwrap();
        drop(child.stdout.take());
        drop(child.stderr.take());
        assert_eq!(child.wait().unwrap().code(), Some(0), "{form}");
    }
    assert!(
        space
            .releases()
            .values()
            .all(|versions| versions.len() == 1)
    );
}

#[test]
fn every_kind_of_document_satisfies_the_schema() {
    // `publish` of the harness holds each against it; these are the rarer ones.
    let space = Space::workspace(PROGRAM);
    space.publish(&["--all", "--dry-run"]).expect(0);
    let cancelled = space
        .publish_with("SYNAPSE_TEST_INTERRUPT_AT", "6", &["--all"])
        .expect(130);
    assert!(
        cancelled
            .plugins()
            .iter()
            .any(|plugin| plugin["status"] == "cancelled")
    );
    let broken = space.publish_with("SYNAPSE_TEST_FAIL_FROM", "4", &["--all", "--fail-fast"]);
    assert!(matches!(broken.run.code(), 3 | 4), "{:#}", broken.value);
    let first = Document::of(space.synapse(&publish(&["--all", "--json", "--verbose"]))).expect(0);
    assert_eq!(first.total("plugins"), 7);
    space.replace(
        "plugins/synapse-box-merge-plugin/synapse.yaml",
        "category: post_annotation",
        "category: post",
    );
    space.append("plugins/synapse-coco-export-plugin/README.md", "edited\n");
    let mixed = space.publish(&["--all"]).expect(4);
    assert_eq!(mixed.status("coco-export"), "refused");
    let broken = mixed
        .plugins()
        .iter()
        .find(|plugin| plugin["status"] == "failed")
        .unwrap();
    assert_eq!(
        broken["code"], "synapse-box-merge-plugin",
        "named for its folder"
    );
    for command in [
        &["plan", "--all", "--local"][..],
        &["status", "--all", "--local"],
        &["cache", "stats"],
        &["cache", "check"],
        &["cache", "gc"],
        &["cache", "clear"],
    ] {
        let run = space.synapse(&[command, &["--json"]].concat());
        assert_eq!(run.json()["schema"], 1, "{command:?}");
        assert!(run.json()["ok"].is_boolean() && run.json()["command"].is_string());
    }
}

#[test]
fn publishing_stops_at_the_first_failure_when_asked() {
    let space = Space::tiny(PROGRAM, 4);
    for index in 0..4 {
        space.write(
            &format!("plugins/p{index}/key.txt"),
            ["AK", "IA", "QZ7HTNLXW4VC3PYB"].concat(),
        );
    }
    let document = space
        .publish(&["--all", "--fail-fast", "-j", "1"])
        .expect(1);
    assert_eq!(
        document.errors(),
        ["credential"],
        "the others were not begun"
    );
    let document = space.publish(&["--all"]).expect(1);
    assert_eq!(document.errors().len(), 4);
}

/// What people read, with what differs between runs taken out.
fn settled(space: &Space) -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    let real = fs::canonicalize(space.root()).unwrap();
    for root in [real.as_path(), space.root()] {
        settings.add_filter(&root.display().to_string().replace('.', r"\."), "[SPACE]");
    }
    settings.add_filter(r"\b\d+(\.\d)? m?s\b", "[TIME]");
    settings.add_filter(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "[MOMENT]");
    settings.add_filter(r"\b[0-9a-f]{10} to [0-9a-f]{10}\b", "[OLD] to [NEW]");
    settings.add_filter(r"-[0-9a-f]{16}\.zip", "-[ID].zip");
    settings.set_omit_expression(true);
    settings
}

#[test]
fn what_people_read() {
    let mut space = Space::workspace(PROGRAM);
    space.set("TZ", "UTC");
    let _bound = settled(&space).bind_to_scope();
    let coco = "plugins/synapse-coco-export-plugin";
    let show =
        |name: &str, args: &[&str]| insta::assert_snapshot!(name, space.synapse(args).text());
    show("not-authenticated", &["plugin", "publish", "--all"]);
    show(
        "dry-run",
        &["plugin", "publish", "--path", coco, "--dry-run"],
    );
    show(
        "dry-run-by-size",
        &[
            "plugin",
            "publish",
            "--path",
            coco,
            "--dry-run",
            "--sort",
            "size",
        ],
    );
    show("login", &["login", "--local"]);
    show("status-of-nothing", &["status", "--all"]);
    show("first", &["plugin", "publish", "--all", "-j", "1"]);
    show("again", &["plugin", "publish", "--all"]);
    show(
        "again-verbose",
        &["plugin", "publish", "--path", coco, "--verbose"],
    );
    space.append(&format!("{coco}/plugin/export.py"), "# edited\n");
    show("refused", &["plugin", "publish", "--all"]);
    show("plan", &["plan", "--all", "--debug"]);
    show("status-of-a-change", &["status", "--all"]);
    show(
        "bump-dry-run",
        &["plugin", "publish", "--all", "--bump", "patch", "--dry-run"],
    );
    show("bump", &["plugin", "publish", "--all", "--bump", "patch"]);
    show("explain", &["explain", "coco-export"]);
    show("debug", &["plugin", "publish", "--path", coco, "--debug"]);
    show("status", &["status", "--all"]);
    let config = format!("{coco}/config.yaml");
    space.replace(&config, "category: export", "category: exprot");
    show("bad-configuration", &["plugin", "publish", "--path", coco]);
    show(
        "partly",
        &["plugin", "publish", "--all", "--debug", "-j", "1"],
    );
    show("cache-check", &["cache", "check"]);
}

#[test]
fn what_people_read_of_credentials_and_links() {
    let space = Space::tiny(PROGRAM, 1);
    let _bound = settled(&space).bind_to_scope();
    space.append(
        "plugins/p0/plugin/run.py",
        &format!("KEY = '{}'\n", ["AK", "IA", "QZ7HTNLXW4VC3PYB"].concat()),
    );
    insta::assert_snapshot!("credential", space.synapse(&publish(&["--all"])).text());
    symlink("/etc/hosts", space.path("plugins/p0/hosts")).unwrap();
    insta::assert_snapshot!("link", space.synapse(&publish(&["--all"])).text());
}

#[test]
fn help_of_every_command() {
    let space = space!();
    for command in [
        "",
        "plugin",
        "plugin publish",
        "plan",
        "explain",
        "status",
        "cache",
        "cache stats",
        "cache gc",
        "cache check",
        "cache clear",
        "login",
    ] {
        let args: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
        let run = space.synapse(&args).expect(0);
        assert!(run.stderr.is_empty());
        let name = format!(
            "help-{}",
            if command.is_empty() {
                "synapse".to_owned()
            } else {
                command.replace(' ', "-")
            }
        );
        let text = run.stdout.replace("synapse_under_test", "synapse");
        insta::assert_snapshot!(name, text);
    }
    let version = space.synapse(&["--version"]).expect(0).stdout;
    assert_eq!(version, format!("synapse {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn the_plugin_of_the_guide_in_words() {
    let mut space = space!();
    copy_tree(&fixture("yolov8"), space.cwd());
    space.set_cwd(space.path("synapse-yolov8-plugin"));
    let _bound = settled(&space).bind_to_scope();
    insta::assert_snapshot!("guide", space.synapse(&publish(&["--verbose"])).text());
}
