//! Owns the wheels that a plugin brings along: which of them fit an interpreter. All that fit
//! are installed, as the platform does.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    str::FromStr,
};

use pep440_rs::Version;
use synapse_engine::Digest;

use super::lock::normalised;
use crate::{plugin::Plugin, python::interpreter::Interpreter};

/// A wheel of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wheel {
    /// Its path in the plugin.
    pub path: String,
    /// The normalised name of its package.
    pub name: String,
    /// The version of its package.
    pub version: Version,
    /// Digest of its bytes.
    pub digest: Digest,
    /// Where it lies, when that is not in the plugin: a library of the workspace.
    pub source: Option<PathBuf>,
}

/// The wheels in a plugin's folder of wheels that fit an interpreter: of every package the
/// newest.
pub fn of(plugin: &Plugin, folder: &str, interpreter: &Interpreter) -> Vec<Wheel> {
    let prefix = format!("{}/", folder.trim_start_matches("./").trim_end_matches('/'));
    let mut newest: BTreeMap<String, Wheel> = BTreeMap::new();
    for entry in plugin.files.load() {
        let Some(file) = entry.path.strip_prefix(&prefix) else {
            continue;
        };
        let Some((name, version, fits)) = read_name(file, interpreter) else {
            continue;
        };
        let known = newest
            .get(&name)
            .is_some_and(|known| known.version >= version);
        if fits && !known {
            let bundled = plugin.bundled_at(&entry.path);
            let source = bundled.and_then(|own| own.source.clone());
            let (path, digest) = (entry.path, entry.digest);
            newest.insert(
                name.clone(),
                Wheel {
                    path,
                    name,
                    version,
                    digest,
                    source,
                },
            );
        }
    }
    newest.into_values().collect()
}

/// Name and version of a wheel's file name, and whether it fits.
fn read_name(file: &str, interpreter: &Interpreter) -> Option<(String, Version, bool)> {
    let stem = file.strip_suffix(".whl")?;
    if stem.contains('/') {
        return None;
    }
    let parts: Vec<&str> = stem.split('-').collect();
    let [name, version, .., python, abi, platform] = parts[..] else {
        return None;
    };
    let version = Version::from_str(&version.replace('_', "+")).ok()?;
    let fits = python
        .split('.')
        .any(|python| fits_python(python, abi, interpreter))
        && platform
            .split('.')
            .any(|platform| fits_platform(platform, interpreter));
    Some((normalised(name), version, fits))
}

fn fits_python(python: &str, abi: &str, interpreter: &Interpreter) -> bool {
    let (major, minor, _) = interpreter.version;
    let own = format!("cp{major}{minor}");
    if let Some(number) = python.strip_prefix("py") {
        let older = number.strip_prefix('3').is_some_and(|rest| {
            rest.is_empty() || rest.parse::<u8>().is_ok_and(|rest| rest <= minor)
        });
        return older && abi.split('.').any(|abi| abi == "none");
    }
    let older = python
        .strip_prefix("cp3")
        .and_then(|rest| rest.parse::<u8>().ok())
        .is_some_and(|number| number <= minor);
    abi.split('.').any(|abi| match abi {
        "abi3" => older,
        "none" => python == own || python == "cp3",
        abi => python == own && abi == own,
    })
}

/// By system and machine; whether an old C library will do is for the installer to say.
fn fits_platform(platform: &str, interpreter: &Interpreter) -> bool {
    let marker = |name: &str| interpreter.markers.get(name).map_or("", String::as_str);
    let machine = marker("platform_machine");
    let is_musl = interpreter.platform.ends_with("_musl");
    match marker("sys_platform") {
        _ if platform == "any" => true,
        "linux" if platform.starts_with("musllinux") => is_musl && platform.ends_with(machine),
        "linux" if platform.starts_with("manylinux") => !is_musl && platform.ends_with(machine),
        "linux" => platform.starts_with("linux") && platform.ends_with(machine),
        "darwin" => {
            platform.starts_with("macosx")
                && (platform.ends_with(machine) || platform.ends_with("universal2"))
        }
        _ => false,
    }
}

/// A path as a `file:` URL.
pub fn file_url(path: &Path) -> String {
    use std::{fmt::Write as _, os::unix::ffi::OsStrExt};
    let mut url = String::from("file://");
    for byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-~".contains(byte) {
            url.push(char::from(*byte));
        } else {
            let _ = write!(url, "%{byte:02X}");
        }
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::python::interpreter::tests::linux;

    #[test]
    fn wheels_for_others_are_left_alone() {
        let interpreter = linux(11);
        let fits = |file: &str| read_name(file, &interpreter).unwrap().2;
        for good in [
            "a-1.0-py3-none-any.whl",
            "a-1.0-py2.py3-none-any.whl",
            "a-1.0-1-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
            "a-1.0-cp38-abi3-manylinux2014_x86_64.whl",
            "a-1.0-py39-none-any.whl",
        ] {
            assert!(fits(good), "{good}");
        }
        for bad in [
            "a-1.0-cp312-cp312-manylinux2014_x86_64.whl",
            "a-1.0-cp311-cp311-macosx_11_0_arm64.whl",
            "a-1.0-cp311-cp311-manylinux2014_aarch64.whl",
            "a-1.0-cp311-cp311-musllinux_1_1_x86_64.whl",
            "a-1.0-py2-none-any.whl",
            "a-1.0-cp312-abi3-manylinux2014_x86_64.whl",
            "a-1.0-cp311-cp311-win_amd64.whl",
        ] {
            assert!(!fits(bad), "{bad}");
        }
        assert_eq!(read_name("notes.txt", &interpreter), None);
        assert_eq!(read_name("a-1.0.whl", &interpreter), None);
        let (name, version, _) =
            read_name("My_Lib-1.0_cu121-py3-none-any.whl", &interpreter).unwrap();
        assert_eq!(
            (name.as_str(), version.to_string().as_str()),
            ("my-lib", "1.0+cu121")
        );
    }

    #[test]
    fn paths_become_urls() {
        assert_eq!(
            file_url(Path::new("/a b/ü.whl")),
            "file:///a%20b/%C3%BC.whl"
        );
    }
}
