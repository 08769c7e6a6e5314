//! Owns the Python worker as the command sees it: how it is started, the messages, the watch over
//! a run, and the server that inspects plugins.

mod cgroup;
mod descendants;
pub mod ending;
mod frames;
pub mod host;
pub mod limits;
pub mod protocol;
pub mod pump;
pub mod server;

use std::{
    ffi::OsString,
    fs::File,
    io,
    os::fd::{AsRawFd, OwnedFd, RawFd},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
};

use rustix::{
    io::FdFlags,
    pipe::{PipeFlags, pipe_with},
};

/// The argument with which the executable becomes a worker.
pub const ARGUMENT: &str = "__worker";

/// What stands for the library of an interpreter that has none.
pub const NO_LIBRARY: &str = "-";

/// What the interpreter is given to run. The current folder is the plugin's, and may have modules
/// of the names of standard ones: it comes onto the path only when the worker has its own.
const BOOTSTRAP: &str = "import os,sys;\
                         sys.path[:]=[os.environ['SYNAPSE_WORKER_SDK'],*filter(None,sys.path)];\
                         from synapse_sdk._worker import main;main()";

/// Where the payload lies, for the worker.
const SDK: &str = "SYNAPSE_WORKER_SDK";

/// The worker's descriptors: requests, events, lock.
const FDS: &str = "SYNAPSE_WORKER_FDS";

/// How to start Python with our bootstrap.
#[derive(Debug, Clone)]
pub struct Launcher {
    /// The executable that is running, which becomes the worker.
    pub synapse: PathBuf,
    /// The interpreter of the environment.
    pub interpreter: PathBuf,
    /// Its shared library; without one the interpreter is started itself.
    pub libpython: Option<PathBuf>,
    /// The folder of the payload.
    pub sdk: PathBuf,
}

/// Our ends of the pipes to a worker, and its own, which it inherits.
struct Pipes {
    requests: File,
    events: OwnedFd,
    /// Kept until the worker has started.
    theirs: [OwnedFd; 3],
}

impl Launcher {
    /// The worker as a command, without environment and descriptors.
    fn command(&self) -> Command {
        let mut command = match &self.libpython {
            Some(library) => {
                let mut command = Command::new(&self.synapse);
                command
                    .arg0("synapse")
                    .arg(ARGUMENT)
                    .arg(library)
                    .arg(&self.interpreter);
                command
            }
            None => Command::new(&self.interpreter),
        };
        command.arg("-c").arg(BOOTSTRAP);
        command
    }

    /// The same with the environment given, and pipes to talk to it. `scratch` is a folder for an
    /// unnamed temporary file.
    fn connected(
        &self,
        environment: &[(OsString, OsString)],
        scratch: &Path,
    ) -> io::Result<(Command, Pipes)> {
        let (their_requests, requests) = pipe_with(PipeFlags::CLOEXEC)?;
        let (events, their_events) = pipe_with(PipeFlags::CLOEXEC)?;
        let lock = OwnedFd::from(tempfile::tempfile_in(scratch)?);
        let theirs = [their_requests, their_events, lock];
        let numbers = [
            theirs[0].as_raw_fd(),
            theirs[1].as_raw_fd(),
            theirs[2].as_raw_fd(),
        ];
        let mut command = self.command();
        command
            .env_clear()
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .env(SDK, &self.sdk)
            .env(FDS, numbers.map(|number| number.to_string()).join(","));
        // SAFETY: between fork and exec only `fcntl` is called, on descriptors that stay open.
        unsafe {
            command.pre_exec(move || numbers.into_iter().try_for_each(inherit));
        }
        let requests = File::from(requests);
        Ok((
            command,
            Pipes {
                requests,
                events,
                theirs,
            },
        ))
    }
}

/// Lets the program that takes over this process have a descriptor.
fn inherit(fd: RawFd) -> io::Result<()> {
    // SAFETY: the caller keeps the descriptor open.
    let fd = unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) };
    let flags = rustix::io::fcntl_getfd(fd)?;
    rustix::io::fcntl_setfd(fd, flags - FdFlags::CLOEXEC)?;
    Ok(())
}

/// Tests that start children take turns where they share a process, as plain `cargo test` has it:
/// the end of a worker ends every child of its process.
#[cfg(test)]
pub(crate) fn one_at_a_time() -> std::sync::MutexGuard<'static, ()> {
    static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
    TURN.lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
