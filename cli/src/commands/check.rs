//! `synapse plugin check`: all that can be told of plugins without building or asking anything.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use rayon::prelude::*;
use serde_json::{Value, json};
use synapse_engine::Failure;
use synapse_rules::{
    check::{self, Checked, Problem, Surroundings},
    config::Severity,
    plugin::{Above, Source, Warning},
    workspace,
};

use crate::{
    app::App,
    args::{self, Selection},
    render::{
        GOOD, Printer, count,
        error::{self, ErrorObject},
        paint,
    },
    select::{self, Otherwise},
};

/// Runs the command; returns the exit code.
pub fn run(app: &App, args: &args::Check) -> Result<u8, Failure> {
    let start = Instant::now();
    let (sources, warnings) = if args.files.is_empty() {
        let selected = select::select(app, &args.selection, Otherwise::All)?;
        (selected.sources, selected.warnings)
    } else {
        (of_files(app, &args.files)?, Vec::new())
    };
    let (above, variables) = (Above::default(), app.variables());
    let around = Surroundings {
        above: &above,
        allow_secrets: &args.allow_secret,
        variables: &variables,
        cancel: &app.cancel,
    };
    let checked = sources
        .par_iter()
        .map(|source| check::check(source, &around));
    let mut checked = checked.collect::<Result<Vec<Checked>, Failure>>()?;
    twins(&mut checked);
    let sum = |severity| checked.iter().map(|own| own.count(severity)).sum::<usize>();
    let (errors, doubts) = (
        sum(Severity::Error),
        sum(Severity::Warning) + warnings.len(),
    );
    let ok = errors == 0 && (doubts == 0 || !args.strict);
    if app.output.is_machine() {
        Printer::stdout(&app.output).json(&json!({
            "schema": 1, "command": "check", "ok": ok,
            "elapsed_ms": start.elapsed().as_millis() as u64,
            "totals": {"plugins": checked.len(), "errors": errors, "warnings": doubts},
            "plugins": checked.iter().map(plugin).collect::<Vec<Value>>(),
            "warnings": warnings,
            "errors": [],
        }));
    } else {
        tell(app, &checked, &warnings);
        if !app.output.quiet {
            let plugins = count(checked.len() as u64, "plugin");
            let (errors, doubts) = (
                count(errors as u64, "error"),
                count(doubts as u64, "warning"),
            );
            let line = if checked.is_empty() {
                "no plugin holds these files: nothing to check".to_owned()
            } else {
                format!("{plugins} checked: {errors}, {doubts}")
            };
            Printer::stdout(&app.output).line(line);
        }
    }
    Ok(u8::from(!ok))
}

fn tell(app: &App, checked: &[Checked], warnings: &[Warning]) {
    let mut printer = Printer::stderr(&app.output);
    let quiet = app.output.quiet;
    for warning in warnings.iter().filter(|_| !quiet) {
        error::warning(&mut printer, warning);
    }
    for problem in checked.iter().flat_map(|own| &own.problems) {
        if problem.is_error() {
            error::print(&mut printer, &problem.failure);
        } else if !quiet {
            error::warning(&mut printer, &doubt(problem));
        }
    }
    drop(printer);
    if app.output.verbose {
        let mut printer = Printer::stdout(&app.output);
        for own in checked.iter().filter(|own| own.problems.is_empty()) {
            let name = own.subject.as_deref().unwrap_or_default();
            let files = count(own.files as u64, "file");
            printer.line(format!("{} {name}  {files}", paint(GOOD, "ok")));
        }
    }
}

fn doubt(problem: &Problem) -> Warning {
    let Failure {
        message,
        place,
        hint,
        ..
    } = problem.failure.clone();
    Warning {
        message,
        place: place.unwrap_or_default(),
        hint,
    }
}

fn plugin(own: &Checked) -> Value {
    let problem = |problem: &Problem| {
        let ErrorObject {
            code,
            message,
            place,
            hint,
        } = ErrorObject::from(&problem.failure);
        json!({
            "severity": problem.severity, "code": code, "message": message, "where": place,
            "hint": hint,
        })
    };
    json!({
        "plugin": own.subject, "path": own.folder.display().to_string(), "files": own.files,
        "ok": own.count(Severity::Error) == 0,
        "problems": own.problems.iter().map(problem).collect::<Vec<Value>>(),
    })
}

/// Two plugins of one code and variant cannot both be published.
fn twins(checked: &mut [Checked]) {
    let mut named: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (at, own) in checked.iter().enumerate() {
        if let Some(subject) = &own.subject {
            named.entry(subject.clone()).or_default().push(at);
        }
    }
    for (subject, all) in named.into_iter().filter(|(_, all)| all.len() > 1) {
        let folders: Vec<String> = all
            .iter()
            .map(|at| checked[*at].folder.display().to_string())
            .collect();
        for (at, folder) in all.iter().zip(&folders) {
            let others = folders.iter().filter(|other| *other != folder);
            let others: Vec<&str> = others.map(String::as_str).collect();
            let what = format!("{subject} is the code of {} too", others.join(" and "));
            let failure = Failure::user("duplicate-code", what).at(folder.clone());
            checked[*at].error(failure.hint("give one of them another code or variant"));
        }
    }
}

/// The plugins that files lie in, each once. Files of none are left out: a hook is given whatever
/// is committed.
pub(super) fn of_files(app: &App, files: &[PathBuf]) -> Result<Vec<Source>, Failure> {
    let mut folders: BTreeMap<PathBuf, Option<BTreeSet<String>>> = BTreeMap::new();
    let mut sources: BTreeMap<PathBuf, Source> = BTreeMap::new();
    for file in files {
        let path = app.cwd.join(file);
        let real = fs::canonicalize(&path).map_err(|error| {
            let shown = file.display().to_string();
            Failure::user("path", format!("cannot open {shown}: {error}"))
                .at(shown)
                .hint("check the path")
        })?;
        let Some(root) = workspace::find_root(&real) else {
            let found = real.ancestors().find(|folder| check::is_plugin(folder));
            sources.extend(found.map(|folder| {
                let source = Source {
                    workspace: folder.to_owned(),
                    place: String::new(),
                    config: None,
                };
                (folder.to_owned(), source)
            }));
            continue;
        };
        let members = match folders.get(&root) {
            Some(members) => members.clone(),
            None => folders
                .entry(root.clone())
                .or_insert(members(app, &root)?)
                .clone(),
        };
        let place = |folder: &Path| folder.strip_prefix(&root).ok()?.to_str().map(str::to_owned);
        let found = real.ancestors().find_map(|folder| {
            let place = place(folder)?;
            let member = members.as_ref()?.contains(&place);
            member.then_some((folder.to_owned(), place))
        });
        sources.extend(found.map(|(folder, place)| {
            let source = Source {
                workspace: root.clone(),
                place,
                config: None,
            };
            (folder, source)
        }));
    }
    Ok(sources.into_values().collect())
}

/// Places of a workspace's members; none when it has none.
fn members(app: &App, root: &Path) -> Result<Option<BTreeSet<String>>, Failure> {
    let all = Selection {
        path: Some(root.to_owned()),
        all: true,
        complete: true,
        ..Selection::default()
    };
    match select::select(app, &all, Otherwise::All) {
        Ok(selected) => Ok(Some(
            selected.sources.into_iter().map(|own| own.place).collect(),
        )),
        Err(failure) if failure.code == "no-members" => Ok(None),
        Err(failure) => Err(failure),
    }
}
