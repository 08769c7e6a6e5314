//! Jobs that an agent runs: which release is meant, who is waited for, and what becomes of
//! processes that say nothing.

use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::*;
use crate::agent::{Agent, Executor, STOP, Stopped};
use crate::{Asked, BackendError, Embedded, RunStatus};

fn asked(plugin: &str) -> Asked {
    Asked {
        plugin: plugin.to_owned(),
        version: None,
        variant: None,
        debug: false,
        action: "train".to_owned(),
        params: json!({}),
        language: None,
        agent: 1,
    }
}

/// A backend with some releases.
fn published() -> (World, Arc<Embedded>) {
    let world = World::new();
    let backend = world.open();
    for sample in [
        world.sample("yolo", "1.9.0", "a"),
        world.sample("yolo", "1.10.0", "b"),
        world.sample("yolo", "1.2.0", "c"),
        world.sample("yolo", "2.0.0", "d").variant("acme"),
        world.sample("yolo", "3.0.0", "e").debug(),
        world.sample("new", "0.1.0", "f").debug(),
    ] {
        backend.create(&sample.upload()).unwrap();
    }
    (world, Arc::new(backend))
}

#[test]
fn the_newest_release_that_fits_is_meant() {
    let (_world, backend) = published();
    let found = |asked: Asked| {
        let found = backend
            .job_release(&asked)
            .map_err(|error| error.to_string());
        found.map(|release| release.slot.version)
    };
    assert_eq!(found(asked("yolo")).unwrap(), "1.10.0");
    let version = |version: &str| Asked {
        version: Some(version.to_owned()),
        ..asked("yolo")
    };
    assert_eq!(found(version("1.9.0")).unwrap(), "1.9.0");
    assert_eq!(found(version("debug")).unwrap(), "3.0.0");
    // A debug release is taken where it is wanted and nothing else fits.
    let debug = |asked: Asked| Asked {
        debug: true,
        ..asked
    };
    assert_eq!(found(debug(asked("yolo"))).unwrap(), "1.10.0");
    assert_eq!(found(debug(version("3.0.0"))).unwrap(), "3.0.0");
    assert_eq!(found(debug(asked("new"))).unwrap(), "0.1.0");
    let variant = Asked {
        variant: Some("acme".to_owned()),
        ..asked("yolo")
    };
    assert_eq!(found(variant.clone()).unwrap(), "2.0.0");
    let none = found(asked("new")).unwrap_err();
    assert_eq!(
        none,
        "plugin `new` has no formal release; there is 0.1.0 (debug)"
    );
    let none = found(version("9.9.9")).unwrap_err();
    assert!(
        none.contains("there is 3.0.0 (debug), 2.0.0+acme, 1.10.0, 1.9.0, 1.2.0"),
        "{none}"
    );
    let none = found(Asked {
        version: Some("1.9.0".to_owned()),
        ..variant
    });
    assert!(
        none.unwrap_err()
            .contains("(variant `acme`) has no release 1.9.0")
    );
    let none = found(asked("other")).unwrap_err();
    assert_eq!(none, "there is no plugin `other`; there is new, yolo");
    let none = found(Asked {
        action: "fly".to_owned(),
        ..asked("yolo")
    });
    assert!(
        none.unwrap_err()
            .starts_with("Action not found: fly; there is ")
    );
}

/// A process that reads its order, makes a file of that name, and does as the script says.
struct Script(&'static str);

impl Executor for Script {
    fn command(&self) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &format!("read -r order; {}", self.0)]);
        command
    }
}

struct Nothing;

impl Executor for Nothing {
    fn command(&self) -> Command {
        Command::new("/no/such/program")
    }
}

#[track_caller]
fn over(backend: &Embedded, id: i64) -> crate::Run {
    let begun = Instant::now();
    loop {
        let run = backend.run(id).unwrap();
        if run.status.is_over() {
            return run;
        }
        assert!(begun.elapsed() < Duration::from_mins(1), "it goes on");
        thread::sleep(Duration::from_millis(5));
    }
}

fn kind(run: &crate::Run) -> String {
    let error = run.error.as_ref().unwrap();
    format!(
        "{} {}",
        error["kind"].as_str().unwrap(),
        error["message"].as_str().unwrap()
    )
}

#[test]
fn a_process_without_a_word_is_a_failed_job() {
    let (_world, backend) = published();
    let agent = Agent::start(&backend, Script("exit 3"), 1).unwrap();
    let (run, is_new) = agent.desk().submit(&backend, &asked("yolo"), None).unwrap();
    assert!(is_new && run.version == "1.10.0" && run.status == RunStatus::Pending);
    let failed = over(&backend, run.id);
    assert!(
        kind(&failed).starts_with("agent the process that ran the job ended"),
        "{failed:?}"
    );
    assert_eq!(failed.started, None);
    let events = backend.run_events(run.id, 0, 10).unwrap();
    assert!(
        events[0].1.text().unwrap().contains("without a word"),
        "{events:?}"
    );
    drop(agent);
    let agent = Agent::start(&backend, Nothing, 1).unwrap();
    let (run, _) = agent.desk().submit(&backend, &asked("yolo"), None).unwrap();
    let failed = over(&backend, run.id);
    assert!(kind(&failed).contains("could not be started"), "{failed:?}");
}

#[test]
fn who_waits_is_stopped_at_once_and_who_runs_is_asked() {
    let (_world, backend) = published();
    // Ends well only when it is asked.
    let script = "read -r word; test \"$word\" = stop && exit 0; exit 1";
    assert_eq!(STOP, "stop");
    let agent = Agent::start(&backend, Script(script), 1).unwrap();
    let desk = agent.desk();
    let submit = |name| desk.submit(&backend, &asked("yolo"), Some(name)).unwrap();
    let ((first, _), (second, _)) = (submit("first"), submit("second"));
    assert_eq!(submit("second"), (backend.run(second.id).unwrap(), false));
    let other = Asked {
        params: json!({"epochs": 2}),
        ..asked("yolo")
    };
    let taken = desk.submit(&backend, &other, Some("second"));
    assert!(matches!(taken, Err(BackendError::Taken(_))), "{taken:?}");
    assert_eq!(desk.stop(&backend, second.id).unwrap(), Stopped::AtOnce);
    assert_eq!(backend.run(second.id).unwrap().status, RunStatus::Stopped);
    // As its process does when it begins to run the action.
    let running = crate::RunUpdate {
        status: Some(RunStatus::Running),
        ..crate::RunUpdate::default()
    };
    backend.run_update(first.id, &running).unwrap();
    assert_eq!(desk.stop(&backend, first.id).unwrap(), Stopped::Asked);
    assert_eq!(over(&backend, first.id).status, RunStatus::Stopped);
    let begun = Instant::now();
    while desk.load().0 > 0 {
        assert!(begun.elapsed() < Duration::from_mins(1), "it goes on");
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(desk.stop(&backend, first.id).unwrap(), Stopped::Unknown);
}

#[test]
fn jobs_end_with_their_agent() {
    let (world, backend) = published();
    let agent = Agent::start(&backend, Script("read -r word; exit 0"), 1).unwrap();
    let submit = |name| {
        agent
            .desk()
            .submit(&backend, &asked("yolo"), Some(name))
            .unwrap()
            .0
            .id
    };
    let (first, second) = (submit("first"), submit("second"));
    drop(agent);
    for id in [first, second] {
        let lost = backend.run(id).unwrap();
        assert!(
            lost.is_lost() && lost.status == RunStatus::Failed,
            "{lost:?}"
        );
        assert_eq!(backend.run_events(id, 0, 10).unwrap().len(), 1);
    }
    // Of one whose process is gone it is known whoever looks, and recorded by the next agent.
    let release = backend.job_release(&asked("yolo")).unwrap();
    let (gone, _) = backend
        .job_create(&asked("yolo"), &release, Some("gone"))
        .unwrap();
    let database = rusqlite::Connection::open(world.data().join("backend.db")).unwrap();
    let row = "UPDATE run SET pid = 0x3fffffff, process = NULL WHERE id = ?1";
    database.execute(row, [gone.id]).unwrap();
    assert!(backend.run(gone.id).unwrap().is_lost());
    assert!(backend.run_events(gone.id, 0, 10).unwrap().is_empty());
    drop(Agent::start(&backend, Nothing, 1).unwrap());
    assert_eq!(backend.run_events(gone.id, 0, 10).unwrap().len(), 1);
    let status: String = database
        .query_row("SELECT status FROM run WHERE id = ?1", [gone.id], |row| {
            row.get(0)
        })
        .unwrap();
    assert_eq!(status, "FAILED");
}
