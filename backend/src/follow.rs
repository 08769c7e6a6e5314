//! Owns [`Follower`]: what a run says, as it comes, from any process.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};

use crate::Embedded;
use crate::error::BackendError;
use crate::run::{Run, RunEvent};

/// Events read at a time.
const EVENTS: u32 = 1000;
/// Bytes of output read at a time.
const BYTES: u64 = 1 << 20;

/// Reads on where it stopped: what a run printed, and its events.
#[derive(Debug)]
pub struct Follower {
    run: i64,
    after: i64,
    offset: u64,
    output: bool,
}

/// What came since the step before.
#[derive(Debug)]
pub struct Step {
    /// What the run printed: whole lines, until it is over.
    pub output: Vec<u8>,
    /// Its events, each with its number.
    pub events: Vec<(i64, RunEvent)>,
    /// There is more at once.
    pub more: bool,
    /// The run, once it is over and everything was read.
    pub over: Option<Run>,
}

impl Follower {
    /// From the beginning of a run. `output` is whether what it printed is wanted.
    pub fn new(run: i64, output: bool) -> Self {
        Self {
            run,
            after: 0,
            offset: 0,
            output,
        }
    }

    /// From where another one stood: after that many events, and bytes of output.
    pub fn resume(run: i64, (after, offset): (i64, u64)) -> Self {
        Self {
            run,
            after,
            offset,
            output: true,
        }
    }

    /// Where it stands: the number of the last event, and bytes of output.
    pub fn position(&self) -> (i64, u64) {
        (self.after, self.offset)
    }

    /// What came since the last call; empty when nothing did.
    pub fn step(&mut self, backend: &Embedded) -> Result<Step, BackendError> {
        // Looked at first: what is over now writes nothing after this.
        let run = backend.run(self.run)?;
        let over = run.status.is_over();
        let (output, unread) = if self.output {
            self.read(backend, over)?
        } else {
            (Vec::new(), false)
        };
        let events = backend.run_events(self.run, self.after, EVENTS)?;
        if let Some((last, _)) = events.last() {
            self.after = *last;
        }
        let more = unread || events.len() == EVENTS as usize;
        Ok(Step {
            output,
            events,
            more,
            over: (over && !more).then_some(run),
        })
    }

    fn read(&mut self, backend: &Embedded, over: bool) -> Result<(Vec<u8>, bool), BackendError> {
        let path = backend.run_output(self.run);
        let mut output = Vec::new();
        let read = File::open(&path).and_then(|mut file| {
            file.seek(SeekFrom::Start(self.offset))?;
            file.take(BYTES).read_to_end(&mut output)
        });
        match read {
            Ok(_) => {}
            // It printed nothing yet.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok((output, false)),
            Err(error) => return Err(BackendError::io("read", &path, error)),
        }
        let full = output.len() as u64 == BYTES;
        if !over || full {
            let lines = output.iter().rposition(|byte| *byte == b'\n');
            // A line longer than that comes in parts, of whole characters.
            let unended = if full { whole(&output) } else { 0 };
            output.truncate(lines.map_or(unended, |last| last + 1));
        }
        self.offset += output.len() as u64;
        Ok((output, full))
    }
}

/// Bytes up to the last character that is there whole.
fn whole(bytes: &[u8]) -> usize {
    let begun = bytes.len() - bytes.len().min(3);
    let is_start = |byte: &u8| *byte & 0xc0 != 0x80;
    let Some(last) = bytes[begun..].iter().rposition(is_start) else {
        return bytes.len();
    };
    let last = begun + last;
    match std::str::from_utf8(&bytes[last..]) {
        Err(error) if error.error_len().is_none() => last,
        _ => bytes.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::whole;

    #[test]
    fn characters_are_not_cut() {
        let text = "aé한🙂".as_bytes();
        let cuts: Vec<usize> = (0..=text.len()).map(|end| whole(&text[..end])).collect();
        assert_eq!(cuts, [0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10]);
        // What is no text has no characters.
        assert_eq!(whole(&[0x80; 5]), 5);
        assert_eq!(whole(b"a\xff"), 2);
    }
}
