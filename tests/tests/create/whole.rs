//! A plugin is made whole or not at all, and takes nobody's place.

use std::{fs, os::unix::fs::symlink, thread};

use synapse_tests::snapshot;

use crate::{create, names, space};

const ARGS: [&str; 4] = ["--name", "a", "-y", "-q"];

#[test]
fn nothing_that_is_there_is_overwritten() {
    let space = space();
    let place = space.path("synapse-a-plugin");
    let spoils: [fn(&std::path::Path); 3] = [
        |place| fs::create_dir(place).unwrap(),
        |place| fs::write(place, "mine").unwrap(),
        |place| symlink("nowhere", place).unwrap(),
    ];
    for spoil in spoils {
        spoil(&place);
        let before = snapshot(space.cwd());
        let refused = create(&space, &ARGS).expect(1);
        assert!(
            refused
                .stderr
                .contains("is there already; nothing is overwritten"),
            "{refused:?}"
        );
        assert!(
            refused
                .stderr
                .contains("hint: choose another code with --code"),
            "{refused:?}"
        );
        assert_eq!(snapshot(space.cwd()), before);
        if place.is_dir() {
            fs::remove_dir(&place).unwrap();
        } else {
            fs::remove_file(&place).unwrap();
        }
    }
}

#[test]
fn of_many_at_once_one_makes_it() {
    let space = space();
    let runs = thread::scope(|scope| {
        let all = [(); 6].map(|()| scope.spawn(|| create(&space, &ARGS)));
        all.map(|one| one.join().unwrap().code())
    });
    assert_eq!(
        runs.iter().filter(|code| **code == 0).count(),
        1,
        "{runs:?}"
    );
    assert_eq!(
        runs.iter().filter(|code| **code == 1).count(),
        5,
        "{runs:?}"
    );
    assert_eq!(names(space.cwd()), ["synapse-a-plugin"]);
    let place = space.path("synapse-a-plugin/config.yaml");
    assert!(place.is_file());
}

#[test]
fn a_fault_at_any_step_leaves_nothing() {
    let space = space();
    let args = [&ARGS[..], &["--path", "deep/er"]].concat();
    let all = [&["plugin", "create"], &args[..]].concat();
    let mut steps = 0;
    for at in 1.. {
        let at = at.to_string();
        let full = space.synapse_with("SYNAPSE_TEST_FAIL_AT", &at, &all);
        if full.code() == 0 {
            break;
        }
        let full = full.expect(3);
        assert!(full.stderr.contains("No space left on device"), "{full:?}");
        assert!(full.stderr.contains("hint: free some space"), "{full:?}");
        assert_eq!(names(space.cwd()), [""; 0], "after a fault at step {at}");

        let stopped = space.synapse_with("SYNAPSE_TEST_INTERRUPT_AT", &at, &all);
        assert_eq!(stopped.code(), 130, "{stopped:?}");
        assert_eq!(names(space.cwd()), [""; 0], "after Ctrl-C at step {at}");

        let killed = space.synapse_with("SYNAPSE_TEST_KILL_AT", &at, &all);
        assert!(killed.was_killed());
        let place = space.path("deep/er/synapse-a-plugin");
        assert!(!place.exists(), "after a kill at step {at}");
        fs::remove_dir_all(space.path("deep")).unwrap();
        steps += 1;
    }
    let made = snapshot(&space.path("deep/er/synapse-a-plugin"));
    let files = made
        .values()
        .filter(|(mode, _)| mode & 0o170_000 == 0o100_000)
        .count();
    assert_eq!(steps, files + 1, "one for each file, one for the name");
    assert_eq!(names(&space.path("deep/er")), ["synapse-a-plugin"]);
}
