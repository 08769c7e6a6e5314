//! The `synapse` command as a library: arguments, rendering, errors to text and exit codes.
//! Everything that works is in the crates below; only here does it become text.

pub mod app;
pub mod args;
pub mod commands;
pub mod credentials;
pub mod home;
pub mod language;
pub mod params;
pub mod record;
pub mod render;
pub mod select;
pub mod signals;
pub mod terminal;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use synapse_engine::{Failure, store::Hook};

use self::{
    app::App,
    args::{Cli, Command, PluginCommand},
    render::{Printer, error},
};

/// Runs the command line of this process. `hook` is for fault tests: it is called before every
/// step that changes the store, the ledger or the embedded backend.
pub fn main(hook: Option<Hook>) -> ExitCode {
    // Before anything else: it is a Python interpreter then, and none of our business is its.
    if let Some(code) = commands::worker::become_python() {
        return code;
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
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
    ExitCode::from(
        outcome.unwrap_or_else(|failure| report(&output, command_name(&cli.command), &failure)),
    )
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
    report(&output, "synapse", &failure);
}

fn run(app: &App, command: &Command) -> Result<u8, Failure> {
    match command {
        Command::Plugin(PluginCommand::Publish(args)) => commands::publish::run(app, args),
        Command::Plugin(PluginCommand::Run(args)) => commands::run::run(app, args),
        Command::Plugin(PluginCommand::UpdateConfig(args)) => {
            commands::update_config::run(app, args)
        }
        Command::Plugin(PluginCommand::Lock(args)) => commands::lock::run(app, args),
        Command::Plan(args) => commands::plan::run(app, args),
        Command::Explain(args) => commands::explain::run(app, args),
        Command::Status(args) => commands::status::run(app, args),
        Command::Cache(args) => commands::cache::run(app, args),
        Command::Login(args) => commands::login::run(app, args),
        Command::Runs(args) => commands::runs::run(app, args),
        Command::Dataset(args) => commands::dataset::run(app, args),
        Command::Model(args) => commands::model::run(app, args),
        Command::Backend(args) => commands::backend::run(app, args),
        Command::Worker(_) => Err(commands::worker::misused()),
        Command::Config { path } => commands::config::run(app, path),
    }
}

fn command_name(command: &Command) -> &'static str {
    match command {
        Command::Plugin(PluginCommand::Publish(_)) => "publish",
        Command::Plugin(PluginCommand::Run(_)) => "run",
        Command::Plugin(PluginCommand::UpdateConfig(_)) => "update-config",
        Command::Plugin(PluginCommand::Lock(_)) => "lock",
        Command::Plan(_) => "plan",
        Command::Explain(_) => "explain",
        Command::Status(_) => "status",
        Command::Cache(_) => "cache",
        Command::Login(_) => "login",
        Command::Runs(_) => "runs",
        Command::Dataset(_) => "dataset",
        Command::Model(_) => "model",
        Command::Backend(_) => "backend",
        Command::Worker(_) => "worker",
        Command::Config { .. } => "config",
    }
}

fn report(output: &args::Output, command: &'static str, failure: &Failure) -> u8 {
    if output.is_machine() {
        Printer::stdout(output).json(&render::document::failed(command, failure, 0));
    } else {
        error::print(&mut Printer::stderr(output), failure);
    }
    error::exit_code(failure.kind)
}

/// The command line as a tree, for documents and tests made from it.
pub fn command() -> clap::Command {
    Cli::command()
}
