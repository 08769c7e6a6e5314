//! Owns one attempt at an action: its record, the backend that it talks to, its worker.

use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use synapse_backend::{
    BackendError, Embedded, NewRun, RunStatus, RunUpdate, Scope, Scopes,
    http::{Running, Server, Settings, new_token},
};
use synapse_engine::{Cancel, Failure, FailureKind};
use synapse_rules::{
    action,
    platform::Auth,
    worker::{
        Launcher,
        ending::Ending,
        host::{self, Inbox, Interrupt, Launch, Report},
        limits::Limits,
        protocol::{BackendAccess, Message, RunRequest},
        pump::{Sink, Stream, Why},
    },
};

use super::execution;
use crate::{
    app::App,
    args::Connection,
    profile::{self, Origin},
    record::{Record, Summary},
    render::error::flatten,
};

/// How long an action may take to end when it is asked to, before it is ended.
const GRACE: Duration = Duration::from_secs(10);

/// What is left of a run, besides its report.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) id: Option<i64>,
    pub(super) output: Option<PathBuf>,
    pub(super) summary: Summary,
    /// What was not done as asked.
    pub(super) notes: Vec<String>,
}

/// One run, with all that it needs.
pub(super) struct OneRun {
    pub(super) backend: Arc<Embedded>,
    pub(super) signals: crate::signals::Signals,
    pub(super) live: Arc<dyn Sink>,
    pub(super) kept: Arc<Mutex<Kept>>,
    pub(super) launcher: Launcher,
    pub(super) environment: Vec<(std::ffi::OsString, std::ffi::OsString)>,
    pub(super) scratch: PathBuf,
    pub(super) limits: Limits,
    pub(super) request: RunRequest,
    pub(super) configured: Option<BackendAccess>,
    /// The run that it is, when that is recorded already; else one is made.
    pub(super) job: Option<Job>,
}

/// A run that somebody else recorded, for an agent to run.
#[derive(Clone)]
pub(super) struct Job {
    /// Its id.
    pub(super) id: i64,
    /// Set when somebody asked for its end.
    pub(super) stopped: Arc<AtomicBool>,
    /// Set when the server that it was for is gone.
    pub(super) lost: Arc<AtomicBool>,
    /// What else is to be recorded of it.
    pub(super) meta: Value,
    /// Removes its files when it has ended, and says where those are that stay.
    pub(super) tidy: Arc<dyn Fn() -> Option<PathBuf> + Send + Sync>,
}

/// Everything goes to the screen and into the record.
struct Both {
    live: Arc<dyn Sink>,
    record: Record,
}

impl Sink for Both {
    fn message(&self, message: &Message) {
        self.live.message(message);
        self.record.event(message);
    }

    fn output(&self, stream: Stream, bytes: &[u8]) {
        self.live.output(stream, bytes);
    }

    fn asked_to_end(&self, why: Why) {
        self.live.asked_to_end(why);
    }
}

impl Job {
    /// What is recorded of its end: how it ended, for whoever followed it from elsewhere.
    fn end(&self, report: &Result<Report, Failure>, end: RunUpdate) -> RunUpdate {
        let files = (self.tidy)();
        if self.lost.load(Ordering::Relaxed) {
            return RunUpdate {
                exit: end.exit,
                ..RunUpdate::lost()
            };
        }
        let Ok(report) = report else { return end };
        // Whatever it raised while it unwound: it ended because it was asked to.
        let stopped =
            self.stopped.load(Ordering::Relaxed) && !matches!(report.ending, Ending::Returned(_));
        let status = if stopped {
            Some(RunStatus::Stopped)
        } else {
            end.status
        };
        let (model, warnings) = match &report.ending {
            Ending::Returned(returned) => (returned.model.clone(), returned.warnings.clone()),
            _ => (None, Vec::new()),
        };
        let left = report.left.iter().map(|left| left.name.clone());
        let mut notes = report.notes.clone();
        notes.extend(warnings);
        notes.extend(execution::left(report));
        let stay =
            |files: &PathBuf| format!("what the action wrote is kept in {}", files.display());
        notes.extend(files.as_ref().map(stay));
        let meta = json!({
            "ending": execution::ending_name(&report.ending),
            "left": left.collect::<Vec<_>>(),
            "notes": notes,
            "model": model,
            "files": files,
        });
        RunUpdate {
            status,
            meta: Some(meta),
            ..end
        }
    }
}

impl OneRun {
    /// Runs it, once; records it.
    pub(super) fn run(&self, cancel: &Cancel) -> Result<Report, Failure> {
        if cancel.cancelled() {
            return Err(Failure::cancelled());
        }
        let refused = |error: BackendError| {
            Failure::environment("backend", format!("the run cannot be recorded: {error}"))
                .hint("check the data folder's permissions, or set SYNAPSE_HOME to another")
        };
        let plugin = &self.request.plugin;
        let id = self.recorded().map_err(refused)?;
        let output = self.backend.run_output(id);
        // Up as long as the action runs; the action may never call it.
        let server = match &self.configured {
            Some(_) => None,
            None => Some(self.serve().map_err(refused)?),
        };
        let access = self
            .configured
            .clone()
            .or_else(|| server.as_ref().map(access));
        let request = RunRequest {
            job_id: id.to_string(),
            backend: access,
            ..self.request.clone()
        };
        let launch = Launch {
            launcher: &self.launcher,
            directory: &plugin.dir,
            environment: &self.environment,
            limits: self.limits,
            scratch: &self.scratch,
            grace: GRACE,
            kept: File::create(&output).ok(),
        };
        let both = Both {
            live: Arc::clone(&self.live),
            record: Record::start(&self.backend, id),
        };
        let inbox = Inbox::default();
        let diverted = self.signals.divert(inbox.interrupter());
        if cancel.cancelled() {
            // Since it was asked above.
            inbox.interrupter().interrupt(Interrupt::End);
        }
        let report = host::run(launch, &request, inbox, &both);
        drop(diverted);
        let end = end(&report, &self.request.action);
        let summary = match &self.job {
            None => both.record.finish(&|_| true, end),
            Some(job) => both
                .record
                .finish(&|run| !run.is_lost(), job.end(&report, end)),
        };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.id = Some(id);
        kept.output = Some(output);
        kept.summary = summary;
        drop(kept);
        report
    }

    /// The id of the run, which has begun.
    fn recorded(&self) -> Result<i64, BackendError> {
        if let Some(job) = &self.job {
            let begun = RunUpdate {
                status: Some(RunStatus::Running),
                meta: Some(job.meta.clone()),
                ..RunUpdate::default()
            };
            self.backend.run_update(job.id, &begun)?;
            return Ok(job.id);
        }
        let RunRequest {
            plugin,
            action,
            params,
            ..
        } = &self.request;
        self.backend.run_create(&NewRun {
            plugin: plugin.code.clone(),
            version: plugin.version.clone(),
            action: action.clone(),
            mode: "local".to_owned(),
            params: params.clone(),
            meta: json!({}),
            pid: Some(std::process::id()),
            // One write to the disk less than telling so afterwards.
            begins: true,
            time: None,
        })
    }

    /// The backend of this machine, for this run. A job's action gets no more of it than what
    /// its tenant's tokens to run things open.
    fn serve(&self) -> Result<Running, BackendError> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let settings = Settings::new(new_token()?);
        let settings = match self.job {
            None => settings,
            Some(_) => Settings {
                tenant: self.backend.tenant().to_owned(),
                scopes: Scopes::of(&[Scope::Read, Scope::Run]),
                // Whoever looks for a server means one that can do more, for another tenant
                // perhaps.
                announced: false,
                ..settings
            },
        };
        Server::start_with(Arc::clone(&self.backend), address, settings)
    }
}

fn access(server: &Running) -> BackendAccess {
    BackendAccess {
        host: server.url.clone(),
        token: server.token.clone(),
        source: "embedded",
        tenant: None,
        user_token: None,
        agent: None,
    }
}

/// The platform that the environment or a login names, with a token for it.
pub(super) fn configured(app: &App) -> Result<Option<BackendAccess>, Failure> {
    let profile = profile::resolve(app, &Connection::default(), None)?;
    let text = |name: &str| {
        let value = (app.variable)(name)?.into_string().ok()?;
        Some(value).filter(|value| !value.is_empty())
    };
    // A token alone says nothing about where a run belongs.
    let auth = profile
        .auth
        .filter(|_| profile.host_from != Origin::Default);
    let (token, user_token, tenant) = match &auth {
        None => return Ok(None),
        Some(Auth::Access(token)) => (
            token.expose(),
            text("SYNAPSE_PLUGIN_RUN_USER_TOKEN"),
            text("SYNAPSE_PLUGIN_RUN_TENANT"),
        ),
        Some(Auth::User { token, tenant }) => {
            ("", Some(token.expose().to_owned()), Some(tenant.clone()))
        }
    };
    Ok(Some(BackendAccess {
        host: profile.host,
        token: token.to_owned(),
        source: "configured",
        tenant,
        user_token,
        agent: None,
    }))
}

/// A failure as it is recorded. `by` tells whose turn it is, as exit codes do.
pub(super) fn failed(failure: &Failure) -> Value {
    let more = flatten(failure).into_iter();
    let messages: Vec<&str> = more.map(|failure| failure.message.as_str()).collect();
    json!({
        "kind": failure.code,
        "message": messages.join("\n"),
        "hint": failure.hint,
        "by": failure.kind,
    })
}

/// What is recorded of a run's end.
fn end(report: &Result<Report, Failure>, action: &str) -> RunUpdate {
    let (status, result, error, exit) = match report {
        Err(failure) if failure.kind == FailureKind::Cancelled => {
            (RunStatus::Stopped, None, None, None)
        }
        Err(failure) => (RunStatus::Failed, None, Some(failed(failure)), None),
        Ok(report) => {
            let error = match &report.ending {
                Ending::Raised(raised) => serde_json::to_value(raised).ok(),
                _ => action::failure(report, action).as_ref().map(failed),
            };
            let (status, result) = match &report.ending {
                Ending::Returned(returned) => (RunStatus::Succeeded, Some(returned.value.clone())),
                Ending::Interrupted { .. } => (RunStatus::Stopped, None),
                _ => (RunStatus::Failed, None),
            };
            (status, result, error, Some(report.exit))
        }
    };
    RunUpdate {
        status: Some(status),
        result,
        error,
        exit,
        ..RunUpdate::default()
    }
}
