//! Owns which distributions a project names as its requirements: what may be a library of the
//! workspace. Only names count here, so whatever cannot be read names nothing.

use std::{collections::BTreeSet, path::Path};

use synapse_engine::{Digest, index::FileEntry};
use toml_edit::{Document, Item};

use crate::{fileset::read_regular, resolve::lock::normalised};

/// Files of one project that are looked at.
const MOST_FILES: usize = 20;

/// The names that the project in `folder` requires, sorted: in requirements.txt, in files of the
/// project that it includes, and in pyproject.toml. `files` are the project's; nothing comes
/// back when one of them was edited since they were hashed.
pub fn read(folder: &Path, files: &[FileEntry]) -> Option<Vec<String>> {
    let mut names = BTreeSet::new();
    let mut open = vec!["requirements.txt".to_owned()];
    let mut done: BTreeSet<String> = BTreeSet::new();
    while let Some(path) = open.pop() {
        if done.len() > MOST_FILES || !done.insert(path.clone()) {
            continue;
        }
        let Some(text) = text(folder, files, &path)? else {
            continue;
        };
        let around = path.rsplit_once('/').map_or("", |(around, _)| around);
        for line in text.lines() {
            match included(line) {
                Some(other) => open.extend(joined(around, other)),
                None => names.extend(name(line)),
            }
        }
    }
    if let Some(text) = text(folder, files, "pyproject.toml")? {
        names.extend(of_pyproject(&text));
    }
    Some(names.into_iter().collect())
}

/// A file's text: nothing when it was edited, and an inner nothing when it is none of the files.
#[expect(clippy::option_option, reason = "two different nothings")]
fn text(folder: &Path, files: &[FileEntry], path: &str) -> Option<Option<String>> {
    let Some(entry) = files.iter().find(|entry| entry.path == path) else {
        return Some(None);
    };
    let bytes = read_regular(&folder.join(path)).ok()?;
    if Digest::of(&bytes) != entry.digest {
        return None;
    }
    Some(String::from_utf8(bytes).ok())
}

/// The file that a line includes.
fn included(line: &str) -> Option<&str> {
    let line = line.trim();
    let rest = line
        .strip_prefix("--requirement")
        .or_else(|| line.strip_prefix("-r"))?;
    let rest = rest.trim_start_matches([' ', '=']);
    rest.split_whitespace().next()
}

/// A path below the project, put together from a folder and a relative path.
fn joined(around: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = around.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// The name at the start of a requirement, normalised.
fn name(line: &str) -> Option<String> {
    let line = line.trim();
    let end = line
        .find(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c)))
        .unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    let starts = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    // A path or URL, and not a name.
    let other = rest.starts_with(['/', ':', '\\']);
    (starts && !other).then(|| normalised(name))
}

fn of_pyproject(text: &str) -> Vec<String> {
    let Ok(document) = Document::parse(text) else {
        return Vec::new();
    };
    let project = document.get("project").and_then(Item::as_table_like);
    let list = project.and_then(|project| project.get("dependencies"));
    let items = list.and_then(Item::as_array).into_iter().flatten();
    items.filter_map(|item| name(item.as_str()?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_and_nothing_else() {
        for (line, found) in [
            ("My_Lib>=1 # why", Some("my-lib")),
            ("  a.b[extra] ; python_version < '3.12'", Some("a-b")),
            ("x @ file:///y", Some("x")),
            ("# comment", None),
            ("", None),
            ("-e ./libs/x", None),
            ("./libs/x", None),
            ("libs/x", None),
            ("https://host/x.whl", None),
        ] {
            assert_eq!(name(line).as_deref(), found, "{line}");
        }
        assert_eq!(included("-r more.txt"), Some("more.txt"));
        assert_eq!(included("--requirement=more.txt # x"), Some("more.txt"));
        assert_eq!(included("-rmore.txt"), Some("more.txt"));
        assert_eq!(joined("a/b", "../c.txt").as_deref(), Some("a/c.txt"));
        assert_eq!(joined("", "../c.txt"), None);
        let text = "[project]\ndependencies = [\"Common-Lib\", 3, \"numpy>=1\"]\n";
        assert_eq!(of_pyproject(text), ["common-lib", "numpy"]);
        assert!(of_pyproject("[project").is_empty());
    }
}
