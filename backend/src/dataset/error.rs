//! Owns [`DatasetError`]: why a folder cannot be a dataset.

use std::io;
use std::path::PathBuf;

use super::layout::FORMATS;
use crate::error::{BackendError, plain};

/// Why a folder cannot be added.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// There is no such folder, or it is none.
    #[error("{} cannot be added: {}", path.display(), plain(cause))]
    Folder {
        /// What was given.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// There is a file where a folder should be.
    #[error("{} is not a folder", .0.display())]
    NotAFolder(PathBuf),
    /// The folder has no files.
    #[error("{} has no files", .0.display())]
    Empty(PathBuf),
    /// A file or folder in it cannot be read.
    #[error("cannot read {}: {}", path.display(), plain(cause))]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// A symbolic link leads out of the folder.
    #[error("{} is a link that leads out of the folder, to {}", path.display(), target.display())]
    Outside {
        /// The link.
        path: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
    /// A symbolic link leads nowhere, or back to a folder that it is in.
    #[error("{} is a link that leads {}", path.display(), if *.is_loop { "back to where it is" } else { "nowhere" })]
    Link {
        /// The link.
        path: PathBuf,
        /// It leads back.
        is_loop: bool,
    },
    /// It is neither file nor folder.
    #[error("{} is neither a file nor a folder", .0.display())]
    Special(PathBuf),
    /// A name is not UTF-8.
    #[error("the name of {} is not UTF-8", .0.display())]
    NotText(PathBuf),
    /// A file changes while it is read.
    #[error("{} changed while it was being read", .0.display())]
    Restless(PathBuf),
    /// A name that no dataset may have.
    #[error("{0:?} cannot be the name of a dataset")]
    Name(String),
    /// An id that no dataset may have.
    #[error("{0} cannot be the id of a dataset")]
    Id(i64),
    /// A format that there is not.
    #[error("{0:?} is no known format of datasets")]
    Format(String),
    /// A split that nothing can be called.
    #[error("{0:?} cannot be the name of a split")]
    SplitName(String),
    /// A pattern that cannot be read.
    #[error("the pattern {pattern:?} of split {split} cannot be read: {why}")]
    Pattern {
        /// The split.
        split: String,
        /// Its pattern.
        pattern: String,
        /// What is wrong.
        why: String,
    },
    /// A split without files.
    #[error("no file matches {pattern:?} of split {split}")]
    NoMatch {
        /// The split.
        split: String,
        /// Its pattern.
        pattern: String,
    },
    /// A file in more than one split.
    #[error("{path} is in two splits, {first} and {second}")]
    TwoSplits {
        /// The file, in the folder.
        path: String,
        /// One of the splits.
        first: String,
        /// The other.
        second: String,
    },
    /// The id or name belongs to another dataset.
    #[error("dataset {id} (`{name}`) is there already, with {what}")]
    Taken {
        /// Its id.
        id: i64,
        /// Its name.
        name: String,
        /// In what it differs.
        what: &'static str,
    },
    /// The name belongs to a dataset with another id.
    #[error("dataset {id} is called `{name}` already")]
    NameTaken {
        /// Its name.
        name: String,
        /// Its id.
        id: i64,
    },
    /// Asked to stop.
    #[error("interrupted")]
    Cancelled,
    /// The backend failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

impl DatasetError {
    /// Stable name, `kebab-case`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Folder { .. } | Self::NotAFolder(_) => "dataset-folder",
            Self::Empty(_) => "dataset-empty",
            Self::Unreadable { .. } => "dataset-unreadable",
            Self::Outside { .. } | Self::Link { .. } => "dataset-link",
            Self::Special(_) | Self::NotText(_) => "dataset-file",
            Self::Restless(_) => "dataset-restless",
            Self::Name(_) | Self::Id(_) | Self::Format(_) => "dataset-name",
            Self::SplitName(_)
            | Self::Pattern { .. }
            | Self::NoMatch { .. }
            | Self::TwoSplits { .. } => "dataset-split",
            Self::Taken { .. } | Self::NameTaken { .. } => "dataset-taken",
            Self::Cancelled => "cancelled",
            Self::Backend(_) => "backend",
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Folder { .. } | Self::NotAFolder(_) => "give the folder that holds the files",
            Self::Empty(_) => "put the files of the dataset into it first",
            Self::Unreadable { .. } => "make it readable, or take it out of the folder",
            Self::Outside { .. } => "copy what it leads to into the folder, or remove the link",
            Self::Link { .. } => "remove the link",
            Self::Special(_) => "take it out of the folder",
            Self::NotText(_) => "rename it",
            Self::Restless(_) => "try again when nothing writes to it",
            Self::Name(_) => "use letters and more; a number alone would be taken for an id",
            Self::Id(_) => "ids are 1 and up",
            Self::Format(_) => return Some(format!("known are {}", FORMATS.join(", "))),
            Self::SplitName(_) => "use letters, digits, -, _ and .",
            Self::Pattern { .. } => {
                "give a folder like images/train, or a glob like images/train/*.jpg"
            }
            Self::NoMatch { .. } => {
                "patterns are relative to the folder: images/train, or images/train/*.jpg"
            }
            Self::TwoSplits { .. } => "make the patterns narrower, so that no file is in both",
            Self::Taken { id, what, .. } => {
                let what = what.split(' ').next_back().unwrap_or(what);
                return Some(format!(
                    "--id {id} --replace gives it this {what}; another --name or --id keeps both"
                ));
            }
            Self::NameTaken { id, .. } => {
                return Some(format!("choose another --name, or --id {id}"));
            }
            Self::Cancelled => return None,
            Self::Backend(error) => return error.hint().map(str::to_owned),
        };
        Some(hint.to_owned())
    }
}
