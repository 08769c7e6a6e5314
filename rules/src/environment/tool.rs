//! Owns installers in environments of their own, for interpreters and machines that lack them.

use std::path::{Path, PathBuf};

use synapse_engine::{Digest, Failure};

use super::{
    build::{self, Recipe},
    lease::Lease,
};
use crate::{
    python::interpreter::Interpreter,
    resolve::{
        Installer,
        credentials::Credentials,
        desk::{Desk, Setting, disk},
        pip, rule,
        uv::{self, Uv},
    },
};

fn folder(store: &Path, name: &str) -> PathBuf {
    store.join("tools").join(name)
}

/// pip for an interpreter: its own, else one in a tool environment made of it.
pub fn pip(setting: &Setting<'_>, interpreter: &Interpreter) -> Result<Installer, Failure> {
    if interpreter.pip.as_deref().is_some_and(pip::will_do) {
        return Ok(Installer::Pip {
            python: interpreter.executable.clone(),
        });
    }
    let base = Digest::of(interpreter.base_executable.as_os_str().as_encoded_bytes());
    let name = format!("pip-{}-{}", interpreter.full_version(), &base.hex()[..8]);
    let folder = folder(setting.store, &name);
    let _lease =
        Lease::take(&folder).map_err(|error| disk("cannot lock an environment", &error))?;
    let _making =
        Lease::making(&folder).map_err(|error| disk("cannot lock an environment", &error))?;
    let python = folder.join("bin/python");
    let done = folder.join("complete");
    if done.exists() && python.exists() {
        return Ok(Installer::Pip { python });
    }
    super::collect::remove(&folder).map_err(|error| disk("cannot make room for pip", &error))?;
    let desk = Desk::new(setting, &Credentials::default())?;
    let hint = "install pip for it (Debian: the package python3-venv), or name another Python with --python";
    let what = format!(
        "Python {} has no pip and cannot make one",
        interpreter.full_version()
    );
    let venv = ["-I", "-m", "venv"].map(str::to_owned).into_iter();
    let args = venv.chain([folder.display().to_string()]);
    desk.must(&interpreter.executable, args, &what)
        .map_err(|failure| {
            Failure {
                kind: synapse_engine::FailureKind::Environment,
                ..failure
            }
            .hint(hint)
        })?;
    let version = desk.run(&python, ["-I", "-m", "pip", "--version"])?.out();
    let version = version
        .split_whitespace()
        .nth(1)
        .unwrap_or_default()
        .to_owned();
    if !pip::will_do(&version) {
        let args = [
            "-I",
            "-m",
            "pip",
            "install",
            "--quiet",
            "--upgrade",
            "pip>=23",
        ];
        desk.must(&python, args, "pip is too old and could not be upgraded")?;
    }
    std::fs::write(done, version).map_err(|error| disk("cannot finish pip", &error))?;
    Ok(Installer::Pip { python })
}

/// uv: the one that was found, else ours, installed with pip of an interpreter.
pub fn uv(setting: &Setting<'_>, uv: &Uv, interpreter: &Interpreter) -> Result<Installer, Failure> {
    let version = match uv {
        Uv::Found { program, .. } => {
            return Ok(Installer::Uv {
                program: program.clone(),
            });
        }
        Uv::Own { version } => version,
    };
    let folder = folder(setting.store, &format!("uv-{version}"));
    let program = folder.join("bin/uv");
    let target = uv::own()?;
    let packages = rule::packages(&target, Path::new("/"))?;
    let recipe = Recipe {
        folder: &folder,
        interpreter,
        target: &target,
        packages: &packages,
    };
    let _lease =
        Lease::take(&folder).map_err(|error| disk("cannot lock an environment", &error))?;
    if !(build::is_whole(&recipe) && program.exists()) {
        let _making =
            Lease::making(&folder).map_err(|error| disk("cannot lock an environment", &error))?;
        if !(build::is_whole(&recipe) && program.exists()) {
            let installer = pip(setting, interpreter)?;
            build::build(setting, &recipe, &installer, None)?;
        }
    }
    Ok(Installer::Uv { program })
}
