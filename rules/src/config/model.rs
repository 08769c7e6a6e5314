//! Owns [`Config`], what a config.yaml says, and [`parse`], which reports all problems of a file
//! at once.

use std::{collections::BTreeMap, fmt, ops::Range};

use pep440_rs::VersionSpecifiers;

use super::{
    diagnostic::{Diagnostic, Severity},
    entrypoint::Entrypoint,
    fields::{
        actions, allow_secrets, code, dependencies, deprecated, env, inner_span, owned, requires,
        tasks, variant, version,
    },
    keys::{self, README, WHEELS},
    reader::Reader,
    source::{Problem, Source},
    vocabulary::{Category, DataType, Method, PackageManager, SmartTool},
    yaml::{self, Node},
};
use crate::version::Version;

/// What a config.yaml says.
#[derive(Clone)]
pub struct Config {
    /// Name for people.
    pub name: String,
    /// Name for machines: lowercase letters, digits, hyphens.
    pub code: String,
    /// Version.
    pub version: Version,
    /// Customer variant.
    pub variant: Option<String>,
    /// Kind of plugin.
    pub category: Category,
    /// Description.
    pub description: Option<String>,
    /// Path of the readme, `README.md` by default.
    pub readme: String,
    /// Who installs dependencies, pip by default.
    pub package_manager: PackageManager,
    /// Further arguments for it.
    pub package_manager_options: Vec<String>,
    /// Folder of local wheels, `wheels` by default.
    pub wheels_dir: String,
    /// Environment variables, as written. Secret.
    pub env: BTreeMap<String, String>,
    /// Ray's `runtime_env`, merged over the generated one. Its `env_vars` are secret.
    pub runtime_env: Option<serde_json::Value>,
    /// Kind of data.
    pub data_type: Option<DataType>,
    /// Tasks that the plugin solves.
    pub tasks: Vec<Task>,
    /// Kinds of data that it supports.
    pub supported_data_types: Vec<DataType>,
    /// Category of annotations.
    pub annotation_category: Option<String>,
    /// Type of annotations.
    pub annotation_type: Option<String>,
    /// How a smart tool works.
    pub smart_tool: Option<SmartTool>,
    /// What the plugin needs of its surroundings.
    pub requires: Requires,
    /// Other plugins that it needs, by code.
    pub dependencies: BTreeMap<String, VersionSpecifiers>,
    /// Tags.
    pub tags: Vec<String>,
    /// Globs of files that may look like credentials. A key of ours.
    pub allow_secrets: Vec<String>,
    /// Actions in the file's order, at least one.
    pub actions: Vec<Action>,
    /// The whole file, unknown keys and key order kept. Holds the secrets of `env`.
    pub json: serde_json::Value,
    /// Bytes of the version's text, without quotes.
    pub version_span: Range<usize>,
}

/// Without `env`, `runtime_env` and `json`, which hold secrets.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("name", &self.name)
            .field("code", &self.code)
            .field("version", &self.version)
            .field("variant", &self.variant)
            .field("category", &self.category)
            .field("actions", &self.actions)
            .finish_non_exhaustive()
    }
}

/// An action.
#[derive(Debug, Clone)]
pub struct Action {
    /// Its name.
    pub name: String,
    /// Where its code is.
    pub entrypoint: Entrypoint,
    /// How it is executed, when the file says so; see [`Action::effective_method`].
    pub method: Option<Method>,
    /// Description.
    pub description: Option<String>,
    /// Semantic type of its input.
    pub input_type: Option<String>,
    /// Semantic type of its output.
    pub output_type: Option<String>,
    /// Line of its key, from 1.
    pub line: u32,
    /// Column of its key, from 1.
    pub column: u32,
}

impl Action {
    /// The method that it is executed with.
    pub fn effective_method(&self) -> Method {
        self.method
            .unwrap_or_else(|| Method::default_for(&self.name))
    }
}

/// A task, written `data_type.task`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Kind of data.
    pub data_type: DataType,
    /// Task, such as `object_detection`.
    pub task: String,
}

/// What a plugin needs of its surroundings.
#[derive(Debug, Clone, Default)]
pub struct Requires {
    /// The SDK.
    pub sdk: Option<VersionSpecifiers>,
    /// Python.
    pub python: Option<VersionSpecifiers>,
    /// CUDA.
    pub cuda: Option<VersionSpecifiers>,
}

/// A file as read.
#[derive(Debug)]
pub struct Parsed {
    /// The configuration, unless there are errors.
    pub config: Option<Config>,
    /// All problems, in file order.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads a config.yaml. `file` is what diagnostics call it.
pub fn parse(bytes: &[u8], file: &str) -> Parsed {
    let document = yaml::parse(bytes, file);
    let mut problems = document.problems;
    let mut config = None;
    if let Some(root) = &document.root {
        if root.as_mapping().is_some() {
            config = read(root, &document.source, &mut problems);
        } else {
            let message = format!(
                "the file must hold `key: value` lines, but is {}",
                root.kind()
            );
            problems.push(Problem::error("config-not-mapping", root.span(), message));
        }
    }
    if problems
        .iter()
        .any(|problem| problem.severity == Severity::Error)
    {
        config = None;
    }
    let diagnostics = document.source.diagnose(problems, &document.secrets);
    Parsed {
        config,
        diagnostics,
    }
}

/// Every field is read before any missing one ends it, so that all problems are found.
fn read(root: &Node, source: &Source<'_>, problems: &mut Vec<Problem>) -> Option<Config> {
    let reader = &mut Reader::new(root, String::new(), keys::CONFIG, problems);

    let name = reader.required("name").and_then(|value| {
        let (text, _) = reader.text_of("name", value)?;
        if text.trim().is_empty() {
            let problem = Problem::error("config-missing-field", value.span(), "`name` is empty");
            reader.problems.push(problem);
        }
        Some(text.to_owned())
    });
    let code = reader
        .required("code")
        .and_then(|value| code(reader, value));
    let version = reader
        .required("version")
        .and_then(|value| version(reader, value));
    let category = reader.required("category").and_then(|value| {
        let (text, _) = reader.text_of("category", value)?;
        reader.word_of(text, value)
    });
    let actions = reader
        .required("actions")
        .map(|value| actions(reader, value));
    let variant = variant(reader);
    let description = reader.string("description");
    let readme = reader.path("readme");
    let package_manager = reader.word("package_manager");
    let options = reader.texts("package_manager_options", false);
    let wheels_dir = reader.path("wheels_dir");
    let env = env(reader);
    let runtime_env = reader.mapping("runtime_env").map(Node::to_json);
    let data_type = reader.word("data_type");
    let tasks = tasks(reader);
    let mut supported_data_types = Vec::new();
    for key in ["supported_data_types", "supported_data_type"] {
        for (text, value) in reader.texts(key, true) {
            supported_data_types.extend(reader.word_of::<DataType>(text, value));
        }
    }
    let smart_tool = reader.word("smart_tool");
    let older_smart_tool = reader.word("smart_tool_type");
    for (old, new) in [
        ("supported_data_type", "supported_data_types"),
        ("smart_tool_type", "smart_tool"),
    ] {
        deprecated(reader, old, new);
    }
    let annotation_category = reader.string("annotation_category");
    let annotation_type = reader.string("annotation_type");
    let requires = requires(reader);
    let dependencies = dependencies(reader);
    let tags = owned(&reader.texts("tags", false));
    let allow_secrets = allow_secrets(reader);
    reader.near_misses();

    let (version, version_node) = version?;
    Some(Config {
        name: name?,
        code: code?,
        version,
        variant,
        category: category?,
        description,
        readme: readme.unwrap_or_else(|| README.to_owned()),
        package_manager: package_manager.unwrap_or(PackageManager::Pip),
        package_manager_options: owned(&options),
        wheels_dir: wheels_dir.unwrap_or_else(|| WHEELS.to_owned()),
        env,
        runtime_env,
        data_type,
        tasks,
        supported_data_types,
        annotation_category,
        annotation_type,
        smart_tool: smart_tool.or(older_smart_tool),
        requires,
        dependencies,
        tags,
        allow_secrets,
        actions: actions?,
        json: root.to_json(),
        version_span: inner_span(version_node, source),
    })
}
