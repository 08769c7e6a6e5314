//! The server's limits, with settings that a command would not choose.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::num::NonZeroU32;
use std::sync::Mutex;
use std::time::Duration;

use super::*;
use crate::http::{Running, Server, Settings};

fn start(backend: Embedded, change: impl FnOnce(&mut Settings)) -> Running {
    let mut settings = Settings::new("token".to_owned());
    change(&mut settings);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    Server::start_with(Arc::new(backend), address, settings).unwrap()
}

fn connect(server: &Running) -> TcpStream {
    let stream = TcpStream::connect(host(server)).unwrap();
    let patience = Some(Duration::from_mins(1));
    stream.set_read_timeout(patience).unwrap();
    stream
}

fn host(server: &Running) -> &str {
    server.url.strip_prefix("http://").unwrap()
}

fn head(server: &Running, call: &str, more: &str) -> String {
    let host = host(server);
    format!(
        "{call} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
         Synapse-Access-Token: Token token\r\n{more}\r\n"
    )
}

/// The whole answer to what was sent.
fn answer(mut stream: TcpStream) -> String {
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

fn ask(server: &Running, call: &str) -> String {
    let mut stream = connect(server);
    stream.write_all(head(server, call, "").as_bytes()).unwrap();
    answer(stream)
}

const BODY: &str = "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 1000000\r\n\
                    Content-Range: bytes 0-999999/1000000\r\n";
const BEGUN: &str =
    "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\nab";

#[test]
fn a_sender_that_falls_silent_is_told_and_leaves_nothing() {
    let world = World::new();
    let server = start(world.open(), |settings| {
        settings.patience = Duration::from_millis(200);
    });
    for (call, more, begun) in [
        ("POST /plugin_releases/", BODY, BEGUN),
        ("PUT /chunked_upload/", BODY, BEGUN),
        ("POST /models/", BODY, BEGUN),
        (
            "POST /jobs/",
            "Content-Type: application/json\r\nContent-Length: 99\r\n",
            "{",
        ),
        (
            "POST /serve_applications/",
            "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 99\r\n",
            "a=",
        ),
    ] {
        let mut stream = connect(&server);
        let text = head(&server, call, more) + begun;
        stream.write_all(text.as_bytes()).unwrap();
        let said = answer(stream);
        assert!(said.starts_with("HTTP/1.1 408 "), "{call}: {said}");
    }
    assert_eq!(world.files(), [""; 0]);
}

#[test]
fn a_token_that_asks_too_much_is_told_when_to_go_on() {
    let world = World::new();
    let server = start(world.open(), |settings| {
        settings.rate = NonZeroU32::new(1);
    });
    // Five at once, then one a second: of thirty at least some are too many, whatever the pace.
    let answers: Vec<String> = (0..30).map(|_| ask(&server, "GET /jobs/")).collect();
    let many = |status: &str| {
        let all = answers.iter();
        all.filter(|answer| answer.starts_with(&format!("HTTP/1.1 {status} ")))
            .count()
    };
    assert!(many("200") >= 5 && many("429") >= 1, "{answers:?}");
    assert_eq!(many("200") + many("429"), 30);
    let refused = answers.iter().find(|answer| answer.contains(" 429 "));
    let refused = refused.unwrap().to_ascii_lowercase();
    assert!(refused.contains("retry-after: 1\r\n"), "{refused}");
    // Another caller is not its brother's keeper.
    assert!(ask(&server, "GET /health/").contains(" 200 OK"));
}

#[test]
fn files_wait_for_their_turn() {
    let world = World::new();
    let server = start(world.open(), |settings| settings.uploads = 1);
    let mut first = connect(&server);
    let begun = head(&server, "PUT /chunked_upload/", BODY) + BEGUN;
    first.write_all(begun.as_bytes()).unwrap();
    // Other calls go on meanwhile.
    assert!(ask(&server, "GET /jobs/").contains(" 200 OK"));
    let body = "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\nab\r\n--x--\r\n";
    let more = format!(
        "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: {}\r\n\
         Content-Range: bytes 0-1/2\r\n",
        body.len()
    );
    let mut second = connect(&server);
    let whole = head(&server, "PUT /chunked_upload/", &more) + body;
    second.write_all(whole.as_bytes()).unwrap();
    drop(first);
    assert!(answer(second).contains(" 201 Created"));
    assert_eq!(world.files().len(), 1);
}

#[test]
fn a_file_that_waits_too_long_is_told_when_to_come_again() {
    let world = World::new();
    let server = start(world.open(), |settings| {
        settings.uploads = 1;
        settings.queue = Duration::from_millis(50);
    });
    let mut first = connect(&server);
    let begun = head(&server, "PUT /chunked_upload/", BODY) + BEGUN;
    first.write_all(begun.as_bytes()).unwrap();
    while world.files().is_empty() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut second = connect(&server);
    let whole = head(&server, "POST /models/", "Content-Length: 2\r\n") + "{}";
    second.write_all(whole.as_bytes()).unwrap();
    let said = answer(second).to_ascii_lowercase();
    assert!(
        said.starts_with("http/1.1 503 ") && said.contains("retry-after: 2"),
        "{said}"
    );
}

#[test]
fn a_stop_lets_an_upload_end_and_cuts_one_that_does_not() {
    let world = World::new();
    let file = "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\nab";
    let rest = "\r\n--x--\r\n";
    let more = format!(
        "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: {}\r\n\
         Content-Range: bytes 0-1/2\r\n",
        file.len() + rest.len()
    );
    let server = start(world.open(), |settings| {
        settings.grace = Duration::from_mins(1);
    });
    let text = head(&server, "PUT /chunked_upload/", &more) + file;
    let mut stream = connect(&server);
    stream.write_all(text.as_bytes()).unwrap();
    // Its file is there: the request is under way.
    while world.files().is_empty() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let stopping = std::thread::spawn(move || server.stop());
    stream.write_all(rest.as_bytes()).unwrap();
    let said = answer(stream);
    assert!(said.contains(" 201 Created"), "{said}");
    stopping.join().unwrap();
    assert_eq!(world.files().len(), 1);

    let server = start(world.open(), |settings| {
        settings.grace = Duration::from_millis(100);
    });
    let text = head(&server, "PUT /chunked_upload/", &more) + file;
    let mut stream = connect(&server);
    stream.write_all(text.as_bytes()).unwrap();
    while world.files().len() < 2 {
        std::thread::sleep(Duration::from_millis(5));
    }
    server.stop();
    assert_eq!(answer(stream), "");
    assert_eq!(world.files().len(), 1, "half a file is none");
}

/// A log that a test reads.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_log_has_a_line_a_request_and_nothing_of_the_callers_words() {
    let world = World::new();
    let lines = Lines::default();
    let log = Box::new(lines.clone());
    let server = start(world.open(), |settings| settings.log = Some(log));
    for call in [
        "GET /jobs/?plugin=canary",
        "GET /canary/",
        "CANARY /jobs/",
        "GET /jobs/12/",
        "GET /jobs/canary/",
        "GET /files/models/3/canary",
        "GET /plugin_releases/yolo@1.2.3/?x=canary",
        "GET /health/?challenge=canary",
    ] {
        ask(&server, call);
    }
    let mut stream = connect(&server);
    let wrong = head(&server, "GET /jobs/", "Authorization: Token canary\r\n");
    let wrong = wrong.replace("Token token", "Token canary");
    stream.write_all(wrong.as_bytes()).unwrap();
    answer(stream);
    server.stop();
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(!text.to_ascii_lowercase().contains("canary"), "{text}");
    let told: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split(' ').skip(1).collect())
        .collect();
    let told: Vec<String> = told
        .iter()
        .map(|line| format!("{} {} {} {}", line[0], line[1], line[2], line[7]))
        .collect();
    assert_eq!(
        told,
        [
            "GET /jobs/ 200 own",
            "GET - 404 own",
            "OTHER - 405 own",
            "GET /jobs/12/ 404 own",
            "GET /jobs/{id}/ 404 own",
            "GET /files/models/3/{name} 404 own",
            "GET /plugin_releases/yolo@1.2.3/ 404 own",
            "GET /health/ 200 -",
            "GET - 401 -",
        ]
    );
}
