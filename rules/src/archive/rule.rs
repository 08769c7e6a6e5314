//! Owns the archive stage: the rule that makes a plugin's ZIP of exactly the bytes it hashed.

use std::{
    fs::File,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use synapse_engine::{
    Cacheability, Context, Digest, Failure, Input, Inputs, Label, Manifest, Node, Outcome, Pending,
    Rule, TreeEntry,
    store::{Blob, Store, Stream},
};

use super::{
    deflate::CODEC,
    inspect,
    pack::{PackError, PackFile, Streams, pack},
};
use crate::{
    counters::Counters,
    plugin::{CONFIG_NAMES, Plugin},
    secrets::Scanner,
};

/// The rule. Raise the version whenever the same files would give other bytes.
///
/// 1: deflate streams by libdeflate and zlib-rs, sorted entries, fixed times.
pub const RULE: Rule = Rule {
    name: "archive",
    version: 1,
};

/// Bytes between two words about progress.
const PROGRESS_STEP: u64 = 8 << 20;

/// Failure code: a file changed between the scan and the archive.
pub const EDITED: &str = "edited-while-archiving";
/// Failure code: files look like credentials.
pub const CREDENTIAL: &str = "credential";

/// The archive of one plugin. Depends on its synced configuration. Output `zip` is the file, `content` its content digest.
pub struct ArchiveNode {
    plugin: Arc<Plugin>,
    scanner: Arc<Scanner>,
    counters: Arc<Counters>,
}

impl ArchiveNode {
    /// The archive of `plugin`, its bytes scanned by `scanner`.
    pub fn new(plugin: Arc<Plugin>, scanner: Arc<Scanner>, counters: Arc<Counters>) -> Self {
        Self {
            plugin,
            scanner,
            counters,
        }
    }

    fn failure(&self, error: PackError) -> Failure {
        let folder = self.plugin.source.folder();
        match error {
            PackError::Edited { path } | PackError::Missing { path } => {
                if let Some(config) = self.plugin.synced_config()
                    && path == CONFIG_NAMES[0]
                {
                    return Failure::missing_blob(config.digest);
                }
                if let Some(own) = self.plugin.bundled_at(&path) {
                    return Failure::missing_blob(own.digest);
                }
                let what = format!("{path} was edited while it was being archived");
                Failure::user(EDITED, what)
                    .at(folder.join(path).display().to_string())
                    .hint("nothing was published; run it again when the file is at rest")
            }
            PackError::Secret(findings) => inspect::failure(&self.plugin, &findings)
                .unwrap_or_else(|| Failure::bug("an archive was refused without findings")),
            PackError::Unreadable { path, error } => {
                Failure::user("unreadable", format!("cannot read {path}: {error}"))
                    .at(folder.join(path).display().to_string())
                    .hint("make it readable, or ignore it in .synapseignore")
            }
            PackError::Path { path, reason } => {
                Failure::user("file-name", format!("{path} {reason}"))
                    .at(folder.join(path).display().to_string())
                    .hint("rename it, or ignore it in .synapseignore")
            }
            PackError::Full { error } => {
                Failure::environment("disk-full", format!("cannot write the archive: {error}"))
                    .hint("free some disk space, or run `synapse cache gc`, then run it again")
            }
            PackError::Write { error } => Failure::environment(
                "archive-write",
                format!("cannot write the archive: {error}"),
            )
            .hint("check the disk and the permissions of the store"),
            PackError::Cancelled => Failure::cancelled(),
        }
    }
}

/// Names streams: one counts as scanned only by the same scan.
pub(super) fn codec(scanner: &Scanner) -> String {
    format!("{CODEC} {}", scanner.id())
}

struct Kept<'a> {
    store: &'a dyn Store,
    codec: String,
}

impl Streams for Kept<'_> {
    fn find(&self, content: &Digest) -> Option<Stream> {
        let found = self
            .store
            .streams(&self.codec, std::slice::from_ref(content));
        // Without kept streams everything is deflated anew; nothing is lost but time.
        found.ok().and_then(|mut found| found.pop().flatten())
    }

    fn open(&self, archive: &Digest) -> Option<Arc<File>> {
        self.store
            .open_blob(archive)
            .ok()
            .flatten()
            .map(|blob| Arc::new(blob.file))
    }
}

impl Node for ArchiveNode {
    fn rule(&self) -> Rule {
        RULE
    }

    fn label(&self) -> Label {
        Label {
            stage: "archive".to_owned(),
            subject: self.plugin.subject(),
        }
    }

    fn manifest(&self, _inputs: Inputs<'_>, out: &mut dyn Manifest) -> Result<(), Pending> {
        out.input("codec", Input::Text(CODEC));
        out.input("credential scan", Input::Text(self.scanner.id()));
        out.input("files", Input::Files(self.plugin.files.as_ref()));
        Ok(())
    }

    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        inspect::inspect_env(&self.plugin, &self.scanner)?;
        let entries = self.plugin.files.load();
        let total: u64 = entries.iter().map(|entry| entry.size).sum();
        let config = self.plugin.synced_config();
        let config = config
            .map(|config| context.blob(&config.digest, config.size))
            .transpose()?;
        let file = |entry: TreeEntry| match (&config, self.plugin.bundled_at(&entry.path)) {
            (Some(blob), _) if entry.path == CONFIG_NAMES[0] => Ok(stored_file(entry, blob)),
            (_, Some(own)) => Ok(stored_file(entry, &context.blob(&own.digest, own.size)?)),
            _ => Ok(self.pack_file(entry)),
        };
        let files = entries.into_iter().map(file);
        let files: Vec<PackFile> = files.collect::<Result<_, Failure>>()?;
        let codec = codec(&self.scanner);
        let kept = Kept {
            store: context.store(),
            codec: codec.clone(),
        };
        let mut out = context.writer()?;
        let done = AtomicU64::new(0);
        let progress = |bytes: u64| {
            let before = done.fetch_add(bytes, Ordering::Relaxed);
            // Small archives are done before anyone could look.
            if before / PROGRESS_STEP != (before + bytes) / PROGRESS_STEP {
                context.progress(before + bytes, total);
            }
        };
        let cancel = context.cancel().clone();
        let packed = pack(
            &files,
            out.as_file_mut(),
            &kept,
            &self.scanner,
            &progress,
            &|| cancel.cancelled(),
        )
        .map_err(|error| self.failure(error))?;
        if packed.content != self.plugin.files.digest() {
            return Err(Failure::bug(
                "the archive does not hold the files that it was asked to hold",
            ));
        }
        self.counters
            .files_deflated
            .fetch_add(packed.deflated, Ordering::Relaxed);
        context.place(out, &packed.blake3, packed.size)?;
        context.keep_streams(&codec, packed.streams.into_iter());
        Ok(Outcome::new(Cacheability::Store)
            .blob("zip", packed.blake3, packed.size)
            .value("content", packed.content.hex())
            .value("entries", packed.entries))
    }
}

/// A file whose bytes are in the store: the configuration as it was synced, a library's wheel.
fn stored_file(entry: TreeEntry, blob: &Blob) -> PackFile {
    let TreeEntry {
        path,
        executable,
        size,
        digest,
    } = entry;
    PackFile {
        path,
        source: blob.path.clone(),
        executable,
        size,
        digest,
        follow: false,
    }
}

impl ArchiveNode {
    fn pack_file(&self, entry: TreeEntry) -> PackFile {
        let source = self.plugin.source_of(&entry.path);
        // A link was found to stay inside; the digest holds whatever it leads to now.
        let follow = source
            .symlink_metadata()
            .is_ok_and(|meta| meta.is_symlink());
        let TreeEntry {
            path,
            executable,
            size,
            digest,
        } = entry;
        PackFile {
            path,
            source,
            executable,
            size,
            digest,
            follow,
        }
    }
}
