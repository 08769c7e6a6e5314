//! `synapse plan`: what a publish would run, and why, without doing it.

use std::sync::Arc;

use serde_json::json;
use synapse_engine::{Decision, Failure};
use synapse_rules::{
    publish::{Options, Status},
    target::Target,
};

use super::{look, notes, warnings};
use crate::{
    app::App,
    args,
    render::{self, BAD, DIM, GOOD, Printer, count, document, error, paint},
    select::{self, Otherwise},
};

/// Runs the command; returns the exit code.
pub fn run(app: &App, args: &args::Plan) -> Result<u8, Failure> {
    let selected = select::select(app, &args.selection, Otherwise::All)?;
    let targets = optional_targets(app, &args.to)?;
    let options = Options {
        debug: args.debug,
        allow_secrets: args.allow_secret.clone(),
        inspect: true,
        ..Options::default()
    };
    let reports = look(app, &selected, &targets, &options)?;
    let bad = reports
        .iter()
        .filter(|report| report.failure.is_some())
        .count();
    let first = reports.iter().flat_map(document::failures).next();
    let code = first.map_or(u8::from(bad > 0), |failure| error::exit_code(failure.kind));
    let bad = bad as u64;
    if app.output.is_machine() {
        let names = names(&targets);
        let plugins: Vec<_> = reports
            .iter()
            .map(|report| document::plugin(report, &names, &|_| None))
            .collect();
        Printer::stdout(&app.output).json(&json!({
            "schema": 1, "command": "plan", "ok": bad == 0, "plugins": plugins,
            "errors": document::errors(&reports),
        }));
        return Ok(code);
    }
    warnings(app, &selected, &reports);
    notes(app, &reports);
    let mut printer = Printer::stdout(&app.output);
    let (mut run, mut known) = (0, 0);
    for report in &reports {
        for stage in &report.stages {
            if report.failure.is_some() {
                continue;
            }
            if matches!(stage.report.decision, Decision::Run(_) | Decision::Unknown) {
                run += 1;
            } else {
                known += 1;
            }
        }
        let quiet = report.status == Status::UpToDate && !app.output.verbose;
        if app.output.quiet || quiet {
            continue;
        }
        let state = match report.status {
            Status::UpToDate => paint(DIM, "up to date"),
            Status::Planned => paint(GOOD, "would run"),
            _ => paint(BAD, document::status_name(report.status)),
        };
        printer.line(format!("{} {state}", render::publish::name(report)));
        for stage in &report.stages {
            printer.line(format!(
                "  {:9} {}{}",
                stage.stage,
                render::publish::to(stage, targets.len()),
                render::publish::decision(stage)
            ));
        }
    }
    if !app.output.quiet {
        let to = match targets.len() {
            0 => "log in, or add --local, to plan uploads as well".to_owned(),
            1 => format!("target {}", names(&targets).join("")),
            _ => format!("targets {}", names(&targets).join(", ")),
        };
        let run = match (run, bad) {
            (0, 0) => "nothing would run".to_owned(),
            (0, bad) => format!("{} cannot be published", count(bad, "plugin")),
            (run, 0) => format!("{} would run", count(run, "stage")),
            (run, bad) => format!(
                "{} would run, {} cannot be published",
                count(run, "stage"),
                count(bad, "plugin")
            ),
        };
        printer.line(format!("{run}, {} known; {to}", count(known, "result")));
    }
    drop(printer);
    let mut printer = Printer::stderr(&app.output);
    for failure in reports.iter().flat_map(document::failures) {
        error::print(&mut printer, failure);
    }
    Ok(code)
}

/// The targets, or none when nobody logged in: looking needs no login.
pub(super) fn optional_targets(app: &App, to: &args::To) -> Result<Vec<Arc<Target>>, Failure> {
    match app.targets(to) {
        Err(failure) if failure.code == "not-authenticated" => Ok(Vec::new()),
        targets => targets,
    }
}

/// The names of targets.
pub(super) fn names(targets: &[Arc<Target>]) -> Vec<&str> {
    targets.iter().map(|target| target.name.as_str()).collect()
}
