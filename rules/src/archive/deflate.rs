//! Owns the codec: how bytes become a raw deflate stream, or are found not worth it. What comes
//! out depends on the bytes alone, never on the number of threads, the CPU or the clock.

use std::{cell::RefCell, io};

use flate2::{Compress, Compression, FlushCompress, Status};
use libdeflater::{CompressionLvl, Compressor};

/// Names compressors, levels and layout. Part of the keys of archives: whoever changes what this
/// module puts out changes this too.
pub const CODEC: &str = "libdeflate-1.26-6/zlib-rs-0.6-6-1M-32K/sample-16x16K-97/1";

/// Largest file, in bytes, that is compressed in one piece.
pub const WHOLE: u64 = 8 << 20;
/// Bytes of a chunk of a larger file.
pub const CHUNK: usize = 1 << 20;
/// Bytes before a chunk that its stream may refer to: all that deflate can reach.
pub const DICTIONARY: usize = 32 << 10;
/// Files over this many bytes are sampled before anything is compressed.
pub const SAMPLED: u64 = 256 << 10;

const LEVEL: i32 = 6;
const SAMPLES: u64 = 16;
const SAMPLE: u64 = 16 << 10;

thread_local! {
    static WHOLE_FILE: RefCell<Option<Compressor>> = const { RefCell::new(None) };
    static FAST: RefCell<Option<Compressor>> = const { RefCell::new(None) };
    static CHUNKS: RefCell<Option<Compress>> = const { RefCell::new(None) };
}

fn with<R>(
    slot: &'static std::thread::LocalKey<RefCell<Option<Compressor>>>,
    level: i32,
    run: impl FnOnce(&mut Compressor) -> R,
) -> R {
    slot.with_borrow_mut(|slot| {
        run(slot
            .get_or_insert_with(|| Compressor::new(CompressionLvl::new(level).unwrap_or_default())))
    })
}

/// The deflate stream of a whole file, written over `out` (which is a scratch buffer and only
/// grows) and returned as a part of it. `None` when it would not be smaller than `data`, or a
/// sample says so: the file is then stored.
pub fn whole<'a>(data: &[u8], out: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    let size = data.len() as u64;
    if size > SAMPLED
        && incompressible(size, |offset, window| {
            window.copy_from_slice(&data[offset as usize..][..window.len()]);
            Ok(())
        })
        .unwrap_or(false)
    {
        return None;
    }
    // One byte short of the input: what does not fit is not smaller.
    let room = data.len().saturating_sub(1);
    if out.len() < room {
        out.resize(room, 0);
    }
    let length = with(&WHOLE_FILE, LEVEL, |compressor| {
        compressor.deflate_compress(data, &mut out[..room]).ok()
    })?;
    Some(&out[..length])
}

/// Whether a sample of a file of `size` bytes (over [`SAMPLED`]) says that deflate gains less than
/// 3 %. `read` fills a window from an offset. Only the content decides: the windows lie at fixed
/// fractions of the size.
pub fn incompressible(
    size: u64,
    read: impl Fn(u64, &mut [u8]) -> io::Result<()>,
) -> io::Result<bool> {
    let mut window = vec![0; SAMPLE as usize];
    let mut out = vec![0; 2 * SAMPLE as usize];
    let mut total = 0;
    for index in 0..SAMPLES {
        let last = size.saturating_sub(SAMPLE);
        read(
            (u128::from(last) * u128::from(index) / u128::from(SAMPLES - 1)) as u64,
            &mut window,
        )?;
        total += with(&FAST, 1, |compressor| {
            compressor
                .deflate_compress(&window, &mut out)
                .unwrap_or(SAMPLE as usize)
        });
    }
    Ok(total as u64 * 100 > SAMPLES * SAMPLE * 97)
}

/// Appends the stream of one chunk of a larger file to `out`. `dictionary` is the up to
/// [`DICTIONARY`] bytes before the chunk; streams of successive chunks, the last one with `last`,
/// make up one deflate stream.
pub fn chunk(dictionary: &[u8], data: &[u8], last: bool, out: &mut Vec<u8>) -> io::Result<()> {
    CHUNKS.with_borrow_mut(|slot| {
        let compress =
            slot.get_or_insert_with(|| Compress::new(Compression::new(LEVEL as u32), false));
        compress.reset();
        if !dictionary.is_empty() {
            compress
                .set_dictionary(dictionary)
                .map_err(io::Error::other)?;
        }
        // The dictionary may have been counted as input.
        let start = compress.total_in();
        out.reserve(data.len() + data.len() / 16 + 1024);
        let flush = if last {
            FlushCompress::Finish
        } else {
            FlushCompress::Sync
        };
        loop {
            let rest = &data[(compress.total_in() - start) as usize..];
            let status = compress
                .compress_vec(rest, out, flush)
                .map_err(io::Error::other)?;
            let taken = (compress.total_in() - start) as usize == data.len();
            if status == Status::StreamEnd || (!last && taken && out.len() < out.capacity()) {
                return Ok(());
            }
            out.reserve(data.len() / 16 + 1024);
        }
    })
}

#[cfg(test)]
mod tests {
    use std::{fmt::Write as _, io::Read as _};

    use synapse_engine::Digest;

    use super::*;
    use crate::archive::tests::{mixed, noise, text};

    fn inflate(stream: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        flate2::read::DeflateDecoder::new(stream)
            .read_to_end(&mut out)
            .unwrap();
        out
    }

    fn chunked(data: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let count = data.len().div_ceil(CHUNK);
        for (index, piece) in data.chunks(CHUNK).enumerate() {
            let start = index * CHUNK;
            let dictionary = &data[start.saturating_sub(DICTIONARY)..start];
            chunk(dictionary, piece, index + 1 == count, &mut out).unwrap();
        }
        out
    }

    #[test]
    fn whole_files_come_back() {
        let mut out = Vec::new();
        for size in [0, 1, 2, 10, 1000, 65_536, 300_000, 1_500_000] {
            for data in [text(size, 1), noise(size, 2), mixed(size, 3)] {
                if let Some(stream) = whole(&data, &mut out) {
                    assert!(stream.len() < data.len());
                    assert!(inflate(stream) == data);
                }
            }
            assert!(whole(&noise(size, 2), &mut out).is_none());
            assert_eq!(whole(&text(size, 1), &mut out).is_some(), size > 10);
        }
    }

    #[test]
    fn chunked_files_come_back_and_use_the_dictionary() {
        for size in [1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 77] {
            for data in [text(size, 4), noise(size, 5), mixed(size, 6), vec![0; size]] {
                assert!(inflate(&chunked(&data)) == data);
            }
        }
        let block = noise(20_000, 1);
        let mut stream = Vec::new();
        chunk(&block, &block, true, &mut stream).unwrap();
        assert!(stream.len() < 500);
    }

    #[test]
    fn samples_tell_noise_from_text() {
        let sample = |data: &[u8]| {
            incompressible(data.len() as u64, |offset, window| {
                window.copy_from_slice(&data[offset as usize..][..window.len()]);
                Ok(())
            })
            .unwrap()
        };
        assert!(sample(&noise(300_000, 9)));
        assert!(!sample(&text(300_000, 9)));
        assert!(!sample(&mixed(4 << 20, 9)));
    }

    /// A compressor that puts out other bytes than before makes other archives of the same
    /// content. When this fails after an upgrade, change [`CODEC`] and the values together.
    #[test]
    fn golden_streams() {
        let mut seen = String::new();
        let mut out = Vec::new();
        for size in [100, 65_536, 300_000, 3_000_000] {
            for (name, data) in [("text", text(size, 1)), ("mixed", mixed(size, 2))] {
                let stream = whole(&data, &mut out).unwrap_or_default();
                let digest = Digest::of(stream).short();
                writeln!(seen, "whole {name} {size}: {} {digest}", stream.len()).unwrap();
            }
        }
        for size in [CHUNK - 1, CHUNK, CHUNK + 1, 9 << 20] {
            for (name, data) in [
                ("text", text(size, 1)),
                ("noise", noise(size, 3)),
                ("mixed", mixed(size, 2)),
            ] {
                let stream = chunked(&data);
                let digest = Digest::of(&stream).short();
                writeln!(seen, "chunks {name} {size}: {} {digest}", stream.len()).unwrap();
            }
        }
        insta::assert_snapshot!(seen, @"
        whole text 100: 73 4ebfcad14c
        whole mixed 100: 0 af1349b9f5
        whole text 65536: 12721 a0f63144a4
        whole mixed 65536: 35043 e9da350733
        whole text 300000: 57256 d59bf5ce6e
        whole mixed 300000: 148803 032dfd0498
        whole text 3000000: 569696 e5a25b9a97
        whole mixed 3000000: 1488722 306382da0e
        chunks text 1048575: 185379 e301b9074c
        chunks noise 1048575: 1048898 043cbab078
        chunks mixed 1048575: 508651 fd39101d1c
        chunks text 1048576: 185379 e0e4fcd98e
        chunks noise 1048576: 1048899 db9d3391a7
        chunks mixed 1048576: 508652 84ab308c9e
        chunks text 1048577: 185386 d2d8a932a5
        chunks noise 1048577: 1048907 a4bf8d0b5b
        chunks mixed 1048577: 508659 4dd9036df9
        chunks text 9437184: 1665004 59a6becf29
        chunks noise 9437184: 9440140 e3aa80e0ad
        chunks mixed 9437184: 4574768 599b44e74f
        ");
    }
}
