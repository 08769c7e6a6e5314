//! Owns what a job said: as a list, and as a stream while it goes on.

use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, Uri, header};
use axum::response::Response;
use futures_util::stream;
use serde_json::{Value, json};

use super::Shared;
use super::paging::Query;
use super::reply::{Part, Reply, time};
use crate::follow::Follower;
use crate::run::RunEvent;

/// Events read at a time.
const BLOCK: u32 = 1000;
/// How often a job that says nothing is looked at.
const ROUND: Duration = Duration::from_millis(200);

/// `GET /jobs/{id}/console_logs/`: a list, written as it is read. `?after=` leaves out what is
/// known, `?limit=` bounds it.
pub(crate) async fn list(State(shared): State<Shared>, id: Part, uri: Uri) -> Reply {
    struct Reading {
        after: i64,
        left: u64,
        begun: bool,
        ended: bool,
    }
    let id = id.number()?;
    let query = Query::of(&uri)?;
    let reading = Reading {
        after: query.number("after")?.unwrap_or(0),
        left: query.number("limit")?.unwrap_or(u64::MAX),
        begun: false,
        ended: false,
    };
    shared.work(move |backend| backend.run(id)).await?;
    let body = stream::try_unfold(reading, move |mut reading| {
        let shared = std::sync::Arc::clone(&shared);
        async move {
            if reading.ended {
                return Ok(None);
            }
            let (after, limit) = (reading.after, reading.left.min(u64::from(BLOCK)) as u32);
            let events = shared
                .work(move |backend| backend.run_events(id, after, limit))
                .await
                .map_err(|problem| io::Error::other(problem.body.to_string()))?;
            reading.left -= events.len() as u64;
            reading.ended = events.len() < limit as usize || reading.left == 0;
            reading.after = events.last().map_or(after, |(last, _)| *last);
            let mut text = String::new();
            for (number, event) in &events {
                text.push(if reading.begun { ',' } else { '[' });
                reading.begun = true;
                text.push_str(&object(*number, event).to_string());
            }
            if reading.ended {
                text.push_str(if reading.begun { "]" } else { "[]" });
            }
            Ok::<_, io::Error>(Some((Bytes::from(text), reading)))
        }
    });
    Ok(streamed(Body::from_stream(body), "application/json"))
}

/// `GET /jobs/{id}/tail_console_logs/`: lines of text, until the job is over.
pub(crate) async fn tail(State(shared): State<Shared>, id: Part) -> Reply {
    let id = id.number()?;
    shared.work(move |backend| backend.run(id)).await?;
    let follower = Some(Follower::new(id, true));
    let body = stream::try_unfold(follower, move |follower| {
        let shared = std::sync::Arc::clone(&shared);
        async move {
            let Some(mut follower) = follower else {
                return Ok(None);
            };
            loop {
                let (back, step) = shared
                    .work(move |backend| {
                        let step = follower.step(backend)?;
                        Ok((follower, step))
                    })
                    .await
                    .map_err(|problem| io::Error::other(problem.body.to_string()))?;
                follower = back;
                let mut text = step.output;
                for event in &step.events {
                    text.extend_from_slice(line(event).as_bytes());
                }
                let over = step.over.is_some() || *shared.stopping.borrow();
                if !text.is_empty() || over {
                    let next = (!over).then_some(follower);
                    return Ok::<_, io::Error>(Some((Bytes::from(text), next)));
                }
                if !step.more {
                    let mut stopping = shared.stopping.clone();
                    tokio::select! {
                        () = tokio::time::sleep(ROUND) => {}
                        _ = stopping.wait_for(|stop| *stop) => {}
                    }
                }
            }
        }
    });
    Ok(streamed(
        Body::from_stream(body),
        "text/plain; charset=utf-8",
    ))
}

fn streamed(body: Body, kind: &'static str) -> Response {
    let mut response = Response::new(body);
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn object(number: i64, event: &RunEvent) -> Value {
    let inner = event.data.get("data").unwrap_or(&event.data);
    json!({
        "id": number,
        "time": time(event.time),
        "kind": event.kind,
        "level": event.level,
        "event": event.event(),
        "message": event.text(),
        "data": inner,
        "step": event.step,
        "file": event.data.get("file"),
    })
}

/// An event as a line of a console; empty when it has nothing for people.
fn line(event: &RunEvent) -> String {
    let text = match (event.kind.as_str(), event.text(), event.event()) {
        ("log", Some(text), _) => text.to_owned(),
        ("log", None, Some(name)) => format!("{name} {}", event.data["data"]),
        _ => return String::new(),
    };
    let level = event.level.as_deref().unwrap_or("info").to_uppercase();
    format!("[{level}] {text}\n")
}
