//! Owns what comes out of a worker: its messages, and the output of the action, passed on as it
//! comes and kept in a file. Memory stays the same however much there is.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{
    frames::Splitter,
    protocol::{Message, Raised, Returned},
};

/// How much of standard error is kept at hand to explain a crash, in bytes.
const TAIL: usize = 16 << 10;
const BUFFER: usize = 64 << 10;
/// How long a process that cannot be ended may go on to write, once everything else is over.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// One of the two outputs of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// Why an action was asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Somebody interrupted it.
    Interrupted,
    /// Its time was up.
    TimedOut,
}

/// Receives what comes out of a worker, in the order in which it came, on one thread.
pub trait Sink: Send + Sync {
    /// A message.
    fn message(&self, message: &Message);

    /// Output of the action.
    fn output(&self, stream: Stream, bytes: &[u8]);

    /// The action was asked to end, for the first time; on a thread of its own.
    fn asked_to_end(&self, why: Why) {
        let _ = why;
    }
}

/// What a worker left when all its output was read.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) result: Option<Returned>,
    pub(super) error: Option<Raised>,
    /// It said hello.
    pub(super) is_up: bool,
    /// The version of its messages, when it is not ours.
    pub(super) other_protocol: Option<u32>,
    /// The end of standard error.
    pub(super) tail: String,
    /// Bytes of output.
    pub(super) bytes: u64,
    /// What went wrong on our side.
    pub(super) trouble: Vec<String>,
}

/// The descriptors of a worker.
pub(super) struct Pump<'a> {
    pub(super) events: OwnedFd,
    pub(super) out: File,
    pub(super) err: File,
    /// Its other end closes when the worker and all it started are gone.
    pub(super) over: OwnedFd,
    pub(super) kept: Option<File>,
    pub(super) sink: &'a dyn Sink,
}

impl Pump<'_> {
    /// Reads until there is no more.
    pub(super) fn run(self) -> Heard {
        let Self {
            events,
            out,
            err,
            over,
            kept,
            sink,
        } = self;
        let mut state = State {
            heard: Heard::default(),
            tail: VecDeque::new(),
            kept,
            sink,
        };
        let mut events = Some(File::from(events));
        let mut outputs = [(Stream::Out, Some(out)), (Stream::Err, Some(err))];
        let mut splitter = Splitter::default();
        let mut buffer = vec![0; BUFFER];
        let mut until: Option<Instant> = None;
        while events.is_some() || outputs.iter().any(|(_, file)| file.is_some()) {
            let files = events
                .iter()
                .chain(outputs.iter().filter_map(|(_, file)| file.as_ref()));
            let mut watched: Vec<BorrowedFd<'_>> = files.map(AsFd::as_fd).collect();
            if until.is_none() {
                watched.push(over.as_fd());
            }
            let ready = match wait(&watched, until.is_some()) {
                Ok(ready) => ready,
                Err(error) => {
                    state
                        .heard
                        .trouble
                        .push(format!("cannot wait for output: {error}"));
                    break;
                }
            };
            if until.is_some_and(|until| Instant::now() > until) || !ready.contains(&true) {
                // Whoever still holds the pipes has nothing more to say.
                break;
            }
            let mut ready = ready.into_iter();
            if events.is_some() && ready.next() == Some(true) {
                // Messages before output: a result is not lost to a flood.
                if !state.events(&mut events, &mut splitter, &mut buffer) {
                    events = None;
                }
            }
            for (stream, file) in &mut outputs {
                if file.is_some() && ready.next() == Some(true) {
                    match file.as_mut().map_or(Ok(0), |file| file.read(&mut buffer)) {
                        Ok(0) => *file = None,
                        Ok(count) => state.output(*stream, &buffer[..count]),
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(_) => *file = None,
                    }
                }
            }
            if until.is_none() && ready.next() == Some(true) {
                until = Some(Instant::now() + LAST_WORDS);
            }
        }
        state.finish()
    }
}

/// Which descriptors have something, or are at their end.
fn wait(watched: &[BorrowedFd<'_>], at_once: bool) -> io::Result<Vec<bool>> {
    let mut polled: Vec<PollFd<'_>> = watched
        .iter()
        .map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN))
        .collect();
    let zero = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    loop {
        match poll(&mut polled, at_once.then_some(&zero)) {
            Ok(_) => return Ok(polled.iter().map(|fd| !fd.revents().is_empty()).collect()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

struct State<'a> {
    heard: Heard,
    tail: VecDeque<u8>,
    kept: Option<File>,
    sink: &'a dyn Sink,
}

impl State<'_> {
    /// Reads messages; false when there are no more, or none that can be read.
    fn events(
        &mut self,
        events: &mut Option<File>,
        splitter: &mut Splitter,
        buffer: &mut [u8],
    ) -> bool {
        let read = events.as_mut().map_or(Ok(0), |file| file.read(buffer));
        let count = match read {
            Ok(0) => {
                if splitter.is_torn() {
                    self.heard
                        .trouble
                        .push("the worker ended in the middle of a message".into());
                }
                return false;
            }
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return true,
            Err(_) => return false,
        };
        splitter.feed(&buffer[..count]);
        loop {
            match splitter.next() {
                Ok(Some(frame)) => match serde_json::from_slice(frame) {
                    Ok(message) => self.message(message),
                    Err(error) => {
                        let what = format!("a message of the worker cannot be read: {error}");
                        self.heard.trouble.push(what);
                    }
                },
                Ok(None) => return true,
                Err(error) => {
                    // A process that was killed while it wrote: nothing after it can be found.
                    let what = format!("the worker's messages cannot be read any more: {error}");
                    self.heard.trouble.push(what);
                    return false;
                }
            }
        }
    }

    fn message(&mut self, message: Message) {
        match &message {
            Message::Hello(hello) => {
                self.heard.is_up = true;
                let other = hello.protocol != synapse_python::PROTOCOL;
                self.heard.other_protocol = other.then_some(hello.protocol);
            }
            // The first counts: a forked child may end with one as well.
            Message::Result(result) if self.heard.result.is_none() => {
                self.heard.result = Some(result.clone());
            }
            Message::Error(error) if self.heard.error.is_none() => {
                self.heard.error = Some(error.clone());
            }
            _ => {}
        }
        self.sink.message(&message);
    }

    fn output(&mut self, stream: Stream, bytes: &[u8]) {
        self.heard.bytes += bytes.len() as u64;
        if let Some(kept) = &mut self.kept
            && let Err(error) = kept.write_all(bytes)
        {
            self.heard
                .trouble
                .push(format!("the output is not kept any more: {error}"));
            self.kept = None;
        }
        if stream == Stream::Err {
            self.tail.extend(&bytes[bytes.len().saturating_sub(TAIL)..]);
            let extra = self.tail.len().saturating_sub(TAIL);
            self.tail.drain(..extra);
        }
        self.sink.output(stream, bytes);
    }

    fn finish(mut self) -> Heard {
        let tail: Vec<u8> = self.tail.into();
        self.heard.tail = String::from_utf8_lossy(&tail).into_owned();
        self.heard
    }
}
