//! Owns the look for credentials ahead of an archive: in the files, and in the values of `env`.

use std::{fs::File, io::Read, path::PathBuf};

use synapse_engine::{Digest, Failure, Store};

use super::rule::{CREDENTIAL, codec};
use crate::{
    config,
    plugin::{CONFIG_NAMES, Plugin},
    secrets::{Finding, Scanner},
};

/// Fails when a file of the plugin, or a value of `env`, looks like a credential. Content that
/// the store has a stream of was found clean by the same scan; archiving looks again, at the very
/// bytes it packs.
pub fn inspect(plugin: &Plugin, scanner: &Scanner, store: &dyn Store) -> Result<(), Failure> {
    inspect_env(plugin, scanner)?;
    let entries = plugin.files.load();
    let contents: Vec<Digest> = entries.iter().map(|entry| entry.digest).collect();
    // Without an answer everything is read.
    let known = store
        .streams(&codec(scanner), &contents)
        .unwrap_or_default();
    let mut findings = Vec::new();
    let mut buffer = vec![0; 1 << 20];
    for (index, entry) in entries.iter().enumerate() {
        let clean = known.get(index).is_some_and(Option::is_some);
        if clean && !scanner.depends_on_name(&entry.path) {
            continue;
        }
        let unreadable = |error: std::io::Error| {
            Failure::user("unreadable", format!("cannot read {}: {error}", entry.path))
        };
        let mut file = File::open(source(plugin, &entry.path, store)).map_err(unreadable)?;
        let mut scan = scanner.start(&entry.path);
        loop {
            let read = file.read(&mut buffer).map_err(unreadable)?;
            if read == 0 {
                break;
            }
            scan.push(&buffer[..read]);
        }
        findings.extend(scan.finish().findings);
    }
    failure(plugin, &findings).map_or(Ok(()), Err)
}

/// Where the bytes of an archived file lie: those of a library's wheel or a synced configuration in
/// the store, and as
/// long as it is not there, in the file that it will be made from.
fn source(plugin: &Plugin, path: &str, store: &dyn Store) -> PathBuf {
    let synced = plugin.synced_config().filter(|_| path == CONFIG_NAMES[0]);
    let bundled = plugin.bundled_at(path).map(|own| own.digest);
    let stored = synced.map(|config| config.digest).or(bundled);
    let blob = stored.and_then(|digest| store.open_blob(&digest).ok().flatten());
    blob.map_or_else(|| plugin.source_of(path), |blob| blob.path)
}

/// Fails when a value of `env` in the configuration looks like a credential.
pub(super) fn inspect_env(plugin: &Plugin, scanner: &Scanner) -> Result<(), Failure> {
    let (bytes, shown) = plugin.read_source_config()?;
    env(&bytes, &shown, scanner)
}

/// Fails when anything in the configuration file looks like a credential. `bytes` are those of
/// the file.
pub fn inspect_config(plugin: &Plugin, scanner: &Scanner, bytes: &[u8]) -> Result<(), Failure> {
    let mut scan = scanner.start(CONFIG_NAMES[0]);
    scan.push(bytes);
    if let Some(failure) = failure(plugin, &scan.finish().findings) {
        return Err(failure);
    }
    env(bytes, &plugin.config_path().display().to_string(), scanner)
}

fn env(bytes: &[u8], shown: &str, scanner: &Scanner) -> Result<(), Failure> {
    env_findings(bytes, shown, scanner).map_or(Ok(()), Err)
}

/// Values of `env` that look like credentials.
pub(crate) fn env_findings(bytes: &[u8], shown: &str, scanner: &Scanner) -> Option<Failure> {
    let config = config::parse(bytes, shown).config?;
    let document = config::yaml::parse(bytes, shown);
    let pairs = document
        .root
        .as_ref()
        .and_then(|root| root.get("env")?.as_mapping());
    let mut failures = config.env.iter().filter_map(|(key, value)| {
        let (rule, what) = scanner.scan_env(key, value)?;
        let own = pairs?
            .iter()
            .find(|(own, _)| own.key_text().as_deref() == Some(key))?;
        let (line, column) = document.source.position(own.0.span().start);
        let what = format!("the value of env.{key} looks like a credential ({what})");
        let hint = format!(
            "give it to the run in its environment instead, or if it is none: --allow-secret {rule}"
        );
        Some(
            Failure::user(CREDENTIAL, what)
                .at(format!("{shown}:{line}:{column}"))
                .hint(hint),
        )
    });
    join(&mut failures)
}

/// The failure of findings in files.
pub(super) fn failure(plugin: &Plugin, findings: &[Finding]) -> Option<Failure> {
    let folder = plugin.source.folder();
    join(&mut findings.iter().map(|finding| {
        let line = finding
            .line
            .map(|line| format!(":{line}"))
            .unwrap_or_default();
        let place = format!("{}{line}", folder.join(&finding.path).display());
        let what = format!(
            "{} looks like a credential ({})",
            finding.path, finding.what
        );
        let path = &finding.path;
        let hint =
            format!("ignore it in .synapseignore, or if it is none: --allow-secret {path:?}");
        Failure::user(CREDENTIAL, what).at(place).hint(hint)
    }))
}

fn join(failures: &mut dyn Iterator<Item = Failure>) -> Option<Failure> {
    let mut first = failures.next()?;
    first.more = failures.collect();
    Some(first)
}
