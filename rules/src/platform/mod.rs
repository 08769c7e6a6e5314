//! A Synapse platform over HTTP: its address, who asks, and every call of its interface.
//!
//! Owns [`Platform`], the client of one platform for one account.

pub mod auth;
mod call;
mod chunks;
mod error;
mod events;
pub mod host;
pub mod jobs;
mod listing;
mod records;
mod refusal;
mod releases;
mod send;

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU8, Ordering},
    },
    time::SystemTime,
};

use reqwest::header::DATE;
use synapse_engine::Digest;

pub use self::{
    auth::{Auth, BadToken, Secret},
    chunks::Parcel,
    error::PlatformError,
    events::{Events, ServerEvent},
    host::{BadHost, Host},
};
use crate::http::{Address, Http};

/// Which platform, and who asks.
#[derive(Debug, Clone)]
pub struct Access {
    /// Its address.
    pub host: Host,
    /// Who asks; nobody for calls that need no token.
    pub auth: Option<Auth>,
    /// An agent's own token, sent beside the caller's.
    pub agent: Option<Secret>,
    /// Plain HTTP is taken although others on the network can read along.
    pub allow_http: bool,
    /// A key of this machine, with which the account is named without telling its token.
    pub key: [u8; 32],
}

/// A platform, as one account sees it.
pub struct Platform {
    http: Arc<Http>,
    address: Address,
    access: Access,
    identity: String,
    /// What the server said that it can do beyond the table, as bits; 0 when it said nothing yet.
    features: AtomicU8,
    /// Seconds by which its clock was ahead of ours when it first answered.
    skew: OnceLock<i64>,
}

impl fmt::Debug for Platform {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Platform")
            .field("access", &self.access)
            .finish_non_exhaustive()
    }
}

/// What a server can do beyond the table, as it says in the header `Synapse-Features`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// A release from a finished chunked upload.
    ChunkedRelease,
    /// Jobs with an id of the caller's choice.
    ClientJobId,
    /// What a job says, as server-sent events.
    EventStream,
}

impl Feature {
    const ALL: [(Self, &'static str); 3] = [
        (Self::ChunkedRelease, "chunked-release"),
        (Self::ClientJobId, "client-job-id"),
        (Self::EventStream, "event-stream"),
    ];

    fn bit(self) -> u8 {
        2 << self as u8
    }
}

/// The header in which a server says what it can do.
const FEATURES: &str = "synapse-features";
/// It said something: no features, perhaps.
const ANSWERED: u8 = 1;

impl Platform {
    /// A client. Nothing is sent yet. Refuses plain HTTP to others unless it is allowed.
    pub fn new(http: Arc<Http>, access: Access) -> Result<Self, PlatformError> {
        if !access.host.is_private() && !access.allow_http {
            return Err(PlatformError::Insecure(access.host.short()));
        }
        let address = Address::new(&access.host).map_err(|error| {
            PlatformError::Wire(crate::http::WireError::Setup(error.to_string()))
        })?;
        let identity = identity(&access);
        Ok(Self {
            http,
            address,
            access,
            identity,
            features: AtomicU8::new(0),
            skew: OnceLock::new(),
        })
    }

    /// The pool that it speaks through.
    pub fn http(&self) -> &Arc<Http> {
        &self.http
    }

    /// Which platform, and who asks.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Host and port, as people name it.
    pub fn host(&self) -> &str {
        self.address.host()
    }

    /// Names platform and account, without a secret: what receipts are kept under.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Whether the server said that it can do something. Asks it when it said nothing yet.
    pub fn can(&self, feature: Feature) -> Result<bool, PlatformError> {
        if self.features.load(Ordering::Relaxed) == 0 {
            // Any answer tells, and this one is short and needs no token.
            match self.get("health/") {
                Ok(_) | Err(PlatformError::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.features.load(Ordering::Relaxed) & feature.bit() != 0)
    }

    /// Seconds by which the server's clock is ahead of this machine's, once it answered anything.
    pub fn skew(&self) -> Option<i64> {
        self.skew.get().copied()
    }

    fn learn(&self, headers: &reqwest::header::HeaderMap) {
        let date = headers.get(DATE).and_then(|date| date.to_str().ok());
        if let Some(date) = date.and_then(|date| httpdate::parse_http_date(date).ok()) {
            let seconds = |from: SystemTime, to: SystemTime| {
                to.duration_since(from)
                    .ok()
                    .map(|time| time.as_secs() as i64)
            };
            let now = SystemTime::now();
            let ahead = seconds(now, date).or_else(|| seconds(date, now).map(|late| -late));
            let _ = self.skew.set(ahead.unwrap_or_default());
        }
        let said = headers.get(FEATURES).and_then(|said| said.to_str().ok());
        let said = said.unwrap_or_default();
        let mut bits = ANSWERED;
        for name in said.split(',').map(str::trim) {
            for (feature, own) in Feature::ALL {
                if own == name {
                    bits |= feature.bit();
                }
            }
        }
        self.features.fetch_or(bits, Ordering::Relaxed);
    }
}

/// The address and the account. Two accounts of one host see different releases, so their
/// receipts must not be mixed; a token is told apart by a keyed hash of it.
fn identity(access: &Access) -> String {
    let account = match &access.auth {
        Some(Auth::User { tenant, .. }) => format!("tenant {tenant}"),
        Some(Auth::Access(token)) => {
            let keyed = [access.key.as_slice(), token.expose().as_bytes()].concat();
            format!("account {}", &Digest::of(&keyed).hex()[..16])
        }
        None => "nobody".to_owned(),
    };
    format!("{} ({account})", access.host.url())
}
