//! Owns who may ask: callers that know a token, by a name that is the server's, and no page in a
//! browser that is not. Every request goes through here, and every answer.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;

use super::body::CHUNK;
use super::journal::Entry;
use super::reply::{Problem, matches_tag};
use super::site::{NOBODY, OWN, Site};
use crate::token::{DEFAULT_TENANT, Scopes};

/// The header that carries the token.
const TOKEN: &str = "synapse-access-token";
/// The header that carries the tenant beside a user's token.
const TENANT: &str = "synapse-tenant";
/// What this server can do beyond the platform's own interface.
const FEATURES: (HeaderName, &str) = (
    HeaderName::from_static("synapse-features"),
    "chunked-release, client-job-id, event-stream",
);
/// What anybody may look at.
const OPEN: [&str; 2] = ["/health/", "/openapi.json"];

/// Who asks.
#[derive(Clone)]
pub(crate) struct Caller {
    /// The token's number, or who stands for one.
    pub(crate) number: i64,
    pub(crate) tenant: String,
    pub(crate) scopes: Scopes,
}

/// Answers a request.
pub(crate) async fn enter(site: &Arc<Site>, request: Request) -> Response {
    let mut entry = Entry::begin(&request);
    let looks = matches!(*request.method(), Method::GET | Method::HEAD);
    let known = request.headers().get(header::IF_NONE_MATCH).cloned();
    let mut request = request.map(|body| patient(body, site.patience));
    let mut response = match admit(site, request.headers(), request.uri()).await {
        Ok((view, caller)) => {
            entry.caller(caller.number);
            request.extensions_mut().insert(caller);
            let view = TowerToHyperService::new(view);
            view.call(request)
                .await
                .unwrap_or_else(|never| match never {})
        }
        Err(problem) => {
            drain(request.into_body(), CHUNK).await;
            problem.into_response()
        }
    };
    if looks && response.status() == StatusCode::OK {
        let own = response.headers().get(header::ETAG);
        if let (Some(own), Some(known)) = (own, known)
            && matches_tag(&known, own)
        {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            *response.body_mut() = Body::empty();
            let headers = response.headers_mut();
            headers.remove(header::CONTENT_TYPE);
            headers.remove(header::CONTENT_LENGTH);
        }
    } else if !looks {
        response.headers_mut().remove(header::ETAG);
    }
    let headers = response.headers_mut();
    headers.insert(FEATURES.0, HeaderValue::from_static(FEATURES.1));
    for (name, value) in [
        (header::CACHE_CONTROL, "private, no-cache"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    entry.end(site, response)
}

/// The router for a request, and who makes it.
async fn admit(
    site: &Arc<Site>,
    headers: &HeaderMap,
    uri: &Uri,
) -> Result<(Router, Caller), Problem> {
    let forbidden = |text: String| Problem::new(StatusCode::FORBIDDEN, text);
    let Some(authority) = site.names.called(headers, uri) else {
        return Err(forbidden(site.names.told()));
    };
    if is_foreign(headers, &authority) {
        let text = "this server does not answer to pages of other sites";
        return Err(forbidden(text.to_owned()));
    }
    let caller = if OPEN.contains(&uri.path()) {
        Caller {
            number: NOBODY,
            tenant: DEFAULT_TENANT.to_owned(),
            scopes: Scopes::of(&[]),
        }
    } else {
        match identify(site, headers).await {
            Ok(caller) => caller,
            Err(problem) => {
                site.count(NOBODY)?;
                return Err(problem);
            }
        }
    };
    site.count(caller.number)?;
    Ok((site.view(&caller.tenant, &authority), caller))
}

/// Whether a page of another site made a browser ask. Programs send neither header.
fn is_foreign(headers: &HeaderMap, authority: &str) -> bool {
    let own = format!("http://{authority}");
    let origin = |given: &HeaderValue| !given.as_bytes().eq_ignore_ascii_case(own.as_bytes());
    let site = |given: &HeaderValue| !matches!(given.as_bytes(), b"same-origin" | b"none");
    headers.get_all(header::ORIGIN).iter().any(origin)
        || headers.get_all("sec-fetch-site").iter().any(site)
}

/// Who asks, by the token.
async fn identify(site: &Arc<Site>, headers: &HeaderMap) -> Result<Caller, Problem> {
    let refused = |text: &str| Problem::new(StatusCode::UNAUTHORIZED, text);
    let missing = || refused("Authentication credentials were not provided.");
    let (name, pair) = if headers.contains_key(TOKEN) {
        (TOKEN, false)
    } else {
        (header::AUTHORIZATION.as_str(), true)
    };
    if !headers.contains_key(name) {
        return Err(missing());
    }
    let given = only(headers, name).ok_or_else(|| refused("Invalid token."))?;
    let tenant = match only(headers, TENANT) {
        // A user's token says nothing without the tenant.
        None if pair => return Err(missing()),
        None if headers.contains_key(TENANT) => return Err(refused("Invalid tenant.")),
        tenant => tenant,
    };
    let caller = if same(&given, &site.token) {
        Caller {
            number: OWN,
            tenant: site.tenant.clone(),
            scopes: site.scopes.clone(),
        }
    } else {
        let embedded = Arc::clone(&site.embedded);
        let found = tokio::task::spawn_blocking(move || embedded.token_find(&given)).await;
        let found = found.map_err(|_| Problem::internal())??;
        let token = found.ok_or_else(|| refused("Invalid token."))?;
        Caller {
            number: token.id,
            tenant: token.tenant,
            scopes: token.scopes,
        }
    };
    if tenant.is_some_and(|tenant| tenant != caller.tenant) {
        return Err(refused("Invalid tenant."));
    }
    Ok(caller)
}

/// What follows `Token ` in a header that is there once.
fn only(headers: &HeaderMap, name: &str) -> Option<String> {
    let mut given = headers.get_all(name).iter();
    let (Some(given), None) = (given.next(), given.next()) else {
        return None;
    };
    let token = given.to_str().ok()?.strip_prefix("Token ")?;
    (!token.is_empty()).then(|| token.to_owned())
}

/// Digests are compared in constant time, and tell nothing of where the tokens differ.
fn same(given: &str, token: &str) -> bool {
    !token.is_empty() && blake3::hash(given.as_bytes()) == blake3::hash(token.as_bytes())
}

/// A body that fails when nothing comes of it for too long.
fn patient(body: Body, patience: Duration) -> Body {
    let stream = body.into_data_stream();
    Body::from_stream(stream::try_unfold(stream, move |mut stream| async move {
        match tokio::time::timeout(patience, stream.next()).await {
            Ok(Some(Ok(bytes))) => Ok(Some((bytes, stream))),
            Ok(Some(Err(error))) => Err(io::Error::other(error)),
            Ok(None) => Ok(None),
            Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut)),
        }
    }))
}

/// Reads a body away: a connection that is closed on a sender loses the answer with it.
pub(crate) async fn drain(body: Body, most: usize) {
    let mut body = body.into_data_stream();
    let mut left = most;
    while let Some(Ok(bytes)) = body.next().await {
        if bytes.len() >= left {
            break;
        }
        left -= bytes.len();
    }
}
