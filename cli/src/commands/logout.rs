//! `synapse logout`.

use serde_json::json;
use synapse_engine::Failure;

use crate::{
    app::App,
    args,
    credentials::{self, LOCAL},
    profile::{self, Origin},
    render::{DIM, Printer, paint},
};

/// Runs the command; returns the exit code.
pub fn run(app: &App, args: &args::Logout) -> Result<u8, Failure> {
    let path = app.home.config_file();
    let named = match &args.profile {
        Some(name) => Some(name.clone()),
        None => profile::variable(app, "SYNAPSE_PROFILE")?,
    };
    let from = if args.profile.is_some() {
        Origin::Flag
    } else {
        Origin::Environment
    };
    let (removed, default) = credentials::change(&path, app.hook.as_ref(), |saved| {
        let mut removed = Vec::new();
        let wanted = match (args.all, &named) {
            (true, _) => saved.names(),
            (false, Some(name)) => vec![name.clone()],
            (false, None) => vec![
                saved
                    .chosen()
                    .unwrap_or_else(|| credentials::DEFAULT.to_owned()),
            ],
        };
        for name in wanted {
            if name == LOCAL {
                // There is no token in it: it is left.
                if saved.chosen().as_deref() == Some(LOCAL) {
                    saved.choose(None);
                    removed.push(name);
                }
            } else if saved.remove(&name) {
                removed.push(name);
            } else if named.is_some() && name != credentials::DEFAULT {
                return Err(profile::unknown(app, saved, &name, from));
            }
        }
        Ok((removed, saved.chosen()))
    })?;
    let mut printer = Printer::stdout(&app.output);
    if app.output.is_machine() {
        printer.json(&json!({"schema": 1, "command": "logout", "ok": true,
                             "removed": removed, "default": default}));
        return Ok(0);
    }
    if app.output.quiet {
        return Ok(0);
    }
    match removed.as_slice() {
        [] => printer.line("nobody was logged in"),
        [one] if one == LOCAL => {
            printer.line("the embedded backend on this machine is not the default any more");
        }
        names => printer.line(format!("logged out of {}", names.join(", "))),
    }
    if (app.variable)("SYNAPSE_ACCESS_TOKEN").is_some_and(|token| !token.is_empty()) {
        printer.line(paint(
            DIM,
            "SYNAPSE_ACCESS_TOKEN is still set, and still used",
        ));
    }
    Ok(0)
}
