//! Owns `synapse dataset`.

use std::path::Path;

use serde_json::{Map, Value, json};
use synapse_backend::{AddDataset, Dataset as Record, DatasetError, Embedded, FORMATS, Outcome};
use synapse_engine::Failure;

use crate::{
    app::App,
    args::Dataset,
    render::{Printer, dataset as text},
};

use super::nearest;

/// Runs the command; returns the exit code.
pub fn run(app: &App, args: &Dataset) -> Result<u8, Failure> {
    match args {
        Dataset::Add {
            dir,
            name,
            id,
            format,
            split,
            replace,
        } => {
            let splits = split.iter().map(|given| pattern(given));
            let splits = splits.collect::<Result<Vec<_>, _>>()?;
            each_once(&splits)?;
            let add = AddDataset {
                dir,
                name,
                id: *id,
                format: format.as_deref(),
                splits: &splits,
                replace: *replace,
            };
            self::add(app, &add)
        }
        Dataset::List => list(app),
        Dataset::Show { dataset } => show(app, dataset),
    }
}

fn add(app: &App, add: &AddDataset<'_>) -> Result<u8, Failure> {
    // A relative path is the user's, from where the command runs.
    let dir = app.cwd.join(add.dir);
    let backend = app.backend()?;
    let bar = text::Bar::new();
    let added = backend.dataset_add(&AddDataset { dir: &dir, ..*add }, &app.cancel, &|step| {
        bar.show(step);
    });
    bar.finish();
    let added = added.map_err(|error| failure(app, &error))?;
    let mut printer = Printer::stdout(&app.output);
    if app.output.is_machine() {
        printer.json(&json!({
            "schema": 1, "command": "dataset add", "ok": true,
            "outcome": outcome(added.outcome), "hashed": added.hashed,
            "format_found": added.format_found, "splits_found": added.splits_found,
            "dataset": object(&added.dataset),
        }));
    } else if !app.output.quiet {
        text::added(&mut printer, &added, outcome(added.outcome));
    }
    Ok(0)
}

fn list(app: &App) -> Result<u8, Failure> {
    let all = all(app)?;
    let mut printer = Printer::stdout(&app.output);
    if app.output.is_machine() {
        let objects: Vec<Value> = all.iter().map(object).collect();
        printer.json(&json!({
            "schema": 1, "command": "dataset list", "ok": true, "datasets": objects,
        }));
    } else {
        text::list(&mut printer, &all);
    }
    Ok(0)
}

fn show(app: &App, given: &str) -> Result<u8, Failure> {
    let all = all(app)?;
    let id = given.parse::<i64>().ok();
    let found = all
        .iter()
        .find(|dataset| id == Some(dataset.id) || dataset.name == given);
    let Some(dataset) = found else {
        let names = all.iter().map(|dataset| dataset.name.as_str());
        let hint = match nearest(given, names) {
            Some(name) => format!("did you mean `{name}`?"),
            None if all.is_empty() => "synapse dataset add DIR --name NAME adds one".to_owned(),
            None => "synapse dataset list shows those there are".to_owned(),
        };
        let failure = Failure::user("no-dataset", format!("there is no dataset `{given}`"));
        return Err(failure.hint(hint));
    };
    let mut printer = Printer::stdout(&app.output);
    if app.output.is_machine() {
        printer.json(&json!({
            "schema": 1, "command": "dataset show", "ok": true, "dataset": object(dataset),
        }));
    } else {
        text::show(&mut printer, dataset);
    }
    Ok(0)
}

/// All datasets; none when there is no backend yet, which looking does not make.
fn all(app: &App) -> Result<Vec<Record>, Failure> {
    if !app.has_backend()? {
        return Ok(Vec::new());
    }
    let backend: Embedded = app.backend()?;
    backend
        .datasets()
        .map_err(|error| app.backend_failure(&error))
}

/// `train=images/train` as name and pattern.
fn pattern(given: &str) -> Result<(String, String), Failure> {
    let parts = given
        .split_once('=')
        .filter(|(name, pattern)| !name.is_empty() && !pattern.is_empty());
    let (name, pattern) = parts.ok_or_else(|| {
        Failure::usage(format!("--split {given:?} is not like NAME=PATTERN"))
            .hint("write it like train=images/train")
    })?;
    Ok((name.to_owned(), pattern.to_owned()))
}

/// Refuses a split that is given twice: one of the two may well be a slip.
fn each_once(splits: &[(String, String)]) -> Result<(), Failure> {
    for (index, (name, pattern)) in splits.iter().enumerate() {
        let first = splits[..index].iter().find(|(before, _)| before == name);
        if let Some((_, first)) = first {
            let what = format!("--split {name} is given twice, with {first} and {pattern}");
            return Err(Failure::usage(what).hint(format!(
                "one pattern may cover both, such as {name}={{a,b}}/**"
            )));
        }
    }
    Ok(())
}

fn failure(app: &App, error: &DatasetError) -> Failure {
    let failure = match error {
        DatasetError::Backend(error) => return app.backend_failure(error),
        DatasetError::Cancelled => return Failure::cancelled(),
        DatasetError::Format(given) => {
            let failure = Failure::usage(error.to_string());
            let near = nearest(given, FORMATS);
            let hint = near.map(|near| format!("did you mean `{near}`?"));
            return failure.hint(hint.or(error.hint()).unwrap_or_default());
        }
        error => Failure::user(error.code(), error.to_string()),
    };
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Added => "added",
        Outcome::UpToDate => "up_to_date",
        Outcome::Moved => "moved",
        Outcome::Replaced => "replaced",
    }
}

fn object(dataset: &Record) -> Value {
    let splits = dataset.splits.iter();
    let splits: Map<String, Value> = splits
        .map(|(name, count)| (name.clone(), Value::from(*count)))
        .collect();
    json!({
        "id": dataset.id, "name": dataset.name, "format": dataset.format,
        "folder": dataset.folder.display().to_string(),
        "present": Path::new(&dataset.folder).is_dir(),
        "count": dataset.count, "size": dataset.size, "checksum": dataset.checksum,
        "splits": splits, "created": dataset.created,
    })
}
