//! Owns the strict reader of archives made by others: what is in them, for comparing content, and
//! a refusal of everything on which two readers could disagree.

use std::{
    collections::HashSet,
    fs::File,
    io::{self, BufReader, Read as _},
    os::unix::fs::FileExt as _,
    path::Path,
};

use synapse_engine::Digest;
use zip::{
    ZipArchive,
    read::{ArchiveOffset, Config},
    result::ZipError,
};

use super::{content_digest, valid_path};

/// Bytes read at a time.
pub(super) const BUFFER: usize = 1 << 18;

/// A file of an archive.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Its path.
    pub path: String,
    /// The owner may execute it.
    pub executable: bool,
    /// Uncompressed bytes.
    pub size: u64,
    /// BLAKE3 of the uncompressed bytes.
    pub digest: Digest,
}

/// What an archive may cost to read.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Uncompressed bytes of all entries together.
    pub total: u64,
    /// Uncompressed bytes for each byte of the archive, over [`always`](Self::always).
    pub ratio: u64,
    /// Uncompressed bytes that are fine at any ratio.
    pub always: u64,
    /// Entries.
    pub entries: usize,
}

impl Default for Limits {
    /// 64 GiB, 50 for one over 64 MiB, a million entries.
    fn default() -> Self {
        Self {
            total: 64 << 30,
            ratio: 50,
            always: 64 << 20,
            entries: 1_000_000,
        }
    }
}

/// Why an archive is not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be read.
    #[error("the archive cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It is no ZIP, is damaged, or its parts contradict each other.
    #[error("not a sound ZIP archive: {0}")]
    Format(String),
    /// An entry that must not be there, or not so.
    #[error("entry {path:?}: {reason}")]
    Entry {
        /// The name, as far as it can be shown.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An entry cannot be written where it is unpacked to.
    #[error("cannot unpack {path:?}: {error}")]
    Write {
        /// Its path.
        path: String,
        /// What the system said.
        error: io::Error,
    },
    /// It holds more than the limits allow: perhaps made to exhaust who opens it.
    #[error("the archive holds {what} than is accepted")]
    Bomb {
        /// "more bytes", "more entries".
        what: &'static str,
    },
}

impl From<ZipError> for ReadError {
    fn from(error: ZipError) -> Self {
        match error {
            // Of such kinds are broken streams and checksums.
            ZipError::Io(error) => error.into_read(),
            other => Self::Format(other.to_string()),
        }
    }
}

trait IntoRead {
    fn into_read(self) -> ReadError;
}

impl IntoRead for io::Error {
    fn into_read(self) -> ReadError {
        match self.kind() {
            io::ErrorKind::InvalidData
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::Other => ReadError::Format(self.to_string()),
            _ => ReadError::Io(self),
        }
    }
}

/// The files of the archive at `path`, sorted by the bytes of their paths, within default limits.
/// Folders are left out.
pub fn entries(path: &Path) -> Result<Vec<Entry>, ReadError> {
    entries_within(path, &Limits::default())
}

/// The content digest of the archive at `path`.
pub fn content(path: &Path) -> Result<Digest, ReadError> {
    let entries = entries(path)?;
    Ok(content_digest(entries.iter().map(|entry| {
        (
            entry.path.as_str(),
            entry.executable,
            entry.size,
            entry.digest,
        )
    })))
}

/// Like [`entries`], within given limits.
pub fn entries_within(path: &Path, limits: &Limits) -> Result<Vec<Entry>, ReadError> {
    let (mut archive, files) = open(File::open(path)?, limits)?;
    let mut buffer = vec![0; BUFFER];
    let mut entries = Vec::with_capacity(files.len());
    for file in files {
        entries.push(read(&mut archive, file, &mut buffer, &mut |_| Ok(()))?);
    }
    entries.sort_unstable();
    Ok(entries)
}

/// Checks all that can be told without reading the entries themselves; returns the files.
pub(super) fn open(file: File, limits: &Limits) -> Result<(Archive, Vec<Checked>), ReadError> {
    let length = file.metadata()?.len();
    let look = file.try_clone()?;
    // Bytes before the first entry are none of an archive's business.
    let config = Config {
        archive_offset: ArchiveOffset::Known(0),
    };
    // Each seek drops the buffer, and most of what is read through it are headers.
    let mut archive = ZipArchive::with_config(config, BufReader::with_capacity(1 << 10, file))?;
    check_end(&look, length, &archive)?;
    if archive.len() > limits.entries {
        return Err(ReadError::Bomb {
            what: "more entries",
        });
    }
    if archive.has_duplicate_names() {
        return Err(ReadError::Format(
            "two entries have the same name".to_owned(),
        ));
    }
    let allowed = limits
        .total
        .min(limits.always.max(length.saturating_mul(limits.ratio)));
    let files = check(&mut archive, allowed)?;
    // Local headers against the directory, overlaps, entries that are not in the directory.
    archive.validate_header_consistency()?;
    Ok((archive, files))
}

/// Checks that the directory is where the end of the archive says, ends there, and that nothing
/// follows, so that no reader can find another one.
fn check_end(file: &File, length: u64, archive: &Archive) -> Result<(), ReadError> {
    let fail = || {
        Err(ReadError::Format(
            "its directory is not at its end".to_owned(),
        ))
    };
    let number = |bytes: &[u8]| {
        bytes
            .iter()
            .rev()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    };
    let comment = archive.comment();
    let Some(end) = length.checked_sub(22 + comment.len() as u64) else {
        return fail();
    };
    let mut record = [0; 22];
    file.read_exact_at(&mut record, end)?;
    if !record.starts_with(b"PK\x05\x06") || comment.windows(4).any(|bytes| bytes == b"PK\x05\x06")
    {
        return fail();
    }
    let (mut size, mut start) = (number(&record[12..16]), number(&record[16..20]));
    let mut after = end;
    let mut locator = [0; 20];
    let wide = end >= 76 && {
        file.read_exact_at(&mut locator, end - 20)?;
        locator.starts_with(b"PK\x06\x07")
    };
    if wide {
        let mut record = [0; 56];
        after = number(&locator[8..16]);
        if after != end - 76 {
            return fail();
        }
        file.read_exact_at(&mut record, after)?;
        if !record.starts_with(b"PK\x06\x06") {
            return fail();
        }
        (size, start) = (number(&record[40..48]), number(&record[48..56]));
    }
    let sound = start.checked_add(size) == Some(after);
    if sound && archive.central_directory_start() == start {
        Ok(())
    } else {
        fail()
    }
}

/// An archive that is open.
pub(super) type Archive = ZipArchive<BufReader<File>>;

/// A file of it: number, path, executable, size.
pub(super) type Checked = (usize, String, bool, u64);

/// Checks what the directory says: names, kinds, sizes. Returns the files.
fn check(archive: &mut Archive, allowed: u64) -> Result<Vec<Checked>, ReadError> {
    let mut files = Vec::with_capacity(archive.len());
    let mut names = HashSet::with_capacity(archive.len());
    let mut total: u64 = 0;
    for index in 0..archive.len() {
        let entry = archive.by_index_data(index)?;
        let shown = String::from_utf8_lossy(entry.name_raw()).into_owned();
        let fail = |reason| {
            Err(ReadError::Entry {
                path: shown.clone(),
                reason,
            })
        };
        let Ok(name) = entry.name() else {
            return fail("its name is not UTF-8");
        };
        let kind = entry.unix_mode().unwrap_or(0) & 0o170_000;
        let folder = name.ends_with('/');
        let path = name.strip_suffix('/').unwrap_or(&name);
        if !valid_path(path) || entry.name_raw().contains(&0) {
            return fail("its name is not a plain relative path");
        }
        if entry.encrypted() {
            return fail("it is encrypted");
        }
        if !names.insert(path.to_owned()) {
            return fail("another entry has the same name");
        }
        match kind {
            0o120_000 => return fail("it is a symlink"),
            0 | 0o100_000 | 0o040_000 if folder == (kind == 0o040_000) || kind == 0 => {}
            _ => return fail("it is neither a file nor a folder"),
        }
        if folder {
            if entry.size() != 0 {
                return fail("a folder with content");
            }
            continue;
        }
        total = total.saturating_add(entry.size());
        if total > allowed {
            return Err(ReadError::Bomb { what: "more bytes" });
        }
        let executable = entry.unix_mode().is_some_and(|mode| mode & 0o100 != 0);
        files.push((index, path.to_owned(), executable, entry.size()));
    }
    // A file where another entry needs a folder could not be unpacked.
    let paths: HashSet<&str> = files.iter().map(|(_, path, ..)| path.as_str()).collect();
    for name in &names {
        let mut folder = name.as_str();
        while let Some((parent, _)) = folder.rsplit_once('/') {
            if paths.contains(parent) {
                let reason = "another entry is a file of the name of its folder";
                return Err(ReadError::Entry {
                    path: name.clone(),
                    reason,
                });
            }
            folder = parent;
        }
    }
    Ok(files)
}

/// Reads an entry, which must have exactly the size that was announced, and hands its bytes on.
pub(super) fn read(
    archive: &mut Archive,
    (index, path, executable, size): Checked,
    buffer: &mut [u8],
    take: &mut dyn FnMut(&[u8]) -> Result<(), ReadError>,
) -> Result<Entry, ReadError> {
    let mut entry = archive.by_index(index)?;
    let mut hasher = blake3::Hasher::new();
    let mut total = 0;
    loop {
        let length = match entry.read(buffer) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into_read()),
        };
        total += length as u64;
        if total > size {
            break;
        }
        hasher.update(&buffer[..length]);
        take(&buffer[..length])?;
    }
    if total != size {
        let reason = "its size is not the one that is announced";
        return Err(ReadError::Entry { path, reason });
    }
    Ok(Entry {
        path,
        executable,
        size,
        digest: hasher.finalize().into(),
    })
}
