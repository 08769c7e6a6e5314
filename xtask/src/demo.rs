//! Owns the demonstration: the sample workspace published twice on this machine, where the releases
//! lie, and an action run.

use std::{
    fs,
    os::unix,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::{bench::private_home, process::measure_output, repo};

/// Publishes the sample workspace twice and runs an action, on this machine alone.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Use this `synapse` instead of building one.
    #[arg(long)]
    bin: Option<PathBuf>,
    /// Folder to work in; a temporary one by default. What is made there is kept.
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// Shows it all; true when every run did what it should.
pub(crate) fn run(args: &Args) -> Result<bool> {
    let synapse = repo::release_binary(args.bin.as_deref())?;
    let scratch = match &args.dir {
        Some(dir) => {
            fs::create_dir_all(dir)?;
            TempDir::with_prefix_in("synapse-demo-", dir)
        }
        None => TempDir::with_prefix("synapse-demo-"),
    }?;
    let folder = scratch.keep().canonicalize()?;
    let (workspace, home) = (folder.join("workspace"), folder.join("home"));
    copy(&repo::root()?.join("fixtures/workspace"), &workspace)?;
    println!("a copy of fixtures/workspace: {}\n", workspace.display());

    let publish = |more: &[&str]| {
        let mut command = Command::new(&synapse);
        command.current_dir(&workspace);
        private_home(&mut command, &home);
        command.args(["plugin", "publish", "--all", "--local"]);
        command.args(more);
        command
    };
    for _ in 0..2 {
        println!("$ synapse plugin publish --all --local");
        let status = publish(&[]).status().context("synapse does not start")?;
        ensure!(status.success(), "the publish failed: {status}");
        println!();
    }
    let (_, output) = measure_output(&mut publish(&["--json"]))?;
    let document: serde_json::Value = serde_json::from_slice(&output)?;
    let total = |name: &str| document["totals"][name].as_u64();
    println!("once more, for programs: synapse plugin publish --all --local --json");
    for name in ["plugins", "up_to_date", "nodes_run", "bytes_sent"] {
        println!("  {name:<11} {}", total(name).unwrap_or_default());
    }
    println!("\nthe releases:");
    let mut releases = fs::read_dir(home.join("data/backend/files"))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    releases.sort();
    for release in &releases {
        println!("  {}", release.display());
    }
    println!();
    let ran = train(&synapse, &folder, &home)?;
    println!(
        "all of this is in {}: delete it when you are done",
        folder.display()
    );
    Ok(ran && total("nodes_run") == Some(0) && total("up_to_date") == total("plugins"))
}

/// Trains a line on five points, twice: the first run makes the environment, the second finds it.
/// Then reads values off the model that came of it. True when they are the right ones.
fn train(synapse: &Path, folder: &Path, home: &Path) -> Result<bool> {
    let workspace = folder.join("actions");
    copy(&repo::root()?.join("fixtures/actions"), &workspace)?;
    let plugin = workspace.join("plugins/synapse-line-fit-plugin");
    println!("a copy of fixtures/actions: {}\n", workspace.display());
    let command = |line: &str, params: Option<&str>| {
        let mut command = Command::new(synapse);
        command.current_dir(&plugin);
        private_home(&mut command, home);
        command.args(line.split(' '));
        if let Some(params) = params {
            command.args(["--params", params]);
        }
        let params = params.map_or_else(String::new, |text| format!(" --params '{text}'"));
        println!("$ synapse {line}{params}");
        command
    };
    let add = "dataset add samples/points --name points --id 7";
    let train = "plugin run train --mode local";
    let params = Some(r#"{"dataset": 7, "epochs": 200}"#);
    for (line, params) in [(add, None), (train, params), (train, params)] {
        let status = command(line, params)
            .status()
            .context("synapse does not start")?;
        ensure!(status.success(), "`synapse {line}` failed: {status}");
        println!();
    }
    let read = Some(r#"{"model": 1, "at": [10]}"#);
    let (_, output) = measure_output(&mut command("plugin run inference --json", read))?;
    let document: serde_json::Value = serde_json::from_slice(&output)?;
    println!("  the line at 10: {}\n", document["result"]["predictions"]);
    Ok(document["result"]["predictions"] == serde_json::json!([21.0]))
}

/// Copies a folder with its symlinks and modes.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to).with_context(|| to.display().to_string())?;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let (kind, to) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy(&entry.path(), &to)?;
        } else if kind.is_symlink() {
            unix::fs::symlink(fs::read_link(entry.path())?, &to)?;
        } else {
            fs::copy(entry.path(), &to)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn copies_keep_links_and_modes() {
        let scratch = tempfile::tempdir().unwrap();
        let (from, to) = (scratch.path().join("from"), scratch.path().join("to"));
        fs::create_dir_all(from.join("sub")).unwrap();
        fs::write(from.join("sub/run.sh"), "x").unwrap();
        fs::set_permissions(from.join("sub/run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
        unix::fs::symlink("sub/run.sh", from.join("link")).unwrap();
        copy(&from, &to).unwrap();
        assert_eq!(
            fs::read_link(to.join("link")).unwrap(),
            Path::new("sub/run.sh")
        );
        let mode = fs::metadata(to.join("sub/run.sh"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o755);
    }
}
