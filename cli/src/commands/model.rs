//! Owns `synapse model`.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use synapse_backend::{BackendError, Embedded, Model as Record, ModelFilter};
use synapse_engine::Failure;

use crate::{
    app::App,
    args::Model,
    render::{GOOD, Printer, dataset as text, paint, size},
};

/// Runs the command; returns the exit code.
pub fn run(app: &App, args: &Model) -> Result<u8, Failure> {
    match args {
        Model::List => list(app),
        Model::Show { id } => show(app, *id),
        Model::Get { id, output } => get(app, *id, output.as_deref()),
    }
}

fn list(app: &App) -> Result<u8, Failure> {
    let mut all = Vec::new();
    // Looking makes no backend.
    if app.has_backend()? {
        let page = app.backend()?.models(&ModelFilter::default());
        all = page.map_err(|error| app.backend_failure(&error))?.items;
    }
    let mut printer = Printer::stdout(&app.output);
    if app.output.is_machine() {
        let objects: Vec<Value> = all.iter().map(object).collect();
        printer.json(&json!({
            "schema": 1, "command": "model list", "ok": true, "models": objects,
        }));
    } else {
        text::models(&mut printer, &all);
    }
    Ok(0)
}

fn show(app: &App, id: i64) -> Result<u8, Failure> {
    let (backend, model) = find(app, id)?;
    let file = backend
        .model_file(id)
        .map_err(|error| app.backend_failure(&error))?;
    let file = file.display().to_string();
    let mut printer = Printer::stdout(&app.output);
    if app.output.is_machine() {
        let mut object = object(&model);
        object["path"] = json!(file);
        printer.json(&json!({
            "schema": 1, "command": "model show", "ok": true, "model": object,
        }));
    } else {
        text::model(&mut printer, &model, &file);
    }
    Ok(0)
}

fn get(app: &App, id: i64, output: Option<&Path>) -> Result<u8, Failure> {
    let (backend, model) = find(app, id)?;
    let given = output.map_or_else(|| app.cwd.clone(), |output| app.cwd.join(output));
    let path: PathBuf = if given.is_dir() {
        given.join(&model.filename)
    } else {
        given
    };
    // What is no file may never end, and would not keep it.
    if path.exists() && !path.is_file() {
        let what = format!("{} is no regular file", path.display());
        return Err(Failure::user("file-exists", what).hint("choose another place with --output"));
    }
    let saved = backend.model_save(id, &path).map_err(|error| match error {
        BackendError::Refused(text) => {
            Failure::user("file-exists", text).hint("choose another place with --output")
        }
        BackendError::Io { ref path, .. } => Failure::environment("file", error.to_string())
            .at(path.display().to_string())
            .hint("choose another place with --output"),
        error => app.backend_failure(&error),
    })?;
    let mut printer = Printer::stdout(&app.output);
    if app.output.is_machine() {
        printer.json(&json!({
            "schema": 1, "command": "model get", "ok": true, "path": path.display().to_string(),
            "outcome": if saved { "copied" } else { "up_to_date" }, "model": object(&model),
        }));
    } else if !app.output.quiet {
        let what = if saved { "copied" } else { "up to date" };
        printer.line(format!(
            "{} {} ({})",
            paint(GOOD, what),
            path.display(),
            size(model.size)
        ));
    }
    Ok(0)
}

fn find(app: &App, id: i64) -> Result<(Embedded, Record), Failure> {
    let none = || {
        Failure::user("no-model", format!("there is no model {id}"))
            .hint("synapse model list shows those there are")
    };
    // Looking makes no backend.
    if !app.has_backend()? {
        return Err(none());
    }
    let backend = app.backend()?;
    match backend.model(id) {
        Ok(model) => Ok((backend, model)),
        Err(BackendError::NoModel(_)) => Err(none()),
        Err(error) => Err(app.backend_failure(&error)),
    }
}

fn object(model: &Record) -> Value {
    json!({
        "id": model.id, "name": model.name, "plugin": model.plugin, "version": model.version,
        "category": model.category, "filename": model.filename, "size": model.size,
        "md5": model.md5, "sha256": model.sha256, "fields": model.fields,
        "created": model.created,
    })
}
