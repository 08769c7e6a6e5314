//! Owns how a watch looks: why something is done again, what came of it, and what is not right
//! yet; for programs a line per event.

use std::{
    collections::BTreeSet,
    io::{IsTerminal, Write},
};

use serde_json::{Value, json};
use synapse_engine::{DirtyReason, Failure, reason};
use synapse_rules::{plugin::Source, watch::Change, workspace};

use super::{
    BOLD, DIM, GOOD, Printer, WARN, count, duration,
    error::{self, ErrorObject, flatten},
    paint,
};
use crate::{
    args::Output,
    watch::{Facts, Polls},
};

/// More plugins than this are not named one by one.
const FEW: usize = 8;
/// Clears the terminal and what it keeps to scroll back to.
const CLEAR: &[u8] = b"\x1b[2J\x1b[3J\x1b[H";

/// Where a watch talks.
pub struct Screen {
    output: Output,
    clear: bool,
}

/// An attempt that is over.
pub struct Done {
    /// Which it was.
    pub number: u64,
    /// Its exit code.
    pub code: u8,
    /// It was made to end.
    pub stopped: bool,
    /// How long it took.
    pub ms: u64,
    /// Names of what was wrong and is right now.
    pub fixed: Vec<String>,
    /// Names of what is not right yet.
    pub failing: Vec<String>,
    /// It was a run.
    pub is_run: bool,
}

impl Screen {
    /// One for the options.
    pub fn new(output: &Output, clear: bool) -> Self {
        let clear = clear && !output.is_machine() && std::io::stdout().is_terminal();
        let output = output.clone();
        Self { output, clear }
    }

    /// What is watched.
    pub fn watching(&self, facts: &Facts) {
        let plugins = facts.sources.len();
        self.event(&json!({
            "event": "watching", "plugins": plugins, "files": facts.files,
            "folders": facts.folders, "polls": facts.polls.as_ref().map(polls_name),
        }));
        let ends = if std::io::stdin().is_terminal() {
            "Enter does it again, Ctrl-C ends"
        } else {
            "Ctrl-C ends"
        };
        let files = count(facts.files as u64, "file");
        let plugins = count(plugins as u64, "plugin");
        self.line(paint(DIM, format!("watching {plugins}, {files}; {ends}")));
    }

    /// Folders are listed instead of being told about.
    pub fn polls(&self, why: &Polls) {
        self.event(&json!({"event": "polls", "why": polls_name(why)}));
        if self.output.is_machine() || self.output.quiet {
            return;
        }
        let (what, hint) = match why {
            Polls::Asked => return,
            Polls::Network => (
                "the files lie on a network, which tells of no changes",
                None,
            ),
            Polls::Limit => (
                "the system watches no more folders for this user",
                Some(
                    "raise the limit: sudo sysctl fs.inotify.max_user_watches=524288 fs.inotify.max_user_instances=512",
                ),
            ),
            Polls::Unable(error) => (error.as_str(), None),
        };
        let mut printer = Printer::stderr(&self.output);
        let warning = paint(WARN, "warning:");
        printer.line(format!(
            "{warning} {what}; they are listed every second instead"
        ));
        if let Some(hint) = hint {
            printer.line(format!("{} {hint}", paint(super::HINT, "hint:")));
        }
    }

    /// Why something is done again. `one` is the only plugin that there is.
    pub fn changed(&self, changes: &[Change], one: bool) {
        self.event(&json!({
            "event": "changed",
            "paths": changes.iter().flat_map(paths).collect::<Vec<_>>(),
            "plugins": changes.iter().map(change_object).collect::<Vec<_>>(),
        }));
        self.wipe();
        let alike = changes.iter().all(|own| own.reasons == changes[0].reasons);
        if alike || one {
            let names = match changes {
                [_] if one => String::new(),
                changes => format!("{}: ", named(changes)),
            };
            let why = words(&changes[0].reasons);
            return self.stamped(format!("{names}{why}"));
        }
        if changes.len() > FEW {
            return self.stamped(format!("{} changed", named(changes)));
        }
        for change in changes {
            let name = paint(BOLD, &change.subject);
            self.stamped(format!("{name}: {}", words(&change.reasons)));
        }
    }

    /// It was asked for.
    pub fn again(&self) {
        self.event(&json!({"event": "again"}));
        self.wipe();
        self.stamped("again");
    }

    /// A plugin is no longer there.
    pub fn gone(&self, name: &str, place: &str) {
        self.event(&json!({"event": "gone", "plugin": name, "place": place}));
        let reason = DirtyReason::InputChanged {
            name: place.to_owned(),
            old: None,
            new: None,
        };
        self.stamped(format!("{}: {reason}", paint(BOLD, name)));
    }

    /// The workspace cannot be read any more.
    pub fn trouble(&self, failure: &Failure) {
        let errors = flatten(failure).into_iter().map(ErrorObject::from);
        let errors: Vec<ErrorObject> = errors.collect();
        self.event(&json!({"event": "trouble", "errors": errors}));
        if !self.output.is_machine() {
            error::print(&mut Printer::stderr(&self.output), failure);
        }
    }

    /// It can be read again.
    pub fn mended(&self) {
        self.fixed(&[workspace::FILE.to_owned()]);
    }

    /// An attempt begins.
    pub fn started<'a>(&self, number: u64, sources: impl Iterator<Item = &'a Source>) {
        let places: Vec<&str> = sources.map(|source| source.place.as_str()).collect();
        self.event(&json!({"event": "attempt_started", "attempt": number, "places": places}));
    }

    /// An attempt is over.
    pub fn finished(&self, done: &Done) {
        self.event(&json!({
            "event": "attempt_finished", "attempt": done.number, "ok": done.code == 0,
            "code": done.code, "stopped": done.stopped, "ms": done.ms, "failing": done.failing,
        }));
        if !done.fixed.is_empty() {
            self.fixed(&done.fixed);
        }
        // What went wrong stays the last thing on the screen.
        if done.code == 0 && done.is_run {
            let ms = duration(done.ms);
            self.stamped(paint(DIM, format!("done in {ms}; waiting for changes")));
        }
    }

    fn fixed(&self, names: &[String]) {
        self.event(&json!({"event": "fixed", "what": names}));
        let shown = listed(names.iter().map(String::as_str), names.len());
        self.line(format!("{} {shown}", paint(GOOD, "fixed:")));
    }

    /// An action seems to start itself.
    pub fn suspect(&self, paths: &BTreeSet<String>) {
        let shown = listed(paths.iter().map(String::as_str), paths.len());
        let verb = if paths.len() == 1 {
            "changes"
        } else {
            "change"
        };
        let what = format!("{shown} {verb} each time the action runs");
        let hint = "if the action writes it, ignore it in .synapseignore";
        self.event(&json!({"event": "note", "message": what, "hint": hint}));
        if self.output.is_machine() || self.output.quiet {
            return;
        }
        let mut printer = Printer::stderr(&self.output);
        printer.line(format!("{} {what}", paint(WARN, "warning:")));
        printer.line(format!("{} {hint}", paint(super::HINT, "hint:")));
    }

    /// The watch is over.
    pub fn ended(&self, attempts: u64, code: u8) {
        self.event(&json!({"event": "ended", "attempts": attempts, "code": code}));
    }

    fn event(&self, value: &Value) {
        if self.output.events {
            Printer::stdout(&self.output).text(format!("{value}\n"));
        }
    }

    fn line(&self, text: impl AsRef<str>) {
        if !self.output.is_machine() && !self.output.quiet {
            Printer::stdout(&self.output).line(text);
        }
    }

    /// A line with the time of day.
    fn stamped(&self, text: impl AsRef<str>) {
        let now = jiff::Zoned::now().strftime("%H:%M:%S").to_string();
        self.line(format!("{} {}", paint(DIM, now), text.as_ref()));
    }

    fn wipe(&self) {
        if self.clear {
            let mut out = std::io::stdout();
            let _ = out.write_all(CLEAR).and_then(|()| out.flush());
        }
    }
}

fn polls_name(polls: &Polls) -> &'static str {
    match polls {
        Polls::Asked => "asked",
        Polls::Network => "network",
        Polls::Limit => "limit",
        Polls::Unable(_) => "unable",
    }
}

fn words(reasons: &[DirtyReason]) -> String {
    if reasons.is_empty() {
        // It could not be read, or can be again.
        return "it changed".to_owned();
    }
    reason::summary(reasons)
}

/// The input that a reason is about.
pub fn subject(reason: &DirtyReason) -> String {
    match reason {
        DirtyReason::FileAdded { path }
        | DirtyReason::FileRemoved { path }
        | DirtyReason::FileChanged { path, .. }
        | DirtyReason::ModeChanged { path, .. } => path.clone(),
        DirtyReason::InputChanged { name, .. } | DirtyReason::SecretChanged { name } => {
            name.clone()
        }
        other => other.to_string(),
    }
}

fn paths(change: &Change) -> impl Iterator<Item = String> {
    change.reasons.iter().map(subject)
}

fn change_object(change: &Change) -> Value {
    json!({
        "plugin": change.subject,
        "place": change.source.place,
        "paths": paths(change).collect::<Vec<_>>(),
        "reasons": change.reasons,
        "text": words(&change.reasons),
    })
}

fn named(changes: &[Change]) -> String {
    let names = changes.iter().map(|change| change.subject.as_str());
    paint(BOLD, listed(names, changes.len()))
}

/// The first names, and how many more there are.
fn listed<'a>(names: impl Iterator<Item = &'a str>, all: usize) -> String {
    let first: Vec<&str> = names.take(FEW).collect();
    let text = first.join(", ");
    match all - first.len() {
        0 => text,
        more => format!("{text} and {more} more"),
    }
}
