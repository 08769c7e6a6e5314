//! Tests of packing and reading together.

use std::{
    collections::HashMap,
    fs,
    fs::File,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    process::Command,
    sync::{Arc, LazyLock, Mutex, atomic::AtomicU64, atomic::Ordering},
};

use proptest::prelude::*;
use synapse_engine::Digest;

use super::{
    PackError, PackFile, Packed, Stream, Streams, pack,
    pack::NoStreams,
    read,
    tests::{mixed, noise, python, text},
};
use crate::secrets::Scanner;

/// A folder of files to pack, and the file that is packed into.
struct Tree {
    folder: tempfile::TempDir,
    files: Vec<PackFile>,
    archive: tempfile::NamedTempFile,
}

impl Tree {
    fn new(files: &[(&str, bool, Vec<u8>)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut tree = Self {
            folder,
            files: Vec::new(),
            archive: tempfile::NamedTempFile::new().unwrap(),
        };
        for (index, (path, executable, bytes)) in files.iter().enumerate() {
            let source = tree.folder.path().join(index.to_string());
            fs::write(&source, bytes).unwrap();
            tree.files.push(PackFile {
                path: (*path).to_owned(),
                source,
                executable: *executable,
                size: bytes.len() as u64,
                digest: Digest::of(bytes),
                follow: false,
            });
        }
        tree.files
            .sort_by(|one, two| one.path.as_bytes().cmp(two.path.as_bytes()));
        tree
    }

    /// Changes a file, as the scan sees it too.
    fn edit(&mut self, path: &str, bytes: &[u8]) {
        let file = self
            .files
            .iter_mut()
            .find(|file| file.path == path)
            .unwrap();
        fs::write(&file.source, bytes).unwrap();
        (file.size, file.digest) = (bytes.len() as u64, Digest::of(bytes));
    }

    fn source(&self, path: &str) -> &Path {
        &self
            .files
            .iter()
            .find(|file| file.path == path)
            .unwrap()
            .source
    }

    fn pack_with(&self, streams: &dyn Streams, allow: &[String]) -> Result<Packed, PackError> {
        let scanner = Scanner::new(allow).unwrap();
        let mut out = self.archive.reopen().unwrap();
        out = File::options()
            .read(true)
            .write(true)
            .open(self.archive.path())
            .unwrap_or(out);
        pack(&self.files, &mut out, streams, &scanner, &|_| {}, &|| false)
    }

    fn pack(&self) -> Packed {
        self.pack_with(&NoStreams, &[]).unwrap()
    }

    /// Packs, and compares the archive with what was packed, by two readers.
    fn check(&self, streams: &dyn Streams) -> Packed {
        let packed = self.pack_with(streams, &[]).unwrap();
        let bytes = fs::read(self.archive.path()).unwrap();
        assert_eq!(
            (packed.size, packed.blake3),
            (bytes.len() as u64, Digest::of(&bytes))
        );
        let entries = read::entries(self.archive.path()).unwrap();
        assert_eq!(entries.len(), self.files.len());
        for (entry, file) in entries.iter().zip(&self.files) {
            assert_eq!(
                (&entry.path, entry.executable, entry.size, entry.digest),
                (&file.path, file.executable, file.size, file.digest)
            );
        }
        assert_eq!(read::content(self.archive.path()).unwrap(), packed.content);
        for (content, stream) in &packed.streams {
            let range = &bytes[stream.offset as usize..][..stream.len as usize];
            assert_eq!(
                (stream.digest, stream.archive),
                (Digest::of(range), packed.blake3)
            );
            assert!(self.files.iter().any(|file| file.digest == *content));
        }
        packed
    }
}

/// The streams of one archive.
struct Kept {
    streams: HashMap<Digest, Stream>,
    file: Arc<File>,
}

impl Kept {
    fn of(tree: &Tree, packed: &Packed) -> (Self, tempfile::NamedTempFile) {
        let copy = tempfile::NamedTempFile::new().unwrap();
        fs::copy(tree.archive.path(), copy.path()).unwrap();
        let file = Arc::new(copy.reopen().unwrap());
        (
            Self {
                streams: packed.streams.iter().copied().collect(),
                file,
            },
            copy,
        )
    }
}

impl Streams for Kept {
    fn find(&self, content: &Digest) -> Option<Stream> {
        self.streams.get(content).copied()
    }

    fn open(&self, _: &Digest) -> Option<Arc<File>> {
        Some(Arc::clone(&self.file))
    }
}

type Sample = (&'static str, bool, Vec<u8>);

/// Made once: unoptimised, that takes longer than packing it.
static PLUGIN: LazyLock<Vec<Sample>> = LazyLock::new(|| {
    vec![
        ("config.yaml", false, text(900, 1)),
        ("plugin/__init__.py", false, Vec::new()),
        ("plugin/main.py", false, text(20_000, 2)),
        ("plugin/한글 é.py", false, text(3_000, 3)),
        ("run.sh", true, text(500, 4)),
        ("tiny", true, b"x".to_vec()),
        ("weights/a.bin", false, noise(700_000, 5)),
        ("weights/b.bin", false, mixed(3_000_000, 6)),
        ("weights/large-noise.bin", false, noise((8 << 20) + 1, 7)),
        (
            "weights/large-text.txt",
            false,
            text((10 << 20) + 12_345, 8),
        ),
        ("weights/whole.txt", false, text(8 << 20, 9)),
    ]
});

fn plugin() -> Vec<Sample> {
    PLUGIN.clone()
}

#[test]
fn an_archive_is_read_by_others() {
    let tree = Tree::new(&PLUGIN);
    let packed = tree.check(&NoStreams);
    assert_eq!((packed.entries, packed.reused, packed.deflated), (11, 0, 7));
    assert_eq!(
        packed.bytes_read,
        tree.files.iter().map(|file| file.size).sum::<u64>()
    );
    python(&[
        "-m".as_ref(),
        "zipfile".as_ref(),
        "-t".as_ref(),
        tree.archive.path().as_os_str(),
    ]);
    let code = "import sys, zipfile\n\
        for e in zipfile.ZipFile(sys.argv[1]).infolist():\n\
        \x20   print(e.filename, oct(e.external_attr >> 16), e.date_time, e.flag_bits, e.extra)";
    let listing = python(&[
        "-c".as_ref(),
        code.as_ref(),
        tree.archive.path().as_os_str(),
    ]);
    assert!(
        listing.contains("run.sh 0o100755 (1980, 1, 1, 0, 0, 0) 2048 b''"),
        "{listing}"
    );
    assert!(listing.contains("plugin/한글 é.py 0o100644"), "{listing}");
    // Not everybody has it.
    let _alone = crate::worker::one_at_a_time();
    if let Ok(output) = Command::new("unzip")
        .arg("-tqq")
        .arg(tree.archive.path())
        .output()
    {
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stdout)
        );
    }
}

#[test]
fn no_files_and_one() {
    let packed = Tree::new(&[]).check(&NoStreams);
    assert_eq!((packed.size, packed.entries), (22, 0));
    let tree = Tree::new(&[("empty", true, Vec::new())]);
    tree.check(&NoStreams);
    python(&[
        "-m".as_ref(),
        "zipfile".as_ref(),
        "-t".as_ref(),
        tree.archive.path().as_os_str(),
    ]);
}

#[test]
fn threads_and_kept_streams_change_no_byte() {
    let tree = Tree::new(&PLUGIN);
    let first = tree.pack();
    for threads in [1, 2, 7] {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let packed = pool.install(|| tree.pack());
        assert_eq!(
            (packed.blake3, packed.streams),
            (first.blake3, first.streams.clone())
        );
    }
    let (kept, _file) = Kept::of(&tree, &first);
    let again = tree.check(&kept);
    assert_eq!(again.blake3, first.blake3);
    assert_eq!((again.deflated, again.reused), (0, first.deflated));
    assert_eq!(again.streams.len(), first.streams.len());
    assert_eq!(again.bytes_read, first.bytes_read);
}

#[test]
fn one_change_is_one_stream() {
    let mut tree = Tree::new(&PLUGIN);
    let (kept, _file) = Kept::of(&tree, &tree.pack());
    tree.edit("plugin/main.py", &text(21_000, 77));
    let packed = tree.check(&kept);
    assert_eq!((packed.deflated, packed.reused), (1, 6));
    assert_eq!(packed.blake3, tree.pack().blake3);
}

#[test]
fn broken_streams_are_not_used() {
    let tree = Tree::new(&PLUGIN);
    let first = tree.pack();
    let (kept, copy) = Kept::of(&tree, &first);
    let mut bytes = fs::read(copy.path()).unwrap();
    for (_, stream) in &first.streams {
        bytes[(stream.offset + stream.len / 2) as usize] ^= 1;
    }
    fs::write(copy.path(), &bytes).unwrap();
    let again = tree.check(&kept);
    assert_eq!(
        (again.deflated, again.reused, again.blake3),
        (7, 0, first.blake3)
    );

    // Cut off, and lies about what is there.
    File::options()
        .write(true)
        .open(copy.path())
        .unwrap()
        .set_len(100)
        .unwrap();
    assert_eq!(tree.check(&kept).reused, 0);
    let (mut kept, _copy) = Kept::of(&tree, &first);
    for stream in kept.streams.values_mut() {
        stream.crc ^= 1;
    }
    let again = tree.check(&kept);
    assert_eq!((again.reused, again.blake3), (0, first.blake3));
}

#[test]
fn edited_meanwhile() {
    for path in [
        "plugin/main.py",
        "weights/large-noise.bin",
        "weights/large-text.txt",
    ] {
        let tree = Tree::new(&PLUGIN);
        let (kept, _file) = Kept::of(&tree, &tree.pack());
        let source = tree.source(path).to_owned();
        let bytes = fs::read(&source).unwrap();
        let mut other = bytes.clone();
        other[bytes.len() / 2] ^= 1;
        for content in [&other[..], &bytes[1..], &[&bytes[..], b"x"].concat(), b""] {
            fs::write(&source, content).unwrap();
            for streams in [&kept as &dyn Streams, &NoStreams] {
                let error = tree.pack_with(streams, &[]).unwrap_err();
                assert!(matches!(error, PackError::Edited { path: at } if at == path));
            }
        }
        fs::remove_file(&source).unwrap();
        let error = tree.pack_with(&kept, &[]).unwrap_err();
        assert!(matches!(error, PackError::Missing { path: at } if at == path));
        fs::create_dir(&source).unwrap();
        let error = tree.pack_with(&kept, &[]).unwrap_err();
        assert!(matches!(error, PackError::Edited { .. }), "{error}");
    }
}

/// Appends to the file while it is being read.
#[test]
fn grows_while_it_is_read() {
    let tree = Tree::new(&PLUGIN);
    let source = tree.source("weights/large-text.txt").to_owned();
    let large = tree
        .files
        .iter()
        .find(|file| file.path == "weights/large-text.txt")
        .unwrap();
    let (done, scanner) = (AtomicU64::new(0), Scanner::new(&[]).unwrap());
    let progress = |_| {
        if done.fetch_add(1, Ordering::Relaxed) == 0 {
            let mut file = File::options().append(true).open(&source).unwrap();
            std::io::Write::write_all(&mut file, b"more").unwrap();
        }
    };
    let mut out = tempfile::tempfile().unwrap();
    let files = std::slice::from_ref(large);
    let error = pack(files, &mut out, &NoStreams, &scanner, &progress, &|| false).unwrap_err();
    assert!(matches!(error, PackError::Edited { .. }));
}

#[test]
fn symlinks_are_followed_when_asked() {
    let mut tree = Tree::new(&[("real", false, text(400, 1)), ("link", false, text(400, 1))]);
    let link = tree.source("link").to_owned();
    fs::remove_file(&link).unwrap();
    symlink(tree.source("real"), &link).unwrap();
    let error = tree.pack_with(&NoStreams, &[]).unwrap_err();
    assert!(matches!(error, PackError::Edited { path } if path == "link"));
    tree.files[0].follow = true;
    tree.check(&NoStreams);
}

#[test]
fn unreadable_and_unwritable() {
    let tree = Tree::new(&[("a", false, text(400, 1))]);
    fs::set_permissions(tree.source("a"), fs::Permissions::from_mode(0o0)).unwrap();
    if File::open(tree.source("a")).is_err() {
        let error = tree.pack_with(&NoStreams, &[]).unwrap_err();
        assert!(matches!(error, PackError::Unreadable { .. }));
    }
    let tree = Tree::new(&[("a", false, noise(12 << 20, 1))]);
    let scanner = Scanner::new(&[]).unwrap();
    let mut read_only = File::open(tree.archive.path()).unwrap();
    let error = pack(
        &tree.files,
        &mut read_only,
        &NoStreams,
        &scanner,
        &|_| {},
        &|| false,
    );
    assert!(matches!(error, Err(PackError::Write { .. })));
    if let Ok(mut full) = File::options().read(true).write(true).open("/dev/full") {
        let error = pack(
            &tree.files,
            &mut full,
            &NoStreams,
            &scanner,
            &|_| {},
            &|| false,
        );
        assert!(matches!(error, Err(PackError::Full { .. })));
    }
}

#[test]
fn cancelling_and_progress() {
    let tree = Tree::new(&PLUGIN);
    let scanner = Scanner::new(&[]).unwrap();
    let total: u64 = tree.files.iter().map(|file| file.size).sum();
    let seen = AtomicU64::new(0);
    let progress = |bytes| {
        seen.fetch_add(bytes, Ordering::Relaxed);
    };
    let mut out = tempfile::tempfile().unwrap();
    pack(
        &tree.files,
        &mut out,
        &NoStreams,
        &scanner,
        &progress,
        &|| false,
    )
    .unwrap();
    assert_eq!(seen.swap(0, Ordering::Relaxed), total);
    let cancelled = || seen.load(Ordering::Relaxed) > 1 << 20;
    let error = pack(
        &tree.files,
        &mut out,
        &NoStreams,
        &scanner,
        &progress,
        &cancelled,
    );
    assert!(matches!(error, Err(PackError::Cancelled)));
    assert!(seen.load(Ordering::Relaxed) < total);
}

/// The sample promises a gain that the whole file does not keep.
#[test]
fn large_files_that_turn_out_not_to_shrink() {
    let size = 48 << 20;
    let mut bytes = noise(size, 3);
    for index in 0..16 {
        let window = (size - (16 << 10)) * index / 15;
        bytes[window + 100..window + 900].fill(0);
    }
    let tree = Tree::new(&[("a", false, text(300, 1)), ("b", false, bytes)]);
    let packed = tree.check(&NoStreams);
    assert_eq!((packed.deflated, packed.streams.len()), (1, 1));
    assert!(packed.size > size as u64);
    assert_eq!(packed.bytes_read, 2 * size as u64 + 300);
}

#[test]
fn paths_are_checked() {
    for paths in [
        ["b", "a"],
        ["a", "a"],
        ["a", "b\\c"],
        ["../a", "b"],
        ["/a", "b"],
    ] {
        let mut tree = Tree::new(&[("a", false, Vec::new()), ("b", false, Vec::new())]);
        for (file, path) in tree.files.iter_mut().zip(paths) {
            path.clone_into(&mut file.path);
        }
        let error = tree.pack_with(&NoStreams, &[]).unwrap_err();
        assert!(matches!(error, PackError::Path { .. }), "{paths:?}");
    }
}

#[test]
fn secrets_stop_it_and_all_are_listed() {
    let canary = format!("key = \"{}{}\"\n", "AKI", "A2345672345ABCDEF");
    let mut large = text(9 << 20, 4);
    large.extend_from_slice(b"\n");
    large.extend_from_slice(canary.as_bytes());
    let line = large.split(|byte| *byte == b'\n').count() as u32 - 1;
    let mut files = plugin();
    files.push(("a.py", false, canary.clone().into_bytes()));
    files.push(("z/large.py", false, large));
    let tree = Tree::new(&files);
    let Err(PackError::Secret(findings)) = tree.pack_with(&NoStreams, &[]) else {
        panic!()
    };
    let found: Vec<_> = findings
        .iter()
        .map(|finding| (finding.path.as_str(), finding.line))
        .collect();
    assert_eq!(found, [("a.py", Some(1)), ("z/large.py", Some(line))]);
    let shown = PackError::Secret(findings).to_string();
    assert!(shown.contains("a.py:1") && !shown.contains("2345672345"));

    // What is clean only thanks to its path is not known to be clean elsewhere.
    let packed = tree
        .pack_with(&NoStreams, &["a.py".to_owned(), "z".to_owned()])
        .unwrap();
    assert_eq!((packed.deflated, packed.streams.len()), (8, 7));
    let packed = tree
        .pack_with(&NoStreams, &["aws-access-key".to_owned()])
        .unwrap();
    assert_eq!((packed.deflated, packed.streams.len()), (8, 8));
}

/// A stream kept under a harmless name does not spare a telling name its scan.
#[test]
fn names_are_looked_at_despite_streams() {
    let auth = format!(
        "{{\"auths\": {{\"r\": {{\"{}\": \"dXNlcjpodW50ZXIyaHVudA==\"}}}}}}",
        "auth"
    );
    let body = format!("{auth}{}", " ".repeat(100));
    let tree = Tree::new(&[("settings.json", false, body.clone().into_bytes())]);
    let (kept, _file) = Kept::of(&tree, &tree.check(&NoStreams));
    assert_eq!(kept.streams.len(), 1);
    let tree = Tree::new(&[(".docker/config.json", false, body.into_bytes())]);
    assert!(matches!(
        tree.pack_with(&kept, &[]),
        Err(PackError::Secret(_))
    ));
}

#[test]
fn find_is_asked_once_per_file() {
    struct Counting(Mutex<Vec<Digest>>);
    impl Streams for Counting {
        fn find(&self, content: &Digest) -> Option<Stream> {
            self.0.lock().unwrap().push(*content);
            None
        }

        fn open(&self, _: &Digest) -> Option<Arc<File>> {
            None
        }
    }
    let tree = Tree::new(&PLUGIN);
    let counting = Counting(Mutex::default());
    tree.pack_with(&counting, &[]).unwrap();
    assert_eq!(counting.0.into_inner().unwrap().len(), tree.files.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn content_is_that_of_the_inputs(
        names in prop::collection::btree_set("[a-zé._-]{1,6}", 0..12),
        seed in any::<u64>(),
        sizes in prop::collection::vec(0_usize..30_000, 12),
    ) {
        let paths: Vec<String> = names
            .iter()
            .filter(|name| !matches!(name.as_str(), "." | ".." | ".env"))
            .map(|name| if name.len() % 2 == 0 { format!("dir/{name}") } else { name.clone() })
            .collect();
        let files: Vec<_> = paths
            .iter()
            .zip(&sizes)
            .enumerate()
            .map(|(index, (path, size))| {
                let seed = seed.wrapping_add(index as u64);
                let bytes = if index % 2 == 0 { text(*size, seed) } else { noise(*size, seed) };
                (path.as_str(), index % 3 == 0, bytes)
            })
            .collect();
        Tree::new(&files).check(&NoStreams);
    }
}
