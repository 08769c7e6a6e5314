//! Owns [`Source`]: a file that is read for packing and must not change meanwhile.

use std::{fs::File, io, io::Read as _};

use rustix::{
    fs::{FileType, Mode, OFlags, Stat},
    io::Errno,
};

use super::pack::{PackError, PackFile};

/// An open source, as it was when it was opened.
pub(super) struct Source<'a> {
    wanted: &'a PackFile,
    file: File,
    stat: Stat,
}

impl<'a> Source<'a> {
    /// Opens the source of `wanted`: a regular file of the size that is expected.
    pub(super) fn open(wanted: &'a PackFile) -> Result<Self, PackError> {
        // Not to wait for a writer, should it have become a pipe.
        let mut flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        if !wanted.follow {
            flags |= OFlags::NOFOLLOW;
        }
        let file: File = match rustix::fs::open(&wanted.source, flags, Mode::empty()) {
            Ok(file) => file.into(),
            Err(Errno::NOENT | Errno::NOTDIR) => {
                return Err(PackError::Missing {
                    path: wanted.path.clone(),
                });
            }
            // A symlink where none was.
            Err(Errno::LOOP) => {
                return Err(PackError::Edited {
                    path: wanted.path.clone(),
                });
            }
            Err(errno) => {
                let error = io::Error::from(errno);
                return Err(PackError::Unreadable {
                    path: wanted.path.clone(),
                    error,
                });
            }
        };
        let stat = rustix::fs::fstat(&file).map_err(|errno| unreadable(wanted, errno.into()))?;
        let source = Self { wanted, file, stat };
        let regular = FileType::from_raw_mode(source.stat.st_mode) == FileType::RegularFile;
        if !regular || source.stat.st_size as u64 != wanted.size {
            return Err(source.edited());
        }
        Ok(source)
    }

    /// The open file.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Reads on until `buffer` is full or the file ends.
    pub(super) fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, PackError> {
        let mut length = 0;
        while length < buffer.len() {
            match self.file.read(&mut buffer[length..]) {
                Ok(0) => break,
                Ok(read) => length += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(unreadable(self.wanted, error)),
            }
        }
        Ok(length)
    }

    /// After the last byte: fails if the file is not as it was when it was opened.
    pub(super) fn end(&mut self) -> Result<(), PackError> {
        let now =
            rustix::fs::fstat(&self.file).map_err(|errno| unreadable(self.wanted, errno.into()))?;
        let times = |stat: &Stat| (stat.st_size, stat.st_mtime, stat.st_mtime_nsec);
        if times(&now) == times(&self.stat) {
            Ok(())
        } else {
            Err(self.edited())
        }
    }

    /// Starts over.
    pub(super) fn rewind(&mut self) -> Result<(), PackError> {
        io::Seek::rewind(&mut self.file).map_err(|error| unreadable(self.wanted, error))
    }

    /// The error for a file that is not the one that was expected.
    pub(super) fn edited(&self) -> PackError {
        PackError::Edited {
            path: self.wanted.path.clone(),
        }
    }

    /// The error for a file that cannot be read.
    pub(super) fn unreadable(&self, error: io::Error) -> PackError {
        unreadable(self.wanted, error)
    }
}

fn unreadable(wanted: &PackFile, error: io::Error) -> PackError {
    PackError::Unreadable {
        path: wanted.path.clone(),
        error,
    }
}
