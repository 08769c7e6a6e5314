//! Every way in which an action can end is told apart, nothing outlives it, and store and
//! terminal are left as they were.
#![allow(missing_docs, reason = "tests")]

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use synapse_tests::{Run, Space, copy_tree, fixture, pythons};

/// A mark that all processes of a run carry in their environment.
const MARK: &str = "SYNAPSE_TEST_MARK";

fn space() -> Space {
    let mut space = synapse_tests::space!();
    copy_tree(&fixture("crashes"), space.cwd());
    let python = pythons::usual().expect("a Python");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let environment = pythons::sdk_environment(&python, folder).expect("an environment");
    space.set("VIRTUAL_ENV", environment.to_str().expect("a path"));
    let mark = space.root().to_str().expect("a path").to_owned();
    space.set(MARK, &mark);
    space
}

/// Processes that carry the mark of a space.
fn alive(space: &Space) -> Vec<String> {
    let mark = format!("{MARK}={}", space.root().display());
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let variables = fs::read(entry.path().join("environ")).unwrap_or_default();
        if variables
            .split(|byte| *byte == 0)
            .any(|one| one == mark.as_bytes())
        {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            found.push(String::from_utf8_lossy(&line).replace('\0', " "));
        }
    }
    found
}

/// Nothing is left of a run, and the store is whole.
fn expect_sane(space: &Space) {
    assert_eq!(alive(space), [""; 0]);
    space.expect_clean_store();
    let tmp = fs::read_dir(space.home().join("cache/tmp")).expect("a folder");
    assert_eq!(tmp.count(), 0, "no temporary files");
}

fn recorded(space: &Space) -> Value {
    let runs = space.synapse(&["runs", "--json"]).expect(0).json();
    runs["runs"][0].clone()
}

#[test]
fn each_ending_is_told_apart() {
    let space = space();
    for (action, more, code, error, ending, status) in [
        ("raises", &[][..], 1, "execution", "raised", "FAILED"),
        ("exits", &[], 1, "system-exit", "raised", "FAILED"),
        ("exits_at_once", &[], 1, "exited", "exited", "FAILED"),
        ("segfault", &[], 1, "segfault", "killed", "FAILED"),
        (
            "eats_memory",
            &["--memory", "500MB"],
            1,
            "out-of-memory",
            "out-of-memory",
            "FAILED",
        ),
        (
            "hangs",
            &["--timeout", "2s"],
            1,
            "timeout",
            "timed-out",
            "FAILED",
        ),
        (
            "interrupted",
            &[],
            130,
            "cancelled",
            "interrupted",
            "STOPPED",
        ),
    ] {
        let args = [&["plugin", "run", "--json", action], more].concat();
        let document = space.synapse(&args).expect(code).json();
        assert_eq!(document["ending"], ending, "{document:#}");
        assert_eq!(document["errors"][0]["code"], error, "{document:#}");
        assert_eq!(document["result"], Value::Null, "{action}");
        assert_eq!(recorded(&space)["status"], status, "{action}");
        expect_sane(&space);
    }
}

#[test]
fn each_ending_reads_well() {
    let space = space();
    let here = space.cwd().canonicalize().expect("a folder");
    for (action, more) in [
        ("raises", &[][..]),
        ("exits", &[]),
        ("exits_at_once", &[]),
        ("eats_memory", &["--memory", "500MB"]),
        ("hangs", &["--timeout", "2s"]),
        ("interrupted", &[]),
    ] {
        let run = space.synapse(&[&["plugin", "run", action], more].concat());
        let text = format!("{}-- exit {}", run.stderr, run.code());
        let mut text = text.replace(here.to_str().expect("a path"), "[HERE]");
        // By the control group where there is one, else by Python itself.
        for evidence in ["it was ended at the limit of --memory", "MemoryError"] {
            text = text.replace(evidence, "[EVIDENCE]");
        }
        insta::with_settings!({description => action, omit_expression => true}, {
            insta::assert_snapshot!(text);
        });
    }
    let run = space.synapse(&["plugin", "run", "segfault"]).expect(1);
    assert!(
        run.stderr
            .contains("error: segfault crashed: segmentation fault (SIGSEGV)")
    );
    let times = run.stderr.matches("Fatal Python error").count();
    assert_eq!(times, 1, "it is said once\n{}", run.stderr);
    assert!(run.stderr.contains("plugin/ends.py"), "{}", run.stderr);
}

#[test]
fn what_an_action_leaves_behind_is_ended() {
    let space = space();
    let document = space
        .synapse(&["plugin", "run", "leaves_processes", "--json"])
        .expect(0)
        .json();
    assert_eq!(document["result"], "done");
    assert_eq!(
        document["left"].as_array().map(Vec::len),
        Some(2),
        "{document:#}"
    );
    expect_sane(&space);
}

#[test]
fn a_flood_passes_through_and_is_kept() {
    let space = space();
    let mut child = space
        .command(&["plugin", "run", "floods"])
        .spawn()
        .expect("synapse starts");
    let mut out = child.stdout.take().expect("output");
    let (mut buffer, mut bytes) = (vec![0; 1 << 16], 0);
    let mut peak = 0;
    loop {
        let count = out.read(&mut buffer).expect("output");
        if count == 0 {
            break;
        }
        bytes += count;
        peak = peak.max(resident(child.id()));
    }
    assert!(child.wait().expect("an end").success());
    assert!(bytes > 100_000_000, "{bytes}");
    assert!(peak < 100_000, "{peak} kB");
    let id = recorded(&space)["id"].to_string();
    let kept = space.home().join(format!("data/backend/runs/{id}.log"));
    assert_eq!(fs::metadata(kept).expect("output").len(), 100_000_000);
    expect_sane(&space);
}

/// Kilobytes that a process holds; 0 when it has ended.
fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
        .unwrap_or(0)
}

/// Starts an action, and waits for it to say that it is ready.
fn ready(space: &Space, action: &str) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child = space
        .command(&["plugin", "run", action])
        .spawn()
        .expect("synapse starts");
    let mut out = BufReader::new(child.stdout.take().expect("output"));
    wait_for(&mut out, "ready");
    (child, out)
}

fn wait_for(out: &mut impl BufRead, text: &str) {
    let mut line = String::new();
    while !line.contains(text) {
        line.clear();
        assert!(
            out.read_line(&mut line).expect("a line") > 0,
            "it ended before {text}"
        );
    }
}

fn send(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(child.id().cast_signed()).expect("a process");
    kill_process(pid, signal).expect("a signal");
}

fn end(child: Child, mut out: impl Read) -> Run {
    let mut stdout = Vec::new();
    out.read_to_end(&mut stdout).expect("output");
    let output = child.wait_with_output().expect("an end");
    Run::from(std::process::Output { stdout, ..output })
}

#[test]
fn an_interrupt_reaches_the_action_and_the_second_kills() {
    let space = space();
    let (child, out) = ready(&space, "hangs");
    send(&child, Signal::INT);
    let run = end(child, out).expect(130);
    assert!(
        run.stderr.contains("hangs was interrupted"),
        "{}",
        run.stderr
    );
    assert_eq!(recorded(&space)["status"], "STOPPED");
    expect_sane(&space);

    let (child, out) = ready(&space, "checkpoints");
    send(&child, Signal::INT);
    let run = end(child, out).expect(0);
    assert!(run.stdout.contains("interrupted 1 times"), "{}", run.stdout);

    let (child, mut out) = ready(&space, "stubborn");
    send(&child, Signal::INT);
    wait_for(&mut out, "a second Ctrl-C kills it");
    send(&child, Signal::INT);
    let run = end(child, out).expect(130);
    assert!(run.stderr.contains("interrupted twice"), "{}", run.stderr);
    expect_sane(&space);
}

#[test]
fn killing_the_command_kills_the_action() {
    let space = space();
    let (mut child, _out) = ready(&space, "stubborn");
    child.kill().expect("killed");
    child.wait().expect("an end");
    let mut left = alive(&space);
    for _ in 0..500 {
        if left.is_empty() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
        left = alive(&space);
    }
    assert_eq!(left, [""; 0]);
    assert_eq!(recorded(&space)["status"], "FAILED");
}

/// Runs its arguments on a terminal of their own, presses Ctrl-C when they say that they are
/// ready, and prints what the terminal showed, its mode before and after, and the exit code.
const TERMINAL: &str = r#"
import json, os, pty, sys, termios
pid, fd = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
before = termios.tcgetattr(fd)[:4]
shown, pressed = b"", False
while True:
    try:
        part = os.read(fd, 65536)
    except OSError:
        break
    if not part:
        break
    shown += part
    if b"ready" in shown and not pressed:
        pressed = True
        os.write(fd, b"\x03")
    after = termios.tcgetattr(fd)[:4]
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
print(json.dumps({"shown": shown.decode(), "same": before == after, "status": status}))
"#;

#[test]
fn ctrl_c_on_a_terminal_interrupts_once() {
    let space = space();
    let python = pythons::usual().expect("a Python");
    let on_terminal = |action: &str| -> Value {
        let inner = space.command(&["plugin", "run", action]);
        let mut command = Command::new(&python.executable);
        command
            .args(["-c", TERMINAL])
            .arg(inner.get_program())
            .args(inner.get_args());
        command.env_clear().envs(
            inner
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        let output = command
            .current_dir(space.cwd())
            .env("TERM", "xterm")
            .stdin(Stdio::null())
            .output()
            .expect("a terminal");
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
    };
    let seen = on_terminal("checkpoints");
    assert_eq!(seen["status"], 0, "{seen:#}");
    let shown = seen["shown"].as_str().expect("text");
    assert!(shown.contains("interrupted 1 times"), "{shown}");
    let seen = on_terminal("hangs");
    assert_eq!(seen["status"], 130, "{seen:#}");
    assert_eq!(seen["same"], true, "{seen:#}");
    expect_sane(&space);
}
