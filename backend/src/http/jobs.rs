//! Owns `/jobs/`: runs as the platform calls them.

use axum::extract::{Request, State};
use axum::http::Uri;
use serde_json::{Map, Value, json};

use super::Shared;
use super::body::{fields, json as json_body};
use super::logs::{entries, now};
use super::paging::Query;
use super::reply::{Part, Problem, Reply, created, ok, time};
use crate::Embedded;
use crate::agent::{Desk, Stopped};
use crate::error::BackendError;
use crate::run::{NewRun, Run, RunFilter, RunStatus, RunUpdate};

/// `GET /jobs/`.
pub(crate) async fn list(State(shared): State<Shared>, uri: Uri) -> Reply {
    let query = Query::of(&uri)?;
    let (limit, offset) = query.window()?;
    let filter = RunFilter {
        plugin: query.get("plugin").map(str::to_owned),
        status: query.get("status").map(status).transpose()?,
        client_id: query.get("client_id").map(str::to_owned),
        limit,
        offset,
    };
    let page = shared.work(move |backend| backend.runs(&filter)).await?;
    Ok(ok(&query.page(&shared, &page.map(|run| object(&run)))?))
}

/// `GET /jobs/{id}/`.
pub(crate) async fn get(State(shared): State<Shared>, id: Part) -> Reply {
    let id = id.number()?;
    let run = shared.work(move |backend| backend.run(id)).await?;
    Ok(ok(&object(&run)))
}

/// `POST /jobs/`: what runs here without the command records itself so.
pub(crate) async fn create(State(shared): State<Shared>, request: Request) -> Reply {
    let mut given = fields(request, &shared).await?;
    let mut text = |name: &str, otherwise: Option<&str>| match given.remove(name) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text),
        None | Some(Value::Null) if otherwise.is_some() => {
            Ok(otherwise.unwrap_or_default().to_owned())
        }
        None | Some(Value::Null) => Err(Problem::field(name, "This field is required.")),
        Some(_) => Err(Problem::field(name, "Not a valid string.")),
    };
    let (plugin, action) = (text("plugin", None)?, text("action", None)?);
    let (version, mode) = (text("version", Some(""))?, text("mode", Some("local"))?);
    let pid = match given.remove("pid") {
        None | Some(Value::Null) => None,
        Some(pid) => {
            let pid = pid.as_u64().and_then(|pid| u32::try_from(pid).ok());
            let bad = || Problem::field("pid", "A valid integer is required.");
            Some(pid.ok_or_else(bad)?)
        }
    };
    let new = NewRun {
        plugin,
        version,
        action,
        mode,
        params: given.remove("params").unwrap_or(Value::Object(Map::new())),
        meta: dictionary("meta", given.remove("meta"))?.unwrap_or(Value::Null),
        pid,
        begins: false,
        time: Some(now()),
    };
    let run = shared
        .work(move |backend| backend.run_create(&new).and_then(|id| backend.run(id)))
        .await?;
    Ok(created(&object(&run)))
}

/// `PATCH /jobs/{id}/`.
pub(crate) async fn update(State(shared): State<Shared>, id: Part, request: Request) -> Reply {
    let id = id.number()?;
    let Value::Object(mut given) = json_body(request).await? else {
        return Err(Problem::bad("Invalid data. Expected a dictionary."));
    };
    let status = match given.remove("status") {
        None => None,
        Some(Value::String(text)) => Some(status(&text)?),
        Some(_) => return Err(Problem::field("status", "Not a valid string.")),
    };
    let logs = match given.remove("console_logs") {
        None | Some(Value::Null) => Vec::new(),
        Some(logs) => entries(logs, "console_logs")?,
    };
    let update = RunUpdate {
        status,
        progress: given.remove("progress_record"),
        metrics: given.remove("metrics_record"),
        result: given.remove("result"),
        error: given.remove("error").filter(|error| !error.is_null()),
        meta: dictionary("meta", given.remove("meta"))?,
        time: Some(now()),
        ..RunUpdate::default()
    };
    let desk = shared.site.agent.clone();
    let run = shared
        .work(move |backend| {
            let mut update = update;
            if update.status == Some(RunStatus::Stopped) && stop(backend, desk.as_ref(), id)? {
                update.status = None;
            }
            backend.run_update(id, &update)?;
            let events: Vec<_> = logs.into_iter().map(|(_, event)| event).collect();
            if !events.is_empty() {
                backend.run_append(id, &events)?;
            }
            backend.run(id)
        })
        .await?;
    Ok(ok(&object(&run)))
}

/// Has the agent stop a job of its own, which ends as it ends; false when it is no agent's job.
fn stop(backend: &Embedded, desk: Option<&Desk>, id: i64) -> Result<bool, BackendError> {
    let run = backend.run(id)?;
    if run.agent.is_none() {
        return Ok(false);
    }
    if run.status.is_over() {
        return Ok(true);
    }
    let stopped = match desk {
        Some(desk) => desk.stop(backend, id)?,
        None => Stopped::Unknown,
    };
    // It may have ended just now.
    if stopped == Stopped::Unknown && !backend.run(id)?.status.is_over() {
        let text = format!("job {id} is run by another server of this backend; ask that one");
        return Err(BackendError::Taken(text));
    }
    Ok(true)
}

fn dictionary(name: &str, value: Option<Value>) -> Result<Option<Value>, Problem> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(value) if value.is_object() => Ok(Some(value)),
        Some(_) => Err(Problem::field(name, "Expected a dictionary.")),
    }
}

fn status(text: &str) -> Result<RunStatus, Problem> {
    let bad = || Problem::field("status", format!("\"{text}\" is not a valid choice."));
    RunStatus::read(text).ok_or_else(bad)
}

pub(crate) fn object(run: &Run) -> Value {
    json!({
        "id": run.id,
        "plugin": run.plugin,
        "version": run.version,
        "action": run.action,
        "mode": run.mode,
        "status": run.status.as_str(),
        "params": run.params,
        "progress_record": run.progress,
        "metrics_record": run.metrics,
        "result": run.result,
        "error": run.error,
        "exit": run.exit,
        "meta": run.meta,
        "client_id": run.client_id,
        "agent": run.agent,
        "created": time(run.created),
        "started": run.started.map(time),
        "finished": run.finished.map(time),
    })
}
