//! Owns jobs: runs of releases that somebody asks an agent for, under a name of the asker's own
//! choice, so that asking twice makes one.

use std::cmp::Reverse;

use rusqlite::{OptionalExtension, TransactionBehavior, params};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use synapse_rules::client::{Backend, Release};
use synapse_rules::version::Version;

use crate::Embedded;
use crate::error::BackendError;
use crate::run::{LOST_JOB, Run, RunEvent, RunStatus, RunUpdate, identity, lost};

/// What there is instead of something that was named is listed up to here.
const LISTED: usize = 8;

/// What stands for the version of the debug release.
const DEBUG: &str = "debug";

/// What is asked of an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    /// Plugin code.
    pub plugin: String,
    /// Version, or `debug` for the debug release; the newest formal release when absent.
    pub version: Option<String>,
    /// Customer variant.
    pub variant: Option<String>,
    /// Where no formal release fits, the debug one is meant.
    pub debug: bool,
    /// Name of the action.
    pub action: String,
    /// Its parameters.
    pub params: Value,
    /// Language of messages.
    pub language: Option<String>,
    /// Which agent.
    pub agent: i64,
}

impl Asked {
    fn slot(&self) -> String {
        self.variant.as_ref().map_or_else(
            || format!("plugin `{}`", self.plugin),
            |variant| format!("plugin `{}` (variant `{variant}`)", self.plugin),
        )
    }
}

impl RunUpdate {
    /// A job whose server is gone has failed.
    pub fn lost() -> Self {
        Self {
            status: Some(RunStatus::Failed),
            error: Some(lost(LOST_JOB)),
            ..Self::default()
        }
    }
}

impl Embedded {
    /// The job of that name, if there is one; refuses a name that was used for something else.
    pub fn job_known(&self, client_id: &str, asked: &Asked) -> Result<Option<Run>, BackendError> {
        let failed = BackendError::database("read");
        let found = {
            let conn = self.database();
            conn.prepare_cached("SELECT id, asked FROM run WHERE tenant = ?1 AND client_id = ?2")
                .and_then(|mut select| {
                    let row = |row: &rusqlite::Row<'_>| {
                        Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
                    };
                    select.query_row([self.tenant(), client_id], row).optional()
                })
                .map_err(failed)?
        };
        let Some((id, before)) = found else {
            return Ok(None);
        };
        if serde_json::from_str::<Asked>(&before).ok().as_ref() != Some(asked) {
            let text = format!("the name {client_id:?} was used for job {id}, which is another");
            return Err(BackendError::Taken(text));
        }
        self.run(id).map(Some)
    }

    /// The release that is meant, which has the action; else what there is.
    pub fn job_release(&self, asked: &Asked) -> Result<Release, BackendError> {
        let read = |error: synapse_rules::client::ClientError| BackendError::Database {
            doing: "read",
            reason: error.to_string(),
        };
        let all = self.releases(&asked.plugin).map_err(read)?;
        if all.is_empty() {
            let mut codes: Vec<String> = self
                .all()
                .map_err(read)?
                .into_iter()
                .map(|release| release.slot.code)
                .collect();
            codes.sort_unstable();
            codes.dedup();
            let there = listed(codes, "no plugin is published here");
            let text = format!("there is no plugin `{}`; {there}", asked.plugin);
            return Err(BackendError::Missing(text));
        }
        let newest = |release: &&Release| release.slot.version.parse::<Version>().ok();
        let version = asked.version.as_deref();
        let of_variant = |release: &&Release| release.slot.variant == asked.variant;
        let fits = |release: &&Release| {
            let own = release.slot.version.as_str();
            version.is_none_or(|version| version == own || (version == DEBUG && release.slot.debug))
        };
        let mut all_fit = all.iter().filter(of_variant).filter(fits);
        let formal = all_fit.clone().filter(|release| !release.slot.debug);
        let with_debug = asked.debug || version == Some(DEBUG);
        let found = formal
            .max_by_key(newest)
            .or_else(|| all_fit.find(|release| with_debug && release.slot.debug));
        let Some(release) = found else {
            let wanted = match version {
                None if asked.debug => "release".to_owned(),
                None => "formal release".to_owned(),
                Some(DEBUG) => "debug release".to_owned(),
                Some(version) => format!("release {version}"),
            };
            let mut known: Vec<&Release> = all.iter().collect();
            known.sort_by_key(|release| Reverse(newest(release)));
            let known = known.into_iter().map(title).collect();
            let there = listed(known, "it has none");
            let text = format!("{} has no {wanted}; {there}", asked.slot());
            return Err(BackendError::Missing(text));
        };
        let config = self.release(&release.id)?.config;
        let actions = config["actions"].as_object();
        if !actions.is_some_and(|actions| actions.contains_key(&asked.action)) {
            let names = actions.into_iter().flatten().map(|(name, _)| name.clone());
            let there = listed(names.collect(), "it has none");
            let text = format!("Action not found: {}; {there}", asked.action);
            return Err(BackendError::Refused(text));
        }
        Ok(release.clone())
    }

    /// Records a job, which is pending and ends with this process; false when one of that name,
    /// which is returned instead, came first.
    pub fn job_create(
        &self,
        asked: &Asked,
        release: &Release,
        client_id: Option<&str>,
    ) -> Result<(Run, bool), BackendError> {
        let failed = BackendError::database("write");
        let pid = std::process::id();
        let text = serde_json::to_string(asked).unwrap_or_default();
        let id = {
            let mut conn = self.database();
            let tx = conn
                .transaction_with_behavior(TransactionBehavior::Immediate)
                .map_err(&failed)?;
            let taken = |error: &rusqlite::Error| {
                error.sqlite_error().is_some_and(|error| {
                    error.extended_code == rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE
                })
            };
            let inserted = tx
                .prepare_cached(
                    "INSERT INTO run (plugin, version, action, mode, status, params, meta, pid, \
                     process, created, client_id, agent, asked, tenant) \
                     VALUES (?1, ?2, ?3, 'remote', ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
                )
                .and_then(|mut insert| {
                    insert.insert(params![
                        asked.plugin,
                        release.slot.version,
                        asked.action,
                        RunStatus::Pending.as_str(),
                        asked.params.to_string(),
                        meta(release).to_string(),
                        pid,
                        identity(pid),
                        self.now(),
                        client_id,
                        asked.agent,
                        text,
                        self.tenant(),
                    ])
                });
            match inserted {
                Ok(id) => {
                    self.hooks
                        .at("backend.commit")
                        .map_err(BackendError::stopped("write"))?;
                    tx.commit().map_err(&failed)?;
                    Some(id)
                }
                Err(error) if taken(&error) => None,
                Err(error) => return Err(failed(error)),
            }
        };
        match (id, client_id) {
            (Some(id), _) => {
                self.output_folder()?;
                Ok((self.run(id)?, true))
            }
            (None, Some(client_id)) => match self.job_known(client_id, asked)? {
                Some(run) => Ok((run, false)),
                None => Err(BackendError::Busy),
            },
            (None, None) => Err(BackendError::Busy),
        }
    }

    /// Records as failed what agents ran in processes that are gone, whoever asked for it, and
    /// says so in its log. Returns how many there were.
    pub fn jobs_lost(&self) -> Result<u64, BackendError> {
        let mut count = 0;
        for (id, tenant) in self.jobs_going()? {
            let own = self.of_tenant(&tenant);
            if own.run(id)?.is_lost() {
                count += u64::from(own.job_lost(id)?);
            }
        }
        Ok(count)
    }

    /// Jobs of agents that are not over, as far as their records say, each with its tenant.
    pub(crate) fn jobs_going(&self) -> Result<Vec<(i64, String)>, BackendError> {
        let failed = BackendError::database("read");
        let conn = self.database();
        let mut select = conn
            .prepare_cached(
                "SELECT id, tenant FROM run \
                 WHERE agent IS NOT NULL AND status IN ('PENDING', 'RUNNING')",
            )
            .map_err(&failed)?;
        let rows = select
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .map_err(&failed)?;
        rows.collect::<rusqlite::Result<_>>().map_err(&failed)
    }

    /// Records a job as failed with the server that ran it; false when it was over.
    pub fn job_lost(&self, id: i64) -> Result<bool, BackendError> {
        self.job_end(id, &RunUpdate::lost(), Some(("error", LOST_JOB)))
    }

    /// Ends a job unless it is over; says why in its log. False when it was over.
    pub fn job_end(
        &self,
        id: i64,
        update: &RunUpdate,
        said: Option<(&str, &str)>,
    ) -> Result<bool, BackendError> {
        // Written before the end: who follows stops reading there.
        if let Some((level, text)) = said
            && !self.recorded_run(id)?.status.is_over()
        {
            self.run_append(id, &[RunEvent::message(self.now(), level, text)])?;
        }
        self.run_update_if(id, &|run| !run.status.is_over(), update)
    }
}

/// What is known of a job from the beginning.
fn meta(release: &Release) -> Value {
    serde_json::json!({
        "release": release.id,
        "variant": release.slot.variant,
        "debug": release.slot.debug,
    })
}

fn title(release: &Release) -> String {
    let slot = &release.slot;
    let mut text = slot.version.clone();
    if let Some(variant) = &slot.variant {
        text = format!("{text}+{variant}");
    }
    if slot.debug {
        text.push_str(" (debug)");
    }
    text
}

fn listed(names: Vec<String>, none: &str) -> String {
    if names.is_empty() {
        return none.to_owned();
    }
    let more = names.len().saturating_sub(LISTED);
    let shown: Vec<String> = names.into_iter().take(LISTED).collect();
    match more {
        0 => format!("there is {}", shown.join(", ")),
        more => format!("there is {} and {more} more", shown.join(", ")),
    }
}
