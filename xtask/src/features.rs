//! Owns the rule that no crate is built twice: the command alone, the whole workspace, and its
//! tests take the same crates with the same features.

use std::{collections::BTreeMap, path::Path, process::Stdio};

use anyhow::{Context, Result, ensure};

use crate::repo;

/// Where features are made equal.
pub(crate) const PLACE: &str = "cli/Cargo.toml";

/// What differs, a line each.
pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let tests = tree(root, &["--workspace"])?;
    let mut differ = Vec::new();
    for (what, more) in [
        (
            "the command alone",
            &["--package", "synapse-cli", "--edges", "normal,build"][..],
        ),
        (
            "the workspace without tests",
            &["--workspace", "--edges", "normal,build"][..],
        ),
    ] {
        for (name, features) in tree(root, more)? {
            match tests.get(&name) {
                Some(with) if features.iter().any(|one| !with.contains(one)) => {
                    differ.push(format!(
                        "{name} is built twice: {what} has {features:?}, tests {with:?}"
                    ));
                }
                _ => {}
            }
        }
    }
    differ.sort();
    differ.dedup();
    Ok(differ)
}

/// Each crate of a selection with its features.
fn tree(root: &Path, more: &[&str]) -> Result<BTreeMap<String, Vec<String>>> {
    let output = repo::cargo()
        .current_dir(root)
        .args([
            "tree", "--locked", "--prefix", "none", "--format", "{p}|{f}",
        ])
        .args(more)
        .stderr(Stdio::inherit())
        .output()
        .context("cargo tree")?;
    ensure!(output.status.success(), "cargo tree failed");
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in String::from_utf8(output.stdout)?.lines() {
        let line = line.trim_end_matches(" (*)");
        if let Some((name, features)) = line.split_once('|') {
            // Programs of the build have features of their own: both are listed.
            let all = found.entry(name.to_owned()).or_default();
            all.push(features.to_owned());
        }
    }
    for features in found.values_mut() {
        features.sort();
        features.dedup();
    }
    Ok(found)
}
