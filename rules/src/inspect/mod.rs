//! Owns inspection: what a plugin's code says of its actions. Sources are read without being
//! run; only form fields, which take Python to know, are asked of a worker.
//!
//! One procedure, one result on every machine: what it cannot determine is left open, with a
//! note. See [`Schemas`] for the part that needs Python.

mod actions;
mod classes;
mod forms;
mod modules;
mod params;
mod rule;
mod schemas;
mod sdk;
mod served;
mod source;
mod statically;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use actions::Entry;
pub use forms::{FOLDER, Subject, inspect};
pub use params::refused;
pub use rule::{InspectNode, RULE, inspected, is_source, read_sources};
pub use schemas::{Answer, Metadata, NoSchemas, Question, Request, Schemas};
pub use served::Served;
pub use statically::{Wrong, not_found, wrong_syntax};

/// Actions whose config holds a form made of their params.
pub const FORMS: [&str; 3] = ["train", "tune", "upload"];

/// What an action is in the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A class.
    Class,
    /// A function with `@action`, or a plain one.
    Function,
}

/// The fields of a form, as the params model gives them: no rule applied yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Form {
    /// One item a field, in the model's order.
    pub fields: Vec<Value>,
    /// Names of fields that are not meant to be shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub excluded: Vec<String>,
    /// The whole model is not meant to be shown.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hidden: bool,
}

/// What the code says of one action. `None` is "not said, or not to be told".
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Described {
    /// What it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// `module:Name`, when the config does not have the action, or names a place where it no
    /// longer is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<String>,
    /// Its own name for itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action_name: Option<String>,
    /// Category, as an enum member's value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// Method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Name of its input's data type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_type: Option<String>,
    /// Name of its output's data type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_type: Option<String>,
    /// `module:Class` of its params, where that is certain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub params: Option<String>,
    /// It can be served: it derives from the SDK's base of deployments.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub serves: bool,
    /// Its form, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub form: Option<Form>,
}

/// Something that could not be determined, and is left as it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Note {
    /// The action.
    pub action: String,
    /// Keys of it; none stands for the action itself.
    pub keys: Vec<String>,
    /// Why, without a full stop.
    pub why: String,
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.keys.is_empty() {
            return write!(f, "{}: {}", self.action, self.why);
        }
        write!(
            f,
            "{}: {} left as it is: {}",
            self.action,
            self.keys.join(", "),
            self.why
        )
    }
}

/// What a plugin's code says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspection {
    /// Actions of the config.
    pub actions: BTreeMap<String, Described>,
    /// Actions that the config does not have.
    pub found: BTreeMap<String, Described>,
    /// What could not be determined.
    pub notes: Vec<Note>,
}
