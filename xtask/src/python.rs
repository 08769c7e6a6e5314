//! Owns the checks of the Python package: its style, its types, and its tests on every Python of
//! this machine. What they need is installed once for each, below the build folder.

use std::{
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use anyhow::{Context, Result, bail};

use crate::{
    pythons::{self, Python},
    repo,
};

/// What checks sources, pinned: a newer one finds other things.
const CHECKERS: [&str; 6] = [
    "ruff==0.17.6",
    "mypy==2.4.1",
    "pydantic==2.14.4",
    "urllib3==2.6.3",
    "types-PyYAML",
    "types-tqdm",
];
/// What the package's own tests need, its light extras included.
const SUITE: [&str; 8] = [
    "pydantic>=2",
    "urllib3>=1.26,<3",
    "pytest>=8",
    "pytest-mock",
    "pytest-timeout",
    "pyyaml>=6",
    "tqdm>=4.60",
    "globox>=2.6",
];
/// The suite's folder.
const TESTS: &str = "python/tests";

/// How a check ended: `Err` says what was found.
pub(crate) type Found = std::result::Result<(), String>;

/// Where environments are made.
fn made(root: &Path) -> PathBuf {
    repo::target_dir(root).join("python")
}

/// All Pythons of this machine that the package supports; with `quick` only one of them.
pub(crate) fn interpreters(quick: bool) -> Result<Vec<Python>> {
    let mut all = pythons::all();
    if all.is_empty() {
        bail!("no Python from 3.10 to 3.13 with venv is installed");
    }
    if quick {
        all.drain(..all.len() - 1);
    }
    Ok(all)
}

fn checkers(root: &Path) -> Result<PathBuf> {
    let python = pythons::all()
        .pop()
        .context("no Python for ruff and mypy")?;
    pythons::environment(&python, &made(root).join("checkers"), &CHECKERS, &[])
        .context("installing ruff and mypy")
}

/// Runs ruff: its lints, then its idea of format.
pub(crate) fn ruff(root: &Path) -> Result<Found> {
    let ruff = checkers(root)?.join("bin/ruff");
    for args in [&["check"][..], &["format", "--check"]] {
        let mut command = Command::new(&ruff);
        let found = status(root, command.args(args).arg("python"))?;
        if found.is_err() {
            return Ok(found);
        }
    }
    Ok(Ok(()))
}

/// Runs mypy as `pyproject.toml` sets it.
pub(crate) fn mypy(root: &Path) -> Result<Found> {
    let cache = made(root).join("mypy");
    let mypy = checkers(root)?.join("bin/mypy");
    status(root, Command::new(mypy).arg("--cache-dir").arg(cache))
}

fn status(root: &Path, command: &mut Command) -> Result<Found> {
    let status = command
        .current_dir(root)
        .status()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    Ok(if status.success() {
        Ok(())
    } else {
        Err(status.to_string())
    })
}

/// The environment in which the suite runs on `python`.
pub(crate) fn suite_environment(root: &Path, python: &Python) -> Result<PathBuf> {
    let folder = made(root).join(format!("suite-{}", python.name()));
    pythons::environment(python, &folder, &SUITE, &[]).with_context(|| {
        format!(
            "installing what the tests need on Python {}",
            python.version
        )
    })
}

/// Runs the package's tests on all `interpreters` at once, and prints what each said, one after
/// the other. What a failure says is pytest's last line.
pub(crate) fn suites(root: &Path, interpreters: &[Python]) -> Vec<(String, Result<Found>)> {
    let ran: Vec<_> = thread::scope(|scope| {
        let running: Vec<_> = interpreters
            .iter()
            .map(|python| scope.spawn(|| suite(root, python)))
            .collect();
        running
            .into_iter()
            .map(|one| one.join().unwrap_or_else(|_| bail!("the runner panicked")))
            .collect()
    });
    interpreters
        .iter()
        .zip(ran)
        .map(|(python, ran)| {
            let name = format!("pytest {}", python.name());
            let found = ran.map(|(passed, output)| {
                println!("--- {name}\n{}", output.trim_end());
                let last = output.lines().rev().find(|line| !line.trim().is_empty());
                let last = last.unwrap_or("it said nothing").trim_matches(['=', ' ']);
                if passed { Ok(()) } else { Err(last.to_owned()) }
            });
            (name, found)
        })
        .collect()
}

fn suite(root: &Path, python: &Python) -> Result<(bool, String)> {
    let environment = suite_environment(root, python)?;
    // A home of its own: a test that reads the user's settings passes on one machine only.
    let home = tempfile::tempdir()?;
    let mut command = Command::new(environment.join("bin/python"));
    command
        .current_dir(root)
        .args(["-m", "pytest", "-q", "-p", "no:cacheprovider", TESTS])
        .env("HOME", home.path())
        .env("SYNAPSE_HOME", home.path().join("synapse"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env_remove("PYTHONPATH")
        .env_remove("VIRTUAL_ENV");
    // The tests of the client start the backend that was just built.
    let built = repo::target_dir(root).join("debug/synapse");
    if built.is_file() {
        command.env("SYNAPSE_BIN", built);
    }
    let output = command.output().context("python does not start")?;
    let text = [output.stdout, output.stderr].concat();
    Ok((
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    ))
}
