//! Owns the store stage: an archive or a wheel in one object store, put there once, through the
//! ledger. The store is asked before anything is sent, and what it has is proven afterwards.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use synapse_engine::{
    Cacheability, Context, Digest, Failure, Input, Inputs, Label, Lane, Manifest, Node, Outcome,
    Pending, Rule,
    store::{EffectState, Ledger, Receipt},
    store_failure,
};

use super::{
    connect::Storage,
    errors,
    object::{Found, Objects, PutError, Wanted},
    place::Scheme,
};
use crate::{archive::read, plugin::Plugin, target::RECEIPT_AGE, upload::VERSION_TAKEN};

/// The rule.
///
/// 1: objects by name, compared by size and MD5.
pub const RULE: Rule = Rule {
    name: "store",
    version: 1,
};

/// From this size on progress is told.
const LARGE: u64 = 8 << 20;

/// What is stored, and under which name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The archive of a development state, named by its MD5.
    Development,
    /// The archive of a release, named by code and version; never replaced.
    Release,
    /// The wheel, under its own name.
    Wheel,
}

/// The name of an archive in an object store.
pub fn archive_name(plugin: &Plugin, kind: Kind, md5: &str) -> String {
    let head = &plugin.head;
    match (kind, &head.variant) {
        (Kind::Release, None) => format!("{}-{}.zip", head.code, head.version),
        (Kind::Release, Some(variant)) => {
            format!("{}-{}+{variant}.zip", head.code, head.version)
        }
        _ => format!("dev-{md5}.zip"),
    }
}

/// One object in one store. Depends on archive and checksum, or on the wheel.
pub struct StoreNode {
    storage: Arc<Storage>,
    ledger: Arc<Ledger>,
    plugin: Arc<Plugin>,
    kind: Kind,
    clock: fn() -> i64,
    /// The receipt that has to be looked at again, and whether it still holds.
    asked: Mutex<Asked>,
}

#[derive(Default)]
struct Asked {
    known: Option<Kept>,
    holds: Option<bool>,
}

/// What a receipt says.
#[derive(Clone)]
struct Kept {
    name: String,
    size: u64,
    content: Digest,
}

impl Kept {
    fn of(outcome: &Outcome) -> Option<Self> {
        let content = outcome.text("content")?.parse().ok()?;
        Some(Self {
            name: outcome.text("name")?.to_owned(),
            size: outcome.get("size")?.as_u64()?,
            content,
        })
    }
}

impl StoreNode {
    /// The object of that kind.
    pub fn new(
        storage: Arc<Storage>,
        ledger: Arc<Ledger>,
        plugin: Arc<Plugin>,
        kind: Kind,
        clock: fn() -> i64,
    ) -> Self {
        Self {
            storage,
            ledger,
            plugin,
            kind,
            clock,
            asked: Mutex::default(),
        }
    }

    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the store said within a day that it has what a receipt says.
    fn is_fresh(&self, kept: &Kept) -> bool {
        let said = self.storage.said(&self.ledger, &kept.name);
        let age = said.map(|at| (self.clock)() - at);
        let counts = !self.storage.verify && self.storage.place.scheme != Scheme::File;
        counts && age.is_some_and(|age| (0..RECEIPT_AGE).contains(&age))
    }

    /// Asks the store whether it has what a receipt says.
    fn holds(&self, kept: &Kept) -> bool {
        let (operator, name) = (self.storage.operator.clone(), kept.name.clone());
        let cancel = synapse_engine::Cancel::default();
        let said = self
            .storage
            .wait(&cancel, &|| {}, async move { operator.stat(&name).await });
        // Whatever is wrong there shows when it is tried, and stops nothing else.
        let holds = said.is_ok_and(|said| said.is_ok_and(|s| s.content_length() == kept.size));
        if holds {
            let receipt = Receipt {
                slot: kept.name.clone(),
                content: kept.content,
                receipt: kept.name.clone(),
                at: (self.clock)(),
            };
            // Not written down, it is asked again next time.
            let _ = self.ledger.renew(&self.storage.identity, &[receipt]);
        }
        holds
    }

    /// What is to be there, and its content as the ledger knows it.
    fn wanted(&self, context: &Context<'_>) -> Result<(Wanted, Digest, Digest), Failure> {
        let first = context.input(0)?;
        let bug = || Failure::bug("something to store without a file");
        let (output, sums) = match self.kind {
            Kind::Wheel => ("wheel", first),
            _ => ("zip", context.input(1)?),
        };
        let (blob, size) = first.blob_of(output).ok_or_else(bug)?;
        let md5 = sums.text("md5").ok_or_else(bug)?.to_owned();
        let (name, content) = match self.kind {
            Kind::Wheel => (first.text("file").ok_or_else(bug)?.to_owned(), blob),
            kind => {
                let name = archive_name(&self.plugin, kind, &md5);
                (name, self.plugin.files.digest())
            }
        };
        let open = context.blob(&blob, size)?;
        let labels = vec![
            ("synapse-md5", md5.clone()),
            ("synapse-content", content.hex()),
        ];
        let wanted = Wanted {
            name,
            path: open.path,
            size,
            md5,
            labels,
            only_new: self.kind == Kind::Release,
        };
        Ok((wanted, content, blob))
    }

    fn objects(&self) -> Objects {
        Objects {
            operator: self.storage.operator.clone(),
            scheme: self.storage.place.scheme,
            sent: Arc::new(AtomicU64::new(0)),
        }
    }

    fn failed(&self, error: &opendal::Error) -> Failure {
        errors::failure(&self.storage.place, &self.storage.secrets, error)
    }

    fn receipt(&self, wanted: &Wanted, content: &Digest, proof: &str, sent: bool) -> Outcome {
        let place = &self.storage.place;
        Outcome::new(Cacheability::Recheck)
            .value("store", place.shown())
            .value("name", wanted.name.clone())
            .value("url", place.url_of(&wanted.name))
            .value("size", wanted.size)
            .value("md5", wanted.md5.clone())
            .value("content", content.hex())
            .value("verified", proof)
            .value("sent", sent)
    }

    /// Whether a release that differs in its bytes has the same content all the same.
    fn same_content(
        &self,
        context: &Context<'_>,
        wanted: &Wanted,
        said: Option<&str>,
    ) -> Result<bool, Failure> {
        let own = self.plugin.files.digest();
        if said == Some(&own.hex()) {
            return Ok(true);
        }
        let file = context.writer()?;
        let handle = file.reopen().map_err(|error| {
            Failure::environment("store", format!("cannot write to the store: {error}"))
        })?;
        let (objects, name) = (self.objects(), wanted.name.clone());
        let fetched = self.storage.wait(context.cancel(), &|| {}, async move {
            objects.fetch(&name, handle).await
        })?;
        match fetched {
            Ok(()) => Ok(read::content(file.path()).is_ok_and(|content| content == own)),
            Err(error) => Err(self.put_failure(&error, wanted, own)),
        }
    }

    fn refused(&self, wanted: &Wanted) -> Failure {
        let what = format!("{} is stored already, with other content", wanted.name);
        Failure::user(VERSION_TAKEN, what)
            .at(self.storage.place.shown())
            .hint("raise the version with --bump patch, or publish a debug release with --debug")
    }

    fn put_failure(&self, error: &PutError, wanted: &Wanted, blob: Digest) -> Failure {
        match error {
            PutError::Store(error) => self.failed(error),
            PutError::Local => Failure::missing_blob(blob),
            PutError::Exists => self.refused(wanted),
            PutError::Mismatch => {
                let what = format!("{} has other bytes there than were sent", wanted.name);
                Failure::environment("checksum-mismatch", what)
                    .at(self.storage.place.shown())
                    .hint("it was taken away again; run it once more")
            }
        }
    }
}

impl Node for StoreNode {
    fn rule(&self) -> Rule {
        RULE
    }

    fn label(&self) -> Label {
        let what = match self.kind {
            Kind::Wheel => " wheel",
            _ => "",
        };
        let (subject, place) = (self.plugin.subject(), self.storage.place.shown());
        Label {
            stage: RULE.name.to_owned(),
            subject: format!("{subject}{what} in {place}"),
        }
    }

    fn lane(&self) -> Lane {
        Lane::Io
    }

    fn manifest(&self, inputs: Inputs<'_>, out: &mut dyn Manifest) -> Result<(), Pending> {
        out.input("object store", Input::Text(&self.storage.identity));
        match self.kind {
            Kind::Wheel => {
                out.input("name", Input::Digest(inputs.output(0, "file")?));
                out.input("wheel", Input::Digest(inputs.output(0, "wheel")?));
            }
            kind => {
                // Of a development state its bytes decide the name.
                let named = match kind {
                    Kind::Release => archive_name(&self.plugin, kind, ""),
                    _ => "dev".to_owned(),
                };
                out.input("name", Input::Text(&named));
                // Known before the archive is made, since it is of the files.
                out.input("content", Input::Digest(self.plugin.files.digest()));
            }
        }
        Ok(())
    }

    fn asks(&self, known: Option<&Outcome>) -> bool {
        let kept = known.and_then(Kept::of);
        let stale =
            kept.filter(|kept| self.storage.place.scheme != Scheme::File && !self.is_fresh(kept));
        let asks = stale.is_some();
        self.asked().known = stale;
        asks
    }

    fn ask(&self) {
        let known = self.asked().known.clone();
        let holds = known.map(|kept| self.holds(&kept));
        self.asked().holds = holds;
    }

    fn current(&self, outcome: &Outcome) -> Result<bool, Failure> {
        let Some(kept) = Kept::of(outcome) else {
            return Ok(false);
        };
        if self.is_fresh(&kept) {
            return Ok(true);
        }
        let answered = self.asked().holds;
        Ok(answered.unwrap_or_else(|| self.holds(&kept)))
    }

    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        let (wanted, content, blob) = self.wanted(context)?;
        let storage = &self.storage;
        let (ledger, now) = (&self.ledger, self.clock);
        let kept = |result: Result<(), _>| result.map_err(|error| store_failure(&error));
        let place = &self.storage.identity;
        let last = ledger
            .last(place, &wanted.name)
            .map_err(|error| store_failure(&error))?;
        let open = last.filter(|e| matches!(e.state, EffectState::Intent | EffectState::Sent));
        let (objects, look) = (self.objects(), wanted.clone());
        let found = storage.wait(context.cancel(), &|| {}, async move {
            objects.look(&look).await
        })?;
        let found = found.map_err(|error| self.failed(&error))?;
        // An earlier try whose answer was lost may have made it.
        let settle = |state| match &open {
            Some(effect) => kept(ledger.advance(effect.id, state, Some(&wanted.name), now())),
            None => Ok(()),
        };
        let there = match &found {
            Found::Same(proof) => Some(*proof),
            // The name says what is in it.
            Found::Other { likely: true, .. } if self.kind == Kind::Development => Some("name"),
            Found::Other { content: said, .. } if self.kind == Kind::Release => {
                if !self.same_content(context, &wanted, said.as_deref())? {
                    settle(EffectState::Abandoned)?;
                    return Err(self.refused(&wanted));
                }
                Some("content")
            }
            _ => None,
        };
        if let Some(proof) = there {
            settle(EffectState::Confirmed)?;
            let receipt = Receipt {
                slot: wanted.name.clone(),
                content,
                receipt: wanted.name.clone(),
                at: now(),
            };
            kept(ledger.renew(place, &[receipt]))?;
            return Ok(self.receipt(&wanted, &content, proof, false));
        }
        settle(EffectState::Abandoned)?;
        if context.cancel().cancelled() {
            return Err(Failure::cancelled());
        }
        let effect = ledger
            .intend(place, &wanted.name, &content, now())
            .map_err(|error| store_failure(&error))?;
        kept(ledger.advance(effect, EffectState::Sent, None, now()))?;
        let objects = self.objects();
        let sent = Arc::clone(&objects.sent);
        let progress = || {
            if wanted.size >= LARGE {
                context.progress(sent.load(Ordering::Relaxed), wanted.size);
            }
        };
        let put = wanted.clone();
        let stored = storage.wait(context.cancel(), &progress, async move {
            objects.put(&put).await
        })?;
        self.storage
            .counters
            .bytes_sent
            .fetch_add(sent.load(Ordering::Relaxed), Ordering::Relaxed);
        match stored {
            Ok(proof) => {
                let confirmed = EffectState::Confirmed;
                kept(ledger.advance(effect, confirmed, Some(&wanted.name), now()))?;
                Ok(self.receipt(&wanted, &content, proof, true))
            }
            // Someone was faster: what is there may be the same.
            Err(PutError::Exists) if self.same_content(context, &wanted, None)? => {
                let confirmed = EffectState::Confirmed;
                kept(ledger.advance(effect, confirmed, Some(&wanted.name), now()))?;
                Ok(self.receipt(&wanted, &content, "content", false))
            }
            Err(error) => {
                // After any other refusal it is not there; after silence nobody knows.
                let doubt = matches!(&error, PutError::Store(error) if !error.is_permanent());
                if !doubt {
                    kept(ledger.advance(effect, EffectState::Abandoned, None, now()))?;
                }
                Err(self.put_failure(&error, &wanted, blob))
            }
        }
    }
}
