//! Owns models: files that runs made, and what is said about each.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};
use serde_json::{Map, Value};

use crate::Embedded;
use crate::error::BackendError;
use crate::files::random_hex;
use crate::page::Page;
use crate::release::{Commit, after_commit};
use crate::run::value;
use crate::upload::{Incoming, Sums, sums};

const COLUMNS: &str =
    "id, name, plugin, version, category, filename, file, size, md5, sha256, fields, created";

/// Fields that the backend itself gives; what a sender says about them is not kept.
pub(crate) const OWN: [&str; 6] = [
    "id",
    "file",
    "checksum",
    "size",
    "created",
    "chunked_upload",
];

/// A model.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// Its id.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// Code of the plugin that made it.
    pub plugin: Option<String>,
    /// Version of that plugin.
    pub version: Option<String>,
    /// `fine_tuned` or `base`, or as the sender says.
    pub category: String,
    /// The sender's name for its file.
    pub filename: String,
    /// Size of the file in bytes.
    pub size: u64,
    /// MD5 of the file, 32 hex digits.
    pub md5: String,
    /// SHA-256 of the file, 64 hex digits.
    pub sha256: String,
    /// Everything that the sender said.
    pub fields: Map<String, Value>,
    /// Unix seconds.
    pub created: i64,
    pub(crate) file: String,
}

/// Which models to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFilter {
    /// Only those of this plugin.
    pub plugin: Option<String>,
    /// At most so many.
    pub limit: u32,
    /// Without the first so many.
    pub offset: u32,
}

impl Default for ModelFilter {
    fn default() -> Self {
        Self {
            plugin: None,
            limit: u32::MAX,
            offset: 0,
        }
    }
}

impl Embedded {
    /// Records a model whose file has just arrived.
    pub(crate) fn model_create(
        &self,
        fields: &Map<String, Value>,
        filename: &str,
        mut incoming: Incoming,
    ) -> Result<Model, BackendError> {
        let failed = BackendError::database("write");
        let sums = incoming.seal()?;
        let mut conn = self.database();
        let tx = conn
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(&failed)?;
        let created = (self.options.clock)();
        let id = self
            .insert(&tx, fields, filename, incoming.name(), &sums, created)
            .map_err(&failed)?;
        self.hooks
            .at("backend.commit")
            .map_err(BackendError::stopped("write"))?;
        if let Err(error) = tx.commit() {
            match after_commit(&error, is_recorded(&conn, incoming.name())) {
                Commit::Done => {}
                Commit::NotDone => return Err(failed(error)),
                Commit::Unknown => {
                    incoming.release();
                    return Err(failed(error));
                }
            }
        }
        drop(conn);
        incoming.release();
        self.model(id)
    }

    /// Records a model of a complete upload, whose file becomes the model's.
    pub(crate) fn model_of_upload(
        &self,
        fields: &Map<String, Value>,
        id: &str,
    ) -> Result<Model, BackendError> {
        let failed = BackendError::database("write");
        let upload = self.upload(id)?;
        upload.is_unused()?;
        let (Some(file), Some(md5), Some(sha256)) = (
            upload.file.clone(),
            upload.md5.clone(),
            upload.sha256.clone(),
        ) else {
            return Err(upload.is_unended());
        };
        let sums = Sums {
            size: upload.total,
            md5,
            sha256,
        };
        let created = (self.options.clock)();
        let model = {
            let mut conn = self.database();
            let tx = conn
                .transaction_with_behavior(TransactionBehavior::Immediate)
                .map_err(&failed)?;
            let model = self
                .insert(&tx, fields, &upload.filename, &file, &sums, created)
                .map_err(&failed)?;
            // One row at a time names a file. Of two who take the same upload, one comes first.
            let taken = tx
                .execute(
                    "UPDATE upload SET file = NULL, model = ?2, touched = ?3 \
                     WHERE id = ?1 AND file IS NOT NULL",
                    params![id, model, created],
                )
                .map_err(&failed)?;
            if taken == 0 {
                return Err(BackendError::NoUpload(id.to_owned()));
            }
            self.hooks
                .at("backend.commit")
                .map_err(BackendError::stopped("write"))?;
            tx.commit().map_err(&failed)?;
            model
        };
        self.model(model)
    }

    fn insert(
        &self,
        conn: &Connection,
        fields: &Map<String, Value>,
        filename: &str,
        file: &str,
        sums: &Sums,
        created: i64,
    ) -> rusqlite::Result<i64> {
        let text = |key: &str| match fields.get(key) {
            Some(Value::String(text)) if !text.is_empty() => Some(text.clone()),
            Some(Value::Number(number)) => Some(number.to_string()),
            _ => None,
        };
        let stem = || filename.rsplit_once('.').map_or(filename, |(stem, _)| stem);
        let name = text("name").unwrap_or_else(|| stem().to_owned());
        let category = text("category").unwrap_or_else(|| "fine_tuned".to_owned());
        let mut kept = fields.clone();
        kept.retain(|key, _| !OWN.contains(&key.as_str()));
        conn.prepare_cached(
            "INSERT INTO model (name, plugin, version, category, filename, file, size, md5, sha256, \
             fields, created, tenant) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        )?
        .insert(params![
            name,
            text("plugin"),
            text("version"),
            category,
            filename,
            file,
            sums.size as i64,
            sums.md5,
            sums.sha256,
            Value::Object(kept).to_string(),
            created,
            self.tenant(),
        ])
    }

    /// A model.
    pub fn model(&self, id: i64) -> Result<Model, BackendError> {
        let conn = self.database();
        conn.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM model WHERE id = ?1 AND tenant = ?2"
        ))
        .and_then(|mut select| {
            select
                .query_row(params![id, self.tenant()], model_of)
                .optional()
        })
        .map_err(BackendError::database("read"))?
        .ok_or(BackendError::NoModel(id))
    }

    /// Models, newest first.
    pub fn models(&self, filter: &ModelFilter) -> Result<Page<Model>, BackendError> {
        const WHERE: &str = "(?1 IS NULL OR plugin = ?1) AND tenant = ?2";
        let failed = BackendError::database("read");
        let mut conn = self.database();
        // One transaction, so that the count is that of the list.
        let tx = conn.transaction().map_err(&failed)?;
        let total: i64 = tx
            .query_row(
                &format!("SELECT count(*) FROM model WHERE {WHERE}"),
                params![filter.plugin, self.tenant()],
                |row| row.get(0),
            )
            .map_err(&failed)?;
        let mut select = tx
            .prepare_cached(&format!(
                "SELECT {COLUMNS} FROM model WHERE {WHERE} ORDER BY id DESC LIMIT ?3 OFFSET ?4"
            ))
            .map_err(&failed)?;
        let rows = select
            .query_map(
                params![filter.plugin, self.tenant(), filter.limit, filter.offset],
                model_of,
            )
            .map_err(&failed)?;
        Ok(Page {
            items: rows.collect::<rusqlite::Result<_>>().map_err(&failed)?,
            total: total as u64,
        })
    }

    /// Where a model's file lies. It is read-only, and never changes.
    pub fn model_file(&self, id: i64) -> Result<PathBuf, BackendError> {
        Ok(self.files.path(&self.model(id)?.file))
    }

    /// Opens a model's file for reading.
    pub fn model_open(&self, id: i64) -> Result<(Model, File), BackendError> {
        let model = self.model(id)?;
        let path = self.files.path(&model.file);
        let file = File::open(&path).map_err(|cause| BackendError::io("read", &path, cause))?;
        Ok((model, file))
    }
}

impl Embedded {
    /// Copies a model's file to `path`, which must not be there, and makes sure of its bytes.
    /// False when a file with the same bytes is there already.
    pub fn model_save(&self, id: i64, path: &Path) -> Result<bool, BackendError> {
        let write = |cause| BackendError::io("write", path, cause);
        let (model, mut source) = self.model_open(id)?;
        if path.exists() {
            let same = File::open(path)
                .and_then(|mut file| sums(&mut file))
                .map_err(write)?;
            if same.sha256 == model.sha256 {
                return Ok(false);
            }
            let text = format!("{} is there already, with other content", path.display());
            return Err(BackendError::Refused(text));
        }
        let folder = path.parent().filter(|folder| *folder != Path::new(""));
        let new = folder
            .unwrap_or(Path::new("."))
            .join(format!(".synapse-{}", random_hex()));
        let copied = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&new)
            .and_then(|mut file| {
                io::copy(&mut source, &mut file)?;
                let copied = sums(&mut file)?;
                if copied.sha256 != model.sha256 {
                    return Err(io::Error::other("the model's file is damaged"));
                }
                // Unlike a rename, a link never replaces what came there meanwhile.
                fs::hard_link(&new, path).or_else(|error| match error.kind() {
                    io::ErrorKind::AlreadyExists => Err(error),
                    _ => fs::rename(&new, path),
                })
            });
        let _ = fs::remove_file(&new);
        copied.map_err(write)?;
        Ok(true)
    }
}

fn is_recorded(conn: &Connection, file: &str) -> rusqlite::Result<bool> {
    conn.query_row(
        "SELECT EXISTS (SELECT 1 FROM model WHERE file = ?1)",
        [file],
        |row| row.get(0),
    )
}

fn model_of(row: &Row<'_>) -> rusqlite::Result<Model> {
    let fields = match value(&row.get::<_, String>(10)?) {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    Ok(Model {
        id: row.get(0)?,
        name: row.get(1)?,
        plugin: row.get(2)?,
        version: row.get(3)?,
        category: row.get(4)?,
        filename: row.get(5)?,
        file: row.get(6)?,
        size: row.get::<_, i64>(7)? as u64,
        md5: row.get(8)?,
        sha256: row.get(9)?,
        fields,
        created: row.get(11)?,
    })
}
