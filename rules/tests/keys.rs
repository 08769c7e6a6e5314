//! What is in the keys of the stages, and what is not: dropping or adding a field fails here.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{Arc, Mutex},
};

use synapse_engine::{
    Cancel, Context, Decision, Digest, Failure, Graph, GraphBuilder, Inputs, Label, Manifest, Node,
    NodeId, NodeReport, NodeState, Outcome, Pending, Rule, Session, Silence,
    index::Index,
    store::{Ledger, MemoryStore, Subject},
};
use synapse_rules::{
    archive::ArchiveNode,
    checksum::ChecksumNode,
    client::{Backend, ClientError, Release, Slot, Upload},
    counters::Counters,
    inspect::{InspectNode, NoSchemas},
    plugin::{self, Above, Plugin, Source, Trust},
    secrets::Scanner,
    sync::SyncNode,
    target::Target,
    upload::UploadNode,
};

#[derive(Default)]
struct Platform {
    name: &'static str,
    releases: Mutex<Vec<Release>>,
}

impl Backend for Platform {
    fn identity(&self) -> String {
        self.name.to_owned()
    }

    fn releases(&self, code: &str) -> Result<Vec<Release>, ClientError> {
        Ok(self
            .all()?
            .into_iter()
            .filter(|release| release.slot.code == code)
            .collect())
    }

    fn find(&self, slot: &Slot) -> Result<Option<Release>, ClientError> {
        Ok(self
            .all()?
            .into_iter()
            .find(|release| release.slot == *slot))
    }

    fn content(&self, release: &Release) -> Result<Digest, ClientError> {
        release
            .content
            .ok_or_else(|| ClientError::Unavailable("no content".into()))
    }

    fn all(&self) -> Result<Vec<Release>, ClientError> {
        Ok(self.releases.lock().unwrap().clone())
    }

    fn create(&self, upload: &Upload<'_>) -> Result<Release, ClientError> {
        let mut releases = self.releases.lock().unwrap();
        let release = Release {
            id: (releases.len() + 1).to_string(),
            slot: upload.slot.clone(),
            content: Some(upload.content),
            md5: Some(upload.md5.to_owned()),
            size: Some(upload.size),
            url: String::new(),
            created: 0,
        };
        releases.push(release.clone());
        Ok(release)
    }
}

/// The archive stage as a later release might have it.
struct Raised(ArchiveNode, u32);

impl Node for Raised {
    fn rule(&self) -> Rule {
        let Rule { name, version } = self.0.rule();
        Rule {
            name,
            version: version + self.1,
        }
    }

    fn label(&self) -> Label {
        self.0.label()
    }

    fn manifest(&self, inputs: Inputs<'_>, out: &mut dyn Manifest) -> Result<(), Pending> {
        self.0.manifest(inputs, out)
    }

    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        self.0.run(context)
    }
}

struct Bench {
    folder: tempfile::TempDir,
    store: Arc<MemoryStore>,
    platform: Arc<Platform>,
    allow: Vec<String>,
    debug: bool,
    raised: u32,
}

fn now() -> i64 {
    1_000
}

const CONFIG: &str = "name: A\ncode: a\nversion: 0.1.0\ncategory: custom\nactions:\n  run: \
                      plugin.run:Run\n";

impl Bench {
    fn new() -> Self {
        let bench = Self {
            folder: tempfile::tempdir().unwrap(),
            store: Arc::new(MemoryStore::new().unwrap()),
            platform: Arc::new(Platform {
                name: "one",
                ..Platform::default()
            }),
            allow: Vec::new(),
            debug: false,
            raised: 0,
        };
        bench.write("config.yaml", CONFIG);
        bench.write("plugin/run.py", "class Run:\n    pass\n");
        bench
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.folder.path().join("work").join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
        fs::write(path, text).unwrap();
    }

    fn load(&self) -> Arc<Plugin> {
        let source = Source {
            workspace: self.path(""),
            place: String::new(),
            config: None,
        };
        let (index, counters) = (Index::default(), Counters::default());
        let loaded = plugin::load(
            &source,
            &index,
            &Above::default(),
            Trust::Nothing,
            0,
            &counters,
        );
        Arc::new(loaded.unwrap())
    }

    fn graph(&self) -> (Arc<Graph>, [NodeId; 3]) {
        let plugin = self.load();
        let counters = Arc::new(Counters::default());
        let ledger = Ledger::open(&self.folder.path().join("ledger.db"), None).unwrap();
        let platform: Arc<dyn Backend> = Arc::<Platform>::clone(&self.platform);
        let target = Target::new(
            "one",
            platform,
            Arc::new(ledger),
            Arc::clone(&counters),
            now,
        );
        let target = target.embedded();
        let scanner = Arc::new(Scanner::new(&self.allow).unwrap());
        let mut builder = GraphBuilder::new();
        let archive = ArchiveNode::new(Arc::clone(&plugin), scanner, counters);
        let archive = builder.node(Arc::new(Raised(archive, self.raised)));
        let checksum = builder.node(Arc::new(ChecksumNode::new(Arc::clone(&plugin))));
        let upload = UploadNode::new(
            plugin,
            Arc::new(target),
            self.debug,
            Arc::<MemoryStore>::clone(&self.store),
            now,
        );
        let upload = builder.node(Arc::new(upload));
        builder.depends(checksum, archive);
        builder.depends(upload, archive);
        builder.depends(upload, checksum);
        (
            Arc::new(builder.build().unwrap()),
            [archive, checksum, upload],
        )
    }

    fn session(&self) -> Session {
        Session {
            store: Arc::<MemoryStore>::clone(&self.store),
            events: Arc::new(Silence),
            cancel: Cancel::default(),
            scope: "w".into(),
            clock: now,
            jobs: 1,
            io_jobs: 1,
            fail_fast: false,
            thorough: true,
        }
    }

    fn run(&self) -> [NodeReport; 3] {
        let (graph, ids) = self.graph();
        let session = self.session();
        let plan = synapse_engine::plan(&graph, &session).unwrap();
        let report = synapse_engine::run(&graph, &plan, &session);
        ids.map(|id| report.get(id).clone())
    }

    /// Keys of archive and upload as planned now.
    fn keys(&self) -> [Digest; 2] {
        let (graph, [archive, _, upload]) = self.graph();
        let plan = synapse_engine::plan(&graph, &self.session()).unwrap();
        [archive, upload].map(|id| plan.get(id).key.unwrap().0)
    }

    fn names(&self, stage: &str) -> Vec<String> {
        let subject = Subject {
            scope: "w".into(),
            stage: stage.into(),
            name: "a".into(),
        };
        let past = synapse_engine::Store::history(self.store.as_ref(), &subject, 1).unwrap();
        past[0]
            .record
            .0
            .iter()
            .map(|(name, _)| name.clone())
            .collect()
    }
}

#[test]
fn manifests_name_every_input() {
    let bench = Bench::new();
    bench.run();
    let all = ["archive", "checksum", "upload"].map(|stage| (stage, bench.names(stage)));
    insta::assert_debug_snapshot!(all);
}

impl Bench {
    /// Runs inspection and sync; what became of both.
    fn sync(&self) -> [NodeReport; 2] {
        let plugin = self.load();
        let scanner = Arc::new(Scanner::new(&self.allow).unwrap());
        let mut builder = GraphBuilder::new();
        let inspect = InspectNode::new(Arc::clone(&plugin), Arc::new(NoSchemas));
        let inspect = builder.node(Arc::new(inspect));
        let store = Arc::<MemoryStore>::clone(&self.store);
        let sync = builder.node(Arc::new(SyncNode::new(plugin, scanner, store)));
        builder.depends(sync, inspect);
        let graph = Arc::new(builder.build().unwrap());
        let session = self.session();
        let plan = synapse_engine::plan(&graph, &session).unwrap();
        let report = synapse_engine::run(&graph, &plan, &session);
        [inspect, sync].map(|id| report.get(id).clone())
    }
}

#[test]
fn inspection_and_sync_read_what_their_manifests_name() {
    let bench = Bench::new();
    let base = bench.sync().map(|report| report.key.unwrap());
    let all = ["inspect", "sync"].map(|stage| (stage, bench.names(stage)));
    insta::assert_debug_snapshot!(all);
    let mut differs = Vec::new();
    let mut see = |what: &'static str, bench: &Bench| {
        let keys = bench.sync().map(|report| report.key.unwrap());
        differs.push((what, [keys[0] != base[0], keys[1] != base[1]]));
    };
    bench.write("notes.txt", "x");
    see("a file that is no Python", &bench);
    bench.write("plugin/run.py", "class Run:\n    x = 1\n");
    see("a source that says the same of actions", &bench);
    bench.write("plugin/run.py", "class Run:\n    method = 'job'\n");
    see("a source that says something else", &bench);
    bench.write("plugin/run.py", "class Run:\n    pass\n");
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(bench.path("plugin/run.py"), executable).unwrap();
    see("the executable bit", &bench);
    bench.write("config.yaml", &format!("{CONFIG}# a comment\n"));
    see("a comment in the configuration", &bench);
    bench.write("config.yaml", &CONFIG.replace("  run:", "  go:"));
    see("the name of an action", &bench);
    insta::assert_debug_snapshot!(differs);
}

#[test]
fn every_input_counts_where_it_is_read_and_nowhere_else() {
    let mut bench = Bench::new();
    let base = bench.keys();
    let mut differs = Vec::new();
    let mut see = |what: &'static str, bench: &Bench| {
        let keys = bench.keys();
        differs.push((what, [keys[0] != base[0], keys[1] != base[1]]));
    };
    bench.write("plugin/run.py", "class Run:\n    x = 1\n");
    see("a file's bytes", &bench);
    bench.write("plugin/run.py", "class Run:\n    pass\n");
    see("written again with the same bytes", &bench);
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(bench.path("plugin/run.py"), executable).unwrap();
    see("the executable bit", &bench);
    fs::set_permissions(
        bench.path("plugin/run.py"),
        fs::Permissions::from_mode(0o640),
    )
    .unwrap();
    see("other bits of the mode", &bench);
    bench.write("plugin/more.py", "");
    see("a new file", &bench);
    bench.write(".gitignore", "more.py\n");
    see("the same file, ignored", &bench);
    fs::remove_file(bench.path("plugin/more.py")).unwrap();
    bench.write("config.yaml", &CONFIG.replace("0.1.0", "0.1.1"));
    see("the version", &bench);
    bench.write("config.yaml", &CONFIG.replace("code: a", "code: b"));
    see("the code", &bench);
    bench.write("config.yaml", CONFIG);
    bench.debug = true;
    see("a debug release", &bench);
    bench.debug = false;
    bench.allow = vec!["*.pem".into()];
    see("what may look like a credential", &bench);
    bench.allow.clear();
    bench.raised = 1;
    see("the version of the archive rule", &bench);
    bench.raised = 0;
    bench.platform = Arc::new(Platform {
        name: "two",
        ..Platform::default()
    });
    see("the target", &bench);
    insta::assert_debug_snapshot!(differs);
}

#[test]
fn a_raised_archive_rule_leaves_what_is_published_up_to_date() {
    let mut bench = Bench::new();
    let [archive, checksum, upload] = bench.run();
    assert!(
        [&archive, &checksum, &upload]
            .iter()
            .all(|report| report.state == NodeState::Done)
    );
    bench.raised = 1;
    let [archive, _, upload] = bench.run();
    assert_eq!(upload.decision, Decision::Hit);
    assert_ne!(archive.state, NodeState::Done, "nobody needs the archive");
    assert_eq!(bench.platform.releases.lock().unwrap().len(), 1);
    // Even a new store asks first, and makes no second archive.
    bench.store = Arc::new(MemoryStore::new().unwrap());
    let [archive, _, upload] = bench.run();
    assert_eq!(
        (upload.decision, archive.state),
        (Decision::Hit, NodeState::Idle)
    );
}

#[test]
fn the_ledger_ends_confirmed() {
    let bench = Bench::new();
    let ledger = Ledger::open(&bench.folder.path().join("ledger.db"), None).unwrap();
    bench.run();
    assert!(ledger.unsettled().unwrap().is_empty());
    let last = ledger.last("one", "a 0.1.0").unwrap().unwrap();
    assert_eq!(last.state, synapse_engine::store::EffectState::Confirmed);
    assert_eq!(last.receipt.as_deref(), Some("1"));
}
