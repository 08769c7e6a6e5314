//! Owns [`PluginReport`]: how a plugin came out of a publish, stage by stage.

use std::sync::Arc;

use synapse_engine::{
    Decision, Failure, FailureKind, NodeId, NodeReport, NodeState, Outcome, Plan,
};

use super::Nodes;
use crate::{
    archive::{CREDENTIAL, EDITED},
    bump::Bump,
    plugin::{Plugin, Source},
    target::NOT_TRIED,
    upload::VERSION_TAKEN,
};

/// One stage of one plugin, after.
#[derive(Debug, Clone)]
pub struct Stage {
    /// Its name.
    pub stage: &'static str,
    /// Where it goes, of a stage that goes anywhere.
    pub target: Option<String>,
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
    /// The stage that goes to a target, when it was come to.
    pub fn at(&self, target: &str) -> Option<&Stage> {
        self.stages
            .iter()
            .find(|own| own.target.as_deref() == Some(target))
    }

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
        // Libraries are built once for all rounds.
        let libraries = before.iter().filter(|old| old.stage.starts_with("library"));
        let libraries: Vec<Stage> = libraries.cloned().collect();
        self.early = stages
            .into_iter()
            .map(|stage| {
                let old = before.iter().find(|old| old.stage == stage.stage);
                match old.filter(|old| ran(old) && stage.report.decision.is_known()) {
                    Some(old) => old.clone(),
                    None => stage,
                }
            })
            .chain(libraries)
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
    for (stage, target, id) in own.all() {
        let planned = plan.get(id);
        failure = failure.or_else(|| planned.failure.clone());
        if report.early.iter().any(|own| own.stage == stage) {
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
                target: target.map(str::to_owned),
                report: NodeReport::planned(planned, state),
            });
        }
    }
    let known = |(_, _, id): &(_, String, NodeId)| plan.get(*id).decision.is_known();
    let done = !own.ends.is_empty() && own.ends.iter().all(known);
    if report.failure.is_some() {
        return;
    }
    report.status = match &failure {
        Some(_) if report.bump.is_some() => Status::Planned,
        Some(_) => Status::Refused,
        None if done => Status::UpToDate,
        None => Status::Planned,
    };
    report.failure = failure.filter(|_| report.bump.is_none());
}

/// Takes what became of a plugin's nodes; true when it was edited meanwhile.
pub(super) fn finished(stages: impl Iterator<Item = Stage>, report: &mut PluginReport) -> bool {
    if report.failure.is_some() {
        return false;
    }
    report.stages.clone_from(&report.early);
    let early = |name: &str| report.early.iter().any(|own| own.stage == name);
    let stages: Vec<Stage> = stages
        .filter(|own| own.report.state != NodeState::Idle && !early(own.stage))
        .collect();
    report.stages.extend(stages);
    let failed = report
        .stages
        .iter()
        .find_map(|stage| stage.report.failure.clone());
    let ends = || report.stages.iter().filter(|own| own.target.is_some());
    let last = report.stages.last().filter(|_| ends().next().is_none());
    let mut ends: Vec<Status> = ends().chain(last).map(Stage::status).collect();
    // What went wrong at one target counts for the whole; then what was done.
    ends.sort_by_key(|status| match status {
        Status::Refused | Status::Failed => 0,
        Status::Cancelled => 1,
        Status::Skipped => 2,
        Status::Published => 3,
        Status::Planned | Status::UpToDate => 4,
    });
    report.status = match (ends.first(), &failed) {
        (Some(Status::Published | Status::UpToDate), _) => ends[0],
        (_, Some(failure)) => failed_status(failure),
        (Some(status), None) => *status,
        (None, None) => Status::Cancelled,
    };
    report.failure = failed;
    report
        .failure
        .as_ref()
        .is_some_and(|failure| failure.code == EDITED)
}

impl Stage {
    /// How a plugin came out whose last stage this is.
    pub fn status(&self) -> Status {
        let node = &self.report;
        match (node.state, &node.failure) {
            (NodeState::Done, _) => {
                if matches!(node.decision, Decision::Run(_)) && !node.shared {
                    Status::Published
                } else {
                    Status::UpToDate
                }
            }
            (_, Some(failure)) => failed_status(failure),
            (NodeState::Skipped, None) => Status::Skipped,
            _ if node.decision.is_known() => Status::UpToDate,
            _ => Status::Cancelled,
        }
    }
}

/// How a plugin with this failure came out.
pub(super) fn failed_status(failure: &Failure) -> Status {
    match failure.kind {
        FailureKind::Cancelled => Status::Cancelled,
        _ if failure.code == NOT_TRIED => Status::Skipped,
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
