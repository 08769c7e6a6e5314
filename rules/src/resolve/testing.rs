//! Owns what a plugin's tests need besides its requirements: what its pyproject.toml lists for
//! development, files of that kind, and pytest with the plugins that the tests use.

use std::path::Path;

use synapse_engine::Failure;
use toml_edit::{Document, Item as Entry, TableLike};

use super::{
    line::Place,
    requirement::Condition,
    requirements::{self, Requirements, ours},
};
use crate::{config::Config, fileset::read_regular, python::Variables};

/// Extras and groups of pyproject.toml that tests need.
const NAMES: [&str; 4] = ["dev", "test", "tests", "testing"];
/// Files of requirements that tests need.
const FILES: [&str; 2] = ["requirements-dev.txt", "requirements-test.txt"];
/// Files that hold pytest's own settings.
const SETTINGS: [&str; 5] = [
    "pyproject.toml",
    "pytest.ini",
    ".pytest.ini",
    "tox.ini",
    "setup.cfg",
];
/// Groups include each other at most this deep.
const DEPTH: u32 = 16;

/// Plugins of pytest that are added where nothing else brings them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Needs {
    /// Arguments ask for coverage.
    pub coverage: bool,
    /// Tests use the fixture `mocker`.
    pub mocker: bool,
}

impl Needs {
    /// What arguments of pytest, its settings in `folder` and the text of tests ask for.
    pub fn of<'a>(
        folder: &Path,
        arguments: impl IntoIterator<Item = &'a str>,
        tests: impl IntoIterator<Item = &'a Path>,
    ) -> Self {
        let text = |path: &Path| {
            let bytes = read_regular(path).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let asked = |argument: &str| argument == "--cov" || argument.starts_with("--cov=");
        let set = |name: &&str| {
            let text = text(&folder.join(name));
            text.split(|c: char| c.is_whitespace() || "\"'=,[]".contains(c))
                .any(|word| word == "--cov")
        };
        Self {
            coverage: arguments.into_iter().any(asked) || SETTINGS.iter().any(set),
            mocker: tests.into_iter().any(|path| text(path).contains("mocker")),
        }
    }
}

/// What the plugin in `folder` asks for, and what its tests need besides.
pub fn read(
    folder: &Path,
    config: &Config,
    variables: &Variables,
    sdk_version: &str,
    needs: Needs,
) -> Result<Requirements, Failure> {
    let lines = listed(folder);
    let mut found =
        requirements::read_with(folder, config, variables, sdk_version, &lines, &FILES)?;
    let place = Place {
        file: "synapse plugin test".to_owned(),
        line: 1,
        column: 1,
    };
    for (wanted, name, line) in [
        (true, "pytest", "pytest>=7"),
        (needs.coverage, "pytest-cov", "pytest-cov>=4"),
        (needs.mocker, "pytest-mock", "pytest-mock>=3.10"),
    ] {
        if wanted && found.items.iter().all(|item| item.name() != Some(name)) {
            found.items.push(ours(line, &Condition::default(), &place)?);
        }
    }
    Ok(found)
}

/// The lines of extras and groups. Mistakes of the file itself are told by whoever reads all of it.
fn listed(folder: &Path) -> Vec<(String, Place)> {
    let path = folder.join("pyproject.toml");
    let text = read_regular(&path)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok());
    let Some(text) = text else { return Vec::new() };
    let Ok(document) = Document::parse(text.as_str()) else {
        return Vec::new();
    };
    let table = |path: &[&str]| {
        let mut table: Option<&dyn TableLike> = Some(document.as_table());
        for key in path {
            table = table
                .and_then(|table| table.get(key))
                .and_then(Entry::as_table_like);
        }
        table
    };
    let extras = table(&["project", "optional-dependencies"]);
    let groups = table(&["dependency-groups"]);
    let shown = path.display().to_string();
    let mut lines = Vec::new();
    let mut add = |value: &toml_edit::Value| {
        let Some(line) = value.as_str() else { return };
        let start = value.span().map_or(0, |span| span.start + 1);
        let before = text.get(..start).unwrap_or_default();
        let last = before.rsplit('\n').next().unwrap_or_default();
        lines.push((
            line.to_owned(),
            Place {
                file: shown.clone(),
                line: before.matches('\n').count() + 1,
                column: last.chars().count() + 1,
            },
        ));
    };
    for name in NAMES {
        let extra = extras
            .and_then(|extras| extras.get(name))
            .and_then(Entry::as_array);
        extra.into_iter().flatten().for_each(&mut add);
        group(groups, name, DEPTH, &mut add);
    }
    lines
}

/// The lines of a group, and of those that it includes.
fn group(
    groups: Option<&dyn TableLike>,
    name: &str,
    depth: u32,
    add: &mut dyn FnMut(&toml_edit::Value),
) {
    let own = groups
        .and_then(|groups| groups.get(name))
        .and_then(Entry::as_array);
    for value in own.into_iter().flatten() {
        let included = value
            .as_inline_table()
            .and_then(|table| table.get("include-group"));
        match included.and_then(toml_edit::Value::as_str) {
            Some(other) if depth > 0 => group(groups, other, depth - 1, add),
            Some(_) => {}
            None => add(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config;

    const CONFIG: &str =
        "{name: A, code: a, version: 1.0.0, category: custom, actions: {a: 'a:b'}}";

    fn names(files: &[(&str, &str)], needs: Needs) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let config = config::parse(CONFIG.as_bytes(), "config.yaml")
            .config
            .unwrap();
        let variables = Variables::of([]);
        let read = read(folder.path(), &config, &variables, "0.1.0", needs).unwrap();
        read.items.iter().map(|item| item.shown.clone()).collect()
    }

    #[test]
    fn what_is_not_listed_is_added_and_what_is_listed_stays() {
        let all = Needs {
            coverage: true,
            mocker: true,
        };
        assert_eq!(
            names(&[("requirements.txt", "numpy\n")], all),
            ["numpy", "pytest>=7", "pytest-cov>=4", "pytest-mock>=3.10"]
        );
        assert_eq!(names(&[], Needs::default()), ["pytest>=7"]);
        let pyproject = "[project]\nname = 'a'\nversion = '1'\ndependencies = ['torch']\n\
                         [project.optional-dependencies]\ndev = ['pytest>=7.0.0', 'pytest-cov']\n\
                         docs = ['sphinx']\n[dependency-groups]\nbase = ['attrs']\n\
                         test = ['hypothesis', {include-group = 'base'}, {include-group = 'test'}]\n";
        let found = names(
            &[
                ("pyproject.toml", pyproject),
                ("requirements-dev.txt", "ruff\n"),
            ],
            all,
        );
        for one in [
            "torch",
            "pytest>=7.0.0",
            "pytest-cov",
            "hypothesis",
            "attrs",
            "ruff",
        ] {
            assert!(found.iter().any(|own| own == one), "{one}: {found:?}");
        }
        assert!(
            found
                .iter()
                .all(|own| own != "sphinx" && own != "pytest>=7"),
            "{found:?}"
        );
    }

    #[test]
    fn needs_come_from_arguments_settings_and_tests() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test_a.py");
        fs::write(&path, "def test_a(mocker): ...\n").unwrap();
        let needs = |arguments: &[&'static str], tests: bool| {
            let tests = tests.then_some(path.as_path());
            Needs::of(folder.path(), arguments.iter().copied(), tests)
        };
        assert_eq!(needs(&["-v", "--covers"], false), Needs::default());
        assert!(needs(&["--cov=plugin"], false).coverage && needs(&["--cov"], true).mocker);
        fs::write(
            folder.path().join("pytest.ini"),
            "[pytest]\naddopts = --cov=plugin\n",
        )
        .unwrap();
        assert!(needs(&[], false).coverage);
    }
}
