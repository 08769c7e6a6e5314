//! Owns the secret scan: which files and values look like credentials and must not be published.
//!
//! A scan is of names (`names`) and of text (`content`). Findings name file, line and rule and
//! never hold any part of the secret.

mod content;
mod names;

use std::fmt;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use serde::Serialize;

pub use content::{TextScan, rules};
use names::{Name, name_rule};

/// Version of the rules: changes whenever a scan may find something else than before.
pub const VERSION: u32 = 1;
/// A line with these words is left out of the scan.
pub const PRAGMA: &str = "synapse: allow-secret";

/// Something that looks like a credential.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// Path in the archive.
    pub path: String,
    /// Line, counted from 1; none when the whole file is meant.
    pub line: Option<u32>,
    /// Id of the rule, which can be allowed.
    pub rule: &'static str,
    /// What it looks like, for people.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.path)?;
        if let Some(line) = self.line {
            write!(out, ":{line}")?;
        }
        write!(out, ": {} ({})", self.what, self.rule)
    }
}

/// Why a list of allowed things is not one.
#[derive(Debug, thiserror::Error)]
pub enum ScannerError {
    /// Neither a rule's id nor a pattern.
    #[error("`{pattern}` is neither the id of a secret rule nor a path pattern: {error}")]
    Pattern {
        /// As given.
        pattern: String,
        /// What is wrong with it.
        error: String,
    },
}

/// What a scan of one file brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What was found, by line.
    pub findings: Vec<Finding>,
    /// Something was found that only the file's path allows: under another path the same bytes
    /// are not clean.
    pub suppressed: bool,
}

/// Scans for secrets, apart from what is allowed.
#[derive(Debug)]
pub struct Scanner {
    paths: GlobSet,
    rules: Vec<&'static str>,
    id: String,
}

impl Scanner {
    /// A scanner that lets pass what `allow` lists: ids of rules, and patterns of paths as in
    /// `.gitignore` (a pattern with a slash is anchored, one without matches at any depth, one
    /// that matches a folder covers what is in it).
    pub fn new(allow: &[String]) -> Result<Self, ScannerError> {
        let mut sorted: Vec<&str> = allow.iter().map(|text| text.trim()).collect();
        sorted.sort_unstable();
        sorted.dedup();
        let mut rules = Vec::new();
        let mut paths = GlobSetBuilder::new();
        for text in &sorted {
            if let Some(rule) = known_rule(text) {
                rules.push(rule);
                continue;
            }
            let fail = |error: &str| ScannerError::Pattern {
                pattern: (*text).to_owned(),
                error: error.to_owned(),
            };
            let pattern = text.trim_end_matches('/');
            if pattern.is_empty() {
                return Err(fail("it is empty"));
            }
            if pattern.starts_with('!') {
                return Err(fail("a list of what is allowed has no negation"));
            }
            let anchored = match pattern.strip_prefix('/') {
                Some(rest) => rest.to_owned(),
                None if pattern.contains('/') => pattern.to_owned(),
                None => format!("**/{pattern}"),
            };
            for glob in [format!("{anchored}/**"), anchored] {
                let glob = GlobBuilder::new(&glob).literal_separator(true).build();
                paths.add(glob.map_err(|error| fail(&error.kind().to_string()))?);
            }
        }
        let id = format!("secrets.v{VERSION}:{}", serde_json::Value::from(sorted));
        let paths = paths.build().map_err(|error| ScannerError::Pattern {
            pattern: id.clone(),
            error: error.to_string(),
        })?;
        Ok(Self { paths, rules, id })
    }

    /// Stable text that changes whenever a scan may bring another result. Part of keys.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether the name of the file takes part in what is found in it, so that knowing its bytes
    /// to be clean under another name is not enough.
    pub fn depends_on_name(&self, path: &str) -> bool {
        name_rule(path).is_some()
    }

    /// Starts the scan of the file at `path`; its bytes are given piece by piece.
    pub fn start<'a>(&'a self, path: &'a str) -> FileScan<'a> {
        FileScan {
            scanner: self,
            path,
            name: name_rule(path),
            text: TextScan::new(),
        }
    }

    /// Scans a whole file.
    pub fn scan(&self, path: &str, bytes: &[u8]) -> Report {
        let mut scan = self.start(path);
        scan.push(bytes);
        scan.finish()
    }

    /// The rule and description of the secret that `text` seems to hold; for values outside of
    /// files, such as those of `env`.
    pub fn scan_value(&self, text: &str) -> Option<(&'static str, &'static str)> {
        let mut scan = TextScan::new();
        scan.push(text.as_bytes(), None);
        let hits = scan.finish(None);
        let rule = hits
            .into_iter()
            .map(|hit| hit.rule)
            .find(|rule| !self.allows(rule.id))?;
        Some((rule.id, rule.what))
    }

    /// Like [`scan_value`](Self::scan_value) for an entry of `env`: a literal value is a secret
    /// too when the key says that it is one. References such as `${HF_TOKEN}` are not.
    pub fn scan_env(&self, key: &str, value: &str) -> Option<(&'static str, &'static str)> {
        self.scan_value(value).or_else(|| {
            let found = names::secret_key(key) && !names::harmless_value(value);
            (found && !self.allows(names::ENV.0)).then_some(names::ENV)
        })
    }

    fn allows(&self, rule: &str) -> bool {
        self.rules.contains(&rule)
    }
}

fn known_rule(text: &str) -> Option<&'static str> {
    let names = names::ids().chain([names::ENV.0]);
    rules()
        .iter()
        .map(|rule| rule.id)
        .chain(names)
        .find(|id| *id == text)
}

/// The scan of one file, fed with its bytes in order. Memory is constant.
#[derive(Debug)]
pub struct FileScan<'a> {
    scanner: &'a Scanner,
    path: &'a str,
    name: Option<&'static Name>,
    text: TextScan,
}

impl FileScan<'_> {
    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.text
            .push(bytes, self.name.and_then(|name| name.content.as_ref()));
    }

    /// Ends the scan.
    pub fn finish(self) -> Report {
        let hits = self
            .text
            .finish(self.name.and_then(|name| name.content.as_ref()));
        let by_name = self.name.filter(|name| name.content.is_none());
        let finding = |line, rule: &'static str, what: &str| Finding {
            path: self.path.to_owned(),
            line,
            rule,
            what: what.to_owned(),
        };
        let mut findings: Vec<Finding> = by_name
            .map(|name| finding(None, name.id, name.what))
            .into_iter()
            .chain(
                hits.iter()
                    .map(|hit| finding(Some(hit.line), hit.rule.id, hit.rule.what)),
            )
            .filter(|finding| !self.scanner.allows(finding.rule))
            .collect();
        findings.dedup();
        if !findings.is_empty() && self.scanner.paths.is_match(self.path) {
            return Report {
                findings: Vec::new(),
                suppressed: true,
            };
        }
        Report {
            findings,
            suppressed: false,
        }
    }
}

#[cfg(test)]
mod tests;
