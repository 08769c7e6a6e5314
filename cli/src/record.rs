//! Owns the record of a run in the embedded backend: its events in batches, its state at the end
//! of each. A record that cannot be kept is told once and stops no run.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::{Map, Value};
use synapse_backend::{BackendError, Embedded, Run, RunEvent, RunUpdate};
use synapse_rules::worker::protocol::Message;

/// How long events are gathered before they are written.
const BATCH: Duration = Duration::from_millis(100);
/// Events that wait to be written; an action that is faster waits for the disk.
const WAITING: usize = 4096;

/// The record of one run.
pub struct Record {
    backend: Arc<Embedded>,
    id: i64,
    events: Option<SyncSender<Message>>,
    writer: Option<JoinHandle<State>>,
}

#[derive(Default)]
struct State {
    progress: Map<String, Value>,
    metrics: Map<String, Value>,
    trouble: Option<BackendError>,
}

/// What was heard of a run, besides its events.
#[derive(Debug, Default)]
pub struct Summary {
    /// Progress by step.
    pub progress: Value,
    /// Metrics by step or category.
    pub metrics: Value,
    /// Why the record is not whole.
    pub trouble: Option<String>,
}

impl Record {
    /// Begins to record the run `id`, which is running.
    pub fn start(backend: &Arc<Embedded>, id: i64) -> Self {
        let (events, waiting) = sync_channel(WAITING);
        let writer = {
            let backend = Arc::clone(backend);
            thread::spawn(move || write(&backend, id, &waiting))
        };
        Self {
            backend: Arc::clone(backend),
            id,
            events: Some(events),
            writer: Some(writer),
        }
    }

    /// Something happened.
    pub fn event(&self, message: &Message) {
        if let Some(events) = &self.events {
            // The writer ends only when this does.
            let _ = events.send(message.clone());
        }
    }

    /// Ends the record with what came of the run, if it is still as `fits` has it.
    pub fn finish(mut self, fits: &dyn Fn(&Run) -> bool, end: RunUpdate) -> Summary {
        self.events = None;
        let state = self
            .writer
            .take()
            .and_then(|writer| writer.join().ok())
            .unwrap_or_default();
        let State {
            progress,
            metrics,
            trouble,
        } = state;
        let (progress, metrics) = (Value::Object(progress), Value::Object(metrics));
        let end = RunUpdate {
            progress: Some(progress.clone()),
            metrics: Some(metrics.clone()),
            ..end
        };
        let ended = self.backend.run_update_if(self.id, fits, &end);
        let trouble = trouble.or(ended.err()).map(|error| error.to_string());
        Summary {
            progress,
            metrics,
            trouble,
        }
    }
}

fn write(backend: &Embedded, id: i64, waiting: &Receiver<Message>) -> State {
    let mut state = State::default();
    while let Ok(first) = waiting.recv() {
        let until = Instant::now() + BATCH;
        let (mut batch, mut changed) = (Vec::new(), false);
        let mut next = Some(first);
        while let Some(message) = next {
            changed |= state.take(&message);
            batch.extend(event(&message));
            let left = until.saturating_duration_since(Instant::now());
            next = match waiting.recv_timeout(left) {
                Ok(message) if batch.len() < WAITING => Some(message),
                Ok(message) => {
                    changed |= state.take(&message);
                    batch.extend(event(&message));
                    None
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => None,
            };
        }
        let written = backend.run_append(id, &batch).and_then(|()| {
            let update = RunUpdate {
                progress: Some(Value::Object(state.progress.clone())),
                metrics: Some(Value::Object(state.metrics.clone())),
                ..RunUpdate::default()
            };
            if changed {
                backend.run_update(id, &update)
            } else {
                Ok(())
            }
        });
        state.trouble = state.trouble.or(written.err());
    }
    state
}

impl State {
    /// Notes progress and metrics; true when there was something to note.
    fn take(&mut self, message: &Message) -> bool {
        match message {
            Message::Progress(progress) => {
                let step = progress.step.clone().unwrap_or_default();
                let value = serde_json::to_value(progress).unwrap_or_default();
                self.progress
                    .insert(step, without(value, &["step", "time"]));
            }
            Message::Metrics(metrics) => {
                let step = metrics.step.clone().unwrap_or_default();
                merge(&mut self.metrics, step, &metrics.values);
            }
            Message::Metric(metric) => {
                merge(&mut self.metrics, metric.category.clone(), &metric.metrics);
            }
            _ => return false,
        }
        true
    }
}

fn merge(all: &mut Map<String, Value>, name: String, values: &Map<String, Value>) {
    let own = all.entry(name).or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(own) = own {
        own.extend(values.clone());
    }
}

/// An object without some of its keys.
fn without(mut value: Value, keys: &[&str]) -> Value {
    if let Value::Object(map) = &mut value {
        map.retain(|key, value| !keys.contains(&key.as_str()) && !value.is_null());
    }
    value
}

/// What is recorded of a message; nothing of those that are part of the run's end.
fn event(message: &Message) -> Option<RunEvent> {
    let (kind, level, step, time) = match message {
        Message::Log(log) => ("log", Some(log.level.clone()), &log.step, log.time),
        Message::Progress(progress) => ("progress", None, &progress.step, progress.time),
        Message::Metrics(metrics) => ("metrics", None, &metrics.step, metrics.time),
        Message::Metric(metric) => ("metric", None, &None, metric.time),
        Message::Visualization(picture) => ("visualization", None, &None, picture.time),
        Message::Hello(_) | Message::Result(_) | Message::Error(_) | Message::Unknown => {
            return None;
        }
    };
    let data = serde_json::to_value(message).unwrap_or_default();
    Some(RunEvent {
        time: time.unwrap_or_else(now),
        kind: kind.to_owned(),
        level,
        step: step.clone(),
        data: without(data, &["type", "level", "step", "time"]),
    })
}

/// Unix seconds.
fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |age| age.as_secs_f64())
}
