//! Owns [`PluginReport`]: how a plugin came out of a publish, stage by stage.

use std::sync::Arc;

use synapse_engine::{Decision, Failure, FailureKind, NodeReport, NodeState, Outcome, Plan};

use super::Nodes;
use crate::{
    archive::{CREDENTIAL, EDITED},
    bump::Bump,
    plugin::{Plugin, Source},
    upload::VERSION_TAKEN,
};

/// One stage of one plugin, after.
#[derive(Debug, Clone)]
pub struct Stage {
    /// Its name.
    pub stage: &'static str,
    /// What became of it.
    pub report: NodeReport,
}

/// How a plugin came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// A release was made.
    Published,
    /// The release was there.
    UpToDate,
    /// A release would be made.
    Planned,
    /// It must not be published as it is.
    Refused,
    /// Something went wrong.
    Failed,
    /// It was not tried.
    Skipped,
    /// Work was asked to stop first.
    Cancelled,
}

/// One plugin, after.
#[derive(Clone)]
pub struct PluginReport {
    /// Where it came from.
    pub source: Source,
    /// The plugin, when it could be loaded.
    pub plugin: Option<Arc<Plugin>>,
    /// How it came out.
    pub status: Status,
    /// Its stages, in order; those nobody needed are left out.
    pub stages: Vec<Stage>,
    /// Stages that were done ahead of the plan, which depends on what they make.
    pub(super) early: Vec<Stage>,
    /// The version raised, when it was.
    pub bump: Option<Bump>,
    /// Why it failed or was refused.
    pub failure: Option<Failure>,
}

impl PluginReport {
    /// The outcome of a stage, when it is known.
    pub fn outcome(&self, stage: &str) -> Option<&Outcome> {
        self.stages
            .iter()
            .find(|own| own.stage == stage)?
            .report
            .outcome
            .as_deref()
    }
}

impl PluginReport {
    /// Nothing was planned any more.
    pub(super) fn cancelled(&mut self) {
        self.stages.clone_from(&self.early);
        self.status = Status::Cancelled;
    }

    /// Takes stages that were done ahead; one that ran in an earlier round, and whose result is
    /// only found again in this, is still told as run.
    pub(super) fn keep_early(&mut self, stages: Vec<Stage>) {
        let before = std::mem::take(&mut self.early);
        let ran = |stage: &Stage| {
            let report = &stage.report;
            matches!(report.decision, Decision::Run(_)) && report.state == NodeState::Done
        };
        self.early = stages
            .into_iter()
            .map(|stage| {
                let old = before.iter().find(|old| old.stage == stage.stage);
                match old.filter(|old| ran(old) && stage.report.decision.is_known()) {
                    Some(old) => old.clone(),
                    None => stage,
                }
            })
            .collect();
    }
}

/// A plugin of which nothing is known yet.
pub(super) fn blank(source: &Source) -> PluginReport {
    PluginReport {
        source: source.clone(),
        plugin: None,
        status: Status::Skipped,
        stages: Vec::new(),
        early: Vec::new(),
        bump: None,
        failure: None,
    }
}

/// Takes what is planned for a plugin.
pub(super) fn planned(plan: &Plan, own: &Nodes, report: &mut PluginReport) {
    let mut failure = None;
    report.stages.clone_from(&report.early);
    for (stage, id) in &own.stages {
        let planned = plan.get(*id);
        failure = failure.or_else(|| planned.failure.clone());
        if report.early.iter().any(|own| own.stage == *stage) {
            continue;
        }
        let explained = matches!(&planned.decision, Decision::Run(reasons) if !reasons.is_empty());
        if planned.needed || planned.decision.is_known() || explained {
            let state = if planned.decision.is_known() {
                NodeState::Done
            } else {
                NodeState::Waiting
            };
            report.stages.push(Stage {
                stage,
                report: NodeReport::planned(planned, state),
            });
        }
    }
    let done = own
        .stages
        .last()
        .is_some_and(|(_, id)| plan.get(*id).decision.is_known());
    if report.failure.is_some() {
        return;
    }
    report.status = match &failure {
        Some(_) if report.bump.is_some() => Status::Planned,
        Some(_) => Status::Refused,
        None if done && own.stages.iter().any(|(stage, _)| *stage == "upload") => Status::UpToDate,
        None => Status::Planned,
    };
    report.failure = failure.filter(|_| report.bump.is_none());
}

/// Takes what became of a plugin's nodes; true when it was edited meanwhile.
pub(super) fn finished(
    stages: impl Iterator<Item = (&'static str, NodeReport)>,
    report: &mut PluginReport,
) -> bool {
    if report.failure.is_some() {
        return false;
    }
    report.stages.clone_from(&report.early);
    let early = |name: &str| report.early.iter().any(|own| own.stage == name);
    let stages: Vec<Stage> = stages
        .filter(|(stage, node)| node.state != NodeState::Idle && !early(stage))
        .map(|(stage, report)| Stage { stage, report })
        .collect();
    report.stages.extend(stages);
    let failed = report
        .stages
        .iter()
        .find_map(|stage| stage.report.failure.clone());
    let last = report.stages.last().map(|stage| &stage.report);
    report.status = match (last.map(|node| node.state), &failed) {
        (Some(NodeState::Done), _) => {
            let ran =
                last.is_some_and(|node| matches!(node.decision, Decision::Run(_)) && !node.shared);
            if ran {
                Status::Published
            } else {
                Status::UpToDate
            }
        }
        (_, Some(failure)) => failed_status(failure),
        (Some(NodeState::Skipped), None) => Status::Skipped,
        _ => Status::Cancelled,
    };
    report.failure = failed;
    report
        .failure
        .as_ref()
        .is_some_and(|failure| failure.code == EDITED)
}

/// How a plugin with this failure came out.
pub(super) fn failed_status(failure: &Failure) -> Status {
    match failure.kind {
        FailureKind::Cancelled => Status::Cancelled,
        _ if is_refusal(&failure.code) => Status::Refused,
        _ => Status::Failed,
    }
}

fn is_refusal(code: &str) -> bool {
    code == VERSION_TAKEN
        || code == CREDENTIAL
        || code.starts_with("config-")
        || code == "release-invalid"
}
