//! How a job ends before its time: stopped, failed, lost with its server.

use super::*;

#[test]
fn a_job_is_stopped_whether_it_runs_or_waits() {
    let space = space();
    let serving = serve(&space, &[]);
    let signs = Signs::new(&space, "stopped");
    let (child, mut out) = started(&space, &remote("hangs", &["--params", &signs.params]));
    let before = until(&mut out, "Job: 1");
    signs.wait();
    // One at a time: this one waits.
    let waits = ask(&serving, "train", &json!({}), "waits");
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
    gone(&space, serving.pid());
    // Once more changes nothing; nor does it take back what ended well.
    assert_eq!(
        serving.json("PATCH /jobs/1/", &body).expect(200)["status"],
        "STOPPED"
    );
    let done = ask(&serving, "train", &json!({}), "done");
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
    gone(&space, serving.pid());
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
    let waits = ask(&serving, "train", &json!({}), "waits");
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
    gone(&space, again.pid());
    // What the processes said last did not change that.
    assert_eq!(job(&again, &json!({"id": 1}))["error"]["kind"], "lost");
    let next = ask(&again, "train", &json!({}), "next");
    assert_eq!(end(&again, &next)["status"], "SUCCEEDED");

    // The same for one that is told to stop, without waiting for the next one.
    let signs = Signs::new(&space, "told");
    let told = ask(&again, "hangs", &signs.value(), "told");
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
