//! Owns [`Host`]: the address of a platform, in one form, and which addresses are the same server.

use std::{fmt, net::IpAddr};

use reqwest::Url;

/// The address of a platform: scheme, name, port, and a path below which the API lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host(Url);

/// Why a text is no address of a platform. Holds no part of a text that may hold a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadHost {
    /// Nothing.
    #[error("the host is empty")]
    Empty,
    /// No URL at all.
    #[error("{0} is not a URL")]
    NotUrl(String),
    /// `ftp://` and such.
    #[error("{0} is neither https nor http")]
    Scheme(String),
    /// A user name or a password.
    #[error("the host holds a user name or a password")]
    Credentials,
    /// A query or a fragment.
    #[error("the host holds a query or a fragment")]
    Query,
    /// Whitespace or control characters inside.
    #[error("the host has whitespace or control characters inside")]
    Characters,
}

impl BadHost {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::NotUrl(text) if !text.contains("://") && !text.starts_with('/') => {
                let scheme = if is_local_name(text) { "http" } else { "https" };
                format!("write it with its scheme, such as {scheme}://{text}")
            }
            Self::Scheme(_) | Self::NotUrl(_) | Self::Empty | Self::Characters => {
                "an address looks like https://api.example.com".to_owned()
            }
            Self::Credentials => {
                "leave them out of the address; the token goes into --token - or SYNAPSE_ACCESS_TOKEN"
                    .to_owned()
            }
            Self::Query => "leave out what follows ? or #".to_owned(),
        }
    }
}

/// Whether `localhost:8000` or `127.0.0.1` comes first in a text.
fn is_local_name(text: &str) -> bool {
    let name = text.split([':', '/']).next().unwrap_or_default();
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

impl Host {
    /// Reads an address. What it may not hold is refused without being repeated.
    pub fn parse(text: &str) -> Result<Self, BadHost> {
        let text = text.trim();
        if text.is_empty() {
            return Err(BadHost::Empty);
        }
        // `Url` drops some of these in silence.
        if text
            .chars()
            .any(|char| char.is_whitespace() || char.is_control())
        {
            return Err(BadHost::Characters);
        }
        // Anywhere: a password may hold what ends the name of a server.
        if text.contains('@') {
            return Err(BadHost::Credentials);
        }
        if text.contains(['?', '#']) {
            return Err(BadHost::Query);
        }
        // Of `localhost:8000` the parser would take `localhost` for the scheme.
        let Some((scheme, _)) = text.split_once("://") else {
            return Err(BadHost::NotUrl(text.to_owned()));
        };
        if !["http", "https"].contains(&scheme.to_ascii_lowercase().as_str()) {
            return Err(BadHost::Scheme(format!("{scheme}://")));
        }
        let bad = || BadHost::NotUrl(text.to_owned());
        let mut url = Url::parse(text).map_err(|_| bad())?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(BadHost::Credentials);
        }
        if url.host_str().is_none_or(str::is_empty) || url.port() == Some(0) {
            return Err(bad());
        }
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        Ok(Self(url))
    }

    /// The address as a URL without a slash at its end.
    pub fn url(&self) -> String {
        self.to_string()
    }

    /// The same server: equal scheme, name and port, whatever the path.
    pub fn is_same_server(&self, other: &Self) -> bool {
        self.0.origin() == other.0.origin()
    }

    /// Nobody on the way can read what is sent there, other than this machine.
    pub fn is_private(&self) -> bool {
        self.0.scheme() == "https" || self.is_loopback()
    }

    /// It is on this machine.
    pub fn is_loopback(&self) -> bool {
        let name = self.0.host_str().unwrap_or_default();
        let name = name.trim_start_matches('[').trim_end_matches(']');
        name == "localhost"
            || name
                .parse::<IpAddr>()
                .is_ok_and(|ip| ip.to_canonical().is_loopback())
    }

    /// Name and port, without the scheme.
    pub fn short(&self) -> String {
        let url = self.url();
        url.split_once("://")
            .map_or(url.as_str(), |(_, rest)| rest)
            .to_owned()
    }
}

impl fmt::Display for Host {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> Host {
        Host::parse(text).unwrap()
    }

    #[test]
    fn one_form_for_one_address() {
        for (given, form) in [
            ("https://api.synapse.sh", "https://api.synapse.sh"),
            (" HTTPS://API.Synapse.sh:443/ ", "https://api.synapse.sh"),
            ("https://x.test:8443/api/v1//", "https://x.test:8443/api/v1"),
            ("http://127.0.0.1:8000/", "http://127.0.0.1:8000"),
            ("http://[::1]:8000", "http://[::1]:8000"),
            ("http://0x7f.1:80/a/../b", "http://127.0.0.1/b"),
        ] {
            assert_eq!(host(given).url(), form);
            assert_eq!(host(form).url(), form, "once more changes nothing");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_without_its_secrets() {
        for (given, expected) in [
            ("", BadHost::Empty),
            ("nonsense", BadHost::NotUrl("nonsense".to_owned())),
            (
                "localhost:8000",
                BadHost::NotUrl("localhost:8000".to_owned()),
            ),
            ("https://", BadHost::NotUrl("https://".to_owned())),
            (
                "https://x.test:0",
                BadHost::NotUrl("https://x.test:0".to_owned()),
            ),
            (
                "https://x.test:99999",
                BadHost::NotUrl("https://x.test:99999".to_owned()),
            ),
            ("ftp://x.test", BadHost::Scheme("ftp://".to_owned())),
            ("https://me:canary@example.com", BadHost::Credentials),
            ("https://canary@x.test", BadHost::Credentials),
            ("ftp://me:canary@example.com", BadHost::Credentials),
            ("me:canary@x.test", BadHost::Credentials),
            ("https://me:can/ary@x.test", BadHost::Credentials),
            ("https://x.test/?token=canary", BadHost::Query),
            ("https://x.test#canary", BadHost::Query),
            ("https://x.te st", BadHost::Characters),
            ("https://x.test\u{0}", BadHost::Characters),
            ("https://x\n.test", BadHost::Characters),
        ] {
            let error = Host::parse(given).unwrap_err();
            assert_eq!(error, expected, "{given:?}");
            assert!(!format!("{error} {error:?} {}", error.hint()).contains("canary"));
        }
        assert_eq!(
            Host::parse("localhost:8000").unwrap_err().hint(),
            "write it with its scheme, such as http://localhost:8000"
        );
    }

    #[test]
    fn servers_are_compared_strictly() {
        for (one, other) in [
            ("https://x.test", "https://X.test:443/api"),
            ("http://x.test/a", "http://x.test:80/b"),
        ] {
            assert!(host(one).is_same_server(&host(other)), "{one} {other}");
        }
        for (one, other) in [
            ("https://x.test", "http://x.test"),
            ("https://x.test", "https://x.test:8443"),
            ("https://x.test", "https://x.test.evil.test"),
            ("https://x.test", "https://sub.x.test"),
            ("https://x.test", "https://x.test."),
            ("http://localhost", "http://127.0.0.1"),
        ] {
            assert!(!host(one).is_same_server(&host(other)), "{one} {other}");
        }
    }

    #[test]
    fn plain_http_is_private_on_this_machine_only() {
        for (given, private) in [
            ("https://x.test", true),
            ("http://localhost:80", true),
            ("http://127.8.9.1", true),
            ("http://[::1]", true),
            ("http://x.test", false),
            ("http://0.0.0.0", false),
            ("http://localhost.x.test", false),
            ("http://127.0.0.1.x.test", false),
            ("http://192.168.0.1", false),
        ] {
            assert_eq!(host(given).is_private(), private, "{given}");
        }
    }
}
