//! Owns frames: a length of four bytes, little end first, and that many bytes of JSON.

use std::io::{self, ErrorKind, Read, Write};

use serde::Serialize;

/// The largest frame, in bytes.
pub(super) const LARGEST: usize = 64 << 20;

/// Writes a message as one frame.
pub(super) fn write(out: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message)?;
    let length = frame.len() - 4;
    if length > LARGEST {
        let what = format!("a message of {length} bytes, more than {LARGEST}");
        return Err(io::Error::new(ErrorKind::InvalidData, what));
    }
    frame[..4].copy_from_slice(&(length as u32).to_le_bytes());
    out.write_all(&frame)
}

/// Reads the bytes of one frame; `None` when there are no more.
pub(super) fn read(from: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut head = [0; 4];
    let mut filled = 0;
    while filled < head.len() {
        match from.read(&mut head[filled..]) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let length = length_of(head)?;
    // Not allocated at once: the length is only what somebody says.
    let mut payload = Vec::new();
    from.by_ref()
        .take(length as u64)
        .read_to_end(&mut payload)?;
    if payload.len() < length {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(payload))
}

fn length_of(head: [u8; 4]) -> io::Result<usize> {
    let length = u32::from_le_bytes(head) as usize;
    if length > LARGEST {
        let what = format!("a frame of {length} bytes, more than {LARGEST}");
        return Err(io::Error::new(ErrorKind::InvalidData, what));
    }
    Ok(length)
}

/// Frames out of bytes that come in pieces.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    kept: Vec<u8>,
    start: usize,
}

impl Splitter {
    /// Takes what came.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        if self.start == self.kept.len() {
            self.kept.clear();
        } else if self.start > 0 {
            self.kept.drain(..self.start);
        }
        self.start = 0;
        self.kept.extend_from_slice(bytes);
        if self.kept.capacity() > 1 << 20 && self.kept.len() < 1 << 16 {
            self.kept.shrink_to(1 << 16);
        }
    }

    /// The next whole frame.
    pub(super) fn next(&mut self) -> io::Result<Option<&[u8]>> {
        let rest = &self.kept[self.start..];
        let Some((head, rest)) = rest.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let length = length_of(*head)?;
        if rest.len() < length {
            return Ok(None);
        }
        self.start += 4 + length;
        Ok(Some(&self.kept[self.start - length..self.start]))
    }

    /// Whether a frame was begun and not ended.
    pub(super) fn is_torn(&self) -> bool {
        self.start < self.kept.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_any_cut() {
        let mut bytes = Vec::new();
        let texts = ["", "a", "\u{ac00}".repeat(500).as_str()].map(str::to_owned);
        for text in &texts {
            write(&mut bytes, text).expect("a frame");
        }
        for size in [1, 3, 4, 5, 7, 1000, bytes.len()] {
            let mut splitter = Splitter::default();
            let mut found: Vec<String> = Vec::new();
            for piece in bytes.chunks(size) {
                splitter.feed(piece);
                while let Some(frame) = splitter.next().expect("whole frames") {
                    found.push(serde_json::from_slice(frame).expect("JSON"));
                }
            }
            assert_eq!(found, texts, "in pieces of {size}");
            assert!(!splitter.is_torn());
        }
        let mut from = bytes.as_slice();
        for text in &texts {
            let frame = read(&mut from).expect("readable").expect("a frame");
            assert_eq!(
                serde_json::from_slice::<String>(&frame).expect("JSON"),
                *text
            );
        }
        assert!(read(&mut from).expect("readable").is_none());
    }

    #[test]
    fn a_length_beyond_the_limit_and_a_torn_frame_are_errors() {
        let mut splitter = Splitter::default();
        splitter.feed(&[255; 8]);
        assert!(splitter.next().is_err());
        assert!(read(&mut [255_u8; 8].as_slice()).is_err());
        assert!(read(&mut [5_u8, 0].as_slice()).is_err());
        assert!(read(&mut [5_u8, 0, 0, 0, 1].as_slice()).is_err());
        let mut torn = Splitter::default();
        torn.feed(&[5, 0, 0, 0, 1]);
        assert!(torn.next().expect("no error").is_none() && torn.is_torn());
    }
}
