//! What the doctor says, and that it only looks.

use std::{fs, os::unix::fs::PermissionsExt};

use serde_json::Value;
use synapse_tests::{
    Run, Space, expect_schema,
    proxy::{Call, Fault, Proxy},
};

use crate::{AGENTS, expect_error, file, home, log_in, nobody, platform};

pub(crate) fn check<'d>(document: &'d Value, name: &str) -> &'d Value {
    let checks = document["checks"].as_array().unwrap();
    let found = checks.iter().find(|check| check["check"] == name);
    found.unwrap_or_else(|| panic!("no {name}: {document:#}"))
}

#[track_caller]
fn doctor(space: &Space, code: i32) -> Value {
    let document = space.synapse(&["doctor", "--json"]).expect(code).json();
    expect_schema("doctor", &document);
    assert_eq!(document["ok"], code == 0);
    for check in document["checks"].as_array().unwrap() {
        let needs = check["state"] == "failed";
        assert!(!needs || check["hint"].is_string(), "{check:#}");
    }
    document
}

#[test]
fn the_doctor_finds_nothing_wrong_where_nothing_is_configured() {
    let space = home();
    let document = doctor(&space, 0);
    for (name, state) in [
        ("config", "note"),
        ("profile", "note"),
        ("python", "ok"),
        ("venv", "ok"),
        ("store", "ok"),
        ("ledger", "ok"),
        ("backend", "ok"),
    ] {
        assert_eq!(check(&document, name)["state"], state, "{document:#}");
    }
    assert!(!file(&space).exists(), "it only looks");
    assert!(!space.home().join("data").exists());
    let run = space.synapse(&["doctor", "--quiet"]).expect(0);
    assert!(run.stdout.is_empty() && run.stderr.is_empty(), "{run:?}");
}

#[test]
fn the_doctor_says_what_to_do() {
    let own = platform("t");
    let mut space = home();
    log_in(&space, &["--host", &own.url], "t");
    space.tiny_plugin("plugin", "tiny-0");
    space.publish(&["--path", "plugin"]).expect(0);
    let document = doctor(&space, 0);
    for name in [
        "config", "profile", "host", "token", "store", "ledger", "backend",
    ] {
        assert_eq!(check(&document, name)["state"], "ok", "{document:#}");
    }
    let store = check(&document, "store")["text"].as_str().unwrap();
    assert!(
        store.contains("is whole") && store.contains("result"),
        "{store}"
    );

    // A token that is refused.
    let run = space
        .synapse_with("SYNAPSE_ACCESS_TOKEN", "t-old", &["doctor"])
        .expect(3);
    assert!(
        run.stdout.contains("from SYNAPSE_ACCESS_TOKEN, refused"),
        "{run:?}"
    );
    assert!(
        run.stdout.contains("hint: set SYNAPSE_ACCESS_TOKEN anew"),
        "{run:?}"
    );
    assert!(!run.stdout.contains("t-old"));
    // Nobody there; and nobody is asked.
    log_in(&space, &["--host", &nobody(), "--no-check"], "t");
    assert_eq!(check(&doctor(&space, 3), "host")["state"], "failed");
    space.synapse(&["doctor", "--offline"]).expect(0);
    space.synapse(&["doctor", "--profile", "local"]).expect(0);
    // A clock of 1994.
    let late = Proxy::start("127.0.0.1:9", |_: &Call| {
        let date = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n".to_owned();
        Fault::Answer(200, date, AGENTS.to_owned())
    });
    log_in(&space, &["--host", &late.url], "t");
    let document = doctor(&space, 0);
    assert_eq!(
        check(&document, "clock")["state"],
        "warning",
        "{document:#}"
    );
    // A file that others can read; variables that lead astray.
    fs::set_permissions(file(&space), fs::Permissions::from_mode(0o644)).unwrap();
    space.set("HTTPS_PROXY", "http://me:secret-part@proxy.test:3128/");
    space.set("SSL_CERT_FILE", "/nowhere/certificates.pem");
    let run = space.synapse(&["doctor", "--offline"]).expect(3);
    for part in [
        "hint: chmod 600",
        "HTTPS_PROXY leads through http://proxy.test:3128",
        "SSL_CERT_FILE: /nowhere/certificates.pem cannot be read",
    ] {
        assert!(run.stdout.contains(part), "no {part:?} in {}", run.stdout);
    }
    assert!(!run.stdout.contains("secret-part"));
    let mut command = space.command(&["doctor", "--offline", "--json"]);
    command.env("PATH", "").env_remove("SSL_CERT_FILE");
    let bare: Run = command.output().unwrap().into();
    assert_eq!(check(&bare.json(), "git")["state"], "note", "{bare:?}");
}

#[test]
fn the_doctor_finds_damage_and_leaves_it() {
    let mut space = home();
    space.tiny_plugin("plugin", "tiny-0");
    space.publish(&["--path", "plugin"]).expect(0);
    for (path, name) in [
        ("cache/store.db", "store"),
        ("data/ledger.db", "ledger"),
        ("data/backend/backend.db", "backend"),
    ] {
        let path = space.home().join(path);
        let whole = fs::read(&path).unwrap();
        // The log beside it would bring it back whole.
        let log = ["-wal", "-shm"].map(|end| path.with_extension(format!("db{end}")));
        let _ = log.map(fs::remove_file);
        fs::write(
            &path,
            b"not a database, but long enough to be looked at as one",
        )
        .unwrap();
        let damaged = fs::read(&path).unwrap();
        let document = doctor(&space, 3);
        assert_eq!(check(&document, name)["state"], "failed", "{document:#}");
        assert_eq!(fs::read(&path).unwrap(), damaged, "it only looks");
        fs::write(&path, whole).unwrap();
    }
    fs::write(space.root().join("file"), "").unwrap();
    space.set_home("file/home");
    let document = doctor(&space, 3);
    for name in ["store", "ledger", "backend"] {
        assert_eq!(check(&document, name)["state"], "failed", "{document:#}");
    }
}

#[test]
fn a_home_that_cannot_be_used_is_told() {
    let mut space = home();
    space.tiny_plugin("plugin", "tiny-0");
    space.publish(&["--path", "plugin"]).expect(0);
    for args in [&["runs"][..], &["dataset", "list"], &["model", "list"]] {
        let run = space.synapse_with("SYNAPSE_HOME", "/dev/null", args);
        expect_error(&run, 3, &["/dev/null/data/backend", "set SYNAPSE_HOME"]);
    }
    if !space.become_nobody() {
        return;
    }
    let data = space.home().join("data");
    let permit = |path: &str, mode: u32| {
        fs::set_permissions(data.join(path), fs::Permissions::from_mode(mode)).unwrap();
    };
    // With these at hand a reader needs to write nothing.
    let _ = ["ledger.db-wal", "ledger.db-shm"].map(|name| fs::remove_file(data.join(name)));
    permit("ledger.db", 0o400);
    permit("", 0o500);
    let run = space.synapse(&["status", "--local", "--path", "plugin"]);
    let seen = space.synapse(&["doctor", "--quiet"]);
    permit("", 0o700);
    expect_error(
        &run,
        3,
        &["cannot be written", "permissions", "SYNAPSE_HOME"],
    );
    let text = format!("{} cannot be written to", data.display());
    assert!(seen.stdout.contains(&text), "{seen:?}");
    assert_eq!(seen.code(), 3);
}
