//! Owns who asks a platform: tokens, which show in no text, and the headers made of them.

use std::{convert::Infallible, fmt, str::FromStr};

/// What a secret shows of itself.
const HIDDEN: &str = "[hidden]";

/// A text that shows in no output: neither `Debug` nor `Display` tell it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// Why a text is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    /// Nothing but whitespace.
    #[error("the token is empty")]
    Empty,
    /// Something that no token has, and no header can carry.
    #[error("the token has whitespace, control characters or letters that are not ASCII inside")]
    Characters,
}

impl Secret {
    /// Hides a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// A token as it was typed or piped: without whitespace around it.
    pub fn token(text: &str) -> Result<Self, BadToken> {
        let text = text.trim();
        if text.is_empty() {
            return Err(BadToken::Empty);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(BadToken::Characters);
        }
        Ok(Self::new(text))
    }

    /// The text, for whoever must send or save it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(HIDDEN)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(HIDDEN)
    }
}

/// For command lines; a token is checked when it is used, by whoever knows where it came from.
impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self::new(text))
    }
}

/// How a caller proves who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// An access token.
    Access(Secret),
    /// A user's token, acting for a tenant.
    User {
        /// The user's token.
        token: Secret,
        /// The tenant.
        tenant: String,
    },
}

impl Auth {
    /// The headers of a request, as names and values. The values are secret.
    pub fn headers(&self) -> Vec<(&'static str, Secret)> {
        let value = |text: &str| Secret::new(format!("Token {text}"));
        match self {
            Self::Access(token) => vec![("Synapse-Access-Token", value(token.expose()))],
            Self::User { token, tenant } => vec![
                ("Authorization", value(token.expose())),
                ("Synapse-Tenant", value(tenant)),
            ],
        }
    }

    /// The token, to compare or to save.
    pub fn token(&self) -> &Secret {
        match self {
            Self::Access(token) | Self::User { token, .. } => token,
        }
    }

    /// The tenant, where the caller names one.
    pub fn tenant(&self) -> Option<&str> {
        match self {
            Self::Access(_) => None,
            Self::User { tenant, .. } => Some(tenant),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_tells_a_secret() {
        let user = Auth::User {
            token: Secret::new("canary"),
            tenant: "acme".to_owned(),
        };
        let access = Auth::Access(Secret::new("canary"));
        let shown = format!(
            "{user:?} {user:#?} {access:?} {} {:?}",
            access.token(),
            (user.headers(), access.headers())
        );
        assert!(!shown.contains("canary"), "{shown}");
        assert!(shown.contains("acme"));
    }

    #[test]
    fn headers_are_those_of_the_platform() {
        let pairs = |auth: Auth| -> Vec<String> {
            auth.headers()
                .iter()
                .map(|(name, value)| format!("{name}: {}", value.expose()))
                .collect()
        };
        assert_eq!(
            pairs(Auth::Access(Secret::new("a"))),
            ["Synapse-Access-Token: Token a"]
        );
        let (token, tenant) = (Secret::new("u"), "t".to_owned());
        assert_eq!(
            pairs(Auth::User { token, tenant }),
            ["Authorization: Token u", "Synapse-Tenant: Token t"]
        );
    }

    #[test]
    fn tokens_are_trimmed_and_checked() {
        assert_eq!(Secret::token(" abc\r\n").unwrap().expose(), "abc");
        for empty in ["", " \t\n"] {
            assert_eq!(Secret::token(empty), Err(BadToken::Empty));
        }
        for bad in ["Token abc", "a\nb", "a\u{0}b", "t\u{f6}ken", "a\u{200b}"] {
            assert_eq!(Secret::token(bad), Err(BadToken::Characters), "{bad:?}");
        }
    }
}
