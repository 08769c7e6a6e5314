//! Toy nodes: each joins a source value with its dependencies' outputs into a blob, and counts
//! its runs.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(missing_docs, reason = "a test's own parts")]

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use synapse_engine::{
    Cacheability, Cancel, Context, Digest, EventLog, Failure, Graph, GraphBuilder, Input, Inputs,
    Label, Lane, Manifest, Node, NodeId, NodeReport, Outcome, Pending, Probe, Report, Rule,
    Session, Store,
};

#[derive(Clone, Default)]
pub struct Spec {
    pub name: String,
    pub source: String,
    pub dependencies: Vec<String>,
    pub version: u32,
    /// The output forgets all but this many bytes, so that edits may not show.
    pub keep: Option<usize>,
    pub fails: bool,
    pub panics: bool,
    pub lane_io: bool,
    pub receipt: bool,
    pub session_only: bool,
    /// Deciding about it takes a question.
    pub asks: bool,
    /// It takes its time.
    pub slow: bool,
}

pub struct Toy {
    pub spec: Spec,
    pub runs: Arc<Mutex<BTreeMap<String, u32>>>,
    pub world: Arc<World>,
}

/// The outside of toy nodes: what exists there, and whether receipts still hold.
#[derive(Default)]
pub struct World {
    pub made: Mutex<Vec<String>>,
    pub found: Mutex<Vec<String>>,
    pub refused: Mutex<Vec<String>>,
    pub gone: Mutex<Vec<String>>,
    pub absent: Mutex<Vec<String>>,
    pub restores: AtomicU32,
    /// Who asked, and what the store knew of it.
    pub asked: Mutex<Vec<String>>,
    /// Questions under way, and the most there ever were.
    pub asking: AtomicU32,
    pub most_asking: AtomicU32,
}

impl Node for Toy {
    fn rule(&self) -> Rule {
        Rule {
            name: "toy",
            version: self.spec.version,
        }
    }

    fn label(&self) -> Label {
        Label {
            stage: "toy".into(),
            subject: self.spec.name.clone(),
        }
    }

    fn lane(&self) -> Lane {
        if self.spec.lane_io {
            Lane::Io
        } else {
            Lane::Cpu
        }
    }

    fn manifest(&self, inputs: Inputs<'_>, out: &mut dyn Manifest) -> Result<(), Pending> {
        out.input("source", Input::Text(&self.spec.source));
        // What makes it fail is an input like any other.
        out.input("fails", Input::Flag(self.spec.fails));
        if let Some(keep) = self.spec.keep {
            out.input("keep", Input::Number(keep as u64));
        }
        for index in 0..self.spec.dependencies.len() {
            let name = format!("input {index}");
            out.input(&name, Input::Digest(inputs.output(index, "out")?));
        }
        Ok(())
    }

    fn asks(&self, known: Option<&Outcome>) -> bool {
        self.spec.asks && known.is_none()
    }

    fn ask(&self) {
        let world = &self.world;
        let now = world.asking.fetch_add(1, Ordering::SeqCst) + 1;
        world.most_asking.fetch_max(now, Ordering::SeqCst);
        // Whoever comes first waits for another, if one may come.
        let until = std::time::Instant::now() + std::time::Duration::from_secs(5);
        while world.most_asking.load(Ordering::SeqCst) < 2 && std::time::Instant::now() < until {
            std::thread::yield_now();
        }
        world.asking.fetch_sub(1, Ordering::SeqCst);
        world.asked.lock().unwrap().push(self.spec.name.clone());
    }

    fn probe(&self) -> Result<Probe, Failure> {
        if self.world.refused.lock().unwrap().contains(&self.spec.name) {
            return Err(Failure::user(
                "refused",
                format!("{} is refused", self.spec.name),
            ));
        }
        if self.world.found.lock().unwrap().contains(&self.spec.name) {
            return Ok(Probe::Satisfied(
                Outcome::new(Cacheability::Recheck).value("found", true),
            ));
        }
        Ok(Probe::Run(Vec::new()))
    }

    fn current(&self, _outcome: &Outcome) -> Result<bool, Failure> {
        Ok(!self.world.gone.lock().unwrap().contains(&self.spec.name))
    }

    fn present(&self, _outcome: &Outcome) -> bool {
        !self.world.absent.lock().unwrap().contains(&self.spec.name)
    }

    fn restore(&self, _context: &Context<'_>, _outcome: &Outcome) -> Result<(), Failure> {
        self.world.restores.fetch_add(1, Ordering::SeqCst);
        self.world
            .absent
            .lock()
            .unwrap()
            .retain(|name| *name != self.spec.name);
        Ok(())
    }

    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        *self
            .runs
            .lock()
            .unwrap()
            .entry(self.spec.name.clone())
            .or_default() += 1;
        if self.spec.slow {
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        if self.spec.fails {
            return Err(Failure::user("toy", format!("{} fails", self.spec.name)));
        }
        assert!(!self.spec.panics, "a toy panics");
        let mut text = self.spec.source.clone();
        for index in 0..self.spec.dependencies.len() {
            let (digest, size) = context.input(index)?.blob_of("out").unwrap();
            let mut blob = context.blob(&digest, size)?;
            let mut own = String::new();
            blob.file
                .read_to_string(&mut own)
                .map_err(|_| Failure::missing_blob(digest))?;
            if Digest::of(own.as_bytes()) != digest {
                return Err(Failure::missing_blob(digest));
            }
            text = format!("{text}({own})");
        }
        if let Some(keep) = self.spec.keep {
            text.truncate(keep);
        }
        // Deep graphs must not grow without bound.
        if text.len() > 200 {
            text = Digest::of(text.as_bytes()).hex();
        }
        let mut file = context.writer()?;
        file.write_all(text.as_bytes())
            .map_err(|e| Failure::environment("write", e.to_string()))?;
        let digest = Digest::of(text.as_bytes());
        context.place(file, &digest, text.len() as u64)?;
        self.world.made.lock().unwrap().push(self.spec.name.clone());
        let cacheability = match (self.spec.receipt, self.spec.session_only) {
            (true, _) => Cacheability::Recheck,
            (_, true) => Cacheability::SessionOnly,
            _ => Cacheability::Store,
        };
        Ok(Outcome::new(cacheability).blob("out", digest, text.len() as u64))
    }
}

pub struct Bench {
    pub store: Arc<dyn Store>,
    pub runs: Arc<Mutex<BTreeMap<String, u32>>>,
    pub world: Arc<World>,
    pub events: Arc<EventLog>,
    pub cancel: Cancel,
    pub fail_fast: bool,
    pub thorough: bool,
    pub jobs: usize,
}

pub fn now() -> i64 {
    1_000_000
}

impl Bench {
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            runs: Arc::default(),
            world: Arc::default(),
            events: Arc::default(),
            cancel: Cancel::default(),
            fail_fast: false,
            thorough: true,
            jobs: 2,
        }
    }

    pub fn session(&self) -> Session {
        Session {
            store: Arc::clone(&self.store),
            events: Arc::<EventLog>::clone(&self.events),
            cancel: self.cancel.clone(),
            scope: "test".into(),
            clock: now,
            jobs: self.jobs,
            io_jobs: 2,
            fail_fast: self.fail_fast,
            thorough: self.thorough,
        }
    }

    pub fn graph(&self, specs: &[Spec]) -> (Arc<Graph>, BTreeMap<String, NodeId>) {
        let mut builder = GraphBuilder::new();
        let mut ids = BTreeMap::new();
        for spec in specs {
            let (spec, runs, world) = (
                spec.clone(),
                Arc::clone(&self.runs),
                Arc::clone(&self.world),
            );
            let name = spec.name.clone();
            ids.insert(name, builder.node(Arc::new(Toy { spec, runs, world })));
        }
        for spec in specs {
            for on in &spec.dependencies {
                builder.depends(ids[&spec.name], ids[on]);
            }
        }
        (Arc::new(builder.build().unwrap()), ids)
    }

    pub fn try_run(&self, specs: &[Spec]) -> Result<(Report, BTreeMap<String, NodeId>), Failure> {
        let (graph, ids) = self.graph(specs);
        let session = self.session();
        let plan = synapse_engine::plan(&graph, &session)?;
        Ok((synapse_engine::run(&graph, &plan, &session), ids))
    }

    pub fn run(&self, specs: &[Spec]) -> BTreeMap<String, NodeReport> {
        let (report, ids) = self.try_run(specs).unwrap();
        ids.into_iter()
            .map(|(name, id)| (name, report.get(id).clone()))
            .collect()
    }

    /// Runs since the last call, by name.
    pub fn taken(&self) -> Vec<String> {
        let runs = std::mem::take(&mut *self.runs.lock().unwrap());
        runs.into_iter()
            .flat_map(|(name, times)| (0..times).map(move |_| name.clone()))
            .collect()
    }
}

pub fn spec(name: &str, source: &str, dependencies: &[&str]) -> Spec {
    Spec {
        name: name.into(),
        source: source.into(),
        dependencies: dependencies.iter().map(ToString::to_string).collect(),
        version: 1,
        ..Spec::default()
    }
}
