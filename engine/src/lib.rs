//! The incremental engine: a graph of content-addressed nodes, a store of their results, and a
//! scheduler that runs what is not known yet.
//!
//! It knows nothing of plugins, HTTP, Python or terminals, never prints, and takes the
//! environment and the clock as arguments. See `docs/architecture.md` for the invariants.

pub mod cancel;
mod commit;
pub mod digest;
pub mod event;
pub mod failure;
mod file_stat;
pub mod filesystem;
pub mod graph;
pub mod index;
pub mod manifest;
pub mod node;
pub mod outcome;
pub mod plan;
pub mod reason;
pub mod report;
pub mod schedule;
pub mod stable_hash;
pub mod store;
pub mod tree;

pub use cancel::Cancel;
pub use digest::Digest;
pub use event::{Event, EventLog, EventSink, Label, Silence};
pub use failure::{Excerpt, Failure, FailureKind};
pub use graph::{Cycle, Graph, GraphBuilder, NodeId};
pub use manifest::{Files, Input, Key, Manifest, Record, Recorded};
pub use node::{Context, Inputs, Lane, Node, Pending, Probe, Rule, store_failure};
pub use outcome::{Cacheability, Outcome, Output};
pub use plan::{Decision, Plan, Planned, Session, plan};
pub use reason::DirtyReason;
pub use report::{NodeReport, NodeState, Report};
pub use schedule::run;
pub use stable_hash::{StableHash, StableHasher};
pub use store::{Store, StoreError};
pub use tree::{Tree, TreeEntry};
