//! Owns one object's way into a store: the look whether it is there, the transfer in parts of
//! constant memory, and the proof that what is there is what was sent.

use std::{
    collections::HashMap,
    fs::File,
    hash::{BuildHasher, Hasher},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use data_encoding::{BASE64, HEXLOWER};
use futures_util::TryStreamExt;
use md5::{Digest as _, Md5};
use opendal::{Buffer, ErrorKind, Metadata, Operator, Writer};

use super::place::Scheme;

/// The least size of a part, and with it how much is in memory at once.
const PART: u64 = 8 << 20;
/// Parts that are on their way at once.
const AT_ONCE: usize = 2;
/// Most parts that a store takes; S3 takes 10,000.
const MOST_PARTS: u64 = 9_000;
const MEBI: u64 = 1 << 20;

/// An object as it is to be.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// Its name in the store's folder.
    pub(super) name: String,
    /// The file.
    pub(super) path: PathBuf,
    /// Bytes.
    pub(super) size: u64,
    /// MD5, 32 hex digits.
    pub(super) md5: String,
    /// What is kept with it, where the store can.
    pub(super) labels: Vec<(&'static str, String)>,
    /// It must not take the place of another.
    pub(super) only_new: bool,
}

/// What a look at an object found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// It is not there.
    Absent,
    /// It is there; by what that is known.
    Same(&'static str),
    /// Something else is there, or it cannot be told whether it is the same.
    Other {
        /// What the store keeps with it says that it has this content.
        content: Option<String>,
        /// It has the same size, and nothing speaks against it.
        likely: bool,
    },
    /// The credentials do not allow to look.
    Hidden,
}

/// Why an object is not there.
#[derive(Debug)]
pub(super) enum PutError {
    /// The store.
    Store(opendal::Error),
    /// The store has other bytes than were sent.
    Mismatch,
    /// The file cannot be read, or is not what it was.
    Local,
    /// Another is there already.
    Exists,
}

impl From<opendal::Error> for PutError {
    fn from(error: opendal::Error) -> Self {
        match error.kind() {
            ErrorKind::ConditionNotMatch => Self::Exists,
            _ => Self::Store(error),
        }
    }
}

/// An object store as one transfer sees it.
#[derive(Clone)]
pub(super) struct Objects {
    pub(super) operator: Operator,
    pub(super) scheme: Scheme,
    /// Bytes that were handed over.
    pub(super) sent: Arc<AtomicU64>,
}

/// What a store says of an object, held against what it is to be.
enum Verdict {
    Same(&'static str),
    Different,
    Unsure,
}

/// The size of the parts of an object.
fn part_size(size: u64) -> u64 {
    PART.max(size.div_ceil(MOST_PARTS).div_ceil(MEBI) * MEBI)
}

impl Objects {
    /// Looks whether an object is there.
    pub(super) async fn look(&self, wanted: &Wanted) -> opendal::Result<Found> {
        let said = match self.operator.stat(&wanted.name).await {
            Ok(said) => said,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Absent),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                return self.why_denied(&wanted.name, error).await;
            }
            Err(error) => return Err(error),
        };
        let label = |name: &str| {
            let labels = said.user_metadata()?;
            labels.get(name).map(str::to_owned)
        };
        let other = |likely| Found::Other {
            content: label("synapse-content"),
            likely,
        };
        Ok(match self.compare(&said, wanted) {
            Verdict::Same(by) => Found::Same(by),
            Verdict::Different => other(false),
            Verdict::Unsure if label("synapse-md5").as_deref() == Some(&wanted.md5) => {
                Found::Same("label")
            }
            Verdict::Unsure => other(true),
        })
    }

    /// A look without an answer says no more than that it was denied; reading says why.
    async fn why_denied(&self, name: &str, denied: opendal::Error) -> opendal::Result<Found> {
        match self.operator.read_with(name).range(0..1).await {
            Ok(_) => Ok(Found::Hidden),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Found::Absent),
            Err(error) if error.to_string().contains("AccessDenied") => Ok(Found::Hidden),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(error),
            Err(_) => Err(denied),
        }
    }

    fn compare(&self, said: &Metadata, wanted: &Wanted) -> Verdict {
        if said.content_length() != wanted.size {
            return Verdict::Different;
        }
        // S3 repeats what it was told, which is no proof.
        let own = matches!(self.scheme, Scheme::Gs | Scheme::Az);
        if let Some(md5) = said.content_md5().filter(|md5| own && !md5.is_empty()) {
            return match BASE64.decode(md5.as_bytes()) {
                Ok(md5) if HEXLOWER.encode(&md5) == wanted.md5 => Verdict::Same("md5"),
                Ok(_) => Verdict::Different,
                Err(_) => Verdict::Unsure,
            };
        }
        let tag = said.etag().filter(|_| self.scheme == Scheme::S3);
        let tag = tag.map(|tag| tag.trim_matches('"').to_ascii_lowercase());
        match tag {
            // An encrypted object has a tag that is no MD5, so another one tells nothing.
            Some(tag) if tag == wanted.md5 => Verdict::Same("etag"),
            Some(tag) if tag.contains('-') => match tag_of_parts(&wanted.path, wanted.size) {
                Ok(own) if own == tag => Verdict::Same("etag"),
                _ => Verdict::Unsure,
            },
            _ => Verdict::Unsure,
        }
    }

    /// Brings an object into the store; by what it is known to be there.
    pub(super) async fn put(&self, wanted: &Wanted) -> Result<&'static str, PutError> {
        let by_parts = matches!(
            self.scheme,
            Scheme::File | Scheme::Sftp | Scheme::Webdav | Scheme::Webdavs
        );
        if by_parts {
            self.put_aside(wanted).await
        } else {
            self.put_at_once(wanted).await
        }
    }

    /// Where an object is there all at once or not at all.
    async fn put_at_once(&self, wanted: &Wanted) -> Result<&'static str, PutError> {
        let part = part_size(wanted.size);
        let open = || {
            let writer = self.operator.writer_with(&wanted.name);
            let writer = writer.chunk(part as usize).concurrent(AT_ONCE);
            let labels = wanted.labels.iter();
            let labels: HashMap<String, String> = labels
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect();
            let writer = writer.user_metadata(labels);
            if wanted.only_new {
                writer.if_not_exists(true)
            } else {
                writer
            }
        };
        let mut writer = open().await?;
        if let Err(error) = self.send(&mut writer, wanted, part).await {
            // Parts that are there cost money until they are told to go.
            let _ = writer.abort().await;
            return Err(error);
        }
        let closed = match writer.close().await {
            Ok(closed) => closed,
            Err(error) => {
                let _ = writer.abort().await;
                return Err(error.into());
            }
        };
        let said = match self.operator.stat(&wanted.name).await {
            Ok(said) => said,
            // What may be written and not read was held against its checksum on arrival.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                return Ok(match self.compare(&closed, wanted) {
                    Verdict::Same(by) => by,
                    _ => "arrival",
                });
            }
            Err(error) => return Err(error.into()),
        };
        let proof = match self.compare(&said, wanted) {
            Verdict::Same(by) => Ok(by),
            Verdict::Different => Err(PutError::Mismatch),
            Verdict::Unsure => self.read_back(&wanted.name, wanted).await,
        };
        if matches!(proof, Err(PutError::Mismatch)) {
            // Nobody must take it for what its name says.
            let _ = self.operator.delete(&wanted.name).await;
        }
        proof
    }

    /// Where half an object could be seen: under another name first.
    async fn put_aside(&self, wanted: &Wanted) -> Result<&'static str, PutError> {
        let aside = format!(".{}.{:016x}.part", wanted.name, random());
        let moved = self.aside(wanted, &aside).await;
        if moved.is_err() {
            let _ = self.operator.delete(&aside).await;
        }
        moved
    }

    async fn aside(&self, wanted: &Wanted, aside: &str) -> Result<&'static str, PutError> {
        if matches!(self.scheme, Scheme::Webdav | Scheme::Webdavs) {
            let body = mapped(wanted)?;
            self.operator.write(aside, body).await?;
            self.sent.fetch_add(wanted.size, Ordering::Relaxed);
        } else {
            let mut writer = self.operator.writer(aside).await?;
            self.send(&mut writer, wanted, PART).await?;
            writer.close().await?;
        }
        let proof = self.read_back(aside, wanted).await?;
        if self.scheme == Scheme::Sftp {
            // Its rename takes no other file's place.
            match self.operator.stat(&wanted.name).await {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Ok(_) if wanted.only_new => return Err(PutError::Exists),
                Ok(_) => self.operator.delete(&wanted.name).await?,
                Err(error) => return Err(error.into()),
            }
        }
        self.operator.rename(aside, &wanted.name).await?;
        Ok(proof)
    }

    async fn send(&self, writer: &mut Writer, wanted: &Wanted, part: u64) -> Result<(), PutError> {
        let mut file = File::open(&wanted.path).map_err(|_| PutError::Local)?;
        let mut hasher = Md5::new();
        let mut left = wanted.size;
        while left > 0 {
            let mut piece = vec![0; left.min(part) as usize];
            file.read_exact(&mut piece).map_err(|_| PutError::Local)?;
            hasher.update(&piece);
            left -= piece.len() as u64;
            if left == 0 && HEXLOWER.encode(&hasher.finalize_reset()) != wanted.md5 {
                return Err(PutError::Local);
            }
            let size = piece.len() as u64;
            writer.write(piece).await?;
            self.sent.fetch_add(size, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Reads what is there and holds it against what it is to be.
    async fn read_back(&self, name: &str, wanted: &Wanted) -> Result<&'static str, PutError> {
        let mut hasher = Md5::new();
        let mut size = 0;
        let reader = self.operator.reader_with(name).chunk(PART as usize).await?;
        let mut pieces = reader.into_bytes_stream(..).await?;
        loop {
            match pieces.try_next().await {
                Ok(Some(piece)) => {
                    size += piece.len() as u64;
                    hasher.update(&piece);
                }
                Ok(None) => break,
                Err(error) => {
                    let what = opendal::Error::new(ErrorKind::Unexpected, "read back");
                    return Err(PutError::Store(what.set_source(error)));
                }
            }
        }
        if size == wanted.size && HEXLOWER.encode(&hasher.finalize()) == wanted.md5 {
            Ok("read back")
        } else {
            Err(PutError::Mismatch)
        }
    }

    /// Copies what is there into a file.
    pub(super) async fn fetch(&self, name: &str, mut to: File) -> Result<(), PutError> {
        let reader = self.operator.reader_with(name).chunk(PART as usize).await?;
        let mut pieces = reader.into_bytes_stream(..).await?;
        let broken = |error: io::Error| {
            let what = opendal::Error::new(ErrorKind::Unexpected, "read back");
            PutError::Store(what.set_source(error))
        };
        while let Some(piece) = pieces.try_next().await.map_err(broken)? {
            io::Write::write_all(&mut to, &piece).map_err(|_| PutError::Local)?;
        }
        Ok(())
    }
}

/// The tag that S3 gives an object that came in parts of our size.
fn tag_of_parts(path: &Path, size: u64) -> io::Result<String> {
    let part = part_size(size);
    let mut file = File::open(path)?;
    let (mut left, mut parts, mut all) = (size, 0_u64, Md5::new());
    let mut piece = vec![0; size.min(part) as usize];
    while left > 0 {
        let now = left.min(part) as usize;
        file.read_exact(&mut piece[..now])?;
        all.update(Md5::digest(&piece[..now]));
        left -= now as u64;
        parts += 1;
    }
    Ok(format!("{}-{parts}", HEXLOWER.encode(&all.finalize())))
}

/// A file as a body that is sent whole, without being in memory whole.
fn mapped(wanted: &Wanted) -> Result<Buffer, PutError> {
    if wanted.size == 0 {
        return Ok(Buffer::new());
    }
    let file = File::open(&wanted.path).map_err(|_| PutError::Local)?;
    // SAFETY: a blob of the store, which nobody writes to once it has its name.
    let map = unsafe { memmap2::Mmap::map(&file) }.map_err(|_| PutError::Local)?;
    if map.len() as u64 != wanted.size || HEXLOWER.encode(&Md5::digest(&map)) != wanted.md5 {
        return Err(PutError::Local);
    }
    let all = Bytes::from_owner(map);
    let step = MEBI as usize;
    let pieces = (0..all.len())
        .step_by(step)
        .map(|at| all.slice(at..(at + step).min(all.len())));
    Ok(Buffer::from(pieces.collect::<Vec<_>>()))
}

/// A number that no other upload has.
fn random() -> u64 {
    std::collections::hash_map::RandomState::new()
        .build_hasher()
        .finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_few_enough_and_no_smaller_than_stores_want() {
        assert_eq!(part_size(0), PART);
        assert_eq!(part_size(PART * MOST_PARTS), PART);
        let large = 1_u64 << 42;
        assert!(large.div_ceil(part_size(large)) <= MOST_PARTS);
        assert_eq!(part_size(large) % MEBI, 0);
    }

    #[test]
    fn the_tag_of_parts_is_the_digest_of_their_digests() {
        let space = tempfile::tempdir().unwrap();
        let path = space.path().join("a");
        std::fs::write(&path, vec![7; PART as usize + 3]).unwrap();
        let parts = [vec![7; PART as usize], vec![7; 3]].map(|part| Md5::digest(&part));
        let all = HEXLOWER.encode(&Md5::digest([parts[0], parts[1]].concat()));
        assert_eq!(tag_of_parts(&path, PART + 3).unwrap(), format!("{all}-2"));
    }
}
