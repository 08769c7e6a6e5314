//! Owns the report of a run: where every node ended, and why.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    failure::Failure,
    graph::NodeId,
    manifest::Key,
    outcome::Outcome,
    plan::{Decision, Planned},
};

/// Where a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// Nobody needs it.
    Idle,
    /// Its dependencies are not done.
    Waiting,
    /// It can start.
    Ready,
    /// It is at work.
    Running,
    /// Its result is known.
    Done,
    /// It failed.
    Failed,
    /// One before it failed.
    Skipped,
    /// Work was asked to stop first.
    Cancelled,
}

/// What became of one node.
#[derive(Debug, Clone)]
pub struct NodeReport {
    /// Where it ended.
    pub state: NodeState,
    /// Its key, when it got one.
    pub key: Option<Key>,
    /// What was decided, with reasons.
    pub decision: Decision,
    /// Its result.
    pub outcome: Option<Arc<Outcome>>,
    /// How long it ran, milliseconds.
    pub ms: u64,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// Another process made the result while this one waited.
    pub shared: bool,
}

impl NodeReport {
    /// A node as it was planned, before anything ran.
    pub fn planned(planned: &Planned, state: NodeState) -> Self {
        Self {
            state,
            key: planned.key,
            decision: planned.decision.clone(),
            outcome: planned.outcome.clone(),
            ms: 0,
            failure: planned.failure.clone(),
            shared: false,
        }
    }
}

/// What became of a run.
#[derive(Debug)]
pub struct Report {
    pub(crate) nodes: Vec<NodeReport>,
}

impl Report {
    /// What became of a node.
    pub fn get(&self, id: NodeId) -> &NodeReport {
        &self.nodes[id.index()]
    }

    /// Nodes that ran to a result.
    pub fn ran(&self) -> usize {
        let ran = |node: &&NodeReport| {
            node.state == NodeState::Done
                && matches!(node.decision, Decision::Run(_))
                && !node.shared
        };
        self.nodes.iter().filter(ran).count()
    }

    /// Nodes whose result was found.
    pub fn hits(&self) -> usize {
        let hit = |node: &&NodeReport| {
            node.state == NodeState::Done && (node.decision.is_known() || node.shared)
        };
        self.nodes.iter().filter(hit).count()
    }
}
