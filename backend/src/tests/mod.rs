//! Tests of the backend as publishing uses it, and what they share.

mod create;
mod datasets;
mod faults;
mod jobs;
mod lookup;
mod models;
mod runs;
mod serving;
mod tenants;
mod upkeep;
mod validate;

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use synapse_engine::Digest;
use synapse_rules::client::{Backend, ClientError, Release, Slot, Upload};
use tempfile::TempDir;
use zip::write::SimpleFileOptions;

use crate::{Embedded, Options};

/// What a person would upload, owned.
pub(crate) struct Sample {
    pub(crate) slot: Slot,
    pub(crate) config: Value,
    pub(crate) archive: PathBuf,
    pub(crate) size: u64,
    pub(crate) content: Digest,
    pub(crate) blake3: Digest,
}

impl Sample {
    pub(crate) fn upload(&self) -> Upload<'_> {
        Upload {
            slot: &self.slot,
            config: &self.config,
            readme: Some("# Plugin"),
            requirements: None,
            archive: &self.archive,
            size: self.size,
            content: self.content,
            blake3: self.blake3,
            md5: "0123456789abcdef0123456789abcdef",
            sha256: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        }
    }

    pub(crate) fn variant(mut self, variant: &str) -> Self {
        self.slot.variant = Some(variant.to_owned());
        self.config["variant"] = json!(variant);
        self
    }

    pub(crate) fn debug(mut self) -> Self {
        self.slot.debug = true;
        self
    }

    /// As a store keeps its blobs: then it is linked, not copied.
    pub(crate) fn read_only(self) -> Self {
        fs::set_permissions(&self.archive, Permissions::from_mode(0o444)).unwrap();
        self
    }
}

/// A folder for the data of a backend, and another for what is sent to it.
pub(crate) struct World {
    pub(crate) root: TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let root = TempDir::new().unwrap();
        fs::create_dir(root.path().join("sent")).unwrap();
        Self { root }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.root.path().join("data dir+é")
    }

    pub(crate) fn open(&self) -> Embedded {
        Embedded::open(&self.data(), options()).unwrap()
    }

    pub(crate) fn hooked(
        &self,
        hook: impl Fn(&str) -> std::io::Result<()> + Send + Sync + 'static,
    ) -> Embedded {
        Embedded::open(
            &self.data(),
            Options {
                hook: Some(Arc::new(hook)),
                ..options()
            },
        )
        .unwrap()
    }

    /// A valid upload whose bytes depend on `text`.
    pub(crate) fn sample(&self, code: &str, version: &str, text: &str) -> Sample {
        let files = [
            ("config.yaml", format!("code: {code}\nversion: {version}\n")),
            ("plugin/__init__.py", String::new()),
            (
                "plugin/train.py",
                format!("# {text}\nclass TrainAction: ...\n"),
            ),
        ];
        let name = format!(
            "{code}-{version}-{}.zip",
            Digest::of(text.as_bytes()).short()
        );
        let archive = self.root.path().join("sent").join(name);
        zip_file(
            &archive,
            files.iter().map(|(name, text)| (*name, text.as_bytes())),
        );
        sample_of(code, version, archive)
    }

    /// Names of the files kept, sorted.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.data().join("files")).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

/// An otherwise valid upload of any file.
pub(crate) fn sample_of(code: &str, version: &str, archive: PathBuf) -> Sample {
    let bytes = fs::read(&archive).unwrap();
    Sample {
        slot: Slot {
            code: code.to_owned(),
            variant: None,
            version: version.to_owned(),
            debug: false,
        },
        config: json!({
            "name": "A plugin",
            "code": code,
            "version": version,
            "category": "neural_net",
            "actions": {
                "train": {"entrypoint": "plugin.train:TrainAction", "method": "job"},
                "short": "plugin.train.TrainAction",
            },
            "anything": [1, 2.5, null],
        }),
        size: bytes.len() as u64,
        content: Digest::of(&[b"content of ", &bytes[..]].concat()),
        blake3: Digest::of(&bytes),
        archive,
    }
}

pub(crate) fn options() -> Options {
    Options {
        clock: Arc::new(|| 1_700_000_000),
        ..Options::default()
    }
}

pub(crate) fn zip_file<'a>(path: &Path, files: impl IntoIterator<Item = (&'a str, &'a [u8])>) {
    let mut zip = zip::ZipWriter::new(File::create(path).unwrap());
    for (name, bytes) in files {
        let mode = if bytes.starts_with(b"#!") {
            0o755
        } else {
            0o644
        };
        zip.start_file(name, SimpleFileOptions::default().unix_permissions(mode))
            .unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();
}

/// Follows a release's URL.
pub(crate) fn fetch(release: &Release) -> Vec<u8> {
    let path = release.url.strip_prefix("file://").unwrap();
    let mut bytes = Vec::new();
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next().unwrap(), rest.next().unwrap()];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
        } else {
            bytes.push(byte);
        }
    }
    fs::read(String::from_utf8(bytes).unwrap()).unwrap()
}

pub(crate) fn create(backend: &Embedded, sample: &Sample) -> Result<Release, ClientError> {
    backend.create(&sample.upload())
}
