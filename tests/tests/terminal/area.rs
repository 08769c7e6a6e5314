//! The live area: what it names, in which width, and that it goes; colours; what a log is told.

use std::time::Duration;

use synapse_tests::{Space, tmux::Tmux};

use crate::{NEVER, PROGRAM, Site, in_shell, point, settled};

const PUBLISH: [&str; 4] = ["plugin", "publish", "--all", "--yes"];

#[test]
fn an_area_names_what_is_waited_for_and_goes_at_ctrl_c() {
    let site = Site::start();
    let proxy = site.late("POST", NEVER);
    let mut space = Space::tiny(PROGRAM, 5);
    point(&mut space, &proxy.url, &site.serving.token);
    let _bound = settled(&space).bind_to_scope();
    let terminal = in_shell(&space, (60, 20), &PUBLISH);
    let complete = |screen: &str| {
        screen.matches("waiting for http").count() == 3 && screen.contains("and 2 more")
    };
    let screen = terminal.wait_until("three that are waited for", complete);
    insta::assert_snapshot!("area", ordered(&screen));
    assert!(
        screen.lines().all(|line| line.chars().count() <= 60),
        "{screen}"
    );
    // A narrower terminal gets a narrower area, and nothing is left of the wider one.
    terminal.resize((40, 20));
    let narrow =
        |screen: &str| screen.matches('…').count() == 3 && screen.matches("Working").count() == 1;
    let screen = terminal.wait_until("an area of 40 columns", narrow);
    assert!(
        screen.lines().all(|line| line.chars().count() <= 40),
        "{screen}"
    );
    assert_eq!(screen.matches("Working").count(), 1, "{screen}");
    terminal.resize((100, 20));
    let screen = terminal.wait_until("a wide area", |screen| {
        complete(screen) && screen.matches("Working").count() == 1
    });
    assert_eq!(screen.lines().count(), 5, "{screen}");
    terminal.press("C-c");
    terminal.wait_for("exit 130");
    let all = terminal.all();
    assert!(
        !all.contains("Working") && !all.contains("waiting for"),
        "{all}"
    );
    assert!(
        all.contains("interrupted with 0 of 5 plugins done; run it again"),
        "{all}"
    );
    assert!(terminal.shows_cursor());
}

/// The screen, whichever plugins happen to come first.
fn ordered(screen: &str) -> String {
    let plugins = ["tiny-0", "tiny-1", "tiny-2", "tiny-3", "tiny-4"];
    let named = |text: String, own: &&str| text.replace(*own, "tiny-N");
    plugins.iter().fold(screen.to_owned(), named)
}

#[test]
fn a_platform_that_does_not_answer_is_named_also_in_a_log() {
    let site = Site::start();
    let proxy = site.late("GET", NEVER);
    let mut space = Space::tiny(PROGRAM, 2);
    point(&mut space, &proxy.url, &site.serving.token);
    let terminal = in_shell(&space, (60, 12), &PUBLISH);
    terminal.wait_for(&format!("asking {} what is there", proxy.url));
    // The second Ctrl-C ends it where it stands, and leaves nothing either.
    terminal.press("C-c");
    terminal.press("C-c");
    terminal.wait_for("exit 130");
    assert!(
        !terminal.screen().contains("asking"),
        "{}",
        terminal.screen()
    );
    assert!(terminal.shows_cursor());

    let proxy = site.late("GET", Duration::from_secs(3));
    point(&mut space, &proxy.url, &site.serving.token);
    space.set("SYNAPSE_HEARTBEAT", "1");
    let run = space.synapse(&PUBLISH).expect(0);
    let told = format!("s: asking {} what is there\n", proxy.url);
    assert!(
        run.stderr.contains("still at work after "),
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains(&told), "{}", run.stderr);
    assert!(!run.stderr.contains('\u{1b}'), "{}", run.stderr);
    // Who asked for quiet, or reads a document, gets no such line.
    for quiet in ["--quiet", "--json"] {
        let run = space.synapse(&[&PUBLISH[..], &["--verify", quiet]].concat());
        assert_eq!(run.expect(0).stderr, "", "{quiet}");
    }
}

#[test]
fn short_work_shows_no_area_and_lines_fit_the_terminal() {
    let mut space = Space::tiny(PROGRAM, 1);
    let long = "a-plugin-with-a-name-that-is-longer-than-any-terminal-should-have-to-show";
    space.tiny_plugin("plugins/long", long);
    space.publish(&["--all"]).expect(0);
    space.append("plugins/long/plugin/run.py", "# edited\n");
    space.set("TZ", "UTC");
    let _bound = settled(&space).bind_to_scope();
    let args = ["plugin", "publish", "--all", "--local", "--bump", "patch"];
    let terminal = Tmux::start(&space, (60, 20), &args);
    assert_eq!(terminal.exit(), 0);
    let mut filters = insta::Settings::clone_current();
    filters.add_filter(r"\b[0-9a-f]{10}\b", "[DIGEST].");
    filters.bind(|| insta::assert_snapshot!("wrapped", terminal.all()));
    let screen = terminal.screen();
    assert!(
        screen.lines().all(|line| line.chars().count() <= 60),
        "{screen}"
    );
    // In a pipe nothing is cut or wrapped.
    space.append("plugins/long/plugin/run.py", "# again\n");
    let run = space.synapse(&args).expect(0);
    let line = run
        .stdout
        .lines()
        .find(|line| line.contains("published a-"))
        .unwrap();
    assert!(
        line.contains(long) && line.contains("plugin/run.py changed"),
        "{line}"
    );
}

#[test]
fn colours_are_there_where_they_mean_something() {
    let mut space = Space::tiny(PROGRAM, 1);
    let args = ["plugin", "publish", "--all", "--local"];
    space.publish(&["--all"]).expect(0);
    let coloured = |space: &Space, args: &[&str]| {
        let terminal = Tmux::start(space, (80, 20), args);
        terminal.exit();
        terminal.colours().contains('\u{1b}')
    };
    let wrong = ["plugin", "pubish"];
    assert!(coloured(&space, &args) && coloured(&space, &wrong));
    assert!(!coloured(
        &space,
        &[&args[..], &["--color", "never"]].concat()
    ));
    // Piped: only where it is forced.
    let escapes = |space: &Space, args: &[&str]| {
        let run = space.synapse(args);
        run.stdout.contains('\u{1b}') || run.stderr.contains('\u{1b}')
    };
    assert!(!escapes(&space, &args) && !escapes(&space, &wrong));
    assert!(escapes(
        &space,
        &[&args[..], &["--color", "always"]].concat()
    ));
    let forced = space.synapse_with("CLICOLOR_FORCE", "1", &args);
    assert!(forced.stdout.contains('\u{1b}'), "{forced:?}");
    space.set("NO_COLOR", "1");
    assert!(!coloured(&space, &args) && !coloured(&space, &wrong));
}

#[test]
fn a_terminal_without_a_cursor_shows_no_area() {
    let site = Site::start();
    let proxy = site.late("GET", Duration::from_secs(2));
    let mut space = Space::tiny(PROGRAM, 1);
    point(&mut space, &proxy.url, &site.serving.token);
    space.set("TERM", "dumb");
    space.set("SYNAPSE_HEARTBEAT", "1");
    let terminal = Tmux::start(&space, (80, 20), &PUBLISH);
    assert_eq!(terminal.exit(), 0);
    let all = terminal.all();
    assert!(all.contains("still at work after"), "{all}");
    assert!(all.contains("1 plugin published"), "{all}");
    assert!(!terminal.colours().contains('\u{1b}'), "{all}");
}
