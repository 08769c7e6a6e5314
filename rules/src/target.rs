//! Owns [`Target`]: one place a publish goes to, with what is known of it during one command.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError, atomic::Ordering},
};

use synapse_engine::{Digest, Failure, store::Ledger};

use crate::{
    client::{Backend, ClientError, Release, Slot},
    counters::Counters,
};

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
    releases: OnceLock<Result<HashMap<String, Vec<Release>>, ClientError>>,
    contents: Mutex<HashMap<String, Digest>>,
}

impl Target {
    /// A target that nothing is known of yet.
    pub fn new(
        name: &str,
        backend: Arc<dyn Backend>,
        ledger: Arc<Ledger>,
        counters: Arc<Counters>,
        embedded: bool,
    ) -> Self {
        let (releases, contents) = (OnceLock::new(), Mutex::default());
        Self {
            name: name.to_owned(),
            backend,
            ledger,
            counters,
            embedded,
            releases,
            contents,
        }
    }

    /// Counts a call that crosses the network.
    pub fn request(&self) {
        if !self.embedded {
            self.counters.requests.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// All releases of a plugin as they were when the command first asked, oldest first.
    pub fn releases(&self, code: &str) -> Result<&[Release], Failure> {
        let all = self.releases.get_or_init(|| {
            self.request();
            let mut by_code: HashMap<String, Vec<Release>> = HashMap::new();
            for release in self.backend.all()? {
                by_code
                    .entry(release.slot.code.clone())
                    .or_default()
                    .push(release);
            }
            Ok(by_code)
        });
        match all {
            Ok(all) => Ok(all.get(code).map_or(&[], Vec::as_slice)),
            Err(error) => Err(self.failure(error)),
        }
    }

    /// Asks for the releases ahead of need; what goes wrong shows when they are needed.
    pub fn prefetch(&self) {
        let _ = self.releases("");
    }

    /// The release in a slot when the command first asked.
    pub fn in_slot(&self, slot: &Slot) -> Result<Option<&Release>, Failure> {
        Ok(self
            .releases(&slot.code)?
            .iter()
            .rev()
            .find(|release| same_slot(&release.slot, slot)))
    }

    /// The release in a slot now.
    pub fn find(&self, slot: &Slot) -> Result<Option<Release>, Failure> {
        self.request();
        self.backend
            .find(slot)
            .map_err(|error| self.failure(&error))
    }

    /// The content digest of a release.
    pub fn content(&self, release: &Release) -> Result<Digest, Failure> {
        if let Some(content) = release.content {
            return Ok(content);
        }
        let known = || self.contents.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(content) = known().get(&release.id) {
            return Ok(*content);
        }
        self.request();
        let content = self
            .backend
            .content(release)
            .map_err(|error| self.failure(&error))?;
        known().insert(release.id.clone(), content);
        Ok(content)
    }

    /// A client's refusal as a failure.
    pub fn failure(&self, error: &ClientError) -> Failure {
        let name = &self.name;
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
                Failure::environment("checksum-mismatch", error.to_string())
                    .at(name.clone())
                    .hint("nothing was published; run it again")
            }
            ClientError::Unavailable(_) => {
                Failure::environment("target-unavailable", error.to_string())
                    .at(name.clone())
                    .hint("nothing was published there; run it again when it is back")
            }
            ClientError::Ambiguous(_) => Failure::environment("target-doubt", error.to_string())
                .at(name.clone())
                .hint("run it again: it asks what arrived before anything is sent"),
        }
    }
}

/// Whether two slots are the same place: debug releases have one place for all versions.
pub fn same_slot(a: &Slot, b: &Slot) -> bool {
    a.code == b.code
        && a.variant == b.variant
        && a.debug == b.debug
        && (a.debug || a.version == b.version)
}
