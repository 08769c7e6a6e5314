//! Owns environments in which projects are built: made like those in which plugins run, of what a
//! build requires and of nothing of ours.

use std::{path::Path, sync::Arc};

use pep440_rs::VersionSpecifiers;
use serde_json::Value;
use synapse_engine::{Cancel, Failure, Node};

use super::{
    Environments,
    build::{self, Recipe},
    lease::Lease,
    node::{self, EnvironmentNode},
};
use crate::{
    config::PackageManager,
    python::interpreter::Interpreter,
    resolve::{Work, desk::disk, line::Place, lock::Target, requirements, uv::Uv},
};

/// The frontend that builds where pip is the package manager.
const FRONTEND: &str = "build>=1.2,<2";

/// What a build wants of its environment.
pub struct Wanted<'a> {
    /// Of which project.
    pub subject: String,
    /// The project's folder.
    pub folder: &'a Path,
    /// What is required, each with its place.
    pub requires: &'a [(String, Place)],
    /// Pythons that will do.
    pub python: Vec<VersionSpecifiers>,
    /// Who builds.
    pub manager: PackageManager,
}

/// An environment that is there, as long as this is kept.
pub struct Made {
    /// Its interpreter.
    pub interpreter: Interpreter,
    _lease: Lease,
}

impl Environments {
    /// How the environment of a build is made.
    pub fn building(&self, wanted: &Wanted<'_>) -> Result<Work, Failure> {
        let mut lines = wanted.requires.to_vec();
        if wanted.manager == PackageManager::Pip {
            let place = Place {
                file: wanted.folder.display().to_string(),
                line: 1,
                column: 1,
            };
            lines.push((FRONTEND.to_owned(), place));
        }
        let requirements = requirements::listed(&lines, wanted.folder, &self.variables)?;
        let python: VersionSpecifiers = wanted
            .python
            .iter()
            .flat_map(|all| all.iter().cloned())
            .collect();
        let interpreter = self.find(None, Some(&python), false)?;
        let mut work = Work {
            subject: wanted.subject.clone(),
            store: self.store.clone(),
            variables: self.variables.clone(),
            processes: Arc::clone(&self.processes),
            folder: wanted.folder.to_owned(),
            requirements,
            wheels: Vec::new(),
            interpreter,
            manager: wanted.manager,
            uv: None,
            offline: false,
        };
        if wanted.manager == PackageManager::Uv {
            work.uv = Some(Uv::find(&work.setting(&self.session.cancel))?);
        }
        Ok(work)
    }
}

/// The node of such an environment; it depends on that of its lock.
pub fn node(work: &Arc<Work>) -> Arc<dyn Node> {
    Arc::new(EnvironmentNode::new(Arc::clone(work), None))
}

/// The environment of a lock, made when it is not there.
pub fn made(
    work: &Work,
    target: &Target,
    packages: &Value,
    cancel: &Cancel,
) -> Result<Made, Failure> {
    let digest = node::digest_of(packages);
    let folder = node::folder(&work.store, digest, &work.interpreter);
    let recipe = Recipe {
        folder: &folder,
        interpreter: &work.interpreter,
        target,
        packages,
    };
    let lease = make(&recipe, work, true, cancel)?;
    Ok(Made {
        interpreter: work.interpreter.in_environment(&folder),
        _lease: lease,
    })
}

/// Makes what a recipe says unless it is there; `asked` says that the work's own index
/// configuration and logins are used for it.
pub(super) fn make(
    recipe: &Recipe<'_>,
    work: &Work,
    asked: bool,
    cancel: &Cancel,
) -> Result<Lease, Failure> {
    let locked = |error| disk("cannot lock an environment", &error);
    let lease = Lease::take(recipe.folder).map_err(locked)?;
    let _making = Lease::making(recipe.folder).map_err(locked)?;
    // Made before the store forgot it, or by a process that another store's locks let in.
    if !build::is_whole(recipe) {
        let installer = work.installer(cancel)?;
        let setting = work.setting(cancel);
        build::build(&setting, recipe, &installer, asked.then_some(work))?;
    }
    Ok(lease)
}
