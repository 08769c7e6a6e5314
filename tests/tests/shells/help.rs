//! Help and manual pages: every command and option has them, they read well, and what the guide's
//! tables promise is there.

use std::{collections::BTreeSet, fs, process::Command as Process};

use clap::{Arg, Command};
use synapse_cli::commands::man;
use synapse_tests::{fixture, space};

/// Columns of a terminal.
const WIDTH: usize = 100;
/// What an option says about itself, at most: a line, or two where it lists words.
const LONGEST: usize = 140;

/// Every command that is not hidden, with its words.
fn commands() -> Vec<(Vec<String>, Command)> {
    let mut root = synapse_cli::command().term_width(WIDTH);
    root.build();
    let (mut all, mut pending) = (Vec::new(), vec![(Vec::new(), root)]);
    while let Some((words, own)) = pending.pop() {
        for below in own.get_subcommands().filter(|own| !own.is_hide_set()) {
            let mut words: Vec<String> = words.clone();
            words.push(below.get_name().to_owned());
            pending.push((words, below.clone()));
        }
        all.push((words, own));
    }
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

fn arguments(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|own| !own.is_hide_set())
}

#[test]
fn every_command_has_an_example_and_every_option_a_line() {
    let mut missing = Vec::new();
    for (words, command) in commands() {
        let name = words.join(" ");
        let examples = command
            .get_after_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        if !examples.contains(&format!("synapse {name}").trim().to_owned()) {
            missing.push(format!("{name}: no example"));
        }
        let about = command
            .get_about()
            .map(ToString::to_string)
            .unwrap_or_default();
        if about.is_empty() || about.contains('\n') {
            missing.push(format!("{name}: {about:?}"));
        }
        for argument in arguments(&command) {
            let help = argument
                .get_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            if help.is_empty()
                || help.contains('\n')
                || help.ends_with('.')
                || help.chars().count() > LONGEST
            {
                missing.push(format!("{name} {}: {help:?}", argument.get_id()));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn help_fits_a_terminal_and_reads_well() {
    for (words, mut command) in commands() {
        let text = command.render_help().to_string();
        // An example is copied: it may be as long as it has to be.
        let own = text.split("\nExample").next().unwrap();
        for line in own.lines().filter(|line| !line.starts_with("Usage:")) {
            assert!(line.chars().count() <= WIDTH, "{words:?}: {line}");
        }
        let name = std::iter::once("help").chain(words.iter().map(String::as_str));
        insta::assert_snapshot!(name.collect::<Vec<_>>().join("-"), text);
    }
}

/// Options of the guide's tables: command, long name, short form, whether it takes a value, and
/// the word of its help that tells its default.
const GUIDE: [(&str, &str, Option<char>, bool, &str); 18] = [
    ("plugin create", "path", Some('p'), true, "current"),
    ("plugin create", "name", Some('n'), true, ""),
    ("plugin create", "code", None, true, ""),
    ("plugin create", "category", Some('c'), true, ""),
    ("plugin create", "yes", Some('y'), false, ""),
    (
        "plugin run",
        "plugin",
        Some('p'),
        true,
        "auto-detected from config.yaml",
    ),
    ("plugin run", "path", None, true, "current"),
    ("plugin run", "params", None, true, ""),
    ("plugin run", "mode", Some('m'), true, ""),
    ("plugin run", "debug", None, false, "default"),
    ("plugin run", "no-debug", None, false, ""),
    ("plugin run", "gpus", None, true, ""),
    ("plugin run", "cpus", None, true, ""),
    ("plugin publish", "path", Some('p'), true, "current"),
    ("plugin publish", "config", Some('c'), true, ""),
    ("plugin publish", "dry-run", None, false, ""),
    ("plugin publish", "debug", None, false, ""),
    ("plugin publish", "yes", Some('y'), false, ""),
];

#[test]
fn the_options_of_the_guide_are_there_as_it_has_them() {
    let commands = commands();
    for (name, long, short, value, default) in GUIDE {
        let found = commands.iter().find(|(words, _)| words.join(" ") == name);
        let (_, command) = found.unwrap_or_else(|| panic!("there is no {name}"));
        let option = arguments(command).find(|own| own.get_long() == Some(long));
        let option = option.unwrap_or_else(|| panic!("{name} has no --{long}"));
        assert_eq!(option.get_short(), short, "{name} --{long}");
        assert_eq!(option.get_action().takes_values(), value, "{name} --{long}");
        let help = option
            .get_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        assert!(help.contains(default), "{name} --{long}: {help}");
        assert!(!option.is_required_set(), "{name} --{long}");
    }
    let run = commands
        .iter()
        .find(|(words, _)| words.join(" ") == "plugin run")
        .unwrap();
    let mode = arguments(&run.1)
        .find(|own| own.get_long() == Some("mode"))
        .unwrap();
    let modes = mode.get_possible_values();
    let modes: Vec<&str> = modes
        .iter()
        .map(clap::builder::PossibleValue::get_name)
        .collect();
    assert_eq!(modes, ["local", "task", "job", "remote"]);
}

#[test]
fn every_command_has_a_page() {
    let pages = man::pages(synapse_cli::command());
    let names: BTreeSet<String> = pages.iter().map(|page| page.name.clone()).collect();
    let known = commands().into_iter().map(|(words, _)| {
        let all = std::iter::once("synapse".to_owned()).chain(words);
        all.collect::<Vec<_>>().join("-")
    });
    assert_eq!(names, known.collect::<BTreeSet<_>>());
    for page in &pages {
        let text = String::from_utf8(page.text.clone()).unwrap();
        let sections = [
            "NAME",
            "SYNOPSIS",
            "DESCRIPTION",
            "EXAMPLES",
            "\"EXIT STATUS\"",
            "\"ENVIRONMENT VARIABLES\"",
            "FILES",
        ];
        let at: Vec<Option<usize>> = sections
            .iter()
            .map(|own| text.find(&format!("\n.SH {own}\n")))
            .collect();
        assert!(
            at.iter().all(Option::is_some) && at.is_sorted(),
            "{}: {at:?}\n{text}",
            page.name
        );
        assert!(
            text.lines().any(|line| line.starts_with(".TH ")),
            "{}",
            page.name
        );
        assert!(text.contains("synapse"), "{}", page.name);
    }
    // What is told of exit codes is what README tells.
    let readme = fs::read_to_string(fixture("../README.md")).unwrap();
    let root = String::from_utf8(pages[0].text.clone()).unwrap();
    let codes = readme
        .lines()
        .skip_while(|line| !line.starts_with("| exit code"))
        .skip(2);
    for row in codes.take_while(|line| line.starts_with('|')) {
        let mut cells = row.split('|').map(str::trim).skip(1);
        let (code, meaning) = (cells.next().unwrap(), cells.next().unwrap());
        let meaning = format!("{}{}.", meaning[..1].to_uppercase(), &meaning[1..]);
        assert!(
            root.contains(&format!("\\fB{code}\\fR\n{meaning}")),
            "{code}: {meaning}\n{root}"
        );
    }
}

#[test]
fn pages_are_written_once_and_man_has_nothing_against_them() {
    let space = space!();
    let said = space
        .synapse(&["man", "--output", "pages"])
        .expect(0)
        .stdout;
    assert!(said.starts_with("wrote "), "{said}");
    let folder = space.path("pages");
    let mut names: Vec<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|own| own.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert!(
        names.contains(&"synapse.1".to_owned())
            && names.contains(&"synapse-plugin-publish.1".to_owned()),
        "{names:?}"
    );
    let page = fs::read_to_string(folder.join("synapse-plugin-publish.1")).unwrap();
    assert_eq!(
        space
            .synapse(&["man", "plugin", "publish"])
            .expect(0)
            .stdout
            .trim(),
        page.trim()
    );
    assert!(!page.contains("synapse_under_test"));
    space.synapse(&["man", "plugin", "bogus"]).expect(2);
    space.synapse(&["man", "__worker"]).expect(2);
    let document = space
        .synapse(&["man", "--output", "pages", "--json"])
        .expect(0)
        .json();
    assert_eq!(document["pages"].as_array().unwrap().len(), names.len());
    let mut judged = 0;
    for name in &names {
        let file = folder.join(name);
        let checks: [(&str, &[&str]); 2] = [
            (
                "man",
                &[
                    "--warnings",
                    "--encoding=UTF-8",
                    "--troff-device=utf8",
                    "--ditroff",
                    "--local-file",
                ],
            ),
            ("mandoc", &["-Tlint", "-Wwarning"]),
        ];
        for (program, arguments) in checks {
            let run = Process::new(program)
                .args(arguments)
                .arg(&file)
                .env("LC_ALL", "C.UTF-8")
                .output();
            // A `man` of a minimal system prints a line that there are no pages.
            if let Ok(run) = run
                && (program == "mandoc" || run.stdout.len() > 200)
            {
                let told = String::from_utf8_lossy(&run.stderr);
                assert!(
                    run.status.success() && told.is_empty(),
                    "{program} {name}: {told}"
                );
                judged += 1;
            }
        }
    }
    if judged == 0 {
        println!(
            "neither man nor mandoc is on this machine: pages were looked at by structure only"
        );
    }
}
