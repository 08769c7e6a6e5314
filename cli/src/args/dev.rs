//! Owns what a watch does again when a file is saved.

use clap::{Args, Subcommand};

use super::{Publish, Run};

/// `synapse dev`.
#[derive(Debug, Subcommand)]
pub enum Dev {
    /// Run an action, and again at each save
    #[command(
        after_help = "Examples:\n  synapse dev run train --params '{\"dataset\": 123, \"epochs\": 1}'\n  synapse dev run train --params @params.json --clear"
    )]
    Run(DevRun),
    /// Publish debug releases, and again at each save
    #[command(
        after_help = "Examples:\n  synapse dev publish --debug\n  synapse dev publish --debug --all --target staging"
    )]
    Publish(DevPublish),
}

/// `synapse dev run`.
#[derive(Debug, Args)]
pub struct DevRun {
    /// What is run.
    #[command(flatten)]
    pub run: Run,
    /// How it is watched.
    #[command(flatten)]
    pub watching: Watching,
}

/// `synapse dev publish`.
#[derive(Debug, Args)]
pub struct DevPublish {
    /// What is published.
    #[command(flatten)]
    pub publish: Publish,
    /// How it is watched.
    #[command(flatten)]
    pub watching: Watching,
}

/// How files are watched.
#[derive(Debug, Clone, Copy, Default, Args)]
#[command(next_help_heading = "Watching")]
pub struct Watching {
    /// Clear the terminal before it is done again
    #[arg(long)]
    pub clear: bool,
    /// List the folders every second, where the filesystem does not tell of changes
    #[arg(long)]
    pub poll: bool,
}
