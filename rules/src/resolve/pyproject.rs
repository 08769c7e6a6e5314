//! Owns what pyproject.toml says of requirements: `[project] dependencies` and
//! `requires-python`, and files that setuptools reads dependencies from.

use std::{ops::Range, str::FromStr};

use pep440_rs::VersionSpecifiers;
use toml_edit::{Document, Item, TableLike};

use super::{line::Place, requirements::Reader};
use crate::fileset::read_regular;

/// The file at a plugin's root.
const FILE: &str = "pyproject.toml";

/// Adds what the plugin's pyproject.toml asks for, when it has one.
pub(super) fn read(reader: &mut Reader<'_>) {
    let path = reader.folder.join(FILE);
    let shown = path.display().to_string();
    let text = match read_regular(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
        Err(error) => {
            let what = format!("cannot read {shown}: {error}");
            return reader.mistake(&shown, what, "check its permissions");
        }
        Ok(bytes) => String::from_utf8(bytes).unwrap_or_default(),
    };
    let place = |span: Option<Range<usize>>| {
        let before = text
            .get(..span.map_or(0, |span| span.start))
            .unwrap_or_default();
        let last = before.rsplit('\n').next().unwrap_or_default();
        Place {
            file: shown.clone(),
            line: before.matches('\n').count() + 1,
            column: last.chars().count() + 1,
        }
    };
    let document = match Document::parse(text.as_str()) {
        Ok(document) => document,
        Err(error) => {
            let at = place(error.span()).to_string();
            let what = format!("pyproject.toml: {}", error.message());
            return reader.mistake(&at, what, "mend the file");
        }
    };
    let project = document.get("project").and_then(Item::as_table_like);
    if let Some(item) = project.and_then(|project| project.get("requires-python")) {
        match item.as_str().map(VersionSpecifiers::from_str) {
            Some(Ok(wanted)) => {
                let known = reader.found.python.take();
                let all = known
                    .into_iter()
                    .flat_map(|known| known.iter().cloned().collect::<Vec<_>>());
                reader.found.python = Some(all.chain(wanted.iter().cloned()).collect());
            }
            _ => reader.mistake(
                &place(item.span()).to_string(),
                "requires-python is no version specifier",
                "write it like \">=3.10\"",
            ),
        }
    }
    let dependencies = project.and_then(|project| project.get("dependencies"));
    if let Some(item) = dependencies {
        let Some(list) = item.as_array() else {
            let at = place(item.span()).to_string();
            return reader.mistake(
                &at,
                "dependencies is no list",
                "write it like [\"numpy>=1\"]",
            );
        };
        for value in list {
            // Points at the text rather than at its quote.
            let span = value.span().map(|span| span.start + 1..span.end);
            match value.as_str() {
                Some(text) => reader.text(text, &place(span)),
                None => reader.mistake(
                    &place(value.span()).to_string(),
                    "a dependency is a text",
                    "put it in quotes",
                ),
            }
        }
    }
    if is_dynamic(project) {
        for name in setuptools_files(document.as_table()) {
            let path = reader.folder.join(name);
            let from = place(None);
            reader.file(&path, false, Some(&from));
        }
    }
}

fn is_dynamic(project: Option<&dyn TableLike>) -> bool {
    let dynamic = project.and_then(|project| project.get("dynamic"));
    let mut names = dynamic.and_then(Item::as_array).into_iter().flatten();
    names.any(|name| name.as_str() == Some("dependencies"))
}

fn setuptools_files(document: &dyn TableLike) -> Vec<String> {
    let path = ["tool", "setuptools", "dynamic", "dependencies"];
    let mut table = Some(document);
    for key in path {
        table = table
            .and_then(|table| table.get(key))
            .and_then(Item::as_table_like);
    }
    let file = table.and_then(|table| table.get("file"));
    match file {
        Some(item) if item.is_str() => item.as_str().map(str::to_owned).into_iter().collect(),
        Some(item) => {
            let names = item.as_array().into_iter().flatten();
            names
                .filter_map(|name| name.as_str().map(str::to_owned))
                .collect()
        }
        None => Vec::new(),
    }
}
