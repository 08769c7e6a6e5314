//! Owns [`DirtyReason`]: why a node runs, naming the input that changed, old and new.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a node is not a hit. One sentence each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum DirtyReason {
    /// No earlier run of this stage for this subject is known.
    FirstRun,
    /// The rule's own version changed.
    RuleChanged {
        /// Before.
        old: String,
        /// Now.
        new: String,
    },
    /// A named input has another value.
    InputChanged {
        /// The input's name.
        name: String,
        /// Before, none if it is new.
        old: Option<String>,
        /// Now, none if it is gone.
        new: Option<String>,
    },
    /// A secret input changed; its value is never shown.
    SecretChanged {
        /// The input's name.
        name: String,
    },
    /// A file came.
    FileAdded {
        /// Its path in the subject.
        path: String,
    },
    /// A file went.
    FileRemoved {
        /// Its path in the subject.
        path: String,
    },
    /// A file's content changed.
    FileChanged {
        /// Its path in the subject.
        path: String,
        /// Digest before, shortened.
        old: String,
        /// Digest now, shortened.
        new: String,
    },
    /// A file's executable bit changed.
    ModeChanged {
        /// Its path in the subject.
        path: String,
        /// Whether it is executable now.
        executable: bool,
    },
    /// Nothing changed, but the stored result was collected or cleared.
    Forgotten,
    /// The result is known, but a file of it is missing or damaged in the store.
    BlobMissing {
        /// Digest of the blob, shortened.
        blob: String,
    },
    /// What an earlier effect made is no longer there.
    ReceiptGone {
        /// Which thing at which target.
        what: String,
    },
    /// The target does not have it yet.
    NotAtTarget {
        /// Which thing at which target.
        what: String,
    },
    /// It waits for a stage before it, whose output decides.
    Upstream {
        /// That stage.
        stage: String,
    },
}

/// A value as people read it: a digest by its beginning.
fn shown(value: &str) -> &str {
    let is_digest = value.len() == 64 && value.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_digest { &value[..10] } else { value }
}

impl fmt::Display for DirtyReason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FirstRun => write!(out, "it has not run before"),
            Self::RuleChanged { old, new } => {
                write!(out, "the rule changed from version {old} to {new}")
            }
            Self::InputChanged {
                name,
                old: Some(old),
                new: Some(new),
            } => {
                write!(out, "{name} changed from {} to {}", shown(old), shown(new))
            }
            Self::InputChanged {
                name,
                new: Some(new),
                ..
            } => write!(out, "{name} is new: {}", shown(new)),
            Self::InputChanged { name, .. } => write!(out, "{name} is gone"),
            Self::SecretChanged { name } => write!(out, "{name} changed"),
            Self::FileAdded { path } => write!(out, "{path} was added"),
            Self::FileRemoved { path } => write!(out, "{path} was removed"),
            Self::FileChanged { path, old, new } => {
                write!(out, "{path} changed ({old} to {new})")
            }
            Self::ModeChanged {
                path,
                executable: true,
            } => {
                write!(out, "{path} became executable")
            }
            Self::ModeChanged { path, .. } => write!(out, "{path} is no longer executable"),
            Self::Forgotten => write!(out, "its result is no longer in the store"),
            Self::BlobMissing { blob } => {
                write!(out, "its result {blob} is missing or damaged in the store")
            }
            Self::ReceiptGone { what } => write!(out, "{what} is no longer there"),
            Self::NotAtTarget { what } => write!(out, "{what} is not there yet"),
            Self::Upstream { stage } => write!(out, "it waits for {stage}"),
        }
    }
}

/// One line for people: the first reasons, and how many more there are.
pub fn summary(reasons: &[DirtyReason]) -> String {
    use fmt::Write;

    const SHOWN: usize = 2;
    let mut line = reasons
        .iter()
        .take(SHOWN)
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    if reasons.len() > SHOWN {
        let _ = write!(line, ", and {} more", reasons.len() - SHOWN);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_told_by_their_beginning_and_words_whole() {
        let changed = |old: &str, new: &str| {
            DirtyReason::InputChanged {
                name: "sdk".to_owned(),
                old: Some(old.to_owned()),
                new: Some(new.to_owned()),
            }
            .to_string()
        };
        let (one, two) = ("ab".repeat(32), "cd".repeat(32));
        assert_eq!(
            changed(&one, &two),
            "sdk changed from ababababab to cdcdcdcdcd"
        );
        assert_eq!(changed("3.10", "3.11"), "sdk changed from 3.10 to 3.11");
    }
}
