//! Several publishes at once, publishes cut short at every step, and steps that fail.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::{
    fs,
    process::Child,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use synapse_tests::{Document, Run, Space};

const PROGRAM: &str = env!("CARGO_BIN_EXE_synapse_under_test");
const PUBLISH: [&str; 5] = ["plugin", "publish", "--all", "--local", "--json"];
const BUMP: [&str; 2] = ["--bump", "patch"];
const PLUGINS: usize = 3;
/// More steps than a publish of tiny plugins has.
const MANY: u64 = 1000;

fn finish(child: Child) -> Document {
    Document::of(child.wait_with_output().unwrap().into())
}

/// One release each, everything found again, and a store without damage.
#[track_caller]
fn expect_whole(space: &Space, versions: &[&str]) {
    for (code, found) in space.releases() {
        assert_eq!(found, versions, "{code}");
    }
    space.expect_clean_store();
    let args: &[&str] = if versions == ["debug"] {
        &["--all", "--debug"]
    } else {
        &["--all"]
    };
    space.publish(args).expect_nothing_done();
}

#[test]
fn two_publishes_at_once_share_the_work() {
    for trial in 0..10 {
        let mut space = Space::workspace(PROGRAM);
        // Some slow enough to meet at every step.
        if trial % 2 == 1 {
            space.set("SYNAPSE_TEST_SLOW_MS", "3");
        }
        let start = || space.command(&PUBLISH).spawn().unwrap();
        let both = [start(), start()].map(|child| finish(child).expect(0));
        let sum = |name: &str| {
            both.iter()
                .map(|document| document.total(name))
                .sum::<u64>()
        };
        assert_eq!(sum("nodes_run"), 35, "trial {trial}: {both:#?}");
        assert_eq!(
            (sum("published"), sum("up_to_date")),
            (7, 7),
            "trial {trial}"
        );
        let one: Vec<String> = space
            .releases()
            .into_values()
            .map(|versions| versions.len().to_string())
            .collect();
        assert_eq!(one, ["1"; 7]);
        space.expect_clean_store();
        space.publish(&["--all"]).expect_nothing_done();
    }
}

#[test]
fn two_that_raise_versions_raise_them_once() {
    for _ in 0..4 {
        let space = Space::tiny(PROGRAM, PLUGINS);
        space.publish(&["--all"]).expect(0);
        for index in 0..PLUGINS {
            space.append(&format!("plugins/p{index}/README.md"), "edited\n");
        }
        let args = [&PUBLISH[..], &BUMP].concat();
        let start = || {
            space
                .command(&args)
                .env("SYNAPSE_TEST_SLOW_MS", "3")
                .spawn()
                .unwrap()
        };
        let both = [start(), start()].map(|child| finish(child).expect(0));
        let sum = |name: &str| {
            both.iter()
                .map(|document| document.total(name))
                .sum::<u64>()
        };
        assert_eq!((sum("nodes_run"), sum("published")), (12, 3), "{both:#?}");
        expect_whole(&space, &["0.1.0", "0.1.1"]);
    }
}

#[test]
fn many_at_once_of_every_kind_meet_no_error() {
    let space = Space::tiny(PROGRAM, 6);
    let commands: [&[&str]; 6] = [
        &PUBLISH,
        &["plugin", "publish", "--all", "--local", "--json", "--debug"],
        &[
            "plugin", "publish", "--local", "--json", "--plugin", "tiny-1", "--plugin", "tiny-3",
        ],
        &["status", "--all", "--local", "--json"],
        &["cache", "check", "--json"],
        &["plan", "--all", "--local", "--json"],
    ];
    for _ in 0..3 {
        let children: Vec<Child> = commands
            .iter()
            .chain(&commands)
            .map(|args| space.command(args).spawn().unwrap())
            .collect();
        for child in children {
            let run: Run = child.wait_with_output().unwrap().into();
            assert_eq!(run.json()["ok"], true, "{run:#?}");
            run.expect(0);
        }
    }
    for (code, found) in space.releases() {
        assert_eq!(found, ["0.1.0", "debug"], "{code}");
    }
}

#[test]
fn collection_beside_a_publish_takes_nothing_it_needs() {
    let space = Space::tiny(PROGRAM, PLUGINS);
    for round in 0..6 {
        for index in 0..PLUGINS {
            space.append(&format!("plugins/p{index}/README.md"), "edited\n");
        }
        let debug = [&PUBLISH[..], &["--debug"]].concat();
        let publish = space
            .command(&debug)
            .env("SYNAPSE_TEST_SLOW_MS", "2")
            .spawn()
            .unwrap();
        thread::sleep(Duration::from_millis(5 * round));
        let gc = space.synapse(&["cache", "gc", "--max-size", "0", "--max-age", "0", "--json"]);
        assert!(matches!(gc.code(), 0 | 3), "{gc:?}");
        let document = finish(publish).expect(0);
        assert_eq!(document.total("published"), PLUGINS as u64);
        space.expect_clean_store();
        let clear = space.synapse(&["cache", "clear", "--json"]).expect(0);
        assert_eq!(clear.json()["ok"], true);
    }
    expect_whole(&space, &["debug"]);
}

/// Kills a publish at every step in turn; the next one must put it right.
fn kill_sweep(prepare: impl Fn(&Space), args: &[&str], versions: &[&str]) {
    let args = [&PUBLISH[..], args].concat();
    for step in 1..MANY {
        let space = Space::tiny(PROGRAM, PLUGINS);
        prepare(&space);
        let run = space.synapse_with("SYNAPSE_TEST_KILL_AT", &step.to_string(), &args);
        if !run.was_killed() {
            assert!(step > 15, "there are more steps than {step}");
            Document::of(run).expect(0);
            return;
        }
        let again = Document::of(space.synapse(&args)).expect(0);
        assert_eq!(again.total("failed"), 0, "killed at {step}");
        expect_whole(&space, versions);
    }
    panic!("there is no end to the steps");
}

#[test]
fn killed_at_every_step_of_a_first_publish() {
    kill_sweep(|_| {}, &[], &["0.1.0"]);
}

#[test]
fn killed_at_every_step_of_a_debug_publish() {
    let prepare = |space: &Space| {
        space.publish(&["--all", "--debug"]).expect(0);
        space.append("plugins/p0/README.md", "edited\n");
        space.append("plugins/p2/README.md", "edited\n");
    };
    kill_sweep(prepare, &["--debug"], &["debug"]);
}

#[test]
fn killed_at_every_step_of_a_bump() {
    let prepare = |space: &Space| {
        space.publish(&["--all"]).expect(0);
        for index in 0..PLUGINS {
            space.append(&format!("plugins/p{index}/README.md"), "edited\n");
        }
    };
    kill_sweep(prepare, &BUMP, &["0.1.0", "0.1.1"]);
}

/// Says what went wrong in a way that people can use, and blames nobody else.
#[track_caller]
fn expect_clean_failure(run: &Run, what: &str) {
    let code = run.code();
    assert!(matches!(code, 0 | 3 | 4), "{what}: {run:#?}");
    assert!(!run.stderr.contains("panicked"), "{what}: {run:#?}");
    let document = Document::of(run.clone());
    assert_eq!(
        code == 0,
        document.errors().is_empty(),
        "{what}: {:#}",
        document.value
    );
    for error in document.value["errors"].as_array().unwrap() {
        let message = error["message"].as_str().unwrap();
        let full = ["No space left", "full", "space"]
            .iter()
            .any(|word| message.contains(word));
        assert!(full, "{what}: it was the disk: {error:#}");
        assert!(error["hint"].is_string(), "{what}: {error:#}");
    }
}

/// Fails a publish at every step in turn; the next one must put it right.
fn fail_sweep(variable: &str, args: &[&str], prepare: impl Fn(&Space), versions: &[&str]) {
    let args = [&PUBLISH[..], args].concat();
    let steps = {
        let mut space = Space::tiny(PROGRAM, PLUGINS);
        prepare(&space);
        let log = space.root().join("steps");
        space.set("SYNAPSE_TEST_STEPS", log.to_str().unwrap());
        space.synapse(&args).expect(0);
        fs::read_to_string(log).unwrap().lines().count() as u64
    };
    assert!(steps > 15, "{steps}");
    let mut failed = 0;
    for step in 1..=steps {
        let space = Space::tiny(PROGRAM, PLUGINS);
        prepare(&space);
        let run = space.synapse_with(variable, &step.to_string(), &args);
        expect_clean_failure(&run, &format!("{variable}={step}"));
        failed += u64::from(run.code() != 0);
        let again = Document::of(space.synapse(&args)).expect(0);
        assert_eq!(again.total("failed"), 0, "failed at {step}");
        expect_whole(&space, versions);
    }
    assert!(
        failed * 2 > steps,
        "only {failed} of {steps} failures were noticed"
    );
}

#[test]
fn a_disk_that_is_full_for_a_moment() {
    fail_sweep("SYNAPSE_TEST_FAIL_AT", &[], |_| {}, &["0.1.0"]);
}

#[test]
fn a_disk_that_stays_full() {
    fail_sweep("SYNAPSE_TEST_FAIL_FROM", &[], |_| {}, &["0.1.0"]);
}

#[test]
fn a_disk_that_is_full_during_a_bump() {
    let prepare = |space: &Space| {
        space.publish(&["--all"]).expect(0);
        for index in 0..PLUGINS {
            space.append(&format!("plugins/p{index}/README.md"), "edited\n");
        }
    };
    fail_sweep("SYNAPSE_TEST_FAIL_AT", &BUMP, prepare, &["0.1.0", "0.1.1"]);
}

#[test]
fn interrupted_at_every_third_step() {
    let mut interrupted = 0;
    for step in (1..MANY).step_by(3) {
        let space = Space::tiny(PROGRAM, PLUGINS);
        let run = space.synapse_with("SYNAPSE_TEST_INTERRUPT_AT", &step.to_string(), &PUBLISH);
        assert!(matches!(run.code(), 0 | 130), "{step}: {run:#?}");
        let document = Document::of(run);
        interrupted += u64::from(document.run.code() == 130);
        let again = space.publish(&["--all"]).expect(0);
        assert_eq!(
            document.total("published") + again.total("published"),
            PLUGINS as u64,
            "{step}"
        );
        assert_eq!(
            document.total("nodes_run") + again.total("nodes_run"),
            5 * PLUGINS as u64,
            "no work is lost"
        );
        expect_whole(&space, &["0.1.0"]);
        if document.run.code() == 0 && step > 30 {
            assert!(interrupted > 3, "{interrupted}");
            return;
        }
    }
    panic!("there is no end to the steps");
}

#[test]
fn interrupted_at_random_moments() {
    let space = Space::workspace(PROGRAM);
    let start = Instant::now();
    space
        .publish_with("SYNAPSE_TEST_SLOW_MS", "2", &["--all"])
        .expect(0);
    let whole = start.elapsed();
    for trial in 0..12 {
        let space = Space::workspace(PROGRAM);
        let child = space
            .command(&PUBLISH)
            .env("SYNAPSE_TEST_SLOW_MS", "2")
            .spawn()
            .unwrap();
        thread::sleep(whole * trial / 10);
        let _ = kill_process(Pid::from_child(&child), Signal::INT);
        let run: Run = child.wait_with_output().unwrap().into();
        // Before it listens, the signal ends it as it ends any program.
        if run.status.code().is_some() {
            assert!(matches!(run.code(), 0 | 130), "{run:#?}");
            Document::of(run);
        }
        space.publish(&["--all"]).expect(0);
        assert!(
            space
                .releases()
                .values()
                .all(|versions| versions.len() == 1)
        );
        space.expect_clean_store();
        space.publish(&["--all"]).expect_nothing_done();
    }
}

#[test]
fn a_second_interrupt_ends_it_at_once() {
    let space = Space::tiny(PROGRAM, PLUGINS);
    let child = space
        .command(&PUBLISH)
        .env("SYNAPSE_TEST_SLOW_MS", "400")
        .spawn()
        .unwrap();
    thread::sleep(Duration::from_millis(300));
    for _ in 0..2 {
        let _ = kill_process(Pid::from_child(&child), Signal::INT);
        thread::sleep(Duration::from_millis(100));
    }
    let asked = Instant::now();
    let run: Run = child.wait_with_output().unwrap().into();
    assert!(
        asked.elapsed() < Duration::from_millis(1500),
        "{:?}",
        asked.elapsed()
    );
    assert_eq!(run.code(), 130);
    space.publish(&["--all"]).expect(0);
    expect_whole(&space, &["0.1.0"]);
}
