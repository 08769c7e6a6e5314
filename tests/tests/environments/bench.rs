//! Owns [`Bench`]: an index of tiny wheels, a store and plugins, with every child counted.

use std::{
    ffi::OsString,
    fs, io,
    io::Write,
    path::PathBuf,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use synapse_engine::{Cancel, Failure, Session, Silence, index::Index, store::SqliteStore};
use synapse_rules::{
    config::{self, Config},
    counters::Counters,
    environment::{Environments, LockChange, Ready, Wanted},
    plugin::{self, Above, Plugin, Source, Trust},
    python::{
        Variables,
        process::{Call, Children, Ended, Processes},
    },
};
use tempfile::TempDir;
use zip::write::SimpleFileOptions;

pub(crate) const CANARY: &str = "c4n4ry-of-the-tests";

/// The real children, counted.
#[derive(Default)]
pub(crate) struct Counted {
    pub(crate) started: AtomicUsize,
    pub(crate) environments: AtomicUsize,
}

impl Processes for Counted {
    fn run(&self, call: &Call, cancel: &Cancel) -> io::Result<Ended> {
        self.started.fetch_add(1, Ordering::SeqCst);
        if call.args.iter().any(|arg| arg == "venv") {
            self.environments.fetch_add(1, Ordering::SeqCst);
        }
        let shown = format!("{:?}", call.args);
        assert!(!shown.contains(CANARY), "{shown}");
        Children.run(call, cancel)
    }
}

/// A folder with an index, a store and plugins.
pub(crate) struct Bench {
    pub(crate) folder: TempDir,
    pub(crate) processes: Arc<Counted>,
    pub(crate) variables: Vec<(OsString, OsString)>,
}

pub(crate) fn seconds() -> i64 {
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64
}

impl Bench {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bench = Self {
            variables: vec![
                ("PATH".into(), std::env::var_os("PATH").unwrap()),
                ("HOME".into(), folder.path().join("user").into()),
                ("SYNAPSE_ACCESS_TOKEN".into(), CANARY.into()),
            ],
            folder,
            processes: Arc::default(),
        };
        for (name, version) in [
            ("pydantic", "2.5"),
            ("pydantic", "2.9"),
            ("urllib3", "2.0"),
            ("tiny_a", "1.0"),
            ("tiny_b", "1.0"),
        ] {
            bench.wheel("index", name, version, &[]);
        }
        bench
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.path("store")
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A wheel with a package that knows its version.
    pub(crate) fn wheel(&self, folder: &str, name: &str, version: &str, needs: &[&str]) {
        let info = format!("{name}-{version}.dist-info");
        let needs: Vec<String> = needs
            .iter()
            .map(|need| format!("Requires-Dist: {need}\n"))
            .collect();
        let needs = needs.concat();
        let metadata = format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}");
        let files = [
            (
                format!("{name}/__init__.py"),
                format!("VERSION = '{version}'\n"),
            ),
            (format!("{info}/METADATA"), metadata),
            (
                format!("{info}/WHEEL"),
                "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
                    .to_owned(),
            ),
        ];
        let mut record: Vec<String> = files
            .iter()
            .map(|(path, _)| format!("{path},,\n"))
            .collect();
        record.push(format!("{info}/RECORD,,\n"));
        let record = record.concat();
        let path = self.path(folder);
        fs::create_dir_all(&path).unwrap();
        let file =
            fs::File::create(path.join(format!("{name}-{version}-py3-none-any.whl"))).unwrap();
        let mut zip = zip::ZipWriter::new(file);
        let record = [(format!("{info}/RECORD"), record)];
        for (path, text) in files.iter().chain(&record) {
            zip.start_file(path.as_str(), SimpleFileOptions::default())
                .unwrap();
            zip.write_all(text.as_bytes()).unwrap();
        }
        zip.finish().unwrap();
    }

    /// A plugin whose requirements come from the index.
    pub(crate) fn plugin(&self, name: &str, config: &str, requirements: &str) {
        let config = format!(
            "name: Tiny\ncode: {name}\nversion: 0.1.0\ncategory: custom\n{config}actions:\n  run:\n    \
             entrypoint: plugin.run:main\n"
        );
        self.write(&format!("{name}/config.yaml"), &config);
        let head = "--no-index\n--find-links ../index\n";
        self.write(
            &format!("{name}/requirements.txt"),
            &format!("{head}{requirements}"),
        );
        self.write(
            &format!("{name}/plugin/run.py"),
            "def main():\n    return 1\n",
        );
    }

    pub(crate) fn environments(&self) -> Environments {
        let store = SqliteStore::open(&self.store(), None).unwrap();
        let session = Session {
            store: Arc::new(store),
            events: Arc::new(Silence),
            cancel: Cancel::default(),
            scope: "test".to_owned(),
            clock: seconds,
            jobs: 2,
            io_jobs: 2,
            fail_fast: false,
            thorough: false,
        };
        let variables = Variables::of(self.variables.clone());
        let processes = Arc::clone(&self.processes) as Arc<dyn Processes>;
        Environments::new(&self.store(), &session, variables, processes)
    }

    pub(crate) fn load(&self, name: &str) -> (Plugin, Config) {
        let source = Source {
            workspace: self.path(name).canonicalize().unwrap(),
            place: String::new(),
            config: None,
        };
        let index = Index::load(
            &self.path("no-index"),
            &synapse_rules::publish::fingerprint(),
        );
        let (above, counters) = (Above::default(), Counters::default());
        let plugin = plugin::load(&source, &index, &above, Trust::Nothing, 0, &counters).unwrap();
        let bytes = fs::read(self.path(name).join("config.yaml")).unwrap();
        let config = config::parse(&bytes, "config.yaml").config.unwrap();
        (plugin, config)
    }

    pub(crate) fn try_ready(&self, name: &str, wanted: &Wanted) -> Result<Ready, Failure> {
        let (plugin, config) = self.load(name);
        self.environments().ready(&plugin, &config, wanted)
    }

    #[track_caller]
    pub(crate) fn ready(&self, name: &str) -> Ready {
        let ready = self.try_ready(name, &Wanted::default());
        ready.unwrap_or_else(|failure| panic!("{failure:#?}"))
    }

    pub(crate) fn lock(&self, name: &str, wanted: &Wanted) -> Result<LockChange, Failure> {
        let (plugin, config) = self.load(name);
        self.environments().lock(&plugin, &config, wanted)
    }

    pub(crate) fn started(&self) -> usize {
        self.processes.started.swap(0, Ordering::SeqCst)
    }
}

/// What a program prints with the environment's Python.
pub(crate) fn python(ready: &Ready, program: &str) -> String {
    let mut command = Command::new(&ready.interpreter.executable);
    let output = command.args(["-c", program]).env_clear().output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

pub(crate) fn is_in(failure: &Failure, text: &str) -> bool {
    failure.message.contains(text)
}
