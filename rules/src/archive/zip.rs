//! Owns [`ZipWriter`]: the ZIP container, written entry by entry from streams that are compressed
//! already. Own code because the bytes must be the same everywhere and because streams kept from
//! earlier archives go in as they are.

use std::{fs::File, io};

use synapse_engine::Digest;

use super::{sink::Sink, valid_path};

/// General-purpose flag 11: names are UTF-8.
const UTF8: u16 = 1 << 11;
/// 1980-01-01 and 00:00:00, the earliest that the format can say.
const DATE: u16 = 1 << 5 | 1;
const TIME: u16 = 0;
/// Made by Unix (whence the modes), by the rules of version 4.5.
const MADE_BY: u16 = 3 << 8 | VERSION_ZIP64;
const VERSION: u16 = 20;
const VERSION_ZIP64: u16 = 45;
/// The value of a 32-bit field that is found in the zip64 record instead.
const MAX32: u64 = u32::MAX as u64;

/// How the bytes of an entry are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// As they are.
    Stored,
    /// As a raw deflate stream.
    Deflated,
}

impl Method {
    fn code(self) -> u16 {
        match self {
            Self::Stored => 0,
            Self::Deflated => 8,
        }
    }
}

/// An entry that was written.
struct Record {
    path: String,
    executable: bool,
    method: Method,
    crc: u32,
    compressed: u64,
    size: u64,
    /// Of the local header.
    offset: u64,
}

/// An entry that is being written.
struct Open {
    path: String,
    executable: bool,
    size: u64,
    offset: u64,
    data: u64,
}

/// Writes a ZIP to a file. Entries come out in the order in which they are given; nothing but the
/// arguments decides a byte.
pub struct ZipWriter<'a> {
    sink: Sink<'a>,
    records: Vec<Record>,
    open: Option<Open>,
}

impl<'a> ZipWriter<'a> {
    /// A writer that overwrites `file` from offset 0. The file must be open for reading too.
    pub fn new(file: &'a File) -> Self {
        Self {
            sink: Sink::new(file),
            records: Vec::new(),
            open: None,
        }
    }

    /// Writes an entry whose stream is in memory; `size` and `crc` are those of the uncompressed
    /// bytes. Returns the offset of the stream.
    pub fn add(
        &mut self,
        path: &str,
        executable: bool,
        (method, size, crc): (Method, u64, u32),
        stream: &[u8],
    ) -> io::Result<u64> {
        let offset = self.sink.position();
        let record = Record {
            path: path.to_owned(),
            executable,
            method,
            crc,
            compressed: stream.len() as u64,
            size,
            offset,
        };
        self.check(path)?;
        self.sink
            .write(&local_header(&record, needs_zip64(&record)))?;
        let data = self.sink.position();
        self.sink.write(stream)?;
        self.records.push(record);
        Ok(data)
    }

    /// Starts an entry of `size` uncompressed bytes whose stream is then given to
    /// [`write`](Self::write). Whether the local header is of the zip64 kind is decided here, by
    /// `size` alone, so the stream must not be longer than that by [`end`](Self::end).
    /// Returns the offset of the stream.
    pub fn begin(&mut self, path: &str, executable: bool, size: u64) -> io::Result<u64> {
        self.check(path)?;
        let mut open = Open {
            path: path.to_owned(),
            executable,
            size,
            offset: self.sink.position(),
            data: 0,
        };
        let record = open.record(Method::Stored, 0, size);
        self.sink
            .write(&local_header(&record, needs_zip64(&record)))?;
        open.data = self.sink.position();
        let data = open.data;
        self.open = Some(open);
        Ok(data)
    }

    /// Appends to the stream of the open entry.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sink.write(bytes)
    }

    /// Bytes of the open entry's stream so far.
    pub fn written(&self) -> u64 {
        self.open
            .as_ref()
            .map_or(0, |open| self.sink.position() - open.data)
    }

    /// Drops the stream of the open entry, to write it anew.
    pub fn restart(&mut self) -> io::Result<()> {
        match &self.open {
            Some(open) => self.sink.rewind(open.data),
            None => Err(misuse("no entry is open")),
        }
    }

    /// Takes the open entry back, as if it had not been started.
    pub fn abandon(&mut self) -> io::Result<()> {
        match self.open.take() {
            Some(open) => self.sink.rewind(open.offset),
            None => Err(misuse("no entry is open")),
        }
    }

    /// Ends the open entry: its local header gets what was unknown at the start.
    pub fn end(&mut self, method: Method, crc: u32) -> io::Result<()> {
        let compressed = self.written();
        let Some(open) = self.open.take() else {
            return Err(misuse("no entry is open"));
        };
        if compressed > open.size {
            return Err(misuse("the stream is longer than the file"));
        }
        let record = open.record(method, crc, compressed);
        // The form must be the one for which room was left.
        self.sink
            .patch(record.offset, &local_header(&record, record.size >= MAX32))?;
        self.records.push(record);
        Ok(())
    }

    /// Entries so far.
    pub fn entries(&self) -> u64 {
        self.records.len() as u64
    }

    /// Writes the directory and cuts the file behind it. Returns the size of the archive and its
    /// BLAKE3.
    pub fn finish(mut self) -> io::Result<(u64, Digest)> {
        if self.open.is_some() {
            return Err(misuse("an entry is open"));
        }
        let start = self.sink.position();
        for record in &self.records {
            self.sink.write(&central_header(record))?;
        }
        let length = self.sink.position() - start;
        let entries = self.records.len() as u64;
        self.sink.write(&end_of_directory(start, length, entries))?;
        self.sink.finish()
    }

    fn check(&self, path: &str) -> io::Result<()> {
        if self.open.is_some() {
            return Err(misuse("an entry is open"));
        }
        if valid_path(path) {
            Ok(())
        } else {
            Err(misuse("not a path of an archive"))
        }
    }
}

impl Open {
    fn record(&self, method: Method, crc: u32, compressed: u64) -> Record {
        Record {
            path: self.path.clone(),
            executable: self.executable,
            method,
            crc,
            compressed,
            size: self.size,
            offset: self.offset,
        }
    }
}

fn misuse(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

fn needs_zip64(record: &Record) -> bool {
    record.size >= MAX32 || record.compressed >= MAX32
}

/// Little-endian fields, one after the other.
#[derive(Default)]
struct Fields(Vec<u8>);

impl Fields {
    fn u16(mut self, value: u16) -> Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    fn u32(mut self, value: u32) -> Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    fn u64(mut self, value: u64) -> Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// A 32-bit field that says where to look when the value does not fit.
    fn capped(self, value: u64) -> Self {
        self.u32(u32::try_from(value).unwrap_or(u32::MAX))
    }

    /// Version needed, flags, method, time, date, checksum.
    fn common(self, record: &Record, zip64: bool) -> Self {
        self.u16(if zip64 { VERSION_ZIP64 } else { VERSION })
            .u16(UTF8)
            .u16(record.method.code())
            .u16(TIME)
            .u16(DATE)
            .u32(record.crc)
    }
}

/// The zip64 extra field with `values`; empty without any.
fn extra(values: &[u64]) -> Vec<u8> {
    if values.is_empty() {
        return Vec::new();
    }
    let fields = Fields::default().u16(1).u16(values.len() as u16 * 8);
    values
        .iter()
        .fold(fields, |fields, value| fields.u64(*value))
        .0
}

fn local_header(record: &Record, zip64: bool) -> Vec<u8> {
    // In a local header the record has both sizes or none.
    let (extra, compressed, size) = if zip64 {
        (extra(&[record.size, record.compressed]), MAX32, MAX32)
    } else {
        (Vec::new(), record.compressed, record.size)
    };
    let mut header = Fields::default()
        .u32(0x0403_4b50)
        .common(record, zip64)
        .capped(compressed)
        .capped(size)
        .u16(record.path.len() as u16)
        .u16(extra.len() as u16)
        .0;
    header.extend_from_slice(record.path.as_bytes());
    header.extend_from_slice(&extra);
    header
}

fn central_header(record: &Record) -> Vec<u8> {
    // Here it has exactly what does not fit, in this order.
    let large: Vec<u64> = [record.size, record.compressed, record.offset]
        .into_iter()
        .filter(|value| *value >= MAX32)
        .collect();
    let extra = extra(&large);
    let mode: u32 = if record.executable {
        0o100_755
    } else {
        0o100_644
    };
    let mut header = Fields::default()
        .u32(0x0201_4b50)
        .u16(MADE_BY)
        .common(record, !large.is_empty())
        .capped(record.compressed)
        .capped(record.size)
        .u16(record.path.len() as u16)
        .u16(extra.len() as u16)
        .u16(0) // comment
        .u16(0) // disk
        .u16(0) // internal attributes
        .u32(mode << 16)
        .capped(record.offset)
        .0;
    header.extend_from_slice(record.path.as_bytes());
    header.extend_from_slice(&extra);
    header
}

fn end_of_directory(start: u64, length: u64, entries: u64) -> Vec<u8> {
    let mut fields = Fields::default();
    if start >= MAX32 || length >= MAX32 || entries >= u64::from(u16::MAX) {
        fields = fields
            .u32(0x0606_4b50)
            .u64(44) // what follows of this record
            .u16(MADE_BY)
            .u16(VERSION_ZIP64)
            .u32(0)
            .u32(0)
            .u64(entries)
            .u64(entries)
            .u64(length)
            .u64(start)
            .u32(0x0706_4b50)
            .u32(0)
            .u64(start + length)
            .u32(1);
    }
    let count = u16::try_from(entries).unwrap_or(u16::MAX);
    fields
        .u32(0x0605_4b50)
        .u16(0)
        .u16(0)
        .u16(count)
        .u16(count)
        .capped(length)
        .capped(start)
        .u16(0)
        .0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::tests::python;

    /// Names, sizes, compressed sizes and offsets as Python reads them, having tested every CRC
    /// when `read`.
    fn listing(file: &tempfile::NamedTempFile, read: bool) -> String {
        let code = "import sys, zipfile\n\
            z = zipfile.ZipFile(sys.argv[1])\n\
            if sys.argv[2] == '1': assert z.testzip() is None\n\
            i = z.infolist()\n\
            print(len(i))\n\
            for e in i[:3]: print(e.filename, e.file_size, e.compress_size, e.header_offset)";
        python(&[
            "-c".as_ref(),
            code.as_ref(),
            file.path().as_os_str(),
            if read { "1" } else { "0" }.as_ref(),
        ])
    }

    #[test]
    fn many_entries_need_zip64() {
        for count in [65_534, 65_535, 65_536] {
            let file = tempfile::NamedTempFile::new().unwrap();
            let mut zip = ZipWriter::new(file.as_file());
            for index in 0..count {
                zip.add(&format!("f{index}"), false, (Method::Stored, 0, 0), b"")
                    .unwrap();
            }
            zip.finish().unwrap();
            assert!(listing(&file, false).starts_with(&format!("{count}\n")));
        }
    }

    #[test]
    fn sizes_that_do_not_fit_32_bits() {
        // Zeros: each chunk's stream is the same, so a huge entry costs nothing to make.
        let size: u64 = 5 << 30;
        let zeros = vec![0; super::super::deflate::CHUNK];
        let mut stream = Vec::new();
        super::super::deflate::chunk(&zeros[..1 << 15], &zeros, false, &mut stream).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut zip = ZipWriter::new(file.as_file());
        let data = zip.begin("big", false, size).unwrap();
        assert_eq!(data, 30 + 3 + 20);
        for _ in 0..size / zeros.len() as u64 {
            zip.write(&stream).unwrap();
        }
        zip.write(&[3, 0]).unwrap();
        let compressed = zip.written();
        let mut crc = crc32fast::Hasher::new();
        let mut chunk = crc32fast::Hasher::new();
        chunk.update(&zeros);
        for _ in 0..size / zeros.len() as u64 {
            crc.combine(&chunk);
        }
        zip.end(Method::Deflated, crc.finalize()).unwrap();
        zip.add(
            "small",
            false,
            (Method::Stored, 3, crc32fast::hash(b"abc")),
            b"abc",
        )
        .unwrap();
        let (length, _) = zip.finish().unwrap();
        assert_eq!(length, file.as_file().metadata().unwrap().len());
        let offset = data + compressed;
        let expected = format!("2\nbig {size} {compressed} 0\nsmall 3 3 {offset}\n");
        assert_eq!(listing(&file, false), expected);
        let mut archive = ::zip::ZipArchive::new(file.as_file()).unwrap();
        archive.validate_header_consistency().unwrap();
        assert_eq!(archive.by_name("big").unwrap().size(), size);
    }

    #[test]
    fn offsets_that_do_not_fit_32_bits() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut zip = ZipWriter::new(file.as_file());
        zip.add("a", false, (Method::Stored, 0, 0), b"").unwrap();
        zip.sink.rewind(0).unwrap();
        zip.sink.skip_to(5 << 30);
        zip.add(
            "far",
            true,
            (Method::Stored, 3, crc32fast::hash(b"abc")),
            b"abc",
        )
        .unwrap();
        zip.records.remove(0);
        zip.finish().unwrap();
        assert_eq!(
            listing(&file, true),
            format!("1\nfar 3 3 {}\n", 5_u64 << 30)
        );
    }

    #[test]
    fn misuse_is_refused() {
        let file = tempfile::tempfile().unwrap();
        let mut zip = ZipWriter::new(&file);
        let stored = (Method::Stored, 0, 0);
        for path in [
            "", "/a", "a//b", "../a", "a/./b", "a\\b", "a\0b", "a/", "C:a",
        ] {
            assert!(zip.add(path, false, stored, b"").is_err(), "{path:?}");
        }
        assert!(zip.restart().is_err() && zip.end(Method::Stored, 0).is_err());
        zip.begin("a", false, 1).unwrap();
        assert!(zip.add("b", false, stored, b"").is_err());
        zip.write(b"ab").unwrap();
        assert!(zip.end(Method::Stored, 0).is_err());
    }
}
