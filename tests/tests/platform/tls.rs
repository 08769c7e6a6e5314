//! Secure connections: a certificate that nobody trusts, one that is trusted when it is named, and
//! what is no TLS at all.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
};

use rcgen::generate_simple_self_signed;
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use synapse_tests::Space;

use crate::{PROGRAM, Site, codes, point, publish};

/// Speaks TLS before the server at `upstream`, with a certificate for `localhost`; returns the
/// port and the certificate.
fn tls_before(upstream: &str) -> (u16, String) {
    let own = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let pem = own.cert.pem();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(own.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let upstream = upstream.to_owned();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (config, upstream) = (config.clone(), upstream.clone());
            thread::spawn(move || pass(stream, config, &upstream));
        }
    });
    (port, pem)
}

/// Passes one call on.
fn pass(stream: TcpStream, config: Arc<ServerConfig>, upstream: &str) -> Option<()> {
    let connection = ServerConnection::new(config).ok()?;
    let mut client = StreamOwned::new(connection, stream);
    let mut asked = Vec::new();
    let head = loop {
        let mut piece = [0; 4096];
        let count = client.read(&mut piece).ok().filter(|count| *count > 0)?;
        asked.extend_from_slice(&piece[..count]);
        if let Some(end) = asked.windows(4).position(|end| end == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let text = String::from_utf8_lossy(&asked[..head]).to_lowercase();
    let length = text.split("content-length: ").nth(1);
    let length = length.and_then(|rest| rest.split("\r\n").next()?.parse::<usize>().ok());
    while asked.len() < head + length.unwrap_or(0) {
        let mut piece = [0; 4096];
        let count = client.read(&mut piece).ok().filter(|count| *count > 0)?;
        asked.extend_from_slice(&piece[..count]);
    }
    let mut server = TcpStream::connect(upstream).ok()?;
    // The server knows itself by its own address only.
    let mut lines: Vec<String> = String::from_utf8_lossy(&asked[..head])
        .split("\r\n")
        .filter(|line| !line.to_lowercase().starts_with("host:"))
        .map(str::to_owned)
        .collect();
    lines.insert(1, format!("Host: {upstream}\r\nConnection: close"));
    server.write_all(lines.join("\r\n").as_bytes()).ok()?;
    server.write_all(&asked[head..]).ok()?;
    let mut reply = Vec::new();
    server.read_to_end(&mut reply).ok()?;
    client.write_all(&reply).ok()?;
    client.conn.send_close_notify();
    client.flush().ok()
}

#[test]
fn only_who_is_trusted_gets_the_token() {
    let site = Site::start();
    let (port, pem) = tls_before(site.serving.host());
    let mut space = Space::new(PROGRAM);
    space.tiny_plugin(".", "over-tls");
    point(
        &mut space,
        &format!("https://localhost:{port}"),
        &site.serving.token,
    );
    let refused = publish(&space, &[]).expect(3);
    assert_eq!(codes(&refused), ["tls"]);
    let message = refused.value["errors"][0]["message"].as_str().unwrap();
    assert!(
        message.contains("nobody that this machine trusts"),
        "{message}"
    );

    space.write("authority.pem", &pem);
    let authority = space.path("authority.pem").display().to_string();
    // The certificate is for a name, not for an address.
    let by_address = format!("https://127.0.0.1:{port}");
    let run = space
        .command(&["plugin", "publish", "--yes", "--json"])
        .env("SSL_CERT_FILE", &authority)
        .env("SYNAPSE_HOST", by_address)
        .output()
        .unwrap();
    let other = synapse_tests::Document::of(run.into()).expect(3);
    let message = other.value["errors"][0]["message"].as_str().unwrap();
    assert!(message.contains("for another name"), "{message}");
    for variable in ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"] {
        let run = space.synapse_with(
            variable,
            &authority,
            &["plugin", "publish", "--yes", "--json"],
        );
        synapse_tests::Document::of(run).expect(0);
    }
    assert_eq!(site.releases("over-tls").len(), 1);
}

#[test]
fn what_speaks_no_tls_is_told() {
    let site = Site::start();
    let mut space = Space::new(PROGRAM);
    space.tiny_plugin(".", "no-tls");
    let url = site.serving.url.replace("http://", "https://");
    point(&mut space, &url, &site.serving.token);
    space.set("SYNAPSE_HTTP_RETRIES", "0");
    let refused = publish(&space, &[]).expect(3);
    assert_eq!(codes(&refused), ["tls"]);
}
