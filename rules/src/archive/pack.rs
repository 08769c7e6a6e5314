//! Owns [`pack`]: files to archive. Every byte that goes in is read, hashed and scanned now;
//! streams kept from earlier archives only save compressing it again.
//!
//! Files up to [`WHOLE`] bytes go through memory in windows: while one is written, the next is
//! read and compressed on all cores. Larger files are streamed one by one. Memory is bounded by
//! the windows, whatever the size of the plugin.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use rayon::prelude::*;
use synapse_engine::{Digest, store::Stream};

use super::{
    content_digest, deflate,
    deflate::WHOLE,
    source::Source,
    stream::stream,
    valid_path,
    zip::{Method, ZipWriter},
};
use crate::secrets::{Finding, Report, Scanner};

/// Bytes of files that are in memory as one window, for each two threads.
const WINDOW: u64 = 16 << 20;
/// Bytes of spare buffers that are kept for reuse.
const SPARE: usize = 32 << 20;

/// A file to pack.
#[derive(Debug, Clone)]
pub struct PackFile {
    /// Path in the archive.
    pub path: String,
    /// Where its bytes are.
    pub source: PathBuf,
    /// The executable bit.
    pub executable: bool,
    /// Bytes, as the scan of the tree saw it.
    pub size: u64,
    /// BLAKE3, as the scan of the tree saw it.
    pub digest: Digest,
    /// The source is a symlink that is to be followed; otherwise a symlink there is refused.
    pub follow: bool,
}

/// The streams kept from earlier archives. What is found here must come from [`Packed::streams`]
/// of the same [`deflate::CODEC`] and the same [`Scanner::id`]: its content is not scanned again.
pub trait Streams: Sync {
    /// The stream of a file with this content.
    fn find(&self, content: &Digest) -> Option<Stream>;

    /// The file of an archive. Called for every stream, so it should keep files open.
    fn open(&self, archive: &Digest) -> Option<Arc<File>>;
}

/// No streams.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoStreams;

impl Streams for NoStreams {
    fn find(&self, _: &Digest) -> Option<Stream> {
        None
    }

    fn open(&self, _: &Digest) -> Option<Arc<File>> {
        None
    }
}

/// An archive that was made.
#[derive(Debug, Clone)]
pub struct Packed {
    /// Bytes of the archive.
    pub size: u64,
    /// BLAKE3 of the archive.
    pub blake3: Digest,
    /// Content digest.
    pub content: Digest,
    /// Content digest of a file and its stream in this archive, for each deflated file that is
    /// clean under any path; each content once.
    pub streams: Vec<(Digest, Stream)>,
    /// Files deflated now.
    pub deflated: u64,
    /// Files whose stream was taken from an earlier archive.
    pub reused: u64,
    /// Bytes read from sources.
    pub bytes_read: u64,
    /// Files in the archive.
    pub entries: u64,
}

/// Why there is no archive. What was written until then is worthless.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The file is not the one that was scanned: the tree must be scanned again.
    #[error("`{path}` was changed while it was being packed")]
    Edited {
        /// Path in the archive.
        path: String,
    },
    /// The file is gone.
    #[error("`{path}` disappeared while it was being packed")]
    Missing {
        /// Path in the archive.
        path: String,
    },
    /// Files look like credentials. All of them are listed.
    #[error("{}", secrets(.0))]
    Secret(Vec<Finding>),
    /// The file cannot be read.
    #[error("`{path}` cannot be read: {error}")]
    Unreadable {
        /// Path in the archive.
        path: String,
        /// What the system says.
        error: io::Error,
    },
    /// No archive can have such a path, or such a sequence of paths.
    #[error("`{path}` cannot be the path of a file in an archive here: {reason}")]
    Path {
        /// Path in the archive.
        path: String,
        /// Why not.
        reason: &'static str,
    },
    /// There is no space left for the archive.
    #[error("no space left to write the archive: {error}")]
    Full {
        /// What the system says.
        error: io::Error,
    },
    /// The archive cannot be written.
    #[error("the archive cannot be written: {error}")]
    Write {
        /// What the system says.
        error: io::Error,
    },
    /// The caller said so.
    #[error("cancelled")]
    Cancelled,
}

impl PackError {
    /// A failure to write the archive.
    pub(super) fn write(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { error },
            _ => Self::Write { error },
        }
    }
}

fn secrets(findings: &[Finding]) -> String {
    let list: Vec<String> = findings.iter().map(ToString::to_string).collect();
    format!("looks like credentials: {}", list.join("; "))
}

/// What all parts of one packing share.
pub(super) struct Job<'a> {
    pub(super) streams: &'a dyn Streams,
    pub(super) scanner: &'a Scanner,
    pub(super) progress: &'a (dyn Fn(u64) + Sync),
    cancelled: &'a (dyn Fn() -> bool + Sync),
    bytes_read: AtomicU64,
    /// Something was found: no archive will come of it, so only the scan goes on.
    pub(super) spoilt: AtomicBool,
    findings: Mutex<Vec<Finding>>,
    spare: Mutex<Vec<Vec<u8>>>,
}

impl Job<'_> {
    pub(super) fn check(&self) -> Result<(), PackError> {
        if (self.cancelled)() {
            Err(PackError::Cancelled)
        } else {
            Ok(())
        }
    }

    /// Counts what was read; bytes that are read `again` are no progress.
    pub(super) fn read(&self, bytes: u64, again: bool) {
        self.bytes_read.fetch_add(bytes, Ordering::Relaxed);
        if !again {
            (self.progress)(bytes);
        }
    }

    /// Notes what a scan brought; whether the content is clean under any path.
    pub(super) fn report(&self, report: Report) -> bool {
        let clean = report.findings.is_empty() && !report.suppressed;
        if !report.findings.is_empty() {
            self.spoilt.store(true, Ordering::Relaxed);
            let mut findings = self.findings.lock().unwrap_or_else(PoisonError::into_inner);
            findings.extend(report.findings);
        }
        clean
    }

    pub(super) fn is_spoilt(&self) -> bool {
        self.spoilt.load(Ordering::Relaxed)
    }

    /// The kept stream of a file, unless its name must be looked at together with its bytes.
    pub(super) fn kept(&self, file: &PackFile) -> Option<Stream> {
        if self.scanner.depends_on_name(&file.path) {
            return None;
        }
        // A stream as long as the file would have been stored.
        self.streams
            .find(&file.digest)
            .filter(|stream| stream.size == file.size && stream.len < stream.size)
    }

    /// A buffer for `size` bytes, used before if possible: pages of fresh ones cost more than the
    /// work on small files.
    fn buffer(&self, size: usize) -> Vec<u8> {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        let fit = spare.iter().position(|buffer| buffer.capacity() >= size);
        match fit.or_else(|| spare.len().checked_sub(1)) {
            Some(index) => spare.swap_remove(index),
            None => Vec::new(),
        }
    }

    fn give_back(&self, buffer: Vec<u8>) {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        let kept: usize = spare.iter().map(Vec::capacity).sum();
        if kept + buffer.capacity() <= SPARE {
            spare.push(buffer);
        }
    }
}

/// A file ready to be written.
struct Ready {
    method: Method,
    crc: u32,
    bytes: Vec<u8>,
    /// The stream came from an earlier archive.
    reused: bool,
    clean: bool,
    /// Digest of `bytes`, when they are a stream.
    digest: Option<Digest>,
}

/// What was written so far.
pub(super) struct Output<'a> {
    pub(super) zip: ZipWriter<'a>,
    /// Streams, all but the digest of the archive, which is known at the end.
    pub(super) streams: Vec<(Digest, Stream)>,
    pub(super) deflated: u64,
    pub(super) reused: u64,
}

/// Packs `files`, sorted by the bytes of their paths, into `out` (open for reading too; it is
/// overwritten from its start and cut at the end of the archive). The archive depends on paths,
/// executable bits and bytes of the files and on nothing else. `out` must not be a file that
/// `streams` are kept in.
///
/// `progress` is told the bytes of each piece read, every byte once; `cancelled` is asked between pieces. The
/// executable bit is taken from `files`, not from the sources.
pub fn pack(
    files: &[PackFile],
    out: &mut File,
    streams: &dyn Streams,
    scanner: &Scanner,
    progress: &(dyn Fn(u64) + Sync),
    cancelled: &(dyn Fn() -> bool + Sync),
) -> Result<Packed, PackError> {
    check_paths(files)?;
    let job = Job {
        streams,
        scanner,
        progress,
        cancelled,
        bytes_read: AtomicU64::new(0),
        spoilt: AtomicBool::new(false),
        findings: Mutex::default(),
        spare: Mutex::default(),
    };
    let mut output = Output {
        zip: ZipWriter::new(out),
        streams: Vec::new(),
        deflated: 0,
        reused: 0,
    };
    let window = WINDOW * (rayon::current_num_threads() as u64 / 2).clamp(1, 3);
    let mut rest = files;
    let mut before: (&[PackFile], Vec<Ready>) = (&[], Vec::new());
    while let Some(first) = rest.first() {
        job.check()?;
        if first.size > WHOLE {
            write(&job, &mut output, std::mem::take(&mut before))?;
            stream(&job, first, &mut output)?;
            rest = &rest[1..];
            continue;
        }
        let (now, later) = rest.split_at(window_len(rest, window));
        let last = std::mem::take(&mut before);
        let (written, ready) = rayon::join(
            || write(&job, &mut output, last),
            || {
                now.par_iter()
                    .map(|file| prepare(&job, file))
                    .collect::<Result<Vec<_>, _>>()
            },
        );
        written?;
        before = (now, ready?);
        rest = later;
    }
    write(&job, &mut output, before)?;
    let mut findings = job
        .findings
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    if !findings.is_empty() {
        findings.sort();
        return Err(PackError::Secret(findings));
    }
    let entries = output.zip.entries();
    let (size, blake3) = output.zip.finish().map_err(PackError::write)?;
    let mut streams = output.streams;
    for (_, stream) in &mut streams {
        stream.archive = blake3;
    }
    streams.sort_by_key(|(content, stream)| (*content, stream.offset));
    streams.dedup_by_key(|(content, _)| *content);
    Ok(Packed {
        size,
        blake3,
        content: content_digest(
            files
                .iter()
                .map(|file| (file.path.as_str(), file.executable, file.size, file.digest)),
        ),
        streams,
        deflated: output.deflated,
        reused: output.reused,
        bytes_read: job.bytes_read.into_inner(),
        entries,
    })
}

fn check_paths(files: &[PackFile]) -> Result<(), PackError> {
    let fail = |file: &PackFile, reason| PackError::Path {
        path: file.path.clone(),
        reason,
    };
    if let Some(file) = files.iter().find(|file| !valid_path(&file.path)) {
        return Err(fail(file, "it is not a plain relative path"));
    }
    match files
        .windows(2)
        .find(|pair| pair[0].path.as_bytes() >= pair[1].path.as_bytes())
    {
        Some(pair) => Err(fail(&pair[1], "paths must be sorted and differ")),
        None => Ok(()),
    }
}

/// How many of the first files make up a window: at least one.
fn window_len(files: &[PackFile], window: u64) -> usize {
    let mut total = 0;
    let fits = |file: &&PackFile| {
        total += file.size;
        file.size <= WHOLE && total <= window
    };
    files.iter().take_while(fits).count().max(1)
}

/// Reads, checks, scans and compresses one file.
fn prepare(job: &Job<'_>, file: &PackFile) -> Result<Ready, PackError> {
    job.check()?;
    let mut data = job.buffer(file.size as usize);
    let ready = read_whole(file, &mut data).map(|()| {
        job.read(data.len() as u64, false);
        let crc = crc32fast::hash(&data);
        let kept = job.kept(file).and_then(|kept| restore(job, &kept, crc));
        kept.unwrap_or_else(|| compress(job, file, crc, &data))
    });
    job.give_back(data);
    ready
}

fn read_whole(file: &PackFile, data: &mut Vec<u8>) -> Result<(), PackError> {
    let mut source = Source::open(file)?;
    data.resize(file.size as usize, 0);
    let read = source.fill(data)?;
    source.end()?;
    if read != data.len() || Digest::of(data) != file.digest {
        return Err(PackError::Edited {
            path: file.path.clone(),
        });
    }
    Ok(())
}

/// The bytes of a kept stream, if they are still what they were.
fn restore(job: &Job<'_>, kept: &Stream, crc: u32) -> Option<Ready> {
    if kept.crc != crc {
        return None;
    }
    let archive = job.streams.open(&kept.archive)?;
    let mut bytes = vec![0; kept.len as usize];
    archive.read_exact_at(&mut bytes, kept.offset).ok()?;
    let digest = Digest::of(&bytes);
    (digest == kept.digest).then_some(Ready {
        method: Method::Deflated,
        crc,
        bytes,
        reused: true,
        clean: true,
        digest: Some(digest),
    })
}

fn compress(job: &Job<'_>, file: &PackFile, crc: u32, data: &[u8]) -> Ready {
    let clean = job.report(job.scanner.scan(&file.path, data));
    let mut ready = Ready {
        method: Method::Stored,
        crc,
        bytes: Vec::new(),
        reused: false,
        clean,
        digest: None,
    };
    if job.is_spoilt() {
        return ready;
    }
    let mut scratch = job.buffer(data.len());
    match deflate::whole(data, &mut scratch) {
        Some(stream) => {
            ready.method = Method::Deflated;
            ready.digest = Some(Digest::of(stream));
            ready.bytes = stream.to_vec();
        }
        None => ready.bytes = data.to_vec(),
    }
    job.give_back(scratch);
    ready
}

/// Writes a window in order.
fn write(
    job: &Job<'_>,
    output: &mut Output<'_>,
    (files, ready): (&[PackFile], Vec<Ready>),
) -> Result<(), PackError> {
    for (file, ready) in files.iter().zip(ready) {
        if job.is_spoilt() {
            return Ok(());
        }
        let offset = output
            .zip
            .add(
                &file.path,
                file.executable,
                (ready.method, file.size, ready.crc),
                &ready.bytes,
            )
            .map_err(PackError::write)?;
        if let Some(digest) = ready.digest {
            let len = ready.bytes.len() as u64;
            output.record(
                file,
                ready.crc,
                (offset, len, digest),
                ready.reused,
                ready.clean,
            );
        }
    }
    Ok(())
}

impl Output<'_> {
    /// Notes a deflated entry: offset, length and digest of its stream.
    pub(super) fn record(
        &mut self,
        file: &PackFile,
        crc: u32,
        (offset, len, digest): (u64, u64, Digest),
        reused: bool,
        clean: bool,
    ) {
        if reused {
            self.reused += 1;
        } else {
            self.deflated += 1;
        }
        if clean {
            let archive = Digest::from_array([0; 32]);
            let stream = Stream {
                archive,
                offset,
                len,
                crc,
                digest,
                size: file.size,
            };
            self.streams.push((file.digest, stream));
        }
    }
}
