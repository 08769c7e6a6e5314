//! Owns the check of a plugin as it lies there: configuration, entrypoints, requirements, files,
//! credentials. All problems are found, not the first. Nothing is built, run, written or asked of
//! a network.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

use synapse_engine::{Cancel, Failure};

use crate::{
    archive::{CREDENTIAL, env_findings},
    config::{self, Config, Diagnostic, Severity, keys, yaml},
    counters::Counters,
    fileset::{self, Survey, Walk},
    inspect::{self, Entry},
    plugin::{self, Above, CONFIG_NAMES, Source},
    python::Variables,
    resolve::requirements,
    secrets::{Finding, Scanner},
};

/// Larger files are doubtful: most of the time they are data or weights that went astray.
const LARGE: u64 = 100 << 20;
/// Bytes of a file read at a time.
const PIECE: usize = 1 << 20;
/// The file of requirements at a plugin's root.
const REQUIREMENTS: &str = "requirements.txt";

/// A problem of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// What, where, and what to do about it.
    pub failure: Failure,
}

impl Problem {
    /// Whether it keeps the plugin from being published or run.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    fn warning(code: &str, what: String, place: String, hint: &str) -> Self {
        Self {
            severity: Severity::Warning,
            failure: Failure::user(code, what).at(place).hint(hint),
        }
    }
}

/// What the check of one plugin brought.
#[derive(Debug, Clone, Default)]
pub struct Checked {
    /// Its folder.
    pub folder: PathBuf,
    /// `code` or `code@variant`, when the configuration can be read.
    pub subject: Option<String>,
    /// Files that would be published.
    pub files: usize,
    /// All problems, by file and line.
    pub problems: Vec<Problem>,
}

impl Checked {
    /// How many problems are of this severity.
    pub fn count(&self, severity: Severity) -> usize {
        let problems = self.problems.iter();
        problems.filter(|own| own.severity == severity).count()
    }

    /// Adds a failure and those that came with it.
    pub fn error(&mut self, failure: Failure) {
        let mut pending = vec![failure];
        while let Some(mut failure) = pending.pop() {
            pending.append(&mut failure.more);
            self.problems.push(Problem {
                severity: Severity::Error,
                failure,
            });
        }
    }

    /// Whether a credential on the same line is told: a value of `env` is one of the file's too.
    fn tells(&self, failure: &Failure) -> bool {
        let line = |own: &Failure| {
            let place = own.place.as_deref()?;
            place.rsplit_once(':').map(|(line, _)| line.to_owned())
        };
        let mut known = self.problems.iter().map(|own| &own.failure);
        known.any(|own| own.code == failure.code && line(own) == line(failure))
    }

    fn diagnostics(&mut self, diagnostics: &[Diagnostic]) {
        self.problems.extend(diagnostics.iter().map(|own| Problem {
            severity: own.severity,
            failure: plugin::diagnostic_failure(own),
        }));
    }
}

/// What a check knows besides the plugin.
pub struct Surroundings<'a> {
    /// Ignore files above plugins.
    pub above: &'a Above,
    /// What may look like a credential.
    pub allow_secrets: &'a [String],
    /// Variables that requirements may name.
    pub variables: &'a Variables,
    /// Whether to stop.
    pub cancel: &'a Cancel,
}

/// Checks one plugin.
pub fn check(source: &Source, around: &Surroundings<'_>) -> Result<Checked, Failure> {
    let folder = source.folder();
    let mut checked = Checked {
        folder: folder.clone(),
        ..Checked::default()
    };
    let (name, bytes) = match plugin::read_config(source, &folder) {
        Ok(read) => read,
        Err(failure) => {
            checked.error(failure);
            return Ok(checked);
        }
    };
    let shown = folder.join(&name).display().to_string();
    let parsed = config::parse(&bytes, &shown);
    checked.diagnostics(&parsed.diagnostics);
    let config = parsed.config;
    checked.subject = config
        .as_ref()
        .map(|config| plugin::subject(&config.code, config.variant.as_deref()));
    let wheels = config.as_ref().map_or(keys::WHEELS, |own| &own.wheels_dir);
    let Some(survey) = survey(source, &name, wheels, around, &mut checked) else {
        return Ok(checked);
    };
    checked.files = survey.files.len();
    let plugin = Files {
        folder: &folder,
        survey: &survey,
    };
    if let Some(config) = &config {
        plugin.code(config, (&bytes, &shown), &mut checked)?;
        plugin.named(config, (&bytes, &shown), &mut checked);
        let version = env!("CARGO_PKG_VERSION");
        match requirements::read(&folder, config, around.variables, version) {
            Ok(read) => checked
                .problems
                .extend(read.warnings.into_iter().map(|own| {
                    let hint = own.hint.unwrap_or_else(|| "look at that line".to_owned());
                    Problem::warning("requirements", own.message, own.place, &hint)
                })),
            Err(failure) => checked.error(failure),
        }
    }
    let mut allowed = config.map_or_else(Vec::new, |own| own.allow_secrets);
    allowed.extend(around.allow_secrets.iter().cloned());
    match Scanner::new(&allowed) {
        Ok(scanner) => {
            if let Some(failure) = env_findings(&bytes, &shown, &scanner) {
                checked.error(failure);
            }
            if !plugin.has(&name) {
                // One that lies elsewhere becomes the archive's.
                let found = scanner.scan(CONFIG_NAMES[0], &bytes).findings;
                for own in &found {
                    checked.error(credential(own, &shown));
                }
            }
            plugin.credentials(&scanner, around.cancel, &mut checked)?;
        }
        Err(error) => checked.error(
            Failure::user("allow-secrets", error.to_string())
                .at(shown)
                .hint("write a path, a glob or the id of a rule"),
        ),
    }
    checked.problems.sort_by_cached_key(|own| {
        let place = own.failure.place.clone().unwrap_or_default();
        let mut parts = place.rsplitn(3, ':').map(str::to_owned);
        let (column, line, file) = (parts.next(), parts.next(), parts.next());
        let number = |part: Option<String>| part.and_then(|part| part.parse::<u32>().ok());
        (file.unwrap_or(place), number(line), number(column))
    });
    checked.problems.dedup();
    Ok(checked)
}

/// All files of the plugin; nothing when not even what is ignored can be told.
fn survey(
    source: &Source,
    config: &str,
    wheels_dir: &str,
    around: &Surroundings<'_>,
    checked: &mut Checked,
) -> Option<Survey> {
    let folder = source.folder();
    let outer = match around.above.levels(source) {
        Ok(outer) => outer,
        Err(error) => {
            let what = format!("cannot read the ignore files above: {error}");
            let failure = Failure::user("unreadable", what).at(folder.display().to_string());
            checked.error(failure.hint("check their permissions"));
            return None;
        }
    };
    let (known, counters) = (HashMap::new(), Counters::default());
    let survey = fileset::survey(&Walk {
        root: &folder,
        place: &source.place,
        outer: &outer,
        wheels_dir,
        config,
        known: &known,
        now: 0,
        hashed: &counters.files_hashed,
    });
    for problem in &survey.problems {
        checked.error(problem.failure(&folder));
    }
    Some(survey)
}

struct Files<'a> {
    folder: &'a Path,
    survey: &'a Survey,
}

impl Files<'_> {
    fn has(&self, path: &str) -> bool {
        self.survey.files.contains_key(path)
    }

    fn shown(&self, path: &str) -> String {
        self.folder.join(path).display().to_string()
    }

    /// Entrypoints, and modules that no Python can read.
    fn code(
        &self,
        config: &Config,
        (bytes, shown): (&[u8], &str),
        checked: &mut Checked,
    ) -> Result<(), Failure> {
        let files: Vec<String> = self.survey.files.keys().cloned().collect();
        let source = |path: &str| {
            let read = || fs::read(self.folder.join(path)).ok();
            self.has(path).then(read).flatten()
        };
        let missing = config::check_entrypoints(config, shown, bytes, &files, &source);
        checked.diagnostics(&missing);
        let sources: BTreeMap<String, String> = files
            .iter()
            .filter(|path| inspect::is_source(path))
            .filter_map(|path| Some((path.clone(), source(path)?)))
            .map(|(path, bytes)| (path, String::from_utf8_lossy(&bytes).into_owned()))
            .collect();
        let entries = |action: &config::Action| Entry {
            action: action.name.clone(),
            module: action.entrypoint.module.clone(),
            object: action.entrypoint.object.clone(),
        };
        let entries: Vec<Entry> = config.actions.iter().map(entries).collect();
        let place = |action: &config::Action| {
            let (line, column) = (action.entrypoint.line, action.entrypoint.column);
            format!("{shown}:{line}:{column}")
        };
        for wrong in inspect::wrong_syntax(&sources)? {
            let used = config.actions.iter().find(|action| {
                let candidates = action.entrypoint.candidates();
                candidates.contains(&wrong.path)
            });
            checked.problems.push(Problem {
                severity: match used {
                    Some(_) => Severity::Error,
                    None => Severity::Warning,
                },
                failure: wrong.failure(&self.shown(&wrong.path)),
            });
        }
        for (action, why) in inspect::not_found(&sources, &entries)? {
            let Some(action) = config.actions.iter().find(|own| own.name == action) else {
                continue;
            };
            let at = place(action);
            if missing.iter().all(|own| own.location() != at) {
                let hint = "the entrypoint names module.path:Name, where Name is defined";
                let what = format!("action `{}`: {why}", action.name);
                checked
                    .problems
                    .push(Problem::warning("entrypoint", what, at, hint));
            }
        }
        Ok(())
    }

    /// Files that the configuration names, or that an installer looks for.
    fn named(&self, config: &Config, (bytes, shown): (&[u8], &str), checked: &mut Checked) {
        let document = yaml::parse(bytes, shown);
        let root = document.root.as_ref();
        if let Some(node) = root.and_then(|root| root.get("readme"))
            && !node.is_null()
            && !self.has(&config.readme)
        {
            let (line, column) = document.source.position(node.start);
            let there = self.folder.join(&config.readme).is_file();
            let (what, hint) = if there {
                (
                    "is ignored, so that it is not published",
                    "bring it back with a `!` line in .synapseignore",
                )
            } else {
                ("does not exist", "write it, or take the key out")
            };
            checked.error(
                Failure::user("readme", format!("the readme {} {what}", config.readme))
                    .at(format!("{shown}:{line}:{column}"))
                    .hint(hint),
            );
        }
        let path = self.folder.join(REQUIREMENTS);
        if path.is_file() && !self.has(REQUIREMENTS) {
            let what = format!("{REQUIREMENTS} is ignored, so that nobody installs what it lists");
            let (place, hint) = (path.display().to_string(), "take it out of the ignore file");
            checked
                .problems
                .push(Problem::warning("requirements-ignored", what, place, hint));
        }
        let wheels = fs::read_dir(self.folder.join(&config.wheels_dir))
            .into_iter()
            .flatten();
        for wheel in wheels.flatten() {
            let name = wheel.file_name().to_string_lossy().into_owned();
            let own = format!("{}/{name}", config.wheels_dir);
            if Path::new(&name).extension().is_some_and(|end| end == "whl") && !self.has(&own) {
                let what = format!("the wheel {own} is ignored by a .synapseignore");
                let hint = "take it out of the folder, or out of the ignore file";
                let place = self.shown(&own);
                checked
                    .problems
                    .push(Problem::warning("wheel-ignored", what, place, hint));
            }
        }
    }

    /// What looks like a credential, and what is very large.
    fn credentials(
        &self,
        scanner: &Scanner,
        cancel: &Cancel,
        checked: &mut Checked,
    ) -> Result<(), Failure> {
        let mut buffer = vec![0; PIECE];
        for (path, size) in &self.survey.files {
            let shown = self.shown(path);
            if *size > LARGE {
                let what = format!("{path} has {} MB", size / 1_000_000);
                let hint = "ignore it in .synapseignore unless the plugin needs it to run";
                let place = shown.clone();
                checked
                    .problems
                    .push(Problem::warning("large-file", what, place, hint));
            }
            let mut scan = scanner.start(path);
            let whole = File::open(&shown).and_then(|mut file| {
                loop {
                    let count = file.read(&mut buffer)?;
                    if count == 0 || cancel.cancelled() {
                        return Ok(());
                    }
                    scan.push(&buffer[..count]);
                }
            });
            if cancel.cancelled() {
                return Err(Failure::cancelled());
            }
            if let Err(error) = whole {
                let failure = Failure::user("unreadable", format!("cannot read {path}: {error}"));
                checked.error(
                    failure
                        .at(shown)
                        .hint("make it readable, or ignore it in .synapseignore"),
                );
                continue;
            }
            for finding in scan.finish().findings {
                let failure = credential(&finding, &shown);
                if !checked.tells(&failure) {
                    checked.error(failure);
                }
            }
        }
        Ok(())
    }
}

fn credential(finding: &Finding, shown: &str) -> Failure {
    let line = finding.line.unwrap_or(1);
    let what = format!(
        "{} looks like a credential ({})",
        finding.path, finding.what
    );
    let hint = "ignore it in .synapseignore, or if it is none, list it under allow_secrets in \
                config.yaml";
    Failure::user(CREDENTIAL, what)
        .at(format!("{shown}:{line}:1"))
        .hint(hint)
}

/// Whether a folder holds a plugin: its configuration has a key that only one of ours has.
pub fn is_plugin(folder: &Path) -> bool {
    let texts = CONFIG_NAMES
        .iter()
        .map(|name| fileset::read_regular(&folder.join(name)));
    texts.flatten().any(|bytes| {
        let text = String::from_utf8_lossy(&bytes);
        let has = |key: &str| text.lines().any(|line| line.starts_with(key));
        has("code:") || has("actions:")
    })
}
