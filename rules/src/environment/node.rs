//! Owns the environment node: a lock and an interpreter in, a folder of this machine out. Every
//! plugin with the same lock gets the same one.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::Value;
use synapse_engine::{
    Cacheability, Context, Digest, Failure, Input, Inputs, Label, Lane, Manifest, Node, Outcome,
    Output, Pending, Probe, Rule, StableHash, StableHasher,
};

use super::{
    build::{self, Recipe},
    building,
};
use crate::{
    python::interpreter::Interpreter,
    resolve::{Work, lock::Target},
};

/// The rule. Raise the version whenever the same lock would give another environment.
pub const RULE: Rule = Rule {
    name: "environment",
    version: 1,
};

/// A lock that needs no resolving.
#[derive(Debug, Clone)]
pub(super) struct Fixed {
    /// The packages.
    pub(super) target: Target,
    /// As environments are told apart.
    pub(super) packages: Value,
}

/// One environment. Output `folder` is its name in the store.
pub(super) struct EnvironmentNode {
    work: Arc<Work>,
    /// Instead of the outcome of a resolve node.
    fixed: Option<Fixed>,
}

/// The folder of the environment for packages (by their digest) and an interpreter.
pub(super) fn folder(store: &Path, packages: Digest, interpreter: &Interpreter) -> PathBuf {
    let mut hasher = StableHasher::new("synapse.environment");
    packages.stable_hash(&mut hasher);
    interpreter.identity().stable_hash(&mut hasher);
    // Made of this very interpreter, which another machine may have elsewhere: that is why its
    // outcome stays on this machine.
    interpreter
        .base_executable
        .display()
        .to_string()
        .stable_hash(&mut hasher);
    let name = hasher.finish().hex();
    store.join("environments").join(&name[..32])
}

/// The digest of packages, as outcomes have it.
pub(super) fn digest_of(packages: &Value) -> Digest {
    Output::Value(packages.clone()).digest()
}

impl EnvironmentNode {
    /// The environment of `work`, for the lock of the node that it depends on, or a fixed one.
    pub(super) fn new(work: Arc<Work>, fixed: Option<Fixed>) -> Self {
        Self { work, fixed }
    }

    fn digest(&self, inputs: Inputs<'_>) -> Result<Digest, Pending> {
        match &self.fixed {
            Some(fixed) => Ok(digest_of(&fixed.packages)),
            None => inputs.output(0, "packages"),
        }
    }

    fn outcome(&self, folder: &Path) -> Outcome {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        Outcome::new(Cacheability::Local)
            .value("folder", name.as_ref())
            .value("platform", self.work.interpreter.platform.clone())
    }
}

impl Node for EnvironmentNode {
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

    fn manifest(&self, inputs: Inputs<'_>, out: &mut dyn Manifest) -> Result<(), Pending> {
        out.input("lock", Input::Digest(self.digest(inputs)?));
        out.input("python", Input::Text(&self.work.interpreter.identity()));
        let base = self.work.interpreter.base_executable.display().to_string();
        out.input("python of this machine", Input::Text(&base));
        Ok(())
    }

    fn probe(&self) -> Result<Probe, Failure> {
        Ok(Probe::Run(Vec::new()))
    }

    fn current(&self, outcome: &Outcome) -> Result<bool, Failure> {
        let name = outcome.text("folder").unwrap_or_default();
        let folder = self.work.store.join("environments").join(name);
        Ok(!name.is_empty() && build::is_there(&folder))
    }

    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        let (target, packages) = if let Some(fixed) = &self.fixed {
            (fixed.target.clone(), fixed.packages.clone())
        } else {
            let outcome = context.input(0)?;
            let target = outcome.get("lock").and_then(Target::deserialize_from);
            let packages = outcome.get("packages").cloned();
            target
                .zip(packages)
                .ok_or_else(|| Failure::bug("a lock cannot be read"))?
        };
        let folder = folder(
            &self.work.store,
            digest_of(&packages),
            &self.work.interpreter,
        );
        let recipe = Recipe {
            folder: &folder,
            interpreter: &self.work.interpreter,
            target: &target,
            packages: &packages,
        };
        let asked = self.fixed.is_none();
        let all = target.packages.len();
        let ending = if all == 1 { "" } else { "s" };
        context.doing(format!("installing {all} package{ending}"));
        let _lease = building::make(&recipe, &self.work, asked, context.cancel())?;
        Ok(self.outcome(&folder))
    }
}
