//! Owns the reference: pages of `docs/reference` that are written from the command line and the
//! schemas. With `SYNAPSE_WRITE_REFERENCE` set the pages are written, otherwise held against it.

use std::{env, fmt::Write as _, fs};

use clap::{Arg, ArgAction, Command};
use serde_json::Value;

use crate::page;

/// What a page says of itself to whoever edits it.
const WRITTEN: &str =
    "<!-- Written by `cargo xtask generate`: change the code it comes from. -->\n";

/// A page, and what writes it.
type Written = (&'static str, fn() -> String);

/// All pages.
const PAGES: [Written; 3] = [
    ("commands.md", commands),
    ("configuration.md", configuration),
    ("json.md", documents),
];

#[test]
fn the_reference_is_what_the_code_says() {
    for (name, write) in PAGES {
        let file = page::root().join("docs/reference").join(name);
        let text = write();
        if env::var_os("SYNAPSE_WRITE_REFERENCE").is_some() {
            fs::write(&file, text).unwrap();
            continue;
        }
        let there = fs::read_to_string(&file).unwrap_or_default();
        let differs = there.lines().zip(text.lines()).position(|(a, b)| a != b);
        let line = differs.unwrap_or_else(|| there.lines().count().min(text.lines().count())) + 1;
        assert!(
            there == text,
            "docs/reference/{name}:{line} is not what the code says: run cargo xtask generate"
        );
    }
}

/// Every command with its options.
fn commands() -> String {
    let mut root = synapse_cli::command();
    root.build();
    let mut text = format!(
        "# Commands\n\n{WRITTEN}\nEvery command, with every option. `synapse COMMAND --help` says the \
         same. Exit codes are in\n[exit codes](exit-codes.md).\n\n## Options of every command\n\n"
    );
    let global: Vec<&Arg> = root
        .get_arguments()
        .filter(|arg| arg.is_global_set())
        .collect();
    table(&mut text, &global);
    let below = root.get_subcommands().filter(|one| !one.is_hide_set());
    for command in below {
        section(&mut text, command, "synapse");
    }
    text
}

/// A command and those below it.
fn section(text: &mut String, command: &Command, before: &str) {
    let name = format!("{before} {}", command.get_name());
    let _ = write!(text, "\n## {name}\n\n");
    let about = command.get_long_about().or(command.get_about());
    let about = about.map(ToString::to_string).unwrap_or_default();
    let _ = writeln!(text, "{}.\n", prose(&about).trim_end_matches('.'));
    let below: Vec<&Command> = command
        .get_subcommands()
        .filter(|one| !one.is_hide_set() && one.get_name() != "help")
        .collect();
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").split('\n');
    for line in usage.map(str::trim).filter(|line| !line.is_empty()) {
        let _ = write!(text, "```text\n{line}\n```\n\n");
    }
    let aliases: Vec<&str> = command.get_visible_aliases().collect();
    if !aliases.is_empty() {
        let _ = writeln!(text, "Also: `{}`.\n", aliases.join("` `"));
    }
    arguments(text, command);
    examples(text, command);
    for command in below {
        section(text, command, &name);
    }
}

/// The arguments of a command under their headings, without those that every command has.
fn arguments(text: &mut String, command: &Command) {
    let own: Vec<&Arg> = command
        .get_arguments()
        .filter(|arg| !arg.is_hide_set() && !arg.is_global_set())
        .filter(|arg| !["help", "version"].contains(&arg.get_id().as_str()))
        .collect();
    let mut headings: Vec<Option<&str>> = Vec::new();
    for arg in &own {
        if !headings.contains(&arg.get_help_heading()) {
            headings.push(arg.get_help_heading());
        }
    }
    // As in the help: what has no heading comes first.
    headings.sort_by_key(Option::is_some);
    for heading in headings {
        if let Some(heading) = heading {
            let _ = writeln!(text, "{heading}:\n");
        }
        let under = own.iter().copied();
        let under: Vec<&Arg> = under
            .filter(|arg| arg.get_help_heading() == heading)
            .collect();
        table(text, &under);
        text.push('\n');
    }
    while text.ends_with("\n\n") {
        text.pop();
    }
}

fn table(text: &mut String, arguments: &[&Arg]) {
    text.push_str("| option | meaning | values |\n|---|---|---|\n");
    for arg in arguments {
        let help = arg.get_long_help().or(arg.get_help());
        let help = prose(&help.map(ToString::to_string).unwrap_or_default());
        let _ = writeln!(
            text,
            "| {} | {} | {} |",
            spelling(arg),
            cell(&help),
            cell(&values(arg))
        );
    }
}

/// How an argument is written.
fn spelling(arg: &Arg) -> String {
    let names = arg.get_value_names().unwrap_or_default();
    let names: Vec<&str> = names.iter().map(clap::builder::Str::as_str).collect();
    let value = if takes_value(arg) {
        names.join(" ")
    } else {
        String::new()
    };
    if arg.is_positional() {
        return format!("`{}`", value.replace('|', "\\|"));
    }
    let short = arg.get_short().map(|short| format!("`-{short}`"));
    let long = arg.get_long().map(|long| {
        let both = format!("--{long} {value}");
        format!("`{}`", both.trim_end().replace('|', "\\|"))
    });
    let both: Vec<String> = short.into_iter().chain(long).collect();
    both.join(" ")
}

fn takes_value(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Set | ArgAction::Append)
}

/// What an argument may be, and what it is when it is not given.
fn values(arg: &Arg) -> String {
    if !takes_value(arg) {
        return String::new();
    }
    let possible = arg.get_possible_values();
    let names = possible.iter().filter(|value| !value.is_hide_set());
    let names: Vec<String> = names
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    let default: Vec<String> = arg
        .get_default_values()
        .iter()
        .map(|value| format!("`{}`", value.to_string_lossy()))
        .collect();
    match (names.join(" "), default.join(" ")) {
        (names, default) if default.is_empty() => names,
        (names, default) if names.is_empty() => format!("default {default}"),
        (names, default) => format!("{names}; default {default}"),
    }
}

/// The examples of a command's help, and what else stands below its options.
fn examples(text: &mut String, command: &Command) {
    let Some(after) = command.get_after_long_help().or(command.get_after_help()) else {
        return;
    };
    let after = after.to_string();
    let mut examples = Vec::new();
    let mut words = Vec::new();
    for line in after.lines().map(str::trim) {
        let line = line
            .strip_prefix("Examples:")
            .or(line.strip_prefix("Example:"))
            .unwrap_or(line);
        match line.trim() {
            "" => {}
            line if line.starts_with("synapse ") => examples.push(line.to_owned()),
            line => words.push(prose(line)),
        }
    }
    if !words.is_empty() {
        let _ = write!(text, "\n{}\n", words.join("\n"));
    }
    if !examples.is_empty() {
        text.push_str("\n<!-- test: not run, examples of the help -->\n```console\n");
        for example in examples {
            let _ = writeln!(text, "$ {example}");
        }
        text.push_str("```\n");
    }
}

/// The documents of `--json`, from their schemas.
fn documents() -> String {
    let mut text = format!(
        "# JSON documents\n\n{WRITTEN}\nWhat `--json` prints, one document a command. `schema` in a document \
         is raised by changes that\ncould break a reader. Keys may be added without that.\n"
    );
    let is_document = |schema: &Value| !schema["properties"]["schema"].is_null();
    schemas(&mut text, is_document);
    text
}

/// The keys of files that people write, from their schemas.
fn configuration() -> String {
    let mut text = format!(
        "# Configuration\n\n{WRITTEN}\nEvery key of `config.yaml` and `synapse-workspace.yaml`. \
         [config.yaml](../guide/config.md) says more\nof it, [publishing](../guide/publishing.md#the-workspace) \
         of workspaces, [editors](../guide/editors.md) of the schemas.\n"
    );
    let is_file = |schema: &Value| schema["properties"]["schema"].is_null();
    schemas(&mut text, is_file);
    text
}

/// A section for each schema that is `wanted`.
fn schemas(text: &mut String, wanted: impl Fn(&Value) -> bool) {
    let folder = page::root().join("docs/schema");
    let files = fs::read_dir(folder).unwrap();
    let mut files: Vec<_> = files.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in files {
        let name = file.file_name().unwrap().to_str().unwrap();
        let schema: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        if !wanted(&schema) {
            continue;
        }
        let title = schema["title"].as_str().unwrap();
        let description = schema["description"].as_str().unwrap_or_default();
        let _ = write!(
            text,
            "\n## {title}\n\n{}\n\nSchema: [{name}](../schema/{name})\n\n",
            prose(description)
        );
        text.push_str("| key | type | meaning |\n|---|---|---|\n");
        rows(text, &schema, &schema, "");
    }
}

/// A row for each key below `schema`.
fn rows(text: &mut String, root: &Value, schema: &Value, path: &str) {
    for (name, below) in schema["properties"].as_object().into_iter().flatten() {
        let at = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        let described = below["description"].as_str();
        let below = followed(root, below);
        let meaning = described
            .or(below["description"].as_str())
            .unwrap_or_default();
        let _ = writeln!(
            text,
            "| `{at}` | {} | {} |",
            cell(&kind(root, below)),
            cell(&prose(meaning))
        );
        inside(text, root, below, &at);
    }
}

/// What is inside a value: its keys, those of its items, those of any of its shapes.
fn inside(text: &mut String, root: &Value, schema: &Value, at: &str) {
    // What contains itself is described once.
    if at.matches(['.', '[']).count() > 6 {
        return;
    }
    rows(text, root, schema, at);
    if schema["items"].is_object() {
        inside(
            text,
            root,
            followed(root, &schema["items"]),
            &format!("{at}[]"),
        );
    }
    if schema["additionalProperties"].is_object() {
        let more = followed(root, &schema["additionalProperties"]);
        inside(text, root, more, &format!("{at}.NAME"));
    }
    for shapes in ["anyOf", "oneOf"] {
        for shape in schema[shapes].as_array().into_iter().flatten() {
            inside(text, root, followed(root, shape), at);
        }
    }
}

/// A schema, or the one that it refers to.
fn followed<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    schema["$ref"]
        .as_str()
        .and_then(|place| root.pointer(place.strip_prefix('#')?))
        .unwrap_or(schema)
}

/// What a value is.
fn kind(root: &Value, schema: &Value) -> String {
    let plain = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<String> = values
            .iter()
            .map(|one| format!("`{}`", plain(one)))
            .collect();
        return values.join(" ");
    }
    if !schema["const"].is_null() {
        return format!("`{}`", plain(&schema["const"]));
    }
    for shapes in ["anyOf", "oneOf"] {
        if let Some(shapes) = schema[shapes].as_array() {
            let shapes: Vec<String> = shapes
                .iter()
                .map(|one| kind(root, followed(root, one)))
                .collect();
            return shapes.join(" or ");
        }
    }
    let named = match &schema["type"] {
        Value::Array(names) => names.iter().map(plain).collect::<Vec<_>>().join(" or "),
        Value::Null => String::new(),
        name => plain(name),
    };
    if named == "array" && schema["items"].is_object() {
        let items = kind(root, followed(root, &schema["items"]));
        return format!("array of {items}");
    }
    named
}

/// A sentence of the help as Markdown has it: what looks like a tag stays what it is.
fn prose(text: &str) -> String {
    text.replace('<', "\\<").replace('\n', " ")
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
