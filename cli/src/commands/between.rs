//! `synapse explain --between`: what differs between two past invocations. What they came to is in
//! the journal, what that was made of in the history of the store, as long as it is there.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use synapse_backend::Run;
use synapse_engine::{
    Digest, DirtyReason, Failure, Record, Recorded, Store, Tree, TreeEntry,
    store::{Past, Subject},
    store_failure,
};
use synapse_rules::{action, upload};

use super::log::{entries, find};
use crate::{
    app::App,
    journal::{Entry, NodeLine, RunLine},
    params,
    render::{
        Printer,
        between::{self as text, Change, Comparison, FileChange, PluginChange, StageChange},
    },
};

/// Past runs of a stage that are looked at: all that the store keeps.
const HISTORY: usize = 64;

/// Runs the command; returns the exit code.
pub(super) fn run(app: &App, from: &str, to: &str) -> Result<u8, Failure> {
    let entries = entries(app)?;
    let (from, to) = (find(&entries, from)?, find(&entries, to)?);
    let told = |entry: &Entry| entry.run.is_some();
    if told(from) != told(to) && (told(from) || told(to)) {
        let (run, other) = if told(from) { (from, to) } else { (to, from) };
        let what = format!(
            "{} is the run of an action and {} is not: they have nothing to compare",
            run.trailer.id, other.trailer.id
        );
        return Err(Failure::user("incomparable", what)
            .hint("`synapse log` lists both kinds; compare two of one kind"));
    }
    let history = History::open(app)?;
    let mut comparison = Comparison::of(from, to);
    compare(
        &history,
        [state(&entries, from), state(&entries, to)],
        &mut comparison,
    )?;
    if let (Some(old), Some(new)) = (&from.run, &to.run) {
        comparison.run = changes_of_runs(app, [from, to], [old, new])?;
        if let [Some(old), Some(new)] = [old, new].map(|run| run.manifest.as_ref()) {
            comparison.inputs = inputs(new, old);
            comparison.files = file_changes(&files(old), &files(new));
        }
    }
    let mut printer = Printer::stdout(&app.output);
    if app.output.is_machine() {
        printer.json(&text::document(&comparison));
    } else {
        text::text(&mut printer, &comparison);
    }
    Ok(0)
}

/// A stage of a plugin, and where it goes.
type Place = (String, Option<String>);

/// What an invocation came to.
#[derive(Default)]
struct State<'e> {
    /// By plugin, by stage: the key, and the line of what ran.
    plugins: BTreeMap<String, BTreeMap<Place, Told<'e>>>,
    scope: String,
    /// What it found known is told by a line that is no longer there.
    partial: bool,
}

#[derive(Clone)]
struct Told<'e> {
    key: Option<String>,
    node: Option<&'e NodeLine>,
}

impl Told<'_> {
    fn did(&self) -> &'static str {
        match self.node {
            None => "known",
            Some(node) if node.failed.is_some() => "failed",
            Some(_) => "ran",
        }
    }
}

fn state<'e>(entries: &'e [Entry], entry: &'e Entry) -> State<'e> {
    let mut state = State {
        scope: entry.scope.clone(),
        ..State::default()
    };
    if let Some(like) = entry.trailer.like {
        match entries.iter().find(|own| own.trailer.id == like) {
            None => state.partial = true,
            Some(like) => {
                state.know(like);
                let ends = like.nodes.iter().filter(|node| node.target.is_some());
                for node in ends.filter(|node| node.failed.is_none()) {
                    let key = node.key.clone();
                    state.note(&node.plugin, &node.stage, node.target.as_ref(), key, None);
                }
            }
        }
    }
    state.know(entry);
    for node in &entry.nodes {
        let (target, key) = (node.target.as_ref(), node.key.clone());
        state.note(&node.plugin, &node.stage, target, key, Some(node));
    }
    state
}

impl<'e> State<'e> {
    fn know(&mut self, entry: &Entry) {
        for known in &entry.known {
            for (plugin, key) in &known.keys {
                let (target, key) = (known.target.as_ref(), Some(key.clone()));
                self.note(plugin, &known.stage, target, key, None);
            }
        }
    }

    fn note(
        &mut self,
        plugin: &str,
        stage: &str,
        target: Option<&String>,
        key: Option<String>,
        node: Option<&'e NodeLine>,
    ) {
        let place = (stage.to_owned(), target.cloned());
        let own = self.plugins.entry(plugin.to_owned()).or_default();
        own.insert(place, Told { key, node });
    }
}

/// What the store remembers of what results were made of.
struct History<'a>(Option<&'a App>);

impl<'a> History<'a> {
    /// Looking makes no store.
    fn open(app: &'a App) -> Result<Self, Failure> {
        if !app.home.store.join("store.db").exists() {
            return Ok(Self(None));
        }
        app.store()?;
        Ok(Self(Some(app)))
    }

    fn all(&self, scope: &str, stage: &str, name: &str) -> Result<Vec<Past>, Failure> {
        let Some(app) = self.0 else {
            return Ok(Vec::new());
        };
        let subject = Subject {
            scope: scope.to_owned(),
            stage: stage.to_owned(),
            name: name.to_owned(),
        };
        let past = app.store()?.history(&subject, HISTORY);
        past.map_err(|error| store_failure(&error))
    }

    /// What a stage of that key was made of.
    fn record(
        &self,
        scope: &str,
        plugin: &str,
        (stage, target): &Place,
        key: &str,
    ) -> Result<Option<Record>, Failure> {
        // As the stages call themselves.
        let (stage, name) = match (stage.as_str(), target) {
            ("upload", Some(target)) => (upload::stage(target), plugin.to_owned()),
            ("store", Some(place)) => ("store".to_owned(), format!("{plugin} in {place}")),
            ("store-wheel", Some(place)) => {
                ("store".to_owned(), format!("{plugin} wheel in {place}"))
            }
            (stage, _) => (stage.to_owned(), plugin.to_owned()),
        };
        let mut past = self.all(scope, &stage, &name)?.into_iter();
        let found = past.find(|past| past.key.0.hex().starts_with(key));
        Ok(found.map(|past| past.record))
    }

    /// The files of an archive of that content.
    fn files(
        &self,
        scope: &str,
        plugin: &str,
        content: Digest,
    ) -> Result<Option<Vec<TreeEntry>>, Failure> {
        let past = self.all(scope, "archive", plugin)?.into_iter();
        let mut trees = past.map(|past| files(&past.record));
        Ok(trees.find(|files| Tree::new(files.clone()).digest() == content))
    }
}

/// Where a stage stands among the others.
fn rank(stage: &str) -> usize {
    const ORDER: [&str; 7] = [
        "resolve",
        "environment",
        "inspect",
        "sync",
        "archive",
        "checksum",
        "upload",
    ];
    let known = ORDER.iter().position(|own| *own == stage);
    known.unwrap_or(ORDER.len())
}

fn value<'r>(record: &'r Record, name: &str) -> Option<&'r Recorded> {
    let mut all = record.0.iter();
    all.find(|(own, _)| own == name).map(|(_, value)| value)
}

fn files(record: &Record) -> Vec<TreeEntry> {
    match value(record, "files") {
        Some(Recorded::Files(files)) => files.clone(),
        _ => Vec::new(),
    }
}

fn content(record: &Record) -> Option<Digest> {
    match value(record, "content") {
        Some(Recorded::Digest(digest)) => Some(*digest),
        _ => None,
    }
}

fn version(record: &Record) -> Option<String> {
    match value(record, "version") {
        Some(Recorded::Text(version)) => Some(version.clone()),
        _ => None,
    }
}

/// Named inputs that differ, without what is said of files elsewhere.
fn inputs(new: &Record, old: &Record) -> Vec<DirtyReason> {
    let mut inputs = new.differences(old);
    inputs.retain(|input| {
        !matches!(
            input,
            DirtyReason::FileAdded { .. }
                | DirtyReason::FileRemoved { .. }
                | DirtyReason::FileChanged { .. }
                | DirtyReason::ModeChanged { .. }
        )
    });
    inputs
}

fn file_changes(old: &[TreeEntry], new: &[TreeEntry]) -> Vec<FileChange> {
    let by_path = |files: &[TreeEntry]| -> BTreeMap<String, TreeEntry> {
        let pairs = files.iter().map(|file| (file.path.clone(), file.clone()));
        pairs.collect()
    };
    let (old, new) = (by_path(old), by_path(new));
    let paths: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let change = |path: &&String| {
        let (old, new) = (old.get(*path), new.get(*path));
        (old != new).then(|| FileChange {
            path: (*path).clone(),
            old: old.map(|file| (file.digest, file.executable)),
            new: new.map(|file| (file.digest, file.executable)),
        })
    };
    paths.iter().filter_map(change).collect()
}

fn compare(
    history: &History<'_>,
    [old, new]: [State<'_>; 2],
    comparison: &mut Comparison<'_>,
) -> Result<(), Failure> {
    comparison.partial = [old.partial, new.partial];
    let names: BTreeSet<&String> = old.plugins.keys().chain(new.plugins.keys()).collect();
    for name in names {
        let (Some(before), Some(after)) = (old.plugins.get(name), new.plugins.get(name)) else {
            let only = usize::from(old.plugins.contains_key(name));
            comparison.only[1 - only].push(name.clone());
            continue;
        };
        let mut change = PluginChange::of(name);
        let places: BTreeSet<&Place> = before.keys().chain(after.keys()).collect();
        // Of a run, the journal itself has what it was made of.
        for place in places.into_iter().filter(|place| place.0 != action::STAGE) {
            let told = [before.get(place), after.get(place)];
            let keys = told.map(|told| told.and_then(|told| told.key.clone()));
            let mut stage = StageChange {
                stage: place.0.clone(),
                target: place.1.clone(),
                did: told.map(|told| told.map(Told::did)),
                reasons: told.map(|told| {
                    let node = told.and_then(|told| told.node);
                    node.map(|node| node.reasons.clone()).unwrap_or_default()
                }),
                ..StageChange::default()
            };
            if let [Some(one), Some(other)] = &keys
                && one != other
            {
                change.differs = true;
                let scopes = [(&old.scope, one), (&new.scope, other)];
                let [one, other] =
                    scopes.map(|(scope, key)| history.record(scope, name, place, key));
                let records = [one?, other?];
                // What failed was never kept.
                let failed = [0, 1].map(|at| stage.did[at] == Some("failed"));
                stage.gone = [0, 1].map(|at| records[at].is_none() && !failed[at]);
                if let [Some(one), Some(other)] = &records {
                    stage.inputs = inputs(other, one);
                }
                let scopes = [&old.scope, &new.scope];
                look_inside(history, scopes, &records, &mut change)?;
            }
            stage.keys = keys;
            change.stages.push(stage);
        }
        change.stages.sort_by_key(|stage| rank(&stage.stage));
        comparison.take(change);
    }
    Ok(())
}

/// What the last stages' records say of the plugin: its version, and which files it had.
fn look_inside(
    history: &History<'_>,
    scopes: [&String; 2],
    records: &[Option<Record>; 2],
    change: &mut PluginChange,
) -> Result<(), Failure> {
    let mut found = [None, None];
    for at in [0, 1] {
        let Some(record) = &records[at] else { continue };
        if change.versions[at].is_none() {
            change.versions[at] = version(record);
        }
        if let Some(content) = content(record) {
            found[at] = history.files(scopes[at], &change.plugin, content)?;
            change.contents[at] = Some(content);
        } else if value(record, "files").is_some() {
            found[at] = Some(files(record));
        }
    }
    if let [Some(old), Some(new)] = &found {
        // Inspections are of some of the files, archives of all.
        for file in file_changes(old, new) {
            if !change.files.iter().any(|own| own.path == file.path) {
                change.files.push(file);
            }
        }
    }
    Ok(())
}

/// What differs between two runs of actions, besides what they were made of.
fn changes_of_runs(
    app: &App,
    entries: [&Entry; 2],
    lines: [&RunLine; 2],
) -> Result<Vec<Change>, Failure> {
    let mut changes = Vec::new();
    let mut text = |name: &str, of: fn(&RunLine) -> &str| {
        let [old, new] = lines.map(|line| Value::from(of(line)));
        changes.extend(Change::of(name, Some(old), Some(new)));
    };
    text("plugin", |line| &line.plugin);
    text("version", |line| &line.version);
    text("action", |line| &line.action);
    text("environment", |line| &line.environment);
    let [old, new] = lines.map(|line| line.id);
    let runs = [recorded(app, old)?, recorded(app, new)?];
    if let [Some(old), Some(new)] = &runs {
        for (name, of) in [
            ("params", (|run| run.params.clone()) as fn(&Run) -> Value),
            ("result", |run| run.result.clone()),
        ] {
            let all = Map::from_iter([(name.to_owned(), of(old))]);
            let other = Map::from_iter([(name.to_owned(), of(new))]);
            values("", &all, &other, false, &mut changes);
        }
        let mut pair = |name: &str, of: fn(&Run) -> Value| {
            changes.extend(Change::of(name, Some(of(old)), Some(of(new))));
        };
        pair("status", |run| run.status.as_str().into());
        pair("exit", |run| run.exit.into());
        pair("error", |run| {
            run.error
                .as_ref()
                .map_or(Value::Null, |error| error["kind"].clone())
        });
    }
    let [old, new] = entries.map(|entry| Value::from(entry.ms));
    changes.extend(Change::of("duration", Some(old), Some(new)));
    Ok(changes)
}

fn recorded(app: &App, id: Option<i64>) -> Result<Option<Run>, Failure> {
    let Some(id) = id.filter(|_| app.has_backend().unwrap_or(false)) else {
        return Ok(None);
    };
    // A run that was deleted is no reason not to compare the rest.
    Ok(app.backend()?.run(id).ok())
}

/// Values that differ inside of two objects, each with its path.
fn values(
    path: &str,
    old: &Map<String, Value>,
    new: &Map<String, Value>,
    secret: bool,
    changes: &mut Vec<Change>,
) {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for name in names {
        let secret = secret || params::is_secret(name);
        let full = match path {
            "" => name.clone(),
            path => format!("{path}.{name}"),
        };
        match (old.get(name), new.get(name)) {
            (Some(Value::Object(old)), Some(Value::Object(new))) => {
                values(&full, old, new, secret, changes);
            }
            (old, new) => {
                let change = Change::of(&full, old.cloned(), new.cloned());
                changes.extend(change.map(|change| change.hidden(secret)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_only_said_to_have_changed() {
        let object = |value: Value| value.as_object().cloned().unwrap();
        let old = object(json!({"a": {"b": 1, "Api_Key": "hush"}, "token": {"x": "hush"}, "c": 1}));
        let new =
            object(json!({"a": {"b": 2, "Api_Key": "hush!"}, "token": {"x": "hush!"}, "d": 1}));
        let mut changes = Vec::new();
        values("params", &old, &new, false, &mut changes);
        let told = format!("{changes:?}");
        assert!(!told.contains("hush"), "{told}");
        let names: Vec<&str> = changes.iter().map(|change| change.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "params.a.Api_Key",
                "params.a.b",
                "params.c",
                "params.d",
                "params.token.x"
            ]
        );
    }
}
