//! Owns what a publish is about: which plugins, where to, and how.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{Connection, Recording, Stores};

/// Where a publish goes.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Where to")]
pub struct To {
    /// The embedded backend on this machine; needs no login
    #[arg(long, conflicts_with_all = ["target", "profile", "host"])]
    pub local: bool,
    /// A saved login to publish to, such as staging; may be repeated
    #[arg(long, value_name = "NAME", conflicts_with_all = ["profile", "host", "token"])]
    pub target: Vec<String>,
    /// Ask what is published, also where a target said so within a day
    #[arg(long)]
    pub verify: bool,
    /// Which platform.
    #[command(flatten)]
    pub connection: Connection,
}

/// Which plugins.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Which plugins")]
pub struct Selection {
    /// Plugin directory (default: current)
    #[arg(short, long, value_name = "DIR")]
    pub path: Option<PathBuf>,
    /// Custom config file path
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["all", "plugin"])]
    pub config: Option<PathBuf>,
    /// Every plugin of the workspace
    #[arg(long)]
    pub all: bool,
    /// A plugin of the workspace by its code; may be repeated
    #[arg(long, value_name = "CODE", conflicts_with = "all")]
    pub plugin: Vec<String>,
    /// The command has all of these options, so that hints may name them.
    #[arg(skip = true)]
    pub complete: bool,
}

/// `synapse plugin publish`.
#[derive(Debug, Clone, Args)]
pub struct Publish {
    /// Preview without uploading
    #[arg(long)]
    pub dry_run: bool,
    /// Order of files in the preview
    #[arg(
        long,
        value_name = "ORDER",
        default_value = "path",
        requires = "dry_run"
    )]
    pub sort: Sort,
    /// Skip backend validation: make a debug release, which replaces the one before
    #[arg(long, conflicts_with = "bump")]
    pub debug: bool,
    /// Send without asking; into the embedded backend it is never asked
    #[arg(short, long)]
    pub yes: bool,
    /// Raise the version of plugins whose content differs from what is published
    #[arg(long, value_name = "LEVEL")]
    pub bump: Option<Bump>,
    /// Start nothing more after the first failure
    #[arg(long)]
    pub fail_fast: bool,
    /// Stages to run at once (default: number of processors)
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: Option<u16>,
    /// Publish files matching PATTERN although they look like credentials; may be repeated
    #[arg(long, value_name = "PATTERN")]
    pub allow_secret: Vec<String>,
    /// What to write about it.
    #[command(flatten)]
    pub recording: Recording,
    /// Where to.
    #[command(flatten)]
    pub to: To,
    /// Object stores.
    #[command(flatten)]
    pub stores: Stores,
    /// Which plugins.
    #[command(flatten)]
    pub selection: Selection,
}

/// The order of a preview.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Sort {
    /// By path.
    Path,
    /// Largest first.
    Size,
}

/// Which part of a version to raise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Bump {
    /// 0.1.0 to 0.1.1
    Patch,
    /// 0.1.0 to 0.2.0
    Minor,
    /// 0.1.0 to 1.0.0
    Major,
}
