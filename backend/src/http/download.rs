//! Owns downloads: a file as an answer, whole or in part, read as it is sent.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use futures_util::stream;

use super::reply::Problem;
use crate::files::percent_encode;

/// Bytes read at a time.
const BLOCK: u64 = 256 << 10;

/// A file that can be sent.
pub(crate) struct Download {
    pub(crate) file: File,
    /// Its size in bytes.
    pub(crate) size: u64,
    /// SHA-256, 64 hex digits: its entity tag.
    pub(crate) sha256: String,
    /// Name for who saves it.
    pub(crate) name: String,
}

/// What a caller asked for.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Whole,
    /// First byte, and the one after the last.
    Part(u64, u64),
    Impossible,
}

impl Download {
    /// The answer to a call with these headers.
    pub(crate) fn reply(self, headers: &HeaderMap) -> Response {
        let tag = format!("\"{}\"", self.sha256);
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let mut response = Response::new(Body::empty());
        let mut put = |name: HeaderName, value: String| {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().insert(name, value);
            }
        };
        put(header::ACCEPT_RANGES, "bytes".to_owned());
        put(header::ETAG, tag.clone());
        let known = text(header::IF_NONE_MATCH);
        if known.is_some_and(|known| known.split(',').any(|own| own.trim() == tag)) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
        // A range of another state of the file is no use.
        let same = text(header::IF_RANGE).is_none_or(|own| own.trim() == tag);
        let range = text(header::RANGE).filter(|_| same);
        let size = self.size;
        let (status, begin, end) = match wanted(range, size) {
            Wanted::Whole => (StatusCode::OK, 0, size),
            Wanted::Part(begin, end) => (StatusCode::PARTIAL_CONTENT, begin, end),
            Wanted::Impossible => {
                put(header::CONTENT_RANGE, format!("bytes */{size}"));
                put(header::CONTENT_TYPE, "application/json".to_owned());
                let detail = format!("the file has {size} bytes");
                let problem = Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, detail);
                *response.body_mut() = Body::from(problem.body.to_string());
                *response.status_mut() = problem.status;
                return response;
            }
        };
        if status == StatusCode::PARTIAL_CONTENT {
            let last = end - 1;
            put(
                header::CONTENT_RANGE,
                format!("bytes {begin}-{last}/{size}"),
            );
        }
        put(header::CONTENT_TYPE, "application/octet-stream".to_owned());
        put(header::CONTENT_LENGTH, (end - begin).to_string());
        let mut disposition = "attachment; filename*=UTF-8''".to_owned();
        percent_encode(self.name.as_bytes(), &mut disposition);
        put(header::CONTENT_DISPOSITION, disposition);
        *response.status_mut() = status;
        *response.body_mut() = body(self.file, begin, end);
        response
    }
}

fn body(file: File, begin: u64, end: u64) -> Body {
    let file = Arc::new(file);
    Body::from_stream(stream::try_unfold(begin, move |at| {
        let file = Arc::clone(&file);
        async move {
            if at >= end {
                return Ok(None);
            }
            let read = move || {
                let mut block = vec![0; (end - at).min(BLOCK) as usize];
                file.read_exact_at(&mut block, at)?;
                Ok::<_, io::Error>(Bytes::from(block))
            };
            let block = tokio::task::spawn_blocking(read)
                .await
                .map_err(io::Error::other)??;
            let next = at + block.len() as u64;
            Ok::<_, io::Error>(Some((block, next)))
        }
    }))
}

/// One range is honoured; several at once, and what cannot be read, ask for the whole.
fn wanted(range: Option<&str>, size: u64) -> Wanted {
    let Some((first, last)) = range
        .and_then(|range| range.trim().strip_prefix("bytes="))
        .and_then(|range| range.split_once('-'))
    else {
        return Wanted::Whole;
    };
    let number = |text: &str| {
        let text = text.trim();
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // More digits than there are bytes anywhere: as good as the largest.
        digits.then(|| text.parse::<u64>().unwrap_or(u64::MAX))
    };
    match (number(first), number(last)) {
        (Some(first), _) if first >= size && (last.trim().is_empty() || number(last).is_some()) => {
            Wanted::Impossible
        }
        (Some(first), None) if last.trim().is_empty() => Wanted::Part(first, size),
        (Some(first), Some(last)) if first <= last => {
            Wanted::Part(first, last.saturating_add(1).min(size))
        }
        (None, Some(0)) if first.trim().is_empty() => Wanted::Impossible,
        (None, Some(count)) if first.trim().is_empty() && size > 0 => {
            Wanted::Part(size.saturating_sub(count), size)
        }
        _ => Wanted::Whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read() {
        let of = |range: &str| wanted(Some(range), 10);
        assert_eq!(of("bytes=0-3"), Wanted::Part(0, 4));
        assert_eq!(of("bytes=4-"), Wanted::Part(4, 10));
        assert_eq!(of("bytes=-3"), Wanted::Part(7, 10));
        assert_eq!(of("bytes=-30"), Wanted::Part(0, 10));
        assert_eq!(of("bytes=8-99999999999999999999999"), Wanted::Part(8, 10));
        for none in [
            "bytes=10-",
            "bytes=10-12",
            "bytes=-0",
            "bytes=99999999999999999999999-",
        ] {
            assert_eq!(of(none), Wanted::Impossible, "{none}");
        }
        for whole in [
            "",
            "bytes=",
            "bytes=-",
            "bytes=3-1",
            "bytes=a-b",
            "lines=1-2",
            "bytes=0-1,3-4",
        ] {
            assert_eq!(of(whole), Wanted::Whole, "{whole}");
        }
        assert_eq!(wanted(None, 0), Wanted::Whole);
        assert_eq!(wanted(Some("bytes=-1"), 0), Wanted::Whole);
        assert_eq!(wanted(Some("bytes=0-"), 0), Wanted::Impossible);
    }
}
