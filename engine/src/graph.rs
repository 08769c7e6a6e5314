//! Owns [`Graph`]: nodes and what they depend on, checked for cycles, then frozen.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    sync::Arc,
};

use petgraph::{
    Direction,
    graph::{DiGraph, NodeIndex},
};

use crate::node::Node;

/// Names a node of one graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(crate) u32);

impl NodeId {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// A cycle, whole: every node on it, the first again at the end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("these depend on each other in a circle: {}", .0.join(" -> "))]
pub struct Cycle(pub Vec<String>);

/// Collects nodes and edges.
#[derive(Default)]
pub struct GraphBuilder {
    nodes: Vec<Arc<dyn Node>>,
    edges: Vec<(NodeId, NodeId)>,
}

impl GraphBuilder {
    /// An empty builder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a node.
    pub fn node(&mut self, node: Arc<dyn Node>) -> NodeId {
        self.nodes.push(node);
        NodeId(self.nodes.len() as u32 - 1)
    }

    /// Makes `node` depend on `on`. The order of calls is the order of the node's inputs.
    pub fn depends(&mut self, node: NodeId, on: NodeId) {
        self.edges.push((node, on));
    }

    /// Checks for cycles and freezes.
    pub fn build(self) -> Result<Graph, Cycle> {
        let mut graph = DiGraph::with_capacity(self.nodes.len(), self.edges.len());
        for id in 0..self.nodes.len() as u32 {
            graph.add_node(NodeId(id));
        }
        let mut dependencies = vec![Vec::new(); self.nodes.len()];
        for (node, on) in &self.edges {
            // Edges point from a dependency to who depends on it.
            graph.add_edge(NodeIndex::new(on.index()), NodeIndex::new(node.index()), ());
            dependencies[node.index()].push(*on);
        }
        if let Err(at) = petgraph::algo::toposort(&graph, None) {
            return Err(cycle(&graph, at.node_id(), &self.nodes));
        }
        let order = order(&graph);
        Ok(Graph {
            graph,
            nodes: self.nodes,
            dependencies,
            order,
        })
    }
}

/// Dependencies first, and among equals in the order in which they were added: what a user
/// listed first starts first.
fn order(graph: &DiGraph<NodeId, ()>) -> Vec<NodeId> {
    let blockers = |index| graph.neighbors_directed(index, Direction::Incoming).count();
    let mut left: Vec<usize> = graph.node_indices().map(blockers).collect();
    let free = graph
        .node_indices()
        .filter(|index| left[index.index()] == 0);
    let mut free: BinaryHeap<Reverse<NodeIndex>> = free.map(Reverse).collect();
    let mut order = Vec::with_capacity(left.len());
    while let Some(Reverse(index)) = free.pop() {
        order.push(graph[index]);
        for next in graph.neighbors_directed(index, Direction::Outgoing) {
            left[next.index()] -= 1;
            if left[next.index()] == 0 {
                free.push(Reverse(next));
            }
        }
    }
    order
}

/// Walks back from a node on a cycle until it is met again.
fn cycle(graph: &DiGraph<NodeId, ()>, start: NodeIndex, nodes: &[Arc<dyn Node>]) -> Cycle {
    let parts = petgraph::algo::tarjan_scc(graph);
    let part = parts
        .into_iter()
        .find(|part| part.contains(&start))
        .unwrap_or_default();
    let mut path = vec![start];
    let mut seen = HashMap::from([(start, 0)]);
    let closed = loop {
        let at = path[path.len() - 1];
        let next = graph
            .neighbors_directed(at, Direction::Outgoing)
            .find(|n| part.contains(n));
        let next = next.unwrap_or(start);
        if let Some(first) = seen.get(&next) {
            break [&path[*first..], &[next]].concat();
        }
        seen.insert(next, path.len());
        path.push(next);
    };
    let name = |index: &NodeIndex| {
        let label = nodes[index.index()].label();
        format!("{} of {}", label.stage, label.subject)
    };
    Cycle(closed.iter().map(name).collect())
}

/// A frozen graph.
pub struct Graph {
    graph: DiGraph<NodeId, ()>,
    nodes: Vec<Arc<dyn Node>>,
    dependencies: Vec<Vec<NodeId>>,
    order: Vec<NodeId>,
}

impl Graph {
    /// Number of nodes.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// A node.
    pub fn node(&self, id: NodeId) -> &Arc<dyn Node> {
        &self.nodes[id.index()]
    }

    /// All nodes, dependencies before dependents.
    pub fn order(&self) -> &[NodeId] {
        &self.order
    }

    /// What a node depends on, in the order of its inputs.
    pub fn dependencies(&self, id: NodeId) -> &[NodeId] {
        &self.dependencies[id.index()]
    }

    /// Who depends on a node.
    pub fn dependents(&self, id: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        let index = NodeIndex::new(id.index());
        self.graph
            .neighbors_directed(index, Direction::Outgoing)
            .map(|index| self.graph[index])
    }
}
