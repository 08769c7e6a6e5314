//! Owns `/chunked_upload/`: a file in chunks, gone on with where it stands, checked by its MD5.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};

use super::body::{CHUNK, drained, fields, multipart, multipart_problem, receive, text, too_large};
use super::download::Download;
use super::reply::{Part, Problem, Reply, created, moment, ok};
use super::{Inner, Shared};
use crate::files::percent_encode;
use crate::upload::{Upload, safe_name};

/// What `Content-Range` says of a chunk.
#[derive(Debug, PartialEq, Eq)]
struct Span {
    begin: u64,
    len: u64,
    total: u64,
}

/// `PUT /chunked_upload/`: the first chunk.
pub(crate) async fn begin(State(shared): State<Shared>, request: Request) -> Reply {
    let (span, request) = announced(request).await?;
    if span.begin != 0 {
        let problem = Problem::field("offset", "A new upload begins at byte 0.");
        return Err(drained(request.into_body(), problem).await);
    }
    if let Some(limit) = shared.site.max_upload.filter(|limit| span.total > *limit) {
        let problem = too_large(usize::try_from(limit).unwrap_or(usize::MAX));
        return Err(drained(request.into_body(), problem).await);
    }
    let incoming = shared.work(|backend| backend.incoming("upload")).await?;
    let mut parts = multipart(request, &shared).await?;
    let (mut filename, mut size) = (None, None);
    while let Some(part) = parts
        .next_field()
        .await
        .map_err(|error| multipart_problem(&error))?
    {
        match part.name() {
            Some("file") if size.is_none() => {
                let own = part.file_name().map(str::to_owned);
                filename = filename.or(own);
                size = Some(receive(part, incoming.file(), span.len, &shared).await?);
            }
            Some("filename") => filename = Some(text(part).await?.1),
            _ => {}
        }
    }
    span.check(size)?;
    let filename = safe_name(&filename.unwrap_or_default());
    let upload = shared
        .work(move |backend| backend.upload_begin(&filename, span.total, span.len, incoming))
        .await?;
    Ok(created(&object(&shared, &upload)))
}

/// `PUT /chunked_upload/{id}/`: the next chunk.
pub(crate) async fn append(
    State(shared): State<Shared>,
    Part(id): Part,
    request: Request,
) -> Reply {
    let (span, request) = announced(request).await?;
    let (begin, total) = (span.begin, span.total);
    let opened = shared
        .work(move |backend| backend.upload_chunk(&id, begin, total))
        .await;
    let chunk = match opened {
        Ok(chunk) => chunk,
        Err(problem) => {
            return Err(drained(request.into_body(), problem).await);
        }
    };
    let mut parts = multipart(request, &shared).await?;
    let mut size = None;
    while let Some(part) = parts
        .next_field()
        .await
        .map_err(|error| multipart_problem(&error))?
    {
        if part.name() == Some("file") && size.is_none() {
            size = Some(receive(part, &chunk.file, span.len, &shared).await?);
        }
    }
    span.check(size)?;
    let upload = shared
        .work(move |backend| backend.upload_advance(&chunk, span.begin + span.len))
        .await?;
    Ok(ok(&object(&shared, &upload)))
}

/// `POST /chunked_upload/{id}/`: the end.
pub(crate) async fn complete(
    State(shared): State<Shared>,
    Part(id): Part,
    request: Request,
) -> Reply {
    let fields = fields(request, &shared).await?;
    let Some(Value::String(md5)) = fields.get("md5") else {
        return Err(Problem::field("md5", "This field is required."));
    };
    let md5 = md5.trim().to_owned();
    let upload = shared
        .work(move |backend| backend.upload_complete(&id, &md5))
        .await?;
    Ok(ok(&object(&shared, &upload)))
}

/// `GET /chunked_upload/{id}/`: how far it is.
pub(crate) async fn get(State(shared): State<Shared>, Part(id): Part) -> Reply {
    let upload = shared.work(move |backend| backend.upload(&id)).await?;
    Ok(ok(&object(&shared, &upload)))
}

/// `GET /files/uploads/{id}/{name}`: the file, until something is made of it.
pub(crate) async fn file(
    State(shared): State<Shared>,
    Part(id): Part,
    headers: HeaderMap,
) -> Reply {
    let (upload, file) = shared.work(move |backend| backend.upload_file(&id)).await?;
    Ok(Download {
        file,
        size: upload.total,
        sha256: upload.sha256.unwrap_or_default(),
        name: upload.filename,
    }
    .reply(&headers))
}

/// Reads what the headers say of a chunk; what they say wrong is answered after the body.
async fn announced(request: Request) -> Result<(Span, Request), Problem> {
    match Span::of(request.headers()) {
        Ok(span) => Ok((span, request)),
        Err(problem) => Err(drained(request.into_body(), problem).await),
    }
}

impl Span {
    fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let given = headers.get(header::CONTENT_RANGE);
        let given = given.ok_or_else(|| Problem::bad("the header Content-Range is missing"))?;
        let given = given.to_str().unwrap_or_default();
        let span = Self::read(given).ok_or_else(|| {
            let text = format!("Content-Range {given:?} is not like `bytes 0-99/1000`");
            Problem::bad(text)
        })?;
        if span.len > CHUNK as u64 {
            return Err(too_large(CHUNK));
        }
        Ok(span)
    }

    fn read(text: &str) -> Option<Self> {
        let number = |text: &str| {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            // The database counts with a sign.
            let number = text.parse().ok().filter(|_| digits)?;
            i64::try_from(number).is_ok().then_some(number)
        };
        let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
        let total = number(total.trim())?;
        if range.trim() == "*" {
            let (begin, len) = (0, 0);
            return Some(Self { begin, len, total });
        }
        let (begin, last) = range.trim().split_once('-')?;
        let (begin, last) = (number(begin)?, number(last)?);
        let len = (begin <= last && last < total).then(|| last - begin + 1)?;
        Some(Self { begin, len, total })
    }

    /// Whether the chunk was as long as announced.
    fn check(&self, size: Option<u64>) -> Result<(), Problem> {
        let size = match size {
            Some(size) => size,
            None if self.len == 0 => 0,
            None => return Err(Problem::field("file", "No file was submitted.")),
        };
        if size == self.len {
            return Ok(());
        }
        let text = format!(
            "the chunk has {size} bytes, Content-Range says {}",
            self.len
        );
        let mut problem = Problem::new(StatusCode::BAD_REQUEST, text);
        problem.body["offset"] = json!(self.begin);
        Err(problem)
    }
}

fn object(shared: &Inner, upload: &Upload) -> Value {
    let mut file = format!("{}/files/uploads/{}/", shared.url, upload.id);
    percent_encode(upload.filename.as_bytes(), &mut file);
    let file = upload
        .completed
        .filter(|_| upload.model.is_none() && upload.release.is_none())
        .map(|_| file);
    json!({
        "id": upload.id,
        "url": format!("{}/chunked_upload/{}/", shared.url, upload.id),
        "filename": upload.filename,
        "offset": upload.reached,
        "size": upload.total,
        "file": file,
        "checksum": upload.md5,
        "completed_at": upload.completed.map(moment),
        "model": upload.model,
        "release": upload.release,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read() {
        let of = |begin, len, total| Some(Span { begin, len, total });
        assert_eq!(Span::read("bytes 0-9/10"), of(0, 10, 10));
        assert_eq!(Span::read("bytes 5-5/10"), of(5, 1, 10));
        assert_eq!(Span::read("bytes */0"), of(0, 0, 0));
        assert_eq!(Span::read("bytes */10"), of(0, 0, 10));
        for bad in [
            "",
            "bytes",
            "bytes 0-10/10",
            "bytes 3-2/10",
            "bytes -1-2/10",
            "bytes 0-1/*",
            "bytes +0-1/10",
            "bytes 0-1",
            "bytes 0-1/99999999999999999999",
            "items 0-1/10",
        ] {
            assert_eq!(Span::read(bad), None, "{bad}");
        }
    }
}
