//! Owns which nodes make a plugin's wheel: lock and environment of its build, and the build.

use std::{str::FromStr, sync::Arc};

use pep440_rs::VersionSpecifiers;
use synapse_engine::{Failure, GraphBuilder, NodeId};

use super::{
    backend::{self, Backend, FILE},
    lock::BuildLockNode,
    rule::WheelNode,
    sources::{Build, Sources},
};
use crate::{
    archive::EDITED,
    config::{self, PackageManager},
    environment::{Environments, building},
    fileset::read_regular,
    plugin::Plugin,
};

/// What building wheels takes.
#[derive(Clone)]
pub struct Wheels {
    /// Where environments come from.
    pub environments: Arc<Environments>,
}

/// The backend that the pyproject.toml of a plugin names; nothing when there is none, or when the
/// file is not among those that are archived.
pub fn backend_of(plugin: &Plugin) -> Result<Option<Backend>, Failure> {
    let path = plugin.source_of(FILE);
    if !path.exists() {
        return Ok(None);
    }
    let entries = plugin.files.load();
    let Some(entry) = entries.iter().find(|entry| entry.path == FILE) else {
        return Ok(None);
    };
    let shown = path.display().to_string();
    let bytes = read_regular(&path).map_err(|error| {
        Failure::user("unreadable", format!("cannot read {shown}: {error}"))
            .at(shown.clone())
            .hint("check its permissions")
    })?;
    if synapse_engine::Digest::of(&bytes) != entry.digest {
        let what = format!("{shown} was edited while it was being read");
        return Err(Failure::user(EDITED, what)
            .at(shown)
            .hint("nothing was published; run it again when the file is at rest"));
    }
    backend::read(&bytes, &shown)
}

/// A build whose nodes can be made.
pub struct Prepared {
    build: Arc<Build>,
    lock: Arc<BuildLockNode>,
}

/// Prepares the wheel of a plugin; nothing when it names no backend.
pub fn prepare(wheels: &Wheels, plugin: &Plugin) -> Result<Option<Prepared>, Failure> {
    let Some(backend) = backend_of(plugin)? else {
        return Ok(None);
    };
    let (bytes, shown) = plugin.read_source_config()?;
    let manager = config::parse(&bytes, &shown)
        .config
        .map_or(PackageManager::Pip, |config| config.package_manager);
    let own = plugin.head.requires_python.as_deref();
    let own = own.and_then(|text| VersionSpecifiers::from_str(text).ok());
    let folder = plugin.source.folder();
    let wanted = building::Wanted {
        subject: plugin.subject(),
        folder: &folder,
        requires: &backend.requires,
        python: [own, backend.python.clone()]
            .into_iter()
            .flatten()
            .collect(),
        manager,
    };
    let work = Arc::new(wheels.environments.building(&wanted)?);
    let build = Arc::new(Build {
        subject: plugin.subject(),
        backend,
        files: Arc::clone(&plugin.files),
        sources: Sources::Archive,
        work,
    });
    Prepared::new(build).map(Some)
}

impl Prepared {
    /// Prepares a build.
    pub(crate) fn new(build: Arc<Build>) -> Result<Self, Failure> {
        let lock = Arc::new(BuildLockNode::new(Arc::clone(&build))?);
        Ok(Self { build, lock })
    }

    /// Adds the nodes of a plugin's wheel, the last of which makes it.
    pub fn plugin(
        self,
        builder: &mut GraphBuilder,
        archive: NodeId,
        checksum: NodeId,
    ) -> Vec<(&'static str, NodeId)> {
        let names = ["build-lock", "build-environment", "wheel"];
        let stages = self.stages(builder, &[archive], names);
        if let Some((_, wheel)) = stages.last() {
            builder.depends(*wheel, archive);
            builder.depends(*wheel, checksum);
        }
        stages
    }

    /// Adds lock, environment and build, which have these names; `sources` are what the lock
    /// depends on.
    pub(crate) fn stages(
        self,
        builder: &mut GraphBuilder,
        sources: &[NodeId],
        names: [&'static str; 3],
    ) -> Vec<(&'static str, NodeId)> {
        let lock = builder.node(self.lock);
        for source in sources {
            builder.depends(lock, *source);
        }
        let environment = builder.node(building::node(&self.build.work));
        builder.depends(environment, lock);
        let wheel = builder.node(Arc::new(WheelNode::new(self.build, names[2])));
        builder.depends(wheel, lock);
        builder.depends(wheel, environment);
        names.into_iter().zip([lock, environment, wheel]).collect()
    }
}
