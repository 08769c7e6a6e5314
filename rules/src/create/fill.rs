//! Owns the placeholders of templates: `@@word@@`, or `@@word:form@@` where the text around it has
//! rules of its own. A line whose placeholder has no value is left out.

use std::{fmt::Write as _, ops::Range};

use crate::{
    config::{diagnostic::quote, nearest},
    create::{Answers, SCHEMA},
    sync::yaml_text,
};

const MARK: &str = "@@";
/// The words that there are.
pub const WORDS: [&str; 8] = [
    "name",
    "code",
    "module",
    "category",
    "data_type",
    "tasks",
    "schema",
    "at",
];
/// The words that may stand in a path: their values are plain names.
const PATH_WORDS: [&str; 4] = ["code", "module", "category", "data_type"];
/// The forms that there are.
pub const FORMS: [&str; 3] = ["yaml", "quoted", "markdown"];

/// A placeholder that cannot be filled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfilled {
    /// Its line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub message: String,
    /// What may be meant.
    pub hint: String,
}

/// A placeholder in a text.
struct Placeholder<'t> {
    span: Range<usize>,
    word: &'t str,
    form: Option<&'t str>,
}

fn placeholders(text: &str) -> impl Iterator<Item = Placeholder<'_>> {
    let mut from = 0;
    std::iter::from_fn(move || {
        loop {
            let start = from + text.get(from..)?.find(MARK)?;
            let inner = start + MARK.len();
            let is_own = |c: char| !(c.is_ascii_lowercase() || c == '_' || c == ':');
            let rest = text.get(inner..)?;
            let length = rest.find(is_own).unwrap_or(rest.len());
            let body = &rest[..length];
            if length > 0 && rest[length..].starts_with(MARK) {
                let end = inner + length + MARK.len();
                from = end;
                let (word, form) = match body.split_once(':') {
                    Some((word, form)) => (word, Some(form)),
                    None => (body, None),
                };
                return Some(Placeholder {
                    span: start..end,
                    word,
                    form,
                });
            }
            // The mark may begin at the second of three.
            from = start + 1;
        }
    })
}

/// Whether a text has a placeholder of this word.
pub fn has(text: &str, word: &str) -> bool {
    placeholders(text).any(|own| own.word == word)
}

/// A text with its placeholders filled.
pub fn text(text: &str, answers: &Answers) -> Result<String, Unfilled> {
    let mut filled = String::with_capacity(text.len());
    for (index, line) in text.split_inclusive('\n').enumerate() {
        if let Some(line) = self::line(line, index + 1, answers)? {
            filled.push_str(&line);
        }
    }
    Ok(filled)
}

/// A line; none when it is left out.
fn line(line: &str, number: usize, answers: &Answers) -> Result<Option<String>, Unfilled> {
    let mut filled = String::new();
    let mut from = 0;
    for own in placeholders(line) {
        let Some(value) = value(&own, number, answers)? else {
            return Ok(None);
        };
        filled.push_str(&line[from..own.span.start]);
        filled.push_str(&value);
        from = own.span.end;
    }
    filled.push_str(&line[from..]);
    Ok(Some(filled))
}

/// A path with its placeholders filled, of which only some may stand in one.
pub fn path(path: &str, answers: &Answers) -> Result<String, Unfilled> {
    let wrong =
        placeholders(path).find(|own| own.form.is_some() || !PATH_WORDS.contains(&own.word));
    if let Some(own) = wrong {
        return Err(Unfilled {
            line: 1,
            message: format!("{} cannot stand in a file's name", quote(&path[own.span])),
            hint: format!("these can: {}", PATH_WORDS.join(", ")),
        });
    }
    match line(path, 1, answers)? {
        Some(filled) => Ok(filled),
        None => Err(Unfilled {
            line: 1,
            message: format!("the file's name {} needs a data type", quote(path)),
            hint: "give one with --data-type".to_owned(),
        }),
    }
}

fn value(
    own: &Placeholder<'_>,
    line: usize,
    answers: &Answers,
) -> Result<Option<String>, Unfilled> {
    let plain = match own.word {
        "name" => Some(answers.name.clone()),
        "code" => Some(answers.code.clone()),
        "module" => Some(module(&answers.code)),
        "category" => Some(answers.category.to_string()),
        "data_type" => answers.data_type.map(|own| own.to_string()),
        "tasks" => Some(answers.tasks.join(", ")).filter(|tasks| !tasks.is_empty()),
        "schema" => Some(SCHEMA.to_owned()),
        "at" => Some(MARK.to_owned()),
        other => return Err(unknown("placeholder", other, &WORDS, line)),
    };
    let form = |text: String| match own.form {
        None => Ok(text),
        Some("yaml") => Ok(yaml_text(&text, false)),
        Some("quoted") => Ok(quoted(&text)),
        Some("markdown") => Ok(markdown(&text)),
        Some(other) => Err(unknown("form", other, &FORMS, line)),
    };
    plain.map(form).transpose()
}

fn unknown(kind: &str, given: &str, all: &[&str], line: usize) -> Unfilled {
    Unfilled {
        line,
        message: format!("there is no {kind} {}", quote(given)),
        hint: match nearest(given, all.iter().copied()) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("there are {}; @@at@@ gives @@", all.join(", ")),
        },
    }
}

/// The code as a Python name.
fn module(code: &str) -> String {
    let name = code.replace('-', "_");
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        format!("_{name}")
    } else {
        name
    }
}

/// A text in double quotes that TOML, JSON, YAML and Python all read alike.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            // Breaks of lines to some reader, or refused by one.
            c if c.is_control()
                || matches!(
                    c,
                    '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
                ) =>
            {
                // Writing to a string cannot fail.
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A text that Markdown shows as it is.
fn markdown(text: &str) -> String {
    let mut plain = String::new();
    for c in text.chars() {
        if "\\`*_{}[]<>#|!~&".contains(c) {
            plain.push('\\');
        }
        plain.push(c);
    }
    plain
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        config::{Category, DataType, parse},
        create::answers,
    };

    fn answers(name: &str) -> Answers {
        Answers {
            name: name.to_owned(),
            code: "3d-box".to_owned(),
            category: Category::Export,
            data_type: None,
            tasks: Vec::new(),
        }
    }

    fn filled(given: &str, answers: &Answers) -> Result<String, Unfilled> {
        text(given, answers)
    }

    #[test]
    fn words_are_filled_and_the_rest_stays() {
        let mut own = answers("A & B");
        for (given, expected) in [
            ("class @@module@@:", "class _3d_box:"),
            ("@@@code@@@", "@3d-box@"),
            (
                "{{ code }} {code} ${code} %s @code",
                "{{ code }} {code} ${code} %s @code",
            ),
            ("@@ -1,2 +1,2 @@", "@@ -1,2 +1,2 @@"),
            ("a @@at@@code@@at@@", "a @@code@@"),
            ("# @@name:markdown@@", "# A \\& B"),
            ("a\n@@data_type@@\r\nb\n", "a\nb\n"),
            ("a\ntasks: [@@tasks@@]", "a\n"),
            (
                "# $schema=@@schema@@\nb",
                "# $schema=.synapse/config.schema.json\nb",
            ),
            ("", ""),
            ("@@", "@@"),
        ] {
            assert_eq!(filled(given, &own).unwrap(), expected, "{given}");
        }
        own.data_type = Some(DataType::Text);
        own.tasks = vec![
            "text.generation".to_owned(),
            "text.classification".to_owned(),
        ];
        let given = "data_type: @@data_type@@\ntasks: [@@tasks@@]\n";
        assert_eq!(
            filled(given, &own).unwrap(),
            "data_type: text\ntasks: [text.generation, text.classification]\n"
        );
    }

    #[test]
    fn unknown_ones_are_told_with_their_line() {
        let wrong = filled("a\nb @@nmae@@\n", &answers("A")).unwrap_err();
        assert_eq!((wrong.line, wrong.hint.as_str()), (2, "did you mean name?"));
        let wrong = filled("@@name:ymal@@", &answers("A")).unwrap_err();
        assert_eq!(wrong.hint, "did you mean yaml?");
        let own = answers("A");
        assert_eq!(path("@@module@@/x.py", &own).unwrap(), "_3d_box/x.py");
        assert!(path("@@name@@.py", &own).is_err());
        assert!(path("@@code:quoted@@.py", &own).is_err());
        assert!(path("@@data_type@@.py", &own).is_err());
    }

    /// Names that some reader takes for something else.
    fn nasty() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<String>(),
            "[\"'\\\\#:,\\[\\]{}&*!|>%@`~<=? -]{1,12}",
            Just("yes".to_owned()),
            Just("1.0".to_owned()),
            Just("null".to_owned()),
            Just("# \"a\": 'b' \u{2028} \u{85} \u{feff} \u{1F600}".to_owned()),
            Just("x".repeat(300)),
        ]
    }

    proptest! {
        #[test]
        fn every_name_survives_yaml_toml_and_json(given in nasty()) {
            let Ok(name) = answers::name(&given) else { return Ok(()) };
            let answers = answers(&name);
            let config = "name: @@name:yaml@@\ncode: @@code@@\nversion: 0.1.0\n\
                          category: @@category@@\nactions:\n  a:\n    entrypoint: p.a:A\n";
            let text = filled(config, &answers).unwrap();
            let parsed = parse(text.as_bytes(), "config.yaml");
            prop_assert!(parsed.config.is_some(), "{text}\n{:?}", parsed.diagnostics);
            prop_assert_eq!(&parsed.config.unwrap().name, &name);
            let text = filled("a = @@name:quoted@@\n", &answers).unwrap();
            let toml: toml_edit::DocumentMut = text.parse().unwrap();
            prop_assert_eq!(toml["a"].as_str(), Some(name.as_str()));
            let text = filled("@@name:quoted@@", &answers).unwrap();
            prop_assert_eq!(&serde_json::from_str::<String>(&text).unwrap(), &name);
            let yaml: String = serde_yaml::from_str(&text).unwrap();
            prop_assert_eq!(&yaml, &name);
            prop_assert_eq!(filled("# @@name:markdown@@", &answers).unwrap().lines().count(), 1);
        }
    }
}
