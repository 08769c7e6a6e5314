//! Owns bodies: what is sent along with a call, files among it as a stream that is never held
//! whole in memory.

use std::{
    io::{self, Seek, SeekFrom},
    path::Path,
    sync::Arc,
};

use futures_util::stream;
use reqwest::{RequestBuilder, header, multipart};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::{Sent, error::WireError};

/// Bytes of a file that are read at a time.
const PIECE: usize = 256 << 10;

/// What is sent along.
#[derive(Debug, Default)]
pub enum Body<'a> {
    /// Nothing.
    #[default]
    None,
    /// JSON.
    Json(serde_json::Value),
    /// Fields and a file.
    Form(Form<'a>),
}

/// Fields, and at most one file.
#[derive(Debug)]
pub struct Form<'a> {
    /// Names and texts.
    pub fields: Vec<(&'static str, String)>,
    /// The file.
    pub file: Option<FilePart<'a>>,
}

/// A file, or a part of one, under the name `file`.
#[derive(Debug)]
pub struct FilePart<'a> {
    /// Where it lies.
    pub path: &'a Path,
    /// What it is called there.
    pub name: &'a str,
    /// The first byte of it that is sent.
    pub begin: u64,
    /// How many bytes are sent. A file that is shorter is not sent whole, and so not at all.
    pub len: u64,
    /// The whole file's length, for a chunk of it, which goes with a `Content-Range`.
    pub total: Option<u64>,
}

/// A file that cannot be read, or not as far as was announced.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unreadable(String);

impl Body<'_> {
    pub(crate) fn attach(
        &self,
        request: RequestBuilder,
        sent: &Arc<Sent>,
    ) -> Result<RequestBuilder, WireError> {
        match self {
            Self::None => Ok(request),
            Self::Json(value) => Ok(request.json(value)),
            Self::Form(form) => {
                let mut parts = multipart::Form::new();
                for (name, text) in &form.fields {
                    parts = parts.text(*name, text.clone());
                }
                let mut request = request;
                if let Some(file) = &form.file {
                    if let Some(total) = file.total {
                        request = request.header(header::CONTENT_RANGE, range(file, total));
                    }
                    parts = parts.part("file", file.part(sent)?);
                }
                Ok(request.multipart(parts))
            }
        }
    }
}

fn range(file: &FilePart<'_>, total: u64) -> String {
    if file.len == 0 {
        return format!("bytes */{total}");
    }
    format!("bytes {}-{}/{total}", file.begin, file.begin + file.len - 1)
}

struct Reading {
    file: tokio::fs::File,
    left: u64,
    /// Bytes that went out when the next piece is asked for.
    last: u64,
}

impl FilePart<'_> {
    fn part(&self, sent: &Arc<Sent>) -> Result<multipart::Part, WireError> {
        let failed =
            |error: &io::Error| WireError::Source(format!("{}: {error}", self.path.display()));
        let mut file = std::fs::File::open(self.path).map_err(|error| failed(&error))?;
        file.seek(SeekFrom::Start(self.begin))
            .map_err(|error| failed(&error))?;
        let reading = Reading {
            file: tokio::fs::File::from_std(file),
            left: self.len,
            last: 0,
        };
        sent.note(0, false);
        let sent = Arc::clone(sent);
        let shown = self.path.display().to_string();
        let pieces = stream::try_unfold(reading, move |mut reading| {
            let (sent, shown) = (Arc::clone(&sent), shown.clone());
            async move {
                // Asked for more: what went before is out.
                sent.note(std::mem::take(&mut reading.last), reading.left == 0);
                if reading.left == 0 {
                    return Ok(None);
                }
                let piece = piece(&mut reading.file, reading.left)
                    .await
                    .map_err(|error| Unreadable(format!("{shown}: {error}")))?;
                if piece.is_empty() {
                    let left = reading.left;
                    return Err(Unreadable(format!("{shown}: it ends {left} bytes early")));
                }
                reading.left -= piece.len() as u64;
                reading.last = piece.len() as u64;
                Ok(Some((piece, reading)))
            }
        });
        let body = reqwest::Body::wrap_stream(pieces);
        let part =
            multipart::Part::stream_with_length(body, self.len).file_name(self.name.to_owned());
        part.mime_str("application/zip")
            .map_err(|_| WireError::Setup("a media type is refused".to_owned()))
    }
}

async fn piece(from: &mut (impl AsyncRead + Unpin), left: u64) -> io::Result<Vec<u8>> {
    let size = left.min(PIECE as u64) as usize;
    let mut piece = Vec::with_capacity(size);
    from.take(size as u64).read_to_end(&mut piece).await?;
    Ok(piece)
}
