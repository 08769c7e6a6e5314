//! Owns [`Serving`]: a `synapse backend serve` of one test, and calls to it as any client of
//! HTTP would make them.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, ChildStdin, Command, Stdio},
    time::Duration,
};

use serde_json::Value;

use crate::Space;

/// Longest that a server may be silent.
const PATIENCE: Duration = Duration::from_mins(1);

/// A server, which ends with its test.
pub struct Serving {
    /// Where it listens.
    pub url: String,
    /// What callers must send.
    pub token: String,
    child: Child,
    input: Option<ChildStdin>,
}

/// What a server said.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Names in lower case, with values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Serving {
    /// Starts a server on the backend of a space; it goes when its standard input closes.
    pub fn start(space: &Space) -> Self {
        Self::of(space.command(&["backend", "serve", "--until-stdin-closes"]))
    }

    /// The same, of a command that serves.
    pub fn of(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).spawn().expect("it starts");
        let input = child.stdin.take();
        let mut line = String::new();
        let output = child.stdout.as_mut().expect("a pipe");
        BufReader::new(output).read_line(&mut line).expect("a line");
        let said: Value = serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("{line:?} is not what a server says first: {error}"));
        let text = |name: &str| said[name].as_str().expect("a text").to_owned();
        Self {
            url: text("url"),
            token: text("token"),
            child,
            input,
        }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Closes its standard input and waits for its end; the exit code.
    pub fn close(mut self) -> Option<i32> {
        self.input.take();
        self.child.wait().expect("it can be waited for").code()
    }

    /// Waits for its end; the exit code.
    pub fn wait(mut self) -> Option<i32> {
        self.child.wait().expect("it can be waited for").code()
    }

    /// The address without the scheme.
    pub fn host(&self) -> &str {
        self.url.strip_prefix("http://").expect("an address")
    }

    /// Sends bytes as they are and reads the answer.
    pub fn raw(&self, bytes: &[u8]) -> Answer {
        let mut stream = self.send(bytes);
        let mut answer = Vec::new();
        // A server may close on what it does not want to read.
        let _ = stream.read_to_end(&mut answer);
        Answer::read(&answer)
    }

    /// Sends bytes as they are; what comes back is for the caller to read.
    pub fn send(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.host()).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let _ = stream.write_all(bytes);
        stream
    }

    /// The bytes of a call with the token.
    pub fn request(&self, call: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
        let token = format!("Token {}", self.token);
        let own = [("Synapse-Access-Token", &*token)];
        self.request_of(call, &[&own, headers].concat(), body)
    }

    /// The bytes of a call with these headers and no token.
    pub fn request_of(&self, call: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
        let mut text = format!(
            "{call} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n",
            self.host(),
            body.len(),
        );
        let headers = headers
            .iter()
            .map(|(name, value)| [name, ": ", value, "\r\n"].concat());
        text.extend(headers);
        text.push_str("\r\n");
        [text.as_bytes(), body].concat()
    }

    /// A call with the token, such as `GET /jobs/`.
    pub fn call(&self, call: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.raw(&self.request(call, headers, body))
    }

    /// A call with another token.
    pub fn call_as(
        &self,
        token: &str,
        call: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let token = format!("Token {token}");
        let own = [("Synapse-Access-Token", &*token)];
        self.raw(&self.request_of(call, &[&own, headers].concat(), body))
    }

    /// Sends a release as a client of the platform does.
    pub fn release(&self, token: &str, fields: &[(&str, &str)], archive: Option<&[u8]>) -> Answer {
        let file = archive.map(|bytes| ("release.zip", bytes));
        let (kind, body) = multipart(fields, file);
        let headers = [("Content-Type", &*kind)];
        self.call_as(token, "POST /plugin_releases/", &headers, &body)
    }

    /// A call without a body.
    pub fn get(&self, place: &str) -> Answer {
        let path = place.strip_prefix(&self.url).unwrap_or(place);
        self.call(&format!("GET {path}"), &[], b"")
    }

    /// A call with a JSON body.
    pub fn json(&self, call: &str, body: &Value) -> Answer {
        let headers = [("Content-Type", "application/json")];
        self.call(call, &headers, body.to_string().as_bytes())
    }

    /// Sends a chunk of an upload as the Python package does.
    pub fn chunk(&self, place: &str, span: &str, bytes: &[u8]) -> Answer {
        let path = place.strip_prefix(&self.url).unwrap_or(place);
        let (kind, body) = multipart(&[("filename", "best.pt")], Some(("best.pt", bytes)));
        let headers = [("Content-Type", &*kind), ("Content-Range", span)];
        self.call(&format!("PUT {path}"), &headers, &body)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Answer {
    fn read(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no answer: {}", String::from_utf8_lossy(bytes)));
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let status = status
            .and_then(|status| status.parse().ok())
            .expect("a status");
        let pairs = lines.filter_map(|line| line.split_once(':'));
        let headers: Vec<(String, String)> = pairs
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let mut answer = Self {
            status,
            headers,
            body: bytes[end + 4..].to_vec(),
        };
        if answer.header("transfer-encoding") == Some("chunked") {
            answer.body = unchunked(&answer.body);
        }
        answer
    }

    /// A header by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    #[track_caller]
    pub fn value(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("no JSON: {error}: {self:?}"))
    }

    /// Panics with everything unless the status is `status`; the body as JSON.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{text}");
        self.value()
    }
}

fn unchunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") {
        let size = std::str::from_utf8(&bytes[..end]).expect("a size");
        let size = usize::from_str_radix(size, 16).expect("a size");
        let Some(part) = bytes.get(end + 2..end + 2 + size).filter(|_| size > 0) else {
            break;
        };
        whole.extend_from_slice(part);
        bytes = &bytes[end + 4 + size..];
    }
    whole
}

/// A multipart body with its content type, as urllib3 makes it.
pub fn multipart(fields: &[(&str, &str)], file: Option<(&str, &[u8])>) -> (String, Vec<u8>) {
    const EDGE: &str = "5b1f0b9f6a1d4e0c8a53e6c1d5d7c001";
    let mut body = Vec::new();
    for (name, value) in fields {
        let head = format!("--{EDGE}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(value.as_bytes());
        body.extend_from_slice(b"\r\n");
    }
    if let Some((name, bytes)) = file {
        let head = format!(
            "--{EDGE}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{EDGE}--\r\n").as_bytes());
    (format!("multipart/form-data; boundary={EDGE}"), body)
}
