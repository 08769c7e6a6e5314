//! Owns `/agents/`: who runs releases here. There is one at most, this machine's own.

use axum::extract::State;
use axum::http::Uri;
use serde_json::{Value, json};

use super::paging::Query;
use super::reply::{Part, Problem, Reply, ok};
use super::{Inner, Shared};
use crate::agent::{Desk, ID, NAME};
use crate::page::Page;

/// `GET /agents/`.
pub(crate) async fn list(State(shared): State<Shared>, uri: Uri) -> Reply {
    let query = Query::of(&uri)?;
    let (limit, offset) = query.window()?;
    let all: Vec<Value> = shared
        .site
        .agent
        .iter()
        .map(|desk| object(&shared, desk))
        .collect();
    let page = Page {
        total: all.len() as u64,
        items: all
            .into_iter()
            .skip(offset as usize)
            .take(limit as usize)
            .collect(),
    };
    Ok(ok(&query.page(&shared, &page)?))
}

/// `GET /agents/{id}/`.
pub(crate) async fn get(State(shared): State<Shared>, id: Part) -> Reply {
    let is_ours = id.number()? == ID;
    let desk = shared.site.agent.as_ref().filter(|_| is_ours);
    let desk = desk.ok_or_else(Problem::missing)?;
    Ok(ok(&object(&shared, desk)))
}

fn object(shared: &Inner, desk: &Desk) -> Value {
    let (running, waiting, slots) = desk.load();
    json!({
        "id": ID,
        "name": NAME,
        "url": shared.url,
        "status": "connected",
        "jobs": {"running": running, "waiting": waiting, "at_once": slots},
    })
}
