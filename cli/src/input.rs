//! Owns reading of standard input by commands that wait for it: Ctrl-C ends the wait.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::{Errno, read},
};
use synapse_engine::Cancel;

/// How often it is looked whether to stop.
const LOOK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 50_000_000,
};
/// Bytes read at a time.
const PIECE: usize = 4096;

/// Reads a line, with its end where it has one. Past `limit` bytes the rest is left.
pub fn line(cancel: &Cancel, limit: usize) -> io::Result<Vec<u8>> {
    until(cancel, limit, |bytes| bytes.ends_with(b"\n"))
}

/// Reads everything, but at most `limit` bytes.
pub fn whole(cancel: &Cancel, limit: usize) -> io::Result<Vec<u8>> {
    until(cancel, limit, |_| false)
}

fn until(cancel: &Cancel, limit: usize, done: fn(&[u8]) -> bool) -> io::Result<Vec<u8>> {
    let input = io::stdin();
    let input = input.as_fd();
    let mut bytes = Vec::new();
    let mut piece = [0; PIECE];
    while bytes.len() < limit && !done(&bytes) {
        wait(input, cancel)?;
        match read(input, &mut piece) {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(&piece[..count]),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(error) => return Err(error.into()),
        }
    }
    bytes.truncate(limit);
    Ok(bytes)
}

/// Waits until there is something to read; an error of the kind `Interrupted` when asked to stop.
fn wait(input: BorrowedFd<'_>, cancel: &Cancel) -> io::Result<()> {
    loop {
        if cancel.cancelled() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let mut sources = [PollFd::new(&input, PollFlags::IN)];
        match poll(&mut sources, Some(&LOOK)) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}
