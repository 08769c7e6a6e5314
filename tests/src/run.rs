//! Owns [`Run`]: what a process that has ended left behind.

use std::{
    os::unix::process::ExitStatusExt,
    process::{ExitStatus, Output},
};

use serde_json::Value;

/// A process that has ended.
#[derive(Debug, Clone)]
pub struct Run {
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed.
    pub stdout: String,
    /// What it complained.
    pub stderr: String,
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("output is UTF-8");
        Self {
            status: output.status,
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

impl Run {
    /// The exit code; panics with all output when a signal ended the process.
    pub fn code(&self) -> i32 {
        self.status
            .code()
            .unwrap_or_else(|| panic!("ended by a signal: {self:?}"))
    }

    /// Whether SIGKILL ended the process.
    pub fn was_killed(&self) -> bool {
        self.status.signal() == Some(9)
    }

    /// Panics with all output unless the exit code is `code`.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        let Self {
            status,
            stdout,
            stderr,
        } = &self;
        assert_eq!(
            status.code(),
            Some(code),
            "{status}\n-- stdout\n{stdout}\n-- stderr\n{stderr}"
        );
        self
    }

    /// Standard output as one JSON document.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("no JSON document: {error}\n{self:?}"))
    }

    /// Standard output, then standard error, as a person would see them.
    pub fn text(&self) -> String {
        let code = self.code();
        let mut text = self.stdout.clone();
        if !self.stderr.is_empty() {
            text.push_str("-- stderr\n");
            text.push_str(&self.stderr);
        }
        text.push_str("-- exit ");
        text.push_str(&code.to_string());
        text.push('\n');
        text
    }
}
