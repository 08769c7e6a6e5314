//! Owns the checks of single fields of config.yaml: code, version, environment, actions and the
//! like. Each takes a [`Reader`] and reports there.

use std::{collections::BTreeMap, ops::Range};

use pep440_rs::VersionSpecifiers;

use super::{
    diagnostic::quote,
    entrypoint::{self, Entrypoint},
    keys,
    model::{Action, Requires, Task},
    node::{Node, Style, Value},
    reader::{Reader, wrong_type},
    scalar::Plain,
    source::{Problem, Source},
};
use crate::version::{Version, VersionError};

pub(super) fn owned(texts: &[(&str, &Node)]) -> Vec<String> {
    texts.iter().map(|(text, _)| (*text).to_owned()).collect()
}

/// The bytes of a scalar's text inside its quotes.
pub(super) fn inner_span(node: &Node, source: &Source<'_>) -> Range<usize> {
    let quoted = node
        .as_scalar()
        .is_some_and(|s| matches!(s.style, Style::Single | Style::Double));
    let inner = if quoted && node.end >= node.start + 2 {
        node.start + 1..node.end - 1
    } else {
        node.span()
    };
    // A block scalar's range may hold more than its text.
    let text = node.as_scalar().map_or("", |s| s.text.as_str());
    match source
        .full()
        .get(inner.clone())
        .and_then(|slice| slice.rfind(text))
    {
        Some(at) => inner.start + at..inner.start + at + text.len(),
        None => inner,
    }
}

pub(super) fn code(reader: &mut Reader<'_, '_>, value: &Node) -> Option<String> {
    let text = value.as_text();
    let Some(text) = text else {
        reader.wrong("code", value, "text");
        return None;
    };
    let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    let edges = text.starts_with(['-', '_']) || text.ends_with(['-', '_']);
    if text.is_empty() || edges || text.len() > 100 || !text.chars().all(fine) {
        let message = format!(
            "the code {} may hold lowercase letters, digits, and hyphens between them",
            quote(text)
        );
        let problem = Problem::error("config-bad-code", value.span(), message);
        reader.problems.push(match slug(text) {
            Some(slug) => problem.hint(format!("write `{slug}`")),
            None => problem,
        });
        return None;
    }
    if text.contains('_') {
        let message = format!("the code {} holds underscores", quote(text));
        reader.problems.push(
            Problem::warning("config-code-underscore", value.span(), message)
                .hint("older plugins may keep them; new ones use hyphens"),
        );
    }
    Some(text.to_owned())
}

/// A code made of any text: `Yolo V8` gives `yolo-v8`.
pub fn slug(text: &str) -> Option<String> {
    let mut slug = String::new();
    for c in text.chars().flat_map(char::to_lowercase).take(100) {
        if c.is_ascii_lowercase() || c.is_ascii_digit() {
            slug.push(c);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    let slug = slug.trim_end_matches('-');
    (!slug.is_empty()).then(|| slug.to_owned())
}

pub(super) fn version<'n>(
    reader: &mut Reader<'n, '_>,
    value: &'n Node,
) -> Option<(Version, &'n Node)> {
    let Some(scalar) = value.as_scalar() else {
        reader.wrong("version", value, "text");
        return None;
    };
    let guess = Version::guess(&scalar.text);
    let number = matches!(
        scalar.meaning,
        Plain::Float(_) | Plain::Int(_) | Plain::BigInt
    );
    let written = quote(&scalar.text);
    let why = match scalar.meaning {
        Plain::Text | Plain::Timestamp => match scalar.text.parse::<Version>() {
            Ok(version) => return Some((version, value)),
            Err(VersionError::LeadingZero) => "is not normal: no number has a leading zero",
            Err(VersionError::Range) => "has a number that is too large",
            Err(VersionError::Form) => "is not of the form X.Y.Z",
        },
        _ => "is not of the form X.Y.Z",
    };
    let read_as = match scalar.meaning {
        Plain::Float(value) if value.to_string() != scalar.text => {
            format!(", and is read as the number {value}")
        }
        _ => String::new(),
    };
    let message = format!("the version {written} {why}{read_as}");
    let problem = Problem::error("config-bad-version", value.span(), message);
    reader.problems.push(match guess {
        Some(version) if number && !read_as.is_empty() => {
            problem.hint(format!("write all three numbers, quoted: \"{version}\""))
        }
        Some(version) => problem.hint(format!("write {version}")),
        None => problem,
    });
    None
}

pub(super) fn variant(reader: &mut Reader<'_, '_>) -> Option<String> {
    let (text, value) = reader.text("variant")?;
    let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let safe = text.starts_with(fine)
        && text.chars().all(|c| fine(c) || matches!(c, '.' | '_' | '-'))
        && text.len() <= 100
        // Names that git refuses in a branch.
        && !text.contains("..")
        && !text.ends_with('.')
        && !text.to_ascii_lowercase().ends_with(".lock");
    if !safe {
        let message = format!("the variant {} cannot name a file or a branch", quote(text));
        reader.problems.push(
            Problem::error("config-bad-variant", value.span(), message)
                .hint("use lowercase letters, digits, and `.`, `_`, `-` inside"),
        );
        return None;
    }
    Some(text.to_owned())
}

/// Values are taken as written: what a shell would see. No message shows one.
pub(super) fn env(reader: &mut Reader<'_, '_>) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    let Some(node) = reader.mapping("env") else {
        return env;
    };
    for (key, value) in node.as_mapping().unwrap_or_default() {
        let Some(name) = key.key_text() else { continue };
        if name.is_empty() || name.contains(['=', '\0']) {
            let message = format!("{} cannot name an environment variable", quote(&name));
            reader
                .problems
                .push(Problem::error("config-bad-env", key.span(), message));
            continue;
        }
        match &value.value {
            Value::Scalar(scalar) if scalar.text.contains('\0') => {
                let message = format!("the value of {} holds a NUL character", quote(&name));
                reader
                    .problems
                    .push(Problem::error("config-bad-env", key.span(), message));
            }
            Value::Scalar(scalar) if scalar.meaning != Plain::Null => {
                env.insert(name, scalar.text.clone());
            }
            Value::Scalar(_) => {
                let message = format!("the environment variable {} has no value", quote(&name));
                reader.problems.push(
                    Problem::error("config-bad-env", key.span(), message)
                        .hint("write \"\" for an empty one"),
                );
            }
            _ => {
                let name = format!("the environment variable {}", quote(&name));
                reader.problems.push(wrong_type(&name, value, "text"));
            }
        }
    }
    env
}

pub(super) fn tasks(reader: &mut Reader<'_, '_>) -> Vec<Task> {
    let mut tasks = Vec::new();
    for (text, value) in reader.texts("tasks", false) {
        let parts = text.split_once('.').filter(|(_, task)| {
            !task.is_empty()
                && task
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
        });
        let Some((kind, task)) = parts else {
            let message = format!("the task {} is not of the form data_type.task", quote(text));
            reader.problems.push(
                Problem::error("config-bad-task", value.span(), message)
                    .hint("write it as in `image.object_detection`"),
            );
            continue;
        };
        if let Some(data_type) = reader.word_of(kind, value) {
            tasks.push(Task {
                data_type,
                task: task.to_owned(),
            });
        }
    }
    tasks
}

pub(super) fn deprecated(reader: &mut Reader<'_, '_>, old: &str, new: &str) {
    let pairs = reader.node.as_mapping().unwrap_or_default();
    if let Some((key, _)) = pairs.iter().find(|(key, _)| key.as_text() == Some(old)) {
        reader.problems.push(
            Problem::warning(
                "config-deprecated-key",
                key.span(),
                format!("`{old}` is an older spelling"),
            )
            .hint(format!("write `{new}`")),
        );
    }
}

pub(super) fn requires(reader: &mut Reader<'_, '_>) -> Requires {
    let mut requires = Requires::default();
    if let Some(node) = reader.mapping("requires") {
        let inner = &mut Reader::new(
            node,
            "requires.".to_owned(),
            keys::REQUIRES,
            reader.problems,
        );
        let mut take = |key| inner.get(key).and_then(|value| inner.specifier(key, value));
        requires = Requires {
            sdk: take("sdk"),
            python: take("python"),
            cuda: take("cuda"),
        };
        inner.near_misses();
    }
    requires
}

pub(super) fn dependencies(reader: &mut Reader<'_, '_>) -> BTreeMap<String, VersionSpecifiers> {
    let mut dependencies = BTreeMap::new();
    let Some(node) = reader.mapping("dependencies") else {
        return dependencies;
    };
    let inner = &mut Reader::new(node, "dependencies.".to_owned(), &[], reader.problems);
    for (key, value) in node.as_mapping().unwrap_or_default() {
        if let Some(code) = key.key_text()
            && let Some(specifier) = inner.specifier(&code, value)
        {
            dependencies.insert(code, specifier);
        }
    }
    dependencies
}

pub(super) fn allow_secrets(reader: &mut Reader<'_, '_>) -> Vec<String> {
    let texts = reader.texts("allow_secrets", false);
    for (text, value) in &texts {
        if text.is_empty() || globset::Glob::new(text).is_err() {
            let message = match *text {
                "" => "an empty pattern allows nothing".to_owned(),
                text => format!("{} is not a glob", quote(text)),
            };
            reader
                .problems
                .push(Problem::error("config-bad-glob", value.span(), message));
        }
    }
    owned(&texts)
}

pub(super) fn actions(reader: &mut Reader<'_, '_>, node: &Node) -> Vec<Action> {
    let Some(pairs) = node.as_mapping() else {
        reader.wrong("actions", node, "a mapping");
        return Vec::new();
    };
    if pairs.is_empty() {
        reader.problems.push(
            Problem::error(
                "config-no-actions",
                node.span(),
                "a plugin needs at least one action",
            )
            .hint("add one, such as `train: {entrypoint: plugin.train:TrainAction}`"),
        );
    }
    pairs
        .iter()
        .filter_map(|(key, value)| action(reader.problems, key, value))
        .collect()
}

fn action(problems: &mut Vec<Problem>, key: &Node, value: &Node) -> Option<Action> {
    let name = key.key_text()?;
    let fine = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    if name.is_empty() || !name.chars().all(fine) {
        let message = format!(
            "the action name {} may hold letters, digits, `_`, `-`",
            quote(&name)
        );
        problems.push(Problem::error(
            "config-bad-action-name",
            key.span(),
            message,
        ));
    }
    let (line, column) = (key.line, key.column);
    if let Some(text) = value.as_text() {
        let entrypoint = entrypoint(problems, text, value)?;
        return Some(Action {
            name,
            entrypoint,
            method: None,
            description: None,
            input_type: None,
            output_type: None,
            line,
            column,
        });
    }
    if value.as_mapping().is_none() && !value.is_null() {
        problems.push(wrong_type(
            &format!("the action {}", quote(&name)),
            value,
            "a mapping",
        ));
        return None;
    }
    let reader = &mut Reader::new(value, format!("actions.{name}."), keys::ACTION, problems);
    let method = reader.word("method");
    let description = reader.string("description");
    let input_type = reader.string("input_type");
    let output_type = reader.string("output_type");
    reader.mapping("hyperparameters");
    reader.mapping("serve_options");
    reader.boolean("cacheable");
    reader.near_misses();
    let near = value
        .as_mapping()
        .unwrap_or_default()
        .iter()
        .find_map(|(key, _)| {
            let text = key.as_text().filter(|text| *text != "entrypoint")?;
            (reader.nearest(text) == Some("entrypoint")).then_some((key, text))
        });
    let Some(target) = reader.get("entrypoint") else {
        let message = format!("the action {} has no entrypoint", quote(&name));
        let at = near.map_or(key, |(near, _)| near);
        let hint = match near {
            Some((_, text)) => format!("rename {} to `entrypoint`", quote(text)),
            None => "add `entrypoint: module.path:Name`".to_owned(),
        };
        let problem = Problem::error("config-action-without-entrypoint", at.span(), message);
        problems.push(problem.hint(hint));
        return None;
    };
    let (text, target) = reader.text_of("entrypoint", target)?;
    let entrypoint = entrypoint(problems, text, target)?;
    Some(Action {
        name,
        entrypoint,
        method,
        description,
        input_type,
        output_type,
        line,
        column,
    })
}

fn entrypoint(problems: &mut Vec<Problem>, text: &str, value: &Node) -> Option<Entrypoint> {
    match entrypoint::split(text) {
        Ok((module, object)) => Some(Entrypoint {
            text: text.to_owned(),
            module: module.to_owned(),
            object: object.to_owned(),
            line: value.line,
            column: value.column,
            span: value.span(),
        }),
        Err(message) => {
            problems.push(
                Problem::error("config-bad-entrypoint", value.span(), message)
                    .hint("write it as module.path:Name"),
            );
            None
        }
    }
}
