//! Owns `synapse __config`: a configuration as JSON, so that the Python package reads the same.

use std::path::Path;

use synapse_engine::Failure;
use synapse_rules::{
    config,
    fileset::read_regular,
    plugin::{CONFIG_NAMES, diagnostics_failure},
};

use crate::{app::App, render::Printer};

/// Runs the command; returns the exit code.
pub fn run(app: &App, path: &Path) -> Result<u8, Failure> {
    let path = app.cwd.join(path);
    let file = if path.is_dir() {
        let own = CONFIG_NAMES.iter().map(|name| path.join(name));
        own.clone()
            .find(|file| file.is_file())
            .unwrap_or_else(|| path.join(CONFIG_NAMES[0]))
    } else {
        path
    };
    let shown = file.display().to_string();
    let bytes = read_regular(&file).map_err(|error| {
        Failure::user(
            "config-not-found",
            format!("Config file not found: {shown} ({error})"),
        )
        .at(shown.clone())
        .hint("name a plugin's folder, or its config.yaml")
    })?;
    let parsed = config::parse(&bytes, &shown);
    let Some(config) = parsed.config else {
        let failure = diagnostics_failure(&parsed.diagnostics);
        return Err(failure.unwrap_or_else(|| Failure::bug("a sound configuration was refused")));
    };
    Printer::stdout(&app.output).json(&config.json);
    Ok(0)
}
