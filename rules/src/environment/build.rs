//! Owns the making of an environment at its final place, and the look that tells a whole one
//! from half a one.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use synapse_engine::{Failure, StableHash};

use super::collect;
use crate::{
    python::interpreter::Interpreter,
    resolve::{
        Files, Installer,
        credentials::Credentials,
        desk::{Desk, Setting, disk},
        lock::Target,
        order,
        rule::Work,
    },
};

/// The file that is written last.
const MARKER: &str = "synapse-environment.json";
const FORMAT: u32 = 1;

/// What an environment is made of, and where.
#[derive(Clone, Copy)]
pub(super) struct Recipe<'a> {
    /// Where it is.
    pub(super) folder: &'a Path,
    /// What it is made from.
    pub(super) interpreter: &'a Interpreter,
    /// What goes in.
    pub(super) target: &'a Target,
    /// The same, as environments are told apart.
    pub(super) packages: &'a Value,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Marker {
    format: u32,
    packages: String,
    python: String,
    base: PathBuf,
    /// Names of what was installed, sorted.
    installed: Vec<String>,
}

impl Recipe<'_> {
    fn marker(&self, installed: Vec<String>) -> Marker {
        Marker {
            format: FORMAT,
            packages: self.packages.stable_digest("synapse.value.v1").hex(),
            python: self.interpreter.identity(),
            base: self.interpreter.base_executable.clone(),
            installed,
        }
    }

    /// Its interpreter.
    pub(super) fn inside(&self) -> Interpreter {
        self.interpreter.in_environment(self.folder)
    }
}

/// What is installed in folders of packages, by the names that installers leave there.
pub(super) fn installed(folders: &[PathBuf]) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for folder in folders {
        for entry in fs::read_dir(folder)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name.ends_with(".dist-info") || name.ends_with(".egg-info") {
                names.push(name);
            }
        }
    }
    names.sort();
    Ok(names)
}

/// Whether the environment is there, whole and as it was made. Starts nothing.
pub(super) fn is_whole(recipe: &Recipe<'_>) -> bool {
    let inside = recipe.inside();
    let Ok(bytes) = fs::read(recipe.folder.join(MARKER)) else {
        return false;
    };
    let Ok(marker) = serde_json::from_slice::<Marker>(&bytes) else {
        return false;
    };
    // Follows the link to the interpreter that it was made from.
    let starts = fs::metadata(&inside.executable).is_ok_and(|meta| meta.is_file());
    let Ok(there) = installed(&inside.site_packages) else {
        return false;
    };
    starts && recipe.folder.join("pyvenv.cfg").exists() && marker == recipe.marker(there)
}

/// Whether an environment is there and starts, whatever it was made for. Its name says that.
pub(super) fn is_there(folder: &Path) -> bool {
    let marker = fs::read(folder.join(MARKER)).ok();
    let marker = marker.and_then(|bytes| serde_json::from_slice::<Marker>(&bytes).ok());
    let Some(marker) = marker.filter(|marker| marker.format == FORMAT) else {
        return false;
    };
    let lib = fs::read_dir(folder.join("lib"))
        .into_iter()
        .flatten()
        .flatten();
    let packages = lib.map(|entry| entry.path().join("site-packages"));
    let packages: Vec<PathBuf> = packages.filter(|path| path.is_dir()).collect();
    let starts = fs::metadata(folder.join("bin/python")).is_ok_and(|meta| meta.is_file());
    starts
        && folder.join("pyvenv.cfg").exists()
        && installed(&packages).is_ok_and(|there| there == marker.installed)
}

/// Makes the environment; whatever lies in its place goes first. Nothing stays when it fails.
pub(super) fn build(
    setting: &Setting<'_>,
    recipe: &Recipe<'_>,
    installer: &Installer,
    work: Option<&Work>,
) -> Result<(), Failure> {
    let made = make(setting, recipe, installer, work);
    if made.is_err() {
        let _ = collect::remove(recipe.folder);
    }
    made
}

fn make(
    setting: &Setting<'_>,
    recipe: &Recipe<'_>,
    installer: &Installer,
    work: Option<&Work>,
) -> Result<(), Failure> {
    let Recipe {
        folder,
        interpreter,
        target,
        ..
    } = *recipe;
    let failed = |error: io::Error| disk("cannot make the environment", &error);
    collect::remove(folder).map_err(failed)?;
    let none = Credentials::default();
    let credentials = work.map_or(&none, |work| &work.requirements.credentials);
    let mut desk = Desk::new(setting, credentials)?;
    let args = ["-I", "-m", "venv", "--without-pip"].map(str::to_owned);
    let args = args.into_iter().chain([folder.display().to_string()]);
    desk.must(
        &interpreter.base_executable,
        args,
        "python could not make the environment",
    )
    .map_err(environment)?;
    let inside = recipe.inside();
    let around = work.map_or(folder, |work| work.folder.as_path());
    let head = match work {
        Some(work) => order::index_lines(&work.requirements, setting.offline, &mut desk),
        None => Vec::new(),
    };
    let mut packages = target.packages.clone();
    if let Some(work) = work {
        work.fill_in(&mut packages, &mut desk.credentials);
    }
    let files = Files::write(&desk, &packages, around, &head)?;
    let order = work.map(|work| work.order(&[]));
    installer.install(&mut desk, &inside.executable, &files, order.as_ref())?;
    let there = installed(&inside.site_packages).map_err(failed)?;
    let marker = serde_json::to_vec(&recipe.marker(there))
        .map_err(|error| Failure::bug(error.to_string()))?;
    let path = folder.join(MARKER);
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    io::Write::write_all(&mut file, &marker).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// Where there is no package to blame, the machine is at fault.
fn environment(failure: Failure) -> Failure {
    if failure.kind != synapse_engine::FailureKind::User {
        return failure;
    }
    let hint = "check the Python installation, or name another one with --python";
    Failure::environment("environment", failure.message).hint(hint)
}
