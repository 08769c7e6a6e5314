//! Owns the watch over one run: starts its worker, passes on what comes, keeps time, hands
//! interrupts on, tells how it ended, and leaves no process behind.

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    os::fd::AsRawFd,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    pipe::{PipeFlags, pipe_with},
    process::Signal,
};
use synapse_engine::Failure;

use super::{
    Launcher,
    cgroup::{self, Group},
    descendants::{self, Left, Others},
    ending::{self, Ending, Seen},
    frames,
    limits::{self, Limits},
    protocol::RunRequest,
    pump::{Pump, Sink, Why},
};

/// Where control groups are.
const GROUPS: &str = "/sys/fs/cgroup";

/// One run.
pub struct Launch<'a> {
    /// How Python is started.
    pub launcher: &'a Launcher,
    /// The folder in which the action runs.
    pub directory: &'a Path,
    /// All of its environment; [`Limits::apply`] was there before.
    pub environment: &'a [(OsString, OsString)],
    /// Its limits.
    pub limits: Limits,
    /// A folder for small temporary files.
    pub scratch: &'a Path,
    /// How long it may take to end when it is asked to.
    pub grace: Duration,
    /// A file that keeps its output.
    pub kept: Option<File>,
}

/// Somebody wants a run to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interrupt {
    /// Ctrl-C on the terminal: the worker has got it as well.
    Everyone,
    /// An interrupt for this process alone: the worker has yet to hear of it.
    Us,
    /// This process is to end: the action is asked, and killed when it takes too long.
    End,
}

enum Notice {
    Interrupt(Interrupt),
    Exited,
}

/// Brings interrupts to a run.
#[derive(Clone)]
pub struct Interrupter(Sender<Notice>);

impl Interrupter {
    /// An interrupt; the second one kills.
    pub fn interrupt(&self, interrupt: Interrupt) {
        // Nobody listens any more when the run is over.
        let _ = self.0.send(Notice::Interrupt(interrupt));
    }
}

/// Takes interrupts for one run.
pub struct Inbox {
    sender: Sender<Notice>,
    receiver: Receiver<Notice>,
}

impl Default for Inbox {
    fn default() -> Self {
        let (sender, receiver) = channel();
        Self { sender, receiver }
    }
}

impl Inbox {
    /// For whoever hears of interrupts.
    pub fn interrupter(&self) -> Interrupter {
        Interrupter(self.sender.clone())
    }
}

/// What is left of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// How it ended.
    pub ending: Ending,
    /// The process's exit code; of one that a signal ended, 128 and its number.
    pub exit: i32,
    /// Processes that outlived the action and were ended.
    pub left: Vec<Left>,
    /// Bytes of output.
    pub bytes: u64,
    /// What else is worth knowing.
    pub notes: Vec<String>,
}

/// How the memory of a run is bounded.
enum Bound {
    None,
    Group(Group),
    AddressSpace(u64),
}

/// Runs a worker to its end. The calling thread waits: on Linux the worker ends with it.
#[expect(clippy::needless_pass_by_value, reason = "an inbox serves one run")]
pub fn run(
    launch: Launch<'_>,
    request: &RunRequest,
    inbox: Inbox,
    sink: &dyn Sink,
) -> Result<Report, Failure> {
    let others = descendants::adopt();
    let bound = bound(launch.limits.memory);
    let before = cgroup::killed_on_machine();
    let cannot = |what: &str, error: &io::Error| {
        Failure::environment("worker", format!("cannot {what}: {error}"))
    };
    let start = |error: io::Error| {
        cannot(
            &format!("start {}", launch.launcher.interpreter.display()),
            &error,
        )
        .hint("check that it is there and can be executed, or choose another with --python")
    };
    let (mut command, pipes) = launch
        .launcher
        .connected(launch.environment, launch.scratch)
        .map_err(|error| cannot("make pipes for the worker", &error))?;
    command
        .current_dir(launch.directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    prepare(&mut command, &bound, launch.limits.cpus).map_err(start)?;
    let mut child = command.spawn().map_err(start)?;
    drop(command);
    let super::Pipes {
        mut requests,
        events,
        theirs,
    } = pipes;
    drop(theirs);
    let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(Failure::bug("a worker without output"));
    };
    let (over, gone) =
        pipe_with(PipeFlags::CLOEXEC).map_err(|error| cannot("make a pipe", &error.into()))?;
    let pump = Pump {
        events,
        out: File::from(std::os::fd::OwnedFd::from(out)),
        err: File::from(std::os::fd::OwnedFd::from(err)),
        over,
        kept: launch.kept,
        sink,
    };
    let mut seen = Seen {
        limited: matches!(bound, Bound::AddressSpace(_)),
        ..Seen::default()
    };
    let (pid, hears) = (child.id() as i32, inbox.sender.clone());
    let waits = &others;
    let (status, left, heard) = thread::scope(|scope| {
        let pump = scope.spawn(|| pump.run());
        // It may end before it has read all of the request: how it ended says more than that.
        scope.spawn(move || {
            let _ = frames::write(&mut requests, request);
        });
        scope.spawn(move || {
            wait(pid, waits);
            let _ = hears.send(Notice::Exited);
        });
        let watch = Watch {
            pid,
            grace: launch.grace,
            timeout: launch.limits.timeout,
            sink,
        };
        let status = watch.until_it_ends(&mut child, &inbox.receiver, &mut seen);
        let left = others.end_the_rest(seen.killed);
        drop(gone);
        (status, left, pump.join())
    });
    let status = status.map_err(|error| cannot("wait for the worker", &error))?;
    let heard = heard.map_err(|panic| Failure::panicked(panic.as_ref()))?;
    if let Bound::Group(group) = &bound {
        seen.group_killed = group.killed();
    }
    if let (Some(before), Some(after)) = (before, cgroup::killed_on_machine()) {
        seen.machine_killed = after.saturating_sub(before);
    }
    if let Some(other) = heard.other_protocol {
        let own = synapse_python::PROTOCOL;
        let what = format!("the worker speaks version {other} of its messages, not {own}");
        return Err(Failure::bug(what));
    }
    let ending = ending::tell(status, &heard, &seen);
    let mut notes = heard.trouble;
    notes.extend(remark(&ending, status, &seen));
    Ok(Report {
        ending,
        exit: exit_code(status),
        left,
        bytes: heard.bytes,
        notes,
    })
}

/// What an ending leaves unsaid.
fn remark(ending: &Ending, status: ExitStatus, seen: &Seen) -> Option<String> {
    use std::os::unix::process::ExitStatusExt;
    match ending {
        Ending::Returned(_) => {
            let what = match (status.signal(), status.code()) {
                (Some(signal), _) => ending::signal_name(signal).to_owned(),
                (None, Some(code)) if code != 0 => format!("exit code {code}"),
                _ => return None,
            };
            Some(format!(
                "the process ended with {what} after the action had returned"
            ))
        }
        Ending::OutOfMemory { .. } => None,
        _ if seen.group_killed > 0 => {
            Some("a process of the action was ended for want of memory".to_owned())
        }
        _ => None,
    }
}

fn exit_code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

fn bound(memory: Option<u64>) -> Bound {
    let Some(bytes) = memory else {
        return Bound::None;
    };
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let name = format!("synapse-run-{}", std::process::id());
    Group::make(Path::new(GROUPS), &own, &name, bytes)
        .map_or(Bound::AddressSpace(bytes), Bound::Group)
}

/// Has the child put itself under its limits before it becomes Python.
fn prepare(command: &mut Command, bound: &Bound, cpus: Option<u32>) -> io::Result<()> {
    let member = match bound {
        Bound::Group(group) => Some(group.member()?),
        _ => None,
    };
    let space = match bound {
        Bound::AddressSpace(bytes) => Some(*bytes),
        _ => None,
    };
    #[cfg(target_os = "linux")]
    let processors = cpus.and_then(limits::processors);
    #[cfg(not(target_os = "linux"))]
    let _ = cpus;
    // SAFETY: between fork and exec only system calls are made, on values made before.
    unsafe {
        command.pre_exec(move || {
            #[cfg(target_os = "linux")]
            {
                rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
                if let Some(processors) = &processors {
                    rustix::thread::sched_setaffinity(None, processors)?;
                }
            }
            if let Some(member) = &member
                && libc::write(member.as_raw_fd(), b"0".as_ptr().cast(), 1) != 1
            {
                return Err(io::Error::last_os_error());
            }
            if let Some(bytes) = space {
                let limit = libc::rlimit {
                    rlim_cur: bytes,
                    rlim_max: bytes,
                };
                if libc::setrlimit(libc::RLIMIT_AS, &raw const limit) != 0 {
                    return Err(io::Error::last_os_error());
                }
            }
            Ok(())
        });
    }
    Ok(())
}

/// Blocks until the worker has ended, and buries orphans meanwhile: somebody may wait for them to
/// be gone.
fn wait(pid: i32, others: &Others) {
    // Only Linux brings us orphans.
    let mut any = cfg!(target_os = "linux");
    loop {
        match ended(if any { None } else { Some(pid) }) {
            Ok(found) if found == pid => return,
            Ok(orphan) if any && !others.has(orphan) => descendants::reap(orphan),
            // Somebody else's child, which only they may bury.
            Ok(_) => any = false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) if any => any = false,
            Err(_) => return,
        }
    }
}

/// Blocks until a child has ended, this one or any, and leaves its status where it is.
fn ended(pid: Option<i32>) -> io::Result<i32> {
    let (kind, id) = pid.map_or((libc::P_ALL, 0), |pid| (libc::P_PID, pid as libc::id_t));
    // SAFETY: zeroes are a valid `siginfo_t`.
    let mut found: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a `siginfo_t` that lives across the call.
    if unsafe { libc::waitid(kind, id, &raw mut found, libc::WEXITED | libc::WNOWAIT) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: after a successful `waitid` this field is set.
    Ok(unsafe { found.si_pid() })
}

/// The watch over a worker that runs.
struct Watch<'a> {
    sink: &'a dyn Sink,
    pid: i32,
    grace: Duration,
    timeout: Option<Duration>,
}

impl Watch<'_> {
    fn until_it_ends(
        &self,
        child: &mut Child,
        inbox: &Receiver<Notice>,
        seen: &mut Seen,
    ) -> io::Result<ExitStatus> {
        // What to send when, soonest first.
        let mut planned: Vec<(Instant, Signal)> = Vec::new();
        if let Some(timeout) = self.timeout {
            planned.push((Instant::now() + timeout, Signal::INT));
        }
        let mut interrupts = 0;
        loop {
            let notice = match planned.first() {
                Some((at, _)) => {
                    let left = at.saturating_duration_since(Instant::now());
                    inbox.recv_timeout(left)
                }
                None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match notice {
                Ok(Notice::Exited) | Err(RecvTimeoutError::Disconnected) => return child.wait(),
                Ok(Notice::Interrupt(interrupt)) => {
                    interrupts += 1;
                    seen.interrupted = true;
                    if interrupts > 1 {
                        seen.killed = true;
                        descendants::signal(self.pid, Signal::KILL);
                        continue;
                    }
                    self.sink.asked_to_end(Why::Interrupted);
                    if interrupt != Interrupt::Everyone {
                        descendants::signal(self.pid, Signal::INT);
                    }
                    if interrupt == Interrupt::End {
                        planned = self.escalation();
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    let (_, signal) = planned.remove(0);
                    if signal == Signal::INT {
                        seen.timed_out = self.timeout;
                        self.sink.asked_to_end(Why::TimedOut);
                        planned = self.escalation();
                    }
                    seen.killed |= signal == Signal::KILL;
                    descendants::signal(self.pid, signal);
                }
            }
        }
    }

    /// From asking to killing.
    fn escalation(&self) -> Vec<(Instant, Signal)> {
        let now = Instant::now();
        vec![
            (now + self.grace, Signal::TERM),
            (now + self.grace * 2, Signal::KILL),
        ]
    }
}

#[cfg(test)]
#[path = "host_tests.rs"]
mod tests;
