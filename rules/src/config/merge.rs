//! Owns how a mapping's pairs come about: merge keys (`<<`) resolved, duplicate keys reported.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

use super::{
    diagnostic::quote,
    lexical::key_is_broken,
    node::{Node, Style, Value},
    source::{Problem, Source},
};

/// Keys and values as pairs: merges resolved, duplicates reported.
pub(crate) fn pairs(
    items: Vec<Node>,
    start: usize,
    source: &Source<'_>,
    problems: &mut Vec<Problem>,
) -> Vec<(Node, Node)> {
    let mut own: Vec<(Node, Node)> = Vec::with_capacity(items.len() / 2);
    let mut merged: Vec<Vec<(Node, Node)>> = Vec::new();
    let mut seen: HashMap<String, u32> = HashMap::new();
    let mut items = items.into_iter();
    while let (Some(key), Some(value)) = (items.next(), items.next()) {
        let plain = key
            .as_scalar()
            .is_some_and(|s| s.style == Style::Plain && !s.tagged);
        if plain && key.as_text() == Some("<<") {
            merge(key.span(), value, &mut merged, problems);
            continue;
        }
        if key
            .as_scalar()
            .is_some_and(|s| s.style == Style::Plain && s.text.is_empty())
        {
            problems.push(
                Problem::error(
                    "config-key-not-text",
                    key.start..key.start + 1,
                    "a key is missing",
                )
                .hint("write it before the `:`"),
            );
            continue;
        }
        if key.start >= start && key_is_broken(source.full(), &key.span()) {
            let message = "a key and its `:` must stand on one line";
            problems.push(Problem::error("config-yaml-syntax", key.span(), message));
        }
        let Some(text) = key.key_text() else {
            problems.push(
                Problem::error("config-key-not-text", key.span(), "a key must be text")
                    .hint("write a plain word before the `:`"),
            );
            continue;
        };
        if let Some(line) = seen.get(&text) {
            problems.push(
                Problem::error(
                    "config-duplicate-key",
                    key.span(),
                    format!("the key {} is given twice", quote(&text)),
                )
                .hint(format!("the first is in line {line}; remove one of them")),
            );
        } else {
            seen.insert(text, source.position(key.start).0);
        }
        own.push((key, value));
    }
    if merged.is_empty() {
        return own;
    }
    // Keys of the mapping itself win over merged ones, earlier merges over later ones.
    let mut taken: HashSet<String> = seen.into_keys().collect();
    let mut all = Vec::new();
    for pair in merged.into_iter().flatten() {
        if pair.0.key_text().is_some_and(|text| taken.insert(text)) {
            all.push(pair);
        }
    }
    all.extend(own);
    all
}

/// The mappings that a merge key brings in.
fn merge(
    key: Range<usize>,
    value: Node,
    merged: &mut Vec<Vec<(Node, Node)>>,
    problems: &mut Vec<Problem>,
) {
    let wrong = |span: Range<usize>, kind: &str| {
        Problem::error(
            "config-bad-merge",
            span,
            format!("`<<` merges a mapping or a list of mappings, not {kind}"),
        )
    };
    match value.value {
        Value::Mapping(pairs) => merged.push(pairs),
        Value::Sequence(items) => {
            for item in items {
                let (span, kind) = (item.span(), item.kind());
                match item.value {
                    Value::Mapping(pairs) => merged.push(pairs),
                    _ => problems.push(wrong(span, kind)),
                }
            }
        }
        Value::Scalar(_) => problems.push(wrong(key, value.kind())),
    }
}
