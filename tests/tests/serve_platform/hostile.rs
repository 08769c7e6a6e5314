//! Requests that mean no good.

use std::{io::Read, net::Shutdown};

use serde_json::json;
use synapse_tests::{Serving, space};

use crate::files;

#[test]
fn hostile_requests_are_answered_and_leave_nothing() {
    let space = space!();
    let serving = Serving::start(&space);
    let kind = [("Content-Type", "multipart/form-data; boundary=x")];
    let part =
        |disposition: &str| format!("--x\r\nContent-Disposition: form-data; {disposition}\r\n\r\n");
    for body in [
        "--x--\r\n".to_owned(),
        part("name=\"plugin\"") + "a\r\n--x",
        part("name=\"file\"; filename=\"../../../etc/passwd\"") + "PK\r\n--x--\r\n",
        part("name=\"file\"; filename=\"a\u{0}b\"") + "PK\r\n--x--\r\n",
        part("name=\"plugin\"") + "\u{0}\r\n--x--\r\n",
        part("") + "x\r\n--x--\r\n",
        format!("--x\r\n{}: y\r\n\r\nz\r\n--x--\r\n", "h".repeat(100_000)),
        part("name=\"config\"") + &"{\"a\":".repeat(50_000) + "\r\n--x--\r\n",
    ] {
        for call in [
            "POST /plugin_releases/",
            "POST /models/",
            "POST /serve_applications/",
        ] {
            let answer = serving.call(call, &kind, body.as_bytes());
            let fine = call == "POST /models/" && answer.status == 201;
            assert!(
                fine || (400..500).contains(&answer.status),
                "{call} {body:.99}: {}",
                answer.status
            );
        }
    }
    // Bytes that are no text.
    let body = [part("name=\"plugin\"").as_bytes(), b"\xff\xfe\r\n--x--\r\n"].concat();
    serving
        .call("POST /plugin_releases/", &kind, &body)
        .expect(400);
    for headers in [
        [("Content-Type", "multipart/form-data")],
        [("Content-Type", "multipart/form-data; boundary=")],
        [("Content-Type", "multipart/form-data; boundary=\"")],
    ] {
        let status = serving
            .call("POST /plugin_releases/", &headers, b"--x--")
            .status;
        assert_eq!(status, 400, "{headers:?}");
    }
    let long = "a".repeat(60_000);
    for call in [
        "GET /files/releases/1/..%2f..%2fbackend.db",
        "GET /files/datasets/1/..%2f..%2f..%2fetc%2fpasswd",
        "GET /files/datasets/1//etc/passwd",
        "GET /files/uploads/..%2f..%2fbackend.db/x",
        "GET /files/../backend.db",
        "GET /plugin_releases/%00@1.0.0/",
        "GET /plugin_releases/%F0%9F%92%A9@1.0.0/",
        "GET /plugin_releases/a@b@c+d+e/",
        "GET /chunked_upload/%2e%2e/",
        "GET /jobs/-1/",
        "GET /jobs/0/console_logs/",
        &format!("GET /plugin_releases/{long}/"),
    ] {
        assert_eq!(serving.call(call, &[], b"").status, 404, "{call:.80}");
    }
    for query in [
        "plugin=%00",
        "plugin=%F0%9F%92%A9",
        &format!("plugin={}", &long[..30_000]),
    ] {
        serving
            .get(&format!("/plugin_releases/?{query}"))
            .expect(200);
    }
    // Heads without end, and requests that two readers would understand differently.
    let host = serving.host();
    let many = "X-A: b\r\n".repeat(20_000);
    for raw in [
        format!("GET /jobs/ HTTP/1.1\r\nHost: {host}\r\n{many}\r\n"),
        format!(
            "GET /jobs/ HTTP/1.1\r\nHost: {host}\r\nX: {}\r\n\r\n",
            "x".repeat(1 << 20)
        ),
        format!(
            "GET /{} HTTP/1.1\r\nHost: {host}\r\n\r\n",
            "x".repeat(1 << 20)
        ),
        format!(
            "POST /jobs/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n{{}}"
        ),
        format!("POST /jobs/ HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: x\r\n\r\n{{}}"),
        format!(
            "GET http://evil.example/jobs/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        ),
        "GET /jobs/ HTTP/1.0\r\n\r\n".to_owned(),
    ] {
        let mut stream = serving.send(raw.as_bytes());
        let _ = stream.shutdown(Shutdown::Write);
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said);
        let said = String::from_utf8_lossy(&said);
        // A sender of very much may only see its connection end.
        assert!(
            said.is_empty() || said.starts_with("HTTP/1.1 4") || said.starts_with("HTTP/1.0 4"),
            "{raw:.60}: {said:.60}"
        );
    }
    // Many who say nothing keep nobody from being answered.
    let silent: Vec<_> = (0..200)
        .map(|_| serving.send(b"GET /jobs/ HTTP/1.1\r\nHo"))
        .collect();
    serving.get("/jobs/").expect(200);
    drop(silent);
    let id = serving
        .json(
            "POST /jobs/",
            &json!({"plugin": "é\u{0}💩", "action": "\u{202e}"}),
        )
        .expect(201);
    assert_eq!(id["plugin"], "é\u{0}💩");
    assert_eq!(serving.get("/plugin_releases/").expect(200)["count"], 0);
    let models = serving.get("/models/").expect(200)["count"]
        .as_u64()
        .unwrap();
    assert_eq!(files(&space) as u64, models, "files without a row");
}
