//! Owns lock files in a plugin's folder: made, brought up to date, or only held against the
//! requirements.

use std::{io::Write, path::PathBuf, sync::Arc};

use serde::Serialize;
use synapse_engine::{Failure, GraphBuilder, Node};

use super::{Environments, Wanted, misfit, read_lock};
use crate::{
    config::Config,
    plugin::{Plugin, Warning},
    resolve::{
        ResolveNode, desk,
        lock::{self, Lock, Target},
    },
};

/// One package of a lock that is not what it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Its name.
    pub name: String,
    /// Version before; none when it is new.
    pub old: Option<String>,
    /// Version now; none when it is gone.
    pub new: Option<String>,
}

/// What became of a lock file.
#[derive(Debug, Clone)]
pub struct LockChange {
    /// The file.
    pub path: PathBuf,
    /// It was written.
    pub wrote: bool,
    /// Packages that it holds for this Python and platform.
    pub packages: usize,
    /// For which Python and platform.
    pub target: String,
    /// What differs.
    pub changed: Vec<Change>,
    /// Doubts about the requirements.
    pub warnings: Vec<Warning>,
}

impl Environments {
    /// Brings a plugin's lock file up to date for one Python and this platform. A file that fits
    /// is left alone, unless an upgrade is wanted; with `locked` nothing is ever written.
    pub fn lock(
        &self,
        plugin: &Plugin,
        config: &Config,
        wanted: &Wanted,
    ) -> Result<LockChange, Failure> {
        let requirements = self.requirements(plugin, config)?;
        let work = Arc::new(self.work(plugin, config, requirements, wanted)?);
        let (path, old) = match read_lock(&work.folder) {
            // It is about to be replaced.
            Err(_) if wanted.upgrade => (work.folder.join(lock::FILE), None),
            read => read?,
        };
        if wanted.locked {
            // Fails unless it fits.
            Self::committed(&work, wanted)?;
        }
        let fits = match &old {
            Some(old) => misfit(old, &work)?.is_none(),
            None => false,
        };
        let before = old
            .as_ref()
            .and_then(|old| old.target(&work.interpreter))
            .cloned();
        let known = before.clone().filter(|_| fits && !wanted.upgrade);
        let after = if let Some(target) = known {
            target
        } else {
            let pins = before
                .as_ref()
                .filter(|_| !wanted.upgrade)
                .map(Target::pins);
            let pins = pins.unwrap_or_default();
            let node = ResolveNode::new(Arc::clone(&work), None, pins, wanted.upgrade)?;
            let mut builder = GraphBuilder::new();
            let id = builder.node(Arc::new(node) as Arc<dyn Node>);
            let reports = self.run(builder, &[("resolve", id)], &mut None)?;
            let outcome = reports
                .first()
                .and_then(|(_, report)| report.outcome.clone());
            let lock = outcome.as_ref().and_then(|outcome| outcome.get("lock"));
            lock.and_then(Target::deserialize_from)
                .ok_or_else(|| Failure::bug("a lock cannot be read"))?
        };
        let fingerprint = lock::fingerprint(&work.inputs()?);
        // Targets of other requirements would not fit.
        let mut new = old
            .clone()
            .filter(|old| old.requirements == fingerprint)
            .unwrap_or_default();
        new.requirements = fingerprint;
        let (target, packages) = (after.shown(), after.packages.len());
        let changed = changes(before.as_ref(), &after);
        new.put(after);
        let wrote = old.as_ref() != Some(&new);
        if wrote {
            write(&path, &new)?;
        }
        Ok(LockChange {
            path,
            wrote,
            packages,
            target,
            changed,
            warnings: work.requirements.warnings.clone(),
        })
    }
}

fn write(path: &std::path::Path, lock: &Lock) -> Result<(), Failure> {
    let failed =
        |error: std::io::Error| desk::disk(&format!("cannot write {}", path.display()), &error);
    let folder = path.parent().unwrap_or(path);
    let mut file = tempfile::Builder::new()
        .prefix(".synapse-lock-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(folder)
        .map_err(failed)?;
    file.write_all(lock.to_text().as_bytes()).map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

fn changes(before: Option<&Target>, after: &Target) -> Vec<Change> {
    let version = |target: Option<&Target>, name: &str| {
        let mut packages = target.into_iter().flat_map(|target| &target.packages);
        packages
            .find(|package| package.name == name)
            .map(|package| package.version.clone())
    };
    let all = before
        .into_iter()
        .chain([after])
        .flat_map(|target| &target.packages);
    let mut names: Vec<&str> = all.map(|package| package.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let change = |name: &str| Change {
        name: name.to_owned(),
        old: version(before, name),
        new: version(Some(after), name),
    };
    let all = names.into_iter().map(change);
    all.filter(|change| change.old != change.new).collect()
}
