//! `synapse --version --verbose`: what this very command was built from, and the Python that it
//! would use. `--version` alone is answered before anything else is looked at.

use std::ffi::OsString;

use serde_json::json;
use synapse_rules::python::{
    interpreter::{self, Find, Interpreter},
    process::{Children, Private},
};

use crate::{
    app::App,
    args::Output,
    render::{DIM, Printer, paint},
};

/// What the build script found.
const COMMIT: &str = env!("SYNAPSE_BUILD_COMMIT");
const RUSTC: &str = env!("SYNAPSE_BUILD_RUSTC");
const TARGET: &str = env!("SYNAPSE_BUILD_TARGET");
const PROFILE: &str = env!("SYNAPSE_BUILD_PROFILE");
const FEATURES: &str = env!("SYNAPSE_BUILD_FEATURES");
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How it is to be told, when the arguments ask for the version and more than its number.
pub fn asked(arguments: impl Iterator<Item = OsString>) -> Option<Output> {
    let mut output = Output::default();
    let (mut version, mut more) = (false, false);
    for argument in arguments {
        match argument.to_str()? {
            "--version" | "-V" => version = true,
            "-vV" | "-Vv" => {
                version = true;
                more = true;
            }
            "--verbose" | "-v" => more = true,
            "--json" => {
                output.json = true;
                more = true;
            }
            _ => return None,
        }
    }
    (version && more).then_some(output)
}

/// Tells it; always well, since a machine without Python has a version as well.
pub fn run(output: &Output) -> u8 {
    let python = python(output.clone());
    let (commit, dirty) = match COMMIT.strip_suffix("-dirty") {
        Some(commit) => (commit, true),
        None => (COMMIT, false),
    };
    let features: Vec<&str> = FEATURES.split(',').filter(|own| !own.is_empty()).collect();
    let sdk = &synapse_python::digest()[..12];
    let mut printer = Printer::stdout(output);
    if output.is_machine() {
        printer.json(&json!({
            "schema": 1, "command": "version", "ok": true,
            "version": VERSION,
            "commit": (commit != "unknown").then_some(commit), "dirty": dirty,
            "rustc": RUSTC, "target": TARGET, "profile": PROFILE, "features": features,
            "sdk": {"version": synapse_python::VERSION, "digest": synapse_python::digest()},
            "python": python.as_ref().map(|python| json!({
                "version": python.full_version(),
                "executable": python.executable.display().to_string(),
                "active": python.is_virtual,
            })),
        }));
        return 0;
    }
    printer.line(format!("synapse {VERSION}"));
    let features = if features.is_empty() {
        "none".to_owned()
    } else {
        features.join(", ")
    };
    let dirty = if dirty { ", with changes" } else { "" };
    let python = python.map_or_else(
        || "none is found; `synapse doctor` says more".to_owned(),
        |own| format!("{} at {}", own.full_version(), own.executable.display()),
    );
    for (name, value) in [
        ("commit", format!("{commit}{dirty}")),
        ("built", format!("{PROFILE}, {RUSTC}, {TARGET}")),
        ("features", features),
        (
            "sdk",
            format!("synapse-sdk {} ({sdk})", synapse_python::VERSION),
        ),
        ("python", python),
    ] {
        let name = format!("{name}:");
        printer.line(format!("{} {value}", paint(DIM, format!("{name:9}"))));
    }
    0
}

/// The Python that a run would use, the active environment's first.
fn python(output: Output) -> Option<Interpreter> {
    let app = App::new(output, |name| std::env::var_os(name), None).ok()?;
    let private = Private::new(&std::env::temp_dir()).ok()?;
    let variables = app.variables();
    let find = Find {
        wanted: None,
        requires: None,
        newest: false,
        variables: &variables,
        cache: private.path(),
        cancel: &app.cancel,
    };
    let active = interpreter::active(&find, &Children).ok().flatten();
    active.or_else(|| interpreter::find(&find, &Children).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_the_number_is_told_where_it_is_asked_for() {
        let asked = |text: &str| asked(text.split_whitespace().map(OsString::from));
        for text in ["--version --verbose", "-V -v", "-vV", "-Vv", "-v --version"] {
            assert!(!asked(text).unwrap().json, "{text}");
        }
        assert!(asked("--json --version").unwrap().json);
        for text in [
            "",
            "--version",
            "-V",
            "-v",
            "--verbose",
            "plan --version -v",
            "-V -v plan",
        ] {
            assert!(asked(text).is_none(), "{text}");
        }
    }
}
