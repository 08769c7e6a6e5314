//! `synapse doctor`: looks at everything that commands rest on, and says what to mend.

mod kept;
mod platform;
mod tools;

use std::time::Instant;

use serde::Serialize;
use serde_json::json;
use synapse_engine::Failure;

use crate::{
    app::App,
    args,
    render::{BAD, DIM, GOOD, HINT, Printer, WARN, paint},
};

/// The exit code when something failed.
const FAILED: u8 = 3;

/// How one thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// As it should be.
    Ok,
    /// Good to know; nothing is wrong.
    Note,
    /// Something does not work as well as it could, or may soon not work.
    Warning,
    /// Commands fail because of it.
    Failed,
}

/// What was found out about one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Finding {
    /// Which thing.
    check: &'static str,
    /// How it is.
    state: State,
    /// The same in words. No secret is among them.
    text: String,
    /// What to do about it.
    hint: Option<String>,
}

impl Finding {
    fn new(check: &'static str, state: State, text: impl Into<String>) -> Self {
        Self {
            check,
            state,
            text: text.into(),
            hint: None,
        }
    }

    fn ok(check: &'static str, text: impl Into<String>) -> Self {
        Self::new(check, State::Ok, text)
    }

    fn note(check: &'static str, text: impl Into<String>) -> Self {
        Self::new(check, State::Note, text)
    }

    fn warning(check: &'static str, text: impl Into<String>) -> Self {
        Self::new(check, State::Warning, text)
    }

    fn failed(check: &'static str, text: impl Into<String>) -> Self {
        Self::new(check, State::Failed, text)
    }

    /// A failure of whatever was tried.
    fn of(check: &'static str, failure: &Failure) -> Self {
        let mut finding = Self::failed(check, failure.message.clone());
        let place = failure.place.as_ref();
        if let Some(place) = place.filter(|place| !finding.text.contains(place.as_str())) {
            finding.text = format!("{place}: {}", finding.text);
        }
        finding.hint.clone_from(&failure.hint);
        finding
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Runs the command; returns the exit code.
pub fn run(app: &App, args: &args::Doctor) -> Result<u8, Failure> {
    let start = Instant::now();
    let machine = app.output.is_machine();
    let mut printer = Printer::stdout(&app.output);
    let mut found: Vec<Finding> = Vec::new();
    let checks: [&dyn Fn() -> Vec<Finding>; 6] = [
        &|| kept::configuration(app),
        &|| platform::check(app, args),
        &|| platform::surroundings(app),
        &|| tools::python(app),
        &|| tools::others(app),
        &|| kept::folders(app),
    ];
    for check in checks {
        let findings = check();
        if app.cancel.cancelled() {
            return Err(Failure::cancelled());
        }
        for finding in findings {
            if !machine && (!app.output.quiet || finding.state == State::Failed) {
                show(&mut printer, &finding);
                printer.flush();
            }
            found.push(finding);
        }
    }
    let count = |state| {
        found
            .iter()
            .filter(|finding| finding.state == state)
            .count() as u64
    };
    let (failed, warnings) = (count(State::Failed), count(State::Warning));
    if machine {
        printer.json(&json!({
            "schema": 1, "command": "doctor", "ok": failed == 0,
            "elapsed_ms": start.elapsed().as_millis() as u64,
            "failed": failed, "warnings": warnings, "checks": found,
        }));
    } else if !app.output.quiet {
        printer.line(match (failed, warnings) {
            (0, 0) => "nothing is wrong".to_owned(),
            (0, warnings) => crate::render::count(warnings, "warning"),
            (failed, 0) => format!("{failed} failed"),
            (failed, warnings) => {
                format!(
                    "{failed} failed, {}",
                    crate::render::count(warnings, "warning")
                )
            }
        });
    }
    Ok(if failed == 0 { 0 } else { FAILED })
}

fn show(printer: &mut Printer, finding: &Finding) {
    let (style, word) = match finding.state {
        State::Ok => (GOOD, "ok"),
        State::Note => (DIM, "note"),
        State::Warning => (WARN, "warning"),
        State::Failed => (BAD, "failed"),
    };
    printer.line(format!(
        "{} {:12} {}",
        paint(style, format!("{word:>7}")),
        finding.check,
        finding.text
    ));
    if let Some(hint) = &finding.hint {
        let pad = " ".repeat(20);
        printer.line(format!("{pad} {} {hint}", paint(HINT, "hint:")));
    }
}
