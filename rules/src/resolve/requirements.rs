//! Owns [`Requirements`]: everything that a plugin asks of its environment, read from
//! requirements.txt with all that it includes, from pyproject.toml and from the configuration.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
};

use pep440_rs::VersionSpecifiers;
use pep508_rs::ExtraName;
use synapse_engine::Failure;

use super::{
    credentials::{Credentials, without},
    line::{self, Line, Place, Value},
    options::{Options, Said, is_url, quoted},
    pyproject,
    requirement::{Condition, Requirement, Source},
    sdk::{self, NAME as SDK},
};
use crate::{
    config::{Config, PackageManager},
    fileset::read_regular,
    plugin::Warning,
    python::Variables,
};

/// The file at a plugin's root.
pub const FILE: &str = "requirements.txt";
/// Files that one plugin's requirements may come from.
const MOST_FILES: usize = 100;

/// What one requirement is about.
#[derive(Debug, Clone)]
pub enum Kind {
    /// A package by name, with versions or a URL.
    Named(Box<Requirement>),
    /// A folder or archive of this machine.
    Local {
        /// Where it is, absolute.
        path: PathBuf,
        /// Which of its extras.
        extras: Vec<ExtraName>,
        /// When it counts.
        condition: Condition,
        /// Used where it lies rather than copied.
        editable: bool,
    },
    /// A URL without a name.
    Remote {
        /// Used as a checkout rather than installed.
        editable: bool,
    },
}

/// One requirement.
#[derive(Debug, Clone)]
pub struct Item {
    /// What it is about.
    pub kind: Kind,
    /// Its line for installers, variables filled in; may hold logins.
    pub line: String,
    /// As written, without logins.
    pub shown: String,
    /// `sha256:...`, one of which the file must have.
    pub hashes: Vec<String>,
    /// Further options for building it.
    pub settings: Vec<String>,
    /// Where it stands.
    pub place: Place,
}

impl Item {
    /// The name, normalised, when it says one.
    pub fn name(&self) -> Option<&str> {
        match &self.kind {
            Kind::Named(requirement) => Some(requirement.name.as_ref()),
            _ => None,
        }
    }
}

/// Everything that a plugin asks of its environment.
#[derive(Clone, Default)]
pub struct Requirements {
    /// What must be there.
    pub items: Vec<Item>,
    /// What limits versions without asking for anything.
    pub constraints: Vec<Item>,
    /// Lines that include requirements from a URL; what they hold is the installer's business.
    pub remote: Vec<(&'static str, Value)>,
    /// Where packages come from.
    pub options: Options,
    /// Logins found on the way.
    pub credentials: Credentials,
    /// Which Pythons will do.
    pub python: Option<VersionSpecifiers>,
    /// Doubts.
    pub warnings: Vec<Warning>,
    /// Nothing of ours is installed besides.
    pub bare: bool,
}

/// Reads what the plugin in `folder` asks for.
pub fn read(
    folder: &Path,
    config: &Config,
    variables: &Variables,
    sdk_version: &str,
) -> Result<Requirements, Failure> {
    read_with(folder, config, variables, sdk_version, &[], &[])
}

/// The same with further lines, and further files of the folder where they are there.
pub(super) fn read_with(
    folder: &Path,
    config: &Config,
    variables: &Variables,
    sdk_version: &str,
    lines: &[(String, Place)],
    files: &[&str],
) -> Result<Requirements, Failure> {
    let mut reader = Reader {
        folder,
        variables,
        found: Requirements::default(),
        failures: Vec::new(),
        open: Vec::new(),
        files: 0,
    };
    reader.found.python.clone_from(&config.requires.python);
    let own = folder.join(FILE);
    if own.exists() {
        reader.file(&own, false, None);
    }
    pyproject::read(&mut reader);
    for path in files.iter().map(|name| folder.join(name)) {
        if path.exists() {
            reader.file(&path, false, None);
        }
    }
    for (text, place) in lines {
        reader.text(text, place);
    }
    reader.arguments(config);
    let mut failures = reader.failures.into_iter();
    if let Some(mut first) = failures.next() {
        first.more = failures.collect();
        return Err(first);
    }
    let mut found = reader.found;
    take_sdk_out(&mut found, sdk_version)?;
    Ok(found)
}

/// Reads requirements that are listed elsewhere, each with its place: what a build takes. The SDK
/// stays among them, and nothing of ours is added.
pub fn listed(
    lines: &[(String, Place)],
    folder: &Path,
    variables: &Variables,
) -> Result<Requirements, Failure> {
    let mut reader = Reader {
        folder,
        variables,
        found: Requirements::default(),
        failures: Vec::new(),
        open: Vec::new(),
        files: 0,
    };
    for (text, place) in lines {
        if text.trim_start().starts_with('-') || text.contains('\n') {
            let hint = "write it like name>=1.0, or name @ URL";
            reader.mistake(&place.to_string(), "this is no requirement", hint);
        } else {
            reader.text(text, place);
        }
    }
    let mut failures = reader.failures.into_iter();
    if let Some(mut first) = failures.next() {
        first.more = failures.collect();
        return Err(first);
    }
    reader.found.bare = true;
    Ok(reader.found)
}

/// Reads requirements one after the other, collecting all mistakes.
pub(super) struct Reader<'a> {
    pub(super) folder: &'a Path,
    variables: &'a Variables,
    pub(super) found: Requirements,
    failures: Vec<Failure>,
    /// Files being read, the outermost first.
    open: Vec<PathBuf>,
    files: usize,
}

impl Reader<'_> {
    /// A mistake at a place.
    pub(super) fn mistake(&mut self, place: &str, message: impl Into<String>, hint: &str) {
        let message = self.found.credentials.redact(&message.into());
        let failure = Failure::user("requirements", message).at(place).hint(hint);
        self.failures.push(failure);
    }

    /// Reads a file of requirements or constraints; `from` is where it was named.
    pub(super) fn file(&mut self, path: &Path, constraints: bool, from: Option<&Place>) {
        let shown = path.display().to_string();
        let place = from.map_or_else(|| shown.clone(), ToString::to_string);
        let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if self.open.contains(&real) {
            let what = format!("{shown} includes itself");
            return self.mistake(&place, what, "take one of the -r or -c lines out");
        }
        self.files += 1;
        if self.files > MOST_FILES {
            let what = format!("requirements are spread over more than {MOST_FILES} files");
            return self.mistake(&place, what, "include fewer files");
        }
        let bytes = match read_regular(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let what = format!("{shown} does not exist");
                return self.mistake(
                    &place,
                    what,
                    "paths after -r and -c start at the file's folder",
                );
            }
            Err(error) => {
                let what = format!("cannot read {shown}: {error}");
                return self.mistake(&place, what, "check the path and its permissions");
            }
        };
        let Ok(text) = String::from_utf8(bytes) else {
            let what = format!("{shown} is not UTF-8");
            return self.mistake(&place, what, "save it as UTF-8");
        };
        self.open.push(real);
        let around = path.parent().unwrap_or(self.folder).to_owned();
        for line in line::lines(&text, &shown, self.variables) {
            self.line(&line, &around, constraints);
        }
        self.open.pop();
    }

    fn line(&mut self, line: &Line, around: &Path, constraints: bool) {
        if line.value.text.contains("://") {
            // Whatever fills in a part of a URL may be a token.
            for value in &line.filled {
                self.found.credentials.hide(value);
            }
        }
        // Learns the logins before anything is said about the line.
        self.found.credentials.clone().take(&line.value.text);
        self.found.credentials.take(&line.value.text);
        if line.value.shown.starts_with('-') {
            self.option(line, around, constraints);
        } else {
            self.item(line, 0, &line.value, false, around, constraints);
        }
    }

    fn option(&mut self, line: &Line, around: &Path, constraints: bool) {
        let place = line.place(0);
        let words = line::words(&line.value.text).zip(line::words(&line.value.shown));
        let Some((texts, mut shown)) = words else {
            return self.mistake(&place.to_string(), "a quote is left open", "close it");
        };
        if texts.len() != shown.len() {
            shown.clone_from(&texts);
        }
        let words: Vec<Value> = texts
            .into_iter()
            .zip(shown)
            .map(|(text, shown)| Value { text, shown })
            .collect();
        let folder = around.to_owned();
        match self.found.options.line(&words, &folder) {
            Said::Kept => {}
            Said::Requirements(value) if is_url(&value.text) => {
                self.found.remote.push(("-r", value));
            }
            Said::Constraints(value) if is_url(&value.text) => {
                self.found.remote.push(("-c", value));
            }
            Said::Requirements(value) => {
                self.file(&around.join(&value.text), constraints, Some(&place));
            }
            Said::Constraints(value) => self.file(&around.join(&value.text), true, Some(&place)),
            Said::Editable(value) => {
                let offset = line.value.shown.find(&value.shown).unwrap_or(0);
                self.item(line, offset, &value, true, around, constraints);
            }
            Said::Unknown(what) => {
                let hint = "pip's documentation lists the options of requirements files";
                self.mistake(&place.to_string(), what, hint);
            }
        }
    }

    fn item(
        &mut self,
        line: &Line,
        offset: usize,
        value: &Value,
        editable: bool,
        around: &Path,
        constraints: bool,
    ) {
        let (text, options) = split_options(&value.text);
        let (shown, _) = split_options(&value.shown);
        let place = line.place(offset);
        let (mut hashes, mut settings) = (Vec::new(), Vec::new());
        let Some(words) = line::words(options) else {
            return self.mistake(&place.to_string(), "a quote is left open", "close it");
        };
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let (name, own) = match word.split_once('=') {
                Some((name, own)) => (name.to_owned(), Some(own.to_owned())),
                None => (word, None),
            };
            let known = [
                "--hash",
                "--config-settings",
                "--config-setting",
                "--global-option",
            ];
            let value = own
                .or_else(|| words.next())
                .filter(|_| known.contains(&name.as_str()));
            match value {
                Some(value) if name == "--hash" => hashes.push(value),
                Some(value) => settings.push(format!("{name}={}", quoted(&value))),
                None => {
                    let what = format!("{name} is no option of a requirement");
                    let hint = "--hash=sha256:... and --config-settings=... are";
                    return self.mistake(&place.to_string(), what, hint);
                }
            }
        }
        let value = Value {
            text: text.to_owned(),
            shown: without(shown).into_owned(),
        };
        let made = self.kind(&value, editable, around);
        let (kind, line) = match made {
            Ok(made) => made,
            Err((at, what, hint)) => {
                let place = line.place(offset + at);
                return self.mistake(&place.to_string(), what, hint);
            }
        };
        let shown = if editable {
            format!("-e {}", value.shown)
        } else {
            value.shown
        };
        let item = Item {
            kind,
            line,
            shown,
            hashes,
            settings,
            place,
        };
        if constraints {
            self.found.constraints.push(item);
        } else {
            self.found.items.push(item);
        }
    }

    /// What a requirement is about, and its line for installers. An error has its offset.
    fn kind(
        &self,
        value: &Value,
        editable: bool,
        around: &Path,
    ) -> Result<(Kind, String), (usize, String, &'static str)> {
        let text = value.text.trim();
        let (target, marker) = match text.split_once("; ").or_else(|| text.split_once(" ;")) {
            Some((target, marker)) => (target.trim(), Some(marker.trim())),
            None => (text, None),
        };
        let tree = marker.map_or(Ok(Condition::default()), Condition::from_str);
        let suffix = marker
            .map(|marker| format!(" ; {marker}"))
            .unwrap_or_default();
        let bad_marker =
            |error: String| (0, format!("its condition cannot be read: {error}"), MARKER);
        let flag = if editable { "-e " } else { "" };
        if let Some(path) = self.local(target, around) {
            let (path, extras) = path.map_err(|what| (0, what, "check the path"))?;
            let condition = tree.map_err(|mistake| bad_marker(mistake.message))?;
            let brackets = match &extras[..] {
                [] => String::new(),
                extras => {
                    let names: Vec<&str> = extras.iter().map(AsRef::as_ref).collect();
                    format!("[{}]", names.join(","))
                }
            };
            let line = format!("{flag}{}{brackets}{suffix}", path.display());
            let kind = Kind::Local {
                path,
                extras,
                condition,
                editable,
            };
            return Ok((kind, line));
        }
        if is_url(target) && !target.contains(" @ ") {
            tree.map_err(|mistake| bad_marker(mistake.message))?;
            return Ok((Kind::Remote { editable }, format!("{flag}{target}{suffix}")));
        }
        let line = format!("{flag}{text}");
        match Requirement::from_str(text) {
            Ok(requirement) => Ok((Kind::Named(Box::new(requirement)), line)),
            Err(error) => {
                // Offsets are of the text with variables filled in.
                let at = if value.text == value.shown {
                    error.start
                } else {
                    0
                };
                let what = format!("this is no requirement: {}", error.message);
                Err((at, what, "write it like name>=1.0, name @ URL, or ./folder"))
            }
        }
    }

    /// A path with its extras, when the text names one.
    fn local(
        &self,
        target: &str,
        around: &Path,
    ) -> Option<Result<(PathBuf, Vec<ExtraName>), String>> {
        let path = target.strip_prefix("file://").unwrap_or(target);
        let (path, extras) = match path.split_once('[') {
            Some((path, rest)) if rest.ends_with(']') => (path, &rest[..rest.len() - 1]),
            _ => (path, ""),
        };
        let path = path.split_once('#').map_or(path, |(path, _)| path);
        let is_archive = [".whl", ".zip", ".tar.gz", ".tgz"]
            .iter()
            .any(|end| path.ends_with(end));
        let looks = target.starts_with("file://")
            || !is_url(target)
                && !target.contains(" @ ")
                && (path.starts_with('.') || path.contains('/') || is_archive);
        if !looks {
            return None;
        }
        let extras = extras
            .split(',')
            .map(str::trim)
            .filter(|extra| !extra.is_empty());
        let extras: Result<Vec<ExtraName>, _> = extras.map(ExtraName::from_str).collect();
        let Ok(extras) = extras else {
            return Some(Err(format!("{target} names extras that cannot be")));
        };
        // pip starts at the folder in which it runs, which for a plugin is its own; uv at the
        // file's.
        let found = [self.folder, around]
            .into_iter()
            .map(|folder| folder.join(path));
        let found = found.into_iter().find_map(|path| path.canonicalize().ok());
        Some(match found {
            Some(path) => Ok((path, extras)),
            None => Err(format!("{path} does not exist")),
        })
    }

    /// A requirement that another file gives as text.
    pub(super) fn text(&mut self, text: &str, place: &Place) {
        let lines = line::lines(text, &place.file, self.variables);
        for line in lines {
            self.line(&line, self.folder, false);
            let placed = self.found.items.last_mut();
            if let Some(item) = placed.filter(|item| item.place.file == place.file) {
                item.place = place.clone();
            }
        }
    }

    /// `package_manager_options` of the configuration.
    fn arguments(&mut self, config: &Config) {
        let mut words = Vec::new();
        for option in &config.package_manager_options {
            let (text, filled) = line::fill(option, self.variables);
            for value in &filled {
                self.found.credentials.hide(value);
            }
            self.found.credentials.take(&text);
            // One entry may hold an option with its value.
            let cut = if option.starts_with('-') {
                line::words(&text)
            } else {
                None
            };
            for text in cut.unwrap_or_else(|| vec![text]) {
                let shown = self.found.credentials.redact(&text);
                words.push(Value { text, shown });
            }
        }
        let folder = self.folder.to_owned();
        if let Err(name) = self.found.options.arguments(&words, &folder) {
            let what = format!("package_manager_options cannot have {name}");
            let place = folder.join("config.yaml").display().to_string();
            let hint = match config.package_manager {
                PackageManager::Pip => "leave it out: where pip reads and writes is ours to say",
                PackageManager::Uv => "leave it out: where uv reads and writes is ours to say",
            };
            self.mistake(&place, what, hint);
        }
    }
}

const MARKER: &str = "conditions look like `; python_version < \"3.12\"`";

/// A requirement and the options after it: they begin at the first word with a dash.
fn split_options(text: &str) -> (&str, &str) {
    let bytes = text.as_bytes();
    let starts = |at: &usize| bytes[*at] == b'-' && *at > 0 && bytes[at - 1].is_ascii_whitespace();
    let at = (0..bytes.len()).find(starts).unwrap_or(bytes.len());
    (text[..at].trim(), &text[at..])
}

/// The SDK is layered over environments: its line goes, what its extras need stays.
fn take_sdk_out(found: &mut Requirements, version: &str) -> Result<(), Failure> {
    let version = pep440_rs::Version::from_str(version)
        .map_err(|error| Failure::bug(format!("our own version: {error}")))?;
    let all = std::mem::take(&mut found.items);
    for item in all {
        if item.name() != Some(SDK) {
            found.items.push(item);
            continue;
        }
        let Kind::Named(requirement) = &item.kind else {
            continue;
        };
        if let Some(Source::Versions(wanted)) = &requirement.source
            && !wanted.contains(&version)
        {
            found.warnings.push(Warning {
                message: format!("this is synapse-sdk {version}, which does not fit {wanted}"),
                place: item.place.to_string(),
                hint: Some("change the requirement, or install that version of synapse".to_owned()),
            });
        }
        for extra in &requirement.extras {
            let needs = sdk::needs(extra.as_ref());
            if needs.is_empty() {
                found.warnings.push(Warning {
                    message: format!("synapse-sdk has no extra called {extra}"),
                    place: item.place.to_string(),
                    hint: Some(sdk::hint()),
                });
            }
            for need in needs {
                found
                    .items
                    .push(ours(need, &requirement.condition, &item.place)?);
            }
        }
    }
    found.constraints.retain(|item| item.name() != Some(SDK));
    Ok(())
}

/// A requirement of our own, which counts when its own condition and `condition` hold.
pub(super) fn ours(text: &str, condition: &Condition, place: &Place) -> Result<Item, Failure> {
    let mut requirement = Requirement::from_str(text)
        .map_err(|error| Failure::bug(format!("our own requirement {text}: {}", error.message)))?;
    requirement.condition = requirement.condition.and(condition.clone());
    let line = requirement.to_string();
    Ok(Item {
        kind: Kind::Named(Box::new(requirement)),
        shown: line.clone(),
        line,
        hashes: Vec::new(),
        settings: Vec::new(),
        place: place.clone(),
    })
}

#[cfg(test)]
#[path = "requirements_tests.rs"]
mod tests;
