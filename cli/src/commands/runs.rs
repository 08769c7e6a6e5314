//! Owns `synapse runs`.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use synapse_backend::{BackendError, Embedded, Follower, Run, RunEvent, RunFilter, RunStatus};
use synapse_engine::Failure;

use super::{
    jobs::{self, Remote, Said},
    nearest,
};
use crate::{
    app::App,
    args::{Connection, Place, Runs, RunsCommand},
    credentials::LOCAL,
    params,
    render::{Printer, progress::Live, runs as text},
};

/// How often a run that goes on is looked at.
const ROUND: Duration = Duration::from_millis(200);

/// Runs the command; returns the exit code.
pub fn run(app: &App, args: &Runs) -> Result<u8, Failure> {
    match &args.command {
        None => match place(app, &args.place, None)? {
            None => list(app, args),
            Some(remote) => list_remote(app, args, &remote),
        },
        Some(RunsCommand::Show {
            id,
            follow,
            place: given,
        }) => {
            let (profile, id) = split(id);
            match place(app, given, profile)? {
                None => show(app, id, *follow),
                Some(remote) => show_remote(app, &remote, id, *follow),
            }
        }
        Some(RunsCommand::Stop { id, place: given }) => {
            let (profile, id) = split(id);
            match place(app, given, profile)? {
                None => stop(app, id),
                Some(remote) => {
                    let job = remote.stop(id)?;
                    Ok(stopping(app, id, jobs::status(&job)))
                }
            }
        }
    }
}

/// `PROFILE:ID`, or an id alone.
fn split(id: &str) -> (Option<&str>, &str) {
    id.rsplit_once(':')
        .filter(|(profile, own)| !profile.is_empty() && !own.is_empty())
        .map_or((None, id), |(profile, id)| (Some(profile), id))
}

/// The platform that is meant; none for this machine.
fn place(app: &App, given: &Place, profile: Option<&str>) -> Result<Option<Remote>, Failure> {
    let connection = &given.connection;
    let meant = given.remote
        || profile.is_some()
        || connection.profile.is_some()
        || connection.host.is_some()
        || connection.token.is_some();
    if !meant {
        return Ok(None);
    }
    if let (Some(named), Some(other)) = (profile, &connection.profile)
        && named != other
    {
        let what = format!("{named} and {other} are two profiles");
        return Err(Failure::usage(what).hint("name one of them"));
    }
    Remote::connect(app, connection, profile).map(Some)
}

fn list_remote(app: &App, args: &Runs, remote: &Remote) -> Result<u8, Failure> {
    let (found, total) = remote.jobs(args.plugin.as_deref(), args.limit)?;
    let runs: Vec<Run> = found.iter().map(jobs::run_of).collect();
    let mut printer = Printer::stdout(&app.output);
    if app.output.is_machine() {
        let objects: Vec<Value> = runs.iter().map(object).collect();
        printer.json(&json!({
            "schema": 1, "command": "runs", "ok": true, "profile": remote.name, "total": total,
            "runs": objects,
        }));
    } else if runs.is_empty() {
        printer.line(format!("no runs on {}", remote.name));
    } else {
        text::list(&mut printer, &runs, total);
    }
    Ok(0)
}

fn show_remote(app: &App, remote: &Remote, id: &str, follow: bool) -> Result<u8, Failure> {
    let job = remote.job(id)?;
    // What it printed comes with the stream alone, which ends when the job does.
    let follow = follow || jobs::status(&job).is_over();
    let mut printer = Printer::stdout(&app.output);
    if app.output.is_machine() {
        let live = Live::new(&app.output);
        let mut all = Vec::new();
        let mut take = |event: &RunEvent| {
            let event = event_object(event);
            if app.output.events {
                live.value(&json!({"event": "run", "run": id, "what": event}));
            } else {
                all.push(event);
            }
        };
        let now = if follow {
            remote.follow(app, id, &mut |said| {
                if let Said::Event(event) = said {
                    take(&event);
                }
            })?
        } else {
            remote.events(id)?.iter().for_each(take);
            job
        };
        printer.json(&json!({
            "schema": 1, "command": "runs show", "ok": true, "profile": remote.name,
            "run": object(&jobs::run_of(&now)), "events": all, "output": null,
        }));
        return Ok(0);
    }
    text::head(&mut printer, &jobs::run_of(&job));
    let mut log = text::Log::new(app.output.verbose);
    let now = if follow {
        remote.follow(app, id, &mut |said| match said {
            Said::Event(event) => log.show(&mut printer, b"", &[event]),
            Said::Output(output) => log.show(&mut printer, output.as_bytes(), &[]),
        })?
    } else {
        log.show(&mut printer, b"", &remote.events(id)?);
        job
    };
    log.end(&mut printer);
    text::tail(&mut printer, &jobs::run_of(&now));
    Ok(0)
}

/// Asks a run of this machine to end, in the way in which it is run.
fn stop(app: &App, given: &str) -> Result<u8, Failure> {
    let (backend, run) = find(app, given)?;
    if run.status.is_over() {
        return Ok(stopping(app, given, run.status));
    }
    if run.agent.is_some() {
        let remote = Remote::connect(app, &Connection::default(), Some(LOCAL))?;
        let job = remote.stop(given)?;
        return Ok(stopping(app, given, jobs::status(&job)));
    }
    let pid = run
        .pid
        .and_then(|pid| i32::try_from(pid).ok())
        .and_then(Pid::from_raw);
    let Some(pid) = pid else {
        let what = format!("nothing is known of the process of run {given}");
        return Err(Failure::user("no-process", what).hint("end it where it was started"));
    };
    kill_process(pid, Signal::TERM).map_err(|error| {
        let what = format!("cannot stop process {}: {error}", pid.as_raw_nonzero());
        Failure::environment("process", what).hint("end it where it was started")
    })?;
    let now = backend
        .run(run.id)
        .map_err(|error| app.backend_failure(&error))?;
    Ok(stopping(app, given, now.status))
}

fn stopping(app: &App, id: &str, status: RunStatus) -> u8 {
    let mut printer = Printer::stdout(&app.output);
    if app.output.is_machine() {
        printer.json(&json!({
            "schema": 1, "command": "runs stop", "ok": true, "run": id, "status": status.as_str(),
        }));
    } else if status.is_over() {
        printer.line(format!("run {id} is over: {status}"));
    } else {
        printer.line(format!("run {id} was asked to end"));
    }
    0
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

/// The run of that id on this machine.
fn find(app: &App, given: &str) -> Result<(Embedded, Run), Failure> {
    let none = || {
        Failure::user("no-run", format!("there is no run {given}"))
            .hint("synapse runs lists those there are")
    };
    let id: i64 = given.parse().map_err(|_| none())?;
    let backend = backend(app)?.ok_or_else(none)?;
    match backend.run(id) {
        Ok(run) => Ok((backend, run)),
        Err(BackendError::NoRun(_)) => Err(none()),
        Err(error) => Err(app.backend_failure(&error)),
    }
}

fn show(app: &App, given: &str, follow: bool) -> Result<u8, Failure> {
    let (backend, run) = find(app, given)?;
    let id = run.id;
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
        let events = step.events.into_iter().map(|(_, event)| event).collect();
        take(step.output, events);
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
        "mode": run.mode, "status": run.status.as_str(), "params": params::shown(&run.params),
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
