//! What is noted of an invocation, and how `synapse log` tells it.

use std::{
    collections::BTreeSet,
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::PermissionsExt,
};

use serde_json::json;
use synapse_tests::{Space, copy_tree, expect_schema, fixture};

use super::{EXPORT, PROGRAM, PUBLISH, journal, json, lines, publish};

#[test]
fn what_ran_is_noted_and_what_was_known_is_counted() {
    let space = Space::workspace(PROGRAM);
    publish(&space, &[], 0);
    for _ in 0..3 {
        publish(&space, &[], 0);
    }
    space.append(EXPORT, "# faster\n");
    publish(&space, &[], 4);
    publish(&space, &["--bump", "patch"], 0);
    let lines = lines(&space);
    let ids: Vec<u64> = lines
        .iter()
        .map(|own| own["id"].as_u64().unwrap())
        .collect();
    assert_eq!(ids, [1, 2, 3, 4, 5, 6]);
    let mode = fs::metadata(journal(&space)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // The first has it all, and what nothing was done for names it.
    assert_eq!(
        lines[0]["nodes"].as_array().unwrap().len() as u64,
        lines[0]["counts"]["nodes_run"]
    );
    assert_eq!(lines[0]["plugins"].as_array().unwrap().len(), 7);
    for idle in &lines[1..4] {
        assert_eq!(idle["as"], 1, "{idle}");
        assert_eq!(idle["counts"]["up_to_date"], 7);
        assert!(idle.get("nodes").is_none() && idle.get("known").is_none());
        assert!(idle.to_string().len() < 600, "{idle}");
    }
    assert_eq!(lines[4]["exit"], 4);
    assert_eq!(lines[4]["plugins"][0]["error"]["code"], "version-exists");
    assert_eq!(
        lines[5]["plugins"],
        json!([{"plugin": "coco-export", "version": "0.3.1",
        "was": "0.3.0", "status": "published"}])
    );
    let log = json(&space, &["log"]);
    expect_schema("log", &log);
    assert_eq!(
        (&log["total"], log["entries"].as_array().unwrap().len()),
        (&json!(6), 6)
    );
    assert_eq!(log["entries"][0]["id"], 6, "the newest first");
    let one = json(&space, &["log", "6"]);
    expect_schema("log", &one);
    for same in ["latest", "-1"] {
        assert_eq!(json(&space, &["log", same]), one);
    }
    let upload = one["entry"]["nodes"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&upload["stage"], &upload["target"]),
        (&json!("upload"), &json!("local"))
    );
    let text = space.synapse(&["log", "-1"]).expect(0).stdout;
    for told in [
        "coco-export 0.3.1 (was 0.3.0)  published",
        "plugin/export.py changed (",
        "exit code 0",
    ] {
        assert!(text.contains(told), "{told} in {text}");
    }
    let text = space.synapse(&["log", "-n", "2"]).expect(0).stdout;
    assert_eq!(text.lines().count(), 3, "{text}");
    assert!(text.ends_with("2 of 6; -n 6 lists all\n"), "{text}");
    let of = json(&space, &["log", "--plugin", "frame-check"]);
    assert_eq!(of["total"], 1, "{of}");
}

#[test]
fn no_secret_comes_into_the_journal() {
    const HUSH: &str = "hush-9f1c7d4e5b";
    let mut space = Space::tiny(PROGRAM, 1);
    publish(&space, &[], 0);
    let at = "http://127.0.0.1:1";
    let host = format!("http://user:{HUSH}@127.0.0.1:1");
    space.set("SYNAPSE_ACCESS_TOKEN", HUSH);
    let params = json!({"api_token": HUSH}).to_string();
    let store = format!("s3://id:{HUSH}@bucket/x");
    let run = [
        "plugin",
        "run",
        "run",
        "--path",
        "plugins/p0",
        "--token",
        HUSH,
    ];
    for args in [
        &["plugin", "publish", "--all", "--host", at, "--token", HUSH][..],
        &["plugin", "publish", "--all", "--host", &host],
        &["plugin", "upload", "--all", "--storage", &store],
        &[
            "plugin",
            "publish",
            "--all",
            "--local",
            "--allow-secret",
            HUSH,
        ],
        &[
            "plugin",
            "run",
            "nope",
            "--path",
            "plugins/p0",
            "--params",
            &params,
        ],
        &[
            &run[..],
            &["--params", &params, "--mode", "remote", "--host", at],
        ]
        .concat(),
    ] {
        let run = space.synapse(args);
        assert_ne!(run.code(), 255, "{run:?}");
    }
    let text = fs::read_to_string(journal(&space)).unwrap();
    assert!(!text.contains(HUSH), "{text}");
    assert!(
        text.contains("--params ...") && text.contains("--token ..."),
        "{text}"
    );
    assert!(text.contains("plugin run nope"), "{text}");
    let log = space.synapse(&["log", "-n", "50"]).expect(0).stdout;
    assert!(!log.contains(HUSH));
}

#[test]
fn a_torn_line_is_passed_over() {
    let space = Space::tiny(PROGRAM, 1);
    publish(&space, &[], 0);
    let mut file = OpenOptions::new()
        .append(true)
        .open(journal(&space))
        .unwrap();
    file.write_all(b"{\"at\":17,\"ms\":3,\"exit\":0,\"comm")
        .unwrap();
    publish(&space, &[], 0);
    let log = json(&space, &["log"]);
    assert_eq!(log["total"], 2);
    assert_eq!(log["entries"][0]["id"], 2);
    fs::write(journal(&space), b"\0\xff\nnot JSON\n[]\n{}\n").unwrap();
    assert_eq!(json(&space, &["log"])["total"], 0);
    publish(&space, &[], 0);
    assert_eq!(json(&space, &["log"])["entries"][0]["id"], 1);
}

#[test]
fn several_at_once_get_numbers_of_their_own() {
    let space = Space::tiny(PROGRAM, 2);
    publish(&space, &[], 0);
    let started: Vec<_> = (0..12)
        .map(|_| space.command(&PUBLISH).spawn().unwrap())
        .collect();
    for child in started {
        assert!(child.wait_with_output().unwrap().status.success());
    }
    let ids: BTreeSet<u64> = lines(&space)
        .iter()
        .map(|own| own["id"].as_u64().unwrap())
        .collect();
    assert_eq!(ids, (1..=13).collect());
}

#[test]
fn what_tells_nothing_is_said_so() {
    let space = Space::tiny(PROGRAM, 1);
    let empty = space.synapse(&["log"]).expect(0);
    assert!(
        empty.stdout.starts_with("nothing is noted yet"),
        "{empty:?}"
    );
    assert_eq!(json(&space, &["log"])["entries"], json!([]));
    for args in [
        &["log", "1"][..],
        &["log", "latest"],
        &["explain", "--between", "1", "2"],
    ] {
        let run = space.synapse(args).expect(1);
        assert!(run.stderr.contains("hint: nothing is noted yet"), "{run:?}");
    }
    // Looking, and failing before there is anything to do, makes nothing.
    space.synapse(&["plugin", "upload"]).expect(1);
    assert!(!space.home().join("data").exists());
    publish(&space, &[], 0);
    for (id, code) in [
        ("7", 1),
        ("0", 1),
        ("-2", 1),
        ("-99999999999999999999", 2),
        ("x", 2),
    ] {
        let run = space.synapse(&["log", id]).expect(code);
        assert!(run.stderr.contains("hint: "), "{run:?}");
    }
    let run = space.synapse(&["log", "--plugin", "tiny-1"]).expect(1);
    assert!(run.stderr.contains("did you mean tiny-0?"), "{run:?}");
}

#[test]
fn a_journal_that_cannot_be_written_stops_nothing() {
    let space = Space::tiny(PROGRAM, 1);
    publish(&space, &[], 0);
    // A folder in its place is refused to everybody.
    fs::remove_file(journal(&space)).unwrap();
    fs::create_dir(journal(&space)).unwrap();
    publish(&space, &[], 0);
    let quiet = space.synapse(&PUBLISH).expect(0);
    assert_eq!(quiet.stderr, "");
    let told = space
        .synapse(&[&PUBLISH[..], &["--verbose"]].concat())
        .expect(0);
    assert!(
        told.stderr
            .contains("note: this was not written into the journal"),
        "{told:?}"
    );
    space.publish(&["--all", "--verbose"]).expect_nothing_done();
    let run = space.synapse(&["log"]).expect(3);
    assert!(run.stderr.contains("cannot read the journal"), "{run:?}");
}

#[test]
fn whoever_may_not_write_their_data_is_served_all_the_same() {
    let mut space = Space::tiny(PROGRAM, 1);
    publish(&space, &[], 0);
    if !space.become_nobody() {
        return;
    }
    let data = space.home().join("data");
    fs::set_permissions(journal(&space), fs::Permissions::from_mode(0o400)).unwrap();
    publish(&space, &[], 0);
    assert_eq!(lines(&space).len(), 1);
    assert_eq!(json(&space, &["log"])["total"], 1);
    fs::set_permissions(journal(&space), fs::Permissions::from_mode(0o0)).unwrap();
    let run = space.synapse(&["log"]).expect(3);
    assert!(run.stderr.contains("hint: "), "{run:?}");
    assert!(data.exists());
}

#[test]
fn an_interrupted_publish_is_noted_and_a_killed_one_leaves_nothing() {
    let space = Space::tiny(PROGRAM, 2);
    let interrupted = space
        .synapse_with("SYNAPSE_TEST_INTERRUPT_AT", "3", &PUBLISH)
        .expect(130);
    assert!(
        interrupted.stderr.contains("interrupted"),
        "{interrupted:?}"
    );
    let killed = space.synapse_with("SYNAPSE_TEST_KILL_AT", "2", &PUBLISH);
    assert!(killed.was_killed());
    publish(&space, &[], 0);
    let told: Vec<_> = lines(&space)
        .iter()
        .map(|own| (own["id"].clone(), own["exit"].clone()))
        .collect();
    assert_eq!(told, [(json!(1), json!(130)), (json!(2), json!(0))]);
}

#[test]
fn uploads_are_noted_with_their_stores() {
    let space = Space::tiny(PROGRAM, 1);
    let url = format!("file://{}", space.root().join("objects").display());
    for _ in 0..2 {
        space
            .synapse(&["plugin", "upload", "--all", "--storage", &url, "--yes"])
            .expect(0);
    }
    let lines = lines(&space);
    assert_eq!(lines[0]["command"], "upload");
    assert_eq!(lines[0]["line"], "plugin upload --all --storage ...");
    assert_eq!(lines[0]["targets"].as_array().unwrap().len(), 1);
    assert_eq!(lines[1]["as"], 1, "{:#}", lines[1]);
    // Their configuration is another's: nothing to compare, and no trouble.
    let space = Space::new(PROGRAM);
    copy_tree(&fixture("workspace"), space.cwd());
    assert_eq!(json(&space, &["log"])["total"], 0);
}
