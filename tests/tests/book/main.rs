//! The book: every command of the README and of `docs` runs and prints what the page says, what
//! cannot run here is at least a command that there is, configurations are sound, and the
//! reference is what the code says.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod codes;
mod expected;
mod page;
mod reference;
mod shell;
mod words;
mod yaml;

use std::collections::BTreeSet;

use page::{Block, Item, Page};
use shell::Shell;

/// A test for each page that has commands to run.
macro_rules! pages {
    ($($name:ident: $path:literal,)*) => {
        $(#[test] fn $name() { work_through(&Page::read($path)); })*
        const PAGES: &[&str] = &[$($path),*];
    };
}

pages! {
    readme: "README.md",
    backend: "docs/guide/backend.md",
    cache: "docs/guide/cache.md",
    create: "docs/guide/create.md",
    editors: "docs/guide/editors.md",
    environments: "docs/guide/environments.md",
    install: "docs/guide/install.md",
    local_data: "docs/guide/local-data.md",
    login: "docs/guide/login.md",
    platforms: "docs/guide/platforms.md",
    publishing: "docs/guide/publishing.md",
    remote: "docs/guide/remote.md",
    running: "docs/guide/running.md",
    seeing: "docs/guide/seeing.md",
    start: "docs/guide/start.md",
    storage: "docs/guide/storage.md",
    testing: "docs/guide/testing.md",
}

/// Runs the blocks of a page in their order.
fn work_through(page: &Page) {
    let mut shell = Shell::start();
    let mut wrong = Vec::new();
    for item in &page.items {
        match item {
            Item::Serve(address) => shell.serve(address),
            Item::Hidden(line, commands) => {
                let done = shell.run(commands);
                let path = &page.path;
                assert_eq!(done.code, 0, "{path}:{line}: {commands}\n{}", done.output);
            }
            Item::Block(block) if block.is_shell() && block.not_run.is_none() => {
                wrong.extend(run_block(&mut shell, page, block));
            }
            Item::Block(_) => {}
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Runs a block; what is not as the page says.
fn run_block(shell: &mut Shell, page: &Page, block: &Block) -> Vec<String> {
    let steps = block.steps();
    let last = steps.last().map(|step| step.line);
    let mut wrong = Vec::new();
    for step in steps {
        let done = shell.run(&step.command);
        let expected = block.exit.filter(|_| last == Some(step.line)).unwrap_or(0);
        let compared = match step.output.as_slice() {
            [] => Ok(()),
            said => expected::compare(said, &done.output),
        };
        let ended = if done.code == expected {
            Ok(())
        } else {
            Err(format!("exit code {}, not {expected}", done.code))
        };
        if let Err(what) = ended.and(compared) {
            let (path, line) = (&page.path, step.line);
            let (command, output) = (&step.command, &done.output);
            wrong.push(format!("{path}:{line}: {what}\n$ {command}\n{output}"));
        }
    }
    wrong
}

#[test]
fn every_page_with_commands_is_worked_through() {
    let mut unlisted = BTreeSet::new();
    for path in page::all() {
        let page = Page::read(&path);
        let mut runs = page.blocks().filter(|block| block.is_shell());
        if runs.any(|block| block.not_run.is_none()) && !PAGES.contains(&path.as_str()) {
            unlisted.insert(path);
        }
    }
    assert!(unlisted.is_empty(), "no test works through {unlisted:?}");
}

/// Blocks that do not run here are listed with the reason, and every command of `synapse` on any
/// page is one that there is, with its options.
#[test]
fn every_command_is_one_that_there_is() {
    let mut wrong = Vec::new();
    for path in page::all() {
        for block in Page::read(&path).blocks().filter(|block| block.is_shell()) {
            if let Some(why) = &block.not_run {
                println!("{path}:{}: not run, {why}", block.line);
            }
            for step in block.steps() {
                for given in words::commands(&step.command) {
                    if given[0] == "synapse"
                        && let Err(what) = parsed(&given)
                    {
                        wrong.push(format!("{path}:{}: {what}", step.line));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Whether arguments are right.
fn parsed(given: &[String]) -> Result<(), String> {
    let parsed = synapse_cli::command().try_get_matches_from(given);
    let wrong = parsed.err().filter(clap_says_wrong);
    wrong.map_or(Ok(()), |error| Err(error.to_string()))
}

fn clap_says_wrong(error: &clap::Error) -> bool {
    error.use_stderr()
}

/// What stands in the text between backquotes, such as `synapse plugin infer`, names commands and
/// long options that there are.
#[test]
fn commands_within_sentences_are_ones_that_there_are() {
    let root = synapse_cli::command();
    let mut wrong = Vec::new();
    for path in page::all() {
        let text = std::fs::read_to_string(page::root().join(&path)).unwrap();
        for (number, line) in text.lines().enumerate() {
            for code in line.split('`').skip(1).step_by(2) {
                for given in words::commands(code) {
                    if given[0] == "synapse"
                        && let Some(word) = stranger(&root, &given[1..])
                    {
                        wrong.push(format!("{path}:{}: {word:?} in {code:?}", number + 1));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// The first word that is neither a command, nor a known option, nor in the place of a value.
fn stranger<'a>(root: &clap::Command, words: &'a [String]) -> Option<&'a str> {
    let mut at = root;
    for word in words {
        if let Some(name) = word.strip_prefix("--") {
            let name = name.split('=').next().unwrap_or(name);
            let mut known = at.get_arguments().chain(root.get_arguments());
            let known = known.any(|one| one.get_long() == Some(name)) || name == "help";
            if !known && !["version"].contains(&name) {
                return Some(word);
            }
        } else if let Some(below) = at.find_subcommand(word) {
            at = below;
        } else if at.has_subcommands() && at.get_positionals().next().is_none() {
            let is_name = word.starts_with(|c: char| c.is_ascii_lowercase());
            return is_name.then_some(word);
        }
    }
    None
}
