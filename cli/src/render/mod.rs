//! Owns everything that is printed: text for people, JSON for programs, progress, errors.

pub mod between;
pub mod board;
pub mod create;
pub mod dataset;
pub mod dev;
pub mod document;
pub mod error;
pub mod failed;
pub mod fit;
pub mod github;
pub mod graph;
pub mod log;
pub mod markup;
pub mod message;
pub mod progress;
pub mod publish;
pub mod run;
pub mod runs;
pub mod summary;
pub mod timings;
pub mod trace;
pub mod upload;

use std::{
    io::{self, Write},
    sync::Mutex,
};

use synapse_engine::Failure;

use crate::args::{Color, Output};

/// Where text goes, with colour where it is wanted. A closed pipe is no error: whoever reads
/// has seen enough.
pub struct Printer {
    out: Box<dyn Write + Send>,
    /// Documents go out as the last event of a stream.
    events: bool,
    /// Columns of the terminal, where it is one.
    columns: Option<usize>,
    /// What cannot be written is lost to somebody who asked for it.
    matters: bool,
}

/// Why standard output could not be written, when it could not.
static LOST: Mutex<Option<io::Error>> = Mutex::new(None);

/// Notes that standard output could not be written.
pub fn note_lost(written: io::Result<()>) {
    if let Err(error) = written
        && error.kind() != io::ErrorKind::BrokenPipe
        && let Ok(mut lost) = LOST.lock()
    {
        lost.get_or_insert(error);
    }
}

/// That standard output could not be written, when it could not.
pub fn lost() -> Option<Failure> {
    let error = LOST.lock().ok()?.take()?;
    let what = format!("cannot write standard output: {error}");
    let hint = match error.kind() {
        io::ErrorKind::StorageFull => "free some disk space; what was done is done",
        _ => "send it somewhere else; what was done is done",
    };
    Some(Failure::environment("output", what).hint(hint))
}

pub(crate) fn choice(color: Color) -> anstream::ColorChoice {
    match color {
        Color::Auto => anstream::ColorChoice::Auto,
        Color::Always => anstream::ColorChoice::Always,
        Color::Never => anstream::ColorChoice::Never,
    }
}

impl Printer {
    /// Standard output.
    pub fn stdout(output: &Output) -> Self {
        let stdout = io::stdout();
        Self {
            columns: fit::columns(&stdout),
            out: Box::new(anstream::AutoStream::new(stdout, choice(output.color))),
            events: output.events,
            matters: true,
        }
    }

    /// Standard error.
    pub fn stderr(output: &Output) -> Self {
        let stderr = io::stderr();
        Self {
            columns: fit::columns(&stderr),
            out: Box::new(anstream::AutoStream::new(stderr, choice(output.color))),
            events: false,
            matters: false,
        }
    }

    /// Columns of the terminal, where it is one.
    pub fn columns(&self) -> Option<usize> {
        self.columns
    }

    fn write(&mut self, bytes: &[u8]) {
        let written = board::aside(|| self.out.write_all(bytes));
        if self.matters {
            note_lost(written);
        }
    }

    /// A line.
    pub fn line(&mut self, text: impl AsRef<str>) {
        self.write(format!("{}\n", text.as_ref()).as_bytes());
    }

    /// A line that is wrapped where the terminal is too narrow for it, `hang` columns in.
    pub fn hanging(&mut self, hang: usize, text: impl AsRef<str>) {
        let text = fit::wrapped(text.as_ref(), self.columns, hang);
        self.line(text);
    }

    /// Lines, already ended.
    pub fn text(&mut self, text: impl AsRef<str>) {
        self.write(text.as_ref().as_bytes());
    }

    /// Sends out what was printed.
    pub fn flush(&mut self) {
        let written = self.out.flush();
        if self.matters {
            note_lost(written);
        }
    }

    /// One JSON document, or with `--events` the last line, which holds it.
    pub fn json(&mut self, document: &impl serde::Serialize) {
        let text = if self.events {
            serde_json::to_vec(&serde_json::json!({"event": "summary", "document": document}))
        } else {
            serde_json::to_vec_pretty(document)
        };
        if let Ok(mut text) = text {
            text.push(b'\n');
            self.write(&text);
        }
    }
}

impl Drop for Printer {
    fn drop(&mut self) {
        self.flush();
    }
}

/// A style from anstyle around a text.
pub fn paint(style: anstyle::Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// What went well.
pub const GOOD: anstyle::Style = anstyle::AnsiColor::Green.on_default().bold();
/// What went wrong.
pub const BAD: anstyle::Style = anstyle::AnsiColor::Red.on_default().bold();
/// What deserves a look.
pub const WARN: anstyle::Style = anstyle::AnsiColor::Yellow.on_default().bold();
/// What leads on.
pub const HINT: anstyle::Style = anstyle::AnsiColor::Cyan.on_default().bold();
/// What matters less.
pub const DIM: anstyle::Style = anstyle::Style::new().dimmed();
/// What matters more.
pub const BOLD: anstyle::Style = anstyle::Style::new().bold();

/// A size in bytes, for people.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// `1 plugin`, `2 plugins`.
pub fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// A duration in milliseconds, for people.
pub fn duration(ms: u64) -> String {
    if ms < 1000 {
        format!("{ms} ms")
    } else {
        format!("{:.1} s", ms as f64 / 1000.0)
    }
}

/// A moment (Unix seconds) in the local time zone.
pub fn moment(at: i64) -> String {
    jiff::Timestamp::from_second(at).map_or_else(
        |_| at.to_string(),
        |stamp| {
            stamp
                .to_zoned(jiff::tz::TimeZone::system())
                .strftime("%Y-%m-%d %H:%M:%S")
                .to_string()
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_well() {
        let sizes = [0, 999, 1000, 1_049_999, 999_949, 999_950, 12_000_000_000].map(size);
        assert_eq!(
            sizes,
            [
                "0 B", "999 B", "1.0 kB", "1.0 MB", "999.9 kB", "1.0 MB", "12.0 GB"
            ]
        );
    }
}
