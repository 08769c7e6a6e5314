//! Owns the writing of values as YAML, so that every reader takes them for what they are: what a
//! reader of YAML 1.1 or of 1.2 could take for something else is quoted.

use std::fmt::Write as _;

use serde_json::Value as Json;

use crate::config::{
    node::Style,
    scalar::{self, Plain},
};

/// How a file is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    /// Its line break.
    pub(super) newline: &'static str,
    /// Columns by which a mapping stands further in than its key.
    pub(super) step: usize,
    /// Columns by which the dashes of a list stand further in than its key.
    pub(super) dash: usize,
}

impl Layout {
    /// `key: value` in a block, its key at `column`; no line break at either end.
    pub(super) fn pair(&self, key: &str, value: &Json, column: usize) -> String {
        format!("{}:{}", text(key, false), self.value(value, column))
    }

    /// What follows the colon of a key at `column` in a block.
    pub(super) fn value(&self, value: &Json, column: usize) -> String {
        let deeper = match value {
            Json::Object(map) if !map.is_empty() => column + self.step,
            Json::Array(list) if !list.is_empty() => column + self.dash,
            _ => return format!(" {}", inline(value)),
        };
        format!(
            "{}{}{}",
            self.newline,
            " ".repeat(deeper),
            self.block(value, deeper)
        )
    }

    /// A value in a block whose first line starts at `column`, its first line not indented.
    pub(super) fn block(&self, value: &Json, column: usize) -> String {
        let lines: Vec<String> = match value {
            Json::Object(map) if !map.is_empty() => map
                .iter()
                .map(|(key, value)| self.pair(key, value, column))
                .collect(),
            Json::Array(list) if !list.is_empty() => list
                .iter()
                .map(|item| format!("- {}", self.block(item, column + 2)))
                .collect(),
            _ => return inline(value),
        };
        lines.join(&format!("{}{}", self.newline, " ".repeat(column)))
    }
}

/// A value on one line, inside brackets or not.
pub(super) fn inline(value: &Json) -> String {
    match value {
        Json::Object(map) => {
            let pairs = map
                .iter()
                .map(|(key, value)| format!("{}: {}", text(key, true), inside(value)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
        }
        Json::Array(list) => {
            let items = list.iter().map(inside);
            format!("[{}]", items.collect::<Vec<_>>().join(", "))
        }
        scalar => plain(scalar, false),
    }
}

/// A value inside brackets.
pub(super) fn inside(value: &Json) -> String {
    match value {
        Json::Object(_) | Json::Array(_) => inline(value),
        scalar => plain(scalar, true),
    }
}

fn plain(value: &Json, flow: bool) -> String {
    match value {
        Json::String(own) => text(own, flow),
        Json::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(float) => float_text(float),
            None => number.to_string(),
        },
        other => other.to_string(),
    }
}

/// A float as both versions of YAML read it: with a point, and a sign in the exponent.
fn float_text(float: f64) -> String {
    let text = format!("{float:?}");
    let Some((mantissa, exponent)) = text.split_once('e') else {
        return text;
    };
    let point = if mantissa.contains('.') { "" } else { ".0" };
    let sign = if exponent.starts_with('-') { "" } else { "+" };
    format!("{mantissa}{point}e{sign}{exponent}")
}

/// A text, quoted where it must be.
pub(crate) fn text(text: &str, flow: bool) -> String {
    if is_plain(text, flow) {
        text.to_owned()
    } else {
        double(text)
    }
}

/// A text in the quotes that stood there before.
pub(super) fn text_like(new: &str, old: Style, flow: bool) -> String {
    let one_line = !new
        .chars()
        .any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}'));
    match old {
        Style::Single if one_line => format!("'{}'", new.replace('\'', "''")),
        Style::Double => double(new),
        _ => text(new, flow),
    }
}

fn is_plain(text: &str, flow: bool) -> bool {
    let Some(first) = text.chars().next() else {
        return false;
    };
    let marks = " -?:,[]{}#&*!|>'\"%@`=<~";
    let shown = |c: char| c == ' ' || (!c.is_whitespace() && !c.is_control() && c != '\u{feff}');
    !marks.contains(first)
        && text.chars().all(shown)
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !text.contains(" #")
        && (!flow || !text.contains([',', '[', ']', '{', '}', '?', ':']))
        && !text.starts_with("...")
        && scalar::yaml11(text) == Plain::Text
        && scalar::yaml12(text) == Plain::Text
}

fn double(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            c if c.is_control()
                || matches!(
                    c,
                    '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
                ) =>
            {
                // Writing to a string cannot fail.
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_could_be_misread_is_quoted() {
        for (value, expected) in [
            ("plugin.train:TrainAction", "plugin.train:TrainAction"),
            ("$formkit", "$formkit"),
            ("묶음 이름", "묶음 이름"),
            ("yes", "\"yes\""),
            ("010", "\"010\""),
            ("1:30", "\"1:30\""),
            ("2024-01-01", "\"2024-01-01\""),
            ("1e5", "\"1e5\""),
            ("", "\"\""),
            ("a: b", "\"a: b\""),
            ("a #b", "\"a #b\""),
            ("- a", "\"- a\""),
            ("a\nb", "\"a\\nb\""),
            ("~", "\"~\""),
            ("a:", "\"a:\""),
        ] {
            assert_eq!(text(value, false), expected);
        }
        assert_eq!(text("a:b", true), "\"a:b\"");
        assert_eq!(inline(&json!(1e-5)), "1.0e-5");
        assert_eq!(inline(&json!(1e300)), "1.0e+300");
        assert_eq!(
            inline(&json!({"a": [1, "b,c", null, true, {}]})),
            "{a: [1, \"b,c\", null, true, {}]}"
        );
        assert_eq!(text_like("it's", Style::Single, false), "'it''s'");
    }

    #[test]
    fn blocks_follow_the_layout() {
        let value = json!({"a": {"b": [{"c": 1, "d": {"e": []}}, [1, 2]]}, "f": {}});
        let layout = |step, dash| Layout {
            newline: "\n",
            step,
            dash,
        };
        assert_eq!(
            layout(2, 2).block(&value, 0),
            "a:\n  b:\n    - c: 1\n      d:\n        e: []\n    - - 1\n      - 2\nf: {}"
        );
        assert_eq!(
            layout(4, 0).block(&value, 0),
            "a:\n    b:\n    - c: 1\n      d:\n          e: []\n    - - 1\n      - 2\nf: {}"
        );
    }
}
