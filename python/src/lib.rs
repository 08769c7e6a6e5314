//! Owns the payload: what the executable carries of Python, the package `synapse_sdk` and the
//! worker's native module, for the environments that it makes itself.

use std::{
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

// `FILES`, path and bytes of every file, and `DIGEST` of them all.
include!(concat!(env!("OUT_DIR"), "/payload.rs"));

/// Version of the messages between command and worker; both sides name it.
pub const PROTOCOL: u32 = 1;

/// Version of the package.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Written last: a payload that has it is whole.
const MARKER: &str = ".complete";

/// Digest of all files of the payload, native module included: 64 hexadecimal digits.
pub fn digest() -> &'static str {
    DIGEST
}

/// Writes the payload into a folder below `folder`, named for its digest, and returns that
/// folder: it goes onto `sys.path`. When it is there, every file's size is looked at and nothing
/// is written. Processes may do this at the same time.
pub fn materialise(folder: &Path) -> io::Result<PathBuf> {
    let place = folder.join(&digest()[..32]);
    if is_whole(&place) {
        return Ok(place);
    }
    fs::create_dir_all(folder)?;
    let fresh = tempfile::Builder::new()
        .prefix(".sdk-")
        .tempdir_in(folder)?;
    for (path, bytes) in FILES {
        let path = fresh.path().join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, bytes)?;
    }
    fs::write(fresh.path().join(MARKER), digest())?;
    // A second try, for a damaged one that was in the way. It is moved aside first, since a
    // worker may be reading it.
    for _ in 0..2 {
        match fs::rename(fresh.path(), &place) {
            Ok(()) => {
                // Its name is gone, so there is nothing left to delete.
                let _ = fresh.keep();
                return Ok(place);
            }
            Err(_) if is_whole(&place) => return Ok(place),
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::DirectoryNotEmpty
                        | ErrorKind::AlreadyExists
                        | ErrorKind::NotADirectory
                ) =>
            {
                let aside = tempfile::Builder::new()
                    .prefix(".damaged-")
                    .tempdir_in(folder)?;
                match fs::rename(&place, aside.path().join("sdk")) {
                    Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other(format!(
        "{} keeps being damaged",
        place.display()
    )))
}

fn is_whole(place: &Path) -> bool {
    let marked = fs::read(place.join(MARKER)).is_ok_and(|text| text == digest().as_bytes());
    let there = |(path, bytes): &(&str, &[u8])| {
        fs::metadata(place.join(path)).is_ok_and(|meta| meta.len() == bytes.len() as u64)
    };
    marked && FILES.iter().all(there)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_written_once_and_mended_when_damaged() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = folder.path().join("store");
        let place = materialise(&store).expect("a payload");
        let init = place.join("synapse_sdk/__init__.py");
        let native = place.join("synapse_native.abi3.so");
        let first = fs::metadata(&native)
            .expect("the module")
            .modified()
            .expect("a time");
        assert_eq!(materialise(&store).expect("the same"), place);
        assert_eq!(
            fs::metadata(&native)
                .expect("the module")
                .modified()
                .expect("a time"),
            first,
            "nothing was written again"
        );
        let text = fs::read(&init).expect("the package");
        for damage in [
            || -> Box<dyn Fn(&Path)> { Box::new(|path| fs::remove_file(path).expect("removed")) },
            || -> Box<dyn Fn(&Path)> { Box::new(|path| fs::write(path, "#").expect("written")) },
        ] {
            damage()(&init);
            assert_eq!(materialise(&store).expect("mended"), place);
            assert_eq!(fs::read(&init).expect("the package"), text);
        }
        fs::remove_dir_all(&place).expect("removed");
        fs::write(&place, "in the way").expect("written");
        materialise(&store).expect("mended");
        assert_eq!(fs::read(&init).expect("the package"), text);
        let left = fs::read_dir(&store).expect("a folder").count();
        assert_eq!(left, 1, "temporary folders are gone");
    }

    #[test]
    fn threads_that_write_it_at_once_all_get_it() {
        let folder = tempfile::tempdir().expect("a folder");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| materialise(folder.path()).expect("a payload"));
            }
        });
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }

    #[test]
    fn the_payload_holds_sources_and_nothing_derived() {
        assert_eq!(digest().len(), 64);
        let names: Vec<&str> = FILES.iter().map(|(path, _)| *path).collect();
        assert!(names.contains(&"synapse_native.abi3.so"));
        assert!(names.contains(&"synapse_sdk/py.typed"));
        assert!(names.iter().all(|name| !name.contains("__pycache__")));
    }
}
