//! Owns [`Ending`]: how a run ended, told apart from what was heard of it and how its process
//! ended.

use std::{os::unix::process::ExitStatusExt, process::ExitStatus, time::Duration};

use super::{
    protocol::{Raised, Returned},
    pump::Heard,
};

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Ending {
    /// The action returned.
    Returned(Returned),
    /// It raised, or could not be started.
    Raised(Raised),
    /// Its process ended by itself without a result, as `os._exit` does.
    Exited {
        /// Exit code.
        code: i32,
        /// The end of standard error when the worker had not even started.
        said: Option<String>,
    },
    /// A signal ended its process.
    Killed {
        /// Number.
        signal: i32,
        /// Name, such as `SIGSEGV`.
        name: &'static str,
        /// Where Python was, as faulthandler tells it.
        trace: Option<String>,
    },
    /// It wanted more memory than there was.
    OutOfMemory {
        /// How that is known.
        evidence: Evidence,
        /// What it said, when it could say something.
        raised: Option<Raised>,
    },
    /// It took too long.
    TimedOut {
        /// How long it was given.
        after: Duration,
        /// Being asked was not enough.
        killed: bool,
    },
    /// It was interrupted.
    Interrupted {
        /// Being asked was not enough.
        killed: bool,
    },
}

/// How it is known that memory ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// The run's control group says so.
    Group,
    /// The system ended a process for want of memory meanwhile.
    System,
    /// The action got a `MemoryError`.
    Raised,
    /// An allocation outside of Python was refused.
    Allocation,
}

/// What the watch over a run has seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The time was up after this long.
    pub(super) timed_out: Option<Duration>,
    /// Somebody interrupted it.
    pub(super) interrupted: bool,
    /// It was killed by us.
    pub(super) killed: bool,
    /// Processes of the run's control group that were ended for want of memory.
    pub(super) group_killed: u64,
    /// The same for the whole machine, since the run began.
    pub(super) machine_killed: u64,
    /// The address space was limited.
    pub(super) limited: bool,
}

const KEYBOARD: &str = "keyboard-interrupt";

/// Tells how a run ended. A result that came is a result, whatever came after it.
pub(super) fn tell(status: ExitStatus, heard: &Heard, seen: &Seen) -> Ending {
    if let Some(result) = &heard.result {
        return Ending::Returned(result.clone());
    }
    let killed = seen.killed;
    if let Some(after) = seen.timed_out {
        return Ending::TimedOut { after, killed };
    }
    let raised = heard.error.as_ref();
    let by_keyboard = raised.is_some_and(|error| error.kind == KEYBOARD);
    let by_signal = status
        .signal()
        .is_some_and(|number| matches!(number, libc::SIGINT | libc::SIGTERM | libc::SIGHUP));
    // What an interrupted action raises while it unwinds is a consequence of the interrupt.
    if by_keyboard || (seen.interrupted && (killed || by_signal || raised.is_none())) {
        return Ending::Interrupted { killed };
    }
    if let Some(evidence) = memory(status, heard, seen) {
        return Ending::OutOfMemory {
            evidence,
            raised: raised.cloned(),
        };
    }
    if let Some(error) = raised {
        return Ending::Raised(error.clone());
    }
    if let Some(signal) = status.signal() {
        return Ending::Killed {
            signal,
            name: signal_name(signal),
            trace: trace(&heard.tail),
        };
    }
    let said = (!heard.is_up).then(|| heard.tail.trim().to_owned());
    Ending::Exited {
        code: status.code().unwrap_or(0),
        said: said.filter(|said| !said.is_empty()),
    }
}

fn memory(status: ExitStatus, heard: &Heard, seen: &Seen) -> Option<Evidence> {
    if heard
        .error
        .as_ref()
        .is_some_and(|error| error.kind == "memory")
    {
        return Some(Evidence::Raised);
    }
    let was_killed = status.signal() == Some(libc::SIGKILL) && !seen.killed;
    if was_killed && seen.group_killed > 0 {
        return Some(Evidence::Group);
    }
    if was_killed && seen.machine_killed > 0 {
        return Some(Evidence::System);
    }
    let refused = [
        "bad_alloc",
        "memory allocation of",
        "Cannot allocate memory",
        "MemoryError",
    ];
    let crashed = status.signal().is_some() || status.code() != Some(0);
    let said = refused.iter().any(|text| heard.tail.contains(text));
    (seen.limited && crashed && heard.error.is_none() && said).then_some(Evidence::Allocation)
}

/// The part of standard error that faulthandler wrote.
fn trace(tail: &str) -> Option<String> {
    let start = tail.rfind("Fatal Python error:")?;
    Some(tail[start..].trim_end().to_owned())
}

/// A signal's name.
pub fn signal_name(number: i32) -> &'static str {
    const NAMES: [(i32, &str); 16] = [
        (libc::SIGHUP, "SIGHUP"),
        (libc::SIGINT, "SIGINT"),
        (libc::SIGQUIT, "SIGQUIT"),
        (libc::SIGILL, "SIGILL"),
        (libc::SIGTRAP, "SIGTRAP"),
        (libc::SIGABRT, "SIGABRT"),
        (libc::SIGBUS, "SIGBUS"),
        (libc::SIGFPE, "SIGFPE"),
        (libc::SIGKILL, "SIGKILL"),
        (libc::SIGUSR1, "SIGUSR1"),
        (libc::SIGSEGV, "SIGSEGV"),
        (libc::SIGUSR2, "SIGUSR2"),
        (libc::SIGPIPE, "SIGPIPE"),
        (libc::SIGALRM, "SIGALRM"),
        (libc::SIGTERM, "SIGTERM"),
        (libc::SIGXCPU, "SIGXCPU"),
    ];
    NAMES
        .iter()
        .find(|(own, _)| *own == number)
        .map_or("a signal", |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(raw: i32) -> ExitStatus {
        ExitStatus::from_raw(raw)
    }

    fn exited(code: i32) -> ExitStatus {
        status(code << 8)
    }

    fn error(kind: &str) -> Heard {
        let raised = Raised {
            kind: kind.to_owned(),
            ..Raised::default()
        };
        Heard {
            error: Some(raised),
            is_up: true,
            ..Heard::default()
        }
    }

    fn up(tail: &str) -> Heard {
        Heard {
            is_up: true,
            tail: tail.to_owned(),
            ..Heard::default()
        }
    }

    fn seen() -> Seen {
        Seen::default()
    }

    #[test]
    fn a_result_stands_whatever_came_after_it() {
        let returned = Returned {
            value: 1.into(),
            model: None,
            warnings: Vec::new(),
        };
        let heard = Heard {
            result: Some(returned.clone()),
            ..Heard::default()
        };
        let late = Seen {
            timed_out: Some(Duration::from_secs(1)),
            killed: true,
            ..seen()
        };
        for (status, seen) in [
            (status(libc::SIGSEGV), seen()),
            (exited(3), seen()),
            (exited(0), late),
        ] {
            assert_eq!(
                tell(status, &heard, &seen),
                Ending::Returned(returned.clone())
            );
        }
    }

    #[test]
    fn endings_are_told_apart() {
        let timed_out = || Seen {
            timed_out: Some(Duration::from_secs(9)),
            ..seen()
        };
        let interrupted = || Seen {
            interrupted: true,
            ..seen()
        };
        for (status, heard, seen, expected) in [
            (exited(7), up(""), seen(), "Exited { code: 7, said: None }"),
            (exited(0), up(""), seen(), "Exited { code: 0, said: None }"),
            (
                exited(1),
                Heard {
                    tail: "no module\n".into(),
                    ..Heard::default()
                },
                seen(),
                "Exited { code: 1, said: Some(\"no module\") }",
            ),
            (
                status(libc::SIGSEGV),
                up("x\nFatal Python error: Segmentation fault\n  f\n"),
                seen(),
                "Killed { signal: 11, name: \"SIGSEGV\", trace: Some(\"Fatal Python error: \
                 Segmentation fault\\n  f\") }",
            ),
            (
                status(libc::SIGKILL),
                up(""),
                seen(),
                "Killed { signal: 9, name: \"SIGKILL\", trace: None }",
            ),
            (
                exited(130),
                error(KEYBOARD),
                timed_out(),
                "TimedOut { after: 9s, killed: false }",
            ),
            (
                status(libc::SIGKILL),
                up(""),
                Seen {
                    killed: true,
                    ..timed_out()
                },
                "TimedOut { after: 9s, killed: true }",
            ),
            (
                exited(130),
                error(KEYBOARD),
                seen(),
                "Interrupted { killed: false }",
            ),
            (
                status(libc::SIGINT),
                up(""),
                interrupted(),
                "Interrupted { killed: false }",
            ),
            (
                status(libc::SIGKILL),
                up(""),
                Seen {
                    killed: true,
                    ..interrupted()
                },
                "Interrupted { killed: true }",
            ),
            (
                status(libc::SIGKILL),
                up(""),
                Seen {
                    group_killed: 1,
                    ..seen()
                },
                "OutOfMemory { evidence: Group, raised: None }",
            ),
            (
                status(libc::SIGKILL),
                up(""),
                Seen {
                    machine_killed: 1,
                    ..seen()
                },
                "OutOfMemory { evidence: System, raised: None }",
            ),
            (
                status(libc::SIGABRT),
                up("what():  std::bad_alloc"),
                Seen {
                    limited: true,
                    ..seen()
                },
                "OutOfMemory { evidence: Allocation, raised: None }",
            ),
        ] {
            assert_eq!(format!("{:?}", tell(status, &heard, &seen)), expected);
        }
    }

    #[test]
    fn errors_keep_their_kind() {
        let heard = error("execution");
        // A failure after an interrupt that the action took and went on from is its own.
        let interrupted = Seen {
            interrupted: true,
            ..seen()
        };
        for seen in [seen(), interrupted] {
            assert!(matches!(tell(exited(1), &heard, &seen), Ending::Raised(_)));
        }
        let memory = tell(exited(1), &error("memory"), &seen());
        assert!(matches!(
            memory,
            Ending::OutOfMemory {
                evidence: Evidence::Raised,
                ..
            }
        ));
    }
}
