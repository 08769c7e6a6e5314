//! Owns the text of a publish: what happened to each plugin that it matters for, and a summary.

use std::fmt::Write;

use synapse_engine::{Decision, DirtyReason, reason};
use synapse_rules::publish::{PluginReport, Stage, Status};

use super::{
    BAD, BOLD, DIM, GOOD, Printer, WARN, count,
    document::{Totals, folder_name},
    duration, paint, size,
};
use crate::args::Sort;

/// Where what is said of a plugin begins.
const BELOW: usize = 11;
/// More plugins than this, and those that are up to date are only counted.
const FEW: usize = 12;

fn label(status: Status) -> String {
    let (style, text) = match status {
        Status::Published => (GOOD, "published"),
        Status::UpToDate => (DIM, "up to date"),
        Status::Planned => (GOOD, "would send"),
        Status::Refused => (BAD, "refused"),
        Status::Failed => (BAD, "failed"),
        Status::Skipped => (WARN, "skipped"),
        Status::Cancelled => (WARN, "cancelled"),
    };
    paint(style, format!("{text:>10}"))
}

/// `code 0.1.0`, with the version raised where it was.
pub fn name(report: &PluginReport) -> String {
    let Some(plugin) = &report.plugin else {
        return paint(BOLD, folder_name(report));
    };
    let subject = paint(BOLD, plugin.subject());
    match &report.bump {
        Some(bump) if plugin.head.version != bump.new.to_string() => {
            format!("{subject} {} -> {}", bump.old, bump.new)
        }
        Some(bump) => format!("{subject} {} (was {})", bump.new, bump.old),
        None => format!("{subject} {}", plugin.head.version),
    }
}

/// A stage's decision in words.
pub fn decision(stage: &Stage) -> String {
    match &stage.report.decision {
        _ if stage.report.shared => "made by another process meanwhile".to_owned(),
        Decision::Hit => "up to date".to_owned(),
        Decision::Restore => "restored from the store".to_owned(),
        _ if stage.report.failure.is_some() => "refused".to_owned(),
        Decision::Run(reasons) if reasons.is_empty() => "run".to_owned(),
        Decision::Run(reasons) => format!("run: {}", reason::summary(reasons)),
        Decision::Unknown => "depends on what the stage before it makes".to_owned(),
    }
}

/// Where a stage goes, when there are several places.
pub fn to(stage: &Stage, targets: usize) -> String {
    let target = stage.target.as_ref().filter(|_| targets > 1);
    target.map_or_else(String::new, |target| format!("to {target}: "))
}

/// The first stage that goes anywhere, and why it is done.
fn reasons(report: &PluginReport) -> Option<&[DirtyReason]> {
    // What changed in files says more than what that did to the configuration.
    let ahead = |stage: &&Stage| !matches!(stage.stage, "inspect" | "sync");
    let mut stages = report.stages.iter().filter(ahead);
    stages.find_map(|stage| match &stage.report.decision {
        Decision::Run(reasons) if !reasons.is_empty() => Some(&reasons[..]),
        _ => None,
    })
}

/// Why a plugin is sent, in a few words.
pub fn why(report: &PluginReport) -> Option<String> {
    // Of a stage it says something, of a plugin it would read as a failing.
    reasons(report).map(|reasons| match reasons {
        [DirtyReason::FirstRun] => "first time".to_owned(),
        reasons => reason::summary(reasons),
    })
}

/// The version that was published before, where it was another.
pub fn version_before(report: &PluginReport) -> Option<String> {
    let runs = report
        .stages
        .iter()
        .filter_map(|stage| match &stage.report.decision {
            Decision::Run(reasons) if stage.stage == "upload" => Some(reasons),
            _ => None,
        });
    runs.flatten().find_map(|reason| match reason {
        DirtyReason::InputChanged { name, old, .. } if name == "version" => old.clone(),
        _ => None,
    })
}

/// One line a plugin, with the reason where it is not known already (`told` otherwise), and its
/// stages where they were asked for.
pub fn plugins(
    printer: &mut Printer,
    reports: &[PluginReport],
    targets: usize,
    verbose: bool,
    told: bool,
) {
    for report in reports {
        if report.status == Status::UpToDate && reports.len() > FEW && !verbose {
            continue;
        }
        let mut line = format!("{} {}", label(report.status), name(report));
        let sent = matches!(report.status, Status::Published);
        if let Some((_, bytes)) = report
            .outcome("archive")
            .and_then(|o| o.blob_of("zip"))
            .filter(|_| sent)
        {
            let _ = write!(line, "  {}", size(bytes));
        }
        let why = why(report);
        if let Some(why) = why.filter(|_| sent && !told) {
            let _ = write!(line, "  {}", paint(DIM, why));
        }
        printer.hanging(BELOW, line);
        let mut text = String::new();
        if targets > 1 && report.status != Status::UpToDate {
            for stage in report.stages.iter().filter(|stage| stage.target.is_some()) {
                let name = stage.target.as_deref().unwrap_or_default();
                let _ = writeln!(text, "{:11}{} {name}", "", label(stage.status()));
            }
        }
        if verbose {
            for stage in &report.stages {
                let took = format!("{} ms", stage.report.ms);
                let _ = writeln!(
                    text,
                    "{:13}{:9} {}{} {}",
                    "",
                    stage.stage,
                    to(stage, targets),
                    decision(stage),
                    paint(DIM, took)
                );
            }
            for url in report
                .stages
                .iter()
                .filter_map(|stage| stage.report.outcome.as_ref()?.text("url"))
            {
                let _ = writeln!(text, "{:13}{}", "", paint(DIM, url));
            }
        }
        printer.text(text);
    }
}

/// The last line.
pub fn summary(printer: &mut Printer, totals: &Totals, target: &str, elapsed_ms: u64) {
    let mut parts = Vec::new();
    if totals.published > 0 {
        parts.push(format!(
            "{} published to {target}",
            count(totals.published, "plugin")
        ));
    }
    if totals.up_to_date > 0 {
        let what = if totals.published == 0 && totals.failed == 0 {
            count(totals.up_to_date, "plugin")
        } else {
            totals.up_to_date.to_string()
        };
        parts.push(format!("{what} up to date"));
    }
    if totals.failed > 0 {
        parts.push(paint(BAD, format!("{} not published", totals.failed)));
    }
    if parts.is_empty() {
        parts.push("nothing to do".to_owned());
    }
    printer.line(format!("{} in {}", parts.join(", "), duration(elapsed_ms)));
}

/// The preview of a dry run: files with sizes, and what would be sent.
pub fn preview(
    printer: &mut Printer,
    reports: &[PluginReport],
    sort: Sort,
    targets: &[&str],
    verbose: bool,
) {
    let mut text = String::new();
    let (mut files, mut bytes, mut sends) = (0, 0, 0);
    for report in reports {
        let _ = writeln!(text, "{} {}", label(report.status), name(report));
        let Some(plugin) = &report.plugin else {
            continue;
        };
        if report.status == Status::UpToDate && !verbose && reports.len() > 1 {
            continue;
        }
        let mut entries = plugin.files.load();
        if sort == Sort::Size {
            entries.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.path.cmp(&b.path)));
        }
        for entry in &entries {
            let mark = if entry.executable { " *" } else { "" };
            let _ = writeln!(text, "{:>12}  {}{mark}", size(entry.size), entry.path);
        }
        let own: u64 = entries.iter().map(|entry| entry.size).sum();
        let _ = writeln!(
            text,
            "{:>12}  in {}",
            size(own),
            count(entries.len() as u64, "file")
        );
        if report.status == Status::Planned {
            sends += 1;
            files += entries.len() as u64;
            bytes += own;
        }
    }
    printer.text(text);
    let to = match targets {
        [] => String::new(),
        targets => format!(" to {}", targets.join(" and ")),
    };
    printer.line(if sends == 0 {
        format!("dry run: nothing would be sent{to}")
    } else {
        format!(
            "dry run: {} would be sent{to}: {} with {} before compression; nothing was",
            count(sends, "plugin"),
            count(files, "file"),
            size(bytes)
        )
    });
}
