//! Owns the committer: results become durable in batches, and only then are their locks let go.

use std::sync::mpsc::Receiver;

use crate::{
    event::Event,
    failure::Failure,
    graph::NodeId,
    node::store_failure,
    plan::Session,
    store::{Entry, Guard},
};

/// Results that are made durable together at most.
const BATCH: usize = 256;

/// A result on its way to the store, with the lock that it was made under.
pub(crate) struct ToCommit {
    pub(crate) id: NodeId,
    pub(crate) entry: Entry,
    pub(crate) guard: Option<Guard>,
}

/// What became of a batch.
pub(crate) struct Committed {
    pub(crate) ids: Vec<NodeId>,
    pub(crate) result: Result<(), Failure>,
}

/// Commits what comes until nobody sends any more. `done` says whether anybody still listens.
pub(crate) fn commit_all(
    session: &Session,
    commits: &Receiver<ToCommit>,
    done: impl Fn(Committed) -> bool,
) {
    while let Ok(first) = commits.recv() {
        let mut batch = vec![first];
        while batch.len() < BATCH {
            let Ok(next) = commits.try_recv() else { break };
            batch.push(next);
        }
        let (mut ids, mut entries, mut guards) = (Vec::new(), Vec::new(), Vec::new());
        for ToCommit { id, entry, guard } in batch {
            ids.push(id);
            entries.push(entry);
            guards.push(guard);
        }
        let result = session
            .store
            .commit(&entries)
            .map_err(|error| store_failure(&error));
        // Only now may another process look the results up.
        drop(guards);
        if result.is_ok() {
            session.events.event(Event::Committed {
                results: entries.len() as u64,
            });
        }
        if !done(Committed { ids, result }) {
            return;
        }
    }
}
