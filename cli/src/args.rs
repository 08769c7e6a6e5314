//! Owns the command line: every command and option, once, for parser and help.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Write, run, test and publish plugins for the Synapse ML platform.
#[derive(Debug, Parser)]
#[command(
    name = "synapse",
    version,
    disable_help_subcommand = true,
    propagate_version = false
)]
#[command(after_help = "Start with: synapse plugin publish --local --dry-run")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// How to talk.
    #[command(flatten)]
    pub output: Output,
}

/// Options of every command.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Output options")]
pub struct Output {
    /// Print one JSON document on standard output
    #[arg(long, global = true, conflicts_with = "events")]
    pub json: bool,
    /// Print one JSON event a line on standard output
    #[arg(long, global = true)]
    pub events: bool,
    /// Print errors only
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Print what was found up to date as well, and every stage
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    pub verbose: bool,
    /// Colour the output
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: Color,
    /// Show no progress
    #[arg(long, global = true)]
    pub no_progress: bool,
}

impl Output {
    /// Whether a program reads standard output.
    pub fn is_machine(&self) -> bool {
        self.json || self.events
    }
}

/// When to colour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Work on plugins
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Show what a publish would run and why, without doing it
    #[command(after_help = "Example: synapse plan --all")]
    Plan(Plan),
    /// Show why a stage last ran, or would run: the inputs that differ
    #[command(after_help = "Example: synapse explain yolov8 archive")]
    Explain(Explain),
    /// Show what is published where, and what is behind
    #[command(after_help = "Example: synapse status")]
    Status(Status),
    /// Look after the store of results
    #[command(subcommand)]
    Cache(Cache),
    /// Choose where to publish
    #[command(after_help = "Example: synapse login --local")]
    Login(Login),
}

/// Commands on plugins.
#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    /// Publish plugins
    #[command(
        after_help = "Examples:\n  synapse plugin publish --dry-run\n  synapse plugin publish --all --local\n  synapse plugin publish --all --bump patch"
    )]
    Publish(Publish),
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
}

/// `synapse plugin publish`.
#[derive(Debug, Args)]
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
    /// Skip confirmation prompts
    #[arg(short, long)]
    pub yes: bool,
    /// Publish into the embedded backend on this machine; needs no login
    #[arg(long)]
    pub local: bool,
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

/// `synapse plan`.
#[derive(Debug, Args)]
pub struct Plan {
    /// Plan debug releases
    #[arg(long)]
    pub debug: bool,
    /// Plan for the embedded backend on this machine
    #[arg(long)]
    pub local: bool,
    /// Publish files matching PATTERN although they look like credentials; may be repeated
    #[arg(long, value_name = "PATTERN")]
    pub allow_secret: Vec<String>,
    /// Which plugins.
    #[command(flatten)]
    pub selection: Selection,
}

/// `synapse explain`.
#[derive(Debug, Args)]
pub struct Explain {
    /// Plugin code, with @VARIANT for a variant
    #[arg(value_name = "CODE[@VARIANT]")]
    pub subject: String,
    /// Only this stage: archive, checksum or upload
    pub stage: Option<String>,
    /// Plugin or workspace directory (default: current)
    #[arg(short, long, value_name = "DIR")]
    pub path: Option<PathBuf>,
    /// Explain debug releases
    #[arg(long)]
    pub debug: bool,
    /// Explain for the embedded backend on this machine
    #[arg(long)]
    pub local: bool,
}

/// `synapse status`.
#[derive(Debug, Args)]
pub struct Status {
    /// Compare with the embedded backend on this machine
    #[arg(long)]
    pub local: bool,
    /// Which plugins.
    #[command(flatten)]
    pub selection: Selection,
}

/// `synapse cache`.
#[derive(Debug, Subcommand)]
pub enum Cache {
    /// Show what the store holds
    Stats,
    /// Remove results by age and size
    #[command(after_help = "Example: synapse cache gc --max-size 2GB --max-age 7")]
    Gc {
        /// Size that blobs may keep, such as 500MB or 2GB
        #[arg(long, value_name = "SIZE", default_value = "10GB")]
        max_size: String,
        /// Days since the last use after which a result goes
        #[arg(long, value_name = "DAYS", default_value_t = 30)]
        max_age: u32,
    },
    /// Read and verify every blob; exits with 1 when something is wrong
    Check {
        /// Move damaged blobs to quarantine, so that they are made again
        #[arg(long)]
        repair: bool,
    },
    /// Delete everything in the store; costs time only
    Clear,
}

/// `synapse login`.
#[derive(Debug, Args)]
pub struct Login {
    /// Make the embedded backend on this machine the default target
    #[arg(long)]
    pub local: bool,
}
