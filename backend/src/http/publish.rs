//! Owns `POST /plugin_releases/`: a release as it is sent, with its archive or with an upload that
//! was sent before.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};
use synapse_engine::Digest;
use synapse_rules::archive::read::{self, ReadError};
use synapse_rules::client::{Backend, ClientError, Slot, Upload};

use super::Shared;
use super::body::{content_type, drained, fields, multipart, multipart_problem, receive, text};
use super::releases::object;
use super::reply::{Problem, Reply, created};
use crate::error::BackendError;
use crate::files::digest;
use crate::release::Details;
use crate::upload::{Incoming, Sums};
use crate::{CONTENT_KEY, Embedded};

/// Most of README and of requirements.txt that is kept, as by a publish on this machine.
const TEXT: u64 = 4 << 20;
/// What is around a file in a body, at most.
const AROUND: u64 = 16 << 20;

/// Fields of a release, understood.
struct Sent {
    slot: Slot,
    config: Value,
    /// What the sender says that the archive holds.
    content: Option<Digest>,
    requirements: Option<String>,
    /// The id of an upload.
    upload: Option<String>,
}

/// `POST /plugin_releases/`.
pub(crate) async fn create(State(shared): State<Shared>, request: Request) -> Reply {
    let (fields, incoming) = arrive(request, &shared).await?;
    let sent = Sent::of(fields, incoming.is_some())?;
    let made = shared.attempt(move |backend| sent.publish(backend, incoming));
    let details = made.await?;
    let body = object(&shared, &details);
    let mut response = created(&body);
    let place = format!("{}/plugin_releases/{}/", shared.url, details.release.id);
    if let Ok(place) = HeaderValue::from_str(&place) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    Ok(response)
}

/// Reads the body: text into memory, the file to disk.
async fn arrive(
    request: Request,
    shared: &Shared,
) -> Result<(Map<String, Value>, Option<Incoming>), Problem> {
    let limit = shared
        .site
        .max_upload
        .unwrap_or(shared.embedded.options.size_limit);
    if content_type(request.headers()) != "multipart/form-data" {
        return Ok((fields(request, shared).await?, None));
    }
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length: Option<u64> = length.and_then(|text| text.to_str().ok()?.parse().ok());
    if length.is_some_and(|length| length > limit.saturating_add(AROUND)) {
        let problem = too_large(limit);
        return Err(drained(request.into_body(), problem).await);
    }
    let mut parts = multipart(request, shared).await?;
    let (mut fields, mut file) = (Map::new(), None);
    while let Some(part) = parts
        .next_field()
        .await
        .map_err(|error| multipart_problem(&error))?
    {
        if part.name() == Some("file") && file.is_none() {
            let incoming = shared.work(|backend| backend.incoming("release")).await?;
            match receive(part, incoming.file(), limit, shared).await {
                Ok(_) => file = Some(incoming),
                Err(problem) if problem.status == StatusCode::PAYLOAD_TOO_LARGE => {
                    drop(incoming);
                    // Read to its end, so that the sender sees the answer.
                    while let Ok(Some(_)) = parts.next_field().await {}
                    return Err(too_large(limit));
                }
                Err(problem) => return Err(problem),
            }
            continue;
        }
        let (name, value) = text(part).await?;
        fields.insert(name, Value::String(value));
    }
    Ok((fields, file))
}

fn too_large(limit: u64) -> Problem {
    let text = format!("the archive is larger than {limit} bytes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, text)
}

impl Sent {
    /// Understands the fields; says what is wrong with all of them.
    fn of(mut given: Map<String, Value>, has_file: bool) -> Result<Self, Problem> {
        let mut wrong = Map::new();
        let mut refuse = |name: &str, what: String| {
            wrong.insert(name.to_owned(), json!([what]));
        };
        let mut required = |name: &str, given: Option<Value>| match given {
            Some(Value::String(text)) if !text.trim().is_empty() => text,
            None | Some(Value::Null | Value::String(_)) => {
                refuse(name, "This field is required.".to_owned());
                String::new()
            }
            Some(_) => {
                refuse(name, "Not a valid string.".to_owned());
                String::new()
            }
        };
        let code = required("plugin", given.remove("plugin"));
        let version = required("version", given.remove("version"));
        let mut optional = |name: &str, given: Option<Value>| match given {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text).filter(|text| !text.is_empty()),
            Some(_) => {
                refuse(name, "Not a valid string.".to_owned());
                None
            }
        };
        let requirements = optional("requirements", given.remove("requirements"));
        let upload = optional("chunked_upload", given.remove("chunked_upload"));
        match (has_file, &upload) {
            (false, None) => refuse(
                "file",
                "No file was submitted, and no chunked_upload named.".to_owned(),
            ),
            (true, Some(_)) => refuse(
                "chunked_upload",
                "A file was submitted too; one of them must go.".to_owned(),
            ),
            _ => {}
        }
        let debug = truth(given.remove("debug")).unwrap_or_else(|()| {
            refuse("debug", "Must be a valid boolean.".to_owned());
            false
        });
        let config = mapping(given.remove("config")).unwrap_or_else(|what| {
            refuse("config", what);
            Value::Null
        });
        let content = match config.get(CONTENT_KEY) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) if text.parse::<Digest>().is_ok() => text.parse().ok(),
            Some(_) => {
                refuse(
                    "config",
                    format!("`{CONTENT_KEY}` is not a digest of 64 hex digits."),
                );
                None
            }
        };
        if !wrong.is_empty() {
            let mut problem = Problem::bad("");
            problem.body = Value::Object(wrong);
            return Err(problem);
        }
        // One of another type is told of with the rest of the config.
        let variant = config["variant"].as_str().map(str::to_owned);
        Ok(Self {
            slot: Slot {
                code,
                variant: variant.filter(|variant| !variant.is_empty()),
                version,
                debug,
            },
            config,
            content,
            requirements,
            upload,
        })
    }

    /// Makes the release of what arrived.
    fn publish(
        self,
        backend: &Arc<Embedded>,
        incoming: Option<Incoming>,
    ) -> Result<Details, Problem> {
        if !self.slot.debug && backend.find(&self.slot).map_err(refusal)?.is_some() {
            return Err(taken(&self.slot));
        }
        let (archive, sums, upload) = match (incoming, &self.upload) {
            (Some(mut incoming), _) => {
                let sums = incoming.settle()?;
                (Archive::Arrived(incoming), sums, None)
            }
            (None, Some(id)) => {
                let named = |error: BackendError| match error {
                    error if error.is_refusal() => {
                        Problem::field("chunked_upload", error.to_string())
                    }
                    error => Problem::from(error),
                };
                let upload = backend.upload(id).map_err(named)?;
                let path = backend.upload_path(&upload).map_err(named)?;
                let sums = Sums {
                    size: upload.total,
                    md5: upload.md5.clone().unwrap_or_default(),
                    sha256: upload.sha256.clone().unwrap_or_default(),
                };
                (Archive::Uploaded(path), sums, Some(upload))
            }
            (None, None) => return Err(Problem::internal()),
        };
        let path = archive.path(backend);
        let unreadable = |cause| BackendError::io("read", &path, cause);
        let content = read::content(&path).map_err(|error| match error {
            ReadError::Io(cause) => Problem::from(unreadable(cause)),
            other => invalid(&[format!("The archive is refused: {other}.")]),
        })?;
        if let Some(said) = self.content.filter(|said| *said != content) {
            let mut problem = invalid(&[format!(
                "The archive that arrived is not the one that was announced: its content is \
                 {content}, `{CONTENT_KEY}` says {said}."
            )]);
            problem.body["code"] = json!("content_mismatch");
            return Err(problem);
        }
        let mut file = File::open(&path).map_err(unreadable)?;
        let (_, blake3) = digest(&mut file).map_err(unreadable)?;
        let readme = self.config["readme"].as_str().unwrap_or("README.md");
        let readme = text_of(&path, readme);
        let requirements = self
            .requirements
            .or_else(|| text_of(&path, "requirements.txt"));
        let release = backend
            .create(&Upload {
                slot: &self.slot,
                config: &self.config,
                readme: readme.as_deref(),
                requirements: requirements.as_deref(),
                archive: &path,
                size: sums.size,
                content,
                blake3,
                md5: &sums.md5,
                sha256: &sums.sha256,
            })
            .map_err(refusal)?;
        drop(archive);
        if let (Some(upload), Ok(id)) = (upload, release.id.parse()) {
            // The release is made; an upload that is not told of it goes after a day.
            let _ = backend.upload_used(&upload, id);
        }
        Ok(backend.release(&release.id)?)
    }
}

/// The archive on disk.
enum Archive {
    /// Removed when this is dropped: the release has a name of its own for it.
    Arrived(Incoming),
    Uploaded(PathBuf),
}

impl Archive {
    fn path(&self, backend: &Embedded) -> PathBuf {
        match self {
            Self::Arrived(incoming) => backend.files.path(incoming.name()),
            Self::Uploaded(path) => path.clone(),
        }
    }
}

/// A truth value, as JSON or as the words that forms have for it.
fn truth(given: Option<Value>) -> Result<bool, ()> {
    match given {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(truth)) => Ok(truth),
        Some(Value::String(text)) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(true),
            "false" | "0" | "no" | "off" | "" => Ok(false),
            _ => Err(()),
        },
        Some(_) => Err(()),
    }
}

/// A mapping, as JSON or as its text.
fn mapping(given: Option<Value>) -> Result<Value, String> {
    let value = match given {
        None | Some(Value::Null) => return Err("This field is required.".to_owned()),
        Some(Value::String(text)) => serde_json::from_str(&text)
            .map_err(|error| format!("Value must be valid JSON: {error}."))?,
        Some(value) => value,
    };
    if value.is_object() {
        Ok(value)
    } else {
        Err("Expected a dictionary.".to_owned())
    }
}

/// A text file in an archive that is sound; `None` when it is not there.
fn text_of(archive: &Path, name: &str) -> Option<String> {
    let mut archive = zip::ZipArchive::new(fs::File::open(archive).ok()?).ok()?;
    let mut bytes = Vec::new();
    let entry = archive.by_name(name).ok()?;
    entry.take(TEXT).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn taken(slot: &Slot) -> Problem {
    refusal(crate::release::exists(slot))
}

fn invalid(problems: &[String]) -> Problem {
    let mut problem = Problem::bad("");
    problem.body = json!({"non_field_errors": problems});
    problem
}

fn refusal(error: ClientError) -> Problem {
    let failed = |text: String| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, text);
    match error {
        ClientError::Exists(text) => {
            let mut problem = Problem::new(StatusCode::CONFLICT, text);
            problem.body["code"] = json!("version_exists");
            problem
        }
        ClientError::Invalid(problems) => invalid(&problems),
        error => failed(error.to_string()),
    }
}
