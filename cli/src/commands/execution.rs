//! Owns what an execution of an action needs, whoever asked for it: the action and its
//! parameters, its environment, what its worker is given.

use std::{fs, io, sync::Arc};

use serde_json::Value;
use synapse_backend::Embedded;
use synapse_engine::{Failure, Session};
use synapse_python::PROTOCOL;
use synapse_rules::{
    action,
    config::{self, Config},
    environment::{self, Ready},
    plugin::Plugin,
    python::Variables,
    worker::{
        Launcher,
        ending::Ending,
        host::Report,
        limits::Limits,
        protocol::{RunPlugin, RunRequest},
        pump::Sink,
    },
};

use super::{attempt::OneRun, inspection};
use crate::{
    app::{self, App},
    stores,
};

/// What is to be run.
pub(super) struct Wanted {
    pub(super) plugin: Arc<Plugin>,
    pub(super) config: Config,
    pub(super) action: config::Action,
    pub(super) params: Value,
    pub(super) limits: Limits,
}

/// What an action is given besides its parameters.
pub(super) struct Given {
    /// The environment variables that it starts from.
    pub(super) variables: Variables,
    /// Language of messages.
    pub(super) language: Option<String>,
    /// Whether debug messages are wanted.
    pub(super) debug: bool,
    /// Where it is recorded.
    pub(super) backend: Arc<Embedded>,
}

/// The action of that name, refused when it cannot run.
pub(super) fn wanted(
    plugin: Plugin,
    config: Config,
    action: &str,
    params: Value,
    limits: Limits,
) -> Result<Wanted, Failure> {
    let path = plugin.config_path();
    let shown = path.display().to_string();
    let bytes = synapse_rules::fileset::read_regular(&path).map_err(|error| {
        Failure::user("unreadable", format!("cannot read {shown}: {error}")).at(shown.clone())
    })?;
    let action = action::find(&config, action, &shown)?.clone();
    action::check_entrypoint(&plugin, &config, &action.name, &bytes)?;
    Ok(Wanted {
        plugin: Arc::new(plugin),
        config,
        action,
        params,
        limits,
    })
}

/// The environment that the action runs in, made when it is not there; params that the action
/// would refuse are refused before that.
pub(super) fn environment(
    app: &App,
    wanted: &Wanted,
    session: &Session,
    wish: &environment::Wanted,
) -> Result<Ready, Failure> {
    let first = || {
        inspection::check(
            app,
            &wanted.plugin,
            &wanted.action.name,
            &wanted.params,
            session,
            wish.offline,
        )
    };
    let plugin = stores::with_libraries(app, &wanted.plugin, session)?;
    app.environments(session)
        .ready_after(&plugin, &wanted.config, wish, &first)
}

/// All that one run needs, and what was not done as asked.
pub(super) fn prepare(
    app: &App,
    wanted: &Wanted,
    ready: &Ready,
    given: Given,
    live: Arc<dyn Sink>,
) -> Result<(OneRun, Vec<String>), Failure> {
    let cannot = |what: &str, error: &io::Error| {
        let what = format!("cannot {what}: {error}");
        Failure::environment("store", what).hint("check the folder's permissions and its disk")
    };
    let store = &app.home.store;
    // Opening it makes the folder as it has to be.
    app.store()?;
    let sdk = synapse_python::materialise(&store.join("sdk"))
        .map_err(|error| cannot("unpack the SDK", &error))?;
    let (scratch, cache) = (store.join("tmp"), store.join("downloads"));
    for folder in [&scratch, &cache] {
        fs::create_dir_all(folder).map_err(|error| cannot("make a folder", &error))?;
    }
    let synapse = app::executable();
    let Given {
        variables,
        language,
        debug,
        backend,
    } = given;
    let surroundings = action::surroundings(
        &variables,
        &ready.interpreter,
        &wanted.config.env,
        &wanted.limits,
        &synapse,
    );
    let config = &wanted.config;
    let request = RunRequest {
        command: "run",
        protocol: PROTOCOL,
        plugin: RunPlugin {
            dir: wanted.plugin.source.folder(),
            code: config.code.clone(),
            version: config.version.to_string(),
            name: config.name.clone(),
            category: config.category.to_string(),
            config: config.json.clone(),
        },
        action: wanted.action.name.clone(),
        entrypoint: wanted.action.entrypoint.text.clone(),
        params: wanted.params.clone(),
        job_id: String::new(),
        language,
        debug,
        backend: None,
        checkpoint: None,
        cache,
        result_file: None,
    };
    let launcher = Launcher {
        synapse,
        interpreter: ready.interpreter.executable.clone(),
        libpython: ready.interpreter.libpython.clone(),
        sdk,
    };
    let one = OneRun {
        backend,
        signals: app.signals.clone(),
        live,
        kept: Arc::default(),
        launcher,
        environment: surroundings.environment,
        scratch,
        limits: wanted.limits,
        request,
        configured: None,
        job: None,
    };
    Ok((one, surroundings.notes))
}

/// What was left behind by an action, if anything.
pub(super) fn left(report: &Report) -> Option<String> {
    let left = report
        .left
        .iter()
        .map(|left| format!("{} ({})", left.name, left.pid));
    let left: Vec<String> = left.collect();
    let what = match left.len() {
        0 => return None,
        1 => "a process that the action had left behind was ended".to_owned(),
        count => format!("{count} processes that the action had left behind were ended"),
    };
    Some(format!("{what}: {}", left.join(", ")))
}

/// How a run ended, in a word.
pub(super) fn ending_name(ending: &Ending) -> &'static str {
    match ending {
        Ending::Returned(_) => "returned",
        Ending::Raised(_) => "raised",
        Ending::Exited { .. } => "exited",
        Ending::Killed { .. } => "killed",
        Ending::OutOfMemory { .. } => "out-of-memory",
        Ending::TimedOut { .. } => "timed-out",
        Ending::Interrupted { .. } => "interrupted",
    }
}
