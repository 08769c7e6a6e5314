//! The question before anything leaves this machine, and what each answer leads to.

use std::{fs, thread, time::Duration};

use synapse_tests::{Space, tmux::Tmux};

use crate::{PROGRAM, Site, in_shell, point, settled};

const PUBLISH: [&str; 3] = ["plugin", "publish", "--all"];
/// What the prompt waits with.
const ASKED: &str = "(y/n)";

#[test]
fn nothing_is_sent_without_an_answer() {
    let site = Site::start();
    let mut space = Space::tiny(PROGRAM, 3);
    point(&mut space, &site.serving.url, &site.serving.token);
    let _bound = settled(&space).bind_to_scope();
    for more in [&[][..], &["--json"], &["--events"], &["--quiet"]] {
        let run = space.synapse(&[&PUBLISH[..], more].concat()).expect(2);
        let told = run.stdout.clone() + &run.stderr;
        assert!(told.contains("--yes sends without asking"), "{told}");
        assert!(told.contains("Publish 3 plugins to http://"), "{told}");
    }
    insta::assert_snapshot!("no-terminal", space.synapse(&PUBLISH).text());
    space
        .synapse(&[&PUBLISH[..], &["--dry-run"]].concat())
        .expect(0);

    let declined = Tmux::start(&space, (60, 16), &PUBLISH);
    declined.wait_for(ASKED);
    insta::assert_snapshot!("asked", declined.screen());
    declined.type_in("n");
    assert_eq!(declined.exit(), 1);
    assert!(
        declined.all().ends_with("\nnothing was sent\n"),
        "{}",
        declined.all()
    );
    // In a narrow terminal the place stands in a line of its own.
    let default = Tmux::start(&space, (40, 16), &PUBLISH);
    default.wait_for("Is that right? (y/n)");
    insta::assert_snapshot!("asked-narrow", default.screen());
    default.press("Enter");
    assert_eq!(default.exit(), 1);
    let interrupted = in_shell(&space, (60, 16), &PUBLISH);
    interrupted.wait_for(ASKED);
    interrupted.press("C-c");
    // Before a key is read it is a signal, which asks for the end of work, not of waiting.
    thread::sleep(Duration::from_millis(500));
    if !interrupted.screen().contains("exit 130") {
        interrupted.press("C-c");
    }
    interrupted.wait_for("exit 130");
    let all = interrupted.all();
    assert!(all.contains("interrupted; nothing was sent"), "{all}");
    assert!(interrupted.shows_cursor());
    let log = space.synapse(&["log"]).expect(0).stdout;
    assert!(log.contains("exit 1: declined; nothing was sent"), "{log}");
    assert!(log.contains("interrupted: nothing was sent"), "{log}");
    assert_eq!(site.releases(), 0);

    let agreed = Tmux::start(&space, (60, 16), &PUBLISH);
    agreed.wait_for(ASKED);
    agreed.type_in("y");
    assert_eq!(agreed.exit(), 0);
    assert!(
        agreed.all().contains("3 plugins published to"),
        "{}",
        agreed.all()
    );
    assert_eq!(site.releases(), 3);
    // Nothing to send, nothing to ask: also where nobody could be.
    let again = space.synapse(&PUBLISH).expect(0);
    assert!(
        again.stdout.contains("3 plugins up to date"),
        "{}",
        again.stdout
    );
    // The embedded backend is this machine.
    space
        .synapse(&[&PUBLISH[..], &["--local"]].concat())
        .expect(0);
}

#[test]
fn what_changes_after_the_question_is_not_sent() {
    let site = Site::start();
    let mut space = Space::tiny(PROGRAM, 3);
    point(&mut space, &site.serving.url, &site.serving.token);
    let asked = Tmux::start(&space, (100, 16), &PUBLISH);
    asked.wait_for(ASKED);
    space.append("plugins/p1/plugin/run.py", "# not what was shown\n");
    asked.type_in("y");
    assert_eq!(asked.exit(), 4);
    let all = asked.all();
    assert!(
        all.contains("tiny-1 changed after the question, and was not sent"),
        "{all}"
    );
    assert!(all.contains("hint: run it again"), "{all}");
    assert_eq!(site.releases(), 2);
    space
        .synapse(&[&PUBLISH[..], &["--yes"]].concat())
        .expect(0);
    assert_eq!(site.releases(), 3);

    // A version is raised after the answer, and only in what is as it was.
    let config = |space: &Space, at: usize| space.read(&format!("plugins/p{at}/config.yaml"));
    let before = [0, 1, 2].map(|at| config(&space, at));
    for at in [0, 1] {
        space.append(&format!("plugins/p{at}/plugin/run.py"), "# new\n");
    }
    let bump = [&PUBLISH[..], &["--bump", "patch"]].concat();
    space.synapse(&bump).expect(2);
    assert_eq!([0, 1, 2].map(|at| config(&space, at)), before);
    let asked = Tmux::start(&space, (100, 16), &bump);
    let screen = asked.wait_for(ASKED);
    assert!(screen.contains("tiny-0  0.1.0 -> 0.1.1"), "{screen}");
    assert_eq!([0, 1, 2].map(|at| config(&space, at)), before);
    space.append("plugins/p1/config.yaml", "# seen by nobody\n");
    asked.type_in("y");
    assert_eq!(asked.exit(), 4, "{}", asked.all());
    assert_eq!(site.releases(), 4);
    assert!(config(&space, 0).contains("version: 0.1.1"));
    assert!(config(&space, 1).contains("version: 0.1.0"));
}

#[test]
fn object_stores_are_asked_about_too() {
    let space = Space::tiny(PROGRAM, 1);
    let store = space.root().join("store");
    let url = format!("file://{}", store.display());
    for command in ["publish", "upload"] {
        let mut args = vec!["plugin", command, "--all", "--storage", &url];
        if command == "publish" {
            args.push("--local");
        }
        let refused = space.synapse(&args).expect(2);
        assert!(refused.stderr.contains("--yes"), "{refused:?}");
        assert!(refused.stderr.contains("file://"), "{refused:?}");
        assert!(!store.exists() || fs::read_dir(&store).unwrap().next().is_none());
    }
    assert!(space.releases().values().all(Vec::is_empty));
    let terminal = Tmux::start(
        &space,
        (200, 16),
        &["plugin", "upload", "--all", "--storage", &url],
    );
    let screen = terminal.wait_for(ASKED);
    assert!(screen.contains("Store 1 plugin in file://"), "{screen}");
    terminal.type_in("y");
    assert_eq!(terminal.exit(), 0, "{}", terminal.all());
    assert!(fs::read_dir(&store).unwrap().next().is_some());
}
