//! Owns one attempt at an action: its record, the backend that it talks to, its worker.

use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde_json::json;
use synapse_backend::{
    Embedded, NewRun, RunStatus, RunUpdate,
    http::{Running, Server, new_token},
};
use synapse_engine::{Cancel, Failure};
use synapse_rules::{
    action,
    platform::Auth,
    worker::{
        Launcher,
        ending::Ending,
        host::{self, Inbox, Launch, Report},
        limits::Limits,
        protocol::{BackendAccess, Message, RunRequest},
        pump::{Sink, Stream, Why},
    },
};

use crate::{
    app::App,
    args::Connection,
    profile::{self, Origin},
    record::{Record, Summary},
    render::run::LiveRun,
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
    pub(super) live: Arc<LiveRun>,
    pub(super) kept: Arc<Mutex<Kept>>,
    pub(super) launcher: Launcher,
    pub(super) environment: Vec<(std::ffi::OsString, std::ffi::OsString)>,
    pub(super) scratch: PathBuf,
    pub(super) limits: Limits,
    pub(super) request: RunRequest,
    pub(super) configured: Option<BackendAccess>,
}

/// Everything goes to the screen and into the record.
struct Both {
    live: Arc<LiveRun>,
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

impl OneRun {
    /// Runs it, once; records it.
    pub(super) fn run(&self, cancel: &Cancel) -> Result<Report, Failure> {
        if cancel.cancelled() {
            return Err(Failure::cancelled());
        }
        let refused = |error: synapse_backend::BackendError| {
            Failure::environment("backend", format!("the run cannot be recorded: {error}"))
                .hint("check the data folder's permissions, or set SYNAPSE_HOME to another")
        };
        let plugin = &self.request.plugin;
        let new = NewRun {
            plugin: plugin.code.clone(),
            version: plugin.version.clone(),
            action: self.request.action.clone(),
            mode: "local".to_owned(),
            params: self.request.params.clone(),
            meta: json!({}),
            pid: Some(std::process::id()),
            // One write to the disk less than telling so afterwards.
            begins: true,
            time: None,
        };
        let id = self.backend.run_create(&new).map_err(refused)?;
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
        let report = host::run(launch, &request, inbox, &both);
        drop(diverted);
        let summary = both.record.finish(end(&report, &self.request.action));
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.id = Some(id);
        kept.output = Some(output);
        kept.summary = summary;
        drop(kept);
        report
    }

    /// The backend of this machine, for this run.
    fn serve(&self) -> Result<Running, synapse_backend::BackendError> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Server::start(Arc::clone(&self.backend), address, new_token()?)
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

/// What is recorded of a run's end.
fn end(report: &Result<Report, Failure>, action: &str) -> RunUpdate {
    let failed = |failure: &Failure| json!({"kind": failure.code, "message": failure.message, "hint": failure.hint});
    let (status, result, error, exit) = match report {
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
