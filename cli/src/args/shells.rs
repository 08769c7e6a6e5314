//! Owns the options of what serves editors, shells and hooks.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

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
    /// The document of `doctor --json`
    Doctor,
    /// The document of any other command that fails
    Failure,
}
