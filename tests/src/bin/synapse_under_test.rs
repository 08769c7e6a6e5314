//! The `synapse` command as it is shipped, except that it can be made to stumble at a chosen step
//! that changes the store, the ledger or the embedded backend.
//!
//! | variable | at the N-th step, counted from 1 |
//! |---|---|
//! | `SYNAPSE_TEST_KILL_AT` | the process is killed |
//! | `SYNAPSE_TEST_INTERRUPT_AT` | the process gets a Ctrl-C |
//! | `SYNAPSE_TEST_FAIL_AT` | the step fails: the disk is full |
//! | `SYNAPSE_TEST_FAIL_FROM` | that step and all after it fail |
//!
//! `SYNAPSE_TEST_SLOW_MS` makes every step take that much longer, and `SYNAPSE_TEST_STEPS` names
//! a file that gets one line a step.

use std::{
    env,
    fs::OpenOptions,
    io::{self, Write},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use rustix::process::{Signal, getpid, kill_process};
use synapse_engine::store::Hook;

/// `ENOSPC`.
const DISK_FULL: i32 = 28;
/// Time for a signal to be taken by the thread that listens.
const SIGNAL_TAKES: Duration = Duration::from_millis(30);

fn main() -> ExitCode {
    synapse_cli::main(Some(hook()))
}

fn hook() -> Hook {
    let number = |name: &str| {
        env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let kill_at = number("SYNAPSE_TEST_KILL_AT");
    let interrupt_at = number("SYNAPSE_TEST_INTERRUPT_AT");
    let fail_at = number("SYNAPSE_TEST_FAIL_AT");
    let fail_from = number("SYNAPSE_TEST_FAIL_FROM");
    let slow = number("SYNAPSE_TEST_SLOW_MS").map(Duration::from_millis);
    let steps = env::var_os("SYNAPSE_TEST_STEPS");
    let count = AtomicU64::new(0);
    Arc::new(move |step: &str| {
        let now = count.fetch_add(1, Ordering::SeqCst) + 1;
        if let Some(path) = &steps {
            let mut file = OpenOptions::new().append(true).create(true).open(path)?;
            file.write_all(format!("{step}\n").as_bytes())?;
        }
        if let Some(slow) = slow {
            thread::sleep(slow);
        }
        if kill_at == Some(now) {
            kill_process(getpid(), Signal::KILL)?;
            loop {
                thread::park();
            }
        }
        if interrupt_at == Some(now) {
            kill_process(getpid(), Signal::INT)?;
            thread::sleep(SIGNAL_TAKES);
        }
        if fail_at == Some(now) || fail_from.is_some_and(|from| now >= from) {
            return Err(io::Error::from_raw_os_error(DISK_FULL));
        }
        Ok(())
    })
}
