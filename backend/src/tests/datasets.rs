//! Folders registered as datasets, and their files handed out.

use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicU64, Ordering};

use synapse_engine::Cancel;

use super::*;
use crate::{AddDataset, Added, BackendError, DatasetError, Hook, Outcome};

/// Long after everything was written.
const LATER: i64 = 10_000_000_000 - 1;

fn fill(world: &World) -> PathBuf {
    let root = world.root.path().join("data");
    for name in [
        "images/train/a.jpg",
        "images/val/b.jpg",
        "labels/train/a.txt",
    ] {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, name).unwrap();
    }
    fs::write(root.join(".DS_Store"), "no part of it").unwrap();
    root
}

fn add<'a>(dir: &'a Path, name: &'a str) -> AddDataset<'a> {
    AddDataset {
        dir,
        name,
        id: None,
        format: None,
        splits: &[],
        replace: false,
    }
}

fn run(backend: &Embedded, add: &AddDataset<'_>) -> Result<Added, DatasetError> {
    backend.dataset_add(add, &Cancel::default(), &|_| {})
}

/// A backend at a time when all files have rested.
fn later(world: &World) -> Embedded {
    let options = Options {
        clock: Arc::new(|| LATER),
        ..Options::default()
    };
    Embedded::open(&world.data(), options).unwrap()
}

#[test]
fn a_folder_is_a_dataset_with_format_and_splits() {
    let world = World::new();
    let (dir, backend) = (fill(&world), world.open());
    let added = run(&backend, &add(&dir, "coco")).unwrap();
    assert_eq!(added.outcome, Outcome::Added);
    assert!(added.format_found && added.splits_found);
    let dataset = &added.dataset;
    assert_eq!(dataset.format.as_deref(), Some("yolo"));
    assert_eq!((dataset.count, dataset.size), (3, 52));
    let splits = [("train".to_owned(), 2), ("val".to_owned(), 1)];
    assert_eq!(dataset.splits, splits);
    let page = backend.dataset_items(dataset.id, None, 2, 1).unwrap();
    let paths: Vec<_> = page.items.iter().map(|item| item.path.as_str()).collect();
    assert_eq!(paths, ["images/val/b.jpg", "labels/train/a.txt"]);
    assert_eq!(page.total, 3);
    let val = backend
        .dataset_items(dataset.id, Some("val"), 9, 0)
        .unwrap();
    assert_eq!(val.total, 1);
    assert_eq!(
        backend.dataset_named("coco").unwrap().as_ref(),
        Some(dataset)
    );
    assert!(matches!(
        backend.dataset_items(99, None, 9, 0),
        Err(BackendError::NoDataset(99))
    ));
}

#[test]
fn only_what_changed_is_read_again() {
    let world = World::new();
    let dir = fill(&world);
    let hashed = |backend: &Embedded| run(backend, &add(&dir, "coco")).unwrap().hashed;
    // Files that did not rest may have changed since without a trace.
    let early = Options {
        clock: Arc::new(|| 0),
        ..Options::default()
    };
    let early = Embedded::open(&world.data(), early).unwrap();
    assert_eq!([hashed(&early), hashed(&early)], [3, 3]);
    let backend = later(&world);
    let honest = synapse_engine::filesystem::kind(&dir).is_honest();
    let none = if honest { 0 } else { 3 };
    assert_eq!([hashed(&backend), hashed(&backend)], [3, none]);
    // Under any name.
    let other = run(&backend, &add(&dir, "other")).unwrap();
    assert_eq!((other.hashed, other.outcome), (none, Outcome::Added));
    fs::write(dir.join("images/val/b.jpg"), "images/val/B.jpg").unwrap();
    let changed = AddDataset {
        id: Some(1),
        replace: true,
        ..add(&dir, "coco")
    };
    let changed = run(&backend, &changed).unwrap();
    assert_eq!(changed.outcome, Outcome::Replaced);
    assert_eq!(changed.hashed, if honest { 1 } else { 3 });
}

#[test]
fn the_same_again_is_up_to_date_and_anything_else_is_refused() {
    let world = World::new();
    let (dir, backend) = (fill(&world), world.open());
    let first = AddDataset {
        id: Some(123),
        ..add(&dir, "coco")
    };
    assert_eq!(run(&backend, &first).unwrap().dataset.id, 123);
    assert_eq!(run(&backend, &first).unwrap().outcome, Outcome::UpToDate);
    let same = run(&backend, &add(&dir, "coco")).unwrap();
    assert_eq!((same.outcome, same.dataset.id), (Outcome::UpToDate, 123));

    let refused = |add: &AddDataset<'_>| run(&backend, add).unwrap_err().to_string();
    let format = AddDataset {
        format: Some("coco"),
        ..first
    };
    let text = "dataset 123 (`coco`) is there already, with another format";
    assert_eq!(refused(&format), text);
    let named = AddDataset {
        name: "new",
        ..first
    };
    let text = "dataset 123 (`coco`) is there already, with another name";
    assert_eq!(refused(&named), text);
    let elsewhere = AddDataset {
        id: Some(7),
        replace: true,
        ..first
    };
    assert_eq!(refused(&elsewhere), "dataset 123 is called `coco` already");

    // A copy elsewhere is the same dataset, and from now on that is where it lies.
    let copy = world.root.path().join("copy");
    fs::rename(&dir, &copy).unwrap();
    let moved = run(&backend, &add(&copy, "coco")).unwrap();
    assert_eq!(moved.outcome, Outcome::Moved);
    assert_eq!(moved.dataset.folder, fs::canonicalize(&copy).unwrap());

    fs::write(copy.join("new"), "new").unwrap();
    let text = "dataset 123 (`coco`) is there already, with other content";
    assert_eq!(refused(&add(&copy, "coco")), text);
    assert_eq!(backend.dataset(123).unwrap().count, 3);
    let replace = AddDataset {
        dir: &copy,
        replace: true,
        ..first
    };
    assert_eq!(run(&backend, &replace).unwrap().outcome, Outcome::Replaced);
    assert_eq!(backend.dataset(123).unwrap().count, 4);
    assert_eq!(backend.datasets().unwrap().len(), 1);
}

#[test]
fn what_cannot_be_a_dataset_is_refused_by_name() {
    let world = World::new();
    let (dir, backend) = (fill(&world), world.open());
    let base = fs::canonicalize(world.root.path()).unwrap();
    let told = |dir: &Path| {
        let error = run(&backend, &add(dir, "coco")).unwrap_err();
        assert!(error.hint().is_some(), "{error}");
        error.to_string().replace(&base.display().to_string(), "")
    };
    let dir = fs::canonicalize(dir).unwrap();
    assert_eq!(
        told(&base.join("none")),
        "/none cannot be added: it does not exist"
    );
    assert_eq!(
        told(&dir.join("images/val/b.jpg")),
        "/data/images/val/b.jpg is not a folder"
    );
    fs::create_dir(base.join("empty")).unwrap();
    assert_eq!(told(&base.join("empty")), "/empty has no files");

    let link = dir.join("link");
    let with = |target: &str| {
        let _ = fs::remove_file(&link);
        symlink(target, &link).unwrap();
        told(&dir)
    };
    assert_eq!(
        with("/etc/hostname"),
        "/data/link is a link that leads out of the folder, to /etc/hostname"
    );
    assert_eq!(
        with("../sent"),
        "/data/link is a link that leads out of the folder, to /sent"
    );
    assert_eq!(with("nowhere"), "/data/link is a link that leads nowhere");
    assert_eq!(
        with("."),
        "/data/link is a link that leads back to where it is"
    );
    assert_eq!(
        with("link"),
        "/data/link is a link that leads back to where it is"
    );
    // One that stays inside is a file like any other.
    fs::remove_file(&link).unwrap();
    symlink("images/val/b.jpg", &link).unwrap();
    assert_eq!(
        run(&backend, &add(&dir, "linked")).unwrap().dataset.count,
        4
    );
    fs::remove_file(&link).unwrap();

    let pipe = std::process::Command::new("mkfifo").arg(&link).status();
    assert!(pipe.unwrap().success());
    assert_eq!(told(&dir), "/data/link is neither a file nor a folder");
    fs::remove_file(&link).unwrap();

    for name in ["", " x", "12", "a\nb"] {
        let error = run(&backend, &add(&dir, name)).unwrap_err();
        assert!(matches!(error, DatasetError::Name(_)), "{name:?}: {error}");
    }
    let splits = [("a/b".to_owned(), "images".to_owned())];
    let odd = [
        AddDataset {
            id: Some(0),
            ..add(&dir, "x")
        },
        AddDataset {
            format: Some("a b"),
            ..add(&dir, "x")
        },
        AddDataset {
            splits: &splits,
            ..add(&dir, "x")
        },
    ];
    assert!(odd.iter().all(|add| run(&backend, add).is_err()));
    let cancel = Cancel::default();
    cancel.cancel();
    let stopped = backend.dataset_add(&add(&dir, "x"), &cancel, &|_| {});
    assert!(matches!(stopped, Err(DatasetError::Cancelled)));
}

#[test]
fn progress_ends_with_everything_done() {
    let world = World::new();
    let (dir, backend) = (fill(&world), world.open());
    let most = AtomicU64::new(0);
    let steps = |step: crate::Progress| {
        assert_eq!((step.total_files, step.total_bytes), (3, 52));
        most.fetch_max(step.bytes, Ordering::SeqCst);
    };
    backend
        .dataset_add(&add(&dir, "coco"), &Cancel::default(), &steps)
        .unwrap();
    assert_eq!(most.into_inner(), 52);
}

#[test]
fn a_file_is_handed_out_only_as_it_was() {
    let world = World::new();
    let (dir, backend) = (fill(&world), later(&world));
    let dataset = run(&backend, &add(&dir, "coco")).unwrap().dataset;
    let item = backend
        .dataset_items(dataset.id, None, 1, 0)
        .unwrap()
        .items
        .remove(0);
    let path = dir.join(&item.path);
    let text = |backend: &Embedded| {
        let (_, mut file) = backend.dataset_open(item.id).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        text
    };
    assert_eq!(text(&backend), "images/train/a.jpg");
    // Another file with the same bytes is as good.
    fs::remove_file(&path).unwrap();
    fs::write(&path, "images/train/a.jpg").unwrap();
    assert_eq!(text(&backend), "images/train/a.jpg");
    for other in ["images/train/A.jpg", "longer than it was before", ""] {
        fs::write(&path, other).unwrap();
        let error = backend.dataset_open(item.id).unwrap_err();
        assert!(matches!(error, BackendError::Changed(_)));
        assert_eq!(
            error.to_string(),
            "images/train/a.jpg changed since it was added; add it again with --replace"
        );
    }
    fs::remove_file(&path).unwrap();
    let gone = backend.dataset_open(item.id).unwrap_err();
    assert!(matches!(gone, BackendError::Changed(_)));
    symlink("/etc/hostname", &path).unwrap();
    let led_out = backend.dataset_open(item.id).unwrap_err();
    assert!(matches!(led_out, BackendError::Changed(_)));
    assert!(matches!(
        backend.dataset_open(99),
        Err(BackendError::NoItem(99))
    ));
}

#[test]
fn a_failed_commit_changes_nothing() {
    let world = World::new();
    let (dir, backend) = (fill(&world), world.open());
    run(&backend, &add(&dir, "coco")).unwrap();
    fs::write(dir.join("new"), "new").unwrap();
    let full: Hook = Arc::new(|point| match point {
        "backend.commit" => Err(std::io::ErrorKind::StorageFull.into()),
        _ => Ok(()),
    });
    let options = Options {
        hook: Some(full),
        ..options()
    };
    let broken = Embedded::open(&world.data(), options).unwrap();
    let replace = AddDataset {
        id: Some(1),
        replace: true,
        ..add(&dir, "coco")
    };
    let error = run(&broken, &replace).unwrap_err().to_string();
    assert_eq!(
        error,
        "cannot write the backend's database: the disk is full"
    );
    assert_eq!(backend.dataset(1).unwrap().count, 3);
    assert_eq!(backend.dataset_items(1, None, 9, 0).unwrap().total, 3);
}
