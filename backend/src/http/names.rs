//! Owns [`Names`]: what a server may be called by. A page in a browser can make any name of its
//! own lead to any address; so a server answers to addresses, and to names that it was given.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, Uri, header};

/// What a server may be called by.
pub(crate) struct Names {
    port: u16,
    /// In lower case.
    known: Vec<String>,
    /// It listens on all addresses of this machine, whichever these are.
    any_address: bool,
    /// By what it is called when a caller does not say the port.
    usual: String,
}

impl Names {
    /// For a server that was told to listen on `bound`, does so on `own`, and has a name perhaps.
    pub(crate) fn new(bound: IpAddr, own: SocketAddr, name: Option<String>) -> Self {
        let mut known = vec![bound.to_string()];
        if bound.is_loopback() || bound.is_unspecified() {
            known.push("localhost".to_owned());
        }
        let name = name.map(|name| name.to_ascii_lowercase());
        known.extend(name.filter(|name| !known.contains(name)));
        Self {
            port: own.port(),
            known,
            any_address: bound.is_unspecified(),
            usual: own.to_string(),
        }
    }

    /// By what a request calls the server, with the port; `None` when that is nothing of ours.
    pub(crate) fn called(&self, headers: &HeaderMap, uri: &Uri) -> Option<String> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return None;
        };
        let host = host.to_str().ok()?;
        let ours = uri.authority().is_none_or(|own| self.admits(own.as_str()));
        if !ours || !self.admits(host) {
            return None;
        }
        let whole = split(host).is_some_and(|(_, port)| port.is_some());
        let authority = if whole { host } else { &self.usual };
        Some(authority.to_ascii_lowercase())
    }

    /// For a person who called it by something else.
    pub(crate) fn told(&self) -> String {
        let names = self.known.join(" and ");
        if self.any_address {
            return format!("this server answers to addresses and to {names} only");
        }
        format!("this server answers to {names} only")
    }

    fn admits(&self, host: &str) -> bool {
        let Some((name, port)) = split(host) else {
            return false;
        };
        let name = name.to_ascii_lowercase();
        let known =
            self.known.contains(&name) || (self.any_address && name.parse::<IpAddr>().is_ok());
        known && port.is_none_or(|port| port == self.port)
    }
}

/// Name, without the brackets around an address of IPv6, and port.
fn split(host: &str) -> Option<(&str, Option<u16>)> {
    let (name, rest) = match host.strip_prefix('[') {
        Some(inner) => {
            let (name, rest) = inner.split_once(']')?;
            (name.contains(':').then_some(name)?, rest)
        }
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let port = match rest.strip_prefix(':') {
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => Some(port.parse().ok()?),
        None if rest.is_empty() => None,
        _ => return None,
    };
    Some((name, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(bound: &str, name: Option<&str>) -> Names {
        let bound: IpAddr = bound.parse().unwrap();
        Names::new(bound, SocketAddr::new(bound, 80), name.map(str::to_owned))
    }

    #[test]
    fn only_what_the_server_was_given_is_a_name_of_it() {
        let loopback = names("127.0.0.1", None);
        for good in ["127.0.0.1", "127.0.0.1:80", "LocalHost:80", "localhost"] {
            assert!(loopback.admits(good), "{good}");
        }
        for bad in [
            "",
            ":80",
            "[::1]",
            "[::1]:80",
            "127.0.0.1:81",
            "127.0.0.1:",
            "127.0.0.1:+80",
            "127.0.0.1:80:80",
            "127.0.0.1.evil.example",
            "evil.example:80",
            "192.168.0.1",
            "localhost.",
            "[127.0.0.1]",
            "user@127.0.0.1",
        ] {
            assert!(!loopback.admits(bad), "{bad}");
        }
        let six = names("::1", None);
        assert!(six.admits("[::1]:80") && six.admits("localhost:80"));
        assert!(!six.admits("::1") && !six.admits("[::2]:80"));
        let named = names("10.0.0.7", Some("Box.example"));
        assert!(named.admits("box.example:80") && named.admits("10.0.0.7:80"));
        assert!(!named.admits("localhost:80") && !named.admits("10.0.0.8:80"));
        let open = names("0.0.0.0", None);
        assert!(open.admits("10.9.8.7:80") && open.admits("[fe80::1]:80"));
        assert!(!open.admits("box.example:80") && !open.admits("10.9.8.7:81"));
    }
}
