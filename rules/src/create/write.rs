//! Owns the writing of a new plugin: into a hidden folder beside its place, which takes the place
//! in one step and never replaces anything. What failed leaves nothing behind.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    io::Errno,
};
use synapse_engine::{Cancel, Failure, store::Hook};

use super::File;

/// Refuses a place where something is already, be it a link that leads nowhere.
pub fn expect_free(target: &Path) -> Result<(), Failure> {
    match target.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(cannot("look at", target, &error)),
        Ok(_) => Err(taken(target)),
    }
}

/// Writes the files into `target`, which must not be there; folders above it are made. `hook` is
/// for fault tests: called before every file, and before the folder takes its place.
pub fn place(
    target: &Path,
    files: &[File],
    cancel: &Cancel,
    hook: Option<&Hook>,
) -> Result<(), Failure> {
    expect_free(target)?;
    let parent = target.parent().unwrap_or(Path::new("/"));
    let mut made = Made::default();
    made.folders(parent)?;
    let hidden = tempfile::Builder::new()
        .prefix(".synapse-create-")
        .tempdir_in(parent)
        .map_err(|error| cannot("write into", parent, &error))?;
    // One more folder: that of tempfile is its owner's alone.
    let fresh = hidden.path().join("plugin");
    let written = fill(&fresh, files, cancel, hook)
        .map_err(|stopped| stopped.explained(parent))
        .and_then(|()| take(&fresh, target));
    let gone = hidden.close();
    written?;
    gone.map_err(|error| cannot("tidy up in", parent, &error))?;
    made.keep();
    Ok(())
}

/// Why not all was written.
enum Stopped {
    /// Work was asked to stop.
    Asked,
    /// This file cannot be written.
    At(String, io::Error),
}

impl Stopped {
    fn explained(self, parent: &Path) -> Failure {
        match self {
            Self::Asked => Failure::cancelled(),
            Self::At(path, error) => {
                explained(format!("cannot write {path}: {error}"), parent, &error)
            }
        }
    }
}

fn step(hook: Option<&Hook>, name: &str) -> io::Result<()> {
    hook.map_or(Ok(()), |hook| hook(name))
}

fn fill(
    folder: &Path,
    files: &[File],
    cancel: &Cancel,
    hook: Option<&Hook>,
) -> Result<(), Stopped> {
    let failed = |path: &str| {
        let path = path.to_owned();
        move |error| Stopped::At(path, error)
    };
    fs::create_dir(folder).map_err(failed("its folder"))?;
    for file in files {
        if cancel.cancelled() {
            return Err(Stopped::Asked);
        }
        let path = folder.join(&file.path);
        let above = || path.parent().map_or(Ok(()), fs::create_dir_all);
        let written = step(hook, "create-file")
            .and_then(|()| above())
            .and_then(|()| {
                let mode = if file.executable { 0o777 } else { 0o666 };
                let mut options = fs::OpenOptions::new();
                let mut open = options
                    .write(true)
                    .create_new(true)
                    .mode(mode)
                    .open(&path)?;
                open.write_all(&file.bytes)
            });
        written.map_err(failed(&file.path))?;
    }
    step(hook, "create-rename").map_err(failed("its name"))?;
    if cancel.cancelled() {
        return Err(Stopped::Asked);
    }
    Ok(())
}

/// Moves the folder to its place, unless something has come there meanwhile.
fn take(fresh: &Path, target: &Path) -> Result<(), Failure> {
    match renameat_with(CWD, fresh, CWD, target, RenameFlags::NOREPLACE) {
        Ok(()) => return Ok(()),
        Err(Errno::EXIST | Errno::NOTEMPTY) => return Err(taken(target)),
        // A filesystem that cannot promise it; the way below can.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
        Err(error) => return Err(cannot("write", target, &error.into())),
    }
    // Whoever makes the empty folder has the place, and a rename replaces only an empty one.
    fs::create_dir(target).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => taken(target),
        _ => cannot("write", target, &error),
    })?;
    fs::rename(fresh, target).map_err(|error| {
        let _ = fs::remove_dir(target);
        cannot("write", target, &error)
    })
}

/// Folders that were made on the way; those that are still empty go again.
#[derive(Default)]
struct Made(Vec<PathBuf>);

impl Made {
    fn folders(&mut self, wanted: &Path) -> Result<(), Failure> {
        let missing: Vec<&Path> = wanted.ancestors().take_while(|own| !own.is_dir()).collect();
        for folder in missing.into_iter().rev() {
            match fs::create_dir(folder) {
                Ok(()) => self.0.push(folder.to_owned()),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
                Err(error) => return Err(cannot("make", folder, &error)),
            }
        }
        Ok(())
    }

    fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for folder in self.0.iter().rev() {
            let _ = fs::remove_dir(folder);
        }
    }
}

fn taken(target: &Path) -> Failure {
    let shown = target.display().to_string();
    Failure::user(
        "exists",
        format!("{shown} is there already; nothing is overwritten"),
    )
    .hint("choose another code with --code, or another folder with --path")
}

fn cannot(verb: &str, path: &Path, error: &io::Error) -> Failure {
    explained(
        format!("cannot {verb} {}: {error}", path.display()),
        path,
        error,
    )
}

fn explained(what: String, path: &Path, error: &io::Error) -> Failure {
    let (code, hint) = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => (
            "disk-full",
            "free some space, or name another folder with --path",
        ),
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => (
            "not-a-folder",
            "a part of the path is a file: name a folder with --path",
        ),
        _ => (
            "not-writable",
            "name a folder that you may write into with --path",
        ),
    };
    Failure::environment(code, what)
        .at(path.display().to_string())
        .hint(hint)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn files() -> Vec<File> {
        let file = |path: &str, executable| File {
            path: path.to_owned(),
            bytes: path.as_bytes().to_vec(),
            executable,
        };
        vec![file("a/b.txt", false), file("run.sh", true)]
    }

    fn names(folder: &Path) -> Vec<String> {
        let listing = fs::read_dir(folder).unwrap();
        let names = listing.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect()
    }

    #[test]
    fn all_of_it_or_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("x/y/plugin");
        place(&target, &files(), &Cancel::default(), None).unwrap();
        assert_eq!(fs::read(target.join("a/b.txt")).unwrap(), b"a/b.txt");
        let mode = |path: &str| {
            fs::metadata(target.join(path))
                .unwrap()
                .permissions()
                .mode()
        };
        assert_eq!(
            (mode("run.sh") & 0o100, mode("a/b.txt") & 0o111),
            (0o100, 0)
        );
        assert_eq!(names(&folder.path().join("x/y")), ["plugin"]);

        let cancel = Cancel::default();
        cancel.cancel();
        let other = folder.path().join("z/plugin");
        let failure = place(&other, &files(), &cancel, None).unwrap_err();
        assert_eq!(failure.code, "cancelled");
        assert_eq!(names(folder.path()), ["x"], "not even the folder above");
    }

    #[test]
    fn what_is_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("empty")).unwrap();
        fs::write(at("file"), "mine").unwrap();
        symlink("nowhere", at("link")).unwrap();
        for name in ["empty", "file", "link"] {
            let failure = place(&at(name), &files(), &Cancel::default(), None).unwrap_err();
            assert_eq!(failure.code, "exists", "{name}");
            // Also for one who looked before it came there.
            fs::create_dir_all(at("fresh")).unwrap();
            assert_eq!(take(&at("fresh"), &at(name)).unwrap_err().code, "exists");
        }
        assert_eq!(fs::read(at("file")).unwrap(), b"mine");
        assert!(names(&at("empty")).is_empty());
        let below = place(&at("file/x/plugin"), &files(), &Cancel::default(), None).unwrap_err();
        assert_eq!(below.code, "not-a-folder", "{below}");
        assert_eq!(names(folder.path()).len(), 4, "{:?}", names(folder.path()));
    }
}
