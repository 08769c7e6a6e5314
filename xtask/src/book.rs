//! Owns the book: the pages of `docs` as HTML, and the check that its links hold there too.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use pulldown_cmark::{Event, Options, Parser, Tag};

use crate::{links, python::Found, repo, tidy, tools::MDBOOK};

/// Builds the book.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Open it in a browser
    #[arg(long)]
    open: bool,
    /// Folder that it is written to (default: `book` below the build folder)
    #[arg(long)]
    output: Option<PathBuf>,
}

/// Builds and checks the book; true when nothing is wrong.
pub(crate) fn run(args: &Args) -> Result<bool> {
    let root = repo::root()?;
    let mdbook = MDBOOK.installed(&root)?;
    let output = match &args.output {
        Some(output) => std::path::absolute(output)?,
        None => usual(&root),
    };
    let found = build(&root, &mdbook, &output, args.open)?;
    match &found {
        Ok(()) => println!("the book: {}", output.join("index.html").display()),
        Err(what) => println!("{what}"),
    }
    Ok(found.is_ok())
}

/// Builds the book by `mdbook` below the build folder, and checks it.
pub(crate) fn check(root: &Path, mdbook: &Path) -> Result<Found> {
    build(root, mdbook, &usual(root), false)
}

fn usual(root: &Path) -> PathBuf {
    repo::target_dir(root).join("book")
}

fn build(root: &Path, mdbook: &Path, output: &Path, open: bool) -> Result<Found> {
    let pages = tempfile::tempdir()?;
    stage(root, pages.path())?;
    if output.join("index.html").is_file() {
        // What is no page any more must not answer a link.
        fs::remove_dir_all(output)?;
    }
    let mut command = Command::new(mdbook);
    command
        .arg("build")
        .arg(pages.path())
        .arg("--dest-dir")
        .arg(output);
    if open {
        command.arg("--open");
    }
    let done = command.output().context("mdbook does not start")?;
    let said = String::from_utf8_lossy(&done.stderr);
    if !done.status.success() || said.contains("WARN") || said.contains("ERROR") {
        return Ok(Err(format!("mdbook: {}", said.trim())));
    }
    let broken = broken(output)?;
    Ok(if broken.is_empty() {
        Ok(())
    } else {
        Err(format!("in the book:\n{}", broken.join("\n")))
    })
}

/// Copies `docs` to `to`. Links that leave it hold in a repository and not in a book: of those the
/// text stays.
fn stage(root: &Path, to: &Path) -> Result<()> {
    for path in tidy::files(root)? {
        let Some(place) = path.strip_prefix("docs/") else {
            continue;
        };
        let (from, to) = (root.join(&path), to.join(place));
        if !from.is_file() {
            continue;
        }
        fs::create_dir_all(to.parent().context("a folder")?)?;
        if from.extension().is_some_and(|end| end == "md") {
            fs::write(&to, without_outside(&path, &fs::read_to_string(&from)?))?;
        } else {
            fs::copy(&from, &to)?;
        }
    }
    Ok(())
}

/// A page without the links that leave `docs`.
fn without_outside(path: &str, text: &str) -> String {
    let mut kept = String::new();
    let mut at = 0;
    for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
        let Event::Start(Tag::Link { dest_url, .. }) = event else {
            continue;
        };
        let is_inside = dest_url.contains("://")
            || dest_url.starts_with('#')
            || links::resolve(path, &dest_url).is_some_and(|to| to.starts_with("docs/"));
        let whole = &text[range.clone()];
        if let (false, Some(end)) = (is_inside, whole.rfind("](")) {
            kept.push_str(&text[at..range.start]);
            kept.push_str(&whole[1..end]);
            at = range.end;
        }
    }
    kept + &text[at..]
}

/// Links of the pages at `output` that lead to no file or to no place in it.
fn broken(output: &Path) -> Result<Vec<String>> {
    let mut pages = Vec::new();
    let mut folders = vec![output.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "html") {
                pages.push(path);
            }
        }
    }
    let mut broken = BTreeSet::new();
    for page in &pages {
        let text = fs::read_to_string(page)?;
        let main = text.split("<main>").nth(1).unwrap_or(&text);
        for link in main
            .split("href=\"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
        {
            if link.contains("://") {
                continue;
            }
            let (place, anchor) = link.split_once('#').unwrap_or((link, ""));
            let folder = page.parent().unwrap_or(output);
            let to = if place.is_empty() {
                page.clone()
            } else {
                folder.join(place)
            };
            let is_there = match fs::read_to_string(&to) {
                Ok(text) => anchor.is_empty() || text.contains(&format!("id=\"{anchor}\"")),
                Err(_) => false,
            };
            if !is_there {
                let page = page.strip_prefix(output).unwrap_or(page).display();
                broken.insert(format!("{page}: {link} leads nowhere"));
            }
        }
    }
    Ok(broken.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_that_leave_the_book_become_text() {
        let text = "see [`a`](../x.rs), [b](c.md#d) and [e](https://f.example)\n| [g](../../h) |\n";
        assert_eq!(
            without_outside("docs/a.md", text),
            "see `a`, [b](c.md#d) and [e](https://f.example)\n| g |\n"
        );
    }

    #[test]
    fn broken_links_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write(
            "a.html",
            "<main><a href=\"b.html#there\">x</a><a href=\"https://c.example\">y</a>",
        );
        write("b.html", "<main><h1 id=\"there\"><a href=\"#there\">z</a>");
        assert_eq!(broken(folder.path()).unwrap(), [""; 0]);
        write("b.html", "<main><h1 id=\"here\"><a href=\"c.html\">z</a>");
        assert_eq!(
            broken(folder.path()).unwrap(),
            [
                "a.html: b.html#there leads nowhere",
                "b.html: c.html leads nowhere"
            ]
        );
    }
}
