//! Owns the check of what pages show of files: YAML is a sound configuration or workspace, or a
//! part of one; JSON is JSON.

use std::path::Path;

use synapse_rules::{config, workspace};

use crate::page::{self, Page};

/// Keys of a workspace.
const WORKSPACE: [&str; 3] = ["members", "libraries", "storage"];
/// What a configuration cannot do without.
const REQUIRED: [(&str, &str); 5] = [
    ("name", "name: A\n"),
    ("code", "code: a\n"),
    ("version", "version: 0.1.0\n"),
    ("category", "category: custom\n"),
    ("actions", "actions: {run: plugin.run:main}\n"),
];

/// What is wrong with a block of YAML.
fn mistakes(text: &str) -> Vec<String> {
    let keys: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()))
        .filter_map(|line| Some(line.split_once(':')?.0))
        .collect();
    let diagnostics = if WORKSPACE.iter().any(|key| keys.contains(key)) {
        let members = if keys.contains(&"members") {
            ""
        } else {
            "members: [a]\n"
        };
        let whole = format!("{members}{text}");
        workspace::parse(whole.as_bytes(), "shown", Path::new("/nowhere")).diagnostics
    } else {
        let missing = REQUIRED.iter().filter(|(key, _)| !keys.contains(key));
        let before: String = missing.map(|(_, line)| *line).collect();
        config::parse(format!("{before}{text}").as_bytes(), "shown").diagnostics
    };
    let said = diagnostics.iter();
    said.map(|found| format!("{}: {} ({})", found.code, found.message, found.source_line))
        .collect()
}

#[test]
fn files_that_pages_show_are_sound() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for path in page::all() {
        for block in Page::read(&path).blocks() {
            let found = match block.language.as_str() {
                "yaml" => mistakes(&block.text),
                "json" => serde_json::from_str::<serde_json::Value>(&block.text)
                    .err()
                    .map(|error| error.to_string())
                    .into_iter()
                    .collect(),
                _ => continue,
            };
            count += 1;
            let place = |what| format!("{path}:{}: {what}", block.line);
            wrong.extend(found.into_iter().map(place));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(count > 5, "{count} blocks of YAML and JSON");
}

#[test]
fn unsound_files_are_found() {
    assert!(mistakes("members:\n  - ../out\n")[0].starts_with("workspace-bad-pattern"));
    assert!(mistakes("category: none\n")[0].starts_with("config-unknown-category"));
    assert!(mistakes("varian: acme\n")[0].starts_with("config-unknown-key"));
    assert_eq!(mistakes("allow_secrets: [pypi-token]\n"), [""; 0]);
}
