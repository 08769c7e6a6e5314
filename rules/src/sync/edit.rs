//! Owns [`edit`]: a YAML file made to say something else by changing as few bytes as that takes.
//!
//! One difference is mended at a time, and the file read again after each, so that every step is
//! checked against what the file then really says.

use std::{collections::HashSet, ops::Range};

use serde_json::{Map, Value as Json};

use super::{
    emit::{self, Layout},
    place::Text,
};
use crate::config::yaml::{self, Node, Style, Value};

/// Steps for each value of the file and of what it is to say; more lead nowhere.
const STEPS: usize = 3;

/// Why a file was not edited.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path} cannot be changed without touching anything else")]
pub struct Refused {
    /// The keys that lead there, with dots between.
    pub path: String,
    /// Offset in the file that was given.
    pub at: usize,
}

/// One change of bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Splice {
    pub(super) range: Range<usize>,
    pub(super) text: String,
}

/// Where a value stands.
#[derive(Clone, Copy)]
struct Spot<'a> {
    /// Offset after the colon of its key; the start of an item.
    after: usize,
    /// Column of its key, or of its dash.
    column: usize,
    /// Inside brackets.
    flow: bool,
    /// It is an item of a list.
    item: bool,
    path: &'a str,
}

/// The file with as few changes as make it read as `wanted`.
pub fn edit(bytes: &[u8], wanted: &Json) -> Result<Vec<u8>, Refused> {
    let mut bytes = bytes.to_vec();
    let whole = |at| Refused {
        path: "the file".to_owned(),
        at,
    };
    let mut layout = None;
    let mut last = whole(0);
    let mut seen = HashSet::new();
    let mut steps = None;
    let mut step = 0;
    loop {
        step += 1;
        let splice = {
            let document = yaml::parse(&bytes, "config.yaml");
            let Some(root) = &document.root else {
                return Err(last);
            };
            let now = root.to_json();
            if now == *wanted {
                return Ok(bytes);
            }
            let most = *steps.get_or_insert_with(|| STEPS * (size(&now) + size(wanted)));
            if step > most {
                return Err(last);
            }
            // A step that leads back to where we were leads nowhere.
            if !seen.insert(now.to_string()) {
                return Err(last);
            }
            let text = Text::new(&document.source);
            let layout = *layout.get_or_insert_with(|| text.layout(root));
            let flow = text.is_flow(root);
            let spot = Spot {
                after: root.start,
                column: 0,
                flow,
                item: false,
                path: "",
            };
            let editor = Editor {
                text: &text,
                layout,
            };
            let splice = editor.differ(root, wanted, spot)?;
            splice.ok_or_else(|| last.clone())?
        };
        last = Refused {
            path: last.path.clone(),
            at: splice.range.start,
        };
        bytes.splice(splice.range, splice.text.into_bytes());
    }
}

fn size(value: &Json) -> usize {
    1 + match value {
        Json::Object(map) => map.values().map(size).sum(),
        Json::Array(list) => list.iter().map(size).sum(),
        _ => 0,
    }
}

struct Editor<'t> {
    text: &'t Text<'t>,
    layout: Layout,
}

type Found = Result<Option<Splice>, Refused>;

impl Editor<'_> {
    fn refuse<T>(path: &str, at: usize) -> Result<T, Refused> {
        Err(Refused {
            path: path.to_owned(),
            at,
        })
    }

    /// The first change that brings `node` nearer to `wanted`.
    fn differ(&self, node: &Node, wanted: &Json, spot: Spot<'_>) -> Found {
        if node.to_json() == *wanted {
            return Ok(None);
        }
        // An alias stands for what is written elsewhere.
        let home = self.text.is_home(node, spot.after);
        match (&node.value, wanted) {
            (Value::Mapping(pairs), Json::Object(map))
                if home && !map.is_empty() && (spot.flow || !pairs.is_empty()) =>
            {
                self.mapping(node, map, spot)
            }
            (Value::Sequence(items), Json::Array(list))
                if home && !list.is_empty() && !items.is_empty() && Text::own_items(node) =>
            {
                self.sequence(node, items, list, spot)
            }
            (Value::Scalar(scalar), Json::Object(map))
                if home
                    && !spot.item
                    && scalar.style != Style::Block
                    && map.get("entrypoint").and_then(Json::as_str) == node.as_text()
                    && node.as_text().is_some() =>
            {
                Ok(Some(self.wrap(node, spot)))
            }
            _ => self.replace(node, wanted, spot, home).map(Some),
        }
    }

    fn mapping(&self, node: &Node, map: &Map<String, Json>, spot: Spot<'_>) -> Found {
        let flow = spot.flow || self.text.is_flow(node);
        let column = self.text.column(node.start);
        let pairs = node.as_mapping().unwrap_or_default();
        let own: Vec<&(Node, Node)> = self.text.own_pairs(node);
        let mut missing = Vec::new();
        for (key, wanted) in map {
            let path = join(spot.path, key);
            let matching = |pair: &&&(Node, Node)| pair.0.key_text().as_deref() == Some(key);
            if let Some((name, value)) = own.iter().find(matching) {
                let Some(after) = self.text.after_colon(name) else {
                    return Self::refuse(&path, name.start);
                };
                let spot = Spot {
                    after,
                    column,
                    flow,
                    item: false,
                    path: &path,
                };
                if let Some(splice) = self.differ(value, wanted, spot)? {
                    return Ok(Some(splice));
                }
                continue;
            }
            let merged = pairs
                .iter()
                .find(|(name, _)| name.key_text().as_deref() == Some(key));
            if merged.is_none_or(|(_, value)| value.to_json() != *wanted) {
                missing.push((key.as_str(), wanted));
            }
        }
        // What comes before what goes: a mapping is never left empty.
        if let Some((key, value)) = missing.first() {
            return self
                .insert_pair(node, &own, (key, value), Spot { flow, ..spot })
                .map(Some);
        }
        for (at, (key, value)) in own.iter().enumerate() {
            let name = key.key_text().unwrap_or_default();
            if !map.contains_key(&name) {
                let next = own.get(at + 1).map(|(key, _)| key.start);
                let before = at.checked_sub(1).and_then(|at| own.get(at));
                let Some(end) = self.text.pair_end(key, value) else {
                    return Self::refuse(&join(spot.path, &name), key.start);
                };
                return Ok(Some(self.remove_pair(
                    key.start..end,
                    next,
                    before.copied(),
                    flow,
                )));
            }
        }
        // Merged pairs that should not be there cannot be taken out here.
        Self::refuse(spot.path, node.start)
    }

    fn insert_pair(
        &self,
        node: &Node,
        own: &[&(Node, Node)],
        (key, value): (&str, &Json),
        spot: Spot<'_>,
    ) -> Result<Splice, Refused> {
        let column = self.text.column(node.start);
        let last = own
            .last()
            .map(|(key, value)| self.text.pair_end(key, value));
        if spot.flow {
            let pair = format!("{}: {}", emit::text(key, true), emit::inside(value));
            let Some(last) = last else {
                let rest = self.text.of(node.start + 1..node.end.saturating_sub(1));
                let comma = if rest.trim().is_empty() { "" } else { ", " };
                return Ok(insert(node.start + 1, pair + comma));
            };
            let Some(at) = last else {
                return Self::refuse(&join(spot.path, key), node.start);
            };
            return Ok(insert(at, format!(", {pair}")));
        }
        let at = self.text.line_end(self.text.end(node));
        let lines = self.layout.pair(key, value, column);
        let text = format!("{}{}{lines}", self.layout.newline, " ".repeat(column));
        Ok(insert(at, text))
    }

    fn remove_pair(
        &self,
        pair: Range<usize>,
        next: Option<usize>,
        before: Option<&(Node, Node)>,
        flow: bool,
    ) -> Splice {
        let delete = |range| Splice {
            range,
            text: String::new(),
        };
        if flow {
            let before = before.and_then(|(key, value)| self.text.pair_end(key, value));
            return match (before, next) {
                (Some(before), _) => delete(before..pair.end),
                (None, Some(next)) => delete(pair.start..next),
                (None, None) => delete(pair),
            };
        }
        let line = self.text.line_start(pair.start);
        if self.text.of(line..pair.start).trim().is_empty() {
            return delete(line..self.text.next_line(pair.end));
        }
        // It shares its line with the dash of an item.
        match next {
            Some(next) => delete(pair.start..next),
            None => Splice {
                range: pair,
                text: "{}".to_owned(),
            },
        }
    }

    fn sequence(&self, node: &Node, items: &[Node], list: &[Json], spot: Spot<'_>) -> Found {
        let have: Vec<Json> = items.iter().map(Node::to_json).collect();
        let prefix = have.iter().zip(list).take_while(|(a, b)| a == b).count();
        let shorter = have.len().min(list.len()) - prefix;
        let ends = have.iter().rev().zip(list.iter().rev());
        let suffix = ends.take(shorter).take_while(|(a, b)| a == b).count();
        let old = &have[prefix..have.len() - suffix];
        let new = &list[prefix..list.len() - suffix];
        let name = |item: &Json| item.get("name").cloned();
        let there = |item: &Json, others: &[Json]| {
            name(item)
                .is_some_and(|own| others.iter().any(|other| name(other) == Some(own.clone())))
        };
        let path = format!("{}.{prefix}", spot.path);
        match (old.first(), new.first()) {
            (None, None) => Self::refuse(spot.path, node.start),
            (None, Some(item)) => self.insert_item(node, items, prefix, item, &path).map(Some),
            (Some(_), None) => self.remove_item(node, items, prefix, &path).map(Some),
            (Some(_), Some(item)) if new.len() > old.len() && !there(item, old) => {
                self.insert_item(node, items, prefix, item, &path).map(Some)
            }
            (Some(item), Some(_)) if old.len() > new.len() && !there(item, new) => {
                self.remove_item(node, items, prefix, &path).map(Some)
            }
            (Some(_), Some(item)) => {
                let own = &items[prefix];
                let flow = spot.flow || self.text.is_flow(node);
                let column = self.text.column(node.start);
                self.differ(
                    own,
                    item,
                    Spot {
                        after: own.start,
                        column,
                        flow,
                        item: true,
                        path: &path,
                    },
                )
            }
        }
    }

    fn insert_item(
        &self,
        node: &Node,
        items: &[Node],
        at: usize,
        item: &Json,
        path: &str,
    ) -> Result<Splice, Refused> {
        let before = at.checked_sub(1).and_then(|at| items.get(at));
        if self.text.is_flow(node) {
            let item = emit::inside(item);
            return Ok(match before {
                Some(before) => insert(self.text.end(before), format!(", {item}")),
                None => insert(node.start + 1, format!("{item}, ")),
            });
        }
        let start = self.text.start(node);
        let column = self.text.column(start);
        let line = format!(
            "{}- {}",
            " ".repeat(column),
            self.layout.block(item, column + 2)
        );
        let newline = self.layout.newline;
        if let Some(before) = before {
            let at = self.text.line_end(self.text.end(before));
            return Ok(insert(at, format!("{newline}{line}")));
        }
        let first = self.text.line_start(start);
        if !self.text.of(first..start).trim().is_empty() {
            return Self::refuse(path, node.start);
        }
        Ok(insert(first, format!("{line}{newline}")))
    }

    fn remove_item(
        &self,
        node: &Node,
        items: &[Node],
        at: usize,
        path: &str,
    ) -> Result<Splice, Refused> {
        let item = &items[at];
        let end = self.text.end(item);
        let delete = |range| Splice {
            range,
            text: String::new(),
        };
        if self.text.is_flow(node) {
            return match (
                at.checked_sub(1).and_then(|at| items.get(at)),
                items.get(at + 1),
            ) {
                (Some(before), _) => Ok(delete(self.text.end(before)..end)),
                (None, Some(next)) => Ok(delete(item.start..next.start)),
                (None, None) => Self::refuse(path, item.start),
            };
        }
        let line = self.text.line_start(item.start);
        let lead = self.text.of(line..item.start);
        let dash = lead.len() - lead.trim_start().len();
        if !lead.trim_start().starts_with('-') || dash != self.text.column(self.text.start(node)) {
            return Self::refuse(path, item.start);
        }
        Ok(delete(line..self.text.next_line(end)))
    }

    /// A bare entrypoint becomes a mapping that holds it, its spelling and comment kept.
    fn wrap(&self, node: &Node, spot: Spot<'_>) -> Splice {
        if spot.flow {
            let text = format!("{{entrypoint: {}}}", self.text.of(node.span()));
            return Splice {
                range: node.span(),
                text,
            };
        }
        let indent = " ".repeat(spot.column + self.layout.step);
        let text = format!("{}{indent}entrypoint: ", self.layout.newline);
        Splice {
            range: spot.after..node.start,
            text,
        }
    }

    fn replace(
        &self,
        node: &Node,
        wanted: &Json,
        spot: Spot<'_>,
        home: bool,
    ) -> Result<Splice, Refused> {
        let many = match wanted {
            Json::Object(map) => !map.is_empty(),
            Json::Array(list) => !list.is_empty(),
            _ => false,
        };
        if spot.item {
            let range = node.start..self.text.end(node);
            let column = self.text.column(node.start);
            let text = if spot.flow {
                emit::inside(wanted)
            } else {
                self.layout.block(wanted, column)
            };
            return Ok(Splice { range, text });
        }
        let Some(old) = self.text.value(node, spot.after, home) else {
            return Self::refuse(spot.path, spot.after);
        };
        if many && !spot.flow {
            let block = self.layout.value(wanted, spot.column);
            if self.text.of(spot.after..old.end).contains(['\n', '\r']) {
                return Ok(Splice {
                    range: spot.after..old.end,
                    text: block,
                });
            }
            // A comment stays on the line of its key.
            let end = self.text.line_end(old.end);
            let rest = self.text.of(old.end..end).trim();
            let gap = if rest.is_empty() { "" } else { " " };
            return Ok(Splice {
                range: spot.after..end,
                text: format!("{gap}{rest}{block}"),
            });
        }
        let text = match (wanted, node.as_scalar().filter(|_| home)) {
            (Json::String(new), Some(scalar)) if node.as_text().is_some() => {
                emit::text_like(new, scalar.style, spot.flow)
            }
            _ if spot.flow => emit::inside(wanted),
            _ => emit::inline(wanted),
        };
        if old.is_empty() {
            return Ok(insert(spot.after, format!(" {text}")));
        }
        // A block collection begins on a line of its own.
        let start = if self.text.of(spot.after..old.start).contains(['\n', '\r']) {
            return Ok(Splice {
                range: spot.after..old.end,
                text: format!(" {text}"),
            });
        } else {
            old.start
        };
        Ok(Splice {
            range: start..old.end,
            text,
        })
    }
}

fn insert(at: usize, text: String) -> Splice {
    Splice {
        range: at..at,
        text,
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}
