//! The server as a platform: releases sent to it, tokens and tenants, pages in browsers, the
//! OpenAPI document, and what comes of hostile requests.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::{
    fs,
    io::{Cursor, Read, Write},
    net::Shutdown,
    path::Path,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use synapse_tests::{Answer, Serving, Space, multipart, space};
use zip::write::SimpleFileOptions;

const PROGRAM: &str = env!("CARGO_BIN_EXE_synapse_under_test");
/// Of `hello world`.
const MD5: &str = "5eb63bbbe01eeed093cb22bb8f5acdc3";

/// What a client sends to make a release.
struct Sent {
    config: Value,
    archive: Vec<u8>,
}

impl Sent {
    fn new(code: &str, version: &str) -> Self {
        let config = json!({
            "name": "A plugin", "code": code, "version": version, "category": "custom",
            "actions": {"run": {"entrypoint": "plugin.run:main", "method": "task"}},
        });
        let files = [
            ("README.md", format!("# {code}\n")),
            ("config.yaml", format!("code: {code}\nversion: {version}\n")),
            ("plugin/__init__.py", String::new()),
            ("plugin/run.py", "def main(): ...\n".to_owned()),
            ("requirements.txt", "numpy\n".to_owned()),
        ];
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, text) in files {
            let options = SimpleFileOptions::default().unix_permissions(0o644);
            zip.start_file(name, options).unwrap();
            zip.write_all(text.as_bytes()).unwrap();
        }
        let archive = zip.finish().unwrap().into_inner();
        Self { config, archive }
    }

    fn with(mut self, name: &str, value: Value) -> Self {
        self.config[name] = value;
        self
    }

    fn fields<'a>(&self, config: &'a str) -> Vec<(&'a str, String)> {
        let text = |name: &str| self.config[name].as_str().unwrap().to_owned();
        vec![
            ("plugin", text("code")),
            ("version", text("version")),
            ("config", config.to_owned()),
        ]
    }

    fn post_as(&self, serving: &Serving, token: &str, more: &[(&str, &str)]) -> Answer {
        let config = self.config.to_string();
        let own = self.fields(&config);
        let own: Vec<(&str, &str)> = own.iter().map(|(name, text)| (*name, &**text)).collect();
        let archive = (!more.iter().any(|(name, _)| *name == "chunked_upload"))
            .then_some(self.archive.as_slice());
        serving.release(token, &[&own, more].concat(), archive)
    }

    fn post(&self, serving: &Serving) -> Answer {
        self.post_as(serving, &serving.token, &[])
    }
}

fn files(space: &Space) -> usize {
    let folder = space.home().join("data/backend/files");
    fs::read_dir(folder).unwrap().count()
}

fn token(space: &Space, args: &[&str]) -> String {
    let all = [&["--json", "backend", "token", "create"], args].concat();
    let made = space.synapse(&all).expect(0).json();
    made["token"].as_str().unwrap().to_owned()
}

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
fn a_release_is_taken_checked_and_given_back() {
    let space = space!();
    let serving = Serving::start(&space);
    let sent = Sent::new("yolo", "0.1.0");
    let answer = sent.post(&serving);
    let made = answer.expect(201);
    let place = format!("{}/plugin_releases/{}/", serving.url, made["id"]);
    assert_eq!(answer.header("location"), Some(&*place));
    assert_eq!(
        answer.header("synapse-features"),
        Some("chunked-release, client-job-id, event-stream")
    );
    for (name, value) in [
        ("plugin", json!("yolo")),
        ("version", json!("0.1.0")),
        ("variant", Value::Null),
        ("debug", json!(false)),
        ("readme", json!("# yolo\n")),
        ("requirements", json!("numpy\n")),
        ("size", json!(sent.archive.len())),
    ] {
        assert_eq!(made[name], value, "{name}");
    }
    let content = made["config"]["synapse_content_digest"].as_str().unwrap();
    let mut config = made["config"].clone();
    config
        .as_object_mut()
        .unwrap()
        .remove("synapse_content_digest");
    assert_eq!(config, sent.config);
    assert_eq!(
        serving.get("/plugin_releases/yolo@0.1.0/").expect(200),
        made
    );
    let file = serving.get(made["file"].as_str().unwrap());
    assert_eq!((file.status, &file.body), (200, &sent.archive));
    let sha256 = data_encoding::HEXLOWER.encode(&Sha256::digest(&sent.archive));
    assert_eq!(file.header("etag"), Some(&*format!("\"{sha256}\"")));
    assert_eq!(files(&space), 1, "what was on the way is gone");

    let again = sent.post(&serving);
    let refused = again.expect(409);
    assert_eq!(refused["code"], "version_exists");
    let detail = refused["detail"].as_str().unwrap();
    assert!(detail.contains("already exists"), "{detail}");

    // The digest that the sender says is checked, and fits whatever made the archive.
    let next = Sent::new("yolo", "0.2.0").with("synapse_content_digest", json!(content));
    let wrong = next.post(&serving).expect(400);
    assert_eq!(wrong["code"], "content_mismatch");
    let text = wrong["non_field_errors"][0].as_str().unwrap();
    assert!(text.contains("not the one that was announced"), "{text}");
    let mut same = Sent::new("other", "0.1.0").with("synapse_content_digest", json!(content));
    same.archive.clone_from(&sent.archive);
    let made = same.post(&serving).expect(201);
    assert_eq!(made["config"]["synapse_content_digest"], content);
    assert_eq!(files(&space), 2);
}

#[test]
fn variants_and_debug_releases_have_places_of_their_own() {
    let space = space!();
    let serving = Serving::start(&space);
    let plain = Sent::new("yolo", "0.1.0").post(&serving).expect(201);
    let variant = Sent::new("yolo", "0.1.0").with("variant", json!("lig"));
    let variant = variant.post(&serving).expect(201);
    assert_eq!(variant["variant"], "lig");
    let debug = |version: &str, token: &str| {
        let sent = Sent::new("yolo", version);
        sent.post_as(&serving, token, &[("debug", "true")])
            .expect(201)
    };
    let first = debug("0.1.0", &serving.token);
    let second = debug("0.3.0-dev", &serving.token);
    let get = |place: &str| serving.get(&format!("/plugin_releases/{place}"));
    get(&format!("{}/", first["id"])).expect(404);
    assert_eq!(get("yolo@0.1.0/").expect(200), plain);
    assert_eq!(get("yolo@0.1.0+lig/").expect(200), variant);
    assert_eq!(get("yolo@0.1.0%2Blig/").expect(200), variant);
    assert_eq!(get("yolo@0.1.0/?debug=true").expect(200), second);
    assert_eq!(get("yolo@9.9.9/?debug=true").expect(200), second);
    assert_eq!(get("yolo@0.1.0/?debug=false").expect(200), plain);
    get("yolo@0.3.0-dev/?debug=false").expect(404);
    get("yolo@0.1.0+lig/?debug=true").expect(404);
    get("yolo@0.1.0/?debug=perhaps").expect(400);
    assert_eq!(get("?plugin=yolo").expect(200)["count"], 3);
    assert_eq!(get("?plugin=yolo&debug=true").expect(200)["count"], 1);
    assert_eq!(get("?debug=false").expect(200)["count"], 2);
    // A debug release is not validated, only opened.
    let mut bare = Sent::new("bare", "0.1.0");
    bare.config = json!({"code": "bare", "version": "x"});
    bare.post(&serving).expect(400);
    bare.post_as(&serving, &serving.token, &[("debug", "true")])
        .expect(201);
    // Gone is gone, and its version free.
    let gone = serving.call(
        &format!("DELETE /plugin_releases/{}/", plain["id"]),
        &[],
        b"",
    );
    assert_eq!((gone.status, gone.body.len()), (204, 0));
    get("yolo@0.1.0/?debug=false").expect(404);
    serving.call("DELETE /plugin_releases/yolo@0.1.0+lig/", &[], b"");
    assert_eq!(get("?plugin=yolo&debug=false").expect(200)["count"], 0);
    Sent::new("yolo", "0.1.0").post(&serving).expect(201);
}

#[test]
fn an_invalid_release_is_told_all_that_is_wrong() {
    let space = space!();
    let serving = Serving::start(&space);
    let sent = Sent::new("yolo", "0.1.0");
    let config = sent.config.to_string();
    let post = |fields: &[(&str, &str)], archive: Option<&[u8]>| {
        serving.release(&serving.token, fields, archive).expect(400)
    };
    let nothing = post(&[("debug", "perhaps")], None);
    for name in ["plugin", "version", "config", "file", "debug"] {
        assert!(nothing[name][0].is_string(), "{name}: {nothing}");
    }
    let usual = [("plugin", "yolo"), ("version", "0.1.0")];
    for text in ["{", "[]", "1", "null", "\u{0}", &"[".repeat(100_000)] {
        let wrong = post(&[&usual[..], &[("config", text)]].concat(), Some(b"PK"));
        assert!(wrong["config"][0].is_string(), "{wrong}");
    }
    let with = |config: &str, archive: &[u8]| {
        post(&[&usual[..], &[("config", config)]].concat(), Some(archive))
    };
    let digest = sent
        .config
        .to_string()
        .replacen('{', "{\"synapse_content_digest\": 5,", 1);
    assert!(with(&digest, &sent.archive)["config"][0].is_string());
    for archive in [
        &b""[..],
        b"PK",
        &[0; 100],
        &sent.archive[..sent.archive.len() - 9],
    ] {
        let wrong = with(&config, archive);
        let text = wrong["non_field_errors"][0].as_str().unwrap();
        assert!(text.starts_with("The archive is refused: "), "{text}");
    }
    let many = sent
        .config
        .to_string()
        .replace("custom", "nonsense")
        .replace("plugin.run", "gone");
    let wrong = with(&many, &sent.archive);
    assert_eq!(
        wrong["non_field_errors"].as_array().unwrap().len(),
        2,
        "{wrong}"
    );
    let bad = [
        ("plugin", "../../etc"),
        ("version", "0.1.0"),
        ("config", &*config),
    ];
    let wrong = post(&bad, Some(&sent.archive));
    assert!(
        wrong["non_field_errors"][0]
            .as_str()
            .unwrap()
            .contains("is not a plugin code")
    );
    // An archive that would be unpacked elsewhere.
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("../evil", SimpleFileOptions::default())
        .unwrap();
    with(&config, &zip.finish().unwrap().into_inner());
    assert_eq!(files(&space), 0, "what was refused left nothing");
    assert_eq!(serving.get("/plugin_releases/").expect(200)["count"], 0);
}

#[test]
fn an_archive_can_be_sent_in_chunks_over_a_restart() {
    let space = space!();
    let sent = Sent::new("yolo", "0.1.0");
    let (half, size) = (sent.archive.len() / 2, sent.archive.len());
    let first = Serving::start(&space);
    let span = format!("bytes 0-{}/{size}", half - 1);
    let begun = first.chunk("/chunked_upload/", &span, &sent.archive[..half]);
    let id = begun.expect(201)["id"].as_str().unwrap().to_owned();
    let early = sent
        .post_as(&first, &first.token, &[("chunked_upload", &id)])
        .expect(400);
    assert!(
        early["chunked_upload"][0]
            .as_str()
            .unwrap()
            .contains("not complete")
    );
    // Killed in the middle of a chunk.
    let rest = format!("bytes {half}-{}/{size}", size - 1);
    let (kind, body) = multipart(&[], Some(("f", &sent.archive[half..])));
    let headers = [("Content-Type", &*kind), ("Content-Range", &*rest)];
    let call = format!("PUT /chunked_upload/{id}/");
    let request = first.request(&call, &headers, &body);
    let cut = first.send(&request[..request.len() - 50]);
    drop(first);
    drop(cut);

    let serving = Serving::start(&space);
    let place = format!("/chunked_upload/{id}/");
    assert_eq!(serving.get(&place).expect(200)["offset"], half);
    serving
        .chunk(&place, &rest, &sent.archive[half..])
        .expect(200);
    let md5 = {
        let wrong = serving
            .json(&format!("POST {place}"), &json!({"md5": "0"}))
            .expect(400);
        wrong["checksum"].as_str().unwrap().to_owned()
    };
    serving
        .json(&format!("POST {place}"), &json!({"md5": md5}))
        .expect(200);
    let both = [("chunked_upload", &*id)];
    let config = sent.config.to_string();
    let fields = sent.fields(&config);
    let fields: Vec<(&str, &str)> = fields.iter().map(|(a, b)| (*a, &**b)).chain(both).collect();
    serving
        .release(&serving.token, &fields, Some(&sent.archive))
        .expect(400);
    let made = sent.post_as(&serving, &serving.token, &both).expect(201);
    assert_eq!(
        (&made["checksum"], &made["size"]),
        (&json!(md5), &json!(size))
    );
    let used = serving.get(&place).expect(200);
    assert_eq!(
        (&used["release"], &used["file"]),
        (&made["id"], &Value::Null)
    );
    assert_eq!(
        sent.post_as(&serving, &serving.token, &both).expect(409)["code"],
        "version_exists"
    );
    let other = Sent::new("other", "0.1.0")
        .post_as(&serving, &serving.token, &both)
        .expect(400);
    assert!(
        other["chunked_upload"][0]
            .as_str()
            .unwrap()
            .contains("used for release")
    );
    for wrong in ["none", "", "../x"] {
        let more = [("chunked_upload", wrong)];
        sent.post_as(&serving, &serving.token, &more);
        Sent::new("b", "0.1.0")
            .post_as(&serving, &serving.token, &more)
            .expect(400);
    }
    assert_eq!(serving.get("/plugin_releases/").expect(200)["count"], 1);
    assert_eq!(files(&space), 1);
    // JSON names an upload as well.
    let span = format!("bytes 0-{}/{size}", size - 1);
    let begun = serving
        .chunk("/chunked_upload/", &span, &sent.archive)
        .expect(201);
    let place = format!("POST /chunked_upload/{}/", begun["id"].as_str().unwrap());
    serving.json(&place, &json!({"md5": md5})).expect(200);
    let sent = Sent::new("json", "0.1.0");
    let body = json!({"plugin": "json", "version": "0.1.0", "config": sent.config, "debug": true,
        "chunked_upload": begun["id"]});
    serving.json("POST /plugin_releases/", &body).expect(201);
}

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

#[test]
fn a_large_archive_passes_through_little_memory() {
    /// Larger than what the server may take of memory, and of no byte pattern that shrinks.
    const SIZE: usize = 300 << 20;
    let space = space!();
    let serving = Serving::start(&space);
    let sent = Sent::new("large", "0.1.0");
    let mut zip = zip::ZipWriter::new_append(Cursor::new(sent.archive.clone())).unwrap();
    let stored = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    zip.start_file("weights.bin", stored).unwrap();
    let block: Vec<u8> = (0..1_u32 << 20)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    for _ in 0..SIZE >> 20 {
        zip.write_all(&block).unwrap();
    }
    let archive = zip.finish().unwrap().into_inner();
    let large = Sent { archive, ..sent };
    let made = large.post(&serving).expect(201);
    assert_eq!(made["size"], large.archive.len());
    let status = fs::read_to_string(format!("/proc/{}/status", serving.pid())).unwrap();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 150_000, "{peak} kB");
}

#[test]
fn a_file_that_is_too_large_is_refused_however_it_is_sent() {
    let space = space!();
    let args = [
        "backend",
        "serve",
        "--until-stdin-closes",
        "--max-upload",
        "2MB",
    ];
    let serving = Serving::of(space.command(&args));
    let mut sent = Sent::new("yolo", "0.1.0");
    let small = sent.archive.clone();
    // Whole, and so large that it is not even read.
    for size in [3 << 20, 80 << 20] {
        sent.archive = vec![0; size];
        let refused = sent.post(&serving).expect(413);
        assert!(
            refused["detail"]
                .as_str()
                .unwrap()
                .contains("larger than 2000000 bytes")
        );
    }
    let chunk = serving.chunk("/chunked_upload/", "bytes 0-9/3000000", b"0123456789");
    chunk.expect(413);
    let (kind, body) = multipart(&[], Some(("w.pt", &vec![0; 3 << 20])));
    serving
        .call("POST /models/", &[("Content-Type", &kind)], &body)
        .expect(413);
    assert_eq!(files(&space), 0);
    sent.archive = small;
    sent.post(&serving).expect(201);
    space
        .synapse(&["backend", "serve", "--max-upload", "huge"])
        .expect(2);
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

#[test]
fn a_stopped_server_has_half_of_nothing() {
    let space = space!();
    let serving = Serving::start(&space);
    let sent = Sent::new("yolo", "0.1.0");
    let config = sent.config.to_string();
    let fields = sent.fields(&config);
    let fields: Vec<(&str, &str)> = fields.iter().map(|(a, b)| (*a, &**b)).collect();
    let (kind, body) = multipart(&fields, Some(("f.zip", &sent.archive)));
    let request = serving.request("POST /plugin_releases/", &[("Content-Type", &kind)], &body);
    let mut stream = serving.send(&request[..request.len() - 20]);
    while files(&space) == 0 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let pid = Pid::from_raw(i32::try_from(serving.pid()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    // What is under way may end.
    stream.write_all(&request[request.len() - 20..]).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    assert!(said.starts_with("HTTP/1.1 201 "), "{said}");
    assert_eq!(serving.wait(), Some(0));
    let args = ["backend", "serve", "--until-stdin-closes", "--grace", "0"];
    let serving = Serving::of(space.command(&args));
    assert_eq!(serving.get("/plugin_releases/").expect(200)["count"], 1);
    let request = String::from_utf8_lossy(&request).replace("0.1.0", "0.2.0");
    let half = &request.as_bytes()[..request.len() / 2];
    let _cut = serving.send(half);
    assert_eq!(serving.close(), Some(0));
    assert_eq!(files(&space), 1);
}
