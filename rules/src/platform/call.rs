//! Owns one call of the interface: its headers, redirects, its reply as JSON, and that no text of
//! the platform tells our own token back.

use reqwest::{
    Method, StatusCode, Url,
    header::{HeaderMap, HeaderName, HeaderValue, LOCATION},
};
use serde_json::Value;

use super::{Auth, Platform, PlatformError, refusal::refusal};
use crate::http::{Address, Body, Call, Reply, WireError};

/// Redirects of one call.
const HOPS: usize = 5;
/// What stands where a token stood.
const HIDDEN: &str = "[hidden]";

/// A text as one part of a path, whatever is in it.
pub(super) fn part(text: &str) -> String {
    let url = Url::parse("http://x/").map(|mut url| {
        if let Ok(mut parts) = url.path_segments_mut() {
            parts.clear().push(text);
        }
        url
    });
    url.map_or_else(|_| String::new(), |url| url.path()[1..].to_owned())
}

/// A text as the value of a query.
pub(super) fn value(text: &str) -> String {
    part(text).replace('&', "%26").replace('+', "%2B")
}

impl Platform {
    /// Reads something.
    pub fn get(&self, path: &str) -> Result<Value, PlatformError> {
        self.json(&Method::GET, path, Body::None, true)
    }

    /// Makes a call whose reply is JSON; nothing at all reads as null.
    pub fn json(
        &self,
        method: &Method,
        path: &str,
        body: Body<'_>,
        idempotent: bool,
    ) -> Result<Value, PlatformError> {
        let reply = self.call(method, path, body, idempotent, None)?;
        self.read(&reply)
    }

    /// Makes a call. The reply is a success.
    pub(crate) fn call(
        &self,
        method: &Method,
        path: &str,
        body: Body<'_>,
        idempotent: bool,
        progress: Option<&dyn Fn(u64)>,
    ) -> Result<Reply, PlatformError> {
        let (mut path, mut body) = (path.to_owned(), body);
        for _ in 0..HOPS {
            let call = Call {
                method: method.clone(),
                address: &self.address,
                path: &path,
                headers: self.headers()?,
                body: std::mem::take(&mut body),
                idempotent,
                progress,
            };
            let reply = self
                .http
                .call(&call)
                .map_err(|error| self.scrub_wire(error))?;
            self.learn(&reply.headers);
            if reply.status.is_success() {
                return Ok(reply);
            }
            if !reply.status.is_redirection() || reply.status == StatusCode::NOT_MODIFIED {
                return Err(self.scrub(refusal(self.host(), &reply)));
            }
            // Only what reads is sent once more, and only where the token belongs.
            let to = self.redirect(&path, &reply)?;
            let below = self.below(&to).filter(|_| *method == Method::GET);
            path = below.ok_or_else(|| self.redirected(&to))?;
        }
        let what = format!("it redirects more than {HOPS} times");
        Err(PlatformError::Wire(WireError::Garbled {
            host: self.host().to_owned(),
            what,
        }))
    }

    /// Reads a long reply, or one that does not end, as it comes. Not repeated.
    pub(crate) fn stream(
        &self,
        path: &str,
        headers: &[(&'static str, String)],
        take: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<(), PlatformError> {
        let mut all = self.headers()?;
        for (name, value) in headers {
            if let Ok(value) = HeaderValue::from_str(value) {
                all.insert(HeaderName::from_static(name), value);
            }
        }
        let call = Call {
            method: Method::GET,
            address: &self.address,
            path,
            headers: all,
            body: Body::None,
            idempotent: true,
            progress: None,
        };
        let reply = self
            .http
            .stream(&call, take)
            .map_err(|error| self.scrub_wire(error))?;
        self.learn(&reply.headers);
        if reply.status.is_success() {
            return Ok(());
        }
        if reply.status.is_redirection() {
            let to = self.redirect(path, &reply)?;
            return Err(self.redirected(&to));
        }
        Err(self.scrub(refusal(self.host(), &reply)))
    }

    /// Reads a file that the platform named by its URL. The token goes along only to the same
    /// server; elsewhere the URL itself must be enough.
    pub(crate) fn download(
        &self,
        url: &str,
        take: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<(), PlatformError> {
        let garbled = |what: &str| {
            PlatformError::Wire(WireError::Garbled {
                host: self.host().to_owned(),
                what: what.to_owned(),
            })
        };
        let mut url = self
            .address
            .join("")
            .join(url)
            .map_err(|_| garbled("it names a file by what is no URL"))?;
        for _ in 0..HOPS {
            let (address, path) =
                Address::of(&url).ok_or_else(|| garbled("it names a file by what is no URL"))?;
            let own = self.address.same_origin(&url);
            if !own && !address.is_tls() && self.address.is_tls() {
                return Err(self.redirected(&url));
            }
            let call = Call {
                method: Method::GET,
                address: &address,
                path: &path,
                headers: if own {
                    self.headers()?
                } else {
                    HeaderMap::new()
                },
                body: Body::None,
                idempotent: true,
                progress: None,
            };
            let reply = self
                .http
                .stream(&call, take)
                .map_err(|error| self.scrub_wire(error))?;
            if reply.status.is_success() {
                return Ok(());
            }
            if !reply.status.is_redirection() {
                return Err(self.scrub(refusal(address.host(), &reply)));
            }
            let to = reply.headers.get(LOCATION).and_then(|to| to.to_str().ok());
            url = to
                .and_then(|to| url.join(to).ok())
                .ok_or_else(|| garbled("it redirects to nowhere"))?;
        }
        Err(garbled("it redirects too often"))
    }

    /// A reply's body.
    pub(crate) fn read(&self, reply: &Reply) -> Result<Value, PlatformError> {
        if reply.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&reply.body).map_err(|_| {
            let kind = reply.headers.get(reqwest::header::CONTENT_TYPE);
            let kind = kind
                .and_then(|kind| kind.to_str().ok())
                .unwrap_or("nothing");
            let kind = kind.split(';').next().unwrap_or_default().to_owned();
            PlatformError::Wire(WireError::Garbled {
                host: self.host().to_owned(),
                what: format!("its answer is no whole JSON ({kind})"),
            })
        })
    }

    fn headers(&self) -> Result<HeaderMap, PlatformError> {
        let mut headers = HeaderMap::new();
        let mut add = |name: &str, value: &str| {
            let name = HeaderName::from_bytes(name.as_bytes()).ok();
            let value = HeaderValue::from_str(value).ok();
            let (Some(name), Some(mut value)) = (name, value) else {
                return Err(PlatformError::NotAuthenticated(
                    "the token has characters that cannot be sent".to_owned(),
                ));
            };
            value.set_sensitive(true);
            headers.insert(name, value);
            Ok(())
        };
        for (name, value) in self.access.auth.iter().flat_map(Auth::headers) {
            add(name, value.expose())?;
        }
        if let Some(agent) = &self.access.agent {
            add("SYNAPSE-Agent", &format!("Token {}", agent.expose()))?;
        }
        Ok(headers)
    }

    fn redirect(&self, path: &str, reply: &Reply) -> Result<Url, PlatformError> {
        let to = reply.headers.get(LOCATION).and_then(|to| to.to_str().ok());
        to.and_then(|to| self.address.join(path).join(to).ok())
            .ok_or_else(|| {
                PlatformError::Wire(WireError::Garbled {
                    host: self.host().to_owned(),
                    what: format!("it redirects to nowhere ({})", reply.status.as_u16()),
                })
            })
    }

    /// The path below our address that a URL names, if it is there.
    fn below(&self, url: &Url) -> Option<String> {
        let base = self.address.join("");
        if !self.address.same_origin(url) {
            return None;
        }
        let path = url.path().strip_prefix(base.path())?;
        let query = url.query().map(|query| format!("?{query}"));
        Some(format!("{path}{}", query.unwrap_or_default()))
    }

    fn redirected(&self, to: &Url) -> PlatformError {
        PlatformError::Redirected {
            from: self.host().to_owned(),
            to: to.origin().ascii_serialization(),
        }
    }

    /// Takes our own secrets out of what the platform said.
    fn scrub(&self, error: PlatformError) -> PlatformError {
        use PlatformError as E;
        let clean = |text: String| self.clean(text);
        match error {
            E::NotAuthenticated(what) => E::NotAuthenticated(clean(what)),
            E::NotAllowed(what) => E::NotAllowed(clean(what)),
            E::NotFound(what) => E::NotFound(clean(what)),
            E::Exists(what) => E::Exists(clean(what)),
            E::Conflict(what) => E::Conflict(clean(what)),
            E::Invalid(all) => E::Invalid(all.into_iter().map(clean).collect()),
            E::Busy { what, after } => E::Busy {
                what: clean(what),
                after,
            },
            E::Server { status, what } => E::Server {
                status,
                what: clean(what),
            },
            other => other,
        }
    }

    fn scrub_wire(&self, error: WireError) -> PlatformError {
        PlatformError::Wire(match error {
            WireError::Garbled { host, what } => WireError::Garbled {
                host,
                what: self.clean(what),
            },
            other => other,
        })
    }

    /// A text of the platform without our secrets.
    pub(crate) fn clean(&self, text: String) -> String {
        let auth = self.access.auth.iter().map(Auth::token);
        auth.chain(self.access.agent.iter())
            .map(super::Secret::expose)
            .filter(|secret| !secret.is_empty())
            .fold(text, |text, secret| text.replace(secret, HIDDEN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_stays_one_part_of_a_path() {
        for (text, expected) in [
            ("12", "12"),
            ("a-b_c@1.0.0+v", "a-b_c@1.0.0+v"),
            ("a/b?c#d", "a%2Fb%3Fc%23d"),
            ("..", ""),
            ("a b%", "a%20b%25"),
            ("이", "%EC%9D%B4"),
        ] {
            assert_eq!(part(text), expected);
        }
        assert_eq!(value("a&b=c+d"), "a%26b=c%2Bd");
    }
}
