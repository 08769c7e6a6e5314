//! Owns [`Agent`]: what runs the jobs of a server on this machine, so many at a time, each in a
//! process of its own that ends with the server. What that process does is not the backend's
//! business: an [`Executor`] says how it is started.
//!
//! A process is told what to run by one line of JSON on its standard input, an [`Order`]. A line
//! [`STOP`] asks it to end the job; the end of its input means that the server is gone.

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::Embedded;
use crate::error::BackendError;
use crate::job::Asked;
use crate::run::{Run, RunStatus, RunUpdate};

/// The id of the agent of this machine.
pub const ID: i64 = 1;
/// Its name.
pub const NAME: &str = "local";
/// The line that asks a process to end its job.
pub const STOP: &str = "stop";

/// The folder of jobs, in the data folder.
const FOLDER: &str = "jobs";
/// Jobs that may wait.
const WAITING: usize = 1000;
/// How long processes may take to end when the server does.
const FAREWELL: Duration = Duration::from_secs(10);
/// How long files stay that a job left.
const KEPT: Duration = Duration::from_hours(7 * 24);

/// How a process that runs a job is started.
pub trait Executor: Send + Sync + 'static {
    /// The command, with its environment and without its standard streams.
    fn command(&self) -> Command;
}

/// What a process is to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The folder of the backend.
    pub data: PathBuf,
    /// Whose job it is.
    pub tenant: String,
    /// The job.
    pub job: i64,
    /// The release whose action it is.
    pub release: String,
    /// A folder for the job, which is not there yet.
    pub folder: PathBuf,
    /// Language of messages.
    pub language: Option<String>,
}

/// What came of asking a job to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// It had not begun, and is over.
    AtOnce,
    /// It was asked, and is over soon.
    Asked,
    /// It is not among the jobs of this agent.
    Unknown,
}

/// An agent that works. It ends when this is dropped, and its jobs with it.
pub struct Agent {
    desk: Desk,
    workers: Vec<JoinHandle<()>>,
}

/// Where an agent takes orders.
#[derive(Clone)]
pub struct Desk(Arc<Inner>);

struct Inner {
    executor: Box<dyn Executor>,
    slots: usize,
    state: Mutex<State>,
    changed: Condvar,
}

/// A job, and the backend as its asker sees it.
struct Task {
    order: Order,
    embedded: Arc<Embedded>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Task>,
    going: HashMap<i64, Going>,
    ending: bool,
}

/// A job that somebody works on.
#[derive(Default)]
struct Going {
    process: Option<Pid>,
    input: Option<ChildStdin>,
    stopping: bool,
}

impl Agent {
    /// Starts an agent that runs at most `slots` jobs at once. Jobs of agents that are gone are
    /// recorded as lost first.
    pub fn start(
        embedded: &Embedded,
        executor: impl Executor,
        slots: usize,
    ) -> Result<Self, BackendError> {
        embedded.jobs_lost()?;
        sweep(embedded)?;
        let desk = Desk(Arc::new(Inner {
            executor: Box::new(executor),
            slots: slots.max(1),
            state: Mutex::default(),
            changed: Condvar::new(),
        }));
        let mut workers = Vec::new();
        for _ in 0..desk.0.slots {
            let own = desk.clone();
            let worker = std::thread::Builder::new().name("synapse-agent".to_owned());
            let worker = worker.spawn(move || own.0.work());
            let failed = |cause| BackendError::io("work in", embedded.dir(), cause);
            workers.push(worker.map_err(failed)?);
        }
        Ok(Self { desk, workers })
    }

    /// For a server.
    pub fn desk(&self) -> Desk {
        self.desk.clone()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.desk.0.end();
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
    }
}

impl Desk {
    /// Takes a job, or finds the one that was taken under this name before; then the second part
    /// is false.
    pub fn submit(
        &self,
        embedded: &Arc<Embedded>,
        asked: &Asked,
        client_id: Option<&str>,
    ) -> Result<(Run, bool), BackendError> {
        let inner = &self.0;
        if let Some(client_id) = client_id
            && let Some(run) = embedded.job_known(client_id, asked)?
        {
            return Ok((run, false));
        }
        let release = embedded.job_release(asked)?;
        if inner.state().waiting.len() >= WAITING {
            let text = format!("{WAITING} jobs wait already; try again when some have ended");
            return Err(BackendError::Full(text));
        }
        let (run, is_new) = embedded.job_create(asked, &release, client_id)?;
        if is_new {
            let order = Order {
                data: embedded.dir().to_owned(),
                tenant: embedded.tenant().to_owned(),
                job: run.id,
                release: release.id,
                folder: folder(embedded, run.id),
                language: asked.language.clone(),
            };
            let embedded = Arc::clone(embedded);
            inner.take(Task { order, embedded })?;
        }
        Ok((run, is_new))
    }

    /// Asks a job of the backend to end.
    pub fn stop(&self, embedded: &Embedded, job: i64) -> Result<Stopped, BackendError> {
        let inner = &self.0;
        let stopped = RunUpdate {
            status: Some(RunStatus::Stopped),
            ..RunUpdate::default()
        };
        {
            let mut state = inner.state();
            let before = state.waiting.len();
            state.waiting.retain(|task| task.order.job != job);
            if state.waiting.len() == before {
                let Some(going) = state.going.get_mut(&job) else {
                    return Ok(Stopped::Unknown);
                };
                going.stopping = true;
            }
        }
        // One that is still being made ready is over at once as well: it finds that out itself.
        let pending = |run: &Run| run.status == RunStatus::Pending;
        let at_once = embedded.run_update_if(job, &pending, &stopped)?;
        if let Some(going) = inner.state().going.get_mut(&job) {
            going.ask();
        }
        Ok(if at_once {
            Stopped::AtOnce
        } else {
            Stopped::Asked
        })
    }

    /// How many jobs run, how many wait, and how many may run at once.
    pub fn load(&self) -> (usize, usize, usize) {
        let state = self.0.state();
        (state.going.len(), state.waiting.len(), self.0.slots)
    }
}

impl Going {
    fn ask(&mut self) {
        if let Some(input) = &mut self.input {
            // One that has ended needs no asking.
            let _ = input.write_all(format!("{STOP}\n").as_bytes());
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, task: Task) -> Result<(), BackendError> {
        let mut state = self.state();
        if state.ending {
            drop(state);
            task.embedded.job_lost(task.order.job)?;
            return Ok(());
        }
        state.waiting.push_back(task);
        self.changed.notify_all();
        Ok(())
    }

    /// One job after another, until the agent ends.
    fn work(&self) {
        loop {
            let Task { order, embedded } = {
                let mut state = self.state();
                loop {
                    if state.ending {
                        return;
                    }
                    if let Some(task) = state.waiting.pop_front() {
                        state.going.insert(task.order.job, Going::default());
                        break task;
                    }
                    state = self
                        .changed
                        .wait(state)
                        .unwrap_or_else(PoisonError::into_inner);
                }
            };
            let ended = self.run(&order);
            let (stopping, ending) = {
                let mut state = self.state();
                let going = state.going.remove(&order.job);
                self.changed.notify_all();
                (going.is_some_and(|going| going.stopping), state.ending)
            };
            // Without a database there is nobody to tell: the next agent finds it lost.
            let _ = settle(&embedded, &order, ended, stopping, ending);
        }
    }

    /// Runs a process to its end.
    fn run(&self, order: &Order) -> io::Result<ExitStatus> {
        let mut child = self
            .executor
            .command()
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C in the server's terminal is the server's.
            .process_group(0)
            .spawn()?;
        if let Some(mut input) = child.stdin.take() {
            let mut line = serde_json::to_string(order)?;
            line.push('\n');
            // How it ended says more than that it did not read.
            let _ = input.write_all(line.as_bytes());
            let mut state = self.state();
            let ending = state.ending;
            if let Some(going) = state.going.get_mut(&order.job) {
                going.process = Some(Pid::from_child(&child));
                going.input = (!ending).then_some(input);
                if going.stopping {
                    going.ask();
                }
            }
        }
        // Its status stays for now, so that its number is not somebody else's.
        let over = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while matches!(
            waitid(WaitId::Pid(Pid::from_child(&child)), over),
            Err(rustix::io::Errno::INTR)
        ) {}
        if let Some(going) = self.state().going.get_mut(&order.job) {
            (going.process, going.input) = (None, None);
        }
        child.wait()
    }

    /// Ends all jobs; returns when their processes have ended.
    fn end(&self) {
        let waiting = {
            let mut state = self.state();
            state.ending = true;
            for going in state.going.values_mut() {
                going.input = None;
            }
            self.changed.notify_all();
            std::mem::take(&mut state.waiting)
        };
        for task in waiting {
            let _ = task.embedded.job_lost(task.order.job);
        }
        let until = Instant::now() + FAREWELL;
        let mut state = self.state();
        while !state.going.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                for process in state.going.values().filter_map(|going| going.process) {
                    let _ = kill_process(process, Signal::KILL);
                }
                return;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Records what a process left unsaid.
fn settle(
    embedded: &Embedded,
    order: &Order,
    ended: io::Result<ExitStatus>,
    stopping: bool,
    ending: bool,
) -> Result<(), BackendError> {
    if embedded.recorded_run(order.job)?.status.is_over() {
        return Ok(());
    }
    if ending {
        embedded.job_lost(order.job)?;
        return Ok(());
    }
    let message = match ended {
        Ok(status) => format!("the process that ran the job ended without a word ({status})"),
        Err(error) => format!("the process for the job could not be started: {error}"),
    };
    let update = if stopping {
        RunUpdate {
            status: Some(RunStatus::Stopped),
            ..RunUpdate::default()
        }
    } else {
        RunUpdate {
            status: Some(RunStatus::Failed),
            error: Some(json!({"kind": "agent", "message": message})),
            ..RunUpdate::default()
        }
    };
    let said = (!stopping).then_some(("error", message.as_str()));
    embedded.job_end(order.job, &update, said)?;
    let _ = fs::remove_dir_all(&order.folder);
    Ok(())
}

/// The folder of a job.
fn folder(embedded: &Embedded, job: i64) -> PathBuf {
    embedded.dir().join(FOLDER).join(job.to_string())
}

/// Removes folders of jobs that were last written to long ago, and that are not among what goes
/// on. What cannot be removed stays.
fn sweep(embedded: &Embedded) -> Result<(), BackendError> {
    let going = embedded.jobs_going()?;
    let old = |path: &Path| {
        let modified = fs::symlink_metadata(path).and_then(|meta| meta.modified());
        let age = modified
            .ok()
            .and_then(|time| SystemTime::now().duration_since(time).ok());
        age.is_some_and(|age| age > KEPT)
    };
    let folders = fs::read_dir(embedded.dir().join(FOLDER));
    for entry in folders.into_iter().flatten().flatten() {
        let job = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        let over = job.is_some_and(|job: i64| going.iter().all(|(id, _)| *id != job));
        if over && old(&entry.path()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    Ok(())
}
