//! Owns what the doctor says of programs: Python, uv, git and Ray.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use synapse_rules::{
    python::{
        Variables,
        interpreter::{self, Find, Interpreter},
        process::{Call, Children, Ended, Private, Processes, clean_environment},
    },
    resolve::{desk::Setting, uv::Uv},
};

use super::Finding;
use crate::app::App;

/// Longest that a program may take to say its version.
const PATIENCE: Duration = Duration::from_mins(1);
/// Says whether Ray can be imported, and from where, without importing it.
const RAY: &str = "import importlib.util as u, importlib.metadata as m\n\
                   print(m.version('ray') if u.find_spec('ray') else '')";

/// Runs programs in a folder of their own.
struct Bench<'a> {
    app: &'a App,
    variables: Variables,
    private: Private,
}

impl<'a> Bench<'a> {
    fn new(app: &'a App) -> std::io::Result<Self> {
        Ok(Self {
            app,
            variables: app.variables(),
            private: Private::new(&std::env::temp_dir())?,
        })
    }

    fn run(&self, program: &Path, args: &[&str]) -> std::io::Result<Ended> {
        let environment = clean_environment(&self.variables, self.private.path());
        let mut call = Call::new(program, environment, self.private.path());
        call = call.args(args.iter().copied());
        call.timeout = Some(PATIENCE);
        Children.run(&call, &self.app.cancel)
    }

    fn find(&self) -> Find<'_> {
        Find {
            wanted: None,
            requires: None,
            newest: false,
            variables: &self.variables,
            cache: self.private.path(),
            cancel: &self.app.cancel,
        }
    }
}

/// A bench, or what keeps us from having one.
fn bench<'a>(app: &'a App, check: &'static str) -> Result<Bench<'a>, Vec<Finding>> {
    Bench::new(app).map_err(|error| {
        let folder = std::env::temp_dir();
        let text = format!("{} cannot be written to: {error}", folder.display());
        vec![Finding::failed(check, text).hint("set TMPDIR to a folder that you may write to")]
    })
}

/// The interpreter that plugins would get, and whether environments can be made of it.
pub(super) fn python(app: &App) -> Vec<Finding> {
    const CHECK: &str = "python";
    let bench = match bench(app, CHECK) {
        Ok(bench) => bench,
        Err(findings) => return findings,
    };
    let mut findings = Vec::new();
    let active = interpreter::active(&bench.find(), &Children);
    match &active {
        Ok(None) => {}
        Ok(Some(active)) => {
            let text = format!("the active environment is {}", described(active));
            findings.push(if interpreter::MINORS.contains(&active.version.1) {
                Finding::note(CHECK, text)
            } else {
                Finding::warning(CHECK, text).hint(
                    "plugins need Python 3.10 to 3.13: activate another, or use --env managed",
                )
            });
        }
        Err(failure) => findings.push(Finding::of(CHECK, failure)),
    }
    match interpreter::find(&bench.find(), &Children) {
        Ok(found) => {
            findings.push(Finding::ok(CHECK, described(&found)));
            findings.push(environments(&bench, &found));
            let used = active.ok().flatten().unwrap_or(found);
            findings.push(ray(&bench, &used));
        }
        Err(failure) => findings.push(Finding::of(CHECK, &failure)),
    }
    findings
}

fn described(interpreter: &Interpreter) -> String {
    let (version, path) = (interpreter.full_version(), interpreter.executable.display());
    format!("{version} at {path}")
}

/// Whether `python -m venv` works, pip included.
fn environments(bench: &Bench<'_>, python: &Interpreter) -> Finding {
    const CHECK: &str = "venv";
    let folder = bench.private.path().join("venv");
    let target = folder.display().to_string();
    let tries: [&[&str]; 2] = [
        &["-I", "-c", "import ensurepip, venv"],
        &["-I", "-m", "venv", "--without-pip", &target],
    ];
    for args in tries {
        let problem = match bench.run(&python.executable, args) {
            Ok(ended) if ended.succeeded() => continue,
            Ok(ended) => ended.err().lines().last().unwrap_or("it failed").to_owned(),
            Err(error) => error.to_string(),
        };
        let minor = python.minor();
        let text = format!("Python {minor} cannot make environments: {problem}");
        return Finding::failed(CHECK, text).hint(format!(
            "install its venv module (Debian: python{minor}-venv)"
        ));
    }
    Finding::ok(CHECK, "environments can be made")
}

fn ray(bench: &Bench<'_>, python: &Interpreter) -> Finding {
    const CHECK: &str = "ray";
    let said = bench.run(&python.executable, &["-I", "-c", RAY]);
    let version = said.ok().filter(Ended::succeeded).map(|ended| ended.out());
    match version.as_deref().map(str::trim) {
        Some(version) if !version.is_empty() => Finding::ok(
            CHECK,
            format!("Ray {version} is installed for {}", described(python)),
        ),
        _ => Finding::note(
            CHECK,
            "Ray is not installed; only actions on Ray clusters need it",
        ),
    }
}

/// The other programs.
pub(super) fn others(app: &App) -> Vec<Finding> {
    let bench = match bench(app, "uv") {
        Ok(bench) => bench,
        Err(findings) => return findings,
    };
    vec![uv(&bench), git(&bench)]
}

fn uv(bench: &Bench<'_>) -> Finding {
    const CHECK: &str = "uv";
    let setting = Setting {
        store: bench.private.path(),
        variables: &bench.variables,
        processes: &Children,
        cancel: &bench.app.cancel,
        offline: true,
    };
    match Uv::find(&setting) {
        Ok(Uv::Found { program, version }) => {
            Finding::ok(CHECK, format!("{version} at {}", program.display()))
        }
        Ok(Uv::Own { version }) => Finding::note(
            CHECK,
            format!("none on PATH; uv {version} is installed when a plugin asks for uv"),
        ),
        Err(failure) => Finding::of(CHECK, &failure),
    }
}

fn git(bench: &Bench<'_>) -> Finding {
    const CHECK: &str = "git";
    let path = bench.variables.get("PATH").unwrap_or_default();
    let mut programs = std::env::split_paths(path).map(|folder| folder.join("git"));
    let Some(program): Option<PathBuf> = programs.find(|program| program.is_file()) else {
        return Finding::note(
            CHECK,
            "none on PATH; only work on what changed since a commit needs it",
        );
    };
    let shown = program.display();
    match bench.run(&program, &["--version"]) {
        Ok(ended) if ended.succeeded() => {
            let said = ended.out();
            let version = said.trim().trim_start_matches("git version ").to_owned();
            Finding::ok(CHECK, format!("{version} at {shown}"))
        }
        _ => Finding::warning(CHECK, format!("{shown} does not run"))
            .hint("install git anew, or take it off PATH"),
    }
}
