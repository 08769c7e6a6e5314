//! Owns who may ask: callers on this machine that know the token. The name under which they
//! call is checked too, so that a page in a browser cannot reach the server by a name of its own
//! that leads here.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Shared;
use super::body::CHUNK;
use super::reply::Problem;

/// The header that carries the token.
const TOKEN: &str = "synapse-access-token";

/// Runs before everything else.
pub(crate) async fn check(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let refused = if !is_ours(request.headers(), request.uri(), shared.port) {
        Problem::new(
            StatusCode::FORBIDDEN,
            "this server answers to 127.0.0.1 and localhost only",
        )
    } else if request.uri().path() == "/health/" || knows(request.headers(), &shared.token) {
        return next.run(request).await;
    } else if request.headers().contains_key(TOKEN) {
        Problem::new(StatusCode::UNAUTHORIZED, "Invalid token.")
    } else {
        Problem::new(
            StatusCode::UNAUTHORIZED,
            "Authentication credentials were not provided.",
        )
    };
    drain(request.into_body()).await;
    refused.into_response()
}

/// Reads a body away: a connection that is closed on a sender loses the answer with it.
pub(crate) async fn drain(body: Body) {
    let mut body = body.into_data_stream();
    let mut left = CHUNK;
    while let Some(Ok(bytes)) = futures_util::StreamExt::next(&mut body).await {
        if bytes.len() >= left {
            break;
        }
        left -= bytes.len();
    }
}

fn is_ours(headers: &HeaderMap, uri: &Uri, port: u16) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return false;
    };
    let names = |host: &str| {
        let (name, own) = host
            .split_once(':')
            .map_or((host, None), |(a, b)| (a, Some(b)));
        let known = name == "127.0.0.1" || name.eq_ignore_ascii_case("localhost");
        known && own.is_none_or(|own| own.parse() == Ok(port))
    };
    host.to_str().is_ok_and(names) && uri.authority().is_none_or(|own| names(own.as_str()))
}

fn knows(headers: &HeaderMap, token: &str) -> bool {
    let mut given = headers.get_all(TOKEN).iter();
    let (Some(given), None) = (given.next(), given.next()) else {
        return false;
    };
    let given = given.as_bytes().strip_prefix(b"Token ").unwrap_or_default();
    // Digests are compared in constant time, and tell nothing of where the tokens differ.
    !token.is_empty() && blake3::hash(given) == blake3::hash(token.as_bytes())
}
