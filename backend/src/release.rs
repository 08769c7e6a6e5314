//! Owns releases: making one, finding them, handing out and deleting them, and the client trait
//! through which publishing sees all that.

use std::fs::File;
use std::io;

use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, ToSql, TransactionBehavior, params};
use serde::ser::{SerializeMap, Serializer};
use synapse_engine::Digest;
use synapse_rules::archive;
use synapse_rules::client::{Backend, ClientError, Release, Slot, Upload};

use crate::error::{BackendError, plain_sql};
use crate::files::Kept;
use crate::token::DEFAULT_TENANT;
use crate::{CONTENT_KEY, Embedded, validate};

const COLUMNS: &str =
    "id, code, variant, version, debug, content, md5, size, file, created, blake3";

/// Finds by slot. The expression is the one in the index, without which it would not be used.
const IN_SLOT: &str = "code = ?1 AND variant = ?2 AND debug = ?3
    AND CASE debug WHEN 1 THEN '' ELSE version END = ?4";

/// A release with all that was sent along.
#[derive(Debug, Clone, PartialEq)]
pub struct Details {
    /// What every list of releases says.
    pub release: Release,
    /// BLAKE3 of the ZIP.
    pub blake3: Digest,
    /// SHA-256 of the ZIP, 64 hex digits.
    pub sha256: String,
    /// The configuration, with the content digest under [`CONTENT_KEY`].
    pub config: serde_json::Value,
    /// The text of README.
    pub readme: Option<String>,
    /// The text of requirements.txt.
    pub requirements: Option<String>,
}

/// A row of `release`, without its texts.
pub(crate) struct Stored {
    pub(crate) release: Release,
    pub(crate) file: String,
    pub(crate) blake3: Digest,
}

/// How a commit ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Commit {
    Done,
    NotDone,
    Unknown,
}

impl Backend for Embedded {
    fn identity(&self) -> String {
        // Part of the keys of what was sent, which there were before tenants.
        match self.tenant() {
            DEFAULT_TENANT => "embedded".to_owned(),
            tenant => format!("embedded:{tenant}"),
        }
    }

    fn releases(&self, code: &str) -> Result<Vec<Release>, ClientError> {
        let rows = self.select("code = ?1", &[&code])?;
        Ok(self.held(rows).collect())
    }

    fn find(&self, slot: &Slot) -> Result<Option<Release>, ClientError> {
        let rows = self.select(IN_SLOT, &slot_params(slot))?;
        Ok(self.held(rows).next())
    }

    fn content(&self, release: &Release) -> Result<Digest, ClientError> {
        let stored = self.stored(&release.id)?;
        if let Some(content) = stored.release.content {
            return Ok(content);
        }
        let path = self.files.path(&stored.file);
        let content = archive::read::content(&path).map_err(io::Error::other);
        Ok(content.map_err(|cause| BackendError::io("read", &path, cause))?)
    }

    fn all(&self) -> Result<Vec<Release>, ClientError> {
        let rows = self.select("1", &[])?;
        Ok(self.held(rows).collect())
    }

    fn create(&self, upload: &Upload<'_>) -> Result<Release, ClientError> {
        let slot = upload.slot;
        let problems = validate::fields(upload, self.options.size_limit);
        if !problems.is_empty() {
            return Err(ClientError::Invalid(problems));
        }
        let taken = self.select(IN_SLOT, &slot_params(slot))?;
        // A release whose file is gone can be sent again, the same and no other.
        let mended = taken.first().filter(|row| {
            !slot.debug && !self.holds(row) && row.release.content == Some(upload.content)
        });
        if !slot.debug && !taken.is_empty() && mended.is_none() {
            return Err(exists(slot));
        }
        // Held until the row is there or the file is gone, so that no sweep comes between.
        let _making = self.files.making()?;
        let version = if slot.debug { "debug" } else { &slot.version };
        let stem = match &slot.variant {
            Some(variant) => format!("{}-{version}+{variant}", slot.code),
            None => format!("{}-{version}", slot.code),
        };
        let kept = self.files.keep(upload.archive, &stem)?;
        if kept.blake3 != upload.blake3 {
            return Err(ClientError::Mismatch {
                expected: upload.blake3,
                actual: kept.blake3,
            });
        }
        if kept.size != upload.size {
            let problem = format!("The archive has {} bytes, not {}.", kept.size, upload.size);
            return Err(ClientError::Invalid(vec![problem]));
        }
        let problems = if slot.debug {
            validate::opens(kept.file())
        } else {
            validate::formal(upload, kept.file())
        };
        if !problems.is_empty() {
            return Err(ClientError::Invalid(problems));
        }
        kept.sync()?;
        match mended {
            Some(row) => self.mend(row, upload, kept),
            None => self.record(upload, kept),
        }
    }
}

impl Embedded {
    /// A release with all that was sent along.
    pub fn release(&self, id: &str) -> Result<Details, BackendError> {
        let failed = BackendError::database("read");
        let key = key(id)?;
        let conn = self.database();
        // One statement, so that a release replaced meanwhile is seen whole or not at all.
        let sql = format!(
            "SELECT {COLUMNS}, sha256, config, readme, requirements
             FROM release JOIN release_text ON release = id WHERE id = ?1 AND tenant = ?2"
        );
        let mut statement = conn.prepare_cached(&sql).map_err(&failed)?;
        let found = statement
            .query_row(params![key, self.tenant()], |row| {
                let texts = (
                    row.get(11)?,
                    row.get::<_, String>(12)?,
                    row.get(13)?,
                    row.get(14)?,
                );
                Ok((self.row(row)?, texts))
            })
            .optional()
            .map_err(&failed)?;
        let (stored, (sha256, config, readme, requirements)) =
            found.ok_or_else(|| BackendError::NoRelease(id.to_owned()))?;
        let config = serde_json::from_str(&config).map_err(|error| BackendError::Database {
            doing: "read",
            reason: format!("the config of release {id} is no JSON: {error}"),
        })?;
        let Stored {
            release, blake3, ..
        } = stored;
        Ok(Details {
            release,
            blake3,
            sha256,
            config,
            readme,
            requirements,
        })
    }

    /// Opens the archive of a release for reading. It can be read to its end even when the
    /// release is replaced or deleted meanwhile.
    pub fn open_archive(&self, id: &str) -> Result<File, BackendError> {
        let path = self.files.path(&self.stored(id)?.file);
        match File::open(&path) {
            // Replaced between the look-up and here: then the look-up says so now.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.stored(id)?;
                Err(BackendError::io("read", &path, error))
            }
            other => other.map_err(|cause| BackendError::io("read", &path, cause)),
        }
    }

    /// Deletes a release: its row first, then its file. Its slot is free again, its id is not.
    pub fn delete(&self, id: &str) -> Result<(), BackendError> {
        let failed = BackendError::database("write");
        let key = key(id)?;
        let file: Option<String> = {
            let mut conn = self.database();
            let tx = conn
                .transaction_with_behavior(TransactionBehavior::Immediate)
                .map_err(&failed)?;
            let file = tx
                .query_row(
                    "DELETE FROM release WHERE id = ?1 AND tenant = ?2 RETURNING file",
                    params![key, self.tenant()],
                    |row| row.get(0),
                )
                .optional()
                .map_err(&failed)?;
            self.hooks
                .at("backend.commit")
                .map_err(BackendError::stopped("write"))?;
            tx.commit().map_err(&failed)?;
            file
        };
        let file = file.ok_or_else(|| BackendError::NoRelease(id.to_owned()))?;
        // The release is gone either way; a file that stays is left to a sweep.
        let _ = self.files.remove(&file);
        Ok(())
    }

    /// Whether the file of a release is there, with its size.
    fn holds(&self, row: &Stored) -> bool {
        let meta = std::fs::metadata(self.files.path(&row.file));
        meta.is_ok_and(|meta| meta.is_file() && Some(meta.len()) == row.release.size)
    }

    /// The releases that have their file: one without is nothing that could be installed.
    fn held(&self, rows: Vec<Stored>) -> impl Iterator<Item = Release> {
        rows.into_iter()
            .filter(|row| self.holds(row))
            .map(|row| row.release)
    }

    /// Gives a release whose file is gone the file anew.
    fn mend(
        &self,
        row: &Stored,
        upload: &Upload<'_>,
        kept: Kept<'_>,
    ) -> Result<Release, ClientError> {
        let failed = BackendError::database("write");
        self.hooks
            .at("backend.commit")
            .map_err(BackendError::stopped("write"))?;
        self.database()
            .execute(
                "UPDATE release SET file = ?2, size = ?3, blake3 = ?4, md5 = ?5, sha256 = ?6 \
                 WHERE id = ?1",
                params![
                    key(&row.release.id)?,
                    kept.name(),
                    upload.size as i64,
                    upload.blake3.as_bytes(),
                    upload.md5,
                    upload.sha256,
                ],
            )
            .map_err(&failed)?;
        let url = self.files.url(kept.name());
        kept.release();
        let md5 = Some(upload.md5.to_owned());
        Ok(Release {
            url,
            md5,
            size: Some(upload.size),
            ..row.release.clone()
        })
    }

    /// Writes the row of an archive that is durable, and says what became of it.
    fn record(&self, upload: &Upload<'_>, kept: Kept<'_>) -> Result<Release, ClientError> {
        let failed = BackendError::database("write");
        let slot = upload.slot;
        let created = (self.options.clock)();
        let config = config_text(upload).map_err(|error| BackendError::Database {
            doing: "write",
            reason: error.to_string(),
        })?;

        let mut conn = self.database();
        let tx = conn
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(&failed)?;
        let replaced: Option<String> = if slot.debug {
            tx.prepare_cached(&format!(
                "DELETE FROM release WHERE {IN_SLOT} AND tenant = ?5 RETURNING file"
            ))
            .and_then(|mut delete| {
                let [code, variant, debug, version] = slot_params(slot);
                delete
                    .query_row([code, variant, debug, version, &self.tenant()], |row| {
                        row.get(0)
                    })
                    .optional()
            })
            .map_err(&failed)?
        } else {
            None
        };
        let inserted = tx
            .prepare_cached(
                "INSERT INTO release (code, variant, version, debug, content, blake3, md5, \
                 sha256, size, file, created, tenant) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, \
                 ?9, ?10, ?11, ?12)",
            )
            .and_then(|mut insert| {
                insert.insert(params![
                    slot.code,
                    slot.variant.as_deref().unwrap_or(""),
                    slot.version,
                    slot.debug,
                    upload.content.as_bytes(),
                    upload.blake3.as_bytes(),
                    upload.md5,
                    upload.sha256,
                    upload.size as i64,
                    kept.name(),
                    created,
                    self.tenant(),
                ])
            });
        let id = match inserted {
            Ok(id) => id,
            Err(error) if is_taken(&error) => return Err(exists(slot)),
            Err(error) => return Err(failed(error).into()),
        };
        tx.prepare_cached("INSERT INTO release_text VALUES (?1, ?2, ?3, ?4)")
            .and_then(|mut insert| {
                insert.execute(params![id, config, upload.readme, upload.requirements])
            })
            .map_err(&failed)?;
        self.hooks
            .at("backend.commit")
            .map_err(BackendError::stopped("write"))?;
        if let Err(error) = tx.commit() {
            match after_commit(&error, is_recorded(&conn, kept.name())) {
                Commit::Done => {}
                Commit::NotDone => return Err(failed(error).into()),
                Commit::Unknown => {
                    kept.release();
                    return Err(ClientError::Ambiguous(format!(
                        "the release of {} may or may not have been recorded: {}",
                        title(slot),
                        plain_sql(&error)
                    )));
                }
            }
        }
        drop(conn);
        let url = self.files.url(kept.name());
        kept.release();
        if let Some(file) = replaced {
            // The release is made; a file that stays is left to a sweep.
            let _ = self.files.remove(&file);
        }
        Ok(Release {
            id: id.to_string(),
            slot: slot.clone(),
            content: Some(upload.content),
            md5: Some(upload.md5.to_owned()),
            size: Some(upload.size),
            url,
            created,
        })
    }

    fn stored(&self, id: &str) -> Result<Stored, BackendError> {
        let rows = self.select("id = ?1", &[&key(id)?])?;
        rows.into_iter()
            .next()
            .ok_or_else(|| BackendError::NoRelease(id.to_owned()))
    }

    /// Rows of this tenant that fit `which`, oldest first.
    fn select(&self, which: &str, params: &[&dyn ToSql]) -> Result<Vec<Stored>, BackendError> {
        let tenant: &dyn ToSql = &self.tenant();
        let params = [params, &[tenant]].concat();
        self.select_of_all(&format!("{which} AND tenant = ?{}", params.len()), &params)
    }

    /// Rows of all tenants that fit `which`, oldest first: for upkeep.
    pub(crate) fn select_of_all(
        &self,
        which: &str,
        params: &[&dyn ToSql],
    ) -> Result<Vec<Stored>, BackendError> {
        let failed = BackendError::database("read");
        let conn = self.database();
        let mut statement = conn
            .prepare_cached(&format!(
                "SELECT {COLUMNS} FROM release WHERE {which} ORDER BY id"
            ))
            .map_err(&failed)?;
        let rows = statement
            .query_map(params, |row| self.row(row))
            .map_err(&failed)?;
        rows.collect::<rusqlite::Result<_>>().map_err(&failed)
    }

    fn row(&self, row: &Row<'_>) -> rusqlite::Result<Stored> {
        let variant: String = row.get(2)?;
        let content: Option<[u8; 32]> = row.get(5)?;
        let file: String = row.get(8)?;
        let slot = Slot {
            code: row.get(1)?,
            variant: Some(variant).filter(|variant| !variant.is_empty()),
            version: row.get(3)?,
            debug: row.get(4)?,
        };
        let release = Release {
            id: row.get::<_, i64>(0)?.to_string(),
            slot,
            content: content.map(Digest::from_array),
            md5: row.get(6)?,
            size: Some(row.get::<_, i64>(7)? as u64),
            url: self.files.url(&file),
            created: row.get(9)?,
        };
        Ok(Stored {
            release,
            file,
            blake3: Digest::from_array(row.get(10)?),
        })
    }
}

/// Ids are numbers here, but only here.
fn key(id: &str) -> Result<i64, BackendError> {
    id.parse()
        .map_err(|_| BackendError::NoRelease(id.to_owned()))
}

fn slot_params(slot: &Slot) -> [&dyn ToSql; 4] {
    const NONE: &str = "";
    let variant: &dyn ToSql = match &slot.variant {
        Some(variant) => variant,
        None => &NONE,
    };
    let version: &dyn ToSql = if slot.debug { &NONE } else { &slot.version };
    [&slot.code, variant, &slot.debug, version]
}

/// Whether the unique index of slots refused a row.
fn is_taken(error: &rusqlite::Error) -> bool {
    error
        .sqlite_error()
        .is_some_and(|error| error.extended_code == rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE)
}

fn is_recorded(conn: &Connection, file: &str) -> rusqlite::Result<bool> {
    conn.query_row(
        "SELECT EXISTS (SELECT 1 FROM release WHERE file = ?1)",
        [file],
        |row| row.get(0),
    )
}

/// What became of a commit that failed with `error`, after which the row was looked for.
///
/// It is undone for this process, but when writing or syncing the log failed, its last
/// record may have reached the disk, and whoever next reads the log afresh would find it there.
/// When another process was in the way, or there was no room for the record, it did not.
pub(crate) fn after_commit(error: &rusqlite::Error, found: rusqlite::Result<bool>) -> Commit {
    match (found, error.sqlite_error_code()) {
        (Ok(true), _) => Commit::Done,
        (Ok(false), Some(ErrorCode::DatabaseBusy | ErrorCode::DiskFull)) => Commit::NotDone,
        _ => Commit::Unknown,
    }
}

/// The config with our content digest in it, without a copy of the config in between.
fn config_text(upload: &Upload<'_>) -> Result<String, serde_json::Error> {
    let mut out = Vec::new();
    let mut serializer = serde_json::Serializer::new(&mut out);
    let mut map = serializer.serialize_map(None)?;
    for (key, value) in upload.config.as_object().into_iter().flatten() {
        if key != CONTENT_KEY {
            map.serialize_entry(key, value)?;
        }
    }
    map.serialize_entry(CONTENT_KEY, &upload.content)?;
    map.end()?;
    String::from_utf8(out).map_err(serde::ser::Error::custom)
}

pub(crate) fn exists(slot: &Slot) -> ClientError {
    ClientError::Exists(format!("{} already exists", title(slot)))
}

fn title(slot: &Slot) -> String {
    let variant = slot
        .variant
        .as_ref()
        .map(|variant| format!(" (variant `{variant}`)"));
    format!(
        "plugin `{}` version {}{}",
        slot.code,
        slot.version,
        variant.unwrap_or_default()
    )
}
