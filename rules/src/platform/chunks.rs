//! Owns sending a file in chunks: it goes on where the server stands, after any interruption, also
//! one of an earlier command.

use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};

use super::{Platform, PlatformError, send::CHUNK};
use crate::{
    client::Watch,
    http::{Body, FilePart, Form, WireError},
};

/// A file to bring to the server.
#[derive(Debug, Clone, Copy)]
pub struct Parcel<'a> {
    /// Where it lies.
    pub path: &'a Path,
    /// What it is called there.
    pub name: &'a str,
    /// Its length in bytes.
    pub size: u64,
    /// Its MD5, 32 hex digits: the server refuses what has another.
    pub md5: &'a str,
}

/// How an upload stands at the server.
struct Begun {
    id: String,
    offset: u64,
    complete: bool,
}

impl Platform {
    /// Brings a file to the server; returns the id of the finished upload.
    pub fn send_file(
        &self,
        parcel: &Parcel<'_>,
        watch: &dyn Watch,
    ) -> Result<String, PlatformError> {
        let mut begun = match watch.begun() {
            Some(id) => self.begun(&id, parcel.size)?,
            None => None,
        };
        let mut tries = self.http.options().retry.tries();
        loop {
            let before = begun.as_ref().map_or(0, |begun| begun.offset);
            let outcome = match &begun {
                Some(begun) if begun.complete => return Ok(begun.id.clone()),
                Some(begun) if begun.offset == parcel.size => self.complete(begun, parcel),
                other => self.chunk(other.as_ref(), parcel, watch),
            };
            match outcome {
                Ok(now) => {
                    if begun.is_none() {
                        watch.begins(&now.id);
                    }
                    begun = Some(now);
                    tries = self.http.options().retry.tries();
                }
                Err(error) => {
                    let asked = match &error {
                        PlatformError::Busy { after, .. } => *after,
                        // Another may have sent this chunk, or a part of it had arrived.
                        PlatformError::Invalid(_) | PlatformError::NotFound(_)
                            if begun.is_some() =>
                        {
                            None
                        }
                        other
                            if other.in_doubt() || matches!(other, PlatformError::Conflict(_)) =>
                        {
                            None
                        }
                        _ => return Err(error),
                    };
                    let Some(wait) = tries.next(asked) else {
                        return Err(error);
                    };
                    self.http.sleep(wait)?;
                    if let Some(known) = &begun {
                        begun = self.begun(&known.id, parcel.size)?;
                    }
                    if begun.as_ref().is_some_and(|begun| begun.offset > before) {
                        tries = self.http.options().retry.tries();
                    }
                }
            }
        }
    }

    /// How an upload stands; none when the server does not know it, or not of this length.
    fn begun(&self, id: &str, size: u64) -> Result<Option<Begun>, PlatformError> {
        if !id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        {
            return Ok(None);
        }
        match self.get(&format!("chunked_upload/{id}/")) {
            Ok(value) => {
                let begun = self.stands(&value)?;
                let fits = value["size"].as_u64().is_none_or(|own| own == size);
                Ok(Some(begun).filter(|begun| fits && begun.offset <= size))
            }
            Err(PlatformError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn chunk(
        &self,
        begun: Option<&Begun>,
        parcel: &Parcel<'_>,
        watch: &dyn Watch,
    ) -> Result<Begun, PlatformError> {
        let begin = begun.map_or(0, |begun| begun.offset);
        let path = match begun {
            Some(begun) => format!("chunked_upload/{}/", begun.id),
            None => "chunked_upload/".to_owned(),
        };
        let body = Body::Form(Form {
            fields: vec![("filename", parcel.name.to_owned())],
            file: Some(FilePart {
                path: parcel.path,
                name: parcel.name,
                begin,
                len: CHUNK.min(parcel.size - begin),
                total: Some(parcel.size),
            }),
        });
        let progress = |bytes: u64| watch.progress(begin + bytes);
        let reply = self.call(&Method::PUT, &path, body, false, Some(&progress))?;
        self.stands(&self.read(&reply)?)
    }

    fn complete(&self, begun: &Begun, parcel: &Parcel<'_>) -> Result<Begun, PlatformError> {
        let path = format!("chunked_upload/{}/", begun.id);
        let body = Body::Json(json!({"md5": parcel.md5}));
        // Finishing what is finished changes nothing.
        let value = self.json(&Method::POST, &path, body, true)?;
        Ok(Begun {
            complete: true,
            ..self.stands(&value)?
        })
    }

    fn stands(&self, value: &Value) -> Result<Begun, PlatformError> {
        let id = match &value["id"] {
            Value::String(id) => Some(id.clone()),
            Value::Number(id) => Some(id.to_string()),
            _ => None,
        };
        let offset = value["offset"].as_u64().or_else(|| value["size"].as_u64());
        match (id, offset) {
            (Some(id), Some(offset)) => Ok(Begun {
                id,
                offset,
                complete: !value["completed_at"].is_null(),
            }),
            _ => Err(PlatformError::Wire(WireError::Garbled {
                host: self.host().to_owned(),
                what: "an upload has no id or no offset".to_owned(),
            })),
        }
    }
}
