//! Owns pip as the installer: the interpreter's own, or one in a tool environment where that is
//! missing or too old.

use std::path::{Path, PathBuf};

use pep440_rs::Version;
use serde_json::Value;
use synapse_engine::Failure;

use super::{
    credentials::without,
    desk::Desk,
    lock::{Origin, Package, normalised, relative},
    order::Order,
};

/// The oldest pip with all that we use of it: reports, and installing into another environment.
const OLDEST: [u64; 2] = [22, 3];

/// Whether a version of pip will do.
pub fn will_do(version: &str) -> bool {
    version
        .parse::<Version>()
        .is_ok_and(|version| version >= Version::new(OLDEST))
}

/// Finds the packages that an order asks for. `python` is an interpreter that has pip.
pub fn resolve(
    desk: &mut Desk<'_>,
    python: &Path,
    order: &Order<'_>,
) -> Result<Vec<Package>, Failure> {
    // Kept versions may no longer go together; then they are given up.
    if !order.pins.is_empty()
        && let Ok(packages) = attempt(desk, python, order, true)
    {
        return Ok(packages);
    }
    attempt(desk, python, order, false)
}

fn attempt(
    desk: &mut Desk<'_>,
    python: &Path,
    order: &Order<'_>,
    pinned: bool,
) -> Result<Vec<Package>, Failure> {
    let file = order.write(desk, pinned)?;
    let report = desk.private.path().join("report.json");
    let mut args = vec![
        "-I",
        "-m",
        "pip",
        "install",
        "--dry-run",
        "--ignore-installed",
        "--no-color",
    ]
    .into_iter()
    .map(str::to_owned)
    .collect::<Vec<_>>();
    args.extend(flags(order, desk));
    args.extend([
        "--report".to_owned(),
        path(&report),
        "-r".to_owned(),
        path(&file),
    ]);
    desk.must(
        python,
        args,
        "pip found no packages that meet the requirements",
    )?;
    let bytes =
        std::fs::read(&report).map_err(|error| super::desk::disk("pip left no report", &error))?;
    let report: Value = serde_json::from_slice(&bytes).map_err(|error| {
        Failure::environment(
            "environment",
            format!("pip's report cannot be read: {error}"),
        )
        .hint("upgrade pip, or set package_manager: uv")
    })?;
    let found = report["install"].as_array().into_iter().flatten();
    let mut packages = Vec::new();
    for entry in found {
        packages.push(package(entry, order.folder)?);
    }
    order.check_hashes(&mut packages)?;
    Ok(packages)
}

/// Options that pip knows on its command line alone.
fn flags(order: &Order<'_>, desk: &mut Desk<'_>) -> Vec<String> {
    let options = &order.requirements.options;
    let mut flags = Vec::new();
    if options.pre {
        flags.push("--pre".to_owned());
    }
    if options.prefer_binary {
        flags.push("--prefer-binary".to_owned());
    }
    for host in &options.trusted_hosts {
        flags.extend(["--trusted-host".to_owned(), host.clone()]);
    }
    flags.extend(
        options
            .others
            .iter()
            .map(|value| desk.credentials.take(&value.text)),
    );
    flags
}

fn package(entry: &Value, folder: &Path) -> Result<Package, Failure> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let info = &entry["download_info"];
    let url = without(info["url"].as_str().unwrap_or_default()).into_owned();
    let mut hashes: Vec<String> = info["archive_info"]["hashes"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(kind, hash)| format!("{kind}:{}", text(hash)))
        .collect();
    if let (true, Some(hash)) = (hashes.is_empty(), info["archive_info"]["hash"].as_str()) {
        hashes.push(hash.replacen('=', ":", 1));
    }
    let direct = entry["is_direct"].as_bool().unwrap_or(false);
    let below = info["subdirectory"].as_str();
    let below = below
        .map(|below| format!("#subdirectory={below}"))
        .unwrap_or_default();
    let local = url
        .strip_prefix("file://")
        .map(|path| PathBuf::from(decoded(path)));
    let origin = match (&info["vcs_info"], local) {
        _ if !direct => Origin::Index,
        (Value::Object(vcs), _) => {
            let (kind, commit) = (text(&vcs["vcs"]), text(&vcs["commit_id"]));
            Origin::Commit {
                url: format!("{kind}+{url}@{commit}{below}"),
            }
        }
        (_, Some(path)) => Origin::Path {
            path: relative(folder, &path),
            editable: info["dir_info"]["editable"].as_bool().unwrap_or(false),
        },
        (_, None) => Origin::Url {
            url: format!("{url}{below}"),
        },
    };
    let package = Package {
        name: normalised(&text(&entry["metadata"]["name"])),
        version: text(&entry["metadata"]["version"]),
        hashes,
        origin,
    };
    if package.name.is_empty() || package.origin == Origin::Index && package.hashes.is_empty() {
        let what = "pip does not say which files it found".to_owned();
        return Err(Failure::environment("environment", what).hint("set package_manager: uv"));
    }
    Ok(package)
}

/// A `file:` URL's path.
pub(super) fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after
            .get(..2)
            .and_then(|pair| std::str::from_utf8(pair).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Installs files of lines into the environment whose interpreter is `target`.
pub fn install(
    desk: &mut Desk<'_>,
    python: &Path,
    target: &Path,
    files: &super::Files,
    order: Option<&Order<'_>>,
) -> Result<(), Failure> {
    let flags = order.map(|order| flags(order, desk)).unwrap_or_default();
    for (file, hashed) in files.each() {
        let mut args: Vec<String> = ["-I", "-m", "pip", "--python"].map(str::to_owned).into();
        args.push(path(target));
        let rest = [
            "install",
            "--no-deps",
            "--ignore-installed",
            "--no-warn-script-location",
        ];
        args.extend(rest.map(str::to_owned));
        if hashed {
            args.push("--require-hashes".to_owned());
        }
        args.extend(flags.iter().cloned());
        args.extend(["-r".to_owned(), path(file)]);
        desk.must(python, args, "pip could not install the locked packages")?;
    }
    Ok(())
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_reports_become_packages() {
        let read =
            |json: &str| package(&serde_json::from_str(json).unwrap(), Path::new("/p")).unwrap();
        let found = read(
            r#"{"metadata": {"name": "A_b", "version": "1"}, "is_direct": false, "download_info":
             {"url": "https://u:p@h/x.whl", "archive_info": {"hash": "sha256=aa"}}}"#,
        );
        assert_eq!(
            (found.name.as_str(), &found.hashes[..]),
            ("a-b", &["sha256:aa".to_owned()][..])
        );
        let origin = |info: &str| {
            read(&format!(
                r#"{{"metadata": {{"name": "a", "version": "1"}}, "is_direct": true, "download_info": {info}}}"#
            ))
            .origin
        };
        assert_eq!(
            origin(
                r#"{"url": "https://u:p@h/x.whl", "archive_info": {"hashes": {"sha256": "aa"}}}"#
            ),
            Origin::Url {
                url: "https://h/x.whl".to_owned()
            }
        );
        assert_eq!(
            origin(
                r#"{"url": "https://h/x.git", "subdirectory": "s", "vcs_info": {"vcs": "git", "commit_id": "c0"}}"#
            ),
            Origin::Commit {
                url: "git+https://h/x.git@c0#subdirectory=s".to_owned()
            }
        );
        assert_eq!(
            origin(r#"{"url": "file:///my%20lib", "dir_info": {"editable": true}}"#),
            Origin::Path {
                path: "../my lib".to_owned(),
                editable: true
            }
        );
    }

    #[test]
    fn old_pips_will_not_do() {
        assert!(will_do("23.0.1") && will_do("22.3") && will_do("26.3"));
        assert!(!will_do("22.0.4") && !will_do("") && !will_do("x"));
    }
}
