//! Owns the making of the payload: builds the native module in a target folder of its own, and
//! lists it and the files of `synapse_sdk` with the digest of them all.

use std::{
    env,
    error::Error,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The file name with which every `CPython` from 3.10 on finds the module.
const NATIVE: &str = "synapse_native.abi3.so";

/// A file of the payload: its path there, and where it is now.
type Entry = (String, PathBuf);

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or("no manifest folder")?);
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("no output folder")?);
    for watched in ["build.rs", "native", "../Cargo.lock"] {
        println!("cargo::rerun-if-changed={watched}");
    }
    let mut entries = vec![(NATIVE.to_owned(), native(&root, &out)?)];
    package(&root.join("synapse_sdk"), "synapse_sdk", &mut entries)?;
    entries.sort();
    fs::write(out.join("payload.rs"), source(&entries)?)?;
    Ok(())
}

/// Builds the native module; returns where it lies.
fn native(root: &Path, out: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let target = out.join("native");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args([
            "build",
            "--release",
            "--locked",
            "--quiet",
            "--manifest-path",
        ])
        .arg(root.join("native/Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .current_dir(root);
    // What the outer cargo set is about the outer build: flags of a sanitiser or of coverage, a
    // linter in place of the compiler, the package that is being built.
    for (name, _) in env::vars_os() {
        let Some(name) = name.to_str() else { continue };
        let about_outer = [
            "CARGO_",
            "RUSTC",
            "RUSTFLAGS",
            "RUSTDOCFLAGS",
            "PYO3_",
            "DEP_",
        ];
        let kept = [
            "CARGO_HOME",
            "CARGO_NET_",
            "CARGO_HTTP_",
            "CARGO_REGISTR",
            "CARGO_SOURCE_",
        ];
        if about_outer.iter().any(|start| name.starts_with(start))
            && !kept.iter().any(|start| name.starts_with(start))
        {
            cargo.env_remove(name);
        }
    }
    let (host, wanted) = (env::var("HOST")?, env::var("TARGET")?);
    let mut built = target;
    if host != wanted {
        cargo.args(["--target", &wanted]);
        built.push(&wanted);
    }
    // No interpreter is asked and no libpython linked: the module fits every one from 3.10 on.
    cargo
        .env("PYO3_NO_PYTHON", "1")
        .env("PYO3_BUILD_EXTENSION_MODULE", "1");
    // The module is carried to other machines: it names no folder of this one.
    let mut flags = Vec::new();
    let homes = ["CARGO_HOME", "HOME"].map(env::var_os);
    let registry = match homes {
        [Some(own), _] => Some(PathBuf::from(own)),
        [None, Some(home)] => Some(PathBuf::from(home).join(".cargo")),
        [None, None] => None,
    };
    for (from, to) in [(registry.as_deref(), "cargo"), (root.parent(), "synapse")] {
        if let Some(from) = from {
            flags.push(format!("--remap-path-prefix={}={to}", from.display()));
        }
    }
    if wanted.contains("apple") {
        // The linker of macOS wants to be told that Python's symbols come later.
        flags.push("-Clink-arg=-undefined".to_owned());
        flags.push("-Clink-arg=dynamic_lookup".to_owned());
    }
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    let status = cargo.status()?;
    if !status.success() {
        return Err(format!("building the native module of the worker failed: {status}").into());
    }
    let name = if wanted.contains("apple") {
        "libsynapse_native.dylib"
    } else {
        "libsynapse_native.so"
    };
    Ok(built.join("release").join(name))
}

/// Lists the files of the package below `folder`.
fn package(folder: &Path, place: &str, entries: &mut Vec<Entry>) -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={}", folder.display());
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .ok_or("a name that is not UTF-8")?;
        if name == "__pycache__"
            || name.starts_with('.')
            || path.extension().is_some_and(|end| end == "pyc")
        {
            continue;
        }
        let place = format!("{place}/{name}");
        if path.is_dir() {
            package(&path, &place, entries)?;
        } else {
            println!("cargo::rerun-if-changed={}", path.display());
            entries.push((place, path));
        }
    }
    Ok(())
}

/// The Rust source that embeds `entries`.
fn source(entries: &[Entry]) -> Result<String, Box<dyn Error>> {
    let mut hasher = blake3::Hasher::new();
    let mut text = String::from("const FILES: &[(&str, &[u8])] = &[\n");
    for (place, path) in entries {
        let bytes = fs::read(path)?;
        for part in [place.as_bytes(), &bytes] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        let path = path.to_str().ok_or("a path that is not UTF-8")?;
        writeln!(text, "    ({place:?}, include_bytes!({path:?})),")?;
    }
    writeln!(
        text,
        "];\nconst DIGEST: &str = \"{}\";",
        hasher.finalize().to_hex()
    )?;
    Ok(text)
}
