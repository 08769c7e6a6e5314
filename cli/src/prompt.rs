//! Owns questions to the person at the terminal. Where there is nobody to ask, the command says
//! which options answer instead.

use std::io::{self, IsTerminal, Write};

use dialoguer::{
    Confirm, Input, Select,
    theme::{ColorfulTheme, SimpleTheme, Theme},
};
use synapse_engine::{Cancel, Failure};

use crate::{
    app::App,
    args::Color,
    render::board::{self, Paused},
};

/// Shows the cursor, which a question that was interrupted has hidden, and begins a line.
const SHOWN: &[u8] = b"\x1b[?25h\n";

/// Somebody to ask.
pub struct Prompt {
    theme: Box<dyn Theme>,
    /// Ctrl-C before the terminal gives its keys to the question.
    cancel: Cancel,
    /// The live area would be drawn over the question.
    _paused: Paused,
}

impl Prompt {
    /// Somebody to ask; `instead` is the hint that is given where nobody is, such as
    /// "--yes publishes without asking". It is wrong use (exit 2) to need an answer there.
    pub fn of(app: &App, instead: &str) -> Result<Self, Failure> {
        let why = if app.output.is_machine() {
            "a program reads the output"
        } else if io::stdin().is_terminal() && io::stderr().is_terminal() {
            let plain = match app.output.color {
                Color::Never => true,
                Color::Always => false,
                Color::Auto => is_set(app, "NO_COLOR"),
            };
            let theme: Box<dyn Theme> = if plain {
                Box::new(SimpleTheme)
            } else {
                Box::new(ColorfulTheme::default())
            };
            return Ok(Self {
                theme,
                cancel: app.cancel.clone(),
                _paused: board::get().pause(),
            });
        } else {
            "there is no terminal"
        };
        let mut failure = Failure::usage(format!("there is nobody to ask: {why}")).hint(instead);
        "no-terminal".clone_into(&mut failure.code);
        Err(failure)
    }

    /// Yes or no; `default` is what Enter alone means.
    pub fn confirm(&self, question: &str, default: bool) -> Result<bool, Failure> {
        let asked = Confirm::with_theme(&*self.theme)
            .with_prompt(question)
            .default(default)
            .interact();
        self.answered(asked)
    }

    /// A line of text; asked again until `check` finds nothing wrong with it.
    pub fn text(
        &self,
        question: &str,
        default: Option<&str>,
        check: impl Fn(&str) -> Result<(), String>,
    ) -> Result<String, Failure> {
        let mut input = Input::<String>::with_theme(&*self.theme)
            .with_prompt(question)
            .validate_with(move |given: &String| check(given));
        if let Some(default) = default {
            input = input.default(default.to_owned());
        }
        self.answered(input.interact_text())
    }

    /// One of `items`, by its place; the cursor starts at `first`.
    pub fn select(&self, question: &str, items: &[String], first: usize) -> Result<usize, Failure> {
        let asked = Select::with_theme(&*self.theme)
            .with_prompt(question)
            .items(items)
            .default(first)
            .interact();
        self.answered(asked)
    }

    /// What came of a question: Ctrl-C and a closed terminal are no answers.
    fn answered<T>(&self, asked: dialoguer::Result<T>) -> Result<T, Failure> {
        let answer = asked.map_err(|error| {
            let _ = io::stderr().write_all(SHOWN);
            let error = io::Error::from(error);
            match error.kind() {
                io::ErrorKind::Interrupted | io::ErrorKind::UnexpectedEof => Failure::cancelled(),
                _ => Failure::environment("terminal", format!("cannot ask: {error}"))
                    .hint("answer by options: --help lists them"),
            }
        })?;
        if self.cancel.cancelled() {
            return Err(Failure::cancelled());
        }
        Ok(answer)
    }
}

fn is_set(app: &App, name: &str) -> bool {
    (app.variable)(name).is_some_and(|value| !value.is_empty())
}
