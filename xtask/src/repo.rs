//! Owns where things are in this repository, and how its release binary is built.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

/// The repository's root: the nearest folder upwards that holds this package.
pub(crate) fn root() -> Result<PathBuf> {
    let here = env::current_dir().context("the current folder is gone")?;
    here.ancestors()
        .find(|folder| folder.join("xtask/Cargo.toml").is_file())
        .map(Path::to_path_buf)
        .context("run this inside the repository")
}

/// The cargo that runs us.
pub(crate) fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The folder cargo builds into.
pub(crate) fn target_dir(root: &Path) -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir))
}

/// Builds the `synapse` binary for release and returns its path; `given` is used as it is.
pub(crate) fn release_binary(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = given {
        return path
            .canonicalize()
            .with_context(|| format!("no binary at {}", path.display()));
    }
    let root = root()?;
    eprintln!("building the release binary");
    let status = cargo()
        .current_dir(&root)
        .args([
            "build",
            "--release",
            "--locked",
            "-p",
            "synapse-cli",
            "--bin",
            "synapse",
        ])
        .status()
        .context("cargo does not start")?;
    ensure!(status.success(), "the release build failed");
    let path = target_dir(&root).join("release/synapse");
    ensure!(path.is_file(), "no binary at {}", path.display());
    Ok(path)
}

/// How a binary was built: that of one of this repository's builds, unknown of any other.
pub(crate) fn profile(binary: &Path) -> Result<&'static str> {
    let given = fs::read(binary)?;
    let target = target_dir(&root()?);
    let is = |built: &str| fs::read(target.join(built)).is_ok_and(|bytes| bytes == given);
    Ok(if is("release/synapse") {
        "release build"
    } else if is("debug/synapse") {
        "DEBUG build: its figures say nothing about speed"
    } else {
        "a given binary, built nobody knows how"
    })
}

/// Whether a program can be found on PATH.
pub(crate) fn has(program: &str) -> bool {
    find(program).is_some()
}

/// Where a program is on PATH.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// Fails with what to install when one of `programs` is absent.
pub(crate) fn need(programs: &[&str]) -> Result<()> {
    let missing: Vec<_> = programs
        .iter()
        .copied()
        .filter(|program| !has(program))
        .collect();
    if !missing.is_empty() {
        bail!("not installed: {}", missing.join(", "));
    }
    Ok(())
}
