//! The `synapse` command as a library: arguments, rendering, errors to text and exit codes.
//! Everything that works is in the crates below; only here does it become text.

pub mod app;
pub mod args;
pub mod commands;
pub mod connect;
pub mod credentials;
pub mod home;
pub mod input;
pub mod language;
pub mod params;
pub mod profile;
pub mod prompt;
pub mod record;
pub mod render;
pub mod select;
pub mod signals;
pub mod stores;
pub mod terminal;
pub mod watch;

use std::{ffi::OsString, process::ExitCode, time::Instant};

use clap::{CommandFactory, FromArgMatches};
use synapse_engine::{Failure, store::Hook};

use self::{
    app::App,
    args::{Cli, Command, Dev, PluginCommand},
    commands::choice::Choice,
    render::{Printer, error},
};

/// Runs the command line of this process. `hook` is for fault tests: it is called before every
/// step that changes the store, the ledger or the embedded backend.
pub fn main(hook: Option<Hook>) -> ExitCode {
    // Before anything else: it is a Python interpreter then, and none of our business is its.
    if let Some(code) = commands::worker::become_python() {
        return code;
    }
    let start = Instant::now();
    let given = Cli::command().try_get_matches();
    let parsed = given.and_then(|given| Ok((Cli::from_arg_matches(&given)?, name(&given))));
    let (cli, name) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => {
            misuse(&error);
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let output = cli.output.clone();
    let outcome = App::new(output.clone(), |name| std::env::var_os(name), hook).and_then(|app| {
        app.signals.listen(&app.cancel);
        run(&app, &cli.command)
    });
    let failed = |failure| {
        let action = match &cli.command {
            Command::Plugin(PluginCommand::Run(args)) => Some(args.action.as_str()),
            Command::Plugin(PluginCommand::Infer(_)) => Some(Choice::Inference.usual()),
            Command::Plugin(PluginCommand::Deploy(_)) => Some(Choice::Deployment.usual()),
            _ => None,
        };
        report(&output, &name, action, &failure, start)
    };
    ExitCode::from(outcome.unwrap_or_else(failed))
}

/// Wrong use before there are options: text for people, and a document for a program that asked
/// for one.
fn misuse(error: &clap::Error) {
    let asked = |option: &str| std::env::args_os().any(|argument| argument == option);
    let output = args::Output {
        json: asked("--json"),
        events: asked("--events"),
        ..args::Output::default()
    };
    if !error.use_stderr() || !output.is_machine() {
        let _ = error.print();
        return;
    }
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    let message = first.strip_prefix("error: ").unwrap_or(first);
    let failure = Failure::usage(message).hint("--help lists what there is");
    let name = meant(std::env::args_os().skip(1));
    report(&output, &name, None, &failure, Instant::now());
}

/// The name of a command as its documents have it: `publish`, `runs show`.
fn name(given: &clap::ArgMatches) -> String {
    let mut words = Vec::new();
    let mut at = given.subcommand();
    while let Some((word, below)) = at {
        words.push(word);
        at = below.subcommand();
    }
    joined(&words)
}

/// The name of the command that arguments which are not right were meant for.
fn meant(arguments: impl Iterator<Item = OsString>) -> String {
    let mut at = Cli::command();
    let mut words = Vec::new();
    for argument in arguments {
        let Some(below) = at.find_subcommand(&argument).cloned() else {
            continue;
        };
        words.push(below.get_name().to_owned());
        at = below;
    }
    joined(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

fn joined(words: &[&str]) -> String {
    match words {
        [] => "synapse".to_owned(),
        ["plugin", rest @ ..] if !rest.is_empty() => rest.join(" "),
        words => words.join(" ").trim_start_matches('_').to_owned(),
    }
}

fn run(app: &App, command: &Command) -> Result<u8, Failure> {
    match command {
        Command::Plugin(PluginCommand::Create(args)) => commands::create::run(app, args),
        Command::Plugin(PluginCommand::Publish(args)) => commands::publish::run(app, args),
        Command::Plugin(PluginCommand::Run(args)) => {
            commands::run::run(app, Choice::Named(&args.action), &args.options)
        }
        Command::Plugin(PluginCommand::Infer(args)) => {
            commands::run::run(app, Choice::Inference, args)
        }
        Command::Plugin(PluginCommand::Deploy(args)) => {
            commands::run::run(app, Choice::Deployment, args)
        }
        Command::Plugin(PluginCommand::Upload(args)) => commands::upload::run(app, args),
        Command::Plugin(PluginCommand::UpdateConfig(args)) => {
            commands::update_config::run(app, args)
        }
        Command::Plugin(PluginCommand::Lock(args)) => commands::lock::run(app, args),
        Command::Dev(Dev::Run(args)) => commands::dev::run(app, args),
        Command::Dev(Dev::Publish(args)) => commands::dev::publish(app, args),
        Command::Plan(args) => commands::plan::run(app, args),
        Command::Explain(args) => commands::explain::run(app, args),
        Command::Status(args) => commands::status::run(app, args),
        Command::Cache(args) => commands::cache::run(app, args),
        Command::Login(args) => commands::login::run(app, args),
        Command::Logout(args) => commands::logout::run(app, args),
        Command::Whoami(args) => commands::whoami::run(app, args),
        Command::Profile(command) => commands::profiles::run(app, command),
        Command::Agent(command) => commands::agent::run(app, command),
        Command::Doctor(args) => commands::doctor::run(app, args),
        Command::Runs(args) => commands::runs::run(app, args),
        Command::Dataset(args) => commands::dataset::run(app, args),
        Command::Model(args) => commands::model::run(app, args),
        Command::Backend(args) => commands::backend::run(app, args),
        Command::Schema(args) => commands::schema::run(app, args),
        Command::Worker(_) => Err(commands::worker::misused()),
        Command::Job => commands::agent_job::run(app),
        Command::Config { path } => commands::config::run(app, path),
    }
}

pub(crate) fn report(
    output: &args::Output,
    name: &str,
    action: Option<&str>,
    failure: &Failure,
    start: Instant,
) -> u8 {
    if output.is_machine() {
        let elapsed = start.elapsed().as_millis() as u64;
        let mut printer = Printer::stdout(output);
        render::failed::print(&mut printer, name, action, failure, elapsed);
    } else {
        error::print(&mut Printer::stderr(output), failure);
    }
    error::exit_code(failure.kind)
}

/// The command line as a tree, for documents and tests made from it.
pub fn command() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_arguments_still_name_their_command() {
        for (given, name) in [
            ("plugin run train --bogus", "run"),
            (
                "--json plugin --color always publish --bogus plan",
                "publish",
            ),
            ("runs show", "runs show"),
            ("plugin", "plugin"),
            ("bogus plan --x", "plan"),
            ("--bogus", "synapse"),
        ] {
            let arguments = given.split(' ').map(OsString::from);
            assert_eq!(meant(arguments), name, "{given}");
        }
    }
}
