//! Owns the text of recorded runs: a list, one run from its head to its result, and its log.

use std::collections::HashMap;

use serde_json::Value;
use synapse_backend::{Run, RunEvent, RunStatus};
use synapse_rules::{action, worker::protocol::Message};

use crate::params;

use super::{
    BAD, BOLD, DIM, GOOD, Printer, WARN, dataset::table, duration, message, moment, paint,
};

/// Percent between two lines of progress.
const STRIDE: i64 = 10;

/// Runs in columns, newest first.
pub fn list(printer: &mut Printer, runs: &[Run], total: u64) {
    if runs.is_empty() {
        printer.line("no runs; synapse plugin run ACTION makes one");
    }
    let rows = runs.iter().map(|run| {
        [
            run.id.to_string(),
            run.status.to_string(),
            format!("{} {}", run.plugin, run.action),
            run.version.clone(),
            moment(run.created as i64),
            took(run)
                .or_else(|| percent(&run.progress))
                .unwrap_or_default(),
        ]
    });
    table(printer, &rows.collect::<Vec<_>>());
    let shown = runs.len() as u64;
    if shown < total {
        printer.line(paint(
            DIM,
            format!("{shown} of {total}; --limit shows more"),
        ));
    }
}

/// What is known of a run before it says anything.
pub fn head(printer: &mut Printer, run: &Run) {
    printer.line(format!("run {}  {}", run.id, status(run.status)));
    printer.line(format!(
        "  plugin   {} {}",
        paint(BOLD, &run.plugin),
        run.version
    ));
    printer.line(format!("  action   {} ({})", run.action, run.mode));
    printer.line(format!(
        "  begun    {}",
        moment(run.started.unwrap_or(run.created) as i64)
    ));
    block(printer, "params", &params::shown(&run.params));
}

/// What came of a run.
pub fn tail(printer: &mut Printer, run: &Run) {
    if let Some(percent) = percent(&run.progress).filter(|_| !run.status.is_over()) {
        printer.line(format!("  progress {percent}"));
    }
    block(printer, "metrics", &run.metrics);
    block(printer, "result", &run.result);
    if let Some(error) = &run.error {
        let text = |name: &str| error.get(name).and_then(Value::as_str);
        let class = text("class").map(|class| format!("{class}: "));
        let message = text("message").map_or_else(|| error.to_string(), str::to_owned);
        let told = class.unwrap_or_default() + &message;
        printer.line(format!("{} {told}", paint(BAD, "error:")));
        if let Some(traceback) = text("traceback") {
            printer.line(action::frames(&told, traceback));
        }
    }
    let exit = run.exit.filter(|exit| *exit != 0);
    let exit = exit
        .map(|exit| format!(", exit code {exit}"))
        .unwrap_or_default();
    let took = took(run)
        .map(|took| format!(" in {took}"))
        .unwrap_or_default();
    printer.line(format!("{}{took}{exit}", status(run.status)));
}

/// The log of a run, as it comes.
#[derive(Debug)]
pub struct Log {
    begun: bool,
    progress: HashMap<String, i64>,
    verbose: bool,
}

impl Log {
    /// Nothing yet; `verbose` shows what comes along with texts.
    pub fn new(verbose: bool) -> Self {
        Self {
            begun: false,
            progress: HashMap::new(),
            verbose,
        }
    }

    /// Shows what came.
    pub fn show(&mut self, printer: &mut Printer, output: &[u8], events: &[RunEvent]) {
        if !output.is_empty() {
            self.begin(printer);
            printer.text(String::from_utf8_lossy(output));
            if !output.ends_with(b"\n") {
                printer.text("\n");
            }
        }
        for event in events {
            if let Some(line) = self.line(event) {
                self.begin(printer);
                printer.line(line);
            }
        }
        printer.flush();
    }

    /// Ends it.
    pub fn end(&self, printer: &mut Printer) {
        if self.begun {
            printer.line(paint(DIM, "---"));
        }
    }

    fn begin(&mut self, printer: &mut Printer) {
        if !std::mem::replace(&mut self.begun, true) {
            printer.line(paint(DIM, "--- log"));
        }
    }

    fn line(&mut self, event: &RunEvent) -> Option<String> {
        match message::of_event(event) {
            Message::Progress(progress) => {
                let percent = progress.percent as i64;
                let step = progress.step.clone().unwrap_or_default();
                let last = self.progress.entry(step).or_insert(-STRIDE);
                let little = percent < 100 && percent < *last + STRIDE || percent == *last;
                if little && !progress.failed {
                    return None;
                }
                *last = percent;
                Some(message::progress(&progress))
            }
            Message::Unknown => {
                let mut data = event.data.clone();
                // A picture says nothing in text.
                if let Some(image) = data.get_mut("image") {
                    *image = Value::String("...".to_owned());
                }
                Some(paint(DIM, format!("[{}] {data}", event.kind)))
            }
            known => message::line(&known, self.verbose),
        }
    }
}

fn status(status: RunStatus) -> String {
    let style = match status {
        RunStatus::Succeeded => GOOD,
        RunStatus::Failed => BAD,
        RunStatus::Stopped => WARN,
        RunStatus::Pending | RunStatus::Running => BOLD,
    };
    paint(style, status)
}

fn took(run: &Run) -> Option<String> {
    let seconds = run.finished? - run.started?;
    Some(duration((seconds.max(0.0) * 1000.0) as u64))
}

/// `train 40%`, of the step that told last.
fn percent(progress: &Value) -> Option<String> {
    let (step, record) = progress.as_object()?.iter().next_back()?;
    let percent = record.get("percent").and_then(Value::as_f64)?;
    Some(format!("{step} {percent:.0}%").trim_start().to_owned())
}

/// A value under a title: short ones beside it, longer ones below.
fn block(printer: &mut Printer, title: &str, value: &Value) {
    let nothing = match value {
        Value::Null => true,
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    };
    if nothing {
        return;
    }
    let short = value.to_string();
    if short.chars().count() <= 80 {
        printer.line(format!("  {title:<8} {short}"));
        return;
    }
    printer.line(format!("  {title}"));
    let long = serde_json::to_string_pretty(value).unwrap_or(short);
    for line in long.lines() {
        printer.line(format!("    {line}"));
    }
}
