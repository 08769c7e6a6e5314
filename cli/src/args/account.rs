//! Owns the options that say which platform a command talks to, and those of the commands on
//! saved logins.

use clap::{Args, Subcommand};
use synapse_rules::platform::Secret;

/// Which platform a command talks to.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Platform")]
pub struct Connection {
    /// Saved login to use; `local` is the embedded backend on this machine
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// Address of the platform (default: that of the login, or `https://api.synapse.sh`)
    #[arg(long, value_name = "URL")]
    pub host: Option<String>,
    /// Token, - for standard input; safer in `SYNAPSE_ACCESS_TOKEN`, where others cannot see it
    #[arg(long, value_name = "TOKEN|-")]
    pub token: Option<Secret>,
    /// Send the token over plain http to another machine, though it can be read on the way
    #[arg(long)]
    pub allow_http: bool,
}

/// `synapse login`.
#[derive(Debug, Args)]
pub struct Login {
    /// Make the embedded backend on this machine the default target
    #[arg(long, conflicts_with_all = ["profile", "host", "token", "tenant", "no_check", "default"])]
    pub local: bool,
    /// Address of the platform (default: that of the profile, or `https://api.synapse.sh`)
    #[arg(long, value_name = "URL")]
    pub host: Option<String>,
    /// Name to save the login under (default: the profile in use)
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// - reads the token from standard input. A token given here instead can be seen by others
    #[arg(long, value_name = "TOKEN|-")]
    pub token: Option<Secret>,
    /// The token is a user's, and acts for this tenant
    #[arg(long, value_name = "TENANT")]
    pub tenant: Option<String>,
    /// Use this login from now on when nothing names another
    #[arg(long)]
    pub default: bool,
    /// Save the token without asking the platform about it
    #[arg(long)]
    pub no_check: bool,
    /// Send the token over plain http to another machine, though it can be read on the way
    #[arg(long)]
    pub allow_http: bool,
}

/// `synapse logout`.
#[derive(Debug, Args)]
pub struct Logout {
    /// The saved login to forget (default: the profile in use)
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// Forget all of them
    #[arg(long, conflicts_with = "profile")]
    pub all: bool,
}

/// `synapse whoami`.
#[derive(Debug, Args)]
pub struct Whoami {
    /// Which platform.
    #[command(flatten)]
    pub connection: Connection,
}

/// `synapse doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    /// Ask no platform
    #[arg(long)]
    pub offline: bool,
    /// Which platform.
    #[command(flatten)]
    pub connection: Connection,
}

/// `synapse profile`.
#[derive(Debug, Subcommand)]
pub enum ProfileCommand {
    /// List saved logins
    #[command(after_help = "Example: synapse profile list")]
    List,
    /// Use a saved login from now on when nothing names another
    #[command(after_help = "Examples:\n  synapse profile use staging\n  synapse profile use local")]
    Use {
        /// Its name; `local` is the embedded backend on this machine
        name: String,
    },
}

/// `synapse agent`.
#[derive(Debug, Subcommand)]
pub enum AgentCommand {
    /// Choose the agent that runs actions on a platform
    #[command(after_help = "Examples:\n  synapse agent select\n  synapse agent select gpu-1")]
    Select {
        /// Its id or name; without one, the terminal shows a list to choose from
        agent: Option<String>,
        /// Which platform.
        #[command(flatten)]
        connection: Connection,
    },
    /// List the platform's agents
    #[command(after_help = "Example: synapse agent list --profile staging")]
    List {
        /// Which platform.
        #[command(flatten)]
        connection: Connection,
    },
    /// Show the chosen agent
    #[command(after_help = "Example: synapse agent show")]
    Show {
        /// Which platform.
        #[command(flatten)]
        connection: Connection,
    },
    /// Choose none: the platform decides
    #[command(after_help = "Example: synapse agent clear")]
    Clear {
        /// Which platform.
        #[command(flatten)]
        connection: Connection,
    },
}
