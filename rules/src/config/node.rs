//! Owns the nodes of a YAML tree: what they hold, where they stand, and what they are as JSON.

use std::{fmt, ops::Range};

use super::scalar::Plain;

/// How a scalar is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Without quotes.
    Plain,
    /// In single quotes.
    Single,
    /// In double quotes.
    Double,
    /// A literal or folded block.
    Block,
}

/// A scalar.
#[derive(Clone, PartialEq)]
pub struct Scalar {
    /// Its text, escapes and folding resolved.
    pub text: String,
    /// How it is written.
    pub style: Style,
    /// What it means.
    pub meaning: Plain,
    /// It carries a tag, which has decided `meaning`.
    pub tagged: bool,
}

/// Without the value, which may be a secret.
impl fmt::Debug for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scalar")
            .field("style", &self.style)
            .finish_non_exhaustive()
    }
}

/// What a node holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A scalar.
    Scalar(Scalar),
    /// A list.
    Sequence(Vec<Node>),
    /// Keys and values in the file's order, merge keys (`<<`) resolved, merged pairs first.
    Mapping(Vec<(Node, Node)>),
}

/// A node and its place. An alias is a copy of the node that it names, with that node's place.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// What it holds.
    pub value: Value,
    /// Offset of its first byte in the file.
    pub start: usize,
    /// Offset after its last byte.
    pub end: usize,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

impl Node {
    /// Its byte range.
    pub fn span(&self) -> Range<usize> {
        self.start..self.end
    }

    /// The scalar, if it is one.
    pub fn as_scalar(&self) -> Option<&Scalar> {
        match &self.value {
            Value::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    /// The text, if it is a scalar that means text (a date is text too).
    pub fn as_text(&self) -> Option<&str> {
        self.as_scalar()
            .filter(|s| matches!(s.meaning, Plain::Text | Plain::Timestamp))
            .map(|s| s.text.as_str())
    }

    /// The pairs, if it is a mapping.
    pub fn as_mapping(&self) -> Option<&[(Node, Node)]> {
        match &self.value {
            Value::Mapping(pairs) => Some(pairs),
            _ => None,
        }
    }

    /// The items, if it is a list.
    pub fn as_sequence(&self) -> Option<&[Node]> {
        match &self.value {
            Value::Sequence(items) => Some(items),
            _ => None,
        }
    }

    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        self.as_scalar().is_some_and(|s| s.meaning == Plain::Null)
    }

    /// What it is, in words for messages. Never its value.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "a mapping",
            Value::Scalar(scalar) => match scalar.meaning {
                Plain::Null => "nothing",
                Plain::Bool(_) => "a boolean",
                Plain::Int(_) | Plain::BigInt | Plain::Float(_) => "a number",
                Plain::Timestamp | Plain::Text => "text",
            },
        }
    }

    /// The text of a mapping key, as JSON would have it: `1`, `true` and `null` become text.
    /// `None` for a list or a mapping.
    pub fn key_text(&self) -> Option<String> {
        let scalar = self.as_scalar()?;
        Some(match scalar.meaning {
            Plain::Null => "null".to_owned(),
            Plain::Bool(value) => value.to_string(),
            Plain::Int(value) => value.to_string(),
            Plain::Float(value) => serde_json::Number::from_f64(value)
                .map_or_else(|| scalar.text.clone(), |n| n.to_string()),
            Plain::BigInt | Plain::Timestamp | Plain::Text => scalar.text.clone(),
        })
    }

    /// The last value under a key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        let pairs = self.as_mapping()?;
        pairs
            .iter()
            .rev()
            .find(|(k, _)| k.as_text() == Some(key))
            .map(|(_, v)| v)
    }

    /// As JSON, key order kept. Dates stay the text that they are; numbers that JSON cannot hold
    /// (reported as errors when a file is read) become null.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match &self.value {
            Value::Sequence(items) => Json::Array(items.iter().map(Self::to_json).collect()),
            Value::Mapping(pairs) => Json::Object(
                pairs
                    .iter()
                    .filter_map(|(key, value)| Some((key.key_text()?, value.to_json())))
                    .collect(),
            ),
            Value::Scalar(scalar) => match scalar.meaning {
                Plain::Null | Plain::BigInt => Json::Null,
                Plain::Bool(value) => Json::Bool(value),
                Plain::Int(value) => u64::try_from(value)
                    .map(Json::from)
                    .or_else(|_| i64::try_from(value).map(Json::from))
                    .unwrap_or(Json::Null),
                Plain::Float(value) => {
                    serde_json::Number::from_f64(value).map_or(Json::Null, Json::Number)
                }
                Plain::Timestamp | Plain::Text => Json::String(scalar.text.clone()),
            },
        }
    }
}
