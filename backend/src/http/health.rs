//! Owns `/health/`: that the server is up, and that it knows the token, without telling it.

use axum::extract::State;
use axum::http::Uri;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::Shared;
use super::paging::Query;
use super::reply::{Reply, ok};
use crate::upload::hex;

/// Length of a challenge: fixed, so that no proof is good for anything but its own challenge.
pub(crate) const CHALLENGE: usize = 32;

/// `GET /health/`, with or without `?challenge=` and 32 characters.
pub(crate) async fn get(State(shared): State<Shared>, uri: Uri) -> Reply {
    let query = Query::of(&uri)?;
    let mut body = json!({
        "status": "ok",
        "service": "synapse-backend",
        "version": env!("CARGO_PKG_VERSION"),
    });
    if let Some(challenge) = query
        .get("challenge")
        .filter(|text| text.len() == CHALLENGE)
    {
        body["proof"] = json!(proof(&shared.site.token, challenge));
    }
    Ok(ok(&body))
}

/// What only a server that knows the token can say.
pub(crate) fn proof(token: &str, challenge: &str) -> String {
    hex(&Sha256::digest(format!("{token}:{challenge}")))
}
