//! Owns the tests of object stores: what is sent, what is found, and what is refused.

use std::{
    fs,
    io::Write,
    net::TcpListener,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use synapse_tests::{Document, Space};
use walkdir::WalkDir;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use super::{
    entries,
    servers::{self, S3},
    space, upload,
};

/// `plugin upload --json` of the plugin `tiny` into a store.
fn store(space: &Space, storage: &str, more: &[&str]) -> synapse_tests::Run {
    let args = [
        "plugin",
        "upload",
        "--yes",
        "--json",
        "--path",
        "tiny",
        "--storage",
        storage,
    ];
    space.synapse(&[&args[..], more].concat())
}

/// Bytes that no compressor shrinks, the same each time.
fn noise(size: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut bytes = Vec::with_capacity(size);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes
}

/// Each object of a document: kind, status, how it was proven.
fn objects(document: &Value) -> Vec<[String; 3]> {
    let text = |own: &Value, key: &str| own[key].as_str().unwrap_or_default().to_owned();
    let own = entries(document, "objects").iter();
    own.map(|own| ["kind", "status", "verified"].map(|key| text(own, key)))
        .collect()
}

fn is(kind: &str, status: &str, proof: &str) -> [String; 3] {
    [kind, status, proof].map(str::to_owned)
}

fn totals(document: &Value, key: &str) -> u64 {
    document["totals"][key].as_u64().unwrap()
}

/// Files under a folder whose bytes hold a text.
fn holding(folder: &Path, text: &str) -> Vec<PathBuf> {
    let files = WalkDir::new(folder).into_iter().map(Result::unwrap);
    let files = files.filter(|entry| entry.file_type().is_file());
    let has = |path: &PathBuf| {
        let bytes = fs::read(path).unwrap_or_default();
        bytes.windows(text.len()).any(|own| own == text.as_bytes())
    };
    files
        .map(walkdir::DirEntry::into_path)
        .filter(has)
        .collect()
}

fn configure(space: &Space, storages: &Value) {
    let folder = space.home().join("config");
    fs::create_dir_all(&folder).unwrap();
    let config = json!({"storages": storages});
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
}

#[test]
fn s3_takes_each_object_once_in_parts_and_proves_it() {
    let s3 = S3::start("plugins");
    let mut space = space();
    space.tiny_plugin("tiny", "tiny");
    // Three parts, the last of which is short.
    space.write("tiny/weights.bin", noise(20_000_000));
    space.set("AWS_ENDPOINT_URL", &s3.endpoint());
    space.set("AWS_ACCESS_KEY_ID", &s3.key);
    space.set("AWS_SECRET_ACCESS_KEY", &s3.secret);
    let url = "s3://plugins/dev";
    let first = store(&space, url, &[]).expect(0).json();
    assert_eq!(objects(&first), [is("archive", "stored", "etag")]);
    let size = entries(&first, "objects")[0]["size"].as_u64().unwrap();
    assert_eq!(totals(&first, "bytes_sent"), size);
    let md5 = first["plugins"][0]["checksum"]["md5"].as_str().unwrap();
    let own = &entries(&first, "objects")[0];
    assert_eq!(own["name"], format!("dev-{md5}.zip"));
    assert_eq!(own["url"], format!("s3://plugins/dev/dev-{md5}.zip"));
    // While the receipt is fresh nothing is asked; asked to, it is one look.
    let again = store(&space, url, &[]).expect(0).json();
    assert_eq!(
        (totals(&again, "requests"), totals(&again, "nodes_run")),
        (0, 0)
    );
    let asked = store(&space, url, &["--verify"]).expect(0).json();
    assert_eq!(
        (totals(&asked, "requests"), totals(&asked, "bytes_sent")),
        (1, 0)
    );
    // Whoever knows nothing finds it by its tag.
    space.set_home("other");
    let found = store(&space, url, &[]).expect(0).json();
    assert_eq!(objects(&found), [is("archive", "there", "etag")]);
    assert_eq!(
        (totals(&found, "requests"), totals(&found, "bytes_sent")),
        (1, 0)
    );
    for text in [&s3.secret, &s3.key] {
        assert_eq!(holding(space.root(), text), Vec::<PathBuf>::new());
    }
}

#[test]
fn another_s3_agrees_where_it_is_installed() {
    let mut space = space();
    let Some(server) = servers::strict_s3(&space.root().join("s3"), "own-key", "own-secret") else {
        // CI builds one; elsewhere the other S3 has to do.
        eprintln!("no s3s-fs on this machine: it was not tried");
        return;
    };
    space.tiny_plugin("tiny", "tiny");
    let endpoint = format!("http://127.0.0.1:{}", server.port);
    space.set("AWS_ENDPOINT_URL", &endpoint);
    space.set("AWS_ACCESS_KEY_ID", "own-key");
    space.set("AWS_SECRET_ACCESS_KEY", "own-secret");
    for size in [10, 20_000_000] {
        space.write("tiny/weights.bin", noise(size));
        let first = store(&space, "s3://plugins/x", &[]).expect(0).json();
        assert_eq!(objects(&first), [is("archive", "stored", "etag")]);
        let own = &entries(&first, "objects")[0];
        let stored = space.root().join("s3/plugins/x");
        let stored = fs::metadata(stored.join(own["name"].as_str().unwrap())).unwrap();
        assert_eq!(own["size"], stored.len());
        space.set_home(&format!("other-{size}"));
        let found = store(&space, "s3://plugins/x", &[]).expect(0).json();
        assert_eq!(objects(&found), [is("archive", "there", "etag")]);
    }
    for (key, secret) in [("own-key", "canary"), ("canary", "own-secret")] {
        space.set("AWS_ACCESS_KEY_ID", key);
        space.set("AWS_SECRET_ACCESS_KEY", secret);
        let refused = store(&space, "s3://plugins/y", &[]).expect(3);
        assert_eq!(refused.json()["errors"][0]["code"], "not-authenticated");
        assert!(!format!("{refused:?}").contains("canary"));
    }
}

#[test]
fn what_is_wrong_with_a_store_is_said_in_one_sentence_without_secrets() {
    let s3 = S3::start("plugins");
    let mut space = space();
    space.tiny_plugin("tiny", "tiny");
    space.set("AWS_ENDPOINT_URL", &s3.endpoint());
    let nobody = servers::free_port();
    let unreachable = format!("s3://plugins/x?endpoint=http://127.0.0.1:{nobody}");
    let (key, secret) = (s3.key.as_str(), s3.secret.as_str());
    for (own, url, code, what) in [
        (
            (key, "canary-secret"),
            "s3://plugins/x",
            "not-authenticated",
            "SignatureDoesNotMatch",
        ),
        (
            ("canary-key", "canary-secret"),
            "s3://plugins/x",
            "not-authenticated",
            "InvalidAccessKeyId",
        ),
        (
            ("", ""),
            "s3://plugins/x",
            "not-authenticated",
            "no credentials",
        ),
        (
            (key, secret),
            "s3://nowhere/x",
            "storage-missing",
            "no bucket nowhere",
        ),
        (
            (key, secret),
            &unreachable,
            "target-unavailable",
            "Connection refused",
        ),
    ] {
        let mut command = space.command(&[
            "plugin",
            "upload",
            "--yes",
            "--json",
            "--path",
            "tiny",
            "--storage",
            url,
        ]);
        let done = command
            .env("AWS_ACCESS_KEY_ID", own.0)
            .env("AWS_SECRET_ACCESS_KEY", own.1);
        let run: synapse_tests::Run = done.output().unwrap().into();
        let document = run.clone().expect(3).json();
        let errors = document["errors"].as_array().unwrap();
        assert_eq!(errors.len(), 1, "{document:#}");
        assert_eq!(errors[0]["code"], code, "{document:#}");
        assert!(
            errors[0]["message"].as_str().unwrap().contains(what),
            "{document:#}"
        );
        assert!(errors[0]["hint"].is_string() && errors[0]["where"].is_string());
        for text in ["canary", key, secret] {
            assert!(!format!("{run:?}").contains(text), "{run:?}");
            assert_eq!(holding(space.root(), text), Vec::<PathBuf>::new());
        }
    }
}

#[test]
fn webdav_and_a_folder_never_show_half_an_object() {
    let space = space();
    space.tiny_plugin("tiny", "tiny");
    let server = servers::webdav(space.root(), "right-canary");
    let url = format!("webdav://127.0.0.1:{}/in/here", server.port);
    configure(
        &space,
        &json!({
            "dav": {"url": url, "username": "me", "password": "right-canary"},
            "wrong": {"url": url, "username": "me", "password": "wrong-canary"},
        }),
    );
    let document = store(&space, "dav", &[]).expect(0).json();
    assert_eq!(objects(&document), [is("archive", "stored", "read back")]);
    assert_eq!(entries(&document, "objects")[0]["storage"], "dav");
    let again = store(&space, "dav", &[]).expect(0).json();
    assert_eq!(totals(&again, "requests"), 0);
    let refused = store(&space, "wrong", &["--verify"]).expect(3);
    assert_eq!(refused.json()["errors"][0]["code"], "not-authenticated");
    assert!(!format!("{refused:?}").contains("canary"));
    let files = |folder: PathBuf| -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries
            .map(|own| own.unwrap().file_name().into_string().unwrap())
            .collect()
    };
    let md5 = document["plugins"][0]["checksum"]["md5"].as_str().unwrap();
    let name = format!("dev-{md5}.zip");
    assert_eq!(
        files(space.root().join("shared/in/here")),
        std::slice::from_ref(&name)
    );
    let archive = document["plugins"][0]["archive"]["path"].as_str().unwrap();
    let archive = fs::read(archive).unwrap();
    assert_eq!(
        fs::read(space.root().join("shared/in/here").join(&name)).unwrap(),
        archive
    );

    // A folder: what was cut short there is replaced, and what is gone comes back.
    upload(&space, "tiny", &[]).expect(0);
    let folder = space.root().join("store");
    fs::write(folder.join(&name), &archive[..archive.len() / 2]).unwrap();
    let mended = upload(&space, "tiny", &[]).expect(0).json();
    assert_eq!(objects(&mended), [is("archive", "stored", "read back")]);
    assert_eq!(fs::read(folder.join(&name)).unwrap(), archive);
    fs::remove_file(folder.join(&name)).unwrap();
    let back = upload(&space, "tiny", &[]).expect(0).json();
    assert_eq!(objects(&back), [is("archive", "stored", "read back")]);
    assert_eq!(files(folder), [name]);
}

#[test]
fn sftp_works_where_there_is_a_server() {
    let space = space();
    let Some((server, key)) = servers::ssh(&space.root().join("ssh")) else {
        // CI installs one; elsewhere the rest of the suite has to do.
        eprintln!("no sshd on this machine: SFTP was not tried");
        return;
    };
    space.tiny_plugin("tiny", "tiny");
    let user = std::env::var("USER").unwrap_or_else(|_| "root".to_owned());
    let folder = space.root().join("sftp/in");
    let url = |folder: &Path, key: &Path| {
        format!(
            "sftp://{user}@127.0.0.1:{}{}?key={}&known_hosts_strategy=Accept",
            server.port,
            folder.display(),
            key.display()
        )
    };
    let good = url(&folder, &key);
    let document = store(&space, &good, &[]).expect(0).json();
    assert_eq!(objects(&document), [is("archive", "stored", "read back")]);
    let again = store(&space, &good, &["--verify"]).expect(0).json();
    assert_eq!(totals(&again, "bytes_sent"), 0);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    let stranger = space.root().join("ssh/host");
    let refused = store(&space, &url(&space.root().join("y"), &stranger), &[])
        .expect(3)
        .json();
    assert_eq!(
        refused["errors"][0]["code"], "not-authenticated",
        "{refused:#}"
    );
}

/// An archive with the same files, packed by another compressor.
fn repacked(archive: &Path, to: &Path) {
    let mut old = zip::ZipArchive::new(fs::File::open(archive).unwrap()).unwrap();
    let mut new = ZipWriter::new(fs::File::create(to).unwrap());
    for at in (0..old.len()).rev() {
        let mut entry = old.by_index(at).unwrap();
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .unix_permissions(entry.unix_mode().unwrap());
        new.start_file(entry.name().unwrap().to_string(), options)
            .unwrap();
        std::io::copy(&mut entry, &mut new).unwrap();
    }
    new.finish().unwrap().flush().unwrap();
}

#[test]
fn a_release_is_stored_once_under_its_version_and_never_replaced() {
    let mut space = space();
    space.tiny_plugin("tiny", "tiny");
    let url = format!("file://{}", space.root().join("store").display());
    let publish = |space: &Space, more: &[&str]| {
        let args = [
            "plugin",
            "publish",
            "--yes",
            "--local",
            "--json",
            "--path",
            "tiny",
            "--storage",
            &url,
        ];
        space.synapse(&[&args[..], more].concat())
    };
    let first = publish(&space, &[]).expect(0).json();
    assert_eq!(objects(&first), [is("archive", "stored", "read back")]);
    let stored = space.root().join("store/tiny-0.1.0.zip");
    assert!(stored.exists());
    // The document is that of every publish.
    Document::of(publish(&space, &[]));
    let again = publish(&space, &[]).expect(0).json();
    assert_eq!(totals(&again, "nodes_run"), 0);
    let debug = publish(&space, &["--debug"]).expect(0).json();
    let md5 = debug["plugins"][0]["checksum"]["md5"].as_str().unwrap();
    assert_eq!(
        entries(&debug, "objects")[0]["name"],
        format!("dev-{md5}.zip")
    );
    // The same files by another compressor are the same release.
    let archive = first["plugins"][0]["archive"]["path"].as_str().unwrap();
    repacked(Path::new(archive), &stored);
    let other = fs::read(&stored).unwrap();
    space.set_home("other");
    let found = store(&space, &url, &["--release"]).expect(0).json();
    assert_eq!(objects(&found), [is("archive", "there", "content")]);
    assert_eq!(fs::read(&stored).unwrap(), other);
    // Other files are not.
    space.append("tiny/plugin/run.py", "# changed\n");
    let refused = store(&space, &url, &["--release"]).expect(1).json();
    assert_eq!(refused["errors"][0]["code"], "version-exists");
    assert_eq!(refused["plugins"][0]["status"], "refused");
    assert_eq!(fs::read(&stored).unwrap(), other);
}

#[test]
fn a_workspace_names_stores_that_a_profile_knows_and_no_others() {
    let mut space = space();
    space.write(
        "synapse-workspace.yaml",
        "members: [tiny]\nstorage:\n  - prod\n",
    );
    space.tiny_plugin("tiny", "tiny");
    space.set("AWS_ACCESS_KEY_ID", "canary-key");
    space.set("AWS_SECRET_ACCESS_KEY", "canary-secret");
    let publish = |space: &Space, more: &[&str]| {
        let args = [
            "plugin", "publish", "--local", "--json", "--yes", "--path", "tiny",
        ];
        space.synapse(&[&args[..], more].concat())
    };
    let unknown = publish(&space, &[]).expect(1).json();
    let error = &unknown["errors"][0];
    assert_eq!(error["code"], "storage-unknown");
    assert!(
        error["where"]
            .as_str()
            .unwrap()
            .ends_with("synapse-workspace.yaml:3:5")
    );
    publish(&space, &["--no-storage"]).expect(0);
    let folder = space.root().join("prod");
    let url = format!("file://{}", folder.display());
    configure(&space, &json!({"prod": {"url": url}}));
    let known = publish(&space, &[]).expect(0).json();
    assert_eq!(objects(&known), [is("archive", "stored", "read back")]);
    assert!(folder.join("tiny-0.1.0.zip").exists());
    let text = format!("members: [tiny]\nstorage: ['{url}/']\n");
    space.write("synapse-workspace.yaml", &text);
    let by_url = publish(&space, &[]).expect(0).json();
    assert_eq!(entries(&by_url, "objects")[0]["storage"], "prod");
    // A host that only the workspace names hears nothing, whatever it is called.
    let foreign = TcpListener::bind("127.0.0.1:0").unwrap();
    foreign.set_nonblocking(true).unwrap();
    let port = foreign.local_addr().unwrap().port();
    configure(&space, &json!({"prod": {"url": "s3://plugins/x"}}));
    for own in [
        format!("s3://plugins/x?endpoint=http://127.0.0.1:{port}"),
        format!("webdav://127.0.0.1:{port}/x"),
        "s3://me:canary-login@plugins/x".to_owned(),
        "{url: s3://plugins/x, secret_access_key: canary-inline}".to_owned(),
    ] {
        space.write(
            "synapse-workspace.yaml",
            format!("members: [tiny]\nstorage: [{own}]\n"),
        );
        let run = publish(&space, &[]).expect(1);
        assert!(!format!("{run:?}").contains("canary"), "{run:?}");
        let upload = space
            .synapse(&["plugin", "upload", "--yes", "--path", "tiny"])
            .expect(1);
        assert!(!format!("{upload:?}").contains("canary"), "{upload:?}");
    }
    assert!(foreign.accept().is_err());
    space.write("synapse-workspace.yaml", "members: [tiny]\n");
    let nowhere = space
        .synapse(&["plugin", "upload", "--yes", "--path", "tiny"])
        .expect(2);
    assert!(nowhere.stderr.contains("--storage"), "{nowhere:?}");
}
