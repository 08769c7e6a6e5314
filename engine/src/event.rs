//! Owns [`Event`]: everything the engine has to say while it works. Progress, tests, traces and
//! consoles all read this one stream.

use serde::{Deserialize, Serialize};

use crate::{failure::Failure, graph::Graph, plan::Plan, reason::DirtyReason};

/// Names a node to people and programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// The stage, such as `archive`.
    pub stage: String,
    /// What it is about, such as a plugin's code.
    pub subject: String,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A plan is made.
    Planned {
        /// Nodes whose result is known.
        hit: u64,
        /// Nodes that will run.
        run: u64,
        /// Nodes that depend on what others will make.
        unknown: u64,
    },
    /// A node began.
    Started {
        /// Which.
        node: Label,
        /// Why.
        reasons: Vec<DirtyReason>,
    },
    /// A node waits for another process that runs the same one.
    Waiting {
        /// Which.
        node: Label,
        /// The other process, when it is known.
        pid: Option<u32>,
    },
    /// A node got on.
    Progress {
        /// Which.
        node: Label,
        /// Bytes done.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// What a node does now, or what it waits for.
    Doing {
        /// Which.
        node: Label,
        /// In a few words, such as `installing 12 packages`.
        what: String,
    },
    /// A node has its result.
    Finished {
        /// Which.
        node: Label,
        /// It ran; otherwise its result was found.
        ran: bool,
        /// How long it took, milliseconds.
        ms: u64,
    },
    /// A node failed.
    Failed {
        /// Which.
        node: Label,
        /// Why.
        failure: Failure,
    },
    /// A node was not tried, since one before it failed.
    Skipped {
        /// Which.
        node: Label,
    },
    /// Results became durable.
    Committed {
        /// How many.
        results: u64,
    },
    /// Something to tell the user that stops nothing.
    Note {
        /// One sentence.
        message: String,
    },
}

/// Receives events, from any thread.
pub trait EventSink: Send + Sync {
    /// One event.
    fn event(&self, event: Event);

    /// A plan was made of a graph: for who draws it, or looks for what a run waited for.
    fn planned(&self, graph: &Graph, plan: &Plan) {
        let _ = (graph, plan);
    }
}

/// Drops every event.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silence;

impl EventSink for Silence {
    fn event(&self, _event: Event) {}
}

/// Keeps every event, for tests.
#[derive(Debug, Default)]
pub struct EventLog(std::sync::Mutex<Vec<Event>>);

impl EventLog {
    /// What was received so far.
    pub fn events(&self) -> Vec<Event> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }
}

impl EventSink for EventLog {
    fn event(&self, event: Event) {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .push(event);
    }
}
