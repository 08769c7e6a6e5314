//! Owns the user's configuration file: which target is the default. Other keys are kept.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::Path,
};

use serde_json::{Map, Value};
use synapse_engine::Failure;
use synapse_rules::fileset::read_regular;

/// The profile that stands for the embedded backend.
pub const LOCAL: &str = "local";

/// What the file and the environment say.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The default profile.
    pub profile: Option<String>,
    /// A token for a platform is there.
    pub has_token: bool,
    /// The platform that was logged in to and the token for it. Secret.
    pub platform: Option<(String, String)>,
    /// Where actions run unless the command line says.
    pub default_mode: Option<String>,
}

fn read(path: &Path) -> Result<Map<String, Value>, Failure> {
    let shown = path.display().to_string();
    let text = match read_regular(path).map(String::from_utf8) {
        Ok(Ok(text)) => text,
        Ok(Err(_)) => String::new(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Map::new()),
        Err(error) => {
            let what = format!("cannot read {shown}: {error}");
            let failure = Failure::environment("config-file", what).at(shown);
            return Err(
                failure.hint("check its permissions, or set SYNAPSE_HOME to another folder")
            );
        }
    };
    match serde_json::from_str(&text) {
        Ok(Value::Object(map)) => Ok(map),
        // The parser's own words could quote a token.
        _ => Err(
            Failure::user("config-file", format!("{shown} is not a JSON object"))
                .at(shown)
                .hint("mend it, or delete it and log in again"),
        ),
    }
}

/// Reads the configuration file at `path`.
pub fn load(path: &Path) -> Result<Credentials, Failure> {
    let map = read(path)?;
    let text = |key: &str| map.get(key).and_then(Value::as_str).map(str::to_owned);
    let has_token = ["access_token", "user_token"]
        .iter()
        .any(|key| text(key).is_some());
    Ok(Credentials {
        profile: text("profile"),
        has_token,
        platform: text("host").zip(text("access_token")),
        default_mode: text("default_mode"),
    })
}

/// Makes `profile` the default, keeping every other key of the file.
pub fn choose(path: &Path, profile: &str) -> Result<(), Failure> {
    let mut map = read(path)?;
    map.insert("profile".to_owned(), Value::String(profile.to_owned()));
    let write = || -> io::Result<()> {
        let folder = path.parent().unwrap_or(path);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.as_file()
            .set_permissions(fs::Permissions::from_mode(0o600))?;
        serde_json::to_writer_pretty(&mut file, &map)?;
        file.write_all(b"\n")?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    write().map_err(|error| {
        let shown = path.display().to_string();
        let what = format!("cannot write {shown}: {error}");
        Failure::environment("config-file", what)
            .at(shown)
            .hint("check the folder's permissions")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choosing_keeps_other_keys_and_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config/config.json");
        choose(&path, LOCAL).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        fs::write(
            &path,
            r#"{"host": "https://x", "access_token": "t", "agent": {"id": 3}}"#,
        )
        .unwrap();
        choose(&path, LOCAL).unwrap();
        let map = read(&path).unwrap();
        assert_eq!(map["agent"]["id"], 3);
        let credentials = load(&path).unwrap();
        assert_eq!(credentials.profile.as_deref(), Some(LOCAL));
        assert!(credentials.has_token);
        fs::write(&path, "{\"access_token\": \"secret-canary").unwrap();
        let failure = load(&path).unwrap_err();
        assert!(!format!("{failure:?}").contains("canary"));
    }
}
