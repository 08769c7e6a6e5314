//! Owns how bodies are read: objects of fields, whatever way they are sent, and files, which go
//! to disk as they come.

use std::fs::File;

use axum::body::to_bytes;
use axum::extract::multipart::{Field, Multipart, MultipartError};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use serde_json::{Map, Value};
use tokio::io::AsyncWriteExt;

use super::Shared;
use super::reply::Problem;
use crate::error::BackendError;

/// Bytes of one chunk at most, with what is around it. Clients send 50 MB.
pub(crate) const CHUNK: usize = 64 << 20;
/// Bytes of a body without files at most; log entries carry small ones in text.
pub(crate) const TEXT: usize = 32 << 20;
/// Bytes of one text field beside a file.
const FIELD: usize = 4 << 20;

/// The body as JSON.
pub(crate) async fn json(request: Request) -> Result<Value, Problem> {
    let bytes = to_bytes(request.into_body(), TEXT).await.map_err(|error| {
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
        while let Some(part) = parts.next_field().await.map_err(multipart_problem)? {
            let (name, value) = text(part).await?;
            fields.insert(name, Value::String(value));
        }
        return Ok(fields);
    }
    if kind == "application/x-www-form-urlencoded" {
        let bytes = to_bytes(request.into_body(), FIELD)
            .await
            .map_err(|_| too_large(FIELD))?;
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

pub(crate) fn multipart_problem(error: MultipartError) -> Problem {
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
    while let Some(more) = part.chunk().await.map_err(multipart_problem)? {
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
    while let Some(bytes) = part.chunk().await.map_err(multipart_problem)? {
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

pub(crate) fn too_large(limit: usize) -> Problem {
    let text = format!("the body is larger than {limit} bytes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, text)
}
