//! Owns [`Interpreter`]: which Pythons this machine has, and which of them is taken.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    str::FromStr,
};

use pep440_rs::{Version, VersionSpecifiers};
use pep508_rs::{MarkerEnvironment, StringVersion};
use serde::{Deserialize, Serialize};
use synapse_engine::{Cancel, Failure};

use super::{Variables, probe::probe, process::Processes};

/// Minor versions of Python 3 that the SDK is made for.
pub const MINORS: std::ops::RangeInclusive<u8> = 10..=13;

/// A Python.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interpreter {
    /// The program, of the environment when it is one.
    pub executable: PathBuf,
    /// Version.
    pub version: (u8, u8, u8),
    /// `cpython` and the like.
    pub implementation: String,
    /// `sys.prefix`.
    pub prefix: PathBuf,
    /// `sys.base_prefix`.
    pub base_prefix: PathBuf,
    /// The program that an environment was made from; itself when it is none.
    pub base_executable: PathBuf,
    /// The shared library, when there is one.
    pub libpython: Option<PathBuf>,
    /// System, machine and C library, such as `linux_x86_64_glibc_2_36`.
    pub platform: String,
    /// The values of PEP 508's markers.
    pub markers: BTreeMap<String, String>,
    /// It belongs to a virtual or conda environment.
    pub is_virtual: bool,
    /// Where packages lie.
    pub site_packages: Vec<PathBuf>,
    /// Version of its pip, when it has one.
    pub pip: Option<String>,
    /// It is built without the global lock, which needs other wheels.
    pub free_threaded: bool,
}

impl Interpreter {
    /// Such as `3.11`.
    pub fn minor(&self) -> String {
        format!("{}.{}", self.version.0, self.version.1)
    }

    /// Such as `3.11.7`.
    pub fn full_version(&self) -> String {
        let (major, minor, patch) = self.version;
        format!("{major}.{minor}.{patch}")
    }

    /// What distinguishes results made with it; no paths, so that machines can share them.
    pub fn identity(&self) -> String {
        let free = if self.free_threaded {
            " free-threaded"
        } else {
            ""
        };
        format!(
            "{} {}{free} {}",
            self.implementation,
            self.full_version(),
            self.platform
        )
    }

    /// Whether its version is one of those.
    pub fn suits(&self, wanted: &VersionSpecifiers) -> bool {
        let (major, minor, patch) = self.version;
        wanted.contains(&Version::new([major, minor, patch].map(u64::from)))
    }

    /// The values of markers, to evaluate requirements with.
    pub fn marker_environment(&self) -> Result<MarkerEnvironment, Failure> {
        let value = |name: &str| self.markers.get(name).cloned().unwrap_or_default();
        let version = |name: &str| {
            value(name).parse::<StringVersion>().map_err(|error| {
                let what = format!("{} says of itself: {error}", self.executable.display());
                Failure::environment("python", what).hint("name another one with --python")
            })
        };
        Ok(MarkerEnvironment {
            implementation_name: value("implementation_name"),
            implementation_version: version("implementation_version")?,
            os_name: value("os_name"),
            platform_machine: value("platform_machine"),
            platform_python_implementation: value("platform_python_implementation"),
            platform_release: value("platform_release"),
            platform_system: value("platform_system"),
            platform_version: value("platform_version"),
            python_full_version: version("python_full_version")?,
            python_version: version("python_version")?,
            sys_platform: value("sys_platform"),
        })
    }

    /// The interpreter of an environment that is, or will be, made from this one in `folder`.
    pub fn in_environment(&self, folder: &Path) -> Self {
        let packages = folder.join(format!("lib/python{}/site-packages", self.minor()));
        Self {
            executable: folder.join("bin/python"),
            prefix: folder.to_owned(),
            is_virtual: true,
            site_packages: vec![packages],
            pip: None,
            ..self.clone()
        }
    }
}

/// Which interpreter is wanted, and where to look.
#[derive(Debug, Clone, Copy)]
pub struct Find<'a> {
    /// A version (`3.12`, `>=3.11`), a path, or the name of a program.
    pub wanted: Option<&'a str>,
    /// What the plugin asks for.
    pub requires: Option<&'a VersionSpecifiers>,
    /// The newest that fits, rather than the first on PATH.
    pub newest: bool,
    /// The environment variables of the command.
    pub variables: &'a Variables,
    /// Where answers of interpreters are kept.
    pub cache: &'a Path,
    /// Asks to stop.
    pub cancel: &'a Cancel,
}

/// An interpreter that may be there.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Candidate {
    path: PathBuf,
    /// Its minor version, when the name tells.
    minor: Option<u8>,
}

/// The interpreter that fits best.
pub fn find(find: &Find<'_>, processes: &dyn Processes) -> Result<Interpreter, Failure> {
    let wanted = find
        .wanted
        .map(str::trim)
        .filter(|wanted| !wanted.is_empty());
    let versions = match wanted {
        None => None,
        Some(wanted) => match wanted_versions(wanted) {
            Some(versions) => Some(versions),
            None => return named(find, wanted, processes),
        },
    };
    let mut candidates = candidates(find.variables);
    if find.newest {
        candidates.sort_by_key(|candidate| std::cmp::Reverse(candidate.minor));
    }
    let (mut seen, mut useless) = (BTreeSet::new(), BTreeSet::new());
    for candidate in candidates {
        // A later one is taken when it is asked for.
        let later = |minor| versions.is_some() && minor > *MINORS.end();
        let supported = |minor| MINORS.contains(&minor) || later(minor);
        if candidate.minor.is_some_and(|minor| !supported(minor)) && versions.is_none() {
            continue;
        }
        let Ok(interpreter) = probe(find, &candidate.path, processes) else {
            if find.cancel.cancelled() {
                return Err(Failure::cancelled());
            }
            continue;
        };
        if !can_run(&interpreter) || interpreter.free_threaded {
            useless.insert(described(&interpreter));
            continue;
        }
        let fits = supported(interpreter.version.1)
            && versions
                .as_ref()
                .is_none_or(|versions| interpreter.suits(versions))
            && find
                .requires
                .is_none_or(|requires| interpreter.suits(requires));
        if fits {
            return Ok(base_of(find, interpreter, processes));
        }
        seen.insert(interpreter.full_version());
    }
    Err(none_fits(find, wanted, &seen, &useless))
}

/// Whether plugins can run in it at all.
fn can_run(interpreter: &Interpreter) -> bool {
    interpreter.implementation == "cpython" && interpreter.version >= (3, *MINORS.start(), 0)
}

/// Its version, with what is unusual about it.
fn described(interpreter: &Interpreter) -> String {
    let version = interpreter.full_version();
    match &interpreter.implementation[..] {
        "cpython" if interpreter.free_threaded => format!("{version} (free-threaded)"),
        "cpython" => version,
        other => format!("{other} {version}"),
    }
}

fn none_fits(
    find: &Find<'_>,
    wanted: Option<&str>,
    seen: &BTreeSet<String>,
    useless: &BTreeSet<String>,
) -> Failure {
    let range = format!("3.{} to 3.{}", MINORS.start(), MINORS.end());
    let needed = match (wanted, find.requires) {
        (Some(wanted), Some(requires)) => format!("Python {wanted} that fits {requires}"),
        (Some(wanted), None) => format!("Python {wanted}"),
        (None, Some(requires)) => format!("Python {range} that fits {requires}"),
        (None, None) => format!("Python {range}"),
    };
    let list = |all: &BTreeSet<String>| all.iter().cloned().collect::<Vec<_>>().join(", ");
    let mut there = match seen.len() {
        0 => "there is none".to_owned(),
        1 => format!("there is {}", list(seen)),
        _ => format!("there are {}", list(seen)),
    };
    if !useless.is_empty() {
        let start = MINORS.start();
        let useless = list(useless);
        there = format!("{there}; {useless} cannot run plugins: CPython 3.{start} or later can");
    }
    Failure::environment("python", format!("no {needed} was found; {there}"))
        .hint("install one with your system's packages, pyenv or uv, or name it with --python PATH")
}

/// The interpreter itself rather than an environment around it: new environments are made of it.
fn base_of(find: &Find<'_>, interpreter: Interpreter, processes: &dyn Processes) -> Interpreter {
    let base = interpreter.base_executable.clone();
    if !interpreter.is_virtual || base == interpreter.executable {
        return interpreter;
    }
    probe(find, &base, processes).unwrap_or(interpreter)
}

/// `--python PATH`, or the name of a program on PATH.
fn named(find: &Find<'_>, wanted: &str, processes: &dyn Processes) -> Result<Interpreter, Failure> {
    let mut path = PathBuf::from(wanted);
    if let Some(rest) = wanted.strip_prefix("~/")
        && let Some(home) = find.variables.get("HOME")
    {
        path = Path::new(home).join(rest);
    }
    if !wanted.contains('/') {
        let found = on_path(find.variables)
            .into_iter()
            .map(|folder| folder.join(wanted));
        path = found
            .into_iter()
            .find(|path| path.is_file())
            .ok_or_else(|| {
                Failure::environment("python", format!("there is no Python called {wanted:?}"))
                    .hint("--python takes a version such as 3.12, or a path")
            })?;
    }
    if path.is_dir() {
        path = path.join("bin/python");
    }
    let path = std::path::absolute(&path).unwrap_or(path);
    let interpreter = probe(find, &path, processes)?;
    let failure =
        |what: String| Failure::environment("python", what).at(path.display().to_string());
    if !can_run(&interpreter) {
        let what = format!(
            "{} {} cannot run plugins",
            interpreter.implementation,
            interpreter.full_version()
        );
        return Err(failure(what).hint(format!("CPython 3.{} or later can", MINORS.start())));
    }
    match find.requires {
        Some(requires) if !interpreter.suits(requires) => {
            let what = format!(
                "Python {} does not fit the plugin's requirement {requires}",
                interpreter.full_version()
            );
            Err(failure(what).hint("name another one with --python, or change the requirement"))
        }
        _ => Ok(interpreter),
    }
}

/// The interpreter of the active virtual or conda environment, when one is active.
pub fn active(find: &Find<'_>, processes: &dyn Processes) -> Result<Option<Interpreter>, Failure> {
    for (name, what) in [("VIRTUAL_ENV", "virtual"), ("CONDA_PREFIX", "conda")] {
        let Some(folder) = find.variables.get(name) else {
            continue;
        };
        let path = Path::new(folder).join("bin/python");
        if !path.exists() {
            let shown = path.display();
            let what = format!("the active {what} environment has no Python: {shown} is missing");
            return Err(Failure::environment("python", what)
                .hint("deactivate it, or make it again, or use --env managed"));
        }
        return probe(find, &path, processes).map(Some);
    }
    Ok(None)
}

/// Whether `--python` could mean this one: its version, or its path.
pub fn answers_to(interpreter: &Interpreter, wanted: &str) -> bool {
    match wanted_versions(wanted.trim()) {
        Some(versions) => interpreter.suits(&versions),
        None => [&interpreter.executable, &interpreter.prefix]
            .into_iter()
            .any(|path| path == Path::new(wanted.trim())),
    }
}

/// `3.12`, `3.12.1`, `python3.12`, `>=3.11`; nothing when it is not about a version.
fn wanted_versions(wanted: &str) -> Option<VersionSpecifiers> {
    let text = wanted.strip_prefix("python").unwrap_or(wanted);
    if text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_digit() || c == '.')
    {
        let parts = text.split('.').count();
        let exact = if parts < 3 {
            format!("=={text}.*")
        } else {
            format!("=={text}")
        };
        return VersionSpecifiers::from_str(&exact).ok();
    }
    wanted
        .starts_with(['<', '>', '=', '~', '!'])
        .then(|| VersionSpecifiers::from_str(wanted).ok())
        .flatten()
}

/// Folders of PATH; those of pyenv's stand-ins give way to the versions that pyenv would take.
fn on_path(variables: &Variables) -> Vec<PathBuf> {
    let path = variables.get("PATH").unwrap_or(OsStr::new(""));
    let mut folders = Vec::new();
    for folder in std::env::split_paths(path) {
        let root = folder.parent().unwrap_or(&folder);
        if folder.file_name() != Some(OsStr::new("shims")) || !root.join("versions").is_dir() {
            folders.push(folder);
            continue;
        }
        let chosen = match variables.text("PYENV_VERSION") {
            Some(chosen) => chosen.replace(':', "\n"),
            None => fs::read_to_string(root.join("version")).unwrap_or_default(),
        };
        let chosen = chosen.lines().map(str::trim);
        for name in chosen.filter(|name| !name.is_empty() && *name != "system") {
            folders.push(root.join("versions").join(name).join("bin"));
        }
    }
    folders
}

/// Everything that could be one, in the order in which they are tried.
fn candidates(variables: &Variables) -> Vec<Candidate> {
    let mut found: Vec<Candidate> = Vec::new();
    let add = |found: &mut Vec<Candidate>, path: PathBuf, minor: Option<u8>| {
        let known = found.iter().any(|candidate| candidate.path == path);
        if !known && path.is_file() {
            found.push(Candidate { path, minor });
        }
    };
    let numbered = || {
        MINORS
            .rev()
            .map(|minor| (format!("python3.{minor}"), minor))
    };
    for folder in on_path(variables) {
        for name in ["python3", "python"] {
            add(&mut found, folder.join(name), None);
        }
        for (name, minor) in numbered() {
            add(&mut found, folder.join(name), Some(minor));
        }
    }
    let home = variables.get("HOME").map(PathBuf::from);
    let under_home = |tail: &str| home.as_ref().map(|home| home.join(tail));
    let pyenv = variables.get("PYENV_ROOT").map(PathBuf::from);
    let uv = variables.get("UV_PYTHON_INSTALL_DIR").map(PathBuf::from);
    let installs = [
        pyenv
            .or_else(|| under_home(".pyenv"))
            .map(|root| root.join("versions")),
        uv.or_else(|| under_home(".local/share/uv/python")),
        Some(PathBuf::from(
            "/Library/Frameworks/Python.framework/Versions",
        )),
    ];
    for folder in installs.into_iter().flatten() {
        let mut versions: Vec<(Vec<u64>, PathBuf)> = fs::read_dir(&folder)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| (numbers(&entry.file_name()), entry.path()))
            .filter(|(version, _)| version.first() == Some(&3))
            .collect();
        versions.sort();
        for (version, path) in versions.into_iter().rev() {
            let minor = version.get(1).and_then(|minor| u8::try_from(*minor).ok());
            add(&mut found, path.join("bin/python3"), minor);
        }
    }
    for folder in ["/opt/homebrew/bin", "/usr/local/bin", "/usr/bin"] {
        for (name, minor) in numbered() {
            add(&mut found, Path::new(folder).join(name), Some(minor));
        }
    }
    found
}

/// The numbers in the first dotted group of a name: `cpython-3.12.1-linux` and `3.12.1` alike.
fn numbers(name: &OsStr) -> Vec<u64> {
    let text = name.to_string_lossy();
    let group = text
        .split('-')
        .find(|part| part.starts_with(|c: char| c.is_ascii_digit()))
        .unwrap_or_default();
    group
        .split('.')
        .map_while(|part| part.parse().ok())
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// `CPython` 3.`minor` on Linux, without asking one.
    pub(crate) fn linux(minor: u8) -> Interpreter {
        let version = format!("3.{minor}.1");
        let markers = [
            ("implementation_name", "cpython"),
            ("implementation_version", &version),
            ("os_name", "posix"),
            ("platform_machine", "x86_64"),
            ("platform_python_implementation", "CPython"),
            ("platform_release", "6"),
            ("platform_system", "Linux"),
            ("platform_version", "1"),
            ("python_full_version", &version),
            ("python_version", version.rsplit_once('.').unwrap().0),
            ("sys_platform", "linux"),
        ];
        Interpreter {
            executable: "/usr/bin/python3".into(),
            version: (3, minor, 1),
            implementation: "cpython".to_owned(),
            prefix: "/usr".into(),
            base_prefix: "/usr".into(),
            base_executable: "/usr/bin/python3".into(),
            libpython: None,
            platform: "linux_x86_64_glibc_2_36".to_owned(),
            markers: markers
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            is_virtual: false,
            site_packages: vec!["/usr/lib/python3/site-packages".into()],
            pip: Some("24.2".to_owned()),
            free_threaded: false,
        }
    }

    #[test]
    fn what_is_a_version() {
        let fits = |wanted: &str, version: &str| {
            wanted_versions(wanted)
                .unwrap()
                .contains(&Version::from_str(version).unwrap())
        };
        assert!(fits("3.12", "3.12.9") && !fits("3.1", "3.12.9"));
        assert!(fits("3", "3.10.1") && fits("python3.11", "3.11.0"));
        assert!(fits("3.11.7", "3.11.7") && !fits("3.11.7", "3.11.8"));
        assert!(fits(">=3.11,<3.13", "3.12.0"));
        for path in ["./python", "/usr/bin/python3.11", "pypy3", "python3.13t"] {
            assert_eq!(wanted_versions(path), None, "{path}");
        }
    }

    #[test]
    fn versions_are_read_out_of_names() {
        for (name, read) in [
            ("3.12.1", vec![3, 12, 1]),
            ("cpython-3.13.0-linux-x86_64-gnu", vec![3, 13, 0]),
            ("pypy3.9-7.3.11", vec![7, 3, 11]),
            ("miniconda", vec![]),
        ] {
            assert_eq!(numbers(OsStr::new(name)), read);
        }
    }
}
