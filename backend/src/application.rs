//! Owns applications that serve, as whoever deploys them says they are. This backend records them
//! and deploys nothing itself.

use rusqlite::{OptionalExtension, Row, params};
use serde_json::{Map, Value};

use crate::Embedded;
use crate::error::BackendError;
use crate::page::Page;
use crate::run::value;

const COLUMNS: &str = "id, name, status, job, fields, created";

/// How an application stands, in the words of Ray Serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApplicationStatus {
    /// Nobody deployed it yet.
    NotStarted,
    /// It is being deployed.
    Deploying,
    /// It answers.
    Running,
    /// It is there and does not answer as it should.
    Unhealthy,
    /// It could not be deployed.
    DeployFailed,
    /// It is being taken away.
    Deleting,
}

impl ApplicationStatus {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::NotStarted,
        Self::Deploying,
        Self::Running,
        Self::Unhealthy,
        Self::DeployFailed,
        Self::Deleting,
    ];

    /// As Ray writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotStarted => "NOT_STARTED",
            Self::Deploying => "DEPLOYING",
            Self::Running => "RUNNING",
            Self::Unhealthy => "UNHEALTHY",
            Self::DeployFailed => "DEPLOY_FAILED",
            Self::Deleting => "DELETING",
        }
    }

    /// The status that Ray writes so.
    pub fn read(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

/// An application.
#[derive(Debug, Clone, PartialEq)]
pub struct Application {
    /// Its id.
    pub id: i64,
    /// Its name. Deployed anew, it is another application of the same name.
    pub name: String,
    /// How it stands, as it was said.
    pub status: ApplicationStatus,
    /// The run that deployed it.
    pub job: Option<i64>,
    /// Everything else that was said.
    pub fields: Map<String, Value>,
    /// Unix seconds.
    pub created: i64,
}

impl Embedded {
    /// Records an application. Its run, where one is named, must be there.
    pub(crate) fn application_create(
        &self,
        name: &str,
        status: ApplicationStatus,
        job: Option<i64>,
        fields: &Map<String, Value>,
    ) -> Result<Application, BackendError> {
        if let Some(job) = job {
            self.run(job)?;
        }
        self.hooks
            .at("backend.commit")
            .map_err(BackendError::stopped("write"))?;
        let id = {
            let conn = self.database();
            conn.prepare_cached(
                "INSERT INTO serve_application (tenant, name, status, job, fields, created) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )
            .and_then(|mut insert| {
                insert.insert(params![
                    self.tenant(),
                    name,
                    status.as_str(),
                    job,
                    Value::Object(fields.clone()).to_string(),
                    (self.options.clock)(),
                ])
            })
            .map_err(BackendError::database("write"))?
        };
        self.application(id)
    }

    /// An application.
    pub fn application(&self, id: i64) -> Result<Application, BackendError> {
        let conn = self.database();
        let sql = format!("SELECT {COLUMNS} FROM serve_application WHERE id = ?1 AND tenant = ?2");
        conn.prepare_cached(&sql)
            .and_then(|mut select| {
                select
                    .query_row(params![id, self.tenant()], application_of)
                    .optional()
            })
            .map_err(BackendError::database("read"))?
            .ok_or(BackendError::NoApplication(id))
    }

    /// Applications, newest first; only those of a name where one is given.
    pub fn applications(
        &self,
        name: Option<&str>,
        limit: u32,
        offset: u32,
    ) -> Result<Page<Application>, BackendError> {
        const WHERE: &str = "(?1 IS NULL OR name = ?1) AND tenant = ?2";
        let failed = BackendError::database("read");
        let mut conn = self.database();
        // One transaction, so that the count is that of the list.
        let tx = conn.transaction().map_err(&failed)?;
        let total: i64 = tx
            .query_row(
                &format!("SELECT count(*) FROM serve_application WHERE {WHERE}"),
                params![name, self.tenant()],
                |row| row.get(0),
            )
            .map_err(&failed)?;
        let mut select = tx
            .prepare_cached(&format!(
                "SELECT {COLUMNS} FROM serve_application WHERE {WHERE} \
                 ORDER BY id DESC LIMIT ?3 OFFSET ?4"
            ))
            .map_err(&failed)?;
        let rows = select
            .query_map(params![name, self.tenant(), limit, offset], application_of)
            .map_err(&failed)?;
        Ok(Page {
            items: rows.collect::<rusqlite::Result<_>>().map_err(&failed)?,
            total: total as u64,
        })
    }

    /// Forgets an application.
    pub fn application_delete(&self, id: i64) -> Result<(), BackendError> {
        self.hooks
            .at("backend.commit")
            .map_err(BackendError::stopped("write"))?;
        let gone = self
            .database()
            .execute(
                "DELETE FROM serve_application WHERE id = ?1 AND tenant = ?2",
                params![id, self.tenant()],
            )
            .map_err(BackendError::database("write"))?;
        if gone == 0 {
            return Err(BackendError::NoApplication(id));
        }
        Ok(())
    }
}

fn application_of(row: &Row<'_>) -> rusqlite::Result<Application> {
    let fields = match value(&row.get::<_, String>(4)?) {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    let status: String = row.get(2)?;
    Ok(Application {
        id: row.get(0)?,
        name: row.get(1)?,
        status: ApplicationStatus::read(&status).unwrap_or(ApplicationStatus::NotStarted),
        job: row.get(3)?,
        fields,
        created: row.get(5)?,
    })
}
