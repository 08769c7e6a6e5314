//! Owns [`Site`]: what all callers of a server share, whatever tenant they are of: its limits, its
//! log, and a router for each tenant.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use governor::clock::Clock;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::journal::Journal;
use super::names::Names;
use super::reply::Problem;
use super::{Inner, Settings, routes};
use crate::Embedded;
use crate::agent::Desk;
use crate::token::Scopes;

/// Seconds of the rate that may be used up at once.
const BURST: NonZeroU32 = NonZeroU32::MIN.saturating_add(4);
/// Routers that are kept. Tenants are few, and so are the names that a server is called by.
const VIEWS: usize = 256;

/// Who a request is counted for: a token by its number, or one of these.
pub(crate) const OWN: i64 = 0;
/// Whoever sent no token.
pub(crate) const NOBODY: i64 = -1;

/// What all callers of a server share.
pub(crate) struct Site {
    pub(crate) embedded: Arc<Embedded>,
    pub(crate) names: Names,
    pub(crate) token: String,
    pub(crate) tenant: String,
    pub(crate) scopes: Scopes,
    pub(crate) agent: Option<Desk>,
    pub(crate) patience: Duration,
    pub(crate) max_upload: Option<u64>,
    pub(crate) journal: Journal,
    stopping: watch::Receiver<bool>,
    uploads: Arc<Semaphore>,
    queue: Duration,
    rate: Option<DefaultKeyedRateLimiter<i64>>,
    views: Mutex<HashMap<(String, String), Router>>,
}

impl Site {
    pub(crate) fn new(
        embedded: Arc<Embedded>,
        bound: IpAddr,
        own: SocketAddr,
        settings: Settings,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        let quota =
            |rate: NonZeroU32| Quota::per_second(rate).allow_burst(rate.saturating_mul(BURST));
        Self {
            embedded,
            names: Names::new(bound, own, settings.name),
            token: settings.token,
            tenant: settings.tenant,
            scopes: settings.scopes,
            agent: settings.agent,
            patience: settings.patience,
            max_upload: settings.max_upload,
            journal: Journal::new(settings.log),
            stopping,
            uploads: Arc::new(Semaphore::new(settings.uploads.max(1))),
            queue: settings.queue,
            rate: settings.rate.map(|rate| RateLimiter::keyed(quota(rate))),
            views: Mutex::default(),
        }
    }

    /// Ends when the server is to stop.
    pub(crate) async fn stopped(&self) {
        let mut stopping = self.stopping.clone();
        // An error means that nobody could ask any more.
        let _ = stopping.wait_for(|stop| *stop).await;
    }

    /// Counts a request; refuses it when there were too many.
    pub(crate) fn count(&self, caller: i64) -> Result<(), Problem> {
        let Some(rate) = &self.rate else {
            return Ok(());
        };
        rate.check_key(&caller).map_err(|not_until| {
            let wait = not_until.wait_time_from(rate.clock().now());
            let text = "Request was throttled: too many requests with this token.";
            Problem::new(StatusCode::TOO_MANY_REQUESTS, text).later(wait)
        })
    }

    /// Waits for the right to receive a file.
    pub(crate) async fn upload(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let uploads = Arc::clone(&self.uploads);
        let turn = tokio::time::timeout(self.queue, uploads.acquire_owned()).await;
        turn.ok().and_then(Result::ok).ok_or_else(|| {
            let text = "too many files are being received; try again";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, text).later(Duration::from_secs(2))
        })
    }

    /// The router that knows one tenant and nothing of others, for callers who call the server by
    /// that address. It is the only way to the handlers.
    pub(crate) fn view(self: &Arc<Self>, tenant: &str, authority: &str) -> Router {
        let mut views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (tenant.to_owned(), authority.to_owned());
        if let Some(router) = views.get(&key) {
            return router.clone();
        }
        let router = routes::router(Arc::new(Inner {
            embedded: Arc::new(self.embedded.of_tenant(tenant)),
            url: format!("http://{authority}"),
            stopping: self.stopping.clone(),
            site: Arc::clone(self),
        }));
        if views.len() >= VIEWS {
            views.clear();
        }
        views.insert(key, router.clone());
        router
    }
}
