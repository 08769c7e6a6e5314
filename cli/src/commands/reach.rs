//! Owns how the commands on logins ask a platform: soon, and without much patience, as somebody
//! is waiting.

use std::{sync::Arc, time::Duration};

use synapse_engine::Failure;
use synapse_rules::{
    http::{Http, Options, Patience, Retry, WireError},
    platform::{Access, Auth, Host, Platform, PlatformError},
};

use crate::{
    app::App,
    render::board::{self, Busy},
};

/// Longest wait for an answer.
const ANSWER: Duration = Duration::from_secs(20);

/// The cheapest calls that need a token; the second is for platforms without agents.
const QUESTIONS: [&str; 2] = ["agents/?limit=1", "plugin_releases/?limit=1"];

/// A client of a platform, for a question or two.
pub(super) fn platform(
    app: &App,
    host: &Host,
    auth: Option<Auth>,
    allow_http: bool,
) -> Result<Platform, Failure> {
    let own = app.http()?.options().clone();
    let patience = Patience {
        connect: own.patience.connect.min(ANSWER),
        send: own.patience.send.min(ANSWER),
        reply: own.patience.reply.min(ANSWER),
        read: own.patience.read.min(ANSWER),
    };
    let retry = Retry {
        repeats: own.retry.repeats.min(1),
        asked: own.retry.asked.min(Duration::from_secs(5)),
        ..own.retry
    };
    let options = Options {
        patience,
        retry,
        ..own
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

/// Names the platform that is asked, for as long as that lasts.
pub(super) fn waiting(platform: &Platform) -> Busy {
    board::busy(format!("waiting for {} to answer", platform.host()))
}

/// Asks whether a platform takes the token. One that is good for other things only is taken too.
pub(super) fn is_accepted(platform: &Platform) -> Result<(), PlatformError> {
    let _busy = waiting(platform);
    for question in QUESTIONS {
        match platform.get(question) {
            Ok(answer) if answer.is_array() || answer.get("results").is_some() => return Ok(()),
            Err(PlatformError::NotAllowed(_)) => return Ok(()),
            Ok(_) => break,
            Err(PlatformError::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Err(PlatformError::Wire(WireError::Garbled {
        host: platform.host().to_owned(),
        what: "it lists neither agents nor releases".to_owned(),
    }))
}
