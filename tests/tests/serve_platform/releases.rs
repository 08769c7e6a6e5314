//! Releases sent to the server: taken, refused, in chunks, large, and in the middle of a stop.

use std::{
    fs,
    io::{Cursor, Read, Write},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use synapse_tests::{Serving, multipart, space};
use zip::write::SimpleFileOptions;

use crate::{Sent, files};

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
