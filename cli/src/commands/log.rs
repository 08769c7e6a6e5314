//! `synapse log`: what was published, uploaded and run, when, why and how it ended.

use serde_json::{Value, json};
use synapse_engine::Failure;

use super::nearest;
use crate::{
    app::App,
    args,
    journal::{Entry, Journal},
    render::{Printer, log as text},
};

/// Runs the command; returns the exit code.
pub fn run(app: &App, args: &args::Log) -> Result<u8, Failure> {
    let entries = entries(app)?;
    let mut printer = Printer::stdout(&app.output);
    if let Some(given) = &args.id {
        let entry = find(&entries, given)?;
        if app.output.is_machine() {
            printer.json(&json!({"schema": 1, "command": "log", "ok": true,
                                 "entry": object(entry)}));
        } else {
            text::whole(&mut printer, entry);
        }
        return Ok(0);
    }
    let fits = |entry: &&Entry| args.plugin.as_ref().is_none_or(|own| touched(entry, own));
    let found: Vec<&Entry> = entries.iter().rev().filter(fits).collect();
    if let (Some(plugin), true) = (&args.plugin, found.is_empty() && !entries.is_empty()) {
        return Err(untouched(&entries, plugin));
    }
    let listed = &found[..found.len().min(args.limit)];
    if app.output.is_machine() {
        let objects: Vec<Value> = listed.iter().map(|entry| object(entry)).collect();
        printer.json(&json!({"schema": 1, "command": "log", "ok": true,
                             "total": found.len(), "entries": objects}));
    } else if found.is_empty() {
        printer.line("nothing is noted yet: publishes, uploads and runs are");
    } else {
        text::list(&mut printer, listed, found.len());
    }
    Ok(0)
}

/// All that is noted, oldest first.
pub(super) fn entries(app: &App) -> Result<Vec<Entry>, Failure> {
    let path = app.home.journal();
    Journal::new(path.clone()).read().map_err(|error| {
        let what = format!("cannot read the journal: {error}");
        Failure::environment("data", what)
            .at(path.display().to_string())
            .hint(
                "check the folder's permissions and its free space, or set SYNAPSE_HOME to another",
            )
    })
}

/// The entry that is meant: by its number, `latest`, or counted from the end.
pub(super) fn find<'e>(entries: &'e [Entry], given: &str) -> Result<&'e Entry, Failure> {
    let none = || {
        let what = format!("there is no invocation {given}");
        let failure = Failure::user("no-invocation", what);
        match (entries.first(), entries.last()) {
            (Some(first), Some(last)) => failure.hint(format!(
                "there are {} to {}; synapse log lists them",
                first.trailer.id, last.trailer.id
            )),
            _ => failure.hint("nothing is noted yet: publishes, uploads and runs are"),
        }
    };
    if given == "latest" {
        return entries.last().ok_or_else(none);
    }
    let Ok(number) = given.parse::<i64>() else {
        let what = format!("{given:?} names no invocation");
        let hint =
            "give a number of synapse log, latest, or -1 for the last, -2 for the one before";
        return Err(Failure::usage(what).hint(hint));
    };
    let found = if number < 0 {
        let back = usize::try_from(number.unsigned_abs()).unwrap_or(usize::MAX);
        let at = entries.len().checked_sub(back);
        at.and_then(|at| entries.get(at))
    } else {
        let mut entries = entries.iter().rev();
        entries.find(|entry| i64::try_from(entry.trailer.id) == Ok(number))
    };
    found.ok_or_else(none)
}

/// Whether something was done to a plugin, or should have been.
fn touched(entry: &Entry, plugin: &str) -> bool {
    names(entry).any(|own| is(own, plugin))
}

fn is(own: &str, plugin: &str) -> bool {
    own == plugin || own.split('@').next() == Some(plugin)
}

fn names(entry: &Entry) -> impl Iterator<Item = &str> {
    let plugins = entry.plugins.iter().map(|own| own.plugin.as_str());
    let nodes = entry.nodes.iter().map(|own| own.plugin.as_str());
    let run = entry.run.iter().map(|own| own.plugin.as_str());
    plugins.chain(nodes).chain(run)
}

fn untouched(entries: &[Entry], plugin: &str) -> Failure {
    let known = entries.iter().flat_map(names);
    let what = format!("nothing is noted of a plugin {plugin:?}");
    Failure::user("no-invocation", what).hint(match nearest(plugin, known) {
        Some(name) => format!("did you mean {name}?"),
        None => "synapse log lists all; what was found up to date is not noted".to_owned(),
    })
}

/// An entry as programs read it: without what is only there to compare.
pub(super) fn object(entry: &Entry) -> Value {
    let nodes: Vec<Value> = entry
        .nodes
        .iter()
        .map(|node| {
            let sentences: Vec<String> = node.reasons.iter().map(ToString::to_string).collect();
            json!({"stage": node.stage, "plugin": node.plugin, "target": node.target,
                   "key": node.key, "ms": node.ms, "reasons": node.reasons,
                   "sentences": sentences, "failed": node.failed})
        })
        .collect();
    let plugins: Vec<Value> = entry
        .plugins
        .iter()
        .map(|own| {
            json!({"plugin": own.plugin, "version": own.version, "was": own.was,
                   "status": own.status, "error": own.error})
        })
        .collect();
    let run = entry.run.as_ref().map(|run| {
        json!({"id": run.id, "job": run.job, "plugin": run.plugin, "version": run.version,
               "action": run.action, "environment": run.environment, "reused": run.reused})
    });
    json!({"id": entry.trailer.id, "at": entry.at, "ms": entry.ms, "exit": entry.exit,
           "command": entry.command, "line": entry.line, "scope": entry.scope,
           "targets": entry.targets, "counts": entry.counts, "plugins": plugins,
           "nodes": nodes, "run": run, "error": entry.error})
}
