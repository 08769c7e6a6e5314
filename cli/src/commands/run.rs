//! `synapse plugin run`.

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use serde_json::{Value, json};
use synapse_engine::{
    Decision, Digest, Failure, FailureKind, GraphBuilder, Inputs, Node, NodeReport, NodeState,
    Record,
};
use synapse_rules::{
    action::{self, RunNode},
    config::Config,
    environment::Ready,
    plugin,
    worker::{
        ending::Ending,
        host::Report,
        limits::{self, Limits},
    },
};

use super::{
    attempt::{Kept, configured},
    choice::{self, Choice},
    execution::{self, Wanted},
    inspection::{self, Looked},
    remote,
};
use crate::{
    app::{self, App},
    args::{self, Mode},
    credentials::Saved,
    journal::RunLine,
    language, params,
    render::{
        DIM, Printer, WARN,
        error::{self, ErrorObject, flatten},
        github, paint,
        progress::Live,
        run::{self as view, Document, EnvironmentObject, LiveRun, StageObject},
        summary::{self, Ran},
    },
    select::Selected,
    terminal::Terminal,
};

/// Runs the command; returns the exit code.
pub fn run(app: &App, choice: Choice<'_>, args: &args::RunOptions) -> Result<u8, Failure> {
    let start = Instant::now();
    if mode(app, args.mode)? == Mode::Remote {
        return remote::run(app, choice, args, start);
    }
    remote::only_there(args)?;
    language::check(args.lang.as_deref())?;
    let limits = Limits {
        gpus: args.gpus,
        cpus: args.cpus,
        memory: args.memory.as_deref().map(limits::memory).transpose()?,
        timeout: args.timeout.as_deref().map(limits::timeout).transpose()?,
    };
    let given = params::read(args.params.as_deref(), &app.cwd, io::stdin().lock())?;
    let (wanted, selected) = load(app, choice, args, given, limits)?;
    let root = &selected.root;
    app.invocation
        .record(app, &args.recording, &selected.sources)?;
    let live = LiveRun::new(&app.output, !args.no_debug).watched(app.watched);
    let live = Arc::new(live);
    warn(app, &wanted.plugin.head.warnings);
    live.line(view::head(
        "Plugin",
        &format!("{} {}", wanted.config.code, wanted.config.version),
    ));
    live.line(view::head("Action", &wanted.action.name));
    live.line(view::head("Mode", "local"));
    let ready = environment(app, args, &wanted, root)?;
    warn(app, &ready.warnings);
    live.line(view::head("Environment", &ready.note));
    let looked = inspection::look(app, &wanted.plugin, &selected)?;
    if let Some(differs) = looked.differs {
        say(app, DIM, "note:", differs);
    }
    let terminal = Terminal::save();
    let (report, node, kept, manifest) = execute(app, args, &wanted, &ready, &live, root)?;
    terminal.restore();
    live.finish();
    let stages = ready.stages.iter().chain(&looked.stages);
    let stages = stages.map(|(stage, report)| (*stage, report));
    app.invocation.ran(
        root,
        RunLine {
            id: kept.id,
            plugin: wanted.plugin.subject(),
            version: wanted.config.version.to_string(),
            action: wanted.action.name.clone(),
            environment: ready.note.clone(),
            reused: node.state == NodeState::Done && report.is_none(),
            manifest: Some(manifest),
            ..RunLine::default()
        },
        stages.chain([(action::STAGE, &node)]),
    );
    Ok(finish(
        app,
        &live,
        Done {
            start,
            wanted: &wanted,
            ready: &ready,
            looked,
            note: language::note(args.lang.as_deref()),
            report,
            node,
            kept,
        },
    ))
}

/// The mode that is asked for, of those that are there yet.
fn mode(app: &App, given: Option<Mode>) -> Result<Mode, Failure> {
    let mode = match given {
        Some(mode) => mode,
        None => match Saved::load(&app.home.config_file())?
            .default_mode()
            .as_deref()
        {
            None | Some("local") => Mode::Local,
            Some("task") => Mode::Task,
            Some("job") => Mode::Job,
            Some("remote") => Mode::Remote,
            Some(other) => {
                let what = format!("Invalid mode: {other}");
                let file = app.home.config_file().display().to_string();
                return Err(Failure::user("mode", what)
                    .at(file)
                    .hint("default_mode is local, task, job or remote; --mode overrides it"));
            }
        },
    };
    let (name, what) = match mode {
        mode @ (Mode::Local | Mode::Remote) => return Ok(mode),
        Mode::Task => ("task", "the one that runs actions on Ray clusters"),
        Mode::Job => ("job", "the one that runs actions on Ray clusters"),
    };
    let what = format!("--mode {name} comes with a later release: {what}");
    Err(Failure::environment("not-yet", what).hint("--mode local runs it on this machine"))
}

/// Finds and loads the plugin, its configuration and the action, and refuses what cannot run.
fn load(
    app: &App,
    choice: Choice<'_>,
    args: &args::RunOptions,
    params: Value,
    limits: Limits,
) -> Result<(Wanted, Selected), Failure> {
    let selected = choice::pick(app, args)?;
    let (plugin, config) = super::lock::load(app, &selected)?;
    if let Some(code) = args.plugin.as_deref()
        && code != plugin.head.code
        && code != plugin.subject()
    {
        let own = plugin.subject();
        let what =
            format!("the plugin here is {own}, not {code}, and there is no workspace around it");
        let place = plugin.config_path().display().to_string();
        return Err(Failure::user("unknown-plugin", what)
            .at(place)
            .hint("name the plugin's folder with --path"));
    }
    let shown = plugin.config_path().display().to_string();
    let action = choice.name(&config, &shown)?;
    let wanted = execution::wanted(plugin, config, &action, params, limits)?;
    Ok((wanted, selected))
}

fn warn(app: &App, warnings: &[plugin::Warning]) {
    if app.output.is_machine() || app.output.quiet {
        return;
    }
    let mut printer = Printer::stderr(&app.output);
    for warning in warnings {
        error::warning(&mut printer, warning);
    }
}

/// The environment that the action runs in, made when it is not there; params that the action
/// would refuse are refused before that.
fn environment(
    app: &App,
    args: &args::RunOptions,
    wanted: &Wanted,
    root: &Path,
) -> Result<Ready, Failure> {
    let _group = github::group("Environment");
    let live = Arc::new(Live::new(&app.output));
    live.begin("looking for the environment");
    let events = app.invocation.hearing(Arc::<Live>::clone(&live));
    let session = app.session(root, events, None, true)?;
    let wish = super::lock::wanted(&args.environment);
    let ready = execution::environment(app, wanted, &session, &wish);
    live.finish();
    ready
}

/// Runs the action as a node; returns its report when it ran, how its node ended, and what is
/// kept of it.
fn execute(
    app: &App,
    args: &args::RunOptions,
    wanted: &Wanted,
    ready: &Ready,
    live: &Arc<LiveRun>,
    root: &Path,
) -> Result<(Option<Report>, NodeReport, Kept, Record), Failure> {
    let given = execution::Given {
        variables: app.variables(),
        language: args.lang.clone(),
        debug: !args.no_debug,
        backend: Arc::new(app.backend()?),
    };
    let live = Arc::<LiveRun>::clone(live);
    let (mut one, mut notes) = execution::prepare(app, wanted, ready, given, live)?;
    let cacheable = action::is_cacheable(&wanted.config, &wanted.action.name);
    if args.reuse && !cacheable {
        let name = &wanted.action.name;
        notes.push(format!(
            "--reuse: {name} is not declared `cacheable: true`, so it runs"
        ));
    }
    for note in &notes {
        notice(app, note);
    }
    // Who reads the document finds them there; people need them once.
    notes.retain(|_| app.output.is_machine());
    let reuse = args.reuse && cacheable;
    let kept = Arc::clone(&one.kept);
    kept.lock().unwrap_or_else(PoisonError::into_inner).notes = notes;
    one.configured = configured(app)?;
    let node = Arc::new(RunNode {
        plugin: Arc::clone(&wanted.plugin),
        action: wanted.action.name.clone(),
        params: wanted.params.clone(),
        environment: ready.identity,
        sdk: synapse_python::digest().to_owned(),
        variables: variables(app, &wanted.config, reuse)?,
        unique: (!reuse).then(unique),
        execute: Box::new(move |cancel| one.run(cancel)),
        report: Mutex::default(),
    });
    let mut manifest = Record::default();
    // It depends on no other node: nothing of it is pending.
    let _ = node.manifest(Inputs::none(), &mut manifest);
    // Its name says nothing, and parameters are the record's to keep.
    manifest
        .0
        .retain(|(name, _)| !matches!(name.as_str(), "run" | "params"));
    let mut builder = GraphBuilder::new();
    let id = builder.node(Arc::<RunNode>::clone(&node));
    let graph = builder
        .build()
        .map_err(|cycle| Failure::bug(cycle.to_string()))?;
    let events = app.invocation.hearing(Arc::new(Live::lines(&app.output)));
    let session = app.session(root, events, None, true)?;
    let plan = synapse_engine::plan(&graph, &session)?;
    let ran = synapse_engine::run(&Arc::new(graph), &plan, &session);
    let kept = std::mem::take(&mut *kept.lock().unwrap_or_else(PoisonError::into_inner));
    Ok((node.take_report(), ran.get(id).clone(), kept, manifest))
}

/// A line about something that was not done as asked.
fn notice(app: &App, text: &str) {
    say(app, WARN, "warning:", text);
}

fn say(app: &App, style: anstyle::Style, head: &str, text: &str) {
    if !app.output.is_machine() && !app.output.quiet {
        Printer::stderr(&app.output).line(format!("{} {text}", paint(style, head)));
    }
}

/// A name that no other run has.
fn unique() -> String {
    format!("{}-{}", std::process::id(), app::nanoseconds())
}

/// The keyed hash of what the configuration sets. The key never leaves this machine, so that
/// nobody can try values against what a row or the journal holds.
fn variables(app: &App, config: &Config, reuse: bool) -> Result<Digest, Failure> {
    let key = match app.key() {
        // What is not kept needs none.
        Err(_) if !reuse => return Ok(Digest::of(unique().as_bytes())),
        key => key?,
    };
    let mut hashed = key.to_vec();
    hashed.extend(json!(config.env).to_string().bytes());
    Ok(Digest::of(&hashed))
}

/// A run that is over.
struct Done<'a> {
    start: Instant,
    wanted: &'a Wanted,
    ready: &'a Ready,
    looked: Looked,
    note: Option<String>,
    report: Option<Report>,
    node: NodeReport,
    kept: Kept,
}

/// Tells what came of it; returns the exit code.
fn finish(app: &App, live: &LiveRun, done: Done<'_>) -> u8 {
    let Done {
        start,
        wanted,
        ready,
        looked,
        note,
        report,
        node,
        kept,
    } = done;
    let mut notes = kept.notes;
    // People have read it before the run.
    let differs = looked.differs.filter(|_| app.output.is_machine());
    notes.extend(differs.map(str::to_owned));
    notes.extend(note);
    if let Some(report) = &report {
        notes.extend(report.notes.clone());
        if let Ending::Returned(returned) = &report.ending {
            notes.extend(returned.warnings.clone());
        }
        notes.extend(execution::left(report));
    }
    notes.extend(
        kept.summary
            .trouble
            .as_ref()
            .map(|what| format!("the record is not whole: {what}")),
    );
    let failure = match (node.state, &node.failure) {
        (NodeState::Done, _) => None,
        (_, Some(failure)) => Some(failure.clone()),
        (_, None) => Some(Failure::cancelled()),
    };
    let reused = node.state == NodeState::Done && report.is_none();
    let value = |name: &str| {
        node.outcome
            .as_deref()
            .and_then(|outcome| outcome.get(name))
            .cloned()
    };
    let stages = ready
        .stages
        .iter()
        .chain(&looked.stages)
        .map(|(stage, report)| stage_object(stage, report));
    let document = Document {
        elapsed_ms: start.elapsed().as_millis() as u64,
        run: kept.id,
        plugin: Some(wanted.config.code.clone()),
        version: Some(wanted.config.version.to_string()),
        mode: Some("local"),
        environment: Some(EnvironmentObject {
            python: ready.interpreter.full_version(),
            executable: ready.interpreter.executable.display().to_string(),
            managed: ready.managed,
            note: ready.note.clone(),
        }),
        stages: stages.chain([stage_object(action::STAGE, &node)]).collect(),
        reused,
        ending: report
            .as_ref()
            .map(|report| execution::ending_name(&report.ending).to_owned()),
        result: value("value").unwrap_or_default(),
        model: value("model").and_then(|model| model.as_str().map(str::to_owned)),
        progress: object(kept.summary.progress),
        metrics: object(kept.summary.metrics),
        exit: report.as_ref().map(|report| report.exit),
        output: kept.output.map(|path| path.display().to_string()),
        left: report
            .iter()
            .flat_map(|report| &report.left)
            .map(|left| left.name.clone())
            .collect(),
        notes,
        error: report.as_ref().and_then(|report| match &report.ending {
            Ending::Raised(raised) => serde_json::to_value(raised).ok(),
            _ => None,
        }),
        ..Document::of(&wanted.action.name)
    };
    let more = kept.id.map(|id| format!("synapse runs show {id}"));
    conclude(app, live, document, failure.as_ref(), more.as_deref())
}

/// Tells what came of a run; `more` is the command that shows all of it. Returns the exit code.
pub(super) fn conclude(
    app: &App,
    live: &LiveRun,
    mut document: Document,
    failure: Option<&Failure>,
    more: Option<&str>,
) -> u8 {
    let code = failure.map_or(0, |failure| error::exit_code(failure.kind));
    document.ok = code == 0;
    let all = failure.into_iter().flat_map(flatten);
    document.errors = all.map(ErrorObject::from).collect();
    if app.output.is_machine() {
        Printer::stdout(&app.output).json(&document);
        return code;
    }
    for note in &document.notes {
        notice(app, note);
    }
    match failure {
        None => {
            if document.reused {
                live.line("the result of an earlier equal run:");
            }
            live.line(view::result(&document.result));
        }
        Some(failure) if failure.kind == FailureKind::Cancelled => {
            Printer::stderr(&app.output).line(&failure.message);
        }
        Some(failure) => {
            let mut failure = failure.clone();
            if document.ending.as_deref() == Some("killed") {
                // Where Python was has been printed by the process itself.
                let first = failure.message.lines().next().unwrap_or_default();
                failure.message = first.to_owned();
            }
            error::print(&mut Printer::stderr(&app.output), &failure);
        }
    }
    let name = |text: &Option<String>| text.clone().unwrap_or_default();
    let plugin = format!("{} {}", name(&document.plugin), name(&document.version));
    let ran = Ran {
        plugin: plugin.trim().to_owned(),
        action: name(&document.action),
        mode: document.mode.unwrap_or_default(),
        result: match (failure, &document.ending) {
            (None, _) if document.reused => "taken from an earlier run".to_owned(),
            (None, _) => "returned".to_owned(),
            (Some(_), Some(ending)) => ending.clone(),
            (Some(_), None) => "failed".to_owned(),
        },
        returned: &document.result,
        failure,
        elapsed_ms: document.elapsed_ms,
    };
    summary::run(app, &ran);
    if let (Some(more), Some(_)) = (more, failure) {
        live.line(format!("`{more}` shows what it printed and logged"));
    }
    code
}

/// Nothing at all as an object without keys.
pub(super) fn object(value: Value) -> Value {
    if value.is_null() { json!({}) } else { value }
}

fn stage_object(stage: &str, report: &NodeReport) -> StageObject {
    let (decision, reasons) = match &report.decision {
        _ if report.shared => ("hit", Vec::new()),
        Decision::Hit | Decision::Restore => ("hit", Vec::new()),
        Decision::Run(reasons) => ("run", reasons.iter().map(ToString::to_string).collect()),
        Decision::Unknown => ("run", Vec::new()),
    };
    StageObject {
        stage: stage.to_owned(),
        decision,
        reasons,
        ms: report.ms,
    }
}
