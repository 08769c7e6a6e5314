//! Makers of test data.

use std::ffi::OsStr;
use std::process::Command;

/// Bytes that do not compress.
pub(crate) fn noise(size: usize, seed: u64) -> Vec<u8> {
    let mut out = vec![0; size];
    blake3::Hasher::new()
        .update(&seed.to_le_bytes())
        .finalize_xof()
        .fill(&mut out);
    out
}

/// Lines of words, compressible like source text.
pub(crate) fn text(size: usize, seed: u64) -> Vec<u8> {
    const WORDS: [&str; 16] = [
        "def", "return", "self", "import", "value", "tensor", "batch", "model", "    ", "for",
        "in", "range", "output", "class", "config", "=",
    ];
    let mut out = Vec::with_capacity(size + 16);
    for byte in noise(size / 3 + 16, seed) {
        out.extend_from_slice(WORDS[usize::from(byte % 16)].as_bytes());
        out.push(if byte >= 230 { b'\n' } else { b' ' });
        if out.len() >= size {
            break;
        }
    }
    out.truncate(size);
    out
}

/// Text and noise in turns of some kilobytes.
pub(crate) fn mixed(size: usize, seed: u64) -> Vec<u8> {
    let (text, noise) = (text(size, seed), noise(size, seed));
    let mut out = Vec::with_capacity(size);
    for (index, (text, noise)) in text.chunks(5000).zip(noise.chunks(5000)).enumerate() {
        out.extend_from_slice(if index % 3 == 0 { noise } else { text });
    }
    out
}

/// What Python prints.
pub(crate) fn python(arguments: &[&OsStr]) -> String {
    let _alone = crate::worker::one_at_a_time();
    let output = Command::new("python3").args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}
