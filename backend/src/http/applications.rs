//! Owns `/serve_applications/`: what serves, as whoever deployed it says.

use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::Shared;
use super::body::fields;
use super::paging::Query;
use super::reply::{Part, Problem, Reply, created, moment, ok};
use crate::application::{Application, ApplicationStatus};

/// Characters of a name.
const NAME: usize = 200;
/// Fields that the backend itself gives; what a sender says about them is not kept.
const OWN: [&str; 2] = ["id", "created"];

/// `GET /serve_applications/`.
pub(crate) async fn list(State(shared): State<Shared>, uri: Uri) -> Reply {
    let query = Query::of(&uri)?;
    let (limit, offset) = query.window()?;
    let name = query.get("name").map(str::to_owned);
    let page = shared
        .work(move |backend| backend.applications(name.as_deref(), limit, offset))
        .await?;
    Ok(ok(&query.page(&shared, &page.map(|one| object(&one)))?))
}

/// `GET /serve_applications/{id}/`.
pub(crate) async fn get(State(shared): State<Shared>, id: Part) -> Reply {
    let id = id.number()?;
    let found = shared.work(move |backend| backend.application(id)).await?;
    Ok(ok(&object(&found)))
}

/// `POST /serve_applications/`.
pub(crate) async fn create(State(shared): State<Shared>, request: Request) -> Reply {
    let mut given = fields(request, &shared).await?;
    given.retain(|name, _| !OWN.contains(&name.as_str()));
    let name = match given.remove("name") {
        Some(Value::String(name)) if !name.trim().is_empty() => name,
        None | Some(Value::Null | Value::String(_)) => {
            return Err(Problem::field("name", "This field is required."));
        }
        Some(_) => return Err(Problem::field("name", "Not a valid string.")),
    };
    if name.chars().count() > NAME || name.chars().any(char::is_control) {
        let text = format!("At most {NAME} characters, and no control characters.");
        return Err(Problem::field("name", text));
    }
    let status = match given.remove("status") {
        None | Some(Value::Null) => ApplicationStatus::NotStarted,
        Some(status) => status
            .as_str()
            .and_then(ApplicationStatus::read)
            .ok_or_else(|| {
                let text = format!("{status} is not a valid choice.");
                Problem::field("status", text)
            })?,
    };
    let job = job(given.remove("job"))?;
    let made = shared.work(move |backend| backend.application_create(&name, status, job, &given));
    let made = made.await.map_err(|problem| match problem.status {
        StatusCode::NOT_FOUND => Problem::field("job", "There is no such job."),
        _ => problem,
    })?;
    Ok(created(&object(&made)))
}

/// `DELETE /serve_applications/{id}/`.
pub(crate) async fn delete(State(shared): State<Shared>, id: Part) -> Reply {
    let id = id.number()?;
    shared
        .work(move |backend| backend.application_delete(id))
        .await?;
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

/// The id of a job, as a number or as its digits.
fn job(given: Option<Value>) -> Result<Option<i64>, Problem> {
    let id = match given {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(id)) => id.as_i64(),
        Some(Value::String(id)) => id.parse().ok(),
        Some(_) => None,
    };
    let bad = || Problem::field("job", "A valid integer is required.");
    id.filter(|id| *id > 0).map(Some).ok_or_else(bad)
}

/// What the sender said, and over it what the backend knows.
fn object(application: &Application) -> Value {
    let mut object = Map::from_iter([("id".to_owned(), json!(application.id))]);
    object.extend(application.fields.clone());
    for (name, value) in [
        ("name", json!(application.name)),
        ("status", json!(application.status.as_str())),
        ("job", json!(application.job)),
        ("created", moment(application.created)),
    ] {
        object.insert(name.to_owned(), value);
    }
    Value::Object(object)
}
