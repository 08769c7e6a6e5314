//! Owns templates: those that we carry and those that a team keeps in a folder. What is read from
//! a folder is files alone; nothing in it is executed, and no link leads out of it.

use std::{
    collections::BTreeSet,
    fs,
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use synapse_engine::{Cancel, Failure};

use super::{Answers, File, SCHEMA, editor_schema, fill};
use crate::{
    config::{self, Category, Config, DataType, diagnostic::quote},
    plugin,
    workspace::CONFIG_FILES,
};

// `FILES`: template, path in it, content, and whether it is executable.
include!(concat!(env!("OUT_DIR"), "/templates.rs"));

/// The files that all our templates share.
const SHARED: &str = "every";
/// What a template's folder holds beside the template.
const JUNK: [&str; 13] = [
    ".git",
    ".hg",
    ".svn",
    ".DS_Store",
    "Thumbs.db",
    "__pycache__",
    ".pytest_cache",
    ".mypy_cache",
    ".ruff_cache",
    ".venv",
    "venv",
    "node_modules",
    ".coverage",
];
/// Most that a template may hold, against a slip such as a template's parent folder.
const MOST_FILES: usize = 2_000;
const MOST_BYTES: u64 = 64 << 20;
const MOST_LEVELS: usize = 32;

/// A template.
#[derive(Debug, Clone)]
pub struct Template {
    files: Vec<File>,
    /// How messages call it.
    shown: String,
}

impl Template {
    /// Our own for a category.
    pub fn built_in(category: Category) -> Self {
        let name = category.to_string();
        let own = |template: &str| template == SHARED || template == name;
        let files = FILES.iter().filter(|(template, ..)| own(template));
        let file = |&(_, path, bytes, executable): &(&str, &str, &[u8], bool)| File {
            path: path.to_owned(),
            bytes: bytes.to_vec(),
            executable,
        };
        Self {
            files: files.map(file).collect(),
            shown: format!("the template {name}"),
        }
    }

    /// A team's, in a folder. `shown` is how messages call it.
    pub fn read(folder: &Path, shown: &str, cancel: &Cancel) -> Result<Self, Failure> {
        let real = folder.canonicalize().map_err(|error| {
            Failure::user(
                "template-not-found",
                format!("cannot read the template: {error}"),
            )
            .at(shown)
            .hint("--template takes a folder, or the address of a git repository")
        })?;
        if !CONFIG_FILES.iter().any(|name| real.join(name).is_file()) {
            return Err(without_config(shown));
        }
        let mut reader = Reader {
            root: real,
            shown,
            files: Vec::new(),
            bytes: 0,
        };
        let mut pending = vec![(String::new(), 0)];
        while let Some((path, level)) = pending.pop() {
            if cancel.cancelled() {
                return Err(Failure::cancelled());
            }
            reader.folder(&path, level, &mut pending)?;
        }
        let mut files = reader.files;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let template = Self {
            files,
            shown: shown.to_owned(),
        };
        template.config()?;
        Ok(template)
    }

    /// Whether a file or its name has a placeholder of this word.
    pub fn has(&self, word: &str) -> bool {
        self.files.iter().any(|file| {
            fill::has(&file.path, word)
                || as_text(&file.bytes).is_some_and(|text| fill::has(text, word))
        })
    }

    /// The category that it makes plugins of; none when it makes those of any.
    pub fn category(&self) -> Result<Option<Category>, Failure> {
        let config = self.config()?;
        if as_text(&config.bytes).is_some_and(|text| fill::has(text, "category")) {
            return Ok(None);
        }
        let sample = Answers {
            name: "Sample".to_owned(),
            code: "sample".to_owned(),
            category: Category::Custom,
            data_type: Some(DataType::Image),
            tasks: vec!["image.classification".to_owned()],
        };
        let filled = self.file(config, &sample)?;
        Ok(Some(self.parsed(&filled)?.category))
    }

    /// The files of the plugin that these answers decide, sorted by their paths.
    pub fn fill(&self, answers: &Answers) -> Result<Vec<File>, Failure> {
        let mut files = Vec::with_capacity(self.files.len() + 1);
        for file in &self.files {
            files.push(self.file(file, answers)?);
        }
        let names_schema = as_text(&self.config()?.bytes)
            .is_some_and(|text| fill::has(text, "schema") || text.contains(SCHEMA));
        if names_schema {
            files.retain(|file| file.path != SCHEMA);
            files.push(File {
                path: SCHEMA.to_owned(),
                bytes: editor_schema().into_bytes(),
                executable: false,
            });
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        self.distinct(&files)?;
        self.agreeing(&files, answers)?;
        Ok(files)
    }

    fn config(&self) -> Result<&File, Failure> {
        let own = |name: &&str| self.files.iter().find(|file| file.path == **name);
        CONFIG_FILES
            .iter()
            .find_map(own)
            .ok_or_else(|| without_config(&self.shown))
    }

    fn file(&self, file: &File, answers: &Answers) -> Result<File, Failure> {
        let failed = |wrong: fill::Unfilled| {
            Failure::user("template-placeholder", wrong.message)
                .at(format!("{}: {}:{}", self.shown, file.path, wrong.line))
                .hint(wrong.hint)
        };
        let path = fill::path(&file.path, answers).map_err(failed)?;
        // A name that a placeholder completes.
        if path
            .split('/')
            .any(|part| part.eq_ignore_ascii_case(".git"))
        {
            return Err(refused(
                &self.shown,
                &path,
                "would write into a .git folder",
            ));
        }
        let bytes = match as_text(&file.bytes) {
            Some(text) => fill::text(text, answers).map_err(failed)?.into_bytes(),
            None => file.bytes.clone(),
        };
        Ok(File {
            path,
            bytes,
            executable: file.executable,
        })
    }

    fn parsed(&self, config: &File) -> Result<Config, Failure> {
        let shown = format!("{}: {}", self.shown, config.path);
        let parsed = config::parse(&config.bytes, &shown);
        if let Some(mut failure) = plugin::diagnostics_failure(&parsed.diagnostics) {
            let mend = || "mend the template; the line is the one of the filled file".to_owned();
            failure.hint.get_or_insert_with(mend);
            return Err(failure);
        }
        let missing = || Failure::bug("a configuration without errors was refused");
        parsed.config.ok_or_else(missing)
    }

    /// No file takes the place of another, or of a folder.
    fn distinct(&self, files: &[File]) -> Result<(), Failure> {
        let folders: BTreeSet<&str> = files
            .iter()
            .flat_map(|file| file.path.match_indices('/').map(|(at, _)| &file.path[..at]))
            .collect();
        let twice = files.windows(2).find(|pair| pair[0].path == pair[1].path);
        let taken = twice.map(|pair| &pair[0]);
        let taken = taken.or_else(|| {
            files
                .iter()
                .find(|file| folders.contains(file.path.as_str()))
        });
        match taken {
            None => Ok(()),
            Some(file) => Err(refused(&self.shown, &file.path, "would be made twice")),
        }
    }

    /// The configuration says what was answered.
    fn agreeing(&self, files: &[File], answers: &Answers) -> Result<(), Failure> {
        let own = |name: &&str| files.iter().find(|file| file.path == **name);
        let found = CONFIG_FILES.iter().find_map(own);
        let config = self.parsed(found.ok_or_else(|| Failure::bug("the config.yaml is gone"))?)?;
        for (key, is, wanted) in [
            ("code", config.code.as_str(), answers.code.as_str()),
            ("name", config.name.as_str(), answers.name.as_str()),
        ] {
            if is != wanted {
                let what = format!(
                    "the template's {key} is {} whatever is asked for",
                    quote(is)
                );
                let form = if key == "name" { ":yaml" } else { "" };
                return Err(Failure::user("template-fixed", what)
                    .at(self.shown.clone())
                    .hint(format!("write `{key}: @@{key}{form}@@` in its config.yaml")));
            }
        }
        Ok(())
    }
}

/// A file as text; none for a binary one, which is taken as it is.
fn as_text(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    (!text.contains('\0')).then_some(text)
}

fn without_config(shown: &str) -> Failure {
    Failure::user("template-without-config", "the template has no config.yaml")
        .at(shown)
        .hint("a template is a plugin's folder, with placeholders such as @@code@@")
}

fn refused(shown: &str, path: &str, why: &str) -> Failure {
    Failure::user(
        "template-refused",
        format!("the template's {} {why}", quote(path)),
    )
    .at(shown)
    .hint("a template holds plain files; links may lead to files of its own")
}

/// A template's folder while it is read.
struct Reader<'s> {
    root: PathBuf,
    shown: &'s str,
    files: Vec<File>,
    bytes: u64,
}

impl Reader<'_> {
    fn folder(
        &mut self,
        path: &str,
        level: usize,
        pending: &mut Vec<(String, usize)>,
    ) -> Result<(), Failure> {
        if level > MOST_LEVELS {
            return Err(refused(self.shown, path, "lies too deep"));
        }
        let full = self.root.join(path);
        let listing = fs::read_dir(&full).map_err(|error| self.unreadable(path, &error))?;
        for entry in listing {
            let entry = entry.map_err(|error| self.unreadable(path, &error))?;
            let Ok(name) = entry.file_name().into_string() else {
                let name = entry.file_name().to_string_lossy().into_owned();
                return Err(refused(self.shown, &name, "has a name that is not UTF-8"));
            };
            if is_junk(&name) {
                continue;
            }
            let below = if path.is_empty() {
                name
            } else {
                format!("{path}/{name}")
            };
            let kind = entry.file_type();
            let kind = kind.map_err(|error| self.unreadable(&below, &error))?;
            if kind.is_dir() {
                pending.push((below, level + 1));
            } else if kind.is_file() {
                self.file(below, &entry.path())?;
            } else if kind.is_symlink() {
                let real = self.behind(&below, &entry.path())?;
                self.file(below, &real)?;
            } else {
                return Err(refused(self.shown, &below, "is no file"));
            }
        }
        Ok(())
    }

    /// The file that a link leads to.
    fn behind(&self, path: &str, link: &Path) -> Result<PathBuf, Failure> {
        let real = link.canonicalize();
        let real = real.map_err(|_| refused(self.shown, path, "is a link that leads nowhere"))?;
        let Ok(below) = real.strip_prefix(&self.root) else {
            return Err(refused(self.shown, path, "is a link that leads out of it"));
        };
        let hidden = |part: &std::ffi::OsStr| part.to_str().is_some_and(is_junk);
        if below.iter().any(hidden) || !real.is_file() {
            return Err(refused(self.shown, path, "is a link to no file of it"));
        }
        Ok(real)
    }

    fn file(&mut self, path: String, full: &Path) -> Result<(), Failure> {
        let mut bytes = Vec::new();
        let read = fs::File::open(full).and_then(|file| {
            let meta = file.metadata()?;
            file.take(MOST_BYTES - self.bytes + 1)
                .read_to_end(&mut bytes)?;
            Ok(meta.permissions().mode() & 0o111 != 0)
        });
        let executable = read.map_err(|error| self.unreadable(&path, &error))?;
        self.bytes += bytes.len() as u64;
        if self.bytes > MOST_BYTES || self.files.len() >= MOST_FILES {
            let what = format!(
                "the template holds more than {MOST_FILES} files or {} MB",
                MOST_BYTES >> 20
            );
            return Err(Failure::user("template-too-large", what)
                .at(self.shown)
                .hint("name the template's own folder, not one above it"));
        }
        self.files.push(File {
            path,
            bytes,
            executable,
        });
        Ok(())
    }

    fn unreadable(&self, path: &str, error: &std::io::Error) -> Failure {
        let what = format!("cannot read {} of the template: {error}", quote(path));
        Failure::user("template-unreadable", what)
            .at(self.shown)
            .hint("make it readable, or leave it out of the template")
    }
}

fn is_junk(name: &str) -> bool {
    let ends = |end: &str| {
        Path::new(name)
            .extension()
            .is_some_and(|own| own.eq_ignore_ascii_case(end))
    };
    JUNK.contains(&name) || ["pyc", "pyo", "egg-info"].into_iter().any(ends)
}
