//! Who may ask: tokens, scopes, tenants, pages in browsers, other addresses, and what a log tells.

use std::{
    fs,
    io::{Read, Write},
    path::Path,
};

use serde_json::{Value, json};
use synapse_tests::{Serving, multipart, space};

use crate::{MD5, Sent, token};

#[test]
fn scopes_and_tenants_hold_everywhere() {
    let space = space!();
    let [read, publish, run, admin] = ["read", "publish", "run", "admin"]
        .map(|scope| token(&space, &["--scope", scope, "--tenant", "acme"]));
    let other = token(&space, &["--tenant", "umbrella", "--scope", "admin"]);
    let serving = Serving::start(&space);
    let sent = Sent::new("yolo", "0.1.0");
    for (token, missing) in [(&read, "`publish`"), (&run, "`publish`")] {
        let refused = sent.post_as(&serving, token, &[]).expect(403);
        assert!(
            refused["detail"].as_str().unwrap().contains(missing),
            "{refused}"
        );
    }
    let made = sent.post_as(&serving, &publish, &[]).expect(201);
    let json = |token: &str, call: &str, body: &Value| {
        let headers = [("Content-Type", "application/json")];
        serving.call_as(token, call, &headers, body.to_string().as_bytes())
    };
    let job = json!({"plugin": "yolo", "action": "run"});
    for token in [&read, &publish] {
        json(token, "POST /jobs/", &job).expect(403);
        json(token, "POST /logs/", &json!({"message": "x"})).expect(403);
        json(token, "POST /serve_applications/", &json!({"name": "x"})).expect(403);
    }
    let job = json(&run, "POST /jobs/", &job).expect(201);
    let application = json(
        &run,
        "POST /serve_applications/",
        &json!({"name": "a", "job": job["id"]}),
    );
    let application = application.expect(201);
    let (kind, body) = multipart(&[], Some(("w.pt", b"hello world")));
    let headers = [("Content-Type", &*kind), ("Content-Range", "bytes 0-10/11")];
    let model = serving
        .call_as(&run, "POST /models/", &headers, &body)
        .expect(201);
    let upload = serving
        .call_as(&publish, "PUT /chunked_upload/", &headers, &body)
        .expect(201);
    serving
        .call_as(&read, "PUT /chunked_upload/", &headers, &body)
        .expect(403);
    let upload_id = upload["id"].as_str().unwrap();
    json(
        &publish,
        &format!("POST /chunked_upload/{upload_id}/"),
        &json!({"md5": MD5}),
    )
    .expect(200);
    let file = |made: &Value| {
        let file = made["file"].as_str().unwrap();
        file.strip_prefix(&serving.url).unwrap().to_owned()
    };
    let places = [
        format!("/plugin_releases/{}/", made["id"]),
        "/plugin_releases/yolo@0.1.0/".to_owned(),
        file(&made),
        format!("/jobs/{}/", job["id"]),
        format!("/jobs/{}/console_logs/", job["id"]),
        format!("/models/{}/", model["id"]),
        file(&model),
        format!("/chunked_upload/{upload_id}/"),
        format!("/files/uploads/{upload_id}/w.pt"),
        format!("/serve_applications/{}/", application["id"]),
    ];
    for place in &places {
        let get = |token: &str| {
            serving
                .call_as(token, &format!("GET {place}"), &[], b"")
                .status
        };
        assert_eq!(get(&read), 200, "{place}");
        assert_eq!(get(&admin), 200, "{place}");
        assert_eq!(get(&publish), 403, "{place}");
        assert_eq!(get(&other), 404, "{place}");
        assert_eq!(get(&serving.token), 404, "{place}");
    }
    let call = format!("GET /jobs/{}/tail_console_logs/", job["id"]);
    assert_eq!(serving.call_as(&other, &call, &[], b"").status, 404);
    for list in ["plugin_releases", "jobs", "models", "serve_applications"] {
        let count = |token: &str| {
            let answer = serving.call_as(token, &format!("GET /{list}/"), &[], b"");
            answer.expect(200)["count"].clone()
        };
        assert_eq!(
            (count(&read), count(&other)),
            (json!(1), json!(0)),
            "{list}"
        );
    }
    // What belongs to another can be neither changed nor used.
    let id = &job["id"];
    json(
        &other,
        &format!("PATCH /jobs/{id}/"),
        &json!({"status": "STOPPED"}),
    )
    .expect(404);
    json(&other, "POST /logs/", &json!({"message": "x", "job": id})).expect(400);
    json(
        &other,
        "POST /models/",
        &json!({"chunked_upload": upload_id}),
    )
    .expect(400);
    json(
        &other,
        &format!("POST /chunked_upload/{upload_id}/"),
        &json!({"md5": MD5}),
    )
    .expect(404);
    json(
        &other,
        "POST /serve_applications/",
        &json!({"name": "x", "job": id}),
    )
    .expect(400);
    Sent::new("b", "0.1.0")
        .post_as(&serving, &other, &[("chunked_upload", upload_id)])
        .expect(400);
    let gone = |token: &str, place: &str| {
        serving
            .call_as(token, &format!("DELETE {place}"), &[], b"")
            .status
    };
    for place in [&places[0], &places[9]] {
        assert_eq!(gone(&other, place), 404);
        for token in [&read, &publish, &run] {
            assert_eq!(gone(token, place), 403);
        }
        assert_eq!(gone(&admin, place), 204);
        assert_eq!(gone(&admin, place), 404);
    }
    // The same version is free in each tenant.
    sent.post_as(&serving, &admin, &[]).expect(201);
    sent.post_as(&serving, &other, &[]).expect(201);
    sent.post(&serving).expect(201);
    // Storages are folders of their own.
    let place = |token: &str| {
        let storage = serving
            .call_as(token, "GET /storages/1/", &[], b"")
            .expect(200);
        storage["configuration"]["location"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert!(place(&read).ends_with("/storage/acme") && Path::new(&place(&read)).is_dir());
    assert!(place(&other).ends_with("/storage/umbrella"));
    serving.get("/storages/2/").expect(404);
}

#[test]
fn tokens_are_made_listed_and_revoked() {
    let space = space!();
    let serving = Serving::start(&space);
    let made = space
        .synapse(&[
            "--json", "backend", "token", "create", "--name", "ci", "--tenant", "acme",
        ])
        .expect(0)
        .json();
    assert_eq!(made["scopes"], json!(["read", "publish", "run"]));
    let text = made["token"].as_str().unwrap();
    let jobs = |headers: &[(&str, &str)]| {
        serving
            .raw(&serving.request_of("GET /jobs/", headers, b""))
            .status
    };
    let user = format!("Token {text}");
    let pair = |tenant: &str| jobs(&[("Authorization", &user), ("Synapse-Tenant", tenant)]);
    assert_eq!(jobs(&[("Synapse-Access-Token", &user)]), 200);
    assert_eq!(pair("Token acme"), 200);
    for tenant in ["Token default", "acme", "Token ", ""] {
        assert_eq!(pair(tenant), 401, "{tenant:?}");
    }
    assert_eq!(jobs(&[("Authorization", &user)]), 401);
    let both = [
        ("Synapse-Access-Token", &*user),
        ("Synapse-Tenant", "Token default"),
    ];
    assert_eq!(jobs(&both), 401);
    let agent = [
        ("Synapse-Access-Token", &*user),
        ("SYNAPSE-Agent", "Token x"),
    ];
    assert_eq!(jobs(&agent), 200);
    let list = space.synapse(&["backend", "token", "list"]).expect(0);
    assert!(
        list.stdout.contains("acme") && list.stdout.contains("ci"),
        "{}",
        list.stdout
    );
    let secret = text.rsplit('_').next().unwrap();
    let json = space
        .synapse(&["--json", "backend", "token", "list"])
        .expect(0);
    assert!(!list.stdout.contains(secret) && !json.stdout.contains(secret));
    space
        .synapse(&["backend", "token", "revoke", "1"])
        .expect(0);
    assert_eq!(jobs(&[("Synapse-Access-Token", &user)]), 401, "at once");
    let again = space
        .synapse(&["backend", "token", "revoke", "7"])
        .expect(1);
    assert!(
        again.stderr.contains("there is no token 7"),
        "{}",
        again.stderr
    );
    let bad = space
        .synapse(&["backend", "token", "create", "--tenant", "A B"])
        .expect(1);
    assert!(bad.stderr.contains("no name of a tenant"), "{}", bad.stderr);
    space
        .synapse(&["backend", "token", "create", "--scope", "all"])
        .expect(2);
    // Another folder is another backend.
    let data = space.path("elsewhere");
    let data = data.to_str().unwrap();
    let made = space.synapse(&["--json", "backend", "token", "create", "--data", data]);
    let made = made.expect(0).json();
    let foreign = format!("Token {}", made["token"].as_str().unwrap());
    assert_eq!(jobs(&[("Synapse-Access-Token", &foreign)]), 401);
    let args = ["backend", "serve", "--until-stdin-closes", "--data", data];
    let second = Serving::of(space.command(&args));
    let call = second.request_of("GET /jobs/", &[("Synapse-Access-Token", &foreign)], b"");
    second.raw(&call).expect(200);
    // For people it is printed once, on a line of its own.
    let shown = space.synapse(&["backend", "token", "create"]).expect(0);
    assert!(
        shown
            .stdout
            .lines()
            .any(|line| line.trim().starts_with("syn_2_"))
    );
}

#[test]
fn a_page_in_a_browser_reaches_nothing() {
    let space = space!();
    let serving = Serving::start(&space);
    let own = format!("Token {}", serving.token);
    let ask = |call: &str, headers: &[(&str, &str)]| {
        let own = [("Synapse-Access-Token", &*own)];
        serving.raw(&serving.request_of(call, &[&own, headers].concat(), b""))
    };
    let here = serving.url.clone();
    let port = serving.host().split(':').next_back().unwrap().to_owned();
    for (name, value) in [
        ("Origin", "http://evil.example"),
        ("Origin", "null"),
        ("Origin", "https://127.0.0.1"),
        ("Origin", &format!("http://localhost:{port}")),
        ("Origin", "http://127.0.0.1:1"),
        ("Origin", ""),
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
        ("Sec-Fetch-Site", "nonsense"),
    ] {
        for call in [
            "GET /jobs/",
            "GET /health/",
            "GET /openapi.json",
            "OPTIONS /jobs/",
        ] {
            let answer = ask(call, &[(name, value)]);
            assert_eq!(answer.status, 403, "{call} {name}: {value}");
            let cors = answer.headers.iter();
            assert!(
                !cors
                    .clone()
                    .any(|(name, _)| name.starts_with("access-control"))
            );
        }
    }
    // Its own pages, and programs that say where they are.
    assert_eq!(ask("GET /jobs/", &[("Origin", &here)]).status, 200);
    assert_eq!(
        ask("GET /jobs/", &[("Sec-Fetch-Site", "same-origin")]).status,
        200
    );
    assert_eq!(ask("GET /jobs/", &[("Sec-Fetch-Site", "none")]).status, 200);
    let preflight = [("Access-Control-Request-Method", "POST")];
    let answer = ask("OPTIONS /jobs/", &preflight);
    assert_eq!(answer.status, 405);
    assert!(answer.header("access-control-allow-origin").is_none());
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(
        answer.header("cross-origin-resource-policy"),
        Some("same-origin")
    );
    // What a form or a script may send without asking is no JSON.
    let body = json!({"plugin": "yolo", "action": "run"}).to_string();
    for kind in ["text/plain", "", "application/jsonp", "text/json"] {
        for call in [
            "POST /jobs/",
            "POST /logs/",
            "POST /serve_applications/",
            "POST /models/",
            "PATCH /jobs/1/",
            "POST /plugin_releases/",
        ] {
            let answer = serving.call(call, &[("Content-Type", kind)], body.as_bytes());
            assert_eq!(answer.status, 415, "{call} {kind:?}");
        }
    }
    assert_eq!(serving.get("/jobs/").expect(200)["count"], 0);
}

#[test]
fn another_address_is_listened_on_only_when_it_is_named() {
    let space = space!();
    let args = [
        "backend",
        "serve",
        "--until-stdin-closes",
        "--host",
        "0.0.0.0",
    ];
    let mut command = space.command(&args);
    let mut child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
    let mut line = Vec::new();
    let output = child.stdout.as_mut().unwrap();
    while !line.ends_with(b"\n") {
        let mut byte = [0];
        assert_eq!(output.read(&mut byte).unwrap(), 1);
        line.push(byte[0]);
    }
    let said: Value = serde_json::from_slice(&line).unwrap();
    assert_eq!(
        (&said["schema"], &said["command"]),
        (&json!(1), &json!("backend serve"))
    );
    let url = said["url"].as_str().unwrap();
    // Programs of this machine reach it as ever.
    assert!(url.starts_with("http://127.0.0.1:"), "{url}");
    let host = url.strip_prefix("http://").unwrap();
    let port = host.split(':').next_back().unwrap();
    let ask = |name: &str| {
        let mut stream = std::net::TcpStream::connect(host).unwrap();
        let call = format!(
            "GET /jobs/ HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\
             Synapse-Access-Token: Token {}\r\n\r\n",
            said["token"].as_str().unwrap()
        );
        stream.write_all(call.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text[9..12].to_owned()
    };
    assert_eq!(
        ask(&format!("10.1.2.3:{port}")),
        "200",
        "any address may be this machine's"
    );
    assert_eq!(ask(&format!("localhost:{port}")), "200");
    assert_eq!(ask(&format!("evil.example:{port}")), "403");
    drop(child.stdin.take());
    let ended = child.wait_with_output().unwrap();
    let complaint = String::from_utf8(ended.stderr).unwrap();
    assert!(
        complaint.contains("the traffic is not encrypted"),
        "{complaint}"
    );
    space
        .synapse(&["backend", "serve", "--host", "no such host"])
        .expect(1);
}

#[test]
fn the_log_names_tokens_by_number_only() {
    let space = space!();
    let token = token(&space, &[]);
    let args = [
        "backend",
        "serve",
        "--until-stdin-closes",
        "--log",
        "requests.log",
    ];
    let serving = Serving::of(space.command(&args));
    serving
        .call_as(&token, "GET /jobs/?plugin=canary", &[], b"")
        .expect(200);
    serving
        .call_as("canary", "GET /jobs/", &[], b"")
        .expect(401);
    Sent::new("yolo", "0.1.0").post(&serving).expect(201);
    let own = serving.token.clone();
    assert_eq!(serving.close(), Some(0));
    let log = space.read("requests.log");
    let lines: Vec<Vec<&str>> = log.lines().map(|line| line.split(' ').collect()).collect();
    let told: Vec<String> = lines
        .iter()
        .map(|l| [l[1], l[2], l[3], l[8]].join(" "))
        .collect();
    assert_eq!(
        told,
        [
            "GET /jobs/ 200 1",
            "GET - 401 -",
            "POST /plugin_releases/ 201 own"
        ]
    );
    let secret = token.rsplit('_').next().unwrap();
    assert!(
        ![secret, &own, "canary"]
            .iter()
            .any(|text| log.contains(text)),
        "{log}"
    );
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &fs::metadata(space.path("requests.log"))
            .unwrap()
            .permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
}
