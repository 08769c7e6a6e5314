//! Owns the rules of the house that compilers do not know: who may depend on whom, what a module
//! looks like, what a committed file may say. Each failure is one line, `path:line: what`.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result};
use cargo_metadata::{Metadata, MetadataCommand, Package};

use crate::{features, links, repo};

/// Which of our crates a crate may depend on. `None` means any.
const EDGES: [(&str, Option<&[&str]>); 8] = [
    ("synapse-engine", Some(&[])),
    ("synapse-native", Some(&[])),
    ("synapse-python", Some(&[])),
    ("synapse-rules", Some(&["synapse-engine", "synapse-python"])),
    (
        "synapse-backend",
        Some(&["synapse-rules", "synapse-engine"]),
    ),
    (
        "synapse-cli",
        Some(&[
            "synapse-backend",
            "synapse-rules",
            "synapse-python",
            "synapse-engine",
        ]),
    ),
    ("synapse-tests", None),
    ("xtask", None),
];

/// Crates of HTTP, Python, terminals and git, which the engine knows nothing of.
const NOT_IN_ENGINE: [&str; 30] = [
    "actix-web",
    "anstream",
    "anstyle",
    "axum",
    "clap",
    "console",
    "crossterm",
    "curl",
    "dialoguer",
    "git2",
    "hyper",
    "indicatif",
    "isahc",
    "miette",
    "octocrab",
    "owo-colors",
    "pyo3",
    "reqwest",
    "rustpython-parser",
    "termcolor",
    "terminal_size",
    "tiny_http",
    "tokio",
    "tonic",
    "tower",
    "tracing-subscriber",
    "ureq",
    "warp",
    "async-std",
    "smol",
];

/// Folders whose sources neither print nor read the environment: only `cli` does.
const QUIET: [&str; 3] = ["engine/src/", "rules/src/", "backend/src/"];
const NOT_QUIET: [&str; 6] = [
    "println!(",
    "eprintln!(",
    "print!(",
    "eprint!(",
    "env::var(",
    "env::var_os(",
];

/// The parts of the engine that stay small together, as files or folders of `engine/src`.
const CORE: [&str; 5] = ["graph", "manifest", "stable_hash", "plan", "schedule"];
const CORE_LINES: usize = 2_000;

const FILE_LINES: usize = 600;
/// Files that may be longer, each with the reason.
const LONG_FILES: [(&str, &str); 0] = [];

/// Names that say nothing about what a file owns.
const EMPTY_NAMES: [&str; 9] = [
    "common", "helper", "helpers", "manager", "managers", "misc", "stuff", "util", "utils",
];

const EDITION: &str = "2024";
const LICENCE: &str = "Apache-2.0";

/// Something against the rules.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    path: String,
    line: usize,
    what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}: {}", self.path, self.line, self.what)
    }
}

fn finding(path: &str, line: usize, what: impl Into<String>) -> Finding {
    Finding {
        path: path.to_owned(),
        line,
        what: what.into(),
    }
}

/// Prints all findings; true when there are none.
pub(crate) fn run() -> Result<bool> {
    let root = repo::root()?;
    let mut findings = check_packages(&root, &metadata(&root)?)?;
    let mut core = 0;
    let files = files(&root)?;
    for (path, line, what) in links::check(&root, &files) {
        findings.push(finding(&path, line, what));
    }
    for what in features::check(&root)? {
        findings.push(finding(features::PLACE, 1, what));
    }
    for path in files {
        findings.extend(check_name(&path));
        // Links are checked where they lead, and what is not text has no lines.
        let full = root.join(&path);
        if !full.symlink_metadata().is_ok_and(|stat| stat.is_file()) {
            continue;
        }
        let Ok(text) = String::from_utf8(fs::read(&full)?) else {
            continue;
        };
        findings.extend(check_machine_paths(&path, &text));
        if Path::new(&path).extension().is_some_and(|end| end == "rs") {
            findings.extend(check_source(&path, &text));
            if is_core(&path) {
                core += product_lines(&text).count();
            }
        }
    }
    if core > CORE_LINES {
        let what = format!(
            "{} take {core} lines together, of {CORE_LINES}",
            CORE.join(", ")
        );
        findings.push(finding("engine/src", 1, what));
    }
    findings.sort();
    for finding in &findings {
        println!("{finding}");
    }
    if findings.is_empty() {
        println!("tidy: no findings; the engine's core has {core} of {CORE_LINES} lines");
    }
    Ok(findings.is_empty())
}

fn metadata(root: &Path) -> Result<Metadata> {
    MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .no_deps()
        .exec()
        .context("cargo metadata")
}

fn check_packages(root: &Path, metadata: &Metadata) -> Result<Vec<Finding>> {
    let ours: Vec<&str> = metadata
        .packages
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    let noted = fs::read_to_string(root.join(DECISIONS))?;
    let mut findings = Vec::new();
    for package in &metadata.packages {
        let full = package.manifest_path.as_std_path();
        let path = full
            .strip_prefix(root)
            .unwrap_or(full)
            .to_string_lossy()
            .into_owned();
        let text = fs::read_to_string(full)?;
        findings.extend(check_dependencies(&path, &text, package, &ours));
        findings.extend(check_noted(&path, package, &ours, &noted));
        if package.edition.as_str() != EDITION {
            findings.push(finding(&path, 1, format!("the edition is not {EDITION}")));
        }
        if package.license.as_deref() != Some(LICENCE) {
            findings.push(finding(&path, 1, format!("the licence is not {LICENCE}")));
        }
        if !text.contains("[lints]\nworkspace = true") {
            findings.push(finding(
                &path,
                1,
                "the workspace's lints are not switched on",
            ));
        }
    }
    Ok(findings)
}

fn check_dependencies(path: &str, text: &str, package: &Package, ours: &[&str]) -> Vec<Finding> {
    let Some((_, allowed)) = EDGES
        .iter()
        .find(|(name, _)| *name == package.name.as_str())
    else {
        return vec![finding(
            path,
            1,
            format!("{} is not in tidy's list of crates", package.name),
        )];
    };
    let mut findings = Vec::new();
    for dependency in &package.dependencies {
        let name = dependency.name.as_str();
        let line = text
            .lines()
            .position(|line| line.trim_start().starts_with(name))
            .map_or(1, |index| index + 1);
        let known = allowed.is_none_or(|allowed| allowed.contains(&name));
        if ours.contains(&name) && !known {
            findings.push(finding(
                path,
                line,
                format!("{} may not use {name}", package.name),
            ));
        }
        let foreign = NOT_IN_ENGINE.contains(&name) || name.starts_with("gix");
        if package.name.as_str() == "synapse-engine" && foreign {
            findings.push(finding(
                path,
                line,
                format!("the engine knows nothing of {name}"),
            ));
        }
    }
    findings
}

/// Where each third-party crate has a row.
const DECISIONS: &str = "docs/decisions.md";

fn check_noted(path: &str, package: &Package, ours: &[&str], noted: &str) -> Vec<Finding> {
    let first_cells = || {
        noted
            .lines()
            .filter_map(|line| line.strip_prefix("| "))
            .filter_map(|row| row.split(" |").next())
    };
    let missing = |name: &&str| !first_cells().any(|cell| has_word(cell, name));
    let names = package.dependencies.iter();
    names
        .map(|dependency| dependency.name.as_str())
        .filter(|name| !ours.contains(name))
        .filter(missing)
        .map(|name| finding(path, 1, format!("{name} has no row in {DECISIONS}")))
        .collect()
}

/// A module whose name plugins import: the platform chose it.
const GIVEN_NAMES: [&str; 1] = ["python/synapse_sdk/plugins/utils.py"];

fn check_name(path: &str) -> Option<Finding> {
    if GIVEN_NAMES.contains(&path) {
        return None;
    }
    let stem = Path::new(path).file_stem()?.to_str()?;
    EMPTY_NAMES
        .contains(&stem.to_lowercase().as_str())
        .then(|| finding(path, 1, "name the file for what it owns"))
}

fn check_machine_paths(path: &str, text: &str) -> Vec<Finding> {
    // In pieces, or this file would find itself.
    let roots = [
        ["/ho", "me/"],
        ["/ro", "ot/"],
        ["/wo", "rk/"],
        ["/Us", "ers/"],
    ]
    .map(|p| p.concat());
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for root in &roots {
            let starts_a_path = line.match_indices(root.as_str()).any(|(at, _)| {
                let before = line[..at].chars().next_back();
                !before.is_some_and(|c| c.is_alphanumeric() || "._-/}~$)".contains(c))
            });
            if starts_a_path {
                findings.push(finding(
                    path,
                    index + 1,
                    format!("names a machine's own path, {root}"),
                ));
            }
        }
    }
    findings
}

fn check_source(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !text.starts_with("//!") {
        findings.push(finding(
            path,
            1,
            "a module opens with `//!` and what it owns",
        ));
    }
    let lines = text.lines().count();
    if lines > FILE_LINES && !LONG_FILES.iter().any(|(long, _)| *long == path) {
        let what = format!("{lines} lines, more than {FILE_LINES}: split it by what it owns");
        findings.push(finding(path, FILE_LINES + 1, what));
    }
    let is_test = path.contains("/tests/") || path.ends_with("tests.rs");
    if !is_test && QUIET.iter().any(|folder| path.starts_with(folder)) {
        for (line, code) in product_lines(text) {
            let found = NOT_QUIET.iter().find(|word| has_word(code, word));
            if let Some(word) = found.filter(|_| !code.trim_start().starts_with("//")) {
                let what = format!("{word}...) is for cli alone");
                findings.push(finding(path, line, what));
            }
        }
    }
    if path.starts_with("engine/src/") {
        findings.extend(check_signatures(path, text));
    }
    findings
}

/// The lines before a file's test module, numbered.
fn product_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines: Vec<&str> = text.lines().collect();
    let end = lines
        .windows(2)
        .position(|pair| {
            pair[0].trim() == "#[cfg(test)]" && pair[1].trim_start().starts_with("mod ")
        })
        .unwrap_or(lines.len());
    lines
        .into_iter()
        .enumerate()
        .take(end)
        .map(|(index, line)| (index + 1, line))
}

fn is_core(path: &str) -> bool {
    path.strip_prefix("engine/src/").is_some_and(|rest| {
        let first = rest.split('/').next().unwrap_or(rest);
        CORE.contains(&first.strip_suffix(".rs").unwrap_or(first))
    })
}

/// Neither petgraph nor rusqlite, nor a name imported from them, in a public item.
fn check_signatures(path: &str, text: &str) -> Vec<Finding> {
    let mut words = vec!["petgraph".to_owned(), "rusqlite".to_owned()];
    let mut findings = Vec::new();
    let mut import = String::new();
    let mut public: Option<(usize, String)> = None;
    for (line, code) in product_lines(text) {
        let code = code.trim();
        if code.starts_with("use petgraph")
            || code.starts_with("use rusqlite")
            || !import.is_empty()
        {
            import.push_str(code);
            if code.ends_with(';') {
                words.extend(imported(&import));
                import.clear();
            }
            continue;
        }
        if public.is_none() && code.starts_with("pub ") {
            public = Some((line, String::new()));
        }
        if let Some((first, mut item)) = public.take() {
            item.push_str(code);
            item.push(' ');
            // A signature ends with the item's body, a field with its comma; an enum's variants
            // are as public as it is.
            let ends = if item.starts_with("pub enum") {
                code == "}"
            } else {
                code.ends_with(['{', ';', '}']) || (first == line && code.ends_with(','))
            };
            if ends {
                if let Some(word) = words.iter().find(|word| has_word(&item, word)) {
                    findings.push(finding(
                        path,
                        first,
                        format!("{word} in a public signature"),
                    ));
                }
            } else {
                public = Some((first, item));
            }
        }
    }
    findings
}

/// The types that a `use` brings in.
fn imported(import: &str) -> Vec<String> {
    import
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| word.starts_with(char::is_uppercase))
        .map(str::to_owned)
        .collect()
}

/// Whether `text` has `word` other than as the end or the start of a longer one.
fn has_word(text: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        let open_end = word.ends_with(part);
        !(before.is_some_and(part) || open_end && after.is_some_and(part))
    })
}

/// All files of the project: those git knows or would take, else all but what is built.
pub(crate) fn files(root: &Path) -> Result<Vec<String>> {
    let listed = Command::new("git")
        .current_dir(root)
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .stderr(Stdio::null())
        .output();
    if let Ok(output) = listed
        && output.status.success()
        && !output.stdout.is_empty()
    {
        let text = String::from_utf8(output.stdout).context("a file name is not UTF-8")?;
        return Ok(text.split_terminator('\0').map(str::to_owned).collect());
    }
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root.join(&folder))? {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                if ![".git", "target", "__pycache__"]
                    .iter()
                    .any(|name| path.ends_with(name))
                {
                    folders.push(path);
                }
            } else {
                found.push(path.to_string_lossy().into_owned());
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn what(findings: &[Finding]) -> Vec<(usize, &str)> {
        findings
            .iter()
            .map(|finding| (finding.line, finding.what.as_str()))
            .collect()
    }

    #[test]
    fn quiet_crates_do_not_print() {
        let text = "//! Owns a.\nfn f() {\n    println!(\"a\");\n    // println!(\"b\")\n    \
                    my_println!(\"c\");\n}\n#[cfg(test)]\nmod tests {\n    fn g() { println!(\"d\") }\n}\n";
        let findings = check_source("rules/src/a.rs", text);
        assert_eq!(what(&findings), [(3, "println!(...) is for cli alone")]);
        assert!(check_source("cli/src/a.rs", text).is_empty());
        assert_eq!(check_source("cli/src/a.rs", "fn f() {}\n").len(), 1);
    }

    #[test]
    fn long_files_are_found() {
        let text = format!("//! Owns b.\n{}", "\n".repeat(FILE_LINES));
        assert_eq!(check_source("cli/src/b.rs", &text)[0].line, FILE_LINES + 1);
    }

    #[test]
    fn petgraph_stays_inside() {
        let text = "//! Owns c.\nuse petgraph::{\n    Direction,\n    graph::DiGraph,\n};\n\
                    pub struct A {\n    graph: DiGraph<u8, u8>,\n    pub open: DiGraph<u8, u8>,\n}\n\
                    pub fn f(\n    a: u8,\n) -> Direction {\n    inner()\n}\n\
                    pub(crate) fn g() -> Direction {\n}\npub use rusqlite::Connection;\n\
                    pub enum Bad {\n    Sql(rusqlite::Error),\n}\n";
        let findings = check_signatures("engine/src/c.rs", text);
        let lines: Vec<usize> = findings.iter().map(|finding| finding.line).collect();
        assert_eq!(lines, [8, 10, 17, 18]);
    }

    #[test]
    fn machine_paths_are_found() {
        let bad = ["see /ho", "me/me/x\nin \"/wo", "rk/x\"\n"].concat();
        assert_eq!(check_machine_paths("docs/a.md", &bad).len(), 2);
        let good = ["$HOME/wo", "rk/x\nurl.example/wo", "rk/\n"].concat();
        assert_eq!(what(&check_machine_paths("docs/a.md", &good)), []);
    }

    #[test]
    fn names_say_something() {
        assert!(check_name("rules/src/utils.rs").is_some());
        assert!(check_name("rules/src/archive.rs").is_none());
    }

    #[test]
    fn crates_without_a_row_are_found() {
        let root = repo::root().unwrap();
        let metadata = metadata(&root).unwrap();
        let mut packages = metadata.packages.iter();
        let engine = packages.find(|package| package.name.as_str() == "synapse-engine");
        let noted = "| crate | licence |\n| serde_json, blake3 | MIT | both |\n";
        let findings = check_noted("a", engine.unwrap(), &[], noted);
        let missing = |name: &str| {
            let text = format!("{name} has no row in {DECISIONS}");
            what(&findings).contains(&(1, text.as_str()))
        };
        assert!(missing("serde") && missing("petgraph"));
        assert!(!missing("serde_json") && !missing("blake3"));
    }

    #[test]
    fn the_core_is_counted_by_name() {
        assert!(is_core("engine/src/graph.rs") && is_core("engine/src/plan/reason.rs"));
        assert!(!is_core("engine/src/store.rs") && !is_core("rules/src/plan.rs"));
    }

    #[test]
    fn this_repository_lists_its_crates() {
        let root = repo::root().unwrap();
        let metadata = metadata(&root).unwrap();
        for package in &metadata.packages {
            assert!(EDGES.iter().any(|(name, _)| *name == package.name.as_str()));
        }
    }
}
