//! `synapse explain`: why a stage last ran, or would run now.

use serde_json::json;
use synapse_engine::{
    Decision, Failure, Store,
    store::{Past, Subject},
    store_failure,
};
use synapse_rules::publish::{Options, PluginReport};

use super::{look, plan::optional_target};
use crate::{
    app::App,
    args::{self, Selection},
    render::{BOLD, DIM, Printer, duration, moment, paint},
    select::{self, Otherwise},
};

const STAGES: [&str; 5] = ["inspect", "sync", "archive", "checksum", "upload"];

/// Runs the command; returns the exit code.
pub fn run(app: &App, args: &args::Explain) -> Result<u8, Failure> {
    if let Some(stage) = args
        .stage
        .as_deref()
        .filter(|stage| !STAGES.contains(stage))
    {
        let what = format!("there is no stage {stage:?}");
        return Err(Failure::usage(what).hint(format!("the stages are {}", STAGES.join(", "))));
    }
    let selection = Selection {
        path: args.path.clone(),
        plugin: vec![args.subject.clone()],
        ..Selection::default()
    };
    let selected = match select::select(app, &selection, Otherwise::All) {
        // Outside a workspace, the plugin at hand may be the one that is meant.
        Err(failure) if failure.code == "no-workspace" => {
            let selection = Selection {
                path: args.path.clone(),
                ..Selection::default()
            };
            select::select(app, &selection, Otherwise::All)?
        }
        other => other?,
    };
    let target = optional_target(app, args.local)?;
    let options = Options {
        debug: args.debug,
        ..Options::default()
    };
    let reports = look(app, &selected, target.as_ref(), &options)?;
    let wanted = |report: &&PluginReport| {
        report.plugin.as_ref().is_some_and(|plugin| {
            plugin.subject() == args.subject || plugin.head.code == args.subject
        })
    };
    if let Some(failure) = reports
        .iter()
        .find(|r| r.plugin.is_none())
        .and_then(|r| r.failure.clone())
    {
        return Err(failure);
    }
    let report = reports.iter().find(wanted).ok_or_else(|| {
        let found = reports
            .iter()
            .filter_map(|report| report.plugin.as_ref())
            .map(|plugin| plugin.subject());
        let found = found.collect::<Vec<_>>().join(", ");
        Failure::user(
            "unknown-plugin",
            format!("there is no plugin {:?} here", args.subject),
        )
        .hint(format!("here is {found}"))
    })?;
    let stages = STAGES
        .iter()
        .filter(|stage| args.stage.as_deref().is_none_or(|own| own == **stage));
    let mut explained = Vec::new();
    for stage in stages {
        let subject = Subject {
            scope: selected.root.display().to_string(),
            stage: (*stage).to_owned(),
            name: report
                .plugin
                .as_ref()
                .map(|plugin| plugin.subject())
                .unwrap_or_default(),
        };
        let past = app
            .store()?
            .history(&subject, 5)
            .map_err(|error| store_failure(&error))?;
        explained.push((*stage, past));
    }
    if app.output.is_machine() {
        Printer::stdout(&app.output).json(&document(report, &explained));
    } else {
        text(
            &mut Printer::stdout(&app.output),
            report,
            &explained,
            target.is_some(),
        );
    }
    Ok(0)
}

fn now<'a>(report: &'a PluginReport, stage: &str) -> Option<&'a Decision> {
    report
        .stages
        .iter()
        .find(|own| own.stage == stage)
        .map(|own| &own.report.decision)
}

fn text(
    printer: &mut Printer,
    report: &PluginReport,
    explained: &[(&str, Vec<Past>)],
    target: bool,
) {
    printer.line(crate::render::publish::name(report));
    for (stage, past) in explained {
        let decision = now(report, stage);
        let state = match decision {
            Some(Decision::Run(_)) if *stage == "upload" && report.failure.is_some() => "refused",
            Some(Decision::Run(_)) if report.failure.is_some() => {
                "would run, were the upload not refused"
            }
            Some(Decision::Run(_)) => "would run",
            Some(Decision::Unknown) => "depends on what the stage before it makes",
            Some(_) => "up to date",
            None if *stage == "upload" && !target => "not planned: log in, or add --local",
            None if report.failure.is_some() => "not planned: the upload is refused",
            None => "not needed: what it feeds is up to date",
        };
        printer.line(format!("  {} {state}", paint(BOLD, format!("{stage:9}"))));
        if let Some(Decision::Run(reasons)) = decision {
            for reason in reasons {
                printer.line(format!("            because {reason}"));
            }
        }
        if let Some(failure) = report.failure.as_ref().filter(|_| *stage == "upload") {
            printer.line(format!("            {failure}"));
        }
        let Some(last) = past.first() else {
            printer.line(format!(
                "            {}",
                paint(DIM, "it has not run in this workspace")
            ));
            continue;
        };
        let found = last.ms == 0 && last.reasons.is_empty();
        let verb = if found {
            "found at the target"
        } else {
            "last ran"
        };
        printer.line(format!(
            "            {verb} {} ({})",
            moment(last.at),
            duration(last.ms)
        ));
        for reason in &last.reasons {
            printer.line(format!("            because {reason}"));
        }
    }
}

fn document(report: &PluginReport, explained: &[(&str, Vec<Past>)]) -> serde_json::Value {
    let plugin = report.plugin.as_ref();
    let stages: Vec<_> = explained
        .iter()
        .map(|(stage, past)| {
            let decision = now(report, stage);
            let reasons = match decision {
                Some(Decision::Run(reasons)) => reasons.clone(),
                _ => Vec::new(),
            };
            let runs: Vec<_> = past
                .iter()
                .map(|past| {
                    let sentences: Vec<_> = past.reasons.iter().map(ToString::to_string).collect();
                    json!({"at": past.at, "ms": past.ms, "key": past.key.0.hex(),
                           "reasons": past.reasons, "sentences": sentences})
                })
                .collect();
            let sentences: Vec<_> = reasons.iter().map(ToString::to_string).collect();
            json!({"stage": stage,
                   "would_run": matches!(decision, Some(Decision::Run(_) | Decision::Unknown)),
                   "reasons": reasons, "sentences": sentences, "runs": runs})
        })
        .collect();
    json!({"schema": 1, "command": "explain", "ok": true,
           "code": plugin.map(|plugin| plugin.head.code.clone()),
           "version": plugin.map(|plugin| plugin.head.version.clone()),
           "variant": plugin.and_then(|plugin| plugin.head.variant.clone()),
           "stages": stages})
}
