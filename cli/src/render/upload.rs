//! Owns what is said of objects in stores: text for people, entries of documents for programs.

use serde::Serialize;
use synapse_engine::Outcome;
use synapse_rules::{
    publish::{PluginReport, Stage, Status},
    wheel,
};

use super::{
    BAD, DIM, GOOD, Printer, WARN, count,
    document::{folder_name, status_name},
    duration,
    error::ErrorObject,
    paint, publish, size,
};

/// A wheel that was built.
#[derive(Debug, Serialize)]
pub struct WheelObject {
    file: String,
    path: Option<String>,
    size: u64,
    md5: String,
    sha256: String,
}

/// An object in a store.
#[derive(Debug, Serialize)]
pub struct StoredObject {
    storage: String,
    kind: &'static str,
    status: &'static str,
    name: Option<String>,
    url: Option<String>,
    size: Option<u64>,
    md5: Option<String>,
    verified: Option<String>,
    error: Option<ErrorObject>,
}

/// The wheel of a plugin, where it was built or found.
pub(super) fn wheel(
    report: &PluginReport,
    blob: &dyn Fn(&synapse_engine::Digest) -> Option<String>,
) -> Option<WheelObject> {
    let outcome = report.outcome("wheel")?;
    let (digest, size) = outcome.blob_of("wheel")?;
    let text = |name: &str| outcome.text(name).map(str::to_owned);
    Some(WheelObject {
        file: text("file")?,
        path: blob(&digest),
        size,
        md5: text("md5")?,
        sha256: text("sha256")?,
    })
}

/// What is stored and of which kind, when the stage is one that stores.
fn kind(stage: &Stage) -> Option<&'static str> {
    match stage.stage {
        "store" => Some("archive"),
        "store-wheel" => Some("wheel"),
        _ => None,
    }
}

/// Whether an object was sent now, rather than found.
fn is_new(stage: &Stage) -> bool {
    let outcome = stage.report.outcome.as_deref();
    let sent = outcome.and_then(|outcome| outcome.get("sent")?.as_bool());
    stage.status() == Status::Published && sent == Some(true)
}

fn stored(report: &PluginReport) -> impl Iterator<Item = (&Stage, &'static str)> {
    let stages = report.stages.iter();
    stages.filter_map(|stage| Some((stage, kind(stage)?)))
}

/// The objects of a plugin.
pub(super) fn objects_of(report: &PluginReport) -> Vec<StoredObject> {
    let one = |(stage, kind): (&Stage, &'static str)| {
        let outcome = stage.report.outcome.as_deref();
        let text = |name: &str| outcome.and_then(|o| o.text(name)).map(str::to_owned);
        StoredObject {
            storage: stage.target.clone().unwrap_or_default(),
            kind,
            status: match stage.status() {
                _ if is_new(stage) => "stored",
                Status::Published | Status::UpToDate => "there",
                status => status_name(status),
            },
            name: text("name"),
            url: text("url"),
            size: outcome.and_then(|o| o.get("size")?.as_u64()),
            md5: text("md5"),
            verified: text("verified"),
            error: stage.report.failure.as_ref().map(ErrorObject::from),
        }
    };
    stored(report).map(one).collect()
}

/// One line for each object that was stored or found, and where it is. With `wheels` it is told
/// of which plugins there is no wheel.
pub fn objects(printer: &mut Printer, reports: &[PluginReport], wheels: bool) {
    for report in reports {
        for (stage, _) in stored(report) {
            if let Some(outcome) = stage.report.outcome.as_deref() {
                line(printer, stage, outcome);
            }
        }
        if wheels {
            without(printer, report);
        }
    }
}

fn line(printer: &mut Printer, stage: &Stage, outcome: &Outcome) {
    let text = |name: &str| outcome.text(name).unwrap_or_default();
    let bytes = outcome.get("size").and_then(serde_json::Value::as_u64);
    let (style, what) = if is_new(stage) {
        (GOOD, "stored")
    } else {
        (DIM, "there")
    };
    printer.line(format!(
        "{} {}  {}  {}",
        paint(style, format!("{what:>10}")),
        text("url"),
        size(bytes.unwrap_or_default()),
        paint(DIM, format!("verified: {}", text("verified")))
    ));
}

/// Says that a plugin has no wheel, when that is so.
fn without(printer: &mut Printer, report: &PluginReport) {
    let Some(plugin) = report.plugin.as_ref() else {
        return;
    };
    if matches!(wheel::backend_of(plugin), Ok(None)) {
        let what = "no wheel: no pyproject.toml of it names a build backend";
        let subject = plugin.subject();
        printer.line(format!(
            "{:>10} {}",
            "",
            paint(DIM, format!("{subject}: {what}"))
        ));
    }
}

/// What became of each plugin and its objects.
pub fn plugins(printer: &mut Printer, reports: &[PluginReport], wheels: bool) {
    for report in reports {
        let (style, what) = match report.status {
            Status::Published | Status::Planned => (GOOD, "uploaded"),
            Status::UpToDate => (DIM, "up to date"),
            Status::Refused => (BAD, "refused"),
            Status::Failed => (BAD, "failed"),
            Status::Skipped => (WARN, "skipped"),
            Status::Cancelled => (WARN, "cancelled"),
        };
        let name = match &report.plugin {
            Some(_) => publish::name(report),
            None => folder_name(report),
        };
        printer.line(format!("{} {name}", paint(style, format!("{what:>10}"))));
        objects(printer, std::slice::from_ref(report), wheels);
    }
}

/// The last line.
pub fn summary(printer: &mut Printer, reports: &[PluginReport], elapsed_ms: u64) {
    let all = || reports.iter().flat_map(stored).map(|(stage, _)| stage);
    let done = |stage: &&Stage| stage.report.outcome.is_some();
    let new = all().filter(|stage| is_new(stage)).count() as u64;
    let there = all().filter(done).count() as u64 - new;
    let failed = reports
        .iter()
        .filter(|report| !matches!(report.status, Status::Published | Status::UpToDate))
        .count() as u64;
    let mut parts = Vec::new();
    if new > 0 {
        parts.push(format!("{} stored", count(new, "object")));
    }
    if there > 0 {
        parts.push(format!("{there} there already"));
    }
    if failed > 0 {
        parts.push(paint(
            BAD,
            format!("{} not uploaded", count(failed, "plugin")),
        ));
    }
    if parts.is_empty() {
        parts.push("nothing to do".to_owned());
    }
    printer.line(format!("{} in {}", parts.join(", "), duration(elapsed_ms)));
}
