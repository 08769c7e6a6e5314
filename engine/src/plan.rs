//! Owns [`Plan`]: for every node, whether its result is known, must be made, or depends on what
//! others will make. Planning changes nothing, and `run` starts from the same plan.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use serde::{Deserialize, Serialize};

use crate::{
    cancel::Cancel,
    event::{Event, EventSink},
    failure::Failure,
    graph::{Graph, NodeId},
    manifest::{Input, Key, KeyHasher, Manifest, Record},
    node::{Inputs, Node, Pending, Probe, store_failure},
    outcome::{Cacheability, Outcome},
    reason::DirtyReason,
    store::{Row, Store, Subject},
};

/// What will happen to a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "decision", content = "reasons", rename_all = "snake_case")]
pub enum Decision {
    /// Its result is known.
    Hit,
    /// Its result is known and its files must be brought back.
    Restore,
    /// It runs.
    Run(Vec<DirtyReason>),
    /// What a dependency makes decides.
    Unknown,
}

impl Decision {
    /// Whether the result is known.
    pub fn is_known(&self) -> bool {
        matches!(self, Self::Hit | Self::Restore)
    }
}

/// One node's place in a plan.
#[derive(Debug, Clone)]
pub struct Planned {
    /// Its key, once all its inputs are known.
    pub key: Option<Key>,
    /// What will happen.
    pub decision: Decision,
    /// Its result, when known.
    pub outcome: Option<Arc<Outcome>>,
    /// Somebody needs it: it is last of its line, or feeds a node that runs.
    pub needed: bool,
    /// The effect was found at its target; the receipt is not stored yet.
    pub found: bool,
    /// It cannot be done.
    pub failure: Option<Failure>,
}

/// What everything of one run shares.
#[derive(Clone)]
pub struct Session {
    /// Where results are kept.
    pub store: Arc<dyn Store>,
    /// Who listens.
    pub events: Arc<dyn EventSink>,
    /// Asks all work to stop.
    pub cancel: Cancel,
    /// The workspace's name in history.
    pub scope: String,
    /// Unix seconds.
    pub clock: fn() -> i64,
    /// Nodes that may keep processors busy at once.
    pub jobs: usize,
    /// Nodes that may wait for the network at once.
    pub io_jobs: usize,
    /// Start nothing more after the first failure.
    pub fail_fast: bool,
    /// Look up every node, also those that only feed what is up to date.
    pub thorough: bool,
}

impl Session {
    pub(crate) fn subject(&self, node: &dyn Node) -> Subject {
        let label = node.label();
        Subject {
            scope: self.scope.clone(),
            stage: label.stage,
            name: label.subject,
        }
    }
}

/// A plan for every node of a graph.
pub struct Plan {
    pub(crate) nodes: Vec<Planned>,
}

impl Plan {
    /// A node's place in it.
    pub fn get(&self, id: NodeId) -> &Planned {
        &self.nodes[id.index()]
    }

    /// Leaves a node out of the run, whatever was decided for it.
    pub fn leave_out(&mut self, id: NodeId) {
        let planned = &mut self.nodes[id.index()];
        planned.needed = false;
        planned.failure = None;
    }
}

/// Walks a node's inputs, the rule itself first.
pub(crate) fn walk(
    node: &dyn Node,
    inputs: Inputs<'_>,
    out: &mut dyn Manifest,
) -> Result<(), Pending> {
    let rule = node.rule();
    out.input("rule", Input::Text(rule.name));
    out.input("rule version", Input::Number(u64::from(rule.version)));
    node.manifest(inputs, out)
}

/// A node's key, once its inputs are known.
pub(crate) fn key_of(node: &dyn Node, inputs: Inputs<'_>) -> Result<Key, Pending> {
    let mut hasher = KeyHasher::new();
    walk(node, inputs, &mut hasher)?;
    Ok(hasher.finish())
}

/// A node's manifest, recorded.
pub(crate) fn record_of(node: &dyn Node, inputs: Inputs<'_>) -> Record {
    let mut record = Record::default();
    // A record of inputs still unknown ends where they begin.
    let _ = walk(node, inputs, &mut record);
    record
}

/// Why a node that has no result runs: its manifest against the last one.
pub(crate) fn reasons_of(
    session: &Session,
    node: &dyn Node,
    inputs: Inputs<'_>,
) -> Result<Vec<DirtyReason>, Failure> {
    let past = session
        .store
        .history(&session.subject(node), 1)
        .map_err(|e| store_failure(&e))?;
    let Some(past) = past.first() else {
        return Ok(vec![DirtyReason::FirstRun]);
    };
    let reasons = record_of(node, inputs).differences(&past.record);
    Ok(if reasons.is_empty() {
        vec![DirtyReason::Forgotten]
    } else {
        reasons
    })
}

/// Plans every node. Asks the store and, for effects without a receipt, their targets.
pub fn plan(graph: &Graph, session: &Session) -> Result<Plan, Failure> {
    let blank = Planned {
        key: None,
        decision: Decision::Unknown,
        outcome: None,
        needed: false,
        found: false,
        failure: None,
    };
    let mut plan = Plan {
        nodes: vec![blank; graph.len()],
    };
    // Last things first: where those are known, nothing before them need be looked up.
    let is_last = |id: &NodeId| graph.dependents(*id).next().is_none();
    let last: Vec<NodeId> = graph.order().iter().copied().filter(is_last).collect();
    look_up(graph, session, &mut plan, &last)?;
    let wanted = wanted(graph, session, &plan, &last);
    for mut level in levels(graph) {
        level.retain(|id| wanted[id.index()] && plan.nodes[id.index()].key.is_none());
        look_up(graph, session, &mut plan, &level)?;
    }
    for id in graph.order().iter().rev() {
        if session.cancel.cancelled() {
            return Err(Failure::cancelled());
        }
        let last = graph.dependents(*id).next().is_none();
        let feeds = graph.dependents(*id).any(|other| {
            let other = &plan.nodes[other.index()];
            other.needed && other.failure.is_none() && !other.decision.is_known()
        });
        if last || feeds {
            settle(graph, session, &mut plan, *id, feeds)?;
        }
    }
    let count = |wanted: fn(&Decision) -> bool| {
        plan.nodes
            .iter()
            .filter(|node| node.needed && wanted(&node.decision))
            .count() as u64
    };
    session.events.event(Event::Planned {
        hit: plan
            .nodes
            .iter()
            .filter(|node| node.decision.is_known())
            .count() as u64,
        run: count(|decision| matches!(decision, Decision::Run(_))),
        unknown: count(|decision| *decision == Decision::Unknown),
    });
    session.events.planned(graph, &plan);
    Ok(plan)
}

/// Nodes that something unknown depends on; all of them when the session is thorough.
fn wanted(graph: &Graph, session: &Session, plan: &Plan, last: &[NodeId]) -> Vec<bool> {
    let mut wanted = vec![session.thorough; graph.len()];
    let unknown = |id: &NodeId| !plan.nodes[id.index()].decision.is_known();
    let mut open: Vec<NodeId> = last.iter().copied().filter(unknown).collect();
    while let Some(id) = open.pop() {
        wanted[id.index()] = true;
        let on = graph.dependencies(id).iter().copied();
        open.extend(on.filter(|on| !wanted[on.index()]));
    }
    wanted
}

/// Nodes by their distance from the leaves, so that look-ups go in few batches.
fn levels(graph: &Graph) -> Vec<Vec<NodeId>> {
    let mut depth = vec![0; graph.len()];
    let mut levels: Vec<Vec<NodeId>> = Vec::new();
    for id in graph.order() {
        let above = graph
            .dependencies(*id)
            .iter()
            .map(|on| depth[on.index()] + 1)
            .max();
        let own = above.unwrap_or(0);
        depth[id.index()] = own;
        if levels.len() <= own {
            levels.push(Vec::new());
        }
        levels[own].push(*id);
    }
    levels
}

pub(crate) fn inputs_of(
    graph: &Graph,
    outcome: impl Fn(NodeId) -> Option<Arc<Outcome>>,
    id: NodeId,
) -> Vec<Option<Arc<Outcome>>> {
    graph
        .dependencies(id)
        .iter()
        .map(|on| outcome(*on))
        .collect()
}

fn look_up(
    graph: &Graph,
    session: &Session,
    plan: &mut Plan,
    level: &[NodeId],
) -> Result<(), Failure> {
    let mut keyed = Vec::with_capacity(level.len());
    for id in level {
        let inputs = inputs_of(graph, |on| plan.nodes[on.index()].outcome.clone(), *id);
        if let Ok(key) = key_of(graph.node(*id).as_ref(), Inputs(&inputs)) {
            plan.nodes[id.index()].key = Some(key);
            keyed.push((*id, key));
        }
    }
    let keys: Vec<Key> = keyed.iter().map(|(_, key)| *key).collect();
    let rows = session
        .store
        .rows(&keys)
        .map_err(|error| store_failure(&error))?;
    ask(graph, session, &keyed, &rows)?;
    let now = (session.clock)();
    let mut used = Vec::new();
    for ((id, key), row) in keyed.into_iter().zip(rows) {
        let node = graph.node(id);
        let planned = &mut plan.nodes[id.index()];
        planned.decision = Decision::Run(Vec::new());
        let Some(row) = row else { continue };
        let checked = matches!(
            row.outcome.cacheability,
            Cacheability::Recheck | Cacheability::Local
        );
        if checked && !node.current(&row.outcome)? {
            let what = node.label().subject;
            planned.decision = Decision::Run(vec![DirtyReason::ReceiptGone { what }]);
            continue;
        }
        let present = node.present(&row.outcome);
        planned.decision = if present {
            Decision::Hit
        } else {
            Decision::Restore
        };
        planned.outcome = Some(Arc::new(row.outcome));
        // A day's grain spares a write in almost every run.
        if now - row.used > 86_400 {
            used.push(key);
        }
    }
    if !used.is_empty() {
        // It only steers collection; a read-only store is no reason to stop.
        let _ = session.store.touch(&used, now);
    }
    Ok(())
}

/// Asks across the network, as many nodes at a time as may wait for it.
fn ask(
    graph: &Graph,
    session: &Session,
    keyed: &[(NodeId, Key)],
    rows: &[Option<Row>],
) -> Result<(), Failure> {
    let asking = |((id, _), row): &(&(NodeId, Key), &Option<Row>)| {
        let known = row.as_ref().map(|row| &row.outcome);
        graph.node(*id).asks(known)
    };
    let nodes = keyed.iter().zip(rows).filter(asking);
    let nodes: Vec<NodeId> = nodes.map(|((id, _), _)| *id).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(id) = nodes.get(next.fetch_add(1, Ordering::Relaxed)) {
            if session.cancel.cancelled() {
                return;
            }
            graph.node(*id).ask();
        }
    };
    thread::scope(|scope| {
        for _ in 1..session.io_jobs.min(nodes.len()) {
            scope.spawn(work);
        }
        work();
    });
    if session.cancel.cancelled() {
        return Err(Failure::cancelled());
    }
    Ok(())
}

/// Marks a node as needed and decides what that takes.
fn settle(
    graph: &Graph,
    session: &Session,
    plan: &mut Plan,
    id: NodeId,
    feeds: bool,
) -> Result<(), Failure> {
    let node = graph.node(id);
    let inputs = inputs_of(graph, |on| plan.nodes[on.index()].outcome.clone(), id);
    let planned = &mut plan.nodes[id.index()];
    planned.needed = true;
    if planned.decision.is_known() {
        let Some(outcome) = planned
            .outcome
            .as_ref()
            .filter(|_| feeds || planned.decision == Decision::Restore)
        else {
            return Ok(());
        };
        // Someone will read these files: a missing one is a miss.
        let lost = outcome
            .blobs()
            .find(|(blob, size)| !session.store.has_blob(blob, *size));
        if let Some((blob, _)) = lost {
            planned.decision = Decision::Run(vec![DirtyReason::BlobMissing { blob: blob.short() }]);
            planned.outcome = None;
        }
        return Ok(());
    }
    let Decision::Run(known) = &planned.decision else {
        return Ok(());
    };
    let mut reasons = known.clone();
    match node.probe() {
        Ok(Probe::Satisfied(outcome)) => {
            planned.decision = Decision::Hit;
            planned.found = true;
            planned.outcome = Some(Arc::new(outcome));
            return Ok(());
        }
        Ok(Probe::Run(seen)) => {
            if reasons.is_empty() {
                reasons = reasons_of(session, node.as_ref(), Inputs(&inputs))?;
            }
            // The outside's answer says more than "first" or "forgotten" can.
            if !seen.is_empty()
                && matches!(
                    reasons[..],
                    [DirtyReason::FirstRun | DirtyReason::Forgotten]
                )
            {
                reasons = seen;
            }
        }
        Err(failure) => {
            planned.failure = Some(failure);
            if reasons.is_empty() {
                reasons = reasons_of(session, node.as_ref(), Inputs(&inputs))?;
            }
            explain_inputs(graph, session, plan, id)?;
        }
    }
    let planned = &mut plan.nodes[id.index()];
    planned.decision = Decision::Run(reasons);
    Ok(())
}

/// Nothing will run for a refused node, but what would have to says which inputs changed.
fn explain_inputs(
    graph: &Graph,
    session: &Session,
    plan: &mut Plan,
    id: NodeId,
) -> Result<(), Failure> {
    for on in graph.dependencies(id) {
        let inputs = inputs_of(graph, |on| plan.nodes[on.index()].outcome.clone(), *on);
        let planned = &mut plan.nodes[on.index()];
        if matches!(&planned.decision, Decision::Run(reasons) if reasons.is_empty()) {
            let reasons = reasons_of(session, graph.node(*on).as_ref(), Inputs(&inputs))?;
            planned.decision = Decision::Run(reasons);
        }
    }
    Ok(())
}
