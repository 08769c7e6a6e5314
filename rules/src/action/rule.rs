//! Owns the run stage: an action runs every time, unless it is declared cacheable and an equal
//! result is asked for.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use synapse_engine::{
    Cacheability, Cancel, Context, Digest, Failure, Input, Inputs, Label, Lane, Manifest, Node,
    Outcome, Pending, Rule,
};

use super::failure;
use crate::{
    plugin::Plugin,
    worker::{ending::Ending, host::Report},
};

/// The stage's name.
pub const STAGE: &str = "run";

/// The rule.
///
/// 1: the result as JSON.
pub(super) const RULE: Rule = Rule {
    name: STAGE,
    version: 1,
};

/// Runs the action to its end.
pub type Execute = Box<dyn Fn(&Cancel) -> Result<Report, Failure> + Send + Sync>;

/// One run of one action. Output `value` is the result, `model` its class.
pub struct RunNode {
    /// The plugin, its files and configuration among them.
    pub plugin: Arc<Plugin>,
    /// The action.
    pub action: String,
    /// Parameters.
    pub params: Value,
    /// What of the environment matters to results.
    pub environment: Digest,
    /// The SDK that runs it.
    pub sdk: String,
    /// Keyed hash of the variables that the configuration sets.
    pub variables: Digest,
    /// Names this run; `None` when the result of an equal one will do.
    pub unique: Option<String>,
    /// Does it.
    pub execute: Execute,
    /// How it went, when it ran.
    pub report: Mutex<Option<Report>>,
}

impl RunNode {
    /// How it went, when it ran.
    pub fn take_report(&self) -> Option<Report> {
        self.report
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

impl Node for RunNode {
    fn rule(&self) -> Rule {
        RULE
    }

    fn label(&self) -> Label {
        let subject = format!("{} {}", self.plugin.subject(), self.action);
        Label {
            stage: STAGE.to_owned(),
            subject,
        }
    }

    fn lane(&self) -> Lane {
        Lane::Io
    }

    fn manifest(&self, _: Inputs<'_>, out: &mut dyn Manifest) -> Result<(), Pending> {
        out.input("action", Input::Text(&self.action));
        out.input("files", Input::Files(self.plugin.files.as_ref()));
        out.input(
            "params",
            Input::Digest(Digest::of(canonical(&self.params).as_bytes())),
        );
        out.input("environment", Input::Digest(self.environment));
        out.input("sdk", Input::Text(&self.sdk));
        out.input("env", Input::Secret(self.variables));
        out.input("run", Input::Text(self.unique.as_deref().unwrap_or("any")));
        Ok(())
    }

    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        let report = (self.execute)(context.cancel())?;
        let outcome = match (&report.ending, failure(&report, &self.action)) {
            (Ending::Returned(returned), _) => {
                let reusable = self.unique.is_none();
                let kind = if reusable {
                    Cacheability::Local
                } else {
                    Cacheability::SessionOnly
                };
                Ok(Outcome::new(kind)
                    .value("value", returned.value.clone())
                    .value("model", returned.model.clone()))
            }
            (_, Some(failure)) => Err(failure),
            (_, None) => Err(Failure::bug("a run that neither returned nor failed")),
        };
        *self.report.lock().unwrap_or_else(PoisonError::into_inner) = Some(report);
        outcome
    }
}

/// JSON with its keys in order: the order in which somebody wrote them is no input.
fn canonical(value: &Value) -> String {
    let mut sorted = value.clone();
    sorted.sort_all_objects();
    sorted.to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::canonical;

    #[test]
    fn the_order_of_keys_is_no_input() {
        assert_eq!(
            canonical(&json!({"b": 1, "a": {"d": [1, 2], "c": 0}})),
            canonical(&json!({"a": {"c": 0, "d": [1, 2]}, "b": 1})),
        );
        assert_ne!(canonical(&json!([1, 2])), canonical(&json!([2, 1])));
    }
}
