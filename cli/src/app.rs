//! Owns what a command works with: the environment it was given, and the store, ledger and
//! target it opens when it needs them.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use synapse_backend::{BackendError, Embedded, Options as BackendOptions};
use synapse_engine::{
    Cancel, EventSink, Failure, Session,
    store::{Hook, Ledger, SqliteStore},
    store_failure,
};
use synapse_rules::{
    counters::Counters,
    environment::Environments,
    http::Http,
    inspect::{Schemas, Served},
    python::{Variables, process::Children},
};

use crate::{args::Output, home::Home, invocation::Invocation, render::board, signals::Signals};

/// Network calls at once.
const IO_JOBS: usize = 8;

/// The environment of one command.
pub struct App {
    /// Where things are kept.
    pub home: Home,
    /// The current directory.
    pub cwd: PathBuf,
    /// How to talk.
    pub output: Output,
    /// Asks all work to stop.
    pub cancel: Cancel,
    /// Who hears of Ctrl-C.
    pub signals: Signals,
    /// What is noted of this invocation.
    pub invocation: Invocation,
    /// Counts of work.
    pub counters: Arc<Counters>,
    /// Environment variables.
    pub variable: fn(&str) -> Option<OsString>,
    /// For fault tests: called before every state-changing step.
    pub hook: Option<Hook>,
    /// It was said that others may read the saved tokens.
    pub warned: OnceLock<()>,
    /// A save ends what runs, to start it again.
    pub watched: bool,
    store: Arc<OnceLock<Arc<SqliteStore>>>,
    /// The pool of connections, made on first use.
    pub(crate) http: OnceLock<Arc<Http>>,
    /// The ledger, opened on first use.
    pub(crate) ledger: Arc<OnceLock<Arc<Ledger>>>,
}

/// Unix seconds.
pub fn seconds() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |age| age.as_secs() as i64)
}

/// Nanoseconds since 1970.
pub fn nanoseconds() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |age| age.as_nanos() as i64)
}

impl App {
    /// The environment of a command.
    pub fn new(
        output: Output,
        variable: fn(&str) -> Option<OsString>,
        hook: Option<Hook>,
    ) -> Result<Self, Failure> {
        let home = Home::find(variable)?;
        let cwd = std::env::current_dir().map_err(|error| {
            Failure::environment("cwd", format!("cannot tell the current directory: {error}"))
                .hint("it may have been deleted; change to another one")
        })?;
        let (cancel, counters, store) = (Cancel::default(), Arc::default(), Arc::default());
        Ok(Self {
            home,
            cwd,
            output,
            cancel,
            signals: Signals::default(),
            invocation: Invocation::default(),
            counters,
            variable,
            hook,
            warned: OnceLock::new(),
            watched: false,
            store,
            http: OnceLock::new(),
            ledger: Arc::default(),
        })
    }

    /// The same for one of many attempts, which can be ended without the others; store and ledger
    /// stay open from one to the next.
    pub fn attempt(&self) -> Self {
        Self {
            home: self.home.clone(),
            cwd: self.cwd.clone(),
            output: self.output.clone(),
            cancel: Cancel::default(),
            signals: Signals::default(),
            invocation: Invocation::default(),
            counters: Arc::default(),
            variable: self.variable,
            hook: self.hook.clone(),
            warned: self.warned.clone(),
            watched: true,
            store: Arc::clone(&self.store),
            // Its requests end with the attempt.
            http: OnceLock::new(),
            ledger: Arc::clone(&self.ledger),
        }
    }

    /// The store, opened on first use.
    pub fn store(&self) -> Result<Arc<SqliteStore>, Failure> {
        if let Some(store) = self.store.get() {
            return Ok(Arc::clone(store));
        }
        let shown = self.home.store.display();
        let busy = board::busy(format!("waiting for another process that cleans {shown}"));
        let opened = SqliteStore::open(&self.home.store, self.hook.clone());
        drop(busy);
        let store = Arc::new(opened.map_err(|error| {
            let failure = store_failure(&error);
            if failure.hint.is_some() {
                return failure;
            }
            failure.hint("set SYNAPSE_STORE to a folder that you may write")
        })?);
        Ok(Arc::clone(self.store.get_or_init(|| store)))
    }

    /// Who inspects plugins; nothing is started before the first question.
    pub fn served(&self, session: &Session) -> Served {
        let synapse = executable();
        let store = self.home.store.clone();
        Served::new(
            self.environments(session),
            store,
            synapse,
            self.variables(),
            session.jobs,
        )
    }

    /// The same, shared.
    pub fn schemas(&self, session: &Session) -> Arc<dyn Schemas> {
        Arc::new(self.served(session))
    }

    /// A session of the engine on the workspace at `root`.
    pub fn session(
        &self,
        root: &Path,
        events: Arc<dyn EventSink>,
        jobs: Option<u16>,
        fail_fast: bool,
    ) -> Result<Session, Failure> {
        let jobs = jobs.map_or_else(processors, usize::from);
        Ok(Session {
            store: self.store()?,
            events,
            cancel: self.cancel.clone(),
            scope: root.display().to_string(),
            clock: seconds,
            jobs,
            io_jobs: IO_JOBS,
            fail_fast,
            thorough: self.output.json || self.output.events || self.output.verbose,
        })
    }

    /// The environment variables of this process, for what starts others.
    pub fn variables(&self) -> Variables {
        Variables::of(std::env::vars_os())
    }

    /// Where environments come from.
    pub fn environments(&self, session: &Session) -> Environments {
        let children = Arc::new(Children);
        Environments::new(&self.home.store, session, self.variables(), children)
    }

    /// Removes files of the embedded backend that interrupted publishes left without a release
    /// and that are older than `margin` seconds; says how many.
    pub fn backend_leftovers(&self, margin: u64) -> Result<u64, Failure> {
        if !self.has_backend()? {
            return Ok(0);
        }
        let collected = self.backend()?.collect(Duration::from_secs(margin));
        let collected = collected.map_err(|error| self.backend_failure(&error))?;
        // None: another process is making a release; next time, then.
        Ok(collected.map_or(0, |collected| collected.files))
    }

    /// What the embedded backend said, as a failure.
    pub fn backend_failure(&self, error: &BackendError) -> Failure {
        if error.is_refusal() {
            let failure = Failure::user("refused", error.to_string());
            return match error.hint() {
                Some(hint) => failure.hint(hint),
                None => failure,
            };
        }
        let usual =
            "check the folder's permissions and its free space, or set SYNAPSE_HOME to another";
        Failure::environment("backend", error.to_string())
            .at(self.home.backend().display().to_string())
            .hint(error.hint().unwrap_or(usual))
    }

    /// Whether there is an embedded backend; looking makes none.
    pub fn has_backend(&self) -> Result<bool, Failure> {
        let folder = self.home.backend();
        match fs::metadata(&folder) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => {
                let what = format!("cannot open {}: {error}", folder.display());
                Err(Failure::environment("data", what)
                    .hint("set SYNAPSE_HOME to a folder that you may read and write"))
            }
        }
    }

    /// The embedded backend of this user.
    pub fn backend(&self) -> Result<Embedded, Failure> {
        self.backend_in(None, None)
    }

    /// The embedded backend in a folder, which takes archives up to a size; that of this user, and
    /// the usual size, unless said.
    pub fn backend_in(&self, dir: Option<&Path>, most: Option<u64>) -> Result<Embedded, Failure> {
        let usual = BackendOptions::default();
        let options = BackendOptions {
            hook: self.hook.clone(),
            size_limit: most.unwrap_or(usual.size_limit),
            ..usual
        };
        let dir = dir.map_or_else(|| self.home.backend(), |dir| self.cwd.join(dir));
        let _busy = board::busy("waiting for another process that opens the embedded backend");
        Embedded::open(&dir, options)
            .map_err(|error| self.backend_failure(&error).at(dir.display().to_string()))
    }
}

/// Processors that this process may use.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// One publish works on a workspace at a time where that matters: raising versions.
pub fn bump_lock(home: &Home, root: &Path) -> Result<File, Failure> {
    let name = synapse_engine::Digest::of(root.as_os_str().as_encoded_bytes()).hex();
    let path = home
        .store
        .join("locks")
        .join(format!("bump-{}", &name[..16]));
    let failed = |error: std::io::Error| {
        Failure::environment("lock", format!("cannot lock {}: {error}", path.display()))
    };
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(failed)?;
    let shown = root.display();
    let what = format!("waiting for another publish that raises versions in {shown}");
    let _busy = board::busy(what);
    file.lock().map_err(failed)?;
    Ok(file)
}

/// This executable, also when a newer one has taken its place meanwhile.
pub fn executable() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    if own.is_file() {
        own
    } else {
        PathBuf::from("/proc/self/exe")
    }
}
