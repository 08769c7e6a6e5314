//! Owns [`Lock`] and its file: exact versions and hashes of every package, for each Python and
//! platform that it was made for.

use std::{fmt::Write as _, path::Path};

use serde::{Deserialize, Serialize};
use synapse_engine::{Digest, Failure};
use toml_edit::{Document, Item, TableLike};

use crate::python::interpreter::Interpreter;

/// The file at a plugin's root.
pub const FILE: &str = "synapse.lock";
/// The format of the file.
const FORMAT: i64 = 1;

/// Where a package comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "from")]
pub enum Origin {
    /// An index or a folder of packages, by name and version.
    #[default]
    Index,
    /// A URL that the requirements name.
    Url {
        /// Without login.
        url: String,
    },
    /// A commit.
    Commit {
        /// `git+https://host/path@commit`, without login.
        url: String,
    },
    /// A folder or archive of the machine.
    Path {
        /// Relative to the plugin.
        path: String,
        /// Used where it lies.
        editable: bool,
    },
}

/// A package, pinned.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Package {
    /// Its normalised name.
    pub name: String,
    /// Its version; empty when the installer does not say.
    pub version: String,
    /// `sha256:...`, sorted.
    pub hashes: Vec<String>,
    /// Where it comes from.
    #[serde(flatten)]
    pub origin: Origin,
}

/// The packages for one Python on one platform.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Such as `3.11`.
    pub python: String,
    /// Such as `linux_x86_64`.
    pub platform: String,
    /// Who resolved, such as `pip 24.2`.
    pub resolver: String,
    /// By name.
    pub packages: Vec<Package>,
}

/// A lock file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    /// Digest of the requirements that it was made from, 64 hex digits.
    pub requirements: String,
    /// One for each Python and platform.
    pub targets: Vec<Target>,
}

/// The platform that a target is for: what wheels are told apart by, without the versions that
/// machines of one kind may differ in.
pub fn platform(interpreter: &Interpreter) -> String {
    let musl = if interpreter.platform.ends_with("_musl") {
        "_musl"
    } else {
        ""
    };
    let marker = |name: &str| interpreter.markers.get(name).map_or("", String::as_str);
    let system = match marker("sys_platform") {
        "darwin" => "macos",
        other => other,
    };
    format!("{system}_{}{musl}", marker("platform_machine"))
}

/// A name as indexes compare it.
pub fn normalised(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.trim().chars() {
        match c {
            '-' | '_' | '.' if out.ends_with('-') => {}
            '-' | '_' | '.' => out.push('-'),
            c => out.extend(c.to_lowercase()),
        }
    }
    out
}

impl Target {
    /// Sorts packages and hashes, so that equal targets are equal texts.
    pub fn sort(&mut self) {
        for package in &mut self.packages {
            package.hashes.sort();
            package.hashes.dedup();
        }
        self.packages.sort();
        self.packages.dedup();
    }

    /// Whether it was made for such an interpreter.
    pub fn is_for(&self, interpreter: &Interpreter) -> bool {
        self.python == interpreter.minor() && self.platform == platform(interpreter)
    }

    /// For people, such as `Python 3.11 on linux_x86_64`.
    pub fn shown(&self) -> String {
        format!("Python {} on {}", self.python, self.platform)
    }

    /// Versions by name, for installers that should keep them.
    pub fn pins(&self) -> Vec<String> {
        let of_index = |package: &&Package| package.origin == Origin::Index;
        let pin = |package: &Package| format!("{}=={}", package.name, package.version);
        self.packages.iter().filter(of_index).map(pin).collect()
    }
}

impl Lock {
    /// The target for an interpreter.
    pub fn target(&self, interpreter: &Interpreter) -> Option<&Target> {
        self.targets
            .iter()
            .find(|target| target.is_for(interpreter))
    }

    /// Puts a target in the place of the one for the same Python and platform.
    pub fn put(&mut self, target: Target) {
        let same = |own: &Target| own.python == target.python && own.platform == target.platform;
        self.targets.retain(|own| !same(own));
        self.targets.push(target);
        self.targets.sort_by(|a, b| {
            let key = |target: &Target| (minor(&target.python), target.platform.clone());
            key(a).cmp(&key(b))
        });
    }

    /// As the file has it.
    pub fn to_text(&self) -> String {
        let mut out = String::from(
            "# Made by `synapse plugin lock` from the plugin's requirements. Commit it; do not edit it.\n",
        );
        let quote = |text: &str| toml_edit::Value::from(text).to_string().trim().to_owned();
        // Writing to a string cannot fail.
        let _ = writeln!(out, "format = {FORMAT}");
        let _ = writeln!(out, "requirements = {}", quote(&self.requirements));
        for target in &self.targets {
            let _ = writeln!(out, "\n[[target]]\npython = {}", quote(&target.python));
            let _ = writeln!(out, "platform = {}", quote(&target.platform));
            let _ = writeln!(out, "resolver = {}", quote(&target.resolver));
            for package in &target.packages {
                let _ = writeln!(out, "\n[[target.package]]\nname = {}", quote(&package.name));
                if !package.version.is_empty() {
                    let _ = writeln!(out, "version = {}", quote(&package.version));
                }
                match &package.origin {
                    Origin::Index => {}
                    Origin::Url { url } => {
                        let _ = writeln!(out, "url = {}", quote(url));
                    }
                    Origin::Commit { url } => {
                        let _ = writeln!(out, "commit = {}", quote(url));
                    }
                    Origin::Path { path, editable } => {
                        let _ = writeln!(out, "path = {}", quote(path));
                        if *editable {
                            let _ = writeln!(out, "editable = true");
                        }
                    }
                }
                match &package.hashes[..] {
                    [] => {}
                    [one] => {
                        let _ = writeln!(out, "hashes = [{}]", quote(one));
                    }
                    many => {
                        let _ = writeln!(out, "hashes = [");
                        for hash in many {
                            let _ = writeln!(out, "    {},", quote(hash));
                        }
                        let _ = writeln!(out, "]");
                    }
                }
            }
        }
        out
    }

    /// Reads a file; `shown` is what failures call it.
    pub fn parse(text: &str, shown: &str) -> Result<Self, Failure> {
        let refused = |what: &str, offset: usize| {
            let before = text.get(..offset).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            let column = before
                .rsplit('\n')
                .next()
                .unwrap_or_default()
                .chars()
                .count()
                + 1;
            Failure::user("lock", format!("the lock file cannot be read: {what}"))
                .at(format!("{shown}:{line}:{column}"))
                .hint("make it again with `synapse plugin lock --upgrade`")
        };
        let document = Document::parse(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            refused(error.message(), at)
        })?;
        let root = document.as_table();
        let format = root.get("format").and_then(Item::as_integer);
        if format != Some(FORMAT) {
            let what = match format {
                Some(found) => format!("it has format {found}, this synapse knows {FORMAT}"),
                None => "it says no format".to_owned(),
            };
            return Err(refused(&what, 0));
        }
        let mut lock = Self {
            requirements: field(root, "requirements").unwrap_or_default(),
            targets: Vec::new(),
        };
        for table in tables(root.get("target")) {
            let mut target = Target {
                python: field(table, "python").unwrap_or_default(),
                platform: field(table, "platform").unwrap_or_default(),
                resolver: field(table, "resolver").unwrap_or_default(),
                packages: Vec::new(),
            };
            for table in tables(table.get("package")) {
                let package = package(table);
                let at = || {
                    table
                        .get("name")
                        .and_then(Item::span)
                        .map_or(0, |span| span.start)
                };
                target
                    .packages
                    .push(package.map_err(|what| refused(what, at()))?);
            }
            target.sort();
            lock.targets.push(target);
        }
        Ok(lock)
    }
}

fn minor(python: &str) -> u32 {
    python
        .rsplit('.')
        .next()
        .and_then(|minor| minor.parse().ok())
        .unwrap_or(0)
}

fn field(table: &dyn TableLike, name: &str) -> Option<String> {
    table.get(name)?.as_str().map(str::to_owned)
}

fn tables(item: Option<&Item>) -> impl Iterator<Item = &dyn TableLike> {
    let tables = item.and_then(Item::as_array_of_tables);
    tables
        .into_iter()
        .flatten()
        .map(|table| table as &dyn TableLike)
}

fn package(table: &dyn TableLike) -> Result<Package, &'static str> {
    // What a lock file says ends up on an installer's lines: a word with more in it is refused.
    let plain = |text: &String| {
        !text.contains(|c: char| c.is_whitespace() || c.is_control() || "'\"\\;".contains(c))
            && !text.starts_with('-')
    };
    let hashes = table
        .get("hashes")
        .and_then(Item::as_array)
        .into_iter()
        .flatten();
    let hashes: Vec<String> = hashes
        .filter_map(|hash| hash.as_str().map(str::to_owned))
        .collect();
    let path = field(table, "path");
    let origin = match (field(table, "url"), field(table, "commit"), path) {
        (Some(url), None, None) => Origin::Url { url },
        (None, Some(url), None) => Origin::Commit { url },
        (None, None, Some(path)) => Origin::Path {
            path,
            editable: table
                .get("editable")
                .and_then(Item::as_bool)
                .unwrap_or(false),
        },
        (None, None, None) => Origin::Index,
        _ => return Err("a package comes from more than one place"),
    };
    let package = Package {
        name: normalised(&field(table, "name").unwrap_or_default()),
        version: field(table, "version").unwrap_or_default(),
        hashes,
        origin,
    };
    if package.name.is_empty() {
        return Err("a package has no name");
    }
    let words = [&package.name, &package.version];
    let url = match &package.origin {
        Origin::Url { url } | Origin::Commit { url } => Some(url),
        _ => None,
    };
    if !words
        .into_iter()
        .chain(&package.hashes)
        .chain(url)
        .all(plain)
    {
        return Err("a package's name, version, URL or hash cannot be");
    }
    match package.origin {
        Origin::Index if package.version.is_empty() => Err("a package has no version"),
        Origin::Index | Origin::Url { .. } if package.hashes.is_empty() => {
            Err("a package has no hashes")
        }
        _ => Ok(package),
    }
}

/// The digest of a requirements' normal form, as lock files hold it.
pub fn fingerprint(inputs: &[(String, String)]) -> String {
    use synapse_engine::{StableHash, StableHasher};
    let mut hasher = StableHasher::new("synapse.lock.requirements");
    for (name, value) in inputs {
        name.stable_hash(&mut hasher);
        value.stable_hash(&mut hasher);
    }
    let digest: Digest = hasher.finish();
    digest.hex()
}

/// The path from one folder to another place, both absolute.
pub fn relative(from: &Path, to: &Path) -> String {
    let (from, to): (Vec<_>, Vec<_>) = (from.components().collect(), to.components().collect());
    let same = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n("..".to_owned(), from.len() - same);
    let down = to[same..]
        .iter()
        .map(|part| part.as_os_str().display().to_string());
    let parts: Vec<String> = up.chain(down).collect();
    if parts.is_empty() {
        ".".to_owned()
    } else {
        parts.join("/")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock() -> Lock {
        let package = |name: &str, origin| Package {
            name: name.to_owned(),
            version: "1.0".to_owned(),
            hashes: vec!["sha256:aa".to_owned(), "sha256:bb".to_owned()],
            origin,
        };
        let mut target = Target {
            python: "3.9".to_owned(),
            platform: "linux_x86_64".to_owned(),
            resolver: "pip 24.2".to_owned(),
            packages: vec![
                package(
                    "b",
                    Origin::Url {
                        url: "https://host/b.whl".to_owned(),
                    },
                ),
                package("a", Origin::Index),
                Package {
                    hashes: Vec::new(),
                    ..package(
                        "d",
                        Origin::Path {
                            path: "../d".to_owned(),
                            editable: true,
                        },
                    )
                },
                Package {
                    hashes: Vec::new(),
                    version: String::new(),
                    ..package(
                        "c",
                        Origin::Commit {
                            url: "git+https://host/c@abc".to_owned(),
                        },
                    )
                },
            ],
        };
        target.sort();
        let mut lock = Lock {
            requirements: "00".to_owned(),
            targets: Vec::new(),
        };
        lock.put(Target {
            python: "3.10".to_owned(),
            ..target.clone()
        });
        lock.put(target.clone());
        lock.put(target);
        lock
    }

    #[test]
    fn a_lock_is_read_as_it_was_written() {
        let lock = lock();
        insta::assert_snapshot!(lock.to_text());
        assert_eq!(Lock::parse(&lock.to_text(), "synapse.lock").unwrap(), lock);
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_place() {
        let text = lock().to_text();
        for (old, new) in [
            ("format = 1", "format = 2"),
            ("format = 1", "format = [\n"),
            ("name = \"a\"", "name = \"--index-url\""),
            ("version = \"1.0\"", "version = \"1.0 --index-url x\""),
            ("sha256:aa", "sha256:aa\\n-r evil"),
            ("url = \"https://host/b.whl\"", "path = \"x\"\nurl = \"y\""),
        ] {
            let bad = text.replacen(old, new, 1);
            assert_ne!(bad, text);
            let failure = Lock::parse(&bad, "synapse.lock").unwrap_err();
            assert_eq!(failure.code, "lock", "{new}");
            assert!(failure.place.unwrap().starts_with("synapse.lock:"), "{new}");
        }
    }

    #[test]
    fn names_and_paths_are_normalised() {
        assert_eq!(normalised("Typing_.-Extensions"), "typing-extensions");
        assert_eq!(relative(Path::new("/a/b"), Path::new("/a/c/d")), "../c/d");
        assert_eq!(
            relative(Path::new("/a"), Path::new("/a/w/x.whl")),
            "w/x.whl"
        );
        assert_eq!(relative(Path::new("/a"), Path::new("/a")), ".");
    }
}
