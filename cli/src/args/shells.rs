//! Owns the options of what serves editors, shells and hooks.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, ValueEnum};

use super::{Environment, Selection};

/// `synapse schema`.
#[derive(Debug, Args)]
pub struct Schema {
    /// Of which file, or of which command's --json
    #[arg(value_name = "NAME", default_value = "config")]
    pub name: SchemaName,
    /// Write it to this file, making its folder, instead of printing it
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// What there is a schema of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SchemaName {
    /// config.yaml
    Config,
    /// synapse-workspace.yaml
    Workspace,
    /// The document of `plugin publish --json`
    Publish,
    /// The document of `plugin run --json`
    Run,
    /// The document of `plugin check --json`
    Check,
    /// The document of `plugin test --json`
    Test,
    /// The document of `doctor --json`
    Doctor,
    /// The document of `graph --json`
    Graph,
    /// The document of `log --json`
    Log,
    /// The document of `explain --between --json`
    Between,
    /// The document of any other command that fails
    Failure,
}

/// `synapse completions`.
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell
    pub shell: Shell,
}

/// Shells that can complete our commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// bash 4.4 or later.
    Bash,
    /// zsh.
    Zsh,
    /// fish.
    Fish,
    /// PowerShell.
    Powershell,
}

/// `synapse man`.
#[derive(Debug, Args)]
pub struct Man {
    /// The command whose page is printed, such as: plugin publish
    pub command: Vec<String>,
    /// Write the pages of all commands into this folder instead
    #[arg(short, long, value_name = "DIR", conflicts_with = "command")]
    pub output: Option<PathBuf>,
}

/// `synapse plugin check`.
#[derive(Debug, Args)]
pub struct Check {
    /// Files: their plugins are checked, as a hook before a commit wants it
    #[arg(value_name = "FILE", conflicts_with_all = ["path", "config", "all", "plugin"])]
    pub files: Vec<PathBuf>,
    /// Fail on warnings too
    #[arg(long)]
    pub strict: bool,
    /// Take PATTERN for no credential although it looks like one; may be repeated
    #[arg(long, value_name = "PATTERN")]
    pub allow_secret: Vec<String>,
    /// Which plugins.
    #[command(flatten)]
    pub selection: Selection,
}

/// `synapse plugin test`.
#[derive(Debug, Args)]
pub struct Test {
    /// A plugin of the workspace by its code; may be repeated
    #[arg(short, long, value_name = "CODE", conflicts_with = "all")]
    pub plugin: Vec<String>,
    /// Plugin directory (default: current)
    #[arg(long, value_name = "DIR")]
    pub path: Option<PathBuf>,
    /// Every plugin of the workspace that has tests
    #[arg(long)]
    pub all: bool,
    /// Arguments for pytest
    #[arg(last = true, value_name = "PYTEST ARGS")]
    pub arguments: Vec<OsString>,
    /// Where the tests' Python comes from.
    #[command(flatten)]
    pub environment: Environment,
}
