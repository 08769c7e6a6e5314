//! Owns the part of a publish that comes before the plan: inspection and sync of plugins whose
//! synced configuration is not known. What their releases hold, and so whether they are up to
//! date, depends on it.

use std::sync::Arc;

use synapse_engine::{Failure, FailureKind, GraphBuilder, NodeState};

use super::{
    Loaded, Publish, Scanners, Seen,
    report::{PluginReport, Stage, Status, failed_status},
};
use crate::{archive::EDITED, sync};

impl Publish<'_> {
    /// Syncs the plugins of which that is not known, and takes out those that cannot be; returns
    /// those to do again, since they were edited meanwhile.
    pub(super) fn prepare(
        &self,
        reports: &mut [PluginReport],
        plugins: &mut Loaded,
        seen: &mut Seen,
    ) -> Result<Vec<usize>, Failure> {
        let mut builder = GraphBuilder::new();
        let mut scanners = Scanners::new();
        let mut nodes = Vec::new();
        let mut out = Vec::new();
        for (at, plugin) in plugins
            .iter()
            .filter(|(_, plugin)| plugin.head.synced.is_none())
        {
            match self.scanner(&mut scanners, plugin) {
                Ok(scanner) => nodes.push((*at, self.syncing(&mut builder, plugin, &scanner))),
                Err(failure) => {
                    reports[*at].status = Status::Failed;
                    reports[*at].failure = Some(failure);
                    out.push(*at);
                }
            }
        }
        let mut again = Vec::new();
        if !nodes.is_empty() {
            let graph = builder
                .build()
                .map_err(|cycle| Failure::bug(cycle.to_string()))?;
            let graph = Arc::new(graph);
            let plan = synapse_engine::plan(&graph, self.session)?;
            let done = synapse_engine::run(&graph, &plan, self.session);
            for (at, stages) in nodes {
                let report = &mut reports[at];
                let mut stages: Vec<Stage> = stages
                    .into_iter()
                    .map(|(stage, id)| Stage {
                        stage,
                        target: None,
                        report: done.get(id).clone(),
                    })
                    .collect();
                let last = stages.last().map(|stage| &stage.report);
                let outcome = last.filter(|last| last.state == NodeState::Done);
                let outcome = outcome.and_then(|last| last.outcome.clone());
                let state = last.map(|last| last.state);
                stages.retain(|stage| stage.report.state != NodeState::Idle);
                report.keep_early(stages);
                let Some(outcome) = outcome else {
                    out.push(at);
                    failed(report, state);
                    let code = report.failure.as_ref().map(|failure| failure.code.as_str());
                    again.extend((code == Some(EDITED)).then_some(at));
                    continue;
                };
                for (_, plugin) in plugins.iter_mut().filter(|(own, _)| *own == at) {
                    *plugin = Arc::new(sync::applied(plugin, &outcome)?);
                    report.plugin = Some(Arc::clone(plugin));
                    if plugin.source.config.is_none() {
                        seen.insert(plugin.source.place.clone(), plugin.section.clone());
                    }
                }
            }
        }
        plugins.retain(|(at, _)| !out.contains(at));
        if self.session.fail_fast && !out.is_empty() {
            // Nothing more is started: what is left stays as it was, skipped.
            plugins.clear();
        }
        again.extend(self.bundle(reports, plugins, seen)?);
        Ok(again)
    }

    /// Puts the wheels of libraries into the plugins that need them, and takes out those that
    /// cannot have them; returns those to do again.
    fn bundle(
        &self,
        reports: &mut [PluginReport],
        plugins: &mut Loaded,
        seen: &mut Seen,
    ) -> Result<Vec<usize>, Failure> {
        let Some(libraries) = self.libraries else {
            return Ok(Vec::new());
        };
        let (mut out, mut again) = (Vec::new(), Vec::new());
        for (at, plugin) in plugins.iter_mut() {
            let report = &mut reports[*at];
            let mut keep = |key, section| {
                seen.insert(key, section);
            };
            let work = (self.counters.as_ref(), (self.now)());
            let fitted = libraries.fit(plugin, self.workspace, self.session, work, &mut keep);
            match fitted {
                Ok(None) => {}
                Ok(Some(fitted)) => {
                    *plugin = Arc::new(fitted.plugin);
                    report.plugin = Some(Arc::clone(plugin));
                    report.early.extend(fitted.stages);
                }
                Err(failure) if failure.kind == FailureKind::Cancelled => return Err(failure),
                Err(failure) => {
                    if failure.code == EDITED {
                        again.push(*at);
                    }
                    report.stages.clone_from(&report.early);
                    report.status = failed_status(&failure);
                    report.failure = Some(failure);
                    out.push(*at);
                }
            }
        }
        plugins.retain(|(at, _)| !out.contains(at));
        Ok(again)
    }
}

fn failed(report: &mut PluginReport, last: Option<NodeState>) {
    report.stages.clone_from(&report.early);
    let failure = report
        .stages
        .iter()
        .find_map(|stage| stage.report.failure.clone());
    report.status = match (&failure, last) {
        (Some(failure), _) => failed_status(failure),
        (None, Some(NodeState::Skipped)) => Status::Skipped,
        (None, _) => Status::Cancelled,
    };
    report.failure = failure;
}
