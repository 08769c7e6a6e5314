//! Owns the resolve stage: what a plugin requires, read from its files, becomes a lock of exact
//! versions and hashes.

pub mod credentials;
pub mod desk;
mod explain;
pub mod line;
pub mod local;
pub mod lock;
pub mod options;
pub mod order;
pub mod pip;
mod pyproject;
pub mod requirement;
pub mod requirements;
pub mod rule;
pub mod sdk;
pub mod testing;
pub mod uv;
pub mod wheels;

use std::path::{Path, PathBuf};

use synapse_engine::Failure;

pub use self::rule::{RULE, ResolveNode, Work};
use self::{
    desk::Desk,
    lock::{Origin, Package},
    order::Order,
};

/// Files of lines for an installer: packages with hashes, and those that cannot have any.
#[derive(Debug, Default)]
pub struct Files {
    hashed: Option<PathBuf>,
    rest: Option<PathBuf>,
}

impl Files {
    /// Writes the files for `packages`. Paths start at `folder`; `head` names the index.
    pub fn write(
        desk: &Desk<'_>,
        packages: &[Package],
        folder: &Path,
        head: &[String],
    ) -> Result<Self, Failure> {
        let (mut hashed, mut rest) = (Vec::new(), Vec::new());
        for package in packages {
            let Package {
                name,
                version,
                hashes,
                origin,
            } = package;
            let line = match origin {
                Origin::Index => format!("{name}=={version}"),
                Origin::Url { url } | Origin::Commit { url } => format!("{name} @ {url}"),
                Origin::Path { path, editable } => {
                    let path = folder.join(path);
                    let path = path.canonicalize().map_err(|error| {
                        let what = format!("{}, which {name} comes from: {error}", path.display());
                        Failure::user("lock", what).hint("run `synapse plugin lock`")
                    })?;
                    match editable {
                        true => format!("-e {}", path.display()),
                        false => format!("{name} @ {}", wheels::file_url(&path)),
                    }
                }
            };
            if hashes.is_empty() {
                rest.push(line);
            } else {
                let hashes = hashes.iter().map(|hash| format!(" --hash={hash}"));
                hashed.push(line + &hashes.collect::<String>());
            }
        }
        let write = |name: &str, lines: Vec<String>| {
            if lines.is_empty() {
                return Ok(None);
            }
            let all: Vec<&str> = head.iter().chain(&lines).map(String::as_str).collect();
            desk.write(name, &(all.join("\n") + "\n")).map(Some)
        };
        Ok(Self {
            hashed: write("hashed.txt", hashed)?,
            rest: write("rest.txt", rest)?,
        })
    }

    /// Each file, and whether its packages have hashes.
    fn each(&self) -> impl Iterator<Item = (&Path, bool)> {
        let hashed = self.hashed.as_deref().map(|path| (path, true));
        hashed
            .into_iter()
            .chain(self.rest.as_deref().map(|path| (path, false)))
    }
}

/// An installer, ready to work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Installer {
    /// pip of an interpreter.
    Pip {
        /// That interpreter.
        python: PathBuf,
    },
    /// uv.
    Uv {
        /// The program.
        program: PathBuf,
    },
}

impl Installer {
    /// Finds the packages that an order asks for.
    pub fn resolve(&self, desk: &mut Desk<'_>, order: &Order<'_>) -> Result<Vec<Package>, Failure> {
        match self {
            Self::Pip { python } => pip::resolve(desk, python, order),
            Self::Uv { program } => uv::resolve(desk, program, order),
        }
    }

    /// Installs files of lines into the environment whose interpreter is `target`.
    pub fn install(
        &self,
        desk: &mut Desk<'_>,
        target: &Path,
        files: &Files,
        order: Option<&Order<'_>>,
    ) -> Result<(), Failure> {
        match self {
            Self::Pip { python } => pip::install(desk, python, target, files, order),
            Self::Uv { program } => uv::install(desk, program, target, files, order),
        }
    }
}
