//! Owns a publish of many plugins: loads them, syncs their configurations where that is not
//! known, builds the graph, raises versions where asked, runs, and tries once more what was
//! edited meanwhile.

mod gate;
mod prepare;
mod report;

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::Arc,
};

use rayon::prelude::*;
use synapse_engine::{
    Digest, Failure, FailureKind, Graph, GraphBuilder, NodeId, Plan, Session, StableHash,
    StableHasher,
    index::{Index, Section},
};

use self::{
    gate::Agreed,
    report::{blank, failed_status, finished, planned},
};
pub use self::{
    gate::{CHANGED, Gate},
    report::{PluginReport, Stage, Status},
};
use crate::{
    archive::{self, ArchiveNode},
    bump::{self, Bump},
    checksum::ChecksumNode,
    counters::Counters,
    environment::base_digest,
    fileset::ignores,
    inspect::{self, Schemas},
    library::Libraries,
    plugin::{self, Above, Plugin, Source, Trust},
    secrets::Scanner,
    storage::Storing,
    sync,
    target::Target,
    upload::{self, UploadNode, VERSION_TAKEN},
    version::Level,
    wheel,
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
    // A plugin's note holds what it was synced to.
    synapse_python::digest().stable_hash(&mut hasher);
    base_digest().stable_hash(&mut hasher);
    // What is noted of a plugin and of a library.
    2_u64.stable_hash(&mut hasher);
    for rule in [inspect::RULE, sync::RULE, wheel::RULE] {
        u64::from(rule.version).stable_hash(&mut hasher);
    }
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

/// Sections of plugins that were seen anew, by place.
type Seen = HashMap<String, Section>;
/// Plugins with their places among the reports.
type Loaded = Vec<(usize, Arc<Plugin>)>;
/// Scanners by what they allow.
type Scanners = HashMap<Vec<String>, Arc<Scanner>>;

struct Nodes {
    at: usize,
    plugin: Arc<Plugin>,
    scanner: Arc<Scanner>,
    stages: Vec<(&'static str, NodeId)>,
    /// The last stages, each with the name of its target or object store.
    ends: Vec<(&'static str, String, NodeId)>,
}

impl Nodes {
    /// Every stage with its target, where it has one, in order.
    fn all(&self) -> impl Iterator<Item = (&'static str, Option<&str>, NodeId)> {
        let before = self.stages.iter().map(|(stage, id)| (*stage, None, *id));
        let ends = self.ends.iter();
        before.chain(ends.map(|(stage, target, id)| (*stage, Some(target.as_str()), *id)))
    }
}

/// Publishes the plugins at `sources` to `targets`; without any, plans as far as the archive.
/// Reports come in the order of the sources.
pub struct Publish<'a> {
    /// What to do.
    pub options: &'a Options,
    /// Where to.
    pub targets: Vec<Arc<Target>>,
    /// Object stores besides.
    pub storing: Option<&'a Storing>,
    /// Who is asked before anything is sent.
    pub gate: Option<&'a dyn Gate>,
    /// Libraries of the workspace.
    pub libraries: Option<&'a Libraries>,
    /// The engine's session.
    pub session: &'a Session,
    /// The workspace's index.
    pub workspace: &'a Workspace,
    /// Who knows what the forms of actions look like.
    pub schemas: Arc<dyn Schemas>,
    /// Counts of work.
    pub counters: Arc<Counters>,
    /// Nanoseconds since 1970.
    pub now: fn() -> i64,
}

impl Publish<'_> {
    /// Does it all.
    pub fn run(&self, sources: &[Source]) -> Result<Vec<PluginReport>, Failure> {
        let mut reports: Vec<PluginReport> = sources.iter().map(blank).collect();
        let mut seen = Seen::new();
        let mut plugins = Vec::new();
        for (at, loaded) in self.load(sources, Trust::Stat).into_iter().enumerate() {
            plugins.extend(take(&mut reports[at], loaded, &mut seen).map(|plugin| (at, plugin)));
        }
        refuse_twins(&mut reports, &mut plugins);
        let mut agreed = Agreed::default();
        let mut again = self.round(&mut reports, plugins, &mut seen, &mut agreed, true)?;
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
            let more = rounds < 2;
            again = self.round(&mut reports, plugins, &mut seen, &mut agreed, more)?;
        }
        let seen: Vec<(String, Section)> = seen.into_iter().collect();
        self.workspace.save(&seen);
        if !self.options.dry_run {
            self.targets
                .iter()
                .for_each(|target| target.keep_receipts());
        }
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
        mut plugins: Loaded,
        seen: &mut Seen,
        agreed: &mut Agreed,
        more: bool,
    ) -> Result<Vec<usize>, Failure> {
        let mut again = self.prepare(reports, &mut plugins, seen)?;
        let made = self.plan(reports, &mut plugins, seen, &mut again);
        let (graph, nodes, mut plan) = match made {
            Err(failure) if failure.kind == FailureKind::Cancelled => {
                // What was done until then is told all the same.
                for (at, _) in &plugins {
                    reports[*at].cancelled();
                }
                return Ok(Vec::new());
            }
            made => made?,
        };
        let mut bumps = HashMap::new();
        for own in &nodes {
            let bump = self.bump(&plan, own, &mut reports[own.at]);
            bumps.extend(bump.map(|bump| (own.at, bump)));
        }
        if self.options.dry_run {
            for own in nodes {
                let report = &mut reports[own.at];
                report.bump = bumps.remove(&own.at);
                planned(&plan, &own, report);
                if self.options.inspect && report.status == Status::Planned {
                    refuse_credentials(&own, self.session, report);
                }
            }
            return Ok(Vec::new());
        }
        self.pass(agreed, &mut plan, &nodes, &mut bumps, reports)?;
        for own in &nodes {
            let Some(bump) = bumps.remove(&own.at) else {
                continue;
            };
            let report = &mut reports[own.at];
            match bump::apply(&own.plugin, &bump) {
                Ok(()) => {
                    report.bump = Some(bump);
                    again.push(own.at);
                    own.all().for_each(|(_, _, id)| plan.leave_out(id));
                }
                Err(failure) => {
                    report.status = failed_status(&failure);
                    report.failure = Some(failure);
                }
            }
        }
        let report = synapse_engine::run(&graph, &plan, self.session);
        for own in nodes {
            let stages = own.all().map(|(stage, target, id)| Stage {
                stage,
                target: target.map(str::to_owned),
                report: report.get(id).clone(),
            });
            if finished(stages, &mut reports[own.at]) && !again.contains(&own.at) {
                again.push(own.at);
            }
        }
        again.retain(|_| more);
        Ok(again)
    }

    /// Plans the stages of plugins that are synced. A synced configuration that is needed to look
    /// at but gone from the store is made again first.
    fn plan(
        &self,
        reports: &mut [PluginReport],
        plugins: &mut Loaded,
        seen: &mut Seen,
        again: &mut Vec<usize>,
    ) -> Result<(Arc<Graph>, Vec<Nodes>, Plan), Failure> {
        let mut tries = 0;
        loop {
            let (graph, nodes) = self.graph(reports, plugins)?;
            let plan = synapse_engine::plan(&graph, self.session)?;
            let gone = |own: &&Nodes| {
                let mut failures = own
                    .all()
                    .filter_map(|(_, _, id)| plan.get(id).failure.as_ref());
                failures.any(|failure| failure.kind == FailureKind::MissingBlob)
            };
            let gone: Vec<usize> = nodes.iter().filter(gone).map(|own| own.at).collect();
            if gone.is_empty() || tries > 1 {
                return Ok((graph, nodes, plan));
            }
            tries += 1;
            for (_, plugin) in plugins.iter_mut().filter(|(at, _)| gone.contains(at)) {
                *plugin = Arc::new(plugin.unsynced());
            }
            again.extend(self.prepare(reports, plugins, seen)?);
        }
    }

    fn graph(
        &self,
        reports: &mut [PluginReport],
        plugins: &Loaded,
    ) -> Result<(Arc<Graph>, Vec<Nodes>), Failure> {
        let mut builder = GraphBuilder::new();
        let mut nodes = Vec::with_capacity(plugins.len());
        let mut scanners = Scanners::new();
        for (at, plugin) in plugins {
            let storing = self.storing.map(|storing| storing.prepare(plugin));
            let ready = self
                .scanner(&mut scanners, plugin)
                .and_then(|scanner| Ok((scanner, storing.transpose()?)));
            let (scanner, storing) = match ready {
                Ok(ready) => ready,
                Err(failure) => {
                    reports[*at].status = failed_status(&failure);
                    reports[*at].failure = Some(failure);
                    continue;
                }
            };
            let mut stages = self.syncing(&mut builder, plugin, &scanner);
            let archive = ArchiveNode::new(
                Arc::clone(plugin),
                Arc::clone(&scanner),
                Arc::clone(&self.counters),
            );
            let archive = builder.node(Arc::new(archive));
            builder.depends(archive, stages[1].1);
            let checksum = builder.node(Arc::new(ChecksumNode::new(Arc::clone(plugin))));
            builder.depends(checksum, archive);
            stages.extend([("archive", archive), ("checksum", checksum)]);
            let mut ends = Vec::with_capacity(self.targets.len());
            for target in &self.targets {
                let upload = UploadNode::new(
                    Arc::clone(plugin),
                    Arc::clone(target),
                    self.options.debug,
                    Arc::clone(&self.session.store),
                    self.session.clock,
                );
                let upload = builder.node(Arc::new(upload));
                builder.depends(upload, archive);
                builder.depends(upload, checksum);
                ends.push(("upload", target.name.clone(), upload));
            }
            if let Some(storing) = storing {
                let clock = self.session.clock;
                let stored = storing.stages(&mut builder, plugin, (archive, checksum), clock);
                stages.extend(stored.before);
                ends.extend(stored.ends);
            }
            nodes.push(Nodes {
                at: *at,
                plugin: Arc::clone(plugin),
                scanner,
                stages,
                ends,
            });
        }
        let graph = builder
            .build()
            .map_err(|cycle| Failure::bug(cycle.to_string()))?;
        Ok((Arc::new(graph), nodes))
    }

    fn syncing(
        &self,
        builder: &mut GraphBuilder,
        plugin: &Arc<Plugin>,
        scanner: &Arc<Scanner>,
    ) -> Vec<(&'static str, NodeId)> {
        sync::stages(builder, plugin, &self.schemas, scanner, &self.session.store).to_vec()
    }

    fn scanner(&self, known: &mut Scanners, plugin: &Plugin) -> Result<Arc<Scanner>, Failure> {
        let allowed = [
            plugin.head.allow_secrets.as_slice(),
            &self.options.allow_secrets,
        ]
        .concat();
        if let Some(scanner) = known.get(&allowed) {
            return Ok(Arc::clone(scanner));
        }
        let scanner = Scanner::new(&allowed).map_err(|error| Failure::usage(error.to_string()))?;
        Ok(Arc::clone(
            known.entry(allowed).or_insert(Arc::new(scanner)),
        ))
    }

    /// The version that a plugin would be raised to which was refused because its own is taken.
    fn bump(&self, plan: &Plan, own: &Nodes, report: &mut PluginReport) -> Option<Bump> {
        let level = self.options.bump?;
        let mut refusals = own
            .all()
            .filter_map(|(_, _, id)| plan.get(id).failure.as_ref());
        if !refusals.any(|failure| failure.code == VERSION_TAKEN) {
            return None;
        }
        // A version that is free at one target may be taken at another.
        let taken = self.targets.iter().try_fold(Vec::new(), |mut all, target| {
            all.extend(target.releases(&own.plugin.head.code)?);
            Ok(all)
        });
        let bump = taken.and_then(|releases| {
            let bump = bump::plan(&own.plugin, level, &releases)?;
            if !self.options.dry_run {
                // A version is not raised for what would be refused all the same.
                let store = self.session.store.as_ref();
                upload::validate(&own.plugin, store)?;
                archive::inspect(&own.plugin, &own.scanner, store)?;
            }
            Ok(bump)
        });
        bump.inspect_err(|failure| {
            report.status = failed_status(failure);
            report.failure = Some(failure.clone());
        })
        .ok()
    }
}

fn take(
    report: &mut PluginReport,
    loaded: Result<Plugin, Failure>,
    seen: &mut Seen,
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

/// Two plugins of one code and variant cannot both be published.
fn refuse_twins(reports: &mut [PluginReport], plugins: &mut Loaded) {
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

fn refuse_credentials(own: &Nodes, session: &Session, report: &mut PluginReport) {
    if let Err(failure) = archive::inspect(&own.plugin, &own.scanner, session.store.as_ref()) {
        report.status = failed_status(&failure);
        report.failure = Some(failure);
    }
}
