//! Owns the lock of a build's environment: what `[build-system]` requires and what the backend
//! asks for besides, as exact versions and hashes.

use std::sync::Arc;

use synapse_engine::{
    Cacheability, Context, Digest, Failure, Input, Inputs, Label, Lane, Manifest, Node, Outcome,
    Pending, Rule, TreeEntry,
};

use super::{backend::FILE, builder::Job, sources::Build};
use crate::{
    environment::building,
    python::process::Private,
    resolve::{
        Work,
        desk::{self, disk},
        line::Place,
        lock::Target,
        requirements,
    },
};

/// The rule. Raise the version whenever the same requirements would be asked for otherwise.
pub(super) const RULE: Rule = Rule {
    name: "build-lock",
    version: 1,
};

/// The files by which backends say what they need.
const SAYING: [&str; 3] = [FILE, "setup.cfg", "setup.py"];

/// The lock of one build. Depends on the archive, where that has the sources. Output `lock` is
/// the target, `packages` what an environment is made from.
pub(super) struct BuildLockNode {
    build: Arc<Build>,
    inputs: Vec<(String, String)>,
    index: Digest,
    saying: Vec<TreeEntry>,
}

impl BuildLockNode {
    /// The lock for `build`.
    pub(super) fn new(build: Arc<Build>) -> Result<Self, Failure> {
        let inputs = build.work.inputs()?;
        let index = desk::index_identity(&build.work.variables);
        let mut saying = build.files.load();
        saying.retain(|entry| SAYING.contains(&entry.path.as_str()));
        Ok(Self {
            build,
            inputs,
            index,
            saying,
        })
    }
}

impl Node for BuildLockNode {
    fn rule(&self) -> Rule {
        RULE
    }

    fn label(&self) -> Label {
        Label {
            stage: RULE.name.to_owned(),
            subject: self.build.subject.clone(),
        }
    }

    fn lane(&self) -> Lane {
        Lane::Io
    }

    fn manifest(&self, _inputs: Inputs<'_>, out: &mut dyn Manifest) -> Result<(), Pending> {
        for (name, value) in &self.inputs {
            out.input(name, Input::Text(value));
        }
        let work = &self.build.work;
        out.input("python", Input::Text(&work.interpreter.identity()));
        out.input("resolver", Input::Text(&work.resolver()));
        out.input("index configuration", Input::Secret(self.index));
        out.input("backend", Input::Text(&self.build.backend.name));
        if self.build.backend.paths.is_empty() {
            for entry in &self.saying {
                out.input(&entry.path, Input::Digest(entry.digest));
            }
        } else {
            out.input("files", Input::Files(self.build.files.as_ref()));
        }
        Ok(())
    }

    fn current(&self, outcome: &Outcome) -> Result<bool, Failure> {
        // Sources of this machine may have moved since.
        let known = outcome.get("lock").and_then(Target::deserialize_from);
        Ok(known
            .and_then(|target| self.build.work.packages(&target).ok())
            .is_some_and(|packages| Some(&packages) == outcome.get("packages")))
    }

    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        let work = &self.build.work;
        let cancel = context.cancel();
        let mut target = work.resolve(&[], cancel)?;
        let mut packages = work.packages(&target)?;
        let made = building::made(work, &target, &packages, cancel)?;
        let private = Private::new(&work.store.join("tmp"))
            .map_err(|error| disk("cannot prepare the build", &error))?;
        let source = private.path().join("source");
        std::fs::create_dir(&source).map_err(|error| disk("cannot prepare the build", &error))?;
        self.build.copy(context, 0, &source)?;
        let job = Job {
            build: &self.build,
            python: &made.interpreter,
            private: &private,
            source: &source,
            cancel,
        };
        let needs = job.needs()?;
        if !needs.is_empty() {
            let all = with_needs(work, &self.build, &needs)?;
            target = all.resolve(&target.pins(), cancel)?;
            packages = all.packages(&target)?;
        }
        let lock =
            serde_json::to_value(&target).map_err(|error| Failure::bug(error.to_string()))?;
        Ok(Outcome::new(Cacheability::Recheck)
            .value("lock", lock)
            .value("packages", packages))
    }
}

/// The work with what the backend asked for.
fn with_needs(work: &Work, build: &Build, needs: &[String]) -> Result<Work, Failure> {
    let place = Place {
        file: format!("{} (asked for by {})", FILE, build.backend.name),
        line: 1,
        column: 1,
    };
    let lines: Vec<(String, Place)> = needs
        .iter()
        .map(|need| (need.clone(), place.clone()))
        .collect();
    let more = requirements::listed(&lines, &work.folder, &work.variables)?;
    let mut all = work.clone();
    all.requirements.items.extend(more.items);
    Ok(all)
}
