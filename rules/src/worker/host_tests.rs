//! Runs of small scripts in place of the worker's Python side.

use std::{
    fs::{self, File},
    process::Command,
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use serde_json::Value;

use super::{
    super::{
        Launcher,
        ending::{Ending, Evidence},
        limits::Limits,
        one_at_a_time,
        protocol::{Message, RunPlugin, RunRequest},
        pump::{Sink, Stream},
    },
    Inbox, Interrupt, Interrupter, Launch, Report, run,
};

/// What every script begins with.
const PREAMBLE: &str = r#"
import fcntl, json, os, signal, struct, subprocess, sys, time
R, W, L = (int(part) for part in os.environ["SYNAPSE_WORKER_FDS"].split(","))
def send(type, **fields):
    text = json.dumps({"type": type, **fields}).encode()
    os.write(W, struct.pack("<I", len(text)) + text)
def request():
    size, = struct.unpack("<I", os.read(R, 4))
    text = b""
    while len(text) < size:
        text += os.read(R, size - len(text))
    return json.loads(text)
def main():
    send("hello", protocol=1)
"#;

#[derive(Default)]
struct Kept {
    messages: Mutex<Vec<Message>>,
    out: Mutex<Vec<u8>>,
    /// Interrupts as soon as the action says that it is ready.
    at_ready: Option<(Interrupter, Vec<Interrupt>)>,
    /// Forgets output.
    deaf: bool,
}

impl Sink for Kept {
    fn message(&self, message: &Message) {
        if let (Message::Log(_), Some((interrupter, interrupts))) = (message, &self.at_ready) {
            for interrupt in interrupts {
                interrupter.interrupt(*interrupt);
            }
        }
        self.messages
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(message.clone());
    }

    fn output(&self, _: Stream, bytes: &[u8]) {
        if !self.deaf {
            self.out
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend(bytes);
        }
    }
}

fn python() -> std::path::PathBuf {
    let script = "import sys; print(sys.executable, end='')";
    let output = Command::new("python3")
        .args(["-c", script])
        .output()
        .expect("a Python");
    String::from_utf8(output.stdout).expect("a path").into()
}

fn request() -> RunRequest {
    let text = String::new;
    RunRequest {
        command: "run",
        protocol: 1,
        plugin: RunPlugin {
            dir: "/".into(),
            code: text(),
            version: text(),
            name: text(),
            category: text(),
            config: Value::Null,
        },
        action: "train".to_owned(),
        entrypoint: text(),
        params: Value::Null,
        job_id: text(),
        language: None,
        debug: true,
        backend: None,
        checkpoint: None,
        cache: "/".into(),
        result_file: None,
    }
}

struct Script {
    folder: tempfile::TempDir,
    limits: Limits,
    grace: Duration,
}

impl Script {
    /// A script whose lines come after the preamble, indented into `main`.
    fn new(lines: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let package = folder.path().join("synapse_sdk");
        fs::create_dir(&package).expect("a folder");
        fs::write(package.join("__init__.py"), "").expect("a file");
        let lines: Vec<String> = lines.lines().map(|line| format!("    {line}")).collect();
        let lines = lines.join(
            "
",
        );
        fs::write(package.join("_worker.py"), format!("{PREAMBLE}{lines}")).expect("a file");
        Self {
            folder,
            limits: Limits::default(),
            grace: Duration::from_secs(20),
        }
    }

    fn run(self, inbox: Inbox, sink: &Kept) -> (Report, File) {
        let launcher = Launcher {
            synapse: "unused".into(),
            interpreter: python(),
            libpython: None,
            sdk: self.folder.path().to_owned(),
        };
        let kept = self.folder.path().join("kept");
        let names = ["PATH", "HOME"];
        let mut environment: Vec<_> = names
            .iter()
            .filter_map(|name| Some(((*name).into(), std::env::var_os(name)?)))
            .collect();
        environment.push(("PYTHONFAULTHANDLER".into(), "1".into()));
        let launch = Launch {
            launcher: &launcher,
            directory: self.folder.path(),
            environment: &environment,
            limits: self.limits,
            scratch: self.folder.path(),
            grace: self.grace,
            kept: Some(File::create(&kept).expect("a file")),
        };
        let report = run(launch, &request(), inbox, sink).expect("a run");
        (report, File::open(kept).expect("output"))
    }

    fn report(self) -> Report {
        self.run(Inbox::default(), &Kept::default()).0
    }
}

#[test]
fn messages_output_and_the_result_come_through() {
    let _alone = one_at_a_time();
    let script = Script::new(
        "got = request()\nprint('out', flush=True)\nprint('err', file=sys.stderr)\n\
         send('log', event='message', level='info', data={'content': got['action']})\n\
         send('from-the-future')\nsend('result', value={'a': 1})",
    );
    let sink = Kept::default();
    let (report, kept) = script.run(Inbox::default(), &sink);
    let Ending::Returned(returned) = &report.ending else {
        panic!("{report:?}")
    };
    assert_eq!(returned.value, serde_json::json!({"a": 1}));
    assert_eq!(
        (report.exit, report.left.len(), report.notes.len()),
        (0, 0, 0),
        "{report:?}"
    );
    let out = std::io::read_to_string(kept).expect("text");
    assert!(out.contains("out\n") && out.contains("err\n"), "{out}");
    let messages = sink.messages.lock().expect("messages");
    let Some(Message::Log(log)) = messages.get(1) else {
        panic!("{messages:?}")
    };
    assert_eq!(log.data["content"], "train");
    assert_eq!(messages[2], Message::Unknown);
}

#[test]
fn a_process_that_ends_by_itself_is_told_by_how_it_ended() {
    let _alone = one_at_a_time();
    for (lines, expected) in [
        ("os._exit(7)", "Exited { code: 7, said: None }"),
        ("pass", "Exited { code: 0, said: None }"),
        (
            "os.kill(os.getpid(), signal.SIGKILL)",
            "Killed { signal: 9, name: \"SIGKILL\", trace: None }",
        ),
    ] {
        assert_eq!(
            format!("{:?}", Script::new(lines).report().ending),
            expected,
            "{lines}"
        );
    }
    let report = Script::new("import ctypes\nctypes.string_at(0)").report();
    let Ending::Killed {
        name: "SIGSEGV",
        trace: Some(trace),
        ..
    } = report.ending
    else {
        panic!("{report:?}")
    };
    assert!(trace.contains("_worker.py"), "{trace}");
}

#[test]
fn a_result_before_a_crash_is_a_result() {
    let _alone = one_at_a_time();
    let report = Script::new("send('result', value=1)\nos.abort()").report();
    assert!(matches!(report.ending, Ending::Returned(_)), "{report:?}");
    assert_eq!(
        report.notes,
        ["the process ended with SIGABRT after the action had returned"]
    );
}

#[test]
fn a_hang_is_ended_when_its_time_is_up() {
    let _alone = one_at_a_time();
    let timed = |lines: &str| {
        let mut script = Script::new(lines);
        script.limits.timeout = Some(Duration::from_millis(400));
        script.grace = Duration::from_millis(50);
        script.report().ending
    };
    let stubborn = "signal.signal(signal.SIGINT, signal.SIG_IGN)\n\
                    signal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: time.sleep(9)";
    assert!(matches!(
        timed(stubborn),
        Ending::TimedOut { killed: true, .. }
    ));
    let polite = "try:\n    time.sleep(1000)\nexcept KeyboardInterrupt:\n    \
                  send('error', kind='keyboard-interrupt')\n    sys.exit(130)";
    let mut script = Script::new(polite);
    script.limits.timeout = Some(Duration::from_secs(2));
    assert!(matches!(
        script.report().ending,
        Ending::TimedOut { killed: false, .. }
    ));
}

#[test]
fn what_the_action_started_does_not_outlive_it() {
    let _alone = one_at_a_time();
    // The child holds standard output open and is in a session of its own.
    let report = Script::new(
        "subprocess.Popen(['sleep', '1000'], start_new_session=True)\n\
         if os.fork() == 0:\n    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n    time.sleep(1000)\n\
         send('result', value=None)",
    )
    .report();
    assert!(matches!(report.ending, Ending::Returned(_)), "{report:?}");
    assert_eq!(report.left.len(), 2, "{report:?}");
    assert!(
        report.left.iter().any(|left| left.name == "sleep"),
        "{report:?}"
    );
}

#[test]
fn orphans_that_end_during_a_run_are_buried() {
    let _alone = one_at_a_time();
    let report = Script::new(
        "import pathlib\nr, w = os.pipe()\nif os.fork() == 0:\n    if os.fork() == 0:\n        \
         os.write(w, str(os.getpid()).encode())\n        os._exit(0)\n    os._exit(0)\nos.wait()\n\
         orphan = pathlib.Path('/proc') / os.read(r, 99).decode()\n\
         while orphan.exists(): time.sleep(0.01)\nsend('result', value='gone')",
    );
    let report = Script {
        limits: Limits {
            timeout: Some(Duration::from_mins(1)),
            ..Limits::default()
        },
        ..report
    }
    .report();
    assert!(matches!(report.ending, Ending::Returned(_)), "{report:?}");
}

fn interrupted(lines: &str, interrupts: Vec<Interrupt>) -> Report {
    let inbox = Inbox::default();
    let at_ready = Some((inbox.interrupter(), interrupts));
    let sink = Kept {
        at_ready,
        ..Kept::default()
    };
    Script::new(lines).run(inbox, &sink).0
}

#[test]
fn interrupts_are_handed_on_once_and_the_second_kills() {
    let _alone = one_at_a_time();
    let ready = "send('log', event='ready')\n";
    let polite = format!(
        "try:\n    {ready}    time.sleep(1000)\nexcept KeyboardInterrupt:\n    \
         send('error', kind='keyboard-interrupt')\n    sys.exit(130)"
    );
    for interrupt in [Interrupt::Us, Interrupt::End] {
        let report = interrupted(&polite, vec![interrupt]);
        assert_eq!(report.ending, Ending::Interrupted { killed: false });
        assert_eq!(report.exit, 130);
    }
    let stubborn =
        format!("signal.signal(signal.SIGINT, signal.SIG_IGN)\n{ready}while True: time.sleep(9)");
    let report = interrupted(&stubborn, vec![Interrupt::Us, Interrupt::Us]);
    assert_eq!(report.ending, Ending::Interrupted { killed: true });
    // The terminal has told the worker already: a second one of ours would cut its clean-up.
    let counts = format!(
        "seen = []\nsignal.signal(signal.SIGINT, lambda *_: seen.append(1))\n{ready}\
         time.sleep(0.3)\nsend('result', value=len(seen))"
    );
    let Ending::Returned(returned) = interrupted(&counts, vec![Interrupt::Everyone]).ending else {
        panic!("no result")
    };
    assert_eq!(returned.value, 0);
}

#[test]
fn much_output_takes_no_memory() {
    const LINES: usize = 1_000_000;
    let _alone = one_at_a_time();
    let peak = || {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmHWM:"));
        line.and_then(|line| line.split_whitespace().nth(1)?.parse::<usize>().ok())
    };
    let before = peak();
    let script = Script::new(&format!(
        "line = b'x' * 99 + b'\\n'\nfor _ in range({}): os.write(1, line * 100)\n\
         send('result', value=1)",
        LINES / 100
    ));
    let sink = Kept {
        deaf: true,
        ..Kept::default()
    };
    let (report, kept) = script.run(Inbox::default(), &sink);
    assert!(matches!(report.ending, Ending::Returned(_)), "{report:?}");
    assert_eq!(report.bytes, 100 * LINES as u64);
    assert_eq!(kept.metadata().expect("a size").len(), 100 * LINES as u64);
    if let (Some(before), Some(after)) = (before, peak()) {
        assert!(after - before < 20_000, "{} kB more", after - before);
    }
}

#[test]
fn memory_that_runs_out_is_told() {
    let _alone = one_at_a_time();
    let mut script = Script::new(
        "try:\n    held = [bytearray(50_000_000) for _ in range(100)]\n\
         except MemoryError:\n    send('error', kind='memory')\n    sys.exit(1)\n\
         send('result', value=1)",
    );
    script.limits.memory = Some(300_000_000);
    let report = script.report();
    let Ending::OutOfMemory { evidence, .. } = report.ending else {
        panic!("{report:?}")
    };
    assert!(
        matches!(evidence, Evidence::Group | Evidence::Raised),
        "{evidence:?}"
    );
}

#[test]
fn messages_of_forked_children_and_rubbish_do_no_harm() {
    let _alone = one_at_a_time();
    let report = Script::new("os.write(W, b'\\xff' * 64)\ntime.sleep(0)\nos._exit(0)").report();
    assert!(
        matches!(report.ending, Ending::Exited { code: 0, .. }),
        "{report:?}"
    );
    assert!(
        report.notes[0].contains("cannot be read any more"),
        "{report:?}"
    );
    // It ends before it has read a request that is larger than a pipe holds.
    let mut large = request();
    large.params = Value::String("x".repeat(1 << 20));
    let script = Script::new("os._exit(5)");
    let joined = thread::spawn(move || script.report())
        .join()
        .expect("no hang");
    assert!(matches!(joined.ending, Ending::Exited { code: 5, .. }));
}
