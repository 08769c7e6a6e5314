//! Owns the logical lines of a requirements file: continued lines joined, comments dropped,
//! variables filled in, and where each of it stands.

use crate::python::Variables;

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file as people know it.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// A text that may hold the values of variables, and the text as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// Variables filled in: for installers only.
    pub text: String,
    /// As written: for keys and people.
    pub shown: String,
}

/// Offsets of physical lines in a logical one, with line and column.
type Parts = Vec<(usize, usize, usize)>;

/// One logical line.
#[derive(Debug, Clone)]
pub struct Line {
    /// The whole of it.
    pub value: Value,
    /// Values of variables in it.
    pub filled: Vec<String>,
    /// Offset in `value.shown` where each physical line begins, with its place.
    parts: Vec<(usize, usize, usize)>,
    file: String,
}

impl Line {
    /// The place of a byte offset of the line as written.
    pub fn place(&self, offset: usize) -> Place {
        let part = self.parts.iter().rev().find(|part| part.0 <= offset);
        let (start, line, column) = part.copied().unwrap_or((0, 1, 1));
        let before = self.value.shown.get(start..offset).unwrap_or_default();
        Place {
            file: self.file.clone(),
            line,
            column: column + before.chars().count(),
        }
    }
}

/// Cuts a file into logical lines; those without content are left out.
pub fn lines(text: &str, file: &str, variables: &Variables) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut open: Option<(String, Parts)> = None;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (index, physical) in text.lines().enumerate() {
        let (mut whole, mut parts) = open.take().unwrap_or_default();
        let comment = physical.trim_start().starts_with('#');
        let body = uncommented(physical);
        parts.push((whole.len(), index + 1, 1));
        match body.strip_suffix('\\') {
            // A comment ends a continued line, whatever it ends with.
            Some(body) if !comment && body.len() + 1 == physical.len() => {
                whole.push_str(body);
                open = Some((whole, parts));
            }
            _ => {
                whole.push_str(body);
                lines.extend(line(&whole, parts, file, variables));
            }
        }
    }
    if let Some((whole, parts)) = open {
        lines.extend(line(&whole, parts, file, variables));
    }
    lines
}

/// A comment begins at the start of a line or after white space.
fn uncommented(line: &str) -> &str {
    let mut blank = true;
    for (at, c) in line.char_indices() {
        if c == '#' && blank {
            return line[..at].trim_end();
        }
        blank = c.is_whitespace();
    }
    line
}

fn line(
    whole: &str,
    mut parts: Vec<(usize, usize, usize)>,
    file: &str,
    variables: &Variables,
) -> Option<Line> {
    let shown = whole.trim();
    if shown.is_empty() {
        return None;
    }
    let cut = whole.len() - whole.trim_start().len();
    // What was cut off in front moves the first part's column, and may be all of a part.
    let first = parts.iter().rposition(|part| part.0 <= cut).unwrap_or(0);
    parts.drain(..first);
    for (at, part) in parts.iter_mut().enumerate() {
        if at == 0 {
            part.2 += whole
                .get(part.0..cut)
                .map_or(0, |text| text.chars().count());
            part.0 = 0;
        } else {
            part.0 -= cut;
        }
    }
    let (text, filled) = fill(shown, variables);
    let value = Value {
        text,
        shown: shown.to_owned(),
    };
    Some(Line {
        value,
        filled,
        parts,
        file: file.to_owned(),
    })
}

/// Fills in `${NAME}` as pip does: capitals only, and only what is set.
pub fn fill(text: &str, variables: &Variables) -> (String, Vec<String>) {
    let (mut out, mut filled, mut rest) = (String::new(), Vec::new(), text);
    while let Some(at) = rest.find("${") {
        let (before, after) = rest.split_at(at);
        out.push_str(before);
        let end = after.find('}').unwrap_or(0);
        let name = after.get(2..end).unwrap_or_default();
        let is_name = !name.is_empty()
            && name
                .bytes()
                .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
        if let Some(value) = variables.text(name).filter(|_| is_name) {
            out.push_str(value);
            filled.push(value.to_owned());
            rest = &after[end + 1..];
        } else {
            out.push_str("${");
            rest = &after[2..];
        }
    }
    out.push_str(rest);
    (out, filled)
}

/// Cuts a line into words as a shell would; nothing when a quote is left open.
pub fn words(text: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => word.get_or_insert_default().push(chars.next()?),
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<Line> {
        let variables = Variables::of([("TOKEN".into(), "t0k3n".into())]);
        lines(text, "r.txt", &variables)
    }

    #[test]
    fn lines_are_joined_and_keep_their_places() {
        let read = read("\u{feff}# top\n\n  a==1 # why\nb>=2, \\\n  <3 \\\n# end\n  c#d\n");
        let texts: Vec<&str> = read.iter().map(|line| line.value.text.as_str()).collect();
        assert_eq!(texts, ["a==1", "b>=2,   <3", "c#d"]);
        assert_eq!(read[0].place(0).to_string(), "r.txt:3:3");
        let offset = read[1].value.shown.find('<').unwrap();
        assert_eq!(read[1].place(offset).to_string(), "r.txt:5:3");
        assert_eq!(read[2].place(2).to_string(), "r.txt:7:5");
    }

    #[test]
    fn variables_are_filled_in_beside_the_text_as_written() {
        let read = &read("-i https://${TOKEN}@host/${lower}/${UNSET}/${")[0];
        assert_eq!(
            read.value.text,
            "-i https://t0k3n@host/${lower}/${UNSET}/${"
        );
        assert_eq!(
            read.value.shown,
            "-i https://${TOKEN}@host/${lower}/${UNSET}/${"
        );
        assert_eq!(read.filled, ["t0k3n"]);
    }

    #[test]
    fn words_are_cut_like_a_shell_does() {
        let cut = words("--find-links 'my wheels' -e \"a b\"/c x\\ y ''").unwrap();
        assert_eq!(cut, ["--find-links", "my wheels", "-e", "a b/c", "x y", ""]);
        assert_eq!(words("'open"), None);
    }
}
