//! Owns the test that pyproject.toml and this program say the same of the SDK's needs.

use std::collections::BTreeMap;

use toml_edit::{DocumentMut, Item};

use super::*;

const PYPROJECT: &str = include_str!("../../../pyproject.toml");

fn texts(list: &Item) -> Vec<&str> {
    let list = list.as_array().expect("a list");
    list.iter()
        .map(|text| text.as_str().expect("text"))
        .collect()
}

fn document() -> DocumentMut {
    PYPROJECT.parse().expect("TOML")
}

#[test]
fn pyproject_needs_the_same() {
    let document = document();
    assert_eq!(texts(&document["project"]["dependencies"]), IMPLICIT);
}

#[test]
fn pyproject_has_the_same_extras() {
    let document = document();
    let extras = document["project"]["optional-dependencies"]
        .as_table()
        .expect("a table");
    let mut theirs: BTreeMap<&str, Vec<&str>> = extras
        .iter()
        .map(|(name, list)| (name, texts(list)))
        .collect();
    let all = theirs.remove(ALL);
    let ours: BTreeMap<&str, Vec<&str>> = EXTRAS
        .iter()
        .map(|(name, needs)| (*name, needs.to_vec()))
        .collect();
    assert_eq!(theirs, ours);
    let names: Vec<&str> = ours.into_keys().collect();
    let together = format!("{NAME}[{}]", names.join(","));
    assert_eq!(all, Some(vec![together.as_str()]));
}

#[test]
fn all_is_every_extra_once() {
    assert_eq!(
        needs(ALL),
        [
            "globox>=2.9",
            "pyyaml>=6",
            "ray[default]>=2.9",
            "tomli>=2; python_version < '3.11'",
            "tqdm>=4.60",
        ]
    );
    assert!(needs("nothing").is_empty());
    assert_eq!(
        hint(),
        "its extras are all, dataset, progress, ray, toml and yaml"
    );
}
