//! Owns wrong use of the command line: what clap says of it, in the form of all other errors,
//! with the command or option that was meant.

use std::ffi::OsString;

use clap::{
    Command,
    error::{ContextKind, ContextValue, ErrorKind},
};
use synapse_engine::Failure;

use crate::commands::nearest;

/// Names that people try, and the command that does it here.
const OTHER_NAMES: [(&str, &str); 14] = [
    ("init", "plugin create"),
    ("new", "plugin create"),
    ("create", "plugin create"),
    ("deploy-plugin", "plugin publish"),
    ("push", "plugin publish"),
    ("release", "plugin publish"),
    ("auth", "login"),
    ("signin", "login"),
    ("signout", "logout"),
    ("logs", "runs show"),
    ("ps", "runs"),
    ("serve", "backend serve"),
    ("check", "doctor"),
    ("gc", "cache gc"),
];

/// What is wrong with a command line, and its usage in a line.
pub struct Misuse {
    /// The failure.
    pub failure: Failure,
    /// How the command is used.
    pub usage: Option<String>,
}

/// What clap says, as a failure.
pub fn of(error: &clap::Error, root: &Command, arguments: &[OsString]) -> Misuse {
    let plain = error.to_string();
    let usage = plain
        .lines()
        .find_map(|line| line.strip_prefix("Usage: "))
        .map(str::to_owned);
    let at = meant(root, arguments);
    let failure = Failure::usage(message(error, &plain, &at)).hint(hint(error, root, &at));
    Misuse { failure, usage }
}

fn text(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(texts) => Some(texts.join(", ")),
        ContextValue::StyledStr(text) => Some(text.to_string()),
        ContextValue::StyledStrs(texts) => {
            let texts: Vec<String> = texts.iter().map(ToString::to_string).collect();
            Some(texts.join(", "))
        }
        _ => None,
    }
}

fn message(error: &clap::Error, plain: &str, at: &[String]) -> String {
    let of = |kind| text(error, kind).unwrap_or_default();
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let given = of(ContextKind::InvalidSubcommand);
            format!("there is no command {}", joined(at, &given))
        }
        ErrorKind::UnknownArgument => {
            let given = of(ContextKind::InvalidArg);
            if given.starts_with('-') {
                format!("there is no option {given}{}", whose(at))
            } else {
                format!("{given:?} is one argument too many{}", whose(at))
            }
        }
        ErrorKind::MissingRequiredArgument => {
            format!("{} is missing", of(ContextKind::InvalidArg))
        }
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            format!("{} takes a command", joined(at, ""))
        }
        ErrorKind::InvalidValue if of(ContextKind::InvalidValue).is_empty() => {
            format!("{} takes a value", of(ContextKind::InvalidArg))
        }
        ErrorKind::InvalidValue => format!(
            "{:?} is no value of {}",
            of(ContextKind::InvalidValue),
            of(ContextKind::InvalidArg)
        ),
        _ => {
            // What it says of others is well said; its first paragraph is the message.
            let first = plain.split("\n\n").next().unwrap_or(plain);
            let first = first.strip_prefix("error: ").unwrap_or(first);
            let lines: Vec<&str> = first.lines().map(str::trim).collect();
            lines.join(" ")
        }
    }
}

fn hint(error: &clap::Error, root: &Command, at: &[String]) -> String {
    let of = |kind| text(error, kind).filter(|text| !text.is_empty());
    let help = format!("{} --help tells more", joined(at, ""));
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let given = of(ContextKind::InvalidSubcommand).unwrap_or_default();
            if given == "help" {
                return format!("{} --help shows the help", joined(at, ""));
            }
            let found = elsewhere(root, at, &given);
            match found.or_else(|| of(ContextKind::SuggestedSubcommand).map(|own| joined(at, &own)))
            {
                Some(command) => format!("did you mean {command}?"),
                None => format!("{} --help lists the commands", joined(at, "")),
            }
        }
        ErrorKind::UnknownArgument => {
            match of(ContextKind::SuggestedArg).or_else(|| near_option(error, root, at)) {
                Some(option) => format!("did you mean {option}?"),
                None => format!("{} --help lists the options", joined(at, "")),
            }
        }
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let names: Vec<String> = command_at(root, at)
                .get_subcommands()
                .filter(|command| !command.is_hide_set())
                .map(|command| command.get_name().to_owned())
                .collect();
            format!("one of {}", names.join(", "))
        }
        ErrorKind::InvalidValue => {
            match (of(ContextKind::SuggestedValue), of(ContextKind::ValidValue)) {
                (Some(near), _) => format!("did you mean {near}?"),
                (None, Some(all)) => format!("it is one of {all}"),
                (None, None) => help,
            }
        }
        ErrorKind::ArgumentConflict => "leave one of them out".to_owned(),
        _ => help,
    }
}

/// The option of the command that is nearest to one which it has not, where clap knows none.
fn near_option(error: &clap::Error, root: &Command, at: &[String]) -> Option<String> {
    let given = text(error, ContextKind::InvalidArg)?;
    let given = given.strip_prefix("--")?;
    let command = command_at(root, at);
    let own = command.get_arguments().filter(|own| !own.is_hide_set());
    let names: Vec<&str> = own.filter_map(|own| own.get_long()).collect();
    nearest(given, names).map(|name| format!("--{name}"))
}

/// The command of that name, or of what that name means, that lies elsewhere in the tree.
fn elsewhere(root: &Command, at: &[String], given: &str) -> Option<String> {
    fn find(command: &Command, path: &str, wanted: &str) -> Option<String> {
        let below = || command.get_subcommands().filter(|own| !own.is_hide_set());
        if let Some(own) = below().find(|own| own.get_name() == wanted) {
            return Some(format!("{path} {}", own.get_name()));
        }
        below().find_map(|own| find(own, &format!("{path} {}", own.get_name()), wanted))
    }
    let other = OTHER_NAMES.iter().find(|(name, _)| *name == given);
    let meant = other.filter(|(_, meant)| {
        let path: Vec<String> = meant.split(' ').map(str::to_owned).collect();
        meant_path(root, &path) == path
    });
    if let Some((_, meant)) = meant {
        return Some(format!("synapse {meant}"));
    }
    // Below a command that is right, its own names are nearer than the same name elsewhere.
    let found = find(root, "synapse", given);
    found.filter(|_| at.is_empty() || at == ["plugin"])
}

/// The longest path of commands that the words name.
fn meant_path(root: &Command, words: &[String]) -> Vec<String> {
    let mut at = root;
    let mut path = Vec::new();
    for word in words {
        let Some(below) = at.find_subcommand(word) else {
            break;
        };
        path.push(below.get_name().to_owned());
        at = below;
    }
    path
}

/// The command that arguments which are not right were meant for, word by word.
pub fn meant(root: &Command, arguments: &[OsString]) -> Vec<String> {
    let mut at = root;
    let mut words = Vec::new();
    for argument in arguments {
        let Some(below) = at.find_subcommand(argument) else {
            continue;
        };
        words.push(below.get_name().to_owned());
        at = below;
    }
    words
}

fn command_at<'c>(root: &'c Command, at: &[String]) -> &'c Command {
    let mut command = root;
    for word in at {
        command = command.find_subcommand(word).unwrap_or(command);
    }
    command
}

fn joined(at: &[String], last: &str) -> String {
    let words = std::iter::once("synapse").chain(at.iter().map(String::as_str));
    let words: Vec<&str> = words.chain((!last.is_empty()).then_some(last)).collect();
    words.join(" ")
}

fn whose(at: &[String]) -> String {
    if at.is_empty() {
        String::new()
    } else {
        format!(" of {}", joined(at, ""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_other_tools_lead_to_commands_that_there_are() {
        let root = crate::command();
        for (given, expected) in [
            ("publish", Some("synapse plugin publish")),
            ("run", Some("synapse plugin run")),
            ("push", Some("synapse plugin publish")),
            ("logs", Some("synapse runs show")),
            ("gc", Some("synapse cache gc")),
            ("zzz", None),
        ] {
            assert_eq!(elsewhere(&root, &[], given).as_deref(), expected, "{given}");
        }
        let cache = ["cache".to_owned()];
        assert_eq!(elsewhere(&root, &cache, "publish"), None);
    }

    #[test]
    fn wrong_arguments_still_name_their_command() {
        let root = crate::command();
        for (given, name) in [
            ("plugin run train --bogus", "plugin run"),
            (
                "--json plugin --color always publish --bogus plan",
                "plugin publish",
            ),
            ("runs show", "runs show"),
            ("plugin", "plugin"),
            ("bogus plan --x", "plan"),
            ("--bogus", ""),
        ] {
            let arguments: Vec<OsString> = given.split(' ').map(OsString::from).collect();
            assert_eq!(meant(&root, &arguments).join(" "), name, "{given}");
        }
    }
}
