//! Owns the walk: folders listed, names checked, symlinks followed inside the plugin and
//! refused outside, files hashed unless their stat is known to stand for their content.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs::{self, File},
    io::{self, Read},
    os::fd::AsFd,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use rayon::prelude::*;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, fstat, openat, statat};
use synapse_engine::{
    Digest, Failure, filesystem,
    index::{FILE_REST, FOLDER_REST, FileEntry, FileStat, FolderEntry, Subtree},
};

use super::ignores::{IGNORE_FILES, Level, Verdict, decide};

/// More bytes than this to hash are worth all processors.
const PARALLEL: u64 = 256 * 1024;
/// How often a file that changes under our eyes is read again.
const TRIES: u32 = 3;

/// What stops a file from being published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileSetError {
    /// A symlink leads out of the plugin.
    #[error("{path} is a symlink that leads out of the plugin, to {target}")]
    LeadsOut {
        /// The link.
        path: String,
        /// Where it leads.
        target: String,
    },
    /// A symlink leads nowhere.
    #[error("{path} is a symlink to {target}, which does not exist")]
    Dangling {
        /// The link.
        path: String,
        /// Where it leads.
        target: String,
    },
    /// Symlinks run in a circle.
    #[error("{path} is a symlink that leads back into itself")]
    Circle {
        /// The link.
        path: String,
    },
    /// Neither file, folder nor symlink.
    #[error("{path} is a {what}, which cannot be published")]
    Special {
        /// The path.
        path: String,
        /// What it is.
        what: &'static str,
    },
    /// A name that not every system can hold.
    #[error("{path} has a name that {why}")]
    Name {
        /// The path, as well as it can be shown.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// It cannot be read.
    #[error("cannot read {path}: {why}")]
    Unreadable {
        /// The path.
        path: String,
        /// What the system said.
        why: String,
    },
    /// It changed each time it was read.
    #[error("{path} keeps changing while it is read")]
    Restless {
        /// The path.
        path: String,
    },
}

impl FileSetError {
    /// As a failure with a hint.
    pub fn failure(&self, plugin: &Path) -> Failure {
        let (code, path, hint) = match self {
            Self::LeadsOut { path, .. } => (
                "symlink-out",
                path,
                "copy the file into the plugin, or ignore the link in .synapseignore",
            ),
            Self::Dangling { path, .. } => (
                "symlink-dangling",
                path,
                "remove the link, or ignore it in .synapseignore",
            ),
            Self::Circle { path } => (
                "symlink-circle",
                path,
                "remove the link, or ignore it in .synapseignore",
            ),
            Self::Special { path, .. } => (
                "special-file",
                path,
                "remove it, or ignore it in .synapseignore",
            ),
            Self::Name { path, .. } => (
                "file-name",
                path,
                "rename it, or ignore it in .synapseignore",
            ),
            Self::Unreadable { path, .. } => (
                "unreadable",
                path,
                "make it readable, or ignore it in .synapseignore",
            ),
            Self::Restless { path } => (
                "edited-while-reading",
                path,
                "wait until whatever writes it is done, or ignore it",
            ),
        };
        Failure::user(code, self.to_string())
            .at(plugin.join(path).display().to_string())
            .hint(hint)
    }
}

/// What a walk needs to know.
pub struct Walk<'a> {
    /// The plugin's folder.
    pub root: &'a Path,
    /// Its path relative to the workspace root; empty when they are the same.
    pub place: &'a str,
    /// The ignore files above it, outermost first.
    pub outer: &'a [Level],
    /// The folder whose wheels are taken even where `.gitignore` hides them.
    pub wheels_dir: &'a str,
    /// The configuration file, which always belongs to the plugin.
    pub config: &'a str,
    /// Digests known by stat.
    pub known: &'a HashMap<&'a str, (FileStat, Digest)>,
    /// Nanoseconds since 1970, taken before the walk.
    pub now: i64,
    /// Counts files whose bytes were hashed.
    pub hashed: &'a AtomicU64,
}

struct Found {
    path: String,
    packed: bool,
    link: bool,
    size: u64,
}

struct Walker<'a> {
    walk: &'a Walk<'a>,
    real_root: PathBuf,
    levels: Vec<Level>,
    folders: Vec<FolderEntry>,
    files: Vec<Found>,
    /// Ignore files; most are packed as well.
    watched: Vec<Found>,
    links: bool,
    /// Problems, where going on after one is wanted.
    problems: Option<Vec<FileSetError>>,
}

/// What a plugin's folder holds, found without reading a file.
#[derive(Debug, Default)]
pub struct Survey {
    /// Path and size of each file of the plugin, by path.
    pub files: BTreeMap<String, u64>,
    /// All that keeps files from being published.
    pub problems: Vec<FileSetError>,
}

/// Walks the plugin, reads no file, and goes on after problems.
pub fn survey(walk: &Walk<'_>) -> Survey {
    let real_root = match fs::canonicalize(walk.root) {
        Ok(root) => root,
        Err(error) => {
            let (path, why) = (String::new(), error.to_string());
            return Survey {
                problems: vec![FileSetError::Unreadable { path, why }],
                ..Survey::default()
            };
        }
    };
    let mut walker = Walker::new(walk, real_root.clone());
    walker.problems = Some(Vec::new());
    let whole = walker.folder("", false, &mut vec![real_root]);
    let mut problems = walker.problems.unwrap_or_default();
    problems.extend(whole.err());
    let files = walker.files.into_iter();
    Survey {
        files: files.map(|file| (file.path, file.size)).collect(),
        problems,
    }
}

/// Walks the plugin and hashes what is not known.
pub fn scan(walk: &Walk<'_>) -> Result<Subtree, FileSetError> {
    let unreadable = |error: &io::Error| FileSetError::Unreadable {
        path: String::new(),
        why: error.to_string(),
    };
    let real_root = fs::canonicalize(walk.root).map_err(|error| unreadable(&error))?;
    let mut walker = Walker::new(walk, real_root);
    let root = walker.real_root.clone();
    walker.folder("", false, &mut vec![root])?;
    let packed: HashSet<String> = walker.files.iter().map(|file| file.path.clone()).collect();
    walker.watched.retain(|file| !packed.contains(&file.path));
    walker.files.append(&mut walker.watched);
    let honest = filesystem::kind(walk.root).is_honest();
    let total: u64 = walker.files.iter().map(|file| file.size).sum();
    let hash = |found: &Found| hash_entry(walk, found, honest);
    let files: Result<Vec<FileEntry>, FileSetError> = if total > PARALLEL {
        walker.files.par_iter().map(hash).collect()
    } else {
        walker.files.iter().map(hash).collect()
    };
    let (mut files, mut folders) = (files?, walker.folders);
    files.sort_by(|a, b| a.path.as_bytes().cmp(b.path.as_bytes()));
    folders.sort_by(|a, b| a.path.as_bytes().cmp(b.path.as_bytes()));
    let dev = folders.first().map(|folder| folder.stat.dev);
    let one_device = files
        .iter()
        .map(|file| file.stat.dev)
        .chain(folders.iter().map(|f| f.stat.dev));
    let settled = honest
        && !walker.links
        && one_device.map(Some).all(|own| own == dev)
        && files.iter().all(|file| file.settled)
        && folders
            .iter()
            .all(|folder| rested(folder.stat.ctime, FOLDER_REST, walk.now));
    Ok(Subtree {
        guard: Digest::of(&[]),
        folders,
        files,
        note: Vec::new(),
        settled,
    })
}

fn rested(ctime: i64, rest: i64, now: i64) -> bool {
    ctime.saturating_add(rest) < now
}

impl<'a> Walker<'a> {
    fn new(walk: &'a Walk<'a>, real_root: PathBuf) -> Self {
        Self {
            walk,
            real_root,
            levels: walk.outer.to_vec(),
            folders: Vec::new(),
            files: Vec::new(),
            watched: Vec::new(),
            links: false,
            problems: None,
        }
    }
}

impl Walker<'_> {
    /// Lists one folder. `trail` holds the real paths of the folders above, to notice circles.
    fn folder(
        &mut self,
        own: &str,
        only_wheels: bool,
        trail: &mut Vec<PathBuf>,
    ) -> Result<(), FileSetError> {
        let path = self.walk.root.join(own);
        let unreadable = |error: io::Error| FileSetError::Unreadable {
            path: if own.is_empty() {
                ".".to_owned()
            } else {
                own.to_owned()
            },
            why: error.to_string(),
        };
        // Before the listing: a change after it shows next time.
        let stat =
            statat(CWD, &path, AtFlags::empty()).map_err(|error| unreadable(error.into()))?;
        self.folders.push(FolderEntry {
            path: own.to_owned(),
            stat: FileStat::from(&stat),
        });
        let place = join(self.walk.place, own);
        let level = Level::read(&path, &place).map_err(unreadable)?;
        let depth = self.levels.len();
        if level.is_some() {
            for name in IGNORE_FILES {
                if let Ok(meta) =
                    fs::metadata(path.join(name)).map(|meta| (meta.is_file(), meta.len()))
                {
                    self.found(join(own, name), meta, false);
                }
            }
        }
        self.levels.extend(level);
        for entry in fs::read_dir(&path).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let (levels, above) = (self.levels.len(), trail.len());
            if let Err(problem) = self.entry(own, &entry, only_wheels, trail) {
                let Some(problems) = &mut self.problems else {
                    return Err(problem);
                };
                problems.push(problem);
                self.levels.truncate(levels);
                trail.truncate(above);
            }
        }
        self.levels.truncate(depth);
        Ok(())
    }

    fn found(&mut self, path: String, (is_file, size): (bool, u64), packed: bool) {
        if !is_file {
            return;
        }
        let list = if packed {
            &mut self.files
        } else {
            &mut self.watched
        };
        list.push(Found {
            path,
            packed,
            link: false,
            size,
        });
    }

    fn entry(
        &mut self,
        parent: &str,
        entry: &fs::DirEntry,
        only_wheels: bool,
        trail: &mut Vec<PathBuf>,
    ) -> Result<(), FileSetError> {
        let raw = entry.file_name();
        let shown = || join(parent, &raw.to_string_lossy());
        let kind = entry
            .file_type()
            .map_err(|error| FileSetError::Unreadable {
                path: shown(),
                why: error.to_string(),
            })?;
        let name = raw.to_str();
        let own = join(parent, name.unwrap_or_default());
        let mut is_dir = kind.is_dir();
        let mut link = None;
        if kind.is_symlink() && name.is_some() {
            let target = fs::canonicalize(entry.path());
            is_dir = target.as_ref().is_ok_and(|target| target.is_dir());
            link = Some(target);
        }
        // A name that is not text is judged as it looks, so that a pattern can exclude it.
        let judged = name.map_or_else(shown, |_| own.clone());
        let (kept, deeper) = self.kept(&judged, is_dir, only_wheels);
        if !kept {
            return Ok(());
        }
        let Some(name) = name else {
            return Err(FileSetError::Name {
                path: shown(),
                why: "is not UTF-8",
            });
        };
        if let Some(why) = bad_name(name, &own) {
            return Err(FileSetError::Name {
                path: own.replace(char::is_control, "?"),
                why,
            });
        }
        if let Some(target) = link {
            self.links = true;
            let real = self.inside(&own, &entry.path(), target)?;
            if is_dir {
                if trail.contains(&real) {
                    return Err(FileSetError::Circle { path: own });
                }
                trail.push(real);
                self.folder(&own, deeper, trail)?;
                trail.pop();
                return Ok(());
            }
            let meta = fs::metadata(&real).map_err(|error| FileSetError::Unreadable {
                path: own.clone(),
                why: error.to_string(),
            })?;
            special(&own, meta.file_type())?;
            self.files.push(Found {
                path: own,
                packed: true,
                link: true,
                size: meta.len(),
            });
            return Ok(());
        }
        if is_dir {
            let real = trail[trail.len() - 1].join(name);
            trail.push(real);
            self.folder(&own, deeper, trail)?;
            trail.pop();
            return Ok(());
        }
        special(&own, kind)?;
        let size = entry.metadata().map_or(0, |meta| meta.len());
        self.found(own, (true, size), true);
        Ok(())
    }

    /// Whether a path belongs to the plugin, and for a folder whether only wheels in it do.
    fn kept(&self, own: &str, is_dir: bool, only_wheels: bool) -> (bool, bool) {
        if own == self.walk.config {
            return (true, false);
        }
        let wheels = self.walk.wheels_dir.trim_matches('/');
        let in_wheels = own
            .strip_prefix(wheels)
            .is_some_and(|rest| rest.starts_with('/'));
        let is_wheel =
            !is_dir && in_wheels && Path::new(own).extension().is_some_and(|end| end == "whl");
        let leads = is_dir
            && (own == wheels
                || wheels
                    .strip_prefix(own)
                    .is_some_and(|rest| rest.starts_with('/')));
        let verdict = decide(&self.levels, &join(self.walk.place, own), own, is_dir);
        match verdict {
            Verdict::Keep => (!only_wheels || is_wheel || leads, only_wheels),
            Verdict::Synapse => (false, false),
            Verdict::Other => (is_wheel || leads, true),
        }
    }

    fn inside(
        &self,
        own: &str,
        path: &Path,
        target: io::Result<PathBuf>,
    ) -> Result<PathBuf, FileSetError> {
        let shown = || {
            fs::read_link(path)
                .unwrap_or_default()
                .display()
                .to_string()
        };
        match target {
            Ok(real) if real.starts_with(&self.real_root) => Ok(real),
            Ok(_) => Err(FileSetError::LeadsOut {
                path: own.to_owned(),
                target: shown(),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(FileSetError::Dangling {
                path: own.to_owned(),
                target: shown(),
            }),
            Err(_) => Err(FileSetError::Circle {
                path: own.to_owned(),
            }),
        }
    }
}

fn special(path: &str, kind: fs::FileType) -> Result<(), FileSetError> {
    use std::os::unix::fs::FileTypeExt;
    let what = match kind {
        kind if kind.is_file() => return Ok(()),
        kind if kind.is_fifo() => "named pipe",
        kind if kind.is_socket() => "socket",
        kind if kind.is_block_device() || kind.is_char_device() => "device",
        _ => "special file",
    };
    Err(FileSetError::Special {
        path: path.to_owned(),
        what,
    })
}

fn bad_name(name: &str, path: &str) -> Option<&'static str> {
    if name.contains('\\') {
        return Some("contains a backslash");
    }
    if name.chars().any(char::is_control) {
        return Some("contains control characters");
    }
    // Characters that reorder text make a name look like another one.
    if name
        .chars()
        .any(|c| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
    {
        return Some("contains characters that change the direction of text");
    }
    (path.len() > 4096).then_some("is longer than 4,096 bytes")
}

fn join(parent: &str, name: &str) -> String {
    match (parent.is_empty(), name.is_empty()) {
        (true, _) => name.to_owned(),
        (_, true) => parent.to_owned(),
        _ => format!("{parent}/{name}"),
    }
}

fn hash_entry(walk: &Walk<'_>, found: &Found, honest: bool) -> Result<FileEntry, FileSetError> {
    let full = walk.root.join(&found.path);
    let unreadable = |error: io::Error| FileSetError::Unreadable {
        path: found.path.clone(),
        why: error.to_string(),
    };
    if let Some((stat, digest)) = walk
        .known
        .get(found.path.as_str())
        .filter(|_| honest && !found.link)
    {
        let now = statat(CWD, &full, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| unreadable(error.into()))?;
        let now = FileStat::from(&now);
        if now == *stat {
            let (path, packed) = (found.path.clone(), found.packed);
            return Ok(FileEntry {
                path,
                stat: now,
                digest: *digest,
                packed,
                settled: true,
            });
        }
    }
    for _ in 0..TRIES {
        let flags = if found.link {
            OFlags::empty()
        } else {
            OFlags::NOFOLLOW
        };
        let open = openat(
            CWD,
            &full,
            OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | flags,
            Mode::empty(),
        );
        let mut file = File::from(open.map_err(|error| unreadable(error.into()))?);
        let before =
            FileStat::from(&fstat(file.as_fd()).map_err(|error| unreadable(error.into()))?);
        let digest = hash_file(&mut file, before.size).map_err(unreadable)?;
        walk.hashed.fetch_add(1, Ordering::Relaxed);
        let after = FileStat::from(&fstat(file.as_fd()).map_err(|error| unreadable(error.into()))?);
        if before == after {
            let settled = honest && !found.link && rested(after.ctime, FILE_REST, walk.now);
            let (path, packed) = (found.path.clone(), found.packed);
            return Ok(FileEntry {
                path,
                stat: after,
                digest,
                packed,
                settled,
            });
        }
    }
    Err(FileSetError::Restless {
        path: found.path.clone(),
    })
}

fn hash_file(file: &mut File, size: u64) -> io::Result<Digest> {
    const CHUNK: usize = 4 << 20;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; (size as usize + 1).clamp(4096, CHUNK)];
    loop {
        let mut filled = 0;
        while filled < buffer.len() {
            match file.read(&mut buffer[filled..])? {
                0 => break,
                n => filled += n,
            }
        }
        if filled == CHUNK {
            hasher.update_rayon(&buffer[..filled]);
        } else {
            hasher.update(&buffer[..filled]);
        }
        if filled < buffer.len() {
            return Ok(hasher.finalize().into());
        }
    }
}
