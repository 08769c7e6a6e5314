//! Owns what is noted of this invocation while it goes on, and written down when it is over: its
//! line in the journal, the page of timings and the trace.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Instant,
};

use synapse_engine::{
    Decision, Digest, DirtyReason, EventSink, Failure, FailureKind, Key, NodeReport, NodeState,
    Recorded, Tree,
};
use synapse_rules::{
    action, fileset,
    plugin::Source,
    publish::{PluginReport, Stage, Status},
};

use crate::{
    app::{self, App},
    args::{Command, Recording},
    journal::{Counts, Entry, ErrorLine, Journal, Known, NodeLine, PluginLine, RunLine, Trailer},
    render::{
        DIM, Printer,
        document::{Totals, folder_name, status_name},
        error, paint, timings, trace,
    },
    timeline::{Timed, Timeline},
};

mod line;

/// Digits of a key that are kept of what was known.
const KEY: usize = 32;
/// Files of a run's plugin that are listed, if there are no more.
const FILES: usize = 1000;

/// Keys by stage and where it goes, then by plugin.
type Keys<'a> = BTreeMap<(&'a str, Option<&'a str>), BTreeMap<String, String>>;

/// What is noted of an invocation.
pub struct Invocation {
    start: Instant,
    words: OnceLock<Words>,
    timeline: OnceLock<Arc<Timeline>>,
    files: Mutex<Vec<Output>>,
    told: Mutex<Option<Entry>>,
}

/// A file that was asked for.
struct Output {
    path: PathBuf,
    file: File,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Timings,
    Trace,
}

impl Default for Invocation {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            words: OnceLock::new(),
            timeline: OnceLock::new(),
            files: Mutex::default(),
            told: Mutex::default(),
        }
    }
}

impl Invocation {
    /// Takes what it was asked, if that is noted.
    pub fn begin(&self, command: &Command) {
        if let Some(words) = line::of(command) {
            let _ = self.words.set(words);
        }
    }

    /// Opens the files that are asked for, before anything is done. One that the plugins at
    /// `sources` would be published with is refused.
    pub fn record(
        &self,
        app: &App,
        recording: &Recording,
        sources: &[Source],
    ) -> Result<(), Failure> {
        let asked = [
            ("--timings", &recording.timings, Kind::Timings),
            ("--trace", &recording.trace, Kind::Trace),
        ];
        let mut files = Vec::new();
        for (option, path, kind) in asked {
            let Some(path) = path else { continue };
            let path = app.cwd.join(path);
            for source in sources {
                refuse_inside(option, &path, source)?;
            }
            let file = open(option, &path)?;
            files.push(Output { path, file, kind });
        }
        if !files.is_empty() {
            self.timeline
                .get_or_init(|| Arc::new(Timeline::new(self.start)));
            *self.files.lock().unwrap_or_else(PoisonError::into_inner) = files;
        }
        Ok(())
    }

    /// Who hears events: the given one, and the timeline where somebody asked for it.
    pub fn hearing(&self, inner: Arc<dyn EventSink>) -> Arc<dyn EventSink> {
        match self.timeline.get() {
            Some(timeline) => Arc::new(Timed {
                inner,
                timeline: Arc::clone(timeline),
            }),
            None => inner,
        }
    }

    /// What a publish or an upload came to.
    pub fn published(
        &self,
        app: &App,
        root: &Path,
        targets: &[&str],
        reports: &[PluginReport],
        totals: &Totals,
    ) {
        let Some(words) = self.words.get() else {
            return;
        };
        let mut entry = Entry {
            scope: root.display().to_string(),
            targets: targets.iter().map(|name| (*name).to_owned()).collect(),
            counts: Some(counts(totals)),
            ..Entry::default()
        };
        let state = format!("{:032x}", state(reports));
        let of = words.of(&entry.scope);
        let like = (totals.nodes_run == 0)
            .then(|| Journal::new(app.home.journal()).like(&of, &state))
            .flatten();
        entry.trailer = Trailer {
            of,
            state,
            like,
            id: 0,
        };
        let known = |report: &PluginReport| {
            report.status == Status::UpToDate && report.failure.is_none() && like.is_some()
        };
        let mut keys: Keys<'_> = BTreeMap::new();
        // A thousand that are as they were cost next to nothing.
        for report in reports.iter().filter(|report| !known(report)) {
            let name = report
                .plugin
                .as_ref()
                .map_or_else(|| folder_name(report), |plugin| plugin.subject());
            if report.status != Status::UpToDate || report.failure.is_some() {
                entry.plugins.push(plugin(report, name.clone()));
            }
            for stage in &report.stages {
                let node = &stage.report;
                if let Some(line) = node_line(stage.stage, &name, node) {
                    let target = stage.target.clone();
                    entry.nodes.push(NodeLine { target, ..line });
                } else if let (Some(key), None) = (end_key(stage), like) {
                    let place = (stage.stage, stage.target.as_deref());
                    keys.entry(place)
                        .or_default()
                        .insert(name.clone(), shown(key));
                }
            }
        }
        entry.known = known_of(keys);
        self.tell(entry);
    }

    /// A run that a platform has taken.
    pub fn sent(&self, run: RunLine) {
        self.tell(Entry {
            run: Some(run),
            ..Entry::default()
        });
    }

    /// What the run of an action came to, and the stages that led to it.
    pub fn ran<'n>(
        &self,
        root: &Path,
        mut run: RunLine,
        stages: impl Iterator<Item = (&'n str, &'n NodeReport)>,
    ) {
        let mut nodes = Vec::new();
        let mut keys: Keys<'_> = BTreeMap::new();
        for (stage, node) in stages {
            match (node_line(stage, &run.plugin, node), node.key) {
                (Some(mut line), _) => {
                    // An action that is not reused has no past: each run is its first.
                    line.reasons
                        .retain(|own| *own != DirtyReason::FirstRun || stage != action::STAGE);
                    nodes.push(line);
                }
                (None, Some(key)) => {
                    let own = BTreeMap::from([(run.plugin.clone(), shown(&key))]);
                    keys.insert((stage, None), own);
                }
                (None, None) => {}
            }
        }
        for (_, value) in run.manifest.iter_mut().flat_map(|own| &mut own.0) {
            if let Recorded::Files(files) = value
                && files.len() > FILES
            {
                *value = Recorded::Digest(Tree::new(std::mem::take(files)).digest());
            }
        }
        self.tell(Entry {
            scope: root.display().to_string(),
            nodes,
            known: known_of(keys),
            run: Some(run),
            ..Entry::default()
        });
    }

    fn tell(&self, entry: Entry) {
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = Some(entry);
    }

    /// Writes down what there is to write: it is over.
    pub fn end(&self, app: &App, outcome: &Result<u8, Failure>) {
        let exit = match outcome {
            Ok(code) => *code,
            Err(failure) => error::exit_code(failure.kind),
        };
        let words = self.words.get();
        self.write_files(app, words.map_or("", |words| &words.line), exit);
        let misused = matches!(outcome, Err(failure) if failure.kind == FailureKind::Usage);
        let Some(words) = words.filter(|_| !misused) else {
            return;
        };
        let told = self
            .told
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let ms = self.start.elapsed().as_millis() as u64;
        // Whoever failed before there was anything leaves no folder behind.
        let folder = told.is_some();
        let told = told.unwrap_or_default();
        let is_run = words.command == "run";
        let entry = Entry {
            at: app::seconds() - (ms / 1000) as i64,
            ms,
            exit,
            command: words.command.to_owned(),
            line: words.line.clone(),
            error: outcome.as_ref().err().map(|own| error_line(own, !is_run)),
            ..told
        };
        let journal = Journal::new(app.home.journal());
        if let Err(error) = journal.append(entry, folder)
            && app.output.verbose
            && !app.output.is_machine()
        {
            Printer::stderr(&app.output).line(format!(
                "{} this was not written into the journal: {error}",
                paint(DIM, "note:")
            ));
        }
    }

    fn write_files(&self, app: &App, line: &str, exit: u8) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(timeline) = self.timeline.get() else {
            return;
        };
        let chart = timeline.chart();
        let begun = app::seconds() - (chart.wall / 1_000_000) as i64;
        for Output { path, file, kind } in files.iter_mut() {
            let text = match kind {
                Kind::Timings => timings::page(&chart, line, begun, exit),
                Kind::Trace => trace::events(&chart, line),
            };
            // A pipe has no length.
            let _ = file.set_len(0);
            if let Err(error) = file.write_all(text.as_bytes()) {
                let what = format!("cannot write {}: {error}", path.display());
                error::print(
                    &mut Printer::stderr(&app.output),
                    &Failure::environment("unwritable", what),
                );
            }
        }
        files.clear();
    }
}

/// A file that lies where a plugin's files lie would become one of them.
fn refuse_inside(option: &str, path: &Path, source: &Source) -> Result<(), Failure> {
    let real = real(path);
    let folder = fs::canonicalize(source.folder()).unwrap_or_else(|_| source.folder());
    let Ok(own) = real.strip_prefix(&folder) else {
        return Ok(());
    };
    let own = own.to_string_lossy();
    let taken = fileset::takes(&source.workspace, &source.place, &own);
    // What cannot be read is told when the plugin is.
    if !taken.unwrap_or(false) {
        return Ok(());
    }
    let what = format!(
        "{} would be published with the plugin that it lies in",
        path.display()
    );
    Err(Failure::usage(what).hint(format!(
        "name another place for {option}, such as ../{}",
        path.file_name().unwrap_or_default().to_string_lossy()
    )))
}

/// The path without links in its folders, of a file that need not be there.
fn real(path: &Path) -> PathBuf {
    if let Ok(real) = fs::canonicalize(path) {
        return real;
    }
    let folder = path
        .parent()
        .and_then(|folder| fs::canonicalize(folder).ok());
    match (folder, path.file_name()) {
        (Some(folder), Some(name)) => folder.join(name),
        _ => path.to_owned(),
    }
}

fn open(option: &str, path: &Path) -> Result<File, Failure> {
    let opened = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path);
    opened.map_err(|error| {
        let what = format!("cannot write {}: {error}", path.display());
        let hint = match error.kind() {
            io::ErrorKind::NotFound => "make its folder first, or name another place".to_owned(),
            _ => format!("name another place for {option}"),
        };
        Failure::environment("unwritable", what).hint(hint)
    })
}

/// The key of a last stage whose result is known.
fn end_key(stage: &Stage) -> Option<&Key> {
    stage.target.as_ref()?;
    let done = stage.report.state == NodeState::Done;
    stage.report.key.as_ref().filter(|_| done)
}

/// All results together, whatever their order. Keys are digests: their sum is as good as one.
fn state(reports: &[PluginReport]) -> u128 {
    let keys = reports
        .iter()
        .flat_map(|report| &report.stages)
        .filter_map(end_key);
    keys.fold(0, |sum, key| {
        let bytes = std::array::from_fn(|index| key.0.as_bytes()[index]);
        sum.wrapping_add(u128::from_le_bytes(bytes))
    })
}

fn shown(key: &Key) -> String {
    let mut key = key.0.hex();
    key.truncate(KEY);
    key
}

fn known_of(keys: Keys<'_>) -> Vec<Known> {
    let known = keys.into_iter().map(|((stage, target), keys)| Known {
        stage: stage.to_owned(),
        target: target.map(str::to_owned),
        keys,
    });
    known.collect()
}

fn counts(totals: &Totals) -> Counts {
    Counts {
        plugins: totals.plugins,
        published: totals.published,
        up_to_date: totals.up_to_date,
        failed: totals.failed,
        nodes_run: totals.nodes_run,
        nodes_hit: totals.nodes_hit,
        requests: totals.requests,
        bytes_sent: totals.bytes_sent,
    }
}

fn plugin(report: &PluginReport, name: String) -> PluginLine {
    let version = report.plugin.as_ref().map(|own| own.head.version.clone());
    let bump = report.bump.as_ref();
    PluginLine {
        plugin: name,
        version: bump
            .map(|bump| bump.new.to_string())
            .or(version)
            .unwrap_or_default(),
        was: bump.map(|bump| bump.old.to_string()),
        status: status_name(report.status).to_owned(),
        error: report.failure.as_ref().map(|own| error_line(own, true)),
    }
}

fn error_line(failure: &Failure, quoted: bool) -> ErrorLine {
    let first = failure.message.lines().next().unwrap_or_default();
    ErrorLine {
        code: failure.code.clone(),
        message: if quoted { first } else { "" }.to_owned(),
    }
}

/// The line of a stage that ran, or failed.
fn node_line(stage: &str, plugin: &str, node: &NodeReport) -> Option<NodeLine> {
    let (ran, reasons) = match &node.decision {
        Decision::Run(reasons) => (
            node.state == NodeState::Done && !node.shared,
            reasons.as_slice(),
        ),
        _ => (false, &[][..]),
    };
    let failed = node.failure.as_ref().map(|failure| failure.code.clone());
    if !ran && failed.is_none() {
        return None;
    }
    Some(NodeLine {
        stage: stage.to_owned(),
        plugin: plugin.to_owned(),
        target: None,
        key: node.key.as_ref().map(shown),
        ms: node.ms,
        reasons: reasons.to_vec(),
        failed,
    })
}

/// What a command is called in the journal, and what it was asked.
struct Words {
    command: &'static str,
    line: String,
}

impl Words {
    /// Names the line in a workspace.
    fn of(&self, scope: &str) -> String {
        let mut name = Digest::of(format!("{scope}\0{}", self.line).as_bytes()).hex();
        name.truncate(16);
        name
    }
}
