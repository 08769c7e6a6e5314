//! Owns the YAML tree that keeps every node's place in the file, built from parser events under
//! budgets that are checked before anything is expanded. Reads what `PyYAML`'s `safe_load` reads.

use std::{collections::HashMap, ops::Range};

pub use super::node::{Node, Scalar, Style, Value};

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};

use super::{
    diagnostic::{quote, short},
    lexical,
    merge::pairs,
    scalar::{self, Plain},
    source::{Problem, SECRET_KEYS, Source},
};

/// Largest file, in bytes.
pub const MAX_BYTES: usize = 1 << 20;
/// Most nodes, aliases expanded.
pub const MAX_NODES: usize = 100_000;
/// Deepest nesting, aliases expanded.
pub const MAX_DEPTH: usize = 64;
/// Most aliases.
pub const MAX_ALIASES: usize = 100;
/// Most text, aliases expanded, in bytes.
const MAX_EXPANDED: usize = 8 << 20;

/// A file read as YAML.
pub struct Document<'a> {
    /// Its text and lines.
    pub source: Source<'a>,
    /// The tree, unless the file could not be read as YAML or is empty.
    pub root: Option<Node>,
    /// What is wrong with it.
    pub problems: Vec<Problem>,
    /// Byte ranges of values that must not be shown, sorted.
    pub secrets: Vec<Range<usize>>,
}

/// Reads a file as one YAML document.
pub fn parse<'a>(bytes: &'a [u8], file: &str) -> Document<'a> {
    if bytes.len() > MAX_BYTES {
        let problem = Problem::error(
            "config-too-large",
            0..0,
            format!(
                "the file has {} bytes; the limit is {MAX_BYTES}",
                bytes.len()
            ),
        );
        return Document {
            source: Source::new(&[], file),
            root: None,
            problems: vec![problem],
            secrets: Vec::new(),
        };
    }
    let source = Source::new(bytes, file);
    let mut problems = lexical::check_encoding(bytes, &source);
    let mut root = None;
    if problems.is_empty() {
        match Builder::new(&source).build(&mut problems) {
            Ok(node) => root = node,
            Err(problem) => problems.push(problem),
        }
    }
    let mut secrets = Vec::new();
    if let Some(root) = &root {
        let mut walk = Walk {
            text: source.full(),
            problems: Vec::new(),
            secrets: Vec::new(),
            opaque: Vec::new(),
        };
        walk.node(root, false);
        problems.extend(walk.problems);
        problems.extend(lexical::check_tabs(&source, walk.opaque));
        secrets = walk.secrets;
        secrets.sort_by_key(|r| (r.start, r.end));
        secrets.dedup();
    } else {
        secrets.extend(source.guess_secrets());
    }
    Document {
        source,
        root,
        problems,
        secrets,
    }
}

/// A finished node and what it costs.
#[derive(Clone)]
struct Built {
    node: Node,
    nodes: usize,
    bytes: usize,
    height: usize,
}

/// A collection whose end has not come yet.
struct Frame {
    span: Range<usize>,
    anchor: usize,
    mapping: bool,
    /// Inside brackets.
    flow: bool,
    items: Vec<Node>,
    nodes: usize,
    bytes: usize,
    height: usize,
}

struct Builder<'s> {
    source: &'s Source<'s>,
    offsets: lexical::Offsets<'s>,
    frames: Vec<Frame>,
    /// Anchored nodes; `None` while the node is being read.
    anchors: HashMap<usize, Option<Built>>,
    aliases: usize,
    nodes: usize,
    bytes: usize,
}

impl<'s> Builder<'s> {
    fn new(source: &'s Source<'s>) -> Self {
        Self {
            source,
            offsets: lexical::Offsets::new(source.text()),
            frames: Vec::new(),
            anchors: HashMap::new(),
            aliases: 0,
            nodes: 0,
            bytes: 0,
        }
    }

    /// The tree; `None` when the file holds no document and a problem was added.
    fn build(mut self, problems: &mut Vec<Problem>) -> Result<Option<Node>, Problem> {
        let mut parser = Parser::new_from_str(self.source.text());
        let mut root = None;
        let mut documents = 0;
        while let Some(next) = parser.next_event() {
            let (event, mark) = next.map_err(|error| {
                let at = self.offsets.byte(error.marker().index()) + self.source.bom();
                lexical::syntax_problem(self.source, at, error.info())
            })?;
            let span = self.offsets.byte(mark.start.index()) + self.source.bom()
                ..self.offsets.byte(mark.end.index()) + self.source.bom();
            let built = match event {
                Event::DocumentStart(_) => {
                    documents += 1;
                    if documents > 1 {
                        return Err(Problem::error(
                            "config-several-documents",
                            span,
                            "the file holds a second YAML document",
                        )
                        .hint("keep one document and remove the `---` line"));
                    }
                    None
                }
                Event::SequenceStart(anchor, tag) => {
                    self.open(span, anchor, tag.as_deref(), false, problems)?;
                    None
                }
                Event::MappingStart(anchor, tag) => {
                    self.open(span, anchor, tag.as_deref(), true, problems)?;
                    None
                }
                Event::SequenceEnd | Event::MappingEnd => self.close(&span, problems),
                Event::Scalar(text, style, anchor, tag) => {
                    if anchor > 0 {
                        problems.extend(lexical::bad_anchor(self.source.full(), span.start));
                    }
                    let built = self.scalar(&text, style, span, tag.as_deref(), problems)?;
                    self.remember(anchor, &built)?;
                    Some(built)
                }
                Event::Alias(id) => Some(self.alias(id, &span)?),
                _ => None,
            };
            if let Some(built) = built {
                match self.frames.last_mut() {
                    Some(frame) => {
                        frame.nodes += built.nodes;
                        frame.bytes += built.bytes;
                        frame.height = frame.height.max(built.height);
                        frame.items.push(built.node);
                    }
                    None => root = Some(built.node),
                }
            }
        }
        if documents == 0
            || root
                .as_ref()
                .is_some_and(|r| r.is_null() && r.start == r.end)
        {
            problems.push(Problem::error(
                "config-empty",
                self.source.bom()..self.source.bom(),
                "the file is empty",
            ));
            return Ok(None);
        }
        Ok(root)
    }

    fn node(&self, value: Value, span: Range<usize>) -> Node {
        let (line, column) = self.source.position(span.start);
        Node {
            value,
            start: span.start,
            end: span.end,
            line,
            column,
        }
    }

    /// Counts nodes and text against the budget.
    fn spend(&mut self, nodes: usize, bytes: usize, span: &Range<usize>) -> Result<(), Problem> {
        self.nodes += nodes;
        self.bytes += bytes;
        if self.nodes > MAX_NODES || self.bytes > MAX_EXPANDED {
            return Err(if self.aliases > 0 {
                Problem::error(
                    "config-alias-bomb",
                    span.clone(),
                    "the aliases of this file expand to more than a config may hold",
                )
                .hint("write the values out instead of nesting aliases")
            } else {
                Problem::error(
                    "config-too-many-nodes",
                    span.clone(),
                    format!("the file holds more than {MAX_NODES} values"),
                )
            });
        }
        Ok(())
    }

    fn depth(&self, height: usize, span: &Range<usize>) -> Result<(), Problem> {
        if self.frames.len() + height > MAX_DEPTH {
            return Err(lexical::too_deep(span.clone()));
        }
        Ok(())
    }

    fn open(
        &mut self,
        span: Range<usize>,
        anchor: usize,
        tag: Option<&Tag>,
        mapping: bool,
        problems: &mut Vec<Problem>,
    ) -> Result<(), Problem> {
        self.depth(1, &span)?;
        self.spend(1, 0, &span)?;
        let expected = if mapping { "map" } else { "seq" };
        if let Some(tag) = tag
            && core(tag) != Some(expected)
        {
            problems.push(unknown_tag(tag, span.clone()));
        }
        if anchor > 0 {
            problems.extend(lexical::bad_anchor(self.source.full(), span.start));
            self.anchors.insert(anchor, None);
        }
        let start = lexical::skip_properties(self.source.full(), span.start);
        let start = if start < span.end || span.is_empty() {
            start
        } else {
            span.start
        };
        let bracket = !span.is_empty()
            && self
                .source
                .full()
                .get(..span.end)
                .is_some_and(|s| s.ends_with(['[', '{']));
        let flow = bracket || self.frames.last().is_some_and(|frame| frame.flow);
        self.frames.push(Frame {
            flow,
            span: start..span.end.max(start),
            anchor,
            mapping,
            items: Vec::new(),
            nodes: 1,
            bytes: 0,
            height: 0,
        });
        Ok(())
    }

    fn close(&mut self, mark: &Range<usize>, problems: &mut Vec<Problem>) -> Option<Built> {
        let frame = self.frames.pop()?;
        // A flow collection ends after its bracket, a block one after its last item.
        let last = frame.items.last().map_or(frame.span.end, |n| n.end);
        let end = if mark.is_empty() { last } else { mark.end };
        let span = frame.span.start..end.max(frame.span.start);
        let value = if frame.mapping {
            Value::Mapping(pairs(frame.items, frame.span.start, self.source, problems))
        } else {
            Value::Sequence(frame.items)
        };
        let built = Built {
            node: self.node(value, span),
            nodes: frame.nodes,
            bytes: frame.bytes,
            height: frame.height + 1,
        };
        if frame.anchor > 0 {
            // Within the budget: `remember` counts the copy, and a refusal comes with the next
            // node at the latest.
            if let Err(problem) = self.remember(frame.anchor, &built) {
                problems.push(problem);
            }
        }
        Some(built)
    }

    fn remember(&mut self, anchor: usize, built: &Built) -> Result<(), Problem> {
        if anchor > 0 {
            self.spend(built.nodes, built.bytes, &built.node.span())?;
            self.anchors.insert(anchor, Some(built.clone()));
        }
        Ok(())
    }

    fn alias(&mut self, id: usize, span: &Range<usize>) -> Result<Built, Problem> {
        self.aliases += 1;
        if self.aliases > MAX_ALIASES {
            return Err(Problem::error(
                "config-alias-bomb",
                span.clone(),
                format!("the file uses more than {MAX_ALIASES} aliases"),
            )
            .hint("write the values out"));
        }
        let Some(Some(target)) = self.anchors.get(&id) else {
            return Err(Problem::error(
                "config-alias-loop",
                span.clone(),
                "this alias stands inside the value that it names",
            ));
        };
        let (nodes, bytes, height) = (target.nodes, target.bytes, target.height);
        self.spend(nodes, bytes, span)?;
        self.depth(height, span)?;
        self.anchors.get(&id).cloned().flatten().ok_or_else(|| {
            Problem::error(
                "config-alias-loop",
                span.clone(),
                "this alias names nothing",
            )
        })
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        span: Range<usize>,
        tag: Option<&Tag>,
        problems: &mut Vec<Problem>,
    ) -> Result<Built, Problem> {
        self.spend(1, text.len(), &span)?;
        let style = match style {
            ScalarStyle::Plain => Style::Plain,
            ScalarStyle::SingleQuoted => Style::Single,
            ScalarStyle::DoubleQuoted => Style::Double,
            ScalarStyle::Literal | ScalarStyle::Folded => Style::Block,
        };
        let text = if style == Style::Block {
            lexical::without_added_break(self.source.full(), span.end, text)
        } else {
            text
        };
        let span = lexical::scalar_span(self.source.full(), &span, style, text.is_empty());
        if style == Style::Plain && self.frames.last().is_some_and(|frame| frame.flow) {
            problems.extend(lexical::bad_flow_plain(text, &span));
        }
        let plain = scalar::yaml11(text);
        let meaning = match tag {
            None if style == Style::Plain => plain,
            None => Plain::Text,
            Some(tag) => {
                let fits = match (core(tag), plain) {
                    (Some("str"), _) => Some(Plain::Text),
                    (Some("int"), Plain::Int(_) | Plain::BigInt)
                    | (Some("bool"), Plain::Bool(_))
                    | (Some("null"), Plain::Null)
                    | (Some("timestamp"), Plain::Timestamp)
                    | (Some("float"), Plain::Float(_)) => Some(plain),
                    (Some("float"), Plain::Int(value)) => Some(Plain::Float(value as f64)),
                    (Some("int" | "bool" | "null" | "timestamp" | "float"), _) => None,
                    _ => {
                        problems.push(unknown_tag(tag, span.clone()));
                        Some(Plain::Text)
                    }
                };
                fits.unwrap_or_else(|| {
                    problems.push(Problem::error(
                        "config-tag-mismatch",
                        span.clone(),
                        format!("the value does not fit its tag {}", quote(&show(tag))),
                    ));
                    Plain::Text
                })
            }
        };
        let scalar = Scalar {
            text: text.to_owned(),
            style,
            meaning,
            tagged: tag.is_some(),
        };
        let node = self.node(Value::Scalar(scalar), span);
        Ok(Built {
            node,
            nodes: 1,
            bytes: text.len(),
            height: 0,
        })
    }
}

/// The suffix of a tag of YAML itself, such as `str`.
fn core(tag: &Tag) -> Option<&str> {
    format!("{}{}", tag.handle, tag.suffix)
        .starts_with("tag:yaml.org,2002:")
        .then(|| tag.suffix.trim_start_matches("tag:yaml.org,2002:"))
}

fn show(tag: &Tag) -> String {
    match core(tag) {
        Some(name) => format!("!!{name}"),
        None => format!("{}{}", tag.handle, tag.suffix),
    }
}

/// A tag that is none of the plain types, the bare `!` among them: readers differ on it.
fn unknown_tag(tag: &Tag, span: Range<usize>) -> Problem {
    Problem::error(
        "config-unknown-tag",
        span,
        format!("the YAML tag {} is not supported", quote(&show(tag))),
    )
    .hint("remove the tag")
}

/// One walk over the finished tree: scalars that two YAML versions read differently, numbers that
/// JSON cannot hold, and where the secrets stand.
struct Walk<'s> {
    text: &'s str,
    problems: Vec<Problem>,
    secrets: Vec<Range<usize>>,
    /// Quoted and block scalars, where tabs and `#` are text.
    opaque: Vec<Range<usize>>,
}

impl Walk<'_> {
    /// Recursion is bounded by [`MAX_DEPTH`].
    fn node(&mut self, node: &Node, secret: bool) {
        match &node.value {
            Value::Sequence(items) => items.iter().for_each(|item| self.node(item, secret)),
            Value::Mapping(pairs) => {
                for (key, value) in pairs {
                    self.node(key, false);
                    let named = key
                        .as_text()
                        .is_some_and(|text| SECRET_KEYS.contains(&text));
                    self.node(value, secret || named);
                }
            }
            Value::Scalar(scalar) => {
                if secret && node.start < node.end {
                    self.secrets.push(node.span());
                }
                if scalar.style != Style::Plain {
                    // The blank lines that end a block are its own.
                    let rest = &self.text[node.end..];
                    let blank = rest.len() - rest.trim_start().len();
                    let more = if scalar.style == Style::Block {
                        blank
                    } else {
                        0
                    };
                    self.opaque.push(node.start..node.end + more);
                }
                self.scalar(node, scalar, secret);
            }
        }
    }

    fn scalar(&mut self, node: &Node, scalar: &Scalar, secret: bool) {
        let shown = if secret {
            "this value".to_owned()
        } else {
            quote(&scalar.text)
        };
        let finite = !matches!(scalar.meaning, Plain::Float(value) if !value.is_finite());
        if !finite || scalar.meaning == Plain::BigInt {
            let problem = Problem::error(
                "config-number-range",
                node.span(),
                format!("{shown} is a number that JSON cannot hold"),
            );
            self.problems.push(problem.hint("quote it if it is text"));
        } else if scalar.style == Style::Plain && !scalar.tagged && scalar::differs(&scalar.text) {
            let (now, other) = (scalar::yaml11(&scalar.text), scalar::yaml12(&scalar.text));
            let message = if secret {
                "this value is read differently by YAML 1.1 and YAML 1.2".to_owned()
            } else if now == Plain::Timestamp {
                format!("{shown} is kept as text, but PyYAML reads it as a date")
            } else {
                format!(
                    "{shown} is read as {}, in YAML 1.2 as {}",
                    now.describe(),
                    other.describe()
                )
            };
            let hint = match now {
                Plain::Bool(value) if !secret => {
                    format!("write {value}, or \"{}\" if text is meant", scalar.text)
                }
                _ if secret || now == Plain::Timestamp => "quote it".to_owned(),
                _ => format!("quote it if text is meant: \"{}\"", short(&scalar.text)),
            };
            self.problems
                .push(Problem::warning("config-ambiguous-scalar", node.span(), message).hint(hint));
        }
    }
}
