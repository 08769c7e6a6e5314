//! `synapse explain`: why a stage last ran, or would run now.

use serde_json::json;
use synapse_engine::{
    Decision, Failure, Store,
    store::{Past, Subject},
    store_failure,
};
use synapse_rules::{
    publish::{Options, PluginReport, Stage},
    upload,
};

use super::{between, look, plan::optional_targets};
use crate::{
    app::App,
    args::{self, Selection},
    render::{BOLD, DIM, Printer, duration, moment, paint},
    select::{self, Otherwise},
};

const STAGES: [&str; 5] = ["inspect", "sync", "archive", "checksum", "upload"];

/// Runs the command; returns the exit code.
pub fn run(app: &App, args: &args::Explain) -> Result<u8, Failure> {
    if let [from, to] = args.between.as_slice() {
        return between::run(app, from, to);
    }
    let asked = args.subject.clone().unwrap_or_default();
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
        plugin: vec![asked.clone()],
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
    let targets = optional_targets(app, &args.to)?;
    let options = Options {
        debug: args.debug,
        ..Options::default()
    };
    let reports = look(app, &selected, &targets, &options)?;
    let wanted = |report: &&PluginReport| {
        report
            .plugin
            .as_ref()
            .is_some_and(|plugin| plugin.subject() == asked || plugin.head.code == asked)
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
            format!("there is no plugin {asked:?} here"),
        )
        .hint(format!("here is {found}"))
    })?;
    let stages = STAGES
        .iter()
        .filter(|stage| args.stage.as_deref().is_none_or(|own| own == **stage));
    let mut explained = Vec::new();
    for stage in stages {
        // What went to one target says nothing of another.
        let to = match *stage {
            "upload" if !targets.is_empty() => targets.iter().map(|to| Some(&*to.name)).collect(),
            _ => vec![None],
        };
        for target in to {
            let history = target.map_or_else(|| (*stage).to_owned(), upload::stage);
            let subject = Subject {
                scope: selected.root.display().to_string(),
                stage: history,
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
            explained.push(Explained {
                stage,
                target,
                past,
            });
        }
    }
    if app.output.is_machine() {
        Printer::stdout(&app.output).json(&document(report, &explained));
    } else {
        text(
            &mut Printer::stdout(&app.output),
            report,
            &explained,
            !targets.is_empty(),
        );
    }
    Ok(0)
}

/// One stage, to one target where it goes anywhere, with its past.
struct Explained<'a> {
    stage: &'a str,
    target: Option<&'a str>,
    past: Vec<Past>,
}

impl Explained<'_> {
    fn now<'r>(&self, report: &'r PluginReport) -> Option<&'r Stage> {
        let same = |own: &&Stage| {
            own.stage == self.stage
                && (self.target.is_none() || own.target.as_deref() == self.target)
        };
        report.stages.iter().find(same)
    }
}

fn text(printer: &mut Printer, report: &PluginReport, explained: &[Explained<'_>], target: bool) {
    printer.hanging(14, crate::render::publish::name(report));
    let several = explained.iter().filter(|own| own.target.is_some()).count() > 1;
    for own in explained {
        let (stage, past) = (own.stage, &own.past);
        let found = own.now(report);
        let decision = found.map(|found| &found.report.decision);
        let failure = match own.target {
            Some(_) => found.and_then(|found| found.report.failure.as_ref()),
            None => report.failure.as_ref(),
        };
        let state = match decision {
            Some(Decision::Run(_)) if stage == "upload" && failure.is_some() => "refused",
            Some(Decision::Run(_)) if report.failure.is_some() => {
                "would run, were the upload not refused"
            }
            Some(Decision::Run(_)) => "would run",
            Some(Decision::Unknown) => "depends on what the stage before it makes",
            Some(_) => "up to date",
            None if stage == "upload" && !target => "not planned: log in, or add --local",
            None if report.failure.is_some() => "not planned: the upload is refused",
            None => "not needed: what it feeds is up to date",
        };
        let to = own.target.filter(|_| several);
        let to = to.map(|to| format!("to {to}: "));
        let head = paint(BOLD, format!("{stage:9}"));
        printer.hanging(14, format!("  {head} {}{state}", to.unwrap_or_default()));
        if let Some(Decision::Run(reasons)) = decision {
            for reason in reasons {
                printer.hanging(14, format!("            because {reason}"));
            }
        }
        if let Some(failure) = failure.filter(|_| stage == "upload") {
            printer.hanging(14, format!("            {failure}"));
        }
        let Some(last) = past.first() else {
            printer.hanging(
                14,
                format!(
                    "            {}",
                    paint(DIM, "it has not run in this workspace")
                ),
            );
            continue;
        };
        let found = last.ms == 0 && last.reasons.is_empty();
        let verb = if found {
            "found at the target"
        } else {
            "last ran"
        };
        printer.hanging(
            14,
            format!(
                "            {verb} {} ({})",
                moment(last.at),
                duration(last.ms)
            ),
        );
        for reason in &last.reasons {
            printer.hanging(14, format!("            because {reason}"));
        }
    }
}

fn document(report: &PluginReport, explained: &[Explained<'_>]) -> serde_json::Value {
    let plugin = report.plugin.as_ref();
    let stages: Vec<_> = explained
        .iter()
        .map(|own| {
            let decision = own.now(report).map(|found| &found.report.decision);
            let reasons = match decision {
                Some(Decision::Run(reasons)) => reasons.clone(),
                _ => Vec::new(),
            };
            let runs: Vec<_> = own
                .past
                .iter()
                .map(|past| {
                    let sentences: Vec<_> = past.reasons.iter().map(ToString::to_string).collect();
                    json!({"at": past.at, "ms": past.ms, "key": past.key.0.hex(),
                           "reasons": past.reasons, "sentences": sentences})
                })
                .collect();
            let sentences: Vec<_> = reasons.iter().map(ToString::to_string).collect();
            json!({"stage": own.stage, "target": own.target,
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
