//! Owns uploads: files that arrive in chunks, or at once, until something names them. What a row
//! says is there is durable; bytes past it do not count.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Seek};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use md5::Md5;
use rusqlite::{OptionalExtension, Row, params};
use sha2::{Digest as _, Sha256};

use crate::Embedded;
use crate::error::BackendError;
use crate::files::{fill, random_hex};

/// Seconds after which an upload that nobody went on with, or made something of, is removed.
pub(crate) const PATIENCE: i64 = 86_400;

const COLUMNS: &str = "id, filename, file, total, reached, md5, sha256, completed, model, release";

/// A file that arrives in chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// Its id.
    pub id: String,
    /// The sender's name for it.
    pub filename: String,
    /// Its size in bytes when it is complete.
    pub total: u64,
    /// Bytes that are there.
    pub reached: u64,
    /// MD5, 32 hex digits, once it is complete.
    pub md5: Option<String>,
    /// SHA-256, 64 hex digits, once it is complete.
    pub sha256: Option<String>,
    /// When it was completed, Unix seconds.
    pub completed: Option<i64>,
    /// The model that was made of it.
    pub model: Option<i64>,
    /// The release that was made of it.
    pub release: Option<i64>,
    pub(crate) file: Option<String>,
}

impl Upload {
    /// Nothing was made of it yet; else what was is told.
    pub(crate) fn is_unused(&self) -> Result<(), BackendError> {
        let used = match (self.model, self.release) {
            (Some(model), _) => format!("model {model}"),
            (None, Some(release)) => format!("release {release}"),
            (None, None) => return Ok(()),
        };
        let text = format!("upload {} was used for {used} already", self.id);
        Err(BackendError::Refused(text))
    }

    /// That nothing can be made of it yet.
    pub(crate) fn is_unended(&self) -> BackendError {
        let Self {
            id, reached, total, ..
        } = self;
        BackendError::Refused(if reached < total {
            format!("upload {id} is not complete: {reached} of {total} bytes")
        } else {
            format!("upload {id} is not complete: nobody said yet that it ends there")
        })
    }
}

/// A new file that no row names yet. It goes when this is dropped, unless it is released. While
/// it is there, no sweep is.
pub(crate) struct Incoming {
    owner: Arc<Embedded>,
    name: String,
    file: File,
    named: bool,
    _making: File,
}

/// A chunk that may be written: the upload is locked for it.
pub(crate) struct Chunk {
    pub(crate) upload: Upload,
    pub(crate) file: File,
}

/// Size and digests of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) size: u64,
    pub(crate) md5: String,
    pub(crate) sha256: String,
}

impl Incoming {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Makes the bytes and the name durable.
    pub(crate) fn sync(&self) -> Result<(), BackendError> {
        self.owner.files.sync(&self.name, &self.file, true)
    }

    /// Takes the right to write away and makes everything durable; says what is there.
    pub(crate) fn seal(&mut self) -> Result<Sums, BackendError> {
        let sums = self.settle()?;
        self.sync()?;
        Ok(sums)
    }

    /// The same for a file that is only a step on the way to another, which need not last.
    pub(crate) fn settle(&mut self) -> Result<Sums, BackendError> {
        let path = self.owner.files.path(&self.name);
        let failed = |cause| BackendError::io("write", &path, cause);
        let sums = sums(&mut self.file).map_err(failed)?;
        self.file
            .set_permissions(Permissions::from_mode(0o444))
            .map_err(failed)?;
        Ok(sums)
    }

    /// Says that a row names the file now, or may do so.
    pub(crate) fn release(mut self) {
        self.named = true;
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if !self.named {
            // What cannot be removed now is removed by a later sweep.
            let _ = self.owner.files.remove(&self.name);
        }
    }
}

impl Embedded {
    /// A new, empty file to receive into.
    pub(crate) fn incoming(self: &Arc<Self>, stem: &str) -> Result<Incoming, BackendError> {
        let making = self.files.making()?;
        let (name, file) = self.files.create(stem)?;
        Ok(Incoming {
            owner: Arc::clone(self),
            name,
            file,
            named: false,
            _making: making,
        })
    }

    /// Records an upload of which the first `reached` bytes are in `incoming`.
    pub(crate) fn upload_begin(
        &self,
        filename: &str,
        total: u64,
        reached: u64,
        incoming: Incoming,
    ) -> Result<Upload, BackendError> {
        incoming.sync()?;
        let id = random_hex() + &random_hex();
        self.hooks
            .at("backend.commit")
            .map_err(BackendError::stopped("write"))?;
        let inserted = self.database().execute(
            "INSERT INTO upload (id, filename, file, total, reached, touched, tenant) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                id,
                filename,
                incoming.name(),
                total as i64,
                reached as i64,
                (self.options.clock)(),
                self.tenant(),
            ],
        );
        // A commit that failed may have been made all the same: then the row names the file.
        if inserted.is_ok() || self.upload_find(&id).is_ok_and(|found| found.is_some()) {
            incoming.release();
        }
        inserted.map_err(BackendError::database("write"))?;
        self.upload(&id)
    }

    /// An upload.
    pub fn upload(&self, id: &str) -> Result<Upload, BackendError> {
        self.upload_find(id)?
            .ok_or_else(|| BackendError::NoUpload(id.to_owned()))
    }

    fn upload_find(&self, id: &str) -> Result<Option<Upload>, BackendError> {
        let sql = format!("SELECT {COLUMNS} FROM upload WHERE id = ?1 AND tenant = ?2");
        let conn = self.database();
        conn.prepare_cached(&sql)
            .and_then(|mut select| {
                select
                    .query_row(params![id, self.tenant()], upload_of)
                    .optional()
            })
            .map_err(BackendError::database("read"))
    }

    /// Opens an upload for a chunk that begins at `offset` of `total` bytes.
    pub(crate) fn upload_chunk(
        &self,
        id: &str,
        offset: u64,
        total: u64,
    ) -> Result<Chunk, BackendError> {
        let mut chunk = self.upload_lock(id)?;
        let Upload {
            total: own,
            reached,
            ..
        } = chunk.upload;
        if chunk.upload.completed.is_some() {
            return Err(BackendError::Refused("the upload is complete".to_owned()));
        }
        if own != total {
            let text = format!("the upload has {own} bytes in all, not {total}");
            return Err(BackendError::Refused(text));
        }
        if offset != reached {
            return Err(BackendError::Offset { reached });
        }
        let seek = chunk.file.seek(io::SeekFrom::Start(offset));
        seek.map_err(|cause| self.upload_io(&chunk.upload, "write", cause))?;
        Ok(chunk)
    }

    /// Records that an upload has its first `reached` bytes.
    pub(crate) fn upload_advance(
        &self,
        chunk: &Chunk,
        reached: u64,
    ) -> Result<Upload, BackendError> {
        let name = chunk.upload.file.as_deref().unwrap_or_default();
        self.files.sync(name, &chunk.file, false)?;
        self.hooks
            .at("backend.commit")
            .map_err(BackendError::stopped("write"))?;
        self.database()
            .execute(
                "UPDATE upload SET reached = ?2, touched = ?3 WHERE id = ?1",
                params![chunk.upload.id, reached as i64, (self.options.clock)()],
            )
            .map_err(BackendError::database("write"))?;
        self.upload(&chunk.upload.id)
    }

    /// Ends an upload, whose bytes must have that MD5. Doing it again changes nothing.
    pub fn upload_complete(&self, id: &str, md5: &str) -> Result<Upload, BackendError> {
        let found = self.upload(id)?;
        let differs = |actual: &str| {
            (!actual.eq_ignore_ascii_case(md5)).then(|| BackendError::Checksum {
                expected: md5.to_owned(),
                actual: actual.to_owned(),
            })
        };
        if found.completed.is_some() {
            let actual = found.md5.as_deref().unwrap_or_default();
            return differs(actual).map_or(Ok(found.clone()), Err);
        }
        let mut chunk = self.upload_lock(id)?;
        let Upload { total, reached, .. } = chunk.upload;
        if reached != total {
            return Err(BackendError::Offset { reached });
        }
        let upload = chunk.upload.clone();
        let failed = |cause| self.upload_io(&upload, "write", cause);
        // A chunk that was refused half way may have left bytes past the end.
        if chunk.file.metadata().map_err(failed)?.len() > total {
            chunk.file.set_len(total).map_err(failed)?;
        }
        let sums = sums(&mut chunk.file).map_err(failed)?;
        if sums.size != total {
            return Err(failed(io::Error::other("it became shorter")));
        }
        if let Some(error) = differs(&sums.md5) {
            return Err(error);
        }
        chunk
            .file
            .set_permissions(Permissions::from_mode(0o444))
            .map_err(failed)?;
        let name = upload.file.as_deref().unwrap_or_default();
        self.files.sync(name, &chunk.file, false)?;
        let now = (self.options.clock)();
        self.hooks
            .at("backend.commit")
            .map_err(BackendError::stopped("write"))?;
        self.database()
            .execute(
                "UPDATE upload SET md5 = ?2, sha256 = ?3, completed = ?4, touched = ?4 \
                 WHERE id = ?1",
                params![id, sums.md5, sums.sha256, now],
            )
            .map_err(BackendError::database("write"))?;
        self.upload(id)
    }

    /// Opens the file of a complete upload that nothing was made of yet.
    pub fn upload_file(&self, id: &str) -> Result<(Upload, File), BackendError> {
        let upload = self.upload(id)?;
        let name = upload
            .file
            .as_deref()
            .filter(|_| upload.completed.is_some());
        let name = name.ok_or_else(|| BackendError::NoUpload(id.to_owned()))?;
        let file = File::open(self.files.path(name));
        let file = file.map_err(|cause| self.upload_io(&upload, "read", cause))?;
        Ok((upload, file))
    }

    /// Where the file of a complete upload lies that nothing was made of yet.
    pub(crate) fn upload_path(&self, upload: &Upload) -> Result<PathBuf, BackendError> {
        upload.is_unused()?;
        match (&upload.file, upload.completed) {
            (Some(file), Some(_)) => Ok(self.files.path(file)),
            _ => Err(upload.is_unended()),
        }
    }

    /// Says that a release was made of an upload, and lets its file go: the release has its own.
    pub(crate) fn upload_used(&self, upload: &Upload, release: i64) -> Result<(), BackendError> {
        self.hooks
            .at("backend.commit")
            .map_err(BackendError::stopped("write"))?;
        self.database()
            .execute(
                "UPDATE upload SET file = NULL, release = ?2, touched = ?3 WHERE id = ?1",
                params![upload.id, release, (self.options.clock)()],
            )
            .map_err(BackendError::database("write"))?;
        if let Some(file) = &upload.file {
            // The row names it no more; a file that stays is left to a sweep.
            let _ = self.files.remove(file);
        }
        Ok(())
    }

    /// Removes uploads of all tenants that nobody touched for a day, and says how many.
    pub fn upload_expire(&self) -> Result<u64, BackendError> {
        let failed = BackendError::database("write");
        let before = (self.options.clock)().saturating_sub(PATIENCE);
        let files: Vec<Option<String>> = {
            let conn = self.database();
            let old = conn
                .prepare_cached("SELECT EXISTS (SELECT 1 FROM upload WHERE touched < ?1)")
                .and_then(|mut any| any.query_row([before], |row| row.get::<_, bool>(0)))
                .map_err(&failed)?;
            if !old {
                return Ok(0);
            }
            self.hooks
                .at("backend.commit")
                .map_err(BackendError::stopped("write"))?;
            let mut delete = conn
                .prepare_cached("DELETE FROM upload WHERE touched < ?1 RETURNING file")
                .map_err(&failed)?;
            let rows = delete
                .query_map([before], |row| row.get(0))
                .map_err(&failed)?;
            rows.collect::<rusqlite::Result<_>>().map_err(&failed)?
        };
        for file in files.iter().flatten() {
            // The row is gone; a file that stays is left to a sweep.
            let _ = self.files.remove(file);
        }
        Ok(files.len() as u64)
    }

    /// Names of the files of models and uploads, of all tenants.
    pub(crate) fn local_files(&self) -> Result<Vec<String>, BackendError> {
        let failed = BackendError::database("read");
        let conn = self.database();
        let mut select = conn
            .prepare_cached(
                "SELECT file FROM model UNION ALL SELECT file FROM upload WHERE file IS NOT NULL",
            )
            .map_err(&failed)?;
        let rows = select.query_map([], |row| row.get(0)).map_err(&failed)?;
        rows.collect::<rusqlite::Result<_>>().map_err(failed)
    }

    /// Opens the file of an upload, locked against everybody else who would write to it. The
    /// upload is looked up after that.
    fn upload_lock(&self, id: &str) -> Result<Chunk, BackendError> {
        let found = self.upload(id)?;
        found.is_unused()?;
        let used = || BackendError::Refused("the upload was used already".to_owned());
        let name = found.file.as_deref().ok_or_else(used)?;
        if found.completed.is_some() {
            return Err(BackendError::Refused("the upload is complete".to_owned()));
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.files.path(name))
            .map_err(|cause| self.upload_io(&found, "write", cause))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(BackendError::Busy),
            Err(TryLockError::Error(cause)) => return Err(self.upload_io(&found, "lock", cause)),
        }
        let upload = self.upload(id)?;
        Ok(Chunk { upload, file })
    }

    fn upload_io(&self, upload: &Upload, doing: &'static str, cause: io::Error) -> BackendError {
        let name = upload.file.as_deref().unwrap_or_default();
        BackendError::io(doing, &self.files.path(name), cause)
    }
}

fn upload_of(row: &Row<'_>) -> rusqlite::Result<Upload> {
    Ok(Upload {
        id: row.get(0)?,
        filename: row.get(1)?,
        file: row.get(2)?,
        total: row.get::<_, i64>(3)? as u64,
        reached: row.get::<_, i64>(4)? as u64,
        md5: row.get(5)?,
        sha256: row.get(6)?,
        completed: row.get(7)?,
        model: row.get(8)?,
        release: row.get(9)?,
    })
}

/// Reads a file from its beginning to its end.
pub(crate) fn sums(file: &mut File) -> io::Result<Sums> {
    file.rewind()?;
    let (mut md5, mut sha256, mut size) = (Md5::new(), Sha256::new(), 0);
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = fill(file, &mut buffer)?;
        if count == 0 {
            break;
        }
        // Two digests of the same bytes, side by side.
        rayon::join(
            || md5.update(&buffer[..count]),
            || sha256.update(&buffer[..count]),
        );
        size += count as u64;
    }
    Ok(Sums {
        size,
        md5: hex(&md5.finalize()),
        sha256: hex(&sha256.finalize()),
    })
}

/// Lower-case hex digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The last part of a name that a sender gave, without what could not be one here.
pub(crate) fn safe_name(given: &str) -> String {
    let last = given.rsplit(['/', '\\']).next().unwrap_or_default();
    let kept: String = last.chars().filter(|c| !c.is_control()).take(200).collect();
    match kept.trim() {
        "" | "." | ".." => "file".to_owned(),
        name => name.to_owned(),
    }
}
