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

/// A plugin's way into the stores, ready for nodes.
pub struct Prepared<'a> {
    storing: &'a Storing,
    wheel: Option<wheel::Prepared>,
}

/// The nodes that bring a plugin into stores.
#[derive(Debug, Default)]
pub struct Stages {
    /// Those that build its wheel.
    pub before: Vec<(&'static str, NodeId)>,
    /// The last ones, each with the name of its store.
    pub ends: Vec<(&'static str, String, NodeId)>,
}

impl Storing {
    /// Prepares what can fail before there are nodes.
    pub fn prepare(&self, plugin: &Plugin) -> Result<Prepared<'_>, Failure> {
        let wheel = match &self.wheels {
            Some(wheels) => wheel::prepare(wheels, plugin)?,
            None => None,
        };
        Ok(Prepared {
            storing: self,
            wheel,
        })
    }
}

impl Prepared<'_> {
    /// Adds the nodes that build the plugin's wheel and store what there is.
    pub fn stages(
        self,
        builder: &mut GraphBuilder,
        plugin: &Arc<Plugin>,
        (archive, checksum): (NodeId, NodeId),
        clock: fn() -> i64,
    ) -> Stages {
        let mut stages = Stages::default();
        if let Some(wheel) = self.wheel {
            stages.before = wheel.plugin(builder, archive, checksum);
        }
        let wheel = stages.before.last().map(|(_, wheel)| *wheel);
        let kind = if self.storing.development {
            Kind::Development
        } else {
            Kind::Release
        };
        for storage in &self.storing.storages {
            let node = |kind| {
                let ledger = Arc::clone(&self.storing.ledger);
                let (storage, plugin) = (Arc::clone(storage), Arc::clone(plugin));
                Arc::new(StoreNode::new(storage, ledger, plugin, kind, clock))
            };
            let own = builder.node(node(kind));
            builder.depends(own, archive);
            builder.depends(own, checksum);
            stages.ends.push(("store", storage.place.shown(), own));
            if let Some(wheel) = wheel {
                let own = builder.node(node(Kind::Wheel));
                builder.depends(own, wheel);
                let shown = storage.place.shown();
                stages.ends.push(("store-wheel", shown, own));
            }
        }
        stages
    }
}
