//! Owns how bodies are read: objects of fields, whatever way they are sent, and files, which go
//! to disk as they come.

use std::error::Error;
use std::fs::File;
use std::io;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::multipart::{Field, Multipart, MultipartError};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use serde_json::{Map, Value};
use tokio::io::AsyncWriteExt;

use super::Shared;
use super::guard::drain;
use super::reply::Problem;
use crate::error::BackendError;

/// Bytes of one chunk at most, with what is around it. Clients send 50 MB.
pub(crate) const CHUNK: usize = 64 << 20;
/// Bytes of a body without files at most; log entries carry small ones in text.
pub(crate) const TEXT: usize = 32 << 20;
/// Bytes of one text field beside a file.
const FIELD: usize = 4 << 20;

/// Bytes of a body that is refused that are read at most: the rest is cut off.
const REFUSED: usize = 1 << 30;
/// How long such a body is read at most.
const REFUSING: Duration = Duration::from_secs(15);

/// The body as JSON, which it must be said to be: a page in a browser can send any other kind
/// to anywhere without asking.
pub(crate) async fn json(request: Request) -> Result<Value, Problem> {
    let kind = content_type(request.headers());
    let subtype = kind.strip_prefix("application/").unwrap_or_default();
    if subtype != "json" && !subtype.ends_with("+json") {
        let text = format!("Unsupported media type \"{kind}\" in request.");
        let problem = Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text);
        return Err(drained(request.into_body(), problem).await);
    }
    let bytes = to_bytes(request.into_body(), TEXT).await.map_err(|error| {
        if is_late(&error) {
            return late();
        }
        let text = error.to_string();
        if text.contains("limit") {
            too_large(TEXT)
        } else {
            Problem::bad(format!("the body could not be read: {text}"))
        }
    })?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Problem::bad(format!("JSON parse error - {error}")))
}

/// The fields of a body: JSON, a form, or multipart without files.
pub(crate) async fn fields(
    request: Request,
    shared: &Shared,
) -> Result<Map<String, Value>, Problem> {
    let kind = content_type(request.headers());
    if kind == "multipart/form-data" {
        let mut fields = Map::new();
        let mut parts = multipart(request, shared).await?;
        while let Some(part) = parts
            .next_field()
            .await
            .map_err(|error| multipart_problem(&error))?
        {
            let (name, value) = text(part).await?;
            fields.insert(name, Value::String(value));
        }
        return Ok(fields);
    }
    if kind == "application/x-www-form-urlencoded" {
        let bytes = to_bytes(request.into_body(), FIELD)
            .await
            .map_err(|error| {
                if is_late(&error) {
                    late()
                } else {
                    too_large(FIELD)
                }
            })?;
        let pairs = form(&bytes).ok_or_else(|| Problem::bad("the form cannot be read"))?;
        let pairs = pairs.into_iter();
        return Ok(pairs
            .map(|(name, value)| (name, Value::String(value)))
            .collect());
    }
    match json(request).await? {
        Value::Object(fields) => Ok(fields),
        _ => Err(Problem::bad("Invalid data. Expected a dictionary.")),
    }
}

fn form(bytes: &[u8]) -> Option<Vec<(String, String)>> {
    let query = format!("/?{}", std::str::from_utf8(bytes).ok()?);
    let pairs = axum::extract::Query::try_from_uri(&query.parse().ok()?);
    Some(pairs.ok()?.0)
}

/// The media type without its parameters, in lower case.
pub(crate) fn content_type(headers: &HeaderMap) -> String {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default();
    kind.trim().to_ascii_lowercase()
}

/// The parts of a multipart body.
pub(crate) async fn multipart(request: Request, shared: &Shared) -> Result<Multipart, Problem> {
    Multipart::from_request(request, shared)
        .await
        .map_err(|error| Problem::bad(error.body_text()))
}

pub(crate) fn multipart_problem(error: &MultipartError) -> Problem {
    if is_late(error) {
        return late();
    }
    let text = error.body_text();
    // How its libraries word it names nothing that a caller knows.
    Problem::new(
        error.status(),
        format!("the multipart body cannot be read: {text}"),
    )
}

/// A text field, with its name.
pub(crate) async fn text(mut part: Field<'_>) -> Result<(String, String), Problem> {
    let name = part.name().unwrap_or_default().to_owned();
    let mut bytes = Vec::new();
    while let Some(more) = part
        .chunk()
        .await
        .map_err(|error| multipart_problem(&error))?
    {
        if bytes.len() + more.len() > FIELD {
            return Err(too_large(FIELD));
        }
        bytes.extend_from_slice(&more);
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok((name, text)),
        Err(_) => Err(Problem::field(&name, "Not a valid string.")),
    }
}

/// Writes a part to a file, from where the file stands, and says how many bytes there were. At
/// most `limit` are taken.
pub(crate) async fn receive(
    mut part: Field<'_>,
    file: &File,
    limit: u64,
    shared: &Shared,
) -> Result<u64, Problem> {
    let failed = |cause| Problem::from(BackendError::io("write", shared.embedded.dir(), cause));
    let mut file = tokio::fs::File::from_std(file.try_clone().map_err(failed)?);
    let mut size = 0;
    while let Some(bytes) = part
        .chunk()
        .await
        .map_err(|error| multipart_problem(&error))?
    {
        size += bytes.len() as u64;
        if size > limit {
            return Err(too_large(usize::try_from(limit).unwrap_or(usize::MAX)));
        }
        shared.embedded.hooks.at("backend.write").map_err(failed)?;
        file.write_all(&bytes).await.map_err(failed)?;
    }
    file.flush().await.map_err(failed)?;
    Ok(size)
}

/// A problem whose sender is still sending: what it sends is read away, within reason.
pub(crate) async fn drained(body: Body, problem: Problem) -> Problem {
    let _ = tokio::time::timeout(REFUSING, drain(body, REFUSED)).await;
    problem
}

/// Whether a body failed because nothing came of it for too long.
fn is_late(error: &(dyn Error + 'static)) -> bool {
    let mut at = Some(error);
    while let Some(error) = at {
        let own = error.downcast_ref::<io::Error>();
        if own.is_some_and(|own| own.kind() == io::ErrorKind::TimedOut) {
            return true;
        }
        at = error.source();
    }
    false
}

fn late() -> Problem {
    let text = "the body did not arrive: nothing came for too long";
    Problem::new(StatusCode::REQUEST_TIMEOUT, text)
}

pub(crate) fn too_large(limit: usize) -> Problem {
    let text = format!("the body is larger than {limit} bytes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, text)
}
