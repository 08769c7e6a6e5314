//! Owns the one test command of this repository and its summary.

use std::{
    fs,
    num::NonZero,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use crate::{
    api, book, python, pythons, repo, tidy,
    tools::{DENY, Installing, MDBOOK, S3S, Tool},
};

/// Programs that tests start, and what for.
const NEEDED: [(&str, &str); 4] = [
    ("git", "the tests make repositories"),
    ("python3", "the tests read archives with its zipfile"),
    ("tmux", "the tests look at terminals with it"),
    ("unzip", "the tests check archives with it"),
];

/// Runs every check.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Leave out what takes minutes: the licence check when it must be installed first, the
    /// end-to-end suites, and all Pythons but one.
    #[arg(long)]
    quick: bool,
}

/// How one step ended.
enum End {
    Passed,
    Failed(String),
    Skipped(String),
}

/// Runs all steps, also after one failed, and prints a summary. True when none failed.
pub(crate) fn run(args: &Args) -> Result<bool> {
    let root = repo::root()?;
    let mut summary = Summary(Vec::new());
    // They fill what the steps before them leave idle.
    let wanted = if args.quick {
        vec![]
    } else {
        vec![S3S, DENY, MDBOOK]
    };
    let mut tools = Installing::start(&root, wanted);
    let (quick, place) = (args.quick, root.clone());
    let preparing = thread::spawn(move || python::prepare(&place, quick));
    let mut tool = |tool: &Tool| match tool.find(&root) {
        None if !args.quick => tools.wait(tool).map(Some),
        found => Ok(found),
    };
    summary.step("programs", || Ok(programs()));
    summary.step("format", || cargo(&root, &["fmt", "--all", "--check"]));
    summary.step("clippy", || {
        let args = [
            "clippy",
            "--workspace",
            "--all-targets",
            "--locked",
            "--",
            "-D",
            "warnings",
        ];
        cargo(&root, &args)
    });
    summary.step("tidy", || {
        Ok(if tidy::run()? {
            End::Passed
        } else {
            End::Failed("see above".to_owned())
        })
    });
    // The end-to-end suites start this binary.
    summary.step("build", || {
        cargo(&root, &["build", "--workspace", "--bins", "--locked"])
    });
    summary.step("servers", || {
        Ok(tool(&S3S)?.map_or_else(absent, |_| End::Passed))
    });
    tests(&root, args.quick, &mut summary);
    let _ = preparing.join();
    package(&root, args.quick, &mut summary);
    if !args.quick {
        summary.step("api", || api::check(&root).map(End::from));
    }
    summary.step("deny", || {
        tool(&DENY)?.map_or_else(|| Ok(absent()), |program| deny(&root, &program))
    });
    summary.step("book", || {
        tool(&MDBOOK)?.map_or_else(
            || Ok(absent()),
            |program| book::check(&root, &program).map(End::from),
        )
    });
    Ok(summary.print())
}

/// A program that only a full run installs.
fn absent() -> End {
    End::Skipped("the program is not installed; a full run installs it".to_owned())
}

fn tests(root: &Path, quick: bool, summary: &mut Summary) {
    let part = if quick { &["--lib", "--bins"][..] } else { &[] };
    if repo::has("cargo-nextest") {
        // One more than processors: there is always a test that waits.
        let threads = (thread::available_parallelism().map_or(1, NonZero::get) + 1).to_string();
        summary.step("tests", || {
            let all = [
                "nextest",
                "run",
                "--workspace",
                "--locked",
                "--no-tests",
                "pass",
                "--test-threads",
                &threads,
            ];
            cargo(root, &[&all[..], part].concat())
        });
        if !quick {
            summary.step("doc tests", || {
                if !has_doc_tests(root)? {
                    return Ok(End::Skipped("there are none".to_owned()));
                }
                cargo(root, &["test", "--workspace", "--locked", "--doc"])
            });
        }
    } else {
        summary.step("tests", || {
            cargo(
                root,
                &[&["test", "--workspace", "--locked"][..], part].concat(),
            )
        });
    }
}

/// Whether any source has a block in its documentation, which would be a test.
fn has_doc_tests(root: &Path) -> Result<bool> {
    let has_block = |text: &str| {
        let mut lines = text.lines().map(str::trim_start);
        lines.any(|line| line.starts_with("//") && line.contains("```"))
    };
    let sources = tidy::files(root)?.into_iter().map(PathBuf::from);
    let mut sources = sources.filter(|path| path.extension().is_some_and(|end| end == "rs"));
    Ok(sources.any(|path| {
        let text = fs::read_to_string(root.join(path));
        text.is_ok_and(|text| has_block(&text))
    }))
}

/// Runs the checks of the Python package.
#[derive(clap::Args)]
pub(crate) struct PythonArgs {
    /// Leave out the wheel and all Pythons but one.
    #[arg(long)]
    quick: bool,
}

/// Runs what [`run`] runs for the Python package. True when nothing failed.
pub(crate) fn run_python(args: &PythonArgs) -> Result<bool> {
    let root = repo::root()?;
    let mut summary = Summary(Vec::new());
    package(&root, args.quick, &mut summary);
    Ok(summary.print())
}

/// Builds the command and checks its server. True when nothing failed.
pub(crate) fn run_api() -> Result<bool> {
    let root = repo::root()?;
    let mut summary = Summary(Vec::new());
    summary.step("build", || {
        cargo(&root, &["build", "--locked", "--bin", "synapse"])
    });
    summary.step("api", || api::check(&root).map(End::from));
    Ok(summary.print())
}

/// The Python package: style, types, and its tests on every Python there is.
fn package(root: &Path, quick: bool, summary: &mut Summary) {
    summary.step("ruff", || python::ruff(root).map(End::from));
    summary.step("mypy", || python::mypy(root).map(End::from));
    if !quick {
        summary.step("wheel", || python::wheel(root).map(End::from));
    }
    let started = Instant::now();
    match python::interpreters(quick) {
        Err(error) => summary.add(
            "pytest",
            End::Failed(format!("{error:#}")),
            started.elapsed(),
        ),
        Ok(interpreters) => {
            println!("--- pytest");
            for (name, found) in python::suites(root, &interpreters) {
                let end = found.map_or_else(|error| End::Failed(format!("{error:#}")), End::from);
                // They ran at the same time: each took at most what all of them took.
                summary.add(&name, end, started.elapsed());
            }
        }
    }
}

impl From<python::Found> for End {
    fn from(found: python::Found) -> Self {
        found.map_or_else(Self::Failed, |()| Self::Passed)
    }
}

/// All steps so far.
struct Summary(Vec<(String, End, Duration)>);

impl Summary {
    fn step(&mut self, name: &str, run: impl FnOnce() -> Result<End>) {
        println!("--- {name}");
        let started = Instant::now();
        let end = run().unwrap_or_else(|error| End::Failed(format!("{error:#}")));
        self.add(name, end, started.elapsed());
    }

    fn add(&mut self, name: &str, end: End, took: Duration) {
        self.0.push((name.to_owned(), end, took));
    }

    fn print(&self) -> bool {
        println!("--- summary");
        for (name, end, took) in &self.0 {
            let (word, note) = match end {
                End::Passed => ("ok", ""),
                End::Failed(why) => ("FAILED", why.as_str()),
                End::Skipped(why) => ("skipped", why.as_str()),
            };
            println!("{name:<11} {word:<8} {:>6.1} s  {note}", took.as_secs_f64());
        }
        let failed = self
            .0
            .iter()
            .filter(|(_, end, _)| matches!(end, End::Failed(_)))
            .count();
        if failed == 0 {
            println!("all checks passed");
        } else {
            println!("{failed} of {} checks failed", self.0.len());
        }
        failed == 0
    }
}

fn programs() -> End {
    let missing: Vec<String> = NEEDED
        .iter()
        .filter(|(program, _)| !repo::has(program))
        .map(|(program, why)| format!("{program} is not installed ({why})"))
        .collect();
    if !missing.is_empty() {
        return End::Failed(missing.join(", "));
    }
    if pythons::all().is_empty() {
        let what = "no Python from 3.10 to 3.13 with its venv module is installed";
        End::Failed(what.to_owned())
    } else {
        End::Passed
    }
}

fn cargo(root: &Path, args: &[&str]) -> Result<End> {
    run_in(root, repo::cargo().args(args))
}

fn run_in(root: &Path, command: &mut Command) -> Result<End> {
    let status = command
        .current_dir(root)
        .status()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    Ok(if status.success() {
        End::Passed
    } else {
        End::Failed(status.to_string())
    })
}

fn deny(root: &Path, program: &Path) -> Result<End> {
    let args = [
        "--all-features",
        "--log-level",
        "error",
        "check",
        "licenses",
        "bans",
        "sources",
    ];
    run_in(root, Command::new(program).args(args))
}
