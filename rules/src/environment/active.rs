//! Owns the look at the active environment: whether what is installed there satisfies a plugin's
//! requirements. It reads what installers left behind; no Python is started.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    str::FromStr,
};

use pep440_rs::Version;
use pep508_rs::{ExtraName, MarkerEnvironment};
use synapse_engine::{Digest, Failure, StableHash, StableHasher};

use super::build;
use crate::{
    python::interpreter::{Interpreter, MINORS},
    resolve::{
        lock::{fingerprint, normalised},
        requirement::{Requirement, Source},
        requirements::Kind,
        rule::Work,
        sdk::IMPLICIT,
    },
};

/// What is installed, by normalised name.
struct Installed {
    version: Version,
    metadata: PathBuf,
}

/// What an environment holds, for keys.
pub(super) fn identity(interpreter: &Interpreter) -> Result<Digest, Failure> {
    let names = build::installed(&interpreter.site_packages).map_err(|error| {
        Failure::environment(
            "environment",
            format!("cannot read the environment: {error}"),
        )
        .at(interpreter.prefix.display().to_string())
        .hint("make it again, or use --env managed")
    })?;
    let mut hasher = StableHasher::new("synapse.active-environment");
    interpreter.identity().stable_hash(&mut hasher);
    names.stable_hash(&mut hasher);
    Ok(hasher.finish())
}

/// Why the environment does not satisfy the requirements of `work`; nothing when it does. The
/// answer is kept under what it depends on.
pub(super) fn lacks(
    interpreter: &Interpreter,
    identity: Digest,
    work: &Work,
) -> Result<Option<String>, Failure> {
    let (major, minor, _) = interpreter.version;
    if interpreter.implementation != "cpython" || major != 3 || minor < *MINORS.start() {
        let (name, version) = (&interpreter.implementation, interpreter.full_version());
        return Ok(Some(format!(
            "is {name} {version}, which cannot run plugins"
        )));
    }
    if let Some(wanted) = &work.requirements.python
        && !interpreter.suits(wanted)
    {
        let version = interpreter.full_version();
        return Ok(Some(format!(
            "has Python {version}, which does not fit {wanted}"
        )));
    }
    let mut hasher = StableHasher::new("synapse.fits.v1");
    identity.stable_hash(&mut hasher);
    interpreter
        .prefix
        .display()
        .to_string()
        .stable_hash(&mut hasher);
    fingerprint(&work.inputs()?).stable_hash(&mut hasher);
    let name = hasher.finish().hex();
    let kept = work
        .store
        .join("python")
        .join(format!("fits-{}", &name[..32]));
    if let Ok(answer) = fs::read_to_string(&kept) {
        return Ok(Some(answer).filter(|answer| !answer.is_empty()));
    }
    let environment = interpreter.marker_environment()?;
    let installed = read(&interpreter.site_packages).map_err(|error| {
        let what = format!("cannot read the active environment: {error}");
        Failure::environment("environment", what).hint("use --env managed")
    })?;
    let answer = check(&installed, &environment, work);
    // Not kept, it is found out again.
    let _ = fs::write(kept, answer.as_deref().unwrap_or_default());
    Ok(answer)
}

fn read(folders: &[PathBuf]) -> io::Result<BTreeMap<String, Installed>> {
    let mut installed = BTreeMap::new();
    for folder in folders {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let stem = name
                .strip_suffix(".dist-info")
                .or_else(|| name.strip_suffix(".egg-info"));
            let Some((name, version)) = stem.and_then(|stem| stem.split_once('-')) else {
                continue;
            };
            let version = version.split("-py").next().unwrap_or(version);
            let Ok(version) = Version::from_str(version) else {
                continue;
            };
            let file = if path.extension().is_some_and(|end| end == "dist-info") {
                "METADATA"
            } else {
                "PKG-INFO"
            };
            let metadata = path.join(file);
            installed.insert(normalised(name), Installed { version, metadata });
        }
    }
    Ok(installed)
}

/// The first thing that is missing, or not as it must be.
fn check(
    installed: &BTreeMap<String, Installed>,
    environment: &MarkerEnvironment,
    work: &Work,
) -> Option<String> {
    let mut open: Vec<Requirement> = Vec::new();
    for item in &work.requirements.items {
        match &item.kind {
            Kind::Named(requirement) if requirement.condition.holds(environment, &[]) => {
                open.push((**requirement).clone());
            }
            Kind::Named(_) => {}
            Kind::Local { condition, .. } if !condition.holds(environment, &[]) => {}
            Kind::Local { path, .. } => match project_name(path) {
                Some(name) if installed.contains_key(&name) => {}
                _ => return Some(format!("lacks {}", item.shown)),
            },
            Kind::Remote { .. } => return Some(format!("may lack {}", item.shown)),
        }
    }
    for wheel in &work.wheels {
        let there = installed.get(&wheel.name);
        if there.is_none_or(|there| there.version != wheel.version) {
            return Some(format!("lacks {}", wheel.path));
        }
    }
    open.reverse();
    let implicit = IMPLICIT
        .iter()
        .filter_map(|text| Requirement::from_str(text).ok());
    open.extend(implicit);
    let mut seen: BTreeSet<(String, String)> = BTreeSet::new();
    while let Some(requirement) = open.pop() {
        let name = requirement.name.to_string();
        let Some(there) = installed.get(&name) else {
            return Some(format!("lacks {}", shown(&requirement)));
        };
        if let Some(Source::Versions(wanted)) = &requirement.source
            && !wanted.contains(&there.version)
        {
            let has = &there.version;
            return Some(format!("has {name} {has}, which does not fit {wanted}"));
        }
        let extras: Vec<&str> = requirement.extras.iter().map(AsRef::as_ref).collect();
        if !seen.insert((name, extras.join(","))) {
            continue;
        }
        open.extend(needs(&there.metadata, environment, &requirement.extras));
    }
    for item in &work.requirements.constraints {
        let Kind::Named(requirement) = &item.kind else {
            continue;
        };
        let there = installed.get(requirement.name.as_ref());
        if let (Some(there), Some(Source::Versions(wanted))) = (there, &requirement.source)
            && requirement.condition.holds(environment, &[])
            && !wanted.contains(&there.version)
        {
            let (name, has) = (&requirement.name, &there.version);
            return Some(format!("has {name} {has}, which does not fit {wanted}"));
        }
    }
    None
}

fn shown(requirement: &Requirement) -> String {
    match &requirement.source {
        Some(Source::Versions(wanted)) => format!("{}{wanted}", requirement.name),
        _ => requirement.name.to_string(),
    }
}

/// What an installed package needs itself.
fn needs(
    metadata: &Path,
    environment: &MarkerEnvironment,
    extras: &[ExtraName],
) -> Vec<Requirement> {
    let text = fs::read_to_string(metadata).unwrap_or_default();
    let head = text.lines().take_while(|line| !line.is_empty());
    head.filter_map(|line| line.strip_prefix("Requires-Dist:"))
        .filter_map(|text| Requirement::from_str(text.trim()).ok())
        .filter(|requirement| requirement.condition.holds(environment, extras))
        .collect()
}

fn project_name(path: &Path) -> Option<String> {
    if let Some(name) = path.file_name().and_then(|name| name.to_str())
        && let Some(stem) = name.strip_suffix(".whl")
    {
        return stem.split('-').next().map(normalised);
    }
    let text = fs::read_to_string(path.join("pyproject.toml")).ok()?;
    let document = toml_edit::Document::parse(text.as_str()).ok()?;
    let name = document.get("project")?.get("name")?.as_str()?;
    Some(normalised(name))
}
