//! Owns [`InspectServer`]: one warm process that inspects plugins, each in a fork of its own.

use std::{
    collections::HashMap,
    ffi::OsString,
    fs::{self, File},
    io::{self, BufReader},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use synapse_engine::{Cancel, Failure};

use super::{
    Launcher, Pipes, frames,
    protocol::{Hello, InspectReply, InspectRequest, Raised},
};

/// How often a request is tried: a server that dies may have died of another's.
const TRIES: usize = 3;
/// How often somebody who waits looks whether to go on.
const LOOK: Duration = Duration::from_millis(50);
/// How long a server may take to end when there is nothing more to do.
const GRACE: Duration = Duration::from_secs(3);
const LOG: &str = "inspect-server.log";
/// How much of its last words is shown, in bytes.
const WORDS: usize = 2_000;

/// Inspects plugins. The process starts with the first request, and again when it dies.
pub struct InspectServer {
    launcher: Launcher,
    environment: Vec<(OsString, OsString)>,
    private: PathBuf,
    jobs: usize,
    running: Mutex<Option<Arc<Running>>>,
    ids: AtomicU64,
    starts: AtomicU64,
}

struct Running {
    requests: Mutex<Option<File>>,
    /// Who waits for which reply; `None` when no more will come.
    waiting: Arc<Mutex<Option<Waiting>>>,
    child: Mutex<Child>,
    reader: Mutex<Option<JoinHandle<()>>>,
}

type Waiting = HashMap<u64, Sender<Result<InspectReply, Failure>>>;

#[derive(Serialize)]
struct Start {
    command: &'static str,
    protocol: u32,
    stdlib: Option<()>,
    parallel: usize,
}

#[derive(Serialize)]
struct Numbered<'a> {
    id: u64,
    #[serde(flatten)]
    request: &'a InspectRequest,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
enum Said {
    Hello(Hello),
    Inspected {
        id: u64,
        #[serde(flatten)]
        reply: InspectReply,
    },
    Error {
        #[serde(default)]
        id: Option<u64>,
        #[serde(flatten)]
        error: Raised,
    },
    #[serde(other)]
    Unknown,
}

impl InspectServer {
    /// A server that is not started yet. `environment` is all that it gets; `private` is a folder
    /// of its own; `jobs` plugins are inspected at once.
    pub fn new(
        launcher: Launcher,
        environment: Vec<(OsString, OsString)>,
        private: &Path,
        jobs: usize,
    ) -> Self {
        Self {
            launcher,
            environment,
            private: private.to_owned(),
            jobs: jobs.max(1),
            running: Mutex::default(),
            ids: AtomicU64::new(0),
            starts: AtomicU64::new(0),
        }
    }

    /// How many processes were started so far.
    pub fn starts(&self) -> u64 {
        self.starts.load(Ordering::Relaxed)
    }

    /// Inspects a plugin; waits for the reply. Threads may ask at the same time.
    pub fn inspect(
        &self,
        request: &InspectRequest,
        cancel: &Cancel,
    ) -> Result<InspectReply, Failure> {
        for _ in 0..TRIES {
            let running = self.running()?;
            if let Some(reply) = self.ask(&running, request, cancel)? {
                return reply;
            }
            let mut current = lock(&self.running);
            if current
                .as_ref()
                .is_some_and(|current| Arc::ptr_eq(current, &running))
            {
                *current = None;
            }
        }
        Err(self.failure("the inspection of plugins keeps ending without a word"))
    }

    /// The reply; `None` when the server died.
    fn ask(
        &self,
        running: &Running,
        request: &InspectRequest,
        cancel: &Cancel,
    ) -> Result<Option<Result<InspectReply, Failure>>, Failure> {
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let (sender, replies) = channel();
        match lock(&running.waiting).as_mut() {
            Some(waiting) => waiting.insert(id, sender),
            None => return Ok(None),
        };
        if let Some(requests) = lock(&running.requests).as_mut() {
            match frames::write(requests, &Numbered { id, request }) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    return Err(Failure::user(
                        "too-large",
                        format!("the plugin's sources: {error}"),
                    ));
                }
                Err(_) => return Ok(None),
            }
        }
        wait(&replies, cancel)
    }

    fn running(&self) -> Result<Arc<Running>, Failure> {
        let mut current = lock(&self.running);
        if let Some(running) = &*current {
            return Ok(Arc::clone(running));
        }
        let running = Arc::new(self.start().map_err(|error| {
            let interpreter = self.launcher.interpreter.display();
            self.failure(&format!("cannot start {interpreter}: {error}"))
        })?);
        *current = Some(Arc::clone(&running));
        Ok(running)
    }

    fn start(&self) -> io::Result<Running> {
        self.starts.fetch_add(1, Ordering::Relaxed);
        let (mut command, pipes) = self.launcher.connected(&self.environment, &self.private)?;
        let log = File::create(self.private.join(LOG))?;
        command
            .current_dir(&self.private)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let child = command.spawn()?;
        let Pipes {
            mut requests,
            events,
            theirs,
        } = pipes;
        drop(theirs);
        let start = Start {
            command: "inspect-server",
            protocol: synapse_python::PROTOCOL,
            stdlib: None,
            // One more, as the end of a child takes its time too.
            parallel: self.jobs + 1,
        };
        // One that has died already is found dead by whoever asks it.
        let _ = frames::write(&mut requests, &start);
        let waiting = Arc::new(Mutex::new(Some(Waiting::new())));
        let replies = Arc::clone(&waiting);
        let reader = thread::spawn(move || read(events, &replies));
        Ok(Running {
            requests: Mutex::new(Some(requests)),
            waiting,
            child: Mutex::new(child),
            reader: Mutex::new(Some(reader)),
        })
    }

    fn failure(&self, what: &str) -> Failure {
        let said = fs::read(self.private.join(LOG)).unwrap_or_default();
        let said = String::from_utf8_lossy(&said[said.len().saturating_sub(WORDS)..]).into_owned();
        let said = said.trim();
        let what = if said.is_empty() {
            what.to_owned()
        } else {
            format!("{what}\n{said}")
        };
        Failure::environment("inspect-server", what)
            .hint("--python chooses another Python; `synapse cache clear` has everything made anew")
    }
}

/// Waits for a reply; `None` when none will come.
fn wait(
    replies: &Receiver<Result<InspectReply, Failure>>,
    cancel: &Cancel,
) -> Result<Option<Result<InspectReply, Failure>>, Failure> {
    loop {
        match replies.recv_timeout(LOOK) {
            Ok(reply) => return Ok(Some(reply)),
            Err(RecvTimeoutError::Disconnected) => return Ok(None),
            Err(RecvTimeoutError::Timeout) if cancel.cancelled() => {
                return Err(Failure::cancelled());
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// Hands replies to those who wait, until there are no more.
fn read(events: OwnedFd, waiting: &Mutex<Option<Waiting>>) {
    let mut events = BufReader::new(File::from(events));
    while let Ok(Some(frame)) = frames::read(&mut events) {
        let (id, reply) = match serde_json::from_slice(&frame) {
            Ok(Said::Inspected { id, reply }) => (id, Ok(reply)),
            Ok(Said::Error {
                id: Some(id),
                error,
            }) => (
                id,
                Err(Failure::bug(format!("inspection: {}", error.message))),
            ),
            Ok(Said::Hello(hello)) if hello.protocol != synapse_python::PROTOCOL => break,
            Ok(_) => continue,
            Err(_) => break,
        };
        let sender = lock(waiting)
            .as_mut()
            .and_then(|waiting| waiting.remove(&id));
        if let Some(sender) = sender {
            // Whoever asked may have been cancelled.
            let _ = sender.send(reply);
        }
    }
    // Everybody who waits learns that nothing comes.
    *lock(waiting) = None;
}

impl Drop for Running {
    fn drop(&mut self) {
        *lock(&self.requests) = None;
        let mut child = lock(&self.child);
        let asked = Instant::now();
        while let Ok(None) = child.try_wait() {
            if asked.elapsed() > GRACE {
                let _ = child.kill();
                let _ = child.wait();
                break;
            }
            thread::sleep(Duration::from_millis(2));
        }
        if let Some(reader) = lock(&self.reader).take() {
            let _ = reader.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
