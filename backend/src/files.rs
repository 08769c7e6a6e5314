//! Owns the archives of releases and the files of models: how their bytes are taken, checked and made durable,
//! how they are named, and the lock that tells a file being made from one left behind.

use std::fs::{self, File, Metadata, OpenOptions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use synapse_engine::Digest;

use crate::Hooks;
use crate::database::lock_file;
use crate::error::BackendError;

/// The folder of the files, in the data folder.
pub(crate) const FOLDER: &str = "files";
const LOCK: &str = "files.lock";

/// Bytes read at a time; large enough for BLAKE3 to use several cores.
const CHUNK: usize = 1 << 20;

/// The folder of the files.
pub(crate) struct Files {
    dir: PathBuf,
    lock: PathBuf,
    url: String,
    hooks: Hooks,
}

/// A file that no row names yet. It goes when this is dropped, unless [`Kept::release`] is called.
pub(crate) struct Kept<'a> {
    files: &'a Files,
    name: String,
    file: File,
    named: bool,
    pub(crate) size: u64,
    pub(crate) blake3: Digest,
}

impl Files {
    pub(crate) fn new(data_dir: &Path, hooks: Hooks) -> Self {
        let dir = data_dir.join(FOLDER);
        let mut url = String::from("file://");
        percent_encode(dir.as_os_str().as_bytes(), &mut url);
        url.push('/');
        Self {
            dir,
            lock: data_dir.join(LOCK),
            url,
            hooks,
        }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Where a person or program finds the file, as a URL.
    pub(crate) fn url(&self, name: &str) -> String {
        let mut url = String::with_capacity(self.url.len() + name.len() + 2);
        url.push_str(&self.url);
        percent_encode(name.as_bytes(), &mut url);
        url
    }

    /// Held, shared, by whoever makes a file that no row names yet.
    pub(crate) fn making(&self) -> Result<File, BackendError> {
        let lock = lock_file(&self.lock)?;
        lock.lock_shared()
            .map_err(|cause| BackendError::io("lock", &self.lock, cause))?;
        Ok(lock)
    }

    /// Held by whoever removes files that no row names; `None` while one is being made.
    pub(crate) fn sweeping(&self) -> Result<Option<File>, BackendError> {
        let lock = lock_file(&self.lock)?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(lock)),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(cause)) => Err(BackendError::io("lock", &self.lock, cause)),
        }
    }

    /// Takes the bytes of `archive` under a new name that begins with `stem`, and tells what
    /// was taken: a hard link where that is safe, else a clone, else a copy.
    pub(crate) fn keep(&self, archive: &Path, stem: &str) -> Result<Kept<'_>, BackendError> {
        let read = |cause| BackendError::io("read", archive, cause);
        let mut source = File::open(archive).map_err(read)?;
        let meta = source.metadata().map_err(read)?;
        if !meta.is_file() {
            return Err(read(io::Error::other("it is not a file")));
        }
        let (name, path) = self.unused(stem, ".zip")?;
        if linkable(&meta) {
            let write = |cause| BackendError::io("write", &path, cause);
            self.hooks.at("backend.link").map_err(write)?;
            if fs::hard_link(archive, &path).is_ok() {
                let file = source.try_clone().map_err(write)?;
                let mut kept = self.kept(name.clone(), file);
                let found = fs::symlink_metadata(&path).map_err(write)?;
                // The name may have come to mean another file since it was opened.
                if (found.dev(), found.ino()) == (meta.dev(), meta.ino()) {
                    kept.read().map_err(read)?;
                    return Ok(kept);
                }
            }
        }
        self.copy(archive, &mut source, stem)
    }

    fn copy(
        &self,
        archive: &Path,
        source: &mut File,
        stem: &str,
    ) -> Result<Kept<'_>, BackendError> {
        let (name, path) = self.unused(stem, ".zip")?;
        let write = |cause| BackendError::io("write", &path, cause);
        self.hooks.at("backend.copy").map_err(write)?;
        // Mode 0444 counts from the next opening on; this descriptor may write.
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o444)
            .open(&path)
            .map_err(write)?;
        let mut kept = self.kept(name, file);
        if clone(source, &kept.file) {
            kept.read().map_err(write)?;
            return Ok(kept);
        }
        let mut hasher = blake3::Hasher::new();
        let mut buffer =
            buffer(source).map_err(|cause| BackendError::io("read", archive, cause))?;
        loop {
            let count = fill(source, &mut buffer)
                .map_err(|cause| BackendError::io("read", archive, cause))?;
            if count == 0 {
                break;
            }
            update(&mut hasher, &buffer[..count]);
            self.hooks.at("backend.write").map_err(write)?;
            kept.file.write_all(&buffer[..count]).map_err(write)?;
            kept.size += count as u64;
        }
        kept.blake3 = hasher.finalize().into();
        Ok(kept)
    }

    /// A new, empty file whose name begins with `stem`.
    pub(crate) fn create(&self, stem: &str) -> Result<(String, File), BackendError> {
        let (name, path) = self.unused(stem, "")?;
        let write = |cause| BackendError::io("write", &path, cause);
        self.hooks.at("backend.copy").map_err(write)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(write)?;
        Ok((name, file))
    }

    /// Makes the bytes of a file durable, and its name when it is new.
    pub(crate) fn sync(&self, name: &str, file: &File, is_new: bool) -> Result<(), BackendError> {
        let failed = |cause| BackendError::io("write", &self.path(name), cause);
        self.hooks.at("backend.sync").map_err(failed)?;
        file.sync_data().map_err(failed)?;
        if is_new {
            self.hooks.at("backend.sync-dir").map_err(failed)?;
            File::open(&self.dir)
                .and_then(|dir| dir.sync_all())
                .map_err(failed)?;
        }
        Ok(())
    }

    fn kept(&self, name: String, file: File) -> Kept<'_> {
        Kept {
            files: self,
            name,
            file,
            named: false,
            size: 0,
            blake3: Digest::of(b""),
        }
    }

    /// A name that was never used. Names are random rather than derived from the slot or the
    /// bytes, so that no process ever removes or replaces what another has just made.
    fn unused(&self, stem: &str, end: &str) -> Result<(String, PathBuf), BackendError> {
        for _ in 0..8 {
            let name = format!("{stem}-{}{end}", random_hex());
            let path = self.path(&name);
            if !path
                .try_exists()
                .map_err(|cause| BackendError::io("write", &path, cause))?
            {
                return Ok((name, path));
            }
        }
        let cause = io::Error::other("no free file name was found");
        Err(BackendError::io("write", &self.dir, cause))
    }

    /// Removes a file that no row names. That it is gone already is no error.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        self.hooks.at("backend.unlink")?;
        match fs::remove_file(self.path(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}

impl Kept<'_> {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Reads the whole file for its size and digest.
    fn read(&mut self) -> io::Result<()> {
        (self.size, self.blake3) = digest(&mut self.file)?;
        Ok(())
    }

    /// Makes the bytes and the name durable.
    pub(crate) fn sync(&self) -> Result<(), BackendError> {
        self.files.sync(&self.name, &self.file, true)
    }

    /// Says that a row names the file now, or may do so.
    pub(crate) fn release(mut self) {
        self.named = true;
    }
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        if !self.named {
            // What cannot be removed now is removed by a later sweep.
            let _ = self.files.remove(&self.name);
        }
    }
}

/// 16 hex digits that nobody had before.
pub(crate) fn random_hex() -> String {
    format!("{:016x}", RandomState::new().build_hasher().finish())
}

/// A hard link shares the sender's inode: its mode, which is therefore left alone, and its bytes,
/// should they ever be written in place. So only a file that is read-only and our own is linked,
/// as the blobs of the store are; any other, such as one in a user's folder, is copied.
fn linkable(meta: &Metadata) -> bool {
    meta.mode() & 0o222 == 0 && meta.uid() == rustix::process::geteuid().as_raw()
}

/// Shares the bytes of `source` copy-on-write, where the filesystem can.
#[cfg(target_os = "linux")]
fn clone(source: &File, into: &File) -> bool {
    rustix::fs::ioctl_ficlone(into, source).is_ok()
}

/// Elsewhere there is no clone into a file that is open already.
#[cfg(not(target_os = "linux"))]
fn clone(_source: &File, _into: &File) -> bool {
    false
}

/// Size and BLAKE3 of a file, from its beginning.
pub(crate) fn digest(file: &mut File) -> io::Result<(u64, Digest)> {
    file.rewind()?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = buffer(file)?;
    let mut size = 0;
    loop {
        let count = fill(file, &mut buffer)?;
        if count == 0 {
            return Ok((size, hasher.finalize().into()));
        }
        update(&mut hasher, &buffer[..count]);
        size += count as u64;
    }
}

/// Room for the whole of a small file and one byte more, so that its end is seen at once.
fn buffer(file: &File) -> io::Result<Vec<u8>> {
    let size = usize::try_from(file.metadata()?.len()).unwrap_or(CHUNK);
    Ok(vec![0; size.saturating_add(1).min(CHUNK)])
}

pub(crate) fn fill(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut count = 0;
    while count < buffer.len() {
        match file.read(&mut buffer[count..]) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}

fn update(hasher: &mut blake3::Hasher, bytes: &[u8]) {
    // Below this, handing work to other threads costs more than it saves.
    if bytes.len() < 256 << 10 {
        hasher.update(bytes);
    } else {
        hasher.update_rayon(bytes);
    }
}

/// Encodes all but the unreserved characters of RFC 3986 and the slash. That takes in `+`, which
/// some readers of URLs would turn into a space.
pub(crate) fn percent_encode(bytes: &[u8], out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}
