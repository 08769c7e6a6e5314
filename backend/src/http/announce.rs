//! Owns `serve.json`: where a server leaves word that it is up, for others of the same user, and
//! how they make sure of it. The token is never sent to prove anything: a server proves that it
//! knows it.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::health::{CHALLENGE, proof};
use super::new_token;
use crate::files::random_hex;
use crate::run::{identity, is_dead};

const NAME: &str = "serve.json";
/// How long a server on this machine may take to accept, and to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Longest answer that is looked at.
const ANSWER: u64 = 16 << 10;

/// A server that said that it is up.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announced {
    /// Where it listens.
    pub url: String,
    /// What callers must send.
    pub token: String,
    /// Its process.
    pub pid: u32,
    /// Which process of that id.
    #[serde(default)]
    process: Option<String>,
}

impl std::fmt::Debug for Announced {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Announced")
            .field("url", &self.url)
            .field("pid", &self.pid)
            .finish_non_exhaustive()
    }
}

impl Announced {
    fn read(path: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    }

    fn process_lives(&self) -> bool {
        !is_dead(self.pid, self.process.as_deref())
    }

    /// Whether a server that knows the token answers there.
    fn answers(&self) -> bool {
        let ask = || -> Option<bool> {
            let place = self.url.strip_prefix("http://")?;
            let address: SocketAddr = place.parse().ok()?;
            if !address.ip().is_loopback() {
                return None;
            }
            let mut challenge = new_token().ok()?;
            challenge.truncate(CHALLENGE);
            let mut stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
            stream.set_read_timeout(Some(PATIENCE)).ok()?;
            stream.set_write_timeout(Some(PATIENCE)).ok()?;
            let call = format!(
                "GET /health/?challenge={challenge} HTTP/1.1\r\nHost: {place}\r\n\
                 Connection: close\r\n\r\n"
            );
            stream.write_all(call.as_bytes()).ok()?;
            let mut answer = Vec::new();
            stream.take(ANSWER).read_to_end(&mut answer).ok()?;
            let body = answer.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
            let body: Value = serde_json::from_slice(answer.get(body..)?).ok()?;
            Some(body["proof"] == proof(&self.token, &challenge))
        };
        ask().unwrap_or(false)
    }
}

/// The server that is announced in the backend's folder, if it is up.
pub fn running(dir: &Path) -> Option<Announced> {
    let announced = Announced::read(&dir.join(NAME))?;
    (announced.process_lives() && announced.answers()).then_some(announced)
}

/// The announcement of one server.
pub(crate) struct Announcement {
    path: PathBuf,
    own: Announced,
}

impl Announcement {
    /// Announces a server, unless another is up and announced.
    pub(crate) fn new(dir: &Path, url: &str, token: &str) -> Self {
        let pid = std::process::id();
        let announcement = Self {
            path: dir.join(NAME),
            own: Announced {
                url: url.to_owned(),
                token: token.to_owned(),
                pid,
                process: identity(pid),
            },
        };
        if running(dir).is_none() {
            // A server that nobody finds still serves who started it.
            let _ = announcement.write();
        }
        announcement
    }

    /// Announces the server again when nobody else is announced any more.
    pub(crate) fn renew(&self) {
        if !Announced::read(&self.path).is_some_and(|found| found.process_lives()) {
            let _ = self.write();
        }
    }

    /// Takes the announcement back, if it is this server's.
    pub(crate) fn withdraw(&self) {
        if Announced::read(&self.path).as_ref() == Some(&self.own) {
            let _ = fs::remove_file(&self.path);
        }
    }

    fn write(&self) -> io::Result<()> {
        let new = self.path.with_extension(random_hex());
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)
            .and_then(|mut file| {
                let mut text = serde_json::to_vec(&self.own)?;
                text.push(b'\n');
                file.write_all(&text)?;
                fs::rename(&new, &self.path)
            });
        if written.is_err() {
            let _ = fs::remove_file(&new);
        }
        written
    }
}
