//! Owns `/plugins/{code}/run/`: asking the agent to run an action of a release.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use serde_json::{Map, Value};

use super::Shared;
use super::body::json as json_body;
use super::jobs::object;
use super::reply::{Part, Problem, Reply, created, ok};
use crate::agent::ID;
use crate::job::Asked;

/// Characters of a name that an asker chooses for a job, at most.
const LONGEST: usize = 200;

/// `POST /plugins/{code}/run/`.
pub(crate) async fn run(State(shared): State<Shared>, Part(code): Part, request: Request) -> Reply {
    let Value::Object(given) = json_body(request).await? else {
        return Err(Problem::bad("Invalid data. Expected a dictionary."));
    };
    let (asked, client_id) = read(code, given)?;
    let Some(desk) = shared.site.agent.clone() else {
        let text = "this server has no agent; `synapse backend serve` starts one that has";
        return Err(Problem::new(StatusCode::CONFLICT, text));
    };
    // To its end whoever waits for it: what is recorded is also run.
    let (run, is_new) = shared
        .work(move |backend| desk.submit(&Arc::clone(backend), &asked, client_id.as_deref()))
        .await?;
    let job = object(&run);
    Ok(if is_new { created(&job) } else { ok(&job) })
}

/// What is asked for, and under which name.
fn read(plugin: String, mut given: Map<String, Value>) -> Result<(Asked, Option<String>), Problem> {
    let mut text = |name: &str| match given.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text).filter(|text| !text.is_empty())),
        Some(_) => Err(Problem::field(name, "Not a valid string.")),
    };
    let action = text("action")?;
    let (version, variant) = (text("version")?, text("variant")?);
    let (language, client_id) = (text("language")?, text("client_id")?);
    let action = action.ok_or_else(|| Problem::field("action", "This field is required."))?;
    if client_id
        .as_ref()
        .is_some_and(|name| name.chars().count() > LONGEST)
    {
        let what = format!("Ensure this field has no more than {LONGEST} characters.");
        return Err(Problem::field("client_id", what));
    }
    let params = match given.remove("params") {
        None | Some(Value::Null) => Value::Object(Map::new()),
        Some(params) if params.is_object() => params,
        Some(_) => return Err(Problem::field("params", "Expected a dictionary.")),
    };
    let debug = match given.remove("debug") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(debug)) => debug,
        Some(_) => return Err(Problem::field("debug", "Must be a valid boolean.")),
    };
    let agent = match given.remove("agent") {
        None | Some(Value::Null) => ID,
        Some(Value::String(id)) if id.is_empty() => ID,
        Some(Value::String(id)) => id.parse().unwrap_or(0),
        Some(id) => id.as_i64().unwrap_or(0),
    };
    if agent != ID {
        let what = format!("There is no such agent; the one here has the id {ID}.");
        return Err(Problem::field("agent", what));
    }
    let asked = Asked {
        plugin,
        version,
        variant,
        debug,
        action,
        params,
        language,
        agent,
    };
    Ok((asked, client_id))
}
