//! The backend over HTTP: who may ask, what is answered, and what comes of odd requests.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    os::unix::fs::PermissionsExt,
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use synapse_tests::{Serving, Space, multipart, space};

const PROGRAM: &str = env!("CARGO_BIN_EXE_synapse_under_test");
/// Of `hello world`.
const MD5: &str = "5eb63bbbe01eeed093cb22bb8f5acdc3";
const SHA256: &str = "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9";

fn interrupt(serving: &Serving) {
    let pid = Pid::from_raw(i32::try_from(serving.pid()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
}

/// A dataset of five small files, three of them in splits.
fn with_dataset(space: &Space) {
    for name in [
        "images/train/a.jpg",
        "images/train/b.jpg",
        "images/val/c.jpg",
    ] {
        space.write(&format!("coco/{name}"), name);
    }
    space.write("coco/labels/a.txt", "0");
    space.write("coco/data.yaml", "names: [a]\n");
    let args = [
        "dataset", "add", "coco", "--name", "coco", "--id", "123", "--quiet",
    ];
    space.synapse(&args).expect(0);
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
fn an_upload_goes_on_after_a_break_and_becomes_a_model() {
    let space = space!();
    let first = Serving::start(&space);
    let begun = first
        .chunk("/chunked_upload/", "bytes 0-5/11", b"hello ")
        .expect(201);
    assert_eq!(begun["offset"], 6);
    let id = begun["id"].as_str().unwrap().to_owned();
    let place = format!("/chunked_upload/{id}/");
    // What does not fit is told with where the upload stands.
    for (span, bytes) in [("bytes 7-10/11", b"orld"), ("bytes 0-3/11", b"hell")] {
        assert_eq!(first.chunk(&place, span, bytes).expect(400)["offset"], 6);
    }
    assert_eq!(
        first.chunk(&place, "bytes 6-10/11", b"wor").expect(400)["offset"],
        6
    );
    first.chunk(&place, "bytes 6-8/11", b"world").expect(413);
    first.chunk(&place, "bytes 6-10/12", b"world").expect(400);
    first.chunk(&place, "6-10", b"world").expect(400);
    first
        .chunk(&place, "bytes 0-99999999/100000000", b"")
        .expect(413);
    assert_eq!(
        first
            .json(&format!("POST {place}"), &json!({"md5": MD5}))
            .expect(400)["offset"],
        6
    );
    drop(first);

    let serving = Serving::start(&space);
    let state = serving.get(&place).expect(200);
    assert_eq!(
        (&state["offset"], &state["completed_at"]),
        (&json!(6), &Value::Null)
    );
    let state = serving.chunk(&place, "bytes 6-10/11", b"world").expect(200);
    assert_eq!(state["offset"], 11);
    let finish = format!("POST {place}");
    let wrong = serving.json(&finish, &json!({"md5": "00"})).expect(400);
    assert_eq!(wrong["checksum"], MD5);
    serving.json(&finish, &json!({})).expect(400);
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let done = serving
        .call(&finish, &form, format!("md5={MD5}").as_bytes())
        .expect(200);
    assert_eq!(
        (&done["checksum"], &done["size"]),
        (&json!(MD5), &json!(11))
    );
    assert!(done["completed_at"].is_string());
    assert_eq!(
        serving.get(done["file"].as_str().unwrap()).body,
        b"hello world"
    );
    let (kind, body) = multipart(&[("md5", MD5)], None);
    serving
        .call(&finish, &[("Content-Type", &kind)], &body)
        .expect(200);

    let sent = json!({"name": "mine", "plugin": "yolo", "version": "0.1.0", "chunked_upload": id,
        "metrics": {"map": 0.5}, "ours": [1, 2]});
    let model = serving.json("POST /models/", &sent).expect(201);
    let expected = [
        ("name", json!("mine")),
        ("checksum", json!(SHA256)),
        ("size", json!(11)),
        ("category", json!("fine_tuned")),
        ("ours", json!([1, 2])),
        ("metrics", json!({"map": 0.5})),
    ];
    for (name, value) in expected {
        assert_eq!(model[name], value, "{name}");
    }
    let again = serving.json("POST /models/", &sent).expect(400);
    assert!(
        again["chunked_upload"][0]
            .as_str()
            .unwrap()
            .contains("used for model 1")
    );
    serving
        .json(
            "POST /models/",
            &json!({"name": "x", "chunked_upload": "none"}),
        )
        .expect(400);
    serving
        .json(
            "POST /models/",
            &json!({"name": 5, "chunked_upload": "none"}),
        )
        .expect(400);
    assert_eq!(serving.get("/models/1/").expect(200), model);
    assert_eq!(
        serving.get("/models/?plugin=yolo").expect(200)["results"][0],
        model
    );
    assert_eq!(serving.get("/models/?plugin=other").expect(200)["count"], 0);
    let file = serving.get(model["file"].as_str().unwrap());
    assert_eq!(file.header("etag"), Some(&*format!("\"{SHA256}\"")));
    assert_eq!(file.body, b"hello world");
}

#[test]
fn a_model_can_be_sent_at_once() {
    let space = space!();
    let serving = Serving::start(&space);
    // Larger than what is held in memory of anything.
    let bytes: Vec<u8> = (0..5 << 20).map(|index: u32| (index % 251) as u8).collect();
    let fields = [
        ("name", "big"),
        ("configuration", "{\"a\": 1}"),
        ("description", "{no"),
    ];
    let (kind, body) = multipart(&fields, Some(("../weights.pt", &bytes)));
    let model = serving
        .call("POST /models/", &[("Content-Type", &kind)], &body)
        .expect(201);
    assert_eq!(model["configuration"], json!({"a": 1}));
    assert_eq!(model["description"], "{no");
    let place = model["file"].as_str().unwrap();
    assert!(place.ends_with("/files/models/1/weights.pt"), "{place}");
    assert_eq!(serving.get(place).body, bytes);
    let path = place.strip_prefix(&serving.url).unwrap();
    let part = |range: &str| serving.call(&format!("GET {path}"), &[("Range", range)], b"");
    let some = part("bytes=1000000-1000009");
    assert_eq!(
        (some.status, &some.body[..]),
        (206, &bytes[1_000_000..1_000_010])
    );
    assert_eq!(
        some.header("content-range"),
        Some("bytes 1000000-1000009/5242880")
    );
    assert_eq!(part("bytes=-3").body, bytes[bytes.len() - 3..]);
    assert_eq!(part("bytes=5242880-").status, 416);
    let stale = [("Range", "bytes=0-1"), ("If-Range", "\"other\"")];
    assert_eq!(
        serving.call(&format!("GET {path}"), &stale, b"").status,
        200
    );
    let head = serving.call(&format!("HEAD {path}"), &[], b"");
    assert_eq!(
        (head.header("content-length"), head.body.len()),
        (Some("5242880"), 0)
    );
    // A file that is lost is told of, not half sent.
    let kept = space.home().join("data/backend/files");
    let kept = fs::read_dir(kept).unwrap().next().unwrap().unwrap().path();
    fs::remove_file(kept).unwrap();
    serving.get(place).expect(500);
}

#[test]
fn datasets_are_paged_and_their_files_checked() {
    let space = space!();
    with_dataset(&space);
    let serving = Serving::start(&space);
    let dataset = serving
        .get("/ground_truth_dataset_versions/123/")
        .expect(200);
    assert_eq!(dataset["splits"], json!({"train": 2, "val": 1}));
    assert_eq!(
        (&dataset["format"], &dataset["count"]),
        (&json!("yolo"), &json!(5))
    );
    let mut place = "/ground_truths/?ground_truth_dataset_versions=123&limit=2".to_owned();
    let mut names = Vec::new();
    let mut pages = 0;
    loop {
        let page = serving.get(&place).expect(200);
        assert_eq!(page["count"], 5);
        for item in page["results"].as_array().unwrap() {
            let name = item["name"].as_str().unwrap().to_owned();
            let file = serving.get(item["file"].as_str().unwrap());
            assert_eq!(file.body, space.read(&format!("coco/{name}")).as_bytes());
            names.push(name);
        }
        pages += 1;
        assert_eq!(page["previous"].is_null(), pages == 1);
        match page["next"].as_str() {
            Some(next) => place = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(pages, 3);
    let expected = [
        "data.yaml",
        "images/train/a.jpg",
        "images/train/b.jpg",
        "images/val/c.jpg",
        "labels/a.txt",
    ];
    assert_eq!(names, expected);
    let val = serving
        .get("/ground_truths/?ground_truth_dataset_versions=123&split=val")
        .expect(200);
    assert_eq!(val["results"][0]["name"], "images/val/c.jpg");
    let file = val["results"][0]["file"].as_str().unwrap();
    space.write("coco/images/val/c.jpg", "images/val/X.jpg");
    let changed = serving.get(file).expect(409);
    assert!(
        changed["detail"].as_str().unwrap().contains("--replace"),
        "{changed}"
    );
    fs::remove_file(space.path("coco/images/val/c.jpg")).unwrap();
    serving.get(file).expect(409);
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
