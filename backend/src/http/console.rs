//! Owns what a job said: as a list, and as a stream while it goes on.

use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::response::Response;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use super::Shared;
use super::jobs::object as job;
use super::paging::Query;
use super::reply::{Part, Problem, Reply, time};
use crate::follow::{Follower, Step};
use crate::run::RunEvent;

/// Events read at a time.
const BLOCK: u32 = 1000;
/// How often a job that says nothing is looked at.
const ROUND: Duration = Duration::from_millis(200);
/// How long a stream of events is silent at most.
const ALIVE: Duration = Duration::from_secs(10);
/// How long whoever lost a stream waits before asking again, milliseconds.
const RETRY: u32 = 1000;
/// The type of server-sent events.
const EVENTS: &str = "text/event-stream";

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

/// `GET /jobs/{id}/tail_console_logs/`: what the job says, until it is over. Lines of text, or
/// server-sent events for those who accept them.
pub(crate) async fn tail(State(shared): State<Shared>, id: Part, headers: HeaderMap) -> Reply {
    let id = id.number()?;
    shared.work(move |backend| backend.run(id)).await?;
    if accepts_events(&headers) {
        let from = last_event(&headers)?;
        return Ok(events(shared, Follower::resume(id, from)));
    }
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
                for (_, event) in &step.events {
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

fn accepts_events(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter();
    accepted
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|kind| kind.split(';').next().unwrap_or_default().trim() == EVENTS)
}

/// Where a tail that broke off stood.
fn last_event(headers: &HeaderMap) -> Result<(i64, u64), Problem> {
    let Some(id) = headers.get("last-event-id") else {
        return Ok((0, 0));
    };
    let read = || {
        let (after, offset) = id.to_str().ok()?.split_once('-')?;
        Some((after.parse().ok()?, offset.parse().ok()?))
    };
    read().ok_or_else(|| Problem::bad("Last-Event-ID is none that was sent from here"))
}

/// A job as server-sent events. The id of each says where to go on after it.
fn events(shared: Shared, follower: Follower) -> Response {
    let begun = Bytes::from(format!("retry: {RETRY}\n\n"));
    let first = stream::once(async move { Ok::<_, io::Error>(begun) });
    let rest = stream::try_unfold(Some(follower), move |follower| {
        let shared = std::sync::Arc::clone(&shared);
        async move {
            let Some(mut follower) = follower else {
                return Ok(None);
            };
            let mut silent = Duration::ZERO;
            loop {
                let before = follower.position();
                let (back, step) = shared
                    .work(move |backend| {
                        let step = follower.step(backend)?;
                        Ok((follower, step))
                    })
                    .await
                    .map_err(|problem| io::Error::other(problem.body.to_string()))?;
                follower = back;
                let mut text = sent(before, follower.position(), &step);
                if let Some(run) = &step.over {
                    let id = at(follower.position());
                    text.push_str(&framed("end", &id, &job(run)));
                }
                if text.is_empty() && silent >= ALIVE {
                    text.push_str(": still there\n\n");
                }
                // Without an end: whoever reads comes back to where it was.
                let over = step.over.is_some() || *shared.stopping.borrow();
                if !text.is_empty() || over {
                    let next = (!over).then_some(follower);
                    return Ok::<_, io::Error>(Some((Bytes::from(text), next)));
                }
                if !step.more {
                    silent += ROUND;
                    let mut stopping = shared.stopping.clone();
                    tokio::select! {
                        () = tokio::time::sleep(ROUND) => {}
                        _ = stopping.wait_for(|stop| *stop) => {}
                    }
                }
            }
        }
    });
    let mut response = streamed(Body::from_stream(first.chain(rest)), EVENTS);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // For proxies that would else wait for more.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// A step as events: output first, as plain text has it.
fn sent((after, _): (i64, u64), (_, offset): (i64, u64), step: &Step) -> String {
    let mut text = String::new();
    if !step.output.is_empty() {
        let output = json!({"text": String::from_utf8_lossy(&step.output)});
        text.push_str(&framed("output", &at((after, offset)), &output));
    }
    for (number, event) in &step.events {
        let kind = match event.kind.as_str() {
            kind @ ("log" | "progress" | "metrics" | "metric" | "visualization") => kind,
            // A kind that a caller made up, which may hold anything.
            _ => "other",
        };
        let id = at((*number, offset));
        text.push_str(&framed(kind, &id, &object(*number, event)));
    }
    text
}

fn at((after, offset): (i64, u64)) -> String {
    format!("{after}-{offset}")
}

/// JSON is one line, whatever is in it.
fn framed(kind: &str, id: &str, data: &Value) -> String {
    format!("event: {kind}\nid: {id}\ndata: {data}\n\n")
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
