//! Owns [`Backend`]: what pyproject.toml says of how a project is built.

use std::{ops::Range, str::FromStr};

use pep440_rs::VersionSpecifiers;
use synapse_engine::Failure;
use toml_edit::{Document, Item, Value};

use super::builder::BUILD_FAILED;
use crate::resolve::{line::Place, lock::normalised};

/// The file at a project's root.
pub(super) const FILE: &str = "pyproject.toml";

/// The build backend of a project.
#[derive(Debug, Clone)]
pub struct Backend {
    /// `build-backend`, such as `hatchling.build`.
    pub name: String,
    /// `requires`, each with its place.
    pub requires: Vec<(String, Place)>,
    /// `backend-path`: folders of the project that hold the backend itself.
    pub paths: Vec<String>,
    /// `[project] name`, normalised, when it is there.
    pub distribution: Option<String>,
    /// `[project] dependencies`, as they are written.
    pub dependencies: Vec<String>,
    /// `[project] requires-python`.
    pub python: Option<VersionSpecifiers>,
}

/// Reads `bytes` of a pyproject.toml that people know as `shown`. Nothing when it names no build
/// backend.
pub fn read(bytes: &[u8], shown: &str) -> Result<Option<Backend>, Failure> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| mistake(shown.to_owned(), "it is not UTF-8", "save it as UTF-8"))?;
    let place = |span: Option<Range<usize>>| {
        let before = text
            .get(..span.map_or(0, |span| span.start))
            .unwrap_or_default();
        let last = before.rsplit('\n').next().unwrap_or_default();
        Place {
            file: shown.to_owned(),
            line: before.matches('\n').count() + 1,
            column: last.chars().count() + 1,
        }
    };
    let document = Document::parse(text).map_err(|error| {
        let at = place(error.span()).to_string();
        mistake(at, error.message(), "mend the file")
    })?;
    let table = |name: &str| document.get(name).and_then(Item::as_table_like);
    let Some(system) = table("build-system") else {
        return Ok(None);
    };
    let Some(backend) = system.get("build-backend") else {
        return Ok(None);
    };
    let wrong = |item: &Item, what: &str, hint: &str| {
        Err(mistake(place(item.span()).to_string(), what, hint))
    };
    let Some(name) = backend.as_str().filter(|name| is_backend(name)) else {
        return wrong(
            backend,
            "build-backend names no Python object",
            "write it like \"hatchling.build\"",
        );
    };
    let Some(requires) = system.get("requires") else {
        return wrong(
            backend,
            "build-system has no requires",
            "list what the backend needs, such as requires = [\"hatchling\"]",
        );
    };
    let Some(requires) = texts(requires) else {
        return wrong(
            requires,
            "requires is no list of texts",
            "write it like [\"hatchling\"]",
        );
    };
    let paths = match system.get("backend-path") {
        None => Vec::new(),
        Some(item) => match texts(item) {
            Some(paths) if paths.iter().all(|(path, _)| stays_inside(path)) => {
                paths.into_iter().map(|(path, _)| path).collect()
            }
            _ => {
                return wrong(
                    item,
                    "backend-path must list folders of the project",
                    "write it like [\".\"]",
                );
            }
        },
    };
    let project = table("project");
    let field = |name: &str| project.and_then(|project| project.get(name));
    let distribution = field("name").and_then(Item::as_str).map(normalised);
    // What is wrong with these is for the backend to say.
    let dependencies = field("dependencies").and_then(texts).unwrap_or_default();
    let python = field("requires-python").and_then(Item::as_str);
    Ok(Some(Backend {
        name: name.to_owned(),
        requires: requires
            .into_iter()
            .map(|(text, span)| {
                // Points at the text rather than at its quote.
                let span = span.map(|span| span.start + 1..span.end);
                (text, place(span))
            })
            .collect(),
        paths,
        distribution,
        dependencies: dependencies.into_iter().map(|(text, _)| text).collect(),
        python: python.and_then(|text| VersionSpecifiers::from_str(text).ok()),
    }))
}

fn mistake(place: String, what: &str, hint: &str) -> Failure {
    let what = format!("the wheel cannot be built: pyproject.toml: {what}");
    Failure::user(BUILD_FAILED, what).at(place).hint(hint)
}

/// `module.path` or `module.path:object.path`.
fn is_backend(name: &str) -> bool {
    let dotted = |text: &str| {
        let word = |word: &str| {
            !word.is_empty()
                && !word.starts_with(|c: char| c.is_ascii_digit())
                && word.chars().all(|c| c.is_alphanumeric() || c == '_')
        };
        text.split('.').all(word)
    };
    match name.split_once(':') {
        Some((module, object)) => dotted(module) && dotted(object),
        None => dotted(name),
    }
}

fn stays_inside(path: &str) -> bool {
    !path.starts_with('/') && !path.contains(['\\', '\0']) && path.split('/').all(|p| p != "..")
}

type Texts = Vec<(String, Option<Range<usize>>)>;

/// The texts of a list; nothing when it is none.
fn texts(item: &Item) -> Option<Texts> {
    let text = |value: &Value| Some((value.as_str()?.to_owned(), value.span()));
    item.as_array()?.iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Option<Backend>, Failure> {
        read(text.as_bytes(), "pyproject.toml")
    }

    #[test]
    fn a_backend_is_read_with_its_places() {
        let text = "[build-system]\nrequires = [\"hatchling>=1\",\n  \"other\"]\n\
                    build-backend = \"own.back:end\"\nbackend-path = [\".\"]\n\
                    [project]\nname = \"My.Lib\"\ndependencies = [\"numpy\"]\n";
        let backend = parsed(text).unwrap().unwrap();
        assert_eq!(backend.name, "own.back:end");
        let second = &backend.requires[1];
        assert_eq!(
            (second.0.as_str(), second.1.to_string()),
            ("other", "pyproject.toml:3:4".to_owned())
        );
        assert_eq!(backend.paths, ["."]);
        assert_eq!(backend.distribution.as_deref(), Some("my-lib"));
        assert_eq!(backend.dependencies, ["numpy"]);
    }

    #[test]
    fn without_a_backend_there_is_nothing_to_build() {
        for text in [
            "",
            "[project]\nname = \"x\"\n",
            "[build-system]\nrequires = [\"setuptools\"]\n",
        ] {
            assert!(parsed(text).unwrap().is_none(), "{text}");
        }
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        for (text, place) in [
            ("[build-system\n", "pyproject.toml:1:14"),
            (
                "[build-system]\nbuild-backend = \"hatchling.build\"\n",
                "pyproject.toml:2:17",
            ),
            (
                "[build-system]\nrequires = []\nbuild-backend = \"import os; x\"\n",
                "pyproject.toml:3:17",
            ),
            (
                "[build-system]\nrequires = [1]\nbuild-backend = \"x\"\n",
                "pyproject.toml:2:12",
            ),
            (
                "[build-system]\nrequires = []\nbuild-backend = \"x\"\nbackend-path = [\"../y\"]\n",
                "pyproject.toml:4:16",
            ),
        ] {
            let failure = parsed(text).unwrap_err();
            assert_eq!(failure.code, BUILD_FAILED);
            assert_eq!(failure.place.as_deref(), Some(place), "{text}");
        }
    }
}
