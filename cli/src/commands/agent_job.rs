//! Owns the agent's side of jobs: how the process of one is started, and what it does: unpacks
//! the release, makes its environment, runs the action, records it all. `synapse __job` is that
//! process.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::json;
use synapse_backend::{
    BackendError, Embedded, Options, Run, RunEvent, RunStatus, RunUpdate,
    agent::{Executor, Order, STOP},
};
use synapse_engine::{Event, EventSink, Failure, FailureKind};
use synapse_rules::{
    archive::{self, read},
    environment::{Choice, Ready, Wanted},
    plugin::Source,
    publish::Workspace,
    python::Variables,
    worker::{
        limits::Limits,
        protocol::Message,
        pump::{Sink, Stream},
    },
};

use super::{
    attempt::{Job, failed},
    execution,
};
use crate::{
    app::{self, App},
    select::Selected,
};

/// The argument with which the executable becomes the process of a job.
const ARGUMENT: &str = "__job";

/// How long an action may take to end when its server is gone, before it is killed.
const HASTE: Duration = Duration::from_secs(2);
/// How long the end of a killed action may take.
const LAST: Duration = Duration::from_secs(10);

/// Variables that an action gets from the server's own environment.
const ACTION: [&str; 21] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LANGUAGE",
    "TZ",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "LD_LIBRARY_PATH",
    "OMP_NUM_THREADS",
];
/// The same by how they begin.
const ACTION_STARTS: [&str; 3] = ["LC_", "CUDA_", "NVIDIA_"];
/// What making an environment needs besides. Some of it may be secret, so no action gets it.
const TOOLS: [&str; 9] = [
    "TMPDIR",
    "SYNAPSE_HOME",
    "SYNAPSE_STORE",
    "NETRC",
    "CC",
    "CXX",
    "CFLAGS",
    "CXXFLAGS",
    "LDFLAGS",
];
/// The same by how they begin.
const TOOLS_STARTS: [&str; 4] = ["XDG_", "PIP_", "UV_", "PYENV_"];

fn for_action(name: &str) -> bool {
    ACTION.contains(&name) || ACTION_STARTS.iter().any(|start| name.starts_with(start))
}

fn for_tools(name: &str) -> bool {
    for_action(name)
        || TOOLS.contains(&name)
        || TOOLS_STARTS.iter().any(|start| name.starts_with(start))
}

fn chosen(variables: &Variables, wanted: fn(&str) -> bool) -> Vec<(OsString, OsString)> {
    let chosen = variables
        .iter()
        .filter(|(name, _)| name.to_str().is_some_and(wanted));
    chosen
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Starts processes of this executable for jobs.
pub struct Processes {
    program: PathBuf,
    environment: Vec<(OsString, OsString)>,
}

impl Processes {
    /// With those variables of this process that jobs need.
    pub fn new(app: &App) -> Self {
        Self {
            program: app::executable(),
            environment: chosen(&app.variables(), for_tools),
        }
    }
}

impl Executor for Processes {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        let environment = self.environment.iter().map(|(name, value)| (name, value));
        command.arg(ARGUMENT).env_clear().envs(environment);
        command
    }
}

/// Runs the command; returns the exit code. What came of the job is in its record.
pub fn run(app: &App) -> Result<u8, Failure> {
    let mut line = String::new();
    let read = io::stdin().read_line(&mut line);
    let order: Option<Order> = read.ok().and_then(|_| serde_json::from_str(&line).ok());
    let order = order.ok_or_else(|| {
        Failure::usage(format!(
            "{ARGUMENT} is for the agent of `synapse backend serve`"
        ))
    })?;
    let options = Options {
        hook: app.hook.clone(),
        ..Options::default()
    };
    let cannot = |error| app.backend_failure(&error);
    let backend = Embedded::open(&order.data, options).map_err(cannot)?;
    let backend = backend.of_tenant(&order.tenant);
    let task = Task {
        app,
        backend: Arc::new(backend),
        stopped: Arc::default(),
        lost: Arc::default(),
        order: &order,
    };
    task.listen();
    if let Err(failure) = task.run() {
        tidy(&order.folder, &[]);
        task.fail(&failure).map_err(cannot)?;
    }
    Ok(0)
}

/// A job of this process.
struct Task<'a> {
    app: &'a App,
    backend: Arc<Embedded>,
    stopped: Arc<AtomicBool>,
    lost: Arc<AtomicBool>,
    order: &'a Order,
}

impl Task<'_> {
    /// Hears of the server, on a thread of its own: that the job is to end, or that the server
    /// has.
    fn listen(&self) {
        let (stopped, lost, signals, cancel) = (
            Arc::clone(&self.stopped),
            Arc::clone(&self.lost),
            self.app.signals.clone(),
            self.app.cancel.clone(),
        );
        thread::spawn(move || {
            let mut line = String::new();
            while io::stdin().read_line(&mut line).is_ok_and(|read| read > 0) {
                if line.trim_end() == STOP {
                    stopped.store(true, Ordering::Relaxed);
                    signals.end(&cancel);
                }
                line.clear();
            }
            lost.store(true, Ordering::Relaxed);
            signals.end(&cancel);
            thread::sleep(HASTE);
            signals.end(&cancel);
            thread::sleep(LAST);
            signal_hook::low_level::exit(1);
        });
    }

    fn run(&self) -> Result<(), Failure> {
        let Self {
            app,
            backend,
            order,
            ..
        } = self;
        let recorded = |error: BackendError| app.backend_failure(&error);
        let run = backend.run(order.job).map_err(recorded)?;
        if run.status.is_over() {
            return Ok(());
        }
        let (root, paths) = self.unpack()?;
        let selected = Selected {
            workspace: Workspace::open(&app.home.index(), &root),
            sources: vec![Source {
                workspace: root.clone(),
                place: String::new(),
                config: None,
            }],
            root,
            warnings: Vec::new(),
        };
        let (plugin, config) = super::lock::load(app, &selected)?;
        let Run { action, params, .. } = run;
        let wanted = execution::wanted(plugin, config, &action, params, Limits::default())?;
        let told = Told {
            backend: Arc::clone(backend),
            job: order.job,
        };
        let told = Arc::new(told);
        // One scope for all jobs: their folders come and go.
        let scope = order.folder.parent().unwrap_or(&order.folder);
        let session = app.session(scope, Arc::<Told>::clone(&told), None, true)?;
        let wish = Wanted {
            choice: Choice::Managed,
            ..Wanted::default()
        };
        let ready = execution::environment(app, &wanted, &session, &wish)?;
        for warning in &ready.warnings {
            told.say("warning", &warning.message);
        }
        told.say("info", &format!("Environment: {}", ready.note));
        let given = execution::Given {
            variables: self.variables(),
            language: order.language.clone(),
            debug: true,
            backend: Arc::clone(backend),
        };
        let (mut one, notes) = execution::prepare(app, &wanted, &ready, given, Arc::new(Unseen))?;
        for note in &notes {
            told.say("warning", note);
        }
        let folder = order.folder.clone();
        one.job = Some(Job {
            id: order.job,
            stopped: Arc::clone(&self.stopped),
            lost: Arc::clone(&self.lost),
            meta: json!({"environment": environment(&ready)}),
            tidy: Arc::new(move || tidy(&folder, &paths)),
        });
        one.run(&app.cancel).map(drop)
    }

    /// Unpacks the release; returns its folder and the paths of its files.
    fn unpack(&self) -> Result<(PathBuf, Vec<String>), Failure> {
        let Self {
            app,
            backend,
            order,
            ..
        } = self;
        let cannot = |what: &str, error: io::Error| {
            let what = format!("cannot {what}: {error}");
            Failure::environment("agent", what).hint("check the server's data folder and its disk")
        };
        let release = backend
            .release(&order.release)
            .and_then(|details| Ok((details.release, backend.open_archive(&order.release)?)));
        let (release, archive) = release.map_err(|error| match error {
            BackendError::NoRelease(_) => {
                let what = "the release was replaced or deleted after the job had been asked for";
                Failure::user("release-gone", what).hint("run it again")
            }
            error => app.backend_failure(&error),
        })?;
        let make = |folder: &Path| {
            let mut builder = fs::DirBuilder::new();
            builder.recursive(true).mode(0o700).create(folder)
        };
        // What an interrupted run of the same number left, as after a restored backup.
        let _ = fs::remove_dir_all(&order.folder);
        for name in ["", "tmp", "home"] {
            make(&order.folder.join(name))
                .map_err(|error| cannot("make the job's folder", error))?;
        }
        let folder = order.folder.join("plugin");
        let entries = archive::unpack(archive, &folder, &read::Limits::default()).map_err(
            |error| match error {
                read::ReadError::Write { error, .. } => cannot("unpack the release", error),
                read::ReadError::Io(error) => cannot("read the release", error),
                other => Failure::user("archive", format!("the release cannot be used: {other}"))
                    .hint("publish the plugin again"),
            },
        )?;
        let content = archive::content_digest(entries.iter().map(|entry| {
            let read::Entry {
                path,
                executable,
                size,
                digest,
            } = entry;
            (path.as_str(), *executable, *size, *digest)
        }));
        if release.content.is_some_and(|known| known != content) {
            let what = "the release's archive is not what was published: it is damaged";
            return Err(Failure::environment("archive", what).hint("publish the plugin again"));
        }
        let paths = entries.into_iter().map(|entry| entry.path).collect();
        Ok((folder, paths))
    }

    /// The environment that the action starts from: nothing of the server's that is secret, and
    /// places of its own.
    fn variables(&self) -> Variables {
        let folder = &self.order.folder;
        let mut variables = chosen(&self.app.variables(), for_action);
        for name in ["TMPDIR", "TMP", "TEMP"] {
            variables.push((name.into(), folder.join("tmp").into()));
        }
        // Else it would find what is saved of whoever serves.
        variables.push(("SYNAPSE_HOME".into(), folder.join("home").into()));
        Variables::of(variables)
    }

    /// Records why the action did not even start.
    fn fail(&self, failure: &Failure) -> Result<(), BackendError> {
        let job = self.order.job;
        if self.lost.load(Ordering::Relaxed) {
            self.backend.job_lost(job)?;
            return Ok(());
        }
        let update = if failure.kind == FailureKind::Cancelled {
            RunUpdate {
                status: Some(RunStatus::Stopped),
                ..RunUpdate::default()
            }
        } else {
            let mut error = failed(failure);
            let place = failure.place.as_ref().map(|place| {
                let folder = format!("{}/", self.order.folder.join("plugin").display());
                place.replace(&folder, "")
            });
            error["where"] = json!(place);
            RunUpdate {
                status: Some(RunStatus::Failed),
                error: Some(error),
                ..RunUpdate::default()
            }
        };
        self.backend.job_end(job, &update, None).map(drop)
    }
}

/// Puts what goes on before the action into the job's log.
struct Told {
    backend: Arc<Embedded>,
    job: i64,
}

impl Told {
    fn say(&self, level: &str, text: &str) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0.0, |age| age.as_secs_f64());
        // A log that cannot be kept stops no job.
        let event = RunEvent::message(now, level, text);
        let _ = self.backend.run_append(self.job, &[event]);
    }
}

impl EventSink for Told {
    fn event(&self, event: Event) {
        match event {
            Event::Started { node, .. } => {
                self.say("debug", &format!("{} {}", node.stage, node.subject));
            }
            Event::Waiting { node, pid } => {
                let whom = pid.map_or_else(
                    || "another process".to_owned(),
                    |pid| format!("process {pid}"),
                );
                let text = format!("{} {} waits for {whom}", node.stage, node.subject);
                self.say("info", &text);
            }
            Event::Note { message } => self.say("info", &message),
            _ => {}
        }
    }
}

/// Nobody looks: all is in the record.
struct Unseen;

impl Sink for Unseen {
    fn message(&self, _: &Message) {}

    fn output(&self, _: Stream, _: &[u8]) {}
}

fn environment(ready: &Ready) -> serde_json::Value {
    json!({
        "python": ready.interpreter.full_version(),
        "executable": ready.interpreter.executable,
        "managed": ready.managed,
        "note": ready.note,
    })
}

/// Removes what a job needed: the files of the release, temporary ones, what Python compiled.
/// Where the action left others, they stay, and their folder is returned.
fn tidy(folder: &Path, paths: &[String]) -> Option<PathBuf> {
    let plugin = folder.join("plugin");
    if paths.is_empty() {
        let _ = fs::remove_dir_all(folder);
        return None;
    }
    for name in ["tmp", "home"] {
        let _ = fs::remove_dir_all(folder.join(name));
    }
    for path in paths {
        let _ = fs::remove_file(plugin.join(path));
    }
    if empty(&plugin) {
        let _ = fs::remove_dir_all(folder);
        return None;
    }
    Some(plugin)
}

/// Removes folders in which there is nothing; whether this one went.
fn empty(folder: &Path) -> bool {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        // Not what links lead to.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if entry.file_name() == "__pycache__" {
                let _ = fs::remove_dir_all(entry.path());
            } else {
                empty(&entry.path());
            }
        }
    }
    fs::remove_dir(folder).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_token_goes_to_jobs_and_no_index_to_actions() {
        let names = [
            "PATH",
            "LC_ALL",
            "CUDA_VISIBLE_DEVICES",
            "SYNAPSE_HOME",
            "PIP_INDEX_URL",
            "SYNAPSE_ACCESS_TOKEN",
            "SYNAPSE_HOST",
            "AWS_SECRET_ACCESS_KEY",
            "GITHUB_TOKEN",
            "VIRTUAL_ENV",
            "PYTHONPATH",
        ];
        let variables = Variables::of(names.map(|name| (name.into(), "x".into())));
        let kept = |wanted| -> Vec<String> {
            let chosen = chosen(&variables, wanted).into_iter();
            chosen
                .map(|(name, _)| name.into_string().unwrap())
                .collect()
        };
        assert_eq!(kept(for_action), ["CUDA_VISIBLE_DEVICES", "LC_ALL", "PATH"]);
        let tools = kept(for_tools);
        assert_eq!(tools.len(), 5, "{tools:?}");
        assert!(tools.contains(&"PIP_INDEX_URL".to_owned()));
    }

    #[test]
    fn what_an_action_made_stays_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("7");
        let write = |path: &str| {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        };
        let paths = ["config.yaml".to_owned(), "plugin/run.py".to_owned()];
        let all = || {
            for path in [
                "plugin/config.yaml",
                "plugin/plugin/run.py",
                "tmp/a",
                "home/b",
            ] {
                write(path);
            }
            write("plugin/plugin/__pycache__/run.pyc");
        };
        all();
        assert_eq!(tidy(&folder, &paths), None);
        assert!(!folder.exists());
        all();
        write("plugin/runs/best.pt");
        assert_eq!(tidy(&folder, &paths), Some(folder.join("plugin")));
        assert!(folder.join("plugin/runs/best.pt").exists());
        assert!(!folder.join("plugin/plugin").exists() && !folder.join("tmp").exists());
    }
}
