//! Owns [`WireError`]: why a call brought no reply, and what that means for sending it again.

use std::error::Error;

/// Why there is no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The client could not be made.
    #[error("{0}")]
    Setup(String),
    /// No connection came about: nothing was sent.
    #[error("cannot reach {host}: {what}")]
    Unreachable {
        /// Host and port.
        host: String,
        /// Why.
        what: String,
    },
    /// There is no secure connection: nothing was sent.
    #[error("no secure connection to {host}: {what}")]
    Tls {
        /// Host and port.
        host: String,
        /// Why.
        what: String,
    },
    /// The connection broke before a reply was there: what was sent may have arrived.
    #[error("the connection to {host} broke: {what}")]
    Broken {
        /// Host and port.
        host: String,
        /// How.
        what: String,
    },
    /// A reply began and was cut off.
    #[error("the answer of {host} was cut off: {what}")]
    Cut {
        /// Host and port.
        host: String,
        /// How.
        what: String,
    },
    /// Nothing was heard for too long: what was sent may have arrived.
    #[error("{host}: {what}")]
    Silent {
        /// Host and port.
        host: String,
        /// What did not come.
        what: String,
    },
    /// What came is no reply that can be used.
    #[error("{host} does not answer like a Synapse platform: {what}")]
    Garbled {
        /// Host and port.
        host: String,
        /// What is wrong with it.
        what: String,
    },
    /// What was to be sent cannot be read.
    #[error("cannot read what is to be sent: {0}")]
    Source(String),
    /// Work was asked to stop.
    #[error("interrupted")]
    Cancelled,
}

impl WireError {
    /// What a client's error says of a call that has no reply.
    pub(crate) fn of(host: &str, error: &reqwest::Error) -> Self {
        let (host, what) = (host.to_owned(), innermost(error));
        if let Some(tls) = find::<rustls::Error>(error) {
            return Self::Tls {
                host,
                what: tls_words(tls),
            };
        }
        if let Some(source) = find::<super::body::Unreadable>(error) {
            return Self::Source(source.to_string());
        }
        if error.is_connect() {
            return Self::Unreachable { host, what };
        }
        if error.is_builder() {
            return Self::Setup(what);
        }
        Self::Broken { host, what }
    }

    /// What a client's error says of a reply whose body did not come whole.
    pub(crate) fn cut(host: &str, error: &reqwest::Error) -> Self {
        Self::Cut {
            host: host.to_owned(),
            what: innermost(error),
        }
    }

    /// It is known that the other side got nothing, and another try may help.
    pub fn nothing_sent(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }

    /// Another try may help.
    pub fn passes(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. } | Self::Broken { .. } | Self::Cut { .. } | Self::Silent { .. }
        )
    }

    /// What was sent may have been done.
    pub fn in_doubt(&self) -> bool {
        matches!(
            self,
            Self::Broken { .. } | Self::Cut { .. } | Self::Silent { .. } | Self::Garbled { .. }
        )
    }
}

/// The last cause of an error, which says most in fewest words.
pub(crate) fn innermost(error: &dyn Error) -> String {
    let mut at = error;
    while let Some(source) = at.source() {
        at = source;
    }
    let text = at.to_string();
    match text.strip_suffix('.') {
        Some(text) => text.to_owned(),
        None => text,
    }
}

fn find<'e, T: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e T> {
    let mut at = Some(error);
    while let Some(one) = at {
        if let Some(found) = one.downcast_ref::<T>() {
            return Some(found);
        }
        // An error inside an I/O error is not among its sources.
        if let Some(inner) = one
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref)
            && let Some(found) = find(inner)
        {
            return Some(found);
        }
        at = one.source();
    }
    None
}

fn tls_words(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(why) => {
            let text = why.to_string();
            match why {
                rustls::CertificateError::UnknownIssuer => {
                    "its certificate was issued by nobody that this machine trusts".to_owned()
                }
                rustls::CertificateError::Expired
                | rustls::CertificateError::ExpiredContext { .. } => {
                    "its certificate has expired".to_owned()
                }
                rustls::CertificateError::NotValidForName
                | rustls::CertificateError::NotValidForNameContext { .. } => {
                    "its certificate is for another name".to_owned()
                }
                _ => format!("its certificate is not valid: {text}"),
            }
        }
        other => other.to_string(),
    }
}
