//! Owns [`Seen`]: what one subject of a watch looked like, and how it differs from before, in the
//! engine's own words.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use synapse_engine::{Digest, DirtyReason, Failure, TreeEntry};

use crate::fileset::read_regular;

/// A file as it counts: its digest and executable bit.
pub(super) type Files = BTreeMap<String, (Digest, bool)>;

/// What a subject looked like.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// Its files by path, as they are told.
    pub(super) files: Files,
    /// Why it could not be loaded.
    pub(super) failure: Option<Failure>,
    /// Its folders, whole paths.
    pub(super) folders: BTreeSet<PathBuf>,
    /// Its code, with its variant; or the name of a library.
    pub(super) subject: Option<String>,
    /// The names of what it requires.
    pub(super) needs: Vec<String>,
}

impl Seen {
    /// How `self` differs from `before`: nothing when it is the same, also when it fails in the
    /// same way. Of one that failed before or fails now, reasons can be missing.
    pub(super) fn since(&self, before: &Self) -> Option<Vec<DirtyReason>> {
        let told = |failure: &Option<Failure>| {
            failure.as_ref().map(|failure| {
                let first = (failure.code.clone(), failure.message.clone());
                (first, failure.place.clone(), failure.more.len())
            })
        };
        let reasons = differences(&before.files, &self.files);
        match (told(&before.failure), told(&self.failure)) {
            (None, None) => (!reasons.is_empty()).then_some(reasons),
            (Some(old), Some(new)) if old == new => None,
            _ => Some(reasons),
        }
    }
}

/// What differs, file by file.
fn differences(before: &Files, now: &Files) -> Vec<DirtyReason> {
    let mut reasons = Vec::new();
    for path in before.keys().chain(now.keys()).collect::<BTreeSet<_>>() {
        let own = path.clone();
        reasons.extend(match (before.get(path), now.get(path)) {
            (Some((old, _)), Some((new, _))) if old != new => Some(DirtyReason::FileChanged {
                path: own,
                old: old.short(),
                new: new.short(),
            }),
            (Some((_, old)), Some((_, new))) if old != new => Some(DirtyReason::ModeChanged {
                path: own,
                executable: *new,
            }),
            (None, Some(_)) => Some(DirtyReason::FileAdded { path: own }),
            (Some(_), None) => Some(DirtyReason::FileRemoved { path: own }),
            _ => None,
        });
    }
    reasons
}

/// Entries as they count, each under `prefix`.
pub(super) fn entries(prefix: &str, entries: Vec<TreeEntry>) -> Files {
    let named = |entry: TreeEntry| (prefix.to_owned() + &entry.path, entry);
    let counted = |(path, entry): (String, TreeEntry)| (path, (entry.digest, entry.executable));
    entries.into_iter().map(named).map(counted).collect()
}

/// A single file under the name `shown`; nothing where there is none.
pub(super) fn single(path: &Path, shown: &str) -> Files {
    let bytes = read_regular(path).ok();
    let entry = bytes.map(|bytes| (shown.to_owned(), (Digest::of(&bytes), false)));
    entry.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(files: &[(&str, &str, bool)], failure: Option<&str>) -> Seen {
        let file = |(path, text, mode): &(&str, &str, bool)| {
            ((*path).to_owned(), (Digest::of(text.as_bytes()), *mode))
        };
        Seen {
            files: files.iter().map(file).collect(),
            failure: failure.map(|what| Failure::user("config", what)),
            ..Seen::default()
        }
    }

    fn words(now: &Seen, before: &Seen) -> Option<Vec<String>> {
        let reasons = now.since(before)?;
        Some(reasons.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn what_differs_is_told_in_the_words_of_the_engine() {
        let before = seen(
            &[("a", "1", false), ("b", "2", false), ("c", "3", false)],
            None,
        );
        let now = seen(
            &[("b", "2", true), ("c", "4", false), ("d", "5", false)],
            None,
        );
        let (old, new) = (Digest::of(b"3").short(), Digest::of(b"4").short());
        assert_eq!(
            words(&now, &before).unwrap(),
            [
                "a was removed".to_owned(),
                "b became executable".to_owned(),
                format!("c changed ({old} to {new})"),
                "d was added".to_owned(),
            ]
        );
        assert_eq!(now.since(&now), None, "touched, but the same");
    }

    #[test]
    fn a_failure_counts_when_it_comes_changes_or_goes() {
        let good = seen(&[("a", "1", false)], None);
        let bad = seen(&[("a", "2", false)], Some("no code"));
        let other = seen(&[("a", "3", false)], Some("no version"));
        assert!(bad.since(&good).is_some());
        assert!(other.since(&bad).is_some());
        assert!(good.since(&bad).is_some());
        let still = seen(&[("a", "9", false)], Some("no code"));
        assert_eq!(still.since(&bad), None, "nothing new to tell");
        // Broken by a thing that is no file of it, and mended.
        let link = seen(&[("a", "1", false)], Some("a link leads out"));
        assert_eq!(link.since(&good), Some(Vec::new()));
        assert_eq!(good.since(&link), Some(Vec::new()));
    }
}
