//! Owns how an action is run: where, with what, and which Python.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{Connection, Recording};

/// `synapse plugin run`.
#[derive(Debug, Args)]
pub struct Run {
    /// The action, as config.yaml names it
    pub action: String,
    /// How.
    #[command(flatten)]
    pub options: RunOptions,
}

/// How an action is run.
#[derive(Debug, Clone, Args)]
pub struct RunOptions {
    /// Plugin code (auto-detected from config.yaml)
    #[arg(short, long, value_name = "CODE")]
    pub plugin: Option<String>,
    /// Plugin directory (default: current)
    #[arg(long, value_name = "DIR")]
    pub path: Option<PathBuf>,
    /// Parameters: JSON, @FILE to read a file, - to read standard input
    #[arg(long, value_name = "JSON|@FILE|-", allow_hyphen_values = true)]
    pub params: Option<String>,
    /// Where it runs: local, task, job or remote (default: local)
    #[arg(short, long)]
    pub mode: Option<Mode>,
    /// Enable debug output (the default)
    #[arg(long, overrides_with = "no_debug")]
    pub debug: bool,
    /// Leave out debug output
    #[arg(long, overrides_with = "debug")]
    pub no_debug: bool,
    /// Number of GPUs
    #[arg(long, value_name = "N")]
    pub gpus: Option<u32>,
    /// Number of CPUs
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub cpus: Option<u32>,
    /// Memory that the action may use, such as 8GB
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<String>,
    /// Language of messages, such as en or ko
    #[arg(long, value_name = "LANGUAGE")]
    pub lang: Option<String>,
    /// Time after which the action is stopped, such as 90s, 30m or 2h
    #[arg(long, value_name = "TIME")]
    pub timeout: Option<String>,
    /// Take the result of an earlier equal run, for actions declared `cacheable: true`
    #[arg(long)]
    pub reuse: bool,
    /// What to write about it.
    #[command(flatten)]
    pub recording: Recording,
    /// Where the action's Python comes from.
    #[command(flatten)]
    pub environment: Environment,
    /// On a platform.
    #[command(flatten)]
    pub remote: Remote,
}

/// How an action is run on a platform.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "With --mode remote")]
pub struct Remote {
    /// Do not wait for its end
    #[arg(long)]
    pub detach: bool,
    /// Agent that runs it, by its id (default: the selected one)
    #[arg(long, value_name = "ID")]
    pub agent: Option<String>,
    /// Version of the release, or `debug` for the debug one (default: the newest)
    #[arg(long, value_name = "VERSION")]
    pub version: Option<String>,
    /// Which platform.
    #[command(flatten)]
    pub connection: Connection,
}

/// Where an action's Python comes from.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Environment")]
pub struct Environment {
    /// The active environment, one that synapse makes, or whichever fits (default: auto)
    #[arg(long, value_name = "WHICH", default_value = "auto")]
    pub env: EnvironmentChoice,
    /// Python to use: a version such as 3.12, or a path
    #[arg(long, value_name = "VERSION|PATH")]
    pub python: Option<String>,
    /// Use the lock file as it is; fail when it does not fit the requirements
    #[arg(long)]
    pub locked: bool,
    /// Resolve requirements anew
    #[arg(long, conflicts_with = "locked")]
    pub upgrade: bool,
    /// Use no network
    #[arg(long)]
    pub offline: bool,
}

/// Which environment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum EnvironmentChoice {
    /// The active one when it satisfies the requirements, else a managed one.
    #[default]
    Auto,
    /// The active virtual or conda environment.
    Active,
    /// One that synapse makes.
    Managed,
}

/// Where an action runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// On this machine.
    Local,
    /// On a Ray cluster, as a task.
    Task,
    /// On a Ray cluster, as a job.
    Job,
    /// On the platform.
    Remote,
}
