//! Owns a server that takes every release, as fast as it comes, and knows none: what a publish
//! costs on this side of the wire.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use anyhow::Result;

/// The server; it ends with the process.
pub(super) struct Accepting {
    /// Where it listens.
    pub(super) url: String,
    requests: Arc<AtomicU64>,
}

impl Accepting {
    pub(super) fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("http://{}", listener.local_addr()?);
        let requests = Arc::<AtomicU64>::default();
        let counted = Arc::clone(&requests);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let counted = Arc::clone(&counted);
                // Who goes away is served no more.
                thread::spawn(move || drop(serve(&stream, &counted)));
            }
        });
        Ok(Self { url, requests })
    }

    /// Requests so far.
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

fn serve(mut stream: &TcpStream, requests: &AtomicU64) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::with_capacity(256 << 10, stream.try_clone()?);
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first)? == 0 {
            return Ok(());
        }
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let line = line.trim().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        let number = requests.fetch_add(1, Ordering::Relaxed) + 1;
        let (status, body) = if first.starts_with("POST") {
            let (code, version) = fields(&mut reader, length)?;
            let body = format!(
                r#"{{"id":{number},"plugin":"{code}","version":"{version}","config":{{}}}}"#
            );
            ("201 Created", body)
        } else {
            ("404 Not Found", r#"{"detail":"Not found."}"#.to_owned())
        };
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
    }
}

/// Reads a multipart body away; the plugin and the version in it.
fn fields(reader: &mut impl Read, length: u64) -> io::Result<(String, String)> {
    // The fields come before the file.
    let mut begin = Vec::new();
    reader.take(length.min(64 << 10)).read_to_end(&mut begin)?;
    let read = begin.len() as u64;
    io::copy(&mut reader.take(length - read), &mut io::sink())?;
    let text = String::from_utf8_lossy(&begin);
    let field = |name: &str| {
        let after = text.split(&format!("name=\"{name}\"\r\n\r\n")).nth(1);
        let value = after.and_then(|rest| rest.split("\r\n").next());
        value.unwrap_or_default().to_owned()
    };
    Ok((field("plugin"), field("version")))
}
