//! Owns what an action leaves behind: processes that it started and that outlive it. On Linux
//! they come to us when their parent ends; elsewhere only those that are still below it are seen.

use std::{
    fs::{self, File},
    io::Read,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    process::{Pid, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process, waitid, waitpid},
};

/// How long a process may take to end when it is asked to.
const GRACE: Duration = Duration::from_secs(2);
/// How long we look for more after killing.
const LAST: Duration = Duration::from_secs(5);
const STEP: Duration = Duration::from_millis(5);
/// Bytes that one line of `/proc/PID/stat` needs at most, with room to spare.
const STAT: usize = 1024;

/// A process that an action left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// Its number.
    pub pid: i32,
    /// Its name.
    pub name: String,
}

/// Children of this process that are none of the worker's doing.
#[derive(Debug, Clone, Default)]
pub(super) struct Others(Vec<i32>);

struct Entry {
    pid: i32,
    parent: i32,
    name: String,
    is_dead: bool,
}

/// Takes in orphans from now on, and notes whose parent we are already.
pub(super) fn adopt() -> Others {
    #[cfg(target_os = "linux")]
    // Refused by no Linux that is in use; without it orphans go to init, as they would anyway.
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    if !has_children() {
        return Others::default();
    }
    Others(
        children(&processes(), own())
            .into_iter()
            .map(|entry| entry.pid)
            .collect(),
    )
}

impl Others {
    pub(super) fn has(&self, pid: i32) -> bool {
        self.0.contains(&pid)
    }

    /// Ends everything that is left below this process: asks first, then kills. Says what was
    /// there. `at_once` leaves the asking out.
    pub(super) fn end_the_rest(&self, at_once: bool) -> Vec<Left> {
        let mut found: Vec<Left> = Vec::new();
        let asked = Instant::now();
        let grace = if at_once { Duration::ZERO } else { GRACE };
        let mut signalled: Vec<(i32, bool)> = Vec::new();
        loop {
            // As good as always, and spares a look at every process of the machine.
            if !has_children() {
                return found;
            }
            let all = processes();
            let mut alive = Vec::new();
            for entry in self.mine(&all) {
                if entry.is_dead {
                    if entry.parent == own() {
                        reap(entry.pid);
                    }
                    continue;
                }
                alive.push(entry.pid);
                if !found.iter().any(|left| left.pid == entry.pid) {
                    found.push(Left {
                        pid: entry.pid,
                        name: entry.name.clone(),
                    });
                }
            }
            if alive.is_empty() || asked.elapsed() > grace + LAST {
                return found;
            }
            let kill = asked.elapsed() >= grace;
            for pid in alive {
                if !signalled.contains(&(pid, kill)) {
                    signal(pid, if kill { Signal::KILL } else { Signal::TERM });
                    signalled.push((pid, kill));
                }
            }
            thread::sleep(STEP);
        }
    }

    /// All processes below this one, save those that were there before and what is below them.
    fn mine<'a>(&self, all: &'a [Entry]) -> Vec<&'a Entry> {
        let mut found: Vec<&Entry> = children(all, own())
            .into_iter()
            .filter(|entry| !self.has(entry.pid))
            .collect();
        let mut next = 0;
        while next < found.len() {
            let below = children(all, found[next].pid);
            found.extend(below);
            next += 1;
        }
        found
    }
}

fn own() -> i32 {
    rustix::process::getpid().as_raw_nonzero().get()
}

fn children(all: &[Entry], parent: i32) -> Vec<&Entry> {
    all.iter().filter(|entry| entry.parent == parent).collect()
}

/// Whether this process has children, dead ones included. Without any there is nothing below us:
/// whatever loses its parent comes to us before that parent can be waited for.
fn has_children() -> bool {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    waitid(WaitId::All, look).err() != Some(Errno::CHILD)
}

/// Sends a signal; a process that has just ended needs none.
pub(super) fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, signal);
    }
}

/// Takes the status of a child that has ended.
pub(super) fn reap(pid: i32) {
    let _ = waitpid(Pid::from_raw(pid), WaitOptions::NOHANG);
}

/// Everything that runs, from /proc; empty where there is none.
fn processes() -> Vec<Entry> {
    let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter_map(process).collect()
}

fn process(pid: i32) -> Option<Entry> {
    // In one piece: these files say nothing of their length, and there are many.
    let mut stat = [0; STAT];
    let read = File::open(format!("/proc/{pid}/stat"))
        .and_then(|mut file| file.read(&mut stat))
        .ok()?;
    let stat = String::from_utf8_lossy(&stat[..read]);
    // The name is in parentheses and may hold some.
    let (head, tail) = stat.rsplit_once(')')?;
    let name = head.split_once('(')?.1.to_owned();
    let mut fields = tail.split_whitespace();
    let is_dead = matches!(fields.next()?, "Z" | "X");
    let parent = fields.next()?.parse().ok()?;
    Some(Entry {
        pid,
        parent,
        name,
        is_dead,
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::process::{Command, Stdio};

    use super::{super::one_at_a_time, *};

    #[test]
    fn orphans_are_ended_and_earlier_children_are_not() {
        let _alone = one_at_a_time();
        let mut earlier = Command::new("sleep").arg("1000").spawn().expect("a child");
        let others = adopt();
        // The shell ends; what it started is an orphan, and another one's.
        let script = "trap '' TERM; sleep 1000 & (sleep 1000 & sleep 1000) & exit 0";
        let shell = Command::new("sh")
            .args(["-c", script])
            .stdout(Stdio::null())
            .status();
        assert!(shell.expect("a shell").success());
        let left = others.end_the_rest(true);
        assert!(left.len() >= 2, "{left:?}");
        assert!(
            left.iter().all(|left| process(left.pid).is_none()),
            "{left:?}"
        );
        assert!(
            earlier.try_wait().expect("a status").is_none(),
            "it still runs"
        );
        earlier.kill().expect("killed");
        earlier.wait().expect("ended");
    }
}
