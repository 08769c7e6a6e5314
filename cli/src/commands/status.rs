//! `synapse status`: what is published where, and what is behind.

use serde_json::json;
use synapse_engine::Failure;
use synapse_rules::{
    client::Release,
    publish::{Options, PluginReport, Status},
    upload::VERSION_TAKEN,
    version::Version,
};

use super::{look, warnings};
use crate::{
    app::App,
    args,
    render::{BAD, BOLD, DIM, GOOD, Printer, WARN, document, error, moment, paint},
    select::{self, Otherwise},
};

/// How a plugin stands against a target.
fn state(report: &PluginReport, formal: &[&Release]) -> &'static str {
    match (report.status, report.failure.as_ref()) {
        (Status::UpToDate, _) => "up_to_date",
        (_, Some(failure)) if failure.code == VERSION_TAKEN => "changed",
        (_, Some(_)) if report.plugin.is_none() => "broken",
        (_, Some(_)) => "refused",
        _ if formal.is_empty() => "unpublished",
        _ => "behind",
    }
}

/// Runs the command; returns the exit code.
pub fn run(app: &App, args: &args::Status) -> Result<u8, Failure> {
    let selected = select::select(app, &args.selection, Otherwise::All)?;
    let target = app.target(args.local)?;
    let reports = look(app, &selected, Some(&target), &Options::default())?;
    let mut plugins = Vec::new();
    let mut lines = Vec::new();
    for report in &reports {
        let head = report.plugin.as_ref().map(|plugin| &plugin.head);
        let variant = head.and_then(|head| head.variant.clone());
        let code = head.map_or_else(|| document::folder_name(report), |head| head.code.clone());
        let own = target
            .releases(&code)?
            .iter()
            .filter(|release| release.slot.variant == variant);
        let (debug, formal): (Vec<&Release>, Vec<&Release>) =
            own.partition(|release| release.slot.debug);
        let latest = formal
            .iter()
            .max_by_key(|release| release.slot.version.parse::<Version>().ok());
        let state = state(report, &formal);
        let version = head.map(|head| head.version.clone()).unwrap_or_default();
        let (style, words) = match (state, latest) {
            ("up_to_date", _) => (GOOD, "up to date".to_owned()),
            ("changed", _) => (
                WARN,
                format!("changed since {version} was published; raise it with --bump patch"),
            ),
            ("behind", Some(latest)) => (
                WARN,
                format!("not published; the latest is {}", latest.slot.version),
            ),
            ("unpublished", _) => (DIM, "not published".to_owned()),
            _ => (
                BAD,
                report
                    .failure
                    .as_ref()
                    .map(ToString::to_string)
                    .unwrap_or_default(),
            ),
        };
        let subject = report
            .plugin
            .as_ref()
            .map_or_else(|| code.clone(), |plugin| plugin.subject());
        lines.push((
            subject,
            version.clone(),
            paint(style, words),
            debug.last().map(|d| d.created),
        ));
        let released = |release: &Release| {
            json!({"id": release.id, "version": release.slot.version,
            "url": release.url, "created": release.created, "content": release.content})
        };
        plugins.push(json!({
            "code": code, "version": version, "variant": variant, "path": report.source.place,
            "targets": [{
                "name": target.name, "state": state,
                "latest": latest.map(|release| released(release)),
                "debug": debug.last().map(|release| released(release)),
                "releases": formal.iter().map(|release| released(release)).collect::<Vec<_>>(),
            }],
        }));
    }
    let broken = plugins
        .iter()
        .any(|plugin| plugin["targets"][0]["state"] == "broken");
    if app.output.is_machine() {
        Printer::stdout(&app.output).json(&json!({
            "schema": 1, "command": "status", "ok": !broken, "plugins": plugins,
            "errors": reports.iter().filter_map(|r| r.failure.as_ref())
                .filter(|failure| failure.code != VERSION_TAKEN)
                .flat_map(error::flatten).map(error::ErrorObject::from).collect::<Vec<_>>(),
        }));
        return Ok(u8::from(broken));
    }
    warnings(app, &selected, &reports);
    let mut printer = Printer::stdout(&app.output);
    let width = lines
        .iter()
        .map(|(subject, ..)| subject.chars().count())
        .max()
        .unwrap_or(0);
    printer.line(paint(DIM, format!("target {}", target.name)));
    for (subject, version, words, debug) in lines {
        let debug = debug.map(|at| paint(DIM, format!("  (debug release of {})", moment(at))));
        let pad = " ".repeat(width - subject.chars().count());
        printer.line(format!(
            "{}{pad}  {version:8} {words}{}",
            paint(BOLD, subject),
            debug.unwrap_or_default()
        ));
    }
    Ok(u8::from(broken))
}
