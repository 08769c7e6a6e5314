//! `synapse schema`: JSON Schemas of files that people write and of documents that we print.

use std::{fs, io, path::Path};

use clap::ValueEnum;
use serde_json::{Value, json};
use synapse_engine::Failure;
use synapse_rules::config::schema;

use crate::{
    app::App,
    args::{Schema, SchemaName},
    render::{DIM, GOOD, Printer, paint},
};

/// Runs the command; returns the exit code.
pub fn run(app: &App, args: &Schema) -> Result<u8, Failure> {
    let text = text(args.name);
    let wrote = match &args.output {
        Some(path) => {
            super::no_configuration(path, "--output")?;
            Some(write(&app.cwd.join(path), &text)?)
        }
        None => None,
    };
    if app.output.is_machine() {
        let document: Value = serde_json::from_str(&text)
            .map_err(|error| Failure::bug(format!("a schema is no JSON: {error}")))?;
        let name = args.name.to_possible_value();
        Printer::stdout(&app.output).json(&json!({
            "schema": 1, "command": "schema", "ok": true,
            "name": name.as_ref().map(clap::builder::PossibleValue::get_name),
            "path": args.output, "wrote": wrote, "document": document,
        }));
        return Ok(0);
    }
    let mut printer = Printer::stdout(&app.output);
    match (&args.output, wrote) {
        (Some(path), Some(wrote)) => {
            if !app.output.quiet {
                let verb = if wrote {
                    paint(GOOD, "wrote")
                } else {
                    paint(DIM, "up to date")
                };
                printer.line(format!("{verb} {}", path.display()));
            }
        }
        _ => printer.line(text.trim_end()),
    }
    Ok(0)
}

/// A schema as the text of a file.
pub fn text(name: SchemaName) -> String {
    match name {
        SchemaName::Config => schema::text(&schema::config()),
        SchemaName::Workspace => schema::text(&schema::workspace()),
        SchemaName::Publish => include_str!("../../../docs/schema/publish.schema.json").to_owned(),
        SchemaName::Run => include_str!("../../../docs/schema/run.schema.json").to_owned(),
        SchemaName::Check => include_str!("../../../docs/schema/check.schema.json").to_owned(),
        SchemaName::Test => include_str!("../../../docs/schema/test.schema.json").to_owned(),
        SchemaName::Doctor => include_str!("../../../docs/schema/doctor.schema.json").to_owned(),
        SchemaName::Graph => include_str!("../../../docs/schema/graph.schema.json").to_owned(),
        SchemaName::Log => include_str!("../../../docs/schema/log.schema.json").to_owned(),
        SchemaName::Between => include_str!("../../../docs/schema/between.schema.json").to_owned(),
        SchemaName::Failure => include_str!("../../../docs/schema/failure.schema.json").to_owned(),
    }
}

/// Writes a file, and its folder where there is none; says whether it was not so already.
fn write(path: &Path, text: &str) -> Result<bool, Failure> {
    if fs::read(path).is_ok_and(|bytes| bytes == text.as_bytes()) {
        return Ok(false);
    }
    let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
    let done = folder.and_then(|()| fs::write(path, text));
    done.map_err(|error: io::Error| {
        let shown = path.display().to_string();
        Failure::environment("write", format!("cannot write {shown}: {error}"))
            .at(shown)
            .hint("name a file that you may write with --output")
    })?;
    Ok(true)
}
