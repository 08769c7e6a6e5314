//! Records of runs, and following them.

use std::io::Write;
use std::process::Command;

use super::*;
use crate::{BackendError, Follower, NewRun, RunEvent, RunFilter, RunStatus, RunUpdate};

fn new(plugin: &str) -> NewRun {
    NewRun {
        plugin: plugin.to_owned(),
        version: "0.1.0".to_owned(),
        action: "train".to_owned(),
        mode: "local".to_owned(),
        params: json!({"epochs": 5}),
        meta: json!({"a": 1}),
        pid: Some(std::process::id()),
        begins: false,
        time: Some(100.5),
    }
}

fn status(status: RunStatus) -> RunUpdate {
    RunUpdate {
        status: Some(status),
        ..RunUpdate::default()
    }
}

#[test]
fn a_run_is_recorded_from_its_beginning_to_its_end() {
    let world = World::new();
    let backend = world.open();
    let id = backend.run_create(&new("yolo")).unwrap();
    let run = backend.run(id).unwrap();
    assert_eq!(
        (run.status, run.created, run.started),
        (RunStatus::Pending, 100.5, None)
    );
    let begun = RunUpdate {
        time: Some(101.25),
        meta: Some(json!({"b": 2})),
        ..status(RunStatus::Running)
    };
    backend.run_update(id, &begun).unwrap();
    let ended = RunUpdate {
        time: Some(103.0),
        result: Some(json!({"ok": true})),
        metrics: Some(json!({"train": {"loss": 0.5}})),
        exit: Some(0),
        ..status(RunStatus::Succeeded)
    };
    backend.run_update(id, &ended).unwrap();
    // What comes late changes what it names and no more.
    let late = RunUpdate {
        progress: Some(json!({"train": {"percent": 100}})),
        ..RunUpdate::default()
    };
    backend.run_update(id, &late).unwrap();
    let run = world.open().run(id).unwrap();
    assert_eq!(run.status, RunStatus::Succeeded);
    assert_eq!((run.started, run.finished), (Some(101.25), Some(103.0)));
    assert_eq!(run.meta, json!({"a": 1, "b": 2}));
    assert_eq!(run.result, json!({"ok": true}));
    assert_eq!((run.exit, &run.error), (Some(0), &None));
    let back = backend
        .run_update(id, &status(RunStatus::Running))
        .unwrap_err();
    assert_eq!(
        back.to_string(),
        "run 1 is over (SUCCEEDED); it cannot be RUNNING again"
    );
    // A crash after the result is a failure.
    backend.run_update(id, &status(RunStatus::Failed)).unwrap();
    assert_eq!(backend.run(id).unwrap().status, RunStatus::Failed);
    assert!(matches!(backend.run(9), Err(BackendError::NoRun(9))));
    assert!(matches!(
        backend.run_update(9, &late),
        Err(BackendError::NoRun(9))
    ));
}

#[test]
fn runs_are_listed_newest_first() {
    let world = World::new();
    let backend = world.open();
    for plugin in ["a", "b", "a"] {
        backend.run_create(&new(plugin)).unwrap();
    }
    backend.run_update(3, &status(RunStatus::Stopped)).unwrap();
    let ids = |filter: &RunFilter| {
        let page = backend.runs(filter).unwrap();
        let ids: Vec<i64> = page.items.iter().map(|run| run.id).collect();
        (ids, page.total)
    };
    let all = RunFilter::default();
    assert_eq!(ids(&all), (vec![3, 2, 1], 3));
    let some = RunFilter {
        limit: 1,
        offset: 1,
        ..all.clone()
    };
    assert_eq!(ids(&some), (vec![2], 3));
    let one = RunFilter {
        plugin: Some("a".to_owned()),
        ..all.clone()
    };
    assert_eq!(ids(&one), (vec![3, 1], 2));
    let stopped = RunFilter {
        status: Some(RunStatus::Stopped),
        ..all
    };
    assert_eq!(ids(&stopped), (vec![3], 1));
}

#[test]
fn runs_are_stamped_with_parts_of_seconds() {
    use std::sync::atomic::{AtomicU32, Ordering};
    let world = World::new();
    let quarters = AtomicU32::new(400);
    let options = Options {
        fine_clock: Arc::new(move || f64::from(quarters.fetch_add(1, Ordering::SeqCst)) / 4.0),
        ..Options::default()
    };
    let backend = Embedded::open(&world.data(), options).unwrap();
    let unstamped = NewRun {
        begins: true,
        time: None,
        ..new("quick")
    };
    let id = backend.run_create(&unstamped).unwrap();
    let ended = status(RunStatus::Succeeded);
    backend.run_update(id, &ended).unwrap();
    let run = backend.run(id).unwrap();
    assert_eq!(
        (run.created, run.started, run.finished),
        (100.0, Some(100.0), Some(100.25))
    );
}

#[test]
fn a_run_may_begin_with_its_record() {
    let world = World::new();
    let own = NewRun {
        begins: true,
        ..new("yolo")
    };
    let id = world.open().run_create(&own).unwrap();
    let run = world.open().run(id).unwrap();
    assert_eq!(
        (run.status, run.created, run.started, run.finished),
        (RunStatus::Running, 100.5, Some(100.5), None)
    );
}

#[test]
fn a_run_whose_process_is_gone_has_failed() {
    let world = World::new();
    let backend = world.open();
    let mut child = Command::new("sleep").arg("60").spawn().unwrap();
    let own = NewRun {
        pid: Some(child.id()),
        ..new("yolo")
    };
    let id = backend.run_create(&own).unwrap();
    backend.run_update(id, &status(RunStatus::Running)).unwrap();
    assert_eq!(backend.run(id).unwrap().status, RunStatus::Running);
    let mut follower = Follower::new(id, true);
    assert!(follower.step(&backend).unwrap().over.is_none());
    child.kill().unwrap();
    child.wait().unwrap();
    let run = backend.run(id).unwrap();
    assert_eq!(run.status, RunStatus::Failed);
    assert_eq!(
        run.error.unwrap(),
        json!({"kind": "lost", "message": "the process ended without a word"})
    );
    assert_eq!(
        backend.runs(&RunFilter::default()).unwrap().items[0].status,
        RunStatus::Failed
    );
    assert!(follower.step(&backend).unwrap().over.is_some());
    // One that said how it ended is believed.
    backend
        .run_update(id, &status(RunStatus::Succeeded))
        .unwrap();
    assert_eq!(backend.run(id).unwrap().status, RunStatus::Succeeded);
}

#[test]
fn events_are_kept_in_order_whoever_writes_them() {
    let world = World::new();
    let backend = world.open();
    let id = backend.run_create(&new("yolo")).unwrap();
    let many: Vec<RunEvent> = (0..10_000)
        .map(|index| RunEvent::message(f64::from(index), "info", &index.to_string()))
        .collect();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let (world, many) = (&world, &many);
            scope.spawn(move || {
                let own = world.open();
                for batch in many.chunks(1000) {
                    own.run_append(id, batch).unwrap();
                }
            });
        }
    });
    let all = backend.run_events(id, 0, u32::MAX).unwrap();
    assert!(all.iter().map(|(number, _)| *number).eq(1..=20_000));
    assert_eq!(backend.run_events(id, 19_990, 5).unwrap().len(), 5);
    let odd = RunEvent {
        time: f64::NAN,
        kind: "anything".to_owned(),
        level: None,
        step: Some("s".to_owned()),
        data: Value::Null,
    };
    backend.run_append(id, &[odd]).unwrap();
    assert!(matches!(
        backend.run_append(9, &many),
        Err(BackendError::NoRun(9))
    ));
    backend.run_append(0, &many[..1]).unwrap();
}

#[test]
fn a_batch_is_written_whole_or_not_at_all() {
    let world = World::new();
    world.open().run_create(&new("yolo")).unwrap();
    let broken = world.hooked(|_| Err(std::io::ErrorKind::StorageFull.into()));
    let events = [
        RunEvent::message(1.0, "info", "a"),
        RunEvent::message(2.0, "info", "b"),
    ];
    assert!(broken.run_append(1, &events).is_err());
    assert!(broken.run_update(1, &status(RunStatus::Running)).is_err());
    let backend = world.open();
    assert_eq!(backend.run_events(1, 0, 9).unwrap(), []);
    assert_eq!(backend.run(1).unwrap().status, RunStatus::Pending);
}

#[test]
fn following_reads_everything_once_in_whole_lines() {
    let world = World::new();
    let backend = world.open();
    let id = backend.run_create(&new("yolo")).unwrap();
    let mut follower = Follower::new(id, true);
    let step = follower.step(&backend).unwrap();
    assert!(step.output.is_empty() && step.events.is_empty() && step.over.is_none());
    let mut file = fs::File::create(backend.run_output(id)).unwrap();
    file.write_all(b"one\ntw").unwrap();
    let text = |name: &str| RunEvent::message(1.0, "info", name);
    backend.run_append(id, &[text("a")]).unwrap();
    let step = follower.step(&backend).unwrap();
    assert_eq!((&step.output[..], step.events.len()), (&b"one\n"[..], 1));
    file.write_all(b"o").unwrap();
    backend.run_append(id, &[text("b")]).unwrap();
    backend
        .run_update(id, &status(RunStatus::Succeeded))
        .unwrap();
    let step = follower.step(&backend).unwrap();
    assert_eq!(
        (&step.output[..], step.events[0].1.text()),
        (&b"two"[..], Some("b"))
    );
    assert!(step.over.is_some());
    // Much at once comes in parts.
    let long = vec![b'x'; 3 << 20];
    fs::write(backend.run_output(id), &long).unwrap();
    let mut follower = Follower::new(id, true);
    let (mut read, mut steps) = (0, 0);
    loop {
        let step = follower.step(&backend).unwrap();
        read += step.output.len();
        steps += 1;
        if step.over.is_some() {
            break;
        }
    }
    assert_eq!((read, steps), (long.len(), 4));
}
