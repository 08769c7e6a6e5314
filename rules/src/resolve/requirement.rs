//! Owns [`Requirement`]: one dependency specifier of PEP 508, its URL kept as written.

use std::{fmt, str::FromStr};

use pep440_rs::VersionSpecifiers;
use pep508_rs::{
    ExtraName, MarkerEnvironment, MarkerTree, PackageName, Requirement as Named, VersionOrUrl,
};

use super::credentials::without;

/// A URL as written: nothing is made of it, and no variable filled in.
#[derive(Clone, PartialEq, Eq)]
pub struct Link(pub String);

impl fmt::Display for Link {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// Without its login.
impl fmt::Debug for Link {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&without(&self.0), out)
    }
}

/// When a requirement counts; always, when nothing is said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Condition(Option<MarkerTree>);

impl Condition {
    /// Whether it holds in an environment, with these extras asked for.
    pub fn holds(&self, environment: &MarkerEnvironment, extras: &[ExtraName]) -> bool {
        let Self(marker) = self;
        marker
            .as_ref()
            .is_none_or(|marker| marker.evaluate(environment, extras))
    }

    /// Both this one and `other`.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(match (self.0, other.0) {
            (Some(one), Some(other)) => Some(MarkerTree::And(vec![one, other])),
            (one, other) => one.or(other),
        })
    }
}

impl FromStr for Condition {
    type Err = Mistake;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match MarkerTree::from_str(text) {
            Ok(marker) => Ok(Self(Some(marker))),
            Err(error) => Err(Mistake::from(error)),
        }
    }
}

/// Where a package comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// An index, in one of these versions.
    Versions(VersionSpecifiers),
    /// One place.
    Link(Link),
}

/// A package by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// Its name, normalised.
    pub name: PackageName,
    /// Which of its extras.
    pub extras: Vec<ExtraName>,
    /// Where it comes from; any version of an index when nothing is said.
    pub source: Option<Source>,
    /// When it counts.
    pub condition: Condition,
}

/// Why a text is no requirement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// What is wrong.
    pub message: String,
    /// Where in the text, in bytes.
    pub start: usize,
}

impl From<pep508_rs::Pep508Error> for Mistake {
    fn from(error: pep508_rs::Pep508Error) -> Self {
        Self {
            message: error.message.to_string(),
            start: error.start,
        }
    }
}

impl FromStr for Requirement {
    type Err = Mistake;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // Neither names nor extras nor versions can hold an @.
        let head = text.split(';').next().unwrap_or_default();
        let Some((name, _)) = head.split_once('@') else {
            return Ok(Self::from(Named::from_str(text)?));
        };
        let mut found = Self::from(Named::from_str(name)?);
        if found.source.is_some() {
            return Err(Mistake {
                message: "a version and a URL exclude each other".to_owned(),
                start: name.len(),
            });
        }
        let rest = &text[name.len() + 1..];
        let start = text.len() - rest.trim_start().len();
        let rest = &text[start..];
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let (link, rest) = rest.split_at(end);
        let mistake = |message: &str, start: usize| {
            Err(Mistake {
                message: message.to_owned(),
                start,
            })
        };
        if link.is_empty() {
            return mistake("a URL is missing after the @", start);
        }
        if link.ends_with(';') {
            let message = "a space is missing before the ;, where the URL ends";
            return mistake(message, start + end - 1);
        }
        found.source = Some(Source::Link(Link(link.to_owned())));
        let at = text.len() - rest.trim_start().len();
        match rest.trim().strip_prefix(';') {
            Some(condition) => {
                found.condition = condition.parse().map_err(|mistake: Mistake| Mistake {
                    start: at + 1 + mistake.start,
                    ..mistake
                })?;
            }
            None if rest.trim().is_empty() => {}
            None => return mistake("only a condition can follow a URL", at),
        }
        Ok(found)
    }
}

impl From<Named> for Requirement {
    fn from(named: Named) -> Self {
        Self {
            name: named.name,
            extras: named.extras,
            source: named.version_or_url.map(|source| match source {
                VersionOrUrl::VersionSpecifier(versions) => Source::Versions(versions),
                VersionOrUrl::Url(url) => Source::Link(Link(url.to_string())),
            }),
            condition: Condition(named.marker),
        }
    }
}

/// As an installer reads it.
impl fmt::Display for Requirement {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.name)?;
        if !self.extras.is_empty() {
            let names: Vec<&str> = self.extras.iter().map(AsRef::as_ref).collect();
            write!(out, "[{}]", names.join(","))?;
        }
        match &self.source {
            Some(Source::Versions(versions)) => write!(out, "{versions}")?,
            Some(Source::Link(link)) => write!(out, " @ {link}")?,
            None => {}
        }
        match &self.condition.0 {
            Some(marker) => write!(out, " ; {marker}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, (String, usize)> {
        match text.parse::<Requirement>() {
            Ok(requirement) => Ok(requirement.to_string()),
            Err(mistake) => Err((mistake.message, mistake.start)),
        }
    }

    #[test]
    fn a_url_is_kept_as_written() {
        let text = "Big_Name[a,b] @ git+https://$HOST/x@main#egg=y ; python_version < '3.12'";
        assert_eq!(
            read(text).unwrap(),
            "big-name[a,b] @ git+https://$HOST/x@main#egg=y ; python_version < '3.12'"
        );
        assert_eq!(read("a@https://h/a.whl").unwrap(), "a @ https://h/a.whl");
    }

    #[test]
    fn an_at_in_a_condition_is_no_url() {
        let text = "a>=1 ; platform_version == 'x@y'";
        assert_eq!(read(text).unwrap(), "a>=1 ; platform_version == 'x@y'");
    }

    #[test]
    fn mistakes_say_where_they_are() {
        let said: Vec<_> = [
            "a @ ",
            "a>=1 @ https://h/a.whl",
            "a @ https://h/a.whl; python_version < '3'",
            "a @ https://h/a.whl ; python < '3'",
            "a @ https://h/a.whl or so",
            "a >= x",
        ]
        .map(|text| read(text).unwrap_err())
        .into();
        insta::assert_debug_snapshot!(said);
    }

    #[test]
    fn conditions_are_joined() {
        let one: Condition = "python_version < '3.11' or os_name == 'nt'"
            .parse()
            .unwrap();
        let both = one.clone().and("sys_platform == 'linux'".parse().unwrap());
        let mut requirement: Requirement = "tomli>=1".parse().unwrap();
        requirement.condition = both;
        let text = requirement.to_string();
        // Written and read again, it is the same condition.
        assert_eq!(text.parse::<Requirement>().unwrap(), requirement);
        assert_eq!(
            text,
            "tomli>=1 ; (python_version < '3.11' or os_name == 'nt') and sys_platform == 'linux'"
        );
        assert_eq!(Condition::default().and(one.clone()), one);
    }
}
