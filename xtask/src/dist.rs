//! Owns what is handed to others: the wheel with the command and the package in it, tried in an
//! empty environment with an empty home, and held against what it must not say.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    demo::copy,
    python::{self, LOOK},
    pythons, repo,
};

/// Builds the wheel for release and tries it.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder that the wheel and SHA256SUMS are written to (default: `dist` below the build folder)
    #[arg(long)]
    output: Option<PathBuf>,
    /// Take the build of the tests, which names folders of this machine: to try this chore, not to
    /// hand out
    #[arg(long)]
    quick: bool,
    /// Try `cargo install --path cli` as well, which builds once more
    #[arg(long)]
    cargo: bool,
}

/// Reads a wheel as its users' machines do. Fails unless it is named for the platform, has its
/// licence, has one top level, and names no folder of the machine that built it. Prints its digest.
const INSPECT: &str = r#"
import hashlib, pathlib, sys, zipfile
wheel, *folders = map(pathlib.Path, sys.argv[1:])
with zipfile.ZipFile(wheel) as archive:
    files = {info.filename: archive.read(info) for info in archive.infolist()}
name, version, *tag = wheel.stem.split("-")
assert tag[:2] == ["py3", "none"] and tag[2].startswith(("manylinux", "macosx")), tag
about = f"{name}-{version}.dist-info"
assert f"{about}/licenses/LICENSE" in files, sorted(files)
metadata = files[f"{about}/METADATA"].decode()
assert "License-File: LICENSE" in metadata and "Requires-Python: >=3.10" in metadata, metadata
for file, content in files.items():
    for folder in folders:
        at = content.find(bytes(folder) + b"/")
        assert at < 0, f"{file} names a folder of this machine: {content[at:at + 90]!r}"
size = sum(map(len, files.values()))
print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB, {len(files)} files, {size / 1e6:.1f} MB unpacked")
digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
wheel.with_name("SHA256SUMS").write_text(f"{digest}  {wheel.name}\n")
"#;

/// Builds and tries; true when all is well.
pub(crate) fn run(args: &Args) -> Result<bool> {
    let root = repo::root()?;
    let output = match &args.output {
        Some(output) => std::path::absolute(output)?,
        None => repo::target_dir(&root).join("dist"),
    };
    let home = env::home_dir().context("no home")?;
    let registry = env::var_os("CARGO_HOME").map_or_else(|| home.join(".cargo"), PathBuf::from);
    let variables = variables(&root, &registry)?;
    // Other flags build everything anew, so it has a folder of its own.
    let built = repo::target_dir(&root).join("dist-build");
    let built = built.to_str().context("a build folder that is text")?;
    let (profile, variables) = if args.quick {
        (&["--profile", "dev"][..], &variables[..0])
    } else {
        (&["--release", "--target-dir", built][..], &variables[..])
    };
    let wheel = match python::pack(&root, &output, profile, variables)? {
        Ok(wheel) => wheel,
        Err(what) => bail!("the wheel could not be built: {what}"),
    };
    let scratch = tempfile::tempdir()?;
    let python = pythons::all().pop().context("no Python")?;
    let mut inspect = Command::new(&python.executable);
    inspect.args(["-I", "-c", INSPECT]).arg(&wheel);
    if !args.quick {
        inspect.args([&root, &registry, &home]);
    }
    succeed(&mut inspect)?;
    let environment = scratch.path().join("environment");
    succeed(
        Command::new(&python.executable)
            .args(["-m", "venv"])
            .arg(&environment),
    )?;
    let bin = environment.join("bin");
    let mut install = Command::new(bin.join("python"));
    succeed(
        install
            .args(["-m", "pip", "install", "--quiet"])
            .arg(&wheel),
    )?;
    let mut look = private(&bin.join("python"), scratch.path());
    succeed(look.args(["-I", "-c", LOOK]))?;
    attempt(&root, &bin.join("synapse"), &scratch.path().join("by-pip"))?;
    println!("pip install {}: works", wheel.display());
    if args.cargo {
        let to = scratch.path().join("cargo");
        let mut install = repo::cargo();
        install.args(["install", "--locked", "--quiet", "--path", "cli", "--root"]);
        install.arg(&to).current_dir(&root);
        if args.quick {
            install.args(["--debug"]);
        }
        succeed(&mut install)?;
        attempt(
            &root,
            &to.join("bin/synapse"),
            &scratch.path().join("by-cargo"),
        )?;
        println!("cargo install --path cli: works");
    }
    println!("SHA256SUMS: {}", output.join("SHA256SUMS").display());
    Ok(true)
}

/// What makes builds of the same commit alike: no folders of this machine in them, one time.
fn variables(root: &Path, registry: &Path) -> Result<Vec<(&'static str, String)>> {
    let places = [(registry, "cargo"), (root, "synapse")];
    let map = |option: &str, between: &str| {
        let flags = places.map(|(from, to)| format!("{option}={}={to}", from.display()));
        flags.join(between)
    };
    let time = if let Ok(given) = env::var("SOURCE_DATE_EPOCH") {
        given
    } else {
        let mut git = Command::new("git");
        git.current_dir(root).args(["log", "-1", "--format=%ct"]);
        let output = git.output().context("git does not start")?;
        let time = String::from_utf8(output.stdout)?.trim().to_owned();
        // Of a tarball there is no commit: the earliest time that a ZIP can hold.
        if time.is_empty() {
            "315532800".to_owned()
        } else {
            time
        }
    };
    Ok(vec![
        (
            "CARGO_ENCODED_RUSTFLAGS",
            map("--remap-path-prefix", "\x1f"),
        ),
        ("CFLAGS", map("-ffile-prefix-map", " ")),
        ("SOURCE_DATE_EPOCH", time),
    ])
}

/// The first steps of somebody who has just installed `synapse`, in the new folder `scratch`.
fn attempt(root: &Path, synapse: &Path, scratch: &Path) -> Result<()> {
    fs::create_dir(scratch)?;
    let actions = scratch.join("actions");
    copy(&root.join("fixtures/actions"), &actions)?;
    let plugin = actions.join("plugins/synapse-line-fit-plugin");
    let params = r#"{"dataset": 7, "epochs": 5}"#;
    for args in [
        &["--version"][..],
        &["plugin", "publish", "--local", "--quiet"],
        &[
            "dataset",
            "add",
            "samples/points",
            "--name",
            "points",
            "--id",
            "7",
            "--quiet",
        ],
        &["plugin", "run", "train", "--params", params, "--quiet"],
    ] {
        succeed(private(synapse, scratch).args(args).current_dir(&plugin))?;
    }
    Ok(())
}

/// A program with an empty home, and with none of this user's settings but those that reach a
/// package index.
fn private(program: &Path, scratch: &Path) -> Command {
    let mut command = Command::new(program);
    let kept = |name: &str| {
        ["PATH", "LANG", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"].contains(&name)
            || ["PIP_", "UV_"].iter().any(|start| name.starts_with(start))
            || name.to_lowercase().ends_with("_proxy")
    };
    command
        .env_clear()
        .envs(env::vars().filter(|(name, _)| kept(name)))
        .env("HOME", scratch);
    command
}

fn succeed(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    ensure!(status.success(), "{command:?} failed: {status}");
    Ok(())
}
