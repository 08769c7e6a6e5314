//! Owns the table of what is served: each method of each path, with what a token must allow for
//! it. The router, the scopes and the check of the OpenAPI document all come from this one list.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::handler::Handler;
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};

use super::body::CHUNK;
use super::guard::{Caller, drain};
use super::journal::Met;
use super::reply::{self, Problem};
use super::{
    Shared, agents, applications, console, datasets, health, jobs, logs, models, openapi, plugins,
    publish, releases, storages, uploads,
};
use crate::token::Scope;

/// One method of one path.
pub(crate) struct Route {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    /// A token needs one of these; none where there is nothing to keep from anybody.
    pub(crate) needs: &'static [Scope],
    /// It receives files, of which only so many are received at a time.
    receives: bool,
    handler: MethodRouter<Shared, Infallible>,
}

/// What is known of a route while a request is on it.
#[derive(Clone)]
struct Rule {
    path: &'static str,
    needs: &'static [Scope],
    receives: bool,
    shared: Shared,
}

/// Looking.
fn get<T: 'static>(path: &'static str, handler: impl Handler<T, Shared>) -> Route {
    route("GET", path, &[Scope::Read], handler)
}

/// Looking, for anybody.
fn open<T: 'static>(path: &'static str, handler: impl Handler<T, Shared>) -> Route {
    route("GET", path, &[], handler)
}

/// Anything.
fn route<T: 'static>(
    method: &'static str,
    path: &'static str,
    needs: &'static [Scope],
    handler: impl Handler<T, Shared>,
) -> Route {
    let filter = match method {
        "GET" => MethodFilter::GET,
        "PUT" => MethodFilter::PUT,
        "PATCH" => MethodFilter::PATCH,
        "DELETE" => MethodFilter::DELETE,
        _ => MethodFilter::POST,
    };
    Route {
        method,
        path,
        needs,
        receives: false,
        handler: on(filter, handler),
    }
}

impl Route {
    fn receives(self) -> Self {
        Self {
            receives: true,
            ..self
        }
    }
}

/// Everything that is served.
pub(crate) fn routes() -> Vec<Route> {
    use Scope::{Admin, Publish, Run};
    vec![
        open("/health/", health::get),
        open("/openapi.json", openapi::get),
        get("/plugin_releases/", releases::list),
        route("POST", "/plugin_releases/", &[Publish], publish::create).receives(),
        get("/plugin_releases/{id}/", releases::get),
        route(
            "DELETE",
            "/plugin_releases/{id}/",
            &[Admin],
            releases::delete,
        ),
        get("/jobs/", jobs::list),
        route("POST", "/jobs/", &[Run], jobs::create),
        get("/jobs/{id}/", jobs::get),
        route("PATCH", "/jobs/{id}/", &[Run], jobs::update),
        get("/jobs/{id}/console_logs/", console::list),
        get("/jobs/{id}/tail_console_logs/", console::tail),
        route("POST", "/logs/", &[Run], logs::create),
        get("/models/", models::list),
        route("POST", "/models/", &[Run], models::create).receives(),
        get("/models/{id}/", models::get),
        get("/ground_truth_dataset_versions/", datasets::list),
        get("/ground_truth_dataset_versions/{id}/", datasets::get),
        get("/ground_truths/", datasets::items),
        // What is sent in chunks becomes a release or a model.
        route("PUT", "/chunked_upload/", &[Publish, Run], uploads::begin).receives(),
        get("/chunked_upload/{id}/", uploads::get),
        route(
            "PUT",
            "/chunked_upload/{id}/",
            &[Publish, Run],
            uploads::append,
        )
        .receives(),
        route(
            "POST",
            "/chunked_upload/{id}/",
            &[Publish, Run],
            uploads::complete,
        ),
        get("/agents/", agents::list),
        get("/agents/{id}/", agents::get),
        route("POST", "/plugins/{code}/run/", &[Run], plugins::run),
        get("/storages/", storages::list),
        get("/storages/{id}/", storages::get),
        get("/serve_applications/", applications::list),
        route("POST", "/serve_applications/", &[Run], applications::create),
        get("/serve_applications/{id}/", applications::get),
        route(
            "DELETE",
            "/serve_applications/{id}/",
            &[Admin],
            applications::delete,
        ),
        get("/files/releases/{id}/{name}", releases::file),
        get("/files/models/{id}/{name}", models::file),
        get("/files/uploads/{id}/{name}", uploads::file),
        get("/files/datasets/{id}/{*name}", datasets::file),
    ]
}

/// The router of one view.
pub(crate) fn router(shared: Shared) -> Router {
    let mut router = Router::new();
    for route in routes() {
        let rule = Rule {
            path: route.path,
            needs: route.needs,
            receives: route.receives,
            shared: Arc::clone(&shared),
        };
        let handler = route.handler.layer(from_fn_with_state(rule, pass));
        router = router.route(route.path, handler);
    }
    router
        .fallback(reply::unknown)
        .method_not_allowed_fallback(reply::not_allowed)
        // Every handler has a limit of its own.
        .layer(DefaultBodyLimit::disable())
        .with_state(shared)
}

/// Runs before every handler: whether the token allows it, and whether there is room.
async fn pass(State(rule): State<Rule>, request: Request, next: Next) -> Response {
    let mut response = match enter(&rule, request.extensions().get::<Caller>().cloned()).await {
        // Held until the answer is there.
        Ok(_room) => next.run(request).await,
        Err(problem) => {
            drain(request.into_body(), CHUNK).await;
            problem.into_response()
        }
    };
    response.extensions_mut().insert(Met(rule.path));
    response
}

async fn enter(
    rule: &Rule,
    caller: Option<Caller>,
) -> Result<Option<tokio::sync::OwnedSemaphorePermit>, Problem> {
    let allowed = |caller: Caller| caller.scopes.allow(rule.needs);
    if !rule.needs.is_empty() && !caller.is_some_and(allowed) {
        let names: Vec<String> = rule
            .needs
            .iter()
            .map(|scope| format!("`{scope}`"))
            .collect();
        let text = format!(
            "You do not have permission to perform this action: the token lacks the scope {}.",
            names.join(" or ")
        );
        return Err(Problem::new(StatusCode::FORBIDDEN, text));
    }
    if rule.receives {
        return Ok(Some(rule.shared.site.upload().await?));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    #[test]
    fn the_document_describes_every_route_and_no_other() {
        let document = openapi::document().expect("a document");
        let mut described = BTreeSet::new();
        for (path, operations) in document["paths"].as_object().expect("paths") {
            for method in operations.as_object().expect("operations").keys() {
                if method != "parameters" {
                    described.insert((method.to_uppercase(), path.clone()));
                }
            }
        }
        let served: BTreeSet<(String, String)> = routes()
            .iter()
            .map(|route| (route.method.to_owned(), route.path.replace('*', "")))
            .collect();
        assert_eq!(served.len(), routes().len(), "each once");
        assert_eq!(described, served);
    }

    #[test]
    fn every_reference_in_the_document_leads_somewhere() {
        fn walk(value: &Value, whole: &Value, count: &mut usize) {
            match value {
                Value::Object(fields) => {
                    if let Some(place) = fields.get("$ref").and_then(Value::as_str) {
                        let place = place.strip_prefix('#').expect("a place in the document");
                        assert!(whole.pointer(place).is_some(), "{place}");
                        *count += 1;
                    }
                    fields.values().for_each(|field| walk(field, whole, count));
                }
                Value::Array(items) => items.iter().for_each(|item| walk(item, whole, count)),
                _ => {}
            }
        }
        let document = openapi::document().expect("a document");
        let mut count = 0;
        walk(&document, &document, &mut count);
        assert!(count > 100);
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    }

    #[test]
    fn only_what_is_nobodys_secret_needs_no_token() {
        let open: Vec<&str> = routes()
            .iter()
            .filter(|route| route.needs.is_empty())
            .map(|route| route.path)
            .collect();
        assert_eq!(open, ["/health/", "/openapi.json"]);
        for route in routes().iter().filter(|route| route.method == "DELETE") {
            assert_eq!(route.needs, [Scope::Admin], "{}", route.path);
        }
    }
}
