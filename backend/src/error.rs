//! Owns [`BackendError`]: what can go wrong in the backend's folder, in plain words.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;
use synapse_rules::client::ClientError;

/// Why the backend could not do something.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// A file or folder could not be used.
    #[error("cannot {doing} {}: {}", path.display(), plain(cause))]
    Io {
        /// What was being done, as a verb.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The database could not be used.
    #[error("cannot {doing} the backend's database: {reason}")]
    Database {
        /// What was being done, as a verb.
        doing: &'static str,
        /// Why it failed.
        reason: String,
    },
    /// The database was written by a later release of this program.
    #[error(
        "the backend's database {} has schema {found}, written by a newer synapse; \
         this one knows schemas up to {known}", path.display()
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The latest schema that this program knows.
        known: i64,
    },
    /// There is a database of something else where ours should be.
    #[error("{} is not a database of synapse", path.display())]
    Foreign {
        /// The database.
        path: PathBuf,
    },
    /// No release has this id.
    #[error("there is no release {0}")]
    NoRelease(String),
    /// No dataset has this id.
    #[error("there is no dataset {0}")]
    NoDataset(i64),
    /// No item of a dataset has this id.
    #[error("there is no dataset item {0}")]
    NoItem(i64),
    /// No model has this id.
    #[error("there is no model {0}")]
    NoModel(i64),
    /// No run has this id.
    #[error("there is no run {0}")]
    NoRun(i64),
    /// No application has this id.
    #[error("there is no application {0}")]
    NoApplication(i64),
    /// No token has this number.
    #[error("there is no token {0}")]
    NoToken(i64),
    /// No upload has this id.
    #[error("there is no upload {0}")]
    NoUpload(String),
    /// Something that was named is not there; what there is instead.
    #[error("{0}")]
    Missing(String),
    /// A name was used for something else.
    #[error("{0}")]
    Taken(String),
    /// Nothing more can wait.
    #[error("{0}")]
    Full(String),
    /// What was sent cannot be taken.
    #[error("{0}")]
    Refused(String),
    /// A chunk does not begin where the upload stands.
    #[error("the upload stands at byte {reached}; send on from there")]
    Offset {
        /// Bytes that are there.
        reached: u64,
    },
    /// An upload's bytes are not those that were announced.
    #[error("the upload has md5 {actual}, not {expected}")]
    Checksum {
        /// Announced.
        expected: String,
        /// Of what arrived.
        actual: String,
    },
    /// Another chunk of the same upload is being taken.
    #[error("another chunk of this upload is being taken")]
    Busy,
    /// A file of a dataset is not what it was when the dataset was added.
    #[error("{0} changed since it was added; add it again with --replace")]
    Changed(String),
    /// The server could not listen.
    #[error("cannot listen on {address}: {}", plain(cause))]
    Listen {
        /// Where.
        address: std::net::SocketAddr,
        /// What the system said.
        cause: io::Error,
    },
}

impl BackendError {
    /// What to do about it, when there is one thing to do.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Newer { .. } => Some("upgrade synapse, or give it another data folder"),
            Self::Listen { cause, .. } if cause.kind() == io::ErrorKind::AddrInUse => {
                Some("another program uses that port; without --port a free one is chosen")
            }
            Self::Foreign { .. } => Some("move that file away, or give synapse another folder"),
            Self::Io { cause, .. } => match cause.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    Some("free some space, then try again")
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether it is the asker's mistake: something that is not there, or cannot be taken.
    pub fn is_refusal(&self) -> bool {
        !matches!(
            self,
            Self::Io { .. }
                | Self::Database { .. }
                | Self::Newer { .. }
                | Self::Foreign { .. }
                | Self::Listen { .. }
        )
    }

    pub(crate) fn io(doing: &'static str, path: &Path, cause: io::Error) -> Self {
        Self::Io {
            doing,
            path: path.to_owned(),
            cause,
        }
    }

    /// For `map_err` on what rusqlite returns.
    pub(crate) fn database(doing: &'static str) -> impl Fn(rusqlite::Error) -> Self {
        move |error| Self::Database {
            doing,
            reason: plain_sql(&error),
        }
    }

    /// For `map_err` on what a hook returns before a step of the database.
    pub(crate) fn stopped(doing: &'static str) -> impl Fn(io::Error) -> Self {
        move |error| Self::Database {
            doing,
            reason: plain(&error),
        }
    }
}

/// All of these are known to have left nothing behind that counts. The one case in which that is
/// not known, a commit that failed half way, is told apart where it happens.
impl From<BackendError> for ClientError {
    fn from(error: BackendError) -> Self {
        match error.hint() {
            Some(hint) => Self::Unavailable(format!("{error}; {hint}")),
            None => Self::Unavailable(error.to_string()),
        }
    }
}

/// The system's errors that people meet, without error numbers.
pub(crate) fn plain(error: &io::Error) -> String {
    use io::ErrorKind as Kind;
    let text = match error.kind() {
        Kind::StorageFull => "the disk is full",
        Kind::QuotaExceeded => "the disk quota is used up",
        Kind::PermissionDenied => "permission denied",
        Kind::ReadOnlyFilesystem => "the disk is mounted read-only",
        Kind::NotFound => "it does not exist",
        Kind::NotADirectory => "part of its path is not a folder",
        Kind::AddrInUse => "the port is in use",
        Kind::FileTooLarge => "the file is too large for the disk",
        _ => return error.to_string(),
    };
    text.to_owned()
}

/// The same for the database.
pub(crate) fn plain_sql(error: &rusqlite::Error) -> String {
    let text = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another process was using it for too long"
        }
        Some(ErrorCode::DiskFull) => "the disk is full",
        Some(ErrorCode::ReadOnly) => "it cannot be written to",
        Some(ErrorCode::PermissionDenied) => "permission denied",
        Some(ErrorCode::CannotOpen) => "it or its folder cannot be opened",
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => "it is damaged",
        _ => return error.to_string(),
    };
    text.to_owned()
}
