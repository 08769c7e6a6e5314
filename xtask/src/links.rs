//! Owns the check of links between Markdown pages: each leads to a file and a heading that there
//! are, and every page of the book is in its summary and in the index.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// The book's table of contents.
pub(crate) const SUMMARY: &str = "docs/SUMMARY.md";
/// The index of the documentation.
const INDEX: &str = "docs/README.md";

/// Something wrong: the page, its line, and what.
pub(crate) type Wrong = (String, usize, String);

/// A page as links see it.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// Line and destination of each link.
    pub(crate) links: Vec<(usize, String)>,
    /// What can follow `#`.
    pub(crate) anchors: BTreeSet<String>,
    /// Line and text of each piece of code within a sentence.
    pub(crate) codes: Vec<(usize, String)>,
}

/// Folders whose files a page names in passing, as `rules/src/sync.rs` or with a test behind it.
const NAMED: [&str; 8] = [
    "engine/", "rules/", "backend/", "cli/", "python/", "tests/", "xtask/", "docs/",
];

/// Reads the links and the headings of a page.
pub(crate) fn page(text: &str) -> Page {
    let mut page = Page::default();
    let mut heading: Option<String> = None;
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::End(TagEnd::Heading(_)) => {
                let slug = slug(&heading.take().unwrap_or_default());
                let count = counts.entry(slug.clone()).or_default();
                let repeated = format!("{slug}-{count}");
                page.anchors
                    .insert(if *count == 0 { slug } else { repeated });
                *count += 1;
            }
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                let line = text[..range.start].matches('\n').count() + 1;
                page.links.push((line, dest_url.into_string()));
            }
            Event::Text(said) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&said);
                }
            }
            Event::Code(code) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&code);
                }
                let line = text[..range.start].matches('\n').count() + 1;
                page.codes.push((line, code.into_string()));
            }
            _ => {}
        }
    }
    page
}

/// What a heading is called behind `#`, by GitHub and by the book alike.
fn slug(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept.chars().filter_map(|c| match c {
        c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
        c if c.is_whitespace() => Some('-'),
        _ => None,
    });
    kept.collect()
}

/// Checks README, CHANGELOG and all of `docs` among the project's `files`.
pub(crate) fn check(root: &Path, files: &[String]) -> Vec<Wrong> {
    let is_page = |path: &&String| {
        let top = ["README.md", "CHANGELOG.md"].contains(&path.as_str());
        top || path.starts_with("docs/")
            && Path::new(path).extension().is_some_and(|end| end == "md")
    };
    let mut pages = BTreeMap::new();
    for path in files.iter().filter(is_page) {
        if let Ok(text) = fs::read_to_string(root.join(path)) {
            pages.insert(path.clone(), page(&text));
        }
    }
    let mut wrong = Vec::new();
    for (path, page) in &pages {
        for (line, link) in &page.links {
            if let Some(what) = mistake(path, link, &pages, files) {
                wrong.push((path.clone(), *line, format!("{link}: {what}")));
            }
        }
        for (line, code) in &page.codes {
            for what in strangers(root, code, files) {
                wrong.push((path.clone(), *line, what));
            }
        }
    }
    for list in [SUMMARY, INDEX] {
        let listed: BTreeSet<String> = pages.get(list).map_or_else(BTreeSet::new, |page| {
            let links = page.links.iter();
            links.filter_map(|(_, link)| resolve(list, link)).collect()
        });
        for path in pages.keys().filter(|path| path.starts_with("docs/")) {
            if path != SUMMARY && path != INDEX && !listed.contains(path) {
                wrong.push((path.clone(), 1, format!("this page is not in {list}")));
            }
        }
    }
    wrong
}

/// What `code` names that there is not: a source file, or functions behind it.
fn strangers(root: &Path, code: &str, files: &[String]) -> Vec<String> {
    let (file, names) = code.split_once("::").unwrap_or((code, ""));
    let is_file = NAMED.iter().any(|folder| file.starts_with(folder))
        && [".rs", ".py"].iter().any(|end| file.ends_with(end))
        && !file.contains(['*', ' ']);
    if !is_file {
        return Vec::new();
    }
    if !files.iter().any(|path| path == file) {
        return vec![format!("there is no {file}")];
    }
    let source = fs::read_to_string(root.join(file)).unwrap_or_default();
    let names = names.trim_matches(['{', '}']).split(',').map(str::trim);
    let is_there = |name: &str| {
        ["fn ", "def ", "struct ", "mod ", "class "]
            .iter()
            .any(|word| source.contains(&format!("{word}{name}")))
    };
    names
        .filter(|name| !name.is_empty() && !is_there(name))
        .map(|name| format!("{file} has no {name}"))
        .collect()
}

/// What is wrong with a link of the page at `path`.
fn mistake(
    path: &str,
    link: &str,
    pages: &BTreeMap<String, Page>,
    files: &[String],
) -> Option<String> {
    if let Some((scheme, rest)) = link.split_once("://") {
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let sound = host.contains('.')
            && !host.starts_with('.')
            && host
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || ".-:".contains(c));
        return match (scheme, sound) {
            ("https", true) => None,
            ("https", false) => Some("this is no host".to_owned()),
            _ => Some("links outside are https".to_owned()),
        };
    }
    let (place, anchor) = link.split_once('#').unwrap_or((link, ""));
    let Some(target) = (if place.is_empty() {
        Some(path.to_owned())
    } else {
        resolve(path, place)
    }) else {
        return Some("it leads out of the repository".to_owned());
    };
    let folder = format!("{target}/");
    if !files
        .iter()
        .any(|file| *file == target || file.starts_with(&folder))
    {
        return Some("there is no such file".to_owned());
    }
    if anchor.is_empty() || pages.get(&target)?.anchors.contains(anchor) {
        return None;
    }
    Some(format!("{target} has no such heading"))
}

/// Where a relative link leads, from the repository's root.
pub(crate) fn resolve(from: &str, link: &str) -> Option<String> {
    let place = link.split('#').next().unwrap_or(link);
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in place.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_have_the_names_that_links_use() {
        let page =
            page("# The agent of `backend serve`\n## a_b, c!\n## a_b c\n[x](y.md#z)\n`[n](o)`\n");
        let anchors: Vec<&str> = page.anchors.iter().map(String::as_str).collect();
        assert_eq!(anchors, ["a_b-c", "a_b-c-1", "the-agent-of-backend-serve"]);
        assert_eq!(page.links, [(4, "y.md#z".to_owned())]);
    }

    #[test]
    fn links_that_lead_nowhere_are_found() {
        let files = ["docs/a.md", "docs/guide/b.md", "LICENSE"].map(str::to_owned);
        let pages = [
            ("docs/a.md".to_owned(), page("# One\n")),
            ("docs/guide/b.md".to_owned(), page("# Two\n")),
        ];
        let pages = BTreeMap::from(pages);
        let is_wrong = |link: &str| mistake("docs/guide/b.md", link, &pages, &files).is_some();
        for sound in [
            "../a.md",
            "../a.md#one",
            "#two",
            "../../LICENSE",
            "..",
            "https://a.example/b",
        ] {
            assert!(!is_wrong(sound), "{sound}");
        }
        for bad in [
            "a.md",
            "../a.md#two",
            "#one",
            "../../../x",
            "http://a.example",
            "https:///b",
            "https://a b.c",
        ] {
            assert!(is_wrong(bad), "{bad}");
        }
    }

    #[test]
    fn links_of_this_repository_lead_somewhere() {
        let root = crate::repo::root().unwrap();
        let files = crate::tidy::files(&root).unwrap();
        assert_eq!(check(&root, &files), []);
    }
}
