//! Owns the run: one coordinator decides, pools work, one committer makes results durable.
//!
//! Only the coordinator takes locks, and it never waits for one: a node that another process
//! runs is parked and tried again. So whoever holds a lock is working, and no two can wait for
//! each other.

use std::{
    collections::{HashMap, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    commit::{Committed, ToCommit, commit_all},
    digest::Digest,
    event::Event,
    failure::{Failure, FailureKind},
    graph::{Graph, NodeId},
    manifest::Key,
    node::{Context, Inputs, store_failure},
    outcome::{Cacheability, Outcome},
    plan::{Decision, Plan, Session, inputs_of, key_of, reasons_of, record_of},
    reason::DirtyReason,
    report::{NodeReport, NodeState, Report},
    store::{Entry, Guard, Lock, Stream},
};

/// How often a node that another process runs is tried again.
const LOCK_POLL: Duration = Duration::from_millis(5);
/// How often a stop is looked for while nothing happens.
const CANCEL_POLL: Duration = Duration::from_millis(50);
/// How often a node may lose one input's file before that is a failure.
const BLOB_RETRIES: u32 = 2;
enum Message {
    Finished {
        id: NodeId,
        guard: Option<Guard>,
        work: Box<Result<Work, Failure>>,
        ms: u64,
    },
    Committed(Committed),
}

struct Work {
    outcome: Outcome,
    streams: Vec<(String, Digest, Stream)>,
}

/// Runs what a plan needs. Independent nodes go on after a failure unless the session says
/// otherwise; the report has every node.
pub fn run(graph: &Arc<Graph>, plan: &Plan, session: &Session) -> Report {
    let (inbox, messages) = channel();
    let mut run = Run::new(graph, plan, session, inbox);
    if run.is_idle() && run.unsaved.is_empty() {
        return Report { nodes: run.nodes };
    }
    let (to_commit, commits) = channel::<ToCommit>();
    let committer = {
        let (session, inbox) = (session.clone(), run.inbox.clone());
        let done = move |batch| inbox.send(Message::Committed(batch)).is_ok();
        thread::spawn(move || commit_all(&session, &commits, done))
    };
    run.to_commit = Some(to_commit);
    run.work(&messages);
    run.to_commit = None;
    // A panic of the committer shows as results that were never committed.
    let _ = committer.join();
    run.drain(&messages);
    for node in &mut run.nodes {
        if matches!(
            node.state,
            NodeState::Waiting | NodeState::Ready | NodeState::Running
        ) {
            node.state = NodeState::Cancelled;
        }
    }
    Report { nodes: run.nodes }
}

struct Run<'a> {
    graph: &'a Arc<Graph>,
    session: &'a Session,
    nodes: Vec<NodeReport>,
    /// Receipts that planning found, still to be stored.
    unsaved: Vec<NodeId>,
    /// What can start, by lane.
    ready: [VecDeque<NodeId>; 2],
    /// Nodes that another process runs.
    parked: Vec<NodeId>,
    /// Keys at work here, with the nodes that wait to share the result.
    at_work: HashMap<Key, Vec<NodeId>>,
    busy: [usize; 2],
    pools: [Option<rayon::ThreadPool>; 2],
    lost_blobs: HashMap<(NodeId, Digest), u32>,
    committing: usize,
    stopping: bool,
    inbox: Sender<Message>,
    to_commit: Option<Sender<ToCommit>>,
}

impl<'a> Run<'a> {
    fn new(
        graph: &'a Arc<Graph>,
        plan: &Plan,
        session: &'a Session,
        inbox: Sender<Message>,
    ) -> Self {
        let mut nodes = Vec::with_capacity(graph.len());
        let mut unsaved = Vec::new();
        let mut refused = Vec::new();
        for (index, planned) in plan.nodes.iter().enumerate() {
            let id = NodeId(index as u32);
            let state = match (&planned.decision, &planned.failure) {
                (_, Some(_)) => NodeState::Failed,
                (Decision::Hit, _) => NodeState::Done,
                _ if planned.needed => NodeState::Waiting,
                _ => NodeState::Idle,
            };
            if let Some(failure) = planned.failure.clone() {
                let node = graph.node(id).label();
                session.events.event(Event::Failed { node, failure });
                refused.push(id);
            }
            if planned.found {
                unsaved.push(id);
            }
            nodes.push(NodeReport::planned(planned, state));
        }
        let mut run = Self {
            graph,
            session,
            nodes,
            unsaved,
            ready: [VecDeque::new(), VecDeque::new()],
            parked: Vec::new(),
            at_work: HashMap::new(),
            busy: [0; 2],
            pools: [None, None],
            lost_blobs: HashMap::new(),
            committing: 0,
            stopping: false,
            inbox,
            to_commit: None,
        };
        for id in refused {
            run.skip_dependents(id);
        }
        for id in graph.order() {
            run.wake(*id);
        }
        run
    }

    fn at(&mut self, id: NodeId) -> &mut NodeReport {
        &mut self.nodes[id.index()]
    }

    fn inputs(&self, id: NodeId) -> Vec<Option<Arc<Outcome>>> {
        inputs_of(self.graph, |on| self.nodes[on.index()].outcome.clone(), id)
    }

    /// Makes a waiting node ready when all it depends on is done.
    fn wake(&mut self, id: NodeId) {
        let done = |on: &NodeId| self.nodes[on.index()].state == NodeState::Done;
        if self.nodes[id.index()].state == NodeState::Waiting
            && self.graph.dependencies(id).iter().all(done)
        {
            self.enqueue(id);
        }
    }

    fn lane(&self, id: NodeId) -> usize {
        self.graph.node(id).lane() as usize
    }

    fn enqueue(&mut self, id: NodeId) {
        let lane = self.lane(id);
        self.at(id).state = NodeState::Ready;
        self.ready[lane].push_back(id);
    }

    fn has_room(&self, lane: usize) -> bool {
        self.busy[lane] < [self.session.jobs, self.session.io_jobs][lane].max(1)
    }

    fn is_idle(&self) -> bool {
        self.ready.iter().all(VecDeque::is_empty)
    }

    fn work(&mut self, messages: &Receiver<Message>) {
        for id in std::mem::take(&mut self.unsaved) {
            self.save(id, Vec::new(), Vec::new(), None);
        }
        loop {
            if self.session.cancel.cancelled() {
                self.stopping = true;
            }
            if self.stopping {
                let waiting = self.ready.iter_mut().flat_map(std::mem::take);
                for id in waiting
                    .chain(std::mem::take(&mut self.parked))
                    .collect::<Vec<_>>()
                {
                    self.at(id).state = NodeState::Cancelled;
                }
            }
            for lane in [0, 1] {
                while self.has_room(lane) {
                    let Some(id) = self.ready[lane].pop_front() else {
                        break;
                    };
                    self.start(id);
                }
            }
            let at_work = self.busy[0] + self.busy[1] > 0;
            if !at_work && self.is_idle() && self.parked.is_empty() {
                return;
            }
            let patience = if self.parked.is_empty() {
                CANCEL_POLL
            } else {
                LOCK_POLL
            };
            match messages.recv_timeout(patience) {
                Ok(message) => self.receive(message),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            while let Ok(message) = messages.try_recv() {
                self.receive(message);
            }
            for id in std::mem::take(&mut self.parked) {
                let lane = self.lane(id);
                self.ready[lane].push_front(id);
            }
        }
    }

    /// After the committer is gone, takes what it still said.
    fn drain(&mut self, messages: &Receiver<Message>) {
        while let Ok(message) = messages.try_recv() {
            self.receive(message);
        }
        if self.committing > 0 {
            let lost = Failure::bug("results were not recorded");
            if let Some(node) = self.nodes.iter_mut().find(|node| node.failure.is_none()) {
                node.failure = Some(lost);
            }
        }
    }

    fn start(&mut self, id: NodeId) {
        let node = Arc::clone(self.graph.node(id));
        let inputs = self.inputs(id);
        if self.nodes[id.index()].decision == Decision::Restore {
            return self.spawn(id, inputs, None);
        }
        if inputs.iter().any(Option::is_none) {
            // A dependency was sent back to work while this one was in line.
            self.at(id).state = NodeState::Waiting;
            return;
        }
        let Ok(key) = key_of(node.as_ref(), Inputs(&inputs)) else {
            return self.fail(id, Failure::bug("a node's inputs are done but not known"));
        };
        self.at(id).key = Some(key);
        if let Some(followers) = self.at_work.get_mut(&key) {
            followers.push(id);
            return;
        }
        let guard = match self.session.store.try_lock(&key) {
            Ok(Lock::Held(guard)) => guard,
            Ok(Lock::Busy(pid)) => {
                if !self.nodes[id.index()].shared {
                    self.at(id).shared = true;
                    self.session.events.event(Event::Waiting {
                        node: node.label(),
                        pid,
                    });
                }
                self.parked.push(id);
                return;
            }
            Err(error) => return self.fail(id, store_failure(&error)),
        };
        // Another process, or an earlier node of equal inputs, may have made it meanwhile.
        let forced = matches!(&self.nodes[id.index()].decision, Decision::Run(reasons)
            if reasons.iter().any(|r| matches!(r, DirtyReason::BlobMissing { .. })));
        let row = match self.session.store.rows(&[key]) {
            Ok(mut rows) => rows.pop().flatten().filter(|_| !forced),
            Err(error) => return self.fail(id, store_failure(&error)),
        };
        if let Some(row) = row {
            let checked = matches!(
                row.outcome.cacheability,
                Cacheability::Recheck | Cacheability::Local
            );
            match if checked {
                node.current(&row.outcome)
            } else {
                Ok(true)
            } {
                Ok(true) => {
                    let known = self.nodes[id.index()].decision == Decision::Unknown;
                    let report = self.at(id);
                    report.shared |= !known;
                    if known {
                        report.decision = Decision::Hit;
                    }
                    return self.done(id, row.outcome, false);
                }
                Ok(false) => {}
                Err(failure) => return self.fail(id, failure),
            }
        }
        self.at(id).shared = false;
        if self.nodes[id.index()].decision == Decision::Unknown {
            match reasons_of(self.session, node.as_ref(), Inputs(&inputs)) {
                Ok(reasons) => self.at(id).decision = Decision::Run(reasons),
                Err(failure) => return self.fail(id, failure),
            }
        }
        self.at_work.insert(key, Vec::new());
        self.spawn(id, inputs, Some(guard));
    }

    fn spawn(&mut self, id: NodeId, inputs: Vec<Option<Arc<Outcome>>>, guard: Option<Guard>) {
        let node = Arc::clone(self.graph.node(id));
        let lane = node.lane() as usize;
        let limit = [self.session.jobs, self.session.io_jobs][lane].max(1);
        let threads = limit.min(self.graph.len());
        if self.pools[lane].is_none() {
            match rayon::ThreadPoolBuilder::new().num_threads(threads).build() {
                Ok(pool) => self.pools[lane] = Some(pool),
                Err(error) => {
                    let what = format!("cannot start threads: {error}");
                    return self.fail(id, Failure::environment("threads", what));
                }
            }
        }
        let report = self.at(id);
        report.state = NodeState::Running;
        let restored = (report.decision == Decision::Restore)
            .then(|| report.outcome.clone())
            .flatten();
        if let Decision::Run(reasons) = &report.decision {
            let reasons = reasons.clone();
            self.session.events.event(Event::Started {
                node: node.label(),
                reasons,
            });
        }
        self.busy[lane] += 1;
        let (session, inbox) = (self.session.clone(), self.inbox.clone());
        let job = move || {
            let start = Instant::now();
            let context = Context {
                inputs: &inputs,
                store: session.store.as_ref(),
                cancel: &session.cancel,
                events: session.events.as_ref(),
                label: node.label(),
                streams: std::sync::Mutex::default(),
            };
            let work = catch_unwind(AssertUnwindSafe(|| match restored {
                Some(outcome) => node
                    .restore(&context, &outcome)
                    .map(|()| Outcome::clone(&outcome)),
                None => node.run(&context),
            }));
            let work = work.unwrap_or_else(|panic| Err(Failure::panicked(panic.as_ref())));
            let streams = context
                .streams
                .into_inner()
                .unwrap_or_else(PoisonError::into_inner);
            let ms = start.elapsed().as_millis() as u64;
            let work = Box::new(work.map(|outcome| Work { outcome, streams }));
            // Nobody listens any more only when the run is over.
            let _ = inbox.send(Message::Finished {
                id,
                guard,
                work,
                ms,
            });
        };
        if let Some(pool) = &self.pools[lane] {
            pool.spawn(job);
        }
    }

    fn receive(&mut self, message: Message) {
        match message {
            Message::Finished {
                id,
                guard,
                work,
                ms,
            } => {
                let lane = self.lane(id);
                self.busy[lane] -= 1;
                self.at(id).ms = ms;
                match *work {
                    Ok(work) => self.made(id, work, guard),
                    Err(failure) => {
                        drop(guard);
                        self.stumbled(id, failure);
                    }
                }
            }
            Message::Committed(Committed { ids, result }) => {
                self.committing -= ids.len();
                if let Err(failure) = result {
                    for id in ids {
                        self.fail(id, failure.clone());
                    }
                }
            }
        }
    }

    fn made(&mut self, id: NodeId, work: Work, guard: Option<Guard>) {
        let followers = self.nodes[id.index()]
            .key
            .and_then(|key| self.at_work.remove(&key));
        let Work { outcome, streams } = work;
        let (ran, cacheability) = (
            self.nodes[id.index()].decision != Decision::Restore,
            outcome.cacheability,
        );
        self.done(id, outcome.clone(), ran);
        if ran && cacheability != Cacheability::SessionOnly {
            let reasons = match &self.nodes[id.index()].decision {
                Decision::Run(reasons) => reasons.clone(),
                _ => Vec::new(),
            };
            self.save(id, reasons, streams, guard);
        }
        for follower in followers.unwrap_or_default() {
            self.at(follower).shared = true;
            self.done(follower, outcome.clone(), false);
        }
    }

    /// Hands a result to the committer.
    fn save(
        &mut self,
        id: NodeId,
        reasons: Vec<DirtyReason>,
        streams: Vec<(String, Digest, Stream)>,
        guard: Option<Guard>,
    ) {
        let node = Arc::clone(self.graph.node(id));
        let inputs = self.inputs(id);
        let report = &self.nodes[id.index()];
        let (Some(key), Some(outcome)) = (report.key, report.outcome.as_deref().cloned()) else {
            return;
        };
        let entry = Entry {
            key,
            subject: self.session.subject(node.as_ref()),
            outcome,
            record: record_of(node.as_ref(), Inputs(&inputs)),
            reasons,
            at: (self.session.clock)(),
            ms: report.ms,
            streams,
        };
        self.committing += 1;
        let sent = self
            .to_commit
            .as_ref()
            .map(|to| to.send(ToCommit { id, entry, guard }));
        if !matches!(sent, Some(Ok(()))) {
            self.committing -= 1;
            self.fail(id, Failure::bug("results cannot be recorded any more"));
        }
    }

    fn done(&mut self, id: NodeId, outcome: Outcome, ran: bool) {
        let report = self.at(id);
        report.state = NodeState::Done;
        report.outcome = Some(Arc::new(outcome));
        let ms = report.ms;
        let node = self.graph.node(id).label();
        self.session.events.event(Event::Finished { node, ran, ms });
        let dependents: Vec<NodeId> = self.graph.dependents(id).collect();
        for dependent in dependents {
            self.wake(dependent);
        }
    }

    /// A node did not get through: a lost file sends its producer back to work.
    fn stumbled(&mut self, id: NodeId, failure: Failure) {
        let followers = self.nodes[id.index()]
            .key
            .and_then(|key| self.at_work.remove(&key));
        for follower in followers.into_iter().flatten() {
            self.enqueue(follower);
        }
        if failure.kind == FailureKind::Cancelled {
            self.at(id).state = NodeState::Cancelled;
            self.at(id).failure = Some(failure);
            return self.skip_dependents(id);
        }
        let Some(blob) = failure
            .blob
            .filter(|_| failure.kind == FailureKind::MissingBlob)
        else {
            return self.fail(id, failure);
        };
        // One that makes it again already has no outcome meanwhile.
        let mends = Decision::Run(vec![DirtyReason::BlobMissing { blob: blob.short() }]);
        let made_it = |on: &NodeId| {
            let node = &self.nodes[on.index()];
            let has = |own: &Arc<Outcome>| own.blobs().any(|(digest, _)| digest == blob);
            node.decision == mends || node.outcome.as_ref().is_some_and(has)
        };
        let producer = self.graph.dependencies(id).iter().copied().find(made_it);
        let tries = self.lost_blobs.entry((id, blob)).or_default();
        *tries += 1;
        let Some(producer) = producer.filter(|_| *tries <= BLOB_RETRIES) else {
            return self.fail(id, failure);
        };
        let damaged = match self.session.store.quarantine(&blob) {
            Ok(damaged) => damaged,
            Err(error) => return self.fail(id, store_failure(&error)),
        };
        self.at(id).state = NodeState::Waiting;
        if damaged {
            let reason = DirtyReason::BlobMissing { blob: blob.short() };
            return self.demand(producer, reason);
        }
        // Another node's stumble over the same file has mended it already.
        self.wake(id);
    }

    /// Sends a node back to work, and what it depends on if that has no result.
    fn demand(&mut self, id: NodeId, reason: DirtyReason) {
        let stage = self.graph.node(id).label().stage;
        let report = self.at(id);
        if matches!(
            report.state,
            NodeState::Waiting | NodeState::Ready | NodeState::Running
        ) {
            return;
        }
        report.state = NodeState::Waiting;
        report.outcome = None;
        report.decision = Decision::Run(vec![reason]);
        for on in self.graph.dependencies(id).to_vec() {
            if self.nodes[on.index()].outcome.is_none() {
                self.demand(
                    on,
                    DirtyReason::Upstream {
                        stage: stage.clone(),
                    },
                );
            }
        }
        self.wake(id);
    }

    fn fail(&mut self, id: NodeId, failure: Failure) {
        let node = self.graph.node(id).label();
        self.session.events.event(Event::Failed {
            node,
            failure: failure.clone(),
        });
        let report = self.at(id);
        report.state = NodeState::Failed;
        report.failure = Some(failure);
        self.stopping |= self.session.fail_fast;
        self.skip_dependents(id);
    }

    fn skip_dependents(&mut self, id: NodeId) {
        let state = if self.nodes[id.index()].state == NodeState::Cancelled {
            NodeState::Cancelled
        } else {
            NodeState::Skipped
        };
        let dependents: Vec<NodeId> = self.graph.dependents(id).collect();
        for dependent in dependents {
            if matches!(
                self.nodes[dependent.index()].state,
                NodeState::Waiting | NodeState::Ready
            ) {
                self.at(dependent).state = state;
                let node = self.graph.node(dependent).label();
                self.session.events.event(Event::Skipped { node });
                self.skip_dependents(dependent);
            }
        }
    }
}
