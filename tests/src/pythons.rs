//! Owns which Pythons this machine has, and folders of packages made once for each: environments
//! and stores of wheels. Shared with `xtask`, which must not build the product to check Python.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::Command,
};

/// The minor versions of Python 3 that the package supports.
pub const SUPPORTED: std::ops::RangeInclusive<u8> = 10..=13;

/// Prints what [`all`] must know of an interpreter, and fails where it cannot make environments.
const PROBE: &str = "import sys, ensurepip, venv; print(sys.version_info[1], \
                     '.'.join(map(str, sys.version_info[:3])), sys.executable, sep='\\n')";

/// An interpreter that can make environments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Python {
    /// Itself, not a shim.
    pub executable: PathBuf,
    /// The minor version: 12 of 3.12.
    pub minor: u8,
    /// The whole version.
    pub version: String,
}

impl Python {
    /// `3.12`.
    pub fn name(&self) -> String {
        format!("3.{}", self.minor)
    }

    fn probe(program: &Path) -> Option<Self> {
        let output = Command::new(program).args(["-c", PROBE]).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        let mut lines = text.lines();
        let minor = lines.next()?.parse().ok()?;
        let version = lines.next()?.to_owned();
        let executable = PathBuf::from(lines.next()?);
        let fits = output.status.success() && SUPPORTED.contains(&minor);
        fits.then_some(Self {
            executable,
            minor,
            version,
        })
    }
}

/// One interpreter for each supported version of Python that is on this machine, the oldest
/// first: on PATH, then of pyenv, then of the system.
pub fn all() -> Vec<Python> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = env::split_paths(&path).collect();
    let pyenv = env::var_os("PYENV_ROOT")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".pyenv")));
    if let Some(versions) = pyenv.and_then(|root| fs::read_dir(root.join("versions")).ok()) {
        let mut versions: Vec<PathBuf> = versions
            .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
            .collect();
        versions.sort();
        folders.extend(versions);
    }
    folders.extend(["/usr/local/bin", "/usr/bin"].map(PathBuf::from));
    let mut found = BTreeMap::new();
    for minor in SUPPORTED {
        for folder in &folders {
            let program = folder.join(format!("python3.{minor}"));
            if !found.contains_key(&minor)
                && program.is_file()
                && let Some(python) = Python::probe(&program).filter(|python| python.minor == minor)
            {
                found.insert(minor, python);
            }
        }
    }
    found.into_values().collect()
}

/// The interpreter that `python3` means, or else the newest of [`all`].
pub fn usual() -> Option<Python> {
    Python::probe(Path::new("python3")).or_else(|| all().pop())
}

/// An environment in `folder` with `requirements` installed, made when it is not there or was
/// made for other requirements. Other processes may ask for the same one at the same time.
///
/// # Errors
/// What pip says, when the requirements cannot be had.
pub fn environment(
    python: &Python,
    folder: &Path,
    requirements: &[&str],
    settings: &[(&str, OsString)],
) -> io::Result<PathBuf> {
    once(folder, &stamp(python, requirements), || {
        let made = Command::new(&python.executable)
            .args(["-m", "venv"])
            .arg(folder)
            .output()?;
        check("venv", &made)?;
        pip(
            &folder.join("bin/python"),
            "install",
            requirements,
            settings,
        )
    })
}

/// An environment below `folder` with the packages that the SDK needs, made once for all suites.
/// Every interpreter has its own, told by its whole path: two that took turns at one place would
/// pull it out from under whoever uses it.
///
/// # Errors
/// As of [`environment`].
pub fn sdk_environment(python: &Python, folder: &Path) -> io::Result<PathBuf> {
    const NEEDED: [&str; 2] = ["pydantic>=2.3", "urllib3>=1.26,<3"];
    environment(python, &folder.join(name_of(python)), &NEEDED, &[])
}

/// A name that no other interpreter has. Equal versions under equal names are common: one of pyenv
/// and one of an active environment around it.
fn name_of(python: &Python) -> String {
    let path = python.executable.to_string_lossy().replace('/', "-");
    format!("run-{}{path}", python.version)
}

/// A folder of wheels of `requirements` and all they need, fit for `python`; made once.
///
/// # Errors
/// What pip says, when the requirements cannot be had.
pub fn wheelhouse(python: &Python, folder: &Path, requirements: &[&str]) -> io::Result<PathBuf> {
    once(folder, &stamp(python, requirements), || {
        fs::create_dir_all(folder)?;
        let mut args = vec!["--only-binary=:all:", "--dest"];
        let dest = folder.to_string_lossy();
        args.push(&dest);
        args.extend(requirements);
        pip(&python.executable, "download", &args, &[])
    })
}

fn pip(python: &Path, verb: &str, args: &[&str], settings: &[(&str, OsString)]) -> io::Result<()> {
    let output = Command::new(python)
        .args(["-m", "pip", verb, "--quiet", "--disable-pip-version-check"])
        .args(args)
        .env_remove("PYTHONPATH")
        .envs(settings.iter().map(|(name, value)| (name, value)))
        .output()?;
    check("pip", &output)
}

fn check(what: &str, output: &std::process::Output) -> io::Result<()> {
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!(
        "{what}: {}\n{said}",
        output.status
    )))
}

fn stamp(python: &Python, requirements: &[&str]) -> String {
    let executable = python.executable.display();
    format!(
        "{executable}\n{}\n{}\n",
        python.version,
        requirements.join("\n")
    )
}

/// Makes `folder` anew unless its stamp is `stamp`; one process at a time.
fn once(folder: &Path, stamp: &str, make: impl FnOnce() -> io::Result<()>) -> io::Result<PathBuf> {
    let marker = folder.join(".stamp");
    let fits = || fs::read_to_string(&marker).is_ok_and(|text| text == stamp);
    fs::create_dir_all(folder.parent().unwrap_or(folder))?;
    // Not `with_extension`: names end in versions.
    let mut lock = folder.as_os_str().to_owned();
    lock.push(".lock");
    let lock = File::create(lock)?;
    lock.lock()?;
    if !fits() {
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
        make()?;
        fs::write(&marker, stamp)?;
    }
    Ok(folder.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_interpreter_has_an_environment_of_its_own() {
        let python = |path: &str| Python {
            executable: path.into(),
            minor: 11,
            version: "3.11.7".to_owned(),
        };
        let names = ["/a/bin/python3.11", "/b/bin/python3.11", "/a/bin/python3"];
        let names = names.map(|path| name_of(&python(path)));
        assert_eq!(names[0], "run-3.11.7-a-bin-python3.11");
        assert!(names[0] != names[1] && names[0] != names[2]);
    }
}
