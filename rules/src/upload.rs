//! Owns the upload stage: a release at one target, made once, through the ledger. It asks the
//! target before it sends, and again after any doubt.

use std::{
    fs::File,
    io::Read,
    sync::{Arc, atomic::Ordering},
};

use synapse_engine::{
    Cacheability, Context, Digest, DirtyReason, Failure, Input, Inputs, Label, Lane, Manifest,
    Node, Outcome, Pending, Probe, Rule, Store,
    store::{Effect, EffectState},
    store_failure,
};

use crate::{
    client::{ClientError, Release, Slot, Upload},
    config,
    plugin::{self, Plugin},
    target::Target,
};

/// The rule.
///
/// 1: release by slot and content digest.
pub const RULE: Rule = Rule {
    name: "upload",
    version: 1,
};

/// Failure code: the version is published with other content.
pub const VERSION_TAKEN: &str = "version-exists";

/// Where a text of more than this is cut: READMEs travel inside the release as text.
const TEXT_LIMIT: u64 = 4 << 20;

/// The release of one plugin at one target. Depends on its archive and its checksum.
pub struct UploadNode {
    plugin: Arc<Plugin>,
    target: Arc<Target>,
    slot: Slot,
    store: Arc<dyn Store>,
    clock: fn() -> i64,
}

impl UploadNode {
    /// The release of `plugin` at `target`; `store` has its synced configuration.
    pub fn new(
        plugin: Arc<Plugin>,
        target: Arc<Target>,
        debug: bool,
        store: Arc<dyn Store>,
        clock: fn() -> i64,
    ) -> Self {
        let slot = Slot {
            code: plugin.head.code.clone(),
            variant: plugin.head.variant.clone(),
            version: plugin.head.version.clone(),
            debug,
        };
        Self {
            plugin,
            target,
            slot,
            store,
            clock,
        }
    }

    fn content(&self) -> Digest {
        self.plugin.files.digest()
    }

    fn what(&self) -> String {
        let debug = if self.slot.debug { " (debug)" } else { "" };
        format!(
            "{} {}{debug} at {}",
            self.plugin.subject(),
            self.slot.version,
            self.target.name
        )
    }

    fn slot_name(&self) -> String {
        let Slot { version, debug, .. } = &self.slot;
        let version = if *debug { "debug" } else { version };
        format!("{} {version}", self.plugin.subject())
    }

    fn refused(&self) -> Failure {
        let what = format!(
            "{} {} is published already, with other content",
            self.plugin.subject(),
            self.slot.version
        );
        Failure::user(VERSION_TAKEN, what)
            .at(self.target.name.clone())
            .hint("raise the version with --bump patch, or publish a debug release with --debug")
    }

    fn receipt(&self, release: &Release, sums: Option<&Outcome>) -> Outcome {
        let mut outcome = Outcome::new(Cacheability::Recheck)
            .value("release", release.id.clone())
            .value("url", release.url.clone())
            .value("content", self.content().hex());
        let sum = |name: &str| sums.and_then(|sums| sums.get(name)).cloned();
        for name in ["sha256", "blake3"] {
            if let Some(sum) = sum(name) {
                outcome = outcome.value(name, sum);
            }
        }
        match sum("md5").or_else(|| release.md5.clone().map(Into::into)) {
            Some(md5) => outcome.value("md5", md5),
            None => outcome,
        }
    }

    /// Settles with what the target has, if that is what we mean to send.
    fn settled(&self, release: &Release) -> Result<bool, Failure> {
        if self.target.content(release)? == self.content() {
            return Ok(true);
        }
        if self.slot.debug {
            Ok(false)
        } else {
            Err(self.refused())
        }
    }
}

impl Node for UploadNode {
    fn rule(&self) -> Rule {
        RULE
    }

    fn label(&self) -> Label {
        Label {
            stage: "upload".to_owned(),
            subject: self.plugin.subject(),
        }
    }

    fn lane(&self) -> Lane {
        Lane::Io
    }

    fn manifest(&self, _inputs: Inputs<'_>, out: &mut dyn Manifest) -> Result<(), Pending> {
        out.input("target", Input::Text(&self.target.backend.identity()));
        out.input("code", Input::Text(&self.slot.code));
        out.input(
            "variant",
            Input::Text(self.slot.variant.as_deref().unwrap_or_default()),
        );
        out.input("version", Input::Text(&self.slot.version));
        out.input("debug", Input::Flag(self.slot.debug));
        // The content digest of the archive: known before it is made, since it is of the files.
        out.input("content", Input::Digest(self.content()));
        Ok(())
    }

    fn probe(&self) -> Result<Probe, Failure> {
        let what = self.what();
        match self.target.in_slot(&self.slot)? {
            Some(release) if self.settled(release)? => {
                Ok(Probe::Satisfied(self.receipt(release, None)))
            }
            found => {
                if !self.slot.debug {
                    validate(&self.plugin, self.store.as_ref())?;
                }
                let reason = DirtyReason::NotAtTarget { what };
                Ok(Probe::Run(
                    found.is_none().then_some(reason).into_iter().collect(),
                ))
            }
        }
    }

    fn current(&self, outcome: &Outcome) -> Result<bool, Failure> {
        let same = |release: &Release| {
            outcome.text("release") == Some(&release.id)
                && release
                    .content
                    .is_none_or(|content| content == self.content())
        };
        if self.target.in_slot(&self.slot)?.is_some_and(same) {
            return Ok(true);
        }
        // Made since the command first asked, by another process perhaps.
        Ok(self.target.find(&self.slot)?.as_ref().is_some_and(same))
    }

    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        let sums = context.input(1)?;
        let (zip, size) = context
            .input(0)?
            .blob_of("zip")
            .ok_or_else(|| Failure::bug("an archive without a file"))?;
        let ledger = &self.target.ledger;
        let now = self.clock;
        let (place, slot) = (self.target.backend.identity(), self.slot_name());
        let recorded = |result: Result<(), _>| result.map_err(|error| store_failure(&error));
        let open = ledger
            .last(&place, &slot)
            .map_err(|error| store_failure(&error))?;
        let open = open.filter(|e| matches!(e.state, EffectState::Intent | EffectState::Sent));
        // Another process, or an earlier try whose answer was lost, may have made it.
        if let Some(release) = self.target.find(&self.slot)? {
            let same = self.settled(&release);
            if let Some(Effect { id, content, .. }) = &open {
                let state = if *content == self.content() && matches!(same, Ok(true)) {
                    EffectState::Confirmed
                } else {
                    EffectState::Abandoned
                };
                recorded(ledger.advance(*id, state, Some(&release.id), now()))?;
            }
            if same? {
                return Ok(self.receipt(&release, Some(sums)));
            }
        }
        let blob = context.blob(&zip, size)?;
        let config = text(&blob.path, plugin::CONFIG_NAMES[0], zip)?.unwrap_or_default();
        let config = config::parse(config.as_bytes(), plugin::CONFIG_NAMES[0]).config;
        let config =
            config.ok_or_else(|| Failure::bug("the archived configuration does not parse"))?;
        let readme = text(&blob.path, &config.readme, zip)?;
        let requirements = text(&blob.path, "requirements.txt", zip)?;
        let sum = |name: &str| sums.text(name).unwrap_or_default();
        let upload = Upload {
            slot: &self.slot,
            config: &config.json,
            readme: readme.as_deref(),
            requirements: requirements.as_deref(),
            archive: &blob.path,
            size,
            content: self.content(),
            blake3: zip,
            md5: sum("md5"),
            sha256: sum("sha256"),
        };
        if context.cancel().cancelled() {
            return Err(Failure::cancelled());
        }
        let content = self.content();
        let effect = ledger
            .intend(&place, &slot, &content, now())
            .map_err(|e| store_failure(&e))?;
        recorded(ledger.advance(effect, EffectState::Sent, None, now()))?;
        self.target.request();
        let release = match self.target.backend.create(&upload) {
            Ok(release) => release,
            // Someone was faster, or an earlier try arrived after all: look what is there.
            Err(ClientError::Exists(_)) => {
                recorded(ledger.advance(effect, EffectState::Abandoned, None, now()))?;
                let found = self.target.find(&self.slot)?;
                let release = found.ok_or_else(|| self.refused())?;
                return if self.settled(&release)? {
                    Ok(self.receipt(&release, Some(sums)))
                } else {
                    Err(self.refused())
                };
            }
            Err(error @ ClientError::Mismatch { .. }) => {
                recorded(ledger.advance(effect, EffectState::Abandoned, None, now()))?;
                // The file in the store is not what its name says: make it again.
                let _ = error;
                return Err(Failure::missing_blob(zip));
            }
            Err(error) => {
                if !matches!(error, ClientError::Ambiguous(_)) {
                    recorded(ledger.advance(effect, EffectState::Abandoned, None, now()))?;
                }
                return Err(self.target.failure(&error));
            }
        };
        self.target
            .counters
            .bytes_sent
            .fetch_add(size, Ordering::Relaxed);
        recorded(ledger.advance(effect, EffectState::Confirmed, Some(&release.id), now()))?;
        Ok(self.receipt(&release, Some(sums)))
    }
}

/// What a formal release must satisfy that the configuration alone does not show. A failure of a
/// missing blob when the store no longer has the synced configuration.
pub fn validate(plugin: &Plugin, store: &dyn Store) -> Result<(), Failure> {
    let (bytes, shown) = plugin.read_config(store)?;
    let files: Vec<String> = plugin
        .files
        .load()
        .into_iter()
        .map(|entry| entry.path)
        .collect();
    let sources = |path: &str| {
        let packed = files
            .binary_search_by(|own| own.as_bytes().cmp(path.as_bytes()))
            .is_ok();
        packed
            .then(|| std::fs::read(plugin.source_of(path)).ok())
            .flatten()
    };
    let check = |bytes: &[u8]| {
        let config = config::parse(bytes, &shown).config;
        let check = |config| config::check_entrypoints(&config, &shown, bytes, &files, &sources);
        config.map_or_else(Vec::new, check)
    };
    let found = check(&bytes);
    if found.is_empty() {
        return Ok(());
    }
    // Places are those of the file that people can open; what sync mends there is no mistake.
    let written = plugin
        .synced_config()
        .and_then(|_| plugin.read_source_config().ok())
        .map_or_else(Vec::new, |(bytes, _)| check(&bytes));
    let left = |own: &config::Diagnostic| found.iter().any(|other| other.message == own.message);
    let written: Vec<_> = written.into_iter().filter(left).collect();
    let shown = if written.is_empty() { &found } else { &written };
    plugin::diagnostics_failure(shown).map_or(Ok(()), Err)
}

/// The text of one file inside an archive, when it is there and short enough.
fn text(archive: &std::path::Path, name: &str, blob: Digest) -> Result<Option<String>, Failure> {
    let damaged = |_| Failure::missing_blob(blob);
    let file = File::open(archive).map_err(|_| Failure::missing_blob(blob))?;
    let mut zip = zip::ZipArchive::new(file).map_err(damaged)?;
    let entry = match zip.by_name(name) {
        Ok(entry) => entry,
        Err(zip::result::ZipError::FileNotFound) => return Ok(None),
        Err(error) => return Err(damaged(error)),
    };
    let mut bytes = Vec::new();
    entry
        .take(TEXT_LIMIT)
        .read_to_end(&mut bytes)
        .map_err(|_| Failure::missing_blob(blob))?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}
