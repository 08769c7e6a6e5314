//! Owns [`Manifest`]: the one walk over a node's inputs, with its two implementers, the hasher
//! that makes the key and the recorder that explains it. Since both see the same walk, a key
//! and its explanation cannot drift apart.

use serde::{Deserialize, Serialize};

use crate::{
    digest::Digest,
    reason::DirtyReason,
    stable_hash::{StableHash, StableHasher},
    tree::{Tree, TreeEntry},
};

/// The digest of a node's manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key(pub Digest);

/// Files that an input stands for: a digest at once, the list only when someone asks why.
pub trait Files {
    /// Digest of the tree.
    fn digest(&self) -> Digest;
    /// The files themselves.
    fn load(&self) -> Vec<TreeEntry>;
}

impl Files for Tree {
    fn digest(&self) -> Digest {
        Tree::digest(self)
    }

    fn load(&self) -> Vec<TreeEntry> {
        self.entries().to_vec()
    }
}

/// The value of one input.
pub enum Input<'a> {
    /// A plain value that may be shown.
    Text(&'a str),
    /// A number.
    Number(u64),
    /// A switch.
    Flag(bool),
    /// A digest, such as a dependency's output.
    Digest(Digest),
    /// A set of files.
    Files(&'a dyn Files),
    /// A keyed hash of a value that must not be shown.
    Secret(Digest),
}

/// Receives every input of a node, in order, each named.
pub trait Manifest {
    /// One input.
    fn input(&mut self, name: &str, value: Input<'_>);
}

/// Makes the key.
#[derive(Debug)]
pub struct KeyHasher(StableHasher);

impl KeyHasher {
    /// A hasher of manifests.
    #[expect(
        clippy::new_without_default,
        reason = "an empty manifest is never wanted by accident"
    )]
    pub fn new() -> Self {
        Self(StableHasher::new("synapse.key.v1"))
    }

    /// The key of what was walked.
    pub fn finish(self) -> Key {
        Key(self.0.finish())
    }
}

impl Manifest for KeyHasher {
    fn input(&mut self, name: &str, value: Input<'_>) {
        name.stable_hash(&mut self.0);
        match value {
            Input::Text(text) => text.stable_hash(&mut self.0),
            Input::Number(number) => number.stable_hash(&mut self.0),
            Input::Flag(flag) => flag.stable_hash(&mut self.0),
            Input::Digest(digest) => digest.stable_hash(&mut self.0),
            Input::Files(files) => self.0.bytes(b't', files.digest().as_bytes()),
            Input::Secret(digest) => self.0.bytes(b'k', digest.as_bytes()),
        }
    }
}

/// A recorded input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recorded {
    /// See [`Input::Text`].
    Text(String),
    /// See [`Input::Number`].
    Number(u64),
    /// See [`Input::Flag`].
    Flag(bool),
    /// See [`Input::Digest`].
    Digest(Digest),
    /// See [`Input::Files`].
    Files(Vec<TreeEntry>),
    /// See [`Input::Secret`].
    Secret(Digest),
}

impl Recorded {
    /// The value as people see it.
    pub fn shown(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Number(number) => number.to_string(),
            Self::Flag(flag) => flag.to_string(),
            Self::Digest(digest) => digest.short(),
            Self::Files(files) => format!("{} files", files.len()),
            Self::Secret(_) => "(secret)".to_owned(),
        }
    }
}

/// A manifest kept for explanations: every input, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record(pub Vec<(String, Recorded)>);

impl Manifest for Record {
    fn input(&mut self, name: &str, value: Input<'_>) {
        let value = match value {
            Input::Text(text) => Recorded::Text(text.to_owned()),
            Input::Number(number) => Recorded::Number(number),
            Input::Flag(flag) => Recorded::Flag(flag),
            Input::Digest(digest) => Recorded::Digest(digest),
            Input::Files(files) => Recorded::Files(files.load()),
            Input::Secret(digest) => Recorded::Secret(digest),
        };
        self.0.push((name.to_owned(), value));
    }
}

impl Record {
    fn get(&self, name: &str) -> Option<&Recorded> {
        self.0
            .iter()
            .find(|(own, _)| own == name)
            .map(|(_, value)| value)
    }

    /// What differs from `old` to `self`, in the order of the manifest.
    pub fn differences(&self, old: &Self) -> Vec<DirtyReason> {
        let mut reasons = Vec::new();
        for (name, new) in &self.0 {
            match (old.get(name), new) {
                (Some(old), new) if old == new => {}
                (Some(Recorded::Files(old)), Recorded::Files(new)) => {
                    file_differences(old, new, &mut reasons);
                }
                (Some(Recorded::Secret(_)), Recorded::Secret(_)) | (None, Recorded::Secret(_)) => {
                    reasons.push(DirtyReason::SecretChanged { name: name.clone() });
                }
                (Some(old), new) if name == "rule version" => {
                    let (old, new) = (old.shown(), new.shown());
                    reasons.push(DirtyReason::RuleChanged { old, new });
                }
                (old, new) => reasons.push(DirtyReason::InputChanged {
                    name: name.clone(),
                    old: old.map(Recorded::shown),
                    new: Some(new.shown()),
                }),
            }
        }
        for (name, value) in &old.0 {
            if self.get(name).is_none() {
                let old = Some(value.shown());
                reasons.push(DirtyReason::InputChanged {
                    name: name.clone(),
                    old,
                    new: None,
                });
            }
        }
        reasons
    }
}

fn file_differences(old: &[TreeEntry], new: &[TreeEntry], reasons: &mut Vec<DirtyReason>) {
    let (mut left, mut right) = (old.iter().peekable(), new.iter().peekable());
    loop {
        let order = match (left.peek(), right.peek()) {
            (None, None) => return,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(a), Some(b)) => a.path.as_bytes().cmp(b.path.as_bytes()),
        };
        if order.is_lt() {
            reasons.extend(left.next().map(|e| DirtyReason::FileRemoved {
                path: e.path.clone(),
            }));
            continue;
        }
        if order.is_gt() {
            reasons.extend(right.next().map(|e| DirtyReason::FileAdded {
                path: e.path.clone(),
            }));
            continue;
        }
        let (Some(a), Some(b)) = (left.next(), right.next()) else {
            return;
        };
        if a.digest != b.digest {
            let (old, new) = (a.digest.short(), b.digest.short());
            reasons.push(DirtyReason::FileChanged {
                path: b.path.clone(),
                old,
                new,
            });
        }
        if a.executable != b.executable {
            let (path, executable) = (b.path.clone(), b.executable);
            reasons.push(DirtyReason::ModeChanged { path, executable });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str, bool)]) -> Tree {
        let entry = |(path, text, executable): &(&str, &str, bool)| TreeEntry {
            path: (*path).into(),
            executable: *executable,
            size: text.len() as u64,
            digest: Digest::of(text.as_bytes()),
        };
        Tree::new(files.iter().map(entry).collect())
    }

    fn walk(out: &mut dyn Manifest, level: u64, files: &Tree, name: &str) {
        out.input("level", Input::Number(level));
        out.input("files", Input::Files(files));
        out.input("name", Input::Text(name));
        out.input("debug", Input::Flag(false));
        out.input("token", Input::Secret(Digest::of(name.as_bytes())));
    }

    #[test]
    fn hash_and_explanation_agree() {
        let base = tree(&[("a", "1", false), ("b", "2", false), ("c", "3", false)]);
        let edited = tree(&[("a", "1", true), ("b", "9", false), ("d", "3", false)]);
        let cases = [
            (6, &base, "x"),
            (9, &base, "x"),
            (6, &edited, "x"),
            (6, &base, "y"),
        ]
        .map(|(l, t, n)| {
            let (mut hasher, mut record) = (KeyHasher::new(), Record::default());
            walk(&mut hasher, l, t, n);
            walk(&mut record, l, t, n);
            (hasher.finish(), record)
        });
        let mut shown = Vec::new();
        for (key, record) in &cases {
            let reasons = record.differences(&cases[0].1);
            assert_eq!(*key == cases[0].0, reasons.is_empty());
            shown.push(reasons.iter().map(ToString::to_string).collect::<Vec<_>>());
        }
        insta::assert_debug_snapshot!(shown);
    }
}
