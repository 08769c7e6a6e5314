//! Owns the checks of the Python package: its style, its types, and its tests on every Python of
//! this machine. What they need is installed once for each, below the build folder.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use anyhow::{Context, Result, bail};

use crate::{
    pythons::{self, Python},
    repo,
};

/// What checks sources and packs them, pinned: a newer one finds other things.
const CHECKERS: [&str; 8] = [
    "ruff==0.17.6",
    "mypy==2.4.1",
    "pydantic==2.14.4",
    "urllib3==2.6.3",
    "pytest==9.2.0",
    "types-PyYAML",
    "types-tqdm",
    "maturin==1.16.0",
];
/// What the package's own tests need, its light extras included.
const SUITE: [&str; 9] = [
    "pydantic>=2.3",
    "urllib3>=1.26,<3",
    "pytest>=8",
    "pytest-mock",
    "pytest-timeout",
    "pyyaml>=6",
    "tqdm>=4.60",
    "globox>=2.9",
    "tomli>=2; python_version < '3.11'",
];
/// What the package needs.
pub(crate) const PACKAGE: [&str; 2] = ["pydantic>=2.3", "urllib3>=1.26,<3"];
/// Fails unless command and package are installed, find each other, and came alone.
pub(crate) const LOOK: &str = r#"
import importlib.metadata, pathlib, subprocess, sys
import synapse_sdk, synapse_sdk._find
about = importlib.metadata.distribution("synapse-sdk")
files = [str(path) for path in about.files]
beside = pathlib.Path(sys.executable).parent / "synapse"
said = subprocess.run([beside, "--version"], capture_output=True, text=True, check=True).stdout
assert said.split() == ["synapse", about.version] and about.version == synapse_sdk.__version__, said
assert synapse_sdk._find.find_synapse() == beside
assert any(path == "synapse_sdk/py.typed" for path in files)
assert about.entry_points.select(group="pytest11")
known = ("synapse_sdk/", "synapse_sdk-", "../../../bin/synapse")
strangers = [path for path in files if not path.startswith(known) or "/tests/" in path]
assert not strangers, strangers
"#;
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

/// Makes what the checks of the package need, so that they need not wait for it. What fails here
/// fails again there, and is told then.
pub(crate) fn prepare(root: &Path, quick: bool) {
    let _ = checkers(root);
    for python in interpreters(quick).unwrap_or_default() {
        let _ = suite_environment(root, &python);
    }
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

/// Packs the wheel that `pip install .` would, from a build without optimisation, installs it into
/// an empty environment, and looks at what is there: the command, the package, nothing else.
pub(crate) fn wheel(root: &Path) -> Result<Found> {
    let folder = made(root).join("wheel");
    let wheel = match pack(root, &folder, &["--profile", "dev"], &[])? {
        Ok(wheel) => wheel,
        Err(what) => return Ok(Err(what)),
    };
    let python = pythons::all().pop().context("no Python")?;
    let environment = made(root).join("installed");
    let environment = pythons::environment(&python, &environment, &PACKAGE, &[])?;
    let mut install = Command::new(environment.join("bin/python"));
    install
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--force-reinstall",
        ])
        .arg(&wheel);
    let installed = status(root, &mut install)?;
    if installed.is_err() {
        return Ok(installed);
    }
    let mut look = Command::new(environment.join("bin/python"));
    look.args(["-I", "-c", LOOK]).current_dir(&folder);
    look.env_remove("SYNAPSE_BIN");
    status(&folder, &mut look)
}

/// Packs the wheel into `folder`, which is emptied, with more arguments for maturin and variables
/// for the build; where it lies, or what went wrong.
pub(crate) fn pack(
    root: &Path,
    folder: &Path,
    args: &[&str],
    variables: &[(&str, String)],
) -> Result<std::result::Result<PathBuf, String>> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    let mut pack = Command::new(checkers(root)?.join("bin/maturin"));
    pack.args(["build", "--quiet", "--locked", "--out"])
        .arg(folder)
        .args(args)
        .envs(variables.iter().map(|(name, value)| (name, value)));
    if let Err(what) = status(root, &mut pack)? {
        return Ok(Err(what));
    }
    let wheels: Vec<PathBuf> = fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    match <[PathBuf; 1]>::try_from(wheels) {
        Ok([wheel]) => Ok(Ok(wheel)),
        Err(wheels) => bail!("wheels: {wheels:?}"),
    }
}

pub(crate) fn status(root: &Path, command: &mut Command) -> Result<Found> {
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
