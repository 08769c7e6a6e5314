//! `synapse whoami`: which platform is talked to, as whom, and whether it agrees.

use serde_json::{Value, json};
use synapse_engine::Failure;
use synapse_rules::platform::Auth;

use super::reach;
use crate::{
    app::App,
    args,
    profile::{self, Origin, Profile},
    render::{BAD, DIM, GOOD, Printer, WARN, error, paint},
};

/// Runs the command; returns the exit code.
pub fn run(app: &App, args: &args::Whoami) -> Result<u8, Failure> {
    let profile = profile::resolve(app, &args.connection, None)?;
    let failure = if profile.embedded {
        None
    } else {
        ask(app, &profile).err()
    };
    if failure
        .as_ref()
        .is_some_and(|failure| failure.code == "cancelled")
    {
        return Err(Failure::cancelled());
    }
    let mut printer = Printer::stdout(&app.output);
    if app.output.is_machine() {
        printer.json(&document(app, &profile, failure.as_ref()));
    } else if !app.output.quiet {
        for (name, text) in lines(app, &profile, failure.as_ref()) {
            printer.line(format!("{name:8} {text}"));
        }
    }
    if let Some(failure) = &failure
        && !app.output.is_machine()
    {
        printer.flush();
        error::print(&mut Printer::stderr(&app.output), failure);
    }
    Ok(failure.map_or(0, |failure| error::exit_code(failure.kind)))
}

fn ask(app: &App, profile: &Profile) -> Result<(), Failure> {
    let auth = profile.auth()?.clone();
    let host = profile::parse_host(app, &profile.host, profile.host_from)?;
    let platform = reach::platform(app, &host, Some(auth), profile.allow_http)?;
    reach::is_accepted(&platform).map_err(|error| error.failure(&host.short()))
}

/// Whether the platform takes the token; nothing when that is not known.
fn accepted(profile: &Profile, failure: Option<&Failure>) -> Option<bool> {
    profile.auth.as_ref()?;
    match failure {
        None => Some(true),
        Some(failure) if failure.code == "not-authenticated" => Some(false),
        Some(_) => None,
    }
}

/// Where a token comes from, in words.
pub(super) fn whence(app: &App, from: Origin) -> String {
    match from {
        Origin::Flag => "from --token".to_owned(),
        Origin::Environment => "from SYNAPSE_ACCESS_TOKEN".to_owned(),
        Origin::File | Origin::Default => format!("from {}", app.home.config_file().display()),
    }
}

fn lines(app: &App, profile: &Profile, failure: Option<&Failure>) -> Vec<(&'static str, String)> {
    let mut lines = vec![("profile", profile.name.clone())];
    if profile.embedded {
        let folder = app.home.backend();
        lines.push((
            "backend",
            format!("{}, which needs no token", folder.display()),
        ));
        return lines;
    }
    let host_from = match profile.host_from {
        Origin::Flag => " (from --host)",
        Origin::Environment => " (from SYNAPSE_HOST)",
        Origin::File | Origin::Default => "",
    };
    lines.push(("host", format!("{}{}", profile.host, paint(DIM, host_from))));
    let token = match (profile.token_from, accepted(profile, failure)) {
        (None, _) => paint(WARN, "none"),
        (Some(from), Some(true)) => format!("{}, {}", whence(app, from), paint(GOOD, "accepted")),
        (Some(from), Some(false)) => format!("{}, {}", whence(app, from), paint(BAD, "refused")),
        (Some(from), None) => format!("{}, not checked", whence(app, from)),
    };
    lines.push(("token", token));
    if let Some(tenant) = &profile.tenant {
        lines.push(("tenant", tenant.clone()));
    }
    if let Some(agent) = &profile.agent {
        let name = agent.name.as_ref().map(|name| format!(" ({name})"));
        lines.push(("agent", format!("{}{}", agent.id, name.unwrap_or_default())));
    }
    lines
}

fn document(app: &App, profile: &Profile, failure: Option<&Failure>) -> Value {
    let kind = profile.auth.as_ref().map(|auth| match auth {
        Auth::Access(_) => "access",
        Auth::User { .. } => "user",
    });
    let errors = failure.map(error::flatten).unwrap_or_default();
    let errors = errors.into_iter().map(error::ErrorObject::from);
    json!({
        "schema": 1, "command": "whoami", "ok": failure.is_none(),
        "profile": profile.name, "embedded": profile.embedded,
        "host": (!profile.embedded).then_some(&profile.host),
        "host_from": (!profile.embedded).then(|| profile.host_from.to_string()),
        "token": kind, "token_from": profile.token_from.map(|from| from.to_string()),
        "tenant": profile.tenant,
        "agent": profile.agent.as_ref().map(|agent| json!({"id": agent.id, "name": agent.name})),
        "accepted": accepted(profile, failure),
        "config": app.home.config_file().display().to_string(),
        "errors": errors.collect::<Vec<_>>(),
    })
}
