//! Owns the options of `synapse backend`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// `synapse backend`.
#[derive(Debug, Subcommand)]
pub enum Backend {
    /// Serve the backend of this machine over HTTP until interrupted
    #[command(after_help = "Examples:\n  synapse backend serve --port 8000\n  \
                            synapse backend serve --data /srv/synapse --host 0.0.0.0 --log requests.log")]
    Serve(Serve),
    /// Tokens that callers of the server need
    #[command(subcommand, after_help = "Example: synapse backend token list")]
    Token(BackendToken),
}

/// `synapse backend serve`.
#[derive(Debug, Args)]
pub struct Serve {
    /// Address or name to listen on; one that other machines reach must be given here
    #[arg(long, value_name = "HOST", default_value = "127.0.0.1")]
    pub host: String,
    /// Port (default: any free one)
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// Where the backend keeps its data
    #[command(flatten)]
    pub data: Data,
    /// Largest file taken, such as 2GB (default: 10 GiB for an archive, any size for a model)
    #[arg(long, value_name = "SIZE")]
    pub max_upload: Option<String>,
    /// Files received at the same time
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub max_uploads: u16,
    /// Requests a second that each token may make, five times as many at once; 0 for any number
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub rate: u32,
    /// Seconds that requests under way get when the server stops
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u16).range(0..=3600))]
    pub grace: u16,
    /// Jobs that the agent runs at once
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub jobs: u16,
    /// Append a line for every request to a file (with -v: to standard error)
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// Stop when standard input is closed: for programs that start it
    #[arg(long, hide = true)]
    pub until_stdin_closes: bool,
}

/// Which backend.
#[derive(Debug, Clone, Default, Args)]
pub struct Data {
    /// Folder of the backend's data (default: that of this user)
    #[arg(long = "data", value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// `synapse backend token`.
#[derive(Debug, Subcommand)]
pub enum BackendToken {
    /// Make a token and print it, once and never again
    #[command(
        after_help = "Example: synapse backend token create --name ci --scope read --scope publish"
    )]
    Create {
        /// Where the backend keeps its data
        #[command(flatten)]
        data: Data,
        /// What it allows; may be given several times (default: read, publish and run)
        #[arg(long, value_name = "SCOPE", value_delimiter = ',')]
        scope: Vec<Scope>,
        /// Whose releases, jobs and files it opens
        #[arg(long, value_name = "NAME", default_value = synapse_backend::DEFAULT_TENANT)]
        tenant: String,
        /// What it is for
        #[arg(long, value_name = "TEXT", default_value = "")]
        name: String,
    },
    /// List tokens, without what is secret about them
    #[command(after_help = "Example: synapse backend token list")]
    List {
        /// Where the backend keeps its data
        #[command(flatten)]
        data: Data,
    },
    /// Make a token open nothing any more, at once
    #[command(after_help = "Example: synapse backend token revoke 3")]
    Revoke {
        /// Its number, as `list` shows it
        id: i64,
        /// Where the backend keeps its data
        #[command(flatten)]
        data: Data,
    },
}

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scope {
    /// Looking.
    Read,
    /// Making releases.
    Publish,
    /// Running actions, and what they make.
    Run,
    /// Everything, deleting too.
    Admin,
}
