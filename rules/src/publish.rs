//! Owns a publish of many plugins: loads them, builds the graph, raises versions where asked,
//! runs, and tries once more what was edited meanwhile.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::Arc,
};

use rayon::prelude::*;
use synapse_engine::{
    Decision, Digest, Failure, FailureKind, Graph, GraphBuilder, NodeId, NodeReport, NodeState,
    Outcome, Plan, Session, StableHash, StableHasher,
    index::{Index, Section},
};

use crate::{
    archive::{ArchiveNode, CREDENTIAL, EDITED, inspect},
    bump::{self, Bump},
    checksum::ChecksumNode,
    counters::Counters,
    fileset::ignores,
    plugin::{self, Above, Plugin, Source, Trust},
    secrets::Scanner,
    target::Target,
    upload::{self, UploadNode, VERSION_TAKEN},
    version::Level,
};

/// The flat index of one workspace while a command runs.
pub struct Workspace {
    /// Where the index lies.
    pub path: PathBuf,
    /// What it held at the start.
    pub index: Index,
    /// What was seen anew before any plugin was loaded.
    pub seen: Vec<(String, Section)>,
}

/// What a flat index depends on besides the files.
pub fn fingerprint() -> Digest {
    let mut hasher = StableHasher::new("synapse.index");
    env!("CARGO_PKG_VERSION").stable_hash(&mut hasher);
    u64::from(ignores::VERSION).stable_hash(&mut hasher);
    ignores::DEFAULTS.stable_hash(&mut hasher);
    hasher.finish()
}

impl Workspace {
    /// Loads the index of the workspace at `root` from `folder`.
    pub fn open(folder: &Path, root: &Path) -> Self {
        let name = Digest::of(root.as_os_str().as_encoded_bytes()).hex();
        let path = folder.join(&name[..32]);
        let index = Index::load(&path, &fingerprint());
        Self {
            path,
            index,
            seen: Vec::new(),
        }
    }

    /// Writes the index with what was seen anew. Failing to is no failure: it only saves work.
    pub fn save(&self, seen: &[(String, Section)]) {
        // What is still warm is not trusted next time either: writing it would gain nothing over
        // what the index has of the same place.
        let news = |(root, section): &&(String, Section)| {
            let gains = |old: &Section| {
                !section.is_same(old) && section.settled_files() >= old.settled_files()
            };
            section.settled() || self.index.get(root).is_none_or(gains)
        };
        let seen: Vec<_> = self.seen.iter().chain(seen).filter(news).collect();
        if seen.is_empty() {
            return;
        }
        let mut sections: BTreeMap<&str, &Section> = self.index.sections().collect();
        let seen = seen.into_iter();
        sections.extend(seen.map(|(root, section)| (root.as_str(), section)));
        let _ = Index::save(&self.path, &fingerprint(), sections.into_iter());
    }
}

/// What to do.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Debug releases.
    pub debug: bool,
    /// Raise the version of what is published with other content.
    pub bump: Option<Level>,
    /// Patterns of files that may look like credentials.
    pub allow_secrets: Vec<String>,
    /// Plan only: write nothing, send nothing.
    pub dry_run: bool,
    /// With `dry_run`, read what would be sent for credentials.
    pub inspect: bool,
}

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

struct Nodes {
    at: usize,
    plugin: Arc<Plugin>,
    scanner: Arc<Scanner>,
    stages: Vec<(&'static str, NodeId)>,
}

/// Publishes the plugins at `sources` to `target`; without one, plans as far as the archive.
/// Reports come in the order of the sources.
pub struct Publish<'a> {
    /// What to do.
    pub options: &'a Options,
    /// Where to.
    pub target: Option<Arc<Target>>,
    /// The engine's session.
    pub session: &'a Session,
    /// The workspace's index.
    pub workspace: &'a Workspace,
    /// Counts of work.
    pub counters: Arc<Counters>,
    /// Nanoseconds since 1970.
    pub now: fn() -> i64,
}

impl Publish<'_> {
    /// Does it all.
    pub fn run(&self, sources: &[Source]) -> Result<Vec<PluginReport>, Failure> {
        let mut reports: Vec<PluginReport> = sources.iter().map(blank).collect();
        let mut seen = HashMap::new();
        let mut plugins = Vec::new();
        for (at, loaded) in self.load(sources, Trust::Stat).into_iter().enumerate() {
            plugins.extend(take(&mut reports[at], loaded, &mut seen).map(|plugin| (at, plugin)));
        }
        refuse_twins(&mut reports, &mut plugins);
        let mut again = self.round(&mut reports, &plugins, true)?;
        // A second look at what was edited while we read it, and a first at what was raised.
        let mut rounds = 0;
        while !again.is_empty() && rounds < 3 && !self.session.cancel.cancelled() {
            rounds += 1;
            let sources: Vec<Source> = again.iter().map(|at| reports[*at].source.clone()).collect();
            let mut plugins = Vec::new();
            for (at, loaded) in again.iter().zip(self.load(&sources, Trust::Nothing)) {
                let report = &mut reports[*at];
                report.failure = None;
                plugins.extend(take(report, loaded, &mut seen).map(|plugin| (*at, plugin)));
            }
            again = self.round(&mut reports, &plugins, rounds < 2)?;
        }
        let seen: Vec<(String, Section)> = seen.into_iter().collect();
        self.workspace.save(&seen);
        Ok(reports)
    }

    fn load(&self, sources: &[Source], trust: Trust) -> Vec<Result<Plugin, Failure>> {
        let now = (self.now)();
        let above = Above::default();
        let load = |source: &Source| {
            plugin::load(
                source,
                &self.workspace.index,
                &above,
                trust,
                now,
                &self.counters,
            )
        };
        if sources.len() == 1 {
            return sources.iter().map(load).collect();
        }
        sources.par_iter().with_min_len(8).map(load).collect()
    }

    /// Plans and runs the given plugins; returns those to do again.
    fn round(
        &self,
        reports: &mut [PluginReport],
        plugins: &[(usize, Arc<Plugin>)],
        more: bool,
    ) -> Result<Vec<usize>, Failure> {
        let (graph, nodes) = self.graph(reports, plugins)?;
        let mut plan = synapse_engine::plan(&graph, self.session)?;
        let mut again = Vec::new();
        for own in &nodes {
            if self.raise(&plan, own, &mut reports[own.at]) {
                again.push(own.at);
                if !self.options.dry_run {
                    own.stages.iter().for_each(|(_, id)| plan.leave_out(*id));
                }
            }
        }
        if self.options.dry_run {
            for own in nodes {
                let report = &mut reports[own.at];
                planned(&plan, &own, report);
                if self.options.inspect && report.status == Status::Planned {
                    refuse_credentials(&own, self.session, report);
                }
            }
            return Ok(Vec::new());
        }
        let report = synapse_engine::run(&graph, &plan, self.session);
        for own in nodes {
            let stages = own
                .stages
                .iter()
                .map(|(stage, id)| (*stage, report.get(*id).clone()));
            let edited = finished(stages, &mut reports[own.at]);
            if edited && more && !again.contains(&own.at) {
                again.push(own.at);
            }
        }
        Ok(again)
    }

    fn graph(
        &self,
        reports: &mut [PluginReport],
        plugins: &[(usize, Arc<Plugin>)],
    ) -> Result<(Arc<Graph>, Vec<Nodes>), Failure> {
        let mut builder = GraphBuilder::new();
        let mut nodes = Vec::with_capacity(plugins.len());
        let mut scanners: HashMap<Vec<String>, Arc<Scanner>> = HashMap::new();
        for (at, plugin) in plugins {
            let allowed = [
                plugin.head.allow_secrets.as_slice(),
                &self.options.allow_secrets,
            ]
            .concat();
            let scanner = match scanners.get(&allowed) {
                Some(scanner) => Arc::clone(scanner),
                None => match Scanner::new(&allowed) {
                    Ok(scanner) => Arc::clone(scanners.entry(allowed).or_insert(Arc::new(scanner))),
                    Err(error) => {
                        reports[*at].status = Status::Failed;
                        reports[*at].failure = Some(Failure::usage(error.to_string()));
                        continue;
                    }
                },
            };
            let archive = ArchiveNode::new(
                Arc::clone(plugin),
                Arc::clone(&scanner),
                Arc::clone(&self.counters),
            );
            let archive = builder.node(Arc::new(archive));
            let checksum = builder.node(Arc::new(ChecksumNode::new(Arc::clone(plugin))));
            builder.depends(checksum, archive);
            let mut stages = vec![("archive", archive), ("checksum", checksum)];
            if let Some(target) = &self.target {
                let (plugin, target) = (Arc::clone(plugin), Arc::clone(target));
                let upload =
                    UploadNode::new(plugin, target, self.options.debug, self.session.clock);
                let upload = builder.node(Arc::new(upload));
                builder.depends(upload, archive);
                builder.depends(upload, checksum);
                stages.push(("upload", upload));
            }
            nodes.push(Nodes {
                at: *at,
                plugin: Arc::clone(plugin),
                scanner,
                stages,
            });
        }
        let graph = builder
            .build()
            .map_err(|cycle| Failure::bug(cycle.to_string()))?;
        Ok((Arc::new(graph), nodes))
    }

    /// Raises the version of a plugin that was refused because its version is taken.
    fn raise(&self, plan: &Plan, own: &Nodes, report: &mut PluginReport) -> bool {
        let (Some(level), Some(target)) = (self.options.bump, &self.target) else {
            return false;
        };
        let refusal = own
            .stages
            .iter()
            .find_map(|(_, id)| plan.get(*id).failure.as_ref());
        if refusal.is_none_or(|failure| failure.code != VERSION_TAKEN) {
            return false;
        }
        let bumped = target.releases(&own.plugin.head.code).and_then(|releases| {
            let bump = bump::plan(&own.plugin, level, releases)?;
            if !self.options.dry_run {
                // A version is not raised for what would be refused all the same.
                upload::validate(&own.plugin)?;
                inspect(&own.plugin, &own.scanner, self.session.store.as_ref())?;
                bump::apply(&own.plugin, &bump)?;
            }
            Ok(bump)
        });
        match bumped {
            Ok(bump) => {
                report.bump = Some(bump);
                true
            }
            Err(failure) => {
                report.status = failed_status(&failure);
                report.failure = Some(failure);
                false
            }
        }
    }
}

fn take(
    report: &mut PluginReport,
    loaded: Result<Plugin, Failure>,
    seen: &mut HashMap<String, Section>,
) -> Option<Arc<Plugin>> {
    match loaded {
        Ok(plugin) => {
            // An override's files are no state of the plugin itself.
            if plugin.fresh && plugin.source.config.is_none() {
                seen.insert(plugin.source.place.clone(), plugin.section.clone());
            }
            let plugin = Arc::new(plugin);
            report.plugin = Some(Arc::clone(&plugin));
            Some(plugin)
        }
        Err(failure) => {
            report.status = Status::Failed;
            report.failure = Some(failure);
            None
        }
    }
}

fn blank(source: &Source) -> PluginReport {
    PluginReport {
        source: source.clone(),
        plugin: None,
        status: Status::Skipped,
        stages: Vec::new(),
        bump: None,
        failure: None,
    }
}

/// Two plugins of one code and variant cannot both be published.
fn refuse_twins(reports: &mut [PluginReport], plugins: &mut Vec<(usize, Arc<Plugin>)>) {
    let mut by_subject: HashMap<String, Vec<usize>> = HashMap::new();
    for (at, plugin) in plugins.iter() {
        by_subject.entry(plugin.subject()).or_default().push(*at);
    }
    for (subject, twins) in by_subject.into_iter().filter(|(_, all)| all.len() > 1) {
        let places: Vec<&str> = twins
            .iter()
            .map(|at| reports[*at].source.place.as_str())
            .collect();
        let what = format!(
            "{subject} is the code of {} plugins: {}",
            twins.len(),
            places.join(", ")
        );
        let hint = "give each its own code, or name one of them with --path";
        for at in &twins {
            let place = reports[*at].source.folder().display().to_string();
            reports[*at].failure = Some(
                Failure::user("duplicate-code", what.clone())
                    .at(place)
                    .hint(hint),
            );
            reports[*at].status = Status::Refused;
        }
        plugins.retain(|(at, _)| !twins.contains(at));
    }
}

fn planned(plan: &Plan, own: &Nodes, report: &mut PluginReport) {
    let mut failure = None;
    report.stages.clear();
    for (stage, id) in &own.stages {
        let planned = plan.get(*id);
        failure = failure.or_else(|| planned.failure.clone());
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
        None if done && own.stages.len() == 3 => Status::UpToDate,
        None => Status::Planned,
    };
    report.failure = failure.filter(|_| report.bump.is_none());
}

/// Takes what became of a plugin's nodes; true when it was edited meanwhile.
fn finished(
    stages: impl Iterator<Item = (&'static str, NodeReport)>,
    report: &mut PluginReport,
) -> bool {
    if report.failure.is_some() {
        return false;
    }
    report.stages = stages
        .filter(|(_, node)| node.state != NodeState::Idle)
        .map(|(stage, report)| Stage { stage, report })
        .collect();
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

fn refuse_credentials(own: &Nodes, session: &Session, report: &mut PluginReport) {
    if let Err(failure) = inspect(&own.plugin, &own.scanner, session.store.as_ref()) {
        report.status = failed_status(&failure);
        report.failure = Some(failure);
    }
}

fn failed_status(failure: &Failure) -> Status {
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
