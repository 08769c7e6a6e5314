//! At a terminal: progress, prompts and Ctrl-C as people see them, in sizes that they have.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use synapse_tests::{Space, tmux::Tmux};

const PROGRAM: &str = env!("CARGO_BIN_EXE_synapse_under_test");

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
    let terminal = Tmux::shell(&space, (60, 12), "echo $TERM; kill -9 $$");
    assert_eq!(terminal.exit(), 128 + 9);
    assert_eq!(terminal.all(), "xterm-256color\n");
    let interrupted = Tmux::start(&space, (60, 12), &["login", "--token", "-"]);
    interrupted.press("C-c");
    assert_eq!(interrupted.exit(), 130);
}
