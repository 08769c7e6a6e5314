//! Answers held against the OpenAPI document, and answers that a caller has already.

use serde_json::{Value, json};
use synapse_tests::{Answer, Serving, space};

use crate::{MD5, Sent};

/// Panics unless `value` is what the document says of the schema of that name.
#[track_caller]
fn expect_fits(document: &Value, schema: &Value, value: &Value) {
    let mut whole = schema.clone();
    whole["components"] = document["components"].clone();
    let validator = jsonschema::validator_for(&whole).unwrap();
    let wrong: Vec<String> = validator
        .iter_errors(value)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?} in {value:#}");
}

/// Panics unless an answer is one that the document has for the call.
#[track_caller]
fn expect_described(document: &Value, path: &str, method: &str, answer: &Answer) {
    let responses = &document["paths"][path][method]["responses"];
    let status = answer.status.to_string();
    let found = responses.get(&status).unwrap_or(&responses["default"]);
    let found = match found["$ref"].as_str() {
        Some(place) => document.pointer(&place[1..]).unwrap(),
        None => found,
    };
    assert!(found.is_object(), "{method} {path} {status}");
    let kind = answer.header("content-type").unwrap_or_default();
    let kind = kind.split(';').next().unwrap();
    let Some(content) = found.get("content") else {
        assert!(answer.body.is_empty(), "{method} {path} {status}");
        return;
    };
    let schema = &content[kind]["schema"];
    assert!(schema.is_object(), "{method} {path} {status}: {kind:?}");
    if kind == "application/json" {
        expect_fits(document, schema, &answer.value());
    }
}

#[test]
fn what_did_not_change_is_not_sent_again() {
    let space = space!();
    let serving = Serving::start(&space);
    let made = Sent::new("yolo", "0.1.0").post(&serving).expect(201);
    let job = json!({"plugin": "yolo", "action": "run"});
    let job = serving.json("POST /jobs/", &job).expect(201);
    let file = made["file"]
        .as_str()
        .unwrap()
        .strip_prefix(&serving.url)
        .unwrap();
    let job_place = format!("/jobs/{}/", job["id"]);
    for place in [
        "/plugin_releases/",
        "/plugin_releases/yolo@0.1.0/",
        file,
        "/jobs/",
        &job_place,
        "/storages/1/",
        "/openapi.json",
    ] {
        let first = serving.get(place);
        let tag = first.header("etag").unwrap_or_else(|| panic!("{place}"));
        let again =
            |known: &str| serving.call(&format!("GET {place}"), &[("If-None-Match", known)], b"");
        for known in [tag, &format!("\"x\", {tag}"), &format!("W/{tag}")] {
            let answer = again(known);
            assert_eq!(
                (answer.status, answer.body.len()),
                (304, 0),
                "{place} {known}"
            );
            assert_eq!(answer.header("etag"), Some(tag));
        }
        assert_eq!(again("\"x\"").status, 200, "{place}");
    }
    let tag = serving.get(&job_place).header("etag").unwrap().to_owned();
    let changed = serving.json(&format!("PATCH {job_place}"), &json!({"status": "RUNNING"}));
    assert!(changed.header("etag").is_none());
    let answer = serving.call(&format!("GET {job_place}"), &[("If-None-Match", &tag)], b"");
    assert_eq!(answer.expect(200)["status"], "RUNNING");
}

#[test]
fn answers_are_as_the_document_says() {
    let space = space!();
    space.write("set/train/a.jpg", "a");
    space
        .synapse(&["dataset", "add", "set", "--name", "set", "--id", "5"])
        .expect(0);
    let serving = Serving::start(&space);
    // Nobody needs a token to read it.
    let document = serving
        .raw(&serving.request_of("GET /openapi.json", &[], b""))
        .expect(200);
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["servers"][0]["url"], serving.url);
    let check = |call: &str, path: &str, answer: &Answer, status: u16| {
        let method = call.split(' ').next().unwrap().to_ascii_lowercase();
        answer.expect(status);
        expect_described(&document, path, &method, answer);
        answer.value()
    };
    let release = Sent::new("yolo", "0.1.0")
        .with("variant", json!("lig"))
        .post(&serving);
    let release = check("POST", "/plugin_releases/", &release, 201);
    let again = Sent::new("yolo", "0.1.0")
        .with("variant", json!("lig"))
        .post(&serving);
    check("POST", "/plugin_releases/", &again, 409);
    let none = serving.release(&serving.token, &[], None);
    check("POST", "/plugin_releases/", &none, 400);
    let job = serving.json(
        "POST /jobs/",
        &json!({"plugin": "yolo", "action": "run", "params": [1]}),
    );
    let job = check("POST", "/jobs/", &job, 201);
    let log = json!([{"message": "half", "job": job["id"], "level": "warning"}, {"event": "x", "job": job["id"]}]);
    check("POST", "/logs/", &serving.json("POST /logs/", &log), 201);
    let change = json!({"status": "SUCCEEDED", "result": {"a": 1}, "console_logs": "said"});
    let patched = serving.json(&format!("PATCH /jobs/{}/", job["id"]), &change);
    check("PATCH", "/jobs/{id}/", &patched, 200);
    let wrong = serving.json(
        &format!("PATCH /jobs/{}/", job["id"]),
        &json!({"status": "x"}),
    );
    check("PATCH", "/jobs/{id}/", &wrong, 400);
    let begun = serving.chunk("/chunked_upload/", "bytes 0-10/11", b"hello world");
    let begun = check("PUT", "/chunked_upload/", &begun, 201);
    let place = format!("/chunked_upload/{}/", begun["id"].as_str().unwrap());
    let gap = serving.chunk(&place, "bytes 3-4/11", b"xx");
    check("PUT", "/chunked_upload/{id}/", &gap, 400);
    let done = serving.json(&format!("POST {place}"), &json!({"md5": MD5}));
    check("POST", "/chunked_upload/{id}/", &done, 200);
    let model = json!({"name": "m", "chunked_upload": begun["id"], "metrics": {"a": 0.5}});
    let model = serving.json("POST /models/", &model);
    let model = check("POST", "/models/", &model, 201);
    let application = json!({"name": "app", "job": job["id"].to_string(), "url": "http://x/"});
    let application = serving.json("POST /serve_applications/", &application);
    let application = check("POST", "/serve_applications/", &application, 201);
    assert_eq!(application["status"], "NOT_STARTED");
    assert_eq!(
        (&application["url"], &application["job"]),
        (&json!("http://x/"), &job["id"])
    );
    for body in [
        json!({}),
        json!({"name": 1}),
        json!({"name": "x", "status": "UP"}),
        json!({"name": "x", "job": "y"}),
        json!({"name": "x", "job": 99}),
        json!({"name": "a\u{0}b"}),
    ] {
        check(
            "POST",
            "/serve_applications/",
            &serving.json("POST /serve_applications/", &body),
            400,
        );
    }
    let items = serving
        .get("/ground_truths/?ground_truth_dataset_versions=5")
        .expect(200);
    let path_of = |made: &Value| {
        let file = made["file"].as_str().unwrap();
        file.strip_prefix(&serving.url).unwrap().to_owned()
    };
    for (path, place) in [
        (
            "/health/",
            "/health/?challenge=0123456789abcdef0123456789abcdef".to_owned(),
        ),
        ("/openapi.json", "/openapi.json".to_owned()),
        ("/plugin_releases/", "/plugin_releases/?limit=1".to_owned()),
        (
            "/plugin_releases/{id}/",
            format!("/plugin_releases/{}/", release["id"]),
        ),
        ("/jobs/", "/jobs/".to_owned()),
        ("/jobs/{id}/", format!("/jobs/{}/", job["id"])),
        (
            "/jobs/{id}/console_logs/",
            format!("/jobs/{}/console_logs/", job["id"]),
        ),
        (
            "/jobs/{id}/tail_console_logs/",
            format!("/jobs/{}/tail_console_logs/", job["id"]),
        ),
        ("/models/", "/models/".to_owned()),
        ("/models/{id}/", format!("/models/{}/", model["id"])),
        (
            "/ground_truth_dataset_versions/",
            "/ground_truth_dataset_versions/".to_owned(),
        ),
        (
            "/ground_truth_dataset_versions/{id}/",
            "/ground_truth_dataset_versions/5/".to_owned(),
        ),
        (
            "/ground_truths/",
            "/ground_truths/?ground_truth_dataset_versions=5".to_owned(),
        ),
        ("/chunked_upload/{id}/", place),
        ("/storages/", "/storages/".to_owned()),
        ("/storages/{id}/", "/storages/1/".to_owned()),
        (
            "/serve_applications/",
            "/serve_applications/?name=app".to_owned(),
        ),
        (
            "/serve_applications/{id}/",
            format!("/serve_applications/{}/", application["id"]),
        ),
        ("/files/releases/{id}/{name}", path_of(&release)),
        ("/files/models/{id}/{name}", path_of(&model)),
        ("/files/datasets/{id}/{name}", path_of(&items["results"][0])),
    ] {
        let answer = serving.get(&place);
        assert_eq!(answer.status, 200, "{place}");
        expect_described(&document, path, "get", &answer);
        if path.contains("{id}") {
            let missing = serving.get(&path.replace("{id}", "999").replace("{name}", "x"));
            assert_eq!(missing.status, 404, "{path}");
            expect_described(&document, path, "get", &missing);
        }
        let refused = serving.raw(&serving.request_of(&format!("GET {place}"), &[], b""));
        if !["/health/", "/openapi.json"].contains(&path) {
            assert_eq!(refused.status, 401, "{place}");
            expect_described(&document, path, "get", &refused);
        }
    }
}
