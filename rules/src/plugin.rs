//! Owns [`Plugin`]: one plugin of a workspace, loaded: its files by digest and the head of its
//! configuration. An unchanged plugin comes whole from the flat index, without reading a file.

use std::{
    collections::HashMap,
    fs::File,
    io,
    os::fd::AsFd,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};
use synapse_engine::{
    Digest, Failure, Files, StableHash, StableHasher, Store, Tree, TreeEntry,
    index::{Index, Section},
    store_failure,
};

use crate::{
    archive::EDITED,
    config::{self, Severity},
    counters::Counters,
    fileset::{self, Walk, ignores},
    inspect::{Entry, Note},
    library::needs,
    secrets::Scanner,
    sync::{self, Memo},
};

/// The names a configuration file may have, the preferred first.
pub const CONFIG_NAMES: [&str; 2] = ["config.yaml", "synapse.yaml"];

/// What publishing needs of a configuration, kept in the index so that an unchanged file is not
/// parsed again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Plugin code.
    pub code: String,
    /// Version `X.Y.Z`.
    pub version: String,
    /// Customer variant.
    pub variant: Option<String>,
    /// Category.
    pub category: String,
    /// Patterns of files that may look like credentials.
    pub allow_secrets: Vec<String>,
    /// The configuration file, relative to the plugin or absolute.
    pub config: String,
    /// Warnings, rendered once per run.
    pub warnings: Vec<Warning>,
    /// Actions, in the file's order.
    pub actions: Vec<Entry>,
    /// The Python that it needs, as written.
    pub requires_python: Option<String>,
    /// The names of what it requires, some of which may be libraries of the workspace.
    pub needs: Vec<String>,
    /// Its folder of wheels.
    pub wheels_dir: String,
    /// What this very state of the plugin was synced to, once that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synced: Option<Memo>,
}

/// A warning of a configuration, kept so that an unchanged file still gives it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// What is doubtful.
    pub message: String,
    /// `file:line:column`.
    pub place: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl From<&config::Diagnostic> for Warning {
    fn from(diagnostic: &config::Diagnostic) -> Self {
        let (message, hint) = (diagnostic.message.clone(), diagnostic.hint.clone());
        Self {
            message,
            place: diagnostic.location(),
            hint,
        }
    }
}

/// Where and how to load a plugin.
#[derive(Debug, Clone)]
pub struct Source {
    /// The workspace root, or the plugin itself when there is none.
    pub workspace: PathBuf,
    /// The plugin's path relative to it; empty when they are the same.
    pub place: String,
    /// `--config`: a file that takes the place of the plugin's configuration.
    pub config: Option<PathBuf>,
}

impl Source {
    /// The plugin's folder.
    pub fn folder(&self) -> PathBuf {
        if self.place.is_empty() {
            self.workspace.clone()
        } else {
            self.workspace.join(&self.place)
        }
    }
}

/// A loaded plugin.
#[derive(Clone)]
pub struct Plugin {
    /// Where it came from.
    pub source: Source,
    /// The head of its configuration.
    pub head: Head,
    /// What is archived: with the synced configuration, once that is known.
    pub files: Arc<dyn Files + Send + Sync>,
    /// The same with the configuration as it is written.
    written: Arc<dyn Files + Send + Sync>,
    /// Files of the archive that lie elsewhere in the source: archive path to source path.
    pub moved: HashMap<String, PathBuf>,
    /// Files of the archive that lie in the store: wheels of libraries.
    pub bundled: Arc<Vec<Bundled>>,
    /// What to keep in the index.
    pub section: Section,
    /// The section differs from the one that the index has.
    pub fresh: bool,
}

impl Plugin {
    /// `code` or `code@variant`.
    pub fn subject(&self) -> String {
        subject(&self.head.code, self.head.variant.as_deref())
    }

    /// The configuration file.
    pub fn config_path(&self) -> PathBuf {
        self.source.folder().join(&self.head.config)
    }

    /// The configuration file as the archive would have it unsynced: its digest and size.
    pub fn source_config(&self) -> Option<TreeEntry> {
        let entries = self.written.load();
        entries
            .into_iter()
            .find(|entry| entry.path == CONFIG_NAMES[0])
    }

    /// Reads the configuration file, and what it is called; fails when it is not what was
    /// scanned.
    pub fn read_source_config(&self) -> Result<(Vec<u8>, String), Failure> {
        let path = self.config_path();
        let shown = path.display().to_string();
        let bytes = fileset::read_regular(&path).map_err(|error| {
            Failure::user("unreadable", format!("cannot read {shown}: {error}")).at(shown.clone())
        })?;
        if self
            .source_config()
            .is_none_or(|entry| entry.digest != Digest::of(&bytes))
        {
            let what = format!("{shown} was edited while it was being read");
            return Err(Failure::user(EDITED, what)
                .at(shown)
                .hint("nothing was published; run it again when the file is at rest"));
        }
        Ok((bytes, shown))
    }

    /// The synced configuration's bytes, and what the file is called; a failure of a missing
    /// blob when the store no longer has them.
    pub fn read_config(&self, store: &dyn Store) -> Result<(Vec<u8>, String), Failure> {
        let Some(config) = self.synced_config() else {
            return self.read_source_config();
        };
        let open = store
            .open_blob(&config.digest)
            .map_err(|error| store_failure(&error))?;
        let bytes = open.and_then(|blob| std::fs::read(blob.path).ok());
        match bytes.filter(|bytes| Digest::of(bytes) == config.digest) {
            Some(bytes) => Ok((bytes, self.config_path().display().to_string())),
            None => Err(Failure::missing_blob(config.digest)),
        }
    }

    /// The synced configuration, where it differs from the file.
    pub fn synced_config(&self) -> Option<sync::Config> {
        self.head.synced.as_ref()?.config
    }

    /// The plugin with its configuration synced to that of `digest` and `size`, or found right
    /// as it is.
    pub fn with_synced(
        &self,
        config: Option<(Digest, u64)>,
        notes: Vec<Note>,
    ) -> Result<Self, Failure> {
        let config = config.map(|(digest, size)| {
            let tree = overlaid(self.written.load(), digest, size);
            sync::Config {
                digest,
                size,
                tree: Tree::new(tree).digest(),
            }
        });
        let head = Head {
            synced: Some(Memo { config, notes }),
            ..self.head.clone()
        };
        let note = serde_json::to_vec(&head).map_err(|error| Failure::bug(error.to_string()))?;
        Ok(Self {
            files: synced_files(&self.written, config),
            bundled: Arc::default(),
            section: self.section.with_note(&note),
            head,
            fresh: true,
            ..self.clone()
        })
    }

    /// The plugin as if it had never been synced.
    pub fn unsynced(&self) -> Self {
        let head = Head {
            synced: None,
            ..self.head.clone()
        };
        Self {
            files: Arc::clone(&self.written),
            bundled: Arc::default(),
            head,
            ..self.clone()
        }
    }

    /// Where an archived file lies.
    pub fn source_of(&self, path: &str) -> PathBuf {
        self.moved
            .get(path)
            .cloned()
            .unwrap_or_else(|| self.source.folder().join(path))
    }
}

/// A file of an archive that lies in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundled {
    /// Its path in the archive.
    pub path: String,
    /// Its blob.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// Where it lies under its own name, for installers; publishing needs no such place.
    pub source: Option<PathBuf>,
}

impl Plugin {
    /// The plugin with further files, which take the place of its own at their paths.
    pub fn with_bundled(&self, mut bundled: Vec<Bundled>) -> Self {
        bundled.sort_by(|a, b| a.path.cmp(&b.path));
        let mut entries = self.files.load();
        entries.retain(|entry| bundled.iter().all(|own| own.path != entry.path));
        entries.extend(bundled.iter().map(|own| TreeEntry {
            path: own.path.clone(),
            executable: false,
            size: own.size,
            digest: own.digest,
        }));
        Self {
            files: Arc::new(Tree::new(entries)),
            bundled: Arc::new(bundled),
            ..self.clone()
        }
    }

    /// What lies in the store of a path in the archive.
    pub fn bundled_at(&self, path: &str) -> Option<&Bundled> {
        self.bundled.iter().find(|own| own.path == path)
    }
}

/// Files with another configuration among them.
struct Overlaid {
    written: Arc<dyn Files + Send + Sync>,
    config: sync::Config,
}

impl Files for Overlaid {
    fn digest(&self) -> Digest {
        let sync::Config { tree, .. } = self.config;
        tree
    }

    fn load(&self) -> Vec<TreeEntry> {
        overlaid(self.written.load(), self.config.digest, self.config.size)
    }
}

fn overlaid(mut entries: Vec<TreeEntry>, digest: Digest, size: u64) -> Vec<TreeEntry> {
    for entry in entries
        .iter_mut()
        .filter(|entry| entry.path == CONFIG_NAMES[0])
    {
        (entry.digest, entry.size) = (digest, size);
    }
    entries
}

fn synced_files(
    written: &Arc<dyn Files + Send + Sync>,
    config: Option<sync::Config>,
) -> Arc<dyn Files + Send + Sync> {
    match config {
        Some(config) => Arc::new(Overlaid {
            written: Arc::clone(written),
            config,
        }),
        None => Arc::clone(written),
    }
}

/// `code` or `code@variant`.
pub fn subject(code: &str, variant: Option<&str>) -> String {
    variant.map_or_else(|| code.to_owned(), |variant| format!("{code}@{variant}"))
}

/// How far the index may be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Settled entries stand for their files.
    Stat,
    /// Every file is read.
    Nothing,
}

/// The ignore files above plugins, read once a folder: members of a workspace share them.
#[derive(Debug, Default)]
pub struct Above(Mutex<HashMap<(PathBuf, String), Levels>>);

pub(crate) type Levels = Arc<Vec<ignores::Level>>;

impl Above {
    pub(crate) fn levels(&self, source: &Source) -> io::Result<Levels> {
        let parent = source
            .place
            .rsplit_once('/')
            .map_or("", |(parent, _)| parent);
        // The root of a plugin without a workspace has nothing above it.
        let parent = if source.place.is_empty() { "/" } else { parent };
        let key = (source.workspace.clone(), parent.to_owned());
        let known = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(levels) = known().get(&key) {
            return Ok(Arc::clone(levels));
        }
        let levels = Arc::new(fileset::outer_levels(&source.workspace, &source.place)?);
        known().insert(key, Arc::clone(&levels));
        Ok(levels)
    }
}

/// Loads a plugin. `now` is in nanoseconds since 1970.
pub fn load(
    source: &Source,
    index: &Index,
    above: &Above,
    trust: Trust,
    now: i64,
    counters: &Counters,
) -> Result<Plugin, Failure> {
    let folder = source.folder();
    let shown = folder.display().to_string();
    let unreadable = |error: &io::Error| {
        let failure =
            Failure::user("unreadable", format!("cannot read {shown}: {error}")).at(shown.clone());
        failure.hint("check the path and its permissions")
    };
    let outer = above.levels(source).map_err(|e| unreadable(&e))?;
    let guard = guard(source, &outer);
    let known = index.get(&source.place);
    if let Some(section) = known.filter(|section| trust == Trust::Stat && section.guard() == guard)
    {
        let open = File::open(&folder).map_err(|error| unreadable(&error))?;
        if section.is_unchanged(open.as_fd())
            && let Ok(head) = serde_json::from_slice::<Head>(section.note())
        {
            return assemble(source, head, section.clone(), false);
        }
    }
    // A configuration saved between our two looks at it is read again.
    for _ in 0..3 {
        let (name, bytes) = read_config(source, &folder)?;
        let mut head = parse_head(&folder, &name, &bytes)?;
        let digests = match (known, trust) {
            (Some(section), Trust::Stat) => section.known(),
            _ => HashMap::new(),
        };
        let walk = Walk {
            root: &folder,
            place: &source.place,
            outer: &outer,
            wheels_dir: &head.wheels_dir,
            config: &name,
            known: &digests,
            now,
            hashed: &counters.files_hashed,
        };
        let mut subtree = fileset::scan(&walk).map_err(|error| error.failure(&folder))?;
        let own = subtree.files.iter().find(|file| file.path == name);
        if source.config.is_none() && own.is_some_and(|file| file.digest != Digest::of(&bytes)) {
            continue;
        }
        let Some(needs) = needs::read(&folder, &subtree.files) else {
            continue;
        };
        head.needs = needs;
        subtree.guard = guard;
        // An override lies outside of what the index watches.
        subtree.settled &= source.config.is_none();
        subtree.note =
            serde_json::to_vec(&head).map_err(|error| Failure::bug(error.to_string()))?;
        return assemble(source, head, subtree.encode(), true);
    }
    Err(Failure::user(
        "edited-while-reading",
        "the configuration keeps changing while it is read",
    )
    .at(shown))
}

fn guard(source: &Source, outer: &[ignores::Level]) -> Digest {
    let mut hasher = StableHasher::new("synapse.fileset.guard");
    u64::from(ignores::VERSION).stable_hash(&mut hasher);
    outer
        .iter()
        .map(ignores::Level::digest)
        .collect::<Vec<_>>()
        .stable_hash(&mut hasher);
    source
        .config
        .as_ref()
        .map(|path| path.display().to_string())
        .stable_hash(&mut hasher);
    hasher.finish()
}

pub(crate) fn read_config(source: &Source, folder: &Path) -> Result<(String, Vec<u8>), Failure> {
    if let Some(path) = &source.config {
        let bytes = fileset::read_regular(path).map_err(|error| {
            let what = format!("Config file not found: {} ({error})", path.display());
            Failure::user("config-not-found", what).hint("check the path given with --config")
        })?;
        return Ok((path.display().to_string(), bytes));
    }
    for name in CONFIG_NAMES {
        match fileset::read_regular(&folder.join(name)) {
            Ok(bytes) => return Ok((name.to_owned(), bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let path = folder.join(name).display().to_string();
                let what = format!("cannot read {path}: {error}");
                return Err(Failure::user("unreadable", what).at(path));
            }
        }
    }
    let what = format!(
        "Config file not found: there is no config.yaml in {}",
        folder.display()
    );
    let hint = "go to a plugin's folder, or name one with --path";
    Err(Failure::user("config-not-found", what)
        .at(folder.display().to_string())
        .hint(hint))
}

/// The failure of a diagnostic.
pub fn diagnostic_failure(diagnostic: &config::Diagnostic) -> Failure {
    let failure =
        Failure::user(diagnostic.code, diagnostic.message.clone()).at(diagnostic.location());
    match &diagnostic.hint {
        Some(hint) => failure.hint(hint.clone()),
        None => failure,
    }
}

/// All errors among diagnostics as one failure.
pub fn diagnostics_failure(diagnostics: &[config::Diagnostic]) -> Option<Failure> {
    let errors = diagnostics
        .iter()
        .filter(|diagnostic| diagnostic.severity == Severity::Error);
    let mut failures = errors.map(diagnostic_failure);
    let mut first = failures.next()?;
    first.more = failures.collect();
    Some(first)
}

fn parse_head(folder: &Path, name: &str, bytes: &[u8]) -> Result<Head, Failure> {
    let shown = folder.join(name).display().to_string();
    let parsed = config::parse(bytes, &shown);
    let Some(config) = parsed.config else {
        let failure = diagnostics_failure(&parsed.diagnostics);
        return Err(
            failure.unwrap_or_else(|| Failure::bug("a configuration without errors was refused"))
        );
    };
    // A pattern that cannot be read is the file's mistake, not one of the command line.
    Scanner::new(&config.allow_secrets)
        .map_err(|error| Failure::user("allow-secrets", error.to_string()).at(shown))?;
    Ok(Head {
        code: config.code,
        version: config.version.to_string(),
        variant: config.variant,
        category: config.category.to_string(),
        allow_secrets: config.allow_secrets,
        config: name.to_owned(),
        warnings: parsed.diagnostics.iter().map(Warning::from).collect(),
        actions: config.actions.into_iter().map(entry).collect(),
        requires_python: config.requires.python.map(|python| python.to_string()),
        needs: Vec::new(),
        wheels_dir: config.wheels_dir,
        synced: None,
    })
}

fn entry(action: config::Action) -> Entry {
    let config::Entrypoint { module, object, .. } = action.entrypoint;
    Entry {
        action: action.name,
        module,
        object,
    }
}

fn assemble(source: &Source, head: Head, section: Section, fresh: bool) -> Result<Plugin, Failure> {
    let mut moved = HashMap::new();
    let files: Arc<dyn Files + Send + Sync> = if head.config == CONFIG_NAMES[0] {
        Arc::new(section.clone())
    } else {
        // Whatever the file is called here, the archive's is called config.yaml.
        let path = source.folder().join(&head.config);
        let entry = config_entry(&section, &head.config, &path)?;
        let mut entries = section.load();
        entries.retain(|entry| entry.path != CONFIG_NAMES[0] && entry.path != head.config);
        entries.push(entry);
        moved.insert(CONFIG_NAMES[0].to_owned(), path);
        Arc::new(Tree::new(entries))
    };
    Ok(Plugin {
        source: source.clone(),
        files: synced_files(&files, head.synced.as_ref().and_then(|memo| memo.config)),
        head,
        written: files,
        moved,
        bundled: Arc::default(),
        section,
        fresh,
    })
}

fn config_entry(section: &Section, name: &str, path: &Path) -> Result<TreeEntry, Failure> {
    let config = CONFIG_NAMES[0].to_owned();
    if let Some(entry) = section.load().into_iter().find(|entry| entry.path == name) {
        return Ok(TreeEntry {
            path: config,
            ..entry
        });
    }
    let bytes = fileset::read_regular(path).map_err(|error| {
        Failure::user(
            "unreadable",
            format!("cannot read {}: {error}", path.display()),
        )
    })?;
    let (size, digest) = (bytes.len() as u64, Digest::of(&bytes));
    Ok(TreeEntry {
        path: config,
        executable: false,
        size,
        digest,
    })
}
