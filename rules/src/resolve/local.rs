//! Owns what folders and archives of this machine count for in keys: their content, or for
//! editable ones the files that say what they need.

use std::{fs, io, path::Path};

use synapse_engine::{Digest, Failure, StableHash, StableHasher};

use super::requirements::{Item, Kind};

/// Files that say what a project needs.
const METADATA: [&str; 3] = ["pyproject.toml", "setup.py", "setup.cfg"];
/// Folders that are made, not written.
const MADE: [&str; 9] = [
    ".git",
    "__pycache__",
    "build",
    "dist",
    ".venv",
    "venv",
    ".tox",
    "node_modules",
    ".mypy_cache",
];

/// What an item of this machine counts for; nothing for the others.
pub(super) fn identity(item: &Item) -> Result<Option<String>, Failure> {
    let Kind::Local { path, editable, .. } = &item.kind else {
        return Ok(None);
    };
    digest(path, *editable)
        .map(|digest| Some(digest.hex()))
        .map_err(|error| {
            let what = format!("cannot read {}: {error}", path.display());
            Failure::user("unreadable", what)
                .at(item.place.to_string())
                .hint("check the path and its permissions")
        })
}

/// The digest of a folder or archive.
pub fn digest(path: &Path, editable: bool) -> io::Result<Digest> {
    if path.is_file() {
        return file(path);
    }
    let mut hasher = StableHasher::new("synapse.local-source");
    if editable {
        for name in METADATA {
            match file(&path.join(name)) {
                Ok(digest) => {
                    name.stable_hash(&mut hasher);
                    digest.stable_hash(&mut hasher);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    } else {
        folder(path, "", &mut hasher)?;
    }
    Ok(hasher.finish())
}

fn file(path: &Path) -> io::Result<Digest> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(fs::File::open(path)?)?;
    Ok(Digest::from(hasher.finalize()))
}

fn folder(path: &Path, place: &str, hasher: &mut StableHasher) -> io::Result<()> {
    let mut entries = fs::read_dir(path)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let made = MADE.contains(&name.as_ref()) || name.ends_with(".egg-info");
        if made || name.ends_with(".pyc") {
            continue;
        }
        let place = format!("{place}/{name}");
        let kind = entry.file_type()?;
        if kind.is_dir() {
            folder(&entry.path(), &place, hasher)?;
        } else if kind.is_file() {
            place.as_str().stable_hash(hasher);
            file(&entry.path())?.stable_hash(hasher);
        } else if kind.is_symlink() {
            place.as_str().stable_hash(hasher);
            fs::read_link(entry.path())?
                .display()
                .to_string()
                .stable_hash(hasher);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_counts_and_what_is_made_does_not() {
        let space = tempfile::tempdir().unwrap();
        let root = space.path();
        for (name, text) in [("setup.py", "a"), ("lib/x.py", "b"), ("build/y", "c")] {
            fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
            fs::write(root.join(name), text).unwrap();
        }
        let both = || [false, true].map(|editable| digest(root, editable).unwrap());
        let first = both();
        fs::write(root.join("build/y"), "changed").unwrap();
        assert_eq!(both(), first);
        fs::write(root.join("lib/x.py"), "changed").unwrap();
        let second = both();
        assert!(second[0] != first[0] && second[1] == first[1]);
        fs::write(root.join("setup.py"), "changed").unwrap();
        assert!(both()[1] != first[1]);
    }
}
