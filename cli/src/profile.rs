//! Owns which platform a command talks to, and as whom: flags, then the environment, then the
//! saved logins. A saved token goes to the server that it was saved for and to no other.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
};

use synapse_engine::Failure;
use synapse_rules::platform::{Auth, BadHost, BadToken, Host, Secret};

use crate::{
    app::App,
    args::Connection,
    commands::nearest,
    credentials::{self, Agent, DEFAULT, LOCAL, Login, Saved},
    input,
    render::{HINT, Printer, WARN, paint},
};

/// The platform, where nothing names another.
pub const DEFAULT_HOST: &str = "https://api.synapse.sh";
/// Longest token that is read from a pipe.
const LONGEST_TOKEN: usize = 16 * 1024;

/// Where a setting comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// An option of the command.
    Flag,
    /// A variable of the environment.
    Environment,
    /// The configuration file.
    File,
    /// Nowhere: it is what holds without any.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Flag => "flag",
            Self::Environment => "environment",
            Self::File => "file",
            Self::Default => "default",
        })
    }
}

/// The platform that a command talks to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Its name: of the saved login, or its address where there is none.
    pub name: String,
    /// Its address, without a slash at the end; empty for the embedded backend.
    pub host: String,
    /// Who asks; nothing when nobody logged in there.
    pub auth: Option<Auth>,
    /// The tenant, where one is named.
    pub tenant: Option<String>,
    /// The agent that runs actions there.
    pub agent: Option<Agent>,
    /// It is the embedded backend of this machine.
    pub embedded: bool,
    /// Tokens may go there over plain http.
    pub allow_http: bool,
    /// Where the address comes from.
    pub host_from: Origin,
    /// Where the token comes from.
    pub token_from: Option<Origin>,
}

impl Profile {
    /// The embedded backend.
    pub fn embedded() -> Self {
        Self {
            name: LOCAL.to_owned(),
            host: String::new(),
            auth: None,
            tenant: None,
            agent: None,
            embedded: true,
            allow_http: false,
            host_from: Origin::Default,
            token_from: None,
        }
    }

    /// Who asks, or what to do where nobody logged in.
    pub fn auth(&self) -> Result<&Auth, Failure> {
        self.auth.as_ref().ok_or_else(|| {
            Failure::environment(
                "not-authenticated",
                "Not authenticated. Run synapse login first",
            )
            .hint("--local publishes into the embedded backend on this machine and needs no login")
        })
    }
}

/// A variable of the environment that is set to something.
pub fn variable(app: &App, name: &str) -> Result<Option<String>, Failure> {
    let Some(value) = (app.variable)(name).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    value.into_string().map(Some).map_err(|_| {
        Failure::user("usage", format!("{name} is not UTF-8")).hint("set it anew, or unset it")
    })
}

/// The platform that the options of a command, the environment and the saved logins name.
/// `wanted` is a profile that the command names in another way, such as one of several targets.
///
/// A profile that the command line names is taken as a whole, with its address and its token;
/// the environment adds what it lacks.
pub fn resolve(
    app: &App,
    connection: &Connection,
    wanted: Option<&str>,
) -> Result<Profile, Failure> {
    let named = wanted.or(connection.profile.as_deref());
    if named == Some(LOCAL) {
        return local_by_name(connection);
    }
    let from_environment = variable(app, "SYNAPSE_PROFILE")?;
    let saved = Saved::load(&app.home.config_file())?;
    let (host_flag, token_flag) = (&connection.host, &connection.token);
    let host_variable = variable(app, "SYNAPSE_HOST")?;
    let (name, name_from) = match (named, from_environment, saved.chosen()) {
        (Some(name), ..) => (name.to_owned(), Origin::Flag),
        (None, Some(name), _) => (name, Origin::Environment),
        (None, None, Some(name)) => (name, Origin::File),
        (None, None, None) => (DEFAULT.to_owned(), Origin::Default),
    };
    let mut chosen = if name == LOCAL {
        // An address that is named nearer than the profile is meant instead.
        let other = host_flag.is_some()
            || token_flag.is_some()
            || (name_from == Origin::File && host_variable.is_some());
        if !other {
            return Ok(Profile::embedded());
        }
        (DEFAULT.to_owned(), Login::default())
    } else {
        let login = match saved.login(&name) {
            Some(login) => login,
            None if name == DEFAULT => Login::default(),
            None => return Err(unknown(app, &saved, &name, name_from)),
        };
        (name, login)
    };
    let own = chosen.1.host.clone();
    let given = match name_from {
        Origin::Flag => [
            (host_flag, Origin::Flag),
            (&own, Origin::File),
            (&host_variable, Origin::Environment),
        ],
        _ => [
            (host_flag, Origin::Flag),
            (&host_variable, Origin::Environment),
            (&own, Origin::File),
        ],
    };
    let (host, host_from) = given
        .iter()
        .find_map(|(text, from)| Some((text.as_deref()?, *from)))
        .unwrap_or((DEFAULT_HOST, Origin::Default));
    let host = parse_host(app, host, host_from)?;
    refuse_insecure(&host, connection.allow_http)?;

    if !is_for(&chosen.1, &host) {
        chosen = match saved_for(&saved, &host) {
            Some(other) if name_from != Origin::Flag => other,
            _ => (host.short(), Login::default()),
        };
    }
    let (name, login) = chosen;
    let mut profile = Profile {
        name,
        host: host.url(),
        auth: None,
        tenant: variable(app, "SYNAPSE_TENANT")?.or_else(|| login.tenant.clone()),
        agent: login.agent.clone(),
        embedded: false,
        allow_http: connection.allow_http,
        host_from,
        token_from: None,
    };
    let piped = match token_flag {
        Some(token) if token.expose() == "-" => Some(read_piped_token(app)?),
        Some(token) => Some(checked(token.expose(), "--token")?),
        None => None,
    };
    let from_variable = match variable(app, "SYNAPSE_ACCESS_TOKEN")? {
        Some(text) => Some(checked(&text, "SYNAPSE_ACCESS_TOKEN")?),
        None => None,
    };
    // A token in the environment beside an address there is meant for that address.
    let is_elsewhere = host_variable
        .as_deref()
        .and_then(|text| Host::parse(text).ok())
        .is_some_and(|other| !other.is_same_server(&host));
    let from_variable = from_variable.filter(|_| !is_elsewhere);
    let piped = piped.map(|token| (Auth::Access(token), Origin::Flag));
    let from_variable = from_variable.map(|token| (Auth::Access(token), Origin::Environment));
    let nearer = match name_from {
        Origin::Flag => piped,
        _ => piped.or_else(|| from_variable.clone()),
    };
    let auth = match nearer {
        Some(auth) => Some(auth),
        None => stored(app, &login, profile.tenant.as_deref())?.or(from_variable),
    };
    if let Some((auth, from)) = auth {
        if from == Origin::File {
            warn_of_exposed(app);
        }
        (profile.auth, profile.token_from) = (Some(auth), Some(from));
    }
    Ok(profile)
}

fn local_by_name(connection: &Connection) -> Result<Profile, Failure> {
    if connection.host.is_some() || connection.token.is_some() {
        let what = "the profile local is the embedded backend on this machine: it has no host and no token";
        return Err(
            Failure::usage(what).hint("leave out --host and --token, or name another profile")
        );
    }
    Ok(Profile::embedded())
}

/// The token of a saved login.
fn stored(
    app: &App,
    login: &Login,
    tenant: Option<&str>,
) -> Result<Option<(Auth, Origin)>, Failure> {
    let file = app.home.config_file().display().to_string();
    let auth = match (&login.access_token, &login.user_token, tenant) {
        (Some(token), ..) => Auth::Access(checked(token.expose(), &file)?),
        (None, Some(token), Some(tenant)) => Auth::User {
            token: checked(token.expose(), &file)?,
            tenant: tenant.to_owned(),
        },
        (None, Some(_), None) => {
            let what = "the saved user token has no tenant to act for";
            return Err(Failure::user("not-authenticated", what)
                .at(file)
                .hint("set SYNAPSE_TENANT, or log in again with --tenant"));
        }
        (None, None, _) => return Ok(None),
    };
    Ok(Some((auth, Origin::File)))
}

/// Whether a login was saved for the server of `host`.
pub fn is_for(login: &Login, host: &Host) -> bool {
    let own = login.host.as_deref().unwrap_or(DEFAULT_HOST);
    Host::parse(own).is_ok_and(|own| own.is_same_server(host))
}

/// The saved login for the server of `host`, if there is exactly one.
fn saved_for(saved: &Saved, host: &Host) -> Option<(String, Login)> {
    let mut found = saved.names().into_iter().filter_map(|name| {
        let login = saved.login(&name)?;
        (login.has_token() && is_for(&login, host)).then_some((name, login))
    });
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

/// A profile that is not there.
pub fn unknown(app: &App, saved: &Saved, name: &str, from: Origin) -> Failure {
    let names = saved.names();
    let known = names.iter().map(String::as_str).chain([LOCAL]);
    let hint = match nearest(name, known.clone()) {
        Some(near) => format!("did you mean {near}?"),
        None => format!(
            "there are {}; `synapse login --profile {name}` adds it",
            known.collect::<Vec<_>>().join(", ")
        ),
    };
    let failure = Failure::user("unknown-profile", format!("there is no profile {name}"));
    let failure = match from {
        Origin::Flag | Origin::Default => failure,
        Origin::Environment => failure.at("SYNAPSE_PROFILE"),
        Origin::File => failure.at(app.home.config_file().display().to_string()),
    };
    failure.hint(hint)
}

/// Reads an address, with where it comes from in the error.
pub fn parse_host(app: &App, text: &str, from: Origin) -> Result<Host, Failure> {
    Host::parse(text).map_err(|error: BadHost| {
        let place = match from {
            Origin::Flag | Origin::Default => "--host".to_owned(),
            Origin::Environment => "SYNAPSE_HOST".to_owned(),
            Origin::File => app.home.config_file().display().to_string(),
        };
        Failure::user("host", error.to_string())
            .at(place)
            .hint(error.hint())
    })
}

/// Over plain http anyone on the way can read a token.
pub fn refuse_insecure(host: &Host, allow_http: bool) -> Result<(), Failure> {
    if host.is_private() || allow_http {
        return Ok(());
    }
    let what = format!("{host} is plain http: anyone on the way could read the token");
    Err(Failure::environment("insecure-host", what)
        .hint("use https, or --allow-http in a network that you trust"))
}

/// A token, or what is wrong with it and where it is.
pub fn checked(text: &str, place: &str) -> Result<Secret, Failure> {
    Secret::token(text).map_err(|error: BadToken| {
        Failure::user("token", error.to_string())
            .at(place)
            .hint("give the token alone, as the platform showed it")
    })
}

/// The token on standard input, which is read once.
pub fn read_piped_token(app: &App) -> Result<Secret, Failure> {
    static READ: Mutex<Option<Secret>> = Mutex::new(None);
    let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(token) = &*read {
        return Ok(token.clone());
    }
    let bytes = input::whole(&app.cancel, LONGEST_TOKEN).map_err(|error| {
        if error.kind() == std::io::ErrorKind::Interrupted {
            return Failure::cancelled();
        }
        Failure::environment("token", format!("cannot read standard input: {error}"))
            .hint("pipe the token in, or set SYNAPSE_ACCESS_TOKEN")
    })?;
    // What is no UTF-8 becomes what no token holds.
    let token = checked(&String::from_utf8_lossy(&bytes), "standard input")?;
    Ok(read.insert(token).clone())
}

/// Says that others may read the saved tokens.
fn warn_of_exposed(app: &App) {
    let path = app.home.config_file();
    let Some(mode) = credentials::exposed(&path) else {
        return;
    };
    if app.output.quiet || app.output.is_machine() || app.warned.set(()).is_err() {
        return;
    }
    let mut printer = Printer::stderr(&app.output);
    let shown = path.display();
    printer.line(format!(
        "{} others may read the saved tokens (mode {mode:03o})",
        paint(WARN, "warning:")
    ));
    printer.line(format!("  --> {shown}"));
    printer.line(format!("{} chmod 600 {shown}", paint(HINT, "hint:")));
}

#[cfg(test)]
mod tests;
