//! Owns what a release must be like to be taken: the fields that were sent, the archive's list of
//! files, and the config of a formal release. Each problem is one sentence for a person.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::BufReader;

use serde_json::{Map, Value};
use synapse_rules::client::Upload;

const CATEGORIES: [&str; 8] = [
    "neural_net",
    "export",
    "upload",
    "smart_tool",
    "post_annotation",
    "pre_annotation",
    "data_validation",
    "custom",
];
const METHODS: [&str; 4] = ["job", "task", "serve", "restapi"];

/// Fields that may be left out, or be null, but not be of another type.
const OPTIONAL: [(&str, Kind); 17] = [
    ("description", Kind::Text),
    ("readme", Kind::Text),
    ("package_manager", Kind::Text),
    ("package_manager_options", Kind::List),
    ("wheels_dir", Kind::Text),
    ("env", Kind::Mapping),
    ("runtime_env", Kind::Mapping),
    ("data_type", Kind::Text),
    ("tasks", Kind::List),
    ("supported_data_types", Kind::List),
    ("annotation_category", Kind::Text),
    ("annotation_type", Kind::Text),
    ("smart_tool", Kind::Text),
    ("requires", Kind::Mapping),
    ("dependencies", Kind::Mapping),
    ("tags", Kind::List),
    ("variant", Kind::Text),
];

/// Lengths that leave room for version and suffix in a file name.
const CODE_LENGTH: usize = 100;
const VARIANT_LENGTH: usize = 60;
const VERSION_LENGTH: usize = 60;

/// More problems of one archive's paths than this are counted, not listed.
const LISTED: usize = 20;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    List,
    Mapping,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::List => "a list",
            Self::Mapping => "a mapping",
        }
    }

    fn fits(self, value: &Value) -> bool {
        match self {
            Self::Text => value.is_string(),
            Self::List => value.is_array(),
            Self::Mapping => value.is_object(),
        }
    }
}

/// What is wrong with the fields of an upload, apart from its archive. What passes here is safe
/// to use in file names.
pub(crate) fn fields(upload: &Upload<'_>, size_limit: u64) -> Vec<String> {
    let mut problems = Vec::new();
    let slot = upload.slot;
    if !is_code(&slot.code) {
        problems.push(format!(
            "{} is not a plugin code: it takes lowercase letters, digits and hyphens, no hyphen \
             at either end, and at most {CODE_LENGTH} characters.",
            quote(&slot.code)
        ));
    }
    if let Some(variant) = slot
        .variant
        .as_deref()
        .filter(|variant| !is_variant(variant))
    {
        problems.push(format!(
            "{} is not a variant: it takes letters, digits, hyphens, underscores and dots, begins \
             with a letter or digit, and has at most {VARIANT_LENGTH} characters.",
            quote(variant)
        ));
    }
    if slot.debug {
        let version = &slot.version;
        if version.is_empty() || version.len() > VERSION_LENGTH || has_control(version) {
            problems.push(format!("{} is not a version.", quote(version)));
        }
    } else if !is_version(&slot.version) {
        problems.push(format!(
            "{} is not a version of the form X.Y.Z, such as 0.1.0.",
            quote(&slot.version)
        ));
    }
    if upload.size > size_limit {
        problems.push(format!(
            "The archive has {}; this backend takes at most {}.",
            bytes(upload.size),
            bytes(size_limit)
        ));
    }
    if !upload.config.is_object() {
        problems.push(format!(
            "The config is {}, not a mapping.",
            kind_of(upload.config)
        ));
    }
    for (name, value, length) in [("MD5", upload.md5, 32), ("SHA-256", upload.sha256, 64)] {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if value.len() != length || !value.bytes().all(hex) {
            problems.push(format!("The {name} is not {length} lowercase hex digits."));
        }
    }
    problems
}

/// What is wrong with the archive of a debug release: only that it cannot be opened.
pub(crate) fn opens(archive: &File) -> Vec<String> {
    match Entries::read(archive) {
        Ok(_) => Vec::new(),
        Err(problem) => vec![problem],
    }
}

/// What is wrong with a formal release, all of it.
pub(crate) fn formal(upload: &Upload<'_>, archive: &File) -> Vec<String> {
    let mut problems = Vec::new();
    let entries = match Entries::read(archive) {
        Ok(entries) => {
            problems.extend(entries.problems());
            Some(entries)
        }
        Err(problem) => {
            problems.push(problem);
            None
        }
    };
    let empty = Map::new();
    let config = Config {
        fields: upload.config.as_object().unwrap_or(&empty),
        entries: entries.as_ref(),
        problems,
    };
    config.check(upload)
}

/// The archive's list of files, from its central directory.
struct Entries {
    names: BTreeSet<String>,
    repeated: bool,
    problems: Vec<String>,
}

impl Entries {
    fn read(archive: &File) -> Result<Self, String> {
        let unreadable = |error: zip::result::ZipError| {
            format!("The archive cannot be read as a ZIP file: {error}.")
        };
        let archive = zip::ZipArchive::new(BufReader::new(archive)).map_err(unreadable)?;
        let mut entries = Self {
            names: BTreeSet::new(),
            repeated: archive.has_duplicate_names(),
            problems: Vec::new(),
        };
        for index in 0..archive.len() {
            let entry = archive.by_index_data(index).map_err(unreadable)?;
            let raw = entry.name_raw();
            let Ok(name) = std::str::from_utf8(raw) else {
                let name = String::from_utf8_lossy(raw);
                entries
                    .problems
                    .push(format!("The path {} is not UTF-8.", quote(&name)));
                continue;
            };
            if let Some(problem) = path_problem(name) {
                entries
                    .problems
                    .push(format!("The path {} {problem}.", quote(name)));
            } else if entry.is_symlink() {
                entries
                    .problems
                    .push(format!("The path {} is a symbolic link.", quote(name)));
            }
            entries.names.insert(name.to_owned());
        }
        Ok(entries)
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = self.problems.clone();
        if self.repeated {
            problems.push("The archive holds a path more than once.".to_owned());
        }
        for name in &self.names {
            let clash = name.match_indices('/').map(|(end, _)| &name[..end]);
            if let Some(file) = clash
                .into_iter()
                .find(|parent| self.names.contains(*parent))
            {
                problems.push(format!(
                    "The path {} lies inside {}, which is a file.",
                    quote(name),
                    quote(file)
                ));
            }
        }
        if problems.len() > LISTED {
            let more = problems.len() - LISTED;
            problems.truncate(LISTED);
            problems.push(format!("The archive holds {more} more bad paths."));
        }
        if !self.names.contains("config.yaml") {
            problems.push("The archive has no config.yaml at its root.".to_owned());
        }
        problems
    }

    /// Whether the archive holds a module, as source, package or extension.
    fn has_module(&self, path: &str) -> bool {
        let compiled = format!("{path}.");
        self.names.contains(&format!("{path}.py"))
            || self.names.contains(&format!("{path}/__init__.py"))
            || self
                .names
                .range(compiled.clone()..)
                .map_while(|name| name.strip_prefix(&compiled))
                .any(|suffix| suffix.rsplit('.').next() == Some("so"))
    }
}

struct Config<'a> {
    fields: &'a Map<String, Value>,
    entries: Option<&'a Entries>,
    problems: Vec<String>,
}

impl Config<'_> {
    fn check(mut self, upload: &Upload<'_>) -> Vec<String> {
        let slot = upload.slot;
        self.text("name");
        if let Some(code) = self.text("code")
            && code != slot.code
        {
            self.problem(format!(
                "`code` is {}, but {} was announced.",
                quote(&code),
                quote(&slot.code)
            ));
        }
        if let Some(version) = self.text("version")
            && version != slot.version
        {
            self.problem(format!(
                "`version` is {}, but {} was announced.",
                quote(&version),
                quote(&slot.version)
            ));
        }
        if let Some(category) = self.text("category")
            && !CATEGORIES.contains(&category.as_str())
        {
            self.problem(format!(
                "`category` is {}; it must be one of {}.",
                quote(&category),
                CATEGORIES.join(", ")
            ));
        }
        for (field, kind) in OPTIONAL {
            match self.fields.get(field) {
                None | Some(Value::Null) => {}
                Some(value) if kind.fits(value) => {}
                Some(value) => self.wrong_type(&format!("`{field}`"), value, kind),
            }
        }
        self.variant(slot.variant.as_deref());
        self.actions();
        self.problems
    }

    fn variant(&mut self, announced: Option<&str>) {
        let found = match self.fields.get("variant") {
            None | Some(Value::Null) => None,
            Some(Value::String(variant)) => Some(variant.as_str()),
            Some(_) => return,
        };
        if found != announced {
            let say =
                |variant: Option<&str>| variant.map_or(Cow::from("none"), |it| quote(it).into());
            let problem = format!(
                "`variant` is {}, but {} was announced.",
                say(found),
                say(announced)
            );
            self.problem(problem);
        }
    }

    fn actions(&mut self) {
        let fields = self.fields;
        match fields.get("actions") {
            None | Some(Value::Null) => self.problem("`actions` is missing.".to_owned()),
            Some(Value::Object(actions)) if actions.is_empty() => {
                self.problem("`actions` is empty; a plugin has at least one action.".to_owned());
            }
            Some(Value::Object(actions)) => {
                for (name, action) in actions {
                    self.action(&format!("action {}", quote(name)), action);
                }
            }
            Some(other) => self.wrong_type("`actions`", other, Kind::Mapping),
        }
    }

    fn action(&mut self, title: &str, action: &Value) {
        let fields = match action {
            Value::String(entrypoint) => return self.entrypoint(title, entrypoint),
            Value::Object(fields) => fields,
            other => return self.wrong_type(title, other, Kind::Mapping),
        };
        match fields.get("entrypoint") {
            None | Some(Value::Null) => {
                self.problem(format!("{title} has no `entrypoint`."));
            }
            Some(Value::String(entrypoint)) => self.entrypoint(title, entrypoint),
            Some(other) => self.wrong_type(&format!("`entrypoint` of {title}"), other, Kind::Text),
        }
        for field in ["method", "description", "input_type", "output_type"] {
            match fields.get(field) {
                None | Some(Value::Null) => {}
                Some(Value::String(method)) => {
                    if field == "method" && !METHODS.contains(&method.as_str()) {
                        self.problem(format!(
                            "`method` of {title} is {}; it must be one of {}.",
                            quote(method),
                            METHODS.join(", ")
                        ));
                    }
                }
                Some(other) => self.wrong_type(&format!("`{field}` of {title}"), other, Kind::Text),
            }
        }
    }

    fn entrypoint(&mut self, title: &str, entrypoint: &str) {
        let parts = entrypoint
            .split_once(':')
            .or_else(|| entrypoint.rsplit_once('.'));
        let Some((module, _)) = parts.filter(|(module, name)| is_dotted(module) && is_dotted(name))
        else {
            self.problem(format!(
                "`entrypoint` of {title} is {}; it must look like `module.path:Name`.",
                quote(entrypoint)
            ));
            return;
        };
        let path = module.replace('.', "/");
        if self
            .entries
            .is_some_and(|entries| !entries.has_module(&path))
        {
            self.problem(format!(
                "`entrypoint` of {title} is {}, but the archive has neither {path}.py nor \
                 {path}/__init__.py.",
                quote(entrypoint)
            ));
        }
    }

    /// A required text.
    fn text(&mut self, field: &str) -> Option<String> {
        match self.fields.get(field) {
            None | Some(Value::Null) => self.problem(format!("`{field}` is missing.")),
            Some(Value::String(text)) if text.trim().is_empty() => {
                self.problem(format!("`{field}` is empty."));
            }
            Some(Value::String(text)) => return Some(text.clone()),
            Some(Value::Number(number)) => self.problem(format!(
                "`{field}` is the number {number}, not a text; put it in quotes in config.yaml."
            )),
            Some(other) => self.wrong_type(&format!("`{field}`"), other, Kind::Text),
        }
        None
    }

    fn wrong_type(&mut self, title: &str, value: &Value, wanted: Kind) {
        self.problem(format!(
            "{title} is {}, not {}.",
            kind_of(value),
            wanted.name()
        ));
    }

    fn problem(&mut self, mut sentence: String) {
        if let Some(first) = sentence.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        self.problems.push(sentence);
    }
}

/// Why unpacking an entry of this name could write outside the folder it is unpacked to, or
/// somewhere else on another system.
fn path_problem(name: &str) -> Option<&'static str> {
    let parts = name.strip_suffix('/').unwrap_or(name);
    if name.starts_with('/') {
        Some("is absolute")
    } else if name.contains('\\') {
        Some("has a backslash")
    } else if has_control(name) {
        Some("has a control character")
    } else if parts.as_bytes().get(1) == Some(&b':') {
        Some("begins with a drive letter")
    } else if parts.split('/').any(|part| part == "..") {
        Some("leads out of the archive")
    } else if parts.split('/').any(|part| part.is_empty() || part == ".") {
        Some("has an empty part")
    } else {
        None
    }
}

fn is_code(code: &str) -> bool {
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    (1..=CODE_LENGTH).contains(&code.len())
        && code.bytes().all(allowed)
        && !code.starts_with('-')
        && !code.ends_with('-')
}

fn is_variant(variant: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=VARIANT_LENGTH).contains(&variant.len())
        && variant.bytes().all(allowed)
        && variant.as_bytes()[0].is_ascii_alphanumeric()
}

fn is_version(version: &str) -> bool {
    let number = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_digit())
            && (part == "0" || !part.starts_with('0'))
    };
    version.len() <= VERSION_LENGTH
        && version.split('.').count() == 3
        && version.split('.').all(number)
}

fn is_dotted(text: &str) -> bool {
    text.split('.').all(|part| {
        part.starts_with(|first: char| first.is_alphabetic() || first == '_')
            && part
                .chars()
                .all(|other| other.is_alphanumeric() || other == '_')
    })
}

fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

/// A value from outside, for a message: short, on one line, and unable to drive a terminal.
fn quote(text: &str) -> String {
    let mut out = String::from("`");
    for (count, char) in text.chars().enumerate() {
        if count == 80 {
            out.push_str("...");
            break;
        }
        if char.is_control() {
            out.extend(char.escape_default());
        } else {
            out.push(char);
        }
    }
    out.push('`');
    out
}

fn bytes(count: u64) -> String {
    let mut value = count as f64;
    let mut unit = "";
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, next);
    }
    if unit.is_empty() {
        format!("{count} bytes")
    } else {
        format!("{value:.1} {unit}")
    }
}
