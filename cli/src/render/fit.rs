//! Owns how text fits a terminal: its width, lines cut in the middle, lines wrapped below their
//! beginning. What goes into a pipe or a file is never touched.

use std::{io::IsTerminal, os::fd::AsFd};

use rustix::termios::tcgetwinsize;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Stands for what was cut.
const CUT: &str = "…";
/// Narrower than this, and nothing is wrapped or cut: it would not help.
const NARROWEST: usize = 20;

/// The columns of a terminal, when this is one.
pub fn columns(stream: &(impl AsFd + IsTerminal)) -> Option<usize> {
    if !stream.is_terminal() {
        return None;
    }
    let size = tcgetwinsize(stream).ok()?;
    // A terminal that does not know says 0.
    let columns = usize::from(size.ws_col);
    (columns >= NARROWEST).then_some(columns)
}

/// The columns that a text takes, whatever colours are in it.
pub fn width(text: &str) -> usize {
    if text.contains('\u{1b}') {
        anstream::adapter::strip_str(text).to_string().width()
    } else {
        text.width()
    }
}

/// The text in at most so many columns: what is too much is cut out of its middle, since the
/// ends of names and paths tell most. The text has no colours.
pub fn middle(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let left = columns.saturating_sub(1);
    let (head, tail) = (left.div_ceil(2), left / 2);
    let take = |most: usize, characters: &mut dyn Iterator<Item = char>| {
        let mut used = 0;
        let fits = |character: &char| {
            used += character.width().unwrap_or(0);
            used <= most
        };
        characters.take_while(fits).collect::<Vec<char>>()
    };
    let begin = take(head, &mut text.chars());
    let mut end = take(tail, &mut text.chars().rev());
    end.reverse();
    let (begin, end) = (
        begin.iter().collect::<String>(),
        end.iter().collect::<String>(),
    );
    format!("{begin}{CUT}{end}")
}

/// The line, wrapped between words where it is wider than `columns`; lines after the first begin
/// below column `hang`. A word that is wider stays whole: it may be a path to be copied.
pub fn wrapped(line: &str, columns: Option<usize>, hang: usize) -> String {
    let Some(columns) = columns.filter(|columns| width(line) > *columns) else {
        return line.to_owned();
    };
    // A text of several lines has a form of its own.
    if let Some((first, rest)) = line.split_once('\n') {
        return format!("{}\n{rest}", wrapped(first, Some(columns), hang));
    }
    let hang = if hang + NARROWEST > columns { 2 } else { hang };
    let mut out = String::new();
    let (mut used, mut begun) = (0, false);
    // Leading spaces are an indentation, double ones a gap: both stay.
    for piece in line.split_inclusive(' ') {
        let word = width(piece.trim_end_matches(' '));
        if begun && used + word > columns && word > 0 {
            out.truncate(out.trim_end_matches(' ').len());
            out.push('\n');
            out.push_str(&" ".repeat(hang));
            used = hang;
        }
        out.push_str(piece);
        used += width(piece);
        begun |= word > 0;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_in_their_middle() {
        assert_eq!(middle("synapse-yolov8-plugin", 30), "synapse-yolov8-plugin");
        assert_eq!(middle("synapse-yolov8-plugin", 11), "synap…lugin");
        assert_eq!(middle("synapse-yolov8-plugin", 10), "synap…ugin");
        assert_eq!(middle("데이터셋변환플러그인", 9), "데이…그인");
        assert_eq!(middle("abc", 0), "…");
    }

    #[test]
    fn lines_hang_below_their_beginning() {
        let line = "error: one two three four five six seven";
        assert_eq!(
            wrapped(line, Some(27), 7),
            "error: one two three four\n       five six seven"
        );
        assert_eq!(wrapped(line, None, 7), line);
        assert_eq!(wrapped(line, Some(200), 7), line);
        let painted = "\u{1b}[31merror:\u{1b}[0m one two three four five";
        assert_eq!(
            wrapped(painted, Some(27), 7),
            "\u{1b}[31merror:\u{1b}[0m one two three four\n       five"
        );
        let path = "hint: /a/very/long/path/that/has/no/space/in/it ends";
        assert_eq!(
            wrapped(path, Some(24), 6),
            "hint:\n  /a/very/long/path/that/has/no/space/in/it\n  ends"
        );
        assert_eq!(
            wrapped("  published name  1.2 kB  because of this", Some(30), 4),
            "  published name  1.2 kB\n    because of this"
        );
    }
}
