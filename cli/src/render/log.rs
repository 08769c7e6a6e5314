//! Owns the text of the journal: a line for each invocation, and one of them whole.

use synapse_engine::reason;

use super::{BAD, BOLD, DIM, Printer, WARN, count, duration, moment, paint, size};
use crate::journal::{Entry, NodeLine, PluginLine};

/// Plugins that are named in a line.
const NAMED: usize = 3;

/// A line each.
pub fn list(printer: &mut Printer, entries: &[&Entry], total: usize) {
    let width = entries
        .iter()
        .map(|entry| entry.trailer.id.to_string().len());
    let width = width.max().unwrap_or(1);
    for entry in entries {
        let id = format!("{:>width$}", entry.trailer.id);
        printer.hanging(
            4,
            format!(
                "{}  {}  {:>8}  {}{}  {}",
                paint(BOLD, id),
                moment(entry.at),
                duration(entry.ms),
                exit(entry),
                summary(entry),
                paint(DIM, &entry.line)
            ),
        );
    }
    if entries.len() < total {
        printer.hanging(
            4,
            format!("{} of {total}; -n {total} lists all", entries.len()),
        );
    }
}

fn exit(entry: &Entry) -> String {
    match entry.exit {
        0 => String::new(),
        130 => paint(WARN, "interrupted: "),
        code => paint(BAD, format!("exit {code}: ")),
    }
}

/// What came of it, in a few words.
fn summary(entry: &Entry) -> String {
    let mut parts = Vec::new();
    if let Some(counts) = &entry.counts {
        let done: Vec<&PluginLine> = with(entry, "published");
        match done.as_slice() {
            [] => {}
            few if few.len() <= NAMED => {
                let names: Vec<String> = few.iter().map(|own| name(own)).collect();
                parts.push(format!("published {}", names.join(", ")));
            }
            many => parts.push(format!("published {}", count(many.len() as u64, "plugin"))),
        }
        if counts.up_to_date > 0 {
            parts.push(format!("{} up to date", counts.up_to_date));
        }
        if counts.failed > 0 {
            parts.push(format!("{} not published", counts.failed));
        }
        if counts.nodes_run > 0 {
            parts.push(format!("{} ran", count(counts.nodes_run, "stage")));
        }
        if counts.bytes_sent > 0 {
            parts.push(format!("{} sent", size(counts.bytes_sent)));
        }
        if let Some(why) = why(entry) {
            parts.push(why);
        }
    }
    if let Some(run) = &entry.run {
        let id = run.id.map(|id| id.to_string()).or_else(|| run.job.clone());
        let id = id.map(|id| format!(" (run {id})")).unwrap_or_default();
        parts.push(format!(
            "{} of {} {}{id}",
            run.action, run.plugin, run.version
        ));
        if run.reused {
            parts.push("an earlier result".to_owned());
        }
    }
    if let Some(error) = &entry.error {
        let message = Some(&error.message).filter(|message| !message.is_empty());
        let said = message.unwrap_or(&error.code);
        // That it was interrupted is said before.
        let rest = said
            .strip_prefix("interrupted")
            .filter(|_| entry.exit == 130);
        let said = rest.map_or(said.as_str(), |rest| rest.trim_start_matches("; "));
        parts.extend((!said.is_empty()).then(|| said.to_owned()));
    }
    if parts.is_empty() && entry.exit == 1 {
        // Whoever was asked did not want it.
        parts.push("declined; nothing was sent".to_owned());
    }
    parts.join(", ")
}

fn with<'e>(entry: &'e Entry, status: &str) -> Vec<&'e PluginLine> {
    let plugins = entry.plugins.iter();
    plugins.filter(|own| own.status == status).collect()
}

fn name(own: &PluginLine) -> String {
    match &own.was {
        Some(was) => format!("{} {} (was {was})", own.plugin, own.version),
        None => format!("{} {}", own.plugin, own.version),
    }
}

/// Why something ran, where it is one plugin's business: its first stage that files decide.
fn why(entry: &Entry) -> Option<String> {
    let ran = |node: &&NodeLine| node.failed.is_none() && !node.reasons.is_empty();
    let first = entry.nodes.iter().find(ran)?;
    if entry.nodes.iter().any(|node| node.plugin != first.plugin) {
        return None;
    }
    let files = |node: &&NodeLine| ran(node) && node.stage == "archive";
    let told = entry.nodes.iter().find(files).unwrap_or(first);
    Some(format!("because {}", reason::summary(&told.reasons)))
}

/// One of them whole.
pub fn whole(printer: &mut Printer, entry: &Entry) {
    printer.hanging(
        4,
        format!("{}  synapse {}", paint(BOLD, entry.trailer.id), entry.line),
    );
    printer.hanging(
        4,
        format!(
            "    {}, {}, exit code {}",
            moment(entry.at),
            duration(entry.ms),
            entry.exit
        ),
    );
    if !entry.scope.is_empty() {
        let to = match entry.targets.as_slice() {
            [] => String::new(),
            targets => format!(", to {}", targets.join(" and ")),
        };
        printer.hanging(4, format!("    in {}{to}", entry.scope));
    }
    let summary = summary(entry);
    if !summary.is_empty() {
        printer.hanging(4, format!("    {}{summary}", exit(entry)));
    }
    if let Some(counts) = &entry.counts {
        printer.hanging(
            4,
            format!(
                "    {} ran, {} known, {}",
                count(counts.nodes_run, "stage"),
                count(counts.nodes_hit, "result"),
                count(counts.requests, "request")
            ),
        );
    }
    if let Some(run) = &entry.run {
        if !run.environment.is_empty() {
            printer.hanging(4, format!("    environment: {}", run.environment));
        }
        if let Some(id) = run.id.map(|id| id.to_string()).or_else(|| run.job.clone()) {
            printer.hanging(
                4,
                format!("    `synapse runs show {id}` shows its logs and result"),
            );
        }
    }
    let mut at = "";
    for node in &entry.nodes {
        if node.plugin != at {
            at = &node.plugin;
            printer.hanging(4, head(entry, at));
        }
        let to = node.target.as_ref().filter(|_| entry.targets.len() > 1);
        let to = to.map(|to| format!(" to {to}")).unwrap_or_default();
        let took = match &node.failed {
            Some(code) => paint(BAD, format!("failed: {code}")),
            None => duration(node.ms),
        };
        printer.hanging(4, format!("  {:9}{to} {took}", node.stage));
        for reason in &node.reasons {
            printer.hanging(4, format!("            because {reason}"));
        }
    }
    let told = |own: &&PluginLine| !entry.nodes.iter().any(|node| node.plugin == own.plugin);
    for own in entry.plugins.iter().filter(told) {
        printer.hanging(4, head(entry, &own.plugin));
    }
}

fn head(entry: &Entry, plugin: &str) -> String {
    let Some(own) = entry.plugins.iter().find(|own| own.plugin == plugin) else {
        return paint(BOLD, plugin);
    };
    let status = own.status.replace('_', " ");
    let error = own.error.as_ref();
    let error = error.map(|error| format!(": {}", error.message));
    format!(
        "{}  {status}{}",
        paint(BOLD, name(own)),
        error.unwrap_or_default()
    )
}
