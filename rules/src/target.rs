//! Owns [`Target`]: one place a publish goes to, with what is known of it during one command:
//! what it answered, and what the ledger says that it has.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use synapse_engine::{
    Digest, Failure,
    store::{Ledger, Receipt},
};

use crate::{
    client::{Backend, ClientError, Release, Slot},
    counters::Counters,
};

/// How long what a remote target said that it has is taken for true, in seconds.
pub const RECEIPT_AGE: i64 = 24 * 3600;

/// Failure code: it was not tried, since this target lets us do nothing.
pub const NOT_TRIED: &str = "not-tried";

/// A target of this command.
pub struct Target {
    /// Its name to people.
    pub name: String,
    /// The backend behind it.
    pub backend: Arc<dyn Backend>,
    /// Where effects are written down.
    pub ledger: Arc<Ledger>,
    /// Counts of work.
    pub counters: Arc<Counters>,
    /// Reading its releases crosses no network.
    pub embedded: bool,
    /// The address of its platform, where it has one.
    pub host: Option<String>,
    /// Receipts do not count, however fresh: everything is asked for.
    pub verify: bool,
    /// Unix seconds.
    pub clock: fn() -> i64,
    identity: String,
    releases: OnceLock<Result<HashMap<String, Vec<Release>>, ClientError>>,
    contents: Mutex<HashMap<String, Digest>>,
    /// Of a remote target: what it answered, by slot.
    slots: Mutex<HashMap<Slot, Result<Option<Release>, ClientError>>>,
    /// Of a remote target: what the ledger said at the start.
    receipts: OnceLock<HashMap<String, Receipt>>,
    /// What it said again that it has, to be written down.
    renewed: Mutex<Vec<Receipt>>,
    /// Why nothing can be done there, and who found out.
    closed: OnceLock<(Slot, ClientError)>,
}

impl Target {
    /// A target that nothing is known of yet.
    pub fn new(
        name: &str,
        backend: Arc<dyn Backend>,
        ledger: Arc<Ledger>,
        counters: Arc<Counters>,
        clock: fn() -> i64,
    ) -> Self {
        let identity = backend.identity();
        Self {
            name: name.to_owned(),
            backend,
            ledger,
            counters,
            embedded: false,
            host: None,
            verify: false,
            clock,
            identity,
            releases: OnceLock::new(),
            contents: Mutex::default(),
            slots: Mutex::default(),
            receipts: OnceLock::new(),
            renewed: Mutex::default(),
            closed: OnceLock::new(),
        }
    }

    /// The same, of the backend of this machine.
    pub fn embedded(self) -> Self {
        Self {
            embedded: true,
            ..self
        }
    }

    /// The same, of the platform at an address.
    #[must_use]
    pub fn of_platform(self, host: &str) -> Self {
        Self {
            host: Some(host.to_owned()),
            ..self
        }
    }

    /// Names it in keys and in the ledger.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// All releases of a plugin, oldest first; of the embedded backend as they were when the
    /// command first asked.
    pub fn releases(&self, code: &str) -> Result<Vec<Release>, Failure> {
        if self.embedded || self.releases.get().is_some() {
            return Ok(self.all()?.get(code).cloned().unwrap_or_default());
        }
        let releases = self.backend.releases(code);
        releases.map_err(|error| self.failure(&error))
    }

    /// Asks for all releases at once, which is less than asking plugin by plugin for many.
    pub fn read_all(&self) -> Result<(), Failure> {
        self.all().map(|_| ())
    }

    fn all(&self) -> Result<&HashMap<String, Vec<Release>>, Failure> {
        let all = self.releases.get_or_init(|| {
            let mut by_code: HashMap<String, Vec<Release>> = HashMap::new();
            for release in self.backend.all()? {
                by_code
                    .entry(release.slot.code.clone())
                    .or_default()
                    .push(release);
            }
            Ok(by_code)
        });
        all.as_ref().map_err(|error| self.failure(error))
    }

    /// Reads ahead of need what will be needed of it whatever the plugins are; what goes wrong
    /// shows when it is needed.
    pub fn prefetch(&self) {
        if self.embedded {
            let _ = self.all();
        } else {
            self.receipts();
        }
    }

    /// The release in a slot when the command first asked.
    pub fn in_slot(&self, slot: &Slot) -> Result<Option<Release>, Failure> {
        if self.embedded {
            let releases = self.all()?.get(&slot.code);
            let mut newest = releases.into_iter().flatten().rev();
            return Ok(newest
                .find(|release| same_slot(&release.slot, slot))
                .cloned());
        }
        let known = locked(&self.slots).get(slot).cloned();
        let answer = match (known, self.closed.get()) {
            (Some(known), _) => known,
            // Who was turned away once does not knock a thousand times.
            (None, Some((_, why))) => Err(why.clone()),
            (None, None) => {
                let answer = self.backend.find(slot);
                if let Err(why) = &answer {
                    let _ = self.closed.set((slot.clone(), why.clone()));
                }
                locked(&self.slots).insert(slot.clone(), answer.clone());
                answer
            }
        };
        answer.map_err(|error| self.refusal(slot, &error))
    }

    /// The release in a slot now.
    pub fn find(&self, slot: &Slot) -> Result<Option<Release>, Failure> {
        let found = self.backend.find(slot);
        found.map_err(|error| self.refusal(slot, &error))
    }

    /// Whether the target was asked for a slot by this command already.
    pub fn was_asked(&self, slot: &Slot) -> bool {
        !self.embedded && matches!(locked(&self.slots).get(slot), Some(Ok(_)))
    }

    /// The content digest of a release.
    pub fn content(&self, release: &Release) -> Result<Digest, Failure> {
        if let Some(content) = release.content {
            return Ok(content);
        }
        if let Some(content) = locked(&self.contents).get(&release.id) {
            return Ok(*content);
        }
        let content = self.backend.content(release);
        let content = content.map_err(|error| self.refusal(&release.slot, &error))?;
        locked(&self.contents).insert(release.id.clone(), content);
        Ok(content)
    }

    fn receipts(&self) -> &HashMap<String, Receipt> {
        self.receipts.get_or_init(|| {
            // A ledger that cannot be read costs questions.
            let found = self.ledger.receipts(&self.identity).unwrap_or_default();
            let by_slot = found.into_iter().map(|own| (own.slot.clone(), own));
            by_slot.collect()
        })
    }

    /// Whether the target said within a day that it has this, and nobody doubts it.
    pub fn is_fresh(&self, slot: &str, content: &Digest, release: &str) -> bool {
        let now = (self.clock)();
        !self.verify
            && self.receipts().get(slot).is_some_and(|own| {
                // A clock that was set back makes nothing fresh.
                let age = now - own.at;
                own.content == *content && own.receipt == release && (0..RECEIPT_AGE).contains(&age)
            })
    }

    /// Notes that the target said that it has this.
    pub fn renew(&self, slot: &str, content: &Digest, release: &str) {
        if self.embedded {
            return;
        }
        locked(&self.renewed).push(Receipt {
            slot: slot.to_owned(),
            content: *content,
            receipt: release.to_owned(),
            at: (self.clock)(),
        });
    }

    /// Writes down what was noted. Failing to costs questions the next time.
    pub fn keep_receipts(&self) {
        let renewed = std::mem::take(&mut *locked(&self.renewed));
        if !renewed.is_empty() {
            let _ = self.ledger.renew(&self.identity, &renewed);
        }
    }

    /// Why nothing can be done at this target any more, for those who come after the first.
    pub fn closed(&self) -> Option<Failure> {
        self.closed.get().map(|(_, why)| {
            let what = format!("not tried, since another failed at {}: {why}", self.name);
            Failure::environment(NOT_TRIED, what).at(self.name.clone())
        })
    }

    /// A client's refusal of what concerns a slot, as a failure. After one that concerns
    /// everything, the first slot tells it, and the others were not tried.
    pub fn refusal(&self, slot: &Slot, error: &ClientError) -> Failure {
        if matches!(
            error,
            ClientError::Denied { .. } | ClientError::Unusable { .. }
        ) {
            let _ = self.closed.set((slot.clone(), error.clone()));
        }
        match self.closed.get() {
            Some((first, why)) if first != slot && why == error => {
                self.closed().unwrap_or_else(|| self.failure(error))
            }
            _ => self.failure(error),
        }
    }

    /// A client's refusal as a failure.
    pub fn failure(&self, error: &ClientError) -> Failure {
        let name = &self.name;
        let environment = |code: &str, hint: &str| {
            Failure::environment(code, error.to_string())
                .at(name.clone())
                .hint(hint)
        };
        match error {
            ClientError::Exists(what) => {
                Failure::user("version-exists", what.clone()).at(name.clone())
            }
            ClientError::Invalid(problems) => {
                let mut failures = problems.iter().map(|problem| {
                    Failure::user("release-invalid", problem.clone()).at(name.clone())
                });
                let first = failures.next();
                let mut first = first.unwrap_or_else(|| {
                    Failure::user("release-invalid", "the release was found invalid")
                });
                first.more = failures.collect();
                first.hint("mend this in the plugin and publish again; --debug skips this check")
            }
            ClientError::Mismatch { .. } => {
                environment("checksum-mismatch", "nothing was published; run it again")
            }
            ClientError::WrongChecksum { .. } => environment(
                "checksum-mismatch",
                "do not use that release; tell whoever runs the platform",
            ),
            ClientError::Denied { code, .. } if *code == "not-authenticated" => environment(
                code,
                "log in with `synapse login`, or set SYNAPSE_ACCESS_TOKEN",
            ),
            ClientError::Denied { code, .. } => environment(
                code,
                "ask for a token that may do this; `synapse whoami` shows whose it is",
            ),
            ClientError::Busy { .. } => environment(
                "rate-limited",
                "nothing was published there; wait a little, then run it again",
            ),
            ClientError::Unusable { code, hint, .. } => environment(code, hint),
            ClientError::Unavailable(_) => environment(
                "target-unavailable",
                "nothing was published there; run it again when it is back",
            ),
            ClientError::Ambiguous(_) => environment(
                "target-doubt",
                "run it again: it asks what arrived before anything is sent",
            ),
            ClientError::Cancelled => Failure::cancelled(),
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether two slots are the same place: debug releases have one place for all versions.
pub fn same_slot(a: &Slot, b: &Slot) -> bool {
    a.code == b.code
        && a.variant == b.variant
        && a.debug == b.debug
        && (a.debug || a.version == b.version)
}
