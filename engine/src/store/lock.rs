//! Owns locks between processes: OS file locks, released by the system when a process dies.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Seek, Write},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

use super::StoreError;
use crate::manifest::Key;

/// The answer to a try for a lock.
#[derive(Debug)]
pub enum Lock {
    /// Ours until the guard is dropped.
    Held(Guard),
    /// Another holds it; its process id, when it said so.
    Busy(Option<u32>),
}

/// A held lock.
#[derive(Debug)]
pub struct Guard {
    // Dropping the file closes it, which releases the lock.
    _file: Option<File>,
}

impl Guard {
    /// A guard that holds nothing, for stores of one process.
    pub fn none() -> Self {
        Self { _file: None }
    }
}

/// The lock files of a store. Keys share 4,096 of them: a false wait is harmless, since who
/// holds a lock is running and waits for none.
#[derive(Debug)]
pub(super) struct Locks {
    folder: PathBuf,
}

impl Locks {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    pub(super) fn try_key(&self, key: &Key) -> Result<Lock, StoreError> {
        try_exclusive(&self.folder.join(&key.0.hex()[..3]))
    }

    /// Held shared by every process that uses the store, exclusively by collection.
    pub(super) fn use_shared(&self) -> Result<Guard, StoreError> {
        let path = self.folder.join("use");
        let file = open(&path)?;
        flock(&file, FlockOperation::LockShared).map_err(|error| {
            StoreError::io(format!("cannot lock {}", path.display()))(error.into())
        })?;
        Ok(Guard { _file: Some(file) })
    }

    pub(super) fn try_use_alone(&self) -> Result<Lock, StoreError> {
        try_exclusive(&self.folder.join("use"))
    }
}

fn open(path: &Path) -> Result<File, StoreError> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).read(true).write(true);
    let opened = match options.open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            // Somebody tidied up; the folder is ours to make.
            let _ = std::fs::create_dir_all(path.parent().unwrap_or(path));
            options.open(path)
        }
        opened => opened,
    };
    opened.map_err(StoreError::io(format!("cannot open {}", path.display())))
}

fn try_exclusive(path: &Path) -> Result<Lock, StoreError> {
    let mut file = open(path)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {
            // Only so that a waiter can name us; the lock is the file lock.
            let pid = format!("{:<10}", std::process::id());
            let _ = file.rewind().and_then(|()| file.write_all(pid.as_bytes()));
            Ok(Lock::Held(Guard { _file: Some(file) }))
        }
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut text = String::new();
            let _ = file.read_to_string(&mut text);
            Ok(Lock::Busy(text.trim().parse().ok()))
        }
        Err(error) => Err(StoreError::io(format!("cannot lock {}", path.display()))(
            error.into(),
        )),
    }
}
