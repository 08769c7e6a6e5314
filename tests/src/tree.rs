//! Owns folders of files: copies of fixtures, and what a folder holds.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt, symlink},
    path::{Path, PathBuf},
};

use walkdir::WalkDir;

/// A folder of fixtures.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fixtures")
        .join(name)
}

/// Copies a file or folder: files with their modes, symlinks as such.
pub fn copy_tree(from: &Path, to: &Path) {
    for entry in WalkDir::new(from).sort_by_file_name() {
        let entry = entry.expect("fixtures can be walked");
        let below = entry.path().strip_prefix(from).expect("below the root");
        let target = if below == Path::new("") {
            to.to_owned()
        } else {
            to.join(below)
        };
        let kind = entry.file_type();
        if kind.is_dir() {
            fs::create_dir_all(&target).expect("a folder");
        } else if kind.is_symlink() {
            symlink(fs::read_link(entry.path()).expect("a link"), &target).expect("a link");
        } else {
            fs::copy(entry.path(), &target).expect("a copy");
        }
    }
}

/// Everything below a folder: type and mode, and a file's bytes or a link's target.
pub fn snapshot(root: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    for entry in WalkDir::new(root) {
        let entry = entry.expect("a tree that can be walked");
        let meta = entry.path().symlink_metadata().expect("metadata");
        let bytes = if meta.is_file() {
            fs::read(entry.path()).expect("a file")
        } else if meta.is_symlink() {
            fs::read_link(entry.path())
                .expect("a link")
                .into_os_string()
                .into_encoded_bytes()
        } else {
            Vec::new()
        };
        let path = entry
            .path()
            .strip_prefix(root)
            .expect("below the root")
            .to_owned();
        found.insert(path, (meta.mode(), bytes));
    }
    found
}
