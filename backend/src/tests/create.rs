//! Making releases.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::Barrier;
use std::thread;

use super::*;
use crate::CONTENT_KEY;

#[test]
fn a_release_is_found_again_with_all_that_was_sent() {
    let world = World::new();
    let backend = world.open();
    let sample = world.sample("yolo", "0.1.0", "a");
    let made = create(&backend, &sample).unwrap();

    assert_eq!(made.slot, sample.slot);
    assert_eq!(made.content, Some(sample.content));
    assert_eq!(made.size, Some(sample.size));
    assert_eq!(made.created, 1_700_000_000);
    assert_eq!(fetch(&made), fs::read(&sample.archive).unwrap());
    assert!(
        made.url.contains("/data%20dir%2B%C3%A9/files/yolo-0.1.0-"),
        "{}",
        made.url
    );

    // Another opening sees the same.
    drop(backend);
    let backend = world.open();
    assert_eq!(backend.find(&sample.slot).unwrap(), Some(made.clone()));
    assert_eq!(
        backend.releases("yolo").unwrap(),
        std::slice::from_ref(&made)
    );
    assert_eq!(backend.releases("other").unwrap(), []);
    assert_eq!(backend.all().unwrap(), std::slice::from_ref(&made));
    assert_eq!(backend.content(&made).unwrap(), sample.content);

    let details = backend.release(&made.id).unwrap();
    assert_eq!(details.release, made);
    assert_eq!(details.blake3, sample.blake3);
    assert_eq!(details.readme.as_deref(), Some("# Plugin"));
    assert_eq!(details.requirements, None);
    let mut config = sample.config.clone();
    config[CONTENT_KEY] = json!(sample.content.hex());
    assert_eq!(details.config, config);
}

#[test]
fn a_digest_that_came_in_the_config_is_replaced() {
    let world = World::new();
    let backend = world.open();
    let mut sample = world.sample("yolo", "0.1.0", "a");
    sample.config[CONTENT_KEY] = json!("something old");
    let made = create(&backend, &sample).unwrap();
    let config = backend.release(&made.id).unwrap().config;
    assert_eq!(config[CONTENT_KEY], json!(sample.content.hex()));
}

#[test]
fn a_formal_slot_is_taken_once() {
    let world = World::new();
    let backend = world.open();
    create(&backend, &world.sample("yolo", "0.1.0", "a")).unwrap();
    for text in ["a", "b"] {
        let again = create(&backend, &world.sample("yolo", "0.1.0", text));
        let text = "plugin `yolo` version 0.1.0 already exists";
        assert_eq!(again, Err(ClientError::Exists(text.to_owned())));
    }
    create(&backend, &world.sample("yolo", "0.1.1", "b")).unwrap();
    create(&backend, &world.sample("yolo", "0.1.0", "b").debug()).unwrap();
    assert_eq!(world.files().len(), 3);
}

#[test]
fn variants_have_slots_of_their_own() {
    let world = World::new();
    let backend = world.open();
    let plain = create(&backend, &world.sample("yolo", "0.1.0", "a")).unwrap();
    let sample = world.sample("yolo", "0.1.0", "b").variant("lig");
    let variant = create(&backend, &sample).unwrap();
    assert_eq!(variant.slot.variant.as_deref(), Some("lig"));
    assert_eq!(backend.find(&sample.slot).unwrap(), Some(variant.clone()));
    assert_eq!(backend.releases("yolo").unwrap(), [plain, variant]);
    let text = "plugin `yolo` version 0.1.0 (variant `lig`) already exists";
    assert_eq!(
        create(&backend, &sample),
        Err(ClientError::Exists(text.to_owned()))
    );
}

#[test]
fn a_debug_release_replaces_the_one_of_its_variant() {
    let world = World::new();
    let backend = world.open();
    let first = create(&backend, &world.sample("yolo", "0.1.0", "a").debug()).unwrap();
    let other = world.sample("yolo", "0.1.0", "a").variant("lig").debug();
    let other = create(&backend, &other).unwrap();
    let sample = world.sample("yolo", "0.2.0", "b").debug();
    let second = create(&backend, &sample).unwrap();

    assert_ne!(first.id, second.id);
    assert_eq!(
        backend.releases("yolo").unwrap(),
        [other.clone(), second.clone()]
    );
    assert_eq!(world.files().len(), 2);
    assert_eq!(fetch(&second), fs::read(&sample.archive).unwrap());
    // The version of a debug slot is not compared.
    assert_eq!(backend.find(&first.slot).unwrap(), Some(second));
    assert_eq!(backend.find(&other.slot).unwrap(), Some(other));
}

#[test]
fn a_debug_release_is_not_validated_but_must_be_a_zip() {
    let world = World::new();
    let backend = world.open();
    let archive = world.root.path().join("sent/odd.zip");
    zip_file(&archive, [("no-config.txt", &b"x"[..])]);
    let mut sample = sample_of("yolo", "whatever", archive.clone()).debug();
    sample.config = json!({"category": 3});
    create(&backend, &sample).unwrap();

    fs::write(&archive, "no zip").unwrap();
    let sample = sample_of("yolo", "0.1.0", archive).debug();
    let Err(ClientError::Invalid(problems)) = create(&backend, &sample) else {
        panic!()
    };
    assert!(
        problems[0].starts_with("The archive cannot be read as a ZIP file"),
        "{problems:?}"
    );
    assert_eq!(world.files().len(), 1);
}

#[test]
fn bytes_other_than_announced_are_not_kept() {
    let world = World::new();
    let backend = world.open();
    for linked in [false, true] {
        let mut sample = world.sample("yolo", "0.1.0", &format!("{linked}"));
        if linked {
            sample = sample.read_only();
        }
        let actual = std::mem::replace(&mut sample.blake3, Digest::of(b"other"));
        let expected = sample.blake3;
        assert_eq!(
            create(&backend, &sample),
            Err(ClientError::Mismatch { expected, actual })
        );

        sample.blake3 = actual;
        sample.size += 1;
        assert!(matches!(
            create(&backend, &sample),
            Err(ClientError::Invalid(_))
        ));
        assert_eq!(world.files(), [""; 0]);
        assert_eq!(backend.all().unwrap(), []);
        sample.size -= 1;
        create(&backend, &sample.debug()).unwrap();
        backend.delete(&backend.all().unwrap()[0].id).unwrap();
    }
}

#[test]
fn what_cannot_be_read_is_named() {
    let world = World::new();
    let backend = world.open();
    let mut sample = world.sample("yolo", "0.1.0", "a");
    sample.archive = world.root.path().join("sent/none.zip");
    let Err(ClientError::Unavailable(text)) = create(&backend, &sample) else {
        panic!()
    };
    assert!(text.starts_with("cannot read ") && text.ends_with("none.zip: it does not exist"));
    sample.archive = world.root.path().join("sent");
    let Err(ClientError::Unavailable(text)) = create(&backend, &sample) else {
        panic!()
    };
    assert!(text.ends_with("sent: it is not a file"), "{text}");
}

#[test]
fn only_a_read_only_file_is_linked() {
    let world = World::new();
    let backend = world.open();
    let kept = |release: &Release| {
        let name = release.url.rsplit('/').next().unwrap();
        fs::metadata(world.data().join("files").join(name)).unwrap()
    };

    let sample = world.sample("writable", "0.1.0", "a");
    let meta = kept(&create(&backend, &sample).unwrap());
    assert_eq!((meta.nlink(), meta.mode() & 0o222), (1, 0));
    assert_ne!(fs::metadata(&sample.archive).unwrap().mode() & 0o200, 0);

    let sample = world.sample("blob", "0.1.0", "b").read_only();
    let meta = kept(&create(&backend, &sample).unwrap());
    assert_eq!(meta.ino(), fs::metadata(&sample.archive).unwrap().ino());

    // A link to a link would follow the name, not the bytes.
    let link = world.root.path().join("sent/link.zip");
    std::os::unix::fs::symlink(&sample.archive, &link).unwrap();
    let sample = sample_of("symlink", "0.1.0", link);
    let meta = kept(&create(&backend, &sample).unwrap());
    assert!(meta.is_file());
    assert_eq!(meta.nlink(), 1);
    assert_eq!(world.files().len(), 3);
}

#[test]
fn a_large_archive_is_taken_in_pieces() {
    let world = World::new();
    let archive = world.root.path().join("sent/large.zip");
    let noise: Vec<u8> = (0..3_000_000_u32)
        .map(|it| it.wrapping_mul(2_654_435_761).to_le_bytes()[3])
        .collect();
    let stored = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let mut zip = zip::ZipWriter::new(File::create(&archive).unwrap());
    zip.start_file("noise", stored).unwrap();
    zip.write_all(&noise).unwrap();
    zip.finish().unwrap();
    for (code, read_only) in [("copied", false), ("linked", true)] {
        let sample = sample_of(code, "0.1.0", archive.clone()).debug();
        let sample = if read_only {
            sample.read_only()
        } else {
            sample
        };
        let release = create(&world.open(), &sample).unwrap();
        assert_eq!(Digest::of(&fetch(&release)), sample.blake3);
    }
}

#[test]
fn of_many_creates_at_once_one_wins() {
    let world = World::new();
    let samples: Vec<Sample> = (0..8)
        .map(|it| world.sample("yolo", "0.1.0", &it.to_string()))
        .collect();
    let barrier = Barrier::new(samples.len());
    let results: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = samples
            .iter()
            .map(|sample| {
                scope.spawn(|| {
                    barrier.wait();
                    // The first openings of a new folder race as well.
                    let backend = Embedded::open(&world.data(), options());
                    barrier.wait();
                    create(&backend.unwrap(), sample)
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    let won: Vec<_> = results
        .iter()
        .filter_map(|result| result.as_ref().ok())
        .collect();
    assert_eq!(won.len(), 1, "{results:?}");
    let text = "plugin `yolo` version 0.1.0 already exists".to_owned();
    assert_eq!(
        results
            .iter()
            .filter(|it| **it == Err(ClientError::Exists(text.clone())))
            .count(),
        7
    );
    assert_eq!(world.files().len(), 1);
    assert_eq!(world.open().all().unwrap(), [won[0].clone()]);
    assert_eq!(world.open().check().unwrap(), []);
}

#[test]
fn many_releases_at_once_through_one_handle() {
    let world = World::new();
    let backend = world.open();
    let samples: Vec<Sample> = (0..24)
        .map(|it| {
            // Every third is a debug release of the same slot.
            let sample = world.sample(&format!("p{}", it / 3), "0.1.0", &it.to_string());
            if it % 3 == 0 {
                sample.variant("v").debug()
            } else {
                sample.variant(&format!("v{it}"))
            }
        })
        .collect();
    thread::scope(|scope| {
        for chunk in samples.chunks(6) {
            let backend = &backend;
            scope.spawn(move || {
                for sample in chunk {
                    create(backend, sample).unwrap();
                }
            });
        }
    });
    let ids: BTreeSet<String> = backend.all().unwrap().into_iter().map(|it| it.id).collect();
    assert_eq!(ids.len(), 24);
    assert_eq!(backend.check().unwrap(), []);
}

#[test]
fn the_row_comes_after_the_bytes_and_the_name_are_durable() {
    let world = World::new();
    drop(world.open());
    let steps = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&steps);
    let backend = world.hooked(move |point| {
        seen.lock().unwrap().push(point.to_owned());
        Ok(())
    });
    for text in ["a", "b"] {
        create(
            &backend,
            &world.sample("yolo", "0.1.0", text).read_only().debug(),
        )
        .unwrap();
        let steps = std::mem::take(&mut *steps.lock().unwrap());
        assert_eq!(
            steps[..4],
            [
                "backend.link",
                "backend.sync",
                "backend.sync-dir",
                "backend.commit"
            ]
        );
        // Only then goes what was replaced.
        assert_eq!(
            steps.get(4).map(String::as_str),
            (text == "b").then_some("backend.unlink")
        );
    }
}
