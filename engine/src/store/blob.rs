//! Owns blobs: files named by the digest of their bytes, put in place by rename, never changed.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Mutex,
};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use tempfile::NamedTempFile;

use super::{Blob, Hook, StoreError};
use crate::{digest::Digest, filesystem};

/// Up to this many files are synced one by one; more are cheaper by one sync of the disk.
const SYNC_ONE_BY_ONE: usize = 6;

pub(super) struct Blobs {
    root: PathBuf,
    /// Placed, not yet durable.
    pending: Mutex<Vec<PathBuf>>,
    hook: Option<Hook>,
}

impl Blobs {
    pub(super) fn new(root: PathBuf, hook: Option<Hook>) -> Self {
        Self {
            root,
            pending: Mutex::default(),
            hook,
        }
    }

    pub(super) fn step(&self, name: &str) -> Result<(), StoreError> {
        match &self.hook {
            Some(hook) => hook(name).map_err(StoreError::io("cannot write to the store")),
            None => Ok(()),
        }
    }

    pub(super) fn path(&self, blob: &Digest) -> PathBuf {
        let hex = blob.hex();
        self.root.join("blobs").join(&hex[..2]).join(hex)
    }

    pub(super) fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    pub(super) fn open(&self, blob: &Digest) -> Result<Option<Blob>, StoreError> {
        let path = self.path(blob);
        match File::open(&path).and_then(|file| Ok((file.metadata()?.len(), file))) {
            Ok((size, file)) => Ok(Some(Blob { file, path, size })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io(format!("cannot open {}", path.display()))(
                error,
            )),
        }
    }

    pub(super) fn has(&self, blob: &Digest, size: u64) -> bool {
        fs::metadata(self.path(blob)).is_ok_and(|meta| meta.is_file() && meta.len() == size)
    }

    /// Whether a blob's bytes are those that its name says.
    pub(super) fn is_whole(&self, blob: &Digest) -> bool {
        let hash = |path: &Path| {
            let mut hasher = blake3::Hasher::new();
            hasher.update_reader(File::open(path)?)?;
            Ok::<_, io::Error>(Digest::from(hasher.finalize()))
        };
        hash(&self.path(blob)).is_ok_and(|digest| digest == *blob)
    }

    pub(super) fn writer(&self) -> Result<NamedTempFile, StoreError> {
        self.step("blob.create")?;
        let folder = self.tmp();
        let make = || tempfile::Builder::new().prefix("w").tempfile_in(&folder);
        // The folder may have been tidied away.
        let made = make().or_else(|_| fs::create_dir_all(&folder).and_then(|()| make()));
        made.map_err(StoreError::io(format!(
            "cannot write in {}",
            folder.display()
        )))
    }

    pub(super) fn place(
        &self,
        file: NamedTempFile,
        blob: &Digest,
        size: u64,
    ) -> Result<(), StoreError> {
        let path = self.path(blob);
        let failed =
            |error: io::Error| StoreError::io(format!("cannot write {}", path.display()))(error);
        self.step("blob.chmod")?;
        // Links of a blob lie elsewhere too: nobody may write through one by accident.
        file.as_file()
            .set_permissions(fs::Permissions::from_mode(0o444))
            .map_err(failed)?;
        self.step("blob.rename")?;
        let rename = || renameat_with(CWD, file.path(), CWD, &path, RenameFlags::NOREPLACE);
        let mut renamed = rename();
        if renamed == Err(rustix::io::Errno::NOENT) {
            fs::create_dir_all(path.parent().unwrap_or(&path)).map_err(failed)?;
            renamed = rename();
        }
        match renamed {
            Ok(()) => {
                let (_, kept) = file.into_parts();
                // Renamed away: there is nothing left to delete.
                let _ = kept.keep();
            }
            Err(rustix::io::Errno::EXIST) if self.has(blob, size) && self.is_whole(blob) => {
                return Ok(());
            }
            Err(rustix::io::Errno::EXIST) => {
                self.quarantine(blob)?;
                return self.place(file, blob, size);
            }
            // Filesystems without RENAME_NOREPLACE: a link refuses to replace as well.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
                match fs::hard_link(file.path(), &path) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                        if self.has(blob, size) && self.is_whole(blob) {
                            return Ok(());
                        }
                        self.quarantine(blob)?;
                        return self.place(file, blob, size);
                    }
                    linked => linked.map_err(failed)?,
                }
            }
            Err(error) => return Err(failed(error.into())),
        }
        lock(&self.pending).push(path);
        Ok(())
    }

    /// Makes everything placed so far durable.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        let pending = std::mem::take(&mut *lock(&self.pending));
        if pending.is_empty() {
            return Ok(());
        }
        self.step("blob.sync")?;
        let failed = StoreError::io("cannot make the store durable");
        if filesystem::HAS_SYNC_ALL && pending.len() > SYNC_ONE_BY_ONE {
            return File::open(&self.root)
                .and_then(|root| filesystem::sync_all(&root))
                .map_err(failed);
        }
        let sync = |path: &Path| match File::open(path) {
            Ok(file) => file.sync_all(),
            // Quarantined since: a row that names it is a miss.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        };
        let mut each = pending.iter().try_for_each(|path| sync(path));
        let mut folders: Vec<&Path> = pending.iter().filter_map(|path| path.parent()).collect();
        folders.sort_unstable();
        folders.dedup();
        for folder in folders {
            each = each.and_then(|()| sync(folder));
        }
        each.map_err(failed)
    }

    /// Moves a blob aside, for a person to look at.
    pub(super) fn quarantine(&self, blob: &Digest) -> Result<(), StoreError> {
        self.step("blob.quarantine")?;
        let folder = self.root.join("quarantine");
        let failed = |error| StoreError::io(format!("cannot write in {}", folder.display()))(error);
        fs::create_dir_all(&folder).map_err(failed)?;
        match fs::rename(self.path(blob), folder.join(blob.hex())) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
            _ => Ok(()),
        }
    }

    /// Every blob file on disk: digest, size, age by its mtime.
    pub(super) fn list(&self) -> Result<Vec<(Digest, fs::Metadata)>, StoreError> {
        let root = self.root.join("blobs");
        let failed = |error| StoreError::io(format!("cannot list {}", root.display()))(error);
        let mut found = Vec::new();
        if !root.exists() {
            return Ok(found);
        }
        for shard in fs::read_dir(&root).map_err(failed)? {
            let shard = shard.map_err(failed)?.path();
            let Ok(files) = fs::read_dir(&shard) else {
                continue;
            };
            for file in files {
                let file = file.map_err(failed)?;
                let name = file.file_name();
                let digest = name.to_str().and_then(|name| Digest::from_hex(name).ok());
                if let (Some(digest), Ok(meta)) = (digest, file.metadata()) {
                    found.push((digest, meta));
                }
            }
        }
        Ok(found)
    }

    pub(super) fn remove(&self, blob: &Digest) -> Result<(), StoreError> {
        self.step("blob.unlink")?;
        match fs::remove_file(self.path(blob)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::io("cannot delete from the store")(error))
            }
            _ => Ok(()),
        }
    }
}

/// A poisoned lock means a panic elsewhere; the data under these locks stays whole.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
