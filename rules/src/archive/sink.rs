//! Owns [`Sink`]: the one buffered writer of an archive's file, which knows the BLAKE3 of what it
//! wrote although earlier bytes get patched and later ones dropped.
//!
//! The digest is kept as the chaining values of aligned blocks. A patch only marks its blocks, and
//! those few are read back and hashed again at the end, so no second pass over the file is needed.

use std::{collections::BTreeSet, fs::File, io, os::unix::fs::FileExt as _};

use blake3::{
    Hasher,
    hazmat::{ChainingValue, HasherExt as _, Mode, merge_subtrees_non_root, merge_subtrees_root},
};
use rayon::prelude::*;
use synapse_engine::Digest;

/// Bytes under one chaining value: a power of two of BLAKE3 chunks, so that a block is a subtree.
const BLOCK: usize = 1 << 20;
/// Bytes gathered before a write: some blocks, hashed in parallel.
const BUFFER: usize = 4 * BLOCK;

/// Writes a file from its start to its end.
pub(super) struct Sink<'a> {
    file: &'a File,
    buffer: Vec<u8>,
    /// Offset of the buffer's first byte; a multiple of [`BLOCK`].
    start: u64,
    /// Chaining values of the blocks before `start`.
    blocks: Vec<ChainingValue>,
    /// Written blocks whose chaining value is out of date.
    patched: BTreeSet<usize>,
}

impl<'a> Sink<'a> {
    /// A sink that overwrites `file` from offset 0.
    pub(super) fn new(file: &'a File) -> Self {
        Self {
            file,
            buffer: Vec::with_capacity(BUFFER),
            start: 0,
            blocks: Vec::new(),
            patched: BTreeSet::new(),
        }
    }

    /// Bytes written so far.
    pub(super) fn position(&self) -> u64 {
        self.start + self.buffer.len() as u64
    }

    /// Appends `bytes`.
    pub(super) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BUFFER - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            bytes = later;
            if self.buffer.len() == BUFFER {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Writes the buffer, which must hold whole blocks, and hashes it meanwhile.
    fn flush(&mut self) -> io::Result<()> {
        let (file, buffer, start) = (self.file, &self.buffer, self.start);
        let (written, blocks) = rayon::join(
            || file.write_all_at(buffer, start),
            || {
                buffer
                    .par_chunks(BLOCK)
                    .enumerate()
                    .map(|(index, block)| chaining_value(start + (index * BLOCK) as u64, block))
                    .collect::<Vec<_>>()
            },
        );
        written?;
        self.blocks.extend(blocks);
        self.start += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Replaces bytes that were appended before.
    pub(super) fn patch(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let before = self.start.saturating_sub(offset).min(bytes.len() as u64) as usize;
        let (written, buffered) = bytes.split_at(before);
        if !written.is_empty() {
            self.file.write_all_at(written, offset)?;
            let last = offset + written.len() as u64 - 1;
            self.patched.extend(block_of(offset)..=block_of(last));
        }
        if !buffered.is_empty() {
            let at = (offset + before as u64 - self.start) as usize;
            self.buffer[at..at + buffered.len()].copy_from_slice(buffered);
        }
        Ok(())
    }

    /// Drops everything from `offset` on.
    pub(super) fn rewind(&mut self, offset: u64) -> io::Result<()> {
        if offset < self.start {
            let block = block_of(offset);
            self.blocks.truncate(block);
            drop(self.patched.split_off(&block));
            self.start = (block * BLOCK) as u64;
            self.buffer.clear();
            self.buffer.resize((offset - self.start) as usize, 0);
            self.file.read_exact_at(&mut self.buffer, self.start)?;
        } else {
            self.buffer.truncate((offset - self.start) as usize);
        }
        Ok(())
    }

    /// Leaves a hole up to `offset`, a multiple of the buffer's size.
    #[cfg(test)]
    pub(super) fn skip_to(&mut self, offset: u64) {
        assert!(self.buffer.is_empty() && offset.is_multiple_of(BUFFER as u64));
        let zeros = vec![0; BLOCK];
        self.blocks.extend(
            (self.start..offset)
                .step_by(BLOCK)
                .map(|at| chaining_value(at, &zeros)),
        );
        self.start = offset;
    }

    /// Writes what is left, cuts the file there, and returns its size and BLAKE3.
    pub(super) fn finish(mut self) -> io::Result<(u64, Digest)> {
        let size = self.position();
        self.file.write_all_at(&self.buffer, self.start)?;
        self.file.set_len(size)?;
        let mut block = vec![0; if self.patched.is_empty() { 0 } else { BLOCK }];
        for index in std::mem::take(&mut self.patched) {
            let offset = (index * BLOCK) as u64;
            self.file.read_exact_at(&mut block, offset)?;
            self.blocks[index] = chaining_value(offset, &block);
        }
        if size <= BLOCK as u64 && self.blocks.is_empty() {
            return Ok((size, Digest::of(&self.buffer)));
        }
        for (index, block) in self.buffer.chunks(BLOCK).enumerate() {
            self.blocks
                .push(chaining_value(self.start + (index * BLOCK) as u64, block));
        }
        let (left, right) = self.blocks.split_at(left_half(self.blocks.len()));
        let root = merge_subtrees_root(&merge(left), &merge(right), Mode::Hash);
        Ok((size, root.into()))
    }
}

fn block_of(offset: u64) -> usize {
    (offset / BLOCK as u64) as usize
}

fn chaining_value(offset: u64, block: &[u8]) -> ChainingValue {
    Hasher::new()
        .set_input_offset(offset)
        .update(block)
        .finalize_non_root()
}

/// BLAKE3 puts the largest power of two that leaves something over on the left.
fn left_half(blocks: usize) -> usize {
    blocks.next_power_of_two() / 2
}

fn merge(blocks: &[ChainingValue]) -> ChainingValue {
    if let [one] = blocks {
        return *one;
    }
    let (left, right) = blocks.split_at(left_half(blocks.len()));
    merge_subtrees_non_root(&merge(left), &merge(right), Mode::Hash)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;
    use crate::archive::tests::noise;

    fn check(file: &File, size: u64, digest: Digest, expected: &[u8]) {
        let mut file = file.try_clone().unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        assert!(bytes == expected);
        assert_eq!(size, bytes.len() as u64);
        assert_eq!(digest, Digest::of(&bytes));
    }

    #[test]
    fn digest_at_every_shape_of_the_tree() {
        for blocks in [0, 1, 2, 3, 4, 5, 7, 8, 9] {
            for extra in [0, 1, 1024, 300_000] {
                let bytes = noise(blocks * BLOCK + extra, 7);
                let file = tempfile::tempfile().unwrap();
                let mut sink = Sink::new(&file);
                for piece in bytes.chunks(700_001) {
                    sink.write(piece).unwrap();
                }
                let (size, digest) = sink.finish().unwrap();
                check(&file, size, digest, &bytes);
            }
        }
    }

    #[test]
    fn patches_and_rewinds_are_in_the_digest() {
        let mut bytes = noise(11 * BLOCK + 5, 8);
        let file = tempfile::tempfile().unwrap();
        let mut sink = Sink::new(&file);
        sink.write(&bytes).unwrap();
        for offset in [0, 3 * BLOCK - 3, 8 * BLOCK - 3, 11 * BLOCK] {
            bytes[offset..offset + 5].copy_from_slice(b"patch");
            sink.patch(offset as u64, b"patch").unwrap();
        }
        for cut in [11 * BLOCK + 2, 9 * BLOCK, 2 * BLOCK + 9, 2 * BLOCK, 70] {
            sink.rewind(cut as u64).unwrap();
            bytes.truncate(cut);
            let tail = noise(5 * BLOCK, cut as u64);
            sink.write(&tail).unwrap();
            bytes.extend_from_slice(&tail);
        }
        let (size, digest) = sink.finish().unwrap();
        check(&file, size, digest, &bytes);
    }
}
