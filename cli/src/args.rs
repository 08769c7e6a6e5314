//! Owns the command line: every command and option, once, for parser and help.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

mod account;
mod backend;
mod create;
mod data;
mod dev;
mod publish;
mod run;
mod see;
mod shells;
mod stores;

pub use self::{
    account::*,
    backend::{Backend, BackendToken, Data, Scope, Serve},
    create::Create,
    data::*,
    dev::{Dev, DevPublish, DevRun, Watching},
    publish::*,
    run::*,
    see::*,
    shells::*,
    stores::{Stores, Upload},
};

/// Write, run, test and publish plugins for the Synapse ML platform.
#[derive(Debug, Parser)]
#[command(
    name = "synapse",
    version,
    disable_version_flag = true,
    disable_help_subcommand = true,
    propagate_version = false
)]
#[command(after_help = "Start with: synapse plugin create")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// How to talk.
    #[command(flatten)]
    pub output: Output,
    /// Print the version; with --verbose, what it was built from
    #[arg(short = 'V', long, action = clap::ArgAction::Version)]
    version: Option<bool>,
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
    #[command(subcommand, after_help = "Example: synapse plugin --help")]
    Plugin(PluginCommand),
    /// Run or publish a plugin again whenever a file of it is saved
    #[command(
        subcommand,
        after_help = "Example: synapse dev run train --params @params.json"
    )]
    Dev(Dev),
    /// Show what a publish would run and why, without doing it
    #[command(after_help = "Example: synapse plan --all")]
    Plan(Plan),
    /// Show why a stage last ran, or would run: the inputs that differ
    #[command(
        after_help = "Examples:\n  synapse explain yolov8 archive\n  synapse explain --between 12 14"
    )]
    Explain(Explain),
    /// Draw the stages of a publish, what each depends on, and what would run
    #[command(
        after_help = "Examples:\n  synapse graph --all\n  synapse graph --all --local -o graph.svg\n  synapse graph --plugin yolov8 --format mermaid"
    )]
    Graph(Graph),
    /// Show what was published, uploaded and run, when, why and how it ended
    #[command(
        after_help = "Examples:\n  synapse log\n  synapse log latest\n  synapse log --plugin yolov8 -n 5"
    )]
    Log(Log),
    /// Show what is published where, and what is behind
    #[command(after_help = "Example: synapse status")]
    Status(Status),
    /// Look after the store of results
    #[command(subcommand, after_help = "Example: synapse cache stats")]
    Cache(Cache),
    /// Log in to a platform, or choose the embedded backend on this machine
    #[command(
        after_help = "Examples:\n  synapse login --host https://synapse.example.com\n  synapse login --profile staging --token - < token.txt\n  synapse login --local"
    )]
    Login(Login),
    /// Forget a saved login
    #[command(after_help = "Example: synapse logout --profile staging")]
    Logout(Logout),
    /// Show which platform is talked to, as whom, and whether it agrees
    #[command(after_help = "Example: synapse whoami --profile staging")]
    Whoami(Whoami),
    /// The saved logins, and which of them is used
    #[command(subcommand, after_help = "Example: synapse profile list")]
    Profile(ProfileCommand),
    /// The agent that runs actions on a platform
    #[command(subcommand, after_help = "Example: synapse agent list")]
    Agent(AgentCommand),
    /// Check this machine: configuration, login, Python, tools, store; says what to mend
    #[command(after_help = "Example: synapse doctor --json")]
    Doctor(Doctor),
    /// Show runs of actions, with their logs, metrics, parameters and results
    #[command(
        after_help = "Examples:\n  synapse runs\n  synapse runs show 12 --follow\n  synapse runs --remote\n  synapse runs stop staging:12"
    )]
    Runs(Runs),
    /// Datasets that runs on this machine read
    #[command(subcommand, after_help = "Example: synapse dataset list")]
    Dataset(Dataset),
    /// Models that runs on this machine made
    #[command(subcommand, after_help = "Example: synapse model list")]
    Model(Model),
    /// The backend of this machine
    #[command(subcommand, after_help = "Example: synapse backend serve")]
    Backend(Backend),
    /// Print a script that makes a shell complete commands, plugins, actions and more
    #[command(
        after_help = "Examples:\n  synapse completions bash > ~/.local/share/bash-completion/completions/synapse\n  source <(synapse completions zsh)\n  synapse completions fish > ~/.config/fish/completions/synapse.fish\n  synapse completions powershell >> $PROFILE"
    )]
    Completions(Completions),
    /// Print a command's manual page, or write all of them
    #[command(
        after_help = "Examples:\n  synapse man plugin publish | man -l -\n  synapse man --output ~/.local/share/man/man1"
    )]
    Man(Man),
    /// Print the JSON Schema of config.yaml, of a workspace or of a command's --json, for editors
    #[command(
        after_help = "Examples:\n  synapse schema\n  synapse schema config --output .synapse/config.schema.json\n  synapse schema workspace"
    )]
    Schema(Schema),
    /// The Python worker: not for people
    #[command(name = "__worker", hide = true)]
    Worker(Worker),
    /// The process of a job: for the agent
    #[command(name = "__job", hide = true)]
    Job,
    /// A configuration as JSON: for the Python package
    #[command(name = "__config", hide = true)]
    Config {
        /// A config file, or a plugin's folder
        path: PathBuf,
    },
}

/// Commands on plugins.
#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    /// Make a new plugin from a template
    #[command(
        after_help = "Examples:\n  synapse plugin create\n  synapse plugin create --name \"YOLOv8 Object Detection\" --code yolov8 --category neural_net --path ./plugins\n  synapse plugin create --name Report --yes --template git@git.example.com:team/template.git#v2"
    )]
    Create(Create),
    /// Publish plugins
    #[command(
        after_help = "Examples:\n  synapse plugin publish --dry-run\n  synapse plugin publish --all --local\n  synapse plugin publish --all --bump patch"
    )]
    Publish(Publish),
    /// Put archives and wheels into object stores only
    #[command(
        after_help = "Examples:\n  synapse plugin upload --storage s3://plugins/dev\n  synapse plugin upload --all --storage file:///srv/plugins --wheel"
    )]
    Upload(Upload),
    /// Run an action
    #[command(
        after_help = "Examples:\n  synapse plugin run train --params '{\"dataset\": 123, \"epochs\": 5}'\n  synapse plugin run train --params @params.json --gpus 1 --timeout 2h\n  synapse plugin run train --mode remote --detach"
    )]
    Run(Run),
    /// Run the plugin's inference: short for `run inference`
    #[command(after_help = "Example: synapse plugin infer --params @params.json")]
    Infer(RunOptions),
    /// Run the plugin's deployment: short for `run deployment`
    #[command(after_help = "Example: synapse plugin deploy --mode remote --detach")]
    Deploy(RunOptions),
    /// Check plugins without building anything: configuration, entrypoints, files, credentials
    #[command(
        after_help = "Examples:\n  synapse plugin check\n  synapse plugin check --all --strict\n  synapse plugin check plugins/synapse-yolov8-plugin/plugin/train.py"
    )]
    Check(Check),
    /// Run a plugin's own tests with pytest, in an environment made for them
    #[command(
        after_help = "Examples:\n  synapse plugin test\n  synapse plugin test -- tests/ -v --cov=plugin\n  synapse plugin test --all --offline"
    )]
    Test(Test),
    /// Write what the code says into config.yaml: entrypoints, types, form fields
    #[command(
        after_help = "Examples:\n  synapse plugin update-config\n  synapse plugin update-config --check"
    )]
    UpdateConfig(UpdateConfig),
    /// Lock a plugin's requirements in a file to commit
    #[command(
        after_help = "Examples:\n  synapse plugin lock\n  synapse plugin lock --upgrade --python 3.12"
    )]
    Lock(Lock),
}

/// `synapse plugin update-config`.
#[derive(Debug, Args)]
pub struct UpdateConfig {
    /// Files: the configurations of their plugins, as a hook before a commit wants it
    #[arg(value_name = "FILE", conflicts_with_all = ["path", "config"])]
    pub files: Vec<PathBuf>,
    /// Plugin directory (default: current)
    #[arg(short, long, value_name = "DIR")]
    pub path: Option<PathBuf>,
    /// Custom config file path
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Change nothing; exit with 1 when something would change
    #[arg(long)]
    pub check: bool,
    /// Import the code in this environment, with its packages, instead of the bare one
    #[arg(long, value_name = "WHICH")]
    pub env: Option<EnvironmentChoice>,
    /// Python for --env: a version such as 3.12, or a path
    #[arg(long, value_name = "VERSION|PATH", requires = "env")]
    pub python: Option<String>,
}

/// `synapse plugin lock`.
#[derive(Debug, Args)]
pub struct Lock {
    /// Plugin directory (default: current)
    #[arg(short, long, value_name = "DIR")]
    pub path: Option<PathBuf>,
    /// Check that the lock file fits the requirements; write nothing
    #[arg(long, conflicts_with = "upgrade")]
    pub locked: bool,
    /// Resolve anew instead of keeping locked versions
    #[arg(long)]
    pub upgrade: bool,
    /// Use no network
    #[arg(long)]
    pub offline: bool,
    /// Python to resolve for: a version such as 3.12, or a path
    #[arg(long, value_name = "VERSION|PATH")]
    pub python: Option<String>,
}

/// `synapse runs`.
#[derive(Debug, Args)]
pub struct Runs {
    /// What to show.
    #[command(subcommand)]
    pub command: Option<RunsCommand>,
    /// Only runs of this plugin
    #[arg(short, long, value_name = "CODE")]
    pub plugin: Option<String>,
    /// How many to list, newest first
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    pub limit: u32,
    /// Where they are.
    #[command(flatten)]
    pub place: Place,
}

/// Where runs are.
#[derive(Debug, Clone, Default, Args)]
pub struct Place {
    /// Those of the platform, not of this machine
    #[arg(long)]
    pub remote: bool,
    /// Which platform.
    #[command(flatten)]
    pub connection: Connection,
}

/// Commands on runs.
#[derive(Debug, Subcommand)]
pub enum RunsCommand {
    /// Show one run
    #[command(after_help = "Example: synapse runs show 12 --follow")]
    Show {
        /// The run's id; PROFILE:ID for one of a platform
        id: String,
        /// Print what comes until the run ends
        #[arg(short, long)]
        follow: bool,
        /// Where it is.
        #[command(flatten)]
        place: Place,
    },
    /// Ask a run to end
    #[command(after_help = "Example: synapse runs stop staging:12")]
    Stop {
        /// The run's id; PROFILE:ID for one of a platform
        id: String,
        /// Where it is.
        #[command(flatten)]
        place: Place,
    },
}

/// The Python worker.
#[derive(Debug, Args)]
pub struct Worker {
    /// Library, interpreter and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub arguments: Vec<std::ffi::OsString>,
}

/// `synapse plan`.
#[derive(Debug, Args)]
pub struct Plan {
    /// Plan debug releases
    #[arg(long)]
    pub debug: bool,
    /// Publish files matching PATTERN although they look like credentials; may be repeated
    #[arg(long, value_name = "PATTERN")]
    pub allow_secret: Vec<String>,
    /// Where to.
    #[command(flatten)]
    pub to: To,
    /// Which plugins.
    #[command(flatten)]
    pub selection: Selection,
}

/// `synapse explain`.
#[derive(Debug, Args)]
pub struct Explain {
    /// Plugin code, with @VARIANT for a variant
    #[arg(value_name = "CODE[@VARIANT]", required_unless_present = "between")]
    pub subject: Option<String>,
    /// Only this stage: inspect, sync, archive, checksum or upload
    pub stage: Option<String>,
    /// Plugin or workspace directory (default: current)
    #[arg(short, long, value_name = "DIR")]
    pub path: Option<PathBuf>,
    /// Explain debug releases
    #[arg(long)]
    pub debug: bool,
    /// What differs between two of `synapse log`: a number, `latest`, or -1 for the last, -2 for
    /// the one before
    #[arg(
        long,
        value_names = ["FROM", "TO"],
        num_args = 2,
        allow_hyphen_values = true,
        conflicts_with_all = ["subject", "stage", "path", "debug", "local", "target", "profile", "host"]
    )]
    pub between: Vec<String>,
    /// Where to.
    #[command(flatten)]
    pub to: To,
}

/// `synapse status`.
#[derive(Debug, Args)]
pub struct Status {
    /// Where to.
    #[command(flatten)]
    pub to: To,
    /// Which plugins.
    #[command(flatten)]
    pub selection: Selection,
}

/// `synapse cache`.
#[derive(Debug, Subcommand)]
pub enum Cache {
    /// Show what the store holds
    #[command(after_help = "Example: synapse cache stats")]
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
    #[command(after_help = "Example: synapse cache check --repair")]
    Check {
        /// Move damaged blobs to quarantine, so that they are made again
        #[arg(long)]
        repair: bool,
    },
    /// Delete everything in the store; costs time only
    #[command(after_help = "Example: synapse cache clear")]
    Clear,
}
