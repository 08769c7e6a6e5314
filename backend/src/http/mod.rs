//! The backend over HTTP.
//!
//! Owns [`Server`]: the thread that serves, how it starts and how it stops. Each noun of the
//! interface has a module of its own.

mod agents;
mod announce;
mod applications;
mod body;
mod connections;
mod console;
mod datasets;
mod download;
mod guard;
mod health;
mod jobs;
mod journal;
mod logs;
mod models;
mod names;
mod openapi;
mod paging;
mod plugins;
mod publish;
mod releases;
mod reply;
mod routes;
mod site;
mod storages;
mod uploads;

use std::fmt;
use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

pub use announce::{Announced, running};
pub use openapi::document;

pub use crate::token::new_token;

use self::announce::Announcement;
use self::reply::Problem;
use self::site::Site;
use crate::Embedded;
use crate::agent::Desk;
use crate::error::BackendError;
use crate::token::{DEFAULT_TENANT, Scopes};

/// How long work that nobody waits for any more may still take when the server stops.
const FAREWELL: Duration = Duration::from_secs(2);
/// How often a server looks after its announcement.
const ROUND: Duration = Duration::from_secs(5);
/// Rounds between two sweeps of uploads that nobody went on with.
const SWEEP: u32 = 720;

/// The HTTP server of a backend.
#[derive(Debug)]
pub struct Server;

/// How a server behaves.
pub struct Settings {
    /// What callers must send who may do all that `scopes` allow, as `tenant`.
    pub token: String,
    /// Whose rows and files the token opens.
    pub tenant: String,
    /// What the token allows.
    pub scopes: Scopes,
    /// It was asked for by an address that others reach too. Without it, only addresses of the
    /// loopback interface are listened on.
    pub open: bool,
    /// A name that callers may call it by, besides its address.
    pub name: Option<String>,
    /// Requests a second that each token may make; more for a moment.
    pub rate: Option<NonZeroU32>,
    /// Files that are received at the same time.
    pub uploads: usize,
    /// How long a file waits for its turn, at most.
    pub queue: Duration,
    /// Bytes of one file. Without it, archives have the limit of the backend, others none.
    pub max_upload: Option<u64>,
    /// How long what is under way may still take when the server stops.
    pub grace: Duration,
    /// How long a sender may be silent in the middle of a body.
    pub patience: Duration,
    /// Where a line for every request goes.
    pub log: Option<Box<dyn Write + Send>>,
    /// Who runs what is asked for.
    pub agent: Option<Desk>,
}

impl Settings {
    /// For a server that one program starts for itself.
    pub fn new(token: String) -> Self {
        Self {
            token,
            tenant: DEFAULT_TENANT.to_owned(),
            scopes: Scopes::all(),
            open: false,
            name: None,
            rate: None,
            uploads: 16,
            queue: Duration::from_secs(10),
            max_upload: None,
            grace: Duration::from_secs(2),
            patience: Duration::from_mins(1),
            log: None,
            agent: None,
        }
    }
}

/// Leaves the token out.
impl fmt::Debug for Settings {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Settings")
            .field("open", &self.open)
            .field("rate", &self.rate)
            .field("uploads", &self.uploads)
            .field("max_upload", &self.max_upload)
            .finish_non_exhaustive()
    }
}

/// A server that runs. It stops when this is dropped.
pub struct Running {
    /// Where it listens, such as `http://127.0.0.1:8000`.
    pub url: String,
    /// What callers must send.
    pub token: String,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

/// What every handler works with: the backend as the caller's tenant sees it. No handler gets
/// hold of another tenant's.
pub(crate) struct Inner {
    embedded: Arc<Embedded>,
    /// The address by which the caller calls.
    url: String,
    stopping: watch::Receiver<bool>,
    site: Arc<Site>,
}

/// See [`Inner`].
pub(crate) type Shared = Arc<Inner>;

impl Inner {
    /// Does something slow with the backend, away from the thread that serves.
    async fn work<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Arc<Embedded>) -> Result<T, BackendError> + Send + 'static,
    ) -> Result<T, Problem> {
        self.attempt(move |embedded| work(embedded).map_err(Problem::from))
            .await
    }

    /// The same for what words its own refusals.
    async fn attempt<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Arc<Embedded>) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let embedded = Arc::clone(&self.embedded);
        match tokio::task::spawn_blocking(move || work(&embedded)).await {
            Ok(done) => done,
            Err(_) => Err(Problem::internal()),
        }
    }
}

impl Server {
    /// Starts to serve on a loopback address, for one program.
    pub fn start(
        embedded: Arc<Embedded>,
        address: SocketAddr,
        token: String,
    ) -> Result<Running, BackendError> {
        Self::start_with(embedded, address, Settings::new(token))
    }

    /// Starts to serve on a thread of its own, and announces it in the backend's folder unless
    /// another server is announced there, or it is none that this machine's programs would call.
    /// Port 0 takes any free one.
    pub fn start_with(
        embedded: Arc<Embedded>,
        address: SocketAddr,
        settings: Settings,
    ) -> Result<Running, BackendError> {
        if !address.ip().is_loopback() && !settings.open {
            let text = format!("{address} is not on the loopback interface");
            return Err(BackendError::Refused(text));
        }
        let failed = |cause| BackendError::Listen { address, cause };
        let listener = TcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let own = called(listener.local_addr().map_err(failed)?);
        let url = format!("http://{own}");
        let (stop, stopping) = watch::channel(false);
        let (token, grace) = (settings.token.clone(), settings.grace);
        let announcement = own
            .ip()
            .is_loopback()
            .then(|| Announcement::new(embedded.dir(), &url, &token));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed)?;
        let site = Arc::new(Site::new(embedded, address.ip(), own, settings, stopping));
        let thread = std::thread::Builder::new()
            .name("synapse-backend".to_owned())
            .spawn(move || {
                runtime.block_on(serve(listener, site, announcement, grace));
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

/// The address by which programs of this machine call a server that listens there.
fn called(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
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
    /// Stops; returns when it has. What is on its way gets the time that the settings say.
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

async fn serve(
    listener: TcpListener,
    site: Arc<Site>,
    announcement: Option<Announcement>,
    grace: Duration,
) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
        return;
    };
    let late = async {
        site.stopped().await;
        tokio::time::sleep(grace).await;
    };
    tokio::select! {
        () = connections::serve(listener, &site) => {}
        () = late => {}
        () = rounds(&site, announcement.as_ref()) => {}
    }
    if let Some(announcement) = announcement {
        announcement.withdraw();
    }
}

/// Looks after the announcement and old uploads, for ever.
async fn rounds(site: &Site, announcement: Option<&Announcement>) {
    for round in 0_u32.. {
        if let Some(announcement) = announcement {
            announcement.renew();
        }
        if round % SWEEP == 0 {
            let embedded = Arc::clone(&site.embedded);
            // Tried again an hour later.
            let _ = tokio::task::spawn_blocking(move || embedded.upload_expire()).await;
        }
        tokio::time::sleep(ROUND).await;
    }
}
