//! Owns [`Place`]: an object store as a URL names it, with the options that belong to it. What is
//! secret among them is in no text of it.

use std::{collections::BTreeMap, fmt, path::Path};

use synapse_engine::Failure;

/// The kind of an object store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// Amazon S3 and what speaks like it.
    S3,
    /// Google Cloud Storage.
    Gs,
    /// Azure Blob Storage.
    Az,
    /// A folder of this machine.
    File,
    /// A folder behind SSH.
    Sftp,
    /// A folder behind `WebDAV` over plain HTTP.
    Webdav,
    /// The same over HTTPS.
    Webdavs,
}

/// An option of a store: its name, and whether it must not be seen.
type Known = (&'static str, bool);

impl Scheme {
    fn parse(text: &str) -> Option<Self> {
        Some(match text.to_ascii_lowercase().as_str() {
            "s3" => Self::S3,
            "gs" | "gcs" => Self::Gs,
            "az" | "azblob" => Self::Az,
            "file" => Self::File,
            "sftp" => Self::Sftp,
            "webdav" => Self::Webdav,
            "webdavs" => Self::Webdavs,
            _ => return None,
        })
    }

    /// As URLs begin.
    pub fn name(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Gs => "gs",
            Self::Az => "az",
            Self::File => "file",
            Self::Sftp => "sftp",
            Self::Webdav => "webdav",
            Self::Webdavs => "webdavs",
        }
    }

    fn options(self) -> &'static [Known] {
        match self {
            Self::S3 => &[
                ("endpoint", false),
                ("region", false),
                ("access_key_id", true),
                ("secret_access_key", true),
                ("session_token", true),
                ("profile", false),
                ("role_arn", false),
                ("external_id", true),
                ("server_side_encryption", false),
                ("server_side_encryption_aws_kms_key_id", false),
                ("default_storage_class", false),
                ("enable_virtual_host_style", false),
                ("checksum_algorithm", false),
                ("skip_signature", false),
            ],
            Self::Gs => &[
                ("endpoint", false),
                ("credential", true),
                ("credential_path", false),
                ("token", true),
                ("predefined_acl", false),
                ("default_storage_class", false),
                ("skip_signature", false),
            ],
            Self::Az => &[
                ("endpoint", false),
                ("account_name", false),
                ("account_key", true),
                ("sas_token", true),
                ("skip_signature", false),
            ],
            Self::File => &[],
            Self::Sftp => &[
                ("user", false),
                ("key", false),
                ("known_hosts_strategy", false),
            ],
            Self::Webdav | Self::Webdavs => &[
                ("username", true),
                ("password", true),
                ("token", true),
                ("disable_create_dir", false),
            ],
        }
    }

    /// Whether the first part of the URL is a host rather than a bucket.
    fn has_host(self) -> bool {
        matches!(self, Self::Sftp | Self::Webdav | Self::Webdavs)
    }
}

/// An object store.
#[derive(Clone, PartialEq, Eq)]
pub struct Place {
    /// The name that a profile gives it.
    pub name: Option<String>,
    /// Its kind.
    pub scheme: Scheme,
    /// Bucket, container or host with port; empty for a folder of this machine.
    pub authority: String,
    /// The folder in it, without `/` at either end.
    pub root: String,
    /// Options by name; secrets among them.
    pub(super) options: BTreeMap<String, String>,
    /// Plain HTTP to another machine is wanted.
    pub(super) allow_http: bool,
}

/// Without its options.
impl fmt::Debug for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Place")
            .field("name", &self.name)
            .field("location", &self.location())
            .finish_non_exhaustive()
    }
}

/// The failure of a URL or option.
fn mistake(what: impl Into<String>, hint: &str) -> Failure {
    Failure::user("storage-url", what).hint(hint)
}

const SHAPE: &str = "write it like s3://BUCKET/FOLDER, gs://BUCKET, az://CONTAINER, \
                     file:///FOLDER, sftp://USER@HOST/FOLDER or webdavs://HOST/FOLDER";

impl Place {
    /// The store at a URL that somebody wrote down: options in its query, no secrets.
    pub fn parse(url: &str) -> Result<Self, Failure> {
        let Some((scheme, rest)) = url.trim().split_once("://") else {
            return Err(mistake("this is no URL of an object store", SHAPE));
        };
        let Some(scheme) = Scheme::parse(scheme) else {
            let what = "this kind of object store is not known";
            return Err(mistake(what, SHAPE));
        };
        if rest.contains('#') || rest.chars().any(char::is_control) {
            let what = "the URL of an object store has no fragment and no control characters";
            return Err(mistake(what, "write # as %23"));
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, authority) = match authority.rsplit_once('@') {
            Some((user, host)) if scheme == Scheme::Sftp && !user.contains(':') => {
                (Some(user), host)
            }
            Some(_) => {
                let what = "the URL of an object store must not hold a login";
                let hint = "put credentials into the profile's storages or into the environment";
                return Err(mistake(what, hint));
            }
            None => (None, authority),
        };
        let mut place = Self {
            name: None,
            scheme,
            authority: authority.to_owned(),
            root: folder(path)?,
            options: BTreeMap::new(),
            allow_http: false,
        };
        if scheme.has_host() {
            place.authority.make_ascii_lowercase();
        }
        match scheme {
            Scheme::File if place.authority == "localhost" => place.authority.clear(),
            Scheme::File if !authority.is_empty() => {
                let what = "a file URL has three slashes and no host";
                return Err(mistake(what, "write it like file:///srv/plugins"));
            }
            Scheme::File if place.root.is_empty() => {
                return Err(mistake("a file URL must name a folder", SHAPE));
            }
            Scheme::File => {}
            _ if !is_authority(authority, scheme.has_host()) => {
                return Err(mistake("the URL names no bucket or host", SHAPE));
            }
            _ => {}
        }
        if let Some(user) = user {
            place.option("user", &decoded(user)?, true)?;
        }
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            place.option(name, &decoded(value)?, true)?;
        }
        Ok(place)
    }

    /// The store that a profile describes under a name: a URL, or `url` and options.
    pub fn of_profile(name: &str, value: &serde_json::Value) -> Result<Self, Failure> {
        let inside = |failure: Failure| {
            let message = format!("storages.{name}: {}", failure.message);
            Failure { message, ..failure }
        };
        let (url, options) = match value {
            serde_json::Value::String(url) => (url.as_str(), None),
            serde_json::Value::Object(map) => {
                let url = map.get("url").and_then(serde_json::Value::as_str);
                let hint = "write it like {\"url\": \"s3://BUCKET/FOLDER\", \"region\": \"...\"}";
                let missing = || inside(mistake("there is no url", hint));
                (url.ok_or_else(missing)?, Some(map))
            }
            _ => return Err(inside(mistake("it is neither a URL nor an object", SHAPE))),
        };
        let mut place = Self::parse(url).map_err(inside)?;
        for (key, value) in options.into_iter().flatten() {
            let text = match value {
                serde_json::Value::String(text) => text.clone(),
                serde_json::Value::Bool(flag) => flag.to_string(),
                serde_json::Value::Number(number) => number.to_string(),
                _ => {
                    let what = format!("{key} is no text");
                    return Err(inside(mistake(what, "put it in quotes")));
                }
            };
            match key.as_str() {
                "url" => {}
                "allow_http" => place.allow_http = text == "true",
                key => place.option(key, &text, false).map_err(inside)?,
            }
        }
        place.name = Some(name.to_owned());
        Ok(place)
    }

    /// The same, with plain HTTP to other machines allowed.
    pub fn allowing_http(mut self, allow: bool) -> Self {
        self.allow_http |= allow;
        self
    }

    fn option(&mut self, name: &str, value: &str, in_url: bool) -> Result<(), Failure> {
        let known = self.scheme.options();
        let Some((name, secret)) = known.iter().find(|(own, _)| *own == name) else {
            let scheme = self.scheme.name();
            let names: Vec<&str> = known
                .iter()
                .filter(|(_, secret)| !(in_url && *secret))
                .map(|(own, _)| *own)
                .collect();
            let hint = if names.is_empty() {
                format!("{scheme} has no options")
            } else {
                format!("options of {scheme}: {}", names.join(", "))
            };
            // The name itself could be a secret put in the wrong place.
            return Err(mistake("an option of an object store is not known", &hint));
        };
        if *secret && in_url {
            let what = format!("{name} must not stand in a URL");
            let hint = "put credentials into the profile's storages or into the environment";
            return Err(mistake(what, hint));
        }
        self.options.insert((*name).to_owned(), value.to_owned());
        Ok(())
    }

    /// An option.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }

    /// The values that must not be seen.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &str> {
        let known = self.scheme.options();
        let secret = |name: &str| known.iter().any(|(own, secret)| *own == name && *secret);
        let values = self.options.iter().filter(move |(name, _)| secret(name));
        values.map(|(_, value)| value.as_str())
    }

    /// The URL without options.
    pub fn location(&self) -> String {
        let (scheme, root) = (self.scheme.name(), encoded(&self.root));
        let authority = &self.authority;
        match (self.scheme, self.root.is_empty()) {
            (Scheme::File, _) => format!("{scheme}:///{root}"),
            (_, true) => format!("{scheme}://{authority}"),
            _ => format!("{scheme}://{authority}/{root}"),
        }
    }

    /// What people call it.
    pub fn shown(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.location())
    }

    /// The URL of an object in it.
    pub fn url_of(&self, object: &str) -> String {
        let location = self.location();
        format!("{}/{object}", location.trim_end_matches('/'))
    }

    /// Whether a URL, as a workspace writes it, names this very store.
    pub fn is(&self, other: &Self) -> bool {
        self.location() == other.location()
            && other
                .options
                .iter()
                .all(|(name, value)| self.get(name) == Some(value))
    }

    /// The folder on this machine, for [`Scheme::File`].
    pub(super) fn path(&self) -> std::path::PathBuf {
        Path::new("/").join(&self.root)
    }
}

fn is_authority(text: &str, host: bool) -> bool {
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if host => (name, port.parse::<u16>().is_ok()),
        _ => (text, true),
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let bracketed = host && name.starts_with('[') && name.ends_with(']');
    port && !name.is_empty() && (name.chars().all(plain) || bracketed)
}

/// A folder as it is written in a URL, in normal form.
fn folder(path: &str) -> Result<String, Failure> {
    let mut parts = Vec::new();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        let part = decoded(part)?;
        if part == "." || part == ".." || part.contains(['/', '\0']) {
            let what = "the folder of an object store must be written without . and ..";
            return Err(mistake(what, "write the folder itself"));
        }
        parts.push(part);
    }
    Ok(parts.join("/"))
}

fn decoded(text: &str) -> Result<String, Failure> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = text.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        let byte = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(byte.unwrap_or(bytes[at]));
        at += if byte.is_some() { 3 } else { 1 };
    }
    String::from_utf8(out).map_err(|_| {
        mistake(
            "the URL of an object store is not UTF-8",
            "encode it as UTF-8",
        )
    })
}

fn encoded(text: &str) -> String {
    use fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~+@:=,".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
#[path = "place_tests.rs"]
mod tests;
