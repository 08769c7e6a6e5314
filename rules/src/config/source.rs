//! Owns [`Source`], a file's text with its lines, and the step from a [`Problem`] at byte offsets
//! to a [`Diagnostic`] that shows the line without its secrets.

use std::{borrow::Cow, ops::Range};

use super::diagnostic::{Diagnostic, Severity, printable};

/// Longest source line shown, in characters.
const SHOWN: usize = 120;
/// How much of a line is looked at on either side of a problem, in bytes.
const WINDOW: usize = 2000;
/// Problems reported for one file; a file with more is not a config file.
const MOST: usize = 100;
/// What stands for a secret.
const MASK: &str = "***";

/// Names of mappings whose values are secret, wherever they stand.
pub(crate) const SECRET_KEYS: [&str; 3] = ["env", "env_vars", "environment"];

/// A problem before its place is turned into lines and columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub(crate) severity: Severity,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    pub(crate) span: Range<usize>,
}

impl Problem {
    /// An error at a byte range.
    pub fn error(code: &'static str, span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            code,
            message: message.into(),
            hint: None,
            span,
        }
    }

    /// A warning at a byte range.
    pub fn warning(code: &'static str, span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(code, span, message)
        }
    }

    /// The same with a hint.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// A file's text and where its lines start. Offsets count from the file's first byte, the byte
/// order mark included.
pub struct Source<'a> {
    file: String,
    text: Cow<'a, str>,
    bom: usize,
    lines: Vec<usize>,
    /// Characters before every [`STEP`]th byte, so that a column in a huge line is found at once.
    steps: Vec<usize>,
}

/// Bytes between two counts of characters.
const STEP: usize = 256;

impl<'a> Source<'a> {
    /// The text of a file; bytes that are not UTF-8 become replacement characters.
    pub fn new(bytes: &'a [u8], file: &str) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let bom = if text.starts_with('\u{feff}') { 3 } else { 0 };
        let raw = text.as_bytes();
        let mut lines = vec![bom];
        for (at, &byte) in raw.iter().enumerate() {
            // A lone CR ends a line in YAML too.
            if byte == b'\n' || (byte == b'\r' && raw.get(at + 1) != Some(&b'\n')) {
                lines.push(at + 1);
            }
        }
        let mut steps = vec![0];
        for chunk in raw.chunks(STEP) {
            steps.push(steps.last().copied().unwrap_or(0) + characters(chunk));
        }
        Self {
            file: file.to_owned(),
            text,
            bom,
            lines,
            steps,
        }
    }

    /// The text, without byte order mark.
    pub fn text(&self) -> &str {
        &self.text[self.bom..]
    }

    /// The whole text; offsets index it.
    pub fn full(&self) -> &str {
        &self.text
    }

    /// Length of the byte order mark, 0 or 3.
    pub const fn bom(&self) -> usize {
        self.bom
    }

    /// Line and column, both from 1, of a byte offset.
    pub fn position(&self, offset: usize) -> (u32, u32) {
        let offset = self.floor(offset);
        let line = self.line_of(offset);
        let start = self.lines[line];
        let column = self.characters_before(offset) - self.characters_before(start);
        (line as u32 + 1, column as u32 + 1)
    }

    fn characters_before(&self, offset: usize) -> usize {
        let step = offset / STEP;
        self.steps[step] + characters(&self.text.as_bytes()[step * STEP..offset])
    }

    /// The byte range of the line (from 0) that holds `offset`, without its line break.
    pub(crate) fn line_range(&self, offset: usize) -> Range<usize> {
        let line = self.line_of(offset);
        let start = self.lines[line];
        let end = self
            .lines
            .get(line + 1)
            .map_or(self.text.len(), |&next| next);
        let body = self.text[start..end].trim_end_matches(['\r', '\n']);
        start..start + body.len()
    }

    fn line_of(&self, offset: usize) -> usize {
        self.lines
            .partition_point(|&start| start <= offset)
            .saturating_sub(1)
    }

    /// The nearest character boundary at or before `offset`, never before the text.
    fn floor(&self, offset: usize) -> usize {
        let mut at = offset.clamp(self.bom, self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        at
    }

    /// All problems as diagnostics, in file order, each once. `secrets` are sorted byte ranges.
    pub fn diagnose(
        &self,
        mut problems: Vec<Problem>,
        secrets: &[Range<usize>],
    ) -> Vec<Diagnostic> {
        problems.sort_by_key(|p| (p.span.start, p.severity, p.span.end));
        problems.dedup();
        let more = problems.len().saturating_sub(MOST);
        problems.truncate(MOST);
        let mut diagnostics: Vec<Diagnostic> = problems
            .into_iter()
            .map(|p| self.diagnostic(p, secrets))
            .collect();
        if more > 0
            && let Some(last) = diagnostics.last_mut()
        {
            last.hint = Some(format!(
                "{more} more problems are not shown; fix these first"
            ));
        }
        diagnostics
    }

    fn diagnostic(&self, problem: Problem, secrets: &[Range<usize>]) -> Diagnostic {
        let (line, column) = self.position(problem.span.start);
        let (source_line, caret, width) = self.excerpt(&problem.span, secrets);
        Diagnostic {
            severity: problem.severity,
            code: problem.code,
            message: problem.message,
            file: self.file.clone(),
            line,
            column,
            caret,
            width,
            source_line,
            hint: problem.hint,
        }
    }

    /// The line of a span: as shown, where the caret stands, how many carets.
    fn excerpt(&self, span: &Range<usize>, secrets: &[Range<usize>]) -> (String, u32, u32) {
        let start = self.floor(span.start);
        let line = self.line_range(start);
        let from = self.floor(start.saturating_sub(WINDOW)).max(line.start);
        let to = self.floor((start + WINDOW).min(line.end)).max(from);

        // Each shown character with the bytes that it stands for.
        let mut cells: Vec<(char, Range<usize>)> = Vec::new();
        let mut masked_to = 0;
        for (at, c) in self.text[from..to].char_indices() {
            let at = from + at;
            if at < masked_to {
                continue;
            }
            let next = secrets.partition_point(|secret| secret.end <= at);
            match secrets.get(next) {
                Some(secret) if secret.contains(&at) => {
                    masked_to = secret.end;
                    cells.extend(MASK.chars().map(|m| (m, at..secret.end)));
                }
                _ => cells.push((printable(c), at..at + c.len_utf8())),
            }
        }

        let caret = cells
            .iter()
            .position(|(_, r)| r.end > start)
            .unwrap_or(cells.len());
        let width = cells[caret..]
            .iter()
            .take_while(|(_, r)| r.start < span.end)
            .count()
            .max(1);
        let first = if caret > SHOWN * 2 / 3 {
            caret - SHOWN / 3
        } else {
            0
        };
        let last = cells.len().min(first + SHOWN);
        let cut_before = first > 0 || from > line.start;
        let cut_after = last < cells.len() || to < line.end;

        let mut shown = String::new();
        if cut_before {
            shown.push('…');
        }
        shown.extend(cells[first..last].iter().map(|(c, _)| *c));
        if cut_after {
            shown.push('…');
        } else {
            shown.truncate(shown.trim_end().len());
        }
        let caret = caret - first + usize::from(cut_before);
        let width = width.min(last.saturating_sub(first).max(1));
        (shown, caret as u32 + 1, width as u32)
    }

    /// Where secrets stand in a file that has no tree: judged by the indentation of lines under
    /// an `env` key. Masks too much rather than too little.
    pub(crate) fn guess_secrets(&self) -> Vec<Range<usize>> {
        let mut secrets = Vec::new();
        let mut inside: Option<usize> = None;
        for &start in &self.lines {
            let range = self.line_range(start);
            let line = &self.text[range.clone()];
            let body = line.trim_start();
            let indent = line.len() - body.len();
            if inside.is_some_and(|outer| !body.is_empty() && indent <= outer) {
                inside = None;
            }
            let value = if inside.is_some() {
                Some(body.find(':').map_or(0, |colon| colon + 1))
            } else {
                let found = secret_key(body);
                if found.is_some() {
                    inside = Some(indent);
                }
                found
            };
            if let Some(value) = value {
                let value = range.start + indent + value;
                let gap = self.text[value..range.end].len()
                    - self.text[value..range.end].trim_start().len();
                if value + gap < range.end {
                    secrets.push(value + gap..range.end);
                }
            }
        }
        secrets
    }
}

/// Characters that start in these bytes.
fn characters(bytes: &[u8]) -> usize {
    bytes.iter().filter(|&&b| b & 0xc0 != 0x80).count()
}

/// Where the value of an `env` key starts in a line, wherever on the line the key is.
fn secret_key(line: &str) -> Option<usize> {
    SECRET_KEYS
        .iter()
        .flat_map(|key| {
            line.match_indices(key)
                .map(move |(at, _)| (at, at + key.len()))
        })
        .filter_map(|(start, end)| {
            let before = line[..start].chars().next_back();
            let open = before.is_none_or(|c| !(c.is_alphanumeric() || c == '_' || c == '-'));
            let rest = line[end..].trim_start_matches(['"', '\'', ' ', '\t']);
            (open && rest.starts_with(':')).then(|| line.len() - rest.len() + 1)
        })
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(text: &str, span: Range<usize>, secrets: &[Range<usize>]) -> String {
        let source = Source::new(text.as_bytes(), "f");
        let problem = Problem::error("x", span, "m");
        source.diagnose(vec![problem], secrets)[0].render_plain()
    }

    #[test]
    fn positions_count_characters_and_all_line_breaks() {
        let source = Source::new("\u{feff}é: b\r\nc: d\re\n".as_bytes(), "f");
        assert_eq!(source.position(0), (1, 1));
        assert_eq!(source.position(3), (1, 1));
        assert_eq!(source.position(5), (1, 2));
        assert_eq!(source.position(10), (2, 1));
        assert_eq!(source.position(15), (3, 1));
        assert_eq!(source.position(999), (4, 1));
    }

    #[test]
    fn masks_secrets_whatever_the_caret_points_at() {
        let text = "env: {A: hunter2, B: x}";
        let shown = show(text, 18..19, &[9..16, 21..22]);
        assert!(
            shown.contains(" 1 | env: {A: ***, B: ***}\n   |               ^\n"),
            "{shown}"
        );
        let shown = show(text, 11..14, &[9..16, 21..22]);
        assert!(shown.contains("\n   |          ^^^\n"), "{shown}");
    }

    #[test]
    fn shortens_huge_lines_around_the_problem() {
        let text = format!("{}!{}", "a".repeat(50_000), "b".repeat(50_000));
        let shown = show(&text, 50_000..50_001, &[]);
        assert!(shown.len() < 600 && shown.contains("aa!bb"), "{shown}");
        let lines: Vec<&str> = shown.lines().collect();
        let at = |line: &str, c: char| line.chars().position(|x| x == c);
        assert_eq!(at(lines[3], '!'), at(lines[4], '^'));
    }

    #[test]
    fn guesses_secrets_without_a_tree() {
        let text = "a: 1\nenv:\n  K: s3cret\n\n  L: >\n    more\nb: 'env'\nc: {env: {X: y}}\n";
        let source = Source::new(text.as_bytes(), "f");
        let hidden: Vec<&str> = source
            .guess_secrets()
            .into_iter()
            .map(|r| &text[r])
            .collect();
        assert_eq!(hidden, ["s3cret", ">", "more", "{X: y}}"]);
    }
}
