//! Owns the page of timings: one HTML file that needs nothing else, with what ran when on the
//! lanes of workers, the longest path, and tables. What it looks like lies in `timings/`.

use std::fmt::Write;

use serde_json::{Value, json};
use synapse_engine::Lane;

use super::{markup::escaped, moment};
use crate::timeline::{Chart, End, Span};

const PAGE: &str = include_str!("timings/page.html");
const STYLE: &str = include_str!("timings/style.css");
const SCRIPT: &str = include_str!("timings/script.js");

/// Rows of the table of the slowest.
const SLOWEST: usize = 50;

/// The page of a command that began at `begun`, Unix seconds.
pub fn page(chart: &Chart, line: &str, begun: i64, exit: u8) -> String {
    // A script ends at the first `</`, whatever it is in.
    let data = data(chart).to_string().replace('<', "\\u003c");
    fill(
        PAGE,
        &[
            ("style", STYLE),
            ("title", &escaped(line)),
            ("head", &head(chart, line, begun, exit)),
            ("stages", &stages(chart)),
            ("critical", &critical(chart)),
            ("slowest", &slowest(chart)),
            ("data", &data),
            ("script", SCRIPT),
        ],
    )
}

/// The template with each `{{name}}` once in its place; what is put in is not looked at again.
fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        out.push_str(before);
        let Some((name, after)) = after.split_once("}}") else {
            break;
        };
        let value = values.iter().find(|(own, _)| *own == name);
        out.push_str(value.map_or("", |(_, value)| value));
        rest = after;
    }
    out.push_str(rest);
    out
}

fn head(chart: &Chart, line: &str, begun: i64, exit: u8) -> String {
    let sum = |of: fn(&crate::timeline::Sum) -> u64| -> u64 {
        chart.stages.iter().map(|(_, sum)| of(sum)).sum()
    };
    let mut out = format!("<h1>synapse {}</h1>\n", escaped(line));
    let _ = writeln!(
        out,
        "<p>{}, exit code {exit}. <b>{}</b> in all: {} stages ran, {} failed, {} were known.</p>",
        escaped(&moment(begun)),
        time(chart.wall),
        sum(|sum| sum.ran),
        sum(|sum| sum.failed),
        sum(|sum| sum.known),
    );
    out
}

fn stages(chart: &Chart) -> String {
    let mut out = String::new();
    for (stage, sum) in &chart.stages {
        let mean = sum.total.checked_div(sum.ran).unwrap_or(0);
        let _ = writeln!(
            out,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>\
             <td>{}</td></tr>",
            escaped(stage),
            sum.ran,
            sum.failed,
            sum.known,
            time(sum.total),
            time(mean),
            time(sum.longest),
        );
    }
    out
}

fn critical(chart: &Chart) -> String {
    if chart.critical.is_empty() {
        return "<p>Nothing ran.</p>".to_owned();
    }
    let mut out = format!(
        "<p>{} of work, each stage waiting for the one before it: with any number of workers it \
         would not take less.</p>\n<ol>\n",
        time(chart.critical_length)
    );
    for node in &chart.critical {
        let label = &chart.labels[*node];
        let own = chart.spans.iter().filter(|span| span.node == *node);
        let _ = writeln!(
            out,
            "<li>{} {} <b>{}</b></li>",
            escaped(&label.stage),
            escaped(&label.subject),
            time(own.map(Span::length).sum()),
        );
    }
    out.push_str("</ol>");
    out
}

fn slowest(chart: &Chart) -> String {
    let mut spans: Vec<&Span> = chart.spans.iter().collect();
    spans.sort_by_key(|span| std::cmp::Reverse(span.length()));
    let mut out = String::new();
    for span in spans.into_iter().take(SLOWEST) {
        let label = &chart.labels[span.node];
        let _ = writeln!(
            out,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            escaped(&label.subject),
            escaped(&label.stage),
            time(span.begin),
            time(span.length()),
            escaped(&told(span)),
        );
    }
    out
}

/// How a span ended, where that is worth a word, and why it ran.
fn told(span: &Span) -> String {
    let how = match &span.how {
        End::Ran => None,
        End::Restored => Some("restored from the store".to_owned()),
        End::Failed(code) => Some(format!("failed: {code}")),
        End::Unfinished => Some("cut off".to_owned()),
    };
    let all: Vec<String> = how.into_iter().chain(span.reasons.clone()).collect();
    all.join("; ")
}

/// What the script draws: names once each, and a row a span.
fn data(chart: &Chart) -> Value {
    let stage = |span: &Span| {
        let own = &chart.labels[span.node].stage;
        chart.stages.iter().position(|(name, _)| name == own)
    };
    let cpu = chart.width[Lane::Cpu as usize];
    let lanes: Vec<String> = (1..=cpu)
        .map(|lane| format!("processor {lane}"))
        .chain((1..=chart.width[Lane::Io as usize]).map(|lane| format!("waiting {lane}")))
        .collect();
    let mut critical = vec![false; chart.labels.len()];
    chart
        .critical
        .iter()
        .for_each(|node| critical[*node] = true);
    let spans: Vec<Value> = chart
        .spans
        .iter()
        .map(|span| {
            let (lane, at) = span.lane;
            let row = if lane == Lane::Cpu { at } else { cpu + at };
            let bad = u8::from(!matches!(span.how, End::Ran | End::Restored));
            let subject = &chart.labels[span.node].subject;
            json!([
                stage(span),
                subject,
                row,
                span.begin,
                span.length(),
                bad,
                u8::from(critical[span.node]),
                told(span)
            ])
        })
        .collect();
    let stages: Vec<&str> = chart.stages.iter().map(|(name, _)| name.as_str()).collect();
    json!({"wall": chart.wall, "stages": stages, "lanes": lanes, "spans": spans})
}

/// A time in microseconds, for people.
fn time(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} \u{b5}s"),
        1_000..1_000_000 => format!("{:.1} ms", micros as f64 / 1e3),
        _ => format!("{:.2} s", micros as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_is_not_looked_at_again() {
        let filled = fill("a {{x}} b {{y}} {{gone}}c", &[("x", "{{y}}"), ("y", "2")]);
        assert_eq!(filled, "a {{y}} b 2 c");
    }
}
