//! Owns what is judged on a config file's text rather than its tree: encoding, tabs, the exact
//! place of a scalar, and the wording of syntax errors.

use std::ops::Range;

use super::{
    diagnostic::printable,
    source::{Problem, Source},
    yaml::{MAX_DEPTH, Style},
};

/// Places reported for one kind of lexical error.
const MOST: usize = 20;

/// From character counts, which the parser gives, to bytes.
pub(crate) struct Offsets<'a> {
    text: &'a str,
    /// Byte offset of every 64th character; empty for ASCII text.
    steps: Vec<usize>,
}

impl<'a> Offsets<'a> {
    const STEP: usize = 64;

    pub(crate) fn new(text: &'a str) -> Self {
        let steps = if text.is_ascii() {
            Vec::new()
        } else {
            text.char_indices()
                .step_by(Self::STEP)
                .map(|(at, _)| at)
                .collect()
        };
        Self { text, steps }
    }

    /// Byte offset of the character with this index, at most the text's length.
    pub(crate) fn byte(&self, index: usize) -> usize {
        if self.steps.is_empty() {
            return index.min(self.text.len());
        }
        let Some(&from) = self.steps.get(index / Self::STEP) else {
            return self.text.len();
        };
        self.text[from..]
            .char_indices()
            .nth(index % Self::STEP)
            .map_or(self.text.len(), |(at, _)| from + at)
    }
}

/// Bytes that are not UTF-8, and characters that YAML does not allow.
pub(crate) fn check_encoding(bytes: &[u8], source: &Source<'_>) -> Vec<Problem> {
    if let Err(error) = std::str::from_utf8(bytes) {
        let at = error.valid_up_to();
        let hint = match bytes {
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "the file is UTF-16; save it as UTF-8",
            _ => "save the file as UTF-8",
        };
        let message = format!("byte {at} of the file is not UTF-8");
        return vec![Problem::error("config-not-utf8", at..at + 1, message).hint(hint)];
    }
    let allowed = |c: char| {
        matches!(c, '\t' | '\n' | '\r' | ' '..='~' | '\u{a0}'..='\u{2027}'
            | '\u{202a}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}' | '\u{10000}'..)
    };
    source
        .text()
        .char_indices()
        .filter(|&(_, c)| !allowed(c))
        .take(MOST)
        .map(|(at, c)| {
            let at = at + source.bom();
            let escape = match u32::from(c) {
                code @ ..=0xff => format!("\\x{code:02x}"),
                code => format!("\\u{code:04x}"),
            };
            Problem::error(
                "config-control-character",
                at..at + c.len_utf8(),
                format!("the character U+{:04X} may not stand in YAML", u32::from(c)),
            )
            .hint(format!(
                "remove it, or write it as {escape} in double quotes"
            ))
        })
        .collect()
}

/// Tabs outside quoted text, block text and comments, which `PyYAML` refuses everywhere.
/// `opaque` holds the quoted and the block scalars.
pub(crate) fn check_tabs(source: &Source<'_>, mut opaque: Vec<Range<usize>>) -> Vec<Problem> {
    let text = source.full();
    let raw = text.as_bytes();
    if !raw.contains(&b'\t') {
        return Vec::new();
    }
    opaque.sort_by_key(|r| (r.start, r.end));
    let mut opaque = opaque.into_iter().peekable();
    let mut problems = Vec::new();
    let mut at = source.bom();
    while at < raw.len() && problems.len() < MOST {
        while opaque.next_if(|r| r.end <= at).is_some() {}
        if let Some(span) = opaque.next_if(|r| r.contains(&at)) {
            at = span.end;
            continue;
        }
        let starts_word = at == source.bom() || matches!(raw[at - 1], b' ' | b'\t' | b'\n' | b'\r');
        match raw[at] {
            b'#' if starts_word => at = source.line_range(at).end.max(at + 1),
            b'\t' => {
                problems.push(tab(source, at));
                // One report a line.
                let end = source.line_range(at).end;
                at = opaque.peek().map_or(end, |r| end.min(r.start)).max(at + 1);
            }
            _ => at += 1,
        }
    }
    problems
}

fn tab(source: &Source<'_>, at: usize) -> Problem {
    let line = source.line_range(at);
    let run = source.full()[at..]
        .bytes()
        .take_while(|&b| b == b'\t')
        .count();
    let leading = source.full()[line.start..at]
        .bytes()
        .all(|b| b == b' ' || b == b'\t');
    let message = if leading {
        "a tab is used for indentation"
    } else {
        "a tab stands between values"
    };
    Problem::error("config-tab", at..at + run, message).hint("use spaces")
}

/// The first byte after anchors and tags, and after the blanks and comments that follow them.
pub(crate) fn skip_properties(text: &str, start: usize) -> usize {
    let raw = text.as_bytes();
    let mut at = start;
    while let Some(b'&' | b'!') = raw.get(at) {
        while raw.get(at).is_some_and(|b| !b.is_ascii_whitespace()) {
            at += 1;
        }
        loop {
            match raw.get(at) {
                Some(b) if b.is_ascii_whitespace() => at += 1,
                Some(b'#') => {
                    while raw.get(at).is_some_and(|b| !matches!(b, b'\n' | b'\r')) {
                        at += 1;
                    }
                }
                _ => break,
            }
        }
    }
    at
}

/// An anchor's name that `PyYAML` would end earlier, and so read differently.
pub(crate) fn bad_anchor(text: &str, start: usize) -> Option<Problem> {
    let rest = &text[start..skip_properties(text, start)];
    let at = rest.char_indices().find(|&(at, c)| {
        c == '&'
            && rest[..at]
                .chars()
                .next_back()
                .is_none_or(char::is_whitespace)
    })?;
    let name = rest[at.0 + 1..]
        .split(|c: char| c.is_whitespace() || matches!(c, ',' | '[' | ']' | '{' | '}'))
        .next()?;
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let span = start + at.0..start + at.0 + 1 + name.len();
    (!name.chars().all(fine)).then(|| {
        Problem::error(
            "config-bad-anchor",
            span,
            "an anchor holds letters, digits, `_` and `-`",
        )
        .hint("quote the value if the `&` is part of it")
    })
}

/// A plain scalar inside brackets that `PyYAML` refuses or reads differently.
pub(crate) fn bad_flow_plain(text: &str, span: &Range<usize>) -> Option<Problem> {
    let message = match text.chars().next()? {
        first @ ('>' | '|' | '@' | '`' | '%' | ':') => {
            format!("a plain value cannot start with `{first}`")
        }
        _ if text.contains('?') => "a plain value inside brackets cannot hold `?`".to_owned(),
        _ => return None,
    };
    Some(Problem::error("config-yaml-syntax", span.clone(), message).hint("quote the value"))
}

/// Whether a key spans lines, or its `:` stands on another line, without a `?` before it.
pub(crate) fn key_is_broken(text: &str, key: &Range<usize>) -> bool {
    let (Some(before), Some(after)) = (text.get(..key.start), text.get(key.end..)) else {
        return false;
    };
    let line = before.rsplit(['\n', '\r']).next().unwrap_or("");
    let rest = after.trim_start();
    let gap = &text[key.start..key.end + after.len() - rest.len()];
    rest.starts_with(':') && gap.contains(['\n', '\r']) && !line.contains('?')
}

/// A block's text without the line break that the parser adds where the file's last line has
/// none; `PyYAML` adds none.
pub(crate) fn without_added_break<'t>(source: &str, end: usize, text: &'t str) -> &'t str {
    let last = source.rsplit(['\n', '\r']).next().unwrap_or("");
    if end == source.len() && !last.trim().is_empty() {
        text.strip_suffix('\n').unwrap_or(text)
    } else {
        text
    }
}

/// The exact place of a scalar. The parser's own range takes in tags, anchors, and blanks behind
/// a closing quote.
pub(crate) fn scalar_span(
    text: &str,
    span: &Range<usize>,
    style: Style,
    empty: bool,
) -> Range<usize> {
    if empty && style == Style::Plain {
        return span.clone();
    }
    let start = skip_properties(text, span.start).min(span.end.max(span.start));
    let end = match style {
        Style::Single | Style::Double => closing_quote(text, start).unwrap_or(span.end),
        Style::Plain | Style::Block => {
            let slice = text.get(start..span.end).unwrap_or("");
            start + slice.trim_end().len()
        }
    };
    start..end.max(start)
}

/// The offset after the quote that closes the one at `start`.
fn closing_quote(text: &str, start: usize) -> Option<usize> {
    let raw = text.as_bytes();
    let quote = *raw.get(start)?;
    let mut at = start + 1;
    loop {
        match *raw.get(at)? {
            b'\\' if quote == b'"' => at += 2,
            b if b == quote => {
                if quote == b'\'' && raw.get(at + 1) == Some(&b'\'') {
                    at += 2;
                } else {
                    return Some(at + 1);
                }
            }
            _ => at += 1,
        }
    }
}

/// Nesting beyond the budget; the parser has a limit of its own, reached on one line.
pub(crate) fn too_deep(span: Range<usize>) -> Problem {
    let message = format!("the file nests deeper than {MAX_DEPTH} levels");
    Problem::error("config-too-deep", span, message)
}

/// A syntax error in our words.
pub(crate) fn syntax_problem(source: &Source<'_>, at: usize, info: &str) -> Problem {
    let error = |message: &str| Problem::error("config-yaml-syntax", at..at + 1, message);
    let text = source.full();
    if let Some(tab_at) = blamed_tab(source, at).filter(|_| !info.contains("quoted")) {
        return tab(source, tab_at);
    }
    if info.contains("recursion limit") {
        return too_deep(at..at + 1);
    }
    if info.contains("unknown anchor") {
        let name: String = text
            .get(at..)
            .unwrap_or("")
            .chars()
            .take_while(|c| !c.is_whitespace() && !matches!(c, ',' | ']' | '}'))
            .take(60)
            .map(printable)
            .collect();
        return Problem::error(
            "config-unknown-anchor",
            at..at + name.len().max(1),
            "this alias names no anchor above it",
        )
        .hint(format!(
            "define it first, as &{}",
            name.trim_start_matches('*')
        ));
    }
    if info.contains("illegal placement of ':'") {
        return error("a `:` is not expected here")
            .hint("check that every `[` and `{` above is closed");
    }
    if info.contains("mapping values are not allowed") || info.contains("':' must be followed") {
        return error("a `:` is not expected here")
            .hint("check the indentation, or quote the value if the `:` is part of it");
    }
    if info.contains("unexpected end of stream") {
        return error("this quote is never closed").hint("add the closing quote");
    }
    if info.contains("indentation in quoted") {
        return error("this quote is not closed, or its next line is not indented")
            .hint("add the closing quote");
    }
    if info.contains("escape") {
        return error("unknown escape in double-quoted text")
            .hint("double the backslash, or use single quotes");
    }
    if info.starts_with("unexpected character") {
        let shown = text
            .get(at..)
            .and_then(|t| t.chars().next())
            .map_or(' ', printable);
        return error(&format!("a plain value cannot start with `{shown}`"))
            .hint("quote the value");
    }
    if info.contains("block scalar") && text.get(at..).is_some_and(|t| t.starts_with(['>', '|'])) {
        return error("a plain value cannot start with `>` or `|`").hint("quote the value");
    }
    if info.contains("simple key expect") || info.contains("did not find expected key") {
        return error("expected `key: value`");
    }
    if info.contains("flow sequence") || info.contains("flow mapping") {
        return error("expected a `,` or the closing bracket of this list or mapping");
    }
    // What the parser says after its "while parsing ..., " is the part for people.
    let brief = info
        .rsplit_once("while ")
        .and_then(|(_, rest)| rest.split_once(", "));
    let brief = brief.map_or(info, |(_, brief)| brief);
    error(&format!(
        "not valid YAML: {}",
        brief.chars().map(printable).collect::<String>()
    ))
}

/// A tab in the indentation of the line of a syntax error, or of the line before it.
fn blamed_tab(source: &Source<'_>, at: usize) -> Option<usize> {
    let text = source.full();
    let line = source.line_range(at);
    let before = line.start.checked_sub(1).map(|p| source.line_range(p));
    let in_indent = |range: Range<usize>| {
        let body = text.get(range.clone())?;
        let indent = &body[..body.len() - body.trim_start_matches([' ', '\t']).len()];
        indent.find('\t').map(|tab| range.start + tab)
    };
    let direct = text
        .get(line.start..=at)
        .or_else(|| text.get(line.start..at));
    let nearby = direct.and_then(|s| {
        let near = s.trim_end_matches(|c| c != '\t').len();
        (near > 0 && near + 2 >= s.len()).then(|| line.start + near - 1)
    });
    in_indent(line).or(nearby).or_else(|| in_indent(before?))
}
