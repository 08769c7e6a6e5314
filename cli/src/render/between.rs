//! Owns what differs between two invocations, as text and as a document.

use serde_json::{Value, json};
use synapse_engine::{Digest, DirtyReason};

use super::{BOLD, DIM, Printer, count, duration, moment, paint};
use crate::journal::Entry;

/// Characters of a value that are shown.
const SHOWN: usize = 60;
/// Names that are listed.
const NAMES: usize = 8;

/// A file that differs: its digest, and whether it is executable.
#[derive(Debug, Clone)]
pub struct FileChange {
    /// Its path in the plugin.
    pub path: String,
    /// Before, if it was there.
    pub old: Option<(Digest, bool)>,
    /// After, if it was there.
    pub new: Option<(Digest, bool)>,
}

/// A value that differs.
#[derive(Debug, Clone)]
pub struct Change {
    /// What it is of.
    pub name: String,
    /// Before.
    pub old: Option<Value>,
    /// After.
    pub new: Option<Value>,
    /// The values are not shown.
    pub secret: bool,
}

impl Change {
    /// A change, if it is one.
    pub fn of(name: &str, old: Option<Value>, new: Option<Value>) -> Option<Self> {
        (old != new).then(|| Self {
            name: name.to_owned(),
            old,
            new,
            secret: false,
        })
    }

    /// Without its values, if they are secret.
    #[must_use]
    pub fn hidden(self, secret: bool) -> Self {
        if !secret {
            return self;
        }
        Self {
            old: None,
            new: None,
            secret,
            ..self
        }
    }
}

/// One stage in both.
#[derive(Debug, Clone, Default)]
pub struct StageChange {
    /// The stage.
    pub stage: String,
    /// Where it goes.
    pub target: Option<String>,
    /// Its keys.
    pub keys: [Option<String>; 2],
    /// What was done: `ran`, `failed`, `known`; nothing where nobody needed it.
    pub did: [Option<&'static str>; 2],
    /// Why it ran then.
    pub reasons: [Vec<DirtyReason>; 2],
    /// Inputs that differ, without files.
    pub inputs: Vec<DirtyReason>,
    /// What it was made of is no longer in the store.
    pub gone: [bool; 2],
}

/// One plugin in both.
#[derive(Debug, Clone, Default)]
pub struct PluginChange {
    /// `code` or `code@variant`.
    pub plugin: String,
    /// A key differs.
    pub differs: bool,
    /// Versions.
    pub versions: [Option<String>; 2],
    /// Digests of what the releases hold.
    pub contents: [Option<Digest>; 2],
    /// Files that differ.
    pub files: Vec<FileChange>,
    /// Its stages.
    pub stages: Vec<StageChange>,
}

impl PluginChange {
    /// One of which nothing is known yet.
    pub fn of(plugin: &str) -> Self {
        Self {
            plugin: plugin.to_owned(),
            ..Self::default()
        }
    }
}

/// Two invocations.
pub struct Comparison<'e> {
    from: &'e Entry,
    to: &'e Entry,
    /// Plugins that differ.
    plugins: Vec<PluginChange>,
    /// Plugins that do not.
    same: Vec<String>,
    /// Plugins that only one was about.
    pub only: [Vec<String>; 2],
    /// What one found known is not known any more.
    pub partial: [bool; 2],
    /// Of runs: what differs.
    pub run: Vec<Change>,
    /// Of runs: inputs that differ.
    pub inputs: Vec<DirtyReason>,
    /// Of runs: files that differ.
    pub files: Vec<FileChange>,
}

impl<'e> Comparison<'e> {
    /// Of which nothing is known yet.
    pub fn of(from: &'e Entry, to: &'e Entry) -> Self {
        Self {
            from,
            to,
            plugins: Vec::new(),
            same: Vec::new(),
            only: [Vec::new(), Vec::new()],
            partial: [false; 2],
            run: Vec::new(),
            inputs: Vec::new(),
            files: Vec::new(),
        }
    }

    /// Takes a plugin.
    pub fn take(&mut self, change: PluginChange) {
        if change.differs {
            self.plugins.push(change);
        } else {
            self.same.push(change.plugin);
        }
    }

    fn ids(&self) -> [u64; 2] {
        [self.from.trailer.id, self.to.trailer.id]
    }

    /// Plugins of which one made a release and the other did not.
    fn published(&self) -> [Vec<&str>; 2] {
        let names = |entry: &'e Entry| -> Vec<&'e str> {
            let all = entry.plugins.iter().filter(|own| own.status == "published");
            all.map(|own| own.plugin.as_str()).collect()
        };
        let [from, to] = [names(self.from), names(self.to)];
        let without = |one: &[&'e str], other: &[&str]| -> Vec<&'e str> {
            let all = one.iter().copied();
            all.filter(|name| !other.contains(name)).collect()
        };
        [without(&from, &to), without(&to, &from)]
    }
}

/// For people.
pub fn text(printer: &mut Printer, comparison: &Comparison<'_>) {
    let [from, to] = comparison.ids();
    let width = from.max(to).to_string().len();
    for (word, entry) in [("from", comparison.from), ("to", comparison.to)] {
        printer.line(format!(
            "{word:4} {:>width$}  {}  {}  {}",
            entry.trailer.id,
            moment(entry.at),
            entry.line,
            paint(DIM, duration(entry.ms)),
        ));
    }
    if from == to {
        printer.line("they are the same");
        return;
    }
    for change in &comparison.plugins {
        plugin(printer, change, [from, to]);
    }
    let is_run = comparison.from.run.is_some();
    run(printer, comparison);
    for (at, id) in [from, to].into_iter().enumerate() {
        names(
            printer,
            &format!("only {id} was about"),
            &comparison.only[at],
        );
        let published = comparison.published();
        names(printer, &format!("only {id} published"), &published[at]);
        if comparison.partial[at] {
            printer.line(format!(
                "what {id} found up to date is no longer in the journal"
            ));
        }
    }
    if comparison.from.scope != comparison.to.scope {
        printer.line(format!(
            "they were in different places: {} and {}",
            comparison.from.scope, comparison.to.scope
        ));
    }
    let nothing = comparison.plugins.is_empty() && !is_run;
    if !comparison.same.is_empty() {
        let same = count(comparison.same.len() as u64, "plugin");
        printer.line(format!("{same} the same in both"));
    } else if nothing && comparison.only.iter().all(Vec::is_empty) {
        printer.line("nothing is known of what they came to");
    }
}

fn names(printer: &mut Printer, what: &str, names: &[impl AsRef<str>]) {
    if names.is_empty() {
        return;
    }
    let shown = names.iter().take(NAMES).map(AsRef::as_ref);
    let shown = shown.collect::<Vec<_>>().join(", ");
    let more = names.len().saturating_sub(NAMES);
    let more = match more {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    printer.line(format!("{what}: {shown}{more}"));
}

fn plugin(printer: &mut Printer, change: &PluginChange, ids: [u64; 2]) {
    let version = match &change.versions {
        [Some(old), Some(new)] if old != new => format!(" {old} -> {new}"),
        [_, Some(version)] | [Some(version), None] => format!(" {version}"),
        [None, None] => String::new(),
    };
    printer.line(format!("{}{version}", paint(BOLD, &change.plugin)));
    for file in &change.files {
        printer.line(format!("  {}", sentence(file)));
    }
    for stage in &change.stages {
        let to = stage.target.as_ref().filter(|to| *to != "local");
        let to = to.map(|to| format!(" to {to}")).unwrap_or_default();
        for input in &stage.inputs {
            if !is_told(input, change) {
                printer.line(format!("  {}{to}: {input}", stage.stage));
            }
        }
        for (at, id) in ids.into_iter().enumerate() {
            let failed = stage.did[at] == Some("failed") && stage.keys[at].is_some();
            if !stage.gone[at] && !failed {
                continue;
            }
            let what = if failed {
                format!("failed in {id}")
            } else {
                format!("what it was made of in {id} is no longer in the store")
            };
            printer.line(format!("  {}{to}: {what}", stage.stage));
            for reason in &stage.reasons[at] {
                printer.line(format!("    then because {reason}"));
            }
        }
    }
    let differ = matches!(&change.contents, [Some(old), Some(new)] if old != new);
    if differ && change.files.is_empty() {
        printer.line("  its files differ; which is no longer in the store");
    }
    for (at, id) in ids.into_iter().enumerate() {
        let did = |what: &str| -> Vec<&str> {
            let stages = change.stages.iter();
            let stages = stages.filter(|stage| stage.did[at] == Some(what));
            stages.map(|stage| stage.stage.as_str()).collect()
        };
        for (what, words) in [
            ("ran", "ran"),
            ("failed", "failed at"),
            ("known", "found up to date"),
        ] {
            let stages = did(what);
            if !stages.is_empty() {
                let line = format!("{id} {words} {}", stages.join(", "));
                printer.line(format!("  {}", paint(DIM, line)));
            }
        }
    }
}

/// Whether the list of files says the same, and better: what follows from files is a digest.
fn is_told(input: &DirtyReason, change: &PluginChange) -> bool {
    let DirtyReason::InputChanged { name, .. } = input else {
        return false;
    };
    let derived = ["content", "archive", "name", "config", "metadata", "wheel"];
    derived.contains(&name.as_str()) && !change.files.is_empty()
}

fn sentence(file: &FileChange) -> String {
    let path = &file.path;
    match (&file.old, &file.new) {
        (None, Some((new, _))) => format!("{path} was added ({})", new.short()),
        (Some((old, _)), None) => format!("{path} was removed ({})", old.short()),
        (Some((old, was)), Some((new, is))) => {
            let mode = match (was, is) {
                (false, true) => ", and became executable",
                (true, false) => ", and is no longer executable",
                _ => "",
            };
            if old == new {
                return format!("{path} is the same{mode}");
            }
            format!("{path} changed ({} to {}){mode}", old.short(), new.short())
        }
        (None, None) => path.clone(),
    }
}

fn run(printer: &mut Printer, comparison: &Comparison<'_>) {
    let Some(line) = &comparison.to.run else {
        return;
    };
    let head = format!("{} of {}", line.action, line.plugin);
    printer.line(paint(BOLD, head));
    for file in &comparison.files {
        printer.line(format!("  {}", sentence(file)));
    }
    for input in &comparison.inputs {
        let told = matches!(input, DirtyReason::InputChanged { name, .. } if name == "action");
        if !told {
            printer.line(format!("  {input}"));
        }
    }
    for change in &comparison.run {
        let name = &change.name;
        let line = match (&change.old, &change.new) {
            _ if change.secret => format!("{name} changed"),
            (Some(old), Some(new)) if name == "duration" => {
                let [old, new] = [old, new].map(|ms| duration(ms.as_u64().unwrap_or(0)));
                format!("{name} {old}, then {new}")
            }
            (Some(old), Some(new)) => {
                format!("{name} changed from {} to {}", short(old), short(new))
            }
            (None, Some(new)) => format!("{name} is new: {}", short(new)),
            (Some(old), None) => format!("{name} is gone, it was {}", short(old)),
            (None, None) => continue,
        };
        printer.line(format!("  {line}"));
    }
}

fn short(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if text.chars().count() <= SHOWN {
        return text;
    }
    let cut: String = text.chars().take(SHOWN - 3).collect();
    format!("{cut}...")
}

/// For programs.
pub fn document(comparison: &Comparison<'_>) -> Value {
    let head = |entry: &Entry| {
        json!({"id": entry.trailer.id, "at": entry.at, "ms": entry.ms, "exit": entry.exit,
               "command": entry.command, "line": entry.line, "scope": entry.scope,
               "run": entry.run.as_ref().and_then(|run| run.id)})
    };
    let plugins: Vec<Value> = comparison.plugins.iter().map(plugin_object).collect();
    let run: Vec<Value> = comparison
        .run
        .iter()
        .map(|change| {
            json!({"name": change.name, "old": change.old, "new": change.new,
                   "secret": change.secret})
        })
        .collect();
    let published = comparison.published();
    json!({
        "schema": 1, "command": "explain", "ok": true,
        "from": head(comparison.from), "to": head(comparison.to),
        "plugins": plugins, "same": comparison.same,
        "only": {"from": comparison.only[0], "to": comparison.only[1]},
        "published": {"from": published[0], "to": published[1]},
        "partial": comparison.partial,
        "run": {"changes": run, "inputs": reasons(&comparison.inputs),
                "files": comparison.files.iter().map(file_object).collect::<Vec<_>>()},
    })
}

fn reasons(reasons: &[DirtyReason]) -> Value {
    let all = reasons.iter().map(|reason| {
        let mut object = json!(reason);
        object["sentence"] = reason.to_string().into();
        object
    });
    Value::Array(all.collect())
}

fn file_object(file: &FileChange) -> Value {
    let change = match (&file.old, &file.new) {
        (None, _) => "added",
        (_, None) => "removed",
        (Some((old, _)), Some((new, _))) if old == new => "mode",
        _ => "changed",
    };
    let digest = |side: &Option<(Digest, bool)>| side.map(|(digest, _)| digest.hex());
    json!({"path": file.path, "change": change, "old": digest(&file.old),
           "new": digest(&file.new), "sentence": sentence(file)})
}

fn plugin_object(change: &PluginChange) -> Value {
    let stages: Vec<Value> = change
        .stages
        .iter()
        .map(|stage| {
            let side = |at: usize| {
                json!({"key": stage.keys[at], "did": stage.did[at],
                       "reasons": reasons(&stage.reasons[at]), "gone": stage.gone[at]})
            };
            json!({"stage": stage.stage, "target": stage.target, "from": side(0), "to": side(1),
                   "inputs": reasons(&stage.inputs)})
        })
        .collect();
    json!({"plugin": change.plugin, "versions": change.versions,
           "contents": change.contents.map(|own| own.map(|own| own.hex())),
           "files": change.files.iter().map(file_object).collect::<Vec<_>>(), "stages": stages})
}
