//! Owns [`Tree`]: the files of one subject, sorted by path, and their one digest.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// One file of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeEntry {
    /// POSIX path relative to the tree's root.
    pub path: String,
    /// The owner's executable bit.
    pub executable: bool,
    /// Size in bytes.
    pub size: u64,
    /// Digest of the content.
    pub digest: Digest,
}

/// Files sorted by the bytes of their paths. The digest covers path, executable bit and
/// content, and nothing else: it is the content digest of an archive of these files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    entries: Vec<TreeEntry>,
    digest: Digest,
}

impl Tree {
    /// Sorts the entries and takes their digest. Paths must be distinct.
    pub fn new(mut entries: Vec<TreeEntry>) -> Self {
        entries.sort_by(|a, b| a.path.as_bytes().cmp(b.path.as_bytes()));
        let digest = tree_digest(
            entries
                .iter()
                .map(|e| (e.path.as_str(), e.executable, e.size, e.digest)),
        );
        Self { entries, digest }
    }

    /// The entries, sorted.
    pub fn entries(&self) -> &[TreeEntry] {
        &self.entries
    }

    /// The digest of them all.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The entry at `path`.
    pub fn get(&self, path: &str) -> Option<&TreeEntry> {
        let found = self
            .entries
            .binary_search_by(|e| e.path.as_bytes().cmp(path.as_bytes()));
        found.ok().map(|at| &self.entries[at])
    }
}

/// The digest of entries (path, executable bit, size in bytes, content digest) that come sorted
/// by path.
pub fn tree_digest<'a>(entries: impl Iterator<Item = (&'a str, bool, u64, Digest)>) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"synapse.tree.v1");
    for (path, executable, size, digest) in entries {
        hasher.update(&(path.len() as u64).to_le_bytes());
        hasher.update(path.as_bytes());
        hasher.update(&[u8::from(executable)]);
        hasher.update(&size.to_le_bytes());
        hasher.update(digest.as_bytes());
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, executable: bool, text: &str) -> TreeEntry {
        let digest = Digest::of(text.as_bytes());
        TreeEntry {
            path: path.into(),
            executable,
            size: text.len() as u64,
            digest,
        }
    }

    #[test]
    fn golden_and_order() {
        let tree = Tree::new(vec![entry("b", false, "2"), entry("a", true, "1")]);
        assert_eq!(tree.entries()[0].path, "a");
        insta::assert_snapshot!(tree.digest().hex());
        assert_eq!(
            tree,
            Tree::new(vec![entry("a", true, "1"), entry("b", false, "2")])
        );
        assert_eq!(tree.get("b").map(|e| e.size), Some(1));
    }

    #[test]
    fn every_field_counts() {
        let base = Tree::new(vec![entry("a", false, "1")]).digest();
        for other in [
            entry("b", false, "1"),
            entry("a", true, "1"),
            entry("a", false, "2"),
        ] {
            assert_ne!(Tree::new(vec![other]).digest(), base);
        }
    }
}
