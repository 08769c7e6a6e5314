//! Owns what ran when: the engine's events with the time that they came at, each stage on the
//! lane of a worker, and the path through them that decides how long it all takes.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use synapse_engine::{Event, EventSink, Graph, Label, Lane, Plan};

/// A stage of a plugin, by its place among all that were planned.
type Node = usize;

/// Hears events and notes when they came.
pub struct Timeline {
    start: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    labels: Vec<Label>,
    by_label: HashMap<(String, String), Node>,
    /// What each depends on.
    on: Vec<Vec<Node>>,
    lanes: Vec<Lane>,
    known: Vec<bool>,
    spans: Vec<Span>,
    /// Spans of nodes at work.
    open: HashMap<Node, usize>,
    /// Lanes in use, of processors and of what waits.
    busy: [Vec<bool>; 2],
    commits: Vec<(u64, u64)>,
}

/// How a span ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// With a result.
    Ran,
    /// With files brought back from the store.
    Restored,
    /// With a failure of this code.
    Failed(String),
    /// Not: the command was over first.
    Unfinished,
}

/// One stretch of work.
#[derive(Debug, Clone)]
pub struct Span {
    /// What worked.
    pub node: Node,
    /// On which pool, and which of its lanes.
    pub lane: (Lane, usize),
    /// When, microseconds since the start.
    pub begin: u64,
    /// Until when.
    pub end: u64,
    /// Why.
    pub reasons: Vec<String>,
    /// How it ended.
    pub how: End,
}

impl Span {
    /// How long it took, microseconds.
    pub fn length(&self) -> u64 {
        self.end - self.begin
    }
}

/// Sums over one stage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum {
    /// Stretches of work.
    pub ran: u64,
    /// Those that failed.
    pub failed: u64,
    /// Nodes whose results were known.
    pub known: u64,
    /// Microseconds of work together.
    pub total: u64,
    /// The longest.
    pub longest: u64,
}

/// All that happened, in order.
pub struct Chart {
    /// What was planned.
    pub labels: Vec<Label>,
    /// What each depends on.
    pub on: Vec<Vec<Node>>,
    /// Stretches of work by their begin.
    pub spans: Vec<Span>,
    /// Lanes that were used: of processors, and of what waits.
    pub width: [usize; 2],
    /// When results became durable, and how many.
    pub commits: Vec<(u64, u64)>,
    /// From start to end, microseconds.
    pub wall: u64,
    /// Sums by stage, in the order of the graph.
    pub stages: Vec<(String, Sum)>,
    /// Nodes of the longest path: with any number of workers it takes no less.
    pub critical: Vec<Node>,
    /// Its length, microseconds.
    pub critical_length: u64,
}

impl Timeline {
    /// Begins at `start`.
    pub fn new(start: Instant) -> Self {
        let state = Mutex::default();
        Self { start, state }
    }

    fn now(&self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }

    fn planned(&self, graph: &Graph, plan: &Plan) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ids = HashMap::with_capacity(graph.len());
        for id in graph.order() {
            let node = graph.node(*id);
            let own = state.node(&node.label());
            state.lanes[own] = node.lane();
            state.known[own] |= plan.get(*id).decision.is_known();
            ids.insert(*id, own);
            for on in graph.dependencies(*id) {
                let on = ids[on];
                if !state.on[own].contains(&on) {
                    state.on[own].push(on);
                }
            }
        }
    }

    fn event(&self, event: &Event) {
        let now = self.now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Started { node, reasons } => {
                let reasons = reasons.iter().map(ToString::to_string).collect();
                state.begin(node, now, reasons);
            }
            Event::Finished { node, ran, ms } => {
                let own = state.node(node);
                if *ran || state.open.contains_key(&own) {
                    state.end(own, now, End::Ran);
                } else if *ms > 0 {
                    // Nobody says when bringing files back begins.
                    state.begin(node, now.saturating_sub(ms * 1000), Vec::new());
                    state.end(own, now, End::Restored);
                } else {
                    state.known[own] = true;
                }
            }
            Event::Failed { node, failure } => {
                let own = state.node(node);
                if !state.open.contains_key(&own) {
                    state.begin(node, now, Vec::new());
                }
                state.end(own, now, End::Failed(failure.code.clone()));
            }
            Event::Committed { results } => state.commits.push((now, *results)),
            _ => {}
        }
    }

    /// What happened until now; what is still at work is cut off.
    pub fn chart(&self) -> Chart {
        let wall = self.now();
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut spans = state.spans.clone();
        for open in state.open.values() {
            spans[*open].end = wall;
        }
        spans.sort_by_key(|span| span.begin);
        let mut work = vec![0; state.labels.len()];
        let mut ran = vec![false; state.labels.len()];
        for span in &spans {
            ran[span.node] = true;
        }
        let mut stages: Vec<(String, Sum)> = Vec::new();
        let mut at = BTreeMap::new();
        for (node, label) in state.labels.iter().enumerate() {
            let place = *at.entry(label.stage.clone()).or_insert_with(|| {
                stages.push((label.stage.clone(), Sum::default()));
                stages.len() - 1
            });
            stages[place].1.known += u64::from(state.known[node] && !ran[node]);
        }
        for span in &spans {
            work[span.node] += span.length();
            let sum = &mut stages[at[&state.labels[span.node].stage]].1;
            sum.ran += 1;
            sum.failed += u64::from(matches!(span.how, End::Failed(_)));
            sum.total += span.length();
            sum.longest = sum.longest.max(span.length());
        }
        let (critical, critical_length) = longest_path(&state.on, &work);
        Chart {
            labels: state.labels.clone(),
            on: state.on.clone(),
            width: [state.busy[0].len(), state.busy[1].len()],
            commits: state.commits.clone(),
            wall,
            stages,
            critical,
            critical_length,
            spans,
        }
    }
}

impl State {
    fn node(&mut self, label: &Label) -> Node {
        let name = (label.stage.clone(), label.subject.clone());
        if let Some(node) = self.by_label.get(&name) {
            return *node;
        }
        let node = self.labels.len();
        self.labels.push(label.clone());
        self.on.push(Vec::new());
        self.lanes.push(Lane::Io);
        self.known.push(false);
        self.by_label.insert(name, node);
        node
    }

    fn begin(&mut self, label: &Label, now: u64, reasons: Vec<String>) {
        let node = self.node(label);
        let lane = self.lanes[node];
        let busy = &mut self.busy[lane as usize];
        let free = busy.iter().position(|busy| !busy);
        let at = free.unwrap_or_else(|| {
            busy.push(false);
            busy.len() - 1
        });
        busy[at] = true;
        self.open.insert(node, self.spans.len());
        self.spans.push(Span {
            node,
            lane: (lane, at),
            begin: now,
            end: now,
            reasons,
            how: End::Unfinished,
        });
    }

    fn end(&mut self, node: Node, now: u64, how: End) {
        let Some(open) = self.open.remove(&node) else {
            return;
        };
        let span = &mut self.spans[open];
        span.end = now.max(span.begin);
        span.how = how;
        let (lane, at) = span.lane;
        self.busy[lane as usize][at] = false;
    }
}

/// The path along dependencies with the most work on it, first to last, and how much that is.
fn longest_path(on: &[Vec<Node>], work: &[u64]) -> (Vec<Node>, u64) {
    let mut waits: Vec<usize> = on.iter().map(Vec::len).collect();
    let mut feeds = vec![Vec::new(); on.len()];
    for (node, all) in on.iter().enumerate() {
        for own in all {
            feeds[*own].push(node);
        }
    }
    let mut until = work.to_vec();
    let mut from: Vec<Option<Node>> = vec![None; on.len()];
    let mut free: VecDeque<Node> = (0..on.len()).filter(|node| waits[*node] == 0).collect();
    while let Some(node) = free.pop_front() {
        for next in &feeds[node] {
            if until[node] + work[*next] > until[*next] {
                until[*next] = until[node] + work[*next];
                from[*next] = Some(node);
            }
            waits[*next] -= 1;
            if waits[*next] == 0 {
                free.push_back(*next);
            }
        }
    }
    let last = (0..on.len()).max_by_key(|node| until[*node]);
    let Some(last) = last.filter(|last| until[*last] > 0) else {
        return (Vec::new(), 0);
    };
    let mut path = vec![last];
    while let Some(before) = from[path[path.len() - 1]] {
        path.push(before);
    }
    path.reverse();
    path.retain(|node| work[*node] > 0);
    (path, until[last])
}

/// Passes events on, and tells a timeline of them.
pub struct Timed {
    /// Who hears them as well.
    pub inner: Arc<dyn EventSink>,
    /// Who notes when they came.
    pub timeline: Arc<Timeline>,
}

impl EventSink for Timed {
    fn event(&self, event: Event) {
        self.timeline.event(&event);
        self.inner.event(event);
    }

    fn planned(&self, graph: &Graph, plan: &Plan) {
        self.timeline.planned(graph, plan);
        self.inner.planned(graph, plan);
    }
}

#[cfg(test)]
mod tests {
    use synapse_engine::Failure;

    use super::*;

    fn label(stage: &str, subject: &str) -> Label {
        Label {
            stage: stage.to_owned(),
            subject: subject.to_owned(),
        }
    }

    #[test]
    fn the_longest_path_is_the_one_with_the_most_work() {
        // 0 -> 1 -> 3, 0 -> 2 -> 3, 4 alone.
        let on = [vec![], vec![0], vec![0], vec![1, 2], vec![]];
        assert_eq!(longest_path(&on, &[1, 5, 2, 1, 6]), (vec![0, 1, 3], 7));
        assert_eq!(longest_path(&on, &[1, 5, 2, 1, 9]), (vec![4], 9));
        // What took no time was only looked up.
        assert_eq!(longest_path(&on, &[0, 0, 2, 0, 0]), (vec![2], 2));
        assert_eq!(longest_path(&on, &[0; 5]), (vec![], 0));
        assert_eq!(longest_path(&[], &[]), (vec![], 0));
    }

    #[test]
    fn each_at_work_has_a_lane_of_its_own() {
        let timeline = Timeline::new(Instant::now());
        let (a, b) = (label("archive", "a"), label("archive", "b"));
        let started = |node: &Label| Event::Started {
            node: node.clone(),
            reasons: Vec::new(),
        };
        let finished = |node: &Label| Event::Finished {
            node: node.clone(),
            ran: true,
            ms: 0,
        };
        timeline.event(&started(&a));
        timeline.event(&started(&b));
        timeline.event(&finished(&a));
        timeline.event(&started(&a));
        timeline.event(&Event::Failed {
            node: b.clone(),
            failure: Failure::user("odd", "it is odd"),
        });
        timeline.event(&Event::Finished {
            node: label("upload", "a"),
            ran: false,
            ms: 0,
        });
        let chart = timeline.chart();
        let lanes: Vec<usize> = chart.spans.iter().map(|span| span.lane.1).collect();
        assert_eq!(lanes, [0, 1, 0]);
        assert_eq!(chart.width, [0, 2]);
        let how: Vec<&End> = chart.spans.iter().map(|span| &span.how).collect();
        let odd = End::Failed("odd".to_owned());
        assert_eq!(how, [&End::Ran, &odd, &End::Unfinished]);
        let sums: Vec<_> = chart
            .stages
            .iter()
            .map(|(stage, sum)| (stage.as_str(), sum.ran, sum.failed, sum.known))
            .collect();
        assert_eq!(sums, [("archive", 3, 1, 0), ("upload", 0, 0, 1)]);
    }
}
