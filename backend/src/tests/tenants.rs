//! Tenants see their own and nothing else, tokens open one, and what was there before tenants is
//! the default one's.

use std::time::Duration;

use rusqlite::Connection;
use serde_json::Map;
use synapse_engine::Cancel;

use super::*;
use crate::{
    AddDataset, ApplicationStatus, BackendError, ModelFilter, NewRun, NewToken, RunEvent,
    RunFilter, RunUpdate, Scope, Scopes, is_tenant,
};

fn new_run(plugin: &str) -> NewRun {
    NewRun {
        plugin: plugin.to_owned(),
        version: "0.1.0".to_owned(),
        action: "train".to_owned(),
        mode: "local".to_owned(),
        params: json!({}),
        meta: json!({}),
        pid: None,
        begins: false,
        time: None,
    }
}

/// An upload of `bytes` that is complete.
fn upload(backend: &Arc<Embedded>, bytes: &[u8], md5: &str) -> crate::Upload {
    let incoming = backend.incoming("upload").unwrap();
    incoming.file().write_all(bytes).unwrap();
    let size = bytes.len() as u64;
    let begun = backend.upload_begin("w.pt", size, size, incoming).unwrap();
    backend.upload_complete(&begun.id, md5).unwrap()
}

#[test]
fn tenants_see_nothing_of_each_other() {
    /// Of `hello world`.
    const MD5: &str = "5eb63bbbe01eeed093cb22bb8f5acdc3";
    let world = World::new();
    let one = Arc::new(world.open());
    let two = Arc::new(one.of_tenant("two"));
    assert_eq!((one.tenant(), two.tenant()), ("default", "two"));
    assert_eq!(two.identity(), "embedded:two");

    // Releases: the same slot is free in each.
    let sample = world.sample("yolo", "0.1.0", "a");
    let first = create(&one, &sample).unwrap();
    assert!(two.all().unwrap().is_empty() && two.releases("yolo").unwrap().is_empty());
    assert!(two.find(&sample.slot).unwrap().is_none());
    for refused in [
        two.release(&first.id).map(drop),
        two.open_archive(&first.id).map(drop),
        two.delete(&first.id),
    ] {
        assert!(matches!(refused, Err(BackendError::NoRelease(_))));
    }
    let second = create(&two, &sample).unwrap();
    assert!(matches!(create(&two, &sample), Err(ClientError::Exists(_))));
    let debug = world.sample("yolo", "0.1.0", "b").debug();
    create(&one, &debug).unwrap();
    create(&two, &debug).unwrap();
    assert_eq!(one.all().unwrap().len(), 2);
    assert_eq!(two.all().unwrap().len(), 2);

    // Runs, their events, and what they printed.
    let run = one.run_create(&new_run("yolo")).unwrap();
    let event = RunEvent::message(1.0, "info", "secret");
    one.run_append(run, std::slice::from_ref(&event)).unwrap();
    let none = |error| matches!(error, BackendError::NoRun(_));
    assert!(none(two.run(run).unwrap_err()));
    assert!(none(two.run_append(run, &[event]).unwrap_err()));
    assert!(none(
        two.run_update(run, &RunUpdate::default()).unwrap_err()
    ));
    assert!(none(
        crate::Follower::new(run, true).step(&two).unwrap_err()
    ));
    assert_eq!(two.run_events(run, 0, 10).unwrap(), []);
    assert_eq!(one.run_events(run, 0, 10).unwrap().len(), 1);
    assert_eq!(two.runs(&RunFilter::default()).unwrap().total, 0);
    assert_eq!(one.runs(&RunFilter::default()).unwrap().total, 1);

    // Uploads and models.
    let sent = upload(&one, b"hello world", MD5);
    let none = |error| matches!(error, BackendError::NoUpload(_));
    assert!(none(two.upload(&sent.id).unwrap_err()));
    assert!(none(two.upload_file(&sent.id).unwrap_err()));
    assert!(none(two.upload_complete(&sent.id, MD5).unwrap_err()));
    assert!(none(
        two.upload_chunk(&sent.id, 0, 1).map(drop).unwrap_err()
    ));
    assert!(none(
        two.model_of_upload(&Map::new(), &sent.id).unwrap_err()
    ));
    let model = one.model_of_upload(&Map::new(), &sent.id).unwrap();
    assert!(matches!(two.model(model.id), Err(BackendError::NoModel(_))));
    assert!(two.model_open(model.id).is_err() && two.model_file(model.id).is_err());
    assert_eq!(two.models(&ModelFilter::default()).unwrap().total, 0);

    // Datasets: a name is a tenant's own.
    let folder = world.root.path().join("set");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("a.jpg"), "a").unwrap();
    let add = AddDataset {
        dir: &folder,
        name: "coco",
        id: None,
        format: None,
        splits: &[],
        replace: false,
    };
    let add_to = |backend: &Embedded| {
        let added = backend.dataset_add(&add, &Cancel::default(), &|_| {});
        added.unwrap().dataset.id
    };
    let (own, other) = (add_to(&one), add_to(&two));
    assert_ne!(own, other);
    assert_eq!(two.datasets().unwrap().len(), 1);
    assert!(two.dataset(own).is_err() && two.dataset_items(own, None, 10, 0).is_err());
    let item = one.dataset_items(own, None, 10, 0).unwrap().items[0].id;
    assert!(one.dataset_open(item).is_ok());
    assert!(matches!(
        two.dataset_open(item),
        Err(BackendError::NoItem(_))
    ));

    // Applications, and the runs that they name.
    let say = |backend: &Embedded, job| {
        backend.application_create("app", ApplicationStatus::Running, job, &Map::new())
    };
    let application = say(&one, Some(run)).unwrap();
    assert!(say(&two, Some(run)).is_err());
    assert!(two.application(application.id).is_err());
    assert!(two.application_delete(application.id).is_err());
    assert_eq!(two.applications(None, 10, 0).unwrap().total, 0);

    // Upkeep is for all of them.
    let files = world.files().len();
    let collected = two.collect(Duration::ZERO).unwrap().unwrap();
    assert_eq!((collected.files, world.files().len()), (0, files));
    assert_eq!(one.check().unwrap(), []);
    two.delete(&second.id).unwrap();
    assert!(one.release(&first.id).is_ok());
}

#[test]
fn what_was_there_before_tenants_is_the_default_ones() {
    let world = World::new();
    fs::create_dir_all(world.data().join("files")).unwrap();
    let old = Connection::open(world.data().join("backend.db")).unwrap();
    let [first, second] = [
        crate::database::MIGRATIONS[0],
        crate::database::MIGRATIONS[1],
    ];
    old.execute_batch(first).unwrap();
    old.execute_batch(second).unwrap();
    old.execute_batch(
        "INSERT INTO release VALUES (7, 'yolo', '', '0.1.0', 0, NULL, zeroblob(32), '', '', 2,
             'yolo.zip', 5);
         INSERT INTO release_text VALUES (7, '{}', NULL, NULL);
         INSERT INTO dataset VALUES (3, 'coco', NULL, x'2f', 'c', 1, 1, '{}', 5);
         INSERT INTO dataset_item VALUES (9, 3, 'a', NULL, zeroblob(32), 1, 1, 1, 1, 1, 0);
         INSERT INTO model VALUES (4, 'm', NULL, NULL, 'base', 'f', 'model-1', 1, '', '', '{}', 5);
         INSERT INTO upload VALUES ('u', 'f', 'upload-1', 2, 1, NULL, NULL, NULL, NULL, 5);
         INSERT INTO run VALUES (6, 'yolo', '', 'train', 'local', 'SUCCEEDED', '{}', '{}', NULL,
             NULL, NULL, NULL, NULL, NULL, NULL, 1, NULL, NULL);
         INSERT INTO run_event VALUES (6, 1, 1.0, 'log', NULL, NULL, '{}');
         PRAGMA user_version = 2;",
    )
    .unwrap();
    drop(old);
    fs::write(world.data().join("files/yolo.zip"), "PK").unwrap();
    let backend = world.open();
    assert_eq!(backend.all().unwrap()[0].id, "7");
    assert_eq!(backend.dataset_named("coco").unwrap().unwrap().id, 3);
    assert_eq!(backend.dataset_items(3, None, 9, 0).unwrap().items[0].id, 9);
    assert_eq!(backend.model(4).unwrap().name, "m");
    assert_eq!(backend.upload("u").unwrap().reached, 1);
    assert_eq!(backend.run(6).unwrap().action, "train");
    assert_eq!(backend.run_events(6, 0, 9).unwrap().len(), 1);
    let other = backend.of_tenant("other");
    assert!(other.all().unwrap().is_empty() && other.run(6).is_err());
    // The rows of a dataset still go with it.
    let conn = Connection::open(world.data().join("backend.db")).unwrap();
    conn.execute("DELETE FROM dataset WHERE id = 3", [])
        .unwrap();
    let left: i64 = conn
        .query_row("SELECT count(*) FROM dataset_item", [], |row| row.get(0))
        .unwrap();
    assert_eq!(left, 0);
}

#[test]
fn a_token_is_kept_as_a_digest_and_opens_until_it_is_revoked() {
    let world = World::new();
    let backend = world.open();
    let make = |tenant: &str, name: &str, scopes: &Scopes| {
        backend.token_create(&NewToken {
            tenant,
            name,
            scopes,
        })
    };
    let (token, text) = make("acme", "ci", &Scopes::usual()).unwrap();
    assert_eq!(backend.token_find(&text).unwrap().as_ref(), Some(&token));
    let secret = text.rsplit('_').next().unwrap();
    assert_eq!(secret.len(), 64);
    for entry in fs::read_dir(world.data()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let bytes = fs::read(&path).unwrap();
            let found = bytes
                .windows(secret.len())
                .any(|part| part == secret.as_bytes());
            assert!(!found, "{}", path.display());
        }
    }
    let (other, _) = make("acme", "", &Scopes::of(&[Scope::Admin, Scope::Admin])).unwrap();
    let mixed = format!("syn_{}_{secret}", other.id);
    let wrong = text.replace(['a', '1'], "b");
    for bad in [
        "",
        secret,
        &mixed,
        &wrong,
        &text[..text.len() - 1],
        &format!("{text}0"),
        &text.replace("syn_", "syn_+"),
        "syn_99999999999999999999_x",
        "syn__",
    ] {
        assert_eq!(backend.token_find(bad).unwrap(), None, "{bad}");
    }
    assert!(token.scopes.allow(&[Scope::Read]) && !token.scopes.allow(&[Scope::Admin]));
    assert!(other.scopes.allow(&[Scope::Run]) && other.scopes.iter().count() == 1);
    assert_eq!(
        backend.token_revoke(token.id).unwrap().revoked,
        Some(1_700_000_000)
    );
    assert_eq!(backend.token_find(&text).unwrap(), None);
    assert!(backend.token_revoke(token.id).is_ok());
    assert!(matches!(
        backend.token_revoke(99),
        Err(BackendError::NoToken(99))
    ));
    assert_eq!(backend.tokens().unwrap().len(), 2);
    for bad in ["", "Acme", "-a", "a/b", "..", "a b", "é", &"a".repeat(64)] {
        assert!(
            !is_tenant(bad) && make(bad, "", &Scopes::usual()).is_err(),
            "{bad}"
        );
    }
    assert!(make("acme", "a\nb", &Scopes::usual()).is_err());
    assert!(make("acme", "", &Scopes::of(&[])).is_err());
}
