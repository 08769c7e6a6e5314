//! Owns [`checksums`]: all checksums that are reported of an archive, from one read of it.

use std::{
    fs::File,
    io::{self, Read, Seek as _},
};

use md5::Md5;
use sha2::{Digest as _, Sha256};
use synapse_engine::Digest;

/// Bytes read at a time; two such buffers are all the memory needed.
const BUFFER: usize = 1 << 20;

/// The checksums of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checksums {
    /// MD5, 32 lowercase hex digits.
    pub md5: String,
    /// SHA-256, 64 lowercase hex digits.
    pub sha256: String,
    /// BLAKE3.
    pub blake3: Digest,
    /// Bytes.
    pub size: u64,
}

/// Reads `file` from its start to its end once, whatever its position. When `cancelled` says so
/// between two pieces, the error is of the kind `Interrupted`.
pub fn checksums(file: &mut File, cancelled: &(dyn Fn() -> bool + Sync)) -> io::Result<Checksums> {
    file.rewind()?;
    let mut md5 = Md5::new();
    let mut sha256 = Sha256::new();
    let mut blake3 = blake3::Hasher::new();
    let (mut now, mut next) = (vec![0; BUFFER], vec![0; BUFFER]);
    let mut length = fill(file, &mut now)?;
    let mut size = 0;
    while length > 0 {
        if cancelled() {
            return Err(io::Error::new(io::ErrorKind::Interrupted, "cancelled"));
        }
        let bytes = &now[..length];
        size += length as u64;
        // MD5 takes about as long as all the rest.
        let ((), read) = rayon::join(
            || md5.update(bytes),
            || {
                sha256.update(bytes);
                blake3.update(bytes);
                fill(file, &mut next)
            },
        );
        length = read?;
        std::mem::swap(&mut now, &mut next);
    }
    Ok(Checksums {
        md5: hex(&md5.finalize()),
        sha256: hex(&sha256.finalize()),
        blake3: blake3.finalize().into(),
        size,
    })
}

fn fill(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(2 * bytes.len()), |mut out, byte| {
            // Writing to a string does not fail.
            let _ = write!(out, "{byte:02x}");
            out
        })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn known_values() {
        let mut file = tempfile::tempfile().unwrap();
        let empty = checksums(&mut file, &|| false).unwrap();
        assert_eq!(empty.md5, "d41d8cd98f00b204e9800998ecf8427e");
        file.write_all(b"abc").unwrap();
        let abc = checksums(&mut file, &|| false).unwrap();
        assert_eq!(abc.md5, "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(
            abc.sha256,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!((abc.blake3, abc.size), (Digest::of(b"abc"), 3));
    }

    #[test]
    fn many_pieces_and_cancelling() {
        for size in [BUFFER - 1, BUFFER, BUFFER + 1, 3 * BUFFER + 5] {
            let bytes = crate::archive::tests::noise(size, 1);
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&bytes).unwrap();
            let sums = checksums(&mut file, &|| false).unwrap();
            assert_eq!((sums.blake3, sums.size), (Digest::of(&bytes), size as u64));
            assert_eq!(sums.md5, hex(&Md5::digest(&bytes)));
            assert_eq!(sums.sha256, hex(&Sha256::digest(&bytes)));
            let error = checksums(&mut file, &|| true).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::Interrupted);
        }
    }
}
