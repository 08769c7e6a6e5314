//! Tests of what is read from requirements files, pyproject.toml and the configuration.

use std::fs;

use super::{super::credentials::without, *};
use crate::config;

const CONFIG: &str = "name: T\ncode: t\nversion: 0.1.0\ncategory: custom\nactions:\n  run:\n    \
                      entrypoint: plugin.run:main\n";

fn found(files: &[(&str, &str)]) -> Result<Requirements, Failure> {
    let space = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = space.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let config = config::parse(CONFIG.as_bytes(), "config.yaml")
        .config
        .unwrap();
    let variables = Variables::of([("TOKEN".into(), "t0k3n-value".into())]);
    read(space.path(), &config, &variables, "0.1.0")
}

fn shown(found: &Requirements) -> Vec<&str> {
    found.items.iter().map(|item| item.shown.as_str()).collect()
}

#[test]
fn every_file_is_read_and_the_sdk_is_taken_out() {
    let found = found(&[
        (
            "requirements.txt",
            "a>=1\nsynapse-sdk[yaml]>=99\n-r more/b.txt\n-c c.txt\n-e ./lib[x]\n",
        ),
        ("more/b.txt", "b==2 --hash=sha256:aa\n"),
        ("c.txt", "z<3\n"),
        ("lib/setup.py", ""),
        (
            "pyproject.toml",
            "[project]\nrequires-python = \">=3.11\"\ndependencies = [\"d>1\"]\n",
        ),
    ])
    .unwrap();
    assert_eq!(
        shown(&found),
        ["a>=1", "pyyaml>=6", "b==2", "-e ./lib[x]", "d>1"]
    );
    assert_eq!(found.items[2].hashes, ["sha256:aa"]);
    assert_eq!(found.constraints.len(), 1);
    assert_eq!(found.python.unwrap().to_string(), ">=3.11");
    assert_eq!(found.warnings.len(), 1);
}

#[test]
fn all_mistakes_are_told_with_their_places() {
    let failure = found(&[
        ("requirements.txt", "a>>1\n-r b.txt\n--no-such\n./missing\n"),
        ("b.txt", "-r requirements.txt\n"),
    ])
    .err()
    .unwrap();
    let places: Vec<&str> = std::iter::once(&failure)
        .chain(&failure.more)
        .map(|failure| {
            failure
                .place
                .as_deref()
                .unwrap()
                .rsplit('/')
                .next()
                .unwrap()
        })
        .collect();
    assert_eq!(
        places,
        [
            "requirements.txt:1:2",
            "b.txt:1:1",
            "requirements.txt:3:1",
            "requirements.txt:4:1"
        ]
    );
    assert!(failure.more[0].message.ends_with("includes itself"));
}

#[test]
fn logins_are_in_nothing_that_is_shown() {
    // In parts, or this file would itself look like one with credentials.
    let text = [
        "-i https://me:${TOKEN}@h/simple\nx @ https://u:p4ssword",
        "@h/${TOKEN}/x.whl\n",
    ]
    .concat();
    let found = found(&[("requirements.txt", &text)]).unwrap();
    let all = format!("{:?}{}", shown(&found), found.options.identity());
    assert!(!all.contains("t0k3n") && !all.contains("p4ssword"), "{all}");
    let line = found.credentials.redact(&found.items[0].line);
    assert_eq!(line, "x @ https://h/***/x.whl");
    assert_eq!(without(&line), line);
}
