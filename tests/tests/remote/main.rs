//! Releases run by the agent of a server in another process: followed as if they ran here. How they
//! end, how they are asked for and what they are given are modules of their own.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod asking;
mod ends;
mod given;

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, ChildStdout},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use synapse_tests::{
    Run, Serving, Space, copy_tree, expect_schema, fixture,
    proxy::{Call, Fault, Proxy},
    wheels::Index,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_synapse_under_test");
const ROUND: Duration = Duration::from_millis(20);
/// Longest that something may take which never comes when it does not come soon.
const PATIENCE: Duration = Duration::from_mins(3);

/// A folder with the plugin, published into the backend of this space.
fn space() -> Space {
    let mut space = Space::new(PROGRAM);
    copy_tree(&fixture("jobs"), space.cwd());
    for (name, value) in Index::usual().variables() {
        space.set(name, &value);
    }
    space
        .synapse(&["plugin", "publish", "--local", "--quiet"])
        .expect(0);
    space
}

fn serve(space: &Space, more: &[&str]) -> Serving {
    let args = [&["backend", "serve", "--until-stdin-closes"], more].concat();
    Serving::of(space.command(&args))
}

/// `synapse plugin run ACTION --mode remote` on the server of this space.
fn remote<'a>(action: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let args = [
        "plugin",
        "run",
        action,
        "--mode",
        "remote",
        "--profile",
        "local",
    ];
    [&args[..], more].concat()
}

/// Files by which an action and a test speak to each other.
struct Signs {
    mark: PathBuf,
    gate: PathBuf,
    params: String,
}

impl Signs {
    fn new(space: &Space, name: &str) -> Self {
        let place = |kind: &str| space.root().join(format!("{name}.{kind}"));
        let (mark, gate) = (place("mark"), place("gate"));
        let params = json!({"mark": mark, "gate": gate}).to_string();
        Self { mark, gate, params }
    }

    fn value(&self) -> Value {
        serde_json::from_str(&self.params).unwrap()
    }

    /// Waits until the action runs.
    #[track_caller]
    fn wait(&self) {
        wait("the action runs", || self.mark.exists());
    }

    /// Lets the action go on.
    fn open(&self) {
        fs::write(&self.gate, "").unwrap();
    }
}

#[track_caller]
fn wait(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain: {what}");
        thread::sleep(ROUND);
    }
}

fn ask(serving: &Serving, action: &str, params: &Value, name: &str) -> Value {
    let body = json!({"action": action, "params": params, "client_id": name});
    serving.json("POST /plugins/jobs/run/", &body).expect(201)
}

fn job(serving: &Serving, job: &Value) -> Value {
    serving.get(&format!("/jobs/{}/", job["id"])).expect(200)
}

fn is_over(job: &Value) -> bool {
    !["PENDING", "RUNNING"].contains(&job["status"].as_str().unwrap())
}

#[track_caller]
fn end(serving: &Serving, asked: &Value) -> Value {
    wait("the job is over", || is_over(&job(serving, asked)));
    job(serving, asked)
}

/// Processes of jobs and what they started: they know the folder of the space.
fn alive(space: &Space, but: &[u32]) -> Vec<String> {
    let root = space.root().to_str().unwrap();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Ok(pid) = name.parse::<u32>() else {
            continue;
        };
        let variables = fs::read(entry.path().join("environ")).unwrap_or_default();
        if String::from_utf8_lossy(&variables).contains(root) && !but.contains(&pid) {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            found.push(format!(
                "{pid} {}",
                String::from_utf8_lossy(&line).replace('\0', " ")
            ));
        }
    }
    found
}

/// Nothing is left but the server: the process of a job ends when all is recorded.
#[track_caller]
fn gone(space: &Space, server: u32) {
    wait("all processes are gone", || {
        alive(space, &[server]).is_empty()
    });
}

fn interrupt(child: &Child) {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
}

/// Reads lines until one has `text`; all of them.
fn until(out: &mut BufReader<ChildStdout>, text: &str) -> String {
    let mut all = String::new();
    loop {
        let mut line = String::new();
        assert_ne!(
            out.read_line(&mut line).unwrap(),
            0,
            "no {text:?} in\n{all}"
        );
        all.push_str(&line);
        if line.contains(text) {
            return all;
        }
    }
}

/// What is left of a child whose standard output is read elsewhere.
fn rest(mut child: Child, mut out: BufReader<ChildStdout>, mut before: String) -> Run {
    out.read_to_string(&mut before).unwrap();
    let mut stderr = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut stderr)
        .unwrap();
    Run {
        status: child.wait().unwrap(),
        stdout: before,
        stderr,
    }
}

fn started(space: &Space, args: &[&str]) -> (Child, BufReader<ChildStdout>) {
    let mut child = space.command(args).spawn().unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    (child, out)
}

#[test]
fn a_run_is_followed_as_if_it_were_here() {
    let space = space();
    let serving = serve(&space, &[]);
    let signs = Signs::new(&space, "live");
    let (child, mut out) = started(&space, &remote("train", &["--params", &signs.params]));
    // It comes while the action waits.
    let before = until(&mut out, "[metrics] train: loss=0.5");
    for line in [
        "Plugin: jobs 0.1.0\n",
        "Action: train\n",
        "Mode: remote on local (127.0.0.1:",
        "Job: 1\n",
        "[info] Environment: managed environment",
        "[info] Starting training...\n",
        "printed before\n",
        "[train] 1/2 (50%)\n",
    ] {
        assert!(before.contains(line), "{line:?} is not in\n{before}");
    }
    signs.open();
    let run = rest(child, out, before).expect(0);
    for line in [
        "printed after\n",
        "[success] that was fast\n",
        "[train] 2/2 (100%)\n",
        "Result: {\"epochs\":2}\n",
    ] {
        assert_eq!(
            run.stdout.matches(line).count(),
            1,
            "{line:?} in\n{}",
            run.stdout
        );
    }
    assert_eq!(run.stderr, "");

    let document = space
        .synapse(&remote("train", &["--json"]))
        .expect(0)
        .json();
    expect_schema("run", &document);
    assert_eq!(document["mode"], "remote");
    assert_eq!(document["status"], "SUCCEEDED");
    assert_eq!(document["result"], json!({"epochs": 2}));
    assert_eq!(document["metrics"], json!({"train": {"loss": 0.25}}));
    assert_eq!(document["progress"]["train"]["percent"], 100.0);
    assert_eq!(document["environment"]["managed"], true);
    let events = space
        .synapse(&remote("train", &["--events"]))
        .expect(0)
        .stdout;
    let kinds: Vec<String> = events
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|line| line["event"].as_str().map(str::to_owned))
        .collect();
    for kind in ["log", "progress", "metrics", "output"] {
        assert!(kinds.iter().any(|own| own == kind), "{kind}: {events}");
    }

    // It is among the runs of the platform, by either way to name it.
    let list = space
        .synapse(&["runs", "--profile", "local", "--json"])
        .expect(0)
        .json();
    assert_eq!(
        (&list["total"], &list["runs"][0]["mode"]),
        (&json!(3), &json!("remote"))
    );
    for args in [
        &["runs", "show", "local:1"][..],
        &["runs", "show", "1", "--profile", "local"],
    ] {
        let shown = space.synapse(args).expect(0).stdout;
        for text in [
            "printed before\nprinted after\n",
            "[success] that was fast",
            "SUCCEEDED",
        ] {
            assert!(shown.contains(text), "{text:?} is not in\n{shown}");
        }
    }
    let run = space.synapse(&["runs", "show", "local:99"]).expect(1);
    assert!(
        run.stderr.contains("there is no run 99 on local"),
        "{}",
        run.stderr
    );
    // Nothing is left of the jobs but their records.
    assert_eq!(
        fs::read_dir(space.home().join("data/backend/jobs"))
            .unwrap()
            .count(),
        0
    );
    gone(&space, serving.pid());
}

#[test]
fn nobody_need_wait() {
    let space = space();
    let serving = serve(&space, &[]);
    let signs = Signs::new(&space, "detached");
    let run = space
        .synapse(&remote("train", &["--detach", "--params", &signs.params]))
        .expect(0);
    assert!(
        run.stdout.contains("synapse runs show local:1 --follow"),
        "{}",
        run.stdout
    );
    let document = space
        .synapse(&remote("hangs", &["--detach", "--json"]))
        .expect(0)
        .json();
    expect_schema("run", &document);
    assert_eq!(
        (&document["ok"], &document["status"]),
        (&json!(true), &json!("PENDING"))
    );
    signs.wait();
    let (child, mut out) = started(&space, &["runs", "show", "local:1", "--follow"]);
    let before = until(&mut out, "Starting training...");
    signs.open();
    let shown = rest(child, out, before).expect(0).stdout;
    assert!(
        shown.contains("that was fast") && shown.contains("SUCCEEDED"),
        "{shown}"
    );
    // Here and there are the same backend.
    space.synapse(&["runs", "stop", "2"]).expect(0);
    assert_eq!(end(&serving, &json!({"id": 2}))["status"], "STOPPED");
}

#[test]
fn inference_and_deployment_have_short_names() {
    let space = space();
    let serving = serve(&space, &[]);
    for (args, action, result) in [
        (&["infer", "--json"][..], "inference", "inferred"),
        (&["deploy", "--json"], "ship", "deployed"),
        (
            &["infer", "--mode", "remote", "--profile", "local", "--json"],
            "inference",
            "inferred",
        ),
        (
            &["deploy", "--mode", "remote", "--profile", "local", "--json"],
            "ship",
            "deployed",
        ),
    ] {
        let document = space
            .synapse(&[&["plugin"], args].concat())
            .expect(0)
            .json();
        expect_schema("run", &document);
        assert_eq!(
            (&document["action"], &document["result"]),
            (&json!(action), &json!(result))
        );
    }
    space.replace(
        "config.yaml",
        "  ship:\n    entrypoint: plugin.work:deploy\n    method: job\n",
        "",
    );
    let run = space.synapse(&["plugin", "deploy"]).expect(1);
    assert!(
        run.stderr.contains("runs any of train, raises"),
        "{}",
        run.stderr
    );
    drop(serving);
}
