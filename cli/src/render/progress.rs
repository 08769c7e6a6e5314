//! Owns live output of stages: what each of them does, in the live area of a terminal; one JSON
//! event a line for programs; a line per stage in the logs of GitHub Actions.

use std::{
    collections::HashMap,
    io::Write,
    sync::{Mutex, MutexGuard, PoisonError},
};

use synapse_engine::{Event, EventSink, Label, reason};
use synapse_rules::target::Target;

use super::{
    Printer,
    board::{self, Busy},
    github, note_lost, size,
};
use crate::args::Output;

/// Shows events as they come.
pub struct Live {
    stages: Option<Mutex<Stages>>,
    lines: Option<Mutex<std::io::Stdout>>,
    /// Every stage gets a line: for who watches closely, and in a group that can be folded.
    told: Option<Mutex<Printer>>,
}

/// What is under way.
#[derive(Default)]
struct Stages {
    /// That anything is.
    whole: Option<Busy>,
    each: HashMap<(String, String), Busy>,
    done: u64,
    all: u64,
    /// Addresses of targets by the names of their stages.
    hosts: HashMap<String, String>,
}

impl Live {
    /// Live output as the options and the terminal have it.
    pub fn new(output: &Output) -> Self {
        Self::of(output, !output.is_machine() && !output.quiet)
    }

    /// Events for programs only: somebody else shows what goes on.
    pub fn lines(output: &Output) -> Self {
        Self::of(output, false)
    }

    fn of(output: &Output, shows: bool) -> Self {
        let lines = output.events.then(|| Mutex::new(std::io::stdout()));
        let tells = github::is_on() || (output.verbose && board::get().is_area());
        let told = (shows && tells).then(|| Mutex::new(Printer::stderr(output)));
        Self {
            stages: shows.then(Mutex::default),
            lines,
            told,
        }
    }

    /// Says what goes on as long as no stage does.
    pub fn begin(&self, what: &str) {
        if let Some(mut stages) = self.stages() {
            stages.whole = Some(board::get().whole(what.to_owned()));
        }
    }

    /// Says where targets are, and that they are asked as long as no stage goes on.
    pub fn targets<'t>(&self, targets: impl IntoIterator<Item = &'t Target>) {
        let Some(mut stages) = self.stages() else {
            return;
        };
        for target in targets {
            if let Some(host) = &target.host {
                let stage = synapse_rules::upload::stage(&target.name);
                stages.hosts.insert(stage, host.clone());
            }
        }
        if let (Some(text), Some(whole)) = (stages.asked(), &stages.whole) {
            whole.set(text);
        }
    }

    /// Takes what is shown away.
    pub fn finish(&self) {
        if let Some(mut stages) = self.stages() {
            let hosts = std::mem::take(&mut stages.hosts);
            *stages = Stages {
                hosts,
                ..Stages::default()
            };
            board::get().stages(None);
        }
    }

    /// One JSON value as a line, when events were asked for.
    pub fn value(&self, value: &impl serde::Serialize) {
        let Some(lines) = &self.lines else { return };
        if let Ok(mut text) = serde_json::to_vec(value) {
            text.push(b'\n');
            let mut out = lines.lock().unwrap_or_else(PoisonError::into_inner);
            note_lost(out.write_all(&text).and_then(|()| out.flush()));
        }
    }

    fn stages(&self) -> Option<MutexGuard<'_, Stages>> {
        let stages = self.stages.as_ref()?;
        Some(stages.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn tell(&self, text: &str) {
        if let Some(told) = &self.told {
            let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
            told.line(text);
        }
    }

    fn show(&self, event: &Event) {
        match event {
            Event::Started { node, reasons } => match reason::summary(reasons) {
                why if why.is_empty() => self.tell(&words(node)),
                why => self.tell(&format!("{}: {why}", words(node))),
            },
            Event::Waiting { node, pid } => {
                self.tell(&format!("{} waits for {}", words(node), process(*pid)));
            }
            Event::Doing { node, what } => self.tell(&format!("{}: {what}", words(node))),
            _ => {}
        }
        let Some(mut stages) = self.stages() else {
            return;
        };
        match event {
            Event::Planned { run, unknown, .. } if run + unknown > 0 => {
                stages.all += run + unknown;
                stages.count();
            }
            Event::Started { node, .. } => {
                let busy = board::busy(words(node));
                stages.each.insert(key(node), busy);
            }
            Event::Waiting { node, pid } => {
                let text = format!("waiting for {}: {}", process(*pid), words(node));
                stages.set(node, text);
            }
            Event::Doing { node, what } => {
                let text = format!("{}: {what}", words(node));
                stages.set(node, text);
            }
            Event::Progress { node, done, total } if *total > 0 => {
                let text = match stages.hosts.get(&node.stage) {
                    Some(host) if done >= total => {
                        format!("waiting for {host} about {}", node.subject)
                    }
                    _ => format!("{}: {} of {}", words(node), size(*done), size(*total)),
                };
                stages.set(node, text);
            }
            Event::Finished { node, .. } | Event::Failed { node, .. } | Event::Skipped { node } => {
                stages.each.remove(&key(node));
                stages.done += 1;
                stages.count();
            }
            _ => {}
        }
        drop(stages);
        if let Event::Note { message } = event {
            board::aside(|| {
                let _ = writeln!(std::io::stderr(), "{message}");
            });
        }
    }
}

impl Stages {
    fn count(&self) {
        // What was found at the target meanwhile is not done by a stage.
        let all = self.all.max(self.done);
        board::get().stages((all > 0).then_some((self.done, all)));
    }

    fn set(&mut self, node: &Label, text: String) {
        match self.each.get(&key(node)) {
            Some(busy) => busy.set(text),
            None => drop(self.each.insert(key(node), board::busy(text))),
        }
    }

    /// What goes on between the stages of a publish to platforms.
    fn asked(&self) -> Option<String> {
        let mut hosts: Vec<&str> = self.hosts.values().map(String::as_str).collect();
        hosts.sort_unstable();
        hosts.dedup();
        (!hosts.is_empty()).then(|| format!("asking {} what is there", hosts.join(" and ")))
    }
}

fn key(node: &Label) -> (String, String) {
    (node.stage.clone(), node.subject.clone())
}

fn process(pid: Option<u32>) -> String {
    pid.map_or_else(
        || "another process".to_owned(),
        |pid| format!("process {pid}"),
    )
}

/// What a stage does, in words.
fn words(node: &Label) -> String {
    let Label { stage, subject } = node;
    let (first, place) = stage.split_once(' ').unwrap_or((stage, ""));
    match (first, place) {
        ("inspect", _) => format!("inspecting {subject}"),
        ("sync", _) => format!("syncing the configuration of {subject}"),
        ("archive", _) => format!("packing {subject}"),
        ("checksum", _) => format!("checksumming {subject}"),
        ("upload", "") => format!("publishing {subject}"),
        ("upload", target) => format!("uploading {subject} to {target}"),
        ("store", place) => format!("storing {subject} in {place}"),
        ("resolve", _) => format!("resolving the requirements of {subject}"),
        ("environment", _) if subject == "base" => {
            "making the environment that plugins are inspected in".to_owned()
        }
        ("environment", _) => format!("making the environment of {subject}"),
        ("wheel", _) => format!("building the wheel of {subject}"),
        _ => format!("{stage} {subject}"),
    }
}

impl EventSink for Live {
    fn event(&self, event: Event) {
        self.value(&event);
        self.show(&event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_told_in_words() {
        let told = |stage: &str, subject: &str| {
            words(&Label {
                stage: stage.to_owned(),
                subject: subject.to_owned(),
            })
        };
        assert_eq!(told("archive", "yolov8"), "packing yolov8");
        assert_eq!(told("upload", "yolov8"), "publishing yolov8");
        assert_eq!(
            told("upload staging", "yolov8@acme"),
            "uploading yolov8@acme to staging"
        );
        assert!(told("environment", "base").contains("inspected"));
        assert_eq!(told("library plan", "shared"), "library plan shared");
        assert_eq!(process(Some(7)), "process 7");
    }
}
