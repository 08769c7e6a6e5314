//! Owns the way of large files into an archive: piece by piece, in constant memory, compressed on
//! all cores.

use std::os::unix::fs::FileExt as _;

use rayon::prelude::*;
use synapse_engine::{Digest, store::Stream};

use super::{
    deflate::{self, CHUNK, DICTIONARY},
    pack::{Job, Output, PackError, PackFile},
    source::Source,
    zip::{Method, ZipWriter},
};
use crate::secrets::FileScan;

/// What is computed of a file's bytes while they pass.
struct Digests<'a> {
    hasher: blake3::Hasher,
    crc: crc32fast::Hasher,
    scan: Option<FileScan<'a>>,
    /// The bytes have passed before and were told to the progress.
    again: bool,
}

impl<'a> Digests<'a> {
    fn new(job: &Job<'a>, file: &'a PackFile, scan: bool) -> Self {
        Self {
            hasher: blake3::Hasher::new(),
            crc: crc32fast::Hasher::new(),
            scan: scan.then(|| job.scanner.start(&file.path)),
            again: false,
        }
    }

    fn update(&mut self, job: &Job<'_>, bytes: &[u8]) {
        let Self {
            hasher,
            crc,
            scan,
            again,
        } = self;
        job.read(bytes.len() as u64, *again);
        rayon::join(
            || hasher.update_rayon(bytes),
            || {
                crc.update(bytes);
                if let Some(scan) = scan {
                    scan.push(bytes);
                }
            },
        );
    }

    /// CRC, and whether the content is clean, once all bytes have passed. They must be the
    /// expected ones.
    fn finish(
        self,
        job: &Job<'_>,
        file: &PackFile,
        source: &mut Source<'_>,
    ) -> Result<(u32, bool), PackError> {
        source.end()?;
        if Digest::from(self.hasher.finalize()) != file.digest {
            return Err(source.edited());
        }
        let clean = self.scan.is_none_or(|scan| job.report(scan.finish()));
        Ok((self.crc.finalize(), clean))
    }
}

/// Some chunks of a file.
struct Group {
    /// The last bytes of the group before, for the first chunk's dictionary; then the chunks.
    data: Vec<u8>,
    dictionary: usize,
    last: bool,
}

impl Group {
    fn chunks(&self) -> &[u8] {
        &self.data[self.dictionary..]
    }
}

/// Chunks that are in memory at a time.
fn group_len() -> usize {
    (2 * rayon::current_num_threads()).clamp(4, 16) * CHUNK
}

/// Packs one file that is too large to be in memory.
pub(super) fn stream<'a>(
    job: &Job<'a>,
    file: &'a PackFile,
    output: &mut Output<'_>,
) -> Result<(), PackError> {
    let mut source = Source::open(file)?;
    if job.is_spoilt() {
        let mut digests = Digests::new(job, file, true);
        store(job, file, &mut source, &mut digests, None)?;
        return digests.finish(job, file, &mut source).map(drop);
    }
    let offset = output
        .zip
        .begin(&file.path, file.executable, file.size)
        .map_err(PackError::write)?;
    let mut again = false;
    if let Some(kept) = job.kept(file) {
        if copy(job, &kept, &mut output.zip)? {
            let mut digests = Digests::new(job, file, false);
            store(job, file, &mut source, &mut digests, None)?;
            let (crc, clean) = digests.finish(job, file, &mut source)?;
            if crc == kept.crc {
                output
                    .zip
                    .end(Method::Deflated, crc)
                    .map_err(PackError::write)?;
                output.record(file, crc, (offset, kept.len, kept.digest), true, clean);
                return Ok(());
            }
            source.rewind()?;
            again = true;
        }
        output.zip.restart().map_err(PackError::write)?;
    }
    let sample = deflate::incompressible(file.size, |offset, window| {
        source.file().read_exact_at(window, offset)
    });
    let stored = match sample {
        Ok(stored) => stored,
        // Shorter than it was.
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            return Err(source.edited());
        }
        Err(error) => return Err(source.unreadable(error)),
    };
    let mut scan = true;
    if !stored {
        let mut digests = Digests {
            again,
            ..Digests::new(job, file, true)
        };
        let digest = compress(job, file, &mut source, &mut digests, &mut output.zip)?;
        let (crc, clean) = digests.finish(job, file, &mut source)?;
        if job.is_spoilt() {
            return output.zip.abandon().map_err(PackError::write);
        }
        let len = output.zip.written();
        if len < file.size {
            output
                .zip
                .end(Method::Deflated, crc)
                .map_err(PackError::write)?;
            output.record(file, crc, (offset, len, digest), false, clean);
            return Ok(());
        }
        output.zip.restart().map_err(PackError::write)?;
        source.rewind()?;
        (scan, again) = (false, true);
    }
    let mut digests = Digests {
        again,
        ..Digests::new(job, file, scan)
    };
    store(job, file, &mut source, &mut digests, Some(&mut output.zip))?;
    let (crc, _) = digests.finish(job, file, &mut source)?;
    if job.is_spoilt() {
        return output.zip.abandon().map_err(PackError::write);
    }
    output
        .zip
        .end(Method::Stored, crc)
        .map_err(PackError::write)
}

/// Copies a kept stream; whether it was what it should be.
fn copy(job: &Job<'_>, kept: &Stream, zip: &mut ZipWriter<'_>) -> Result<bool, PackError> {
    let Some(archive) = job.streams.open(&kept.archive) else {
        return Ok(false);
    };
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; CHUNK.min(kept.len as usize)];
    let mut done = 0;
    while done < kept.len {
        job.check()?;
        let length = (kept.len - done).min(CHUNK as u64) as usize;
        if archive
            .read_exact_at(&mut buffer[..length], kept.offset + done)
            .is_err()
        {
            return Ok(false);
        }
        hasher.update_rayon(&buffer[..length]);
        zip.write(&buffer[..length]).map_err(PackError::write)?;
        done += length as u64;
    }
    Ok(Digest::from(hasher.finalize()) == kept.digest)
}

/// Reads the whole file and, given a `zip`, stores it.
fn store(
    job: &Job<'_>,
    file: &PackFile,
    source: &mut Source<'_>,
    digests: &mut Digests<'_>,
    mut zip: Option<&mut ZipWriter<'_>>,
) -> Result<(), PackError> {
    let size = group_len().min(file.size as usize);
    let (mut now, mut next) = (vec![0; size], vec![0; size]);
    let mut length = source.fill(&mut now)?;
    let mut total = 0;
    while length > 0 {
        job.check()?;
        total += length as u64;
        let bytes = &now[..length];
        let (written, (read, ())) = rayon::join(
            || match &mut zip {
                Some(zip) if total <= file.size => zip.write(bytes),
                _ => Ok(()),
            },
            || rayon::join(|| source.fill(&mut next), || digests.update(job, bytes)),
        );
        written.map_err(PackError::write)?;
        length = read?;
        std::mem::swap(&mut now, &mut next);
    }
    if total == file.size {
        Ok(())
    } else {
        Err(source.edited())
    }
}

/// Deflates the whole file into `zip`; returns the digest of the stream.
fn compress(
    job: &Job<'_>,
    file: &PackFile,
    source: &mut Source<'_>,
    digests: &mut Digests<'_>,
    zip: &mut ZipWriter<'_>,
) -> Result<Digest, PackError> {
    let mut hasher = blake3::Hasher::new();
    let mut left = file.size;
    let empty = || Group {
        data: Vec::with_capacity(group_len() + DICTIONARY),
        dictionary: 0,
        last: false,
    };
    let (mut now, mut next) = (empty(), empty());
    let count = group_len() / CHUNK;
    let mut streams: Vec<Vec<u8>> = vec![Vec::new(); count];
    let mut written: Vec<Vec<u8>> = vec![Vec::new(); count];
    read_group(source, &mut left, &[], &mut now)?;
    digests.update(job, now.chunks());
    loop {
        job.check()?;
        let (compressed, done) = rayon::join(
            || compress_group(&now, &mut streams),
            || {
                // Meanwhile the group before is written, and the next one is read.
                for stream in &mut written {
                    hasher.update(stream);
                    if !job.is_spoilt() {
                        zip.write(stream).map_err(PackError::write)?;
                    }
                    stream.clear();
                }
                next.data.clear();
                if !now.last {
                    let tail = now.data.len().saturating_sub(DICTIONARY);
                    read_group(source, &mut left, &now.data[tail..], &mut next)?;
                    digests.update(job, next.chunks());
                }
                Ok(())
            },
        );
        compressed.map_err(PackError::write)?;
        done?;
        std::mem::swap(&mut streams, &mut written);
        if now.last {
            break;
        }
        std::mem::swap(&mut now, &mut next);
    }
    for stream in &written {
        hasher.update(stream);
        if !job.is_spoilt() {
            zip.write(stream).map_err(PackError::write)?;
        }
    }
    Ok(hasher.finalize().into())
}

fn compress_group(group: &Group, streams: &mut [Vec<u8>]) -> std::io::Result<()> {
    let chunks = group.chunks();
    let count = chunks.len().div_ceil(CHUNK);
    streams[..count]
        .par_iter_mut()
        .enumerate()
        .try_for_each(|(index, stream)| {
            let start = group.dictionary + index * CHUNK;
            let end = (start + CHUNK).min(group.data.len());
            let dictionary = &group.data[start.saturating_sub(DICTIONARY)..start];
            let last = group.last && index + 1 == count;
            deflate::chunk(dictionary, &group.data[start..end], last, stream)
        })
}

/// Reads the next chunks behind the `dictionary`.
fn read_group(
    source: &mut Source<'_>,
    left: &mut u64,
    dictionary: &[u8],
    group: &mut Group,
) -> Result<(), PackError> {
    let length = (*left).min(group_len() as u64) as usize;
    group.data.clear();
    group.data.extend_from_slice(dictionary);
    group.dictionary = dictionary.len();
    group.data.resize(dictionary.len() + length, 0);
    if source.fill(&mut group.data[dictionary.len()..])? != length {
        return Err(source.edited());
    }
    *left -= length as u64;
    group.last = *left == 0;
    Ok(())
}
