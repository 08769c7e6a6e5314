//! Owns `--bump`: the next free version of a plugin, written into its configuration by changing
//! the version's bytes and no other.

use std::{fs, path::Path};

use synapse_engine::Failure;

use crate::{
    client::Release,
    config,
    plugin::Plugin,
    version::{Level, Version},
};

/// A version raised, or to be raised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bump {
    /// Before.
    pub old: Version,
    /// After.
    pub new: Version,
}

/// The version after `current` by `level` that no formal release of the variant has taken.
pub fn next(
    current: Version,
    level: Level,
    variant: Option<&str>,
    releases: &[Release],
) -> Option<Version> {
    let own = releases.iter().filter(|release| !release.slot.debug);
    let own = own.filter(|release| release.slot.variant.as_deref() == variant);
    let taken: Vec<Version> = own
        .filter_map(|release| release.slot.version.parse().ok())
        .collect();
    let mut next = current.bump(level)?;
    while taken.contains(&next) {
        next = next.bump(level)?;
    }
    Some(next)
}

/// What `--bump` would do to a plugin.
pub fn plan(plugin: &Plugin, level: Level, releases: &[Release]) -> Result<Bump, Failure> {
    let broken = |_| Failure::bug("a loaded plugin has no version");
    let old: Version = plugin.head.version.parse().map_err(broken)?;
    let new = next(old, level, plugin.head.variant.as_deref(), releases).ok_or_else(|| {
        Failure::user(
            "version-overflow",
            format!("{old} cannot be raised further"),
        )
    })?;
    Ok(Bump { old, new })
}

/// Writes the raised version: into the configuration, and into `[project].version` of
/// pyproject.toml when that was equal.
pub fn apply(plugin: &Plugin, bump: &Bump) -> Result<(), Failure> {
    let path = plugin.config_path();
    let shown = path.display().to_string();
    let bytes = fs::read(&path).map_err(|error| cannot(&path, "read", &error))?;
    let parsed = config::parse(&bytes, &shown);
    let config = parsed.config.ok_or_else(|| {
        Failure::user(
            "edited-while-reading",
            "the configuration was edited meanwhile",
        )
        .at(shown.clone())
    })?;
    if config.version != bump.old {
        let what = "the version was edited meanwhile";
        return Err(Failure::user("edited-while-reading", what)
            .at(shown)
            .hint("run it again"));
    }
    let edited = config::set_version(&bytes, &config, &bump.new).map_err(|error| {
        Failure::user("bump", error.to_string())
            .at(shown)
            .hint("raise the version by hand, then publish")
    })?;
    let pyproject = plugin.source.folder().join("pyproject.toml");
    // Both are worked out before either is written.
    let project = match fs::read_to_string(&pyproject) {
        Ok(text) => {
            config::set_pyproject_version(&text, &bump.old, &bump.new).map_err(|error| {
                Failure::user("bump", error.to_string())
                    .at(pyproject.display().to_string())
                    .hint("mend pyproject.toml, then publish again")
            })?
        }
        Err(_) => None,
    };
    if let Some(text) = project {
        replace(&pyproject, text.as_bytes())?;
    }
    replace(&path, &edited)
}

fn cannot(path: &Path, verb: &str, error: &std::io::Error) -> Failure {
    let what = format!("cannot {verb} {}: {error}", path.display());
    Failure::environment("bump-write", what).at(path.display().to_string())
}

fn replace(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    config::replace(path, bytes).map_err(|error| {
        cannot(path, "write", &error).hint("make the file writable, or raise the version by hand")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Slot;

    #[test]
    fn passes_every_version_taken() {
        let release = |version: &str, variant: Option<&str>, debug| Release {
            id: version.into(),
            slot: Slot {
                code: "a".into(),
                variant: variant.map(Into::into),
                version: version.into(),
                debug,
            },
            content: None,
            md5: None,
            size: None,
            url: String::new(),
            created: 0,
        };
        let releases = [
            release("0.1.0", None, false),
            release("0.1.1", None, false),
            release("0.1.3", None, false),
            release("0.1.2", None, true),
            release("0.2.0", Some("x"), false),
        ];
        let next = |level, variant| {
            let current = "0.1.0".parse().unwrap();
            next(current, level, variant, &releases)
                .unwrap()
                .to_string()
        };
        assert_eq!(next(Level::Patch, None), "0.1.2");
        assert_eq!(next(Level::Minor, None), "0.2.0");
        assert_eq!(next(Level::Minor, Some("x")), "0.3.0");
        assert_eq!(next(Level::Major, None), "1.0.0");
    }
}
