//! Owns holding params against an action's model before the action's environment is made: what
//! is certainly wrong is told within a second, not after minutes of installing.

use std::path::Path;

use serde_json::Value;
use synapse_engine::{Cancel, Failure, Files};

use super::{
    classes::Params,
    forms::{FOLDER, read},
    rule::{is_source, read_sources},
    schemas::{Question, Request, Schemas},
};
use crate::{plugin::Plugin, worker::protocol::FieldError};

/// What is certainly wrong with `params` for an action of `plugin`. Nothing where only a run in
/// the action's own environment can tell.
pub fn refused(
    plugin: &Plugin,
    action: &str,
    params: &Value,
    schemas: &dyn Schemas,
    cancel: &Cancel,
) -> Result<Vec<FieldError>, Failure> {
    let mut entries = Files::load(plugin.files.as_ref());
    entries.retain(|entry| is_source(&entry.path));
    let sources = read_sources(plugin, &entries)?;
    let entry = plugin
        .head
        .actions
        .iter()
        .find(|entry| entry.action == action);
    let Some(entry) = entry else {
        return Ok(Vec::new());
    };
    let reading = read(&sources, std::slice::from_ref(entry))?;
    let modelled = reading.actions.get(action);
    let Some(read) = modelled.filter(|read| read.params != Params::Absent) else {
        return Ok(Vec::new());
    };
    let question = Question {
        action: action.to_owned(),
        module: read.module.clone(),
        object: read.object.clone(),
        params: None,
        form: false,
        given: Some(params.clone()),
    };
    let request = Request {
        folder: Path::new(FOLDER),
        sources: &sources,
        requires: plugin.head.requires_python.as_deref(),
        questions: std::slice::from_ref(&question),
        real: false,
    };
    let mut answers = schemas.ask(&request, cancel)?;
    let answer = answers.remove(action).unwrap_or_default();
    Ok(answer.refused)
}
