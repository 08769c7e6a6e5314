//! The fault table: everything a network or a server can do to a publish, many times with seeds.
//! At most one release a version, the right message, the right exit code, and the next publish
//! mends it.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use synapse_tests::{
    Space,
    proxy::{Call, Fault, Proxy},
};

use crate::{PROGRAM, Site, codes, point, publish};

/// Trials of each row, unless `SYNAPSE_FAULT_SEEDS` says otherwise.
const SEEDS: u64 = 2;

/// Which calls a fault meets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    /// The look-up before anything is sent.
    Look,
    /// The release itself.
    Send,
}

use At::{Look, Send};

/// One row of the table.
struct Row {
    name: &'static str,
    at: At,
    fault: fn(u64) -> Fault,
    /// Exit code and error code when it happens once; then when it happens always.
    once: (i32, &'static str),
    always: (i32, &'static str),
}

const FINE: (i32, &str) = (0, "");
const DOWN: (i32, &str) = (3, "target-unavailable");
const DOUBT: (i32, &str) = (3, "target-doubt");
const BUSY: (i32, &str) = (3, "rate-limited");

fn html(status: u16) -> Fault {
    Fault::Answer(
        status,
        String::new(),
        "<html><h1>oops</h1></html>".to_owned(),
    )
}

fn json(status: u16, body: &str) -> Fault {
    let head = "Content-Type: application/json\r\n".to_owned();
    Fault::Answer(status, head, body.to_owned())
}

fn table() -> Vec<Row> {
    let row = |name, at, fault, once, always| Row {
        name,
        at,
        fault,
        once,
        always,
    };
    vec![
        row("look: reset", Look, |_| Fault::ResetBefore, FINE, DOWN),
        row("look: 408", Look, |_| html(408), FINE, DOWN),
        row("look: 500", Look, |_| html(500), FINE, DOWN),
        row("look: 502", Look, |_| html(502), FINE, DOWN),
        row("look: 503", Look, |_| html(503), FINE, BUSY),
        row("look: 429", Look, |_| retry_after(429), FINE, BUSY),
        row("look: truncated", Look, |_| Fault::Truncate, FINE, DOWN),
        row("look: slow", Look, |_| late(), FINE, DOWN),
        row(
            "look: 401",
            Look,
            |_| denied(401),
            NOT_AUTHENTICATED,
            NOT_AUTHENTICATED,
        ),
        row("look: 403", Look, |_| denied(403), NOT_ALLOWED, NOT_ALLOWED),
        row(
            "look: elsewhere",
            Look,
            |_| elsewhere(302),
            REDIRECTED,
            REDIRECTED,
        ),
        row("reset before", Send, |_| Fault::ResetBefore, FINE, DOUBT),
        row(
            "reset while sending",
            Send,
            |seed| Fault::ResetAt(seed as usize * 300),
            FINE,
            DOUBT,
        ),
        row("reset after", Send, |_| Fault::ResetAfter, FINE, FINE),
        row("truncated", Send, |_| Fault::Truncate, FINE, FINE),
        row("slow", Send, |_| late(), FINE, FINE),
        row("408", Send, |_| html(408), FINE, DOUBT),
        row("429", Send, |_| retry_after(429), FINE, BUSY),
        row("500", Send, |_| html(500), FINE, DOUBT),
        row("502 after", Send, |_| after(502), FINE, FINE),
        row("503", Send, |_| retry_after(503), FINE, BUSY),
        row("504 after", Send, |_| after(504), FINE, FINE),
        row("200 of no platform", Send, |_| html(200), FINE, DOUBT),
        row(
            "401",
            Send,
            |_| denied(401),
            NOT_AUTHENTICATED,
            NOT_AUTHENTICATED,
        ),
        row("403", Send, |_| denied(403), NOT_ALLOWED, NOT_ALLOWED),
        row("409", Send, |_| taken(), TAKEN, TAKEN),
        row("422", Send, |_| invalid(), INVALID, INVALID),
        row("413", Send, |_| html(413), INVALID, INVALID),
        row(
            "elsewhere",
            Send,
            |_| elsewhere(307),
            REDIRECTED,
            REDIRECTED,
        ),
        row(
            "wrong digest",
            Send,
            |_| Fault::WrongDigest,
            CHECKSUM,
            CHECKSUM,
        ),
    ]
}

const NOT_AUTHENTICATED: (i32, &str) = (3, "not-authenticated");
const NOT_ALLOWED: (i32, &str) = (3, "not-allowed");
const REDIRECTED: (i32, &str) = (3, "redirected");
const TAKEN: (i32, &str) = (1, "version-exists");
const INVALID: (i32, &str) = (1, "release-invalid");
const CHECKSUM: (i32, &str) = (3, "checksum-mismatch");

fn retry_after(status: u16) -> Fault {
    Fault::Answer(
        status,
        "Retry-After: 0\r\n".to_owned(),
        r#"{"detail": "Request was throttled."}"#.to_owned(),
    )
}

fn denied(status: u16) -> Fault {
    json(status, r#"{"detail": "You do not have permission."}"#)
}

fn taken() -> Fault {
    json(
        409,
        r#"{"detail": "Release already exists.", "code": "version_exists"}"#,
    )
}

fn invalid() -> Fault {
    json(
        422,
        r#"{"config": {"category": ["\"x\" is not a valid choice."]}}"#,
    )
}

fn after(status: u16) -> Fault {
    Fault::AnswerAfter(status, "<html>bad gateway</html>".to_owned())
}

/// Later than the client waits (see `SYNAPSE_HTTP_TIMEOUT` below).
fn late() -> Fault {
    Fault::Slow(Duration::from_millis(2600))
}

/// To where nobody may be told anything.
fn elsewhere(status: u16) -> Fault {
    let head = "Location: http://127.0.0.2:9/plugin_releases/\r\n".to_owned();
    Fault::Answer(status, head, String::new())
}

fn meets(at: At, call: &Call) -> bool {
    match at {
        At::Look => call.method == "GET" && call.path.starts_with("/plugin_releases/"),
        At::Send => call.method == "POST" && call.path == "/plugin_releases/",
    }
}

fn seeds() -> u64 {
    std::env::var("SYNAPSE_FAULT_SEEDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(SEEDS)
}

/// What became of one row.
#[derive(Default)]
struct Tally {
    trials: u64,
    injected: u64,
    ended: BTreeMap<String, u64>,
}

#[test]
fn the_table() {
    let site = Site::start();
    let seeds = seeds();
    let rows = table();
    // Two at a time: most of a trial is waiting.
    let (even, odd): (Vec<_>, Vec<_>) = rows.iter().enumerate().partition(|(at, _)| at % 2 == 0);
    let run = |rows: Vec<(usize, &Row)>| {
        let mut told = Vec::new();
        for (at, row) in rows {
            told.push((at, trials(&site, at, row, seeds)));
        }
        told
    };
    let mut told = std::thread::scope(|scope| {
        let other = scope.spawn(|| run(odd));
        let mut told = run(even);
        told.extend(other.join().unwrap());
        told
    });
    told.sort_by_key(|(at, _)| *at);
    println!("{:22} {:>6} {:>8}  ends", "fault", "trials", "injected");
    for (at, tally) in &told {
        let mut ends = String::new();
        for (end, count) in &tally.ended {
            let _ = write!(ends, "{end} x{count}, ");
        }
        let name = rows[*at].name;
        println!(
            "{name:22} {:>6} {:>8}  {}",
            tally.trials,
            tally.injected,
            ends.trim_end_matches(", ")
        );
        assert!(tally.injected >= tally.trials, "{name} never happened");
    }
    let counts = site.counts();
    println!("{} releases, each version once", counts.len());
    assert_eq!(counts.len() as u64, 2 * seeds * rows.len() as u64);
    assert!(counts.values().all(|count| *count == 1), "{counts:#?}");
}

fn trials(site: &Site, at: usize, row: &Row, seeds: u64) -> Tally {
    let mut tally = Tally::default();
    for seed in 0..seeds {
        for always in [false, true] {
            let code = format!("f{at}-{seed}-{always}");
            tally.trials += 1;
            trial(site, row, seed, always, &code, &mut tally);
        }
    }
    tally
}

fn trial(site: &Site, row: &Row, seed: u64, always: bool, code: &str, tally: &mut Tally) {
    let (fault, at) = (row.fault, row.at);
    let hits = std::sync::atomic::AtomicU64::new(0);
    let proxy = Proxy::start(site.serving.host(), move |call| {
        if !meets(at, call) {
            return Fault::None;
        }
        // Seeds hit the first or, when looks are repeated anyway, a later one.
        let number = hits.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        if always || number == 0 {
            fault(seed)
        } else {
            Fault::None
        }
    });
    let mut space = Space::new(PROGRAM);
    space.tiny_plugin(".", code);
    point(&mut space, &proxy.url, &site.serving.token);
    space.set("SYNAPSE_HTTP_TIMEOUT", "1");
    space.set("SYNAPSE_HTTP_RETRIES", "2");
    let (exit, error) = if always { row.always } else { row.once };
    let first = publish(&space, &[]);
    let injected: u64 = proxy
        .faults()
        .iter()
        .filter(|(name, _)| *name != "none")
        .map(|(_, count)| count)
        .sum();
    tally.injected += injected;
    let end = format!("exit {} {}", first.run.code(), codes(&first).join(" "));
    *tally.ended.entry(end.trim_end().to_owned()).or_default() += 1;
    let what = format!(
        "{} (seed {seed}, always {always}): {:#}",
        row.name, first.value
    );
    assert_eq!(first.run.code(), exit, "{what}");
    assert_eq!(
        codes(&first).first().copied().unwrap_or_default(),
        error,
        "{what}"
    );
    for error in first.value["errors"].as_array().unwrap() {
        assert!(error["hint"].is_string(), "{what}");
    }
    let elsewhere = proxy
        .calls()
        .iter()
        .any(|call| call.path.starts_with("http"));
    assert!(!elsewhere, "{what}");
    assert!(site.releases(code).len() <= 1, "{what}");

    if row.name == "wrong digest" {
        // What was found to be damaged is not up to date the next time.
        let again = publish(&space, &["--verify"]).expect(3);
        assert_eq!(codes(&again), ["checksum-mismatch"]);
    }
    // Without the fault, the next publish ends as it should: nothing twice, nothing lost.
    point(&mut space, &site.serving.url, &site.serving.token);
    space.set("SYNAPSE_HTTP_TIMEOUT", "30");
    let next = publish(&space, &["--verify"]);
    if row.name == "wrong digest" {
        // Another address is another target to the ledger; the release itself is whole.
        next.expect(0);
    } else {
        let sent = next.expect(0);
        let there = first.run.code() == 0;
        assert_eq!(
            sent.total("published"),
            u64::from(!there && !was_there(row)),
            "{what}"
        );
    }
    let releases = site.releases(code);
    assert_eq!(releases.len(), 1, "{what}");
}

/// The server had made the release although the client was told otherwise.
fn was_there(row: &Row) -> bool {
    row.name == "wrong digest"
}
