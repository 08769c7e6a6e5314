//! Owns `/models/`.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Uri};
use serde_json::{Map, Value, json};

use super::body::{content_type, json as json_body, multipart, multipart_problem, receive, text};
use super::download::Download;
use super::paging::Query;
use super::reply::{Part, Problem, Reply, created, moment, ok};
use super::{Inner, Shared};
use crate::files::percent_encode;
use crate::model::{Model, ModelFilter};
use crate::upload::safe_name;

/// Fields whose values are objects or numbers; in a form they arrive as text.
const STRUCTURED: [&str; 3] = ["configuration", "metrics", "checkpoint"];
/// Fields that are text.
const TEXTS: [&str; 3] = ["name", "description", "category"];

/// `GET /models/`.
pub(crate) async fn list(State(shared): State<Shared>, uri: Uri) -> Reply {
    let query = Query::of(&uri)?;
    let (limit, offset) = query.window()?;
    let filter = ModelFilter {
        plugin: query.get("plugin").map(str::to_owned),
        limit,
        offset,
    };
    let page = shared.work(move |backend| backend.models(&filter)).await?;
    Ok(ok(&query.page(
        &shared,
        &page.map(|model| object(&shared, &model)),
    )?))
}

/// `GET /models/{id}/`.
pub(crate) async fn get(State(shared): State<Shared>, id: Part) -> Reply {
    let id = id.number()?;
    let model = shared.work(move |backend| backend.model(id)).await?;
    Ok(ok(&object(&shared, &model)))
}

/// `POST /models/`: the fields, with a file or the id of an upload.
pub(crate) async fn create(State(shared): State<Shared>, request: Request) -> Reply {
    if content_type(request.headers()) != "multipart/form-data" {
        let Value::Object(fields) = json_body(request).await? else {
            return Err(Problem::bad("Invalid data. Expected a dictionary."));
        };
        return of_upload(&shared, fields).await;
    }
    let mut fields = Map::new();
    let mut file = None;
    let mut parts = multipart(request, &shared).await?;
    while let Some(part) = parts
        .next_field()
        .await
        .map_err(|error| multipart_problem(&error))?
    {
        if part.name() == Some("file") && file.is_none() {
            let name = safe_name(part.file_name().unwrap_or_default());
            let incoming = shared.work(|backend| backend.incoming("model")).await?;
            let limit = shared.site.max_upload.unwrap_or(u64::MAX);
            receive(part, incoming.file(), limit, &shared).await?;
            file = Some((name, incoming));
            continue;
        }
        let (name, value) = text(part).await?;
        let parsed = STRUCTURED
            .contains(&name.as_str())
            .then(|| serde_json::from_str(&value).ok())
            .flatten();
        fields.insert(name, parsed.unwrap_or(Value::String(value)));
    }
    let Some((name, incoming)) = file else {
        return of_upload(&shared, fields).await;
    };
    check(&fields)?;
    let model = shared
        .work(move |backend| backend.model_create(&fields, &name, incoming))
        .await?;
    Ok(created(&object(&shared, &model)))
}

/// `GET /files/models/{id}/{name}`.
pub(crate) async fn file(State(shared): State<Shared>, id: Part, headers: HeaderMap) -> Reply {
    let id = id.number()?;
    let (model, file) = shared.work(move |backend| backend.model_open(id)).await?;
    Ok(Download {
        file,
        size: model.size,
        sha256: model.sha256,
        name: model.filename,
    }
    .reply(&headers))
}

async fn of_upload(shared: &Shared, fields: Map<String, Value>) -> Reply {
    check(&fields)?;
    let upload = match fields.get("chunked_upload") {
        Some(Value::String(upload)) => upload.clone(),
        Some(Value::Null) | None => {
            let what = "No file was submitted, and no chunked_upload named.";
            return Err(Problem::field("file", what));
        }
        Some(_) => return Err(Problem::field("chunked_upload", "Not a valid string.")),
    };
    let made = shared.work(move |backend| backend.model_of_upload(&fields, &upload));
    let model = made.await.map_err(|problem| {
        // What is wrong is the field, not the address.
        let detail = problem.body["detail"].as_str().unwrap_or_default();
        if problem.status.is_client_error() {
            Problem::field("chunked_upload", detail)
        } else {
            problem
        }
    })?;
    Ok(created(&object(shared, &model)))
}

fn check(fields: &Map<String, Value>) -> Result<(), Problem> {
    for name in TEXTS {
        if fields
            .get(name)
            .is_some_and(|value| !value.is_string() && !value.is_null())
        {
            return Err(Problem::field(name, "Not a valid string."));
        }
    }
    Ok(())
}

/// What the sender said, and over it what the backend knows.
fn object(shared: &Inner, model: &Model) -> Value {
    let mut file = format!("{}/files/models/{}/", shared.url, model.id);
    percent_encode(model.filename.as_bytes(), &mut file);
    let mut object = json!({
        "id": model.id,
        "name": model.name,
        "plugin": null,
        "version": null,
        "category": model.category,
        "file": file,
        "checksum": model.sha256,
        "size": model.size,
        "configuration": null,
        "description": null,
        "metrics": null,
        "checkpoint": null,
        "created": moment(model.created),
    });
    for (name, value) in &model.fields {
        if name != "name" && name != "category" {
            object[name] = value.clone();
        }
    }
    object
}
