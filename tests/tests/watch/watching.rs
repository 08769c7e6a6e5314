//! Owns [`Watch`]: a watch at work and what it tells, and saves as editors make them.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    path::Path,
    process::Child,
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, SystemTime},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use synapse_tests::{Run, Space};

/// Longest wait for what is sure to come.
const PATIENCE: Duration = Duration::from_mins(2);
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_synapse_under_test");

/// A watch at work, and what it tells.
pub(crate) struct Watch {
    pub(crate) child: Child,
    events: Receiver<Value>,
}

impl Watch {
    pub(crate) fn start(space: &Space, args: &[&str]) -> Self {
        let mut child = space
            .command(&[&["dev"], args, &["--events"]].concat())
            .spawn()
            .expect("synapse starts");
        let out = BufReader::new(child.stdout.take().expect("output"));
        let (tell, events) = channel();
        thread::spawn(move || {
            for line in out.lines() {
                let line = line.expect("a line");
                let event = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
                if tell.send(event).is_err() {
                    return;
                }
            }
        });
        Self { child, events }
    }

    /// The next event of one of these names.
    #[track_caller]
    pub(crate) fn next(&self, names: &[&str]) -> Value {
        loop {
            let event = match self.events.recv_timeout(PATIENCE) {
                Ok(event) => event,
                Err(error) => panic!("{error} before one of {names:?}"),
            };
            if names.iter().any(|name| event["event"] == *name) {
                return event;
            }
        }
    }

    /// The next attempt, from start to end; nothing else may have been told before.
    #[track_caller]
    pub(crate) fn attempt(&self, number: u64) -> Value {
        let event = self.next(&["changed", "gone", "trouble", "fixed", "attempt_started"]);
        assert_eq!(event["event"], "attempt_started", "{event:#}");
        assert_eq!(event["attempt"], number, "{event:#}");
        let event = self.next(&["changed", "attempt_finished"]);
        assert_eq!(event["event"], "attempt_finished", "{event:#}");
        event
    }

    /// The next change: `plugin: path, path` each.
    #[track_caller]
    pub(crate) fn changed(&self) -> Vec<String> {
        let event = self.next(&["changed", "gone", "trouble", "fixed", "attempt_started"]);
        assert_eq!(event["event"], "changed", "{event:#}");
        let plugins = event["plugins"].as_array().expect("plugins");
        let told = plugins.iter().map(|plugin| {
            let paths = plugin["paths"].as_array().expect("paths");
            let paths: Vec<&str> = paths.iter().filter_map(Value::as_str).collect();
            format!(
                "{}: {}",
                plugin["plugin"].as_str().expect("a code"),
                paths.join(", ")
            )
        });
        told.collect()
    }

    /// The last document that a publish or a run printed.
    #[track_caller]
    pub(crate) fn document(&self) -> Value {
        self.next(&["summary"])["document"].clone()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).expect("a process");
        kill_process(pid, signal).expect("a signal");
    }

    /// Ctrl-C; how it ended.
    #[track_caller]
    pub(crate) fn interrupt(self) -> Run {
        self.signal(Signal::INT);
        let ended = self.next(&["ended"]);
        assert_eq!(ended["code"], 130, "{ended:#}");
        let output = self.child.wait_with_output().expect("an end");
        Run::from(output).expect(130)
    }
}

/// Saves a file as editors do: beside it, and moved over it. Nobody can see half of it, however
/// busy the machine.
pub(crate) fn save(space: &Space, path: &str, text: &str) {
    let beside = format!("{path}.tmp~");
    space.write(&beside, text);
    fs::rename(space.path(&beside), space.path(path)).expect("renamed");
}

/// Adds to a file in place.
pub(crate) fn append(space: &Space, path: &str, text: &str) {
    let mut file = File::options()
        .append(true)
        .open(space.path(path))
        .expect("a file");
    file.write_all(text.as_bytes()).expect("written");
}

/// Gives a file other times and leaves it as it is.
pub(crate) fn touch(path: &Path) {
    let file = File::options().append(true).open(path).expect("a file");
    file.set_modified(SystemTime::now()).expect("a time");
}

#[track_caller]
pub(crate) fn replace(space: &Space, path: &str, old: &str, new: &str) {
    let text = space.read(path);
    assert_eq!(text.matches(old).count(), 1, "{old:?} in {path}");
    save(space, path, &text.replacen(old, new, 1));
}

/// The folders that a process watches, by inode, as the system tells.
pub(crate) fn watched_folders(watch: &Watch) -> Vec<String> {
    let folder = format!("/proc/{}/fdinfo", watch.child.id());
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let text = fs::read_to_string(entry.path()).unwrap_or_default();
        let lines = text.lines().filter(|line| line.starts_with("inotify "));
        found.extend(lines.map(str::to_owned));
    }
    found
}
