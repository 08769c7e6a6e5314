//! Owns [`Order`]: what an installer is asked to find, as the file that it reads, and what may
//! be made of its answer.

use std::path::{Path, PathBuf};

use synapse_engine::Failure;

use super::{
    desk::Desk,
    lock::{Origin, Package},
    requirements::Requirements,
    sdk::IMPLICIT,
    wheels::{Wheel, file_url},
};
use crate::python::interpreter::Interpreter;

/// What an installer is asked to find.
#[derive(Clone, Copy)]
pub struct Order<'a> {
    /// What is required.
    pub requirements: &'a Requirements,
    /// Wheels that the plugin brings along.
    pub wheels: &'a [Wheel],
    /// The plugin's folder.
    pub folder: &'a Path,
    /// For which interpreter.
    pub interpreter: &'a Interpreter,
    /// Versions to keep, as `name==version`.
    pub pins: &'a [String],
    /// Use no network.
    pub offline: bool,
}

impl Order<'_> {
    /// Writes the file for the installer; `pinned` says whether to keep versions.
    pub(super) fn write(&self, desk: &mut Desk<'_>, pinned: bool) -> Result<PathBuf, Failure> {
        let mut lines = index_lines(self.requirements, self.offline, desk);
        let mut constraints = Vec::new();
        for (flag, value) in &self.requirements.remote {
            lines.push(format!("{flag} {}", desk.credentials.take(&value.text)));
        }
        for item in &self.requirements.constraints {
            constraints.push(desk.credentials.take(&item.line));
        }
        if pinned {
            constraints.extend(self.pins.iter().cloned());
        }
        if !constraints.is_empty() {
            let path = desk.write("constraints.txt", &(constraints.join("\n") + "\n"))?;
            lines.push(format!("-c {}", path.display()));
        }
        // First, for pip looks nowhere else for what it has met as a file.
        for wheel in self.wheels {
            let own = || self.folder.join(&wheel.path);
            let url = file_url(&wheel.source.clone().unwrap_or_else(own));
            lines.push(format!("{} @ {url}", wheel.name));
        }
        for item in &self.requirements.items {
            let mut line = desk.credentials.take(&item.line);
            for setting in &item.settings {
                line = format!("{line} {setting}");
            }
            lines.push(line);
        }
        if !self.requirements.bare {
            lines.extend(IMPLICIT.map(str::to_owned));
        }
        desk.write("requirements.in", &(lines.join("\n") + "\n"))
    }

    /// Holds the answer against the hashes that the requirements list.
    pub(super) fn check_hashes(&self, packages: &mut [Package]) -> Result<(), Failure> {
        for item in &self.requirements.items {
            let Some(name) = item.name().filter(|_| !item.hashes.is_empty()) else {
                continue;
            };
            let found = packages.iter_mut().find(|package| package.name == name);
            let Some(package) = found else { continue };
            let other = |hash: &String| !hash.starts_with("sha256:");
            if item.hashes.iter().all(other) {
                package.hashes.clone_from(&item.hashes);
                continue;
            }
            package.hashes.retain(|hash| item.hashes.contains(hash));
            if package.hashes.is_empty() && !matches!(package.origin, Origin::Commit { .. }) {
                let what = format!(
                    "{} {} has none of the hashes that are listed for it",
                    package.name, package.version
                );
                return Err(Failure::user("resolution", what)
                    .at(item.place.to_string())
                    .hint(
                        "list the hash of the file for this platform, or find out who changed it",
                    ));
            }
        }
        Ok(())
    }
}

/// Where packages come from, as lines.
pub fn index_lines(requirements: &Requirements, offline: bool, desk: &mut Desk<'_>) -> Vec<String> {
    let take = |url: &str| desk.credentials.take(url);
    requirements.options.to_lines(offline, take)
}
