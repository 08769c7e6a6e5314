//! Owns what a shell is told could come next. It is asked at every press of a key: nothing is
//! started, asked over a network or written, and whatever goes wrong is silent.

mod values;

use std::{
    ffi::{OsStr, OsString},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Arg, Command, ValueHint};
use clap_complete::{
    CompletionCandidate,
    engine::{ArgValueCandidates, ArgValueCompleter, PathCompleter, ValueCompleter},
    env::CompleteEnv,
};

use crate::home::Home;

/// The variable by which a shell's script says that it asks, and which shell it is.
pub const VARIABLE: &str = "SYNAPSE_COMPLETE";

/// Answers a shell, if it is one that runs this command.
pub fn answer() -> Option<ExitCode> {
    std::env::var_os(VARIABLE).filter(|shell| !shell.is_empty())?;
    // What a panic would print would stand in the middle of the line that is typed.
    std::panic::set_hook(Box::new(|_| {}));
    let _ = std::panic::catch_unwind(|| {
        let here = std::env::current_dir().ok();
        let completing = CompleteEnv::with_factory(command).var(VARIABLE);
        completing.try_complete(std::env::args_os(), here.as_deref())
    });
    Some(ExitCode::SUCCESS)
}

/// The command line with what stands for its values.
pub fn command() -> Command {
    let line = Line::of(std::env::args_os());
    let home = Home::find(|name| std::env::var_os(name)).ok();
    filled(crate::command(), "", &Asked { line, home })
}

/// What is asked for, and where answers are.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The line so far.
    pub line: Line,
    /// Where things are kept.
    pub home: Option<Home>,
}

/// A command line that is being typed.
#[derive(Debug, Clone, Default)]
pub struct Line {
    words: Vec<OsString>,
}

impl Line {
    /// The words after the first `--`, which stands between the shell's and the person's.
    pub fn of(arguments: impl Iterator<Item = OsString>) -> Self {
        let words = arguments.skip_while(|word| word != "--").skip(2);
        Self {
            words: words.collect(),
        }
    }

    /// The value of an option, given as `--name value`, `--name=value` or `-n value`.
    fn option(&self, long: &str, short: Option<&str>) -> Option<&OsStr> {
        let mut words = self.words.iter();
        while let Some(word) = words.next() {
            if word == long || short.is_some_and(|short| word == short) {
                return words.next().map(OsString::as_os_str);
            }
            let text = word.to_str().unwrap_or_default();
            let value = text
                .strip_prefix(long)
                .and_then(|rest| rest.strip_prefix('='));
            if let Some(value) = value {
                return Some(OsStr::new(value));
            }
        }
        None
    }

    /// Whether `-p` is short for `--plugin` here, not for `--path`.
    fn runs(&self) -> bool {
        let runs = ["run", "infer", "deploy", "test", "runs"];
        self.words
            .iter()
            .any(|word| runs.iter().any(|own| word == own))
    }

    /// The folder that the command is about.
    fn folder(&self) -> PathBuf {
        let here = std::env::current_dir().unwrap_or_default();
        let short = (!self.runs()).then_some("-p");
        self.option("--path", short)
            .map_or(here.clone(), |path| here.join(path))
    }

    /// The plugin that the command is about.
    fn plugin(&self) -> Option<&str> {
        let short = self.runs().then_some("-p");
        self.option("--plugin", short)?.to_str()
    }
}

/// The commands with what stands for their values.
fn filled(command: Command, path: &str, asked: &Asked) -> Command {
    let names: Vec<String> = command
        .get_subcommands()
        .map(|below| below.get_name().to_owned())
        .collect();
    let mut command = command.mut_args(|argument| value(path, argument, asked));
    for name in names {
        let path = format!("{path} {name}");
        command = command.mut_subcommand(name, |below| filled(below, &path, asked));
    }
    command
}

fn value(command: &str, argument: Arg, asked: &Asked) -> Arg {
    let list = |list: fn(&Asked) -> Vec<CompletionCandidate>| {
        let asked = asked.clone();
        ArgValueCandidates::new(move || list(&asked))
    };
    let holder = argument.get_value_names().and_then(|names| names.first());
    let holder = holder.map(ToString::to_string).unwrap_or_default();
    match (argument.get_id().as_str(), command) {
        ("plugin", _) | ("subject", " explain") => argument.add(list(values::plugins)),
        ("action", " plugin run") => argument.add(list(values::actions)),
        ("stage", _) => argument.add(list(values::stages)),
        ("profile" | "target", _) | ("name", " profile use") => {
            argument.add(list(values::profiles))
        }
        ("id", " runs show" | " runs stop") => argument.add(list(values::runs)),
        ("category", _) => argument.add(list(values::categories)),
        ("params", _) => argument.add(ArgValueCompleter::new(at_file)),
        _ if holder == "DIR" => argument.value_hint(ValueHint::DirPath),
        _ if holder.contains("FILE") || holder.contains("PATH") => {
            argument.value_hint(ValueHint::AnyPath)
        }
        _ => argument,
    }
}

/// `@FILE`.
fn at_file(current: &OsStr) -> Vec<CompletionCandidate> {
    let Some(path) = current.to_str().and_then(|text| text.strip_prefix('@')) else {
        return Vec::new();
    };
    let found = PathCompleter::any().complete(OsStr::new(path));
    found.into_iter().map(|own| own.add_prefix("@")).collect()
}
