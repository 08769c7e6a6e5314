//! Owns [`Desk`]: what an installer is given to work with: a private folder with the user's
//! index configuration, logins in a file, and an environment without tokens.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use synapse_engine::{Cancel, Digest, Failure, StableHash, StableHasher};

use super::{
    credentials::{Credentials, without},
    explain,
};
use crate::python::{
    Variables,
    process::{Call, Ended, Private, Processes, Status, clean_environment},
};

/// Variables of installers that name indexes. They may hold logins.
const INDEXES: [&str; 11] = [
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_FIND_LINKS",
    "PIP_CONSTRAINT",
    "PIP_PRE",
    "UV_INDEX",
    "UV_INDEX_URL",
    "UV_DEFAULT_INDEX",
    "UV_EXTRA_INDEX_URL",
    "UV_FIND_LINKS",
    "UV_INDEX_STRATEGY",
];
/// Those that would need the network.
const REMOTE: [&str; 6] = [
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "UV_INDEX",
    "UV_INDEX_URL",
    "UV_DEFAULT_INDEX",
    "UV_EXTRA_INDEX_URL",
];
/// The system's configuration of pip, which pip reads by itself.
const SYSTEM: [&str; 2] = ["/etc/pip.conf", "/etc/xdg/pip/pip.conf"];
/// Keys of installers' configuration that decide what is found.
const KEYS: [&str; 12] = [
    "index-url",
    "extra-index-url",
    "find-links",
    "no-index",
    "pre",
    "prefer-binary",
    "no-binary",
    "only-binary",
    "constraint",
    "index",
    "default-index",
    "prerelease",
];

/// The user's configuration files: where they are, and where a child looks for them.
fn user_files(variables: &Variables) -> Vec<(PathBuf, &'static str)> {
    let home = variables.get("HOME").map(PathBuf::from);
    let xdg = variables.get("XDG_CONFIG_HOME").map(PathBuf::from);
    let config = xdg.or_else(|| home.as_ref().map(|home| home.join(".config")));
    let mut files = Vec::new();
    if let Some(home) = &home {
        files.push((home.join(".pip/pip.conf"), ".pip/pip.conf"));
        let library = home.join("Library/Application Support/pip/pip.conf");
        files.push((library, ".config/pip/pip.conf"));
    }
    if let Some(config) = &config {
        files.push((config.join("pip/pip.conf"), ".config/pip/pip.conf"));
        files.push((config.join("uv/uv.toml"), ".config/uv/uv.toml"));
    }
    files
}

/// What decides, outside of a plugin, which packages are found: variables and configuration
/// files, without logins. Folders of packages count by the names and sizes in them.
pub fn index_identity(variables: &Variables) -> Digest {
    let mut hasher = StableHasher::new("synapse.index-identity");
    for name in INDEXES.into_iter().chain(["PIP_NO_INDEX"]) {
        let Some(value) = variables.text(name) else {
            continue;
        };
        name.stable_hash(&mut hasher);
        without(value).as_ref().stable_hash(&mut hasher);
        for folder in folders(name, value) {
            listing(Path::new(folder)).stable_hash(&mut hasher);
        }
    }
    let system = SYSTEM.iter().map(PathBuf::from);
    let user = user_files(variables).into_iter().map(|(path, _)| path);
    let named = ["PIP_CONFIG_FILE", "UV_CONFIG_FILE"];
    let named = named
        .iter()
        .filter_map(|name| variables.get(name).map(PathBuf::from));
    for path in system.chain(user).chain(named) {
        let Ok(text) = fs::read_to_string(&path) else {
            continue;
        };
        without(&deciding(&text)).as_ref().stable_hash(&mut hasher);
    }
    hasher.finish()
}

/// The folders of packages that a variable names: pip parts them by spaces, uv by commas.
fn folders<'v>(name: &str, value: &'v str) -> Vec<&'v str> {
    let given = match name {
        "PIP_FIND_LINKS" => value.split_whitespace().collect::<Vec<_>>(),
        "UV_FIND_LINKS" => value.split(',').map(str::trim).collect(),
        _ => Vec::new(),
    };
    given
        .into_iter()
        .filter(|folder| !folder.is_empty())
        .collect()
}

/// Names and sizes of what lies in a folder of packages; nothing when it is none.
pub fn listing(folder: &Path) -> String {
    let mut names: Vec<String> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let size = entry.metadata().ok()?.len();
            Some(format!("{} {size}", entry.file_name().display()))
        })
        .collect();
    names.sort();
    names.join("\n")
}

/// The lines of a configuration that decide what is found, with those that continue them.
fn deciding(text: &str) -> String {
    let mut kept = String::new();
    let mut taken = false;
    for line in text.lines() {
        let indented = line.starts_with([' ', '\t', '"', ']']);
        if !indented {
            let name = line.split(['=', ':']).next().unwrap_or_default().trim();
            taken = KEYS.contains(&name.replace('_', "-").as_str()) || name.contains("index");
        }
        if taken && !line.trim().is_empty() {
            kept.push_str(line.trim());
            kept.push('\n');
        }
    }
    kept
}

/// What an installer is given to work with.
pub struct Desk<'a> {
    /// Its private folder.
    pub private: Private,
    /// Logins, and what else must not be seen.
    pub credentials: Credentials,
    environment: Vec<(OsString, OsString)>,
    offline: bool,
    processes: &'a dyn Processes,
    cancel: &'a Cancel,
}

/// Where and for whom a desk is set up.
#[derive(Clone, Copy)]
pub struct Setting<'a> {
    /// The store's folder.
    pub store: &'a Path,
    /// The command's variables.
    pub variables: &'a Variables,
    /// Runs children.
    pub processes: &'a dyn Processes,
    /// Asks to stop.
    pub cancel: &'a Cancel,
    /// Use no network.
    pub offline: bool,
}

impl<'a> Desk<'a> {
    /// Sets one up.
    pub fn new(setting: &Setting<'a>, credentials: &Credentials) -> Result<Self, Failure> {
        let made = Self::make(setting, credentials.clone());
        made.map_err(|error| disk("cannot prepare the installer", &error))
    }

    fn make(setting: &Setting<'a>, mut credentials: Credentials) -> io::Result<Self> {
        let Setting {
            store,
            variables,
            offline,
            ..
        } = *setting;
        let private = Private::new(&store.join("tmp"))?;
        let mut environment = clean_environment(variables, private.path());
        let mut set = |name: &str, value: OsString| environment.push((name.into(), value));
        for name in INDEXES {
            let Some(value) = variables.text(name) else {
                continue;
            };
            if !offline || !REMOTE.contains(&name) {
                set(name, credentials.take(value).into());
            }
        }
        for (path, own) in user_files(variables) {
            let Ok(text) = fs::read_to_string(&path) else {
                continue;
            };
            private.write(&format!("home/{own}"), credentials.take(&text))?;
        }
        for name in ["PIP_CONFIG_FILE", "UV_CONFIG_FILE"] {
            let Some(path) = variables.get(name) else {
                continue;
            };
            // What is no readable file is the installer's to complain about.
            let value = match fs::read_to_string(path) {
                Ok(text) if !text.is_empty() => private
                    .write(&name.to_lowercase(), credentials.take(&text))?
                    .into_os_string(),
                _ => path.to_owned(),
            };
            set(name, value);
        }
        let own = variables.get("NETRC").map(PathBuf::from);
        let home = variables
            .get("HOME")
            .map(|home| Path::new(home).join(".netrc"));
        let own = own.or(home).and_then(|path| fs::read_to_string(path).ok());
        let netrc = format!("{}{}", credentials.netrc(), own.unwrap_or_default());
        if !netrc.is_empty() {
            let path = private.write("home/.netrc", netrc)?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        }
        let cache = |name: &str| store.join(name).into_os_string();
        set("PIP_CACHE_DIR", cache("pip-cache"));
        set("UV_CACHE_DIR", cache("uv-cache"));
        for (name, value) in [
            ("PIP_DISABLE_PIP_VERSION_CHECK", "1"),
            ("PIP_NO_INPUT", "1"),
            ("PIP_ROOT_USER_ACTION", "ignore"),
            ("PIP_RETRIES", "3"),
            ("PIP_PROGRESS_BAR", "off"),
            ("UV_NO_PROGRESS", "1"),
            ("UV_PYTHON_DOWNLOADS", "never"),
            ("UV_LINK_MODE", "hardlink"),
            ("NO_COLOR", "1"),
            ("PYTHONNOUSERSITE", "1"),
            ("PYTHONIOENCODING", "utf-8"),
        ] {
            set(name, value.into());
        }
        if offline {
            set("PIP_NO_INDEX", "1".into());
            set("UV_OFFLINE", "1".into());
        }
        Ok(Self {
            private,
            credentials,
            environment,
            offline,
            processes: setting.processes,
            cancel: setting.cancel,
        })
    }

    /// Writes a file that only we and the installer read.
    pub fn write(&self, name: &str, text: &str) -> Result<PathBuf, Failure> {
        let written = self.private.write(name, text);
        written.map_err(|error| disk("cannot write what the installer reads", &error))
    }

    /// Runs a program; an error is that it could not be started, or that work was asked to stop.
    pub fn run<I: IntoIterator<Item: Into<OsString>>>(
        &self,
        program: &Path,
        args: I,
    ) -> Result<Ended, Failure> {
        let call = Call::new(program, self.environment.clone(), self.private.path()).args(args);
        let ended = self.processes.run(&call, self.cancel).map_err(|error| {
            let what = format!("cannot start {}: {error}", program.display());
            Failure::environment("environment", what).hint("check that it is there and works")
        })?;
        match ended.status {
            Status::Cancelled => Err(Failure::cancelled()),
            _ => Ok(ended),
        }
    }

    /// Runs a program that must succeed; otherwise its own explanation is the failure.
    pub fn must<I: IntoIterator<Item: Into<OsString>>>(
        &self,
        program: &Path,
        args: I,
        what: &str,
    ) -> Result<Ended, Failure> {
        let ended = self.run(program, args)?;
        if ended.succeeded() {
            return Ok(ended);
        }
        Err(explain::failure(
            &ended,
            what,
            self.offline,
            &self.credentials,
            self.private.path(),
        ))
    }
}

/// A failure of the disk.
pub fn disk(what: &str, error: &io::Error) -> Failure {
    let failure = Failure::environment("environment", format!("{what}: {error}"));
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            failure.hint("free some disk space, or run `synapse cache gc`, then run it again")
        }
        _ => failure.hint("check the permissions of the store, or set SYNAPSE_STORE to another"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_packages_are_parted_as_the_installer_does() {
        let root = tempfile::tempdir().unwrap();
        let (one, two) = (root.path().join("my one"), root.path().join("two"));
        for folder in [&one, &two] {
            fs::create_dir(folder).unwrap();
        }
        let identity = |name: &str, value: String| {
            let variables = Variables::of([(name.into(), value.into())]);
            index_identity(&variables)
        };
        let uv = || {
            identity(
                "UV_FIND_LINKS",
                format!("{}, {}", one.display(), two.display()),
            )
        };
        let pip = || identity("PIP_FIND_LINKS", format!("/none {}", two.display()));
        let before = (uv(), pip());
        fs::write(one.join("a.whl"), "a").unwrap();
        let after = (uv(), pip());
        assert_ne!(after.0, before.0, "uv looks into the folder with a space");
        assert_eq!(after.1, before.1);
        fs::write(two.join("b.whl"), "b").unwrap();
        assert_ne!(uv(), after.0);
        assert_ne!(pip(), after.1);
    }
}
