//! `synapse plugin test`: a plugin's own tests, by pytest, where its actions would run.

use std::{
    ffi::OsString,
    fs, io,
    os::{fd::AsFd, unix::process::ExitStatusExt},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Instant,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use synapse_engine::Failure;
use synapse_rules::{
    action,
    environment::Ready,
    fileset,
    plugin::Source,
    resolve::testing::Needs,
    worker::{host::Interrupt, limits::Limits},
};

use super::lock;
use crate::{
    app::{self, App},
    args::{self, Color, Selection},
    render::{
        BAD, DIM, GOOD, Printer, count,
        error::{self, ErrorObject, flatten},
        paint,
        progress::Live,
    },
    select::{self, Otherwise, Selected},
};

/// Where the SDK's plugin of pytest writes what it counted.
const REPORT: &str = "SYNAPSE_TEST_REPORT";
/// Folders that hold no tests of the plugin's own.
const ELSEWHERE: [&str; 6] = [
    "venv",
    "env",
    "node_modules",
    "build",
    "dist",
    "__pycache__",
];
/// Tests lie no deeper than this.
const DEPTH: u32 = 8;

/// How the tests of one plugin ended.
struct Tested {
    source: Source,
    subject: Option<String>,
    /// A word for it.
    status: &'static str,
    environment: Option<Value>,
    /// What pytest ended with.
    exit: Option<i32>,
    counts: Value,
    failure: Option<Failure>,
}

/// Runs the command; returns the exit code.
pub fn run(app: &App, args: &args::Test) -> Result<u8, Failure> {
    let start = Instant::now();
    let selection = Selection {
        path: args.path.clone(),
        all: args.all,
        plugin: args.plugin.clone(),
        ..Selection::default()
    };
    let selected = select::select(app, &selection, Otherwise::Refuse)?;
    let several = args.all || selected.sources.len() > 1;
    let mut all = Vec::new();
    for source in &selected.sources {
        let own = Selected {
            root: selected.root.clone(),
            sources: vec![source.clone()],
            workspace: synapse_rules::publish::Workspace::open(&app.home.index(), &selected.root),
            warnings: Vec::new(),
        };
        let tests = tests(&source.folder());
        if args.all && tests.is_empty() {
            continue;
        }
        if app.cancel.cancelled() {
            return Err(Failure::cancelled());
        }
        let mut tested = Tested {
            source: source.clone(),
            subject: None,
            status: "error",
            environment: None,
            exit: None,
            counts: Value::Null,
            failure: None,
        };
        if let Err(failure) = one(app, args, &own, &tests, &mut tested) {
            if failure.kind == synapse_engine::FailureKind::Cancelled {
                return Err(failure);
            }
            if !several {
                return Err(failure);
            }
            tested.failure = Some(failure);
        }
        if let Some(failure) = tested.failure.as_ref().filter(|_| !app.output.is_machine()) {
            error::print(&mut Printer::stderr(&app.output), failure);
        }
        all.push(tested);
    }
    if all.is_empty() {
        return Err(
            Failure::user("no-tests", "no plugin of the workspace has tests")
                .hint("tests are files called test_*.py, usually in the folder tests"),
        );
    }
    let code = all.iter().map(code).find(|code| *code != 0).unwrap_or(0);
    if app.output.is_machine() {
        let failures = all.iter().filter_map(|own| own.failure.as_ref());
        let errors: Vec<ErrorObject> = failures.flat_map(flatten).map(ErrorObject::from).collect();
        Printer::stdout(&app.output).json(&json!({
            "schema": 1, "command": "test", "ok": code == 0,
            "elapsed_ms": start.elapsed().as_millis() as u64,
            "plugins": all.iter().map(object).collect::<Vec<Value>>(),
            "errors": errors,
        }));
    } else if several && !app.output.quiet {
        summary(&mut Printer::stdout(&app.output), &all);
    }
    Ok(code)
}

/// The exit code of one plugin's tests.
fn code(own: &Tested) -> u8 {
    own.failure
        .as_ref()
        .map_or(0, |failure| error::exit_code(failure.kind))
}

fn object(own: &Tested) -> Value {
    let mut counts = own.counts.clone();
    let failures = counts
        .as_object_mut()
        .and_then(|counts| counts.remove("failures"));
    json!({
        "plugin": own.subject, "path": own.source.folder().display().to_string(),
        "status": own.status, "exit": own.exit, "environment": own.environment,
        "counts": counts, "failures": failures.unwrap_or_else(|| json!([])),
    })
}

fn summary(printer: &mut Printer, all: &[Tested]) {
    printer.line("");
    for own in all {
        let style = if own.failure.is_none() { GOOD } else { BAD };
        let place = own.source.folder().display().to_string();
        let name = own.subject.as_deref().unwrap_or(&place);
        let word = paint(style, format!("{:>8}", own.status));
        printer.line(format!("{word} {name}  {}", paint(DIM, told(&own.counts))));
    }
    let failed = all.iter().filter(|own| own.failure.is_some()).count() as u64;
    let plugins = count(all.len() as u64, "plugin");
    printer.line(match failed {
        0 => format!("{plugins} tested: all passed"),
        failed => format!("{plugins} tested: {failed} failed"),
    });
}

/// Counts in words: `3 passed, 1 failed`.
fn told(counts: &Value) -> String {
    let words = [
        "passed", "failed", "errors", "skipped", "xfailed", "xpassed",
    ];
    let told = words.iter().filter_map(|word| {
        let number = counts[word].as_u64().filter(|number| *number > 0)?;
        Some(format!("{number} {word}"))
    });
    told.collect::<Vec<_>>().join(", ")
}

/// The plugin's files of tests.
fn tests(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![(folder.to_owned(), 0)];
    while let Some((folder, depth)) = pending.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let kind = entry.file_type();
            if kind.as_ref().is_ok_and(fs::FileType::is_dir) {
                let own = !name.starts_with('.') && !ELSEWHERE.contains(&name.as_str());
                if own && depth < DEPTH && !entry.path().join("pyvenv.cfg").exists() {
                    pending.push((entry.path(), depth + 1));
                }
                continue;
            }
            let stem = name.strip_suffix(".py").unwrap_or_default();
            if stem.starts_with("test_") || stem.ends_with("_test") || stem == "conftest" {
                found.push(entry.path());
            }
        }
    }
    // Settings of tests alone are no tests.
    if found.iter().all(|path| path.ends_with("conftest.py")) {
        found.clear();
    }
    found.sort();
    found
}

fn one(
    app: &App,
    args: &args::Test,
    selected: &Selected,
    tests: &[PathBuf],
    tested: &mut Tested,
) -> Result<(), Failure> {
    let (plugin, config) = lock::load(app, selected)?;
    tested.subject = Some(plugin.subject());
    if tests.is_empty() && args.arguments.is_empty() {
        tested.status = "no-tests";
        return Err(no_tests(&plugin.source.folder()));
    }
    let folder = plugin.source.folder();
    let arguments = args.arguments.iter().filter_map(|own| own.to_str());
    let needs = Needs::of(&folder, arguments, tests.iter().map(PathBuf::as_path));
    let live = Arc::new(Live::new(&app.output));
    let session = app.session(&selected.root, Arc::<Live>::clone(&live), None, true)?;
    let wanted = lock::wanted(&args.environment);
    let made = crate::stores::with_libraries(app, &Arc::new(plugin), &session).and_then(|plugin| {
        app.environments(&session)
            .ready_for_tests(&plugin, &config, &wanted, needs)
    });
    live.finish();
    let ready = made?;
    tested.environment = Some(json!({
        "python": ready.interpreter.full_version(),
        "executable": ready.interpreter.executable.display().to_string(),
        "managed": ready.managed, "note": ready.note,
    }));
    if !app.output.is_machine() && !app.output.quiet {
        let mut printer = Printer::stderr(&app.output);
        for warning in &ready.warnings {
            error::warning(&mut printer, warning);
        }
        let name = tested.subject.as_deref().unwrap_or_default();
        printer.line(paint(DIM, format!("{name}: {}", ready.note)));
    }
    let (status, interrupted) = pytest(app, args, &folder, &config, &ready, tested)?;
    drop(ready);
    if interrupted {
        return Err(Failure::cancelled());
    }
    tested.exit = status.code();
    (tested.status, tested.failure) = judged(status, &folder, tested);
    Ok(())
}

fn no_tests(folder: &Path) -> Failure {
    Failure::user("no-tests", "the plugin has no tests")
        .at(folder.display().to_string())
        .hint("write them in files called test_*.py, usually in the folder tests")
}

/// What pytest's exit code says.
fn judged(status: ExitStatus, folder: &Path, tested: &Tested) -> (&'static str, Option<Failure>) {
    let at = folder.display().to_string();
    let told = told(&tested.counts);
    let name = tested.subject.as_deref().unwrap_or_default();
    let failed = |code: &str, what: String| Failure::user(code, what).at(at.clone());
    let failure = match status.code() {
        Some(0) => return ("passed", None),
        Some(1) => {
            let told = if told.is_empty() {
                "tests failed".to_owned()
            } else {
                told
            };
            let hint = "pytest has printed them above; -- -x stops at the first";
            return (
                "failed",
                Some(failed("tests-failed", format!("{name}: {told}")).hint(hint)),
            );
        }
        Some(2) => failed(
            "tests-failed",
            format!("{name}: tests could not be collected"),
        )
        .hint("pytest has printed why"),
        Some(4) => Failure::usage("pytest refuses its arguments")
            .hint("what stands behind -- goes to pytest as it is"),
        Some(5) => {
            let hint = "tests are functions called test_* in files called test_*.py; look at what \
                        stands behind --";
            return (
                "no-tests",
                Some(failed("no-tests", "pytest found no tests".to_owned()).hint(hint)),
            );
        }
        Some(code) => {
            failed("pytest", format!("pytest ended with {code}")).hint("it has printed why")
        }
        None => {
            let signal = status.signal().unwrap_or_default();
            failed("tests-killed", format!("signal {signal} ended the tests"))
                .hint("the last test that pytest printed was running; -- -v prints each")
        }
    };
    ("error", Some(failure))
}

/// Runs pytest; says how it ended, and whether it was asked to end.
fn pytest(
    app: &App,
    args: &args::Test,
    folder: &Path,
    config: &synapse_rules::config::Config,
    ready: &Ready,
    tested: &mut Tested,
) -> Result<(ExitStatus, bool), Failure> {
    let cannot = |what: &str, error: &io::Error| {
        Failure::environment("store", format!("cannot {what}: {error}"))
            .hint("check the folder's permissions and its disk")
    };
    app.store()?;
    let store = &app.home.store;
    let sdk = synapse_python::materialise(&store.join("sdk"))
        .map_err(|error| cannot("unpack the SDK", &error))?;
    let private = tempfile::tempdir().map_err(|error| cannot("make a folder", &error))?;
    let report = private.path().join("report.json");
    let around = action::surroundings(
        &app.variables(),
        &ready.interpreter,
        &config.env,
        &Limits::default(),
        &app::executable(),
    );
    for note in around
        .notes
        .iter()
        .filter(|_| !app.output.is_machine() && !app.output.quiet)
    {
        Printer::stderr(&app.output).line(format!("{} {note}", paint(DIM, "note:")));
    }
    let mut command = Command::new(&ready.interpreter.executable);
    command.args(["-m", "pytest", "-p", "synapse_sdk._pytest_report"]);
    command.args(match app.output.color {
        Color::Always => Some("--color=yes"),
        Color::Never => Some("--color=no"),
        Color::Auto => None,
    });
    command
        .args(&args.arguments)
        .current_dir(folder)
        .env_clear();
    let path = around
        .environment
        .iter()
        .find(|(name, _)| name == "PYTHONPATH");
    let path = path
        .map(|(_, value)| value.clone())
        .filter(|value| !value.is_empty());
    command.envs(around.environment.iter().map(|(name, value)| (name, value)));
    let mut search = OsString::from(&sdk);
    if let Some(path) = path {
        search.push(":");
        search.push(path);
    }
    command.env("PYTHONPATH", search).env(REPORT, &report);
    if app.output.is_machine() {
        // Standard output holds the document alone.
        let stderr = io::stderr().as_fd().try_clone_to_owned();
        command.stdout(Stdio::from(
            stderr.map_err(|error| cannot("print", &error))?,
        ));
    }
    let running = Arc::new(AtomicU32::new(0));
    let asked = Arc::new(AtomicU32::new(0));
    let (own, times) = (Arc::clone(&running), Arc::clone(&asked));
    let diverted = app.signals.divert_to(move |interrupt| {
        let before = times.fetch_add(1, Ordering::SeqCst);
        let pid = i32::try_from(own.load(Ordering::SeqCst))
            .ok()
            .and_then(Pid::from_raw);
        // What the terminal sends has reached it already.
        let signal = match (interrupt, before) {
            (Interrupt::Everyone, 0) => None,
            (_, 0) => Some(Signal::INT),
            _ => Some(Signal::KILL),
        };
        if let (Some(pid), Some(signal)) = (pid, signal) {
            let _ = kill_process(pid, signal);
        }
    });
    let mut child = command
        .spawn()
        .map_err(|error| cannot("start pytest", &error))?;
    running.store(child.id(), Ordering::SeqCst);
    let status = child
        .wait()
        .map_err(|error| cannot("wait for pytest", &error));
    running.store(0, Ordering::SeqCst);
    drop(diverted);
    let status = status?;
    let counted = fileset::read_regular(&report).ok();
    let counted = counted.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    tested.counts = counted.unwrap_or_default();
    Ok((status, asked.load(Ordering::SeqCst) > 0))
}
