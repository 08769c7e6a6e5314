//! Owns [`Storage`]: an object store that can be talked to. The connection takes its options from
//! the place, and what is missing there from the usual variables of each provider.

use std::{
    collections::HashMap,
    net::IpAddr,
    str::FromStr,
    sync::{Arc, OnceLock, atomic::Ordering, mpsc},
    time::Duration,
};

use opendal::{
    Buffer, HttpBody, HttpTransport, HttpTransporter, Operator,
    layers::{RetryLayer, TimeoutLayer},
    services,
};
use opendal_http_transport_reqwest::ReqwestTransport;
use synapse_engine::{Cancel, Failure, store::Ledger};

use super::{
    errors,
    place::{Place, Scheme},
};
use crate::{counters::Counters, http::Http, python::Variables};

/// How often a wait looks whether work was asked to stop.
const LOOK: Duration = Duration::from_millis(20);
/// Longest that one call, and one part of a transfer, may take.
const CALL: Duration = Duration::from_mins(2);
const PART: Duration = Duration::from_mins(10);
const TRIES: usize = 3;
const PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Variables that hold secrets of providers.
const SECRETS: [&str; 9] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_BEARER_TOKEN",
    "AZURE_CLIENT_SECRET",
    "AZURE_MSI_SECRET",
];

/// An object store.
pub struct Storage {
    /// Where it is.
    pub place: Place,
    /// Stable name of it in keys and in the ledger. No secret.
    pub identity: String,
    /// Receipts do not count, however fresh.
    pub verify: bool,
    pub(super) operator: Operator,
    http: Arc<Http>,
    /// When the store last said that it has an object, by name.
    said: OnceLock<HashMap<String, i64>>,
    /// What must not be in any text.
    pub(super) secrets: Vec<String>,
    pub(super) counters: Arc<Counters>,
}

/// Counts what crosses the network.
struct Counted {
    inner: ReqwestTransport,
    counters: Arc<Counters>,
}

impl HttpTransport for Counted {
    async fn fetch(
        &self,
        request: http::Request<Buffer>,
    ) -> opendal::Result<http::Response<HttpBody>> {
        self.counters.requests.fetch_add(1, Ordering::Relaxed);
        self.inner.fetch(request).await
    }
}

impl Storage {
    /// When the store last said that it has an object, as the ledger knew at the start.
    pub(super) fn said(&self, ledger: &Ledger, name: &str) -> Option<i64> {
        let said = self.said.get_or_init(|| {
            // Without an answer the store is asked.
            let receipts = ledger.receipts(&self.identity).unwrap_or_default();
            receipts.into_iter().map(|own| (own.slot, own.at)).collect()
        });
        said.get(name).copied()
    }

    /// Runs `work` on the pool's threads and waits for it; when work is asked to stop, it is
    /// dropped where it stands. `meanwhile` is called now and then.
    pub(super) fn wait<T: Send + 'static>(
        &self,
        cancel: &Cancel,
        meanwhile: &dyn Fn(),
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Failure> {
        let (send, receive) = mpsc::sync_channel(1);
        let task = self
            .http
            .runtime()
            .map_err(|e| setup(&e))?
            .spawn(async move {
                let _ = send.send(work.await);
            });
        loop {
            match receive.recv_timeout(LOOK) {
                Ok(value) => return Ok(value),
                Err(mpsc::RecvTimeoutError::Timeout) if cancel.cancelled() => {
                    task.abort();
                    return Err(Failure::cancelled());
                }
                Err(mpsc::RecvTimeoutError::Timeout) => meanwhile(),
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    return Err(Failure::bug(
                        "a call to an object store ended without a word",
                    ));
                }
            }
        }
    }
}

fn setup(error: &crate::http::WireError) -> Failure {
    Failure::environment("tls", error.to_string())
        .hint("check SSL_CERT_FILE and the proxy variables")
}

/// Makes ready to talk to the store at `place`. Nothing is sent yet.
pub fn connect(
    place: Place,
    variables: &Variables,
    http: &Arc<Http>,
    counters: &Arc<Counters>,
) -> Result<Storage, Failure> {
    let secrets: Vec<String> = place
        .secrets()
        .chain(SECRETS.iter().filter_map(|name| variables.text(name)))
        .filter(|secret| secret.len() > 3)
        .map(str::to_owned)
        .collect();
    let (options, endpoint) = options(&place, variables)?;
    if let Some(endpoint) = &endpoint
        && !place.allow_http
        && is_open(endpoint)
    {
        let what = format!("{} would be reached over plain HTTP", place.shown());
        return Err(Failure::environment("insecure-host", what)
            .at(place.location())
            .hint("use https, or allow it with --allow-http or \"allow_http\": true"));
    }
    let failed = |error: opendal::Error| errors::failure(&place, &secrets, &error);
    // What providers look up before a call may go there on its own.
    crate::http::install_crypto();
    let options = options.into_iter();
    let operator = match place.scheme {
        Scheme::S3 => Operator::from_iter::<services::S3>(options),
        Scheme::Gs => Operator::from_iter::<services::Gcs>(options),
        Scheme::Az => Operator::from_iter::<services::Azblob>(options),
        Scheme::File => Operator::from_iter::<services::Fs>(options),
        Scheme::Sftp => Operator::from_iter::<services::Sftp>(options),
        Scheme::Webdav | Scheme::Webdavs => Operator::from_iter::<services::Webdav>(options),
    };
    let operator = operator.map_err(failed)?;
    let transport = Counted {
        inner: ReqwestTransport::new(http.client(true).map_err(|e| setup(&e))?.clone()),
        counters: Arc::clone(counters),
    };
    let context = operator
        .base_context()
        .with_http_transport(HttpTransporter::new(transport));
    let operator = operator
        .with_context(context)
        .layer(TimeoutLayer::new().with_timeout(CALL).with_io_timeout(PART))
        .layer(
            RetryLayer::new()
                .with_jitter()
                .with_max_times(TRIES)
                .with_min_delay(PAUSE)
                .with_max_delay(LONGEST_PAUSE),
        );
    let identity = match &endpoint {
        Some(endpoint) => format!("{} at {endpoint}", place.location()),
        None => place.location(),
    };
    Ok(Storage {
        identity,
        verify: false,
        operator,
        http: Arc::clone(http),
        said: OnceLock::new(),
        secrets,
        counters: Arc::clone(counters),
        place,
    })
}

/// Options of the library, by name.
type Settings = Vec<(String, String)>;

/// The options that the library is given, and the endpoint when there is one.
fn options(place: &Place, variables: &Variables) -> Result<(Settings, Option<String>), Failure> {
    let mut options = place.options.clone();
    if place.get("checksum_algorithm") == Some("none") {
        // Some that speak like S3 know no checksums.
        options.remove("checksum_algorithm");
    }
    let mut set = |name: &str, value: &str| {
        options.insert(name.to_owned(), value.to_owned());
    };
    let variable = |names: &[&str]| {
        let found = names.iter().find_map(|name| variables.text(name));
        found.filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let own = |name: &str| place.get(name).map(str::to_owned);
    let mut endpoint = None;
    match place.scheme {
        Scheme::S3 => {
            endpoint = own("endpoint")
                .or_else(|| variable(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"]));
            let region = own("region").or_else(|| variable(&["AWS_REGION", "AWS_DEFAULT_REGION"]));
            set("bucket", &place.authority);
            set("region", region.as_deref().unwrap_or("us-east-1"));
            // Checked by the server before it keeps anything, part by part.
            if own("checksum_algorithm").is_none() {
                set("checksum_algorithm", "crc32c");
            }
            if !asks_instance(variables) {
                set("disable_ec2_metadata", "true");
            }
        }
        Scheme::Gs => {
            endpoint = own("endpoint");
            set("bucket", &place.authority);
            if !instance_answers("169.254.169.254:80") {
                set("disable_vm_metadata", "true");
            }
        }
        Scheme::Az => {
            let account = own("account_name").or_else(|| variable(&["AZURE_STORAGE_ACCOUNT_NAME"]));
            let usual = account
                .as_ref()
                .map(|account| format!("https://{account}.blob.core.windows.net"));
            endpoint = own("endpoint").or(usual);
            if endpoint.is_none() {
                let what = format!("{} names no account", place.shown());
                return Err(Failure::user("storage-url", what)
                    .at(place.location())
                    .hint(
                        "set account_name in the profile's storages, or AZURE_STORAGE_ACCOUNT_NAME",
                    ));
            }
            set("container", &place.authority);
            if let Some(account) = &account {
                set("account_name", account);
            }
            if let (None, Some(key)) =
                (own("account_key"), variable(&["AZURE_STORAGE_ACCOUNT_KEY"]))
            {
                set("account_key", &key);
            }
        }
        Scheme::File => {
            let path = place.path();
            set("root", &path.display().to_string());
            let folder = std::fs::metadata(&path);
            if folder.is_ok_and(|found| !found.is_dir()) {
                let what = format!("{} is no folder", path.display());
                return Err(Failure::environment("storage", what)
                    .at(place.location())
                    .hint("name a folder"));
            }
        }
        Scheme::Sftp => set("endpoint", &format!("ssh://{}", place.authority)),
        Scheme::Webdav => endpoint = Some(format!("http://{}", place.authority)),
        Scheme::Webdavs => endpoint = Some(format!("https://{}", place.authority)),
    }
    if place.scheme != Scheme::File {
        set("root", &format!("/{}", place.root));
    }
    if let Some(endpoint) = &endpoint {
        let full = if endpoint.contains("://") {
            endpoint.clone()
        } else {
            format!("https://{endpoint}")
        };
        let parsed = reqwest::Url::parse(&full).ok();
        let good = parsed.as_ref().is_some_and(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.username().is_empty()
                && url.password().is_none()
                && url.query().is_none()
        });
        if !good {
            let what = format!("the endpoint of {} is no plain URL", place.shown());
            return Err(Failure::user("storage-url", what)
                .at(place.location())
                .hint("write it like https://HOST:PORT, without a login"));
        }
        set("endpoint", &full);
        return Ok((options.into_iter().collect(), Some(full)));
    }
    Ok((options.into_iter().collect(), None))
}

/// Whether the machine's own credentials are worth asking for: nobody gave others, and somebody
/// answers where they are.
fn asks_instance(variables: &Variables) -> bool {
    let given = |name: &str| variables.text(name).is_some_and(|text| !text.is_empty());
    let others = [
        "AWS_ACCESS_KEY_ID",
        "AWS_PROFILE",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    ];
    let disabled = variables
        .text("AWS_EC2_METADATA_DISABLED")
        .is_some_and(|text| text.eq_ignore_ascii_case("true"));
    !disabled && !others.iter().any(|name| given(name)) && instance_answers("169.254.169.254:80")
}

/// A machine without such a service may leave the question without an answer for minutes.
fn instance_answers(address: &str) -> bool {
    let patience = Duration::from_millis(300);
    std::net::SocketAddr::from_str(address)
        .is_ok_and(|address| std::net::TcpStream::connect_timeout(&address, patience).is_ok())
}

/// Whether an endpoint sends what others can read: plain HTTP to another machine.
fn is_open(endpoint: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(endpoint) else {
        return true;
    };
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_matches(['[', ']']);
    let loopback = host.eq_ignore_ascii_case("localhost")
        || IpAddr::from_str(address).is_ok_and(|address| address.is_loopback());
    url.scheme() == "http" && !loopback
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connected(url: &str, variables: &[(&str, &str)]) -> Result<Storage, Failure> {
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()));
        let place = Place::parse(url)?;
        let http = Arc::new(Http::new(crate::http::Options::default(), Arc::default()));
        connect(place, &Variables::of(variables), &http, &Arc::default())
    }

    #[test]
    fn plain_http_stays_on_this_machine() {
        let quiet = ("AWS_EC2_METADATA_DISABLED", "true");
        for open in [
            "webdav://files.example/x",
            "s3://bucket?endpoint=http://10.0.0.1:9000",
        ] {
            let failure = connected(open, &[quiet]).err().unwrap();
            assert_eq!(failure.code, "insecure-host", "{open}");
        }
        let from_outside = [quiet, ("AWS_ENDPOINT_URL", "http://files.example")];
        let failure = connected("s3://bucket", &from_outside).err().unwrap();
        assert_eq!(failure.code, "insecure-host");
        for fine in [
            "webdav://127.0.0.1:8080/x",
            "webdav://[::1]:8080/x",
            "webdavs://files.example/x",
            "s3://bucket?endpoint=https://files.example",
        ] {
            assert!(connected(fine, &[quiet]).is_ok(), "{fine}");
        }
    }

    #[test]
    fn an_identity_tells_the_endpoint_and_no_secret() {
        let variables = [
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("AWS_SECRET_ACCESS_KEY", "canary"),
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:9000"),
        ];
        let storage = connected("s3://bucket/x", &variables).unwrap();
        assert_eq!(storage.identity, "s3://bucket/x at http://127.0.0.1:9000");
        assert_eq!(storage.secrets, ["canary"]);
        // In two parts, as the scan of credentials reads this file too.
        let login = ["s3://bucket?endpoint=http://me", ":canary@127.0.0.1"].concat();
        let failure = connected(&login, &variables[..1]).err().unwrap();
        assert!(!format!("{failure:?}").contains("canary"));
        let failure = connected("az://container", &[]).err().unwrap();
        assert!(failure.message.contains("no account"));
    }
}
