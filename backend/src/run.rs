//! Owns runs: what was run with which parameters, how far it is, what came of it, and the events
//! on the way.

mod process;

pub(crate) use self::process::{identity, is_dead};

use std::fmt;
use std::path::PathBuf;

use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};
use serde_json::{Map, Value, json};

use crate::Embedded;
use crate::error::BackendError;
use crate::page::Page;

/// The folder of what runs printed, in the data folder.
pub(crate) const FOLDER: &str = "runs";

/// What is said of a run whose process is gone.
const LOST: &str = "the process ended without a word";
/// What is said of a job whose server is gone.
pub(crate) const LOST_JOB: &str = "the server that ran it stopped before it had ended";
/// The kind of error of both.
const LOST_KIND: &str = "lost";

const COLUMNS: &str = "id, plugin, version, action, mode, status, params, meta, progress, metrics, \
     result, error, exit, pid, process, created, started, finished, client_id, agent";

/// How a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RunStatus {
    /// Not started yet.
    Pending,
    /// Going on.
    Running,
    /// Ended from outside.
    Stopped,
    /// Ended well.
    Succeeded,
    /// Ended with an error.
    Failed,
}

impl RunStatus {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Pending,
        Self::Running,
        Self::Stopped,
        Self::Succeeded,
        Self::Failed,
    ];

    /// As the platform writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Stopped => "STOPPED",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
        }
    }

    /// The status that the platform writes so.
    pub fn read(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }

    /// Whether nothing more comes.
    pub fn is_over(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }
}

impl fmt::Display for RunStatus {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// A run to be recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct NewRun {
    /// Plugin code.
    pub plugin: String,
    /// Version of the plugin.
    pub version: String,
    /// Name of the action.
    pub action: String,
    /// Where it runs, such as `local`.
    pub mode: String,
    /// Its parameters.
    pub params: Value,
    /// Anything else, an object.
    pub meta: Value,
    /// The process whose end means the end of the run.
    pub pid: Option<u32>,
    /// It begins at once; else it is pending.
    pub begins: bool,
    /// When it was asked for, Unix seconds; now when absent.
    pub time: Option<f64>,
}

/// A run.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Its id.
    pub id: i64,
    /// Plugin code.
    pub plugin: String,
    /// Version of the plugin.
    pub version: String,
    /// Name of the action.
    pub action: String,
    /// Where it runs, such as `local`.
    pub mode: String,
    /// How it stands. A run whose process is gone has failed, whatever was recorded last.
    pub status: RunStatus,
    /// Its parameters.
    pub params: Value,
    /// Anything else, an object.
    pub meta: Value,
    /// Progress by step; null when none was told.
    pub progress: Value,
    /// Metrics by step or category; null when there are none.
    pub metrics: Value,
    /// What the action returned; null when it did not.
    pub result: Value,
    /// Why it failed: an object with at least `kind` and `message`.
    pub error: Option<Value>,
    /// Exit code of its process.
    pub exit: Option<i32>,
    /// Its process.
    pub pid: Option<u32>,
    /// When it was recorded, Unix seconds.
    pub created: f64,
    /// When it started.
    pub started: Option<f64>,
    /// When it ended; unknown of one whose process is gone.
    pub finished: Option<f64>,
    /// The name that the asker chose for it.
    pub client_id: Option<String>,
    /// The agent that runs it.
    pub agent: Option<i64>,
}

impl Run {
    /// Whether it ended with its process, or with the server that ran it.
    pub fn is_lost(&self) -> bool {
        let kind = self.error.as_ref().and_then(|error| error.get("kind"));
        kind.and_then(Value::as_str) == Some(LOST_KIND)
    }
}

/// Something that happened in a run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunEvent {
    /// When, Unix seconds.
    pub time: f64,
    /// What kind: `log`, `progress`, `metrics`, `metric`, `visualization`, or any other.
    pub kind: String,
    /// How serious: `debug`, `info`, `success`, `warning`, `danger`, `error`, `critical`.
    pub level: Option<String>,
    /// In which step.
    pub step: Option<String>,
    /// The rest, by kind. Of a `log`: `event`, `data`, and `file` when there is one.
    pub data: Value,
}

impl RunEvent {
    /// A message for people.
    pub fn message(time: f64, level: &str, text: &str) -> Self {
        Self {
            time,
            kind: "log".to_owned(),
            level: Some(level.to_owned()),
            step: None,
            data: json!({"event": "message", "data": {"content": text}}),
        }
    }

    /// Name of the event within its kind, for a `log`.
    pub fn event(&self) -> Option<&str> {
        self.data.get("event").and_then(Value::as_str)
    }

    /// The text for people, of events that have one.
    pub fn text(&self) -> Option<&str> {
        let data = self.data.get("data")?;
        data.get("content").and_then(Value::as_str)
    }
}

/// What changes about a run; what is `None` stays.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunUpdate {
    /// How it stands now. A run that is over stays over.
    pub status: Option<RunStatus>,
    /// Progress, whole.
    pub progress: Option<Value>,
    /// Metrics, whole.
    pub metrics: Option<Value>,
    /// What the action returned.
    pub result: Option<Value>,
    /// Why it failed.
    pub error: Option<Value>,
    /// Exit code of its process.
    pub exit: Option<i32>,
    /// An object, whose keys are added to those there are.
    pub meta: Option<Value>,
    /// When the status changed, Unix seconds; now when absent.
    pub time: Option<f64>,
}

/// Which runs to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFilter {
    /// Only those of this plugin.
    pub plugin: Option<String>,
    /// Only those that were recorded so.
    pub status: Option<RunStatus>,
    /// Only the one of this name that its asker chose.
    pub client_id: Option<String>,
    /// At most so many.
    pub limit: u32,
    /// Without the first so many.
    pub offset: u32,
}

impl Default for RunFilter {
    fn default() -> Self {
        Self {
            plugin: None,
            status: None,
            client_id: None,
            limit: 100,
            offset: 0,
        }
    }
}

impl Embedded {
    /// Records a run, and returns its id. It is pending, or running where it begins at once.
    pub fn run_create(&self, new: &NewRun) -> Result<i64, BackendError> {
        let failed = BackendError::database("write");
        let created = new.time.unwrap_or_else(|| self.now());
        let process = new.pid.and_then(process::identity);
        let (status, started) = if new.begins {
            (RunStatus::Running, Some(created))
        } else {
            (RunStatus::Pending, None)
        };
        self.hooks
            .at("backend.commit")
            .map_err(BackendError::stopped("write"))?;
        let id = {
            let conn = self.database();
            conn.prepare_cached(
                "INSERT INTO run (plugin, version, action, mode, status, params, meta, pid, \
                 process, created, started, tenant) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            )
            .and_then(|mut insert| {
                insert.insert(params![
                    new.plugin,
                    new.version,
                    new.action,
                    new.mode,
                    status.as_str(),
                    new.params.to_string(),
                    object(&new.meta).to_string(),
                    new.pid,
                    process,
                    created,
                    started,
                    self.tenant(),
                ])
            })
            .map_err(failed)?
        };
        self.output_folder()?;
        Ok(id)
    }

    /// Appends events to a run, all or none. Id 0 takes those that belong to no run.
    pub fn run_append(&self, id: i64, events: &[RunEvent]) -> Result<(), BackendError> {
        let failed = BackendError::database("write");
        let mut conn = self.database();
        let tx = conn
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(&failed)?;
        if id != 0 && !exists(&tx, id, self.tenant()).map_err(&failed)? {
            return Err(BackendError::NoRun(id));
        }
        append(&tx, id, events).map_err(&failed)?;
        self.hooks
            .at("backend.commit")
            .map_err(BackendError::stopped("write"))?;
        tx.commit().map_err(failed)
    }

    /// The file for what a run printed. Its folder is there, the file is made by who writes it.
    pub fn run_output(&self, id: i64) -> PathBuf {
        self.dir.join(FOLDER).join(format!("{id}.log"))
    }

    /// Changes what is recorded of a run.
    pub fn run_update(&self, id: i64, update: &RunUpdate) -> Result<(), BackendError> {
        self.run_update_if(id, &|_| true, update).map(drop)
    }

    /// The same, if the run is still as `fits` has it; false when it is not.
    pub fn run_update_if(
        &self,
        id: i64,
        fits: &dyn Fn(&Run) -> bool,
        update: &RunUpdate,
    ) -> Result<bool, BackendError> {
        let failed = BackendError::database("write");
        let now = update.time.unwrap_or_else(|| self.now());
        let mut conn = self.database();
        let tx = conn
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(&failed)?;
        let (found, _) = find(&tx, id, self.tenant())
            .map_err(&failed)?
            .ok_or(BackendError::NoRun(id))?;
        if !fits(&found) {
            return Ok(false);
        }
        let before = found.status;
        let status = update.status.unwrap_or(before);
        if before.is_over() && !status.is_over() {
            let text = format!("run {id} is over ({before}); it cannot be {status} again");
            return Err(BackendError::Refused(text));
        }
        let meta = update.meta.as_ref().map(|added| {
            let mut whole = object(&found.meta);
            for (key, value) in object(added).as_object().into_iter().flatten() {
                whole[key] = value.clone();
            }
            whole.to_string()
        });
        let text = |value: &Option<Value>| value.as_ref().map(Value::to_string);
        // A job that ends before its turn came never started.
        let began = found.agent.is_none() || [before, status].contains(&RunStatus::Running);
        let starts = status != RunStatus::Pending && began;
        tx.execute(
            "UPDATE run SET status = ?2, progress = coalesce(?3, progress), \
             metrics = coalesce(?4, metrics), result = coalesce(?5, result), \
             error = coalesce(?6, error), exit = coalesce(?7, exit), meta = coalesce(?8, meta), \
             started = CASE WHEN started IS NULL AND ?9 THEN ?11 ELSE started END, \
             finished = CASE WHEN finished IS NULL AND ?10 THEN ?11 ELSE finished END \
             WHERE id = ?1",
            params![
                id,
                status.as_str(),
                text(&update.progress),
                text(&update.metrics),
                text(&update.result),
                text(&update.error),
                update.exit,
                meta,
                starts,
                status.is_over(),
                now,
            ],
        )
        .map_err(&failed)?;
        self.hooks
            .at("backend.commit")
            .map_err(BackendError::stopped("write"))?;
        tx.commit().map_err(failed)?;
        Ok(true)
    }

    /// A run.
    pub fn run(&self, id: i64) -> Result<Run, BackendError> {
        let recorded = self.recorded(id)?.ok_or(BackendError::NoRun(id))?;
        self.judged(recorded)
    }

    /// Runs, newest first.
    pub fn runs(&self, filter: &RunFilter) -> Result<Page<Run>, BackendError> {
        const WHERE: &str = "(?1 IS NULL OR plugin = ?1) AND (?2 IS NULL OR status = ?2) \
             AND (?3 IS NULL OR client_id = ?3) AND tenant = ?4";
        let failed = BackendError::database("read");
        let status = filter.status.map(RunStatus::as_str);
        let (total, items): (i64, Vec<Recorded>) = {
            let mut conn = self.database();
            // One transaction, so that the count is that of the list.
            let tx = conn.transaction().map_err(&failed)?;
            let total = tx
                .query_row(
                    &format!("SELECT count(*) FROM run WHERE {WHERE}"),
                    params![filter.plugin, status, filter.client_id, self.tenant()],
                    |row| row.get(0),
                )
                .map_err(&failed)?;
            let mut select = tx
                .prepare_cached(&format!(
                    "SELECT {COLUMNS} FROM run WHERE {WHERE} ORDER BY id DESC LIMIT ?5 OFFSET ?6"
                ))
                .map_err(&failed)?;
            let rows = select
                .query_map(
                    params![
                        filter.plugin,
                        status,
                        filter.client_id,
                        self.tenant(),
                        filter.limit,
                        filter.offset
                    ],
                    recorded,
                )
                .map_err(&failed)?;
            let items = rows.collect::<rusqlite::Result<_>>().map_err(&failed)?;
            (total, items)
        };
        let items = items.into_iter().map(|recorded| self.judged(recorded));
        Ok(Page {
            items: items.collect::<Result<_, _>>()?,
            total: total as u64,
        })
    }

    /// A run as it was recorded last, whatever became of its process.
    pub(crate) fn recorded_run(&self, id: i64) -> Result<Run, BackendError> {
        let recorded = self.recorded(id)?.ok_or(BackendError::NoRun(id))?;
        Ok(recorded.0)
    }

    fn recorded(&self, id: i64) -> Result<Option<Recorded>, BackendError> {
        find(&self.database(), id, self.tenant()).map_err(BackendError::database("read"))
    }

    /// What is to be said of a run: one whose process is gone has failed.
    fn judged(&self, (mut run, identity): Recorded) -> Result<Run, BackendError> {
        let gone = |pid| process::is_dead(pid, identity.as_deref());
        if run.status.is_over() || !run.pid.is_some_and(gone) {
            return Ok(run);
        }
        // Its last words may have been recorded since it was looked up.
        if let Some((now, _)) = self.recorded(run.id)? {
            run = now;
        }
        if !run.status.is_over() {
            run.status = RunStatus::Failed;
            let what = if run.agent.is_some() { LOST_JOB } else { LOST };
            run.error = Some(lost(what));
        }
        Ok(run)
    }

    /// At most `limit` events of a run after the one numbered `after`, in order, each with its
    /// number. Numbers start at 1.
    pub fn run_events(
        &self,
        id: i64,
        after: i64,
        limit: u32,
    ) -> Result<Vec<(i64, RunEvent)>, BackendError> {
        let failed = BackendError::database("read");
        let conn = self.database();
        let mut select = conn
            .prepare_cached(
                "SELECT seq, time, kind, level, step, data FROM run_event \
                 WHERE run = ?1 AND seq > ?2 AND run IN (SELECT id FROM run WHERE tenant = ?4) \
                 ORDER BY seq LIMIT ?3",
            )
            .map_err(&failed)?;
        let rows = select
            .query_map(params![id, after, limit, self.tenant()], |row| {
                let event = RunEvent {
                    time: row.get(1)?,
                    kind: row.get(2)?,
                    level: row.get(3)?,
                    step: row.get(4)?,
                    data: value(&row.get::<_, String>(5)?),
                };
                Ok((row.get(0)?, event))
            })
            .map_err(&failed)?;
        rows.collect::<rusqlite::Result<_>>().map_err(failed)
    }

    pub(crate) fn now(&self) -> f64 {
        (self.options.fine_clock)()
    }

    pub(crate) fn output_folder(&self) -> Result<(), BackendError> {
        use std::os::unix::fs::DirBuilderExt;
        let path = self.dir.join(FOLDER);
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .map_err(|cause| BackendError::io("make", &path, cause))
    }
}

/// The error of what ended without a word.
pub(crate) fn lost(message: &str) -> Value {
    json!({"kind": LOST_KIND, "message": message})
}

fn find(conn: &Connection, id: i64, tenant: &str) -> rusqlite::Result<Option<Recorded>> {
    let sql = format!("SELECT {COLUMNS} FROM run WHERE id = ?1 AND tenant = ?2");
    conn.prepare_cached(&sql)?
        .query_row(params![id, tenant], recorded)
        .optional()
}

fn exists(conn: &Connection, id: i64, tenant: &str) -> rusqlite::Result<bool> {
    conn.prepare_cached("SELECT 1 FROM run WHERE id = ?1 AND tenant = ?2")?
        .exists(params![id, tenant])
}

fn append(conn: &Connection, id: i64, events: &[RunEvent]) -> rusqlite::Result<()> {
    let last: i64 = conn
        .prepare_cached("SELECT coalesce(max(seq), 0) FROM run_event WHERE run = ?1")?
        .query_row([id], |row| row.get(0))?;
    let mut insert =
        conn.prepare_cached("INSERT INTO run_event VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
    for (seq, event) in (last + 1..).zip(events) {
        // SQLite would take not-a-number for NULL.
        let time = if event.time.is_finite() {
            event.time
        } else {
            0.0
        };
        let data = event.data.to_string();
        insert.execute(params![
            id,
            seq,
            time,
            event.kind,
            event.level,
            event.step,
            data
        ])?;
    }
    Ok(())
}

/// A run, and the identity of its process.
type Recorded = (Run, Option<String>);

fn recorded(row: &Row<'_>) -> rusqlite::Result<Recorded> {
    let json = |index: usize| {
        row.get::<_, Option<String>>(index)
            .map(|text| text.map_or(Value::Null, |text| value(&text)))
    };
    let status: String = row.get(5)?;
    let run = Run {
        id: row.get(0)?,
        plugin: row.get(1)?,
        version: row.get(2)?,
        action: row.get(3)?,
        mode: row.get(4)?,
        status: RunStatus::read(&status).unwrap_or(RunStatus::Failed),
        params: json(6)?,
        meta: json(7)?,
        progress: json(8)?,
        metrics: json(9)?,
        result: json(10)?,
        error: Some(json(11)?).filter(|error| !error.is_null()),
        exit: row.get(12)?,
        pid: row.get(13)?,
        created: row.get(15)?,
        started: row.get(16)?,
        finished: row.get(17)?,
        client_id: row.get(18)?,
        agent: row.get(19)?,
    };
    Ok((run, row.get(14)?))
}

/// JSON as it was stored; what is none any more is shown as the text it is.
pub(crate) fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

fn object(value: &Value) -> Value {
    if value.is_object() {
        value.clone()
    } else {
        Value::Object(Map::new())
    }
}
