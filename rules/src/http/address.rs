//! Owns [`Address`]: a host as calls need it, with the URLs of the paths below.

use std::fmt;

use reqwest::Url;

use crate::platform::{BadHost, Host};

/// Where calls go: the host's URL, with a slash at its end.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    url: Url,
    shown: String,
}

impl Address {
    /// The address of a host.
    pub fn new(host: &Host) -> Result<Self, BadHost> {
        let shown = host.short();
        let mut url = Url::parse(&host.url()).map_err(|_| BadHost::NotUrl(shown.clone()))?;
        if !url.path().ends_with('/') {
            let path = format!("{}/", url.path());
            url.set_path(&path);
        }
        Ok(Self { url, shown })
    }

    /// The host as people name it.
    pub fn host(&self) -> &str {
        &self.shown
    }

    /// Whether it is reached through TLS.
    pub fn is_tls(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// Whether a URL is on the same server: a token for this may go there.
    pub fn same_origin(&self, other: &Url) -> bool {
        self.url.origin() == other.origin()
    }

    /// The URL of a path below, which has no slash in front and may have a query.
    pub fn join(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        let (path, query) = path
            .split_once('?')
            .map_or((path, None), |(path, query)| (path, Some(query)));
        url.set_path(&format!("{}{path}", self.url.path()));
        url.set_query(query);
        url
    }

    /// The address of a URL that the other side named, and the path below it.
    pub fn of(url: &Url) -> Option<(Self, String)> {
        let mut base = url.clone();
        base.set_path("/");
        base.set_query(None);
        base.set_fragment(None);
        let address = Self::new(&Host::parse(base.as_str()).ok()?).ok()?;
        let query = url.query().map(|query| format!("?{query}"));
        let path = url.path().trim_start_matches('/');
        Some((address, format!("{path}{}", query.unwrap_or_default())))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Address({})", self.shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lie_below_the_host() {
        let of = |text: &str| Address::new(&Host::parse(text).unwrap()).unwrap();
        let own = of("http://localhost:8000/synapse");
        assert_eq!(own.host(), "localhost:8000/synapse");
        assert_eq!(
            own.join("plugin_releases/?plugin=a").as_str(),
            "http://localhost:8000/synapse/plugin_releases/?plugin=a"
        );
        assert!(own.same_origin(&Url::parse("http://localhost:8000/other").unwrap()));
        for other in ["https://localhost:8000/", "http://localhost/", "http://l/"] {
            assert!(!own.same_origin(&Url::parse(other).unwrap()), "{other}");
        }
        let elsewhere = Url::parse("https://files.test:1/a/b?c=d").unwrap();
        let (address, path) = Address::of(&elsewhere).unwrap();
        assert_eq!(address.join(&path), elsewhere);
    }
}
