//! Owns unpacking: the files of an archive as files of a new folder, with all the checks of the
//! strict reader before the first byte is written.

use std::{
    collections::HashSet,
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
};

use super::read::{BUFFER, Entry, Limits, ReadError, open, read};

/// Unpacks the archive that `file` is into the folder `into`, which is made and must not be there
/// yet: nothing that lies in it can lead elsewhere. Returns the files, sorted by the bytes of their
/// paths. What was written before a failure stays.
pub fn unpack(file: File, into: &Path, limits: &Limits) -> Result<Vec<Entry>, ReadError> {
    let (mut archive, files) = open(file, limits)?;
    let make = |folder: &Path| DirBuilder::new().mode(0o700).create(folder);
    make(into).map_err(|error| ReadError::Write {
        path: into.display().to_string(),
        error,
    })?;
    let mut made: HashSet<String> = HashSet::new();
    let mut buffer = vec![0; BUFFER];
    let mut entries = Vec::with_capacity(files.len());
    for checked in files {
        let (_, path, executable, _) = &checked;
        let fail = |error: io::Error| ReadError::Write {
            path: path.clone(),
            error,
        };
        for (at, _) in path.match_indices('/') {
            let folder = &path[..at];
            if made.insert(folder.to_owned()) {
                make(&into.join(folder)).map_err(fail)?;
            }
        }
        // What is there already, by whatever name the disk takes for the same, is never followed.
        let mut out = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(if *executable { 0o700 } else { 0o600 })
            .open(into.join(path))
            .map_err(fail)?;
        let name = path.clone();
        let mut take = |bytes: &[u8]| {
            out.write_all(bytes).map_err(|error| ReadError::Write {
                path: name.clone(),
                error,
            })
        };
        entries.push(read(&mut archive, checked, &mut buffer, &mut take)?);
    }
    entries.sort_unstable();
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;
    use crate::archive::{read, read_tests::made};

    fn unpacked(code: &str, limits: &Limits) -> (tempfile::TempDir, Result<Vec<Entry>, ReadError>) {
        let folder = tempfile::tempdir().expect("a folder");
        let file = made(code);
        let found = unpack(
            File::open(file.path()).expect("an archive"),
            &folder.path().join("new"),
            limits,
        );
        if let Ok(found) = &found {
            assert_eq!(*found, read::entries(file.path()).expect("entries"));
        }
        (folder, found)
    }

    #[test]
    fn files_come_out_as_they_went_in() {
        let (folder, found) = unpacked(
            "z.writestr(info('bin/run.sh', 0o100755), b'#!/bin/sh')\n\
             z.writestr(info('bin/', 0o40755), b'')\nz.writestr('a/b/é.txt', b'hello ' * 99)\n\
             z.writestr('empty', b'')",
            &Limits::default(),
        );
        assert_eq!(found.expect("unpacked").len(), 3);
        let new = folder.path().join("new");
        assert_eq!(
            fs::read(new.join("a/b/é.txt")).expect("a file"),
            b"hello ".repeat(99)
        );
        assert_eq!(fs::read(new.join("empty")).expect("a file"), b"");
        let mode = |name: &str| {
            let meta = fs::metadata(new.join(name)).expect("a file");
            meta.permissions().mode() & 0o777
        };
        assert_eq!((mode("bin/run.sh"), mode("a/b/é.txt")), (0o700, 0o600));
    }

    #[test]
    fn nothing_is_written_outside_or_over_what_is_there() {
        for code in [
            "z.writestr('../evil', b'x')",
            "z.writestr('/evil', b'x')",
            "z.writestr('a/../../evil', b'x')",
            "z.writestr(info('link', 0o120777), b'/etc')\nz.writestr('link/evil', b'x')",
            "z.writestr('a', b'x')\nz.writestr('a/evil', b'x')",
            "z.writestr('evil', b'x')\nz.writestr('evil', b'y')",
        ] {
            let (folder, found) = unpacked(code, &Limits::default());
            found.expect_err(code);
            // Refused before the folder is even made.
            assert_eq!(
                fs::read_dir(folder.path()).expect("a folder").count(),
                0,
                "{code}"
            );
        }
        let folder = tempfile::tempdir().expect("a folder");
        let file = made("z.writestr('a', b'x')");
        let open = || File::open(file.path()).expect("an archive");
        unpack(open(), folder.path(), &Limits::default()).expect_err("it is there already");
        std::os::unix::fs::symlink("/tmp", folder.path().join("link")).expect("a link");
        unpack(open(), &folder.path().join("link"), &Limits::default()).expect_err("a link");
    }

    #[test]
    fn an_archive_that_holds_too_much_is_not_begun() {
        let limits = Limits {
            total: 1000,
            ..Limits::default()
        };
        let (folder, found) = unpacked("z.writestr('a', bytes(2000))", &limits);
        assert!(matches!(found, Err(ReadError::Bomb { .. })), "{found:?}");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
    }
}
