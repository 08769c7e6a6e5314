//! `synapse agent`: which agent of a platform runs actions.

use std::io::IsTerminal;

use serde_json::{Value, json};
use synapse_engine::Failure;
use synapse_rules::platform::{Platform, PlatformError};

use super::{nearest, reach};
use crate::{
    app::App,
    args::AgentCommand,
    credentials::{self, Agent},
    input,
    profile::{self, Profile},
    render::{BOLD, DIM, Printer, paint},
};

/// Longest line that answers a question.
const LONGEST_LINE: usize = 4096;

/// Runs the command; returns the exit code.
pub fn run(app: &App, command: &AgentCommand) -> Result<u8, Failure> {
    let resolve = |connection| profile::resolve(app, connection, None);
    match command {
        AgentCommand::Show { connection } => {
            show(app, &resolve(connection)?);
            Ok(0)
        }
        AgentCommand::List { connection } => list(app, &resolve(connection)?),
        AgentCommand::Select { agent, connection } => {
            select(app, &resolve(connection)?, agent.as_deref())
        }
        AgentCommand::Clear { connection } => {
            let profile = resolve(connection)?;
            note(app, &profile, None)?;
            say(app, "agent clear", &profile, None);
            Ok(0)
        }
    }
}

/// An agent as the platform lists it.
struct Listed {
    agent: Agent,
    status: String,
}

impl Listed {
    fn of(value: &Value) -> Option<Self> {
        // Whoever named it may have put more than a name into it.
        let clean = |text: &str| text.chars().filter(|char| !char.is_control()).collect();
        let text = |name: &str| value.get(name).and_then(Value::as_str).map(clean);
        Some(Self {
            agent: Agent {
                id: credentials::id(value.get("id")?)?,
                name: text("name"),
            },
            status: text("status").unwrap_or_default(),
        })
    }

    fn name(&self) -> &str {
        self.agent.name.as_deref().unwrap_or_default()
    }

    fn json(&self, chosen: Option<&Agent>) -> Value {
        json!({"id": self.agent.id, "name": self.agent.name, "status": self.status,
               "selected": chosen.is_some_and(|chosen| chosen.id == self.agent.id)})
    }
}

fn listed(app: &App, profile: &Profile) -> Result<Vec<Listed>, Failure> {
    refuse_embedded(profile)?;
    let auth = profile.auth()?.clone();
    let host = profile::parse_host(app, &profile.host, profile.host_from)?;
    let platform: Platform = reach::platform(app, &host, Some(auth), profile.allow_http)?;
    let busy = reach::waiting(&platform);
    let agents = platform.agents();
    drop(busy);
    let agents = match agents {
        // One that knows no agents has none.
        Err(PlatformError::NotFound(_)) => Vec::new(),
        agents => agents.map_err(|error| error.failure(&host.short()))?,
    };
    Ok(agents.iter().filter_map(Listed::of).collect())
}

fn refuse_embedded(profile: &Profile) -> Result<(), Failure> {
    if !profile.embedded {
        return Ok(());
    }
    let what = "the embedded backend runs actions on this machine: there is no agent to choose";
    Err(Failure::usage(what).hint("name a platform with --profile or --host"))
}

fn select(app: &App, profile: &Profile, wanted: Option<&str>) -> Result<u8, Failure> {
    let mut agents = listed(app, profile)?;
    if agents.is_empty() {
        let what = format!("{} has no agents", profile.host);
        return Err(Failure::environment("no-agent", what)
            .hint("connect one to the platform, or ask whoever runs it"));
    }
    let at = match wanted {
        Some(wanted) => find(&agents, wanted)?,
        None => ask(app, profile, &agents)?,
    };
    let chosen = agents.swap_remove(at);
    note(app, profile, Some(&chosen.agent))?;
    say(app, "agent select", profile, Some(&chosen.agent));
    Ok(0)
}

/// The one with that id, else the only one with that name.
fn find(agents: &[Listed], wanted: &str) -> Result<usize, Failure> {
    if let Some(at) = agents.iter().position(|own| own.agent.id == wanted) {
        return Ok(at);
    }
    let mut named = (0..agents.len()).filter(|at| agents[*at].name() == wanted);
    match (named.next(), named.next()) {
        (Some(at), None) => Ok(at),
        (Some(_), Some(_)) => Err(Failure::user(
            "no-agent",
            format!("several agents are called {wanted}"),
        )
        .hint("name it by its id: `synapse agent list` shows them")),
        (None, _) => {
            let names = || agents.iter().map(Listed::name);
            let hint = match nearest(wanted, names()) {
                Some(near) => format!("did you mean {near}?"),
                None => "`synapse agent list` shows those that there are".to_owned(),
            };
            Err(Failure::user("no-agent", format!("there is no agent {wanted}")).hint(hint))
        }
    }
}

/// Lets the person at the terminal choose.
fn ask(app: &App, profile: &Profile, agents: &[Listed]) -> Result<usize, Failure> {
    if !std::io::stdin().is_terminal() || app.output.is_machine() {
        return Err(Failure::usage("which agent?")
            .hint("name its id or name: `synapse agent list` shows them"));
    }
    let mut printer = Printer::stdout(&app.output);
    print(&mut printer, profile, agents, true);
    printer.text("Number: ");
    printer.flush();
    let line = input::line(&app.cancel, LONGEST_LINE).map_err(|error| {
        if error.kind() == std::io::ErrorKind::Interrupted {
            return Failure::cancelled();
        }
        Failure::environment("terminal", format!("cannot read the terminal: {error}"))
            .hint("name the agent's id instead")
    })?;
    let line = String::from_utf8_lossy(&line);
    let given = line.trim();
    let number = given.parse::<usize>().ok();
    number
        .filter(|number| (1..=agents.len()).contains(number))
        .map(|number| number - 1)
        .ok_or_else(|| {
            Failure::usage(format!("{given:?} is no number of the list"))
                .hint(format!("type a number from 1 to {}", agents.len()))
        })
}

fn print(printer: &mut Printer, profile: &Profile, agents: &[Listed], numbered: bool) {
    let width = |of: fn(&Listed) -> &str| {
        let widths = agents.iter().map(|agent| of(agent).chars().count());
        widths.max().unwrap_or(0)
    };
    let (ids, names) = (width(|own| &own.agent.id), width(Listed::name));
    for (index, own) in agents.iter().enumerate() {
        let chosen = profile.agent.as_ref();
        let mark = match numbered {
            true => format!("{:>3}.", index + 1),
            false if chosen.is_some_and(|chosen| chosen.id == own.agent.id) => "*".to_owned(),
            false => " ".to_owned(),
        };
        let name = own.name();
        let pad = " ".repeat(names - name.chars().count());
        printer.line(format!(
            "{mark} {:ids$}  {}{pad}  {}",
            own.agent.id,
            paint(BOLD, name),
            paint(DIM, &own.status)
        ));
    }
}

fn list(app: &App, profile: &Profile) -> Result<u8, Failure> {
    let agents = listed(app, profile)?;
    let mut printer = Printer::stdout(&app.output);
    if app.output.is_machine() {
        let chosen = profile.agent.as_ref();
        let agents: Vec<Value> = agents.iter().map(|own| own.json(chosen)).collect();
        printer.json(&json!({"schema": 1, "command": "agent list", "ok": true,
                             "profile": profile.name, "agents": agents}));
    } else if agents.is_empty() {
        printer.line(format!("{} has no agents", profile.host));
    } else {
        print(&mut printer, profile, &agents, false);
    }
    Ok(0)
}

fn show(app: &App, profile: &Profile) {
    if profile.embedded && !app.output.is_machine() {
        Printer::stdout(&app.output).line("the embedded backend runs actions on this machine");
        return;
    }
    say(app, "agent show", profile, profile.agent.as_ref());
}

/// Saves the choice with the login that it belongs to.
fn note(app: &App, profile: &Profile, agent: Option<&Agent>) -> Result<(), Failure> {
    refuse_embedded(profile)?;
    credentials::change(&app.home.config_file(), app.hook.as_ref(), |saved| {
        if saved.login(&profile.name).is_none() {
            let what = format!(
                "there is no saved login for {} to keep the agent with",
                profile.host
            );
            return Err(Failure::user("not-authenticated", what).hint(format!(
                "log in to it: synapse login --host {}",
                profile.host
            )));
        }
        saved.set_agent(&profile.name, agent);
        Ok(())
    })
}

fn say(app: &App, command: &str, profile: &Profile, agent: Option<&Agent>) {
    let mut printer = Printer::stdout(&app.output);
    if app.output.is_machine() {
        let agent = agent.map(|agent| json!({"id": agent.id, "name": agent.name}));
        printer.json(&json!({"schema": 1, "command": command, "ok": true,
                             "profile": profile.name, "agent": agent}));
        return;
    }
    if app.output.quiet && command != "agent show" {
        return;
    }
    printer.line(match agent {
        Some(Agent { id, name }) => {
            let name = name.as_ref().map(|name| format!(" ({name})"));
            format!("agent {id}{} of {}", name.unwrap_or_default(), profile.name)
        }
        None => format!("no agent is chosen: {} decides", profile.name),
    });
}
