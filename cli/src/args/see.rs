//! Owns the options of what shows what goes on and what went on: graph, log, timings.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{Selection, To};

/// `synapse graph`.
#[derive(Debug, Args)]
pub struct Graph {
    /// What to print (default: by the ending of FILE; else a tree on a terminal, SVG elsewhere)
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<GraphFormat>,
    /// Write it to FILE instead of printing it
    #[arg(short = 'o', long = "output", value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Draw every plugin for itself, however many there are
    #[arg(long)]
    pub full: bool,
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

/// What a graph is printed as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GraphFormat {
    /// Text for people
    Tree,
    /// A picture for browsers
    Svg,
    /// For graphviz
    Dot,
    /// For pages that draw Mermaid
    Mermaid,
    /// For programs
    Json,
}

/// `synapse log`.
#[derive(Debug, Args)]
pub struct Log {
    /// The one to show whole: its number, `latest`, or -1 for the last, -2 for the one before
    #[arg(value_name = "ID", allow_hyphen_values = true)]
    pub id: Option<String>,
    /// How many to list, newest first
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    pub limit: usize,
    /// Only those that did something to this plugin
    #[arg(long, value_name = "CODE")]
    pub plugin: Option<String>,
}

/// What to write about where the time went.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Where the time goes")]
pub struct Recording {
    /// Write what ran when, and for how long, to FILE: a page for a browser
    #[arg(long, value_name = "FILE")]
    pub timings: Option<PathBuf>,
    /// Write the same to FILE as a trace for Perfetto or <chrome://tracing>
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
}
