//! A newcomer's walk at a terminal, with nothing to read but what is on the screen: create, run,
//! publish, break the configuration, mend it by the hint, publish again.

use std::{fs, os::unix::fs::symlink, path::Path};

use synapse_tests::{Space, tmux::Tmux};

use crate::PROGRAM;

/// A shell at a terminal, whose prompt tells how the last command ended.
struct Desk {
    tmux: Tmux,
}

impl Desk {
    fn sit(space: &Space) -> Self {
        let bin = space.root().join("bin");
        fs::create_dir(&bin).unwrap();
        symlink(PROGRAM, bin.join("synapse")).unwrap();
        let line = format!(
            "PATH={}:$PATH PS1='[$?] $ ' exec sh -i",
            bin.to_str().unwrap()
        );
        let tmux = Tmux::shell(space, (80, 50), &line);
        let desk = Self { tmux };
        desk.tmux
            .wait_until("a prompt", |screen| rests(screen).is_some());
        desk
    }

    /// Types a line, waits until the prompt is back; returns what was printed and the exit code.
    fn say(&self, line: &str) -> (String, i32) {
        self.begin(line);
        self.rest()
    }

    /// Types a line on a clean screen and does not wait.
    fn begin(&self, line: &str) {
        self.tmux.type_in("clear");
        self.tmux.press("Enter");
        self.tmux.wait_until("a clean screen", |screen| {
            screen.trim_end().lines().count() == 1 && rests(screen).is_some()
        });
        self.tmux.type_in(line);
        self.tmux.press("Enter");
    }

    /// Waits for the prompt.
    fn rest(&self) -> (String, i32) {
        let screen = self.tmux.wait_until("the prompt", |screen| {
            screen.trim_end().lines().count() > 1 && rests(screen).is_some()
        });
        let code = rests(&screen).unwrap();
        let lines: Vec<&str> = screen.trim_end().lines().collect();
        (lines[..lines.len() - 1].join("\n"), code)
    }
}

/// The exit code that the prompt on the last line tells, when nothing is typed at it.
fn rests(screen: &str) -> Option<i32> {
    let last = screen.trim_end().lines().last()?;
    last.strip_prefix('[')?.strip_suffix("] $")?.parse().ok()
}

/// The commands that a screen proposes below `next:`.
fn proposed(screen: &str) -> Vec<String> {
    let below = screen.lines().skip_while(|line| line.trim() != "next:");
    let lines = below.skip(1).map(str::trim);
    lines
        .take_while(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

/// A command of a hint: between its backquotes, or from its first option on.
fn hinted(screen: &str) -> &str {
    let hint = screen.lines().find_map(|line| line.strip_prefix("hint: "));
    hint.unwrap_or_else(|| panic!("no hint on the screen:\n{screen}"))
}

fn settings() -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"\d+(\.\d+)? (ms|s)\b", "[time]");
    settings.add_filter(r"\d+(\.\d+)? (kB|B)\b", "[size]");
    settings.add_filter(r"\b[0-9a-f]{10}\b", "[digest]");
    settings.add_filter(
        r"Python 3\.\d+\.\d+|CPython 3\.\d+\.\d+",
        "Python [version]",
    );
    settings.add_filter(r"(/[\w.-]+)*/synapse-test-\w+", "[space]");
    settings
}

/// Replaces a text in a file that must have it.
fn edit(file: &Path, old: &str, new: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains(old), "no {old:?} in {text}");
    fs::write(file, text.replacen(old, new, 1)).unwrap();
}

#[test]
fn from_nothing_to_published_without_a_look_at_the_docs() {
    let mut space = Space::new(PROGRAM);
    space.set("HOME", "/nonexistent");
    let desk = Desk::sit(&space);
    let _bound = settings().bind_to_scope();

    // What is there? The overview names the first command.
    let (screen, _) = desk.say("synapse");
    assert!(screen.contains("synapse plugin create"), "{screen}");

    desk.begin("synapse plugin create");
    desk.tmux.wait_for("Category");
    // The cursor goes round: one up from the first is the last.
    desk.tmux.press("Up");
    desk.tmux.press("Enter");
    desk.tmux.wait_for("Name");
    desk.tmux.type_in("Daily Sums");
    desk.tmux.press("Enter");
    desk.tmux.wait_for("Code (daily-sums)");
    desk.tmux.press("Enter");
    insta::assert_snapshot!("preview", desk.tmux.wait_for("Make this plugin?"));
    desk.tmux.press("Enter");
    let (screen, code) = desk.rest();
    insta::assert_snapshot!("created", screen);
    assert_eq!(code, 0);

    // It does what it is told to.
    let proposals = proposed(&screen);
    assert!(proposals.len() >= 3, "{screen}");
    for line in &proposals {
        let (screen, code) = desk.say(line);
        assert_eq!(code, 0, "{line}:\n{screen}");
        if line.contains("plugin run") {
            assert!(screen.contains("Result: "), "{screen}");
        } else if line.contains("plugin publish") {
            insta::assert_snapshot!("published", screen);
        }
    }

    // A slip in the configuration: the hint names the word.
    let plugin = space.cwd().join("synapse-daily-sums-plugin");
    edit(
        &plugin.join("config.yaml"),
        "category: custom",
        "category: custon",
    );
    let (screen, code) = desk.say("synapse plugin publish --local");
    insta::assert_snapshot!("broken", screen);
    assert_eq!(code, 1);
    let meant = hinted(&screen).rsplit('`').nth(1).unwrap_or_default();
    edit(
        &plugin.join("config.yaml"),
        "category: custon",
        &format!("category: {meant}"),
    );
    let (screen, code) = desk.say("synapse plugin publish --local");
    assert!(screen.contains("1 plugin up to date"), "{screen}");
    assert_eq!(code, 0);

    // Other content under the same version: the hint names the option.
    fs::write(plugin.join("README.md"), "# Daily sums\n\nBetter said.\n").unwrap();
    let (screen, code) = desk.say("synapse plugin publish --local");
    insta::assert_snapshot!("refused", screen);
    assert_eq!(code, 1);
    let option = hinted(&screen);
    assert!(option.contains("--bump patch"), "{screen}");
    let (screen, code) = desk.say("synapse plugin publish --local --bump patch");
    insta::assert_snapshot!("published_again", screen);
    assert_eq!(code, 0);
    let (screen, code) = desk.say("synapse status --local");
    assert!(screen.contains("daily-sums  0.1.1"), "{screen}");
    assert_eq!(code, 0);
}
