//! Owns edits of a plugin's files: the version's bytes change, every other byte stays; and the
//! writing of what was edited.

use std::{
    fs, io,
    io::Write,
    ops::Range,
    os::unix::fs::{MetadataExt, chown},
    path::Path,
};

use super::model::{Config, parse};
use crate::version::Version;

/// Why a file was not edited.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The file is not the one that the configuration was read from.
    #[error("the config file has changed since it was read")]
    Changed,
    /// Replacing the version's text would change something else, as with an anchor used twice.
    #[error("the version cannot be changed alone: its text is used elsewhere in the file")]
    Shared,
    /// pyproject.toml is not valid TOML.
    #[error("pyproject.toml, line {line}: {message}")]
    Toml {
        /// Line, from 1.
        line: usize,
        /// What the reader says.
        message: String,
    },
}

/// The file with another version. The result is read again and compared: nothing but the version
/// may differ.
pub fn set_version(bytes: &[u8], config: &Config, new: &Version) -> Result<Vec<u8>, EditError> {
    let before = parse(bytes, "config.yaml")
        .config
        .ok_or(EditError::Changed)?;
    if before.version != config.version || before.version_span != config.version_span {
        return Err(EditError::Changed);
    }
    let text = new.to_string();
    let edited = splice(bytes, &config.version_span, text.as_bytes()).ok_or(EditError::Changed)?;
    let after = parse(&edited, "config.yaml")
        .config
        .ok_or(EditError::Shared)?;
    let mut expected = before.json;
    if let Some(version) = expected.get_mut("version") {
        *version = serde_json::Value::String(text);
    }
    if after.version != *new || after.json != expected {
        return Err(EditError::Shared);
    }
    Ok(edited)
}

/// pyproject.toml with `[project].version` changed from `old` to `new`. `None` when it has no such
/// field, or it is dynamic or another version.
pub fn set_pyproject_version(
    text: &str,
    old: &Version,
    new: &Version,
) -> Result<Option<String>, EditError> {
    let document = read_toml(text)?;
    let Some(item) = document
        .get("project")
        .and_then(|project| project.get("version"))
    else {
        return Ok(None);
    };
    let (old, new) = (old.to_string(), new.to_string());
    if item.as_str() != Some(old.as_str()) {
        return Ok(None);
    }
    let found = item
        .span()
        .and_then(|span| Some(span.start + text.get(span.clone())?.find(&old)?))
        .map(|start| start..start + old.len());
    let edited = found
        .and_then(|span| splice(text.as_bytes(), &span, new.as_bytes()))
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or(EditError::Shared)?;
    let after = read_toml(&edited)?;
    let version = after
        .get("project")
        .and_then(|project| project.get("version"));
    if version.and_then(toml_edit::Item::as_str) != Some(new.as_str()) {
        return Err(EditError::Shared);
    }
    Ok(Some(edited))
}

/// Replaces a file whole, or not at all, keeping its mode; a link stays a link.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let real = fs::canonicalize(path)?;
    let meta = fs::metadata(&real)?;
    let folder = real.parent().unwrap_or(&real);
    let mut file = tempfile::Builder::new()
        .prefix(".synapse-edit-")
        .tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().set_permissions(meta.permissions())?;
    // Only root can give a file back to its owner; others own what they edit.
    let _ = chown(file.path(), Some(meta.uid()), Some(meta.gid()));
    file.as_file().sync_all()?;
    file.persist(&real).map_err(|error| error.error)?;
    Ok(())
}

fn read_toml(text: &str) -> Result<toml_edit::Document<&str>, EditError> {
    toml_edit::Document::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let line = text.bytes().take(at).filter(|&b| b == b'\n').count() + 1;
        // The message alone: the reader's own rendering repeats the line.
        EditError::Toml {
            line,
            message: error.message().to_owned(),
        }
    })
}

fn splice(bytes: &[u8], span: &Range<usize>, new: &[u8]) -> Option<Vec<u8>> {
    let (head, tail) = (bytes.get(..span.start)?, bytes.get(span.end..)?);
    Some([head, new, tail].concat())
}
