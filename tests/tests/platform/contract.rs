//! One suite for everything that keeps releases: the backend in the same process, the same behind
//! its HTTP server, and that behind a network which loses answers.

use std::{
    collections::BTreeMap,
    io::Write,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use md5::{Digest as _, Md5};
use serde_json::{Value, json};
use sha2::Sha256;
use synapse_backend::{
    Embedded, Options as BackendOptions,
    http::{Running, Server, new_token},
};
use synapse_engine::Digest;
use synapse_rules::{
    archive,
    client::{Backend, ClientError, Slot, Upload},
    http::{Http, Options, Patience, Retry},
    platform::{Access, Auth, Host, Platform, Secret},
};
use synapse_tests::proxy::{Fault, Proxy};
use tempfile::TempDir;
use zip::{ZipWriter, write::SimpleFileOptions};

/// An archive to send.
struct Package {
    path: PathBuf,
    config: Value,
    size: u64,
    content: Digest,
    blake3: Digest,
    md5: String,
    sha256: String,
}

impl Package {
    fn new(folder: &Path, code: &str, version: &str, variant: Option<&str>, word: &str) -> Self {
        let mut config = json!({
            "name": "A", "code": code, "version": version, "category": "custom",
            "actions": {"run": {"entrypoint": "plugin.run:main"}},
        });
        if let Some(variant) = variant {
            config["variant"] = variant.into();
        }
        let files = BTreeMap::from([
            ("config.yaml", config.to_string()),
            (
                "plugin/run.py",
                format!("def main():\n    return '{word}'\n"),
            ),
        ]);
        let path = folder.join(format!("{code}-{version}-{word}.zip"));
        let mut zip = ZipWriter::new(std::fs::File::create(&path).unwrap());
        for (name, text) in files {
            zip.start_file(name, SimpleFileOptions::default()).unwrap();
            zip.write_all(text.as_bytes()).unwrap();
        }
        zip.finish().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        Self {
            config,
            size: bytes.len() as u64,
            content: archive::read::content(&path).unwrap(),
            blake3: Digest::of(&bytes),
            md5: hex(&Md5::digest(&bytes)),
            sha256: hex(&Sha256::digest(&bytes)),
            path,
        }
    }

    fn upload<'a>(&'a self, slot: &'a Slot) -> Upload<'a> {
        Upload {
            slot,
            config: &self.config,
            readme: None,
            requirements: None,
            archive: &self.path,
            size: self.size,
            content: self.content,
            blake3: self.blake3,
            md5: &self.md5,
            sha256: &self.sha256,
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

fn slot(code: &str, version: &str, variant: Option<&str>, debug: bool) -> Slot {
    Slot {
        code: code.to_owned(),
        variant: variant.map(str::to_owned),
        version: version.to_owned(),
        debug,
    }
}

/// Something that keeps releases, with what it needs to live.
struct Subject {
    backend: Arc<dyn Backend>,
    _server: Option<Running>,
    _proxy: Option<Proxy>,
    folder: TempDir,
}

impl Subject {
    fn embedded() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let backend = Embedded::open(&folder.path().join("data"), BackendOptions::default());
        Self {
            backend: Arc::new(backend.unwrap()),
            _server: None,
            _proxy: None,
            folder,
        }
    }

    /// Over HTTP; with `lossy`, every third answer to a look is lost, and there is no keeping of
    /// connections.
    fn served(lossy: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let embedded = Embedded::open(&folder.path().join("data"), BackendOptions::default());
        let address = "127.0.0.1:0".parse().unwrap();
        let server = Server::start(Arc::new(embedded.unwrap()), address, new_token().unwrap());
        let server = server.unwrap();
        let proxy = lossy.then(|| {
            let count = AtomicU64::new(0);
            let upstream = server.url.strip_prefix("http://").unwrap().to_owned();
            Proxy::start(&upstream, move |call| {
                if call.method == "GET" && count.fetch_add(1, Ordering::SeqCst).is_multiple_of(3) {
                    Fault::ResetAfter
                } else {
                    Fault::None
                }
            })
        });
        let url = proxy.as_ref().map_or(&server.url, |proxy| &proxy.url);
        let options = Options {
            patience: Patience::default(),
            retry: Retry {
                first: Duration::from_millis(5),
                ..Retry::default()
            },
            ..Options::default()
        };
        let access = Access {
            host: Host::parse(url).unwrap(),
            auth: Some(Auth::Access(Secret::new(server.token.clone()))),
            agent: None,
            allow_http: false,
            key: [7; 32],
        };
        let platform = Platform::new(Arc::new(Http::new(options, Arc::default())), access);
        Self {
            backend: Arc::new(platform.unwrap()),
            _server: Some(server),
            _proxy: proxy,
            folder,
        }
    }

    fn package(&self, code: &str, version: &str, variant: Option<&str>, word: &str) -> Package {
        Package::new(self.folder.path(), code, version, variant, word)
    }
}

/// What every keeper of releases must do.
fn suite(subject: &Subject) {
    let backend = &subject.backend;
    let own = slot("alpha", "1.0.0", None, false);
    assert_eq!(backend.find(&own).unwrap(), None);
    assert_eq!(backend.releases("alpha").unwrap(), []);
    assert_eq!(backend.all().unwrap(), []);

    let first = subject.package("alpha", "1.0.0", None, "one");
    let made = backend.create(&first.upload(&own)).unwrap();
    assert_eq!(made.slot, own);
    assert_eq!(made.content, Some(first.content));
    assert_eq!(made.md5.as_deref(), Some(&*first.md5));
    assert_eq!(made.size, Some(first.size));
    let found = backend.find(&own).unwrap().unwrap();
    assert_eq!((&found.id, &found.slot), (&made.id, &made.slot));
    assert_eq!(backend.content(&found).unwrap(), first.content);

    // A slot is taken once, by whatever content.
    let other = subject.package("alpha", "1.0.0", None, "two");
    for package in [&first, &other] {
        let error = backend.create(&package.upload(&own)).unwrap_err();
        assert!(matches!(error, ClientError::Exists(_)), "{error:?}");
    }
    // A variant is another slot, a debug release too, and is replaced.
    let variant = slot("alpha", "1.0.0", Some("acme"), false);
    let package = subject.package("alpha", "1.0.0", Some("acme"), "three");
    assert_eq!(backend.find(&variant).unwrap(), None);
    backend.create(&package.upload(&variant)).unwrap();
    let debug = slot("alpha", "1.0.0", None, true);
    for word in ["four", "five"] {
        let package = subject.package("alpha", "1.0.0", None, word);
        let made = backend.create(&package.upload(&debug)).unwrap();
        let later = slot("alpha", "9.9.9", None, true);
        let found = backend.find(&later).unwrap().unwrap();
        assert_eq!(found.id, made.id, "one for all versions");
        assert_eq!(backend.content(&found).unwrap(), package.content);
    }
    assert_eq!(backend.find(&own).unwrap().unwrap().id, made.id);
    let slots = backend.releases("alpha").unwrap();
    assert_eq!(slots.len(), 3);

    // What is no release is refused with what is wrong, and leaves nothing.
    let bad = slot("beta", "1.0.0", None, false);
    let mut package = subject.package("beta", "1.0.0", None, "six");
    package.config["actions"]["run"]["entrypoint"] = "plugin.missing:main".into();
    match backend.create(&package.upload(&bad)).unwrap_err() {
        ClientError::Invalid(problems) => assert!(!problems.is_empty()),
        error => panic!("{error:?}"),
    }
    assert_eq!(backend.find(&bad).unwrap(), None);

    // Many plugins make several pages.
    for number in 0..30 {
        let code = format!("many-{number}");
        let package = subject.package(&code, "0.1.0", None, "x");
        backend
            .create(&package.upload(&slot(&code, "0.1.0", None, false)))
            .unwrap();
    }
    assert_eq!(backend.all().unwrap().len(), 33);

    // Of many who send the same at once, one wins.
    let race = slot("race", "1.0.0", None, false);
    let package = subject.package("race", "1.0.0", None, "x");
    let won: usize = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| backend.create(&package.upload(&race))))
            .collect();
        tries
            .into_iter()
            .map(|own| match own.join().unwrap() {
                Ok(_) => 1,
                Err(ClientError::Exists(_)) => 0,
                Err(error) => panic!("{error:?}"),
            })
            .sum()
    });
    assert_eq!(won, 1);
    assert_eq!(backend.releases("race").unwrap().len(), 1);
}

#[test]
fn in_this_process() {
    suite(&Subject::embedded());
}

#[test]
fn over_http() {
    suite(&Subject::served(false));
}

#[test]
fn over_a_network_that_loses_answers() {
    suite(&Subject::served(true));
}

#[test]
fn plain_http_to_another_machine_is_refused_before_anything_is_sent() {
    let requests = Arc::<AtomicU64>::default();
    let http = Arc::new(Http::new(Options::default(), Arc::clone(&requests)));
    let access = |allow_http| Access {
        host: Host::parse("http://192.0.2.1:8000").unwrap(),
        auth: Some(Auth::Access(Secret::new("t"))),
        agent: None,
        allow_http,
        key: [0; 32],
    };
    let error = Platform::new(Arc::clone(&http), access(false)).unwrap_err();
    assert!(error.to_string().contains("without encryption"), "{error}");
    assert!(Platform::new(http, access(true)).is_ok());
    assert_eq!(requests.load(Ordering::SeqCst), 0);
}

#[test]
fn accounts_are_told_apart_without_telling_their_tokens() {
    let identity = |auth: Option<Auth>, key: u8| {
        let access = Access {
            host: Host::parse("https://x.test/api/").unwrap(),
            auth,
            agent: None,
            allow_http: false,
            key: [key; 32],
        };
        let http = Arc::new(Http::new(Options::default(), Arc::default()));
        Platform::new(http, access).unwrap().identity().to_owned()
    };
    let access = |token: &str| Some(Auth::Access(Secret::new(token)));
    let user = |token: &str, tenant: &str| {
        Some(Auth::User {
            token: Secret::new(token),
            tenant: tenant.to_owned(),
        })
    };
    let one = identity(access("canary-1"), 1);
    assert!(one.starts_with("https://x.test/api (account "), "{one}");
    assert!(!one.contains("canary"));
    assert_eq!(one, identity(access("canary-1"), 1));
    assert_ne!(one, identity(access("canary-2"), 1));
    assert_ne!(one, identity(access("canary-1"), 2), "keyed");
    // A user's token may change; the tenant is what counts.
    assert_eq!(identity(user("a", "t"), 1), identity(user("b", "t"), 1));
    assert_ne!(identity(user("a", "t"), 1), identity(user("a", "u"), 1));
}

#[test]
fn a_file_elsewhere_is_fetched_without_the_token() {
    let elsewhere = Proxy::start("127.0.0.1:9", |_| {
        Fault::Answer(404, String::new(), String::new())
    });
    let file = format!("{}/bucket/a.zip?signature=s", elsewhere.url);
    let release = json!({
        "id": 5, "plugin": "alpha", "version": "1.0.0", "debug": false, "config": {},
        "file": file, "checksum": "0".repeat(32),
    });
    let body = release.to_string();
    let platform = Proxy::start("127.0.0.1:9", move |_| {
        Fault::Answer(200, String::new(), body.clone())
    });
    let access = Access {
        host: Host::parse(&platform.url).unwrap(),
        auth: Some(Auth::Access(Secret::new("canary"))),
        agent: Some(Secret::new("canary-agent")),
        allow_http: false,
        key: [0; 32],
    };
    let http = Arc::new(Http::new(Options::default(), Arc::default()));
    let client = Platform::new(http, access).unwrap();
    let own = slot("alpha", "1.0.0", None, false);
    let found = client.find(&own).unwrap().unwrap();
    assert_eq!(found.content, None);
    assert!(client.content(&found).is_err());
    let asked = platform.calls();
    assert_eq!(
        asked[0].header("synapse-access-token"),
        Some("Token canary")
    );
    assert_eq!(asked[0].header("synapse-agent"), Some("Token canary-agent"));
    let fetched = elsewhere.calls();
    assert_eq!(fetched[0].path, "/bucket/a.zip?signature=s");
    for call in &fetched {
        let told = call
            .headers
            .iter()
            .any(|(_, value)| value.contains("canary"));
        assert!(!told, "{call:?}");
    }
}
