//! Owns answers: JSON, errors as JSON, times as text.

use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::Shared;
use crate::error::BackendError;

/// When to come again after nothing more could wait.
const SOON: Duration = Duration::from_secs(5);

/// What a handler returns.
pub(crate) type Reply = Result<Response, Problem>;

/// Paths that end with a slash, by their first part.
const ROOTS: [&str; 12] = [
    "health",
    "plugin_releases",
    "jobs",
    "logs",
    "models",
    "ground_truth_dataset_versions",
    "ground_truths",
    "chunked_upload",
    "storages",
    "serve_applications",
    "plugins",
    "agents",
];

/// An answer that is an error.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    pub(crate) body: Value,
    /// Seconds after which it may be tried again.
    retry_after: Option<u64>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            body: json!({"detail": detail.into()}),
            retry_after: None,
        }
    }

    /// The same, with the time after which it may be tried again.
    pub(crate) fn later(mut self, wait: Duration) -> Self {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        self.retry_after = Some(seconds.max(1));
        self
    }

    /// The request cannot be understood.
    pub(crate) fn bad(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// A field cannot be taken.
    pub(crate) fn field(name: &str, what: impl Into<String>) -> Self {
        let mut problem = Self::bad("");
        problem.body = json!({name: [what.into()]});
        problem
    }

    pub(crate) fn missing() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Not found.")
    }

    pub(crate) fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the backend made a mistake; please report it",
        )
    }
}

impl From<BackendError> for Problem {
    fn from(error: BackendError) -> Self {
        let status = match &error {
            BackendError::NoRelease(_)
            | BackendError::NoDataset(_)
            | BackendError::NoItem(_)
            | BackendError::NoModel(_)
            | BackendError::NoRun(_)
            | BackendError::NoApplication(_)
            | BackendError::NoToken(_)
            | BackendError::NoUpload(_)
            | BackendError::Missing(_) => StatusCode::NOT_FOUND,
            BackendError::Changed(_) | BackendError::Busy | BackendError::Taken(_) => {
                StatusCode::CONFLICT
            }
            BackendError::Full(_) => StatusCode::TOO_MANY_REQUESTS,
            error if error.is_refusal() => StatusCode::BAD_REQUEST,
            BackendError::Io { cause, .. } => match cause.kind() {
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                    StatusCode::INSUFFICIENT_STORAGE
                }
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            },
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let mut problem = Self::new(status, error.to_string());
        match error {
            BackendError::Offset { reached } => problem.body["offset"] = json!(reached),
            BackendError::Checksum { actual, .. } => problem.body["checksum"] = json!(actual),
            BackendError::Full(_) => return problem.later(SOON),
            _ => {}
        }
        problem
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = reply(self.status, &self.body);
        if self.status == StatusCode::UNAUTHORIZED {
            let headers = response.headers_mut();
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Token"));
        }
        if let Some(seconds) = self.retry_after {
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// A JSON answer.
pub(crate) fn reply(status: StatusCode, body: &Value) -> Response {
    json_reply(status, body.to_string())
}

fn json_reply(status: StatusCode, text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// A JSON answer to a call that went well, with an entity tag: the digest of what it says.
pub(crate) fn ok(body: &Value) -> Response {
    let text = body.to_string();
    let tag = format!("\"{}\"", &blake3::hash(text.as_bytes()).to_hex()[..32]);
    let mut response = json_reply(StatusCode::OK, text);
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// Whether `If-None-Match` names an entity tag.
pub(crate) fn matches_tag(known: &HeaderValue, own: &HeaderValue) -> bool {
    let (Ok(known), Ok(own)) = (known.to_str(), own.to_str()) else {
        return false;
    };
    let mut tags = known.split(',').map(str::trim);
    tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == own)
}

/// A JSON answer to a call that made something.
pub(crate) fn created(body: &Value) -> Response {
    reply(StatusCode::CREATED, body)
}

/// The first variable part of a path.
pub(crate) struct Part(pub(crate) String);

impl Part {
    /// The part as the number of something; what is no number names nothing.
    pub(crate) fn number(&self) -> Result<i64, Problem> {
        self.0.parse().map_err(|_| Problem::missing())
    }
}

impl FromRequestParts<Shared> for Part {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &Shared) -> Result<Self, Problem> {
        let found: Result<Path<Vec<(String, String)>>, PathRejection> =
            Path::from_request_parts(parts, state).await;
        let Path(found) = found.map_err(|_| Problem::missing())?;
        let first = found.into_iter().next();
        first
            .map(|(_, part)| Self(part))
            .ok_or_else(Problem::missing)
    }
}

/// For paths that there are not. A missing slash is put right where that is safe.
pub(crate) async fn unknown(method: Method, uri: Uri) -> Response {
    let path = uri.path();
    let root = path.split('/').nth(1).unwrap_or_default();
    if path.ends_with('/') || !ROOTS.contains(&root) {
        return Problem::missing().into_response();
    }
    let query = uri.query().map(|query| format!("?{query}"));
    let place = format!("{path}/{}", query.unwrap_or_default());
    let place = HeaderValue::from_str(&place).ok();
    match place.filter(|_| method == Method::GET || method == Method::HEAD) {
        Some(place) => {
            let mut response = reply(StatusCode::MOVED_PERMANENTLY, &json!({"detail": "Moved."}));
            response.headers_mut().insert(header::LOCATION, place);
            response
        }
        None => Problem::new(
            StatusCode::NOT_FOUND,
            format!("Not found. The address ends with a slash: {path}/"),
        )
        .into_response(),
    }
}

/// For methods that a path does not have.
pub(crate) async fn not_allowed(method: Method) -> Problem {
    let detail = format!("Method \"{method}\" not allowed.");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
}

/// Unix seconds as text.
pub(crate) fn time(seconds: f64) -> Value {
    let stamp = jiff::Timestamp::from_microsecond((seconds * 1e6) as i64);
    stamp.map_or(Value::Null, |stamp| Value::String(stamp.to_string()))
}

/// Whole Unix seconds as text.
pub(crate) fn moment(seconds: i64) -> Value {
    let stamp = jiff::Timestamp::from_second(seconds);
    stamp.map_or(Value::Null, |stamp| Value::String(stamp.to_string()))
}
