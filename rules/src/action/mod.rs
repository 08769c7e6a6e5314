//! Owns the run of an action as a stage: its node, the environment that the action gets, and how
//! an ending reads as a failure.

mod failure;
mod rule;
mod surroundings;

pub use failure::{failure, frames, raised, refused};
pub use rule::{Execute, RunNode, STAGE};
pub use surroundings::{Surroundings, surroundings};

use std::fmt::Write as _;

use serde_json::Value;
use synapse_engine::Failure;

use crate::{
    config::{self, Action, Config, Diagnostic},
    plugin::{self, Plugin},
};

/// The code of an action that there is not, as the guide's exception has it.
pub const NOT_FOUND: &str = "action-not-found";

/// Actions that are listed for whoever has named none of them.
const LISTED: usize = 8;

/// The action of that name.
pub fn find<'c>(config: &'c Config, name: &str, file: &str) -> Result<&'c Action, Failure> {
    if let Some(action) = config.actions.iter().find(|action| action.name == name) {
        return Ok(action);
    }
    let names: Vec<&str> = config
        .actions
        .iter()
        .map(|action| action.name.as_str())
        .collect();
    let shown = &names[..names.len().min(LISTED)];
    let mut there = format!("the plugin has {}", shown.join(", "));
    if names.len() > shown.len() {
        let _ = write!(there, " and {} more", names.len() - shown.len());
    }
    let failure = Failure::user(NOT_FOUND, format!("Action not found: {name}")).at(file);
    Err(match config::nearest(name, names.iter().copied()) {
        Some(near) if names.len() > 1 => failure.hint(format!("did you mean {near}? {there}")),
        Some(near) => failure.hint(format!("did you mean {near}?")),
        None => failure.hint(there),
    })
}

/// Refuses an action whose entrypoint the plugin's files do not have.
pub fn check_entrypoint(
    plugin: &Plugin,
    config: &Config,
    action: &str,
    bytes: &[u8],
) -> Result<(), Failure> {
    let only = Config {
        actions: config
            .actions
            .iter()
            .filter(|own| own.name == action)
            .cloned()
            .collect(),
        ..config.clone()
    };
    let files: Vec<String> = plugin
        .files
        .load()
        .into_iter()
        .map(|file| file.path)
        .collect();
    // Only what is packed counts, as it does when the plugin is published.
    let sources = |path: &str| {
        let packed = files.iter().any(|file| file == path);
        packed
            .then(|| std::fs::read(plugin.source_of(path)).ok())
            .flatten()
    };
    let shown = plugin.config_path().display().to_string();
    let found: Vec<Diagnostic> = config::check_entrypoints(&only, &shown, bytes, &files, &sources);
    plugin::diagnostics_failure(&found).map_or(Ok(()), Err)
}

/// Whether an action says that equal runs of it give equal results.
pub fn is_cacheable(config: &Config, action: &str) -> bool {
    config.json["actions"][action]["cacheable"] == Value::Bool(true)
}
