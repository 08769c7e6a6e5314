//! `synapse graph`: the stages of a publish, what each depends on, and what would run.

use std::{fs, io::IsTerminal, path::Path, sync::Arc};

use synapse_engine::{EventSink, Failure, FailureKind};
use synapse_rules::publish::Options;

use super::{
    look_heard,
    plan::{names, optional_targets},
    warnings,
};
use crate::{
    app::App,
    args::{self, GraphFormat},
    drawing::{Drawer, Drawing},
    render::{
        Printer, document,
        error::{self, ErrorObject},
        fit, graph as text,
    },
    select::{self, Otherwise},
};

/// Runs the command; returns the exit code.
pub fn run(app: &App, args: &args::Graph) -> Result<u8, Failure> {
    let format = format(app, args)?;
    let selected = select::select(app, &args.selection, Otherwise::All)?;
    let targets = optional_targets(app, &args.to)?;
    let options = Options {
        debug: args.debug,
        allow_secrets: args.allow_secret.clone(),
        inspect: true,
        ..Options::default()
    };
    let mut drawer = None;
    let reports = look_heard(app, &selected, &targets, &options, &mut |inner| {
        let own = Arc::new(Drawer::new(inner));
        drawer = Some(Arc::clone(&own));
        own as Arc<dyn EventSink>
    })?;
    let drawing = drawer.map(|drawer| drawer.take()).unwrap_or_default();
    warnings(app, &selected, &reports);
    let errors = document::errors(&reports);
    let names = names(&targets);
    write(
        app,
        args.file.as_deref(),
        format,
        args.full,
        (&drawing, &names, &errors),
    )?;
    let failures = || reports.iter().flat_map(document::failures);
    if !app.output.is_machine() {
        let mut printer = Printer::stderr(&app.output);
        failures().for_each(|failure| error::print(&mut printer, failure));
    }
    let first = failures().next();
    Ok(first.map_or(0, |failure| error::exit_code(failure.kind)))
}

/// What is wanted: as it is said, by the ending of the file, or by who reads it.
fn format(app: &App, args: &args::Graph) -> Result<GraphFormat, Failure> {
    if app.output.is_machine() {
        return match (args.format, &args.file) {
            (None | Some(GraphFormat::Json), None) => Ok(GraphFormat::Json),
            _ => Err(Failure::usage("--json prints the graph as JSON")
                .hint("leave --json out to get another format, or a file")),
        };
    }
    if let Some(format) = args.format {
        return Ok(format);
    }
    let Some(file) = &args.file else {
        return Ok(if std::io::stdout().is_terminal() {
            GraphFormat::Tree
        } else {
            GraphFormat::Svg
        });
    };
    let ending = file.extension().unwrap_or_default().to_string_lossy();
    match ending.to_lowercase().as_str() {
        "svg" => Ok(GraphFormat::Svg),
        "dot" | "gv" => Ok(GraphFormat::Dot),
        "mmd" | "mermaid" => Ok(GraphFormat::Mermaid),
        "json" => Ok(GraphFormat::Json),
        "txt" => Ok(GraphFormat::Tree),
        _ => {
            let what = format!("what {} should hold is not known", file.display());
            Err(Failure::usage(what).hint("say it with --format, such as --format svg"))
        }
    }
}

fn write(
    app: &App,
    file: Option<&Path>,
    format: GraphFormat,
    full: bool,
    (drawing, targets, errors): (&Drawing, &[&str], &[ErrorObject]),
) -> Result<(), Failure> {
    let drawn = || {
        if full {
            drawing.clone()
        } else {
            drawing.clone().collapsed()
        }
    };
    let mut printer = Printer::stdout(&app.output);
    if app.output.is_machine() {
        printer.json(&text::document(drawing, targets, errors));
        return Ok(());
    }
    let whole = match format {
        GraphFormat::Tree => {
            let to = match targets {
                [] => "log in, or add --local, to see uploads as well".to_owned(),
                targets => format!("to {}", targets.join(" and ")),
            };
            let tree = text::tree(drawing, full || app.output.verbose);
            let whole = format!("{tree}{}; {to}", text::sums(drawing));
            let columns = printer.columns().filter(|_| file.is_none());
            let lines = whole
                .lines()
                .map(|line| fit::wrapped(line, columns, 12) + "\n");
            lines.collect()
        }
        GraphFormat::Svg => text::picture(&drawn()),
        GraphFormat::Dot => text::dot(&drawn()),
        GraphFormat::Mermaid => text::mermaid(&drawn()),
        GraphFormat::Json => {
            let document = text::document(drawing, targets, errors);
            let text = serde_json::to_string_pretty(&document);
            text.map_err(|error| Failure::bug(error.to_string()))? + "\n"
        }
    };
    let Some(file) = file else {
        printer.text(whole);
        return Ok(());
    };
    super::no_configuration(file, "--output")?;
    let path = app.cwd.join(file);
    let plain = anstream::adapter::strip_str(&whole).to_string();
    fs::write(&path, plain).map_err(|error| {
        let what = format!("cannot write {}: {error}", path.display());
        Failure::new(FailureKind::Environment, "unwritable", what)
            .hint("name another place with --output")
    })
}
