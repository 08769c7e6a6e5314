//! Owns signals: the first Ctrl-C asks all work to stop, the second ends the process at once,
//! which every step survives. While an action runs, both are the run's.

use std::{
    io::{IsTerminal, Write},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ},
    iterator::{
        SignalsInfo,
        exfiltrator::{WithOrigin, origin::Origin},
    },
};
use synapse_engine::Cancel;
use synapse_rules::worker::host::{Interrupt, Interrupter};

use crate::render::board;

/// The exit code of whoever is interrupted.
const INTERRUPTED: i32 = 130;
/// Signals after which a run is given up that does not even end when it is killed.
const PATIENCE: u32 = 3;

/// What is shown after the first Ctrl-C, as long as it takes.
const STOPPING: &str = "stopping after what has begun; Ctrl-C again ends it here";

/// Who hears of signals.
#[derive(Clone, Default)]
pub struct Signals(Arc<Mutex<Heard>>);

#[derive(Default)]
struct Heard {
    count: u32,
    run: Option<Handler>,
}

/// What is done about a signal.
type Handler = Arc<dyn Fn(Interrupt) + Send + Sync>;

/// While it lives, signals go to a run.
pub struct Diverted(Signals);

impl Signals {
    /// Listens, on a thread of its own.
    pub fn listen(&self, cancel: &Cancel) {
        // Unhandled, writing past a limit on file sizes would end the process without a word.
        let _ = signal_hook::flag::register(SIGXFSZ, Arc::default());
        let Ok(mut signals) = SignalsInfo::<WithOrigin>::new([SIGINT, SIGTERM, SIGHUP]) else {
            return;
        };
        let (heard, cancel) = (self.clone(), cancel.clone());
        thread::spawn(move || {
            for origin in &mut signals.forever() {
                heard.take(&origin, &cancel);
            }
        });
    }

    /// Gives signals to a run from now on.
    pub fn divert(&self, run: Interrupter) -> Diverted {
        self.divert_to(move |interrupt| run.interrupt(interrupt))
    }

    /// The same, where a run is more than one worker of this process. What is done is done at
    /// once: the next signal waits for it.
    pub fn divert_to(&self, handle: impl Fn(Interrupt) + Send + Sync + 'static) -> Diverted {
        self.with(|heard| heard.run = Some(Arc::new(handle)));
        Diverted(self.clone())
    }

    /// Asks a run to end, or all work where there is none; the second time a run is killed.
    pub fn end(&self, cancel: &Cancel) {
        self.pass(Interrupt::End, cancel);
    }

    /// Gives a run a signal that somebody else has heard, or ends all work where there is none;
    /// whether there was a run.
    pub fn pass(&self, interrupt: Interrupt, cancel: &Cancel) -> bool {
        let run = self.with(|heard| heard.run.clone());
        match &run {
            Some(run) => run(interrupt),
            None => cancel.cancel(),
        }
        run.is_some()
    }

    fn take(&self, origin: &Origin, cancel: &Cancel) {
        let (count, run) = self.with(|heard| {
            heard.count += 1;
            (heard.count, heard.run.clone())
        });
        match run {
            Some(_) if count > PATIENCE => end(),
            Some(run) => run(kind(origin)),
            None if count > 1 => end(),
            None => {
                cancel.cancel();
                // Until the end of all work, or of the process.
                std::mem::forget(board::busy(STOPPING));
            }
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Heard) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Diverted {
    fn drop(&mut self) {
        self.0.with(|heard| heard.run = None);
    }
}

/// Ends the process where it stands, with the terminal as it was.
pub fn end() {
    board::end();
    // A question that stands has hidden the cursor.
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        let _ = stderr.write_all(b"\x1b[?25h");
    }
    signal_hook::low_level::exit(INTERRUPTED);
}

/// A terminal's Ctrl-C comes from the system and goes to all that run in the foreground; what
/// `kill` sends comes from a process and goes to us.
fn kind(origin: &Origin) -> Interrupt {
    let sender = origin
        .process
        .as_ref()
        .map(|sender| sender.pid)
        .filter(|pid| *pid != 0);
    match origin.signal {
        SIGINT if sender.is_none() => Interrupt::Everyone,
        SIGINT => Interrupt::Us,
        _ => Interrupt::End,
    }
}
