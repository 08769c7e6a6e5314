//! Owns what `synapse plugin create` says: the preview, what was made, what to do next.

use serde_json::{Value, json};
use synapse_rules::{
    config::Category,
    create::{self, member::State},
};

use super::{BOLD, DIM, GOOD, HINT, Printer, WARN, count, paint};
use crate::commands::create::Made;

/// A category, with what its template makes.
pub fn category(own: Category) -> String {
    let what = match own {
        Category::NeuralNet => "trains, tests and deploys a model",
        Category::Export => "writes data out",
        Category::Upload => "brings data in",
        Category::SmartTool => "helps annotators while they work",
        Category::PostAnnotation => "cleans up annotations",
        Category::PreAnnotation => "proposes annotations",
        Category::DataValidation => "checks data and annotations",
        Category::Custom => "anything else",
    };
    format!("{own}: {what}")
}

/// What would be made, before anything is.
pub fn preview(printer: &mut Printer, made: &Made<'_>) {
    for line in create::tree(&made.shown.display().to_string(), made.files) {
        printer.line(line);
    }
    if let Some(membership) = made.membership {
        let file = synapse_rules::workspace::FILE;
        printer.line(match &membership.state {
            State::Taken(pattern) => paint(
                DIM,
                format!("a member of the workspace already, by {pattern}"),
            ),
            State::Added => format!("{file}: adds {} to its members", membership.place),
            State::Out(why) => {
                format!("{} no member of the workspace: {why}", paint(WARN, "note:"))
            }
        });
    }
}

/// What was made, and what to do next.
pub fn made(printer: &mut Printer, made: &Made<'_>) {
    let files = count(made.files.len() as u64, "file");
    printer.line(format!(
        "{} {} {}",
        paint(GOOD, "created"),
        paint(BOLD, made.shown.display()),
        paint(DIM, files)
    ));
    if let Some(membership) = made.membership.filter(|own| own.state == State::Added) {
        printer.line(format!(
            "added {} to the workspace's members",
            membership.place
        ));
    }
    printer.line(paint(HINT, "next:"));
    for command in &made.next {
        printer.line(format!("  {command}"));
    }
}

/// The same as a document.
pub fn document(made: &Made<'_>) -> Value {
    let answers = made.answers;
    let workspace = made.membership.map(|own| {
        let (state, pattern, why) = match &own.state {
            State::Taken(pattern) => ("member", Some(pattern), None),
            State::Added => ("added", None, None),
            State::Out(why) => ("outside", None, Some(why)),
        };
        json!({
            "root": own.root.display().to_string(), "member": own.place,
            "state": state, "pattern": pattern, "why": why,
        })
    });
    let files: Vec<&str> = made.files.iter().map(|file| file.path.as_str()).collect();
    json!({
        "schema": 1, "command": "create", "ok": true,
        "path": made.target.display().to_string(), "files": files,
        "code": answers.code, "name": answers.name, "category": answers.category,
        "data_type": answers.data_type, "tasks": answers.tasks,
        "template": made.template, "workspace": workspace, "next": made.next, "errors": [],
    })
}

/// A word of a shell's command.
pub fn word(text: &str) -> String {
    let fine = |c: char| c.is_alphanumeric() || "._/-+@".contains(c);
    if !text.is_empty() && text.chars().all(fine) && !text.starts_with('-') {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_would_cut_them() {
        assert_eq!(word("plugins/synapse-a-plugin"), "plugins/synapse-a-plugin");
        assert_eq!(word("my plugins/a"), "'my plugins/a'");
        assert_eq!(word("it's"), "'it'\\''s'");
    }
}
