//! `synapse completions`: the script by which a shell asks this command what could come next.

use clap_complete::env::{Bash, EnvCompleter, Fish, Powershell, Zsh};
use serde_json::json;
use synapse_engine::Failure;

use crate::{
    app::App,
    args::{self, Shell},
    completion::VARIABLE,
    render::Printer,
};

/// Runs the command; returns the exit code.
pub fn run(app: &App, args: &args::Completions) -> Result<u8, Failure> {
    let (name, completer): (&str, &dyn EnvCompleter) = match args.shell {
        Shell::Bash => ("bash", &Bash),
        Shell::Zsh => ("zsh", &Zsh),
        Shell::Fish => ("fish", &Fish),
        Shell::Powershell => ("powershell", &Powershell),
    };
    let mut script = Vec::new();
    completer
        .write_registration(VARIABLE, "synapse", "synapse", "synapse", &mut script)
        .map_err(|error| Failure::bug(format!("no script for {name}: {error}")))?;
    let script = String::from_utf8_lossy(&script);
    let mut printer = Printer::stdout(&app.output);
    if app.output.is_machine() {
        printer.json(&json!({
            "schema": 1, "command": "completions", "ok": true, "shell": name, "script": script,
        }));
    } else {
        printer.line(script.trim());
    }
    Ok(0)
}
