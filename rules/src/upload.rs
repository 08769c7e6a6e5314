//! Owns the upload stage: a release at one target, made once, through the ledger. It asks the
//! target before it sends, and again after any doubt.

use std::{
    fs::File,
    io::Read,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use synapse_engine::{
    Cacheability, Context, Digest, DirtyReason, Failure, Input, Inputs, Label, Lane, Manifest,
    Node, Outcome, Pending, Probe, Rule, Store,
    store::{Effect, EffectState},
    store_failure,
};

use crate::{
    client::{ClientError, Release, Slot, Upload, Watch},
    config,
    http::Retry,
    inspect,
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

const TAKEN_HINT: &str =
    "raise the version with --bump patch, or publish a debug release with --debug";

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
            .hint(TAKEN_HINT)
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
        self.undamaged(release)?;
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

impl UploadNode {
    /// A release that was found to hold other bytes than were sent is not what it says it is.
    fn undamaged(&self, release: &Release) -> Result<(), Failure> {
        if self.target.embedded || self.slot.debug {
            return Ok(());
        }
        let last = self
            .target
            .ledger
            .last(self.target.identity(), &self.slot_name());
        let last = last.map_err(|error| store_failure(&error))?;
        let noted = last.and_then(|effect| effect.receipt);
        let wrong = noted.as_deref().and_then(|noted| noted.strip_prefix(WRONG));
        if wrong != Some(release.id.as_str()) {
            return Ok(());
        }
        let what = format!("{} holds other bytes than were sent", self.what());
        Err(Failure::environment("checksum-mismatch", what)
            .at(self.target.name.clone())
            .hint("tell whoever runs the platform, and raise the version with --bump patch"))
    }
}

impl Node for UploadNode {
    fn rule(&self) -> Rule {
        RULE
    }

    fn label(&self) -> Label {
        // What went to one target explains nothing of another.
        let stage = stage(&self.target.name);
        let subject = self.plugin.subject();
        Label { stage, subject }
    }

    fn lane(&self) -> Lane {
        Lane::Io
    }

    fn manifest(&self, _inputs: Inputs<'_>, out: &mut dyn Manifest) -> Result<(), Pending> {
        out.input("target", Input::Text(self.target.identity()));
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

    fn asks(&self, known: Option<&Outcome>) -> bool {
        let release = known.and_then(|known| known.text("release"));
        let fresh = |release| {
            let slot = self.slot_name();
            self.target.is_fresh(&slot, &self.content(), release)
        };
        !self.target.embedded && !release.is_some_and(fresh)
    }

    fn ask(&self) {
        // A content that must be computed from the archive is asked for here too.
        if let Ok(Some(release)) = self.target.in_slot(&self.slot) {
            let _ = self.target.content(&release);
        }
    }

    fn probe(&self) -> Result<Probe, Failure> {
        let what = self.what();
        match self.target.in_slot(&self.slot)? {
            Some(release) if self.settled(&release)? => {
                let (slot, content) = (self.slot_name(), self.content());
                self.target.renew(&slot, &content, &release.id);
                Ok(Probe::Satisfied(self.receipt(&release, None)))
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
        if !self.asks(Some(outcome)) && !self.target.embedded {
            return Ok(true);
        }
        if let Some(release) = self.target.in_slot(&self.slot)?
            && same(&release)
        {
            let (slot, content) = (self.slot_name(), self.content());
            self.target.renew(&slot, &content, &release.id);
            return Ok(true);
        }
        if !self.target.embedded {
            return Ok(false);
        }
        // Made since the command first asked, by another process perhaps.
        Ok(self.target.find(&self.slot)?.as_ref().is_some_and(same))
    }

    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        if let Some(closed) = self.target.closed() {
            return Err(closed);
        }
        let sums = context.input(1)?;
        let (zip, size) = context
            .input(0)?
            .blob_of("zip")
            .ok_or_else(|| Failure::bug("an archive without a file"))?;
        let attempt = Attempt::begin(self, context)?;
        // Another process, or an earlier try whose answer was lost, may have made it. Who asked
        // a moment ago, and left nothing open, knows.
        if (attempt.open.is_some() || !self.target.was_asked(&self.slot))
            && let Some(release) = attempt.look()?
        {
            return Ok(self.receipt(&release, Some(sums)));
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
        let release = attempt.send(&upload)?;
        Ok(self.receipt(&release, Some(sums)))
    }
}

/// The stage of an upload, by the name of its target.
pub fn stage(target: &str) -> String {
    match target {
        "local" => "upload".to_owned(),
        other => format!("upload {other}"),
    }
}

/// How often a release is sent that did not arrive, or not for sure.
const TRIES: Retry = Retry {
    repeats: 3,
    first: Duration::from_millis(200),
    most: Duration::from_secs(8),
    asked: Duration::from_mins(1),
};
/// How often it is looked whether to stop while one waits.
const LOOK: Duration = Duration::from_millis(25);

/// The effort to make one release, with its row in the ledger.
struct Attempt<'a> {
    node: &'a UploadNode,
    context: &'a Context<'a>,
    place: String,
    slot: String,
    /// An effect that an earlier command left open.
    open: Option<Effect>,
    /// An upload in chunks that may be gone on with.
    chunks: Mutex<Option<String>>,
}

impl<'a> Attempt<'a> {
    fn begin(node: &'a UploadNode, context: &'a Context<'a>) -> Result<Self, Failure> {
        let (place, slot) = (node.target.identity().to_owned(), node.slot_name());
        let last = node.target.ledger.last(&place, &slot);
        let open = last.map_err(|error| store_failure(&error))?;
        let open = open.filter(|own| matches!(own.state, EffectState::Intent | EffectState::Sent));
        let chunks = open
            .as_ref()
            .filter(|open| open.content == node.content())
            .and_then(|open| open.receipt.as_deref()?.strip_prefix(CHUNKS))
            .map(str::to_owned);
        Ok(Self {
            node,
            context,
            place,
            slot,
            open,
            chunks: Mutex::new(chunks),
        })
    }

    fn advance(&self, id: i64, state: EffectState, receipt: Option<&str>) -> Result<(), Failure> {
        let ledger = &self.node.target.ledger;
        ledger
            .advance(id, state, receipt, (self.node.clock)())
            .map_err(|error| store_failure(&error))
    }

    /// Asks what is there. A release that is what we mean settles it; another is a refusal.
    fn look(&self) -> Result<Option<Release>, Failure> {
        let node = self.node;
        let Some(release) = node.target.find(&node.slot)? else {
            return Ok(None);
        };
        let same = node.settled(&release);
        if let Some(Effect { id, content, .. }) = &self.open {
            let (state, receipt) = if *content == node.content() && matches!(same, Ok(true)) {
                (EffectState::Confirmed, Some(release.id.as_str()))
            } else {
                (EffectState::Abandoned, None)
            };
            self.advance(*id, state, receipt)?;
        }
        if !same? {
            return Ok(None);
        }
        node.target.renew(&self.slot, &node.content(), &release.id);
        Ok(Some(release))
    }

    /// Sends it, and sends it again when it is known not to have arrived.
    fn send(&self, upload: &Upload<'_>) -> Result<Release, Failure> {
        let node = self.node;
        let content = node.content();
        let mut tries = TRIES.tries();
        loop {
            if self.context.cancel().cancelled() {
                return Err(Failure::cancelled());
            }
            let ledger = &node.target.ledger;
            let effect = ledger
                .intend(&self.place, &self.slot, &content, (node.clock)())
                .map_err(|error| store_failure(&error))?;
            let sending = Sending {
                attempt: self,
                effect,
                total: upload.size,
            };
            let chunks = sending.begun().map(|id| format!("{CHUNKS}{id}"));
            self.advance(effect, EffectState::Sent, chunks.as_deref())?;
            let error = match node.target.backend.send(upload, &sending) {
                Ok(release) => {
                    let bytes = &node.target.counters.bytes_sent;
                    bytes.fetch_add(upload.size, Ordering::Relaxed);
                    self.advance(effect, EffectState::Confirmed, Some(&release.id))?;
                    return Ok(release);
                }
                Err(error) => error,
            };
            let doubt = matches!(error, ClientError::Ambiguous(_) | ClientError::Cancelled);
            // What was begun in chunks is gone on with, by the next command if need be.
            let begun = matches!(error, ClientError::Unavailable(_)) && sending.begun().is_some();
            if !doubt && !begun {
                let wrong = match &error {
                    ClientError::WrongChecksum { release, .. } => Some(format!("{WRONG}{release}")),
                    _ => None,
                };
                self.advance(effect, EffectState::Abandoned, wrong.as_deref())?;
            }
            let wait = match &error {
                // The file in the store is not what its name says: make it again.
                ClientError::Mismatch { .. } => return Err(Failure::missing_blob(upload.blake3)),
                // Someone was faster, or an earlier try arrived after all.
                ClientError::Exists(_) => None,
                ClientError::Ambiguous(_) => tries.next(None),
                ClientError::Busy { after, .. } => tries.next(*after),
                _ => return Err(node.target.refusal(&node.slot, &error)),
            };
            if let Some(wait) = wait {
                self.sleep(wait)?;
            }
            // What is unknown is asked, and asked again before anything is sent.
            if let Some(release) = self.settle(effect, doubt, &error)? {
                return Ok(release);
            }
            if wait.is_none() {
                return Err(match &error {
                    // It says so, and yet does not show it.
                    ClientError::Exists(_) => node.target.failure(&error).hint(TAKEN_HINT),
                    error => node.target.failure(error),
                });
            }
        }
    }

    /// What became of an effect whose end is unknown; the release, when it is there.
    fn settle(
        &self,
        effect: i64,
        doubt: bool,
        error: &ClientError,
    ) -> Result<Option<Release>, Failure> {
        let node = self.node;
        let found = match node.target.find(&node.slot) {
            Ok(found) => found,
            // It stays open; the next publish asks.
            Err(_) if doubt => return Err(node.target.failure(error)),
            Err(failure) => return Err(failure),
        };
        let Some(release) = found else {
            if doubt {
                self.advance(effect, EffectState::Abandoned, None)?;
            }
            return Ok(None);
        };
        let same = node.settled(&release);
        let (state, receipt) = match same {
            Ok(true) => (EffectState::Confirmed, Some(release.id.as_str())),
            _ => (EffectState::Abandoned, None),
        };
        if doubt || state == EffectState::Confirmed {
            self.advance(effect, state, receipt)?;
        }
        Ok(same?.then_some(release))
    }

    fn sleep(&self, time: Duration) -> Result<(), Failure> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            if self.context.cancel().cancelled() {
                return Err(Failure::cancelled());
            }
            thread::sleep(LOOK.min(until.saturating_duration_since(Instant::now())));
        }
        Ok(())
    }
}

/// Prefix under which the ledger keeps the id of an upload in chunks.
const CHUNKS: &str = "chunks:";
/// Prefix under which the ledger keeps the id of a release that holds other bytes than were sent.
const WRONG: &str = "wrong:";

/// One sending, as it goes on.
struct Sending<'a> {
    attempt: &'a Attempt<'a>,
    effect: i64,
    total: u64,
}

impl Watch for Sending<'_> {
    fn progress(&self, bytes: u64) {
        self.attempt.context.progress(bytes, self.total);
    }

    fn begun(&self) -> Option<String> {
        let chunks = self.attempt.chunks.lock();
        chunks.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn begins(&self, id: &str) {
        let chunks = self.attempt.chunks.lock();
        *chunks.unwrap_or_else(PoisonError::into_inner) = Some(id.to_owned());
        // Without it, the next command sends everything.
        let id = format!("{CHUNKS}{id}");
        let _ = self
            .attempt
            .advance(self.effect, EffectState::Sent, Some(&id));
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
        return config::parse(&bytes, &shown)
            .config
            .map_or(Ok(()), |config| all_python(plugin, &config, &sources));
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

/// Refuses entrypoints whose file Python would refuse. Other files may be anything.
fn all_python(
    plugin: &Plugin,
    config: &config::Config,
    sources: &dyn Fn(&str) -> Option<Vec<u8>>,
) -> Result<(), Failure> {
    let candidates = config
        .actions
        .iter()
        .flat_map(|own| own.entrypoint.candidates());
    let text = |path: String| Some((path.clone(), String::from_utf8(sources(&path)?).ok()?));
    let texts = candidates.filter_map(text).collect();
    let failures = inspect::wrong_syntax(&texts)?.into_iter().map(|wrong| {
        let file = plugin.source_of(&wrong.path).display().to_string();
        wrong.failure(&file)
    });
    let mut failures: Vec<Failure> = failures.collect();
    if failures.is_empty() {
        return Ok(());
    }
    let mut first = failures.remove(0);
    first.more = failures;
    Err(first)
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
