//! `synapse status`: what is published where, and what is behind.

use anstyle::Style;
use serde_json::json;
use synapse_engine::Failure;
use synapse_rules::{
    client::Release,
    publish::{Options, PluginReport},
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

/// More plugins than this, and a target is asked for all its releases at once.
const FEW: usize = 8;

/// How a plugin stands against a target.
fn state(report: &PluginReport, target: &str, formal: &[Release]) -> &'static str {
    let stage = report.at(target);
    let own = stage.and_then(|stage| stage.report.failure.as_ref());
    let known = stage.is_some_and(|stage| stage.report.decision.is_known());
    match own.or(report.failure.as_ref().filter(|_| stage.is_none())) {
        None if known => "up_to_date",
        Some(failure) if failure.code == VERSION_TAKEN => "changed",
        Some(_) if report.plugin.is_none() => "broken",
        Some(_) => "refused",
        None if formal.is_empty() => "unpublished",
        None => "behind",
    }
}

/// One plugin at one target.
struct Line {
    subject: String,
    version: String,
    words: String,
    debug: Option<i64>,
}

/// Runs the command; returns the exit code.
pub fn run(app: &App, args: &args::Status) -> Result<u8, Failure> {
    let selected = select::select(app, &args.selection, Otherwise::All)?;
    let targets = app.targets(&args.to)?;
    let reports = look(app, &selected, &targets, &Options::default())?;
    if reports.len() > FEW {
        targets.iter().try_for_each(|target| target.read_all())?;
    }
    let mut plugins = Vec::new();
    let mut lines: Vec<Vec<Line>> = targets.iter().map(|_| Vec::new()).collect();
    for report in &reports {
        let head = report.plugin.as_ref().map(|plugin| &plugin.head);
        let variant = head.and_then(|head| head.variant.clone());
        let code = head.map_or_else(|| document::folder_name(report), |head| head.code.clone());
        let version = head.map(|head| head.version.clone()).unwrap_or_default();
        let mut at = Vec::new();
        for (target, lines) in targets.iter().zip(&mut lines) {
            let mut own = target.releases(&code)?;
            own.retain(|release| release.slot.variant == variant);
            let (debug, formal): (Vec<Release>, Vec<Release>) =
                own.into_iter().partition(|release| release.slot.debug);
            let latest = formal
                .iter()
                .max_by_key(|release| release.slot.version.parse::<Version>().ok());
            let state = state(report, &target.name, &formal);
            let failure = report.at(&target.name);
            let failure = failure.and_then(|stage| stage.report.failure.as_ref());
            let failure = failure.or(report.failure.as_ref());
            let (style, words) = words(state, latest, &version, failure);
            let subject = report
                .plugin
                .as_ref()
                .map_or_else(|| code.clone(), |plugin| plugin.subject());
            lines.push(Line {
                subject,
                version: version.clone(),
                words: paint(style, words),
                debug: debug.last().map(|release| release.created),
            });
            let released = |release: &Release| {
                json!({"id": release.id, "version": release.slot.version,
                "url": release.url, "created": release.created, "content": release.content})
            };
            at.push(json!({
                "name": target.name, "state": state,
                "latest": latest.map(released),
                "debug": debug.last().map(released),
                "releases": formal.iter().map(released).collect::<Vec<_>>(),
            }));
        }
        plugins.push(json!({
            "code": code, "version": version, "variant": variant, "path": report.source.place,
            "targets": at,
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
    for (target, lines) in targets.iter().zip(&lines) {
        let widths = lines.iter().map(|line| line.subject.chars().count());
        let width = widths.max().unwrap_or(0);
        printer.line(paint(DIM, format!("target {}", target.name)));
        for line in lines {
            let debug = line
                .debug
                .map(|at| paint(DIM, format!("  (debug release of {})", moment(at))));
            let pad = " ".repeat(width - line.subject.chars().count());
            printer.line(format!(
                "{}{pad}  {:8} {}{}",
                paint(BOLD, &line.subject),
                line.version,
                line.words,
                debug.unwrap_or_default()
            ));
        }
    }
    Ok(u8::from(broken))
}

fn words(
    state: &str,
    latest: Option<&Release>,
    version: &str,
    failure: Option<&Failure>,
) -> (Style, String) {
    match (state, latest) {
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
        _ => (BAD, failure.map(ToString::to_string).unwrap_or_default()),
    }
}
