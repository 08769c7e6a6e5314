//! Owns [`WheelName`]: the parts of a wheel's file name, and how they are put together again.

use std::{fmt, str::FromStr};

use pep440_rs::Version;

use crate::resolve::lock::normalised;

/// The file name of a wheel, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WheelName {
    /// The distribution, normalised, with `_` between words.
    pub distribution: String,
    /// The version as it stands in names: normal form, `+` before the local part.
    pub version: String,
    /// The build number, when there is one.
    pub build: Option<String>,
    /// Python, ABI and platform.
    pub tags: [String; 3],
}

impl WheelName {
    /// Takes a file name apart; nothing when it is none of a wheel.
    pub fn parse(file: &str) -> Option<Self> {
        let parts: Vec<&str> = file.strip_suffix(".whl")?.split('-').collect();
        let (name, version, build, tags) = match parts[..] {
            [name, version, python, abi, platform] => {
                (name, version, None, [python, abi, platform])
            }
            [name, version, build, python, abi, platform] => {
                (name, version, Some(build), [python, abi, platform])
            }
            _ => return None,
        };
        let is_tag = |tag: &&str| {
            !tag.is_empty()
                && tag
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "._".contains(c))
        };
        let is_build = |build: &str| build.starts_with(|c: char| c.is_ascii_digit());
        let good = !name.is_empty() && tags.iter().all(is_tag) && build.is_none_or(is_build);
        // Older backends write `_` where the local part begins.
        let version = Version::from_str(version)
            .or_else(|_| Version::from_str(&version.replacen('_', "+", 1)))
            .ok()?;
        good.then(|| Self {
            distribution: in_names(name),
            version: version.to_string(),
            build: build.map(str::to_owned),
            tags: tags.map(str::to_owned),
        })
    }

    /// What the folders `NAME.dist-info` and `NAME.data` begin with.
    pub fn stem(&self) -> String {
        format!("{}-{}", self.distribution, self.version)
    }
}

impl fmt::Display for WheelName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.stem())?;
        if let Some(build) = &self.build {
            write!(out, "-{build}")?;
        }
        write!(out, "-{}.whl", self.tags.join("-"))
    }
}

/// A distribution's name as it stands in file names.
pub(super) fn in_names(name: &str) -> String {
    normalised(name).replace('-', "_")
}

/// A version with `local` as the end of its local part.
pub(super) fn with_local(version: &Version, local: &str) -> String {
    // Digits alone are a number to installers, which has no zeros in front.
    let digits = local.bytes().all(|byte| byte.is_ascii_digit());
    let local = match local.trim_start_matches('0') {
        "" if digits => "0",
        number if digits => number,
        _ => local,
    };
    let join = if version.local().is_empty() { '+' } else { '.' };
    format!("{version}{join}{local}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart_and_put_together() {
        let name = WheelName::parse("My.Lib-1.0.post0-2b-cp311-cp311-linux_x86_64.whl").unwrap();
        assert_eq!(name.distribution, "my_lib");
        assert_eq!(name.build.as_deref(), Some("2b"));
        assert_eq!(
            name.to_string(),
            "my_lib-1.0.post0-2b-cp311-cp311-linux_x86_64.whl"
        );
        let name = WheelName::parse("a-01.0RC1_cu121-py2.py3-none-any.whl").unwrap();
        assert_eq!(name.to_string(), "a-1.0rc1+cu121-py2.py3-none-any.whl");
        for bad in [
            "a.whl",
            "a-1.0-none-any.whl",
            "a-x-py3-none-any.whl",
            "a-1.0-py3-none-any.zip",
            "a-1.0-b2-py3-none-any.whl",
            "-1.0-py3-none-any.whl",
            "a-1.0-py3-none-../x.whl",
        ] {
            assert_eq!(WheelName::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_local_part_is_one_that_installers_read_alike() {
        let version = |text: &str| Version::from_str(text).unwrap();
        let sum = "0a1b2c3d4e5f60718293a4b5c6d7e8f9";
        assert_eq!(with_local(&version("1.0"), sum), format!("1.0+{sum}"));
        assert_eq!(
            with_local(&version("1.0+cu121"), sum),
            format!("1.0+cu121.{sum}")
        );
        assert_eq!(with_local(&version("1.0"), "0012"), "1.0+12");
        assert_eq!(with_local(&version("1.0"), "0000"), "1.0+0");
    }
}
