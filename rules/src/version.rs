//! Owns [`Version`], the `X.Y.Z` of a plugin, and how it is raised ([`Level`]).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A plugin's version: three numbers, written without leading zeros or prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// First number.
    pub major: u64,
    /// Second number.
    pub minor: u64,
    /// Third number.
    pub patch: u64,
}

/// Which number of a version is raised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Level {
    /// `1.2.3` to `1.2.4`.
    Patch,
    /// `1.2.3` to `1.3.0`.
    Minor,
    /// `1.2.3` to `2.0.0`.
    Major,
}

/// Why a text is not a version. Each names what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    /// Not three numbers joined by dots.
    #[error("a version is written X.Y.Z")]
    Form,
    /// A number with a leading zero.
    #[error("the numbers of a version have no leading zeros")]
    LeadingZero,
    /// A number that does not fit 64 bits.
    #[error("a number of the version is too large")]
    Range,
}

impl Version {
    /// The version of three numbers.
    pub const fn new(major: u64, minor: u64, patch: u64) -> Self {
        Self {
            major,
            minor,
            patch,
        }
    }

    /// The next version at `level`; `None` when a number would overflow.
    pub fn bump(self, level: Level) -> Option<Self> {
        Some(match level {
            Level::Patch => Self {
                patch: self.patch.checked_add(1)?,
                ..self
            },
            Level::Minor => Self::new(self.major, self.minor.checked_add(1)?, 0),
            Level::Major => Self::new(self.major.checked_add(1)?, 0, 0),
        })
    }

    /// What the author of `text` most likely meant: `v1.2` and `01.2` give `1.2.0`. For hints
    /// only, never taken silently.
    pub fn guess(text: &str) -> Option<Self> {
        let digits = text.trim().trim_start_matches(['v', 'V', '=']);
        let end = digits
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(digits.len());
        let mut numbers = [0_u64; 3];
        let mut count = 0;
        for part in digits[..end].split('.').filter(|part| !part.is_empty()) {
            if let Some(slot) = numbers.get_mut(count) {
                *slot = part.parse().ok()?;
            }
            count += 1;
        }
        (count > 0).then(|| Self::new(numbers[0], numbers[1], numbers[2]))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let mut parts = text.split('.');
        let mut next = || -> Result<u64, VersionError> {
            let part = parts.next().ok_or(VersionError::Form)?;
            if part.is_empty() || !part.bytes().all(|b| b.is_ascii_digit()) {
                return Err(VersionError::Form);
            }
            if part.len() > 1 && part.starts_with('0') {
                return Err(VersionError::LeadingZero);
            }
            part.parse().map_err(|_| VersionError::Range)
        };
        let version = Self::new(next()?, next()?, next()?);
        if parts.next().is_some() {
            return Err(VersionError::Form);
        }
        Ok(version)
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_only_the_normal_form() {
        assert_eq!("1.20.300".parse(), Ok(Version::new(1, 20, 300)));
        for (text, why) in [
            ("", VersionError::Form),
            ("1.2", VersionError::Form),
            ("1.2.3.4", VersionError::Form),
            ("v1.2.3", VersionError::Form),
            ("1.2.3-rc1", VersionError::Form),
            ("1..3", VersionError::Form),
            ("+1.2.3", VersionError::Form),
            ("١.2.3", VersionError::Form),
            ("01.2.3", VersionError::LeadingZero),
            ("1.2.18446744073709551616", VersionError::Range),
        ] {
            assert_eq!(text.parse::<Version>(), Err(why), "{text}");
        }
    }

    #[test]
    fn orders_by_number_and_bumps() {
        let version = Version::new(1, 9, 9);
        assert!(version < Version::new(1, 10, 0));
        assert_eq!(version.bump(Level::Patch), Some(Version::new(1, 9, 10)));
        assert_eq!(version.bump(Level::Minor), Some(Version::new(1, 10, 0)));
        assert_eq!(version.bump(Level::Major), Some(Version::new(2, 0, 0)));
        assert_eq!(Version::new(0, 0, u64::MAX).bump(Level::Patch), None);
    }

    #[test]
    fn guesses_what_was_meant() {
        for (text, meant) in [
            ("0.1", Some("0.1.0")),
            ("v2.3.4", Some("2.3.4")),
            ("01.02.3", Some("1.2.3")),
            ("1.0.0-rc1", Some("1.0.0")),
            ("1.2.3.4", Some("1.2.3")),
            ("latest", None),
        ] {
            assert_eq!(
                Version::guess(text).map(|v| v.to_string()).as_deref(),
                meant,
                "{text}"
            );
        }
    }
}
