//! Owns the inspection of one plugin: sources first, then questions to Python for the forms that
//! need it, and for nothing else.

use std::{collections::BTreeMap, path::Path};

use ruff_python_ast::PythonVersion;
use ruff_python_parser::{Mode, ParseOptions};
use synapse_engine::{Cancel, Failure};

use super::{
    Described, FORMS, Form, Inspection, Kind, Note,
    actions::{self, Entry, Read, Reading, note},
    classes::Params,
    modules::Modules,
    schemas::{Answer, Question, Request, Schemas},
};

/// Where a plugin's modules believe to lie while they are inspected. Not where they do: what a
/// module finds beside itself would depend on files that are no input of the inspection, and a
/// default made of its own path would differ from machine to machine.
pub const FOLDER: &str = "/synapse/plugin";

/// Stack for reading sources: a parser's depth is the text's own.
const STACK: usize = 256 << 20;

/// What is inspected.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Path in the plugin to text: all of its Python files.
    pub sources: &'a BTreeMap<String, String>,
    /// Actions of its config.
    pub entries: &'a [Entry],
    /// The Python that it needs, as its config has it.
    pub requires: Option<&'a str>,
    /// Its own folder, when its modules are to be imported from there with the packages of an
    /// environment.
    pub real: Option<&'a Path>,
}

/// What the sources say, without Python.
pub(super) fn read(
    sources: &BTreeMap<String, String>,
    entries: &[Entry],
) -> Result<Reading, Failure> {
    on_deep_stack(|| actions::read(&Modules::new(sources), entries))
}

/// Does what parses sources.
pub(super) fn on_deep_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, Failure> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .stack_size(STACK)
            .spawn_scoped(scope, work);
        let thread = thread.map_err(|error| {
            Failure::environment("threads", format!("cannot start a thread: {error}"))
        })?;
        thread
            .join()
            .map_err(|panic| Failure::panicked(panic.as_ref()))
    })
}

/// Inspects a plugin.
pub fn inspect(
    subject: &Subject<'_>,
    schemas: &dyn Schemas,
    cancel: &Cancel,
) -> Result<Inspection, Failure> {
    let Subject {
        sources,
        entries,
        requires,
        real,
    } = *subject;
    let reading = read(sources, entries)?;
    let mut notes = reading.notes;
    let (mut own, mut found) = (reading.actions, reading.found);
    let questions: Vec<Question> = own
        .iter()
        .chain(&found)
        .filter_map(|(action, read)| question(action, read, real.is_some()))
        .collect();
    if !questions.is_empty() {
        let request = Request {
            folder: real.unwrap_or(Path::new(FOLDER)),
            sources,
            requires,
            questions: &questions,
            real: real.is_some(),
        };
        let mut answers = schemas.ask(&request, cancel)?;
        for question in &questions {
            let answer = answers.remove(&question.action).ok_or_else(|| {
                Failure::bug(format!("no answer on the action {}", question.action))
            })?;
            if answer.syntax {
                too_old(sources, &answer)?;
            }
            let read = own
                .get_mut(&question.action)
                .or_else(|| found.get_mut(&question.action));
            if let Some(read) = read {
                take(
                    question,
                    answer,
                    &mut read.described,
                    real.is_some(),
                    &mut notes,
                );
            }
        }
    }
    notes.sort();
    notes.dedup();
    let described = |all: BTreeMap<String, Read>| {
        all.into_iter()
            .map(|(action, read)| (action, read.described))
            .collect()
    };
    Ok(Inspection {
        actions: described(own),
        found: described(found),
        notes,
    })
}

fn question(action: &str, read: &Read, real: bool) -> Option<Question> {
    let form = FORMS.contains(&action) && read.params != Params::Absent;
    (form || real).then(|| Question {
        action: action.to_owned(),
        module: read.module.clone(),
        object: read.object.clone(),
        params: read.described.params.clone(),
        form,
        given: None,
    })
}

/// The key of an action's form.
fn form_key(action: &str) -> &'static str {
    if action == "upload" {
        "ui_schema"
    } else {
        "hyperparameters"
    }
}

fn take(
    question: &Question,
    answer: Answer,
    described: &mut Described,
    real: bool,
    notes: &mut Vec<Note>,
) {
    let action = &question.action;
    if let Some(metadata) = answer.metadata.filter(|_| real) {
        if described.kind.is_none() {
            described.kind = Some(if answer.function {
                Kind::Function
            } else {
                Kind::Class
            });
        }
        // What the sources say is what a run says; the rest is only known now.
        let told = [
            ("method", &mut described.method, metadata.method),
            ("input_type", &mut described.input_type, metadata.input_type),
            (
                "output_type",
                &mut described.output_type,
                metadata.output_type,
            ),
        ];
        for (key, own, new) in told {
            if own.is_none() {
                *own = new;
            }
            for note in notes.iter_mut().filter(|note| note.action == *action) {
                note.keys.retain(|noted| noted != key);
            }
        }
        notes.retain(|note| note.action != *action || !note.keys.is_empty());
    }
    if !question.form {
        return;
    }
    match (answer.fields, answer.reason) {
        (Some(fields), _) if answer.modelled => {
            let (excluded, hidden) = (answer.excluded, answer.hidden);
            described.form = Some(Form {
                fields,
                excluded,
                hidden,
            });
        }
        (Some(_), _) | (None, None) => {}
        (None, Some(why)) => notes.push(note(action, &[form_key(action)], why)),
    }
}

/// An interpreter that cannot compile what is Python is the machine's trouble: elsewhere the same
/// sources would give another result.
fn too_old(sources: &BTreeMap<String, String>, answer: &Answer) -> Result<(), Failure> {
    let mut needed = PythonVersion::PY310;
    for text in sources.values() {
        for version in [
            PythonVersion::PY310,
            PythonVersion::PY311,
            PythonVersion::PY312,
            PythonVersion::PY313,
            PythonVersion::PY314,
            PythonVersion::PY315,
        ] {
            let options = ParseOptions::from(Mode::Module).with_target_version(version);
            let parsed = ruff_python_parser::parse_unchecked(text, options);
            if !parsed.has_valid_syntax() {
                // Nor is it for the interpreter: that is for a note.
                break;
            }
            if parsed.unsupported_syntax_errors().is_empty() {
                needed = needed.max(version);
                break;
            }
        }
    }
    if needed == PythonVersion::PY310 {
        return Ok(());
    }
    let why = answer
        .reason
        .as_deref()
        .unwrap_or("a module cannot be compiled");
    let what = format!("the plugin's syntax needs Python {needed} or newer to be inspected: {why}");
    Err(Failure::environment("python-too-old", what).hint(format!(
        "install Python {needed}, or say so in config.yaml under requires: python: \">={needed}\""
    )))
}
