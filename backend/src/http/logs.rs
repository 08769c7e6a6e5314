//! Owns `/logs/`, and how log entries are read.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::{Request, State};
use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::Shared;
use super::body::json as json_body;
use super::reply::{Problem, Reply, reply};
use crate::run::RunEvent;

/// Levels as the package writes them.
const LEVELS: [&str; 7] = [
    "debug", "info", "success", "warning", "danger", "error", "critical",
];

/// `POST /logs/`: one entry or a list of them. Nothing is taken before every entry was understood
/// and every job found.
pub(crate) async fn create(State(shared): State<Shared>, request: Request) -> Reply {
    let entries = entries(json_body(request).await?, "logs")?;
    let count = entries.len();
    let mut by_job: BTreeMap<i64, Vec<RunEvent>> = BTreeMap::new();
    for (job, event) in entries {
        by_job.entry(job).or_default().push(event);
    }
    let jobs: Vec<i64> = by_job.keys().copied().collect();
    shared
        .work(move |backend| {
            for job in jobs.into_iter().filter(|job| *job != 0) {
                backend.run(job)?;
            }
            by_job
                .iter()
                .try_for_each(|(job, events)| backend.run_append(*job, events))
        })
        .await
        .map_err(|problem| match problem.status {
            StatusCode::NOT_FOUND => {
                Problem::field("job", problem.body["detail"].as_str().unwrap_or_default())
            }
            _ => problem,
        })?;
    Ok(reply(StatusCode::CREATED, &json!({"created": count})))
}

/// Log entries, each with its job or 0. A text alone is a message.
pub(crate) fn entries(given: Value, field: &str) -> Result<Vec<(i64, RunEvent)>, Problem> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |age| age.as_secs_f64());
    match given {
        Value::Array(list) => list.into_iter().map(|one| entry(one, field, now)).collect(),
        one => Ok(vec![entry(one, field, now)?]),
    }
}

fn entry(given: Value, field: &str, now: f64) -> Result<(i64, RunEvent), Problem> {
    let mut given = match given {
        Value::Object(fields) => fields,
        Value::String(text) => Map::from_iter([("message".to_owned(), Value::String(text))]),
        _ => return Err(Problem::field(field, "Expected a dictionary.")),
    };
    let mut text = |name: &str| match given.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Problem::field(name, "Not a valid string.")),
    };
    let (message, event, step) = (text("message")?, text("event")?, text("step")?);
    let (level, file) = (text("level")?, text("file")?);
    let level = level.map_or_else(|| "info".to_owned(), |level| level.to_ascii_lowercase());
    if !LEVELS.contains(&level.as_str()) {
        let text = format!("\"{level}\" is not one of {}.", LEVELS.join(", "));
        return Err(Problem::field("level", text));
    }
    if message.is_none() && event.is_none() {
        return Err(Problem::field("message", "This field is required."));
    }
    let job = match given.remove("job") {
        None | Some(Value::Null) => 0,
        Some(Value::Number(job)) if job.as_i64().is_some_and(|job| job > 0) => {
            job.as_i64().unwrap_or(0)
        }
        Some(Value::String(job)) if job.parse::<i64>().is_ok_and(|job| job > 0) => {
            job.parse().unwrap_or(0)
        }
        Some(_) => return Err(Problem::field("job", "A valid integer is required.")),
    };
    let time = given
        .remove("time")
        .and_then(|time| time.as_f64())
        .unwrap_or(now);
    let context = given.remove("context").filter(|context| !context.is_null());
    let data = given
        .remove("data")
        .filter(|data| !data.is_null())
        .or(context);
    let mut data = match data {
        None => Map::new(),
        Some(Value::Object(data)) => data,
        Some(other) => Map::from_iter([("value".to_owned(), other)]),
    };
    if let Some(message) = message {
        data.entry("content").or_insert(Value::String(message));
    }
    let mut whole = json!({"event": event.as_deref().unwrap_or("message"), "data": data});
    if let Some(file) = file {
        whole["file"] = Value::String(file);
    }
    let event = RunEvent {
        time,
        kind: "log".to_owned(),
        level: Some(level),
        step,
        data: whole,
    };
    Ok((job, event))
}
