//! Owns `/openapi.json`: what is served, for programs. It is put together from parts, one a noun,
//! beside this file.

use axum::extract::State;
use serde_json::{Map, Value, json};

use super::Shared;
use super::reply::{Problem, Reply, ok};
use super::routes::{Route, routes};

/// Everything but paths.
const FRAME: &str = include_str!("openapi/frame.json");
/// Paths.
const PARTS: [&str; 6] = [
    include_str!("openapi/about.json"),
    include_str!("openapi/releases.json"),
    include_str!("openapi/jobs.json"),
    include_str!("openapi/agents.json"),
    include_str!("openapi/data.json"),
    include_str!("openapi/files.json"),
];

/// `GET /openapi.json`.
pub(crate) async fn get(State(shared): State<Shared>) -> Reply {
    let mut document = document().ok_or_else(Problem::internal)?;
    document["servers"] = json!([{"url": shared.url}]);
    Ok(ok(&document))
}

/// The OpenAPI 3.1 document of what a server serves. `None` would be a mistake in its parts.
pub fn document() -> Option<Value> {
    let mut document: Value = serde_json::from_str(FRAME).ok()?;
    document["info"]["version"] = json!(env!("CARGO_PKG_VERSION"));
    let mut paths = Map::new();
    for part in PARTS {
        let Value::Object(part) = serde_json::from_str(part).ok()? else {
            return None;
        };
        paths.extend(part);
    }
    for Route {
        method,
        path,
        needs,
        ..
    } in routes()
    {
        let operation = paths
            .get_mut(&path.replace('*', ""))
            .and_then(|path| path.get_mut(method.to_ascii_lowercase()))?;
        // Any call may fail, and says so in the same way.
        operation["responses"]["default"] = json!({"$ref": "#/components/responses/Problem"});
        if !needs.is_empty() {
            let names: Vec<&str> = needs.iter().map(|scope| scope.as_str()).collect();
            operation["x-synapse-scopes"] = json!(names);
        }
    }
    document["paths"] = Value::Object(paths);
    Some(document)
}
