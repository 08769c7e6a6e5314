//! The commands, each in a file named for it.

pub mod agent;
pub mod agent_job;
mod attempt;
pub mod backend;
mod between;
pub mod cache;
pub mod check;
pub mod choice;
pub mod completions;
pub mod config;
mod consent;
pub mod create;
pub mod dataset;
pub mod dev;
pub mod doctor;
mod execution;
pub mod explain;
pub mod graph;
mod inspection;
mod jobs;
pub mod lock;
pub mod log;
pub mod login;
pub mod logout;
pub mod man;
pub mod model;
pub mod plan;
pub mod profiles;
pub mod publish;
mod reach;
mod remote;
pub mod run;
pub mod runs;
pub mod schema;
pub mod status;
pub mod test;
mod token;
pub mod update_config;
pub mod upload;
pub mod version;
pub mod whoami;
pub mod worker;

use std::{path::Path, sync::Arc};

use synapse_engine::{EventSink, Failure};
use synapse_rules::{
    plugin,
    publish::{Options, PluginReport, Publish, Status},
    target::Target,
    workspace,
};

use crate::{
    app::{self, App},
    render::{DIM, Printer, count, error, paint, progress::Live},
    select::Selected,
};

/// Looks at the selected plugins without changing anything, for commands that only tell.
fn look(
    app: &App,
    selected: &Selected,
    targets: &[Arc<Target>],
    options: &Options,
) -> Result<Vec<PluginReport>, Failure> {
    look_heard(app, selected, targets, options, &mut |live| live)
}

/// The same, where somebody else hears what happens as well.
fn look_heard(
    app: &App,
    selected: &Selected,
    targets: &[Arc<Target>],
    options: &Options,
    hearing: &mut dyn FnMut(Arc<dyn EventSink>) -> Arc<dyn EventSink>,
) -> Result<Vec<PluginReport>, Failure> {
    let live = Arc::new(Live::new(&app.output));
    live.begin(&looking(selected));
    live.targets(targets.iter().map(AsRef::as_ref));
    let events = hearing(Arc::<Live>::clone(&live));
    let mut session = app.session(&selected.root, events, None, false)?;
    session.thorough = true;
    let options = Options {
        dry_run: true,
        ..options.clone()
    };
    let libraries = crate::stores::libraries(app, &selected.root, &session)?;
    let publish = Publish {
        options: &options,
        targets: targets.to_vec(),
        storing: None,
        gate: None,
        libraries: libraries.as_ref(),
        session: &session,
        workspace: &selected.workspace,
        schemas: app.schemas(&session),
        counters: Arc::clone(&app.counters),
        now: app::nanoseconds,
    };
    let reports = publish.run(&selected.sources);
    live.finish();
    reports
}

/// What goes on before any stage does.
fn looking(selected: &Selected) -> String {
    let plugins = count(selected.sources.len() as u64, "plugin");
    format!("looking at {plugins}")
}

/// The last line of a publish that was interrupted: what was done, and how to go on.
fn interrupted(printer: &mut Printer, reports: &[PluginReport]) {
    let done =
        |report: &&PluginReport| matches!(report.status, Status::Published | Status::UpToDate);
    let done = reports.iter().filter(done).count();
    let all = count(reports.len() as u64, "plugin");
    printer.hanging(
        2,
        format!("interrupted with {done} of {all} done; run it again to go on where it stopped"),
    );
}

/// Prints the warnings of the workspace and of every configuration, once each.
fn warnings(app: &App, selected: &Selected, reports: &[PluginReport]) {
    if app.output.quiet || app.output.json || app.output.events {
        return;
    }
    let mut printer = Printer::stderr(&app.output);
    let heads = reports
        .iter()
        .filter_map(|report| report.plugin.as_ref())
        .map(|plugin| &plugin.head);
    for warning in selected
        .warnings
        .iter()
        .chain(heads.flat_map(|head| &head.warnings))
    {
        error::warning(&mut printer, warning);
    }
}

/// Says what sync did to the configurations of what is published, or would be: that they differ
/// from their files, and what could not be determined.
fn notes(app: &App, reports: &[PluginReport]) {
    if app.output.quiet || app.output.is_machine() {
        return;
    }
    let sent =
        |report: &&PluginReport| matches!(report.status, Status::Published | Status::Planned);
    let plugins = reports
        .iter()
        .filter(sent)
        .filter_map(|report| report.plugin.as_ref());
    let mut differing = Vec::new();
    let mut printer = Printer::stderr(&app.output);
    for plugin in plugins {
        if plugin.synced_config().is_some() {
            differing.push(plugin.head.code.clone());
        }
        for note in plugin.head.synced.iter().flat_map(|memo| &memo.notes) {
            let line = format!("{} {}: {note}", paint(DIM, "note:"), plugin.subject());
            printer.hanging(6, line);
        }
    }
    let first = differing
        .iter()
        .take(3)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    let names = match differing.len() {
        0 => return,
        more if more > 3 => format!("{first} and {} more", more - 3),
        _ => first,
    };
    let line = format!(
        "{} the releases hold an updated config.yaml for {names}; `synapse plugin update-config` \
         writes it into the source",
        paint(DIM, "note:")
    );
    printer.hanging(6, line);
}

/// Refuses to write over a configuration what is none.
fn no_configuration(path: &Path, option: &str) -> Result<(), Failure> {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    if plugin::CONFIG_NAMES.contains(&name) || name == workspace::FILE {
        let what = format!("{} is a configuration; nothing was written", path.display());
        return Err(Failure::usage(what).hint(format!("name another file with {option}")));
    }
    Ok(())
}

/// The path of a blob, as programs read it.
fn blob_path(store: &Path, blob: &synapse_engine::Digest) -> Option<String> {
    let hex = blob.hex();
    let path = store.join("blobs").join(&hex[..2]).join(&hex);
    path.exists().then(|| path.display().to_string())
}

/// The name nearest to `given`, if one is near enough to be what was meant.
pub(crate) fn nearest<'n>(
    given: &str,
    names: impl IntoIterator<Item = &'n str>,
) -> Option<&'n str> {
    let limit = (given.chars().count() / 3).clamp(1, 3);
    names
        .into_iter()
        .map(|name| {
            let (given, own) = (given.to_lowercase(), name.to_lowercase());
            (strsim::damerau_levenshtein(&given, &own), name)
        })
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}
