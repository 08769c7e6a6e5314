//! Owns the environment of an action: what the user's own gives, what the environment's `python`
//! expects, what the configuration sets, and the limits.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    path::Path,
};

use crate::{
    python::{Variables, interpreter::Interpreter},
    worker::limits::{Limits, set},
};

/// Names that a configuration cannot set: they steer the toolchain and the loader, not the action.
const REFUSED: [&str; 2] = ["PYTHONHOME", "PATH"];
/// The same by how they begin.
const REFUSED_STARTS: [&str; 3] = ["SYNAPSE_", "LD_", "DYLD_"];
/// Variables of another interpreter, which would lead this one astray.
const DROPPED: [&str; 3] = ["PYTHONHOME", "__PYVENV_LAUNCHER__", "PYTHONEXECUTABLE"];

/// The environment of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surroundings {
    /// All of it.
    pub environment: Vec<(OsString, OsString)>,
    /// What was not done as asked.
    pub notes: Vec<String>,
}

/// The environment of an action that runs with `interpreter`. `set_by_config` holds secrets.
/// `synapse` is the executable that children of the action find.
pub fn surroundings(
    variables: &Variables,
    interpreter: &Interpreter,
    set_by_config: &BTreeMap<String, String>,
    limits: &Limits,
    synapse: &Path,
) -> Surroundings {
    let mut environment: Vec<(OsString, OsString)> = variables
        .iter()
        .filter(|(name, _)| DROPPED.iter().all(|dropped| name != dropped))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let mut notes = Vec::new();
    if interpreter.is_virtual {
        // As if it were activated: the programs of its packages are found.
        let bin = interpreter.executable.parent().unwrap_or(Path::new("/"));
        let before = variables.get("PATH").unwrap_or(OsStr::new(""));
        let rest = std::env::split_paths(before).filter(|folder| folder != bin);
        // A folder with a colon in its name cannot be on PATH at all.
        if let Ok(path) = std::env::join_paths(std::iter::once(bin.to_owned()).chain(rest)) {
            put(&mut environment, "PATH", path);
        }
        put(
            &mut environment,
            "VIRTUAL_ENV",
            interpreter.prefix.clone().into_os_string(),
        );
    }
    for (name, value) in set_by_config {
        let refused = REFUSED.contains(&name.as_str())
            || REFUSED_STARTS.iter().any(|start| name.starts_with(start));
        if refused {
            notes.push(format!("env.{name} is not set: a plugin cannot change it"));
        } else if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            notes.push(format!(
                "env.{} is not set: it is no name of a variable",
                name.escape_debug()
            ));
        } else {
            set(&mut environment, name, value);
        }
    }
    notes.extend(limits.apply(&mut environment));
    // A crash says where it happened.
    set(&mut environment, "PYTHONFAULTHANDLER", "1");
    if variables.get("SYNAPSE_BIN").is_none() {
        put(
            &mut environment,
            "SYNAPSE_BIN",
            synapse.as_os_str().to_owned(),
        );
    }
    Surroundings { environment, notes }
}

fn put(environment: &mut Vec<(OsString, OsString)>, name: &str, value: OsString) {
    environment.retain(|(own, _)| own != name);
    environment.push((name.into(), value));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interpreter(is_virtual: bool) -> Interpreter {
        Interpreter {
            executable: "/envs/a/bin/python".into(),
            version: (3, 11, 7),
            implementation: "cpython".into(),
            prefix: "/envs/a".into(),
            base_prefix: "/usr".into(),
            base_executable: "/usr/bin/python3".into(),
            libpython: None,
            platform: String::new(),
            markers: BTreeMap::new(),
            is_virtual,
            site_packages: Vec::new(),
            pip: None,
            free_threaded: false,
        }
    }

    fn given(pairs: &[(&str, &str)]) -> Variables {
        Variables::of(
            pairs
                .iter()
                .map(|(name, value)| (name.into(), value.into())),
        )
    }

    fn value<'a>(made: &'a Surroundings, name: &str) -> Option<&'a str> {
        let mut found = made.environment.iter().filter(|(own, _)| own == name);
        let value = found.next().and_then(|(_, value)| value.to_str());
        assert!(found.next().is_none(), "{name} is there twice");
        value
    }

    #[test]
    fn an_environment_is_as_if_activated() {
        let before = given(&[
            ("PATH", "/usr/bin:/envs/a/bin"),
            ("VIRTUAL_ENV", "/envs/other"),
            ("PYTHONHOME", "/elsewhere"),
            ("MINE", "1"),
        ]);
        let make = |is_virtual| {
            let interpreter = interpreter(is_virtual);
            let config = BTreeMap::new();
            surroundings(
                &before,
                &interpreter,
                &config,
                &Limits::default(),
                Path::new("/s"),
            )
        };
        let made = make(true);
        assert_eq!(value(&made, "PATH"), Some("/envs/a/bin:/usr/bin"));
        assert_eq!(value(&made, "VIRTUAL_ENV"), Some("/envs/a"));
        assert_eq!(value(&made, "PYTHONHOME"), None);
        assert_eq!(value(&made, "MINE"), Some("1"));
        assert_eq!(value(&made, "SYNAPSE_BIN"), Some("/s"));
        assert_eq!(value(&make(false), "PATH"), Some("/usr/bin:/envs/a/bin"));
    }

    #[test]
    fn a_configuration_sets_variables_but_not_those_of_the_toolchain() {
        let refused = ["SYNAPSE_HOST", "LD_PRELOAD", "DYLD_X", "PYTHONHOME", "PATH"];
        let mut config: BTreeMap<String, String> = refused
            .iter()
            .map(|name| ((*name).to_owned(), "canary".to_owned()))
            .collect();
        config.insert("MODE".to_owned(), "fast".to_owned());
        config.insert("A=B".to_owned(), "x".to_owned());
        config.insert("CUDA_VISIBLE_DEVICES".to_owned(), "3".to_owned());
        let limits = Limits {
            gpus: Some(2),
            ..Limits::default()
        };
        let made = surroundings(
            &given(&[("MODE", "slow")]),
            &interpreter(false),
            &config,
            &limits,
            Path::new("/s"),
        );
        assert_eq!(value(&made, "MODE"), Some("fast"));
        assert_eq!(value(&made, "CUDA_VISIBLE_DEVICES"), Some("3"));
        for name in refused {
            assert_eq!(value(&made, name), None, "{name}");
        }
        assert_eq!(made.notes.len(), refused.len() + 2, "{:?}", made.notes);
        assert!(made.notes.iter().all(|note| !note.contains("canary")));
    }
}
