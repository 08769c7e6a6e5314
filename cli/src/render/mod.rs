//! Owns everything that is printed: text for people, JSON for programs, progress, errors.

pub mod create;
pub mod dataset;
pub mod dev;
pub mod document;
pub mod error;
pub mod failed;
pub mod message;
pub mod progress;
pub mod publish;
pub mod run;
pub mod runs;
pub mod upload;

use std::io::Write;

use crate::args::{Color, Output};

/// Where text goes, with colour where it is wanted. A closed pipe is no error: whoever reads
/// has seen enough.
pub struct Printer {
    out: Box<dyn Write + Send>,
    /// Documents go out as the last event of a stream.
    events: bool,
}

fn choice(color: Color) -> anstream::ColorChoice {
    match color {
        Color::Auto => anstream::ColorChoice::Auto,
        Color::Always => anstream::ColorChoice::Always,
        Color::Never => anstream::ColorChoice::Never,
    }
}

impl Printer {
    /// Standard output.
    pub fn stdout(output: &Output) -> Self {
        Self {
            out: Box::new(anstream::AutoStream::new(
                std::io::stdout(),
                choice(output.color),
            )),
            events: output.events,
        }
    }

    /// Standard error.
    pub fn stderr(output: &Output) -> Self {
        Self {
            out: Box::new(anstream::AutoStream::new(
                std::io::stderr(),
                choice(output.color),
            )),
            events: false,
        }
    }

    /// A line.
    pub fn line(&mut self, text: impl AsRef<str>) {
        let _ = self
            .out
            .write_all(format!("{}\n", text.as_ref()).as_bytes());
    }

    /// Lines, already ended.
    pub fn text(&mut self, text: impl AsRef<str>) {
        let _ = self.out.write_all(text.as_ref().as_bytes());
    }

    /// Sends out what was printed.
    pub fn flush(&mut self) {
        let _ = self.out.flush();
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
            let _ = self.out.write_all(&text);
        }
    }
}

impl Drop for Printer {
    fn drop(&mut self) {
        let _ = self.out.flush();
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
