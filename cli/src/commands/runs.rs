//! Owns `synapse runs`.

use std::time::Duration;

use serde_json::{Value, json};
use synapse_backend::{BackendError, Embedded, Follower, Run, RunEvent, RunFilter};
use synapse_engine::Failure;

use super::nearest;
use crate::{
    app::App,
    args::{Runs, RunsCommand},
    render::{Printer, progress::Live, runs as text},
};

/// How often a run that goes on is looked at.
const ROUND: Duration = Duration::from_millis(200);

/// Runs the command; returns the exit code.
pub fn run(app: &App, args: &Runs) -> Result<u8, Failure> {
    match &args.command {
        None => list(app, args),
        Some(RunsCommand::Show { id, follow }) => show(app, id, *follow),
    }
}

fn list(app: &App, args: &Runs) -> Result<u8, Failure> {
    let (mut runs, mut total) = (Vec::new(), 0);
    if let Some(backend) = backend(app)? {
        let filter = RunFilter {
            plugin: args.plugin.clone(),
            limit: args.limit,
            ..RunFilter::default()
        };
        let page = backend
            .runs(&filter)
            .map_err(|error| app.backend_failure(&error))?;
        if let (Some(plugin), 0) = (&args.plugin, page.total) {
            return Err(no_runs_of(app, &backend, plugin)?);
        }
        (runs, total) = (page.items, page.total);
    }
    let mut printer = Printer::stdout(&app.output);
    if app.output.is_machine() {
        let objects: Vec<Value> = runs.iter().map(object).collect();
        printer.json(&json!({
            "schema": 1, "command": "runs", "ok": true, "total": total, "runs": objects,
        }));
    } else {
        text::list(&mut printer, &runs, total);
    }
    Ok(0)
}

fn no_runs_of(app: &App, backend: &Embedded, plugin: &str) -> Result<Failure, Failure> {
    let all = backend.runs(&RunFilter {
        limit: 1000,
        ..RunFilter::default()
    });
    let all = all.map_err(|error| app.backend_failure(&error))?.items;
    let hint = match nearest(plugin, all.iter().map(|run| run.plugin.as_str())) {
        Some(name) => format!("did you mean `{name}`?"),
        None => "synapse runs lists all".to_owned(),
    };
    let text = format!("no run of plugin `{plugin}` is recorded");
    Ok(Failure::user("no-run", text).hint(hint))
}

fn show(app: &App, given: &str, follow: bool) -> Result<u8, Failure> {
    let none = || {
        Failure::user("no-run", format!("there is no run {given}"))
            .hint("synapse runs lists those there are")
    };
    let id: i64 = given.parse().map_err(|_| none())?;
    let backend = backend(app)?.ok_or_else(none)?;
    let run = match backend.run(id) {
        Ok(run) => run,
        Err(BackendError::NoRun(_)) => return Err(none()),
        Err(error) => return Err(app.backend_failure(&error)),
    };
    if app.output.is_machine() {
        return tell(app, &backend, &run, follow);
    }
    let mut printer = Printer::stdout(&app.output);
    text::head(&mut printer, &run);
    let mut log = text::Log::new(app.output.verbose);
    let over = read(app, &backend, id, follow, true, &mut |output, events| {
        log.show(&mut printer, &output, &events);
    })?;
    log.end(&mut printer);
    let now = match over {
        Some(run) => run,
        None => backend
            .run(id)
            .map_err(|error| app.backend_failure(&error))?,
    };
    text::tail(&mut printer, &now);
    Ok(0)
}

/// The same for programs: one document, or with `--events` a line for each event before it.
fn tell(app: &App, backend: &Embedded, run: &Run, follow: bool) -> Result<u8, Failure> {
    let live = Live::new(&app.output);
    let mut all = Vec::new();
    let over = read(app, backend, run.id, follow, false, &mut |_, events| {
        for event in events {
            let event = event_object(&event);
            if app.output.events {
                live.value(&json!({"event": "run", "run": run.id, "what": event}));
            } else {
                all.push(event);
            }
        }
    })?;
    let now = match over {
        Some(run) => run,
        None => backend
            .run(run.id)
            .map_err(|error| app.backend_failure(&error))?,
    };
    let output = backend.run_output(run.id);
    let output = output.exists().then(|| output.display().to_string());
    Printer::stdout(&app.output).json(&json!({
        "schema": 1, "command": "runs show", "ok": true, "run": object(&now),
        "events": all, "output": output,
    }));
    Ok(0)
}

/// Reads what a run said so far, or until it is over; returns it if it is.
fn read(
    app: &App,
    backend: &Embedded,
    id: i64,
    follow: bool,
    output: bool,
    take: &mut dyn FnMut(Vec<u8>, Vec<RunEvent>),
) -> Result<Option<Run>, Failure> {
    let mut follower = Follower::new(id, output);
    loop {
        let step = follower
            .step(backend)
            .map_err(|error| app.backend_failure(&error))?;
        take(step.output, step.events);
        if step.over.is_some() {
            return Ok(step.over);
        }
        if app.cancel.cancelled() {
            return Err(Failure::cancelled());
        }
        if step.more {
            continue;
        }
        if !follow {
            return Ok(None);
        }
        std::thread::sleep(ROUND);
    }
}

/// The backend, unless there is none yet, which looking does not make.
fn backend(app: &App) -> Result<Option<Embedded>, Failure> {
    if !app.has_backend()? {
        return Ok(None);
    }
    app.backend().map(Some)
}

fn object(run: &Run) -> Value {
    json!({
        "id": run.id, "plugin": run.plugin, "version": run.version, "action": run.action,
        "mode": run.mode, "status": run.status.as_str(), "params": run.params,
        "meta": run.meta, "progress": run.progress, "metrics": run.metrics,
        "result": run.result, "error": run.error, "exit": run.exit, "pid": run.pid,
        "created": run.created, "started": run.started, "finished": run.finished,
    })
}

fn event_object(event: &RunEvent) -> Value {
    json!({
        "time": event.time, "kind": event.kind, "level": event.level, "step": event.step,
        "data": event.data,
    })
}
