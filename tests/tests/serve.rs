//! The backend over HTTP: who may ask, what is answered, and what comes of odd requests.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use synapse_tests::{Serving, Space, multipart, space};

const PROGRAM: &str = env!("CARGO_BIN_EXE_synapse_under_test");

fn interrupt(serving: &Serving) {
    let pid = Pid::from_raw(i32::try_from(serving.pid()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
}

#[test]
fn only_callers_with_the_token_and_our_name_are_answered() {
    let space = space!();
    let serving = Serving::start(&space);
    let ask = |host: &str, token: &str| {
        let call =
            format!("GET /jobs/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{token}\r\n");
        serving.raw(call.as_bytes())
    };
    let own = format!("Synapse-Access-Token: Token {}\r\n", serving.token);
    let port = serving.host().split(':').next_back().unwrap();
    for host in [
        serving.host(),
        &format!("LocalHost:{port}"),
        "127.0.0.1",
        "localhost",
    ] {
        ask(host, &own).expect(200);
    }
    for host in [
        "evil.example",
        "127.0.0.1:1",
        "127.0.0.1.evil.example",
        "",
        "[::1]",
    ] {
        ask(host, &own).expect(403);
    }
    let twice = format!("{own}Host: evil.example\r\n");
    assert!([400, 403].contains(&ask(serving.host(), &twice).status));
    let missing = ask(serving.host(), "");
    missing.expect(401);
    assert_eq!(missing.header("www-authenticate"), Some("Token"));
    let wrong = serving.token.replace('a', "b");
    for token in [
        "Synapse-Access-Token: Token x\r\n".to_owned(),
        format!("Synapse-Access-Token: {}\r\n", serving.token),
        format!("Synapse-Access-Token: Token {wrong}0\r\n"),
        format!("Authorization: Token {}\r\n", serving.token),
        "Synapse-Access-Token: Token \r\n".to_owned(),
        format!("{own}{own}"),
    ] {
        ask(serving.host(), &token).expect(401);
    }
    // A large body does not hide the answer.
    let mut call = serving.request("PUT /chunked_upload/", &[], &vec![0; 8 << 20]);
    let at = call.windows(6).position(|six| six == b"Token ").unwrap() + 6;
    call[at] ^= 1;
    serving.raw(&call).expect(401);
    // Health tells that it is up, and nothing else.
    let call = format!(
        "GET /health/ HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        serving.host()
    );
    let health = serving.raw(call.as_bytes()).expect(200);
    assert_eq!(
        (&health["status"], &health["proof"]),
        (&json!("ok"), &Value::Null)
    );
    assert!(!health.to_string().contains(&serving.token));
}

#[test]
fn a_server_announces_itself_while_it_is_up() {
    let space = space!();
    let record = space.home().join("data/backend/serve.json");
    let read = || serde_json::from_slice::<Value>(&fs::read(&record).unwrap()).unwrap();
    let first = Serving::start(&space);
    assert_eq!(read()["url"], first.url);
    assert_eq!(read()["token"], first.token);
    assert_eq!(read()["pid"], first.pid());
    assert_eq!(
        fs::metadata(&record).unwrap().permissions().mode() & 0o777,
        0o600
    );
    // A second one serves the same backend, and leaves the word to the first.
    let second = Serving::start(&space);
    assert_eq!(read()["url"], first.url);
    let job = json!({"plugin": "yolo", "action": "train"});
    let id = first.json("POST /jobs/", &job).expect(201)["id"].clone();
    assert_eq!(
        second.get(&format!("/jobs/{id}/")).expect(200)["plugin"],
        "yolo"
    );
    assert_eq!(second.close(), Some(0));
    assert_eq!(read()["url"], first.url);
    interrupt(&first);
    assert_eq!(first.wait(), Some(0));
    assert!(!record.exists());
    // One that was killed is not believed.
    let killed = Serving::start(&space);
    drop(killed);
    assert!(record.exists());
    let third = Serving::start(&space);
    assert_eq!(read()["url"], third.url);
    assert_eq!(third.close(), Some(0));
    assert!(!record.exists());
}

#[test]
fn who_only_says_to_be_the_server_gets_no_token() {
    let space = space!();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut asked = vec![0; 4096];
        let count = stream.read(&mut asked).unwrap();
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n{\"status\": \"ok\", \"proof\": \"0\"}");
        String::from_utf8_lossy(&asked[..count]).into_owned()
    });
    // Its process lives: it is this one.
    let folder = space.home().join("data/backend");
    fs::create_dir_all(&folder).unwrap();
    let record = json!({"url": url, "token": "canary", "pid": std::process::id()});
    fs::write(folder.join("serve.json"), record.to_string()).unwrap();
    let serving = Serving::start(&space);
    let asked = asked.join().unwrap();
    assert!(asked.starts_with("GET /health/?challenge="), "{asked}");
    assert!(!asked.contains("canary"), "{asked}");
    let now: Value = serde_json::from_slice(&fs::read(folder.join("serve.json")).unwrap()).unwrap();
    assert_eq!(now["url"], serving.url);
}

#[test]
fn a_port_that_is_taken_is_told_of() {
    let space = space!();
    let serving = Serving::start(&space);
    let port = serving.host().split(':').next_back().unwrap();
    let run = space
        .synapse(&["backend", "serve", "--port", port])
        .expect(3);
    assert!(run.stderr.contains("the port is in use"), "{}", run.stderr);
    assert!(
        run.stderr.contains("hint: another program uses that port"),
        "{}",
        run.stderr
    );
}

#[test]
fn paths_and_methods_that_there_are_not() {
    let space = space!();
    let serving = Serving::start(&space);
    for place in [
        "/",
        "/nothing/",
        "/jobs/1/",
        "/jobs/x/",
        "/jobs/%FF/",
        "/models/9/",
        "/files/models/9/x",
        "/files/models/x/y",
        "/files/uploads/x/y",
        "/files/datasets/9/../../etc/passwd",
        "/ground_truth_dataset_versions/9/",
        "/ground_truths/?ground_truth_dataset_versions=9",
        "/plugin_releases/none@1.0.0/",
        "/plugin_releases/9/",
        "/chunked_upload/x/",
        "/jobs/99999999999999999999/",
    ] {
        assert!(
            serving.get(place).expect(404)["detail"].is_string(),
            "{place}"
        );
    }
    let moved = serving.get("/jobs?limit=1");
    assert_eq!(
        (moved.status, moved.header("location")),
        (301, Some("/jobs/?limit=1"))
    );
    let wrong = serving
        .json("POST /logs", &json!({"message": "x"}))
        .expect(404);
    assert!(wrong["detail"].as_str().unwrap().contains("/logs/"));
    let method = serving.call("DELETE /jobs/", &[], b"").expect(405);
    assert_eq!(method["detail"], "Method \"DELETE\" not allowed.");
    for query in [
        "limit=x",
        "limit=-1",
        "offset=1.5",
        "status=DONE",
        "limit=%FF%",
    ] {
        serving.get(&format!("/jobs/?{query}")).expect(400);
    }
    serving.get("/ground_truths/").expect(400);
}

#[test]
fn odd_requests_are_refused_and_harm_nothing() {
    let space = space!();
    let serving = Serving::start(&space);
    let deep = "[".repeat(100_000);
    let bodies: [&[u8]; 10] = [
        b"",
        b"{",
        b"null",
        b"[]",
        b"1",
        b"\"x\"",
        b"\xff\xfe",
        b"{\"plugin\":1}",
        b"{\"plugin\":\"a\",\"action\":\"b\",\"meta\":[]}",
        deep.as_bytes(),
    ];
    for call in [
        "POST /jobs/",
        "POST /models/",
        "PATCH /jobs/1/",
        "POST /chunked_upload/x/",
    ] {
        for body in bodies {
            for kind in [
                "application/json",
                "multipart/form-data",
                "application/x-www-form-urlencoded",
                "",
            ] {
                let status = serving.call(call, &[("Content-Type", kind)], body).status;
                assert!((400..500).contains(&status), "{call} {kind}: {status}");
            }
        }
    }
    for body in [
        json!({}),
        json!([1]),
        json!({"message": 1}),
        json!({"message": "x", "level": "loud"}),
        json!({"message": "x", "job": "y"}),
        json!({"message": "x", "job": -1}),
        json!([{"message": "x"}, 7]),
    ] {
        serving.json("POST /logs/", &body).expect(400);
    }
    let kind = [
        ("Content-Type", "multipart/form-data; boundary=x"),
        ("Content-Range", "bytes 0-1/2"),
    ];
    for body in [
        "",
        "--x",
        "--x\r\n\r\n",
        "--x\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nab",
    ] {
        let status = serving
            .call("PUT /chunked_upload/", &kind, body.as_bytes())
            .status;
        assert!((400..500).contains(&status), "{body:?}: {status}");
    }
    let _ = serving.send(b"\x00\x01\x02 nonsense\r\n\r\n");
    let _ = serving.send(&serving.request("PUT /chunked_upload/", &kind, b"cut short")[..120]);
    serving.get("/jobs/").expect(200);
    let files = fs::read_dir(space.home().join("data/backend/files")).unwrap();
    assert_eq!(files.count(), 0, "what was refused left nothing");
}

#[test]
fn a_job_is_followed_while_it_goes_on() {
    let space = space!();
    let serving = Serving::start(&space);
    let sent =
        json!({"plugin": "yolo", "version": "0.1.0", "action": "train", "params": {"epochs": 5}});
    let job = serving.json("POST /jobs/", &sent).expect(201);
    assert_eq!(
        (&job["status"], &job["params"]),
        (&json!("PENDING"), &json!({"epochs": 5}))
    );
    let patch = |body: Value| serving.json("PATCH /jobs/1/", &body);
    patch(json!({"status": "RUNNING", "console_logs": ["from the job"]})).expect(200);
    patch(json!({"status": "DONE"})).expect(400);
    let stream = serving.send(&serving.request("GET /jobs/1/tail_console_logs/", &[], b""));
    let mut stream = BufReader::new(stream);
    let mut until = |text: &str| {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            assert!(stream.read_line(&mut line).unwrap() > 0, "no {text:?}");
        }
    };
    until("[INFO] from the job");
    let log = json!([{"job": 1, "message": "half", "level": "WARNING", "context": {"at": 2}},
        {"job": 1, "event": "epoch", "data": {"n": 1}, "step": "train"}]);
    serving.json("POST /logs/", &log).expect(201);
    until("[WARNING] half");
    let output = space.home().join("data/backend/runs/1.log");
    fs::write(&output, "printed\n").unwrap();
    until("printed");
    let progress = json!({"train": {"percent": 50}});
    let all = json!({"progress_record": progress, "metrics_record": {"a": 1}, "meta": {"m": 1}});
    patch(all).expect(200);
    let done = patch(json!({"status": "SUCCEEDED", "result": {"ok": true}})).expect(200);
    for (name, value) in [
        ("progress_record", progress),
        ("metrics_record", json!({"a": 1})),
        ("meta", json!({"m": 1})),
        ("result", json!({"ok": true})),
    ] {
        assert_eq!(done[name], value);
    }
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    let logs = serving.get("/jobs/1/console_logs/").expect(200);
    let messages: Vec<&Value> = logs
        .as_array()
        .unwrap()
        .iter()
        .map(|log| &log["message"])
        .collect();
    assert_eq!(
        messages,
        [&json!("from the job"), &json!("half"), &Value::Null]
    );
    assert_eq!(logs[1]["data"], json!({"at": 2, "content": "half"}));
    let after = serving
        .get("/jobs/1/console_logs/?after=1&limit=1")
        .expect(200);
    assert_eq!(
        (after.as_array().unwrap().len(), &after[0]["id"]),
        (1, &json!(2))
    );
    assert_eq!(
        serving.get("/jobs/?status=SUCCEEDED").expect(200)["count"],
        1
    );
    patch(json!({"status": "RUNNING"})).expect(400);
}

#[test]
fn a_stop_ends_streams_that_go_on() {
    let space = space!();
    let serving = Serving::start(&space);
    let sent = json!({"plugin": "yolo", "action": "train"});
    serving.json("POST /jobs/", &sent).expect(201);
    let mut stream = serving.send(&serving.request("GET /jobs/1/tail_console_logs/", &[], b""));
    thread::sleep(Duration::from_millis(100));
    interrupt(&serving);
    assert_eq!(serving.wait(), Some(0));
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
}

#[test]
fn many_callers_at_once_lose_nothing() {
    let space = space!();
    let servers = [Serving::start(&space), Serving::start(&space)];
    let sent = json!({"plugin": "yolo", "action": "train"});
    servers[0].json("POST /jobs/", &sent).expect(201);
    thread::scope(|scope| {
        for caller in 0..8 {
            let serving = &servers[caller % 2];
            scope.spawn(move || {
                for turn in 0..10 {
                    let logs: Vec<Value> = (0..20)
                        .map(|index| json!({"job": 1, "message": format!("{caller} {turn} {index}")}))
                        .collect();
                    serving.json("POST /logs/", &json!(logs)).expect(201);
                    let (kind, body) = multipart(&[], Some(("w.pt", format!("{caller} {turn}").as_bytes())));
                    serving.call("POST /models/", &[("Content-Type", &kind)], &body).expect(201);
                }
            });
        }
    });
    let logs = servers[1].get("/jobs/1/console_logs/").expect(200);
    let numbers = logs
        .as_array()
        .unwrap()
        .iter()
        .map(|log| log["id"].as_u64().unwrap());
    assert!(numbers.eq(1..=1600));
    assert_eq!(servers[0].get("/models/?limit=1").expect(200)["count"], 80);
}

#[test]
fn releases_are_served_by_id_and_by_version() {
    let space = Space::tiny(PROGRAM, 2);
    space.publish(&["--all"]).expect(0);
    let serving = Serving::start(&space);
    let list = serving.get("/plugin_releases/?plugin=tiny-1").expect(200);
    assert_eq!(list["count"], 1);
    let release = &list["results"][0];
    assert_eq!(
        (&release["version"], &release["debug"]),
        (&json!("0.1.0"), &json!(false))
    );
    assert_eq!(
        &serving.get("/plugin_releases/tiny-1@0.1.0/").expect(200),
        release
    );
    assert_eq!(
        &serving
            .get(&format!("/plugin_releases/{}/", release["id"]))
            .expect(200),
        release
    );
    assert_eq!(serving.get("/plugin_releases/").expect(200)["count"], 2);
    let file = serving.get(release["file"].as_str().unwrap());
    assert_eq!((file.status, &file.body[..2]), (200, &b"PK"[..]));
    serving.get("/plugin_releases/tiny-1@9.9.9/").expect(404);
}
