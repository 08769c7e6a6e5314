//! The embedded backend: releases of plugins kept on this machine, and what runs here read and
//! make: datasets, models, uploads, records of runs.
//!
//! Owns [`Embedded`], a folder with a database (`backend.db`), the archives of its releases and
//! the files of its models (`files/`), what runs printed (`runs/`) and what an agent works in
//! (`jobs/`), and what opens it. Any number of threads and processes may share one
//! folder. The rule that all else follows from: a file counts only once a row names it, every
//! file name is used once ever, and no row is committed before its file is durable. So a crash at
//! any step leaves at most a file that no row names, which [`Embedded::collect`] removes.

pub mod agent;
mod application;
mod database;
mod dataset;
mod error;
mod files;
mod follow;
mod glance;
pub mod http;
mod job;
mod maintain;
mod model;
mod page;
mod release;
mod run;
mod token;
mod upload;
mod validate;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::Connection;

pub use application::{Application, ApplicationStatus};
pub use dataset::{AddDataset, Added, Dataset, DatasetError, FORMATS, Item, Outcome, Progress};
pub use error::BackendError;
pub use follow::{Follower, Step};
pub use glance::newest_runs;
pub use job::Asked;
pub use maintain::{Collected, Fault, Problem};
pub use model::{Model, ModelFilter};
pub use page::Page;
pub use release::Details;
pub use run::{NewRun, Run, RunEvent, RunFilter, RunStatus, RunUpdate};
pub use token::{DEFAULT_TENANT, NewToken, Scope, Scopes, Token, is_tenant};
pub use upload::Upload;

use files::Files;

/// Key in a release's config under which its content digest is kept, as 64 hex digits.
pub const CONTENT_KEY: &str = "synapse_content_digest";

/// Largest archive taken unless told otherwise: room for a plugin that carries model weights,
/// too little for a dataset packed by accident.
pub const DEFAULT_SIZE_LIMIT: u64 = 10 << 30;

/// Every point at which [`Options::hook`] is called. A test that fails each in turn has failed
/// every step that changes something.
pub const HOOK_POINTS: [&str; 10] = [
    "backend.mkdir",
    "backend.journal",
    "backend.migrate",
    "backend.link",
    "backend.copy",
    "backend.write",
    "backend.sync",
    "backend.sync-dir",
    "backend.commit",
    "backend.unlink",
];

/// Tells the time in Unix seconds.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Tells the time in Unix seconds, with fractions.
pub type FineClock = Arc<dyn Fn() -> f64 + Send + Sync>;

/// Called with the name of a step, one of [`HOOK_POINTS`], right before it is taken.
pub type Hook = Arc<dyn Fn(&str) -> io::Result<()> + Send + Sync>;

/// How a backend behaves.
#[derive(Clone)]
pub struct Options {
    /// Largest archive taken, in bytes.
    pub size_limit: u64,
    /// Stamps releases.
    pub clock: Clock,
    /// Stamps runs, many of which take less than a second.
    pub fine_clock: FineClock,
    /// For fault tests: an error stops the operation as if that step had failed with it.
    pub hook: Option<Hook>,
}

impl Default for Options {
    fn default() -> Self {
        let now = || {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            now.unwrap_or_default()
        };
        Self {
            size_limit: DEFAULT_SIZE_LIMIT,
            clock: Arc::new(move || i64::try_from(now().as_secs()).unwrap_or(i64::MAX)),
            fine_clock: Arc::new(move || now().as_micros() as f64 / 1e6),
            hook: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Options")
            .field("size_limit", &self.size_limit)
            .finish_non_exhaustive()
    }
}

/// The hook of [`Options`], callable whether or not there is one.
#[derive(Clone)]
pub(crate) struct Hooks(Option<Hook>);

impl Hooks {
    pub(crate) fn at(&self, point: &str) -> io::Result<()> {
        debug_assert!(HOOK_POINTS.contains(&point), "{point} is not listed");
        self.0.as_ref().map_or(Ok(()), |hook| hook(point))
    }
}

/// A backend in a folder of this machine, as one tenant sees it. Copies share the connection.
#[derive(Clone)]
pub struct Embedded {
    dir: PathBuf,
    tenant: Arc<str>,
    database: Arc<Mutex<Connection>>,
    files: Arc<Files>,
    options: Options,
    hooks: Hooks,
}

impl Embedded {
    /// Opens the backend in `data_dir`, which is made (for its owner only) when it is absent.
    /// Writes nothing when there is one of the current schema already.
    pub fn open(data_dir: &Path, options: Options) -> Result<Self, BackendError> {
        let dir = std::path::absolute(data_dir)
            .map_err(|cause| BackendError::io("find", data_dir, cause))?;
        let hooks = Hooks(options.hook.clone());
        let database = database::open(&dir, &hooks)?;
        let files = Files::new(&dir, hooks.clone());
        Ok(Self {
            dir,
            tenant: DEFAULT_TENANT.into(),
            database: Arc::new(Mutex::new(database)),
            files: Arc::new(files),
            options,
            hooks,
        })
    }

    /// The same backend as `tenant` sees it: its own rows and files, and no others.
    pub fn of_tenant(&self, tenant: &str) -> Self {
        Self {
            tenant: tenant.into(),
            ..self.clone()
        }
    }

    /// Whose rows and files it sees and makes.
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// The folder that it is in.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A thread that panicked while it held the connection left at most a transaction that was
    /// rolled back on the way, so the connection stays good.
    fn database(&self) -> MutexGuard<'_, Connection> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Embedded {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Embedded")
            .field("tenant", &self.tenant)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
