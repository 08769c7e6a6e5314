//! Owns environments: which one a plugin runs in, made when it is not there, leased while it is
//! used.

pub mod collect;
mod lease;

use std::{path::Path, path::PathBuf, sync::Arc};

use pep440_rs::VersionSpecifiers;
use serde::Serialize;
use synapse_engine::{Digest, Failure, NodeReport, Session};

pub use self::{
    collect::{Collected, EnvironmentStats, collect, stats},
    lease::Lease,
};
use crate::{
    config::Config,
    plugin::{Plugin, Warning},
    python::{Variables, interpreter::Interpreter, process::Processes},
};

/// Which environment to take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Choice {
    /// The active one when it satisfies the requirements, else a managed one.
    #[default]
    Auto,
    /// The active one.
    Active,
    /// One that we make.
    Managed,
}

/// What is wanted of an environment.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Which one.
    pub choice: Choice,
    /// A version or path of Python.
    pub python: Option<String>,
    /// The lock file must fit.
    pub locked: bool,
    /// Resolve anew.
    pub upgrade: bool,
    /// Use no network.
    pub offline: bool,
}

/// An environment that can be used, as long as this is kept.
pub struct Ready {
    /// Its interpreter.
    pub interpreter: Interpreter,
    /// We made it.
    pub managed: bool,
    /// What of it matters to keys of results made in it.
    pub identity: Digest,
    /// Which it is, and why, in one line.
    pub note: String,
    /// Doubts about the requirements.
    pub warnings: Vec<Warning>,
    /// The stages that led to it.
    pub stages: Vec<(&'static str, NodeReport)>,
    /// Keeps collection away.
    pub lease: Lease,
}

/// One package of a lock that is not what it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Its name.
    pub name: String,
    /// Version before; none when it is new.
    pub old: Option<String>,
    /// Version now; none when it is gone.
    pub new: Option<String>,
}

/// What became of a lock file.
#[derive(Debug, Clone)]
pub struct LockChange {
    /// The file.
    pub path: PathBuf,
    /// It was written.
    pub wrote: bool,
    /// Packages that it holds for this Python and platform.
    pub packages: usize,
    /// For which Python and platform.
    pub target: String,
    /// What differs.
    pub changed: Vec<Change>,
    /// Doubts about the requirements.
    pub warnings: Vec<Warning>,
}

/// Where environments come from.
pub struct Environments {
    store: PathBuf,
    session: Session,
    variables: Variables,
    processes: Arc<dyn Processes>,
}

impl Environments {
    /// Environments kept in the store's folder.
    pub fn new(
        store: &Path,
        session: &Session,
        variables: Variables,
        processes: Arc<dyn Processes>,
    ) -> Self {
        Self {
            store: store.to_owned(),
            session: session.clone(),
            variables,
            processes,
        }
    }

    /// The environment for a plugin.
    pub fn ready(
        &self,
        _plugin: &Plugin,
        _config: &Config,
        _wanted: &Wanted,
    ) -> Result<Ready, Failure> {
        Err(Failure::bug("not there yet"))
    }

    /// The environment in which plugins are inspected.
    pub fn base(
        &self,
        _wanted_python: Option<&str>,
        _requires: Option<&VersionSpecifiers>,
    ) -> Result<Ready, Failure> {
        Err(Failure::bug("not there yet"))
    }

    /// Brings a plugin's lock file up to date.
    pub fn lock(
        &self,
        _plugin: &Plugin,
        _config: &Config,
        _wanted: &Wanted,
    ) -> Result<LockChange, Failure> {
        Err(Failure::bug("not there yet"))
    }
}
