//! Owns [`Schemas`], the one part of inspection that needs Python: what a params model's fields
//! look like in a form.

use std::{collections::BTreeMap, path::Path};

use serde_json::Value;
use synapse_engine::{Cancel, Failure};

use crate::worker::protocol::FieldError;

/// One action that is asked about.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// Its name; answers come under it.
    pub action: String,
    /// Dotted module.
    pub module: String,
    /// Class or function.
    pub object: String,
    /// `module:Class` of its params, where that is certain.
    pub params: Option<String>,
    /// Whether its form is wanted, or only what its class says.
    pub form: bool,
    /// Params to be held against its model.
    pub given: Option<Value>,
}

/// Questions on one plugin.
#[derive(Debug)]
pub struct Request<'a> {
    /// The folder that the modules believe to lie in.
    pub folder: &'a Path,
    /// Path in the plugin to text: all of its Python files.
    pub sources: &'a BTreeMap<String, String>,
    /// The Python that the plugin needs, as its configuration has it.
    pub requires: Option<&'a str>,
    /// What is wanted.
    pub questions: &'a [Question],
    /// Import from `folder`, with the packages of the environment, instead of from `sources`
    /// with stand-ins for what is not there.
    pub real: bool,
}

/// What a class says at run time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Its name for itself.
    pub action_name: Option<String>,
    /// Method.
    pub method: Option<String>,
    /// Category.
    pub category: Option<String>,
    /// Name of its input's data type.
    pub input_type: Option<String>,
    /// Name of its output's data type.
    pub output_type: Option<String>,
}

/// What is known of one action.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    /// It is a function.
    pub function: bool,
    /// The form's fields; none when they cannot be determined.
    pub fields: Option<Vec<Value>>,
    /// Names of fields that are not meant to be shown.
    pub excluded: Vec<String>,
    /// The whole model is not meant to be shown.
    pub hidden: bool,
    /// It has a params model.
    pub modelled: bool,
    /// What is certainly wrong with the params that were given.
    pub refused: Vec<FieldError>,
    /// What the class says; none when the object could not be had.
    pub metadata: Option<Metadata>,
    /// Why the fields cannot be determined, one sentence.
    pub reason: Option<String>,
    /// The interpreter is too old, or too new, for the plugin's syntax.
    pub syntax: bool,
}

/// Whoever knows what params models look like.
pub trait Schemas: Send + Sync {
    /// Answers by action. A failure is of the machine, never of the plugin.
    fn ask(
        &self,
        request: &Request<'_>,
        cancel: &Cancel,
    ) -> Result<BTreeMap<String, Answer>, Failure>;
}

/// Nobody knows: for work on plugins that have no forms.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoSchemas;

impl Schemas for NoSchemas {
    fn ask(&self, _: &Request<'_>, _: &Cancel) -> Result<BTreeMap<String, Answer>, Failure> {
        Err(Failure::environment(
            "python",
            "there is no Python to inspect forms with",
        ))
    }
}
