//! Owns the trace: what ran when as Chrome's trace events, which Perfetto and <chrome://tracing>
//! open. Times are microseconds.

use serde_json::{Value, json};
use synapse_engine::Lane;

use crate::timeline::{Chart, End, Span};

/// The one process.
const PID: u32 = 1;
/// The lane of the command itself.
const MAIN: usize = 0;
/// The first lane of processors, and of what waits.
const FIRST: [usize; 2] = [1, 1001];

/// The whole file.
pub fn events(chart: &Chart, line: &str) -> String {
    let mut events = vec![
        named("process_name", MAIN, "synapse"),
        named("thread_name", MAIN, "synapse"),
        json!({"ph": "X", "name": line, "cat": "command", "pid": PID, "tid": MAIN, "ts": 0,
               "dur": chart.wall, "args": sums(chart)}),
    ];
    for (lane, name) in [(Lane::Cpu, "processor"), (Lane::Io, "waiting")] {
        for at in 0..chart.width[lane as usize] {
            let name = format!("{name} {}", at + 1);
            events.push(named("thread_name", tid((lane, at)), &name));
        }
    }
    let mut critical = vec![false; chart.labels.len()];
    chart
        .critical
        .iter()
        .for_each(|node| critical[*node] = true);
    for span in &chart.spans {
        let label = &chart.labels[span.node];
        events.push(json!({
            "ph": "X", "name": format!("{} {}", label.stage, label.subject), "cat": label.stage,
            "pid": PID, "tid": tid(span.lane), "ts": span.begin, "dur": span.length(),
            "args": {"stage": label.stage, "subject": label.subject, "ended": ended(&span.how),
                     "reasons": span.reasons, "critical": critical[span.node]},
        }));
    }
    events.extend(flows(chart));
    for (at, results) in &chart.commits {
        events.push(
            json!({"ph": "i", "name": "results made durable", "cat": "store", "s": "t",
                           "pid": PID, "tid": MAIN, "ts": at, "args": {"results": results}}),
        );
    }
    json!({"displayTimeUnit": "ms", "traceEvents": events}).to_string()
}

fn named(what: &str, tid: usize, name: &str) -> Value {
    json!({"ph": "M", "name": what, "pid": PID, "tid": tid, "args": {"name": name}})
}

fn tid((lane, at): (Lane, usize)) -> usize {
    FIRST[lane as usize] + at
}

fn ended(how: &End) -> &str {
    match how {
        End::Ran => "ran",
        End::Restored => "restored",
        End::Failed(code) => code,
        End::Unfinished => "cut off",
    }
}

/// Arrows from what was waited for to what waited.
fn flows(chart: &Chart) -> Vec<Value> {
    let mut of: Vec<Vec<&Span>> = vec![Vec::new(); chart.labels.len()];
    for span in &chart.spans {
        of[span.node].push(span);
    }
    let mut events = Vec::new();
    for span in &chart.spans {
        for on in &chart.on[span.node] {
            let before = of[*on].iter().rev().find(|own| own.end <= span.begin);
            let Some(before) = before else { continue };
            let id = events.len() / 2 + 1;
            // The end of a span is no longer in it.
            let at = before.end.saturating_sub(1).max(before.begin);
            events.push(
                json!({"ph": "s", "name": "waited for", "cat": "dependency", "id": id,
                               "pid": PID, "tid": tid(before.lane), "ts": at}),
            );
            events.push(
                json!({"ph": "f", "bp": "e", "name": "waited for", "cat": "dependency",
                               "id": id, "pid": PID, "tid": tid(span.lane), "ts": span.begin}),
            );
        }
    }
    events
}

fn sums(chart: &Chart) -> Value {
    let sums = chart.stages.iter().map(|(stage, sum)| {
        let sum = json!({"ran": sum.ran, "failed": sum.failed, "known": sum.known});
        (stage.clone(), sum)
    });
    Value::Object(sums.collect())
}
