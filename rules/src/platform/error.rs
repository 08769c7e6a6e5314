//! Owns [`PlatformError`]: what a platform did not do and why, and how that reads as a failure.

use std::time::Duration;

use synapse_engine::Failure;

use crate::{client::ClientError, http::WireError};

/// Why a platform did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlatformError {
    /// There is no reply that can be used.
    #[error("{0}")]
    Wire(#[from] WireError),
    /// Plain HTTP to another machine.
    #[error("{0} is reached without encryption: everybody on the way could read the token")]
    Insecure(String),
    /// Who asks is not known there.
    #[error("{0}")]
    NotAuthenticated(String),
    /// Who asks may not do this.
    #[error("{0}")]
    NotAllowed(String),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// It is there already.
    #[error("{0}")]
    Exists(String),
    /// It contradicts what is there.
    #[error("{0}")]
    Conflict(String),
    /// It cannot be taken as it is; one sentence a problem.
    #[error("{}", .0.join("; "))]
    Invalid(Vec<String>),
    /// The caller asks too often, or the server has too much to do: nothing was done.
    #[error("{what}")]
    Busy {
        /// What it said.
        what: String,
        /// How long it wants to be left alone.
        after: Option<Duration>,
    },
    /// The server failed, maybe after it did what was asked.
    #[error("{what}")]
    Server {
        /// The status.
        status: u16,
        /// What it said.
        what: String,
    },
    /// The server sends callers elsewhere.
    #[error("{from} sends callers to {to}")]
    Redirected {
        /// Who does.
        from: String,
        /// Where to, without path and query.
        to: String,
    },
}

impl PlatformError {
    /// What was asked may have been done.
    pub fn in_doubt(&self) -> bool {
        match self {
            Self::Wire(error) => error.in_doubt(),
            Self::Server { .. } => true,
            _ => false,
        }
    }

    /// As a failure; `place` is how people know the platform.
    pub fn failure(&self, place: &str) -> Failure {
        let what = self.to_string();
        let environment = |code: &str, hint: &str| {
            Failure::environment(code, what.clone())
                .at(place.to_owned())
                .hint(hint)
        };
        match self {
            Self::Wire(WireError::Cancelled) => Failure::cancelled(),
            Self::Wire(WireError::Tls { .. }) => environment("tls", TLS_HINT),
            Self::Wire(WireError::Setup(_)) => environment(
                "network",
                "`synapse doctor` looks at proxies and certificates",
            ),
            Self::Wire(WireError::Garbled { .. }) => {
                environment("target-unavailable", GARBLED_HINT)
            }
            Self::Wire(_) | Self::Server { .. } => environment(
                "target-unavailable",
                "check the host and the network, then run it again; `synapse doctor` helps",
            ),
            Self::Insecure(_) => environment("insecure-host", INSECURE_HINT),
            Self::NotAuthenticated(_) => {
                environment("not-authenticated", "Run synapse login first")
            }
            Self::NotAllowed(_) => environment("not-allowed", NOT_ALLOWED_HINT),
            Self::Busy { .. } => environment("rate-limited", "wait a little, then run it again"),
            Self::Redirected { .. } => environment("redirected", REDIRECTED_HINT),
            Self::NotFound(_) => Failure::user("not-found", what).at(place.to_owned()),
            Self::Exists(_) => Failure::user("version-exists", what).at(place.to_owned()),
            Self::Conflict(_) => Failure::user("conflict", what).at(place.to_owned()),
            Self::Invalid(problems) => {
                let mut all = problems
                    .iter()
                    .map(|problem| Failure::user("invalid", problem.clone()).at(place.to_owned()));
                let first = all.next();
                let mut first = first.unwrap_or_else(|| {
                    Failure::user("invalid", "it was found invalid").at(place.to_owned())
                });
                first.more = all.collect();
                first
            }
        }
    }

    /// As what a publish must know of a look: nothing that was asked for can be in doubt.
    pub(crate) fn of_read(self) -> ClientError {
        match self.of_publish() {
            ClientError::Ambiguous(what) | ClientError::Exists(what) => {
                ClientError::Unavailable(what)
            }
            other => other,
        }
    }

    /// As what a publish must know of it.
    pub(crate) fn of_publish(self) -> ClientError {
        let what = self.to_string();
        match self {
            Self::Wire(WireError::Cancelled) => ClientError::Cancelled,
            Self::Wire(WireError::Tls { .. }) => unusable("tls", what, TLS_HINT),
            Self::Wire(WireError::Setup(_)) => unusable(
                "network",
                what,
                "`synapse doctor` looks at proxies and certificates",
            ),
            Self::Insecure(_) => unusable("insecure-host", what, INSECURE_HINT),
            Self::Redirected { .. } => unusable("redirected", what, REDIRECTED_HINT),
            Self::NotAuthenticated(_) => ClientError::Denied {
                code: "not-authenticated",
                what,
            },
            Self::NotAllowed(_) => ClientError::Denied {
                code: "not-allowed",
                what,
            },
            Self::Exists(_) | Self::Conflict(_) => ClientError::Exists(what),
            Self::Invalid(problems) => ClientError::Invalid(problems),
            Self::Busy { after, .. } => ClientError::Busy { what, after },
            Self::Wire(error) if error.in_doubt() => ClientError::Ambiguous(what),
            Self::Server { .. } => ClientError::Ambiguous(what),
            Self::Wire(_) | Self::NotFound(_) => ClientError::Unavailable(what),
        }
    }
}

const TLS_HINT: &str =
    "check the address; SSL_CERT_FILE names the certificates of your own authority";
const INSECURE_HINT: &str = "use https://, or add --allow-http on a network that you trust";
const NOT_ALLOWED_HINT: &str =
    "ask for a token with that scope; `synapse whoami` shows whose it is";
const REDIRECTED_HINT: &str =
    "no token was sent there; if that is the platform, log in to it: synapse login --host URL";
const GARBLED_HINT: &str = "check the address: something else may be listening there";

fn unusable(code: &'static str, what: String, hint: &'static str) -> ClientError {
    ClientError::Unusable { code, what, hint }
}
