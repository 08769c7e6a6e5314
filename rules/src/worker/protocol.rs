//! Owns the messages between command and worker, as `synapse_sdk/_worker` has them on its side.
//! A message of a type that is not known here is passed over: it came with a later version.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a worker says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Message {
    /// It is up.
    Hello(Hello),
    /// A log entry.
    Log(Log),
    /// How far a step is.
    Progress(Progress),
    /// Values of a step, merged over those before.
    Metrics(Metrics),
    /// Values of one moment, such as an epoch.
    Metric(Metric),
    /// A picture.
    Visualization(Visualization),
    /// The action has returned.
    Result(Returned),
    /// The action has failed, or could not be started.
    Error(Raised),
    /// Something of a later version.
    #[serde(other)]
    Unknown,
}

/// The worker is up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Version of the messages.
    pub protocol: u32,
    /// Version of Python.
    #[serde(default)]
    pub python: String,
    /// `sys.executable`.
    #[serde(default)]
    pub executable: String,
}

/// A log entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Log {
    /// Kind: `message` for text to people.
    pub event: String,
    /// `debug`, `info`, `success`, `warning`, `danger`, `error` or `critical`.
    #[serde(default)]
    pub level: String,
    /// What it says; for a message its `content`.
    #[serde(default)]
    pub data: Value,
    /// Step of the action.
    #[serde(default)]
    pub step: Option<String>,
    /// File that it is about.
    #[serde(default)]
    pub file: Option<String>,
    /// When, Unix seconds.
    #[serde(default)]
    pub time: Option<f64>,
}

/// How far a step is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Step of the action.
    #[serde(default)]
    pub step: Option<String>,
    /// Done.
    #[serde(default)]
    pub current: f64,
    /// In all.
    #[serde(default)]
    pub total: f64,
    /// Percent done.
    #[serde(default)]
    pub percent: f64,
    /// Seconds so far.
    #[serde(default)]
    pub elapsed: Option<f64>,
    /// Seconds to go.
    #[serde(default)]
    pub eta: Option<f64>,
    /// The step failed.
    #[serde(default)]
    pub failed: bool,
    /// When, Unix seconds.
    #[serde(default)]
    pub time: Option<f64>,
}

/// Values of a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Step of the action.
    #[serde(default)]
    pub step: Option<String>,
    /// By name.
    #[serde(default)]
    pub values: serde_json::Map<String, Value>,
    /// When, Unix seconds.
    #[serde(default)]
    pub time: Option<f64>,
}

/// Values of one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// Group of metrics, such as `train`.
    #[serde(default)]
    pub category: String,
    /// What counts the moments, such as `epoch`.
    #[serde(default)]
    pub key: Value,
    /// Which moment.
    #[serde(default)]
    pub value: Value,
    /// By name.
    #[serde(default)]
    pub metrics: serde_json::Map<String, Value>,
    /// When, Unix seconds.
    #[serde(default)]
    pub time: Option<f64>,
}

/// A picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Visualization {
    /// Group of pictures.
    #[serde(default)]
    pub category: Value,
    /// Subgroup.
    #[serde(default)]
    pub group: Value,
    /// Place in it.
    #[serde(default)]
    pub index: Value,
    /// The picture, or where it is.
    #[serde(default)]
    pub image: Value,
    /// Anything else.
    #[serde(default)]
    pub meta: Value,
    /// When, Unix seconds.
    #[serde(default)]
    pub time: Option<f64>,
}

/// The action has returned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Returned {
    /// What.
    #[serde(default)]
    pub value: Value,
    /// The class of a result that is a model.
    #[serde(default)]
    pub model: Option<String>,
    /// Of the way there.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// The action has failed, or could not be started.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Raised {
    /// Which kind, `kebab-case`.
    pub kind: String,
    /// The class of the exception.
    #[serde(default)]
    pub class: String,
    /// What it says.
    #[serde(default)]
    pub message: String,
    /// What came along.
    #[serde(default)]
    pub details: Value,
    /// Where it came from.
    #[serde(default)]
    pub traceback: Option<String>,
    /// Fields that are wrong, for a validation.
    #[serde(default)]
    pub errors: Option<Vec<FieldError>>,
}

/// A field that is wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FieldError {
    /// Path to it: names and places.
    #[serde(default)]
    pub loc: Vec<Value>,
    /// The rule that it breaks.
    #[serde(default)]
    pub message: String,
    /// Name of the rule.
    #[serde(default, rename = "type")]
    pub rule: String,
    /// What was given.
    #[serde(default)]
    pub input: Value,
}

impl FieldError {
    /// The path to the field, such as `layers[2].size`.
    pub fn path(&self) -> String {
        let mut path = String::new();
        for part in &self.loc {
            let text = match part {
                Value::Number(place) => format!("[{place}]"),
                Value::String(name) if path.is_empty() => name.clone(),
                Value::String(name) => format!(".{name}"),
                other => other.to_string(),
            };
            path.push_str(&text);
        }
        path
    }
}

/// What a run is to do.
#[derive(Clone, Serialize)]
pub struct RunRequest {
    /// `run`, or `check` to stop before the action begins.
    pub command: &'static str,
    /// Version of the messages.
    pub protocol: u32,
    /// The plugin.
    pub plugin: RunPlugin,
    /// The action's name.
    pub action: String,
    /// Where its code is, `module:Object`.
    pub entrypoint: String,
    /// Parameters.
    pub params: Value,
    /// Names the run.
    pub job_id: String,
    /// Language of messages.
    pub language: Option<String>,
    /// Whether debug messages are wanted.
    pub debug: bool,
    /// The backend that it talks to.
    pub backend: Option<BackendAccess>,
    /// A checkpoint to start from.
    pub checkpoint: Option<Value>,
    /// Folder for downloads.
    pub cache: PathBuf,
    /// A file for the result.
    pub result_file: Option<PathBuf>,
}

/// The plugin of a run.
#[derive(Clone, Serialize)]
pub struct RunPlugin {
    /// Its folder.
    pub dir: PathBuf,
    /// Its code.
    pub code: String,
    /// Its version.
    pub version: String,
    /// Its name.
    pub name: String,
    /// Its category.
    pub category: String,
    /// All of its configuration. Holds the secrets of `env`.
    pub config: Value,
}

/// The backend that a run talks to. Holds a secret: it travels through a pipe, never an argument.
#[derive(Clone, Serialize)]
pub struct BackendAccess {
    /// Address.
    pub host: String,
    /// Token.
    pub token: String,
    /// `embedded` or `configured`.
    pub source: &'static str,
    /// Tenant.
    pub tenant: Option<String>,
    /// Token of a user.
    pub user_token: Option<String>,
    /// Token of an agent.
    pub agent: Option<String>,
}

/// What to inspect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InspectRequest {
    /// The plugin's folder.
    pub plugin_dir: PathBuf,
    /// Its sources: path and text.
    pub sources: BTreeMap<String, String>,
    /// Its actions.
    pub wanted: Vec<WantedAction>,
    /// Import from the folder in the server's own environment, without stubs.
    pub real: bool,
}

/// An action to inspect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WantedAction {
    /// Its name.
    pub action: String,
    /// Its module.
    pub module: String,
    /// Class or function in it; may be dotted.
    pub object: String,
    /// Its model of parameters, `module:Class`, when that is known.
    pub params: Option<String>,
    /// Whether schemas are wanted.
    pub ui: bool,
    /// Whether `given` is to be held against the model.
    pub check: bool,
    /// Parameters.
    pub given: Value,
}

/// What inspection found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct InspectReply {
    /// By action.
    pub actions: BTreeMap<String, InspectedAction>,
    /// Modules that were stubbed.
    pub stubbed: Vec<String>,
    /// It was done in the server's own environment.
    pub real: bool,
}

/// What inspection found of an action. What it could not find has a reason instead.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct InspectedAction {
    /// `class` or `function`.
    pub kind: Option<String>,
    /// What the code says of it.
    pub metadata: Option<Metadata>,
    /// Why there is none.
    pub metadata_reason: Option<String>,
    /// Its model of parameters, `module:Class`.
    pub model: Option<String>,
    /// Form fields of the parameters.
    pub ui_schemas: Option<Value>,
    /// Fields that the model keeps out of forms.
    pub excluded: Vec<String>,
    /// The whole model is kept out of forms.
    pub exclude_model: bool,
    /// What is certainly wrong with the parameters that were given.
    pub refused: Option<Vec<FieldError>>,
    /// Why there are no form fields.
    pub reason: Option<String>,
    /// The absent module that is to blame.
    pub module: Option<String>,
    /// The line that failed.
    pub place: Option<SourcePlace>,
    /// A module is no valid Python.
    pub syntax: bool,
}

/// What the code says of an action.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Metadata {
    /// Name.
    pub action_name: Option<String>,
    /// How it is executed.
    pub method: Option<String>,
    /// Category.
    pub category: Option<String>,
    /// Description.
    pub description: Option<String>,
    /// Semantic type of its input.
    pub input_type: Option<String>,
    /// Semantic type of its output.
    pub output_type: Option<String>,
}

/// A line of a plugin's source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SourcePlace {
    /// File, from the plugin's folder.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn messages_of_later_versions_are_read_as_far_as_they_are_known() {
        let read = |value: Value| serde_json::from_value::<Message>(value).expect("a message");
        assert_eq!(
            read(json!({"type": "telepathy", "to": 1})),
            Message::Unknown
        );
        let Message::Progress(progress) = read(json!({"type": "progress", "current": 1, "new": 2}))
        else {
            panic!("no progress");
        };
        assert!((progress.current - 1.0).abs() < f64::EPSILON && progress.step.is_none());
    }

    #[test]
    fn a_field_is_named_as_one_would_write_it() {
        let field = |loc: Value| FieldError {
            loc: serde_json::from_value(loc).expect("a path"),
            message: String::new(),
            rule: String::new(),
            input: Value::Null,
        };
        assert_eq!(field(json!(["epochs"])).path(), "epochs");
        assert_eq!(field(json!(["layers", 2, "size"])).path(), "layers[2].size");
        assert_eq!(field(json!([])).path(), "");
    }
}
