//! Owns [`Text`]: where the values of a YAML file begin and end as written, aliases, merges and
//! empty values included, which a tree does not say.

use std::ops::Range;

use super::emit::Layout;
use crate::config::{
    source::Source,
    yaml::{Node, Value},
};

/// A file's text, asked about places.
pub(super) struct Text<'t> {
    source: &'t Source<'t>,
}

impl<'t> Text<'t> {
    pub(super) fn new(source: &'t Source<'t>) -> Self {
        Self { source }
    }

    pub(super) fn of(&self, range: Range<usize>) -> &str {
        self.source.full().get(range).unwrap_or_default()
    }

    pub(super) fn line_start(&self, at: usize) -> usize {
        self.source.line_range(at).start
    }

    /// The end of a line, before its break.
    pub(super) fn line_end(&self, at: usize) -> usize {
        self.source.line_range(at).end.max(at)
    }

    /// The start of the line after.
    pub(super) fn next_line(&self, at: usize) -> usize {
        let end = self.line_end(at);
        let rest = self.of(end..self.source.full().len());
        let gap = if rest.starts_with("\r\n") {
            2
        } else {
            usize::from(!rest.is_empty())
        };
        end + gap
    }

    /// Where a node begins as written: of a list in a block that is its first dash.
    pub(super) fn start(&self, node: &Node) -> usize {
        let first = node.as_sequence().and_then(<[Node]>::first);
        let Some(first) = first.filter(|_| !self.is_flow(node)) else {
            return node.start;
        };
        let line = self.line_start(first.start);
        let dash = self.of(line..first.start).rfind("- ");
        dash.map_or(node.start, |dash| line + dash)
    }

    /// Bytes before it on its line: in front of a block there are spaces and dashes only.
    pub(super) fn column(&self, at: usize) -> usize {
        at - self.line_start(at)
    }

    /// Whether a collection is written in brackets.
    pub(super) fn is_flow(&self, node: &Node) -> bool {
        let collection = match &node.value {
            Value::Scalar(_) => false,
            Value::Mapping(_) => true,
            // A list that stands as far out as its key begins at its first item.
            Value::Sequence(items) => items.first().is_none_or(|item| item.start != node.start),
        };
        collection && self.of(node.start..node.start + 1).starts_with(['{', '['])
    }

    /// The pairs of a mapping that stand in it, in the file's order: not those merged in.
    pub(super) fn own_pairs<'n>(&self, node: &'n Node) -> Vec<&'n (Node, Node)> {
        let end = if self.is_flow(node) {
            node.end
        } else {
            self.block_end(node)
        };
        let pairs = node.as_mapping().unwrap_or_default().iter();
        pairs
            .filter(|(key, _)| (node.start..end).contains(&key.start))
            .collect()
    }

    /// Whether every item of a list stands in it: no alias among them.
    pub(super) fn own_items(node: &Node) -> bool {
        let mut after = node.start;
        node.as_sequence().unwrap_or_default().iter().all(|item| {
            let own = item.start >= after;
            after = item.end;
            own
        })
    }

    /// The offset after the colon of a key.
    pub(super) fn after_colon(&self, key: &Node) -> Option<usize> {
        let rest = self.of(key.end..self.source.full().len());
        let gap = rest.len() - rest.trim_start_matches([' ', '\t']).len();
        rest[gap..].starts_with(':').then_some(key.end + gap + 1)
    }

    /// Whether a value stands where its key is; an alias is a copy of what stands elsewhere.
    pub(super) fn is_home(&self, node: &Node, after: usize) -> bool {
        let rest = self.of(after..self.source.full().len());
        node.start >= after || (node.span().is_empty() && !rest.trim_start().starts_with('*'))
    }

    /// The bytes of a value as written after its key's colon: an alias's own, a block's header
    /// included; empty when nothing is written.
    pub(super) fn value(&self, node: &Node, after: usize, home: bool) -> Option<Range<usize>> {
        let rest = self.of(after..self.source.full().len());
        if home && node.span().is_empty() {
            return Some(after..after);
        }
        if home
            && !matches!(&node.value, Value::Scalar(scalar)
            if scalar.style == crate::config::node::Style::Block)
        {
            return Some(node.start..self.end(node));
        }
        let gap = rest.len() - rest.trim_start().len();
        let token = &rest[gap..];
        if home {
            return token
                .starts_with(['|', '>', '&', '!'])
                .then(|| after + gap..node.end);
        }
        let end = token.find(|c: char| c.is_whitespace() || matches!(c, ',' | ']' | '}'));
        let end = end.unwrap_or(token.len());
        token
            .starts_with('*')
            .then(|| after + gap..after + gap + end)
    }

    /// The end of a pair as written.
    pub(super) fn pair_end(&self, key: &Node, value: &Node) -> Option<usize> {
        let after = self.after_colon(key)?;
        let home = self.is_home(value, after);
        Some(self.value(value, after, home)?.end.max(after))
    }

    /// The end of a node as written where it stands.
    pub(super) fn end(&self, node: &Node) -> usize {
        match &node.value {
            Value::Scalar(_) => node.end,
            _ if self.is_flow(node) => node.end,
            Value::Mapping(_) => {
                let pairs = self.own_pairs(node);
                let ends = pairs
                    .iter()
                    .filter_map(|(key, value)| self.pair_end(key, value));
                ends.max().unwrap_or(node.start).max(self.block_end(node))
            }
            Value::Sequence(items) => {
                let own = items.iter().filter(|item| item.start >= node.start);
                let ends = own.map(|item| self.end(item));
                ends.max().unwrap_or(node.start).max(self.block_end(node))
            }
        }
    }

    /// The end of a block by its indentation: the last line that stands at its column or deeper.
    fn block_end(&self, node: &Node) -> usize {
        let start = self.start(node);
        let column = self.column(start);
        let dashes = node.as_sequence().is_some();
        let mut end = self.content_end(start);
        let mut at = self.next_line(start);
        let size = self.source.full().len();
        while at < size {
            let line = self.of(at..self.line_end(at));
            let body = line.trim_start_matches(' ');
            let indent = line.len() - body.len();
            let next = self.next_line(at);
            if body.trim().is_empty() || body.starts_with('#') {
                if next <= at {
                    break;
                }
                at = next;
                continue;
            }
            let marker = indent == 0 && (body.starts_with("---") || body.starts_with("..."));
            let inside =
                indent > column || (indent == column && (!dashes || body.starts_with('-')));
            if marker || !inside {
                break;
            }
            end = self.content_end(at);
            if next <= at {
                break;
            }
            at = next;
        }
        end
    }

    /// The end of a line's text, without blanks behind it.
    fn content_end(&self, at: usize) -> usize {
        at + self.of(at..self.line_end(at)).trim_end().len()
    }

    /// How the file is laid out, by its first example of each.
    pub(super) fn layout(&self, root: &Node) -> Layout {
        let full = self.source.full();
        let newline = match full.find('\n') {
            Some(at) if full[..at].ends_with('\r') => "\r\n",
            _ => "\n",
        };
        let mut layout = Layout {
            newline,
            step: 0,
            dash: usize::MAX,
        };
        self.examples(root, &mut layout);
        if layout.step == 0 {
            layout.step = 2;
        }
        if layout.dash == usize::MAX {
            layout.dash = 2;
        }
        layout
    }

    fn examples(&self, node: &Node, layout: &mut Layout) {
        if self.is_flow(node) {
            return;
        }
        for (key, value) in node.as_mapping().unwrap_or_default() {
            let apart = self.line_start(value.start) > self.line_start(key.start);
            if value.start < key.end || !apart || self.is_flow(value) {
                continue;
            }
            let deeper = self
                .column(self.start(value))
                .saturating_sub(self.column(key.start));
            match &value.value {
                Value::Mapping(_) if layout.step == 0 => layout.step = deeper,
                Value::Sequence(_) if layout.dash == usize::MAX => layout.dash = deeper,
                _ => {}
            }
            self.examples(value, layout);
        }
        for item in node.as_sequence().unwrap_or_default() {
            self.examples(item, layout);
        }
    }
}
