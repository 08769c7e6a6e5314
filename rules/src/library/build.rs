//! Owns the build of one library: the same nodes as of a plugin's wheel, on the library's files.

use std::sync::Arc;

use synapse_engine::{Failure, GraphBuilder, NodeState, Session};

use super::load::{Built, Library, backend};
use crate::{
    config::PackageManager,
    environment::building,
    publish::Stage,
    wheel::{Build, Prepared, Sources, Wheels},
};

/// The stages of a library's build, apart from those of a plugin's own wheel.
const NAMES: [&str; 3] = ["library-lock", "library-environment", "library"];

/// Builds a library; its wheel, and the stages that it took.
pub(super) fn build(
    library: &Library,
    wheels: &Wheels,
    session: &Session,
) -> Result<(Built, Vec<Stage>), Failure> {
    let backend = backend(&library.folder)?;
    let wanted = building::Wanted {
        subject: library.head.name.clone(),
        folder: &library.folder,
        requires: &backend.requires,
        python: backend.python.clone().into_iter().collect(),
        manager: PackageManager::Pip,
    };
    let work = Arc::new(wheels.environments.building(&wanted)?);
    let build = Arc::new(Build {
        subject: library.head.name.clone(),
        backend,
        files: Arc::new(library.section.clone()),
        sources: Sources::Folder(library.folder.clone()),
        work,
    });
    let mut builder = GraphBuilder::new();
    let stages = Prepared::new(build)?.stages(&mut builder, &[], NAMES);
    let graph = builder
        .build()
        .map_err(|cycle| Failure::bug(cycle.to_string()))?;
    let graph = Arc::new(graph);
    let plan = synapse_engine::plan(&graph, session)?;
    let done = synapse_engine::run(&graph, &plan, session);
    let mut reports = Vec::new();
    for (stage, id) in stages {
        let report = done.get(id).clone();
        if let Some(failure) = report.failure {
            return Err(failure);
        }
        if report.state == NodeState::Cancelled {
            return Err(Failure::cancelled());
        }
        if report.state != NodeState::Idle {
            reports.push(Stage {
                stage,
                target: None,
                report,
            });
        }
    }
    let outcome = reports.last().and_then(|last| last.report.outcome.clone());
    let built = outcome.and_then(|outcome| {
        let (digest, size) = outcome.blob_of("wheel")?;
        let file = outcome.text("file")?.to_owned();
        Some(Built { file, digest, size })
    });
    let built = built.ok_or_else(Failure::cancelled)?;
    Ok((built, reports))
}
