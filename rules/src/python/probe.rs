//! Owns what an interpreter says of itself: one is asked once; after that the stat of its program
//! answers for it.

use std::{
    fs,
    io::Write,
    os::unix::{ffi::OsStrExt, fs::DirBuilderExt},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use synapse_engine::{Digest, Failure, index::FileStat};

use super::{
    interpreter::{Find, Interpreter},
    process::{Call, Private, Processes, Status, clean_environment},
};
use crate::config::diagnostic::printable;

/// What an interpreter is asked; raise [`PROBE`] when it changes.
const SCRIPT: &str = include_str!("probe.py");
const PROBE: u32 = 1;
/// An interpreter that takes longer to say what it is does not work.
const PATIENCE: Duration = Duration::from_mins(1);

/// An answer, with what it depends on.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    probe: u32,
    guard: Vec<Option<[i64; 5]>>,
    /// Paths whose stats are the guard, after the program itself.
    guarded: Vec<PathBuf>,
    interpreter: Interpreter,
}

fn stat(path: &Path) -> Option<[i64; 5]> {
    let stat = FileStat::from(&fs::metadata(path).ok()?);
    let (dev, ino, size) = (stat.dev as i64, stat.ino as i64, stat.size as i64);
    Some([dev, ino, size, stat.mtime, stat.ctime])
}

fn guard(path: &Path, guarded: &[PathBuf]) -> Vec<Option<[i64; 5]>> {
    std::iter::once(stat(path))
        .chain(guarded.iter().map(|path| stat(path)))
        .collect()
}

/// What the interpreter at `path` is: by its kept answer, else by asking it.
pub(super) fn probe(
    find: &Find<'_>,
    path: &Path,
    processes: &dyn Processes,
) -> Result<Interpreter, Failure> {
    let name = Digest::of(path.as_os_str().as_bytes()).hex();
    let kept = find.cache.join(format!("{}.json", &name[..32]));
    if let Ok(bytes) = fs::read(&kept)
        && let Ok(answer) = serde_json::from_slice::<Answer>(&bytes)
        && answer.probe == PROBE
        && answer.guard.first().is_some_and(Option::is_some)
        && answer.guard == guard(path, &answer.guarded)
    {
        return Ok(answer.interpreter);
    }
    let interpreter = ask(find, path, processes)?;
    let mut guarded = vec![interpreter.prefix.join("pyvenv.cfg")];
    // pip is among what was asked.
    guarded.extend(interpreter.site_packages.iter().cloned());
    if interpreter.base_executable != path {
        guarded.push(interpreter.base_executable.clone());
    }
    guarded.extend(interpreter.libpython.clone());
    let answer = Answer {
        probe: PROBE,
        guard: guard(path, &guarded),
        guarded,
        interpreter,
    };
    // Not kept, it is asked again: that costs time only.
    let _ = keep(&kept, &answer);
    Ok(answer.interpreter)
}

fn keep(path: &Path, answer: &Answer) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(path);
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(&serde_json::to_vec(answer)?)?;
    file.persist(path)?;
    Ok(())
}

fn ask(find: &Find<'_>, path: &Path, processes: &dyn Processes) -> Result<Interpreter, Failure> {
    let shown = path.display().to_string();
    let failed = |what: String| {
        Failure::environment("python", format!("{shown} does not work: {what}"))
            .at(shown.clone())
            .hint("name another one with --python")
    };
    let private = Private::new(find.cache).map_err(|error| failed(error.to_string()))?;
    let environment = clean_environment(find.variables, private.path());
    let mut call = Call::new(path, environment, private.path()).args(["-I", "-c", SCRIPT]);
    call.timeout = Some(PATIENCE);
    let ended = processes
        .run(&call, find.cancel)
        .map_err(|error| failed(error.to_string()))?;
    match ended.status {
        Status::Code(0) => {}
        Status::Cancelled => return Err(Failure::cancelled()),
        Status::TimedOut => return Err(failed("it does not answer".to_owned())),
        Status::Code(_) | Status::Signal(_) => {
            let error = ended.err();
            let last = error.lines().rev().find(|line| !line.trim().is_empty());
            return Err(no_python(path, last.unwrap_or_default()));
        }
    }
    // Whatever a .pth file prints comes first.
    let out = ended.out();
    let answer = out
        .lines()
        .rev()
        .find(|line| line.starts_with('{'))
        .unwrap_or_default();
    serde_json::from_str(answer).map_err(|_| no_python(path, ""))
}

/// A program that does not answer as a Python would; `said` is its last line, which may well be
/// our own question.
fn no_python(path: &Path, said: &str) -> Failure {
    const LONGEST: usize = 120;
    let shown = path.display().to_string();
    let asks = SCRIPT.lines().next().unwrap_or_default();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let what = if name.contains("python") || name.contains("pypy") {
        "does not work as a Python"
    } else {
        "is no Python"
    };
    let said: String = said.trim().chars().map(printable).collect();
    let fit = !said.is_empty() && said.chars().count() <= LONGEST && !said.contains(asks);
    let said = if fit {
        format!(": {said}")
    } else {
        String::new()
    };
    Failure::environment("python", format!("{shown} {what}{said}"))
        .at(shown)
        .hint("--python takes a version such as 3.12, or the path of a Python")
}
