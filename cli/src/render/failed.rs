//! Owns the document of a command that failed before it had one of its own: that of `publish`, of
//! `upload` and of `run` in the shape that they always have, of any other the same short one, as
//! docs/schema/failure.schema.json describes it.

use serde::Serialize;
use synapse_engine::Failure;

use super::{
    Printer, document,
    error::{ErrorObject, flatten},
    run,
};

/// The smallest document.
#[derive(Debug, Serialize)]
struct Short<'a> {
    schema: u32,
    command: &'a str,
    ok: bool,
    elapsed_ms: u64,
    errors: Vec<ErrorObject>,
}

/// Prints the document of `command`, which failed after `elapsed_ms`. `action` is what `run` was
/// to run.
pub fn print(
    printer: &mut Printer,
    command: &str,
    action: Option<&str>,
    failure: &Failure,
    elapsed_ms: u64,
) {
    match command {
        "publish" => printer.json(&document::failed("publish", failure, elapsed_ms)),
        "upload" => printer.json(&document::failed("upload", failure, elapsed_ms)),
        "run" | "infer" | "deploy" => {
            printer.json(&run::Document::failed(action, failure, elapsed_ms));
        }
        _ => printer.json(&Short {
            schema: 1,
            command,
            ok: false,
            elapsed_ms,
            errors: errors(failure),
        }),
    }
}

/// A failure and the others of the same attempt, as programs read them.
pub(super) fn errors(failure: &Failure) -> Vec<ErrorObject> {
    flatten(failure)
        .into_iter()
        .map(ErrorObject::from)
        .collect()
}
