//! Owns uv as the installer: the one on PATH, else one in a tool environment of ours.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use synapse_engine::{Digest, Failure, index::FileStat};

use super::{
    credentials::without,
    desk::{Desk, Setting},
    lock::{Origin, Package, Target, normalised, relative},
    order::Order,
    pip,
};
use crate::python::{Variables, process::Private};

/// The uv that we bring along, with the hashes of its files.
const OWN: &str = include_str!("uv.txt");

/// A uv to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Uv {
    /// One on PATH.
    Found {
        /// The program.
        program: PathBuf,
        /// Such as `0.13.9`.
        version: String,
    },
    /// Ours, in a tool environment that may have to be made.
    Own {
        /// Such as `0.13.9`.
        version: String,
    },
}

/// The packages of the tool environment of our own uv.
pub fn own() -> Result<Target, Failure> {
    let packages = hashed(OWN, Path::new("/"))?;
    Ok(Target {
        packages,
        ..Target::default()
    })
}

#[derive(Serialize, Deserialize)]
struct Answer {
    stat: [i64; 5],
    version: String,
}

impl Uv {
    /// The one on PATH, when there is one that works, else ours.
    pub fn find(setting: &Setting<'_>) -> Result<Self, Failure> {
        if let Some(program) = on_path(setting.variables)
            && let Some(version) = version(&program, setting)
        {
            return Ok(Self::Found { program, version });
        }
        let own = own()?;
        let version = own.packages.first().map(|package| package.version.clone());
        Ok(Self::Own {
            version: version.unwrap_or_default(),
        })
    }

    /// Its version.
    pub fn version(&self) -> &str {
        match self {
            Self::Found { version, .. } | Self::Own { version } => version,
        }
    }
}

fn on_path(variables: &Variables) -> Option<PathBuf> {
    let path = variables.get("PATH")?;
    // pyenv's stand-in asks pyenv every time, and may lead nowhere.
    let folders = std::env::split_paths(path).filter(|folder| !folder.ends_with("shims"));
    folders
        .map(|folder| folder.join("uv"))
        .find(|program| program.is_file())
}

/// Its version, by what it said when it had this stat, else by asking.
fn version(program: &Path, setting: &Setting<'_>) -> Option<String> {
    let stat = FileStat::from(&fs::metadata(program).ok()?);
    let stat = [
        stat.dev as i64,
        stat.ino as i64,
        stat.size as i64,
        stat.mtime,
        stat.ctime,
    ];
    let cache = setting.store.join("python");
    let name = Digest::of(program.as_os_str().as_encoded_bytes()).hex();
    let kept = cache.join(format!("uv-{}.json", &name[..24]));
    let known = fs::read(&kept).ok();
    let known = known.and_then(|bytes| serde_json::from_slice::<Answer>(&bytes).ok());
    if let Some(answer) = known.filter(|answer| answer.stat == stat) {
        return Some(answer.version);
    }
    let private = Private::new(&cache).ok()?;
    let environment = crate::python::process::clean_environment(setting.variables, private.path());
    let call = crate::python::process::Call::new(program, environment, private.path());
    let ended = setting
        .processes
        .run(&call.args(["--version"]), setting.cancel)
        .ok()?;
    let out = ended.out();
    let version = out
        .split_whitespace()
        .nth(1)
        .filter(|_| ended.succeeded())?
        .to_owned();
    let answer = Answer { stat, version };
    if let Ok(bytes) = serde_json::to_vec(&answer) {
        // Not kept, it is asked again.
        let _ = fs::write(kept, bytes);
    }
    Some(answer.version)
}

/// Finds the packages that an order asks for.
pub fn resolve(
    desk: &mut Desk<'_>,
    program: &Path,
    order: &Order<'_>,
) -> Result<Vec<Package>, Failure> {
    let file = order.write(desk, false)?;
    let out = desk.private.path().join("requirements.txt");
    // What stands in the output already is kept where it can be.
    desk.write("requirements.txt", &(order.pins.join("\n") + "\n"))?;
    let mut args: Vec<String> = [
        "pip",
        "compile",
        "--generate-hashes",
        "--no-header",
        "--no-annotate",
        "--quiet",
        "--python",
    ]
    .map(str::to_owned)
    .into();
    args.push(order.interpreter.executable.display().to_string());
    if order.requirements.options.pre {
        args.extend(["--prerelease", "allow"].map(str::to_owned));
    }
    args.extend(flags(order, desk, false));
    args.extend(["--output-file".to_owned(), out.display().to_string()]);
    args.push(file.display().to_string());
    desk.must(
        program,
        args,
        "uv found no packages that meet the requirements",
    )?;
    let text =
        fs::read_to_string(&out).map_err(|error| super::desk::disk("uv left no answer", &error))?;
    let mut packages = hashed(&text, order.folder)?;
    order.check_hashes(&mut packages)?;
    Ok(packages)
}

/// Options of uv's command line; some are known to one of its commands only.
fn flags(order: &Order<'_>, desk: &mut Desk<'_>, installs: bool) -> Vec<String> {
    const INSTALL: [&str; 5] = [
        "--compile-bytecode",
        "--reinstall",
        "--break-system-packages",
        "--no-compile-bytecode",
        "--exact",
    ];
    let options = &order.requirements.options;
    let mut flags = Vec::new();
    for host in &options.trusted_hosts {
        flags.extend(["--allow-insecure-host".to_owned(), host.clone()]);
    }
    for value in &options.others {
        if installs || !INSTALL.contains(&value.text.as_str()) {
            flags.push(desk.credentials.take(&value.text));
        }
    }
    flags
}

/// Packages of requirement lines with hashes.
pub fn hashed(text: &str, folder: &Path) -> Result<Vec<Package>, Failure> {
    let mut packages = Vec::new();
    let joined = text.replace("\\\n", " ");
    for line in joined.lines() {
        let mut words = line
            .split_whitespace()
            .take_while(|word| *word != "#")
            .peekable();
        let editable = words.next_if_eq(&"-e").is_some();
        let Some(first) = words.next().filter(|first| !first.starts_with(['#', '-'])) else {
            continue;
        };
        let mut package = Package::default();
        let mut url = None;
        match first.split_once("==") {
            Some((name, version)) => {
                package.name = normalised(name);
                version.clone_into(&mut package.version);
            }
            None if words.next_if_eq(&"@").is_some() => {
                package.name = normalised(first.split('[').next().unwrap_or(first));
                url = words.next();
            }
            None => url = Some(first),
        }
        for word in words {
            if let Some(hash) = word.strip_prefix("--hash=") {
                package.hashes.push(hash.to_owned());
            }
        }
        if let Some(url) = url {
            let url = without(url).into_owned();
            let path = url.strip_prefix("file://").map(pip::decoded);
            let path = path.or_else(|| (!url.contains("://")).then(|| url.clone()));
            package.origin = match path {
                Some(path) => {
                    let path = folder.join(path);
                    if package.name.is_empty() {
                        package.name = name_of(&path);
                    }
                    Origin::Path {
                        path: relative(folder, &path),
                        editable,
                    }
                }
                None if url.starts_with("git+") => Origin::Commit { url },
                None => Origin::Url { url },
            };
        }
        if package.name.is_empty() {
            let what = format!("a line of uv's answer makes no sense: {line}");
            return Err(Failure::environment("environment", what).hint("set package_manager: pip"));
        }
        packages.push(package);
    }
    Ok(packages)
}

/// The name of a project in a folder, else the folder's own.
fn name_of(path: &Path) -> String {
    let text = fs::read_to_string(path.join("pyproject.toml")).unwrap_or_default();
    let document = toml_edit::Document::parse(text.as_str()).ok();
    let name = document.as_ref().and_then(|document| {
        document
            .get("project")?
            .get("name")?
            .as_str()
            .map(str::to_owned)
    });
    let own = || {
        path.file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    };
    normalised(&name.unwrap_or_else(own))
}

/// Installs files of lines into the environment whose interpreter is `target`.
pub fn install(
    desk: &mut Desk<'_>,
    program: &Path,
    target: &Path,
    files: &super::Files,
    order: Option<&Order<'_>>,
) -> Result<(), Failure> {
    let flags = order
        .map(|order| flags(order, desk, true))
        .unwrap_or_default();
    for (file, hashed) in files.each() {
        let mut args: Vec<String> = ["pip", "install", "--quiet", "--no-deps", "--python"]
            .map(str::to_owned)
            .into();
        args.push(target.display().to_string());
        args.extend(["--link-mode", "hardlink", "--compile-bytecode"].map(str::to_owned));
        if hashed {
            args.push("--require-hashes".to_owned());
        }
        args.extend(
            flags
                .iter()
                .filter(|flag| *flag != "--compile-bytecode")
                .cloned(),
        );
        args.extend(["-r".to_owned(), file.display().to_string()]);
        desk.must(program, args, "uv could not install the locked packages")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let text = "a-b==1.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n    # via x\n\
                    lib @ file:///p/../lib/l-1-py3-none-any.whl --hash=sha256:cc\n\
                    g @ git+https://u:p@h/g@c0\n-e file:///p/own\n";
        let packages = hashed(text, Path::new("/p")).unwrap();
        let names: Vec<&str> = packages
            .iter()
            .map(|package| package.name.as_str())
            .collect();
        assert_eq!(names, ["a-b", "lib", "g", "own"]);
        assert_eq!(packages[0].hashes, ["sha256:aa", "sha256:bb"]);
        assert_eq!(
            packages[2].origin,
            Origin::Commit {
                url: "git+https://h/g@c0".to_owned()
            }
        );
        let origin = Origin::Path {
            path: "own".to_owned(),
            editable: true,
        };
        assert_eq!(packages[3].origin, origin);
    }

    #[test]
    fn our_own_is_one_package_with_hashes() {
        let own = own().unwrap();
        assert_eq!(
            (own.packages.len(), own.packages[0].name.as_str()),
            (1, "uv")
        );
        assert!(own.packages[0].hashes.len() > 10);
    }
}
