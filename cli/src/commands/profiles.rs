//! `synapse profile`: the saved logins, and which of them is used.

use serde_json::json;
use synapse_engine::Failure;

use crate::{
    app::App,
    args::ProfileCommand,
    credentials::{self, DEFAULT, LOCAL, Login, Saved},
    profile::{self, DEFAULT_HOST, Origin},
    render::{BOLD, DIM, Printer, WARN, paint},
};

/// Runs the command; returns the exit code.
pub fn run(app: &App, command: &ProfileCommand) -> Result<u8, Failure> {
    match command {
        ProfileCommand::List => list(app),
        ProfileCommand::Use { name } => choose(app, name),
    }
}

/// What a login holds, in a word.
fn kind(login: &Login) -> &'static str {
    match (&login.access_token, &login.user_token) {
        (Some(_), _) => "access token",
        (None, Some(_)) => "user token",
        (None, None) => "no token",
    }
}

fn list(app: &App) -> Result<u8, Failure> {
    let saved = Saved::load(&app.home.config_file())?;
    let used = saved.chosen().unwrap_or_else(|| DEFAULT.to_owned());
    let logins: Vec<(String, Login)> = saved
        .names()
        .into_iter()
        .filter_map(|name| Some((name.clone(), saved.login(&name)?)))
        .collect();
    let mut printer = Printer::stdout(&app.output);
    if app.output.is_machine() {
        let local = json!({"name": LOCAL, "host": null, "embedded": true, "has_token": false,
                           "tenant": null, "agent": null, "default": used == LOCAL});
        let mut profiles: Vec<serde_json::Value> = logins
            .iter()
            .map(|(name, login)| {
                json!({"name": name, "host": host(login), "embedded": false,
                       "has_token": login.has_token(), "tenant": login.tenant,
                       "agent": login.agent.as_ref().map(|agent| &agent.id),
                       "default": *name == used})
            })
            .collect();
        profiles.push(local);
        printer.json(&json!({"schema": 1, "command": "profile list", "ok": true,
                             "profiles": profiles}));
        return Ok(0);
    }
    let width = logins
        .iter()
        .map(|(name, _)| name.chars().count())
        .chain([LOCAL.len()])
        .max()
        .unwrap_or(0);
    let mut line = |name: &str, text: String| {
        let mark = if name == used { "*" } else { " " };
        let pad = " ".repeat(width - name.chars().count());
        printer.line(format!("{mark} {}{pad}  {text}", paint(BOLD, name)));
    };
    for (name, login) in &logins {
        let mut text = host(login);
        if let Some(tenant) = &login.tenant {
            text = format!("{text}  tenant {tenant}");
        }
        let (style, what) = (if login.has_token() { DIM } else { WARN }, kind(login));
        line(name, format!("{text}  {}", paint(style, what)));
    }
    line(LOCAL, paint(DIM, "the embedded backend on this machine"));
    Ok(0)
}

/// The address of a saved login. What is none is not told: it could be anything.
fn host(login: &Login) -> String {
    let host = login.host.as_deref().unwrap_or(DEFAULT_HOST);
    synapse_rules::platform::Host::parse(host)
        .map_or_else(|error| error.to_string(), |host| host.url())
}

fn choose(app: &App, name: &str) -> Result<u8, Failure> {
    credentials::change(&app.home.config_file(), app.hook.as_ref(), |saved| {
        if name == LOCAL || saved.login(name).is_some() {
            saved.choose(Some(name));
            Ok(())
        } else {
            Err(profile::unknown(app, saved, name, Origin::Flag))
        }
    })?;
    let mut printer = Printer::stdout(&app.output);
    if app.output.is_machine() {
        printer.json(&json!({"schema": 1, "command": "profile use", "ok": true, "profile": name}));
    } else if !app.output.quiet {
        printer.line(format!("{name} is used when nothing names another"));
        if (app.variable)("SYNAPSE_PROFILE").is_some_and(|own| !own.is_empty() && own != name) {
            printer.line(paint(DIM, "SYNAPSE_PROFILE names another in this shell"));
        }
    }
    Ok(0)
}
