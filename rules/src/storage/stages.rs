//! Owns which nodes bring a plugin into object stores: its archive and its wheel, in each.

use std::sync::Arc;

use synapse_engine::{Failure, GraphBuilder, NodeId, store::Ledger};

use super::{
    connect::Storage,
    node::{Kind, StoreNode},
};
use crate::{
    plugin::Plugin,
    wheel::{self, Wheels},
};

/// What is stored where.
#[derive(Clone)]
pub struct Storing {
    /// The stores; none where only the wheel is wanted.
    pub storages: Vec<Arc<Storage>>,
    /// Where effects are written down.
    pub ledger: Arc<Ledger>,
    /// How wheels are built, where they are wanted.
    pub wheels: Option<Wheels>,
    /// Archives are those of development states.
    pub development: bool,
}

/// Adds the stages that build a plugin's wheel and store what there is.
pub fn stages(
    builder: &mut GraphBuilder,
    storing: &Storing,
    plugin: &Arc<Plugin>,
    (archive, checksum): (NodeId, NodeId),
    clock: fn() -> i64,
) -> Result<Vec<(&'static str, NodeId)>, Failure> {
    let mut stages = match &storing.wheels {
        Some(wheels) => wheel::stages(builder, wheels, plugin, archive, checksum)?,
        None => Vec::new(),
    };
    let wheel = stages.last().map(|(_, wheel)| *wheel);
    let kind = match storing.development {
        true => Kind::Development,
        false => Kind::Release,
    };
    for storage in &storing.storages {
        let node = |kind| {
            let (storage, ledger) = (Arc::clone(storage), Arc::clone(&storing.ledger));
            Arc::new(StoreNode::new(storage, ledger, Arc::clone(plugin), kind, clock))
        };
        let own = builder.node(node(kind));
        builder.depends(own, archive);
        builder.depends(own, checksum);
        stages.push(("store", own));
        if let Some(wheel) = wheel {
            let own = builder.node(node(Kind::Wheel));
            builder.depends(own, wheel);
            stages.push(("store-wheel", own));
        }
    }
    Ok(stages)
}
