//! The backend over HTTP, on the loopback interface.
//!
//! Owns [`Server`]: the thread that serves, how it starts and how it stops. Each noun of the
//! interface has a module of its own.

mod agents;
mod announce;
mod body;
mod console;
mod datasets;
mod download;
mod guard;
mod health;
mod jobs;
mod logs;
mod models;
mod paging;
mod plugins;
mod releases;
mod reply;
mod uploads;

use std::fmt;
use std::fs::File;
use std::future::IntoFuture;
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post, put};
use axum::serve::ListenerExt;
use tokio::sync::watch;

pub use announce::{Announced, running};

use self::announce::Announcement;
use self::reply::Problem;
use crate::Embedded;
use crate::agent::Desk;
use crate::error::BackendError;
use crate::upload::hex;

/// How long answers that are on their way may still take when the server stops.
const FAREWELL: Duration = Duration::from_secs(2);
/// How often a server looks after its announcement.
const ROUND: Duration = Duration::from_secs(5);
/// Rounds between two sweeps of uploads that nobody went on with.
const SWEEP: u32 = 720;

/// The HTTP server of a backend.
#[derive(Debug)]
pub struct Server;

/// A server that runs. It stops when this is dropped.
pub struct Running {
    /// Where it listens, such as `http://127.0.0.1:8000`.
    pub url: String,
    /// What callers must send.
    pub token: String,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

/// What every handler works with.
pub(crate) struct Inner {
    embedded: Arc<Embedded>,
    url: String,
    port: u16,
    token: String,
    agent: Option<Desk>,
    stopping: watch::Receiver<bool>,
}

/// See [`Inner`].
pub(crate) type Shared = Arc<Inner>;

impl Inner {
    /// Does something slow with the backend, away from the thread that serves.
    async fn work<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Arc<Embedded>) -> Result<T, BackendError> + Send + 'static,
    ) -> Result<T, Problem> {
        let embedded = Arc::clone(&self.embedded);
        match tokio::task::spawn_blocking(move || work(&embedded)).await {
            Ok(done) => done.map_err(Problem::from),
            Err(_) => Err(Problem::internal()),
        }
    }
}

impl Server {
    /// Starts to serve on a loopback address, on a thread of its own, and announces it in the
    /// backend's folder unless another server is announced there. Port 0 takes any free one.
    pub fn start(
        embedded: Arc<Embedded>,
        address: SocketAddr,
        token: String,
    ) -> Result<Running, BackendError> {
        Self::start_with(embedded, address, token, None)
    }

    /// The same, with an agent that runs what is asked for.
    pub fn start_with(
        embedded: Arc<Embedded>,
        address: SocketAddr,
        token: String,
        agent: Option<Desk>,
    ) -> Result<Running, BackendError> {
        if !address.ip().is_loopback() {
            let text = format!("{address} is not on the loopback interface");
            return Err(BackendError::Refused(text));
        }
        let failed = |cause| BackendError::Listen { address, cause };
        let listener = TcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        let url = format!("http://{}", listener.local_addr().map_err(failed)?);
        let (stop, stopping) = watch::channel(false);
        let announcement = Announcement::new(embedded.dir(), &url, &token);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed)?;
        let inner = Arc::new(Inner {
            embedded,
            url: url.clone(),
            port,
            token: token.clone(),
            agent,
            stopping,
        });
        let thread = std::thread::Builder::new()
            .name("synapse-backend".to_owned())
            .spawn(move || {
                runtime.block_on(serve(listener, inner, announcement));
                runtime.shutdown_timeout(FAREWELL);
            })
            .map_err(failed)?;
        // It listens since it was bound: whoever connects now is answered when the thread is up.
        Ok(Running {
            url,
            token,
            stop,
            thread: Some(thread),
        })
    }
}

/// Leaves the token out.
impl fmt::Debug for Running {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Running")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl Running {
    /// Stops; returns when it has. Answers that are on their way get two seconds.
    pub fn stop(self) {
        drop(self);
    }

    /// Whether it still serves: false when its thread ended by itself.
    pub fn is_up(&self) -> bool {
        self.thread
            .as_ref()
            .is_some_and(|thread| !thread.is_finished())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A token that nobody can guess: 64 hex digits.
pub fn new_token() -> Result<String, BackendError> {
    let source = Path::new("/dev/urandom");
    let mut bytes = [0; 32];
    File::open(source)
        .and_then(|mut source| source.read_exact(&mut bytes))
        .map_err(|cause| BackendError::io("read", source, cause))?;
    Ok(hex(&bytes))
}

async fn serve(listener: TcpListener, inner: Shared, announcement: Announcement) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
        return;
    };
    // Without it, the parts of a short answer would wait for each other.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    let stopped = |inner: &Shared| {
        let mut stopping = inner.stopping.clone();
        async move {
            // An error means that nobody could ask any more.
            let _ = stopping.wait_for(|stop| *stop).await;
        }
    };
    let server = axum::serve(listener, router(&inner))
        .with_graceful_shutdown(stopped(&inner))
        .into_future();
    let late = async {
        stopped(&inner).await;
        tokio::time::sleep(FAREWELL).await;
    };
    tokio::select! {
        _ = server => {}
        () = late => {}
        () = rounds(&inner, &announcement) => {}
    }
    announcement.withdraw();
}

/// Looks after the announcement and old uploads, for ever.
async fn rounds(inner: &Shared, announcement: &Announcement) {
    for round in 0_u32.. {
        announcement.renew();
        if round % SWEEP == 0 {
            // Tried again an hour later.
            let _ = inner.work(|backend| backend.upload_expire()).await;
        }
        tokio::time::sleep(ROUND).await;
    }
}

fn router(inner: &Shared) -> Router {
    Router::new()
        .route("/health/", get(health::get))
        .route("/agents/", get(agents::list))
        .route("/agents/{id}/", get(agents::get))
        .route("/plugins/{code}/run/", post(plugins::run))
        .route("/plugin_releases/", get(releases::list))
        .route("/plugin_releases/{id}/", get(releases::get))
        .route("/jobs/", get(jobs::list).post(jobs::create))
        .route("/jobs/{id}/", get(jobs::get).patch(jobs::update))
        .route("/jobs/{id}/console_logs/", get(console::list))
        .route("/jobs/{id}/tail_console_logs/", get(console::tail))
        .route("/logs/", post(logs::create))
        .route("/models/", get(models::list).post(models::create))
        .route("/models/{id}/", get(models::get))
        .route("/ground_truth_dataset_versions/", get(datasets::list))
        .route("/ground_truth_dataset_versions/{id}/", get(datasets::get))
        .route("/ground_truths/", get(datasets::items))
        .route("/chunked_upload/", put(uploads::begin))
        .route(
            "/chunked_upload/{id}/",
            put(uploads::append)
                .post(uploads::complete)
                .get(uploads::get),
        )
        .route("/files/releases/{id}/{name}", get(releases::file))
        .route("/files/models/{id}/{name}", get(models::file))
        .route("/files/uploads/{id}/{name}", get(uploads::file))
        .route("/files/datasets/{id}/{*name}", get(datasets::file))
        .fallback(reply::unknown)
        .method_not_allowed_fallback(reply::not_allowed)
        // Every handler has a limit of its own.
        .layer(DefaultBodyLimit::disable())
        .layer(axum::middleware::from_fn_with_state(
            Arc::clone(inner),
            guard::check,
        ))
        .with_state(Arc::clone(inner))
}
