//! Datasets, models and runs of this machine, as people see them.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::{fs, os::unix::fs::symlink, thread, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use synapse_tests::{Run, Serving, Space, multipart, space};

fn dataset(space: &Space) {
    for name in [
        "images/train/a.jpg",
        "images/val/b.jpg",
        "labels/train/a.txt",
    ] {
        space.write(&format!("coco/{name}"), name);
    }
}

fn add(space: &Space, args: &[&str]) -> Run {
    space.synapse(&[&["dataset", "add", "coco", "--name", "coco128"], args].concat())
}

/// A command and what it printed.
fn transcript(space: &Space, noun: &str, args: &[&str]) -> String {
    let run = space.synapse(&[&[noun], args].concat());
    format!("$ synapse {noun} {}\n{}\n", args.join(" "), run.text())
}

/// Prints with what differs between machines and runs taken out.
#[track_caller]
fn shown(space: &Space, name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    let root = fs::canonicalize(space.root()).unwrap();
    settings.add_filter(&root.display().to_string(), "[root]");
    settings.add_filter(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "[moment]");
    settings.add_filter("[0-9a-f]{64}", "[digest]");
    settings.add_filter(r"model-[0-9a-f]{16}", "model-[random]");
    settings.bind(|| insta::assert_snapshot!(name, text));
}

#[test]
fn what_people_see_of_a_dataset() {
    let space = space!();
    dataset(&space);
    let mut text = String::new();
    let mut step = |args: &[&str]| {
        text += &transcript(&space, "dataset", args);
    };
    step(&["list"]);
    step(&["add", "coco", "--name", "coco128", "--id", "123"]);
    step(&["add", "coco", "--name", "coco128", "--id", "123"]);
    step(&["list"]);
    step(&["show", "123"]);
    step(&["show", "coco127"]);
    step(&["show", "9"]);
    step(&[
        "add",
        "coco",
        "--name",
        "coco128",
        "--split",
        "train=images",
    ]);
    step(&[
        "add",
        "coco",
        "--name",
        "coco128",
        "--id",
        "123",
        "--replace",
        "--split",
        "train=images",
        "--format",
        "pascal",
    ]);
    step(&["add", "coco", "--name", "other", "--split", "train=imagse"]);
    step(&["add", "coco", "--name", "other", "--split", "train"]);
    step(&["add", "coco", "--name", "other", "--replace"]);
    step(&["add", "coco/images/val/b.jpg", "--name", "other"]);
    step(&["add", "none", "--name", "other"]);
    step(&["add", "coco/images/val", "--name", "plain"]);
    symlink("/etc", space.path("coco/etc")).unwrap();
    step(&["add", "coco", "--name", "other"]);
    fs::remove_dir_all(space.path("coco")).unwrap();
    step(&["list"]);
    shown(&space, "datasets", &text);
}

#[test]
fn programs_read_what_came_of_a_dataset() {
    let space = space!();
    dataset(&space);
    let splits = [
        "--split",
        "train=images/train",
        "--split",
        "val=**/val/*.jpg",
        "--json",
    ];
    let added = add(&space, &splits).expect(0).json();
    assert_eq!(added["outcome"], "added");
    assert_eq!(added["dataset"]["splits"], json!({"train": 1, "val": 1}));
    assert_eq!(
        (&added["format_found"], &added["splits_found"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(
        add(&space, &splits).expect(0).json()["outcome"],
        "up_to_date"
    );
    let id = &added["dataset"]["id"];
    assert_eq!(id, 1);
    let shown = space
        .synapse(&["dataset", "show", "coco128", "--json"])
        .expect(0)
        .json();
    assert_eq!(shown["dataset"], added["dataset"]);
    let list = space
        .synapse(&["dataset", "list", "--json"])
        .expect(0)
        .json();
    assert_eq!(list["datasets"], json!([added["dataset"]]));
    let refused = add(&space, &["--json"]).expect(1).json();
    assert_eq!(refused["errors"][0]["code"], "dataset-taken");
    let copy = space.path("copy");
    fs::rename(space.path("coco"), &copy).unwrap();
    let moved = space.synapse(
        &[
            &["dataset", "add", "copy", "--name", "coco128"],
            &splits[..],
        ]
        .concat(),
    );
    assert_eq!(moved.expect(0).json()["outcome"], "moved");
}

#[test]
fn an_unreadable_file_is_named() {
    let mut space = space!();
    dataset(&space);
    space.chmod("coco/labels/train/a.txt", 0);
    // Root reads everything.
    if rustix::process::geteuid().is_root() && !space.become_nobody() {
        return;
    }
    let run = add(&space, &[]).expect(1);
    assert!(
        run.stderr.contains("labels/train/a.txt: permission denied"),
        "{}",
        run.stderr
    );
    assert!(
        run.stderr.contains("hint: make it readable"),
        "{}",
        run.stderr
    );
}

#[test]
fn a_disk_that_is_full_leaves_the_old_dataset() {
    let space = space!();
    dataset(&space);
    let first = add(&space, &["--id", "5", "--json"]).expect(0).json();
    space.write("coco/images/train/c.jpg", "c");
    let again = [
        "dataset",
        "add",
        "coco",
        "--name",
        "coco128",
        "--id",
        "5",
        "--replace",
    ];
    let full = space
        .synapse_with("SYNAPSE_TEST_FAIL_FROM", "1", &again)
        .expect(3);
    assert!(full.stderr.contains("the disk is full"), "{}", full.stderr);
    let shown = || {
        space
            .synapse(&["dataset", "show", "5", "--json"])
            .expect(0)
            .json()
    };
    assert_eq!(shown()["dataset"], first["dataset"]);
    space.synapse_with("SYNAPSE_TEST_KILL_AT", "1", &again);
    assert_eq!(shown()["dataset"], first["dataset"]);
    space.synapse(&again).expect(0);
    assert_eq!(shown()["dataset"]["count"], 4);
}

#[test]
fn looking_makes_no_backend() {
    let space = space!();
    for args in [&["dataset", "list"][..], &["model", "list"], &["runs"]] {
        space.synapse(args).expect(0);
    }
    for args in [
        &["dataset", "show", "x"][..],
        &["model", "show", "1"],
        &["runs", "show", "1"],
    ] {
        space.synapse(args).expect(1);
    }
    assert!(!space.home().join("data/backend").exists());
}

#[test]
fn what_people_see_of_a_model() {
    let space = space!();
    let serving = Serving::start(&space);
    let fields = [
        ("name", "mine"),
        ("plugin", "yolo"),
        ("version", "0.1.0"),
        ("metrics", "{\"map\":0.5}"),
    ];
    let (kind, body) = multipart(&fields, Some(("best.pt", b"hello world")));
    serving
        .call("POST /models/", &[("Content-Type", &kind)], &body)
        .expect(201);
    let mut text = String::new();
    let mut step = |args: &[&str]| {
        text += &transcript(&space, "model", args);
    };
    step(&["list"]);
    step(&["show", "1"]);
    step(&["show", "2"]);
    step(&["get", "1"]);
    step(&["get", "1"]);
    assert_eq!(space.read("best.pt"), "hello world");
    space.write("best.pt", "mine");
    step(&["get", "1"]);
    step(&["get", "1", "-o", "none/best.pt"]);
    // It would never end.
    step(&["get", "1", "-o", "/dev/full"]);
    assert_eq!(space.read("best.pt"), "mine");
    shown(&space, "models", &text);
    let shown = space
        .synapse(&["model", "show", "1", "--json"])
        .expect(0)
        .json();
    assert_eq!(shown["model"]["fields"]["metrics"], json!({"map": 0.5}));
    let path = shown["model"]["path"].as_str().unwrap();
    assert_eq!(fs::read(path).unwrap(), b"hello world");
}

/// A server with a run that has begun.
fn begun(space: &Space, pid: Option<u32>) -> Serving {
    let serving = Serving::start(space);
    let job = json!({"plugin": "yolo", "version": "0.1.0", "action": "train",
        "params": {"epochs": 5}, "pid": pid});
    serving.json("POST /jobs/", &job).expect(201);
    serving
        .json("PATCH /jobs/1/", &json!({"status": "RUNNING"}))
        .expect(200);
    serving
}

#[test]
fn what_people_see_of_a_run() {
    let space = space!();
    let serving = begun(&space, None);
    let logs = json!([
        {"job": 1, "message": "Starting training"},
        {"job": 1, "message": "lost a file", "level": "warning", "step": "train"},
        {"job": 1, "event": "epoch", "data": {"n": 1}},
    ]);
    serving.json("POST /logs/", &logs).expect(201);
    fs::write(
        space.home().join("data/backend/runs/1.log"),
        "printed by the action\n",
    )
    .unwrap();
    let failed = json!({"status": "FAILED", "metrics_record": {"train": {"loss": 0.5}},
        "error": {"kind": "execution", "class": "ValueError", "message": "no such thing",
                  "traceback": "Traceback (most recent call last):\n  ...\n"}});
    serving.json("PATCH /jobs/1/", &failed).expect(200);
    serving
        .json(
            "POST /jobs/",
            &json!({"plugin": "segment", "action": "export"}),
        )
        .expect(201);
    let mut text = String::new();
    let mut step = |args: &[&str]| {
        text += &transcript(&space, "runs", args);
    };
    step(&[]);
    step(&["-n", "1"]);
    step(&["--plugin", "yolo"]);
    step(&["--plugin", "yola"]);
    step(&["show", "1"]);
    step(&["show", "9"]);
    step(&["show", "x"]);
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"(\d+ ms|\d+\.\d s)", "[time]");
    settings.bind(|| shown(&space, "runs", &text));
}

#[test]
fn a_run_is_followed_from_another_process() {
    let space = space!();
    let serving = begun(&space, None);
    let follow = space
        .command(&["runs", "show", "1", "--follow"])
        .spawn()
        .unwrap();
    let machine = space
        .command(&["runs", "show", "1", "--follow", "--json"])
        .spawn()
        .unwrap();
    let events = space
        .command(&["runs", "show", "1", "--follow", "--events"])
        .spawn()
        .unwrap();
    thread::sleep(Duration::from_millis(300));
    serving
        .json("POST /logs/", &json!({"job": 1, "message": "half way"}))
        .expect(201);
    fs::write(space.home().join("data/backend/runs/1.log"), "printed\n").unwrap();
    let done = json!({"status": "SUCCEEDED", "result": {"ok": true}});
    serving.json("PATCH /jobs/1/", &done).expect(200);
    let run: Run = follow.wait_with_output().unwrap().into();
    let run = run.expect(0);
    for text in ["half way", "printed\n", "{\"ok\":true}", "SUCCEEDED"] {
        assert!(
            run.stdout.contains(text),
            "{text:?} is missing: {}",
            run.stdout
        );
    }
    let document = Run::from(machine.wait_with_output().unwrap())
        .expect(0)
        .json();
    assert_eq!(document["run"]["status"], "SUCCEEDED");
    assert_eq!(document["events"][0]["data"]["data"]["content"], "half way");
    let output = document["output"].as_str().unwrap();
    assert_eq!(fs::read_to_string(output).unwrap(), "printed\n");
    let lines = Run::from(events.wait_with_output().unwrap())
        .expect(0)
        .stdout;
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        (&lines[0]["event"], &lines[1]["event"]),
        (&json!("run"), &json!("summary"))
    );
}

#[test]
fn following_ends_when_the_process_of_the_run_does() {
    let space = space!();
    let mut child = std::process::Command::new("sleep")
        .arg("600")
        .spawn()
        .unwrap();
    let _serving = begun(&space, Some(child.id()));
    let follow = space
        .command(&["runs", "show", "1", "--follow"])
        .spawn()
        .unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let run = Run::from(follow.wait_with_output().unwrap()).expect(0);
    assert!(
        run.stdout.contains("the process ended without a word"),
        "{}",
        run.stdout
    );
    assert!(run.stdout.contains("FAILED"), "{}", run.stdout);
}

#[test]
fn an_interrupt_ends_following() {
    let space = space!();
    let _serving = begun(&space, None);
    let follow = space
        .command(&["runs", "show", "1", "--follow"])
        .spawn()
        .unwrap();
    thread::sleep(Duration::from_millis(500));
    let pid = Pid::from_raw(i32::try_from(follow.id()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    Run::from(follow.wait_with_output().unwrap()).expect(130);
}

#[test]
fn formats_are_known_ones_and_splits_are_named_once() {
    let space = synapse_tests::space!();
    space.write("points/dataset.yaml", "path: .\ntrain: points.csv\n");
    space.write("points/points.csv", "1,2\n");
    let add = |more: &[&str]| {
        let args = [&["dataset", "add", "points", "--name", "points"], more].concat();
        space.synapse(&args)
    };
    let refused = add(&["--format", "yolo9"]).expect(2).stderr;
    assert!(refused.contains("hint: did you mean `yolo`?"), "{refused}");
    let refused = add(&["--format", "bogus-format"]).expect(2).stderr;
    assert!(refused.contains("hint: known are yolo, coco,"), "{refused}");
    let twice = [
        "--split",
        "train=points.csv",
        "--split",
        "train=dataset.yaml",
    ];
    let refused = add(&twice).expect(2).stderr;
    assert!(
        refused.contains("--split train is given twice"),
        "{refused}"
    );
    let one = ["--split", "train={points.csv,dataset.yaml}", "--json"];
    let added = add(&one).expect(0).json();
    assert_eq!(added["dataset"]["splits"]["train"], 2);
    assert_eq!(added["dataset"]["format"], Value::Null);
    for command in [&["dataset", "list"][..], &["dataset", "show", "points"]] {
        let told = space.synapse(command).expect(0).stdout;
        assert!(told.contains("not known"), "{told}");
    }
}

#[test]
fn ids_leave_room_for_more() {
    let space = space!();
    dataset(&space);
    for id in ["0", "9223372036854775807", "9007199254740992"] {
        add(&space, &["--id", id]).expect(2);
    }
    add(&space, &["--id", "9007199254740991"]).expect(0);
}
