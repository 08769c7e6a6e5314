//! Uploads in chunks, and the models made of them.

use std::io::Write;
use std::sync::Mutex;

use serde_json::Map;

use super::*;
use crate::upload::PATIENCE;
use crate::{BackendError, Hook, Model, ModelFilter};

/// MD5 of `hello world`.
const MD5: &str = "5eb63bbbe01eeed093cb22bb8f5acdc3";
const SHA256: &str = "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9";

fn fields(name: &str) -> Map<String, Value> {
    let fields = json!({"name": name, "plugin": "yolo", "version": "0.1.0", "id": 77, "mine": [1]});
    fields.as_object().unwrap().clone()
}

/// An upload of `hello world`, in two chunks.
fn upload(backend: &Arc<Embedded>) -> Result<String, BackendError> {
    let incoming = backend.incoming("upload")?;
    incoming.file().write_all(b"hello ").unwrap();
    let id = backend.upload_begin("w.pt", 11, 6, incoming)?.id;
    let chunk = backend.upload_chunk(&id, 6, 11)?;
    (&chunk.file).write_all(b"world").unwrap();
    backend.upload_advance(&chunk, 11)?;
    drop(chunk);
    backend.upload_complete(&id, MD5)?;
    Ok(id)
}

fn made(backend: &Arc<Embedded>) -> Result<Model, BackendError> {
    let id = upload(backend)?;
    backend.model_of_upload(&fields("m"), &id)
}

#[test]
fn an_upload_becomes_a_model_once() {
    let world = World::new();
    let backend = Arc::new(world.open());
    let id = upload(&backend).unwrap();
    // Ending it again is no harm, with another checksum it is told.
    assert_eq!(backend.upload_complete(&id, MD5).unwrap().reached, 11);
    assert!(matches!(
        backend.upload_complete(&id, "0"),
        Err(BackendError::Checksum { .. })
    ));
    let model = backend.model_of_upload(&fields("m"), &id).unwrap();
    assert_eq!((model.id, model.size), (1, 11));
    assert_eq!((&*model.md5, &*model.sha256), (MD5, SHA256));
    assert_eq!((&*model.category, &*model.filename), ("fine_tuned", "w.pt"));
    assert_eq!(model.fields["mine"], json!([1]));
    assert_eq!(model.fields.get("id"), None);
    let error = backend.model_of_upload(&fields("m"), &id).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("upload {id} was used for model 1 already")
    );
    assert_eq!(
        fs::read(backend.model_file(1).unwrap()).unwrap(),
        b"hello world"
    );
    let page = backend.models(&ModelFilter::default()).unwrap();
    assert_eq!((page.total, &page.items), (1, &vec![model]));
    let none = ModelFilter {
        plugin: Some("other".to_owned()),
        ..ModelFilter::default()
    };
    assert_eq!(backend.models(&none).unwrap().total, 0);
}

#[test]
fn chunks_go_on_where_the_upload_stands() {
    let world = World::new();
    let backend = Arc::new(world.open());
    let incoming = backend.incoming("upload").unwrap();
    incoming.file().write_all(b"hello ").unwrap();
    let id = backend.upload_begin("w.pt", 11, 6, incoming).unwrap().id;
    let offset = |result: Result<_, BackendError>| match result.map(|_: crate::upload::Chunk| ()) {
        Err(BackendError::Offset { reached }) => reached,
        other => panic!("{other:?}"),
    };
    assert_eq!(offset(backend.upload_chunk(&id, 5, 11)), 6);
    assert_eq!(offset(backend.upload_chunk(&id, 7, 11)), 6);
    let total = backend.upload_chunk(&id, 6, 12).map(|_| ()).unwrap_err();
    assert_eq!(total.to_string(), "the upload has 11 bytes in all, not 12");
    assert!(matches!(
        backend.upload_complete(&id, MD5),
        Err(BackendError::Offset { reached: 6 })
    ));
    let chunk = backend.upload_chunk(&id, 6, 11).unwrap();
    // Another process is no different: the file is locked, not a row.
    let other = Arc::new(world.open());
    assert!(matches!(
        other.upload_chunk(&id, 6, 11).map(|_| ()),
        Err(BackendError::Busy)
    ));
    // A chunk that broke off, longer than what it was to be, does not count.
    (&chunk.file).write_all(b"xxxxxxxxxxxx").unwrap();
    drop(chunk);
    let chunk = other.upload_chunk(&id, 6, 11).unwrap();
    (&chunk.file).write_all(b"world").unwrap();
    other.upload_advance(&chunk, 11).unwrap();
    drop(chunk);
    let wrong = backend.upload_complete(&id, "ffff").unwrap_err();
    assert_eq!(
        wrong.to_string(),
        format!("the upload has md5 {MD5}, not ffff")
    );
    let done = backend.upload_complete(&id, &MD5.to_uppercase()).unwrap();
    assert_eq!(done.sha256.as_deref(), Some(SHA256));
    assert!(backend.upload_chunk(&id, 11, 11).is_err());
    let (_, file) = backend.upload_file(&id).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 11);
}

#[test]
fn uploads_that_nobody_goes_on_with_are_removed() {
    let world = World::new();
    let at = |time: i64| {
        let options = Options {
            clock: Arc::new(move || time),
            ..Options::default()
        };
        Arc::new(Embedded::open(&world.data(), options).unwrap())
    };
    made(&at(0)).unwrap();
    let half = at(0).incoming("upload").unwrap();
    let half = at(0).upload_begin("x", 5, 0, half).unwrap().id;
    assert_eq!(at(PATIENCE).upload_expire().unwrap(), 0);
    assert!(at(PATIENCE).upload(&half).is_ok());
    assert_eq!(world.files().len(), 2);
    assert_eq!(at(PATIENCE + 1).upload_expire().unwrap(), 2);
    assert!(matches!(
        at(0).upload(&half),
        Err(BackendError::NoUpload(_))
    ));
    assert_eq!(world.files().len(), 1, "the model's stays");
    // A sweep leaves what models name alone.
    let far = at(i64::MAX);
    assert_eq!(
        far.collect(std::time::Duration::ZERO)
            .unwrap()
            .unwrap()
            .files,
        0
    );
    assert_eq!(far.model(1).unwrap().size, 11);
}

#[test]
fn a_file_received_at_once_goes_when_no_model_is_made() {
    let world = World::new();
    let backend = Arc::new(world.open());
    let incoming = backend.incoming("model").unwrap();
    incoming.file().write_all(b"hello world").unwrap();
    assert_eq!(world.files().len(), 1);
    // While it is there, no sweep is.
    assert_eq!(backend.collect(std::time::Duration::ZERO).unwrap(), None);
    let model = backend
        .model_create(&Map::new(), "best.pt", incoming)
        .unwrap();
    assert_eq!((&*model.name, &*model.sha256), ("best", SHA256));
    let incoming = backend.incoming("model").unwrap();
    drop(incoming);
    assert_eq!(world.files().len(), 1);
}

#[test]
fn a_kill_at_any_step_leaves_no_model_without_its_file() {
    let mut reached = Vec::new();
    for steps in 0.. {
        let world = World::new();
        drop(world.open());
        let taken = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&taken);
        let hook: Hook = Arc::new(move |point| {
            let mut taken = log.lock().unwrap();
            taken.push(point.to_owned());
            if taken.len() > steps {
                return Err(std::io::Error::other("killed"));
            }
            Ok(())
        });
        let options = Options {
            hook: Some(hook),
            ..options()
        };
        let backend = Arc::new(Embedded::open(&world.data(), options).unwrap());
        let result = made(&backend);
        let killed = taken.lock().unwrap().len() > steps;
        let after = Arc::new(world.open());
        let models = after.models(&ModelFilter::default()).unwrap().items;
        assert_eq!(models.len(), usize::from(result.is_ok()), "after {steps}");
        for model in &models {
            let file = after.model_file(model.id).unwrap();
            assert_eq!(fs::read(file).unwrap(), b"hello world");
        }
        // What is left counts as nothing, and goes in the end.
        let far = Options {
            clock: Arc::new(|| i64::MAX),
            ..Options::default()
        };
        let far = Embedded::open(&world.data(), far).unwrap();
        far.collect(std::time::Duration::ZERO).unwrap().unwrap();
        assert_eq!(world.files().len(), models.len(), "after {steps}");
        made(&after).unwrap();
        if !killed {
            reached.extend(taken.lock().unwrap().iter().cloned());
            break;
        }
    }
    let expected = [
        "backend.copy",
        "backend.sync",
        "backend.sync-dir",
        "backend.commit",
        "backend.sync",
        "backend.commit",
        "backend.sync",
        "backend.commit",
        "backend.commit",
    ];
    assert_eq!(reached, expected);
}

#[test]
fn a_model_is_copied_out_whole_and_over_nothing() {
    let world = World::new();
    let backend = Arc::new(world.open());
    let model = made(&backend).unwrap();
    let path = world.root.path().join("out.pt");
    assert!(backend.model_save(model.id, &path).unwrap());
    assert!(!backend.model_save(model.id, &path).unwrap());
    assert_eq!(fs::read(&path).unwrap(), b"hello world");
    fs::write(&path, "mine").unwrap();
    assert!(matches!(
        backend.model_save(model.id, &path),
        Err(BackendError::Refused(_))
    ));
    assert_eq!(fs::read(&path).unwrap(), b"mine");
    let kept = backend.model_file(model.id).unwrap();
    fs::remove_file(&kept).unwrap();
    fs::write(&kept, "hello World").unwrap();
    let other = world.root.path().join("other.pt");
    let error = backend
        .model_save(model.id, &other)
        .unwrap_err()
        .to_string();
    assert!(error.ends_with("the model's file is damaged"), "{error}");
    assert!(!other.exists());
}

#[test]
fn names_of_files_are_made_safe() {
    let safe = [
        "../../etc/passwd",
        "C:\\x\\best.pt",
        "a\nb",
        "..",
        "",
        "dir/",
    ]
    .map(crate::upload::safe_name);
    assert_eq!(safe, ["passwd", "best.pt", "ab", "file", "file", "file"]);
}
