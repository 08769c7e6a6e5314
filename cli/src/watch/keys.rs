//! Owns the keys of a watch: lines on standard input, read while nothing runs that could want
//! them itself.

use std::{
    io::{IsTerminal, Read},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::getpgrp,
    termios::tcgetpgrp,
};

/// How often is looked whether somebody else wants what is typed.
const EVERY: Duration = Duration::from_millis(200);

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// Enter: do it all again.
    Again,
    /// `q`: end.
    Quit,
}

/// Tells of keys, on a thread of its own, where there is a terminal; not while `busy`.
pub fn listen(busy: Arc<AtomicBool>, tell: impl Fn(Key) + Send + 'static) {
    if !std::io::stdin().is_terminal() {
        return;
    }
    thread::spawn(move || {
        let mut buffer = [0; 256];
        loop {
            // A process in the background that reads the terminal is stopped.
            let stdin = std::io::stdin();
            let ours = tcgetpgrp(&stdin).is_ok_and(|group| group == getpgrp());
            if !ours || busy.load(Ordering::Relaxed) {
                thread::sleep(EVERY);
                continue;
            }
            let mut fds = [PollFd::new(&stdin, PollFlags::IN)];
            let every = Timespec {
                tv_sec: 0,
                tv_nsec: EVERY.as_nanos() as i64,
            };
            let ready = poll(&mut fds, Some(&every)).is_ok_and(|ready| ready > 0);
            if !ready || busy.load(Ordering::Relaxed) {
                continue;
            }
            // A terminal gives one line at most.
            let count = match stdin.lock().read(&mut buffer) {
                Ok(0) | Err(_) => return,
                Ok(count) => count,
            };
            if let Some(key) = key(&buffer[..count]) {
                tell(key);
            }
        }
    });
}

fn key(line: &[u8]) -> Option<Key> {
    match line.trim_ascii() {
        b"" => Some(Key::Again),
        b"q" | b"Q" => Some(Key::Quit),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_keys() {
        assert_eq!(key(b"\n"), Some(Key::Again));
        assert_eq!(key(b" q\r\n"), Some(Key::Quit));
        assert_eq!(key(b"quite another\n"), None);
    }
}
