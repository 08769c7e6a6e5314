//! Owns how the commands on logins ask a platform: soon, and without much patience, as somebody
//! is waiting.

use std::{path::PathBuf, sync::Arc, time::Duration};

use synapse_engine::Failure;
use synapse_rules::{
    http::{Http, Options, Patience, Retry},
    platform::{Access, Auth, Host, Platform, PlatformError},
};

use crate::app::App;

/// Longest wait for an answer.
const ANSWER: Duration = Duration::from_secs(20);

/// The cheapest call that needs a token.
const QUESTION: &str = "agents/?limit=1";

/// A client of a platform, for a question or two.
pub(super) fn platform(
    app: &App,
    host: &Host,
    auth: Option<Auth>,
    allow_http: bool,
) -> Result<Platform, Failure> {
    let patience = Patience {
        connect: Duration::from_secs(10),
        send: ANSWER,
        reply: ANSWER,
        read: ANSWER,
    };
    let options = Options {
        patience,
        retry: Retry {
            repeats: 1,
            asked: Duration::from_secs(5),
            ..Retry::default()
        },
        authorities: (app.variable)("SSL_CERT_FILE")
            .filter(|path| !path.is_empty())
            .map(PathBuf::from),
        cancel: app.cancel.clone(),
    };
    let access = Access {
        host: host.clone(),
        auth,
        agent: None,
        allow_http,
        // Nothing is kept under this account's name.
        key: [0; 32],
    };
    let http = Arc::new(Http::new(options, Arc::default()));
    Platform::new(http, access).map_err(|error| error.failure(&host.short()))
}

/// Asks whether a platform takes the token. One that is good for other things only is taken too.
pub(super) fn is_accepted(platform: &Platform) -> Result<(), PlatformError> {
    match platform.get(QUESTION) {
        Ok(answer) if answer.is_array() || answer.get("results").is_some() => Ok(()),
        Err(PlatformError::NotAllowed(_)) => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Err(platform.unlike("it does not list its agents")),
    }
}
