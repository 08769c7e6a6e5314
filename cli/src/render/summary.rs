//! Owns what the summary of a GitHub Actions job says of a publish and of a run.

use synapse_engine::Failure;
use synapse_rules::publish::{PluginReport, Status};

use super::{
    count,
    document::{self, Totals, folder_name},
    duration,
    github::{self, Markdown, cell, link},
    publish, size,
};
use crate::app::App;

/// Rows of plugins; those that are up to date go first when there are more.
const ROWS: usize = 500;

/// Tells of a publish or an upload.
pub fn publish(
    app: &App,
    target: &str,
    reports: &[PluginReport],
    totals: &Totals,
    elapsed_ms: u64,
) {
    if !github::is_on() {
        return;
    }
    let planned = number(reports, Status::Planned);
    let mut parts = Vec::new();
    for (number, what) in [
        (planned, "would be sent"),
        (totals.published, "sent"),
        (totals.up_to_date, "up to date"),
        (totals.failed, "not sent"),
    ] {
        if number > 0 {
            parts.push(format!("{number} {what}"));
        }
    }
    let all = count(reports.len() as u64, "plugin");
    let heading = if target.is_empty() {
        "Publish".to_owned()
    } else {
        format!("Publish to {target}")
    };
    let line = format!("{all}: {} in {}", parts.join(", "), duration(elapsed_ms));
    let mut text = Markdown::headed(&heading, &line);
    let mut rows: Vec<&PluginReport> = reports.iter().collect();
    if rows.len() > ROWS {
        rows.retain(|report| report.status != Status::UpToDate);
    }
    let left_out = reports.len() - rows.len().min(ROWS);
    let rows: Vec<Vec<String>> = rows.into_iter().take(ROWS).map(row).collect();
    let columns = ["plugin", "version", "result", "why", ">size", "link"];
    text.table(&columns, &rows);
    if left_out > 0 {
        text.line(&format!("{left_out} more are not listed."));
    }
    text.errors(reports.iter().flat_map(document::failures));
    github::summarise(&app.output, &text);
}

fn number(reports: &[PluginReport], status: Status) -> u64 {
    let those = reports.iter().filter(|report| report.status == status);
    those.count() as u64
}

fn row(report: &PluginReport) -> Vec<String> {
    let (name, version) = match &report.plugin {
        Some(plugin) => (plugin.subject(), plugin.head.version.clone()),
        None => (folder_name(report), String::new()),
    };
    let version = match &report.bump {
        Some(bump) => format!("{} (was {})", bump.new, bump.old),
        None => version,
    };
    let result = match report.status {
        Status::Published => "published",
        Status::UpToDate => "up to date",
        Status::Planned => "would be sent",
        Status::Refused => "**refused**",
        Status::Failed => "**failed**",
        Status::Skipped => "skipped",
        Status::Cancelled => "cancelled",
    };
    let sent = matches!(report.status, Status::Published | Status::Planned);
    let why = publish::why(report).filter(|_| sent).unwrap_or_default();
    let archive = report.outcome("archive");
    let bytes = archive.and_then(|archive| archive.blob_of("zip"));
    let bytes = bytes.map_or_else(String::new, |(_, bytes)| size(bytes));
    let mut outcomes = report
        .stages
        .iter()
        .filter_map(|stage| stage.report.outcome.as_deref());
    let url = outcomes.find_map(|outcome| outcome.text("url").map(str::to_owned));
    vec![
        cell(&name),
        cell(&version),
        result.to_owned(),
        cell(&why),
        bytes,
        url.map_or_else(String::new, |url| link("release", &url)),
    ]
}

/// What there is to tell of a run.
pub struct Ran<'a> {
    /// The plugin's code and version.
    pub plugin: String,
    /// The action.
    pub action: String,
    /// Where, and how it ended.
    pub mode: &'a str,
    /// How it ended.
    pub result: String,
    /// What the action returned, as JSON; null when it did not.
    pub returned: &'a serde_json::Value,
    /// Why it failed.
    pub failure: Option<&'a Failure>,
    /// How long it took.
    pub elapsed_ms: u64,
}

/// Tells of a run.
pub fn run(app: &App, ran: &Ran<'_>) {
    if !github::is_on() {
        return;
    }
    let heading = format!("Run {} of {}", ran.action, ran.plugin);
    let line = format!("{} in {}", ran.result, duration(ran.elapsed_ms));
    let mut text = Markdown::headed(&heading, &line);
    let returned = match ran.returned {
        serde_json::Value::Null => String::new(),
        value => shortened(&value.to_string()),
    };
    let row = vec![
        cell(&ran.plugin),
        cell(&ran.action),
        cell(ran.mode),
        cell(&ran.result),
        cell(&returned),
    ];
    text.table(&["plugin", "action", "mode", "ended", "result"], &[row]);
    text.errors(ran.failure.into_iter().flat_map(super::error::flatten));
    github::summarise(&app.output, &text);
}

/// A result that is a page of its own stands in the log.
fn shortened(text: &str) -> String {
    const MOST: usize = 500;
    if text.chars().count() <= MOST {
        return text.to_owned();
    }
    let begin: String = text.chars().take(MOST).collect();
    format!("{begin} ... (the log has all of it)")
}
