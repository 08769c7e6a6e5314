//! Owns `synapse plugin update-config`: writes what the code says into config.yaml.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::json;
use synapse_engine::{Failure, Files, Session};
use synapse_rules::{
    archive::EDITED,
    config,
    environment::{Choice, Wanted},
    inspect::{self, Inspection, Subject},
    plugin::{self, Above, Plugin, Trust},
    sync::{self, Synced},
};

use super::check::of_files;
use crate::{
    app::{self, App},
    args::{EnvironmentChoice, Selection, UpdateConfig},
    render::{DIM, Printer, error, paint, progress::Live},
    select::{self, Otherwise},
};

/// Runs the command; returns the exit code.
pub fn run(app: &App, args: &UpdateConfig) -> Result<u8, Failure> {
    if args.files.is_empty() {
        return update(app, args, args.path.clone());
    }
    let sources = of_files(app, &args.files)?;
    if app.output.is_machine() && sources.len() > 1 {
        let what = "the files belong to several plugins, and --json tells of one";
        return Err(Failure::usage(what).hint("name the files of one plugin at a time"));
    }
    let mut worst = 0;
    for source in &sources {
        worst = worst.max(update(app, args, Some(source.folder()))?);
    }
    if sources.is_empty() && app.output.is_machine() {
        Printer::stdout(&app.output).json(&json!({
            "schema": 1, "command": "update-config", "ok": true, "code": null, "config": null,
            "changed": false, "changes": [], "notes": [], "errors": [],
        }));
    }
    Ok(worst)
}

/// Updates the configuration of one plugin.
fn update(app: &App, args: &UpdateConfig, path: Option<PathBuf>) -> Result<u8, Failure> {
    let selection = Selection {
        path,
        config: args.config.clone(),
        ..Selection::default()
    };
    let selected = select::select(app, &selection, Otherwise::Refuse)?;
    let source = selected
        .sources
        .first()
        .ok_or_else(|| Failure::bug("nothing was selected"))?;
    let live = Arc::new(Live::new(&app.output));
    let session = app.session(&selected.root, Arc::<Live>::clone(&live), None, false)?;
    let load = |trust| {
        let (above, now) = (Above::default(), app::nanoseconds());
        plugin::load(
            source,
            &selected.workspace.index,
            &above,
            trust,
            now,
            &app.counters,
        )
    };
    let mut plugin = Arc::new(load(Trust::Stat)?);
    let mut looked = look(app, args, &plugin, &session);
    if matches!(&looked, Err(failure) if failure.code == EDITED) {
        // Saved between our looks at it.
        plugin = Arc::new(load(Trust::Nothing)?);
        looked = look(app, args, &plugin, &session);
    }
    live.finish();
    let synced = looked?;
    let path = plugin.config_path();
    if let Some(bytes) = synced.bytes.as_ref().filter(|_| !args.check) {
        // An editor may have saved the file meanwhile.
        plugin.read_source_config()?;
        config::replace(&path, bytes).map_err(|error| {
            let shown = path.display().to_string();
            Failure::environment("config-write", format!("cannot write {shown}: {error}"))
                .at(shown)
                .hint("make the file writable")
        })?;
    }
    let code = u8::from(args.check && synced.bytes.is_some());
    report(app, args, &plugin, &path, &synced);
    Ok(code)
}

fn look(
    app: &App,
    args: &UpdateConfig,
    plugin: &Arc<Plugin>,
    session: &Session,
) -> Result<Synced, Failure> {
    let (source, shown) = plugin.read_source_config()?;
    let inspection = match args.env {
        None => inspect::inspected(plugin, app.schemas(session), session)?,
        Some(choice) => in_environment(app, args, choice, plugin, (&source, &shown), session)?,
    };
    sync::bytes(&source, &shown, &inspection)
}

/// Inspects where the plugin's packages are.
fn in_environment(
    app: &App,
    args: &UpdateConfig,
    choice: EnvironmentChoice,
    plugin: &Plugin,
    (source, shown): (&[u8], &str),
    session: &Session,
) -> Result<Inspection, Failure> {
    let parsed = config::parse(source, shown);
    let config = parsed
        .config
        .ok_or_else(|| Failure::bug("a loaded configuration is refused"))?;
    let wanted = Wanted {
        choice: match choice {
            EnvironmentChoice::Auto => Choice::Auto,
            EnvironmentChoice::Active => Choice::Active,
            EnvironmentChoice::Managed => Choice::Managed,
        },
        python: args.python.clone(),
        ..Wanted::default()
    };
    let ready = app.environments(session).ready(plugin, &config, &wanted)?;
    if !app.output.quiet && !app.output.is_machine() {
        Printer::stderr(&app.output).line(paint(DIM, &ready.note));
    }
    let schemas = app.served(session).in_environment(ready)?;
    let mut entries = Files::load(plugin.files.as_ref());
    entries.retain(|entry| inspect::is_source(&entry.path));
    let sources = inspect::read_sources(plugin, &entries)?;
    let folder = plugin.source.folder();
    let subject = Subject {
        sources: &sources,
        entries: &plugin.head.actions,
        requires: None,
        real: Some(&folder),
    };
    inspect::inspect(&subject, &schemas, &app.cancel)
}

fn report(app: &App, args: &UpdateConfig, plugin: &Plugin, path: &Path, synced: &Synced) {
    let changed = synced.bytes.is_some();
    if app.output.is_machine() {
        Printer::stdout(&app.output).json(&json!({
            "schema": 1, "command": "update-config", "ok": !(args.check && changed),
            "code": plugin.head.code, "config": path.display().to_string(), "changed": changed,
            "changes": synced.changes, "notes": synced.notes, "errors": [],
        }));
        return;
    }
    if !app.output.quiet {
        let mut printer = Printer::stdout(&app.output);
        printer.line(format!("Config file: {}", path.display()));
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if changed {
            let verb = if args.check {
                "Would update"
            } else {
                "Updated"
            };
            printer.line(format!("{verb} {name}:"));
            for change in &synced.changes {
                printer.line(format!(
                    "  {}: {}",
                    change.action,
                    change.changes.join(", ")
                ));
            }
        } else {
            printer.line("No changes needed.");
        }
    }
    let mut printer = Printer::stderr(&app.output);
    if !app.output.quiet {
        for warning in &plugin.head.warnings {
            error::warning(&mut printer, warning);
        }
        for note in &synced.notes {
            printer.line(format!("{} {note}", paint(DIM, "note:")));
        }
        if !synced.notes.is_empty() && args.env.is_none() {
            printer.line("hint: --env auto inspects with the plugin's own packages");
        }
    }
}
