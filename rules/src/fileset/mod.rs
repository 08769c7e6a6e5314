//! Owns the file set of a plugin: walks its folder by the ignore rules, hashes what is new, and
//! says what cannot be published. Excluded folders are never entered.

pub mod ignores;
mod walk;

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use rustix::fs::{Mode, OFlags};
pub use walk::{FileSetError, Survey, Walk, scan, survey};

use self::ignores::Level;

/// Bytes up to which a configuration or an ignore file is read.
const LIMIT: u64 = 4 << 20;

/// Reads a regular file of at most a few megabytes whole. A pipe or device under its name is an
/// error, where opening it plainly would wait for a writer or never end.
pub fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let mut file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is not a regular file",
        ));
    }
    let too_large = || io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 4 MiB");
    if meta.len() > LIMIT {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(meta.len() as usize);
    if file.by_ref().take(LIMIT + 1).read_to_end(&mut bytes)? as u64 > LIMIT {
        return Err(too_large());
    }
    Ok(bytes)
}

/// Whether a plugin's archive would take a file at `file`, relative to its folder, if there were
/// one. `root` and `plugin` are as in [`outer_levels`].
pub fn takes(root: &Path, plugin: &str, file: &str) -> std::io::Result<bool> {
    let mut levels = outer_levels(root, plugin)?;
    let join = |left: &str, right: &str| match (left, right) {
        ("", other) | (other, "") => other.to_owned(),
        (left, right) => format!("{left}/{right}"),
    };
    let mut own = String::new();
    let parts: Vec<&str> = file.split('/').collect();
    for (at, part) in parts.iter().enumerate() {
        let folder = join(plugin, &own);
        levels.extend(Level::read(&root.join(&folder), &folder)?);
        own = join(&own, part);
        let is_dir = at + 1 < parts.len();
        let path = join(plugin, &own);
        if ignores::decide(&levels, &path, &own, is_dir) != ignores::Verdict::Keep {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The ignore files from the workspace root down to a plugin's parent folder.
///
/// `plugin` is the plugin's path relative to `root`; empty when they are the same.
pub fn outer_levels(root: &Path, plugin: &str) -> std::io::Result<Vec<Level>> {
    let mut levels = Vec::new();
    if plugin.is_empty() {
        return Ok(levels);
    }
    let mut folder = String::new();
    levels.extend(Level::read(root, "")?);
    let parts: Vec<&str> = plugin.split('/').collect();
    for part in &parts[..parts.len() - 1] {
        if !folder.is_empty() {
            folder.push('/');
        }
        folder.push_str(part);
        levels.extend(Level::read(&root.join(&folder), &folder)?);
    }
    Ok(levels)
}
