//! `synapse login`.

use serde_json::json;
use synapse_engine::Failure;

use crate::{app::App, args, credentials, render::Printer};

/// Runs the command; returns the exit code.
pub fn run(app: &App, args: &args::Login) -> Result<u8, Failure> {
    if !args.local {
        return Err(
            Failure::usage("logging in to a platform is not in this release yet").hint(
                "`synapse login --local` makes the embedded backend on this machine the default",
            ),
        );
    }
    let path = app.home.config_file();
    credentials::change(&path, app.hook.as_ref(), |saved| {
        saved.choose(Some(credentials::LOCAL));
        Ok(())
    })?;
    let mut printer = Printer::stdout(&app.output);
    if app.output.is_machine() {
        printer.json(
            &json!({"schema": 1, "command": "login", "ok": true, "profile": credentials::LOCAL,
                             "path": path.display().to_string()}),
        );
    } else if !app.output.quiet {
        printer.line(format!(
            "publishing goes to the embedded backend on this machine ({})",
            app.home.backend().display()
        ));
    }
    Ok(0)
}
