//! Owns the children that build: the backend's question for more requirements, and the build
//! itself. They get no network settings, no logins, no tokens, and a HOME of their own.

use std::{
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
};

use synapse_engine::{Cancel, Failure};

use super::{backend::Backend, sources::Build};
use crate::{
    config::{PackageManager, diagnostic::printable},
    python::{
        interpreter::Interpreter,
        process::{Call, Ended, Private, Status, clean_environment},
    },
    resolve::{Installer, desk::disk},
    secrets::Scanner,
};

/// Failure code: no wheel could be built.
pub const BUILD_FAILED: &str = "build-failed";

/// 1980-01-01, the earliest time that a ZIP can hold.
pub(super) const SOURCE_DATE: &str = "315532800";
/// Lines of the builder's output that are shown: the last of them.
const SHOWN: usize = 30;
/// Characters of such a line.
const WIDEST: usize = 400;

/// Asks the backend what more it needs; the answer goes into a file, since backends print.
const ASK: &str = "\
import importlib, json, sys
answer, name, *paths = sys.argv[1:]
sys.path[:0] = paths
module, _, attributes = name.partition(':')
backend = importlib.import_module(module)
for attribute in filter(None, attributes.split('.')):
    backend = getattr(backend, attribute)
ask = getattr(backend, 'get_requires_for_build_wheel', None)
with open(answer, 'w', encoding='utf-8') as file:
    json.dump([str(need) for need in (ask({}) if ask else [])], file)
";

/// One project in its environment.
pub(super) struct Job<'a> {
    pub(super) build: &'a Build,
    /// The Python of the build's environment.
    pub(super) python: &'a Interpreter,
    /// HOME and TMP of the children, and what they make.
    pub(super) private: &'a Private,
    /// The clean copy.
    pub(super) source: &'a Path,
    pub(super) cancel: &'a Cancel,
}

/// Whether a child that builds gets a variable: nothing that leads to the network.
fn stays(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else {
        return false;
    };
    let upper = name.to_ascii_uppercase();
    let outside = ["PIP_", "UV_", "SSL_", "REQUESTS_", "CURL_", "DBUS_", "XDG_"];
    !upper.ends_with("_PROXY") && !outside.iter().any(|prefix| upper.starts_with(prefix))
}

impl Job<'_> {
    fn environment(&self) -> Vec<(OsString, OsString)> {
        let variables = &self.build.work.variables;
        let own = self.private.path();
        let mut environment = clean_environment(variables, own);
        environment.retain(|(name, _)| {
            stays(name) && name != "LANG" && name != "LANGUAGE" && name != "TZ" && name != "PATH"
        });
        environment.retain(|(name, _)| name.to_str().is_none_or(|name| !name.starts_with("LC_")));
        // Tools of the environment, such as ninja, come before those of the machine.
        let bin = self.python.executable.parent().map(Path::to_path_buf);
        let path = variables.get("PATH").unwrap_or_default();
        let path = std::env::join_paths(bin.into_iter().chain(std::env::split_paths(path)));
        environment.push(("PATH".into(), path.unwrap_or_default()));
        for (name, value) in [
            ("LC_ALL", "C.UTF-8"),
            ("TZ", "UTC"),
            ("PYTHONHASHSEED", "0"),
            ("PYTHONNOUSERSITE", "1"),
            ("PYTHONIOENCODING", "utf-8"),
            ("PYTHONDONTWRITEBYTECODE", "1"),
            ("SOURCE_DATE_EPOCH", SOURCE_DATE),
            ("NO_COLOR", "1"),
            ("PIP_NO_INDEX", "1"),
            ("PIP_DISABLE_PIP_VERSION_CHECK", "1"),
            ("UV_OFFLINE", "1"),
            ("UV_NO_CONFIG", "1"),
            ("UV_NO_PROGRESS", "1"),
            ("UV_PYTHON_DOWNLOADS", "never"),
        ] {
            environment.push((name.into(), value.into()));
        }
        environment.push(("UV_CACHE_DIR".into(), own.join("uv-cache").into()));
        environment
    }

    fn run(&self, program: &Path, args: Vec<OsString>, cwd: &Path) -> Result<Ended, Failure> {
        let call = Call::new(program, self.environment(), cwd).args(args);
        let processes = &self.build.work.processes;
        let ended = processes.run(&call, self.cancel).map_err(|error| {
            let what = format!("cannot start {}: {error}", program.display());
            Failure::environment("environment", what).hint("check that it is there and works")
        })?;
        match ended.status {
            Status::Cancelled => Err(Failure::cancelled()),
            _ if ended.succeeded() => Ok(ended),
            _ => Err(self.failed(&ended)),
        }
    }

    /// What the backend needs besides what pyproject.toml lists.
    pub(super) fn needs(&self) -> Result<Vec<String>, Failure> {
        let Backend { name, paths, .. } = &self.build.backend;
        let answer = self.private.path().join("needs.json");
        let mut args: Vec<OsString> = ["-I", "-c", ASK].map(Into::into).into();
        args.push(answer.clone().into());
        args.push(name.into());
        args.extend(paths.iter().map(|path| self.source.join(path).into()));
        self.run(&self.python.executable, args, self.source)?;
        let bytes =
            fs::read(&answer).map_err(|error| disk("the backend left no answer", &error))?;
        serde_json::from_slice(&bytes)
            .map_err(|error| Failure::bug(format!("the backend's answer: {error}")))
    }

    /// Builds; the wheel that came out.
    pub(super) fn wheel(&self) -> Result<PathBuf, Failure> {
        let work = &self.build.work;
        let out = self.private.path().join("out");
        fs::create_dir(&out).map_err(|error| disk("cannot make room for the wheel", &error))?;
        let python = &self.python.executable;
        let (program, words): (PathBuf, Vec<OsString>) = match work.manager {
            PackageManager::Pip => {
                let words = ["-I", "-m", "build", "--wheel", "--no-isolation"];
                let mut words: Vec<OsString> = words.map(Into::into).into();
                // What is required was resolved and installed by us.
                words.extend(["--skip-dependency-check", "--outdir"].map(OsString::from));
                (python.clone(), words)
            }
            PackageManager::Uv => {
                let installer = work.installer(self.cancel)?;
                let Installer::Uv { program } = installer else {
                    return Err(Failure::bug("uv was asked for and another came"));
                };
                let mut words: Vec<OsString> =
                    ["build", "--wheel", "--no-build-isolation", "--python"]
                        .map(Into::into)
                        .into();
                words.push(python.clone().into());
                words.push("--out-dir".into());
                (program, words)
            }
        };
        let mut args = words;
        args.extend([out.clone().into(), self.source.into()]);
        let ended = self.run(&program, args, self.private.path())?;
        let made =
            fs::read_dir(&out).map_err(|error| disk("cannot list what was built", &error))?;
        let wheels: Vec<PathBuf> = made
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|end| end == "whl"))
            .collect();
        match <[PathBuf; 1]>::try_from(wheels) {
            Ok([wheel]) => Ok(wheel),
            Err(_) => Err(self.failed(&ended)),
        }
    }

    /// The failure of a build, in the builder's own words.
    fn failed(&self, ended: &Ended) -> Failure {
        let how = match ended.status {
            Status::Signal(signal) => format!("was ended by signal {signal}"),
            Status::Code(0) => "made no wheel".to_owned(),
            _ => "failed".to_owned(),
        };
        let what = format!("{} {how}", self.build.backend.name);
        let mut said = self.said(ended);
        if said.is_empty() {
            "  it said nothing".clone_into(&mut said);
        }
        let failure = self.build.failure(&format!("{what}\n{}", said.trim_end()));
        if said.contains("No space left on device") {
            return Failure {
                kind: synapse_engine::FailureKind::Environment,
                ..failure
            }
            .hint("free some disk space, or run `synapse cache gc`, then run it again");
        }
        failure.hint("mend what the builder complains about; it saw the archived files only")
    }

    /// The last lines of what a builder said, without folders of ours and without what looks
    /// like a credential.
    fn said(&self, ended: &Ended) -> String {
        let text = format!("{}\n{}", ended.out(), ended.err());
        let shown = |folder: &Path| format!("{}/", folder.display());
        let (source, own) = (shown(self.source), shown(self.private.path()));
        let environment = self.python.executable.ancestors().nth(2).map(shown);
        let suspect: Vec<u32> = Scanner::new(&[])
            .map(|scanner| scanner.scan("output", text.as_bytes()).findings)
            .unwrap_or_default()
            .into_iter()
            .filter_map(|finding| finding.line)
            .collect();
        let mut lines = Vec::new();
        for (line, number) in text.lines().zip(1..) {
            if line.trim().is_empty() {
                continue;
            }
            if suspect.contains(&number) {
                lines.push("  (a line that looks like a credential)".to_owned());
                continue;
            }
            let mut line = line.trim_end().replace(&source, "").replace(&own, "");
            if let Some(environment) = &environment {
                line = line.replace(environment, "");
            }
            let line: String = line.chars().take(WIDEST).map(printable).collect();
            lines.push(format!("  {line}"));
        }
        let from = lines.len().saturating_sub(SHOWN);
        if from > 0 {
            lines[from - 1] = format!("  ... after {from} more lines");
        }
        lines.split_off(from.saturating_sub(1)).join("\n")
    }
}

impl Build {
    /// The failure of this build.
    pub(super) fn failure(&self, what: &str) -> Failure {
        let subject = &self.subject;
        let what = format!("the wheel of {subject} cannot be built: {what}");
        let place = self.work.folder.join(super::backend::FILE);
        Failure::user(BUILD_FAILED, what).at(place.display().to_string())
    }
}
