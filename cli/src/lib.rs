//! The `synapse` command as a library: arguments, rendering, errors to text and exit codes.
//! Everything that works is in the crates below; only here does it become text.

pub mod app;
pub mod args;
pub mod commands;
pub mod completion;
pub mod connect;
pub mod credentials;
pub mod drawing;
pub mod home;
pub mod input;
pub mod invocation;
pub mod journal;
pub mod language;
pub mod misuse;
pub mod overview;
pub mod params;
pub mod profile;
pub mod prompt;
pub mod record;
pub mod render;
pub mod select;
pub mod signals;
pub mod stores;
pub mod terminal;
pub mod timeline;
pub mod watch;

use std::{ffi::OsString, io::Write, process::ExitCode, time::Instant};

use clap::{CommandFactory, FromArgMatches, error::ErrorKind};
use synapse_engine::{Failure, FailureKind, store::Hook};

use self::{
    app::App,
    args::{Cli, Command, Dev, PluginCommand},
    commands::choice::Choice,
    render::{Printer, board, error, github},
};

/// Runs the command line of this process. `hook` is for fault tests: it is called before every
/// step that changes the store, the ledger or the embedded backend.
pub fn main(hook: Option<Hook>) -> ExitCode {
    // Before anything else: it is a Python interpreter then, and none of our business is its.
    if let Some(code) = commands::worker::become_python() {
        return code;
    }
    // A shell that asks what comes next waits for it at every key.
    if let Some(code) = completion::answer() {
        return code;
    }
    if let Some(output) = commands::version::asked(std::env::args_os().skip(1)) {
        return ended(commands::version::run(&output), &args::Output::default());
    }
    let start = Instant::now();
    let given = Cli::command().try_get_matches();
    let parsed = given.and_then(|given| Ok((Cli::from_arg_matches(&given)?, name(&given))));
    let (cli, name) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return ended(misused(&error), &args::Output::default()),
    };
    let output = cli.output.clone();
    // A terminal that cannot move its cursor shows no progress.
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    board::begin(&output, dumb, std::env::var_os("SYNAPSE_HEARTBEAT"));
    github::begin(&output, |name| std::env::var_os(name));
    let outcome = App::new(output.clone(), |name| std::env::var_os(name), hook).and_then(|app| {
        app.signals.listen(&app.cancel);
        app.invocation.begin(&cli.command);
        let outcome = run(&app, &cli.command);
        app.invocation.end(&app, &outcome);
        outcome
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
    ended(outcome.unwrap_or_else(failed), &output)
}

/// The end of the process. What could not be written is told: who asked for it does not have it.
fn ended(code: u8, output: &args::Output) -> ExitCode {
    render::note_lost(std::io::stdout().flush());
    let Some(failure) = render::lost() else {
        return ExitCode::from(code);
    };
    error::print(&mut Printer::stderr(output), &failure);
    ExitCode::from(if code == 0 {
        error::exit_code(failure.kind)
    } else {
        code
    })
}

/// Help where it is asked for. Wrong use before there are options: text for people, and a
/// document for a program that asked for one.
fn misused(error: &clap::Error) -> u8 {
    let asked = |option: &str| std::env::args_os().any(|argument| argument == option);
    let output = args::Output {
        json: asked("--json"),
        events: asked("--events"),
        ..args::Output::default()
    };
    let root = Cli::command();
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let at = misuse::meant(&root, &arguments);
    if arguments.is_empty() || (error.kind() == ErrorKind::DisplayHelp && at.is_empty()) {
        let mut printer = Printer::stdout(&output);
        let help = overview::help(root, printer.columns());
        printer.text(help);
        return 0;
    }
    if !error.use_stderr() {
        render::note_lost(error.print());
        return 0;
    }
    let wrong = misuse::of(error, &root, &arguments);
    let at: Vec<&str> = at.iter().map(String::as_str).collect();
    let code = report(&output, &joined(&at), None, &wrong.failure, Instant::now());
    if let Some(usage) = wrong.usage.filter(|_| !output.is_machine()) {
        let text = format!("{} {usage}", render::paint(render::DIM, "usage:"));
        Printer::stderr(&output).hanging(7, text);
    }
    code
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
        Command::Plugin(PluginCommand::Check(args)) => commands::check::run(app, args),
        Command::Plugin(PluginCommand::Test(args)) => commands::test::run(app, args),
        Command::Plan(args) => commands::plan::run(app, args),
        Command::Explain(args) => commands::explain::run(app, args),
        Command::Graph(args) => commands::graph::run(app, args),
        Command::Log(args) => commands::log::run(app, args),
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
        Command::Completions(args) => commands::completions::run(app, args),
        Command::Man(args) => commands::man::run(app, args),
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
    } else if failure.kind == FailureKind::Cancelled {
        // Whoever pressed Ctrl-C knows; this is how far it came.
        Printer::stderr(output).hanging(2, &failure.message);
    } else {
        error::print(&mut Printer::stderr(output), failure);
        github::summarise_failure(output, name, failure);
    }
    error::exit_code(failure.kind)
}

/// The command line as a tree, for documents and tests made from it.
pub fn command() -> clap::Command {
    Cli::command()
}
