//! Tests of places: their one form, what is refused, and that no secret shows.

use serde_json::json;

use super::*;

fn location(url: &str) -> String {
    Place::parse(url).unwrap().location()
}

#[test]
fn urls_have_one_normal_form() {
    for (url, normal) in [
        ("s3://bucket", "s3://bucket"),
        ("S3://bucket//a/b/", "s3://bucket/a/b"),
        ("gcs://bucket/a%20b", "gs://bucket/a%20b"),
        ("azblob://container/x?account_name=me", "az://container/x"),
        ("file:///srv/plugins/", "file:///srv/plugins"),
        ("file://localhost/srv", "file:///srv"),
        ("sftp://me@Host:2222/in", "sftp://host:2222/in"),
        ("webdavs://Files.example/dav", "webdavs://files.example/dav"),
        ("webdav://[::1]:80/x", "webdav://[::1]:80/x"),
    ] {
        assert_eq!(location(url), normal, "{url}");
        assert_eq!(location(normal), normal);
    }
    let place = Place::parse("sftp://me@host/in").unwrap();
    assert_eq!(place.get("user"), Some("me"));
    assert_eq!(place.url_of("dev-1.zip"), "sftp://host/in/dev-1.zip");
}

#[test]
fn what_is_no_store_is_refused_without_repeating_it() {
    for url in [
        "canary",
        "ftp://canary/x",
        "s3://",
        "s3:///canary",
        "s3://me:canary@host/x",
        "webdavs://me:canary@host/x",
        "sftp://me:canary@host/x",
        "s3://bucket/../canary",
        "s3://bucket?secret_access_key=canary",
        "s3://bucket?canary=1",
        "s3://bucket/x#canary",
        "file://canary/x",
        "file:///",
        "sftp://host:canary/x",
        "s3://bucket/%FFcanary",
    ] {
        let failure = Place::parse(url).unwrap_err();
        assert_eq!(failure.code, "storage-url", "{url}");
        assert!(failure.hint.is_some(), "{url}");
        assert!(!format!("{failure:?}").contains("canary"), "{url}");
    }
}

#[test]
fn secrets_of_a_profile_are_in_no_text() {
    let value = json!({
        "url": "s3://bucket/x", "region": "eu-west-1", "access_key_id": "canary-1",
        "secret_access_key": "canary-2", "enable_virtual_host_style": true, "allow_http": true,
    });
    let place = Place::of_profile("prod", &value).unwrap();
    assert_eq!(place.shown(), "prod");
    assert!(place.allow_http);
    assert_eq!(place.get("enable_virtual_host_style"), Some("true"));
    let secrets: Vec<&str> = place.secrets().collect();
    assert_eq!(secrets, ["canary-1", "canary-2"]);
    for text in [format!("{place:?}"), place.location(), place.url_of("a")] {
        assert!(!text.contains("canary"), "{text}");
    }
    let wrong = json!({"url": "s3://bucket", "secret": "canary"});
    let failure = Place::of_profile("prod", &wrong).unwrap_err();
    assert!(failure.message.starts_with("storages.prod: "));
    assert!(!format!("{failure:?}").contains("canary"));
    for wrong in [json!(3), json!({}), json!({"url": "s3://b", "region": []})] {
        assert_eq!(
            Place::of_profile("x", &wrong).unwrap_err().code,
            "storage-url"
        );
    }
}

#[test]
fn a_workspace_names_a_store_and_brings_nothing() {
    let value = json!({"url": "s3://bucket/x", "endpoint": "https://good"});
    let known = Place::of_profile("prod", &value).unwrap();
    let named = |url: &str| known.is(&Place::parse(url).unwrap());
    assert!(named("s3://bucket/x/"));
    assert!(named("s3://bucket/x?endpoint=https://good"));
    assert!(!named("s3://bucket/x?endpoint=https://evil"));
    assert!(!named("s3://bucket/x?region=us-east-1"));
    assert!(!named("s3://bucket"));
    assert!(!named("gs://bucket/x"));
}
