//! HTTP as every client of ours speaks it: one pool of connections, limits on every phase of a
//! call, and repeats of calls that may be repeated.
//!
//! Owns [`Http`], the pool, and how one call goes: what is sent again, what is not, and when one
//! gives up. What a call means is its caller's business.

mod address;
mod body;
mod error;
mod retry;

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::{Certificate, Client, Method, StatusCode, header::HeaderMap, redirect};
use synapse_engine::Cancel;
use tokio::runtime::Runtime;

pub use self::{
    address::Address,
    body::{Body, FilePart, Form},
    error::WireError,
    retry::{Retry, retry_after},
};

/// How long each phase of a call may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Until a connection stands, TLS included.
    pub connect: Duration,
    /// While a body is sent, between two pieces of it.
    pub send: Duration,
    /// From the last byte of the request to the first of the reply.
    pub reply: Duration,
    /// While a reply is read, between two pieces of it.
    pub read: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            send: Duration::from_mins(1),
            reply: Duration::from_mins(2),
            read: Duration::from_mins(1),
        }
    }
}

/// How a pool behaves.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Limits of each phase.
    pub patience: Patience,
    /// How calls are repeated.
    pub retry: Retry,
    /// A file of certificates to trust beside the system's.
    pub authorities: Option<PathBuf>,
    /// Asks all work to stop.
    pub cancel: Cancel,
}

/// One pool of connections, with the threads that serve it. Made when the first call is.
pub struct Http {
    options: Options,
    runtime: OnceLock<Result<Runtime, WireError>>,
    /// Without TLS, and with: certificates are read only when a call needs them.
    clients: [OnceLock<Result<Client, WireError>>; 2],
    requests: Arc<AtomicU64>,
}

impl fmt::Debug for Http {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Http")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// One call.
pub struct Call<'a> {
    /// What is done.
    pub method: Method,
    /// Where.
    pub address: &'a Address,
    /// The path below the address, without the slash in front, and the query.
    pub path: &'a str,
    /// Headers besides those of the body. Secrets in them are marked sensitive.
    pub headers: HeaderMap,
    /// What is sent along.
    pub body: Body<'a>,
    /// Doing it twice is the same as once.
    pub idempotent: bool,
    /// Told now and then how many bytes of the file have gone out.
    pub progress: Option<&'a dyn Fn(u64)>,
}

impl fmt::Debug for Call<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Call")
            .field("method", &self.method)
            .field("address", &self.address)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Reply {
    /// How it went.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, whole.
    pub body: Vec<u8>,
}

/// Longest body of a reply that is not a file.
const REPLY: usize = 64 << 20;
/// How often it is looked whether to stop.
const LOOK: Duration = Duration::from_millis(25);
/// Progress is told after so many looks.
const TELL: u32 = 8;

impl Http {
    /// A pool; nothing is opened yet. `requests` counts every request that is sent.
    pub fn new(options: Options, requests: Arc<AtomicU64>) -> Self {
        Self {
            options,
            runtime: OnceLock::new(),
            clients: [OnceLock::new(), OnceLock::new()],
            requests,
        }
    }

    /// How it behaves.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Where its calls run: object stores share it.
    pub fn runtime(&self) -> Result<&Runtime, WireError> {
        let make = || {
            tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .thread_name("synapse-http")
                .enable_all()
                .build()
                .map_err(|error| WireError::Setup(format!("cannot start threads: {error}")))
        };
        let made = self.runtime.get_or_init(make);
        made.as_ref().map_err(Clone::clone)
    }

    /// The pool's own client, for those who bring their own requests.
    pub fn client(&self, tls: bool) -> Result<&Client, WireError> {
        let made = self.clients[usize::from(tls)].get_or_init(|| self.build(tls));
        made.as_ref().map_err(Clone::clone)
    }

    fn build(&self, tls: bool) -> Result<Client, WireError> {
        let failed = |error: reqwest::Error| WireError::Setup(error::innermost(&error));
        install_crypto();
        let mut builder = Client::builder()
            .user_agent(concat!("synapse/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(self.options.patience.connect)
            .pool_idle_timeout(Duration::from_secs(30))
            .tcp_nodelay(true)
            // Every redirect is looked at: it must not carry a token elsewhere.
            .redirect(redirect::Policy::none());
        if tls {
            let own = self.options.authorities.as_deref().map(authorities);
            builder = builder.tls_certs_merge(own.transpose()?.unwrap_or_default());
        } else {
            builder = builder.tls_certs_only([]);
        }
        builder.build().map_err(failed)
    }

    /// Makes a call. Repeats it where that is safe: when nothing was sent, and, for what is
    /// idempotent, after any failure that may pass. The reply has any status.
    pub fn call(&self, call: &Call<'_>) -> Result<Reply, WireError> {
        let mut tries = self.options.retry.tries();
        loop {
            let outcome = self.attempt(call);
            let wait = match &outcome {
                Ok(reply) if call.idempotent && retry::passes(reply.status) => {
                    tries.next(retry_after(&reply.headers))
                }
                Err(error) if error.nothing_sent() || (call.idempotent && error.passes()) => {
                    tries.next(None)
                }
                _ => None,
            };
            let Some(wait) = wait else {
                return outcome;
            };
            self.sleep(wait)?;
        }
    }

    /// Waits, unless work is asked to stop.
    pub fn sleep(&self, time: Duration) -> Result<(), WireError> {
        let until = Instant::now() + time;
        loop {
            if self.options.cancel.cancelled() {
                return Err(WireError::Cancelled);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(LOOK));
        }
    }

    /// One try.
    fn attempt(&self, call: &Call<'_>) -> Result<Reply, WireError> {
        self.run(async {
            let mut response = self.send(call).await?;
            let (status, headers) = (response.status(), response.headers().clone());
            let mut body = Vec::new();
            while let Some(piece) = self.piece(call.address, &mut response).await? {
                if body.len() + piece.len() > REPLY {
                    let what = format!("its reply is longer than {} MB", REPLY >> 20);
                    return Err(WireError::Garbled {
                        host: call.address.host().to_owned(),
                        what,
                    });
                }
                body.extend_from_slice(&piece);
            }
            Ok(Reply {
                status,
                headers,
                body,
            })
        })
    }

    /// Sends a call once and hands the reply's body to `take` as it comes; for replies that are
    /// long or do not end. `take` returns false to stop.
    pub fn stream(
        &self,
        call: &Call<'_>,
        take: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<Reply, WireError> {
        self.run(async {
            let mut response = self.send(call).await?;
            let reply = Reply {
                status: response.status(),
                headers: response.headers().clone(),
                body: Vec::new(),
            };
            if !reply.status.is_success() {
                let mut body = Vec::new();
                while let Some(piece) = self.piece(call.address, &mut response).await? {
                    body.extend_from_slice(&piece);
                    if body.len() > REPLY {
                        break;
                    }
                }
                return Ok(Reply { body, ..reply });
            }
            while let Some(piece) = self.piece(call.address, &mut response).await? {
                if !take(&piece) {
                    break;
                }
            }
            Ok(reply)
        })
    }

    /// Runs to the end, or until work is asked to stop.
    fn run<T>(&self, work: impl Future<Output = Result<T, WireError>>) -> Result<T, WireError> {
        let cancel = &self.options.cancel;
        let stopped = async {
            while !cancel.cancelled() {
                tokio::time::sleep(LOOK).await;
            }
        };
        self.runtime()?.block_on(async {
            tokio::select! {
                biased;
                done = work => done,
                () = stopped => Err(WireError::Cancelled),
            }
        })
    }

    async fn send(&self, call: &Call<'_>) -> Result<reqwest::Response, WireError> {
        let host = call.address.host();
        let client = self.client(call.address.is_tls())?;
        let url = call.address.join(call.path);
        let sent = Arc::new(Sent::default());
        let request = client
            .request(call.method.clone(), url)
            .headers(call.headers.clone());
        let request = call.body.attach(request, &sent)?;
        self.requests.fetch_add(1, Ordering::Relaxed);
        let patience = self.options.patience;
        let late = async {
            let mut told = 0;
            for look in 1_u32.. {
                tokio::time::sleep(LOOK).await;
                let (quiet, whole) = sent.quiet();
                let bytes = sent.bytes.load(Ordering::Relaxed);
                if let Some(progress) = call.progress
                    && bytes != told
                    && look % TELL == 0
                {
                    told = bytes;
                    progress(bytes);
                }
                let (limit, phase) = if whole {
                    (patience.reply, "no answer came")
                } else {
                    (patience.send, "it takes no more of what is sent")
                };
                // Before a connection stands, its own limit counts.
                let limit = limit + patience.connect;
                if quiet > limit {
                    return WireError::Silent {
                        host: host.to_owned(),
                        what: format!("{phase} for {} s", limit.as_secs()),
                    };
                }
            }
            WireError::Cancelled
        };
        tokio::select! {
            biased;
            response = request.send() => {
                response.map_err(|error| WireError::of(host, &error))
            }
            error = late => Err(error),
        }
    }

    async fn piece(
        &self,
        address: &Address,
        response: &mut reqwest::Response,
    ) -> Result<Option<Vec<u8>>, WireError> {
        let read = self.options.patience.read;
        match tokio::time::timeout(read, response.chunk()).await {
            Ok(Ok(piece)) => Ok(piece.map(|piece| piece.to_vec())),
            Ok(Err(error)) => Err(WireError::cut(address.host(), &error)),
            Err(_) => Err(WireError::Silent {
                host: address.host().to_owned(),
                what: format!("its answer stopped for {} s", read.as_secs()),
            }),
        }
    }
}

/// What went out of a body: how much, when last, and whether that was all.
#[derive(Debug)]
pub(crate) struct Sent {
    bytes: AtomicU64,
    last: Mutex<(Instant, bool)>,
}

impl Default for Sent {
    fn default() -> Self {
        Self {
            bytes: AtomicU64::new(0),
            last: Mutex::new((Instant::now(), true)),
        }
    }
}

impl Sent {
    pub(crate) fn note(&self, bytes: u64, whole: bool) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = (Instant::now(), whole);
    }

    fn quiet(&self) -> (Duration, bool) {
        let (last, whole) = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        (last.elapsed(), whole)
    }
}

/// Chooses ring for all TLS of the process; the libraries bring none of their own.
pub fn install_crypto() {
    // An error means that it was chosen before.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn authorities(path: &Path) -> Result<Vec<Certificate>, WireError> {
    let failed = |what: String| {
        WireError::Setup(format!(
            "the certificates in {} cannot be used: {what}",
            path.display()
        ))
    };
    let bytes = fs::read(path).map_err(|error| failed(error.to_string()))?;
    let found =
        Certificate::from_pem_bundle(&bytes).map_err(|error| failed(error::innermost(&error)))?;
    if found.is_empty() {
        return Err(failed("there are none".to_owned()));
    }
    Ok(found)
}
