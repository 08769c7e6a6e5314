//! Owns [`Failure`]: why something did not work, as data. Text, colour and exit codes are the
//! command's business.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// Whose turn it is to mend a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The user's files or plugin.
    User,
    /// The command line.
    Usage,
    /// Network, disk, permissions, a remote that refused.
    Environment,
    /// A result's file is missing or damaged in the store; its producer must run again.
    MissingBlob,
    /// Python code raised; the traceback is in the message.
    Python,
    /// Work was asked to stop.
    Cancelled,
    /// Our own mistake.
    Bug,
}

/// A failure: what happened, where, and one hint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// Whose turn it is.
    pub kind: FailureKind,
    /// Stable name, `kebab-case`.
    pub code: String,
    /// What happened, one sentence without a full stop.
    pub message: String,
    /// Where: `file:line:column`, a path, or a target.
    pub place: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
    /// Further failures of the same attempt, such as the other mistakes in a file.
    #[serde(skip)]
    pub more: Vec<Failure>,
    /// The blob that is missing, for [`FailureKind::MissingBlob`].
    #[serde(skip)]
    pub blob: Option<Digest>,
    /// The line of the input that is meant, for people at the terminal alone.
    #[serde(skip)]
    pub excerpt: Option<Box<Excerpt>>,
}

/// A line of an input, with the place in it that is meant. It holds nothing that is secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt {
    /// The line's number, from 1.
    pub line: usize,
    /// Its text, or a part of it.
    pub text: String,
    /// Characters before the place that is meant.
    pub before: usize,
}

impl Failure {
    /// A failure of the given kind.
    pub fn new(kind: FailureKind, code: &str, message: impl Into<String>) -> Self {
        let (code, message) = (code.to_owned(), message.into());
        Self {
            kind,
            code,
            message,
            place: None,
            hint: None,
            more: Vec::new(),
            blob: None,
            excerpt: None,
        }
    }

    /// The user's input is at fault.
    pub fn user(code: &str, message: impl Into<String>) -> Self {
        Self::new(FailureKind::User, code, message)
    }

    /// The command line is at fault.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Usage, "usage", message)
    }

    /// The machine or a remote is at fault.
    pub fn environment(code: &str, message: impl Into<String>) -> Self {
        Self::new(FailureKind::Environment, code, message)
    }

    /// We are at fault.
    pub fn bug(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Bug, "internal", message)
    }

    /// A stage panicked; what it said.
    pub fn panicked(panic: &(dyn std::any::Any + Send)) -> Self {
        let said = panic.downcast_ref::<&str>().map(ToString::to_string);
        let said = said.or_else(|| panic.downcast_ref::<String>().cloned());
        Self::bug(said.unwrap_or_else(|| "a stage panicked".to_owned()))
    }

    /// Work was asked to stop.
    pub fn cancelled() -> Self {
        Self::new(FailureKind::Cancelled, "cancelled", "interrupted")
    }

    /// A blob of the store is missing or damaged.
    pub fn missing_blob(blob: Digest) -> Self {
        let message = format!("{} is missing or damaged in the store", blob.short());
        let failure = Self::new(FailureKind::MissingBlob, "missing-blob", message);
        Self {
            blob: Some(blob),
            ..failure
        }
    }

    /// Adds where it happened.
    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.place = Some(place.into());
        self
    }

    /// Adds what to do.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
