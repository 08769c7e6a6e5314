//! Owns which files belong to a plugin: `.synapseignore` over `.gitignore` over our defaults,
//! each with full gitignore semantics.

use std::{io, path::Path};

use ignore::{
    Match,
    gitignore::{Gitignore, GitignoreBuilder},
};
use synapse_engine::Digest;

/// Raised when the defaults or their meaning change; part of every index.
pub const VERSION: u32 = 1;

/// What no plugin means to publish. A `!pattern` in an ignore file brings any of it back.
pub const DEFAULTS: &[&str] = &[
    // Version control
    ".git",
    ".gitignore",
    ".gitattributes",
    ".gitmodules",
    ".hg",
    ".hgignore",
    ".hgtags",
    ".svn",
    ".bzr",
    "CVS",
    "_darcs",
    // Python leavings
    "__pycache__",
    "*.py[cod]",
    "*.egg-info",
    "*.egg",
    // Environments and their secrets
    ".venv",
    "venv",
    "env",
    ".env",
    ".env.*",
    // Editors
    ".idea",
    ".vscode",
    ".vs",
    "*.swp",
    "*.swo",
    "*~",
    // Builds
    "dist",
    "build",
    "node_modules",
    // Tool caches and reports
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".tox",
    ".nox",
    ".cache",
    ".coverage",
    ".coverage.*",
    "htmlcov",
    "coverage.xml",
    "*.log",
    // Systems
    ".DS_Store",
    "Thumbs.db",
    // Our own
    ".synapse",
];

/// The names of ignore files, the stronger first.
pub const IGNORE_FILES: [&str; 2] = [".synapseignore", ".gitignore"];

/// The ignore files of one folder.
#[derive(Debug, Clone)]
pub struct Level {
    /// Path of the folder, relative to the workspace root; empty for the root.
    folder: String,
    /// Parsed files, in the order of [`IGNORE_FILES`].
    files: [Option<Gitignore>; 2],
    /// Digest of both texts.
    digest: Digest,
}

impl Level {
    /// Reads the ignore files of `folder`, if there are any.
    pub fn read(path: &Path, folder: &str) -> io::Result<Option<Self>> {
        let mut files = [None, None];
        let mut texts = Vec::new();
        for (index, name) in IGNORE_FILES.iter().enumerate() {
            match super::read_regular(&path.join(name)) {
                Ok(bytes) => {
                    texts.push((index as u64).to_le_bytes().to_vec());
                    texts.push((bytes.len() as u64).to_le_bytes().to_vec());
                    files[index] = Some(parse(&bytes));
                    texts.push(bytes);
                }
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err(error),
            }
        }
        if texts.is_empty() {
            return Ok(None);
        }
        let digest = Digest::of(&texts.concat());
        Ok(Some(Self {
            folder: folder.to_owned(),
            files,
            digest,
        }))
    }

    /// Digest of its texts.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    fn verdict(&self, file: usize, path: &str, is_dir: bool) -> Option<bool> {
        let own = if self.folder.is_empty() {
            path
        } else {
            path.strip_prefix(&self.folder)?.strip_prefix('/')?
        };
        verdict(self.files[file].as_ref()?, own, is_dir)
    }
}

/// What is no file is no ignore file; where it matters, the walk says what it is.
fn is_absent(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, IsADirectory, NotADirectory, NotFound};
    matches!(
        error.kind(),
        NotFound | NotADirectory | IsADirectory | InvalidInput
    )
}

fn parse(bytes: &[u8]) -> Gitignore {
    let mut builder = GitignoreBuilder::new("");
    let text = String::from_utf8_lossy(bytes);
    for line in text.strip_prefix('\u{feff}').unwrap_or(&text).lines() {
        // Like git: a line without a pattern matches nothing, nor does one that cannot be read.
        if matches!(line.trim_end(), "!" | "/" | "!/") {
            continue;
        }
        let _ = builder.add_line(None, line);
    }
    builder.build().unwrap_or_else(|_| Gitignore::empty())
}

/// Whether a path is kept: `Some(true)` by a `!pattern`, `Some(false)` not.
fn verdict(rules: &Gitignore, path: &str, is_dir: bool) -> Option<bool> {
    match rules.matched(path, is_dir) {
        Match::None => None,
        Match::Ignore(_) => Some(false),
        Match::Whitelist(_) => Some(true),
    }
}

/// The defaults, parsed once.
pub fn defaults() -> &'static Gitignore {
    static DEFAULT: std::sync::OnceLock<Gitignore> = std::sync::OnceLock::new();
    DEFAULT.get_or_init(|| parse(DEFAULTS.join("\n").as_bytes()))
}

/// Why a file is out, or that it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It belongs to the plugin.
    Keep,
    /// `.synapseignore` hides it.
    Synapse,
    /// `.gitignore` or a default hides it.
    Other,
}

/// Decides on `path` (relative to the workspace root, as are the levels, outermost first);
/// `own` is the same path relative to the plugin.
pub fn decide(levels: &[Level], path: &str, own: &str, is_dir: bool) -> Verdict {
    for (file, hidden) in [Verdict::Synapse, Verdict::Other].into_iter().enumerate() {
        for level in levels.iter().rev() {
            match level.verdict(file, path, is_dir) {
                Some(true) => return Verdict::Keep,
                Some(false) => return hidden,
                None => {}
            }
        }
    }
    match verdict(defaults(), own, is_dir) {
        Some(false) => Verdict::Other,
        _ => Verdict::Keep,
    }
}
