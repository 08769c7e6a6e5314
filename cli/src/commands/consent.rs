//! Owns the question before anything leaves this machine: what would be sent, and where to.
//! Into the embedded backend it is never asked.

use std::{collections::BTreeSet, sync::Arc};

use synapse_engine::{Failure, FailureKind};
use synapse_rules::{
    publish::{Gate, PluginReport, Status},
    storage::Storing,
    target::Target,
};

use crate::{
    app::App,
    prompt::Prompt,
    render::{BOLD, DIM, Printer, count, fit, paint, publish as text, size},
};

/// Failure code: the answer was no.
pub(super) const DECLINED: &str = "declined";

/// The hint where nobody can be asked.
const INSTEAD: &str = "--yes sends without asking; --dry-run shows what would be sent";
/// Columns that a prompt takes besides its question.
const ANSWER: usize = 16;
/// Rows that are shown before the rest is counted.
const ROWS: usize = 20;

/// Asks whether what is planned may be sent.
pub(super) struct Consent<'a> {
    app: &'a App,
    /// Places away from this machine, by the names of stages, with what people are told.
    places: Vec<(String, String)>,
    /// `Publish` or `Store`, and how it goes on before the place.
    verb: (&'static str, &'static str),
}

impl<'a> Consent<'a> {
    /// Of a publish to these targets and stores; nothing where nobody has to be asked.
    pub(super) fn publishing(
        app: &'a App,
        yes: bool,
        targets: &[Arc<Target>],
        storing: Option<&Storing>,
    ) -> Option<Self> {
        let own = Self {
            app,
            places: places(targets, storing),
            verb: ("Publish", "to"),
        };
        (!yes && !own.places.is_empty()).then_some(own)
    }

    /// Of an upload into stores.
    pub(super) fn uploading(app: &'a App, yes: bool, storing: &Storing) -> Option<Self> {
        let own = Self {
            app,
            places: places(&[], Some(storing)),
            verb: ("Store", "in"),
        };
        (!yes).then_some(own)
    }

    /// The places that something would be sent to.
    fn to(&self, reports: &[&PluginReport]) -> Vec<&str> {
        let goes = |name: &str| reports.iter().any(|report| is_sent(report, name));
        let places = self.places.iter().filter(|(name, _)| goes(name));
        let mut seen = BTreeSet::new();
        let shown = places.map(|(_, shown)| shown.as_str());
        shown.filter(|shown| seen.insert(*shown)).collect()
    }

    fn question(&self, sent: &[&PluginReport]) -> String {
        let (verb, to) = self.verb;
        let places = self.to(sent).join(" and ");
        let plugins = count(sent.len() as u64, "plugin");
        format!("{verb} {plugins} {to} {places}?")
    }
}

impl Gate for Consent<'_> {
    fn pass(&self, planned: &[PluginReport]) -> Result<bool, Failure> {
        let goes =
            |report: &&PluginReport| self.places.iter().any(|(name, _)| is_sent(report, name));
        let sent: Vec<&PluginReport> = planned.iter().filter(goes).collect();
        if sent.is_empty() {
            return Ok(false);
        }
        let question = self.question(&sent);
        let prompt = Prompt::of(self.app, INSTEAD).map_err(|failure| Failure {
            message: format!("{question} {}", begun(&failure.message)),
            ..failure
        })?;
        let mut printer = Printer::stderr(&self.app.output);
        table(&mut printer, planned, &sent);
        // A question that is wrapped could not be taken away when it is answered.
        let room = printer.columns().unwrap_or(usize::MAX);
        let short = if fit::width(&question) + ANSWER > room {
            printer.hanging(2, question.trim_end_matches('?'));
            "Is that right?"
        } else {
            &question
        };
        drop(printer);
        let cancelled = |failure: Failure| match failure.kind {
            FailureKind::Cancelled => Failure {
                message: "interrupted; nothing was sent".to_owned(),
                ..failure
            },
            _ => failure,
        };
        if prompt.confirm(short, false).map_err(cancelled)? {
            return Ok(true);
        }
        Err(Failure::user(DECLINED, "nothing was sent"))
    }
}

/// A sentence as it begins.
fn begun(sentence: &str) -> String {
    let mut rest = sentence.chars();
    let first = rest.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(rest).collect()
}

/// Every place away from this machine, by the name that its stages have.
fn places(targets: &[Arc<Target>], storing: Option<&Storing>) -> Vec<(String, String)> {
    let away = targets.iter().filter(|target| !target.embedded);
    let platforms = away.map(|target| {
        let name = target.name.clone();
        let shown = match &target.host {
            Some(host) if !host.ends_with(&format!("//{name}")) => format!("{name} ({host})"),
            Some(host) => host.clone(),
            None => name.clone(),
        };
        (name, shown)
    });
    let storages = storing.into_iter().flat_map(|storing| &storing.storages);
    let storages = storages.map(|storage| {
        let shown = storage.place.shown();
        (shown.clone(), shown)
    });
    platforms.chain(storages).collect()
}

/// Whether something of a plugin would be sent to a place.
fn is_sent(report: &PluginReport, place: &str) -> bool {
    let mut stages = report
        .stages
        .iter()
        .filter(|stage| stage.target.as_deref() == Some(place));
    // A raised version is published everywhere.
    report.status == Status::Planned
        && (report.bump.is_some() || stages.any(|stage| !stage.report.decision.is_known()))
}

/// What would be sent: a line a plugin, in columns that fit the terminal.
fn table(printer: &mut Printer, planned: &[PluginReport], sent: &[&PluginReport]) {
    let rows: Vec<[String; 4]> = sent.iter().take(ROWS).map(|report| row(report)).collect();
    let columns = printer.columns();
    let widest = |column: usize| rows.iter().map(|row| fit::width(&row[column])).max();
    let mut widths = [0, 1, 2].map(|column| widest(column).unwrap_or(0));
    // Names give way before versions and sizes do.
    if let Some(columns) = columns {
        let others = widths[1] + widths[2] + 6;
        widths[0] = widths[0].min(columns.saturating_sub(others).max(12));
    }
    let before = widths.iter().sum::<usize>() + 8;
    for [name, version, bytes, why] in &rows {
        let name = columns.map_or_else(|| name.clone(), |_| fit::middle(name, widths[0]));
        let pad = |text: &str, width: usize| " ".repeat(width.saturating_sub(fit::width(text)));
        let line = format!(
            "  {}{}  {version}{}  {}{bytes}",
            paint(BOLD, &name),
            pad(&name, widths[0]),
            pad(version, widths[1]),
            pad(bytes, widths[2])
        );
        let why = match columns {
            _ if why.is_empty() => String::new(),
            // A reason that has no room is not missed: `plan` tells it.
            Some(columns) if columns < before + 12 => String::new(),
            Some(columns) => format!("  {}", fit::middle(why, columns - before)),
            None => format!("  {why}"),
        };
        printer.line(format!("{line}{}", paint(DIM, why)));
    }
    let mut rest = Vec::new();
    if sent.len() > ROWS {
        rest.push(format!("and {} more", sent.len() - ROWS));
    }
    let number = |wanted: &dyn Fn(Status) -> bool| {
        let those = planned.iter().filter(|report| wanted(report.status));
        those.count()
    };
    let current = number(&|status| status == Status::UpToDate);
    let failed = number(&|status| matches!(status, Status::Refused | Status::Failed));
    if current > 0 {
        rest.push(format!("{current} up to date"));
    }
    if failed > 0 {
        rest.push(format!("{failed} cannot be published"));
    }
    if !rest.is_empty() {
        printer.line(format!("  {}", paint(DIM, rest.join(", "))));
    }
}

/// Name, version, size before compression, and why.
fn row(report: &PluginReport) -> [String; 4] {
    let Some(plugin) = &report.plugin else {
        return Default::default();
    };
    let version = match &report.bump {
        Some(bump) => format!("{} -> {}", bump.old, bump.new),
        None => text::version_before(report).map_or_else(
            || plugin.head.version.clone(),
            |old| format!("{old} -> {}", plugin.head.version),
        ),
    };
    let bytes = plugin.files.load().iter().map(|file| file.size).sum();
    let why = text::why(report).unwrap_or_default();
    [plugin.subject(), version, size(bytes), why]
}
