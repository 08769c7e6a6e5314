//! Owns what a page of the book holds for a test: its fenced blocks, and the directives that are
//! written in comments, which no reader sees:
//!
//! | directive | meaning |
//! |---|---|
//! | `<!-- test: not run, WHY -->` | the next block is parsed and not run |
//! | `<!-- test: exit N -->` | the last command of the next block exits with N |
//! | `<!-- test: serve ADDRESS -->` | another machine is a platform from here on, at ADDRESS, with `$TOKEN` |
//! | `<!-- test:` to `-->` | commands that are run and not shown; `$FIXTURES` is this repository's |

use std::{fs, path::PathBuf};

use synapse_tests::fixture;

/// A page.
pub(crate) struct Page {
    /// Its path from the repository's root.
    pub(crate) path: String,
    /// What is on it, in order.
    pub(crate) items: Vec<Item>,
}

/// Something on a page.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// A fenced block.
    Block(Block),
    /// A platform at an address, from here on.
    Serve(String),
    /// Commands that are not shown.
    Hidden(usize, String),
}

/// A fenced block.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// The line of its fence.
    pub(crate) line: usize,
    /// What the fence says it is.
    pub(crate) language: String,
    /// What is in it.
    pub(crate) text: String,
    /// Why it is not run.
    pub(crate) not_run: Option<String>,
    /// How its last command ends.
    pub(crate) exit: Option<i32>,
}

/// A command of a block, and what is printed below it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// Its line on the page.
    pub(crate) line: usize,
    /// What is typed.
    pub(crate) command: String,
    /// What it is said to print; `...` stands for what is left out.
    pub(crate) output: Vec<String>,
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    fixture("..").canonicalize().unwrap()
}

/// All pages: the README, and what is in `docs`.
pub(crate) fn all() -> Vec<String> {
    let mut found = vec!["README.md".to_owned(), "CHANGELOG.md".to_owned()];
    let root = root();
    for entry in walkdir::WalkDir::new(root.join("docs")).sort_by_file_name() {
        let path = entry.unwrap().into_path();
        if path.extension().is_some_and(|end| end == "md") {
            let path = path.strip_prefix(&root).unwrap();
            found.push(path.to_str().unwrap().to_owned());
        }
    }
    found
}

impl Page {
    /// Reads the page at `path`.
    pub(crate) fn read(path: &str) -> Self {
        Self::parse(path, &fs::read_to_string(root().join(path)).unwrap())
    }

    /// Takes a text apart.
    pub(crate) fn parse(path: &str, text: &str) -> Self {
        let mut page = Self {
            path: path.to_owned(),
            items: Vec::new(),
        };
        let (mut not_run, mut exit) = (None, None);
        let mut lines = text.lines().zip(1..);
        while let Some((line, number)) = lines.next() {
            let bare = line.trim_start();
            if let Some(word) = bare.strip_prefix("```") {
                let indent = line.len() - bare.len();
                let mut text = String::new();
                let mut closed = false;
                for (line, _) in lines.by_ref() {
                    if line.trim() == "```" {
                        closed = true;
                        break;
                    }
                    text.push_str(line.get(indent..).unwrap_or_default());
                    text.push('\n');
                }
                assert!(closed, "{path}:{number}: this block has no end");
                page.items.push(Item::Block(Block {
                    line: number,
                    language: word.trim().to_owned(),
                    text,
                    not_run: not_run.take(),
                    exit: exit.take(),
                }));
            } else if let Some(rest) = bare.strip_prefix("<!-- test:") {
                let Some(words) = rest.strip_suffix("-->") else {
                    assert!(rest.is_empty(), "{path}:{number}: {rest:?}");
                    let hidden = lines.by_ref().map(|(line, _)| line);
                    let hidden: Vec<&str> = hidden.take_while(|line| *line != "-->").collect();
                    page.items.push(Item::Hidden(number, hidden.join("\n")));
                    continue;
                };
                match words.trim().split_once(' ') {
                    Some(("not", why)) => {
                        let why = why.strip_prefix("run, ");
                        not_run = Some(why.expect("a reason").to_owned());
                    }
                    Some(("exit", code)) => exit = Some(code.parse().expect("an exit code")),
                    Some(("serve", address)) => page.items.push(Item::Serve(address.to_owned())),
                    _ => panic!("{path}:{number}: not a directive: {words}"),
                }
            }
        }
        assert!(
            not_run.is_none() && exit.is_none(),
            "{path}: a directive has no block below it"
        );
        page
    }

    /// Its blocks.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.items.iter().filter_map(|item| match item {
            Item::Block(block) => Some(block),
            _ => None,
        })
    }
}

impl Block {
    /// Whether it holds commands.
    pub(crate) fn is_shell(&self) -> bool {
        ["console", "sh", "bash"].contains(&self.language.as_str())
    }

    /// Its commands: the lines of `console` that begin with `$ `; of `sh`, all of it.
    pub(crate) fn steps(&self) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::new();
        if self.language != "console" {
            return vec![Step {
                line: self.line + 1,
                command: self.text.clone(),
                output: Vec::new(),
            }];
        }
        let mut goes_on = false;
        for (line, number) in self.text.lines().zip(self.line + 1..) {
            if goes_on {
                let last = steps.last_mut().expect("it goes on from somewhere");
                last.command.push('\n');
                last.command.push_str(line);
            } else if let Some(command) = line.strip_prefix("$ ") {
                steps.push(Step {
                    line: number,
                    command: command.to_owned(),
                    output: Vec::new(),
                });
            } else {
                let last = steps.last_mut();
                let last = last.unwrap_or_else(|| panic!("line {number}: output of no command"));
                last.output.push(line.to_owned());
                continue;
            }
            goes_on = line.ends_with('\\');
        }
        assert!(!steps.is_empty(), "line {}: no command", self.line);
        steps
    }
}

#[test]
fn pages_are_taken_apart() {
    let text = "<!-- test: serve http://a.example -->\n<!-- test:\nmkdir x\ncd x\n-->\n\
                1. so:\n   ```console\n   $ a \\\n       --b\n   out\n   ...\n   $ c\n   ```\n\
                <!-- test: not run, needs a cloud -->\n```sh\nd\n```\n";
    let page = Page::parse("a.md", text);
    assert_eq!(page.items[0], Item::Serve("http://a.example".to_owned()));
    assert_eq!(page.items[1], Item::Hidden(2, "mkdir x\ncd x".to_owned()));
    let blocks: Vec<&Block> = page.blocks().collect();
    let steps = blocks[0].steps();
    assert_eq!(steps[0].command, "a \\\n    --b");
    assert_eq!(steps[0].output, ["out", "..."]);
    assert_eq!((steps[1].line, steps[1].output.len()), (12, 0));
    assert_eq!(blocks[1].not_run.as_deref(), Some("needs a cloud"));
    assert_eq!(blocks[1].steps()[0].command, "d\n");
}
