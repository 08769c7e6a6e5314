//! Owns [`Diagnostic`], one problem of a file with its place and one hint, and the cleaning of
//! text that comes from files before a person sees it.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used, but is probably not what was meant.
    Warning,
}

impl Severity {
    /// `error` or `warning`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One problem of a file. Values under `env` never appear in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Stable kebab-case name, such as `config-unknown-category`.
    pub code: &'static str,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// The file as the caller named it.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in the file, in characters from 1.
    pub column: u32,
    /// Where the problem starts in `source_line`, in characters from 1. Differs from `column`
    /// when the line is shortened or a value is masked.
    pub caret: u32,
    /// Length of the problem in `source_line`, in characters, at least 1.
    pub width: u32,
    /// The line, shortened and printable, secrets masked; empty when there is none to show.
    pub source_line: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// `file:line:column`.
    pub fn location(&self) -> String {
        format!("{}:{}:{}", self.file, self.line, self.column)
    }

    /// Whether it is an error.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// Plain text over several lines, ending in a line break.
    pub fn render_plain(&self) -> String {
        let number = self.line.to_string();
        let gutter = " ".repeat(number.len());
        let mut text = format!(
            "{}: {}\n {gutter}--> {}\n",
            self.severity.as_str(),
            self.message,
            self.location()
        );
        if !self.source_line.is_empty() {
            let indent = " ".repeat(self.caret.saturating_sub(1) as usize);
            let carets = "^".repeat(self.width as usize);
            // Writing to a string cannot fail.
            let _ = writeln!(text, " {gutter} |");
            let _ = writeln!(text, " {number} | {}", self.source_line);
            let _ = writeln!(text, " {gutter} | {indent}{carets}");
        }
        if let Some(hint) = &self.hint {
            let _ = writeln!(text, "hint: {hint}");
        }
        text
    }
}

/// A character as it can safely be shown: controls, direction marks and the like get a stand-in.
pub fn printable(c: char) -> char {
    match c {
        '\t' => '→',
        '\0'..='\u{1f}' => char::from_u32(0x2400 + u32::from(c)).unwrap_or('\u{fffd}'),
        '\u{7f}' => '\u{2421}',
        '\u{80}'..='\u{9f}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{2069}'
        | '\u{feff}'
        | '\u{e0000}'..='\u{e007f}' => '\u{fffd}',
        other => other,
    }
}

/// A text from a file, printable and at most 60 characters long.
pub fn short(text: &str) -> String {
    const LIMIT: usize = 60;
    let mut shown: String = text.chars().take(LIMIT).map(printable).collect();
    if text.chars().nth(LIMIT).is_some() {
        shown.push('…');
    }
    shown
}

/// The same in backquotes.
pub fn quote(text: &str) -> String {
    format!("`{}`", short(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_with_caret_and_hint() {
        let diagnostic = Diagnostic {
            severity: Severity::Error,
            code: "config-unknown-category",
            message: "unknown category `neuralnet`".into(),
            file: "config.yaml".into(),
            line: 4,
            column: 11,
            caret: 11,
            width: 9,
            source_line: "category: neuralnet".into(),
            hint: Some("did you mean `neural_net`?".into()),
        };
        assert_eq!(
            diagnostic.render_plain(),
            "error: unknown category `neuralnet`\n  --> config.yaml:4:11\n   |\n 4 | category: \
             neuralnet\n   |           ^^^^^^^^^\nhint: did you mean `neural_net`?\n"
        );
        let json = serde_json::to_value(&diagnostic).unwrap();
        assert_eq!(json["severity"], "error");
    }

    #[test]
    fn quotes_are_short_and_printable() {
        assert_eq!(quote("a\u{1b}[31m\t"), "`a␛[31m→`");
        assert_eq!(quote(&"x".repeat(100)).chars().count(), 63);
    }
}
