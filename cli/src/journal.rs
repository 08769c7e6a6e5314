//! Owns the journal: one line of JSON for each past invocation, in the user's data.
//!
//! A line is written whole, by one write at the end of the invocation, and is not pressed onto
//! the disk: whoever is killed leaves no line, and a power cut may take the newest ones. What
//! cannot be read is passed over. A line that tells of nothing new names an earlier one instead of
//! repeating it.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use synapse_engine::{DirtyReason, Record};

/// Bytes after which the journal begins anew; the one before it is kept.
const MOST: u64 = 8 << 20;
/// Bytes of the end that are looked at first: some ten lines of publishes with nothing to do.
const TAIL: u64 = 16 << 10;
/// Bytes that a trailer takes at most.
const LONGEST: usize = 200;
/// Tries at a journal that another process writes, each so far apart.
const TRIES: u32 = 200;
const WAIT: Duration = Duration::from_millis(1);

/// One past invocation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Entry {
    /// When it began, Unix seconds.
    pub at: i64,
    /// How long it took, milliseconds.
    pub ms: u64,
    /// Its exit code.
    pub exit: u8,
    /// The command: `publish`, `upload` or `run`.
    pub command: String,
    /// What it was asked, without any value that may be a secret.
    pub line: String,
    /// The workspace, or the plugin where there is none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub scope: String,
    /// Where it went.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<String>,
    /// Sums.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
    /// Plugins that were not simply up to date.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub plugins: Vec<PluginLine>,
    /// Stages that ran, or failed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<NodeLine>,
    /// Last stages whose results were known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub known: Vec<Known>,
    /// The run of an action.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<RunLine>,
    /// Why it failed, before or besides its plugins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorLine>,
    /// What it stands for and how all came out.
    #[serde(flatten)]
    pub trailer: Trailer,
}

/// Sums over an invocation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Plugins asked for.
    pub plugins: u64,
    /// Releases made.
    pub published: u64,
    /// Releases found.
    pub up_to_date: u64,
    /// Everything else.
    pub failed: u64,
    /// Stages that ran.
    pub nodes_run: u64,
    /// Stages whose results were known.
    pub nodes_hit: u64,
    /// Calls across the network.
    pub requests: u64,
    /// Bytes sent.
    pub bytes_sent: u64,
}

/// How a plugin came out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PluginLine {
    /// `code` or `code@variant`.
    pub plugin: String,
    /// Its version, afterwards.
    pub version: String,
    /// The version that was raised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub was: Option<String>,
    /// As `--json` has it.
    pub status: String,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorLine>,
}

/// A stage that ran, or failed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeLine {
    /// The stage.
    pub stage: String,
    /// The plugin.
    pub plugin: String,
    /// Where it goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Its key, when it got one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// How long it took, milliseconds.
    pub ms: u64,
    /// Why it ran.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<DirtyReason>,
    /// The code of its failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// Keys of one stage whose results were known, by plugin.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Known {
    /// The stage.
    pub stage: String,
    /// Where it goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The beginnings of keys.
    pub keys: BTreeMap<String, String>,
}

/// The run of an action.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunLine {
    /// Its id, for `synapse runs show`; none when nothing ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<i64>,
    /// Its id on the platform that ran it, as `PROFILE:ID`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// The plugin.
    pub plugin: String,
    /// Its version.
    pub version: String,
    /// The action.
    pub action: String,
    /// Which environment, in a line.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub environment: String,
    /// It took the result of an earlier one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub reused: bool,
    /// What it was made of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Record>,
}

/// A failure.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ErrorLine {
    /// Stable name.
    pub code: String,
    /// What happened; of a run, whose failures may quote its parameters, nothing.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// What the next line looks at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Trailer {
    /// Names command line and workspace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub of: String,
    /// The keys of all last stages, summed up.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub state: String,
    /// The line that has what was known, since it was all the same then.
    #[serde(rename = "as", skip_serializing_if = "Option::is_none")]
    pub like: Option<u64>,
    /// Its number.
    pub id: u64,
}

impl Trailer {
    /// That of a line, of which the end alone may be at hand: a long one is not read for it.
    fn of(line: &[u8]) -> Option<Self> {
        let end = &line[line.len().saturating_sub(LONGEST)..];
        // Inside of a string neither could stand like this.
        let begin = [&b",\"of\":"[..], b",\"id\":"]
            .into_iter()
            .find_map(|name| {
                let mut places = (0..end.len()).rev();
                places.find(|at| end[*at..].starts_with(name))
            })?;
        let mut text = end[begin..].to_vec();
        text[0] = b'{';
        let trailer: Self = serde_json::from_slice(&text).ok()?;
        Some(trailer).filter(|trailer| trailer.id > 0)
    }
}

/// The journal of one user.
pub struct Journal {
    path: PathBuf,
}

impl Journal {
    /// The journal at `path`.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Where the lines before the present ones lie.
    fn old(&self) -> PathBuf {
        self.path.with_extension("old.jsonl")
    }

    /// The line whose results are those of a command line that came to `state` with nothing done,
    /// if there is one near the end.
    pub fn like(&self, of: &str, state: &str) -> Option<u64> {
        let file = File::open(&self.path).ok()?;
        let end = End::of(&file, file.metadata().ok()?.len(), of).ok()?;
        let twin = end.twin.filter(|twin| twin.state == state)?;
        Some(twin.like.unwrap_or(twin.id))
    }

    /// Adds a line and numbers it. `folder` says whether the folder may be made for it.
    pub fn append(&self, mut entry: Entry, folder: bool) -> io::Result<u64> {
        let mut file = match self.locked() {
            Err(error) if error.kind() == io::ErrorKind::NotFound && folder => {
                let parent = self.path.parent().unwrap_or(&self.path);
                DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(parent)?;
                self.locked()?
            }
            file => file?,
        };
        let mut length = file.metadata()?.len();
        if length > MOST {
            fs::rename(&self.path, self.old())?;
            file = self.locked()?;
            length = file.metadata()?.len();
        }
        let end = End::of(&file, length, "")?;
        let mut last = end.last;
        if length == 0
            && let Ok(old) = File::open(self.old())
        {
            let length = old.metadata()?.len();
            last = End::of(&old, length, "")?.last;
        }
        entry.trailer.id = last + 1;
        // Whoever was stopped in the middle of a line must not spoil this one.
        let mut line = if end.torn { vec![b'\n'] } else { Vec::new() };
        serde_json::to_writer(&mut line, &entry)?;
        line.push(b'\n');
        file.write_all(&line)?;
        Ok(entry.trailer.id)
    }

    /// The file, which this process alone may change until it is closed.
    fn locked(&self) -> io::Result<File> {
        for _ in 0..TRIES {
            let file = OpenOptions::new()
                .read(true)
                .append(true)
                .create(true)
                .mode(0o600)
                .open(&self.path)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    thread::sleep(WAIT);
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
            // It may have been put aside since it was opened.
            let (own, there) = (file.metadata()?, fs::metadata(&self.path));
            if there.is_ok_and(|there| there.ino() == own.ino() && there.dev() == own.dev()) {
                return Ok(file);
            }
        }
        Err(io::Error::other("another process keeps it"))
    }

    /// All lines that can be read, oldest first. No journal is an empty one.
    pub fn read(&self) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for path in [self.old(), self.path.clone()] {
            let text = read(&path)?;
            let lines = text.split(|byte| *byte == b'\n');
            let parsed = lines.filter_map(|line| serde_json::from_slice::<Entry>(line).ok());
            entries.extend(parsed.filter(|entry| entry.trailer.id > 0));
        }
        Ok(entries)
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(mut file) => file.read_to_end(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    Ok(bytes)
}

/// What the end of a journal says.
#[derive(Default)]
struct End {
    /// The last number given.
    last: u64,
    /// The last line of the same command line.
    twin: Option<Trailer>,
    /// The last line is not whole.
    torn: bool,
}

impl End {
    /// Reads as much of the end as it takes to find a line, and its twin if that is near.
    fn of(file: &File, length: u64, of: &str) -> io::Result<Self> {
        let mut reach = TAIL;
        loop {
            let from = length.saturating_sub(reach);
            let mut bytes = vec![0; (length - from) as usize];
            file.read_exact_at(&mut bytes, from)?;
            let end = Self::found(&bytes, of);
            if end.last > 0 || from == 0 {
                return Ok(end);
            }
            reach *= 16;
        }
    }

    fn found(bytes: &[u8], of: &str) -> Self {
        let mut end = Self {
            torn: bytes.last().is_some_and(|byte| *byte != b'\n'),
            ..Self::default()
        };
        for line in bytes.rsplit(|byte| *byte == b'\n') {
            let Some(trailer) = Trailer::of(line) else {
                continue;
            };
            end.last = end.last.max(trailer.id);
            if trailer.of == of && !of.is_empty() {
                end.twin = Some(trailer);
                break;
            }
            if of.is_empty() && end.last > 0 {
                break;
            }
        }
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(of: &str, state: &str) -> Entry {
        Entry {
            command: "publish".to_owned(),
            trailer: Trailer {
                of: of.to_owned(),
                state: state.to_owned(),
                ..Trailer::default()
            },
            ..Entry::default()
        }
    }

    fn journal() -> (tempfile::TempDir, Journal) {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::new(folder.path().join("data/journal.jsonl"));
        (folder, journal)
    }

    #[test]
    fn what_is_the_same_is_found_again() {
        let (_folder, journal) = journal();
        assert_eq!(journal.like("x", "1"), None);
        let mut liked = Vec::new();
        for (of, state) in [("x", "1"), ("x", "1"), ("y", "1"), ("x", "1"), ("x", "2")] {
            let mut own = entry(of, state);
            own.trailer.like = journal.like(of, state);
            liked.push(own.trailer.like);
            journal.append(own, true).unwrap();
        }
        assert_eq!(liked, [None, Some(1), None, Some(1), None]);
        let ids: Vec<u64> = journal
            .read()
            .unwrap()
            .iter()
            .map(|own| own.trailer.id)
            .collect();
        assert_eq!(ids, [1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_torn_line_is_passed_over_and_spoils_no_other() {
        let (_folder, journal) = journal();
        journal.append(entry("x", "1"), true).unwrap();
        let mut bytes = fs::read(&journal.path).unwrap();
        bytes.extend_from_slice(b"\xff{\"at\":12,\"command\":\"pub");
        fs::write(&journal.path, bytes).unwrap();
        assert_eq!(journal.like("x", "1"), Some(1));
        assert_eq!(journal.append(entry("x", "1"), true).unwrap(), 2);
        let ids: Vec<u64> = journal
            .read()
            .unwrap()
            .iter()
            .map(|own| own.trailer.id)
            .collect();
        assert_eq!(ids, [1, 2]);
    }

    #[test]
    fn it_is_bounded_and_numbers_go_on() {
        let (_folder, journal) = journal();
        journal.append(entry("x", "1"), true).unwrap();
        for _ in 0..3 {
            let mut long = entry("x", "1");
            long.line = "l".repeat(MOST as usize);
            journal.append(long, true).unwrap();
        }
        assert_eq!(journal.append(entry("x", "1"), true).unwrap(), 5);
        let sizes = [&journal.path, &journal.old()].map(|path| fs::metadata(path).unwrap().len());
        assert!(sizes[0] < 1000 && sizes[1] < MOST + 1000, "{sizes:?}");
        assert_eq!(journal.read().unwrap().len(), 2);
    }

    #[test]
    fn looking_and_failing_make_no_folder() {
        let (folder, journal) = journal();
        assert!(journal.read().unwrap().is_empty());
        assert!(journal.append(entry("x", "1"), false).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
