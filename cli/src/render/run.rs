//! Owns how a run looks: its head, what the action says, its progress, its result; for programs
//! a line per event and one document.

use std::{
    collections::HashMap,
    io::Write,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use synapse_engine::Failure;
use synapse_rules::worker::{
    protocol::{Message, Progress},
    pump::{Sink, Stream, Why},
};

use super::{
    BOLD, GOOD, Printer, WARN,
    board::{self, Busy},
    error::ErrorObject,
    message, note_lost, paint,
};
use crate::args::Output;

/// A result that is longer is printed on several lines, in characters.
const LINE: usize = 100;

/// Shows a run as it goes on.
pub struct LiveRun {
    state: Mutex<State>,
    shows: Shows,
    debug: bool,
    verbose: bool,
    watched: bool,
}

/// Who looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shows {
    /// A person; with bars when it is a terminal.
    Text { bars: bool },
    /// A program that reads standard output at the end: what the action prints goes elsewhere.
    Document,
    /// A program that reads a line per event.
    Events,
    /// Nobody, but what the action prints.
    Quiet,
}

struct State {
    printer: Printer,
    /// Steps that are under way, where they are shown in the live area.
    steps: HashMap<String, Busy>,
    /// What is waited for before the action says anything.
    awaited: Option<Busy>,
    /// Tenths of each step that were told.
    told: HashMap<String, u64>,
    /// The begun last line of standard output and standard error.
    begun: [Vec<u8>; 2],
}

impl LiveRun {
    /// Shows as the options and the terminal have it; `debug` messages too when asked for.
    pub fn new(output: &Output, debug: bool) -> Self {
        let terminal = board::get().is_area();
        let shows = match output {
            Output { json: true, .. } => Shows::Document,
            Output { events: true, .. } => Shows::Events,
            Output { quiet: true, .. } => Shows::Quiet,
            _ => Shows::Text { bars: terminal },
        };
        let state = State {
            printer: Printer::stdout(output),
            steps: HashMap::new(),
            awaited: None,
            told: HashMap::new(),
            begun: [Vec::new(), Vec::new()],
        };
        Self {
            state: Mutex::new(state),
            shows,
            debug,
            verbose: output.verbose,
            watched: false,
        }
    }

    /// The same in a watch, where a run is ended to be started again.
    pub fn watched(self, watched: bool) -> Self {
        Self { watched, ..self }
    }

    /// A line for people.
    pub fn line(&self, text: impl AsRef<str>) {
        if matches!(self.shows, Shows::Text { .. }) {
            self.state().line(text.as_ref());
        }
    }

    /// A JSON value as a line, when lines of events were asked for.
    pub fn value(&self, value: &Value) {
        if self.shows == Shows::Events {
            self.state().printer.text(format!("{value}\n"));
        }
    }

    /// Says what is waited for until the action says something.
    pub fn awaits(&self, what: impl Into<String>) {
        let busy = board::busy(what);
        self.state().awaited = Some(busy);
    }

    /// Takes the bars away, and ends what was begun.
    pub fn finish(&self) {
        let mut state = self.state();
        state.steps.clear();
        state.awaited = None;
        for stream in [Stream::Out, Stream::Err] {
            let rest = std::mem::take(&mut state.begun[stream as usize]);
            pass(stream, &rest);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for LiveRun {
    fn message(&self, message: &Message) {
        self.state().awaited = None;
        match self.shows {
            Shows::Document | Shows::Quiet => {}
            Shows::Events => {
                let mut value = serde_json::to_value(message).unwrap_or_default();
                if let Some(fields) = value.as_object_mut() {
                    // `event` is what every line of ours is told by; a log has a key of that name.
                    let name = fields.shift_remove("event");
                    let kind = fields.shift_remove("type").unwrap_or_default();
                    let mut line = Map::from_iter([("event".to_owned(), kind)]);
                    line.extend(name.map(|name| ("name".to_owned(), name)));
                    line.extend(std::mem::take(fields));
                    self.state()
                        .printer
                        .text(format!("{}\n", Value::Object(line)));
                }
            }
            Shows::Text { .. } => self.show(message),
        }
    }

    fn output(&self, stream: Stream, bytes: &[u8]) {
        match self.shows {
            Shows::Events => {
                let name = if stream == Stream::Out {
                    "stdout"
                } else {
                    "stderr"
                };
                let text = String::from_utf8_lossy(bytes);
                self.value(&json!({"event": "output", "stream": name, "text": text}));
            }
            Shows::Document => pass(Stream::Err, bytes),
            Shows::Quiet | Shows::Text { bars: false } => {
                self.state().awaited = None;
                pass(stream, bytes);
            }
            Shows::Text { bars: true } => self.state().output(stream, bytes),
        }
    }

    fn asked_to_end(&self, why: Why) {
        match why {
            Why::Interrupted if self.watched => self.line(paint(WARN, "asking it to end")),
            Why::Interrupted => self.line(paint(WARN, "interrupting; a second Ctrl-C kills it")),
            Why::TimedOut => self.line(paint(WARN, "its time is up; it is asked to end")),
        }
    }
}

impl LiveRun {
    fn show(&self, message: &Message) {
        let mut state = self.state();
        match message {
            Message::Log(log) if !self.debug && log.level == "debug" => {}
            Message::Progress(progress) => state.progress(progress),
            other => {
                if let Some(line) = message::line(other, self.verbose) {
                    state.line(&line);
                }
            }
        }
    }
}

impl State {
    fn line(&mut self, text: &str) {
        self.printer.line(text);
    }

    /// The live area stands below whole lines only.
    fn output(&mut self, stream: Stream, bytes: &[u8]) {
        self.awaited = None;
        let begun = &mut self.begun[stream as usize];
        begun.extend_from_slice(bytes);
        // A line that overwrites itself counts as one each time.
        let end = begun.iter().rposition(|byte| matches!(byte, b'\n' | b'\r'));
        let Some(end) = end else { return };
        let rest = begun.split_off(end + 1);
        let whole = std::mem::replace(begun, rest);
        pass(stream, &whole);
    }

    fn progress(&mut self, progress: &Progress) {
        let step = progress.step.clone().unwrap_or_default();
        let name = if step.is_empty() { "progress" } else { &step };
        if progress.failed {
            self.steps.remove(&step);
            return self.line(&message::progress(progress));
        }
        let (current, total) = (progress.current, progress.total);
        if !board::get().is_area() {
            // A file or a pipe wants to know how far it is, but not every step of it.
            let tenth = (progress.percent / 10.0) as u64;
            let last = current >= total;
            if self.told.insert(step.clone(), tenth) != Some(tenth) || last {
                self.line(&message::progress(progress));
            }
            return;
        }
        let eta = progress.eta.filter(|eta| *eta >= 1.0 && current < total);
        let eta = eta.map_or_else(String::new, |eta| format!(", {} left", left(seconds(eta))));
        let text = format!("{name} {current}/{total}{eta}");
        let part = (progress.percent * 10.0) as u64;
        let busy = self.steps.entry(step);
        busy.or_insert_with(|| board::busy(text.clone()))
            .set_part(text, part);
    }
}

/// How long something takes yet, as it is worth knowing.
fn left(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

fn seconds(value: f64) -> Duration {
    Duration::try_from_secs_f64(value).unwrap_or_default()
}

/// What the action printed, as it printed it. Whoever reads may have gone.
fn pass(stream: Stream, bytes: &[u8]) {
    board::aside(|| match stream {
        Stream::Out => {
            let mut out = std::io::stdout().lock();
            note_lost(out.write_all(bytes).and_then(|()| out.flush()));
        }
        Stream::Err => {
            let _ = std::io::stderr().lock().write_all(bytes);
        }
    });
}

/// A head line, such as `Plugin: yolov8`.
pub fn head(name: &str, value: &str) -> String {
    format!("{} {value}", paint(BOLD, format!("{name}:")))
}

/// The result.
pub fn result(value: &Value) -> String {
    let short = value.to_string();
    let text = if short.chars().count() <= LINE {
        short
    } else {
        serde_json::to_string_pretty(value).unwrap_or(short)
    };
    format!("{} {text}", paint(GOOD, "Result:"))
}

/// The document of a run, as docs/schema/run.schema.json describes it.
#[derive(Debug, Serialize)]
pub struct Document {
    /// Raised by changes that could break a reader.
    pub schema: u32,
    /// `run`.
    pub command: &'static str,
    /// The exit code is 0.
    pub ok: bool,
    /// From start to end.
    pub elapsed_ms: u64,
    /// The run's id, when it is recorded.
    pub run: Option<i64>,
    /// Plugin code; null, as what follows, when it failed before that was known.
    pub plugin: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// The action.
    pub action: Option<String>,
    /// Where it ran.
    pub mode: Option<&'static str>,
    /// The saved login, or host, of a platform that ran it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Its id there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// How it stands there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// What it ran in.
    pub environment: Option<EnvironmentObject>,
    /// Every stage, whether its result was found.
    pub stages: Vec<StageObject>,
    /// The result of an earlier equal run was taken.
    pub reused: bool,
    /// How it ended: `returned`, `raised`, `exited`, `killed`, `out-of-memory`, `timed-out`,
    /// `interrupted`.
    pub ending: Option<String>,
    /// What the action returned.
    pub result: Value,
    /// The class of a result that is a model.
    pub model: Option<String>,
    /// Progress by step.
    pub progress: Value,
    /// Metrics by step.
    pub metrics: Value,
    /// Exit code of its process.
    pub exit: Option<i32>,
    /// The file that keeps its output.
    pub output: Option<String>,
    /// Processes that it left behind, which were ended.
    pub left: Vec<String>,
    /// What else is worth knowing.
    pub notes: Vec<String>,
    /// What the action raised.
    pub error: Option<Value>,
    /// Why it failed.
    pub errors: Vec<ErrorObject>,
}

impl Document {
    /// The document of a run that failed before it had begun.
    pub fn failed(action: Option<&str>, failure: &Failure, elapsed_ms: u64) -> Self {
        Self {
            action: action.map(str::to_owned),
            elapsed_ms,
            errors: super::failed::errors(failure),
            ..Self::of("")
        }
    }

    /// The document of a run of an action of which nothing else is known.
    pub fn of(action: &str) -> Self {
        Self {
            schema: 1,
            command: "run",
            ok: false,
            elapsed_ms: 0,
            run: None,
            plugin: None,
            version: None,
            action: Some(action.to_owned()),
            mode: None,
            profile: None,
            job: None,
            status: None,
            environment: None,
            stages: Vec::new(),
            reused: false,
            ending: None,
            result: Value::Null,
            model: None,
            progress: json!({}),
            metrics: json!({}),
            exit: None,
            output: None,
            left: Vec::new(),
            notes: Vec::new(),
            error: None,
            errors: Vec::new(),
        }
    }
}

/// What an action ran in.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EnvironmentObject {
    /// Version of Python.
    pub python: String,
    /// The interpreter.
    pub executable: String,
    /// It was made by synapse.
    pub managed: bool,
    /// Which it is, and why.
    pub note: String,
}

/// A stage.
#[derive(Debug, Clone, Serialize)]
pub struct StageObject {
    /// Its name.
    pub stage: String,
    /// `hit` or `run`.
    pub decision: &'static str,
    /// Why it ran.
    pub reasons: Vec<String>,
    /// How long it took, milliseconds.
    pub ms: u64,
}
