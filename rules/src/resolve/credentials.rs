//! Owns [`Credentials`]: logins that stand in URLs. They go to installers in a private file and
//! appear nowhere else: not in a key, a row, a lock, an argument or a message.

use std::{borrow::Cow, collections::BTreeMap, sync::LazyLock};

use regex::{Captures, Regex};

/// What stands for a secret.
const MASK: &str = "***";
/// Shorter texts are no secrets, and hiding them would garble messages.
const SHORTEST: usize = 4;

#[expect(clippy::unwrap_used, reason = "a constant pattern, used by every test")]
static USERINFO: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"([A-Za-z][A-Za-z0-9+.\-]*)://([^/?#\s"'<>]*)@([^/?#\s"'<>@:]*)"#).unwrap()
});

/// Logins by machine, and what else must not be seen.
#[derive(Clone, Default)]
pub struct Credentials {
    machines: BTreeMap<String, (String, String)>,
    secrets: Vec<String>,
}

/// The text with the logins of its URLs left out. The user of an SSH URL is no secret.
pub fn without(text: &str) -> Cow<'_, str> {
    USERINFO.replace_all(text, |found: &Captures<'_>| match login(found) {
        Login::Open => found[0].to_owned(),
        _ => format!("{}://{}", &found[1], &found[3]),
    })
}

enum Login {
    Open,
    User(String),
    Both(String, String),
}

fn login(found: &Captures<'_>) -> Login {
    let ssh = found[1].ends_with("ssh");
    match found[2].split_once(':') {
        Some((user, password)) => Login::Both(decoded(user), decoded(password)),
        None if ssh || found[2].is_empty() => Login::Open,
        None => Login::User(decoded(&found[2])),
    }
}

fn decoded(text: &str) -> String {
    let hex = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let pair = bytes
            .get(at + 1..at + 3)
            .map(|pair| (hex(pair[0]), hex(pair[1])));
        if let (b'%', Some((Some(high), Some(low)))) = (bytes[at], pair) {
            out.push(high << 4 | low);
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

impl Credentials {
    /// Moves the logins of a text's URLs here, so that the text can be an argument. What a
    /// netrc file cannot hold stays in the text, and is known as a secret.
    pub fn take(&mut self, text: &str) -> String {
        let replaced = USERINFO.replace_all(text, |found: &Captures<'_>| {
            let (user, password) = match login(found) {
                Login::Open => return found[0].to_owned(),
                Login::User(user) => {
                    // It may be a token; without a password netrc cannot say it.
                    self.secrets.push(user);
                    return found[0].to_owned();
                }
                Login::Both(user, password) => (user, password),
            };
            self.secrets.push(password.clone());
            self.secrets.push(found[2].to_owned());
            if let Some((_, raw)) = found[2].split_once(':') {
                self.secrets.push(raw.to_owned());
            }
            let plain = |text: &str| {
                let odd = |c: char| c.is_whitespace() || c.is_control() || "\"'\\#".contains(c);
                !text.is_empty() && !text.contains(odd)
            };
            let login = (user, password);
            let known = self.machines.get(&found[3]);
            let free = known.is_none_or(|known| *known == login);
            if found[1].ends_with("ssh") || !plain(&login.0) || !plain(&login.1) || !free {
                return found[0].to_owned();
            }
            self.machines.insert(found[3].to_owned(), login);
            format!("{}://{}", &found[1], &found[3])
        });
        replaced.into_owned()
    }

    /// Notes a text that must not be seen.
    pub fn hide(&mut self, secret: &str) {
        self.secrets.push(secret.to_owned());
    }

    /// The text without any secret.
    pub fn redact(&self, text: &str) -> String {
        let mut text = without(text).into_owned();
        // The longest first: one secret may hold another.
        let mut secrets: Vec<&String> = self.secrets.iter().collect();
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        for secret in secrets {
            if secret.len() >= SHORTEST {
                text = text.replace(secret.as_str(), MASK);
            }
        }
        text
    }

    /// The logins as a netrc file.
    pub fn netrc(&self) -> String {
        let line = |(machine, (user, password)): (&String, &(String, String))| {
            format!("machine {machine} login {user} password {password}\n")
        };
        self.machines.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_leave_urls() {
        let mut credentials = Credentials::default();
        let text = "--index-url https://me:s3cr%2Ft@host/simple -f https://host/x#a@b";
        assert_eq!(
            credentials.take(text),
            "--index-url https://host/simple -f https://host/x#a@b"
        );
        assert_eq!(
            credentials.netrc(),
            "machine host login me password s3cr/t\n"
        );
        let shown = credentials.redact("401 for https://me:s3cr%2Ft@host/ (s3cr/t)");
        assert_eq!(shown, "401 for https://host/ (***)");
    }

    #[test]
    fn what_netrc_cannot_hold_stays_and_is_hidden() {
        let mut credentials = Credentials::default();
        credentials.take("https://a:one1@host/");
        // In parts, or this file would itself look like one with credentials.
        let second = ["https://b:two2", "@host/"].concat();
        let spaced = ["https://a:sp%20ace", "@other/"].concat();
        for url in [second.as_str(), "https://token@host/", &spaced] {
            assert_eq!(credentials.take(url), url);
            assert!(!without(url).contains('@'), "{url}");
        }
        assert_eq!(credentials.redact("two2 token sp ace"), "*** *** ***");
        assert_eq!(without("git+ssh://git@host/x"), "git+ssh://git@host/x");
        assert_eq!(
            without("pkg @ git+https://x:y@host/z@v1"),
            "pkg @ git+https://host/z@v1"
        );
    }
}
