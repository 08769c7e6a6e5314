//! Releases run by the agent of a server in another process: followed as if they ran here, stopped,
//! failed, lost with their server, asked for twice; and what an action is given there.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

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

fn ask(serving: &Serving, action: &str, params: Value, name: &str) -> Value {
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
    assert_eq!(alive(&space, &[serving.pid()]), [""; 0]);
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
fn a_job_is_stopped_whether_it_runs_or_waits() {
    let space = space();
    let serving = serve(&space, &[]);
    let signs = Signs::new(&space, "stopped");
    let (child, mut out) = started(&space, &remote("hangs", &["--params", &signs.params]));
    let before = until(&mut out, "Job: 1");
    signs.wait();
    // One at a time: this one waits.
    let waits = ask(&serving, "train", json!({}), "waits");
    assert_eq!(waits["status"], "PENDING");
    let agent = serving.get("/agents/1/").expect(200);
    assert_eq!(
        agent["jobs"],
        json!({"running": 1, "waiting": 1, "at_once": 1})
    );
    let body = json!({"status": "STOPPED"});
    let call = format!("PATCH /jobs/{}/", waits["id"]);
    assert_eq!(serving.json(&call, &body).expect(200)["status"], "STOPPED");
    interrupt(&child);
    let run = rest(child, out, before).expect(130);
    assert!(
        run.stdout
            .contains("stopping job 1; a second Ctrl-C leaves it"),
        "{}",
        run.stdout
    );
    assert!(run.stderr.contains("hangs was stopped"), "{}", run.stderr);
    let stopped = end(&serving, &json!({"id": 1}));
    assert_eq!(stopped["status"], "STOPPED", "{stopped:#}");
    assert_eq!(alive(&space, &[serving.pid()]), [""; 0]);
    // Once more changes nothing; nor does it take back what ended well.
    assert_eq!(
        serving.json("PATCH /jobs/1/", &body).expect(200)["status"],
        "STOPPED"
    );
    let done = ask(&serving, "train", json!({}), "done");
    assert_eq!(end(&serving, &done)["status"], "SUCCEEDED");
    let call = format!("PATCH /jobs/{}/", done["id"]);
    assert_eq!(
        serving.json(&call, &body).expect(200)["status"],
        "SUCCEEDED"
    );
    // The one that was stopped while it waited never ran.
    assert_eq!(job(&serving, &waits)["started"], Value::Null);
}

#[test]
fn a_second_interrupt_leaves_the_job() {
    let space = space();
    let serving = serve(&space, &[]);
    let signs = Signs::new(&space, "left");
    let (child, mut out) = started(&space, &remote("stubborn", &["--params", &signs.params]));
    let mut before = until(&mut out, "Job: 1");
    signs.wait();
    interrupt(&child);
    before += &until(&mut out, "stopping job 1");
    interrupt(&child);
    let run = rest(child, out, before).expect(130);
    assert!(
        run.stderr.contains("synapse runs show local:1 --follow"),
        "{}",
        run.stderr
    );
    // It does not hear of being asked, and is killed in the end.
    let stopped = end(&serving, &json!({"id": 1}));
    assert_eq!(
        (&stopped["status"], &stopped["exit"]),
        (&json!("STOPPED"), &json!(137))
    );
    assert_eq!(alive(&space, &[serving.pid()]), [""; 0]);
}

#[test]
fn a_failure_is_what_it_would_be_here() {
    let space = space();
    let serving = serve(&space, &[]);
    let run = space.synapse(&remote("raises", &[])).expect(1);
    for text in [
        "error: ExecutionError: Action execution failed: boom\nTraceback",
        "plugin/work.py\", line ",
        "RuntimeError: boom",
    ] {
        assert!(
            run.stderr.contains(text),
            "{text:?} is not in\n{}",
            run.stderr
        );
    }
    let failed = job(&serving, &json!({"id": 1}));
    assert_eq!(failed["status"], "FAILED");
    assert!(
        failed["error"]["traceback"]
            .as_str()
            .unwrap()
            .contains("boom"),
        "{failed:#}"
    );
    let document = space
        .synapse(&remote("exits", &["--json"]))
        .expect(1)
        .json();
    expect_schema("run", &document);
    assert_eq!(document["errors"][0]["code"], "exited");
    assert_eq!(
        (&document["ending"], &document["exit"]),
        (&json!("exited"), &json!(7))
    );
    let document = space
        .synapse(&remote("train", &["--json", "--params", "{\"epochs\": 0}"]))
        .expect(1)
        .json();
    assert_eq!(document["errors"][0]["code"], "validation", "{document:#}");

    // What the platform refuses is no job.
    let jobs = serving.get("/jobs/").expect(200)["count"].clone();
    for (args, code, text) in [
        (remote("trian", &[]), 1, "Action not found: trian"),
        (
            remote("train", &["--version", "9.9.9"]),
            1,
            "has no release 9.9.9; there is 0.1.0",
        ),
        (
            remote("train", &["--plugin", "other"]),
            1,
            "there is no plugin `other`",
        ),
        (
            remote("train", &["--agent", "7"]),
            1,
            "There is no such agent",
        ),
        (
            remote("train", &["--gpus", "1"]),
            2,
            "--gpus is for a run on this machine",
        ),
        (remote("train", &["--params", "{"]), 1, "params"),
        (
            vec!["plugin", "run", "train", "--detach"],
            2,
            "--detach is for a run on a platform",
        ),
    ] {
        let run = space.synapse(&args).expect(code);
        assert!(
            run.stderr.contains(text),
            "{text:?} is not in\n{}",
            run.stderr
        );
    }
    assert_eq!(serving.get("/jobs/").expect(200)["count"], jobs);

    // Requirements that cannot be had.
    space.write("requirements.txt", "no-such-package-anywhere==1.0\n");
    space.replace("config.yaml", "version: 0.1.0", "version: 0.2.0");
    space
        .synapse(&["plugin", "publish", "--local", "--quiet"])
        .expect(0);
    let run = space.synapse(&remote("train", &[])).expect(1);
    assert!(
        run.stderr.contains("no-such-package-anywhere"),
        "{}",
        run.stderr
    );
    // An older release is still there.
    space
        .synapse(&remote("train", &["--version", "0.1.0"]))
        .expect(0);
    // Without a server it is said how to have one.
    assert_eq!(serving.close(), Some(0));
    let run = space.synapse(&remote("train", &[])).expect(3);
    assert!(
        run.stderr.contains("hint: start one in another terminal"),
        "{}",
        run.stderr
    );
}

#[test]
fn jobs_of_a_server_that_died_are_lost_and_so_are_their_processes() {
    let space = space();
    let serving = serve(&space, &[]);
    let signs = Signs::new(&space, "lost");
    let (child, mut out) = started(&space, &remote("stubborn", &["--params", &signs.params]));
    let before = until(&mut out, "Job: 1");
    signs.wait();
    let waits = ask(&serving, "train", json!({}), "waits");
    // Its end is not asked for: it is killed.
    drop(serving);
    let again = serve(&space, &[]);
    for id in [json!(1), waits["id"].clone()] {
        let lost = job(&again, &json!({"id": id}));
        assert_eq!(
            (&lost["status"], &lost["error"]["kind"]),
            (&json!("FAILED"), &json!("lost"))
        );
        assert!(lost["finished"].is_string(), "{lost:#}");
        let logs = again.get(&format!("/jobs/{id}/console_logs/")).expect(200);
        let said = "the server that ran it stopped before it had ended";
        assert!(logs.to_string().contains(said), "{logs:#}");
    }
    // Who follows it finds the server again, and is told.
    let run = rest(child, out, before).expect(3);
    assert!(
        run.stderr.contains("the server that ran it stopped"),
        "{}",
        run.stderr
    );
    wait("its processes are gone", || {
        alive(&space, &[again.pid()]).is_empty()
    });
    // What the processes said last did not change that.
    assert_eq!(job(&again, &json!({"id": 1}))["error"]["kind"], "lost");
    let next = ask(&again, "train", json!({}), "next");
    assert_eq!(end(&again, &next)["status"], "SUCCEEDED");

    // The same for one that is told to stop, without waiting for the next one.
    let signs = Signs::new(&space, "told");
    let told = ask(&again, "hangs", signs.value(), "told");
    signs.wait();
    assert_eq!(again.close(), Some(0));
    assert_eq!(alive(&space, &[]), [""; 0]);
    let id = told["id"].to_string();
    let shown = space
        .synapse(&["runs", "show", &id, "--json"])
        .expect(0)
        .json();
    assert_eq!(shown["run"]["error"]["kind"], "lost", "{shown:#}");
}

#[test]
fn asking_twice_makes_one_job() {
    let space = space();
    let serving = serve(&space, &[]);
    let body = json!({"action": "train", "params": {"epochs": 3}, "client_id": "mine"});
    let mut answers: Vec<(u16, Value)> = thread::scope(|scope| {
        let ask = || {
            let answer = serving.json("POST /plugins/jobs/run/", &body);
            (answer.status, answer.value()["id"].clone())
        };
        let all: Vec<_> = (0..12).map(|_| scope.spawn(ask)).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    answers.sort_by_key(|(status, _)| *status);
    let statuses: Vec<u16> = answers.iter().map(|(status, _)| *status).collect();
    assert_eq!(statuses, [&[200; 11][..], &[201]].concat());
    assert!(
        answers.iter().all(|(_, id)| *id == answers[0].1),
        "{answers:?}"
    );
    let other = json!({"action": "train", "params": {"epochs": 4}, "client_id": "mine"});
    let refused = serving.json("POST /plugins/jobs/run/", &other).expect(409);
    assert!(
        refused["detail"]
            .as_str()
            .unwrap()
            .contains("was used for job 1"),
        "{refused}"
    );
    let found = serving.get("/jobs/?client_id=mine").expect(200);
    assert_eq!(
        (&found["count"], &found["results"][0]["client_id"]),
        (&json!(1), &json!("mine"))
    );
    // After a doubt the client asks first: the server may have heard it or not.
    for (name, fault) in [("heard", Fault::ResetAfter), ("not", Fault::ResetBefore)] {
        let before = serving.get("/jobs/").expect(200)["count"].as_u64().unwrap();
        let plan = move |call: &Call| match (call.method.as_str(), call.number) {
            ("POST", number) if number < 2 => fault.clone(),
            _ => Fault::None,
        };
        let proxy = Proxy::start(serving.host(), plan);
        let args = [
            "plugin", "run", "train", "--mode", "remote", "--host", &proxy.url, "--json",
        ];
        let run = space.synapse_with("SYNAPSE_ACCESS_TOKEN", &serving.token, &args);
        let document = run.expect(0).json();
        assert_eq!(document["status"], "SUCCEEDED", "{name}");
        let after = serving.get("/jobs/").expect(200)["count"].as_u64().unwrap();
        assert_eq!(after - before, 1, "{name}: {:?}", proxy.faults());
        assert!(proxy.count("GET", "/jobs/?client_id=") >= 1, "{name}");
    }
}

/// The events of a stream: id, kind, data.
fn events(text: &str) -> Vec<(String, String, Value)> {
    let field = |event: &str, name: &str| {
        let found = event.lines().find_map(|line| line.strip_prefix(name));
        found.unwrap_or_default().to_owned()
    };
    let all = text.split("\n\n").filter(|event| event.contains("data: "));
    all.map(|event| {
        let data = serde_json::from_str(&field(event, "data: ")).unwrap();
        (field(event, "id: "), field(event, "event: "), data)
    })
    .collect()
}

#[test]
fn a_tail_goes_on_where_it_broke_off() {
    let space = space();
    let serving = serve(&space, &[]);
    let asked = ask(&serving, "train", json!({}), "tail");
    let call = format!("GET /jobs/{}/tail_console_logs/", asked["id"]);
    let tail = |last: Option<&str>| {
        let mut headers = vec![("Accept", "text/event-stream")];
        headers.extend(last.map(|last| ("Last-Event-ID", last)));
        let answer = serving.call(&call, &headers, b"");
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("content-type"), Some("text/event-stream"));
        events(&String::from_utf8(answer.body).unwrap())
    };
    let live = tail(None);
    let kinds: Vec<&str> = live.iter().map(|(_, kind, _)| kind.as_str()).collect();
    assert_eq!(kinds.last(), Some(&"end"), "{live:#?}");
    assert_eq!(live.last().unwrap().2["status"], "SUCCEEDED");
    for (kind, count) in [("progress", 2), ("metrics", 2), ("end", 1)] {
        assert_eq!(
            kinds.iter().filter(|own| **own == kind).count(),
            count,
            "{live:#?}"
        );
    }
    let printed = |events: &[(String, String, Value)]| -> String {
        let output = events.iter().filter(|(_, kind, _)| kind == "output");
        output
            .map(|(_, _, data)| data["text"].as_str().unwrap())
            .collect()
    };
    let said = |events: &[(String, String, Value)]| -> Vec<Value> {
        let said = events
            .iter()
            .filter(|(_, kind, _)| !["output", "end"].contains(&&**kind));
        said.map(|(_, _, data)| data["id"].clone()).collect()
    };
    assert_eq!(printed(&live), "printed before\nprinted after\n");
    // After any event, the rest is what had not come yet.
    for at in 0..live.len() {
        let (before, last) = (&live[..=at], &live[at].0);
        let after = tail(Some(last));
        assert_eq!(
            printed(before) + &printed(&after),
            printed(&live),
            "after {last}"
        );
        assert_eq!(
            [said(before), said(&after)].concat(),
            said(&live),
            "after {last}"
        );
    }
    let headers = [("Accept", "text/event-stream"), ("Last-Event-ID", "x")];
    serving.call(&call, &headers, b"").expect(400);
    // Without asking for events it is text, as before.
    let text = serving.get(&call[4..]);
    assert!(
        text.header("content-type")
            .unwrap()
            .starts_with("text/plain")
    );

    // The client comes back after a cut, and shows everything once.
    let plan = |call: &Call| {
        let first =
            call.path.contains("tail_console_logs") && call.header("last-event-id").is_none();
        if first { Fault::Truncate } else { Fault::None }
    };
    let proxy = Proxy::start(serving.host(), plan);
    let args = [
        "plugin", "run", "train", "--mode", "remote", "--host", &proxy.url,
    ];
    let run = space
        .synapse_with("SYNAPSE_ACCESS_TOKEN", &serving.token, &args)
        .expect(0);
    for line in [
        "printed before",
        "printed after",
        "Starting training...",
        "that was fast",
    ] {
        assert_eq!(
            run.stdout.matches(line).count(),
            1,
            "{line:?} in\n{}",
            run.stdout
        );
    }
    assert!(proxy.count("GET", "/jobs/") >= 2, "{:?}", proxy.calls());
}

#[test]
fn as_many_run_at_once_as_are_allowed() {
    let space = space();
    let serving = serve(&space, &["--jobs", "2"]);
    let signs: Vec<Signs> = (0..3).map(|n| Signs::new(&space, &n.to_string())).collect();
    let jobs: Vec<Value> = (0..3)
        .map(|n| ask(&serving, "train", signs[n].value(), &n.to_string()))
        .collect();
    // The first two reach their gates together; the third has not begun.
    signs[0].wait();
    signs[1].wait();
    assert_eq!(job(&serving, &jobs[2])["status"], "PENDING");
    assert!(!signs[2].mark.exists());
    signs[1].open();
    signs[2].wait();
    assert_eq!(job(&serving, &jobs[0])["status"], "RUNNING");
    signs[0].open();
    signs[2].open();
    for job in &jobs {
        assert_eq!(end(&serving, job)["status"], "SUCCEEDED");
    }
}

#[test]
fn an_action_gets_nothing_of_the_server_that_is_secret() {
    let mut space = space();
    space.set("SYNAPSE_ACCESS_TOKEN", "canary-token");
    space.set("AWS_SECRET_ACCESS_KEY", "canary-key");
    space.set(
        "PIP_EXTRA_INDEX_URL",
        "https://me:canary-index@127.0.0.1:1/simple",
    );
    space.set("VIRTUAL_ENV", "/canary/environment");
    space.set("LC_TEST", "kept");
    let serving = serve(&space, &[]);
    let asked = ask(&serving, "look", json!({}), "look");
    let looked = end(&serving, &asked);
    let result = &looked["result"];
    assert_eq!(looked["status"], "SUCCEEDED", "{looked:#}");
    let text = result.to_string();
    assert!(
        !text.contains("canary") && !text.contains(&serving.token),
        "{result:#}"
    );
    let variables = &result["variables"];
    assert_eq!(variables["LC_TEST"], "kept");
    let folder = format!("/data/backend/jobs/{}", asked["id"]);
    for name in ["TMPDIR", "SYNAPSE_HOME"] {
        assert!(
            variables[name].as_str().unwrap().contains(&folder),
            "{name}: {variables:#}"
        );
    }
    assert!(
        result["cwd"]
            .as_str()
            .unwrap()
            .ends_with(&format!("{folder}/plugin")),
        "{result:#}"
    );
    assert_eq!(result["executable"], true);
    // Its client reads and runs, and no more.
    assert_eq!(result["jobs"], json!([asked["id"]]));
    assert!(
        result["refused"].as_str().unwrap().contains("scope"),
        "{result:#}"
    );
    // Nor does anything of it lie in the records.
    let mut command = std::process::Command::new("grep");
    let found = command
        .args(["-rl", "canary-"])
        .arg(space.home().join("data"))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
}

#[test]
fn what_an_action_writes_is_kept() {
    let space = space();
    let serving = serve(&space, &[]);
    let run = space.synapse(&remote("writes", &[])).expect(0);
    let folder = space.home().join("data/backend/jobs/1/plugin");
    let kept = format!("what the action wrote is kept in {}", folder.display());
    assert!(run.stderr.contains(&kept), "{}", run.stderr);
    assert_eq!(
        fs::read_to_string(folder.join("runs/best.pt")).unwrap(),
        "weights"
    );
    assert!(!folder.join("plugin").exists() && !Path::new(&folder).join("../tmp").exists());
    drop(serving);
}

#[test]
fn tenants_and_scopes_hold_for_jobs_too() {
    let space = space();
    let serving = serve(&space, &[]);
    let token = |more: &[&str]| {
        let args = [&["backend", "token", "create", "--json"], more].concat();
        let made = space.synapse(&args).expect(0).json();
        made["token"].as_str().unwrap().to_owned()
    };
    let call = |token: &str, call: &str, body: Value| {
        let text = body.to_string();
        let request = format!(
            "{call} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nSynapse-Access-Token: Token {token}\r\n\r\n{text}",
            serving.host(),
            text.len()
        );
        serving.raw(request.as_bytes())
    };
    let run = "POST /plugins/jobs/run/";
    let body = json!({"action": "train", "client_id": "shared"});
    let reads = token(&["--scope", "read"]);
    let refused = call(&reads, run, body.clone()).expect(403);
    assert!(
        refused["detail"].as_str().unwrap().contains("`run`"),
        "{refused}"
    );
    let asked = ask(&serving, "train", json!({}), "shared");
    call(&reads, &format!("GET /jobs/{}/", asked["id"]), Value::Null).expect(200);
    let stop = format!("PATCH /jobs/{}/", asked["id"]);
    call(&reads, &stop, json!({"status": "STOPPED"})).expect(403);
    // Another tenant has neither the plugin nor the job, and may use the name.
    let other = token(&["--tenant", "acme"]);
    call(&other, run, body.clone()).expect(404);
    call(&other, &stop, json!({"status": "STOPPED"})).expect(404);
    let home = space.home().display().to_string();
    space
        .command(&["plugin", "publish", "--host", &serving.url, "--quiet"])
        .env("SYNAPSE_ACCESS_TOKEN", &other)
        .output()
        .map(Run::from)
        .unwrap()
        .expect(0);
    let own = call(&other, run, body).expect(201);
    assert_ne!(own["id"], asked["id"], "{home}");
    let tail = format!("GET /jobs/{}/tail_console_logs/", own["id"]);
    call(&other, &tail, Value::Null);
    let ended = call(&other, &format!("GET /jobs/{}/", own["id"]), Value::Null).expect(200);
    assert_eq!(ended["status"], "SUCCEEDED", "{ended:#}");
    serving.get(&format!("/jobs/{}/", own["id"])).expect(404);
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
