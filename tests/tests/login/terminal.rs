//! At a terminal: the token is typed unseen, the agent is chosen by number.

use std::process::{Command, Stdio};

use synapse_tests::{Space, pythons};

use crate::{canary, home, platform, saved};

/// A terminal for a program: what it shows, and how it ends, after each text was typed when the
/// terminal was ready for it. `-` in front of a text: when it shows nothing of what is typed.
const TERMINAL: &str = r#"
import os, pty, sys, termios, time
texts = sys.argv[1].split("|")
child, terminal = pty.fork()
if child == 0:
    os.execvp(sys.argv[2], sys.argv[2:])
shown, echoes = b"", None
def read():
    global shown
    try:
        more = os.read(terminal, 4096)
    except OSError:
        return False
    shown += more
    return bool(more)
for text in texts:
    # A prompt, without an end of line.
    while not shown.rstrip(b" ").endswith(b":"):
        if not read():
            break
    if text.startswith("-"):
        text = text[1:]
        while termios.tcgetattr(terminal)[3] & termios.ECHO:
            time.sleep(0.005)
    shown += b"<typed>"
    os.write(terminal, text.replace("^C", "\x03").encode())
while read():
    pass
_, status = os.waitpid(child, 0)
sys.stdout.write(shown.decode() + "<exit %d>" % os.waitstatus_to_exitcode(status))
"#;

fn at_terminal(space: &Space, typed: &str, args: &[&str]) -> String {
    let own = space.command(args);
    let mut command = Command::new(pythons::usual().unwrap().executable);
    command
        .args(["-c", TERMINAL, typed])
        .arg(own.get_program())
        .args(args);
    command.env_clear().current_dir(space.cwd());
    let variables = own.get_envs();
    command.envs(variables.filter_map(|(name, value)| Some((name, value?))));
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn at_a_terminal_the_token_is_typed_unseen() {
    let token = canary("typed");
    let own = platform(&token);
    let space = home();
    let login = ["login", "--host", &own.url];
    let shown = at_terminal(&space, &format!("-{token}\r"), &login);
    assert!(
        shown.contains(&format!("Token for {}: <typed>", own.url)),
        "{shown}"
    );
    assert!(shown.contains("logged in to"), "{shown}");
    assert!(shown.ends_with("<exit 0>"), "{shown}");
    assert!(
        !shown.contains(&token) && !shown.contains("canary"),
        "{shown}"
    );
    assert_eq!(saved(&space)["access_token"], token.as_str());

    let before = saved(&space);
    let shown = at_terminal(&space, "-half of it^C", &login);
    assert!(shown.ends_with("<exit 130>"), "{shown}");
    assert!(!shown.contains("half"), "{shown}");
    let shown = at_terminal(&space, "- \r", &login);
    assert!(shown.contains("the token is empty"), "{shown}");
    assert!(shown.ends_with("<exit 2>"), "{shown}");
    assert_eq!(saved(&space), before);

    let shown = at_terminal(&space, "2\r", &["agent", "select"]);
    assert!(shown.contains("1. 7  gpu-1  connected"), "{shown}");
    assert!(shown.ends_with("<exit 0>"), "{shown}");
    assert_eq!(saved(&space)["agent"]["id"], 8);
    let shown = at_terminal(&space, "^C", &["agent", "select"]);
    assert!(shown.ends_with("<exit 130>"), "{shown}");
    let shown = at_terminal(&space, "3\r", &["agent", "select"]);
    assert!(shown.contains("type a number from 1 to 2"), "{shown}");
    assert!(shown.ends_with("<exit 2>"), "{shown}");
}
