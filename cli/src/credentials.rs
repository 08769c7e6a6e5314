//! Owns the user's configuration file: saved logins, which of them is the default, and where
//! actions run. What is not ours in it is kept as it is written.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use serde_json::Value;
use synapse_engine::{Failure, store::Hook};
use synapse_rules::{fileset::read_regular, platform::Secret};

use self::object::Object;
use crate::render::board;

mod object;

/// The profile that stands for the embedded backend.
pub const LOCAL: &str = "local";
/// The profile at the top level of the file.
pub const DEFAULT: &str = "default";

/// What others may do with a private file.
const OTHERS: u32 = 0o077;
/// `ENOSPC` and `EDQUOT`.
const FULL: [io::ErrorKind; 2] = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];

/// The file as it was read. Secret.
#[derive(Default)]
pub struct Saved(Object);

/// A saved login.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Login {
    /// The platform it is for.
    pub host: Option<String>,
    /// An access token.
    pub access_token: Option<Secret>,
    /// A user's token, which acts for `tenant`.
    pub user_token: Option<Secret>,
    /// The tenant.
    pub tenant: Option<String>,
    /// The agent that runs actions there.
    pub agent: Option<Agent>,
}

/// An agent of a platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Its id, as text.
    pub id: String,
    /// Its name, where it was noted.
    pub name: Option<String>,
}

impl Login {
    /// Whether there is a token in it.
    pub fn has_token(&self) -> bool {
        self.access_token.is_some() || self.user_token.is_some()
    }
}

impl Saved {
    /// Reads the file at `path`; without one there is nothing in it.
    pub fn load(path: &Path) -> Result<Self, Failure> {
        let shown = path.display().to_string();
        let bytes = match read_regular(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => {
                let what = format!("cannot read {shown}: {error}");
                let failure = Failure::environment("config-file", what).at(shown);
                return Err(
                    failure.hint("check its permissions, or set SYNAPSE_HOME to another folder")
                );
            }
        };
        // The parser's own words could quote a token.
        Object::parse(&bytes).map(Self).ok_or_else(|| {
            Failure::user("config-file", format!("{shown} is not a JSON object"))
                .at(shown)
                .hint("mend it, or delete it and log in again")
        })
    }

    /// The profile that is used when nothing names one.
    pub fn chosen(&self) -> Option<String> {
        self.0.text("profile")
    }

    /// Where actions run unless the command line says.
    pub fn default_mode(&self) -> Option<String> {
        self.0.text("default_mode")
    }

    /// A saved login by its name.
    pub fn login(&self, name: &str) -> Option<Login> {
        let object = if name == DEFAULT {
            return Some(login(&self.0)).filter(|login| *login != Login::default());
        } else {
            self.0.object("profiles")?.object(name)?
        };
        Some(login(&object))
    }

    /// The object stores that a profile knows, by name: those at the top level, and its own, which
    /// are nearer. What describes them may be secret.
    pub fn storages(&self, profile: &str) -> Vec<(String, serde_json::Value)> {
        let own = self
            .0
            .object("profiles")
            .and_then(|all| all.object(profile));
        let own = own.and_then(|own| own.value("storages"));
        let mut known: Vec<(String, serde_json::Value)> = Vec::new();
        for storages in [own, self.0.value("storages")].into_iter().flatten() {
            let serde_json::Value::Object(storages) = storages else {
                continue;
            };
            for (name, value) in storages {
                if !known.iter().any(|(own, _)| *own == name) {
                    known.push((name, value));
                }
            }
        }
        known
    }

    /// The names of all saved logins: the one at the top level first, then in the file's order.
    pub fn names(&self) -> Vec<String> {
        let top = self.login(DEFAULT).map(|_| DEFAULT.to_owned());
        let below = self.0.object_or_new("profiles");
        let below = below
            .keys()
            .filter(|name| *name != DEFAULT && *name != LOCAL);
        top.into_iter().chain(below.map(str::to_owned)).collect()
    }

    /// Saves a login under a name.
    pub fn set_login(&mut self, name: &str, new: &Login) {
        self.edit(name, |object| {
            let token = |secret: &Option<Secret>| secret.as_ref().map(|s| s.expose().to_owned());
            object.set_text("host", new.host.clone());
            object.set_text("access_token", token(&new.access_token));
            object.set_text("user_token", token(&new.user_token));
            object.set_text("tenant", new.tenant.clone());
        });
        self.set_agent(name, new.agent.as_ref());
    }

    /// Notes the agent of a saved login, or that it has none.
    pub fn set_agent(&mut self, name: &str, agent: Option<&Agent>) {
        self.edit(name, |object| match agent {
            // What else a file says about the same agent stays.
            Some(agent) if read_agent(object).as_ref() == Some(agent) => {}
            Some(agent) => {
                let number = agent.id.parse::<i64>().map(Value::from);
                let id = number.unwrap_or_else(|_| Value::from(agent.id.as_str()));
                let value = serde_json::json!({"id": id, "name": agent.name});
                object.set("agent", &value);
            }
            None => object.remove("agent"),
        });
    }

    /// Removes a saved login; whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        if self.login(name).is_none() {
            return false;
        }
        if name == DEFAULT {
            for key in ["host", "access_token", "user_token", "tenant", "agent"] {
                self.0.remove(key);
            }
        } else if let Some(mut profiles) = self.0.object("profiles") {
            profiles.remove(name);
            if profiles.is_empty() {
                self.0.remove("profiles");
            } else {
                self.0.set_object("profiles", &profiles);
            }
        }
        if self.chosen().as_deref() == Some(name) {
            self.0.remove("profile");
        }
        true
    }

    /// Makes a profile the one that is used when nothing names one.
    pub fn choose(&mut self, name: Option<&str>) {
        self.0.set_text("profile", name.map(str::to_owned));
    }

    fn edit(&mut self, name: &str, change: impl FnOnce(&mut Object)) {
        if name == DEFAULT {
            return change(&mut self.0);
        }
        let mut profiles = self.0.object_or_new("profiles");
        let mut object = profiles.object_or_new(name);
        change(&mut object);
        profiles.set_object(name, &object);
        self.0.set_object("profiles", &profiles);
    }
}

fn login(object: &Object) -> Login {
    let secret = |key: &str| object.text(key).map(Secret::new);
    Login {
        host: object.text("host"),
        access_token: secret("access_token"),
        user_token: secret("user_token"),
        tenant: object.text("tenant"),
        agent: read_agent(object),
    }
}

/// `3`, `"3"` or `{"id": 3, "name": "gpu"}`.
fn read_agent(object: &Object) -> Option<Agent> {
    let value = object.value("agent")?;
    let name = value.get("name").and_then(Value::as_str);
    Some(Agent {
        id: id(&value).or_else(|| id(value.get("id")?))?,
        name: name.map(str::to_owned),
    })
}

/// The id of something as text: a number or a name.
pub fn id(value: &Value) -> Option<String> {
    let number = value.as_i64().map(|id| id.to_string());
    number
        .or_else(|| value.as_str().map(str::to_owned))
        .filter(|id| !id.is_empty())
}

/// Who besides its owner may read the file at `path`, as its permissions; none may.
pub fn exposed(path: &Path) -> Option<u32> {
    let mode = fs::metadata(path).ok()?.mode() & 0o777;
    (mode & OTHERS != 0).then_some(mode)
}

/// Changes the file at `path` in one step that no reader sees half of, and no other writer
/// undoes. Where nothing changes, nothing is written, unless others may read the file.
pub fn change<T>(
    path: &Path,
    hook: Option<&Hook>,
    edit: impl FnOnce(&mut Saved) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let failed = |error: io::Error| {
        let shown = path.display().to_string();
        let hint = if FULL.contains(&error.kind()) {
            "free some space, or set SYNAPSE_HOME to a folder on another disk"
        } else {
            "check the folder's permissions and its free space, or set SYNAPSE_HOME to another"
        };
        let what = format!("cannot write {shown}: {error}");
        Failure::environment("config-file", what)
            .at(shown)
            .hint(hint)
    };
    // Through a link of the user's, such as into a folder of dotfiles.
    let own = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let lock = lock(path).map_err(failed)?;
    let mut saved = Saved::load(path)?;
    let before = saved.0.to_string();
    let done = edit(&mut saved)?;
    let after = saved.0.to_string();
    if after != before || (exposed(path).is_some() && own.exists()) {
        write(&own, &after, hook).map_err(failed)?;
    }
    drop(lock);
    Ok(done)
}

/// Writers come one after the other.
fn lock(path: &Path) -> io::Result<File> {
    let folder = path.parent().unwrap_or(path);
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(lock_path(path))?;
    let what = format!("waiting for another process that writes {}", path.display());
    let _busy = board::busy(what);
    file.lock()?;
    Ok(file)
}

fn lock_path(path: &Path) -> PathBuf {
    path.with_extension("lock")
}

fn write(path: &Path, text: &str, hook: Option<&Hook>) -> io::Result<()> {
    if let Some(hook) = hook {
        hook("config-write")?;
    }
    let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(path))?;
    file.as_file()
        .set_permissions(fs::Permissions::from_mode(0o600))?;
    writeln!(file, "{text}")?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(path: &Path, name: &str) -> Result<(), Failure> {
        change(path, None, |saved| {
            saved.choose(Some(name));
            Ok(())
        })
    }

    #[test]
    fn changing_keeps_the_rest_as_it_is_written_and_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config/config.json");
        choose(&path, LOCAL).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        let text = "{\"z\": 1.50e+3, \"host\": \"https://x\",\n \"access_token\": \"t\",\
                    \"agent\": {\"token\" : \"a\", \"id\":3}, \"big\": 123456789012345678901234567890}";
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(exposed(&path), Some(0o644));
        choose(&path, "staging").unwrap();
        assert_eq!(exposed(&path), None);
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "{\n  \"z\": 1.50e+3,\n  \"host\": \"https://x\",\n  \"access_token\": \"t\",\n  \
             \"agent\": {\"token\" : \"a\", \"id\":3},\n  \
             \"big\": 123456789012345678901234567890,\n  \"profile\": \"staging\"\n}\n"
        );
        let saved = Saved::load(&path).unwrap();
        assert_eq!(saved.chosen().as_deref(), Some("staging"));
        let login = saved.login(DEFAULT).unwrap();
        assert_eq!(login.agent.map(|agent| agent.id), Some("3".to_owned()));
        assert_eq!(login.access_token, Some(Secret::new("t")));
    }

    #[test]
    fn errors_quote_no_token() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        for text in [
            "{\"access_token\": \"secret-canary",
            "[\"secret-canary\"]",
            "{\"access_token\": \"secret-canary\"} x",
            "\u{feff}{}",
            "",
        ] {
            fs::write(&path, text).unwrap();
            let failure = choose(&path, LOCAL).unwrap_err();
            assert_eq!(failure.code, "config-file", "{text:?}");
            assert!(!format!("{failure:?}").contains("canary"));
            assert_eq!(fs::read_to_string(&path).unwrap(), text, "left as it was");
        }
        // Entries of a wrong type are as good as none.
        fs::write(&path, "{\"profiles\": 3, \"host\": {}, \"agent\": []}").unwrap();
        let saved = Saved::load(&path).unwrap();
        assert!(saved.names().is_empty());
    }

    #[test]
    fn logins_come_and_go_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        let login = |host: &str| Login {
            host: Some(host.to_owned()),
            access_token: Some(Secret::new("t")),
            agent: Some(Agent {
                id: "7".to_owned(),
                name: Some("gpu".to_owned()),
            }),
            ..Login::default()
        };
        change(&path, None, |saved| {
            saved.set_login("staging", &login("https://s"));
            saved.set_login("prod", &login("https://p"));
            saved.set_login(DEFAULT, &login("https://d"));
            saved.choose(Some("prod"));
            Ok(())
        })
        .unwrap();
        let saved = Saved::load(&path).unwrap();
        assert_eq!(saved.names(), [DEFAULT, "staging", "prod"]);
        for (name, host) in [(DEFAULT, "https://d"), ("staging", "https://s")] {
            assert_eq!(saved.login(name).unwrap(), login(host));
        }
        assert!(saved.login("other").is_none());
        let text = fs::read_to_string(&path).unwrap();
        change(&path, None, |_| Ok(())).unwrap();
        assert_eq!(text, fs::read_to_string(&path).unwrap());
        change(&path, None, |saved| {
            assert!(saved.remove("prod"));
            assert!(!saved.remove("prod"));
            assert_eq!(saved.chosen(), None, "it was the default");
            saved.set_agent("staging", None);
            assert!(saved.remove(DEFAULT));
            Ok(())
        })
        .unwrap();
        let saved = Saved::load(&path).unwrap();
        assert_eq!(saved.names(), ["staging"]);
        assert_eq!(saved.login("staging").unwrap().agent, None);
    }

    #[test]
    fn writers_at_once_lose_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        std::thread::scope(|scope| {
            for writer in 0..8 {
                let path = &path;
                scope.spawn(move || {
                    for round in 0..5 {
                        let login = Login {
                            host: Some("https://x".to_owned()),
                            ..Login::default()
                        };
                        let name = format!("p{writer}-{round}");
                        change(path, None, |saved| {
                            saved.set_login(&name, &login);
                            Ok(())
                        })
                        .unwrap();
                        Saved::load(path).unwrap();
                    }
                });
            }
        });
        assert_eq!(Saved::load(&path).unwrap().names().len(), 40);
    }
}
