//! Owns datasets: folders of this machine, registered by reference with the digest of every
//! file. A file that is handed out is what it was when the dataset was added, or is refused.

mod error;
mod layout;
mod scan;
mod serve;

use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use synapse_engine::Cancel;

pub use error::DatasetError;
pub use layout::FORMATS;

use self::scan::{Known, Scanned};
use crate::Embedded;
use crate::error::BackendError;
use crate::page::Page;
use crate::run::value;
use crate::upload::hex;

const COLUMNS: &str = "id, name, format, folder, checksum, count, size, splits, created";

/// A folder to be registered.
#[derive(Debug, Clone, Copy)]
pub struct AddDataset<'a> {
    /// The folder.
    pub dir: &'a Path,
    /// Its name; no two datasets have the same.
    pub name: &'a str,
    /// Its id, a free one by default.
    pub id: Option<i64>,
    /// Its format, found by its layout by default.
    pub format: Option<&'a str>,
    /// Splits by name, each with a folder or a glob; found by folders' names by default.
    pub splits: &'a [(String, String)],
    /// Whether a dataset with this id may be replaced.
    pub replace: bool,
}

/// A dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    /// Its id.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// Its format, such as `yolo`, `coco` or `pascal_voc`, where it is known.
    pub format: Option<String>,
    /// Its folder.
    pub folder: PathBuf,
    /// SHA-256 over paths, splits and digests of its files, 64 hex digits.
    pub checksum: String,
    /// Number of its files.
    pub count: u64,
    /// Their sizes together, bytes.
    pub size: u64,
    /// Number of files in each split, in the order in which the splits were given.
    pub splits: Vec<(String, u64)>,
    /// When it was added, or last replaced, Unix seconds.
    pub created: i64,
}

/// A file of a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its id, of no other file ever.
    pub id: i64,
    /// Id of its dataset.
    pub dataset: i64,
    /// Path in the folder, with slashes.
    pub path: String,
    /// The split that it is in. Files without one, such as a list of classes, go with all.
    pub split: Option<String>,
    /// SHA-256, 64 hex digits.
    pub sha256: String,
    /// Size in bytes.
    pub size: u64,
}

/// What came of adding a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is new.
    Added,
    /// It was there, the same.
    UpToDate,
    /// It was there with the same content in another folder; this one counts now.
    Moved,
    /// It took the place of other content.
    Replaced,
}

/// A dataset that was added, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// The dataset.
    pub dataset: Dataset,
    /// What came of it.
    pub outcome: Outcome,
    /// The format was found by the layout.
    pub format_found: bool,
    /// The splits were found by names of folders.
    pub splits_found: bool,
    /// Files that were read; of the others, nothing had changed.
    pub hashed: u64,
}

/// How far the reading of a folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Files done.
    pub files: u64,
    /// Files in all.
    pub total_files: u64,
    /// Bytes done.
    pub bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
}

/// What a folder was found to be.
struct Found<'a> {
    folder: &'a Path,
    format: Option<String>,
    files: Vec<(Scanned, Option<String>)>,
    splits: Vec<(String, u64)>,
    checksum: String,
    size: u64,
}

impl Embedded {
    /// Registers a folder. Reads what it cannot trust to be as it was, on all processors.
    pub fn dataset_add(
        &self,
        add: &AddDataset<'_>,
        cancel: &Cancel,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<Added, DatasetError> {
        add.check()?;
        let folder = scan::folder(add.dir)?;
        let known = self.known(&folder)?;
        let now = (self.options.clock)().saturating_mul(1_000_000_000);
        let (scanned, hashed) = scan::scan(&folder, &known, now, cancel, progress)?;
        let paths: Vec<&str> = scanned.iter().map(|file| file.path.as_str()).collect();
        let format_found = add.format.is_none();
        let format = match add.format {
            Some(format) => layout::canonical(format),
            None => layout::format(&paths, &|path| scan::text(&folder.join(path))),
        };
        let format = format.map(str::to_owned);
        let splits_found = add.splits.is_empty();
        let splits = if splits_found {
            layout::found_splits(&paths)
        } else {
            layout::given_splits(&paths, add.splits)?
        };
        let found = Found::new(&folder, format, scanned, splits, add.splits);
        let (id, outcome) = self.write_down(add, &found, &known)?;
        Ok(Added {
            dataset: self.dataset(id)?,
            outcome,
            format_found: format_found && found.format.is_some(),
            splits_found: splits_found && !found.splits.is_empty(),
            hashed,
        })
    }

    /// All datasets, by id.
    pub fn datasets(&self) -> Result<Vec<Dataset>, BackendError> {
        let failed = BackendError::database("read");
        let conn = self.database();
        let mut select = conn
            .prepare_cached(&format!(
                "SELECT {COLUMNS} FROM dataset WHERE tenant = ?1 ORDER BY id"
            ))
            .map_err(&failed)?;
        let rows = select
            .query_map([self.tenant()], dataset_of)
            .map_err(&failed)?;
        rows.collect::<rusqlite::Result<_>>().map_err(failed)
    }

    /// A dataset.
    pub fn dataset(&self, id: i64) -> Result<Dataset, BackendError> {
        let conn = self.database();
        select(&conn, self.tenant(), "id = ?1", &id)
            .map_err(BackendError::database("read"))?
            .ok_or(BackendError::NoDataset(id))
    }

    /// The dataset with that name.
    pub fn dataset_named(&self, name: &str) -> Result<Option<Dataset>, BackendError> {
        let conn = self.database();
        select(&conn, self.tenant(), "name = ?1", &name).map_err(BackendError::database("read"))
    }

    /// Files of a dataset, by path; only those of a split where one is named.
    pub fn dataset_items(
        &self,
        id: i64,
        split: Option<&str>,
        limit: u32,
        offset: u32,
    ) -> Result<Page<Item>, BackendError> {
        const WHERE: &str = "dataset = ?1 AND (?2 IS NULL OR split = ?2)";
        let failed = BackendError::database("read");
        let mut conn = self.database();
        // One transaction, so that the count is that of the list.
        let tx = conn.transaction().map_err(&failed)?;
        let found = select(&tx, self.tenant(), "id = ?1", &id).map_err(&failed)?;
        if found.is_none() {
            return Err(BackendError::NoDataset(id));
        }
        let count = format!("SELECT count(*) FROM dataset_item WHERE {WHERE}");
        let total: i64 = tx
            .query_row(&count, params![id, split], |row| row.get(0))
            .map_err(&failed)?;
        let mut select = tx
            .prepare_cached(&format!(
                "SELECT id, dataset, path, split, sha256, size FROM dataset_item WHERE {WHERE} \
                 ORDER BY path LIMIT ?3 OFFSET ?4"
            ))
            .map_err(&failed)?;
        let rows = select
            .query_map(params![id, split, limit, offset], item_of)
            .map_err(&failed)?;
        Ok(Page {
            items: rows.collect::<rusqlite::Result<_>>().map_err(&failed)?,
            total: total as u64,
        })
    }

    /// What was seen of the files of a folder when it was last added, whatever its name was.
    fn known(&self, folder: &Path) -> Result<Known, BackendError> {
        let failed = BackendError::database("read");
        let conn = self.database();
        let mut select = conn
            .prepare_cached(
                "SELECT path, sha256, size, dev, ino, mtime, ctime, settled FROM dataset_item \
                 WHERE dataset IN (SELECT id FROM dataset WHERE folder = ?1 AND tenant = ?2) \
                 ORDER BY settled",
            )
            .map_err(&failed)?;
        let rows = select
            .query_map(
                params![folder.as_os_str().as_bytes(), self.tenant()],
                |row| {
                    let file = Scanned {
                        path: row.get(0)?,
                        sha256: row.get(1)?,
                        stat: serve::stat_of(row, 2)?,
                        settled: row.get(7)?,
                    };
                    Ok((file.path.clone(), file))
                },
            )
            .map_err(&failed)?;
        rows.collect::<rusqlite::Result<_>>().map_err(failed)
    }

    /// Writes down what was found, unless it is there.
    fn write_down(
        &self,
        add: &AddDataset<'_>,
        found: &Found<'_>,
        known: &Known,
    ) -> Result<(i64, Outcome), DatasetError> {
        let failed = BackendError::database("write");
        let mut conn = self.database();
        let tx = conn
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(&failed)?;
        let named = select(&tx, self.tenant(), "name = ?1", &add.name).map_err(&failed)?;
        let before = match add.id {
            Some(id) => select(&tx, self.tenant(), "id = ?1", &id).map_err(&failed)?,
            None => named.clone(),
        };
        if let Some(named) = named.filter(|named| add.id.is_some_and(|id| id != named.id)) {
            let (name, id) = (named.name, named.id);
            return Err(DatasetError::NameTaken { name, id });
        }
        let created = (self.options.clock)();
        let (id, outcome) = match &before {
            None => (
                found
                    .insert(&tx, add, created, self.tenant())
                    .map_err(&failed)?,
                Outcome::Added,
            ),
            Some(before) => match found.differs(before, add.name) {
                Some(what) if !add.replace => {
                    let (id, name) = (before.id, before.name.clone());
                    return Err(DatasetError::Taken { id, name, what });
                }
                Some(_) => {
                    found
                        .replace(&tx, add, before.id, created)
                        .map_err(&failed)?;
                    (before.id, Outcome::Replaced)
                }
                None => {
                    let moved = before.folder != found.folder;
                    let changed = found.refresh(&tx, before.id, moved, known);
                    if !changed.map_err(&failed)? {
                        return Ok((before.id, Outcome::UpToDate));
                    }
                    let outcome = if moved {
                        Outcome::Moved
                    } else {
                        Outcome::UpToDate
                    };
                    (before.id, outcome)
                }
            },
        };
        self.hooks
            .at("backend.commit")
            .map_err(BackendError::stopped("write"))?;
        tx.commit().map_err(failed)?;
        Ok((id, outcome))
    }
}

impl AddDataset<'_> {
    fn check(&self) -> Result<(), DatasetError> {
        let name = self.name.trim();
        if name.is_empty() || name != self.name || name.chars().any(char::is_control) {
            return Err(DatasetError::Name(self.name.to_owned()));
        }
        // What could be an id would never be found by its name.
        if name.parse::<i64>().is_ok() {
            return Err(DatasetError::Name(self.name.to_owned()));
        }
        if let Some(id) = self.id.filter(|id| *id <= 0) {
            return Err(DatasetError::Id(id));
        }
        let plain = |text: &str| {
            let known = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
            !text.is_empty() && text.len() <= 64 && text.chars().all(known)
        };
        if let Some(format) = self
            .format
            .filter(|format| layout::canonical(format).is_none())
        {
            return Err(DatasetError::Format(format.to_owned()));
        }
        match self.splits.iter().find(|(name, _)| !plain(name)) {
            Some((name, _)) => Err(DatasetError::SplitName(name.clone())),
            None => Ok(()),
        }
    }
}

impl<'a> Found<'a> {
    fn new(
        folder: &'a Path,
        format: Option<String>,
        scanned: Vec<Scanned>,
        splits: Vec<Option<String>>,
        order: &[(String, String)],
    ) -> Self {
        let mut counts: Vec<(String, u64)> = Vec::new();
        let usual = ["train", "val", "test"];
        let names = order.iter().map(|(name, _)| name.as_str()).chain(usual);
        for name in names {
            let count = splits.iter().flatten().filter(|own| *own == name).count() as u64;
            if count > 0 && !counts.iter().any(|(own, _)| own == name) {
                counts.push((name.to_owned(), count));
            }
        }
        let mut hasher = Sha256::new();
        let mut text = |text: &str| {
            hasher.update((text.len() as u64).to_le_bytes());
            hasher.update(text);
        };
        for (file, split) in scanned.iter().zip(&splits) {
            text(&file.path);
            text(split.as_deref().unwrap_or_default());
            text(&hex(&file.sha256));
        }
        let checksum = hex(&hasher.finalize());
        Self {
            folder,
            format,
            size: scanned.iter().map(|file| file.stat.size).sum(),
            files: scanned.into_iter().zip(splits).collect(),
            splits: counts,
            checksum,
        }
    }

    /// In what a dataset differs from what was found; where it lies is no difference.
    fn differs(&self, before: &Dataset, name: &str) -> Option<&'static str> {
        if before.checksum != self.checksum {
            Some("other content")
        } else if before.name != name {
            Some("another name")
        } else if before.format != self.format {
            Some("another format")
        } else {
            None
        }
    }

    fn splits(&self) -> String {
        let splits = self.splits.iter();
        let splits: Map<String, Value> = splits
            .map(|(name, count)| (name.clone(), Value::from(*count)))
            .collect();
        Value::Object(splits).to_string()
    }

    fn insert(
        &self,
        tx: &Transaction<'_>,
        add: &AddDataset<'_>,
        created: i64,
        tenant: &str,
    ) -> rusqlite::Result<i64> {
        tx.execute(
            "INSERT INTO dataset (id, name, format, folder, checksum, count, size, splits, \
             created, tenant) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            params![
                add.id,
                add.name,
                self.format,
                self.folder.as_os_str().as_bytes(),
                self.checksum,
                self.files.len() as i64,
                self.size as i64,
                self.splits(),
                created,
                tenant
            ],
        )?;
        let id = tx.last_insert_rowid();
        self.insert_items(tx, id)?;
        Ok(id)
    }

    fn replace(
        &self,
        tx: &Transaction<'_>,
        add: &AddDataset<'_>,
        id: i64,
        created: i64,
    ) -> rusqlite::Result<()> {
        tx.execute(
            "UPDATE dataset SET name = ?2, format = ?3, folder = ?4, checksum = ?5, count = ?6, \
             size = ?7, splits = ?8, created = ?9 WHERE id = ?1",
            params![
                id,
                add.name,
                self.format,
                self.folder.as_os_str().as_bytes(),
                self.checksum,
                self.files.len() as i64,
                self.size as i64,
                self.splits(),
                created
            ],
        )?;
        tx.execute("DELETE FROM dataset_item WHERE dataset = ?1", [id])?;
        self.insert_items(tx, id)
    }

    fn insert_items(&self, tx: &Transaction<'_>, id: i64) -> rusqlite::Result<()> {
        let mut insert = tx.prepare_cached(
            "INSERT INTO dataset_item (dataset, path, split, sha256, size, dev, ino, mtime, \
             ctime, settled) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?;
        for (file, split) in &self.files {
            let stat = &file.stat;
            insert.execute(params![
                id,
                file.path,
                split,
                file.sha256,
                stat.size as i64,
                stat.dev as i64,
                stat.ino as i64,
                stat.mtime,
                stat.ctime,
                file.settled
            ])?;
        }
        Ok(())
    }

    /// Writes down how the same files look now; false when they look as they did.
    fn refresh(
        &self,
        tx: &Transaction<'_>,
        id: i64,
        moved: bool,
        known: &Known,
    ) -> rusqlite::Result<bool> {
        let changed: Vec<&Scanned> = self
            .files
            .iter()
            .map(|(file, _)| file)
            .filter(|file| moved || known.get(&file.path) != Some(file))
            .collect();
        if moved {
            let folder = self.folder.as_os_str().as_bytes();
            tx.execute(
                "UPDATE dataset SET folder = ?2 WHERE id = ?1",
                params![id, folder],
            )?;
        }
        for file in &changed {
            serve::update_stat(tx, id, file)?;
        }
        Ok(moved || !changed.is_empty())
    }
}

fn select(
    conn: &Connection,
    tenant: &str,
    which: &str,
    param: &dyn rusqlite::ToSql,
) -> rusqlite::Result<Option<Dataset>> {
    let sql = format!("SELECT {COLUMNS} FROM dataset WHERE {which} AND tenant = ?2");
    conn.prepare_cached(&sql)?
        .query_row(params![param, tenant], dataset_of)
        .optional()
}

fn dataset_of(row: &Row<'_>) -> rusqlite::Result<Dataset> {
    let folder: Vec<u8> = row.get(3)?;
    let splits = value(&row.get::<_, String>(7)?);
    let splits = splits.as_object().into_iter().flatten();
    Ok(Dataset {
        id: row.get(0)?,
        name: row.get(1)?,
        format: row.get(2)?,
        folder: PathBuf::from(std::ffi::OsString::from_vec(folder)),
        checksum: row.get(4)?,
        count: row.get::<_, i64>(5)? as u64,
        size: row.get::<_, i64>(6)? as u64,
        splits: splits
            .map(|(name, count)| (name.clone(), count.as_u64().unwrap_or(0)))
            .collect(),
        created: row.get(8)?,
    })
}

fn item_of(row: &Row<'_>) -> rusqlite::Result<Item> {
    Ok(Item {
        id: row.get(0)?,
        dataset: row.get(1)?,
        path: row.get(2)?,
        split: row.get(3)?,
        sha256: hex(&row.get::<_, [u8; 32]>(4)?),
        size: row.get::<_, i64>(5)? as u64,
    })
}
