//! Tests of the strict reader on archives that others make, sound and not.

use std::{ffi::OsStr, path::Path};

use synapse_engine::Digest;

use super::{
    read::{Limits, ReadError, content, entries, entries_within},
    tests::{python, text},
};

/// Runs Python code that makes an archive at `P` with a `ZipFile` named `z`.
pub(super) fn made(code: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let code = format!(
        "import sys, warnings, zipfile\nwarnings.simplefilter('ignore')\nP = sys.argv[1]\n\
         Z = zipfile.ZipInfo\n\
         def info(name, mode=0o100644):\n    i = Z(name); i.create_system = 3\n    \
         i.external_attr = mode << 16\n    return i\n\
         z = zipfile.ZipFile(P, 'w', zipfile.ZIP_DEFLATED)\n{code}\nz.close()\n"
    );
    let arguments: [&OsStr; 3] = ["-c".as_ref(), code.as_ref(), file.path().as_os_str()];
    python(&arguments);
    file
}

fn refused(code: &str) -> ReadError {
    let file = made(code);
    match entries(file.path()) {
        Ok(entries) => panic!("{code}: {entries:?}"),
        Err(error) => error,
    }
}

#[test]
fn sound_archives_of_others() {
    let file = made(
        "z.writestr(info('b/run.sh', 0o100755), b'#!/bin/sh')\nz.writestr('a.txt', b'hello ' * 99)\n\
         z.writestr(info('b/', 0o40755), b'')\nz.writestr('é', b'')",
    );
    let found: Vec<_> = entries(file.path())
        .unwrap()
        .into_iter()
        .map(|entry| (entry.path, entry.executable, entry.size, entry.digest))
        .collect();
    let digest = |bytes: &[u8]| Digest::of(bytes);
    assert_eq!(
        found,
        [
            (
                "a.txt".to_owned(),
                false,
                594,
                digest("hello ".repeat(99).as_bytes())
            ),
            ("b/run.sh".to_owned(), true, 9, digest(b"#!/bin/sh")),
            ("é".to_owned(), false, 0, digest(b"")),
        ]
    );
}

/// Order, times, compression and folders are not content.
#[test]
fn content_is_of_files_alone() {
    let one = made("z.writestr('a', b'1' * 500)\nz.writestr('b', b'2')");
    let two = made(
        "z.compression = 0\nz.writestr(info('b'), b'2')\nz.writestr(info('c/', 0o40755), b'')\n\
         z.writestr(info('a'), b'1' * 500)",
    );
    assert_eq!(content(one.path()).unwrap(), content(two.path()).unwrap());
    let three = made("z.writestr(info('b', 0o100755), b'2')\nz.writestr('a', b'1' * 500)");
    assert_ne!(content(one.path()).unwrap(), content(three.path()).unwrap());
}

/// Data descriptors, as written by those who cannot seek.
#[test]
fn streamed_archives() {
    let file = made(
        "z.close()\nclass Pipe:\n    def __init__(s): s.f = open(P, 'wb')\n    def write(s, b): \
         return s.f.write(b)\n    def flush(s): s.f.flush()\n\
         p = Pipe()\ny = zipfile.ZipFile(p, 'w', zipfile.ZIP_DEFLATED)\n\
         y.writestr('a', b'abc' * 999)\ny.close()\np.f.close()\n\
         import io\nz = io.BytesIO()",
    );
    assert_eq!(entries(file.path()).unwrap()[0].size, 2997);
}

#[test]
fn comments_and_zip64() {
    let file = made("z.writestr('a', b'abc')\nz.comment = b'a note'");
    assert_eq!(entries(file.path()).unwrap().len(), 1);
    refused("z.writestr('a', b'abc')\nz.comment = b'PK\\5\\6' + bytes(18)");
    let file = made("for i in range(66000): z.writestr(str(i), b'')");
    assert_eq!(entries(file.path()).unwrap().len(), 66_000);
    let file = made("with z.open('a', 'w', force_zip64=True) as f: f.write(b'abc')");
    assert_eq!(entries(file.path()).unwrap()[0].size, 3);
}

#[test]
fn names_that_lead_elsewhere() {
    for name in [
        "../a",
        "a/../../b",
        "/etc/passwd",
        "a\\b",
        "C:/a",
        "./a",
        "a//b",
        "..",
        "a/.",
    ] {
        let error = refused(&format!(
            "i = info('x'); i.filename = {name:?}\nz.writestr(i, b'')"
        ));
        assert!(matches!(error, ReadError::Entry { .. }), "{name}: {error}");
    }
    // Python cuts names at a NUL, so it is put in afterwards.
    let file = made("z.writestr('aXb', b'')");
    patch(file.path(), b"aXb", b"a\0b");
    assert!(entries(file.path()).is_err());
}

#[test]
fn kinds_and_twice_the_same() {
    let symlink = refused("z.writestr(info('a', 0o120777), b'/etc')");
    assert!(symlink.to_string().contains("symlink"));
    refused("z.writestr(info('a', 0o20666), b'')");
    refused("z.writestr('a', b'1')\nz.writestr('a', b'2')");
    refused("z.writestr('a', b'1')\nz.writestr('a/b', b'2')");
    refused("z.writestr('a', b'1')\nz.writestr(info('a/', 0o40755), b'')");
}

fn patch(path: &Path, from: &[u8], to: &[u8]) {
    let mut bytes = std::fs::read(path).unwrap();
    for at in 0..=bytes.len() - from.len() {
        if bytes[at..].starts_with(from) {
            bytes[at..at + to.len()].copy_from_slice(to);
        }
    }
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn damage_and_lies() {
    let code = "z.writestr('a', bytes(range(256)) * 40)";
    let sound = std::fs::read(made(code).path()).unwrap();
    // Every announced size, in both headers.
    let file = made(code);
    patch(
        file.path(),
        &10_240_u32.to_le_bytes(),
        &10_000_u32.to_le_bytes(),
    );
    assert!(entries(file.path()).is_err());
    patch(
        file.path(),
        &10_000_u32.to_le_bytes(),
        &10_241_u32.to_le_bytes(),
    );
    assert!(entries(file.path()).is_err());
    for (at, what) in [(14, "crc"), (60, "stream"), (sound.len() - 10, "directory")] {
        let file = made(code);
        let mut bytes = sound.clone();
        bytes[at] ^= 0x55;
        std::fs::write(file.path(), bytes).unwrap();
        assert!(entries(file.path()).is_err(), "{what}");
    }
    let file = made(code);
    std::fs::write(file.path(), &sound[..sound.len() / 2]).unwrap();
    assert!(matches!(entries(file.path()), Err(ReadError::Format(_))));
    std::fs::write(file.path(), [&text(100, 1)[..], &sound].concat()).unwrap();
    assert!(entries(file.path()).is_err());
    std::fs::write(file.path(), [&sound[..], b"tail"].concat()).unwrap();
    assert!(entries(file.path()).is_err());
    std::fs::write(file.path(), b"").unwrap();
    assert!(matches!(entries(file.path()), Err(ReadError::Format(_))));
    assert!(matches!(
        entries(Path::new("/nowhere/a.zip")),
        Err(ReadError::Io(_))
    ));
}

#[test]
fn bombs() {
    let error = refused("z.writestr('a', bytes(80 << 20))");
    assert!(matches!(error, ReadError::Bomb { .. }), "{error}");
    let file = made("for i in range(20): z.writestr(str(i), b'x' * 1000)");
    let limits = Limits {
        entries: 19,
        ..Limits::default()
    };
    assert!(matches!(
        entries_within(file.path(), &limits),
        Err(ReadError::Bomb { .. })
    ));
    let limits = Limits {
        total: 19_999,
        ..Limits::default()
    };
    assert!(matches!(
        entries_within(file.path(), &limits),
        Err(ReadError::Bomb { .. })
    ));
    assert_eq!(entries(file.path()).unwrap().len(), 20);
}
