//! Owns the flat file index: what the files of each subtree looked like when they were last
//! hashed, so that an unchanged subtree costs one stat a file and no hashing.
//!
//! The index only ever saves work. Deleting it costs a rehash; a damaged one is ignored. An
//! entry is *settled*, and may be trusted, when the file had rested before it was hashed (the
//! racy rule, and see [`FILE_REST`]) on a filesystem that keeps its times honestly.

use std::{
    collections::HashMap, ffi::CStr, fs, io::Write, os::fd::BorrowedFd, path::Path, sync::Arc,
};

use rustix::fs::{AtFlags, FileType, fstat, statat};

pub use crate::file_stat::FileStat;
use crate::{
    digest::Digest,
    manifest::Files,
    tree::{TreeEntry, tree_digest},
};

/// Nanoseconds a file must have rested before a hash of it is trusted by stat alone. Longer
/// than the kernel keeps a page dirty by default (35 s): until a page is written back, stores
/// through `mmap` change it without touching any time.
pub const FILE_REST: i64 = 40_000_000_000;
/// Nanoseconds a folder must have rested: more than the coarsest timestamp in use.
pub const FOLDER_REST: i64 = 2_000_000_000;

const MAGIC: &[u8; 8] = b"synidx02";
const EXECUTABLE: u16 = 1;
const PACKED: u16 = 2;
const SETTLED: u16 = 4;
const HEAD: usize = 8 + 32 + 32 + 16;
const DIR: usize = 32;
const FILE: usize = 72;

/// A folder whose listing counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderEntry {
    /// Path relative to the subtree's root; empty for the root.
    pub path: String,
    /// What it looked like before it was listed.
    pub stat: FileStat,
}

/// A file whose content counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    /// POSIX path relative to the subtree's root.
    pub path: String,
    /// What it looked like before it was hashed.
    pub stat: FileStat,
    /// Digest of its bytes.
    pub digest: Digest,
    /// It is part of the tree; otherwise it only steers it, like an ignore file.
    pub packed: bool,
    /// Its stat may stand for its content.
    pub settled: bool,
}

/// What was seen of one subtree.
#[derive(Debug, Clone)]
pub struct Subtree {
    /// Digest of everything outside the subtree that decides which files belong to it.
    pub guard: Digest,
    /// Folders that were listed, sorted by path.
    pub folders: Vec<FolderEntry>,
    /// Files, sorted by path.
    pub files: Vec<FileEntry>,
    /// The owner's own notes on this state of the subtree.
    pub note: Vec<u8>,
    /// Stat may stand for the whole: false with symlinks, mounts, or files still warm.
    pub settled: bool,
}

impl Subtree {
    /// Packs the subtree for the index.
    pub fn encode(&self) -> Section {
        let packed = self.files.iter().filter(|file| file.packed);
        let tree = tree_digest(
            packed.map(|f| (f.path.as_str(), f.stat.executable, f.stat.size, f.digest)),
        );
        let mut bytes = Vec::with_capacity(HEAD + self.folders.len() * 64 + self.files.len() * 100);
        let mut pool: Vec<u8> = Vec::new();
        let mut pooled = |path: &str| {
            let at = pool.len() as u32;
            pool.extend_from_slice(path.as_bytes());
            pool.push(0);
            (at, path.len() as u16)
        };
        bytes.extend_from_slice(&self.folders.first().map_or(0, |f| f.stat.dev).to_le_bytes());
        bytes.extend_from_slice(self.guard.as_bytes());
        bytes.extend_from_slice(tree.as_bytes());
        bytes.extend_from_slice(&u32::from(self.settled).to_le_bytes());
        for count in [self.folders.len(), self.files.len(), self.note.len()] {
            bytes.extend_from_slice(&(count as u32).to_le_bytes());
        }
        for folder in &self.folders {
            let (at, len) = pooled(&folder.path);
            bytes.extend_from_slice(&at.to_le_bytes());
            bytes.extend_from_slice(&len.to_le_bytes());
            bytes.extend_from_slice(&[0; 2]);
            for number in [
                folder.stat.ino,
                folder.stat.mtime as u64,
                folder.stat.ctime as u64,
            ] {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
        }
        for file in &self.files {
            let (at, len) = pooled(&file.path);
            let flag = |set: bool, bit: u16| if set { bit } else { 0 };
            let flags = flag(file.stat.executable, EXECUTABLE)
                | flag(file.packed, PACKED)
                | flag(file.settled, SETTLED);
            bytes.extend_from_slice(&at.to_le_bytes());
            bytes.extend_from_slice(&len.to_le_bytes());
            bytes.extend_from_slice(&flags.to_le_bytes());
            let FileStat {
                size,
                ino,
                mtime,
                ctime,
                ..
            } = file.stat;
            for number in [size, ino, mtime as u64, ctime as u64] {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
            bytes.extend_from_slice(file.digest.as_bytes());
        }
        bytes.extend_from_slice(&self.note);
        bytes.extend_from_slice(&pool);
        Section {
            bytes: Arc::new(Bytes::Owned(bytes)),
            range: None,
        }
    }
}

/// Where encoded subtrees lie.
#[derive(Debug)]
enum Bytes {
    Mapped(memmap2::Mmap),
    Owned(Vec<u8>),
}

impl std::ops::Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Owned(bytes) => bytes,
        }
    }
}

/// One encoded subtree: inside a loaded index, or newly made.
#[derive(Debug, Clone)]
pub struct Section {
    bytes: Arc<Bytes>,
    range: Option<(usize, usize)>,
}

impl Section {
    fn bytes(&self) -> &[u8] {
        match self.range {
            Some((start, end)) => self.bytes.get(start..end).unwrap_or_default(),
            None => &self.bytes,
        }
    }

    fn number(&self, at: usize) -> u64 {
        let bytes = self
            .bytes()
            .get(at..at + 8)
            .and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u64::from_le_bytes)
    }

    fn small(&self, at: usize) -> usize {
        let bytes = self
            .bytes()
            .get(at..at + 4)
            .and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u32::from_le_bytes) as usize
    }

    fn short(&self, at: usize) -> u16 {
        let bytes = self
            .bytes()
            .get(at..at + 2)
            .and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u16::from_le_bytes)
    }

    fn digest_at(&self, at: usize) -> Digest {
        let bytes = self.bytes().get(at..at + 32).unwrap_or_default();
        Digest::from_slice(bytes).unwrap_or(Digest::from_array([0; 32]))
    }

    /// See [`Subtree::guard`].
    pub fn guard(&self) -> Digest {
        self.digest_at(8)
    }

    /// Digest of the tree of packed files.
    pub fn tree_digest(&self) -> Digest {
        self.digest_at(40)
    }

    /// See [`Subtree::settled`].
    pub fn settled(&self) -> bool {
        self.small(72) == 1
    }

    fn folders(&self) -> usize {
        self.small(76)
    }

    /// Number of files, packed or not.
    pub fn files(&self) -> usize {
        self.small(80)
    }

    fn note_start(&self) -> usize {
        HEAD + self.folders() * DIR + self.files() * FILE
    }

    /// See [`Subtree::note`].
    pub fn note(&self) -> &[u8] {
        let start = self.note_start();
        self.bytes()
            .get(start..start + self.small(84))
            .unwrap_or_default()
    }

    /// The same subtree with another note.
    pub fn with_note(&self, note: &[u8]) -> Self {
        let (bytes, start) = (self.bytes(), self.note_start());
        let pool = start + self.small(84);
        let head = bytes.get(..84).unwrap_or_default();
        let records = bytes.get(88..start).unwrap_or_default();
        let len = (note.len() as u32).to_le_bytes();
        let pool = bytes.get(pool..).unwrap_or_default();
        let bytes = [head, &len, records, note, pool].concat();
        Self {
            bytes: Arc::new(Bytes::Owned(bytes)),
            range: None,
        }
    }

    /// A pooled path, with its closing NUL.
    fn path(&self, record: usize) -> &[u8] {
        let pool = self.note_start() + self.small(84);
        let (at, len) = (
            pool + self.small(record),
            usize::from(self.short(record + 4)),
        );
        self.bytes().get(at..=at + len).unwrap_or_default()
    }

    fn text(&self, record: usize) -> &str {
        let path = self.path(record);
        std::str::from_utf8(&path[..path.len().saturating_sub(1)]).unwrap_or_default()
    }

    fn file_stat(&self, record: usize) -> FileStat {
        FileStat {
            dev: self.number(0),
            size: self.number(record + 8),
            ino: self.number(record + 16),
            mtime: self.number(record + 24) as i64,
            ctime: self.number(record + 32) as i64,
            executable: self.short(record + 6) & EXECUTABLE != 0,
        }
    }

    fn file_records(&self) -> impl Iterator<Item = usize> {
        let start = HEAD + self.folders() * DIR;
        (0..self.files()).map(move |index| start + index * FILE)
    }

    /// Whether every folder and file still looks as it did. `root` is the subtree's folder.
    /// False says nothing but "look closer".
    pub fn is_unchanged(&self, root: BorrowedFd<'_>) -> bool {
        if !self.settled() {
            return false;
        }
        let stat = |path: &[u8]| {
            let path = CStr::from_bytes_with_nul(path).ok()?;
            if path.is_empty() {
                return fstat(root).ok();
            }
            statat(root, path, AtFlags::SYMLINK_NOFOLLOW).ok()
        };
        let dev = self.number(0);
        for record in (0..self.folders()).map(|index| HEAD + index * DIR) {
            let Some(found) = stat(self.path(record)) else {
                return false;
            };
            let now = FileStat::from(&found);
            let same = now.dev == dev
                && now.ino == self.number(record + 8)
                && now.mtime == self.number(record + 16) as i64
                && now.ctime == self.number(record + 24) as i64;
            if !same || !FileType::from_raw_mode(found.st_mode).is_dir() {
                return false;
            }
        }
        self.file_records().all(|record| {
            let found = stat(self.path(record));
            found.is_some_and(|found| {
                FileType::from_raw_mode(found.st_mode).is_file()
                    && FileStat::from(&found) == self.file_stat(record)
            })
        })
    }

    /// Whether two sections saw the same.
    pub fn is_same(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }

    /// The folders that were listed, relative to the subtree's root; empty for the root.
    pub fn folder_paths(&self) -> impl Iterator<Item = &str> {
        (0..self.folders()).map(|index| self.text(HEAD + index * DIR))
    }

    /// Number of files whose stat may stand for their content.
    pub fn settled_files(&self) -> usize {
        let settled = |record: &usize| self.short(record + 6) & SETTLED != 0;
        self.file_records().filter(settled).count()
    }

    /// Settled digests by path, for a closer look.
    pub fn known(&self) -> HashMap<&str, (FileStat, Digest)> {
        let settled = self
            .file_records()
            .filter(|record| self.short(record + 6) & SETTLED != 0);
        settled
            .map(|record| {
                (
                    self.text(record),
                    (self.file_stat(record), self.digest_at(record + 40)),
                )
            })
            .collect()
    }
}

impl Files for Section {
    fn digest(&self) -> Digest {
        self.tree_digest()
    }

    fn load(&self) -> Vec<TreeEntry> {
        let packed = self
            .file_records()
            .filter(|record| self.short(record + 6) & PACKED != 0);
        packed
            .map(|record| {
                let FileStat {
                    size, executable, ..
                } = self.file_stat(record);
                let (path, digest) = (self.text(record).to_owned(), self.digest_at(record + 40));
                TreeEntry {
                    path,
                    executable,
                    size,
                    digest,
                }
            })
            .collect()
    }
}

/// A loaded index.
#[derive(Debug, Default)]
pub struct Index {
    sections: HashMap<String, Section>,
}

impl Index {
    /// Loads the index at `path`; an absent, damaged or foreign one is empty. `fingerprint`
    /// stands for the rules by which it was made.
    pub fn load(path: &Path, fingerprint: &Digest) -> Self {
        let map = |path: &Path| {
            let file = fs::File::open(path)?;
            // SAFETY: an index is only ever replaced by rename, never written in place, so the
            // mapped file does not change. Its bytes are checked by their digest before use.
            unsafe { memmap2::MmapOptions::new().populate().map(&file) }
        };
        map(path)
            .ok()
            .and_then(|map| Self::decode(Bytes::Mapped(map), fingerprint))
            .unwrap_or_default()
    }

    fn decode(bytes: Bytes, fingerprint: &Digest) -> Option<Self> {
        let body = bytes.len().checked_sub(32)?;
        if bytes.get(..8)? != MAGIC || bytes.get(8..40)? != fingerprint.as_bytes() {
            return None;
        }
        if Digest::of(&bytes[..body]).as_bytes() != &bytes[body..] {
            return None;
        }
        let bytes = Arc::new(bytes);
        let whole = Section {
            bytes: Arc::clone(&bytes),
            range: None,
        };
        let (count, mut at) = (whole.small(40), 44);
        let mut sections = HashMap::with_capacity(count);
        for _ in 0..count {
            let len = usize::from(whole.short(at));
            let name = std::str::from_utf8(bytes.get(at + 2..at + 2 + len)?)
                .ok()?
                .to_owned();
            let (start, size) = (whole.small(at + 2 + len), whole.small(at + 6 + len));
            let section = Section {
                bytes: Arc::clone(&bytes),
                range: Some((start, start + size)),
            };
            let fixed = section.note_start() + section.small(84);
            if start + size > body || fixed > size || size < HEAD {
                return None;
            }
            sections.insert(name, section);
            at += 10 + len;
        }
        Some(Self { sections })
    }

    /// The subtree at `root`, as it was last seen.
    pub fn get(&self, root: &str) -> Option<&Section> {
        self.sections.get(root)
    }

    /// Takes what was seen of a subtree since; it is not written.
    pub fn put(&mut self, root: &str, section: Section) {
        self.sections.insert(root.to_owned(), section);
    }

    /// Every subtree by its root.
    pub fn sections(&self) -> impl Iterator<Item = (&str, &Section)> {
        self.sections
            .iter()
            .map(|(root, section)| (root.as_str(), section))
    }

    /// Writes an index of the given subtrees and renames it into place. Nothing is synced: a
    /// torn index fails its checksum and is ignored.
    pub fn save<'a>(
        path: &Path,
        fingerprint: &Digest,
        sections: impl Iterator<Item = (&'a str, &'a Section)>,
    ) -> std::io::Result<()> {
        let mut sections: Vec<_> = sections.collect();
        sections.sort_unstable_by_key(|(root, _)| *root);
        let mut start = 44
            + sections
                .iter()
                .map(|(root, _)| 10 + root.len())
                .sum::<usize>();
        let total = start
            + sections
                .iter()
                .map(|(_, section)| section.bytes().len())
                .sum::<usize>();
        if u32::try_from(total).is_err() {
            return Err(std::io::Error::other(
                "the workspace is too large for an index",
            ));
        }
        let mut bytes = Vec::with_capacity(total + 32);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(fingerprint.as_bytes());
        bytes.extend_from_slice(&(sections.len() as u32).to_le_bytes());
        for (root, section) in &sections {
            bytes.extend_from_slice(&(root.len() as u16).to_le_bytes());
            bytes.extend_from_slice(root.as_bytes());
            bytes.extend_from_slice(&(start as u32).to_le_bytes());
            bytes.extend_from_slice(&(section.bytes().len() as u32).to_le_bytes());
            start += section.bytes().len();
        }
        for (_, section) in &sections {
            bytes.extend_from_slice(section.bytes());
        }
        let digest = Digest::of(&bytes);
        bytes.extend_from_slice(digest.as_bytes());
        let folder = path.parent().unwrap_or(path);
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(&bytes)?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    fn subtree(folder: &Path, names: &[&str], rested: bool) -> Subtree {
        let stat = |path: &Path| {
            let open = fs::File::open(folder).unwrap();
            FileStat::from(&statat(open.as_fd(), path, AtFlags::SYMLINK_NOFOLLOW).unwrap())
        };
        let file = |name: &&str| FileEntry {
            path: (*name).to_owned(),
            stat: stat(&folder.join(name)),
            digest: Digest::of(&fs::read(folder.join(name)).unwrap()),
            packed: true,
            settled: rested,
        };
        Subtree {
            guard: Digest::of(b"guard"),
            folders: vec![FolderEntry {
                path: String::new(),
                stat: stat(folder),
            }],
            files: names.iter().map(file).collect(),
            note: b"note".to_vec(),
            settled: rested,
        }
    }

    #[test]
    fn a_saved_index_comes_back_and_notices_changes() {
        let folder = tempfile::tempdir().unwrap();
        let plugin = folder.path().join("plugin");
        fs::create_dir(&plugin).unwrap();
        fs::write(plugin.join("a"), "1").unwrap();
        fs::write(plugin.join("b"), "2").unwrap();
        let section = subtree(&plugin, &["a", "b"], true).encode();
        let (path, mark) = (folder.path().join("index"), Digest::of(b"rules"));
        Index::save(&path, &mark, [("plugin", &section)].into_iter()).unwrap();

        let index = Index::load(&path, &mark);
        let loaded = index.get("plugin").unwrap();
        let open = fs::File::open(&plugin).unwrap();
        assert!(loaded.is_unchanged(open.as_fd()));
        assert_eq!(loaded.note(), b"note");
        assert_eq!(loaded.load().len(), 2);
        assert_eq!(
            loaded.tree_digest(),
            crate::Tree::new(loaded.load()).digest()
        );
        assert_eq!(loaded.known().len(), 2);
        assert_eq!(loaded.folder_paths().collect::<Vec<_>>(), [""]);
        let noted = loaded.with_note(b"a longer note");
        assert_eq!(
            (noted.note(), noted.load()),
            (&b"a longer note"[..], loaded.load())
        );
        assert!(noted.with_note(b"note").is_same(loaded));
        assert!(
            Index::load(&path, &Digest::of(b"other rules"))
                .get("plugin")
                .is_none()
        );

        fs::write(plugin.join("a"), "9").unwrap();
        assert!(!loaded.is_unchanged(open.as_fd()));
        let warm = subtree(&plugin, &["a", "b"], false).encode();
        assert!(!warm.is_unchanged(open.as_fd()));
        assert!(warm.known().is_empty());
        let again = subtree(&plugin, &["a", "b"], true).encode();
        fs::write(plugin.join("c"), "3").unwrap();
        assert!(!again.is_unchanged(open.as_fd()));
    }

    #[test]
    fn any_damage_makes_it_empty() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), "1").unwrap();
        let section = subtree(folder.path(), &["a"], true).encode();
        let (path, mark) = (folder.path().join("index"), Digest::of(b"rules"));
        Index::save(&path, &mark, [("", &section)].into_iter()).unwrap();
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(&path, &bytes).unwrap();
            assert!(Index::load(&path, &mark).get("").is_none(), "byte {at}");
            fs::write(&path, &whole[..at]).unwrap();
            assert!(Index::load(&path, &mark).get("").is_none(), "cut at {at}");
        }
    }
}
