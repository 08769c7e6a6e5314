//! Owns where things are kept: the store, the user's data, the configuration.

use std::{ffi::OsString, path::PathBuf};

use synapse_engine::Failure;

/// The folders of one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// Results that can be made again; deletable at any time.
    pub store: PathBuf,
    /// Ledger and embedded backend: what cannot be made again.
    pub data: PathBuf,
    /// Configuration and credentials.
    pub config: PathBuf,
}

impl Home {
    /// From the environment: `SYNAPSE_STORE` and `SYNAPSE_HOME`, else the XDG folders.
    pub fn find(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, Failure> {
        let path = |name: &str| {
            let value = variable(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)?;
            Some(std::path::absolute(&value).unwrap_or(value))
        };
        let under_home = |tail: &[&str]| {
            let home = path("HOME").ok_or_else(|| {
                Failure::environment("no-home", "neither HOME nor SYNAPSE_HOME is set")
                    .hint("set SYNAPSE_HOME to a folder that synapse may write to")
            })?;
            Ok::<PathBuf, Failure>(tail.iter().fold(home, |path, part| path.join(part)))
        };
        let base = path("SYNAPSE_HOME");
        let folder = |own: &str, xdg: &str, tail: &[&str]| match (&base, path(xdg)) {
            (Some(base), _) => Ok(base.join(own)),
            (None, Some(xdg)) if xdg.is_absolute() && !xdg.as_os_str().is_empty() => {
                Ok(xdg.join("synapse"))
            }
            _ => under_home(tail),
        };
        Ok(Self {
            store: match path("SYNAPSE_STORE") {
                Some(store) => store,
                None => folder("cache", "XDG_CACHE_HOME", &[".cache", "synapse"])?,
            },
            data: folder("data", "XDG_DATA_HOME", &[".local", "share", "synapse"])?,
            config: match &base {
                Some(base) => base.join("config"),
                None => under_home(&[".synapse"])?,
            },
        })
    }

    /// The folder of the flat file indexes.
    pub fn index(&self) -> PathBuf {
        self.store.join("index")
    }

    /// The folder of the embedded backend.
    pub fn backend(&self) -> PathBuf {
        self.data.join("backend")
    }

    /// The ledger file.
    pub fn ledger(&self) -> PathBuf {
        self.data.join("ledger.db")
    }

    /// The journal of past invocations.
    pub fn journal(&self) -> PathBuf {
        self.data.join("journal.jsonl")
    }

    /// The configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.config.join("config.json")
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn one_variable_moves_all_three() {
        let with = |pairs: &'static [(&str, &str)]| {
            Home::find(move |name| {
                pairs
                    .iter()
                    .find(|(own, _)| *own == name)
                    .map(|(_, value)| value.into())
            })
        };
        let home = with(&[
            ("SYNAPSE_HOME", "/s"),
            ("HOME", "/h"),
            ("XDG_CACHE_HOME", "/c"),
        ])
        .unwrap();
        assert_eq!(home.store, Path::new("/s/cache"));
        assert_eq!(home.backend(), Path::new("/s/data/backend"));
        assert_eq!(home.config_file(), Path::new("/s/config/config.json"));
        let home = with(&[
            ("HOME", "/h"),
            ("XDG_CACHE_HOME", "/c"),
            ("SYNAPSE_STORE", "/st"),
        ])
        .unwrap();
        assert_eq!(home.store, Path::new("/st"));
        assert_eq!(home.data, Path::new("/h/.local/share/synapse"));
        assert_eq!(home.config, Path::new("/h/.synapse"));
        assert_eq!(with(&[]).unwrap_err().code, "no-home");
    }
}
