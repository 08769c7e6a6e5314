//! Owns synapse-workspace.yaml, the root of a monorepo: its members' patterns, and the walk that
//! finds the member directories and says which listings decided it.

use std::{
    collections::BTreeSet,
    fmt, fs, io,
    ops::Range,
    path::{Path, PathBuf},
};

use globset::{GlobBuilder, GlobMatcher};

use crate::config::{
    diagnostic::{Diagnostic, Severity, quote},
    keys,
    reader::Reader,
    source::Problem,
    yaml,
};

/// Name of the file at a workspace's root.
pub const FILE: &str = "synapse-workspace.yaml";
/// Names of a plugin's config file.
pub const CONFIG_FILES: [&str; 2] = ["config.yaml", "synapse.yaml"];

/// A workspace.
#[derive(Clone)]
pub struct Workspace {
    /// Its directory.
    pub root: PathBuf,
    /// Patterns of member directories; `!` in front excludes.
    pub members: Vec<String>,
    /// Patterns of the folders of shared Python packages.
    pub libraries: Vec<String>,
    /// Object stores that archives go to as well: names of a profile's, or their URLs.
    pub storage: Vec<String>,
    /// The whole file, unknown keys and key order kept.
    pub json: serde_json::Value,
    /// Where each pattern stands in the file.
    spans: Vec<Range<usize>>,
    /// Where each object store stands.
    storage_spans: Vec<Range<usize>>,
}

/// Without `json`, where defaults may hold secrets.
impl fmt::Debug for Workspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workspace")
            .field("root", &self.root)
            .field("members", &self.members)
            .finish_non_exhaustive()
    }
}

/// A workspace file as read.
#[derive(Debug)]
pub struct Parsed {
    /// The workspace, unless there are errors.
    pub workspace: Option<Workspace>,
    /// All problems, in file order.
    pub diagnostics: Vec<Diagnostic>,
}

/// The members that patterns name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expansion {
    /// Paths of the directories that hold a config file, relative, with `/`, sorted.
    pub members: Vec<String>,
    /// Every directory whose listing decided the result, relative, sorted; the root is empty.
    /// While their stat is unchanged, so is the result.
    pub visited: Vec<String>,
    /// Patterns that matched nothing.
    pub unmatched: Vec<String>,
}

/// Why members could not be found.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// A pattern is refused; [`parse`] reports the same with its place.
    #[error("the member pattern {pattern} {why}")]
    Pattern {
        /// The pattern, quoted.
        pattern: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A directory cannot be listed.
    #[error("cannot list {path}: {source}")]
    List {
        /// The directory, relative to the root.
        path: String,
        /// What the system says.
        source: io::Error,
    },
}

/// The nearest directory from `start` upwards that holds a workspace file.
pub fn find_root(start: &Path) -> Option<PathBuf> {
    start
        .ancestors()
        .find(|dir| dir.join(FILE).is_file())
        .map(Path::to_path_buf)
}

/// Reads a workspace file that stands in `root`. `file` is what diagnostics call it.
pub fn parse(bytes: &[u8], file: &str, root: &Path) -> Parsed {
    let document = yaml::parse(bytes, file);
    let mut problems = document.problems;
    let mut workspace = None;
    if let Some(node) = &document.root {
        if node.as_mapping().is_some() {
            let reader = &mut Reader::new(node, String::new(), keys::WORKSPACE, &mut problems);
            let found = reader.required("members").is_some();
            let texts = reader.texts("members", false);
            let stores = reader.texts("storage", false);
            let libraries = reader.texts("libraries", false);
            reader.near_misses();
            let mut members = Vec::with_capacity(texts.len());
            let mut spans = Vec::with_capacity(texts.len());
            let mut check = |kind: &str, text: &str, span: Range<usize>| {
                if let Err(why) = Pattern::new(text) {
                    let message = format!("the {kind} pattern {} {why}", quote(text));
                    let hint = "write a path or glob under the workspace, as in plugins/*";
                    problems
                        .push(Problem::error("workspace-bad-pattern", span, message).hint(hint));
                }
            };
            for (text, value) in texts {
                check("member", text, value.span());
                members.push(text.to_owned());
                spans.push(value.span());
            }
            for (text, value) in &libraries {
                check("library", text, value.span());
            }
            if found {
                let json = node.to_json();
                workspace = Some(Workspace {
                    root: root.to_path_buf(),
                    members,
                    libraries: libraries
                        .iter()
                        .map(|(text, _)| (*text).to_owned())
                        .collect(),
                    storage: stores.iter().map(|(text, _)| (*text).to_owned()).collect(),
                    json,
                    spans,
                    storage_spans: stores.iter().map(|(_, value)| value.span()).collect(),
                });
            }
        } else {
            let message = format!(
                "the file must hold `key: value` lines, but is {}",
                node.kind()
            );
            problems.push(Problem::error("config-not-mapping", node.span(), message));
        }
    }
    if problems
        .iter()
        .any(|problem| problem.severity == Severity::Error)
    {
        workspace = None;
    }
    let diagnostics = document.source.diagnose(problems, &document.secrets);
    Parsed {
        workspace,
        diagnostics,
    }
}

impl Workspace {
    /// Where the last member's pattern stands in the file.
    pub(crate) fn last_member(&self) -> Option<Range<usize>> {
        self.spans.last().cloned()
    }

    /// The mistake of naming an object store that no profile knows, at its place. `bytes` is the
    /// file that was parsed.
    pub fn unknown_storage(&self, index: usize, bytes: &[u8], file: &str) -> Vec<Diagnostic> {
        let span = self.storage_spans.get(index).cloned().unwrap_or_default();
        // The text could hold a login, and is not repeated.
        let what = "the workspace names an object store that no profile knows".to_owned();
        let problem = Problem::error("storage-unknown", span, what)
            .hint("add it to storages in ~/.synapse/config.json, or publish with --no-storage");
        let document = yaml::parse(bytes, file);
        document.source.diagnose(vec![problem], &document.secrets)
    }

    /// A warning for each pattern that matched nothing. `bytes` is the file that was parsed.
    pub fn unmatched(&self, expansion: &Expansion, bytes: &[u8], file: &str) -> Vec<Diagnostic> {
        if expansion.unmatched.is_empty() {
            return Vec::new();
        }
        let problems = self
            .members
            .iter()
            .zip(&self.spans)
            .filter(|(pattern, _)| expansion.unmatched.contains(pattern))
            .map(|(pattern, span)| {
                let (message, hint) = match pattern.strip_prefix('!') {
                    Some(_) => ("excludes nothing", "remove it, or correct the path"),
                    None => (
                        "matches no plugin",
                        "a plugin is a folder with a config.yaml",
                    ),
                };
                Problem::warning(
                    "workspace-unmatched-pattern",
                    span.clone(),
                    format!("the member pattern {} {message}", quote(pattern)),
                )
                .hint(hint)
            })
            .collect();
        let document = yaml::parse(bytes, file);
        document.source.diagnose(problems, &document.secrets)
    }
}

/// Whether patterns take a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// This one does.
    By(String),
    /// None does.
    No,
    /// This one excludes it.
    Excluded(String),
    /// A folder of this name is never entered.
    Hidden(String),
}

/// Whether the patterns would take a plugin in the folder `place`, which need not be there.
pub fn takes(patterns: &[String], place: &str) -> Taken {
    let mut compiled = Vec::new();
    for text in patterns {
        match Pattern::new(text) {
            Ok(pattern) => compiled.push(pattern),
            Err(_) => return Taken::No,
        }
    }
    let mut states: States = (0..compiled.len()).map(|pattern| (pattern, 0)).collect();
    let ended = |&(pattern, at): &(usize, usize)| at == compiled[pattern].segments.len();
    for name in place.split('/') {
        if !enterable(name) {
            return Taken::Hidden(name.to_owned());
        }
        states = step(&compiled, &states, name, false);
        let out = states
            .iter()
            .find(|state| ended(state) && compiled[state.0].exclude);
        if let Some(&(pattern, _)) = out {
            return Taken::Excluded(patterns[pattern].clone());
        }
    }
    match states.iter().find(|state| ended(state)) {
        Some(&(pattern, _)) => Taken::By(patterns[pattern].clone()),
        None => Taken::No,
    }
}

/// One segment of a pattern.
enum Segment {
    /// `**`: any number of directories.
    Deep,
    Literal(String),
    Glob(GlobMatcher),
}

struct Pattern {
    exclude: bool,
    segments: Vec<Segment>,
}

impl Pattern {
    fn new(text: &str) -> Result<Self, &'static str> {
        let (exclude, body) = match text.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        if body.is_empty() {
            return Err("is empty");
        }
        if body.starts_with(['/', '~']) || body.as_bytes().get(1) == Some(&b':') {
            return Err("must be relative to the workspace");
        }
        if body.contains('\\') || body.chars().any(char::is_control) {
            return Err("must be written with `/` and printable characters");
        }
        let mut segments = Vec::new();
        for part in body.split('/') {
            let segment = match part {
                "" | "." => continue,
                ".." => return Err("must stay inside the workspace"),
                // Two in a row say no more than one.
                "**" if matches!(segments.last(), Some(Segment::Deep)) => continue,
                "**" => Segment::Deep,
                part if part.contains("**") => return Err("has `**` inside a name"),
                part if part.contains(['*', '?', '[', '{']) => {
                    // An alternative over several folders would be cut in two here.
                    let glob = GlobBuilder::new(part).literal_separator(true).build();
                    Segment::Glob(glob.map_err(|_| "is not a glob")?.compile_matcher())
                }
                part => Segment::Literal(part.to_owned()),
            };
            segments.push(segment);
        }
        if segments.len() > 32 {
            return Err("is too deep");
        }
        Ok(Self { exclude, segments })
    }
}

/// Where each pattern stands while walking: (pattern, next segment).
type States = BTreeSet<(usize, usize)>;

struct Walk<'r> {
    root: &'r Path,
    real_root: PathBuf,
    patterns: Vec<Pattern>,
    matched: Vec<bool>,
    members: BTreeSet<String>,
    visited: BTreeSet<String>,
    marks: &'r [&'r str],
}

/// Finds the members that `patterns` name under `root`. Hidden directories, virtual environments
/// and `node_modules` are never entered, nor is a member by `**`.
pub fn expand(root: &Path, patterns: &[String]) -> Result<Expansion, WorkspaceError> {
    folders(root, patterns, &CONFIG_FILES)
}

/// Finds the folders that `patterns` name under `root` and that hold one of the files `marks`,
/// as [`expand`] does.
pub fn folders(
    root: &Path,
    patterns: &[String],
    marks: &[&str],
) -> Result<Expansion, WorkspaceError> {
    let compiled = patterns
        .iter()
        .map(|text| {
            Pattern::new(text).map_err(|why| WorkspaceError::Pattern {
                pattern: quote(text),
                why,
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let real_root = root.canonicalize().map_err(|source| WorkspaceError::List {
        path: ".".to_owned(),
        source,
    })?;
    let mut walk = Walk {
        root,
        real_root,
        matched: vec![false; compiled.len()],
        patterns: compiled,
        members: BTreeSet::new(),
        visited: BTreeSet::new(),
        marks,
    };
    let start: States = (0..walk.patterns.len())
        .map(|pattern| (pattern, 0))
        .collect();
    // A stack of its own: directories may nest deeper than the thread's.
    let mut pending = vec![(String::new(), start)];
    while let Some((path, states)) = pending.pop() {
        walk.directory(&path, states, &mut pending)?;
    }
    let unmatched = patterns
        .iter()
        .zip(&walk.matched)
        .filter(|(_, matched)| !**matched)
        .map(|(text, _)| text.clone())
        .collect();
    Ok(Expansion {
        members: walk.members.into_iter().collect(),
        visited: walk.visited.into_iter().collect(),
        unmatched,
    })
}

impl Walk<'_> {
    fn directory(
        &mut self,
        path: &str,
        mut states: States,
        pending: &mut Vec<(String, States)>,
    ) -> Result<(), WorkspaceError> {
        // An exclusion takes the directory and all below it.
        let ended = |state: &(usize, usize)| state.1 == self.patterns[state.0].segments.len();
        let mut excluded = false;
        for &(pattern, _) in states
            .iter()
            .filter(|s| ended(s) && self.patterns[s.0].exclude)
        {
            self.matched[pattern] = true;
            excluded = true;
        }
        if excluded {
            return Ok(());
        }
        let named: Vec<usize> = states.iter().filter(|s| ended(s)).map(|s| s.0).collect();
        let wanted = !named.is_empty();
        let goes_on = states
            .iter()
            .any(|s| !ended(s) && !self.patterns[s.0].exclude);
        if !wanted && !goes_on {
            return Ok(());
        }
        let full = if path.is_empty() {
            self.root.to_path_buf()
        } else {
            self.root.join(path)
        };
        let failed = |source| WorkspaceError::List {
            path: if path.is_empty() {
                ".".to_owned()
            } else {
                path.to_owned()
            },
            source,
        };
        let listing = match fs::read_dir(&full) {
            Ok(listing) => listing,
            // Removed meanwhile: its parent's listing decides.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        self.visited.insert(path.to_owned());
        let mut folders = Vec::new();
        let mut is_plugin = false;
        for entry in listing {
            let entry = entry.map_err(&failed)?;
            // A name that is not UTF-8 cannot be written in a pattern.
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            if name == "pyvenv.cfg" {
                return Ok(());
            }
            let kind = entry.file_type().map_err(&failed)?;
            if self.marks.contains(&name.as_str()) {
                is_plugin |= full.join(&name).is_file();
            } else if (kind.is_dir() || kind.is_symlink()) && enterable(&name) {
                folders.push((name, kind.is_symlink()));
            }
        }
        if wanted && is_plugin {
            self.members.insert(if path.is_empty() {
                ".".to_owned()
            } else {
                path.to_owned()
            });
            for pattern in named {
                self.matched[pattern] = true;
            }
            states.retain(|&(pattern, at)| {
                let pattern = &self.patterns[pattern];
                pattern.exclude || !matches!(pattern.segments.get(at), Some(Segment::Deep))
            });
        }
        for (name, link) in folders {
            let next = step(&self.patterns, &states, &name, link);
            if next.is_empty() || (link && !self.stays_inside(&full.join(&name))) {
                continue;
            }
            let child = if path.is_empty() {
                name
            } else {
                format!("{path}/{name}")
            };
            pending.push((child, next));
        }
        Ok(())
    }

    fn stays_inside(&self, path: &Path) -> bool {
        path.canonicalize()
            .is_ok_and(|real| real.is_dir() && real.starts_with(&self.real_root))
    }
}

/// The states after entering a directory. A link is never entered by `**`: it may lead to a
/// directory above.
fn step(patterns: &[Pattern], states: &States, name: &str, link: bool) -> States {
    let mut next = States::new();
    for &(pattern, at) in states {
        let segments = &patterns[pattern].segments;
        match segments.get(at) {
            Some(Segment::Literal(literal)) if literal == name => {
                next.insert((pattern, at + 1));
            }
            Some(Segment::Glob(glob)) if glob.is_match(name) => {
                next.insert((pattern, at + 1));
            }
            None | Some(Segment::Literal(_) | Segment::Glob(_)) => {}
            Some(Segment::Deep) if link => {}
            Some(Segment::Deep) => {
                next.insert((pattern, at));
                // At the end it names every directory below, not the one it starts from.
                if at + 1 == segments.len() {
                    next.insert((pattern, at + 1));
                }
                match segments.get(at + 1) {
                    Some(Segment::Literal(literal)) if literal == name => {
                        next.insert((pattern, at + 2));
                    }
                    Some(Segment::Glob(glob)) if glob.is_match(name) => {
                        next.insert((pattern, at + 2));
                    }
                    _ => {}
                }
            }
        }
    }
    next
}

fn enterable(name: &str) -> bool {
    !name.starts_with('.') && !matches!(name, "node_modules" | "venv" | "env" | "__pycache__")
}
