//! Owns [`Node`], the one trait that rules implement, and what a running node may use.

use std::sync::{Arc, Mutex, PoisonError};

use tempfile::NamedTempFile;

use crate::{
    cancel::Cancel,
    digest::Digest,
    event::{Event, EventSink, Label},
    failure::Failure,
    manifest::Manifest,
    outcome::Outcome,
    reason::DirtyReason,
    store::{Blob, Store, StoreError, Stream},
};

/// How one kind of stage works: its name and the version of its behaviour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Its name, part of every key.
    pub name: &'static str,
    /// Raised whenever the same inputs would give another output, part of every key.
    pub version: u32,
}

/// What a node keeps busy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Processors.
    Cpu,
    /// Network or child processes.
    Io,
}

/// A dependency's output is not known yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending;

/// The outcomes of a node's dependencies, in the order in which they were declared.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a>(pub(crate) &'a [Option<Arc<Outcome>>]);

impl<'a> Inputs<'a> {
    /// Of a node that depends on nothing.
    pub fn none() -> Self {
        Self(&[])
    }

    /// The outcome of the `index`th dependency.
    pub fn get(&self, index: usize) -> Result<&'a Outcome, Pending> {
        self.0.get(index).and_then(Option::as_deref).ok_or(Pending)
    }

    /// Digest of a named output of the `index`th dependency.
    pub fn output(&self, index: usize, name: &str) -> Result<Digest, Pending> {
        self.get(index)?
            .outputs
            .get(name)
            .map(crate::outcome::Output::digest)
            .ok_or(Pending)
    }
}

/// What a look at the outside says before anything is done for a node.
#[derive(Debug)]
pub enum Probe {
    /// It must run.
    Run(Vec<DirtyReason>),
    /// The effect is there already; this is its receipt.
    Satisfied(Outcome),
}

/// One rule applied to one subject.
pub trait Node: Send + Sync {
    /// The rule.
    fn rule(&self) -> Rule;

    /// The stage and subject, for people and for history.
    fn label(&self) -> Label;

    /// What it keeps busy.
    fn lane(&self) -> Lane {
        Lane::Cpu
    }

    /// Walks all inputs, in order. The engine adds the rule itself.
    fn manifest(&self, inputs: Inputs<'_>, out: &mut dyn Manifest) -> Result<(), Pending>;

    /// Whether deciding about this node takes a question across a network. `known` is the outcome
    /// that the store has. Questions are asked by [`Node::ask`], many at a time, before the plan
    /// is decided.
    fn asks(&self, known: Option<&Outcome>) -> bool {
        let _ = known;
        false
    }

    /// Asks what [`Node::probe`] and [`Node::current`] will want to know, and remembers the
    /// answer. What goes wrong shows there. Must change nothing.
    fn ask(&self) {}

    /// For effects without a receipt: looks at the target before any work is done. An error
    /// refuses the node. Must change nothing.
    fn probe(&self) -> Result<Probe, Failure> {
        Ok(Probe::Run(Vec::new()))
    }

    /// For [`crate::Cacheability::Recheck`] and `Local`: whether a stored outcome still holds.
    fn current(&self, outcome: &Outcome) -> Result<bool, Failure> {
        let _ = outcome;
        Ok(true)
    }

    /// Whether a hit's files are where the user wants them; if not, they are restored.
    fn present(&self, outcome: &Outcome) -> bool {
        let _ = outcome;
        true
    }

    /// Brings a hit's files back.
    fn restore(&self, context: &Context<'_>, outcome: &Outcome) -> Result<(), Failure> {
        let _ = (context, outcome);
        Ok(())
    }

    /// Does the work. Nothing of a failure is kept.
    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure>;
}

/// What a running node may use.
pub struct Context<'a> {
    pub(crate) inputs: &'a [Option<Arc<Outcome>>],
    pub(crate) store: &'a dyn Store,
    pub(crate) cancel: &'a Cancel,
    pub(crate) events: &'a dyn EventSink,
    pub(crate) label: Label,
    pub(crate) streams: Mutex<Vec<(String, Digest, Stream)>>,
}

impl Context<'_> {
    /// The outcome of the `index`th dependency. It has one, or this node would not run.
    pub fn input(&self, index: usize) -> Result<&Outcome, Failure> {
        let missing = || Failure::bug(format!("{} runs before its inputs", self.label.stage));
        self.inputs
            .get(index)
            .and_then(Option::as_deref)
            .ok_or_else(missing)
    }

    /// The store, for reading.
    pub fn store(&self) -> &dyn Store {
        self.store
    }

    /// Opens a blob; when it is not there or of another size, its producer runs again.
    pub fn blob(&self, blob: &Digest, size: u64) -> Result<Blob, Failure> {
        match self.store.open_blob(blob) {
            Ok(Some(open)) if open.size == size => Ok(open),
            Ok(_) => Err(Failure::missing_blob(*blob)),
            Err(error) => Err(store_failure(&error)),
        }
    }

    /// A temporary file on the store's filesystem, to become a blob.
    pub fn writer(&self) -> Result<NamedTempFile, Failure> {
        self.store.writer().map_err(|error| store_failure(&error))
    }

    /// Puts a written file into the store under the digest of its bytes.
    pub fn place(&self, file: NamedTempFile, blob: &Digest, size: u64) -> Result<(), Failure> {
        self.store
            .place(file, blob, size)
            .map_err(|error| store_failure(&error))
    }

    /// Notes streams inside the blobs of this node's outcome, for later nodes.
    pub fn keep_streams(&self, codec: &str, streams: impl Iterator<Item = (Digest, Stream)>) {
        let named = streams.map(|(content, stream)| (codec.to_owned(), content, stream));
        self.streams
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(named);
    }

    /// Whether to stop early.
    pub fn cancel(&self) -> &Cancel {
        self.cancel
    }

    /// Tells what it does now, or what it waits for, in a few words.
    pub fn doing(&self, what: impl Into<String>) {
        self.events.event(Event::Doing {
            node: self.label.clone(),
            what: what.into(),
        });
    }

    /// Tells how far it got, in bytes.
    pub fn progress(&self, done: u64, total: u64) {
        self.events.event(Event::Progress {
            node: self.label.clone(),
            done,
            total,
        });
    }
}

/// A store's refusal as a failure.
pub fn store_failure(error: &StoreError) -> Failure {
    let failure = Failure::environment("store", error.to_string());
    match error {
        StoreError::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
            failure.hint("free some disk space, or run `synapse cache gc`, then run it again")
        }
        StoreError::Io { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
            failure.hint("check the permissions of the folder, or set SYNAPSE_STORE to another")
        }
        StoreError::Database(what) if what.contains("full") => {
            failure.hint("free some disk space, then run it again")
        }
        StoreError::Database(what)
            if what.contains("readonly") || what.contains("unable to open") =>
        {
            failure.hint("check the permissions of the folder, or set SYNAPSE_STORE to another")
        }
        StoreError::Database(_) => failure.hint("run `synapse cache check --repair`"),
        StoreError::TooNew { .. } => failure.hint("use that release, or run `synapse cache clear`"),
        StoreError::Busy(_) => failure.hint("try again when it is done"),
        StoreError::Io { .. } => failure,
    }
}
