//! Files over HTTP: uploads in chunks, models, datasets.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::fs;

use serde_json::{Value, json};
use synapse_tests::{Serving, Space, multipart, space};

/// Of `hello world`.
const MD5: &str = "5eb63bbbe01eeed093cb22bb8f5acdc3";
const SHA256: &str = "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9";

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
    let beyond = part("bytes=5242880-");
    assert!(beyond.expect(416)["detail"].is_string());
    assert_eq!(beyond.header("content-type"), Some("application/json"));
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
