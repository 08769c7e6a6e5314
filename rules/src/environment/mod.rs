//! Owns environments: which one a plugin runs in, made when it is not there, leased while it is
//! used.

mod active;
mod build;
pub mod building;
pub mod collect;
mod lease;
mod node;
mod relock;
pub mod tool;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use pep440_rs::VersionSpecifiers;
use synapse_engine::{Digest, Failure, GraphBuilder, Node, NodeId, NodeReport, NodeState, Session};

use self::node::{EnvironmentNode, Fixed};
pub use self::{
    collect::{Collected, EnvironmentStats, collect, stats},
    lease::Lease,
    node::RULE,
    relock::{Change, LockChange},
};
use crate::{
    config::{Config, PackageManager},
    fileset::read_regular,
    plugin::{Plugin, Warning},
    python::{
        Variables,
        interpreter::{self, Find, Interpreter},
        process::Processes,
    },
    resolve::{
        self, ResolveNode, Work, desk,
        lock::{self, Lock, Target},
        requirements::{self, Requirements},
        testing::{self, Needs},
        uv::Uv,
        wheels,
    },
};

/// The packages of the base environment, with the hashes of all their files.
const BASE: &str = include_str!("base.txt");

/// Which environment to take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Choice {
    /// The active one when it satisfies the requirements, else a managed one.
    #[default]
    Auto,
    /// The active one.
    Active,
    /// One that we make.
    Managed,
}

/// What is wanted of an environment.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Which one.
    pub choice: Choice,
    /// A version or path of Python.
    pub python: Option<String>,
    /// The lock file must fit.
    pub locked: bool,
    /// Resolve anew.
    pub upgrade: bool,
    /// Use no network.
    pub offline: bool,
}

/// What is done before an environment is made, and only then.
pub type First<'a> = &'a dyn Fn() -> Result<(), Failure>;

/// An environment that can be used, as long as this is kept.
pub struct Ready {
    /// Its interpreter.
    pub interpreter: Interpreter,
    /// We made it.
    pub managed: bool,
    /// What of it matters to keys of results made in it.
    pub identity: Digest,
    /// Which it is, and why, in one line.
    pub note: String,
    /// Doubts about the requirements.
    pub warnings: Vec<Warning>,
    /// The stages that led to it.
    pub stages: Vec<(&'static str, NodeReport)>,
    /// Keeps collection away.
    pub lease: Lease,
}

/// Where environments come from.
pub struct Environments {
    store: PathBuf,
    session: Session,
    variables: Variables,
    processes: Arc<dyn Processes>,
}

/// Stands for what the base environment holds, for keys of what is found out in it.
pub fn base_digest() -> Digest {
    Digest::of(BASE.as_bytes())
}

impl Environments {
    /// Environments kept in the store's folder.
    pub fn new(
        store: &Path,
        session: &Session,
        variables: Variables,
        processes: Arc<dyn Processes>,
    ) -> Self {
        Self {
            store: store.to_owned(),
            session: session.clone(),
            variables,
            processes,
        }
    }

    /// The environment for a plugin.
    pub fn ready(
        &self,
        plugin: &Plugin,
        config: &Config,
        wanted: &Wanted,
    ) -> Result<Ready, Failure> {
        self.ready_after(plugin, config, wanted, &|| Ok(()))
    }

    /// The environment for a plugin. When it has to be made, `first` is called before that, and
    /// its failure is the end.
    pub fn ready_after(
        &self,
        plugin: &Plugin,
        config: &Config,
        wanted: &Wanted,
        first: First<'_>,
    ) -> Result<Ready, Failure> {
        let requirements = self.requirements(plugin, config)?;
        let mut because = String::new();
        if wanted.choice != Choice::Managed {
            match self.active(plugin, config, &requirements, wanted)? {
                Ok(ready) => return Ok(ready),
                Err(reason) if wanted.choice == Choice::Active => {
                    return Err(Failure::environment("environment", reason)
                        .hint("install the plugin's requirements there, or use --env managed"));
                }
                Err(reason) => because = reason,
            }
        }
        let work = Arc::new(self.work(plugin, config, requirements, wanted)?);
        let (committed, doubt) = Self::committed(&work, wanted)?;
        let from = if committed.is_some() { ", locked" } else { "" };
        let node = ResolveNode::new(Arc::clone(&work), committed, Vec::new(), wanted.upgrade)?;
        let mut ready = self.managed(&work, Some(&Arc::new(node)), None, first)?;
        let because = if because.is_empty() {
            because
        } else {
            format!(" ({because})")
        };
        let python = ready.interpreter.full_version();
        ready.note = format!("managed environment with Python {python}{from}{because}");
        ready.warnings.clone_from(&work.requirements.warnings);
        ready.warnings.extend(doubt);
        Ok(ready)
    }

    /// The environment for a plugin's tests: what it requires, and what they need besides. It is
    /// another one than that of its runs, with the versions of the lock file where that fits.
    pub fn ready_for_tests(
        &self,
        plugin: &Plugin,
        config: &Config,
        wanted: &Wanted,
        needs: Needs,
    ) -> Result<Ready, Failure> {
        let version = env!("CARGO_PKG_VERSION");
        let folder = plugin.source.folder();
        let tests = testing::read(&folder, config, &self.variables, version, needs)?;
        let mut because = String::new();
        if wanted.choice != Choice::Managed {
            match self.active(plugin, config, &tests, wanted)? {
                Ok(ready) => return Ok(ready),
                Err(reason) if wanted.choice == Choice::Active => {
                    return Err(Failure::environment("environment", reason)
                        .hint("install pytest and the requirements there, or use --env managed"));
                }
                Err(reason) if reason.is_empty() => {}
                Err(reason) => because = format!(" ({reason})"),
            }
        }
        let runs = self.work(plugin, config, self.requirements(plugin, config)?, wanted)?;
        let (committed, doubt) = Self::committed(&runs, wanted)?;
        let from = if committed.is_some() { ", locked" } else { "" };
        let pins = committed.as_ref().map(Target::pins).unwrap_or_default();
        let work = Arc::new(Work {
            requirements: tests,
            ..runs
        });
        let node = ResolveNode::new(Arc::clone(&work), None, pins, wanted.upgrade)?;
        let mut ready = self.managed(&work, Some(&Arc::new(node)), None, &|| Ok(()))?;
        let python = ready.interpreter.full_version();
        ready.note = format!("environment for tests with Python {python}{from}{because}");
        ready.warnings.clone_from(&work.requirements.warnings);
        ready.warnings.extend(doubt);
        Ok(ready)
    }

    /// The environment in which plugins are inspected: a pinned pydantic and urllib3, nothing
    /// of the plugin's own.
    pub fn base(
        &self,
        wanted_python: Option<&str>,
        requires: Option<&VersionSpecifiers>,
    ) -> Result<Ready, Failure> {
        let (work, fixed) = self.base_work(wanted_python, requires)?;
        let mut ready = self.managed(&work, None, Some(&fixed), &|| Ok(()))?;
        let python = ready.interpreter.full_version();
        ready.note = format!("base environment with Python {python}");
        Ok(ready)
    }

    /// Whether the base environment is there, for plugins that need this Python.
    pub fn has_base(&self, requires: Option<&str>) -> bool {
        let requires = requires.and_then(|text| text.parse().ok());
        let there = || -> Result<bool, Failure> {
            let (work, fixed) = self.base_work(None, requires.as_ref())?;
            let mut builder = GraphBuilder::new();
            let id = builder.node(Arc::new(EnvironmentNode::new(work, Some(fixed))));
            let graph = builder
                .build()
                .map_err(|cycle| Failure::bug(cycle.to_string()))?;
            let plan = synapse_engine::plan(&graph, &self.session)?;
            Ok(plan.get(id).decision.is_known())
        };
        there().unwrap_or(false)
    }

    fn base_work(
        &self,
        wanted_python: Option<&str>,
        requires: Option<&VersionSpecifiers>,
    ) -> Result<(Arc<Work>, Fixed), Failure> {
        let interpreter = self.find(wanted_python, requires, true)?;
        let target = Target {
            packages: resolve::uv::hashed(BASE, Path::new("/"))?,
            ..Target::default()
        };
        let packages = resolve::rule::packages(&target, Path::new("/"))?;
        let work = Arc::new(Work {
            subject: "base".to_owned(),
            store: self.store.clone(),
            variables: self.variables.clone(),
            processes: Arc::clone(&self.processes),
            folder: self.store.clone(),
            requirements: Requirements::default(),
            wheels: Vec::new(),
            interpreter,
            manager: PackageManager::Pip,
            uv: None,
            offline: false,
        });
        Ok((work, Fixed { target, packages }))
    }

    fn requirements(&self, plugin: &Plugin, config: &Config) -> Result<Requirements, Failure> {
        let version = env!("CARGO_PKG_VERSION");
        requirements::read(&plugin.source.folder(), config, &self.variables, version)
    }

    fn find(
        &self,
        wanted: Option<&str>,
        requires: Option<&VersionSpecifiers>,
        newest: bool,
    ) -> Result<Interpreter, Failure> {
        let cache = self.store.join("python");
        let find = self.finder(wanted, requires, newest, &cache);
        interpreter::find(&find, self.processes.as_ref())
    }

    fn finder<'a>(
        &'a self,
        wanted: Option<&'a str>,
        requires: Option<&'a VersionSpecifiers>,
        newest: bool,
        cache: &'a Path,
    ) -> Find<'a> {
        Find {
            wanted,
            requires,
            newest,
            variables: &self.variables,
            cache,
            cancel: &self.session.cancel,
        }
    }

    fn work(
        &self,
        plugin: &Plugin,
        config: &Config,
        requirements: Requirements,
        wanted: &Wanted,
    ) -> Result<Work, Failure> {
        let interpreter = self.find(
            wanted.python.as_deref(),
            requirements.python.as_ref(),
            false,
        )?;
        let mut work = self.work_with(plugin, config, requirements, interpreter, wanted);
        if config.package_manager == PackageManager::Uv {
            work.uv = Some(Uv::find(&work.setting(&self.session.cancel))?);
        }
        Ok(work)
    }

    fn work_with(
        &self,
        plugin: &Plugin,
        config: &Config,
        requirements: Requirements,
        interpreter: Interpreter,
        wanted: &Wanted,
    ) -> Work {
        Work {
            subject: plugin.subject(),
            store: self.store.clone(),
            variables: self.variables.clone(),
            processes: Arc::clone(&self.processes),
            folder: plugin.source.folder(),
            requirements,
            wheels: wheels::of(plugin, &config.wheels_dir, &interpreter),
            interpreter,
            manager: config.package_manager,
            uv: None,
            offline: wanted.offline,
        }
    }

    /// The active environment, or why it is not the one.
    fn active(
        &self,
        plugin: &Plugin,
        config: &Config,
        requirements: &Requirements,
        wanted: &Wanted,
    ) -> Result<Result<Ready, String>, Failure> {
        let cache = self.store.join("python");
        let find = self.finder(wanted.python.as_deref(), None, false, &cache);
        let active = match interpreter::active(&find, self.processes.as_ref()) {
            Ok(Some(active)) => active,
            Ok(None) if wanted.choice == Choice::Active => {
                return Ok(Err("no virtual or conda environment is active".to_owned()));
            }
            Ok(None) => return Ok(Err(String::new())),
            Err(failure) if wanted.choice == Choice::Active => return Err(failure),
            Err(failure) => return Ok(Err(failure.message)),
        };
        let shown = active.prefix.display().to_string();
        if let Some(python) = &wanted.python
            && !interpreter::answers_to(&active, python)
        {
            let version = active.full_version();
            return Ok(Err(format!(
                "the active environment {shown} has Python {version}"
            )));
        }
        let work = self.work_with(plugin, config, requirements.clone(), active.clone(), wanted);
        let identity = active::identity(&active)?;
        if let Some(lacks) = active::lacks(&active, identity, &work)? {
            return Ok(Err(format!("the active environment {shown} {lacks}")));
        }
        Ok(Ok(Ready {
            note: format!(
                "active environment {shown} with Python {}",
                active.full_version()
            ),
            interpreter: active,
            managed: false,
            identity,
            warnings: requirements.warnings.clone(),
            stages: Vec::new(),
            lease: Lease::none(),
        }))
    }

    /// The lock file's target when it fits, and a doubt when there is a file that does not.
    fn committed(
        work: &Work,
        wanted: &Wanted,
    ) -> Result<(Option<Target>, Option<Warning>), Failure> {
        let (path, lock) = read_lock(&work.folder)?;
        let place = path.display().to_string();
        let again = "run `synapse plugin lock`";
        if wanted.upgrade {
            return Ok((None, None));
        }
        let Some(lock) = lock else {
            if wanted.locked {
                let what = format!("there is no {}", lock::FILE);
                return Err(Failure::user("lock", what).at(place).hint(again));
            }
            return Ok((None, None));
        };
        let Some(doubt) = misfit(&lock, work)? else {
            return Ok((lock.target(&work.interpreter).cloned(), None));
        };
        if wanted.locked {
            return Err(Failure::user("lock", doubt).at(place).hint(again));
        }
        let hint = Some(again.to_owned());
        Ok((
            None,
            Some(Warning {
                message: doubt,
                place,
                hint,
            }),
        ))
    }

    /// Runs the stages and leases what they made.
    fn managed(
        &self,
        work: &Arc<Work>,
        resolve: Option<&Arc<ResolveNode>>,
        fixed: Option<&Fixed>,
        first: First<'_>,
    ) -> Result<Ready, Failure> {
        let mut first = Some(first);
        // Collection may take an environment between the look and the lease, once.
        for _ in 0..3 {
            let mut builder = GraphBuilder::new();
            let node = EnvironmentNode::new(Arc::clone(work), fixed.cloned());
            let environment = builder.node(Arc::new(node));
            let mut stages = Vec::new();
            if let Some(node) = resolve {
                let id = builder.node(Arc::clone(node) as Arc<dyn Node>);
                builder.depends(environment, id);
                stages.push(("resolve", id));
            }
            stages.push(("environment", environment));
            let reports = self.run(builder, &stages, &mut first)?;
            let outcome = reports
                .last()
                .and_then(|(_, report)| report.outcome.clone());
            let folder = outcome.as_ref().and_then(|outcome| outcome.text("folder"));
            let name = folder.ok_or_else(|| Failure::bug("an environment without a folder"))?;
            let folder = self.store.join("environments").join(name);
            let lease = Lease::take(&folder)
                .map_err(|error| desk::disk("cannot lock the environment", &error))?;
            if !build::is_there(&folder) {
                continue;
            }
            return Ok(Ready {
                interpreter: work.interpreter.in_environment(&folder),
                managed: true,
                identity: Digest::of(name.as_bytes()),
                note: String::new(),
                warnings: Vec::new(),
                stages: reports,
                lease,
            });
        }
        Err(
            Failure::environment("environment", "the environment goes as soon as it is made")
                .hint("another process is clearing the store; run it again"),
        )
    }

    fn run(
        &self,
        builder: GraphBuilder,
        stages: &[(&'static str, NodeId)],
        first: &mut Option<First<'_>>,
    ) -> Result<Vec<(&'static str, NodeReport)>, Failure> {
        let graph = builder
            .build()
            .map_err(|cycle| Failure::bug(cycle.to_string()))?;
        let graph = Arc::new(graph);
        let plan = synapse_engine::plan(&graph, &self.session)?;
        let there = |(_, id): &(_, NodeId)| plan.get(*id).decision.is_known();
        if !stages.iter().all(there)
            && let Some(first) = first.take()
        {
            first()?;
        }
        let report = synapse_engine::run(&graph, &plan, &self.session);
        let mut reports = Vec::new();
        for (name, id) in stages {
            let report = report.get(*id);
            if let Some(failure) = &report.failure {
                return Err(failure.clone());
            }
            if matches!(report.state, NodeState::Cancelled) {
                return Err(Failure::cancelled());
            }
            reports.push((*name, report.clone()));
        }
        Ok(reports)
    }
}

/// A plugin's lock file, when it has one.
fn read_lock(folder: &Path) -> Result<(PathBuf, Option<Lock>), Failure> {
    let path = folder.join(lock::FILE);
    let shown = path.display().to_string();
    let failed = |what: String| {
        let hint = "make it again with `synapse plugin lock --upgrade`";
        Failure::user("lock", what).at(shown.clone()).hint(hint)
    };
    match read_regular(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((path, None)),
        Err(error) => Err(failed(format!("cannot read {shown}: {error}"))),
        Ok(bytes) => {
            let text =
                String::from_utf8(bytes).map_err(|_| failed(format!("{shown} is not UTF-8")))?;
            let lock = Lock::parse(&text, &shown)?;
            Ok((path, Some(lock)))
        }
    }
}

/// Why a lock does not fit the requirements; nothing when it does.
fn misfit(lock: &Lock, work: &Work) -> Result<Option<String>, Failure> {
    let name = lock::FILE;
    if lock.requirements != lock::fingerprint(&work.inputs()?) {
        return Ok(Some(format!("{name} was made from other requirements")));
    }
    let python = work.interpreter.minor();
    let platform = lock::platform(&work.interpreter);
    let there = lock.target(&work.interpreter).is_some();
    let what = || format!("{name} has nothing for Python {python} on {platform}");
    Ok((!there).then(what))
}
