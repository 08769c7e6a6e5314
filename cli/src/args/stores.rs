//! Owns the options of object stores.

use clap::Args;

use super::{Recording, Selection};

/// Object stores that a publish goes to as well.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Where to")]
pub struct Stores {
    /// Store archive and wheel there too: a storage of the profile, or a URL; may be repeated
    #[arg(long, value_name = "NAME|URL")]
    pub storage: Vec<String>,
    /// Leave out the object stores that the workspace names
    #[arg(long, conflicts_with = "storage")]
    pub no_storage: bool,
}

/// `synapse plugin upload`.
#[derive(Debug, Args)]
pub struct Upload {
    /// A storage of the profile, or a URL; may be repeated (default: what the workspace names)
    #[arg(long, value_name = "NAME|URL")]
    pub storage: Vec<String>,
    /// Send without asking
    #[arg(short, long)]
    pub yes: bool,
    /// Build the wheel and store it too
    #[arg(long)]
    pub wheel: bool,
    /// Name archives by code and version instead of by their checksum, and replace none
    #[arg(long)]
    pub release: bool,
    /// Ask what is stored, also where a store said so within a day
    #[arg(long)]
    pub verify: bool,
    /// Use plain http to another machine, though it can be read on the way
    #[arg(long)]
    pub allow_http: bool,
    /// Saved login whose storages are meant
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// Start nothing more after the first failure
    #[arg(long)]
    pub fail_fast: bool,
    /// Stages to run at once (default: number of processors)
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: Option<u16>,
    /// Store files matching PATTERN although they look like credentials; may be repeated
    #[arg(long, value_name = "PATTERN")]
    pub allow_secret: Vec<String>,
    /// What to write about it.
    #[command(flatten)]
    pub recording: Recording,
    /// Which plugins.
    #[command(flatten)]
    pub selection: Selection,
}
