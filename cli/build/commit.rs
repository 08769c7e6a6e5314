//! Owns which commit a folder of sources is at. Shared by the build script and its tests.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// What stands for the commit where there is none to be told.
pub(crate) const UNKNOWN: &str = "unknown";
/// Folders whose changes make a build another one than the commit's.
const SOURCES: [&str; 5] = ["engine", "rules", "backend", "python", "cli"];

fn git(root: &Path, args: &[&str]) -> Option<String> {
    let output = Command::new("git")
        .arg("-C")
        .arg(root)
        .args(args)
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim_end().to_owned())
}

/// The commit, `-dirty` behind it where a tracked file differs; [`UNKNOWN`] outside of git.
pub(crate) fn of(root: &Path) -> String {
    let told = || {
        // The sources' own repository: one around an unpacked archive of them is another's.
        let inside = git(root, &["ls-files", "--error-unmatch", "Cargo.toml"]);
        inside?;
        let commit = git(root, &["rev-parse", "--short=12", "HEAD"])?;
        let changes = git(root, &["status", "--porcelain", "--untracked-files=no"])?;
        let dirty = if changes.is_empty() { "" } else { "-dirty" };
        Some(format!("{commit}{dirty}"))
    };
    told().unwrap_or_else(|| UNKNOWN.to_owned())
}

/// What the answer depends on, of what is there: a path that is not would build anew each time.
pub(crate) fn watched(root: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = SOURCES
        .iter()
        .map(|own| root.join(own).join("src"))
        .collect();
    let branch = git(root, &["symbolic-ref", "--quiet", "HEAD"]);
    let names = ["HEAD", "index", "packed-refs"].map(str::to_owned);
    for name in names.into_iter().chain(branch) {
        let path = git(root, &["rev-parse", "--git-path", &name]);
        paths.extend(path.map(|path| root.join(path)));
    }
    paths.retain(|path| path.exists());
    paths
}
