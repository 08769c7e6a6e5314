//! Owns the walk over a subject's folders that no mistake stops: which to watch, and what lies in
//! them while it cannot be loaded. Excluded folders are never entered.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use synapse_engine::Digest;

use super::seen::Files;
use crate::fileset::{
    self,
    ignores::{Level, Verdict, decide},
    read_regular,
};

/// Folders deeper than this are no plugin's.
const DEEPEST: usize = 64;

/// What lies in a folder.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// It and the folders below, whole paths.
    pub(super) folders: BTreeSet<PathBuf>,
    /// Files by their path below it; only when they were asked for.
    pub(super) files: Files,
}

/// Walks the subject at `place` of the workspace at `root`.
pub(super) fn survey(root: &Path, place: &str, with_files: bool) -> Survey {
    let levels = fileset::outer_levels(root, place).unwrap_or_default();
    let folder = root.join(place);
    let mut walk = Walk {
        place,
        levels,
        with_files,
        found: Survey::default(),
    };
    if let Ok(real) = folder.canonicalize() {
        let inside = real.clone();
        walk.folder(&folder, "", &inside, &mut vec![real]);
    }
    walk.found
}

struct Walk<'a> {
    place: &'a str,
    levels: Vec<Level>,
    with_files: bool,
    found: Survey,
}

impl Walk<'_> {
    fn folder(&mut self, path: &Path, own: &str, inside: &Path, trail: &mut Vec<PathBuf>) {
        let Ok(listing) = fs::read_dir(path) else {
            return;
        };
        self.found.folders.insert(path.to_owned());
        let depth = self.levels.len();
        let level = Level::read(path, &join(self.place, own)).ok().flatten();
        self.levels.extend(level);
        for entry in listing.flatten() {
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let child = join(own, &name);
            let path = entry.path();
            // A stat for links only: most are none.
            let is_dir = match entry.file_type() {
                Ok(kind) if kind.is_symlink() => fs::metadata(&path).map(|meta| meta.is_dir()),
                kind => kind.map(|kind| kind.is_dir()),
            };
            let Ok(is_dir) = is_dir else { continue };
            let judged = join(self.place, &child);
            if decide(&self.levels, &judged, &child, is_dir) != Verdict::Keep {
                continue;
            }
            if is_dir {
                let Ok(real) = path.canonicalize() else {
                    continue;
                };
                let fits = trail.len() < DEEPEST && real.starts_with(inside);
                if fits && !trail.contains(&real) {
                    trail.push(real);
                    self.folder(&path, &child, inside, trail);
                    trail.pop();
                }
            } else if self.with_files
                && let Ok(meta) = fs::metadata(&path)
                && meta.is_file()
            {
                let bytes = read_regular(&path).ok();
                // What is too large to read whole is told apart by size and time.
                let mark = || format!("{} {:?}", meta.len(), meta.modified().ok());
                let digest =
                    bytes.map_or_else(|| Digest::of(mark().as_bytes()), |bytes| Digest::of(&bytes));
                let executable = meta.permissions().mode() & 0o100 != 0;
                self.found.files.insert(child, (digest, executable));
            }
        }
        self.levels.truncate(depth);
    }
}

pub(super) fn join(parent: &str, name: &str) -> String {
    match (parent.is_empty(), name.is_empty()) {
        (true, _) => name.to_owned(),
        (_, true) => parent.to_owned(),
        _ => format!("{parent}/{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excluded_folders_are_never_entered() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write(".gitignore", "data/\n");
        write("p/.synapseignore", "tests\n");
        for path in [
            "p/config.yaml",
            "p/plugin/a.py",
            "p/plugin/__pycache__/a.pyc",
            "p/.venv/lib/x.py",
            "p/.git/index",
            "p/node_modules/x/y.js",
            "p/data/big.bin",
            "p/tests/a.py",
            "p/deep/er/b.py",
        ] {
            write(path, "x");
        }
        std::os::unix::fs::symlink("..", root.path().join("p/plugin/up")).unwrap();
        std::os::unix::fs::symlink("nowhere", root.path().join("p/gone")).unwrap();
        std::os::unix::fs::symlink("/", root.path().join("p/out")).unwrap();
        let found = survey(root.path(), "p", true);
        let folders: Vec<_> = found
            .folders
            .iter()
            .map(|path| path.strip_prefix(root.path()).unwrap().to_str().unwrap())
            .collect();
        assert_eq!(folders, ["p", "p/deep", "p/deep/er", "p/plugin"]);
        let files: Vec<_> = found.files.keys().map(String::as_str).collect();
        assert_eq!(
            files,
            [
                ".synapseignore",
                "config.yaml",
                "deep/er/b.py",
                "plugin/a.py"
            ]
        );
        assert!(survey(root.path(), "nowhere", true).folders.is_empty());
    }
}
