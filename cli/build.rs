//! What `synapse --version --verbose` tells of the build.

#[path = "build/commit.rs"]
mod commit;

use std::{env, path::Path, process::Command};

fn main() {
    let variable = |name: &str| env::var(name).unwrap_or_default();
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build/commit.rs");
    println!("cargo::rerun-if-env-changed=SYNAPSE_COMMIT");
    let profile = variable("PROFILE");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let given = variable("SYNAPSE_COMMIT");
    let commit = if !given.is_empty() {
        // Whoever builds from an archive of the sources knows it.
        given
    } else if profile == "release" {
        for path in commit::watched(&root) {
            println!("cargo::rerun-if-changed={}", path.display());
        }
        commit::of(&root)
    } else {
        // Every commit would build the command and all tests anew.
        commit::UNKNOWN.to_owned()
    };
    let features: Vec<String> = env::vars()
        .filter_map(|(name, _)| Some(name.strip_prefix("CARGO_FEATURE_")?.to_lowercase()))
        .filter(|name| name != "default")
        .collect();
    let rustc = Command::new(variable("RUSTC")).arg("--version").output();
    let rustc = rustc.map_or_else(
        |_| "rustc".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    );
    for (name, value) in [
        ("COMMIT", commit),
        ("RUSTC", rustc),
        ("TARGET", variable("TARGET")),
        ("PROFILE", profile),
        ("FEATURES", features.join(",")),
    ] {
        println!("cargo::rustc-env=SYNAPSE_BUILD_{name}={value}");
    }
}
