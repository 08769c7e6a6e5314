//! Owns live output: one progress line on a terminal, or one JSON event a line.

use std::{
    io::{IsTerminal, Write},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use synapse_engine::{Event, EventSink, reason};

use super::size;
use crate::args::Output;

/// Shows events as they come.
pub struct Live {
    bar: Option<ProgressBar>,
    lines: Option<Mutex<std::io::Stdout>>,
    verbose: bool,
}

impl Live {
    /// Live output as the options and the terminal have it.
    pub fn new(output: &Output) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let wanted =
            terminal && !output.no_progress && !output.quiet && !output.json && !output.events;
        let bar = wanted.then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            if let Ok(style) =
                ProgressStyle::with_template("{spinner} {pos}/{len} stages  {wide_msg}")
            {
                bar.set_style(style);
            }
            bar
        });
        let lines = output.events.then(|| Mutex::new(std::io::stdout()));
        Self {
            bar,
            lines,
            verbose: output.verbose,
        }
    }

    /// Events for programs only: somebody else shows what goes on.
    pub fn lines(output: &Output) -> Self {
        let quiet = Output {
            no_progress: true,
            ..output.clone()
        };
        Self::new(&quiet)
    }

    /// Takes the progress line away.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// One JSON value as a line, when events were asked for.
    pub fn value(&self, value: &impl serde::Serialize) {
        let Some(lines) = &self.lines else { return };
        if let Ok(mut text) = serde_json::to_vec(value) {
            text.push(b'\n');
            let mut out = lines.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = out.write_all(&text).and_then(|()| out.flush());
        }
    }

    fn show(&self, event: &Event) {
        let Some(bar) = &self.bar else { return };
        match event {
            Event::Planned { run, unknown, .. } if run + unknown > 0 => {
                bar.set_length(bar.length().unwrap_or(0) + run + unknown);
                bar.enable_steady_tick(Duration::from_millis(100));
            }
            Event::Started { node, reasons } => {
                bar.set_message(format!("{} {}", node.stage, node.subject));
                if self.verbose {
                    let why = reason::summary(reasons);
                    bar.println(format!("{} {}: {why}", node.stage, node.subject));
                }
            }
            Event::Waiting { node, pid } => {
                let pid = pid.map_or_else(
                    || "another process".to_owned(),
                    |pid| format!("process {pid}"),
                );
                bar.println(format!("{} {} waits for {pid}", node.stage, node.subject));
            }
            Event::Progress { node, done, total } if *total > 0 => {
                let (done, total) = (size(*done), size(*total));
                bar.set_message(format!("{} {} {done} of {total}", node.stage, node.subject));
            }
            Event::Finished { .. } | Event::Failed { .. } | Event::Skipped { .. } => bar.inc(1),
            Event::Note { message } => bar.println(message),
            _ => {}
        }
    }
}

impl EventSink for Live {
    fn event(&self, event: Event) {
        self.value(&event);
        self.show(&event);
    }
}
