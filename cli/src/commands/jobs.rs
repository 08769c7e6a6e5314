//! Owns the jobs of a platform as commands see them: asking for one, following it, ending it.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use serde_json::Value;
use synapse_backend::{Run, RunEvent, RunStatus, http};
use synapse_engine::Failure;
use synapse_rules::{
    http::{Http, Retry, WireError},
    platform::{
        Auth, Events, Feature, Platform, PlatformError, Secret, ServerEvent, jobs::JobRequest,
    },
};

use super::reach;
use crate::{
    app::App,
    args::Connection,
    credentials::Saved,
    profile::{self, Profile},
    render::{DIM, Printer, board, paint},
};

/// How often one comes back to a stream that brings nothing before it is given up.
const PATIENCE: u32 = 12;
/// The longest wait between.
const LONGEST: Duration = Duration::from_secs(8);
/// How often a platform is asked that has no streams.
const ROUND: Duration = Duration::from_secs(2);

/// A platform that runs jobs.
pub(super) struct Remote {
    /// How people know it: the saved login, or the host.
    pub(super) name: String,
    /// The agent that was selected there.
    pub(super) agent: Option<String>,
    /// It is a saved login, by whose name it is found again.
    saved: bool,
    profile: Profile,
    http: Arc<Http>,
    platform: RwLock<Arc<Platform>>,
}

/// What a job says.
pub(super) enum Said {
    /// A message, as it is recorded.
    Event(RunEvent),
    /// What the action printed.
    Output(String),
}

impl Remote {
    /// The platform that the options, the environment and the saved logins name.
    pub(super) fn connect(
        app: &App,
        connection: &Connection,
        wanted: Option<&str>,
    ) -> Result<Self, Failure> {
        let mut profile = profile::resolve(app, connection, wanted)?;
        let name = profile.name.clone();
        if profile.embedded {
            announced(app, &mut profile)?;
        } else {
            profile.auth().map_err(|failure| {
                failure.hint(format!(
                    "synapse login --host {}; or --profile local, where `synapse backend serve` runs on this machine",
                    profile.host
                ))
            })?;
        }
        let saved = Saved::load(&app.home.config_file())?;
        Ok(Self {
            saved: profile.embedded || saved.login(&name).is_some(),
            agent: profile.agent.as_ref().map(|agent| agent.id.clone()),
            platform: RwLock::new(Arc::new(app.platform(&profile)?)),
            http: app.http()?,
            name,
            profile,
        })
    }

    fn platform(&self) -> Arc<Platform> {
        let platform = self.platform.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&platform)
    }

    /// A server of this machine may have come back under another address.
    fn look_again(&self, app: &App) {
        let mut profile = self.profile.clone();
        if profile.embedded
            && announced(app, &mut profile).is_ok()
            && let Ok(platform) = app.platform(&profile)
        {
            *self
                .platform
                .write()
                .unwrap_or_else(PoisonError::into_inner) = Arc::new(platform);
        }
    }

    /// Host and port.
    pub(super) fn host(&self) -> String {
        self.platform().host().to_owned()
    }

    /// A job as `synapse runs show` and `synapse runs stop` take it.
    pub(super) fn named(&self, id: &str) -> String {
        if self.saved {
            format!("{}:{id}", self.name)
        } else {
            format!("{id} --host {}", self.profile.host)
        }
    }

    /// The command that lists what it ran.
    fn lists(&self) -> String {
        let (option, value) = if self.saved {
            ("--profile", &self.name)
        } else {
            ("--host", &self.profile.host)
        };
        format!("synapse runs {option} {value}")
    }

    fn failure(&self, error: &PlatformError) -> Failure {
        error.failure(&self.name)
    }

    /// Asks for a run; returns the job, or the result where there is none. After a doubt the
    /// platform is asked before anything is sent again.
    pub(super) fn submit(&self, request: &JobRequest) -> Result<Value, Failure> {
        let platform = self.platform();
        let _busy = reach::waiting(&platform);
        let mut tries = self.http.options().retry.tries();
        loop {
            let error = match platform.run(request) {
                Ok(job) => return Ok(job),
                Err(error) => error,
            };
            let wait = match &error {
                // Nothing was done.
                PlatformError::Busy { after, .. } => tries.next(*after),
                error if !error.in_doubt() => None,
                error => {
                    if !platform.can(Feature::ClientJobId).unwrap_or(false) {
                        return Err(self.doubt(error));
                    }
                    match platform.job_of(&request.client_id) {
                        Ok(Some(job)) => return Ok(job),
                        Ok(None) => tries.next(None),
                        Err(_) => return Err(self.doubt(error)),
                    }
                }
            };
            let Some(wait) = wait else {
                return Err(self.failure(&error));
            };
            self.sleep(wait)?;
        }
    }

    /// It may have been started.
    fn doubt(&self, error: &PlatformError) -> Failure {
        let failure = self.failure(error);
        if failure.kind == synapse_engine::FailureKind::Cancelled {
            return failure;
        }
        let what = format!("it is not known whether the run was started: {error}");
        let hint = format!("{} tells", self.lists());
        Failure::environment("target-doubt", what)
            .at(self.name.clone())
            .hint(hint)
    }

    fn sleep(&self, time: Duration) -> Result<(), Failure> {
        let slept = self.http.sleep(time);
        slept.map_err(|error| self.failure(&error.into()))
    }

    /// A job.
    pub(super) fn job(&self, id: &str) -> Result<Value, Failure> {
        self.platform()
            .job(id)
            .map_err(|error| self.none(id, &error))
    }

    /// The newest jobs, and how many there are.
    pub(super) fn jobs(
        &self,
        plugin: Option<&str>,
        limit: u32,
    ) -> Result<(Vec<Value>, u64), Failure> {
        let platform = self.platform();
        let busy = reach::waiting(&platform);
        let page = platform.jobs(plugin, limit);
        drop(busy);
        let page = page.map_err(|error| self.failure(&error))?;
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let mut jobs = if page.is_array() {
            list(&page)
        } else {
            list(&page["results"])
        };
        let total = page["count"].as_u64().unwrap_or(jobs.len() as u64);
        jobs.truncate(limit as usize);
        Ok((jobs, total))
    }

    /// Asks a job to end; returns it as it stands.
    pub(super) fn stop(&self, id: &str) -> Result<Value, Failure> {
        self.platform()
            .stop(id)
            .map_err(|error| self.none(id, &error))
    }

    fn none(&self, id: &str, error: &PlatformError) -> Failure {
        if matches!(error, PlatformError::NotFound(_)) {
            let what = format!("there is no run {id} on {}", self.name);
            let hint = format!("{} lists those there are", self.lists());
            return Failure::user("no-run", what).hint(hint);
        }
        self.failure(error)
    }

    /// What a job has said so far, but for what it printed.
    pub(super) fn events(&self, id: &str) -> Result<Vec<RunEvent>, Failure> {
        let all = self.platform().console_logs(id);
        let all = all.map_err(|error| self.none(id, &error))?;
        Ok(all.iter().map(|event| event_of("log", event)).collect())
    }

    /// Follows a job to its end, through connections that break; returns it.
    pub(super) fn follow(
        &self,
        app: &App,
        id: &str,
        take: &mut dyn FnMut(Said),
    ) -> Result<Value, Failure> {
        if !self
            .platform()
            .can(Feature::EventStream)
            .map_err(|error| self.failure(&error))?
        {
            return self.poll(id, take);
        }
        let mut last: Option<String> = None;
        let mut fruitless = 0;
        let mut tries = retries().tries();
        loop {
            let platform = self.platform();
            let mut events = Events::default();
            let (mut heard, mut over) = (false, None);
            let from = last.clone();
            let mut each = |event: ServerEvent| {
                heard = true;
                match said(&event) {
                    Heard::Said(said) => take(said),
                    Heard::Over(job) => over = Some(job),
                    Heard::Nothing => {}
                }
                // Of what cannot be read there is nothing to read again either.
                last = event.id.or_else(|| last.take());
            };
            let ended = platform.tail(id, from.as_deref(), &mut |bytes| {
                let found = events.feed(bytes);
                found.into_iter().for_each(&mut each);
                !events.is_broken()
            });
            if let Some(job) = over {
                return Ok(job);
            }
            match ended {
                Err(error) if !passes(&error) => return Err(self.none(id, &error)),
                // Closed without an end, as a server does that is stopped.
                Ok(()) | Err(_) => {}
            }
            if heard {
                (fruitless, tries) = (0, retries().tries());
            }
            fruitless += 1;
            if fruitless == 2 && !app.output.quiet && !app.output.is_machine() {
                let name = &self.name;
                let text = format!("the connection to {name} was lost; trying again");
                Printer::stderr(&app.output).line(format!("{} {text}", paint(DIM, "note:")));
            }
            if fruitless > PATIENCE || events.is_broken() {
                let what = format!(
                    "the connection to {} was lost; job {id} may go on there",
                    self.name
                );
                let hint = format!("synapse runs show {} --follow", self.named(id));
                return Err(Failure::environment("target-unavailable", what).hint(hint));
            }
            let what = format!("waiting for {} to be reached again", self.name);
            let busy = board::busy(what);
            self.sleep(tries.next(None).unwrap_or(LONGEST))?;
            self.look_again(app);
            drop(busy);
        }
    }

    /// The same where there is no stream: asks again and again.
    fn poll(&self, id: &str, take: &mut dyn FnMut(Said)) -> Result<Value, Failure> {
        let mut seen = 0;
        loop {
            // Looked at first: what is over now says nothing after this.
            let job = self.job(id)?;
            let events = self.events(id)?;
            let new = events.len().saturating_sub(seen);
            seen = events.len();
            for event in events.into_iter().rev().take(new).rev() {
                take(Said::Event(event));
            }
            if status(&job).is_over() {
                return Ok(job);
            }
            self.sleep(ROUND)?;
        }
    }
}

/// The server of the embedded backend that is up.
fn announced(app: &App, profile: &mut Profile) -> Result<(), Failure> {
    let found = http::running(&app.home.backend()).ok_or_else(|| {
        Failure::environment("no-server", "no server of the embedded backend is up")
            .hint("start one in another terminal: synapse backend serve")
    })?;
    profile.auth = Some(Auth::Access(Secret::new(found.token)));
    profile.host = found.url;
    Ok(())
}

fn retries() -> Retry {
    Retry {
        repeats: u32::MAX,
        most: LONGEST,
        ..Retry::default()
    }
}

/// Whether a stream may be there again later.
fn passes(error: &PlatformError) -> bool {
    match error {
        PlatformError::Wire(error) => !matches!(
            error,
            WireError::Cancelled
                | WireError::Tls { .. }
                | WireError::Setup(_)
                | WireError::Garbled { .. }
        ),
        PlatformError::Server { .. } | PlatformError::Busy { .. } => true,
        _ => false,
    }
}

enum Heard {
    Said(Said),
    Over(Value),
    Nothing,
}

fn said(event: &ServerEvent) -> Heard {
    let Ok(data) = serde_json::from_str::<Value>(&event.data) else {
        return Heard::Nothing;
    };
    match event.kind.as_str() {
        "end" => Heard::Over(data),
        "output" => match data["text"].as_str() {
            Some(text) => Heard::Said(Said::Output(text.to_owned())),
            None => Heard::Nothing,
        },
        kind @ ("log" | "progress" | "metrics" | "metric" | "visualization") => {
            Heard::Said(Said::Event(event_of(kind, &data)))
        }
        // Of a later version.
        _ => Heard::Nothing,
    }
}

/// An event of a job, as a run here would have recorded it.
fn event_of(kind: &str, told: &Value) -> RunEvent {
    let text = |name: &str| told[name].as_str().map(str::to_owned);
    let kind = text("kind").unwrap_or_else(|| kind.to_owned());
    let mut inner = told["data"].clone();
    let data = if kind == "log" {
        if inner.is_null() {
            inner = serde_json::json!({});
        }
        if let (Some(message), None) = (text("message"), inner.get("content"))
            && inner.is_object()
        {
            inner["content"] = message.into();
        }
        serde_json::json!({
            "event": text("event").unwrap_or_else(|| "message".to_owned()),
            "data": inner,
            "file": told["file"],
        })
    } else {
        inner
    };
    RunEvent {
        time: seconds(&told["time"]).unwrap_or_default(),
        level: text("level").filter(|_| kind == "log"),
        step: text("step"),
        kind,
        data,
    }
}

/// A time as the platform writes it, Unix seconds.
fn seconds(time: &Value) -> Option<f64> {
    match time {
        Value::String(text) => {
            let stamp: jiff::Timestamp = text.parse().ok()?;
            Some(stamp.as_microsecond() as f64 / 1e6)
        }
        time => time.as_f64(),
    }
}

/// The id of a job; nothing of what is none.
pub(super) fn id(job: &Value) -> Option<String> {
    match &job["id"] {
        Value::String(id) if !id.is_empty() => Some(id.clone()),
        Value::Number(id) => Some(id.to_string()),
        _ => None,
    }
}

/// How a job stands.
pub(super) fn status(job: &Value) -> RunStatus {
    let text = job["status"].as_str().unwrap_or_default();
    RunStatus::read(text).unwrap_or(RunStatus::Pending)
}

/// A job as a run here is.
pub(super) fn run_of(job: &Value) -> Run {
    let text = |name: &str| job[name].as_str().unwrap_or_default().to_owned();
    Run {
        id: id(job).and_then(|id| id.parse().ok()).unwrap_or_default(),
        plugin: text("plugin"),
        version: text("version"),
        action: text("action"),
        mode: job["mode"].as_str().unwrap_or("remote").to_owned(),
        status: status(job),
        params: job["params"].clone(),
        meta: job["meta"].clone(),
        progress: job["progress_record"].clone(),
        metrics: job["metrics_record"].clone(),
        result: job["result"].clone(),
        error: Some(job["error"].clone()).filter(|error| !error.is_null()),
        exit: job["exit"].as_i64().and_then(|exit| exit.try_into().ok()),
        pid: None,
        created: seconds(&job["created"]).unwrap_or_default(),
        started: seconds(&job["started"]),
        finished: seconds(&job["finished"]),
        client_id: job["client_id"].as_str().map(str::to_owned),
        agent: job["agent"].as_i64(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use synapse_rules::worker::protocol::Message;

    use super::*;
    use crate::render::message;

    #[test]
    fn what_a_platform_tells_reads_as_a_run_here_does() {
        let told = json!({"id": 3, "time": "1970-01-01T00:00:02.5Z", "kind": "log",
            "level": "success", "event": "message", "message": "done", "data": {"content": "done"},
            "step": "train", "file": null});
        let event = event_of("log", &told);
        assert!((event.time - 2.5).abs() < 1e-9);
        let Message::Log(log) = message::of_event(&event) else {
            panic!("no log: {event:?}")
        };
        assert_eq!(
            (log.level.as_str(), log.step.as_deref()),
            ("success", Some("train"))
        );
        assert_eq!(log.data["content"], "done");
        let told = json!({"kind": "progress", "data": {"current": 1.0, "total": 4.0,
            "percent": 25.0, "failed": false}, "step": "train"});
        let Message::Progress(far) = message::of_event(&event_of("progress", &told)) else {
            panic!("no progress")
        };
        assert!((far.percent - 25.0).abs() < 1e-9);
        // Of others there may be a text alone.
        let event = event_of("log", &json!({"message": "hello"}));
        assert_eq!(event.text(), Some("hello"));
        assert!(matches!(message::of_event(&event), Message::Log(_)));
        let odd = [
            json!(null),
            json!({"data": 3}),
            json!([1]),
            json!({"data": "x", "message": "y"}),
        ];
        for told in odd {
            let _ = message::of_event(&event_of("log", &told));
        }
    }
}
