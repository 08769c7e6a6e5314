//! Owns what is done to a wheel after it was built: another version in its name and metadata, a
//! RECORD that says what is in it, and nothing left that depends on when and where it was built.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io,
    path::Path,
    str::FromStr,
};

use data_encoding::BASE64URL_NOPAD;
use pep440_rs::Version;
use sha2::{Digest as _, Sha256};
use synapse_engine::Digest;

use super::{
    name::{WheelName, in_names, with_local},
    sources::{Unpacking, unpack},
};
use crate::archive::PackFile;

/// A wheel's files, ready to be packed.
pub(super) struct Normalised {
    /// Its name.
    pub(super) name: WheelName,
    /// Sorted by path.
    pub(super) files: Vec<PackFile>,
}

/// Why a wheel is not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum WheelError {
    /// It is not as wheels are.
    #[error("{0}")]
    Format(String),
    /// The disk.
    #[error(transparent)]
    Disk(#[from] io::Error),
}

fn format<T>(what: impl Into<String>) -> Result<T, WheelError> {
    Err(WheelError::Format(what.into()))
}

/// Who made it, as every wheel of ours says.
const GENERATOR: &str = "synapse";
/// Signatures of a RECORD, which no longer hold once it is written anew.
const SIGNATURES: [&str; 3] = ["RECORD", "RECORD.jws", "RECORD.p7s"];

/// Unpacks the wheel at `wheel` into `folder`, an empty one, and brings it into form. With
/// `local`, that becomes the end of its version.
pub(super) fn normalise(
    wheel: &Path,
    folder: &Path,
    local: Option<&str>,
) -> Result<Normalised, WheelError> {
    let file = wheel.file_name().and_then(|name| name.to_str());
    let file = file.unwrap_or_default();
    let Some(mut name) = WheelName::parse(file) else {
        return format(format!("{file:?} is no name of a wheel"));
    };
    let mut files = unpack(wheel, folder).map_err(|error| match error {
        Unpacking::Disk(error) => WheelError::Disk(error),
        Unpacking::Archive(what) => WheelError::Format(what),
    })?;
    let old = dist_info(&files)?;
    let own = |files: &[PackFile], file: &str| {
        let path = format!("{old}.dist-info/{file}");
        files.iter().position(|entry| entry.path == path)
    };
    let Some(metadata) = own(&files, "METADATA") else {
        return format("it has no METADATA");
    };
    let Some(about) = own(&files, "WHEEL") else {
        return format("it has no WHEEL");
    };
    let text = fs::read_to_string(&files[metadata].source)?;
    let Some(said) = field(&text, "Name").filter(|said| in_names(said) == name.distribution) else {
        return format("its METADATA has another name than the file");
    };
    let version = field(&text, "Version").and_then(|text| Version::from_str(text).ok());
    let Some(version) = version.filter(|version| version.to_string() == name.version) else {
        return format("its METADATA has another version than the file");
    };
    name.distribution = in_names(said);
    if let Some(local) = local {
        name.version = with_local(&version, local);
    }
    let text = with_field(&text, "Version", &name.version);
    rewrite(&mut files[metadata], text.as_bytes())?;
    // Another release of a backend that makes the same wheel is no other wheel.
    let text = fs::read_to_string(&files[about].source)?;
    let text = with_field(&text, "Generator", GENERATOR);
    rewrite(&mut files[about], text.as_bytes())?;
    let new = name.stem();
    files.retain(|entry| {
        let inside = entry.path.strip_prefix(&format!("{old}.dist-info/"));
        inside.is_none_or(|inside| !SIGNATURES.contains(&inside))
    });
    for entry in &mut files {
        for end in ["dist-info", "data"] {
            if let Some(inside) = entry.path.strip_prefix(&format!("{old}.{end}/")) {
                entry.path = format!("{new}.{end}/{inside}");
                break;
            }
        }
    }
    let by_path = |a: &PackFile, b: &PackFile| a.path.as_bytes().cmp(b.path.as_bytes());
    files.sort_by(by_path);
    let record = record(&files, &format!("{new}.dist-info/RECORD"))?;
    let source = folder.join(format!("{old}.dist-info/RECORD"));
    let mut entry = PackFile {
        path: format!("{new}.dist-info/RECORD"),
        source,
        executable: false,
        size: 0,
        digest: Digest::of(b""),
        follow: false,
    };
    rewrite(&mut entry, record.as_bytes())?;
    files.push(entry);
    files.sort_by(by_path);
    Ok(Normalised { name, files })
}

/// What the one folder `*.dist-info` begins with.
fn dist_info(files: &[PackFile]) -> Result<String, WheelError> {
    let mut found: Vec<&str> = files
        .iter()
        .filter_map(|entry| entry.path.split_once('/')?.0.strip_suffix(".dist-info"))
        .collect();
    found.dedup();
    match found[..] {
        [one] => Ok(one.to_owned()),
        [] => format("it has no .dist-info folder"),
        _ => format("it has several .dist-info folders"),
    }
}

/// The lines of the head of a METADATA, which ends at the first empty one.
fn head(text: &str) -> impl Iterator<Item = &str> {
    text.lines().take_while(|line| !line.trim().is_empty())
}

fn is_field<'t>(line: &'t str, name: &str) -> Option<&'t str> {
    let (own, value) = line.split_once(':')?;
    own.eq_ignore_ascii_case(name).then(|| value.trim())
}

fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    head(text).find_map(|line| is_field(line, name))
}

/// A text with another value in the first line of a field, and no other byte changed.
fn with_field(text: &str, name: &str, value: &str) -> String {
    let mut out = String::with_capacity(text.len() + value.len());
    let mut done = false;
    for line in text.split_inclusive('\n') {
        if !done && is_field(line, name).is_some() {
            let end = &line[line.trim_end_matches(['\r', '\n']).len()..];
            out.push_str(name);
            out.push_str(": ");
            out.push_str(value);
            out.push_str(end);
            done = true;
        } else {
            out.push_str(line);
        }
    }
    out
}

/// Gives a file other bytes.
fn rewrite(entry: &mut PackFile, bytes: &[u8]) -> io::Result<()> {
    fs::write(&entry.source, bytes)?;
    (entry.size, entry.digest) = (bytes.len() as u64, Digest::of(bytes));
    Ok(())
}

/// The RECORD of files, itself at the end.
fn record(files: &[PackFile], own: &str) -> io::Result<String> {
    let mut text = String::new();
    for entry in files {
        let mut hasher = Sha256::new();
        io::copy(&mut File::open(&entry.source)?, &mut Hashing(&mut hasher))?;
        let digest = BASE64URL_NOPAD.encode(&hasher.finalize());
        let path = cell(&entry.path);
        let _ = writeln!(text, "{path},sha256={digest},{}", entry.size);
    }
    let _ = writeln!(text, "{},,", cell(own));
    Ok(text)
}

struct Hashing<'a>(&'a mut Sha256);

impl io::Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A path as CSV holds it.
fn cell(path: &str) -> String {
    if path.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", path.replace('"', "\"\""))
    } else {
        path.to_owned()
    }
}

#[cfg(test)]
#[path = "normalise_tests.rs"]
mod tests;
