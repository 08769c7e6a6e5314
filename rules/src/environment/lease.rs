//! Owns [`Lease`]: a shared lock on an environment, so that nobody removes what is in use.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rustix::fs::{FlockOperation, flock};

/// Uses closer together than this count as one: it spares a write in almost every run.
const GRAIN: Duration = Duration::from_secs(3600);

/// Keeps an environment from being collected until it is dropped.
#[derive(Debug, Default)]
pub struct Lease {
    // Dropping the file releases the lock.
    _file: Option<File>,
}

/// The lock file beside an environment's folder. Its time is when the environment was last used.
pub(super) fn lock_file(folder: &Path) -> PathBuf {
    let name = folder.file_name().unwrap_or_default();
    let mut name = name.to_owned();
    name.push(".lock");
    folder.with_file_name(name)
}

fn open(folder: &Path) -> io::Result<File> {
    let path = lock_file(folder);
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).read(true).write(true);
    match options.open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let around = path.parent().unwrap_or(&path);
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(around)?;
            options.open(&path)
        }
        opened => opened,
    }
}

impl Lease {
    /// A lease of nothing, for environments that are not ours.
    pub fn none() -> Self {
        Self::default()
    }

    /// A lease of the environment in `folder`, which need not be there yet.
    pub(super) fn take(folder: &Path) -> io::Result<Self> {
        loop {
            let file = open(folder)?;
            flock(&file, FlockOperation::LockShared)?;
            // Collection removes the file while it has it: then this lock is on nothing.
            use std::os::unix::fs::MetadataExt;
            let own = file.metadata()?;
            let there = fs::metadata(lock_file(folder));
            if !there.is_ok_and(|there| there.ino() == own.ino()) {
                continue;
            }
            let now = SystemTime::now();
            let used = own
                .modified()
                .ok()
                .and_then(|used| now.duration_since(used).ok());
            if used.is_none_or(|age| age > GRAIN) {
                // It only steers collection.
                let _ = file.set_modified(now);
            }
            return Ok(Self { _file: Some(file) });
        }
    }

    /// The right to make what lies in `folder`; waits while another process makes it.
    pub(super) fn making(folder: &Path) -> io::Result<Self> {
        let file = open(&folder.with_extension("making"))?;
        flock(&file, FlockOperation::LockExclusive)?;
        Ok(Self { _file: Some(file) })
    }

    /// The environment for us alone; nothing when somebody uses it.
    pub(super) fn alone(folder: &Path) -> io::Result<Option<Self>> {
        let file = open(folder)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { _file: Some(file) })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
