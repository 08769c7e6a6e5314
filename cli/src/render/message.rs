//! Owns the line of what an action says, the same while it runs and when its record is shown.

use serde_json::{Map, Value};
use synapse_backend::RunEvent;
use synapse_rules::worker::protocol::{Log, Message, Progress};

use super::{BAD, DIM, GOOD, HINT, WARN, paint};

/// What an event recorded of a run was when the action said it.
pub fn of_event(event: &RunEvent) -> Message {
    let mut whole = match &event.data {
        Value::Object(fields) => fields.clone(),
        _ => Map::new(),
    };
    whole.insert("type".to_owned(), event.kind.clone().into());
    let level = event.level.as_deref().unwrap_or("info");
    whole.insert("level".to_owned(), level.into());
    whole.insert("time".to_owned(), event.time.into());
    if let Some(step) = &event.step {
        whole.insert("step".to_owned(), step.clone().into());
    }
    serde_json::from_value(Value::Object(whole)).unwrap_or(Message::Unknown)
}

/// A message as a line, if it is one for people; `verbose` shows what comes along with its text.
/// Progress is shown otherwise.
pub fn line(message: &Message, verbose: bool) -> Option<String> {
    match message {
        Message::Log(log) => Some(log_line(log, verbose)),
        Message::Metrics(metrics) => {
            let step = metrics.step.as_deref().unwrap_or_default();
            Some(metrics_line(step, &metrics.values))
        }
        Message::Metric(metric) => {
            let at = match &metric.key {
                Value::String(key) => format!("{} {key}={}", metric.category, metric.value),
                _ => metric.category.clone(),
            };
            Some(metrics_line(&at, &metric.metrics))
        }
        Message::Visualization(picture) => {
            let text = format!("{} {}", plain(&picture.category), plain(&picture.group));
            Some(format!("{} {}", paint(DIM, "[picture]"), text.trim()))
        }
        _ => None,
    }
}

/// How far a step is, in a line.
pub fn progress(progress: &Progress) -> String {
    let name = match progress.step.as_deref() {
        None | Some("") => "progress",
        Some(step) => step,
    };
    if progress.failed {
        return format!("{} {name}", paint(BAD, "[failed]"));
    }
    let Progress {
        current,
        total,
        percent,
        ..
    } = progress;
    let text = format!("{current}/{total} ({percent}%)");
    format!("{} {text}", paint(DIM, format!("[{name}]")))
}

fn log_line(log: &Log, verbose: bool) -> String {
    let style = match log.level.as_str() {
        "success" => GOOD,
        "warning" => WARN,
        "danger" | "error" | "critical" => BAD,
        "debug" => DIM,
        _ => HINT,
    };
    let level = paint(style, format!("[{}]", log.level));
    let step = log
        .step
        .as_ref()
        .map(|step| format!("{step}: "))
        .unwrap_or_default();
    let text = match log.data.get("content") {
        Some(Value::String(text)) => match log.data.get("data") {
            Some(more) if verbose && !more.is_null() => format!("{text} {more}"),
            _ => text.clone(),
        },
        _ => format!("{} {}", log.event, log.data),
    };
    format!("{level} {step}{text}")
}

fn metrics_line(name: &str, values: &Map<String, Value>) -> String {
    let values: Vec<String> = values
        .iter()
        .map(|(key, value)| format!("{key}={}", plain(value)))
        .collect();
    let name = if name.is_empty() {
        "[metrics]".to_owned()
    } else {
        format!("[metrics] {name}:")
    };
    format!("{} {}", paint(DIM, name), values.join(" "))
}

/// A text without quotes, anything else as JSON.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(kind: &str, step: Option<&str>, data: Value) -> RunEvent {
        RunEvent {
            time: 1.0,
            kind: kind.to_owned(),
            level: (kind == "log").then(|| "debug".to_owned()),
            step: step.map(str::to_owned),
            data,
        }
    }

    fn shown(event: &RunEvent, verbose: bool) -> Option<String> {
        let line = line(&of_event(event), verbose)?;
        Some(anstream::adapter::strip_str(&line).to_string())
    }

    #[test]
    fn a_record_reads_as_the_run_did() {
        let told = json!({"event": "dev_event", "data": {"content": "a file", "data": {"n": 1}}});
        let told = event("log", None, told);
        assert_eq!(shown(&told, false).unwrap(), "[debug] a file");
        assert_eq!(shown(&told, true).unwrap(), "[debug] a file {\"n\":1}");
        let bare = event("log", Some("s"), json!({"event": "beat", "data": {"n": 1}}));
        assert_eq!(shown(&bare, false).unwrap(), "[debug] s: beat {\"n\":1}");
        let values = event(
            "metrics",
            Some("train"),
            json!({"values": {"i": 0, "a": "b"}}),
        );
        assert_eq!(shown(&values, false).unwrap(), "[metrics] train: i=0 a=b");
        let metric =
            json!({"category": "train", "key": "epoch", "value": 2, "metrics": {"l": 0.5}});
        let metric = event("metric", None, metric);
        assert_eq!(
            shown(&metric, false).unwrap(),
            "[metrics] train epoch=2: l=0.5"
        );
        let picture = json!({"category": "c", "group": "g", "index": 1, "image": "AAAA"});
        let picture = event("visualization", None, picture);
        assert_eq!(shown(&picture, false).unwrap(), "[picture] c g");
        assert_eq!(shown(&event("other", None, json!({"a": 1})), false), None);
        let far = json!({"current": 1.0, "total": 4.0, "percent": 25.0});
        let Message::Progress(far) = of_event(&event("progress", Some("train"), far)) else {
            panic!("no progress")
        };
        let text = progress(&far);
        assert_eq!(
            anstream::adapter::strip_str(&text).to_string(),
            "[train] 1/4 (25%)"
        );
    }
}
