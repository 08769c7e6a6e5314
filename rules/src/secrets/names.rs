//! Owns what names say: files that are credentials by name, and keys of `env` that announce one.

use super::content::Rule;

/// A file that its name makes suspicious.
#[derive(Debug)]
pub(super) struct Name {
    pub(super) id: &'static str,
    pub(super) what: &'static str,
    test: fn(&str, &str) -> bool,
    /// Looked for in the content. Without it the name is enough.
    pub(super) content: Option<Rule>,
}

/// The rule for literal values under keys that announce a secret.
pub(super) const ENV: (&str, &str) = (
    "env-secret",
    "a literal value under a name that says secret",
);

const fn by_name(id: &'static str, what: &'static str, test: fn(&str, &str) -> bool) -> Name {
    Name {
        id,
        what,
        test,
        content: None,
    }
}

const fn with_content(
    id: &'static str,
    what: &'static str,
    test: fn(&str, &str) -> bool,
    words: &'static [&'static str],
) -> Name {
    Name {
        id,
        what,
        test,
        content: Some(Rule::setting(id, what, words)),
    }
}

/// Tests take the whole path and its last component, both in lower case.
static NAMES: [Name; 13] = [
    by_name("dotenv-file", "environment file", |_, name| {
        name == ".env"
            || (name.starts_with(".env.")
                && ![".example", ".sample", ".template"]
                    .iter()
                    .any(|end| name.ends_with(end)))
    }),
    by_name("netrc-file", "netrc file", |_, name| {
        matches!(name, ".netrc" | "_netrc")
    }),
    by_name("ssh-key-file", "SSH private key", |_, name| {
        matches!(name, "id_rsa" | "id_dsa" | "id_ecdsa" | "id_ed25519")
    }),
    by_name("keystore-file", "key store", |_, name| {
        [".p12", ".pfx", ".jks", ".kdbx"]
            .iter()
            .any(|end| name.ends_with(end))
    }),
    by_name("pypirc-file", "PyPI credentials", |_, name| {
        name == ".pypirc"
    }),
    by_name("git-credentials-file", "Git credentials", |_, name| {
        name == ".git-credentials"
    }),
    by_name("aws-credentials-file", "AWS credentials", |path, _| {
        ends(path, ".aws/credentials")
    }),
    by_name(
        "gcloud-credentials-file",
        "Google Cloud credentials",
        |_, name| name == "application_default_credentials.json",
    ),
    by_name("kube-config-file", "Kubernetes credentials", |path, _| {
        ends(path, ".kube/config")
    }),
    by_name("synapse-config-file", "Synapse credentials", |path, _| {
        ends(path, ".synapse/config.json")
    }),
    with_content(
        "npmrc-token",
        "npm token",
        |_, name| name == ".npmrc",
        &["_authToken", "_password", "_auth"],
    ),
    with_content(
        "docker-auth",
        "registry credentials",
        |path, name| ends(path, ".docker/config.json") || name == ".dockercfg",
        &["\"auth\"", "\"identitytoken\"", "\"password\""],
    ),
    with_content(
        "pip-password",
        "package index password",
        |_, name| matches!(name, "pip.conf" | "pip.ini" | "uv.toml"),
        &["password"],
    ),
];

fn ends(path: &str, end: &str) -> bool {
    path.strip_suffix(end)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
}

/// The rule for a file's name.
pub(super) fn name_rule(path: &str) -> Option<&'static Name> {
    let path = path.to_ascii_lowercase();
    let name = path.rsplit('/').next().unwrap_or(&path);
    NAMES.iter().find(|rule| (rule.test)(&path, name))
}

pub(super) fn ids() -> impl Iterator<Item = &'static str> {
    NAMES.iter().map(|name| name.id)
}

/// Whether a key of `env` announces a secret.
pub(super) fn secret_key(key: &str) -> bool {
    let key = key.to_ascii_uppercase().replace('-', "_");
    let last = key.rsplit('_').next().unwrap_or_default();
    if matches!(last, "FILE" | "PATH" | "NAME" | "DIR") {
        return false;
    }
    matches!(last, "TOKEN" | "SECRET" | "CREDENTIAL" | "CREDENTIALS")
        || [
            "PASSWORD",
            "PASSWD",
            "API_KEY",
            "APIKEY",
            "SECRET_KEY",
            "ACCESS_KEY",
            "PRIVATE_KEY",
        ]
        .iter()
        .any(|word| key.contains(word))
}

/// Whether a value is no secret whatever its key: empty, a reference, a switch, a path, a
/// placeholder.
pub(super) fn harmless_value(value: &str) -> bool {
    let value = value.trim();
    value.starts_with(['/', '~', '$'])
        || value.starts_with("./")
        || matches!(
            value.to_ascii_lowercase().as_str(),
            "true" | "false" | "yes" | "no" | "on" | "off" | "0" | "1" | "null" | "none"
        )
        || placeholder(value.as_bytes())
}

/// Whether text stands for a secret instead of being one.
pub(super) fn placeholder(text: &[u8]) -> bool {
    const WORDS: [&str; 17] = [
        "password", "passwd", "passwort", "pass", "pwd", "pw", "secret", "token", "key", "apikey",
        "api_key", "changeme", "user", "username", "test", "none", "null",
    ];
    const PARTS: [&str; 12] = [
        "example",
        "xxxx",
        "****",
        "....",
        "your_",
        "your-",
        "my_",
        "my-",
        "placeholder",
        "redacted",
        "dummy",
        "changeme",
    ];
    let Ok(text) = std::str::from_utf8(text) else {
        return false;
    };
    let text = text.to_ascii_lowercase();
    let bytes = text.as_bytes();
    text.len() < 3
        || bytes.iter().all(|byte| *byte == bytes[0])
        || text.contains("${")
        || text.contains("{{")
        || text.contains("$(")
        || text.contains("...")
        || text.starts_with(['$', '<', '{', '[', '%', '*', '\\'])
        || WORDS.contains(&text.as_str())
        || PARTS.iter().any(|part| text.contains(part))
}
