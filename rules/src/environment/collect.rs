//! Owns what environments take up: counting them, and removing those that nobody used for long.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::Serialize;

use super::lease::{Lease, lock_file};

/// Folders of the store that hold environments.
pub(super) const FOLDERS: [&str; 2] = ["environments", "tools"];
/// Caches of installers and interpreters' answers, which only save time.
const CACHES: [&str; 3] = ["pip-cache", "uv-cache", "python"];

/// What collection removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Collected {
    /// Environments removed.
    pub environments: u64,
    /// Their bytes on the disk.
    pub bytes: u64,
}

/// What environments take up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct EnvironmentStats {
    /// How many there are, tools among them.
    pub environments: u64,
    /// Their bytes on the disk. Files that are links of each other count once.
    pub environment_bytes: u64,
    /// Bytes of the caches of installers.
    pub cache_bytes: u64,
}

/// Removes environments that nobody uses and that were last used more than `age` seconds before
/// `now` (Unix seconds). With an age of nothing the installers' caches go too.
pub fn collect(store: &Path, age: i64, now: i64) -> io::Result<Collected> {
    let mut collected = Collected::default();
    for folder in folders(store) {
        let used = fs::metadata(lock_file(&folder)).or_else(|_| fs::metadata(&folder));
        let used = used.and_then(|meta| meta.modified()).unwrap_or(UNIX_EPOCH);
        let limit = UNIX_EPOCH + Duration::from_secs(now.saturating_sub(age).max(0) as u64);
        if used >= limit.min(SystemTime::now()) {
            continue;
        }
        let Some(alone) = Lease::alone(&folder)? else {
            continue;
        };
        let bytes = size(&folder, &mut std::collections::HashSet::new());
        remove(&folder)?;
        let _ = fs::remove_file(lock_file(&folder));
        drop(alone);
        collected.environments += 1;
        collected.bytes += bytes;
    }
    if age == 0 {
        for cache in CACHES {
            remove(&store.join(cache))?;
        }
    }
    Ok(collected)
}

/// Counts and sizes.
pub fn stats(store: &Path) -> EnvironmentStats {
    let mut seen = std::collections::HashSet::new();
    let mut stats = EnvironmentStats::default();
    for folder in folders(store) {
        stats.environments += 1;
        stats.environment_bytes += size(&folder, &mut seen);
    }
    for cache in CACHES {
        stats.cache_bytes += size(&store.join(cache), &mut seen);
    }
    stats
}

fn folders(store: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = FOLDERS
        .iter()
        .flat_map(|name| {
            fs::read_dir(store.join(name))
                .into_iter()
                .flatten()
                .flatten()
        })
        .map(|entry| entry.path())
        .filter(|path| path.is_dir() && !path.is_symlink())
        .collect();
    folders.sort();
    folders
}

/// Removes a folder. It is renamed first, so that half of one never looks like a whole one.
pub(super) fn remove(folder: &Path) -> io::Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    let going = folder.with_extension(format!("going-{}", std::process::id()));
    fs::rename(folder, &going)?;
    fs::remove_dir_all(&going)
}

fn size(path: &Path, seen: &mut std::collections::HashSet<(u64, u64)>) -> u64 {
    let Ok(meta) = fs::symlink_metadata(path) else {
        return 0;
    };
    if meta.is_dir() {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        return entries.map(|entry| size(&entry.path(), seen)).sum();
    }
    if meta.nlink() > 1 && !seen.insert((meta.dev(), meta.ino())) {
        return 0;
    }
    meta.blocks() * 512
}
