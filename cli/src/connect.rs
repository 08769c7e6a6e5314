//! Owns how a command reaches what it publishes to: the one pool of connections, the clients of
//! platforms, and the targets of a publish.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use synapse_engine::{Failure, StoreError, store::Ledger, store_failure};
use synapse_rules::{
    client::Backend,
    http::{Http, Options, Patience, Retry},
    platform::{Access, Host, Platform},
    target::Target,
};

use crate::{
    app::{self, App},
    args::{Connection, To},
    credentials::LOCAL,
    profile::{self, Profile},
};

/// Variables that name a file of certificates to trust beside the system's; the first counts.
/// `SSL_CERT_FILE` and `SSL_CERT_DIR` take the place of the system's.
const AUTHORITIES: [&str; 2] = ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"];
/// Longest wait that may be asked for, in seconds.
const LONGEST: u64 = 24 * 3600;

impl App {
    /// The pool of connections of this command.
    pub fn http(&self) -> Result<Arc<Http>, Failure> {
        if let Some(http) = self.http.get() {
            return Ok(Arc::clone(http));
        }
        let mut patience = Patience::default();
        if let Some(seconds) = self.number("SYNAPSE_HTTP_TIMEOUT", 1, LONGEST)? {
            let time = Duration::from_secs(seconds);
            patience = Patience {
                connect: patience.connect.min(time),
                send: time,
                reply: time,
                read: time,
            };
        }
        let mut retry = Retry::default();
        if let Some(repeats) = self.number("SYNAPSE_HTTP_RETRIES", 0, 20)? {
            retry.repeats = repeats as u32;
        }
        let options = Options {
            patience,
            retry,
            authorities: self.authorities(),
            cancel: self.cancel.clone(),
        };
        let http = Arc::new(Http::new(options, Arc::clone(&self.counters.requests)));
        Ok(Arc::clone(self.http.get_or_init(|| http)))
    }

    /// The file of certificates to trust beside the system's.
    fn authorities(&self) -> Option<PathBuf> {
        let mut named = AUTHORITIES.iter().filter_map(|name| (self.variable)(name));
        named.find(|path| !path.is_empty()).map(PathBuf::from)
    }

    /// A number that a variable holds.
    fn number(&self, name: &str, least: u64, most: u64) -> Result<Option<u64>, Failure> {
        let Some(value) = (self.variable)(name).filter(|value| !value.is_empty()) else {
            return Ok(None);
        };
        let text = value.to_string_lossy();
        match text.trim().parse() {
            Ok(number) if (least..=most).contains(&number) => Ok(Some(number)),
            _ => Err(Failure::usage(format!(
                "{name} is {text:?}, not a whole number from {least} to {most}"
            ))
            .hint("set it anew, or unset it")),
        }
    }

    /// The client of the platform that a profile names. Nobody need be logged in there.
    pub fn platform(&self, profile: &Profile) -> Result<Platform, Failure> {
        let host = Host::parse(&profile.host)
            .map_err(|error| Failure::bug(format!("a profile without a host: {error}")))?;
        let access = Access {
            host,
            auth: profile.auth.clone(),
            agent: None,
            allow_http: profile.allow_http,
            key: self.key()?,
        };
        Platform::new(self.http()?, access).map_err(|error| error.failure(&profile.name))
    }

    /// A key of this user on this machine, with which secrets are hashed where they must be told
    /// apart and never read.
    pub fn key(&self) -> Result<[u8; 32], Failure> {
        let path = self.home.data.join("key");
        let read = || -> Option<[u8; 32]> { fs::read(&path).ok()?.try_into().ok() };
        let make = || -> io::Result<()> {
            let mut key = [0; 32];
            File::open("/dev/urandom")?.read_exact(&mut key)?;
            fs::create_dir_all(&self.home.data)?;
            // Private from the start, as temporary files are.
            let file = tempfile::NamedTempFile::new_in(&self.home.data)?;
            fs::write(file.path(), key)?;
            // What is no key is replaced; of two who make one, the first wins.
            if fs::metadata(&path).is_ok_and(|own| own.len() != 32) {
                fs::remove_file(&path)?;
            }
            match file.persist_noclobber(&path) {
                Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                Err(error) => Err(error.error),
                Ok(_) => Ok(()),
            }
        };
        let failed = |error: io::Error| {
            let what = format!("cannot keep a key in {}: {error}", path.display());
            Failure::environment("data", what).hint("check the folder's permissions")
        };
        if let Some(key) = read() {
            return Ok(key);
        }
        make().map_err(failed)?;
        read().ok_or_else(|| failed(io::Error::other("it is not what was written")))
    }

    /// The targets that the command line or a login chose; without either, why there is none.
    pub fn targets(&self, to: &To) -> Result<Vec<Arc<Target>>, Failure> {
        if to.local {
            return Ok(vec![self.target(&Profile::embedded(), to.verify)?]);
        }
        if to.target.is_empty() {
            let profile = profile::resolve(self, &to.connection, None)?;
            return Ok(vec![self.target(&profile, to.verify)?]);
        }
        let mut targets: Vec<Arc<Target>> = Vec::with_capacity(to.target.len());
        for name in &to.target {
            let connection = Connection {
                allow_http: to.connection.allow_http,
                ..Connection::default()
            };
            let target =
                self.target(&profile::resolve(self, &connection, Some(name))?, to.verify)?;
            // One account under two names is one target.
            if let Some(twin) = targets
                .iter()
                .find(|own| own.identity() == target.identity())
            {
                if twin.name == target.name {
                    continue;
                }
                let what = format!("{} and {name} are the same target", twin.name);
                return Err(Failure::usage(what).hint("name one of them"));
            }
            targets.push(target);
        }
        Ok(targets)
    }

    fn target(&self, profile: &Profile, verify: bool) -> Result<Arc<Target>, Failure> {
        let backend: Arc<dyn Backend> = if profile.embedded {
            Arc::new(self.backend()?)
        } else {
            profile.auth()?;
            Arc::new(self.platform(profile)?)
        };
        let name = if profile.embedded {
            LOCAL
        } else {
            &profile.name
        };
        let counters = Arc::clone(&self.counters);
        let mut target = Target::new(name, backend, self.ledger()?, counters, app::seconds);
        target.verify = verify;
        Ok(Arc::new(if profile.embedded {
            target.embedded()
        } else {
            target.of_platform(&profile.host)
        }))
    }

    /// What was sent where.
    pub fn ledger(&self) -> Result<Arc<Ledger>, Failure> {
        if let Some(ledger) = self.ledger.get() {
            return Ok(Arc::clone(ledger));
        }
        let path = self.home.ledger();
        let opened = Ledger::open(&path, self.hook.clone()).map_err(|error| {
            let failure = store_failure(&error).at(path.display().to_string());
            match error {
                StoreError::Database(what)
                    if what.contains("readonly") || what.contains("unable to open") =>
                {
                    let message = format!("the record of what was sent cannot be written: {what}");
                    Failure { message, ..failure }
                        .hint("check the permissions of the folder, or set SYNAPSE_HOME to another")
                }
                StoreError::Database(what)
                    if what.contains("database") || what.contains("malformed") =>
                {
                    let message = format!("the record of what was sent cannot be read: {what}");
                    Failure { message, ..failure }
                        .hint("move the file away: every publish asks the target what it has")
                }
                _ => failure,
            }
        })?;
        let opened = Arc::new(opened);
        Ok(Arc::clone(self.ledger.get_or_init(|| opened)))
    }
}
