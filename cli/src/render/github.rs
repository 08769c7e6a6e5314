//! Owns what GitHub Actions understands: groups in a log, annotations on lines of files, and the
//! summary of a job. There is none of it elsewhere, nor where a program reads the output.

use std::{
    ffi::OsString,
    fmt::Write as _,
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::OnceLock,
};

use synapse_engine::{Failure, FailureKind};

use super::{Printer, WARN, paint};
use crate::args::Output;

/// The most that a step's summary may hold; past that GitHub shows none of it.
const LIMIT: u64 = 1 << 20;
/// Room for the line that says that something was left out.
const REST: u64 = 200;

/// What is known of the job that this process is part of.
static JOB: OnceLock<Option<Job>> = OnceLock::new();

struct Job {
    /// The repository, which annotations are relative to.
    root: Option<PathBuf>,
    /// The file of the step's summary.
    summary: Option<PathBuf>,
}

/// Looks, once, whether this is a job of GitHub Actions.
pub fn begin(output: &Output, variable: impl Fn(&str) -> Option<OsString>) {
    let path = |name: &str| {
        variable(name)
            .filter(|path| !path.is_empty())
            .map(PathBuf::from)
    };
    let is_job = variable("GITHUB_ACTIONS").is_some_and(|value| value == "true");
    let job = (is_job && !output.is_machine()).then(|| Job {
        root: path("GITHUB_WORKSPACE").and_then(|root| fs::canonicalize(root).ok()),
        summary: path("GITHUB_STEP_SUMMARY"),
    });
    let _ = JOB.set(job);
}

fn job() -> Option<&'static Job> {
    JOB.get()?.as_ref()
}

/// Whether this is such a job.
pub fn is_on() -> bool {
    job().is_some()
}

/// A part of the log that can be folded, until it is dropped.
pub struct Group(());

/// Begins one, in such a job.
#[must_use]
pub fn group(title: &str) -> Option<Group> {
    job()?;
    let _ = writeln!(io::stderr(), "::group::{}", data(title));
    Some(Group(()))
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = writeln!(io::stderr(), "::endgroup::");
    }
}

/// Annotates a failure, where it has a line of a file there.
pub fn error(printer: &mut Printer, failure: &Failure) {
    if failure.kind == FailureKind::Cancelled {
        return;
    }
    let hint = failure.hint.as_deref();
    let place = failure.place.as_deref();
    annotate(
        printer,
        "error",
        &failure.code,
        &failure.message,
        place,
        hint,
    );
}

/// Annotates a warning.
pub fn warning(printer: &mut Printer, message: &str, place: Option<&str>, hint: Option<&str>) {
    annotate(printer, "warning", "synapse", message, place, hint);
}

fn annotate(
    printer: &mut Printer,
    level: &str,
    title: &str,
    message: &str,
    place: Option<&str>,
    hint: Option<&str>,
) {
    let Some(job) = job() else { return };
    let mut text = message.to_owned();
    let mut properties = String::new();
    match place.map(|place| (place, in_repository(job, place))) {
        Some((_, Some((file, line)))) => {
            let _ = write!(properties, "file={},", property(&file));
            if let Some((line, column)) = line {
                let _ = write!(properties, "line={line},col={column},");
            }
        }
        Some((place, None)) => {
            let _ = write!(text, "\nat {place}");
        }
        None => {}
    }
    let _ = write!(properties, "title={}", property(title));
    if let Some(hint) = hint {
        let _ = write!(text, "\nhint: {hint}");
    }
    printer.line(format!("::{level} {properties}::{}", data(&text)));
}

/// Where a file lies in the repository, and the place in it.
type Place = (String, Option<(usize, usize)>);

fn in_repository(job: &Job, place: &str) -> Option<Place> {
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<usize>().ok());
    let mut parts = place.rsplitn(3, ':');
    let (column, line, file) = (number(parts.next()), number(parts.next()), parts.next());
    let (file, at) = match (file, line, column) {
        (Some(file), Some(line), Some(column)) => (file, Some((line, column))),
        _ => match place.rsplit_once(':') {
            Some((file, line)) => match number(Some(line)) {
                Some(line) => (file, Some((line, 1))),
                None => (place, None),
            },
            None => (place, None),
        },
    };
    let real = fs::canonicalize(file).ok().filter(|file| file.is_file())?;
    let own = real.strip_prefix(job.root.as_ref()?).ok()?;
    Some((own.to_str()?.to_owned(), at))
}

/// Text of a command, in which a line cannot end.
fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// A property of a command, which ends at a comma or colon.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// Adds to the summary of the step, where there is one. That it cannot be written is no failure.
pub fn summarise(output: &Output, text: &Markdown) {
    let Some(file) = job().and_then(|job| job.summary.as_deref()) else {
        return;
    };
    if let Err(error) = append(file, &text.0) {
        let head = paint(WARN, "warning:");
        let what = format!("the summary of the job cannot be written: {error}");
        Printer::stderr(output).line(format!("{head} {what}"));
    }
}

/// Adds the failure of a command that had nothing else to tell.
pub fn summarise_failure(output: &Output, name: &str, failure: &Failure) {
    if !is_on() || failure.kind == FailureKind::Cancelled {
        return;
    }
    let mut text = Markdown::headed(&format!("synapse {name}"), "It failed.");
    text.errors(super::error::flatten(failure));
    summarise(output, &text);
}

fn append(file: &Path, text: &str) -> io::Result<()> {
    let mut open = OpenOptions::new().create(true).append(true).open(file)?;
    let meta = open.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let room = LIMIT.saturating_sub(meta.len());
    if text.len() as u64 <= room {
        return open.write_all(text.as_bytes());
    }
    let room = room.saturating_sub(REST) as usize;
    let mut end = room.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let whole = text[..end].rfind('\n').map_or(0, |end| end + 1);
    if whole == 0 {
        return Ok(());
    }
    let rest = "\nThe rest is left out: a summary holds 1 MiB. The log has all of it.\n\n";
    open.write_all(&text.as_bytes()[..whole])?;
    open.write_all(rest.as_bytes())
}

/// A text in Markdown, in which only what is meant so is markup.
#[derive(Default)]
pub struct Markdown(String);

impl Markdown {
    /// A heading and a line.
    pub fn headed(heading: &str, line: &str) -> Self {
        let (heading, line) = (escaped(heading), escaped(line));
        Self(format!("### {heading}\n\n{line}\n\n"))
    }

    /// A table; a column whose name begins with `>` is aligned to the right. Cells are
    /// [`cell`]s or [`link`]s.
    pub fn table(&mut self, columns: &[&str], rows: &[Vec<String>]) {
        if rows.is_empty() {
            return;
        }
        let names: Vec<&str> = columns
            .iter()
            .map(|name| name.trim_start_matches('>'))
            .collect();
        let rules: Vec<&str> = columns
            .iter()
            .map(|name| if name.starts_with('>') { "---:" } else { "---" })
            .collect();
        let _ = writeln!(self.0, "| {} |", names.join(" | "));
        let _ = writeln!(self.0, "|{}|", rules.join("|"));
        for row in rows {
            let _ = writeln!(self.0, "| {} |", row.join(" | "));
        }
        self.0.push('\n');
    }

    /// A line.
    pub fn line(&mut self, text: &str) {
        let _ = writeln!(self.0, "{}\n", escaped(text));
    }

    /// Failures, with their places and hints.
    pub fn errors<'f>(&mut self, failures: impl IntoIterator<Item = &'f Failure>) {
        let mut some = false;
        for failure in failures {
            some = true;
            let _ = write!(self.0, "- **error:** {}", escaped(&failure.message));
            if let Some(place) = &failure.place {
                let _ = write!(self.0, "<br>at {}", escaped(place));
            }
            if let Some(hint) = &failure.hint {
                let _ = write!(self.0, "<br>**hint:** {}", escaped(hint));
            }
            self.0.push('\n');
        }
        if some {
            self.0.push('\n');
        }
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.0
    }
}

/// A cell of a table.
pub fn cell(text: &str) -> String {
    escaped(text)
}

/// A cell with a link, where `url` is one of the web; else the address as text.
pub fn link(text: &str, url: &str) -> String {
    if !url.starts_with("https://") && !url.starts_with("http://") {
        return escaped(url);
    }
    let mut address = String::new();
    for character in url.chars() {
        if character.is_ascii_alphanumeric() || "-._~:/?#@!$&*+,;=%".contains(character) {
            address.push(character);
        } else {
            let mut bytes = [0; 4];
            for byte in character.encode_utf8(&mut bytes).bytes() {
                let _ = write!(address, "%{byte:02X}");
            }
        }
    }
    format!("[{}]({address})", escaped(text))
}

/// Text in which nothing is markup, on one line.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.trim().chars() {
        match character {
            '\n' | '\r' | '\t' => out.push(' '),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '#' | '!' | '$' | '@' => {
                out.push('\\');
                out.push(character);
            }
            other if other.is_control() => {}
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_a_command_early() {
        assert_eq!(data("50% of\r\nit: a, b"), "50%25 of%0D%0Ait: a, b");
        assert_eq!(property("a:b,c%\n"), "a%3Ab%2Cc%25%0A");
    }

    #[test]
    fn places_are_relative_to_the_repository() {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        let file = root.join("p/config.yaml");
        fs::create_dir(root.join("p")).unwrap();
        fs::write(&file, "a: 1\n").unwrap();
        let job = Job {
            root: Some(root),
            summary: None,
        };
        let shown = file.display().to_string();
        let found = |place: &str| in_repository(&job, place);
        let own = "p/config.yaml".to_owned();
        assert_eq!(
            found(&format!("{shown}:3:7")),
            Some((own.clone(), Some((3, 7))))
        );
        assert_eq!(
            found(&format!("{shown}:3")),
            Some((own.clone(), Some((3, 1))))
        );
        assert_eq!(found(&shown), Some((own, None)));
        assert_eq!(found("staging"), None);
        assert_eq!(found("/etc/hosts:1:1"), None);
    }

    #[test]
    fn markdown_holds_no_markup_of_others() {
        let mut text = Markdown::headed("a_b", "1 | 2");
        let row = vec![
            cell("x|y\n<script>"),
            link("0.1.0", "https://h/a b)|c"),
            link("s", "s3://b/x"),
        ];
        text.table(&["plugin", "link", ">size"], &[row]);
        let failure = Failure::user("c", "`no` <b>")
            .at("p/config.yaml:1:2")
            .hint("do *it*");
        text.errors([&failure]);
        insta::assert_snapshot!(text.text(), @r"
        ### a\_b

        1 \| 2

        | plugin | link | size |
        |---|---|---:|
        | x\|y &lt;script&gt; | [0.1.0](https://h/a%20b%29%7Cc) | s3://b/x |

        - **error:** \`no\` &lt;b&gt;<br>at p/config.yaml:1:2<br>**hint:** do \*it\*
        ");
    }

    #[test]
    fn a_summary_stays_below_the_limit_and_ends_with_a_whole_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("summary.md");
        let line = format!("| {} |\n", "x".repeat(96));
        append(&file, &line.repeat(9_000)).unwrap();
        append(&file, &line.repeat(9_000)).unwrap();
        append(&file, &line.repeat(9_000)).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.len() as u64 <= LIMIT, "{}", text.len());
        assert!(
            text.ends_with("The log has all of it.\n\n"),
            "{}",
            &text[text.len() - 200..]
        );
        assert!(append(folder.path(), "x").is_err());
    }
}
