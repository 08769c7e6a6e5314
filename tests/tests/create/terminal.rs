//! At a terminal: questions, answers that are asked for again, the preview, and giving up.

use std::process::{Command, Stdio};

use serde_json::{Value, json};
use synapse_tests::{Space, pythons};

use crate::{names, space};

/// A terminal of 60 columns for a program. Given `[shown, typed]` pairs, types each text once the
/// other was shown since the last; prints all that was shown, and the exit code last.
const TERMINAL: &str = r#"
import fcntl, json, os, pty, struct, sys, termios, time
pairs = json.loads(sys.argv[1])
child, terminal = pty.fork()
if child == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 60, 0, 0))
    os.execvp(sys.argv[2], sys.argv[2:])
whole, since = b"", b""
def read():
    global whole, since
    try:
        more = os.read(terminal, 4096)
    except OSError:
        return False
    whole, since = whole + more, since + more
    return bool(more)
for shown, typed in pairs:
    while shown.encode() not in since:
        if not read():
            break
    since = b""
    # A key counts once the question listens for keys.
    while termios.tcgetattr(terminal)[3] & termios.ICANON:
        time.sleep(0.005)
    os.write(terminal, typed.encode())
while read():
    pass
_, status = os.waitpid(child, 0)
sys.stdout.write(whole.decode() + "<exit %d>" % os.waitstatus_to_exitcode(status))
"#;

fn at_terminal(space: &Space, pairs: &Value, args: &[&str]) -> String {
    let args = [&["--color", "never", "plugin", "create"], args].concat();
    let own = space.command(&args);
    let mut command = Command::new(pythons::usual().unwrap().executable);
    command.args(["-c", TERMINAL, &pairs.to_string()]);
    command.arg(own.get_program()).args(&args);
    command.env_clear().current_dir(space.cwd());
    let variables = own.get_envs();
    command.envs(variables.filter_map(|(name, value)| Some((name, value?))));
    let output = command
        .env("TERM", "xterm")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

const DOWN: &str = "\u{1b}[B";

#[test]
fn what_is_missing_is_asked_and_asked_again() {
    let space = space();
    let wipe = "\u{7f}".repeat(30);
    let pairs = json!([
        ["custom: anything else", format!("{DOWN}{DOWN}{DOWN}\r")],
        ["Name", "My \"nice\" tool\r"],
        ["my-nice-tool", format!("{wipe}Bad Code\r")],
        ["write bad-code", format!("{wipe}good-code\r")],
        ["audio", format!("{DOWN}\r")],
        ["Make this plugin?", "y"],
    ]);
    let said = at_terminal(&space, &pairs, &[]);
    assert!(said.ends_with("<exit 0>"), "{said}");
    let preview = said.find("synapse-good-code-plugin/").unwrap();
    assert!(said[preview..].contains("├── config.yaml"), "{said}");
    assert!(preview < said.find("Make this plugin?").unwrap(), "{said}");
    assert!(said.contains("cd synapse-good-code-plugin"), "{said}");
    assert_eq!(names(space.cwd()), ["synapse-good-code-plugin"]);
    let config = space.read("synapse-good-code-plugin/config.yaml");
    for line in [
        "name: My \"nice\" tool\n",
        "category: smart_tool\n",
        "data_type: text\n",
    ] {
        assert!(config.contains(line), "{line}{config}");
    }
    // A code whose folder is there is asked again as well.
    let pairs = json!([
        ["good-code", "\r"],
        ["there already", "good-code2\r"],
        ["Make this", "y"]
    ]);
    let said = at_terminal(&space, &pairs, &["--name", "Good Code", "-c", "custom"]);
    assert!(said.ends_with("<exit 0>"), "{said}");
    assert!(space.path("synapse-good-code2-plugin").is_dir(), "{said}");
}

#[test]
fn the_guides_example_asks_for_what_it_leaves_out() {
    let space = space();
    let pairs = json!([
        ["audio", "\r"],
        ["image.classification", "\r"],
        ["Make this", "\r"]
    ]);
    let args = ["--name", "YOLOv8 Object Detection", "--code", "yolov8"];
    let args = [
        &args[..],
        &["--category", "neural_net", "--path", "./plugins"],
    ]
    .concat();
    let said = at_terminal(&space, &pairs, &args);
    assert!(said.ends_with("<exit 0>"), "{said}");
    assert!(
        space
            .path("plugins/synapse-yolov8-plugin/plugin/train.py")
            .is_file()
    );
}

#[test]
fn giving_up_makes_nothing() {
    let space = space();
    for (pairs, args, code) in [
        (
            json!([["Make this", "n"]]),
            &["--name", "a", "-c", "custom", "--code", "a"][..],
            1,
        ),
        (
            json!([["Make this", "\u{3}"]]),
            &["--name", "a", "-c", "custom", "--code", "a"],
            130,
        ),
        (json!([["Name", "\u{3}"]]), &["-c", "custom"], 130),
        (json!([["custom", "\u{3}"]]), &[], 130),
    ] {
        let said = at_terminal(&space, &pairs, args);
        assert!(said.ends_with(&format!("<exit {code}>")), "{said}");
        assert_eq!(names(space.cwd()), [""; 0], "{said}");
    }
}
