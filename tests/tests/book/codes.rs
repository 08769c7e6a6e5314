//! Owns the registries that people read: every code of an error is explained in
//! `docs/reference/errors.md`, every variable in `docs/reference/environment.md`, and what is
//! explained there is in the code.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use regex::Regex;
use walkdir::WalkDir;

use crate::page;

const ERRORS: &str = "docs/reference/errors.md";
const VARIABLES: &str = "docs/reference/environment.md";

/// What stands before a code, wherever one is given to a failure.
const BEFORE: [&str; 4] = [
    // Failure::user("code", and closures of that name.
    r"(?:Failure::(?:user|environment)|\b(?:user|environment|python|unusable))\(\s*",
    r"(?:Diagnostic|Problem|Mark)::(?:error|warning)\(\s*",
    r"FailureKind::\w+,\s*",
    r"/// Failure code[^\n]*\n(?:\s*///[^\n]*\n)*\s*(?:pub(?:\([^)]*\))? )?const \w+: &str = ",
];
/// Kinds of failures as the exit code has them.
const EXITS: [(&str, &str); 3] = [
    (r"Failure::user\(\s*", "1"),
    (r"FailureKind::Python,\s*", "1"),
    (r"Failure::environment\(\s*", "3"),
];
const LITERAL: &str = r#""([a-z][a-z0-9]*(?:-[a-z0-9]+)*)""#;

/// The sources of what ships, without comments that are no sign and without tests.
fn sources(folders: &[&str], end: &str) -> String {
    let comment = Regex::new(r"(?m)^\s*//(?:[^/\n]|/ (?:[^F\n]|F[^a\n])|/!).*$").unwrap();
    let tests = Regex::new(r"#\[cfg\(test\)\]\s*mod ").unwrap();
    let mut all = String::new();
    for folder in folders {
        for entry in WalkDir::new(page::root().join(folder)).sort_by_file_name() {
            let path = entry.unwrap().into_path();
            let name = path.to_str().unwrap();
            if !name.ends_with(end) || name.contains("/tests/") || name.ends_with("tests.rs") {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let product = tests.split(&text).next().unwrap();
            all.push_str(&comment.replace_all(product, ""));
            all.push('\n');
        }
    }
    all
}

const RUST: [&str; 4] = ["engine/src", "rules/src", "backend/src", "cli/src"];

/// All codes that the sources give to failures.
fn given(source: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for before in BEFORE {
        let pattern = Regex::new(&format!("{before}{LITERAL}")).unwrap();
        found.extend(
            pattern
                .captures_iter(source)
                .map(|found| found[1].to_owned()),
        );
    }
    let field = Regex::new(&format!(r"\bcode: {LITERAL},")).unwrap();
    found.extend(field.captures_iter(source).map(|found| found[1].to_owned()));
    let chosen = Regex::new(r"\blet (?:\(code\b|code = if)[^;]*;").unwrap();
    let literal = Regex::new(LITERAL).unwrap();
    for choice in chosen.find_iter(source) {
        let codes = literal.captures_iter(choice.as_str());
        found.extend(codes.map(|found| found[1].to_owned()));
    }
    // Codes of configurations say so themselves; those of enums are the words of `fn code`.
    let own = Regex::new(r#""((?:config|workspace)-[a-z]+(?:-[a-z]+)*)""#).unwrap();
    let diagnostics = sources(&["rules/src/config", "rules/src/workspace.rs"], ".rs");
    found.extend(
        own.captures_iter(&diagnostics)
            .map(|found| found[1].to_owned()),
    );
    let functions = Regex::new(r"fn code\(&?self\) -> &'static str \{").unwrap();
    for start in functions.find_iter(source) {
        let mut depth = 1;
        let body = source[start.end()..].chars().take_while(|c| {
            depth += i32::from(*c == '{') - i32::from(*c == '}');
            depth > 0
        });
        let body: String = body.collect();
        found.extend(
            literal
                .captures_iter(&body)
                .map(|found| found[1].to_owned()),
        );
    }
    found
}

/// The rows of a page's tables: what stands in backquotes in the first cell, and the other cells.
fn explained(path: &str, pattern: &str) -> BTreeMap<String, Vec<String>> {
    let text = fs::read_to_string(page::root().join(path)).unwrap();
    let name = Regex::new(&format!("`({pattern})`")).unwrap();
    let mut found = BTreeMap::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("| ")) {
        let mut cells = line
            .split(" | ")
            .map(|cell| cell.trim_end_matches(" |").to_owned());
        let first = cells.next().unwrap_or_default();
        let rest: Vec<String> = cells.collect();
        for name in name.captures_iter(&first) {
            let before = found.insert(name[1].to_owned(), rest.clone());
            assert!(before.is_none(), "{path} explains {} twice", &name[1]);
        }
    }
    found
}

#[test]
fn every_code_is_explained_and_every_explanation_is_of_a_code() {
    let source = sources(&RUST, ".rs");
    let given = given(&source);
    assert!(given.len() > 100, "{given:?}");
    let explained = explained(ERRORS, "[a-z][a-z0-9]*(?:-[a-z0-9]+)*");
    let missing: Vec<&String> = given
        .iter()
        .filter(|code| !explained.contains_key(*code))
        .collect();
    assert!(missing.is_empty(), "{ERRORS} does not explain {missing:?}");
    // Python's own ones are told by the worker.
    let all = source + &sources(&["python/synapse_sdk/_worker"], ".py");
    let unused = explained
        .keys()
        .filter(|code| !all.contains(&format!("\"{code}\"")));
    let unused: Vec<&String> = unused.collect();
    assert!(
        unused.is_empty(),
        "{ERRORS} explains {unused:?}, which no code gives"
    );
    let silent = explained
        .iter()
        .filter(|(_, cells)| cells.len() < 3 || cells[1].is_empty());
    let silent: Vec<&String> = silent.map(|(code, _)| code).collect();
    assert!(
        silent.is_empty(),
        "{ERRORS} says not what to do about {silent:?}"
    );
}

#[test]
fn exit_codes_are_those_of_the_code() {
    let source = sources(&RUST, ".rs");
    let explained = explained(ERRORS, "[a-z][a-z0-9]*(?:-[a-z0-9]+)*");
    let mut wrong = Vec::new();
    let mut count = 0;
    for (before, exit) in EXITS {
        let pattern = Regex::new(&format!("{before}{LITERAL}")).unwrap();
        for found in pattern.captures_iter(&source) {
            count += 1;
            let cells = explained.get(&found[1]);
            let said = cells
                .and_then(|cells| cells.last())
                .map_or("", String::as_str);
            if !said.split(", ").any(|one| one == exit) {
                wrong.push(format!("{} exits with {exit}, not {said:?}", &found[1]));
            }
        }
    }
    assert!(wrong.is_empty(), "{ERRORS}:\n{}", wrong.join("\n"));
    assert!(
        count > 100,
        "{count} codes with an exit code in the sources"
    );
}

#[test]
fn every_variable_is_explained_and_every_explanation_is_of_a_variable() {
    let name = Regex::new(r#"["'`]((?:SYNAPSE|XDG)_[A-Z][A-Z0-9_]*)["'`]"#).unwrap();
    let source = sources(&RUST, ".rs")
        + &sources(&["python/src"], ".rs")
        + &sources(&["python/synapse_sdk"], ".py");
    let read: BTreeSet<String> = name
        .captures_iter(&source)
        .map(|found| found[1].to_owned())
        .collect();
    let explained = explained(VARIABLES, "[A-Z][A-Z0-9_]*");
    let missing: Vec<&String> = read
        .iter()
        .filter(|name| !explained.contains_key(*name))
        .collect();
    assert!(
        missing.is_empty(),
        "{VARIABLES} does not explain {missing:?}"
    );
    let unused = explained
        .keys()
        .filter(|name| !source.contains(name.as_str()));
    let unused: Vec<&String> = unused.collect();
    assert!(
        unused.is_empty(),
        "{VARIABLES} explains {unused:?}, which nothing reads"
    );
}
