//! At a terminal and in logs: progress, questions, Ctrl-C, colours, errors, and what GitHub
//! Actions is told, as people see them.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod area;
mod consent;
mod github;
mod misuse;
mod walk;

use std::time::Duration;

use synapse_tests::{
    Serving, Space,
    proxy::{Fault, Proxy},
    tmux::Tmux,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_synapse_under_test");
/// Longer than any test: an answer that nobody waits for.
const NEVER: Duration = Duration::from_mins(10);

/// A platform with a home of its own.
struct Site {
    _space: Space,
    serving: Serving,
}

impl Site {
    fn start() -> Self {
        let space = Space::new(PROGRAM);
        let serving = Serving::start(&space);
        Self {
            _space: space,
            serving,
        }
    }

    /// How many releases it has.
    fn releases(&self) -> usize {
        let listed = self.serving.get("/plugin_releases/?limit=1000").expect(200);
        listed["results"].as_array().unwrap().len()
    }

    /// Stands before it, and is late with answers to calls of a method.
    fn late(&self, method: &'static str, by: Duration) -> Proxy {
        Proxy::start(self.serving.host(), move |call| {
            if call.method == method {
                Fault::Slow(by)
            } else {
                Fault::None
            }
        })
    }
}

/// `synapse` in a shell that outlives it: a terminal whose program has ended has no cursor.
fn in_shell(space: &Space, size: (u16, u16), args: &[&str]) -> Tmux {
    let args = args.join(" ");
    let line = format!("trap : INT; \"$SYNAPSE\" {args}; echo \"exit $?\"; read wait");
    Tmux::shell(space, size, &line)
}

/// Makes everything that runs in a space talk to a platform.
fn point(space: &mut Space, url: &str, token: &str) {
    space.set("SYNAPSE_HOST", url);
    space.set("SYNAPSE_ACCESS_TOKEN", token);
}

/// Texts that differ from run to run are named.
fn settled(space: &Space) -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    let real = std::fs::canonicalize(space.root()).unwrap();
    for root in [space.root(), &real] {
        let shown = root.display().to_string().replace('.', r"\.");
        settings.add_filter(&shown, "[SPACE]");
    }
    settings.add_filter(r"127\.0\.0\.1:\d+", "[HOST]");
    settings.add_filter(r"\d+ of \d+ stages, \d+ s", "[STAGES]");
    settings.add_filter(r"\b\d+(\.\d)? m?s\b", "[TIME]");
    settings.add_filter(r"-[0-9a-f]{16}\.zip", "-[ID].zip");
    settings.add_filter("synapse_under_test", "synapse");
    settings.set_omit_expression(true);
    settings
}

#[test]
fn a_terminal_is_looked_at_typed_into_and_resized() {
    let space = Space::tiny(PROGRAM, 1);
    let line = "\"$SYNAPSE\" --version; read answer; echo \"got $answer\"; stty size; exit 7";
    let terminal = Tmux::shell(&space, (60, 12), line);
    terminal.wait_for("synapse 0.");
    assert!(terminal.shows_cursor());
    terminal.resize((40, 10));
    terminal.type_in("yes; no");
    terminal.press("Enter");
    terminal.wait_for("got yes; no\n10 40");
    assert_eq!(terminal.exit(), 7);
    let terminal = Tmux::shell(&space, (60, 12), "echo $TERM; read wait; kill -9 $$");
    // What is printed right before such an end need not come through.
    terminal.wait_for("xterm-256color\n");
    terminal.press("Enter");
    assert_eq!(terminal.exit(), 128 + 9);
    let interrupted = Tmux::start(&space, (60, 12), &["login", "--token", "-"]);
    interrupted.press("C-c");
    assert_eq!(interrupted.exit(), 130);
}
