//! Owns the reading of a dataset's folder: which files it has, and the digest of each. What was
//! seen before and rests since is not read again; when that may be said is the engine's rule.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;
use rustix::fs::{Mode, OFlags};
use sha2::{Digest, Sha256};
use synapse_engine::index::{FILE_REST, FileStat};
use synapse_engine::{Cancel, filesystem};
use walkdir::{DirEntry, WalkDir};

use super::{DatasetError, Progress};
use crate::files::fill;

/// What others leave in folders and no dataset is made of.
const FOREIGN: [&str; 8] = [
    ".DS_Store",
    "Thumbs.db",
    "desktop.ini",
    "__MACOSX",
    ".git",
    ".hg",
    ".svn",
    ".ipynb_checkpoints",
];
/// How often a file that changes while it is read is read again.
const TRIES: usize = 3;
const BLOCK: usize = 1 << 20;

/// A file, as it was when it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scanned {
    /// Path in the folder, with slashes.
    pub(crate) path: String,
    pub(crate) stat: FileStat,
    pub(crate) sha256: [u8; 32],
    /// Its stat may stand for its bytes.
    pub(crate) settled: bool,
}

/// What was seen before, by path.
pub(crate) type Known = HashMap<String, Scanned>;

/// The text of a small file of a dataset; nothing when it is none, or cannot be read.
pub(crate) fn text(path: &Path) -> Option<String> {
    const LARGEST: u64 = 1 << 20;
    let small = fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() <= LARGEST);
    small.then(|| fs::read_to_string(path).ok()).flatten()
}

/// The folder under the one name that it has.
pub(crate) fn folder(given: &Path) -> Result<PathBuf, DatasetError> {
    let failed = |cause| DatasetError::Folder {
        path: given.to_owned(),
        cause,
    };
    let folder = fs::canonicalize(given).map_err(failed)?;
    if fs::metadata(&folder).map_err(failed)?.is_dir() {
        Ok(folder)
    } else {
        Err(DatasetError::NotAFolder(given.to_owned()))
    }
}

/// All files of a folder by path, and how many of them were read. `now` is in nanoseconds.
pub(crate) fn scan(
    folder: &Path,
    known: &Known,
    now: i64,
    cancel: &Cancel,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<(Vec<Scanned>, u64), DatasetError> {
    let mut files = list(folder, cancel)?;
    if files.is_empty() {
        return Err(DatasetError::Empty(folder.to_owned()));
    }
    files.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    // A folder may hold mounts of other kinds.
    let mut honest: HashMap<u64, bool> = HashMap::new();
    for (path, stat) in &files {
        honest
            .entry(stat.dev)
            .or_insert_with(|| filesystem::kind(&folder.join(path)).is_honest());
    }
    let trusted = |path: &str, stat: &FileStat| {
        let seen = known.get(path)?;
        (seen.settled && seen.stat == *stat && honest[&stat.dev]).then(|| seen.clone())
    };
    let total_bytes = files.iter().map(|(_, stat)| stat.size).sum();
    let total_files = files.len() as u64;
    let (done, bytes, hashed) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let tell = || {
        progress(Progress {
            files: done.load(Ordering::Relaxed),
            total_files,
            bytes: bytes.load(Ordering::Relaxed),
            total_bytes,
        });
    };
    let scanned = files
        .into_par_iter()
        .map(|(path, stat)| {
            if cancel.cancelled() {
                return Err(DatasetError::Cancelled);
            }
            let scanned = if let Some(seen) = trusted(&path, &stat) {
                bytes.fetch_add(stat.size, Ordering::Relaxed);
                seen
            } else {
                hashed.fetch_add(1, Ordering::Relaxed);
                let full = folder.join(&path);
                let (stat, sha256) = read(&full, cancel, &|more| {
                    bytes.fetch_add(more, Ordering::Relaxed);
                    tell();
                })?;
                let rested = stat.ctime.saturating_add(FILE_REST) <= now;
                Scanned {
                    path,
                    sha256,
                    settled: rested && honest.get(&stat.dev).copied().unwrap_or(false),
                    stat,
                }
            };
            done.fetch_add(1, Ordering::Relaxed);
            tell();
            Ok(scanned)
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok((scanned, hashed.into_inner()))
}

fn list(folder: &Path, cancel: &Cancel) -> Result<Vec<(String, FileStat)>, DatasetError> {
    let own = |entry: &DirEntry| {
        let name = entry.file_name().to_str().unwrap_or_default();
        entry.depth() == 0 || !(FOREIGN.contains(&name) || name.starts_with("._"))
    };
    let mut files = Vec::new();
    let walk = WalkDir::new(folder).follow_links(true).into_iter();
    for entry in walk.filter_entry(own) {
        if cancel.cancelled() {
            return Err(DatasetError::Cancelled);
        }
        let entry = entry.map_err(|error| failure(folder, &error))?;
        let path = entry.path();
        let unreadable = |cause| DatasetError::Unreadable {
            path: path.to_owned(),
            cause,
        };
        if entry.depth() > 0 && entry.path_is_symlink() {
            let target = fs::canonicalize(path).map_err(unreadable)?;
            if !target.starts_with(folder) {
                return Err(DatasetError::Outside {
                    path: path.to_owned(),
                    target,
                });
            }
        }
        if entry.file_type().is_dir() {
            continue;
        }
        if !entry.file_type().is_file() {
            return Err(DatasetError::Special(path.to_owned()));
        }
        let meta = entry.metadata().map_err(|error| failure(folder, &error))?;
        let name = path.strip_prefix(folder).unwrap_or(path).to_str();
        let name = name.ok_or_else(|| DatasetError::NotText(path.to_owned()))?;
        files.push((name.to_owned(), FileStat::from(&meta)));
    }
    Ok(files)
}

fn failure(folder: &Path, error: &walkdir::Error) -> DatasetError {
    let path = error.path().unwrap_or(folder).to_owned();
    let is_link = fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_symlink());
    let kind = error.io_error().map(io::Error::kind);
    let code = error.io_error().and_then(io::Error::raw_os_error);
    let is_loop =
        error.loop_ancestor().is_some() || code == Some(rustix::io::Errno::LOOP.raw_os_error());
    if is_loop || (is_link && kind == Some(io::ErrorKind::NotFound)) {
        return DatasetError::Link { path, is_loop };
    }
    let cause = error.io_error().map_or_else(
        || io::Error::other(error.to_string()),
        |cause| {
            cause
                .raw_os_error()
                .map_or_else(|| cause.kind().into(), io::Error::from_raw_os_error)
        },
    );
    DatasetError::Unreadable { path, cause }
}

/// Reads a file to its end, and says how it looked then.
fn read(
    path: &Path,
    cancel: &Cancel,
    read: &dyn Fn(u64),
) -> Result<(FileStat, [u8; 32]), DatasetError> {
    let failed = |cause| DatasetError::Unreadable {
        path: path.to_owned(),
        cause,
    };
    for _ in 0..TRIES {
        let mut file = open(path).map_err(failed)?;
        let meta = file.metadata().map_err(failed)?;
        if !meta.is_file() {
            return Err(DatasetError::Special(path.to_owned()));
        }
        let before = FileStat::from(&meta);
        let digest = digest(&mut file, before.size, cancel, read).map_err(failed)?;
        let Some(sha256) = digest else {
            return Err(DatasetError::Cancelled);
        };
        let after = FileStat::from(&file.metadata().map_err(failed)?);
        if before == after {
            return Ok((after, sha256));
        }
    }
    Err(DatasetError::Restless(path.to_owned()))
}

/// Opens a file for reading; a pipe in its place does not make it wait.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    Ok(File::from(rustix::fs::open(path, flags, Mode::empty())?))
}

/// SHA-256 of the rest of a file; `None` when asked to stop.
pub(crate) fn digest(
    file: &mut File,
    size: u64,
    cancel: &Cancel,
    read: &dyn Fn(u64),
) -> io::Result<Option<[u8; 32]>> {
    let mut hasher = Sha256::new();
    let room = usize::try_from(size).unwrap_or(BLOCK).saturating_add(1);
    let mut buffer = vec![0; room.min(BLOCK)];
    loop {
        if cancel.cancelled() {
            return Ok(None);
        }
        let count = fill(file, &mut buffer)?;
        if count == 0 {
            return Ok(Some(hasher.finalize().into()));
        }
        hasher.update(&buffer[..count]);
        read(count as u64);
    }
}
