//! Owns [`Build`]: one project to build, and the clean copy of its files that the backend sees.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use synapse_engine::{Context, Digest, Failure, Files};

use super::backend::Backend;
use crate::{
    archive::{EDITED, PackFile, read},
    resolve::{Work, desk::disk},
};

/// Where a project's files come from.
pub enum Sources {
    /// The archive that is an input of the node.
    Archive,
    /// A folder whose files were hashed.
    Folder(PathBuf),
}

/// One project to build.
pub struct Build {
    /// The plugin's code, or the library's name.
    pub subject: String,
    /// What builds it.
    pub backend: Backend,
    /// Its files.
    pub files: Arc<dyn Files + Send + Sync>,
    /// Where they come from.
    pub sources: Sources,
    /// How its environment is made.
    pub work: Arc<Work>,
}

impl Build {
    /// Whether the archive is among a node's inputs.
    pub(super) fn of_archive(&self) -> bool {
        matches!(self.sources, Sources::Archive)
    }

    /// Copies the files into `folder`; `archive` is the input that has them.
    pub(super) fn copy(
        &self,
        context: &Context<'_>,
        archive: usize,
        folder: &Path,
    ) -> Result<(), Failure> {
        match &self.sources {
            Sources::Archive => {
                let zip = context.input(archive)?.blob_of("zip");
                let (zip, size) = zip.ok_or_else(|| Failure::bug("an archive without a file"))?;
                let blob = context.blob(&zip, size)?;
                match unpack(&blob.path, folder) {
                    Ok(_) => Ok(()),
                    Err(Unpacking::Disk(error)) => Err(failed(&error)),
                    Err(Unpacking::Archive(_)) => Err(Failure::missing_blob(zip)),
                }
            }
            Sources::Folder(root) => {
                for entry in self.files.load() {
                    let from = root.join(&entry.path);
                    let bytes = fs::read(&from).ok();
                    let bytes = bytes.filter(|bytes| Digest::of(bytes) == entry.digest);
                    let Some(bytes) = bytes else {
                        let what = format!("{} was edited while it was being built", entry.path);
                        return Err(Failure::user(EDITED, what)
                            .at(from.display().to_string())
                            .hint("nothing was published; run it again when the file is at rest"));
                    };
                    let mut reader = bytes.as_slice();
                    write(folder, &entry.path, entry.executable, &mut reader)
                        .map_err(|error| failed(&error))?;
                }
                Ok(())
            }
        }
    }
}

fn failed(error: &io::Error) -> Failure {
    disk("cannot copy what is to be built", error)
}

/// Why an archive was not unpacked.
pub(super) enum Unpacking {
    /// The disk.
    Disk(io::Error),
    /// The archive itself.
    Archive(String),
}

/// Unpacks an archive into a folder that is there; what was in it, sorted by path.
pub(super) fn unpack(archive: &Path, folder: &Path) -> Result<Vec<PackFile>, Unpacking> {
    let bad = |error: &dyn std::fmt::Display| Unpacking::Archive(error.to_string());
    // Names, kinds and sizes are those of plain files once this went well.
    let entries = read::entries(archive).map_err(|error| match error {
        read::ReadError::Io(error) => Unpacking::Disk(error),
        error => bad(&error),
    })?;
    let file = File::open(archive).map_err(Unpacking::Disk)?;
    let mut zip = zip::ZipArchive::new(file).map_err(|error| bad(&error))?;
    let mut files = Vec::with_capacity(entries.len());
    for read::Entry {
        path,
        executable,
        size,
        digest,
    } in entries
    {
        let mut entry = zip.by_name(&path).map_err(|error| bad(&error))?;
        let source = write(folder, &path, executable, &mut entry).map_err(Unpacking::Disk)?;
        files.push(PackFile {
            path,
            source,
            executable,
            size,
            digest,
            follow: false,
        });
    }
    Ok(files)
}

/// Writes one file with a mode that no umask changes.
fn write(
    folder: &Path,
    path: &str,
    executable: bool,
    from: &mut dyn io::Read,
) -> io::Result<PathBuf> {
    let to = folder.join(path);
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut file = File::create(&to)?;
    io::copy(from, &mut file)?;
    let mode = if executable { 0o755 } else { 0o644 };
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    Ok(to)
}
