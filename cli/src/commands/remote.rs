//! Owns `synapse plugin run --mode remote`: a run on a platform, shown as if it were here.

use std::{
    io,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use synapse_backend::{RunStatus, http::new_token};
use synapse_engine::{Cancel, Failure, FailureKind};
use synapse_rules::{
    action,
    platform::jobs::JobRequest,
    worker::{
        protocol::Raised,
        pump::{Sink, Stream},
    },
};

use super::{
    choice::{self, Choice},
    jobs::{self, Remote, Said},
    run::{conclude, object},
};
use crate::{
    app::App,
    args::{EnvironmentChoice, RunOptions},
    journal::RunLine,
    language, params,
    render::{
        DIM, WARN, message, paint,
        run::{self as view, Document, EnvironmentObject, LiveRun},
    },
    signals::Diverted,
};

/// Hex digits of the name that a job is found again by.
const NAME: usize = 32;

/// How long a second Ctrl-C waits for the answer to the first.
const ANSWER: Duration = Duration::from_secs(5);

/// What is to be run.
struct Subject {
    plugin: String,
    variant: Option<String>,
    action: String,
}

/// Runs the command; returns the exit code.
pub(super) fn run(
    app: &App,
    choice: Choice<'_>,
    args: &RunOptions,
    start: Instant,
) -> Result<u8, Failure> {
    only_here(args)?;
    language::check(args.lang.as_deref())?;
    let params = params::read(args.params.as_deref(), &app.cwd, io::stdin().lock())?;
    let Subject {
        plugin,
        variant,
        action,
    } = subject(app, choice, args)?;
    let options = &args.remote;
    let remote = Arc::new(Remote::connect(app, &options.connection, None)?);
    let mut name = new_token().map_err(|error| app.backend_failure(&error))?;
    name.truncate(NAME);
    let request = JobRequest {
        plugin: plugin.clone(),
        version: options.version.clone(),
        variant,
        action: action.clone(),
        params,
        agent: options.agent.clone().or_else(|| remote.agent.clone()),
        debug: !args.no_debug,
        language: args.lang.clone(),
        client_id: name,
    };
    let job = remote.submit(&request)?;
    let live = Arc::new(LiveRun::new(&app.output, !args.no_debug));
    let version = job["version"].as_str().unwrap_or_default();
    live.line(view::head("Plugin", format!("{plugin} {version}").trim()));
    live.line(view::head("Action", &action));
    let place = if remote.host() == remote.name {
        remote.name.clone()
    } else {
        format!("{} ({})", remote.name, remote.host())
    };
    live.line(view::head("Mode", &format!("remote on {place}")));
    let Some(id) = jobs::id(&job) else {
        // Some platforms answer with the result itself.
        let document = Document {
            result: job,
            ..document(&Value::Null, &remote.name, &action, start)
        };
        return Ok(conclude(app, &live, document, None, None));
    };
    live.line(view::head("Job", &id));
    let shown = remote.named(&id);
    app.invocation.sent(RunLine {
        job: Some(shown.clone()),
        plugin: plugin.clone(),
        version: version.to_owned(),
        action: action.clone(),
        ..RunLine::default()
    });
    if options.detach {
        return Ok(detached(
            app,
            &live,
            &document(&job, &remote.name, &action, start),
            &shown,
        ));
    }
    let interrupts = Arc::<Interrupts>::default();
    let diverted = interrupts.hear(app, &remote, &id, &live);
    live.awaits(format!("waiting for an agent of {place} to run job {id}"));
    let followed = remote.follow(app, &id, &mut |said| show(&live, said));
    drop(diverted);
    live.finish();
    let job = match followed {
        Ok(job) => job,
        Err(failure) if failure.kind == FailureKind::Cancelled => {
            let what = format!("left; `synapse runs show {shown} --follow` follows it again");
            let failure = Failure {
                message: what,
                ..failure
            };
            let document = document(&job, &remote.name, &action, start);
            return Ok(conclude(app, &live, document, Some(&failure), None));
        }
        Err(failure) => return Err(failure),
    };
    let failure = failure_of(&job, &action);
    let document = document(&job, &remote.name, &action, start);
    let more = format!("synapse runs show {shown}");
    Ok(conclude(
        app,
        &live,
        document,
        failure.as_ref(),
        Some(&more),
    ))
}

/// Refuses options that only a run on this machine has.
fn only_here(args: &RunOptions) -> Result<(), Failure> {
    let environment = &args.environment;
    let given = [
        ("--gpus", args.gpus.is_some()),
        ("--cpus", args.cpus.is_some()),
        ("--memory", args.memory.is_some()),
        ("--timeout", args.timeout.is_some()),
        ("--reuse", args.reuse),
        ("--env", environment.env != EnvironmentChoice::Auto),
        ("--python", environment.python.is_some()),
        ("--locked", environment.locked),
        ("--upgrade", environment.upgrade),
        ("--offline", environment.offline),
        ("--timings", args.recording.timings.is_some()),
        ("--trace", args.recording.trace.is_some()),
    ];
    refuse(
        &given,
        "a run on this machine",
        "leave it out, or use --mode local",
    )
}

/// Refuses options that only a run on a platform has.
pub(super) fn only_there(args: &RunOptions) -> Result<(), Failure> {
    let remote = &args.remote;
    let connection = &remote.connection;
    let given = [
        ("--detach", remote.detach),
        ("--agent", remote.agent.is_some()),
        ("--version", remote.version.is_some()),
        ("--profile", connection.profile.is_some()),
        ("--host", connection.host.is_some()),
        ("--token", connection.token.is_some()),
    ];
    refuse(&given, "a run on a platform", "add --mode remote")
}

fn refuse(given: &[(&str, bool)], whose: &str, hint: &str) -> Result<(), Failure> {
    match given.iter().find(|(_, is_given)| *is_given) {
        Some((option, _)) => {
            let what = format!("{option} is for {whose}");
            Err(Failure::usage(what).hint(hint))
        }
        None => Ok(()),
    }
}

/// What the arguments name: the plugin here, or any that the platform has.
fn subject(app: &App, choice: Choice<'_>, args: &RunOptions) -> Result<Subject, Failure> {
    let here = choice::pick(app, args).and_then(|selected| super::lock::load(app, &selected));
    if let Some(given) = &args.plugin {
        let (code, variant) = given
            .split_once('@')
            .map_or((given.as_str(), None), |(code, variant)| {
                (code, Some(variant))
            });
        // Its configuration, when it is here, knows the actions.
        let own = here.ok().filter(|(plugin, _)| plugin.head.code == code);
        let action = match &own {
            Some((plugin, config)) => {
                choice.name(config, &plugin.config_path().display().to_string())?
            }
            None => choice.usual().to_owned(),
        };
        return Ok(Subject {
            plugin: code.to_owned(),
            variant: variant
                .map(str::to_owned)
                .or_else(|| own.and_then(|(plugin, _)| plugin.head.variant)),
            action,
        });
    }
    let (plugin, config) = here?;
    let action = choice.name(&config, &plugin.config_path().display().to_string())?;
    Ok(Subject {
        plugin: plugin.head.code,
        variant: plugin.head.variant,
        action,
    })
}

/// Shows what a job says as if it ran here.
fn show(live: &LiveRun, said: Said) {
    match said {
        Said::Event(event) => live.message(&message::of_event(&event)),
        Said::Output(text) => live.output(Stream::Out, text.as_bytes()),
    }
}

/// Ctrl-C: the first one stops the job, the second one leaves it, once the first was heard.
#[derive(Default)]
struct Interrupts {
    count: AtomicU32,
    /// The platform has answered the first one, or nobody follows the job any more.
    heard: Mutex<bool>,
    changed: Condvar,
}

impl Interrupts {
    /// Signals go to a job while what is returned lives.
    fn hear(
        self: &Arc<Self>,
        app: &App,
        remote: &Arc<Remote>,
        id: &str,
        live: &Arc<LiveRun>,
    ) -> Diverted {
        let (own, cancel): (Arc<Self>, Cancel) = (Arc::clone(self), app.cancel.clone());
        let (remote, live, id) = (Arc::clone(remote), Arc::clone(live), id.to_owned());
        app.signals.divert_to(move |_| {
            let (own, cancel) = (Arc::clone(&own), cancel.clone());
            let (remote, live, id) = (Arc::clone(&remote), Arc::clone(&live), id.clone());
            // Away from here, where the next one must be heard meanwhile.
            match own.count.fetch_add(1, Ordering::Relaxed) {
                0 => {
                    live.line(paint(
                        WARN,
                        format!("stopping job {id}; a second Ctrl-C leaves it as it is"),
                    ));
                    thread::spawn(move || own.stop(&remote, &id, &live));
                }
                1 => drop(thread::spawn(move || {
                    own.wait();
                    cancel.cancel();
                })),
                _ => cancel.cancel(),
            }
        })
    }

    fn stop(&self, remote: &Remote, id: &str, live: &LiveRun) {
        let stopped = remote.stop(id);
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
        if let Err(failure) = stopped {
            live.line(paint(
                WARN,
                format!("job {id} could not be stopped: {failure}"),
            ));
        }
    }

    /// Waits for the answer to the first one, but not for long.
    fn wait(&self) {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        drop(
            self.changed
                .wait_timeout_while(heard, ANSWER, |heard| !*heard),
        );
    }
}

/// Tells where to find a job that nobody waits for.
fn detached(app: &App, live: &LiveRun, document: &Document, shown: &str) -> u8 {
    if app.output.is_machine() {
        let document = serde_json::to_value(document).unwrap_or_default();
        let document = with_ok(document);
        crate::render::Printer::stdout(&app.output).json(&document);
        return 0;
    }
    live.line(paint(
        DIM,
        format!(
            "`synapse runs show {shown} --follow` follows it, `synapse runs stop {shown}` ends it"
        ),
    ));
    0
}

fn with_ok(mut document: Value) -> Value {
    document["ok"] = true.into();
    document
}

/// The document of a job.
fn document(job: &Value, profile: &str, action: &str, start: Instant) -> Document {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let texts = |value: &Value| -> Vec<String> {
        let all = value.as_array().into_iter().flatten();
        all.filter_map(|text| text.as_str().map(str::to_owned))
            .collect()
    };
    let meta = &job["meta"];
    let id = jobs::id(job);
    let environment: Option<EnvironmentObject> =
        serde_json::from_value(meta["environment"].clone()).ok();
    Document {
        elapsed_ms: start.elapsed().as_millis() as u64,
        run: id.as_ref().and_then(|id| id.parse().ok()),
        plugin: text(&job["plugin"]),
        version: text(&job["version"]),
        mode: Some("remote"),
        profile: Some(profile.to_owned()),
        job: id,
        status: text(&job["status"]),
        environment,
        ending: text(&meta["ending"]),
        result: job["result"].clone(),
        model: text(&meta["model"]),
        progress: object(job["progress_record"].clone()),
        metrics: object(job["metrics_record"].clone()),
        exit: job["exit"].as_i64().and_then(|exit| exit.try_into().ok()),
        left: texts(&meta["left"]),
        notes: texts(&meta["notes"]),
        error: Some(job["error"].clone()).filter(is_raised),
        ..Document::of(action)
    }
}

/// Whether an error is an exception of the action.
fn is_raised(error: &Value) -> bool {
    error["class"].is_string()
}

/// Why a job that is over has no result.
fn failure_of(job: &Value, action: &str) -> Option<Failure> {
    match jobs::status(job) {
        RunStatus::Succeeded => return None,
        RunStatus::Stopped => {
            let message = format!("{action} was stopped");
            return Some(Failure {
                message,
                ..Failure::cancelled()
            });
        }
        _ => {}
    }
    let error = &job["error"];
    if let Some(raised) = Some(error).filter(|error| is_raised(error))
        && let Ok(raised) = serde_json::from_value::<Raised>(raised.clone())
    {
        let failure = action::raised(&raised, action);
        // There is one environment, which is made anew for what is published.
        return Some(if raised.class == "ModuleNotFoundError" {
            failure.hint("add it to requirements.txt, then publish the plugin again")
        } else {
            failure
        });
    }
    let text = |name: &str| error[name].as_str();
    let kind = text("kind").unwrap_or("failed");
    let by = serde_json::from_value(error["by"].clone()).unwrap_or(match kind {
        "lost" | "agent" => FailureKind::Environment,
        _ => FailureKind::Python,
    });
    let what = match (text("message"), error.as_str()) {
        (Some(message), _) | (None, Some(message)) => message.to_owned(),
        (None, None) => format!("{action} failed; the platform does not say why"),
    };
    let mut failure = Failure::new(by, kind, what);
    failure.place = text("where").map(str::to_owned);
    failure.hint = text("hint").map(str::to_owned);
    Some(failure)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::render::error::exit_code;

    #[test]
    fn a_job_ends_as_a_run_here_would() {
        let of = |status: &str, error: Value| {
            failure_of(&json!({"status": status, "error": error}), "train")
        };
        assert_eq!(of("SUCCEEDED", Value::Null), None);
        let code = |failure: Option<Failure>| exit_code(failure.unwrap().kind);
        assert_eq!(code(of("STOPPED", Value::Null)), 130);
        let raised = json!({"kind": "execution", "class": "ValueError", "message": "boom",
            "traceback": "Traceback\n  f\nValueError: boom\n"});
        let failure = of("FAILED", raised).unwrap();
        assert_eq!(failure.message, "ValueError: boom\nTraceback\n  f");
        assert_eq!(exit_code(failure.kind), 1);
        let resolve = json!({"kind": "resolve", "message": "no such package", "by": "environment",
            "hint": "mend it"});
        let failure = of("FAILED", resolve).unwrap();
        assert_eq!(
            (failure.hint.as_deref(), exit_code(failure.kind)),
            (Some("mend it"), 3)
        );
        assert_eq!(
            code(of("FAILED", json!({"kind": "lost", "message": "gone"}))),
            3
        );
        // Of others there may be a text, or nothing.
        assert_eq!(of("FAILED", json!("it broke")).unwrap().message, "it broke");
        assert_eq!(code(of("FAILED", Value::Null)), 1);
    }
}
