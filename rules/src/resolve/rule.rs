//! Owns the resolve node: requirements, interpreter and index in, a lock out. The lock is kept
//! until one of them changes or the user asks for newer versions; it does not age by itself.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::json;
use synapse_engine::{
    Cacheability, Cancel, Context, Digest, Failure, Input, Inputs, Label, Lane, Manifest, Node,
    Outcome, Pending, Rule,
};

use super::{
    Installer,
    credentials::{Credentials, without},
    desk::{self, Desk, Setting},
    local,
    lock::{self, Origin, Package, Target},
    order::Order,
    pip,
    requirement::Source,
    requirements::{Item, Kind, Requirements},
    sdk::IMPLICIT,
    uv::Uv,
    wheels::Wheel,
};
use crate::{
    config::PackageManager,
    environment::tool,
    python::{Variables, interpreter::Interpreter, process::Processes},
};

/// The rule. Raise the version whenever the same requirements would be asked for otherwise.
pub const RULE: Rule = Rule {
    name: "resolve",
    version: 1,
};

/// Everything that resolving and installing one plugin's requirements takes.
#[derive(Clone)]
pub struct Work {
    /// `code` or `code@variant`.
    pub subject: String,
    /// The store's folder.
    pub store: PathBuf,
    /// The command's variables.
    pub variables: Variables,
    /// Runs children.
    pub processes: Arc<dyn Processes>,
    /// The plugin's folder.
    pub folder: PathBuf,
    /// What is required.
    pub requirements: Requirements,
    /// Wheels that the plugin brings along.
    pub wheels: Vec<Wheel>,
    /// The interpreter that environments are made of.
    pub interpreter: Interpreter,
    /// Who installs.
    pub manager: PackageManager,
    /// The uv that is used, for [`PackageManager::Uv`].
    pub uv: Option<Uv>,
    /// Use no network.
    pub offline: bool,
}

impl Work {
    /// Where an installer works.
    pub fn setting<'a>(&'a self, cancel: &'a Cancel) -> Setting<'a> {
        Setting {
            store: &self.store,
            variables: &self.variables,
            processes: self.processes.as_ref(),
            cancel,
            offline: self.offline,
        }
    }

    /// Who resolves, and its version.
    pub fn resolver(&self) -> String {
        match (&self.uv, &self.interpreter.pip) {
            (Some(uv), _) => format!("uv {}", uv.version()),
            (None, Some(version)) if pip::will_do(version) => format!("pip {version}"),
            (None, _) => "pip of synapse".to_owned(),
        }
    }

    /// The installer, made when it is not there.
    pub fn installer(&self, cancel: &Cancel) -> Result<Installer, Failure> {
        let setting = self.setting(cancel);
        match &self.uv {
            Some(uv) => tool::uv(&setting, uv, &self.interpreter),
            None => tool::pip(&setting, &self.interpreter),
        }
    }

    /// What installers are asked for.
    pub fn order<'a>(&'a self, pins: &'a [String]) -> Order<'a> {
        Order {
            requirements: &self.requirements,
            wheels: &self.wheels,
            folder: &self.folder,
            interpreter: &self.interpreter,
            pins,
            offline: self.offline,
        }
    }

    /// The requirements in a normal form without logins: comments, order and spaces gone, files
    /// of this machine by their content.
    pub fn inputs(&self) -> Result<Vec<(String, String)>, Failure> {
        let Requirements {
            items,
            constraints,
            remote,
            options,
            python,
            ..
        } = &self.requirements;
        let mut named: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut add = |kind: &str, item: &Item| -> Result<(), Failure> {
            let mut value = item.shown.split_whitespace().collect::<Vec<_>>().join(" ");
            for more in item.hashes.iter().chain(&item.settings) {
                value = format!("{value} {}", without(more));
            }
            if let Some(local) = local::identity(item)? {
                value = format!("{value} {local}");
            }
            let name = item.name().unwrap_or(&item.shown);
            named
                .entry(format!("{kind} {name}"))
                .or_default()
                .push(value);
            Ok(())
        };
        for item in items {
            add("requirement", item)?;
        }
        for item in constraints {
            add("constraint", item)?;
        }
        let mut inputs: Vec<(String, String)> = Vec::new();
        for (name, mut values) in named {
            values.sort();
            values.dedup();
            inputs.push((name, values.join(", ")));
        }
        for (flag, value) in remote {
            inputs.push((
                format!("included {flag}"),
                without(&value.shown).into_owned(),
            ));
        }
        for wheel in &self.wheels {
            inputs.push((format!("wheel {}", wheel.path), wheel.digest.hex()));
        }
        if !self.requirements.bare {
            inputs.push(("implicit requirements".to_owned(), IMPLICIT.join(", ")));
        }
        inputs.push(("options".to_owned(), options.identity()));
        let python = python.as_ref().map(ToString::to_string);
        inputs.push(("requires python".to_owned(), python.unwrap_or_default()));
        inputs.push(("package manager".to_owned(), self.manager.to_string()));
        Ok(inputs)
    }

    /// The target without what differs between places: what an environment is made from.
    pub fn packages(&self, target: &Target) -> Result<serde_json::Value, Failure> {
        packages(target, &self.folder)
    }

    /// Resolves, keeping `pins` where that works.
    pub fn resolve(&self, pins: &[String], cancel: &Cancel) -> Result<Target, Failure> {
        let installer = self.installer(cancel)?;
        let mut desk = Desk::new(&self.setting(cancel), &self.requirements.credentials)?;
        let packages = installer.resolve(&mut desk, &self.order(pins))?;
        let mut target = Target {
            python: self.interpreter.minor(),
            platform: lock::platform(&self.interpreter),
            resolver: self.resolver(),
            packages,
        };
        for package in &mut target.packages {
            if let Origin::Url { url } | Origin::Commit { url } = &mut package.origin {
                *url = desk.credentials.redact(url);
            }
        }
        target.sort();
        Ok(target)
    }
}

impl Work {
    /// Fills what was hidden in a lock's URLs from the requirements that they came from.
    pub fn fill_in(&self, packages: &mut [Package], credentials: &mut Credentials) {
        for package in packages {
            let (Origin::Url { url } | Origin::Commit { url }) = &mut package.origin else {
                continue;
            };
            if !url.contains("***") {
                continue;
            }
            let items = self.requirements.items.iter();
            for item in items.filter(|item| item.name() == Some(&package.name)) {
                if let Kind::Named(requirement) = &item.kind
                    && let Some(Source::Link(link)) = &requirement.source
                {
                    *url = credentials.take(&link.0);
                }
            }
        }
    }
}

/// See [`Work::packages`].
pub fn packages(target: &Target, folder: &Path) -> Result<serde_json::Value, Failure> {
    let mut all = Vec::with_capacity(target.packages.len());
    for package in &target.packages {
        let origin = match &package.origin {
            Origin::Index => json!(null),
            Origin::Url { url } | Origin::Commit { url } => json!(url),
            // Its bytes are told by the hashes, wherever they lie.
            Origin::Path { .. } if !package.hashes.is_empty() => json!(null),
            Origin::Path { path, editable } => {
                let path = folder.join(path);
                let failed = |error: std::io::Error| {
                    let what = format!("cannot read {}: {error}", path.display());
                    Failure::user("lock", what).hint("run `synapse plugin lock`")
                };
                let path = path.canonicalize().map_err(failed)?;
                let digest = local::digest(&path, *editable).map_err(failed)?;
                // An editable one is used where it lies.
                json!([digest.hex(), editable.then(|| path.display().to_string())])
            }
        };
        all.push(json!([
            package.name,
            package.version,
            package.hashes,
            origin
        ]));
    }
    Ok(json!(all))
}

/// The lock of one plugin for one interpreter. Output `lock` is the target, `packages` what an
/// environment is made from.
pub struct ResolveNode {
    work: Arc<Work>,
    inputs: Vec<(String, String)>,
    index: Digest,
    links: String,
    /// What a lock file says; it is taken as it is.
    committed: Option<Target>,
    pins: Vec<String>,
    upgrade: bool,
}

impl ResolveNode {
    /// The lock of `work`. With a `committed` one there is nothing to resolve; `pins` are
    /// versions to keep; `upgrade` resolves whatever is known.
    pub fn new(
        work: Arc<Work>,
        committed: Option<Target>,
        pins: Vec<String>,
        upgrade: bool,
    ) -> Result<Self, Failure> {
        let inputs = work.inputs()?;
        let index = desk::index_identity(&work.variables);
        let links = work.requirements.options.find_links.iter();
        let links: Vec<String> = links
            .map(|link| desk::listing(Path::new(&link.text)))
            .collect();
        Ok(Self {
            work,
            inputs,
            index,
            links: links.join("\n"),
            committed,
            pins,
            upgrade,
        })
    }
}

impl Node for ResolveNode {
    fn rule(&self) -> Rule {
        RULE
    }

    fn label(&self) -> Label {
        Label {
            stage: RULE.name.to_owned(),
            subject: self.work.subject.clone(),
        }
    }

    fn lane(&self) -> Lane {
        Lane::Io
    }

    fn manifest(&self, _inputs: Inputs<'_>, out: &mut dyn Manifest) -> Result<(), Pending> {
        for (name, value) in &self.inputs {
            out.input(name, Input::Text(value));
        }
        out.input("python", Input::Text(&self.work.interpreter.identity()));
        if let Some(target) = &self.committed {
            let text = serde_json::to_vec(target).unwrap_or_default();
            out.input("lock file", Input::Digest(Digest::of(&text)));
        } else {
            out.input("resolver", Input::Text(&self.work.resolver()));
            out.input("index configuration", Input::Secret(self.index));
            let links = Digest::of(self.links.as_bytes());
            out.input("folders of packages", Input::Digest(links));
            out.input("kept versions", Input::Text(&self.pins.join(", ")));
        }
        Ok(())
    }

    fn current(&self, outcome: &Outcome) -> Result<bool, Failure> {
        // Sources of this machine may have moved since.
        let known = outcome.get("lock").and_then(Target::deserialize_from);
        let same = known
            .and_then(|target| self.work.packages(&target).ok())
            .is_some_and(|packages| Some(&packages) == outcome.get("packages"));
        Ok(same && !self.upgrade)
    }

    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        let target = match &self.committed {
            Some(target) => target.clone(),
            None => self.work.resolve(&self.pins, context.cancel())?,
        };
        let packages = self.work.packages(&target)?;
        let lock =
            serde_json::to_value(&target).map_err(|error| Failure::bug(error.to_string()))?;
        Ok(Outcome::new(Cacheability::Recheck)
            .value("lock", lock)
            .value("packages", packages))
    }
}

impl Target {
    /// A target out of an outcome.
    pub fn deserialize_from(value: &serde_json::Value) -> Option<Self> {
        serde_json::from_value(value.clone()).ok()
    }
}
