//! `synapse login`: asks for a token, has it checked, and saves it for the platform it is for.

use std::io::IsTerminal;

use serde_json::json;
use synapse_engine::Failure;
use synapse_rules::platform::{Auth, Host, PlatformError, Secret};

use super::reach;
use crate::{
    app::App,
    args,
    credentials::{self, DEFAULT, LOCAL, Login, Saved},
    profile::{self, DEFAULT_HOST, Origin},
    render::{DIM, HINT, Printer, WARN, paint},
};

/// Longest name of a profile.
const LONGEST_NAME: usize = 64;

/// Runs the command; returns the exit code.
pub fn run(app: &App, args: &args::Login) -> Result<u8, Failure> {
    if args.local || args.profile.as_deref() == Some(LOCAL) {
        return local(app, args);
    }
    let path = app.home.config_file();
    let saved = Saved::load(&path)?;
    let place = place(app, args, &saved)?;
    profile::refuse_insecure(&place.host, args.allow_http)?;
    let token = token(app, args, &place.host)?;
    let auth = match &args.tenant {
        Some(tenant) => Auth::User {
            token,
            tenant: tenant.clone(),
        },
        None => Auth::Access(token),
    };
    if !args.no_check {
        check(app, &place.host, &auth, args.allow_http)?;
    }
    let is_default = credentials::change(&path, app.hook.as_ref(), |saved| {
        Ok(save(saved, &place, &auth, args.default))
    })?;
    say(app, args, &place, &saved, is_default);
    Ok(0)
}

/// The embedded backend becomes the default.
fn local(app: &App, args: &args::Login) -> Result<u8, Failure> {
    if args.host.is_some() || args.token.is_some() || args.tenant.is_some() {
        let what = "the profile local is the embedded backend on this machine: it has no host and no token";
        return Err(Failure::usage(what).hint("name another profile"));
    }
    let path = app.home.config_file();
    credentials::change(&path, app.hook.as_ref(), |saved| {
        saved.choose(Some(LOCAL));
        Ok(())
    })?;
    let mut printer = Printer::stdout(&app.output);
    if app.output.is_machine() {
        printer.json(
            &json!({"schema": 1, "command": "login", "ok": true, "profile": LOCAL,
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

/// What is logged in to.
struct Place {
    /// The profile's name.
    name: String,
    /// The command names it, or the environment does.
    is_named: bool,
    host: Host,
}

/// A named profile; else the one in use, unless another address is given.
fn place(app: &App, args: &args::Login, saved: &Saved) -> Result<Place, Failure> {
    let named = match &args.profile {
        Some(name) => Some(name.clone()),
        None => profile::variable(app, "SYNAPSE_PROFILE")?.filter(|name| name != LOCAL),
    };
    if let Some(name) = &named {
        expect_name(name)?;
    }
    let is_named = named.is_some();
    let used = saved.chosen().filter(|name| name != LOCAL);
    let name = named.or(used).unwrap_or_else(|| DEFAULT.to_owned());
    let own = saved.login(&name).and_then(|login| login.host);
    let variable = profile::variable(app, "SYNAPSE_HOST")?;
    let (given, from) = match (&args.host, variable, &own) {
        (Some(host), ..) => (host.clone(), Origin::Flag),
        // What is logged in to anew stays where it is.
        (None, _, Some(own)) if is_named => (own.clone(), Origin::File),
        (None, Some(host), _) => (host, Origin::Environment),
        (None, None, Some(own)) => (own.clone(), Origin::File),
        (None, None, None) => (DEFAULT_HOST.to_owned(), Origin::Default),
    };
    let host = profile::parse_host(app, &given, from)?;
    let is_other = !saved
        .login(&name)
        .is_none_or(|login| profile::is_for(&login, &host));
    // Another server takes no place of a profile that has a name of its own.
    let name = if is_other && !is_named {
        DEFAULT.to_owned()
    } else {
        name
    };
    Ok(Place {
        name,
        is_named,
        host,
    })
}

fn expect_name(name: &str) -> Result<(), Failure> {
    let fits = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | '.');
    if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(fits) {
        let what = format!("{name:?} is no name of a profile");
        return Err(
            Failure::usage(what).hint("take letters, digits, dots, hyphens and underscores")
        );
    }
    Ok(())
}

/// The token: of the option, of a pipe, or typed.
fn token(app: &App, args: &args::Login, host: &Host) -> Result<Secret, Failure> {
    let usage = |failure: Failure| Failure {
        kind: synapse_engine::FailureKind::Usage,
        ..failure
    };
    let given = args.token.as_ref().filter(|token| token.expose() != "-");
    if let Some(token) = given {
        return profile::checked(token.expose(), "--token").map_err(usage);
    }
    if args.token.is_some() || !std::io::stdin().is_terminal() {
        return profile::read_piped_token(app).map_err(|failure| {
            if failure.code == "cancelled" {
                return failure;
            }
            if failure.code == "token" && failure.message.ends_with("is empty") {
                return Failure::usage("no token came through standard input").hint(
                    "type it on a terminal, or pipe it in: synapse login --token - < FILE; \
                     `synapse login --local` needs none",
                );
            }
            usage(failure)
        });
    }
    let typed = rpassword::prompt_password(format!("Token for {host}: "));
    let typed = typed.map_err(|error| match error.kind() {
        std::io::ErrorKind::Interrupted => Failure::cancelled(),
        std::io::ErrorKind::UnexpectedEof => Failure::usage("no token was typed")
            .hint("paste the token that the platform showed, then press Enter"),
        _ => Failure::environment("token", format!("cannot ask on the terminal: {error}"))
            .hint("pipe the token in: synapse login --token - < FILE"),
    })?;
    profile::checked(&typed, "the terminal").map_err(usage)
}

/// Asks the platform about the token.
fn check(app: &App, host: &Host, auth: &Auth, allow_http: bool) -> Result<(), Failure> {
    let platform = reach::platform(app, host, Some(auth.clone()), allow_http)?;
    let Err(error) = reach::is_accepted(&platform) else {
        return Ok(());
    };
    let failure = error.failure(&host.short());
    Err(match &error {
        PlatformError::NotAuthenticated(said) => Failure {
            message: format!("{} does not accept the token: {said}", host.short()),
            ..failure
        }
        .hint("nothing was saved; make a token there, and paste all of it"),
        _ if failure.code == "cancelled" => failure,
        _ => {
            let hint = failure.hint.clone().unwrap_or_default();
            failure.hint(format!(
                "nothing was saved; {hint}{}--no-check saves the token all the same",
                if hint.is_empty() { "" } else { "; " }
            ))
        }
    })
}

/// Saves the login; whether it is the one used from now on when nothing names another.
fn save(saved: &mut Saved, place: &Place, auth: &Auth, default: bool) -> bool {
    let is_first = saved.chosen().is_none()
        && !saved
            .names()
            .iter()
            .filter_map(|name| saved.login(name))
            .any(|login| login.has_token());
    let before = saved.login(&place.name).unwrap_or_default();
    let kept = profile::is_for(&before, &place.host);
    let mut login = Login {
        host: Some(place.host.url()),
        agent: before.agent.filter(|_| kept),
        ..Login::default()
    };
    match auth {
        Auth::Access(token) => login.access_token = Some(token.clone()),
        Auth::User { token, tenant } => {
            login.user_token = Some(token.clone());
            login.tenant = Some(tenant.clone());
        }
    }
    saved.set_login(&place.name, &login);
    if default || is_first || !place.is_named {
        let name = Some(place.name.as_str()).filter(|name| *name != DEFAULT);
        saved.choose(name);
    }
    saved.chosen().as_deref().unwrap_or(DEFAULT) == place.name
}

fn say(app: &App, args: &args::Login, place: &Place, before: &Saved, is_default: bool) {
    let mut printer = Printer::stdout(&app.output);
    let Place { name, host, .. } = place;
    let path = app.home.config_file();
    if app.output.is_machine() {
        printer.json(&json!({
            "schema": 1, "command": "login", "ok": true, "profile": name, "host": host.url(),
            "tenant": args.tenant, "default": is_default, "checked": !args.no_check,
            "path": path.display().to_string(),
        }));
        return;
    }
    let mut notes = Printer::stderr(&app.output);
    if args
        .token
        .as_ref()
        .is_some_and(|token| token.expose() != "-")
        && !app.output.quiet
    {
        notes.line(format!(
            "{} others on this machine can see the arguments of a command",
            paint(WARN, "warning:")
        ));
        notes.line(format!(
            "{} pipe the token in with --token -",
            paint(HINT, "hint:")
        ));
    }
    if app.output.quiet {
        return;
    }
    let unchecked = if args.no_check { ", not checked" } else { "" };
    printer.line(format!("logged in to {host} as profile {name}{unchecked}"));
    if let Some(old) = before.login(name)
        && old.has_token()
        && !profile::is_for(&old, host)
    {
        let old = old.host.as_deref().unwrap_or(DEFAULT_HOST);
        let old = Host::parse(old).map_or_else(|error| error.to_string(), |host| host.url());
        printer.line(paint(DIM, format!("it replaces the login to {old}")));
    }
    if !is_default {
        let how = format!("`synapse profile use {name}` makes it the default");
        printer.line(paint(DIM, how));
    }
    if (app.variable)("SYNAPSE_ACCESS_TOKEN").is_some_and(|token| !token.is_empty()) {
        printer.line(paint(
            DIM,
            "SYNAPSE_ACCESS_TOKEN is set in this shell, and used before what is saved",
        ));
    }
}
