//! `synapse plugin lock`.

use std::sync::Arc;

use serde_json::json;
use synapse_engine::Failure;
use synapse_rules::{
    config::{self, Config},
    environment::{Choice, LockChange, Wanted},
    fileset::read_regular,
    plugin::{self, Above, Plugin, Trust},
};

use crate::{
    app::{self, App},
    args::{self, EnvironmentChoice, Selection},
    render::{BAD, DIM, GOOD, Printer, count, error, paint, progress::Live},
    select::{self, Otherwise, Selected},
};

/// What the options of `plugin run` and others say of the environment.
pub fn wanted(args: &args::Environment) -> Wanted {
    Wanted {
        choice: match args.env {
            EnvironmentChoice::Auto => Choice::Auto,
            EnvironmentChoice::Active => Choice::Active,
            EnvironmentChoice::Managed => Choice::Managed,
        },
        python: args.python.clone(),
        locked: args.locked,
        upgrade: args.upgrade,
        offline: args.offline,
    }
}

/// The one plugin that a selection is about, with its whole configuration.
pub fn load(app: &App, selected: &Selected) -> Result<(Plugin, Config), Failure> {
    let source = selected
        .sources
        .first()
        .ok_or_else(|| Failure::bug("a selection of nothing"))?;
    let plugin = plugin::load(
        source,
        &selected.workspace.index,
        &Above::default(),
        Trust::Stat,
        app::nanoseconds(),
        &app.counters,
    )?;
    if plugin.fresh {
        let seen = (source.place.clone(), plugin.section.clone());
        selected.workspace.save(&[seen]);
    }
    let path = plugin.config_path();
    let shown = path.display().to_string();
    let bytes = read_regular(&path).map_err(|error| {
        Failure::user("unreadable", format!("cannot read {shown}: {error}")).at(shown.clone())
    })?;
    let parsed = config::parse(&bytes, &shown);
    let failure = plugin::diagnostics_failure(&parsed.diagnostics);
    let config = parsed.config.ok_or_else(|| {
        failure.unwrap_or_else(|| Failure::bug("a configuration without errors was refused"))
    })?;
    Ok((plugin, config))
}

/// Runs the command; returns the exit code.
pub fn run(app: &App, args: &args::Lock) -> Result<u8, Failure> {
    let selection = Selection {
        path: args.path.clone(),
        ..Selection::default()
    };
    let selected = select::select(app, &selection, Otherwise::Refuse)?;
    let (plugin, config) = load(app, &selected)?;
    let live = Arc::new(Live::new(&app.output));
    live.begin("looking at the requirements");
    let session = app.session(&selected.root, Arc::<Live>::clone(&live), None, false)?;
    let wanted = Wanted {
        python: args.python.clone(),
        locked: args.locked,
        upgrade: args.upgrade,
        offline: args.offline,
        choice: Choice::Managed,
    };
    let change = app.environments(&session).lock(&plugin, &config, &wanted);
    live.finish();
    let change = change?;
    if app.output.is_machine() {
        Printer::stdout(&app.output).json(&json!({
            "schema": 1, "command": "lock", "ok": true, "plugin": plugin.head.code,
            "path": change.path, "wrote": change.wrote, "target": change.target,
            "packages": change.packages, "changed": change.changed,
        }));
        return Ok(0);
    }
    if !app.output.quiet {
        let mut printer = Printer::stderr(&app.output);
        for warning in &change.warnings {
            error::warning(&mut printer, warning);
        }
        print(&mut Printer::stdout(&app.output), &change);
    }
    Ok(0)
}

fn print(printer: &mut Printer, change: &LockChange) {
    for package in &change.changed {
        let name = &package.name;
        printer.line(match (&package.old, &package.new) {
            (Some(old), Some(new)) => format!("  {name} {} -> {new}", paint(DIM, old)),
            (None, Some(new)) => format!("{} {name} {new}", paint(GOOD, "+")),
            (Some(old), None) => format!("{} {name} {old}", paint(BAD, "-")),
            (None, None) => format!("  {name}"),
        });
    }
    let path = change.path.display();
    let packages = count(change.packages as u64, "package");
    let target = &change.target;
    printer.line(if change.wrote {
        format!(
            "{} {packages} for {target} in {path}",
            paint(GOOD, "locked")
        )
    } else {
        format!(
            "{} {path}: {packages} for {target}",
            paint(DIM, "up to date")
        )
    });
}
