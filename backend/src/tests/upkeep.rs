//! Checking and sweeping the folder.

use std::time::{Duration, SystemTime};

use super::*;
use crate::Collected;

const HOUR: Duration = Duration::from_hours(1);

/// A backend to which it is `later` than now.
fn later(world: &World, later: Duration) -> Embedded {
    let clock = move || {
        let now = SystemTime::now() + later;
        now.duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_secs() as i64
    };
    Embedded::open(
        &world.data(),
        Options {
            clock: Arc::new(clock),
            ..Options::default()
        },
    )
    .unwrap()
}

#[test]
fn every_kind_of_damage_is_found() {
    let world = World::new();
    let backend = world.open();
    for code in ["good", "missing", "short", "changed"] {
        create(&backend, &world.sample(code, "0.1.0", code)).unwrap();
    }
    assert_eq!(backend.check().unwrap(), []);
    for name in world.files() {
        let path = world.data().join("files").join(&name);
        let mut bytes = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        match name.split('-').next().unwrap() {
            "missing" => continue,
            "short" => bytes.truncate(10),
            "changed" => bytes[40] ^= 1,
            _ => {}
        }
        fs::write(&path, bytes).unwrap();
    }
    let problems = backend.check().unwrap();
    let mut settings = insta::Settings::clone_current();
    settings.add_filter("[0-9a-f]{64}", "[digest]");
    settings.add_filter(r"it had \d+", "it had [size]");
    let text: Vec<String> = problems.iter().map(ToString::to_string).collect();
    settings.bind(|| insta::assert_snapshot!(text.join("\n")));
}

#[test]
fn only_old_files_that_no_release_names_are_swept() {
    let world = World::new();
    create(&world.open(), &world.sample("yolo", "0.1.0", "a")).unwrap();
    let orphan = world.data().join("files/left-behind.zip");
    fs::write(&orphan, "partial").unwrap();

    assert_eq!(
        later(&world, HOUR / 2).collect(HOUR).unwrap(),
        Some(Collected::default())
    );
    assert_eq!(world.files().len(), 2);
    let backend = later(&world, HOUR * 2);
    assert_eq!(
        backend.collect(HOUR).unwrap(),
        Some(Collected { files: 1, bytes: 7 })
    );
    assert_eq!(world.files().len(), 1);
    assert_eq!(backend.check().unwrap(), []);
}

#[test]
fn a_sweep_leaves_a_running_create_alone() {
    let world = World::new();
    let sweeper = later(&world, HOUR * 2);
    let sample = world.sample("yolo", "0.1.0", "a").read_only();
    let world = Arc::new(world);
    let swept = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&swept);
    let backend = world.hooked(move |point| {
        if ["backend.sync", "backend.sync-dir"].contains(&point) {
            seen.lock()
                .unwrap()
                .push(sweeper.collect(Duration::ZERO).unwrap());
        }
        Ok(())
    });
    create(&backend, &sample).unwrap();
    assert_eq!(*swept.lock().unwrap(), [None, None]);
    assert_eq!(backend.check().unwrap(), []);
}
