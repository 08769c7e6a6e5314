//! Seeing what goes on and what went on: the journal and `log`, `explain --between`, `graph`,
//! `--timings` and `--trace`.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod between;
mod graph;
mod journal;
mod timings;

use std::{fs, path::PathBuf};

use serde_json::Value;
use synapse_tests::Space;

const PROGRAM: &str = env!("CARGO_BIN_EXE_synapse_under_test");
const PUBLISH: [&str; 4] = ["plugin", "publish", "--all", "--local"];
/// A module of the fixture workspace.
const EXPORT: &str = "plugins/synapse-coco-export-plugin/plugin/export.py";

fn publish(space: &Space, more: &[&str], code: i32) {
    space.synapse(&[&PUBLISH, more].concat()).expect(code);
}

fn journal(space: &Space) -> PathBuf {
    space.home().join("data/journal.jsonl")
}

/// The lines of the journal.
fn lines(space: &Space) -> Vec<Value> {
    let text = fs::read_to_string(journal(space)).unwrap();
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The document of a command.
fn json(space: &Space, args: &[&str]) -> Value {
    space
        .synapse(&[args, &["--json"]].concat())
        .expect(0)
        .json()
}

fn texts(value: &Value) -> Vec<&str> {
    let all = value.as_array().unwrap().iter();
    all.map(|own| own.as_str().unwrap()).collect()
}
