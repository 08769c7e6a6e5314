//! Owns the request log: one line a request, of which nothing is the caller's own words. A path is
//! told as the route that it met, with numbers and releases filled in; queries, headers and bodies
//! are not told at all. So no secret that a caller puts anywhere gets into it.

use std::io::Write;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Error;
use axum::body::{Body, BodyDataStream, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use futures_util::Stream;

use super::site::{NOBODY, OWN, Site};

/// Where lines go, if anywhere.
pub(crate) struct Journal(Option<Mutex<Box<dyn Write + Send>>>);

impl Journal {
    pub(crate) fn new(log: Option<Box<dyn Write + Send>>) -> Self {
        Self(log.map(Mutex::new))
    }

    fn write(&self, line: &str) {
        if let Some(log) = &self.0 {
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            // A log that cannot be written keeps nobody from being answered.
            let _ = log.write_all(line.as_bytes());
            let _ = log.flush();
        }
    }
}

/// The route that a request met, told by the router to the log.
#[derive(Clone, Copy)]
pub(crate) struct Met(pub(crate) &'static str);

/// What is written of a request.
pub(crate) struct Entry {
    began: Instant,
    method: &'static str,
    path: String,
    caller: i64,
}

impl Entry {
    pub(crate) fn begin(request: &Request) -> Self {
        let known = [
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
            Method::OPTIONS,
        ];
        let names = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
        let at = known.iter().position(|known| known == request.method());
        Self {
            began: Instant::now(),
            method: at.map_or("OTHER", |at| names[at]),
            path: request.uri().path().to_owned(),
            caller: NOBODY,
        }
    }

    pub(crate) fn caller(&mut self, number: i64) {
        self.caller = number;
    }

    /// Writes the line when the whole answer is sent, or nobody wants the rest of it.
    pub(crate) fn end(self, site: &Arc<Site>, mut response: Response) -> Response {
        if site.journal.0.is_none() {
            return response;
        }
        let met = response.extensions_mut().remove::<Met>();
        let path = met.map_or_else(|| "-".to_owned(), |met| told(met.0, &self.path));
        let mut line = Line {
            site: Arc::clone(site),
            entry: self,
            path,
            status: response.status(),
            bytes: 0,
        };
        let whole = HttpBody::size_hint(response.body()).exact();
        let bare = matches!(
            response.status(),
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        );
        if bare || whole == Some(0) || line.entry.method == "HEAD" {
            return response;
        }
        if let Some(whole) = whole {
            line.bytes = whole;
            return response;
        }
        response.map(|body| {
            Body::from_stream(Counted {
                stream: body.into_data_stream(),
                line,
            })
        })
    }
}

/// A line that is written when it is dropped.
struct Line {
    site: Arc<Site>,
    entry: Entry,
    path: String,
    status: StatusCode,
    bytes: u64,
}

impl Drop for Line {
    fn drop(&mut self) {
        let Entry {
            began,
            method,
            caller,
            ..
        } = &self.entry;
        let now = jiff::Timestamp::now().round(jiff::Unit::Millisecond);
        let now = now.map_or_else(|_| "-".to_owned(), |now| format!("{now:.3}"));
        let took: Duration = began.elapsed();
        let token = match *caller {
            OWN => "own".to_owned(),
            NOBODY => "-".to_owned(),
            number => number.to_string(),
        };
        self.site.journal.write(&format!(
            "{now} {method} {} {} {} {} ms token {token}\n",
            self.path,
            self.status.as_u16(),
            self.bytes,
            took.as_millis(),
        ));
    }
}

/// A body whose bytes are counted.
struct Counted {
    stream: BodyDataStream,
    line: Line,
}

impl Stream for Counted {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = Pin::new(&mut self.stream).poll_next(context);
        if let Poll::Ready(Some(Ok(bytes))) = &next {
            self.line.bytes += bytes.len() as u64;
        }
        next
    }
}

/// A route with what of the path is a number or a release in place of its variables.
fn told(route: &str, path: &str) -> String {
    let number = |part: &str| part.len() < 20 && part.bytes().all(|byte| byte.is_ascii_digit());
    let release = |part: &str| {
        let plain = |text: &str| {
            let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
            text.len() <= 40 && text.bytes().all(|byte| fits(byte) || b"-_".contains(&byte))
        };
        part.split_once('@').is_some_and(|(code, version)| {
            plain(code) && version.len() <= 20 && version.split('.').all(number)
        })
    };
    let mut given = path.split('/');
    let parts = route.split('/').map(|part| {
        let own = given.next().unwrap_or_default();
        let shown = part.starts_with('{') && !own.is_empty() && (number(own) || release(own));
        if shown { own } else { part }
    });
    parts.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_told_by_its_route() {
        for (route, path, expected) in [
            ("/jobs/{id}/", "/jobs/12/", "/jobs/12/"),
            ("/jobs/{id}/", "/jobs/canary/", "/jobs/{id}/"),
            (
                "/plugin_releases/{id}/",
                "/plugin_releases/yolo@1.2.3/",
                "/plugin_releases/yolo@1.2.3/",
            ),
            (
                "/plugin_releases/{id}/",
                "/plugin_releases/CANARY@1.2.3/",
                "/plugin_releases/{id}/",
            ),
            (
                "/files/models/{id}/{name}",
                "/files/models/3/canary.pt",
                "/files/models/3/{name}",
            ),
            (
                "/files/datasets/{id}/{*name}",
                "/files/datasets/3/a/b/c",
                "/files/datasets/3/{*name}",
            ),
        ] {
            assert_eq!(told(route, path), expected);
        }
    }
}
