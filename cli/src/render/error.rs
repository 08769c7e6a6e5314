//! Owns errors: text for people, objects for programs, and the exit code.

use serde::Serialize;
use synapse_engine::{Excerpt, Failure, FailureKind};
use synapse_rules::{
    fileset::read_regular,
    plugin::Warning,
    publish::{PluginReport, Status},
};

use super::{BAD, DIM, HINT, Printer, WARN, github, paint};

/// An error in a JSON document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ErrorObject {
    /// Stable name.
    pub code: String,
    /// What happened.
    pub message: String,
    /// Where.
    #[serde(rename = "where")]
    pub place: Option<String>,
    /// What to do.
    pub hint: Option<String>,
}

impl From<&Failure> for ErrorObject {
    fn from(failure: &Failure) -> Self {
        let Failure {
            code,
            message,
            place,
            hint,
            ..
        } = failure.clone();
        Self {
            code,
            message,
            place,
            hint,
        }
    }
}

/// A failure and the others of the same attempt.
pub fn flatten(failure: &Failure) -> Vec<&Failure> {
    std::iter::once(failure)
        .chain(failure.more.iter().flat_map(flatten))
        .collect()
}

/// The exit code of a failure.
pub fn exit_code(kind: FailureKind) -> u8 {
    match kind {
        FailureKind::User | FailureKind::Python => 1,
        FailureKind::Usage => 2,
        FailureKind::Environment => 3,
        FailureKind::Cancelled => 130,
        FailureKind::MissingBlob | FailureKind::Bug => 255,
    }
}

/// Whether a plugin did not come out of a publish as it should.
pub fn is_bad(report: &PluginReport) -> bool {
    report.failure.is_some() || !matches!(report.status, Status::Published | Status::UpToDate)
}

/// Prints a failure with its place, the source line where there is one, and its hint.
pub fn print(printer: &mut Printer, failure: &Failure) {
    for failure in flatten(failure) {
        let what = if failure.kind == FailureKind::Bug {
            format!("internal error: {}", failure.message)
        } else {
            failure.message.clone()
        };
        printer.hanging(7, format!("{} {what}", paint(BAD, "error:")));
        place(printer, failure);
        let ours = (failure.kind == FailureKind::Bug).then_some(OURS);
        if let Some(hint) = failure.hint.as_deref().or(ours) {
            printer.hanging(6, format!("{} {hint}", paint(HINT, "hint:")));
        }
        github::error(printer, failure);
    }
}

/// The hint of what nobody else can mend.
const OURS: &str = "this is a mistake of ours: please report it";

/// The place, and for `file:line:column` the line itself.
fn place(printer: &mut Printer, failure: &Failure) {
    let Some(place) = failure.place.as_deref() else {
        return;
    };
    printer.line(format!("  {} {place}", paint(DIM, "-->")));
    if let Some(own) = &failure.excerpt {
        return excerpt(printer, own);
    }
    let mut parts = place.rsplitn(3, ':');
    let (column, line, file) = (parts.next(), parts.next(), parts.next());
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<usize>().ok());
    let (Some(column), Some(line), Some(file)) = (number(column), number(line), file) else {
        return;
    };
    let Some(text) = source_line(file, line) else {
        return;
    };
    let before = column.saturating_sub(1);
    excerpt(printer, &Excerpt { line, text, before });
}

/// A line with a mark below the place that is meant.
fn excerpt(printer: &mut Printer, own: &Excerpt) {
    let gutter = own.line.to_string();
    let pad = " ".repeat(gutter.len());
    let caret = " ".repeat(own.before);
    printer.line(format!("  {pad} {}", paint(DIM, "|")));
    printer.line(format!("  {gutter} {} {}", paint(DIM, "|"), own.text));
    printer.line(format!(
        "  {pad} {} {caret}{}",
        paint(DIM, "|"),
        paint(BAD, "^")
    ));
}

/// A line of a configuration, unless it could hold a secret or is too long to help.
fn source_line(file: &str, line: usize) -> Option<String> {
    const LONGEST: usize = 160;
    // Of other files a line could be the very credential that was found.
    let is_yaml = std::path::Path::new(file)
        .extension()
        .is_some_and(|end| end == "yaml");
    let bytes = is_yaml
        .then(|| read_regular(std::path::Path::new(file)).ok())
        .flatten()?;
    let diagnostic = synapse_rules::config::parse(&bytes, file).diagnostics;
    // The diagnostic's own copy has the values of `env` masked.
    let own = diagnostic
        .iter()
        .find(|d| d.line as usize == line)
        .map(|d| d.source_line.clone());
    own.filter(|text| !text.is_empty() && text.chars().count() <= LONGEST)
}

/// Prints a warning of a configuration.
pub fn warning(printer: &mut Printer, warning: &Warning) {
    let head = paint(WARN, "warning:");
    printer.hanging(9, format!("{head} {}", warning.message));
    printer.line(format!("  {} {}", paint(DIM, "-->"), warning.place));
    if let Some(hint) = &warning.hint {
        printer.hanging(6, format!("{} {hint}", paint(HINT, "hint:")));
    }
    let hint = warning.hint.as_deref();
    github::warning(printer, &warning.message, Some(&warning.place), hint);
}
