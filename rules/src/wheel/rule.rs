//! Owns the wheel stage: a project's files and an environment to build them in become a wheel
//! whose bytes follow from these alone.

use std::sync::Arc;

use synapse_engine::{
    Cacheability, Context, Failure, Input, Inputs, Label, Lane, Manifest, Node, Outcome, Pending,
    Rule,
};

use super::{
    builder::{Job, SOURCE_DATE},
    normalise::{WheelError, normalise},
    sources::Build,
};
use crate::{
    archive::{NoStreams, PackError, pack},
    config::PackageManager,
    digests,
    environment::building,
    python::process::Private,
    resolve::{desk::disk, lock::Target},
    secrets::Scanner,
};

/// The rule. Raise the version whenever the same inputs would give other bytes.
pub const RULE: Rule = Rule {
    name: "wheel",
    version: 1,
};

/// Places of a wheel's inputs.
const LOCK: usize = 0;
const ARCHIVE: usize = 2;
const CHECKSUM: usize = 3;

/// The wheel of one project. Depends on its build's lock and environment and, where that has the
/// sources, on the archive and its checksum. Output `wheel` is the file, `file` its name.
pub struct WheelNode {
    build: Arc<Build>,
    stage: &'static str,
}

impl WheelNode {
    /// The wheel of `build`, at the stage of that name.
    pub fn new(build: Arc<Build>, stage: &'static str) -> Self {
        Self { build, stage }
    }

    /// Who builds.
    fn tool(&self) -> String {
        match self.build.work.manager {
            // Its version is in the lock.
            PackageManager::Pip => "build".to_owned(),
            PackageManager::Uv => self.build.work.resolver(),
        }
    }
}

impl Node for WheelNode {
    fn rule(&self) -> Rule {
        RULE
    }

    fn label(&self) -> Label {
        Label {
            stage: self.stage.to_owned(),
            subject: self.build.subject.clone(),
        }
    }

    fn lane(&self) -> Lane {
        Lane::Io
    }

    fn manifest(&self, inputs: Inputs<'_>, out: &mut dyn Manifest) -> Result<(), Pending> {
        out.input("files", Input::Files(self.build.files.as_ref()));
        if self.build.of_archive() {
            out.input("archive", Input::Digest(inputs.output(CHECKSUM, "md5")?));
        }
        out.input("backend", Input::Text(&self.build.backend.name));
        let identity = self.build.work.interpreter.identity();
        out.input("python", Input::Text(&identity));
        let lock = inputs.output(LOCK, "packages")?;
        out.input("build environment", Input::Digest(lock));
        out.input("tool", Input::Text(&self.tool()));
        out.input("time", Input::Text(SOURCE_DATE));
        Ok(())
    }

    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        let cancel = context.cancel();
        let outcome = context.input(LOCK)?;
        let target = outcome.get("lock").and_then(Target::deserialize_from);
        let (target, packages) = target
            .zip(outcome.get("packages"))
            .ok_or_else(|| Failure::bug("the lock of a build cannot be read"))?;
        let local = if self.build.of_archive() {
            let sum = context.input(CHECKSUM)?.text("md5");
            Some(sum.ok_or_else(|| Failure::bug("a checksum without MD5"))?)
        } else {
            None
        };
        // Collected since it was made, it is made again.
        let made = building::made(&self.build.work, &target, packages, cancel)?;
        let failed = |error: std::io::Error| disk("cannot prepare the build", &error);
        let private = Private::new(&self.build.work.store.join("tmp")).map_err(failed)?;
        let folder = |name: &str| {
            let folder = private.path().join(name);
            std::fs::create_dir(&folder)
                .map(|()| folder)
                .map_err(failed)
        };
        let source = folder("source")?;
        self.build.copy(context, ARCHIVE, &source)?;
        let job = Job {
            build: &self.build,
            python: &made.interpreter,
            private: &private,
            source: &source,
            cancel,
        };
        let built = job.wheel()?;
        let normalised = normalise(&built, &folder("wheel")?, local);
        let normalised = normalised.map_err(|error| match error {
            WheelError::Disk(error) => failed(error),
            WheelError::Format(what) => {
                let what = format!(
                    "{} made a wheel that is none: {what}",
                    job_name(&self.build)
                );
                self.build.failure(&what)
            }
        })?;
        // Whatever is in it comes from files that were looked at when they were archived.
        let all = Scanner::new(&["**".to_owned()]).map_err(|e| Failure::bug(e.to_string()))?;
        let mut out = context.writer()?;
        let packed = pack(
            &normalised.files,
            out.as_file_mut(),
            &NoStreams,
            &all,
            &|_| {},
            &|| cancel.cancelled(),
        )
        .map_err(|error| self.packing(error))?;
        let stopped = || cancel.cancelled();
        let sums = digests::checksums(out.as_file_mut(), &stopped).map_err(|error| {
            if cancel.cancelled() {
                Failure::cancelled()
            } else {
                disk("cannot read the wheel", &error)
            }
        })?;
        context.place(out, &packed.blake3, packed.size)?;
        Ok(Outcome::new(Cacheability::Store)
            .blob("wheel", packed.blake3, packed.size)
            .value("file", normalised.name.to_string())
            .value("md5", sums.md5)
            .value("sha256", sums.sha256))
    }
}

fn job_name(build: &Build) -> &str {
    &build.backend.name
}

impl WheelNode {
    fn packing(&self, error: PackError) -> Failure {
        match error {
            PackError::Cancelled => Failure::cancelled(),
            PackError::Full { error } | PackError::Write { error } => {
                disk("cannot write the wheel", &error)
            }
            error => self.build.failure(&error.to_string()),
        }
    }
}
