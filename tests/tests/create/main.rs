//! `synapse plugin create`: plugins of every category that run, pass their tests and publish; a
//! team's templates; what is refused; workspaces; and that a plugin is made whole or not at all.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod every;
mod options;
mod team;
mod terminal;
mod whole;
mod workspace;

use std::path::Path;

use synapse_tests::{Run, Space};

const PROGRAM: &str = env!("CARGO_BIN_EXE_synapse_under_test");

const CATEGORIES: [&str; 8] = [
    "neural_net",
    "export",
    "upload",
    "smart_tool",
    "post_annotation",
    "pre_annotation",
    "data_validation",
    "custom",
];

fn space() -> Space {
    Space::new(PROGRAM)
}

fn create(space: &Space, args: &[&str]) -> Run {
    space.synapse(&[&["plugin", "create"], args].concat())
}

/// Names in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let listing = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = listing
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
