//! Owns the archive of a plugin: writing it reproducibly ([`mod@pack`]), the ZIP container ([`mod@zip`])
//! and compressed streams ([`deflate`]) beneath, reading archives made by others ([`read`]),
//! unpacking them, and the content digest by which two archives are the same release.

pub mod deflate;
mod inspect;
pub mod pack;
#[cfg(test)]
mod pack_tests;
pub mod read;
#[cfg(test)]
mod read_tests;
mod rule;
mod sink;
mod source;
mod stream;
#[cfg(test)]
pub(crate) mod tests;
mod unpack;
pub mod zip;

pub(crate) use inspect::env_findings;
pub use inspect::{inspect, inspect_config};
pub use pack::{NoStreams, PackError, PackFile, Packed, Streams, pack};
pub use rule::{ArchiveNode, CREDENTIAL, EDITED, RULE};
pub use synapse_engine::{store::Stream, tree::tree_digest as content_digest};
pub use unpack::unpack;

/// Whether `path` may name a file of an archive: relative, of plain components separated by `/`,
/// without NUL or backslash, not starting with a drive letter.
pub fn valid_path(path: &str) -> bool {
    let bytes = path.as_bytes();
    let drive = bytes.len() >= 2 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':';
    !drive
        && u16::try_from(path.len()).is_ok()
        && !path.contains(['\0', '\\'])
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}
