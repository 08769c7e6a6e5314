//! Owns the command line as the journal has it: put together from what is known to be harmless.
//! Values that may be secret, such as a token or parameters, never come near it.

use std::path::Path;

use super::Words;
use crate::args::{
    Bump, Command, Connection, EnvironmentChoice, Mode, PluginCommand, Publish, RunOptions,
    Selection, To, Upload,
};

/// The line of a command that is noted; none of any other.
pub(super) fn of(command: &Command) -> Option<Words> {
    let Command::Plugin(command) = command else {
        return None;
    };
    let (command, line) = match command {
        // A preview does nothing.
        PluginCommand::Publish(args) if !args.dry_run => ("publish", publish(args)),
        PluginCommand::Upload(args) => ("upload", upload(args)),
        PluginCommand::Run(args) => {
            let line = Line::new("plugin run").word(&quoted(&args.action));
            ("run", run(line, &args.options))
        }
        PluginCommand::Infer(args) => ("run", run(Line::new("plugin infer"), args)),
        PluginCommand::Deploy(args) => ("run", run(Line::new("plugin deploy"), args)),
        _ => return None,
    };
    Some(Words {
        command,
        line: line.0,
    })
}

struct Line(String);

impl Line {
    fn new(command: &str) -> Self {
        Self(command.to_owned())
    }

    fn word(mut self, word: &str) -> Self {
        self.0.push(' ');
        self.0.push_str(word);
        self
    }

    fn flag(self, given: bool, option: &str) -> Self {
        if given { self.word(option) } else { self }
    }

    fn value(self, option: &str, value: Option<impl AsRef<str>>) -> Self {
        match value {
            Some(value) => self.word(option).word(&quoted(value.as_ref())),
            None => self,
        }
    }

    fn values(self, option: &str, values: &[String]) -> Self {
        let each = values.iter();
        each.fold(self, |line, value| line.value(option, Some(value)))
    }

    fn path(self, option: &str, path: Option<&Path>) -> Self {
        self.value(option, path.map(Path::to_string_lossy))
    }

    /// An option that was given, without its value.
    fn hidden(self, given: bool, option: &str) -> Self {
        self.flag(given, option).flag(given, "...")
    }
}

/// As a shell reads it as one word.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./@:,=+%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''").replace('\n', " "))
}

/// A name as it is; an address, which may hold a password, not.
fn named(line: Line, option: &str, stores: &[String]) -> Line {
    stores.iter().fold(line, |line, store| {
        let name = Some(store).filter(|store| !store.contains(['/', ':', '@']));
        line.hidden(name.is_none(), option).value(option, name)
    })
}

fn selection(line: Line, args: &Selection) -> Line {
    line.flag(args.all, "--all")
        .values("--plugin", &args.plugin)
        .path("--path", args.path.as_deref())
        .path("--config", args.config.as_deref())
}

fn connection(line: Line, args: &Connection) -> Line {
    line.value("--profile", args.profile.as_ref())
        .hidden(args.host.is_some(), "--host")
        .hidden(args.token.is_some(), "--token")
        .flag(args.allow_http, "--allow-http")
}

fn to(line: Line, args: &To) -> Line {
    let line = line
        .flag(args.local, "--local")
        .values("--target", &args.target)
        .flag(args.verify, "--verify");
    connection(line, &args.connection)
}

fn publish(args: &Publish) -> Line {
    let line = selection(Line::new("plugin publish"), &args.selection);
    let bump = args.bump.map(|level| match level {
        Bump::Patch => "patch",
        Bump::Minor => "minor",
        Bump::Major => "major",
    });
    let line = to(line, &args.to)
        .flag(args.debug, "--debug")
        .value("--bump", bump)
        .flag(args.fail_fast, "--fail-fast")
        .value("--jobs", args.jobs.map(|jobs| jobs.to_string()))
        .hidden(!args.allow_secret.is_empty(), "--allow-secret");
    named(line, "--storage", &args.stores.storage).flag(args.stores.no_storage, "--no-storage")
}

fn upload(args: &Upload) -> Line {
    let line = selection(Line::new("plugin upload"), &args.selection);
    named(line, "--storage", &args.storage)
        .value("--profile", args.profile.as_ref())
        .flag(args.wheel, "--wheel")
        .flag(args.release, "--release")
        .flag(args.verify, "--verify")
        .flag(args.allow_http, "--allow-http")
        .flag(args.fail_fast, "--fail-fast")
        .value("--jobs", args.jobs.map(|jobs| jobs.to_string()))
        .hidden(!args.allow_secret.is_empty(), "--allow-secret")
}

fn run(line: Line, args: &RunOptions) -> Line {
    let mode = args.mode.map(|mode| match mode {
        Mode::Local => "local",
        Mode::Task => "task",
        Mode::Job => "job",
        Mode::Remote => "remote",
    });
    let environment = match args.environment.env {
        EnvironmentChoice::Auto => None,
        EnvironmentChoice::Active => Some("active"),
        EnvironmentChoice::Managed => Some("managed"),
    };
    let line = line
        .value("--plugin", args.plugin.as_ref())
        .path("--path", args.path.as_deref())
        .hidden(args.params.is_some(), "--params")
        .value("--mode", mode)
        .flag(args.no_debug, "--no-debug")
        .value("--gpus", args.gpus.map(|own| own.to_string()))
        .value("--cpus", args.cpus.map(|own| own.to_string()))
        .value("--memory", args.memory.as_ref())
        .value("--lang", args.lang.as_ref())
        .value("--timeout", args.timeout.as_ref())
        .flag(args.reuse, "--reuse")
        .value("--env", environment)
        .value("--python", args.environment.python.as_ref())
        .flag(args.environment.locked, "--locked")
        .flag(args.environment.upgrade, "--upgrade")
        .flag(args.environment.offline, "--offline")
        .flag(args.remote.detach, "--detach")
        .value("--agent", args.remote.agent.as_ref())
        .value("--version", args.remote.version.as_ref());
    connection(line, &args.remote.connection)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::Cli;

    fn line(given: &[&str]) -> Option<String> {
        let all = ["synapse"].iter().chain(given);
        of(&Cli::try_parse_from(all).unwrap().command).map(|words| words.line)
    }

    #[test]
    fn values_that_may_be_secret_are_left_out() {
        let told = line(&[
            "plugin",
            "run",
            "train",
            "--params",
            "{\"key\": \"hush\"}",
            "--token",
            "hush-token",
            "--host",
            "https://user:hush@example.org",
            "--path",
            "a b",
            "--mode",
            "remote",
        ]);
        assert_eq!(
            told.unwrap(),
            "plugin run train --path 'a b' --params ... --mode remote --host ... --token ..."
        );
        let told = line(&[
            "plugin",
            "upload",
            "--storage",
            "s3://id:hush@bucket",
            "--storage",
            "nightly",
            "--allow-secret",
            "hush*",
            "--all",
            "--json",
        ]);
        assert_eq!(
            told.unwrap(),
            "plugin upload --all --storage ... --storage nightly --allow-secret ..."
        );
    }

    #[test]
    fn what_changes_nothing_is_not_noted() {
        assert_eq!(line(&["plugin", "publish", "--all", "--dry-run"]), None);
        assert_eq!(line(&["plan"]), None);
        let told = line(&[
            "plugin", "publish", "--plugin", "a", "--local", "--bump", "patch",
        ]);
        assert_eq!(
            told.unwrap(),
            "plugin publish --plugin a --local --bump patch"
        );
    }
}
