//! Owns [`Proxy`]: it stands between a client and a server and does on purpose what networks do
//! by accident. It forwards one call a connection and keeps count of what reached the server.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    os::fd::AsFd,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

/// What is done to one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// The connection is reset before the server hears of the call.
    ResetBefore,
    /// The connection is reset when so many bytes of the call have come.
    ResetAt(usize),
    /// The server does it, then the connection is reset without an answer.
    ResetAfter,
    /// Answered by the proxy, without the server: status, headers, body.
    Answer(u16, String, String),
    /// The server does it, then the proxy answers otherwise.
    AnswerAfter(u16, String),
    /// The server's answer is cut in the middle of its body.
    Truncate,
    /// The server does it; its answer comes so late.
    Slow(Duration),
    /// The MD5 in the server's answer is another.
    WrongDigest,
}

/// One call as it came.
#[derive(Debug, Clone)]
pub struct Call {
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Names in lower case, with values.
    pub headers: Vec<(String, String)>,
    /// Bytes of the body.
    pub body: u64,
    /// The body as text, its first megabyte.
    pub text: String,
    /// The server's answer, when it was asked: status, and its body as text.
    pub reply: Option<(u16, String)>,
    /// How many calls came before it.
    pub number: u64,
}

impl Call {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(own, _)| own == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Decides what is done to a call, by what is known before its body is read.
pub type Plan = dyn Fn(&Call) -> Fault + Send + Sync;

/// A proxy, which ends with its test.
pub struct Proxy {
    /// Where it listens, as an address.
    pub url: String,
    seen: Arc<Seen>,
    stop: Arc<AtomicBool>,
}

#[derive(Default)]
struct Seen {
    calls: Mutex<Vec<Call>>,
    faults: Mutex<BTreeMap<String, u64>>,
    count: AtomicU64,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Proxy {
    /// Stands before the server at `upstream`, host and port.
    pub fn start(upstream: &str, plan: impl Fn(&Call) -> Fault + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (seen, stop) = (Arc::<Seen>::default(), Arc::<AtomicBool>::default());
        let plan: Arc<Plan> = Arc::new(plan);
        let upstream = upstream.to_owned();
        {
            let (seen, stop) = (Arc::clone(&seen), Arc::clone(&stop));
            thread::spawn(move || {
                for stream in listener.incoming() {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let Ok(stream) = stream else { continue };
                    let (plan, seen, upstream) =
                        (Arc::clone(&plan), Arc::clone(&seen), upstream.clone());
                    thread::spawn(move || {
                        // A client that goes away is as good as any other end.
                        let _ = serve(&stream, &upstream, &*plan, &seen);
                    });
                }
            });
        }
        Self { url, seen, stop }
    }

    /// Host and port.
    pub fn host(&self) -> &str {
        self.url.strip_prefix("http://").expect("an address")
    }

    /// All calls so far.
    pub fn calls(&self) -> Vec<Call> {
        locked(&self.seen.calls).clone()
    }

    /// How many calls of a method reached a path that begins so.
    pub fn count(&self, method: &str, path: &str) -> usize {
        let calls = locked(&self.seen.calls);
        let fits = |call: &&Call| call.method == method && call.path.starts_with(path);
        calls.iter().filter(fits).count()
    }

    /// How often each fault was injected.
    pub fn faults(&self) -> BTreeMap<String, u64> {
        locked(&self.seen.faults).clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the one who listens.
        let _ = TcpStream::connect(self.host());
    }
}

fn serve(client: &TcpStream, upstream: &str, plan: &Plan, seen: &Seen) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut out = client;
    let mut reader = BufReader::new(client.try_clone()?);
    loop {
        let Some(mut call) = head(&mut reader)? else {
            return Ok(());
        };
        call.number = seen.count.fetch_add(1, Ordering::Relaxed);
        let length = call
            .header("content-length")
            .and_then(|own| own.parse().ok());
        let chunked = call
            .header("transfer-encoding")
            .is_some_and(|own| own.contains("chunked"));
        let fault = plan(&call);
        *locked(&seen.faults).entry(name(&fault)).or_default() += 1;
        if let Fault::ResetAt(bytes) = fault {
            let mut some = vec![0; bytes.min(length.unwrap_or(0))];
            reader.read_exact(&mut some)?;
            call.body = some.len() as u64;
            locked(&seen.calls).push(call);
            return reset(client);
        }
        let body = if chunked {
            dechunked(&mut reader)?
        } else {
            let mut body = vec![0; length.unwrap_or(0)];
            reader.read_exact(&mut body)?;
            body
        };
        call.body = body.len() as u64;
        call.text = String::from_utf8_lossy(&body[..body.len().min(1 << 20)]).into_owned();
        let at = {
            let mut calls = locked(&seen.calls);
            calls.push(call.clone());
            calls.len() - 1
        };
        match fault {
            Fault::ResetBefore | Fault::ResetAt(_) => return reset(client),
            Fault::Answer(status, headers, text) => {
                answer(client, status, &headers, text.as_bytes())?;
                continue;
            }
            _ => {}
        }
        let reply = forward(&call, &body, upstream)?;
        locked(&seen.calls)[at].reply = parted(&reply);
        match fault {
            Fault::ResetAfter => return reset(client),
            Fault::AnswerAfter(status, text) => answer(client, status, "", text.as_bytes())?,
            Fault::Slow(time) => {
                thread::sleep(time);
                out.write_all(&reply)?;
            }
            Fault::Truncate => {
                let begin = reply.windows(4).position(|end| end == b"\r\n\r\n");
                let begin = begin.map_or(0, |begin| begin + 4);
                let cut = begin + (reply.len() - begin) / 2;
                out.write_all(&reply[..cut])?;
                return Ok(());
            }
            Fault::WrongDigest => out.write_all(&forged(&reply))?,
            _ => out.write_all(&reply)?,
        }
        return Ok(());
    }
}

fn name(fault: &Fault) -> String {
    match fault {
        Fault::Answer(status, ..) => format!("answer {status}"),
        Fault::AnswerAfter(status, _) => format!("answer {status} after commit"),
        Fault::None => "none".to_owned(),
        Fault::ResetBefore => "reset before".to_owned(),
        Fault::ResetAt(_) => "reset while sending".to_owned(),
        Fault::ResetAfter => "reset after commit".to_owned(),
        Fault::Truncate => "truncated answer".to_owned(),
        Fault::Slow(_) => "slow answer".to_owned(),
        Fault::WrongDigest => "wrong digest".to_owned(),
    }
}

/// The head of the next call, unless the client has gone.
fn head(reader: &mut BufReader<TcpStream>) -> io::Result<Option<Call>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next(), words.next());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    Ok(Some(Call {
        method: method.unwrap_or_default(),
        path: path.unwrap_or_default(),
        headers,
        body: 0,
        text: String::new(),
        reply: None,
        number: 0,
    }))
}

fn dechunked(reader: &mut BufReader<TcpStream>) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let size = usize::from_str_radix(line.trim(), 16)
            .map_err(|_| io::Error::other("a chunk without a size"))?;
        let mut chunk = vec![0; size + 2];
        reader.read_exact(&mut chunk)?;
        if size == 0 {
            return Ok(body);
        }
        body.extend_from_slice(&chunk[..size]);
    }
}

/// Makes the call at the server; its whole answer.
fn forward(call: &Call, body: &[u8], upstream: &str) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(upstream)?;
    let mut text = format!(
        "{} {} HTTP/1.1\r\nHost: {upstream}\r\nConnection: close\r\nContent-Length: {}\r\n",
        call.method,
        call.path,
        body.len()
    );
    let own = ["host", "connection", "content-length", "transfer-encoding"];
    for (name, value) in &call.headers {
        if !own.contains(&name.as_str()) {
            text.extend([name, ": ", value, "\r\n"]);
        }
    }
    text.push_str("\r\n");
    // A server may answer before it has read everything.
    let _ = stream.write_all(text.as_bytes());
    let _ = stream.write_all(body);
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply);
    Ok(reply)
}

/// Status and body of an answer.
fn parted(reply: &[u8]) -> Option<(u16, String)> {
    let text = String::from_utf8_lossy(&reply[..reply.len().min(1 << 20)]);
    let status = text.split(' ').nth(1)?.parse().ok()?;
    let (_, body) = text.split_once("\r\n\r\n")?;
    Some((status, body.to_owned()))
}

fn answer(mut client: &TcpStream, status: u16, headers: &str, body: &[u8]) -> io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status} Injected\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    );
    client.write_all(head.as_bytes())?;
    client.write_all(body)
}

/// The answer with another MD5 in it, of the same length.
fn forged(reply: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(reply);
    let key = "\"checksum\":\"";
    let Some(at) = text.find(key).map(|at| at + key.len()) else {
        return reply.to_vec();
    };
    let mut forged = reply.to_vec();
    for byte in &mut forged[at..at + 32] {
        *byte = if *byte == b'0' { b'1' } else { b'0' };
    }
    forged
}

/// Closes with a reset rather than an end.
fn reset(client: &TcpStream) -> io::Result<()> {
    rustix::net::sockopt::set_socket_linger(client.as_fd(), Some(Duration::ZERO))?;
    Ok(())
}
