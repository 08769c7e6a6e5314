//! `synapse man`: a manual page for each command, made of the command line itself.

use std::{fs, io, path::Path};

use clap::Command;
use clap_mangen::roff::{Roff, bold, roman};
use serde_json::json;
use synapse_engine::Failure;

use crate::{
    app::App,
    args,
    render::{GOOD, Printer, count, paint},
};

/// The section of commands.
const SECTION: &str = "1";

/// What exit codes mean, as README.md has it.
const CODES: [(&str, &str); 7] = [
    ("0", "Done, or nothing to do."),
    ("1", "A plugin, a file or a configuration is at fault."),
    ("2", "The command line is at fault."),
    ("3", "The machine or the target is at fault."),
    (
        "4",
        "Some plugins were published or up to date, others not.",
    ),
    ("130", "Interrupted."),
    ("255", "A mistake of ours."),
];

/// Variables that people set.
const VARIABLES: [(&str, &str); 11] = [
    (
        "SYNAPSE_HOME",
        "Folder of the store, the data and the configuration, instead of the usual three.",
    ),
    ("SYNAPSE_STORE", "Folder of the store alone."),
    (
        "SYNAPSE_ACCESS_TOKEN",
        "Token for the platform, instead of the saved login's.",
    ),
    ("SYNAPSE_HOST", "Address of the platform."),
    ("SYNAPSE_PROFILE", "Saved login to use."),
    ("SYNAPSE_TENANT", "Tenant that a user's token acts for."),
    (
        "VIRTUAL_ENV, CONDA_PREFIX",
        "The active environment, which a run takes when it satisfies the requirements.",
    ),
    (
        "PIP_INDEX_URL, UV_INDEX_URL",
        "Where packages come from, with the other variables of pip and uv.",
    ),
    (
        "HTTPS_PROXY, NO_PROXY",
        "Proxy, and hosts that are reached without it.",
    ),
    (
        "SSL_CERT_FILE, REQUESTS_CA_BUNDLE",
        "Certificates that are trusted besides.",
    ),
    ("NO_COLOR", "Print without colours."),
];

/// Where things are kept.
const FILES: [(&str, &str); 6] = [
    (
        "config.yaml",
        "Configuration of a plugin; synapse.yaml in older ones.",
    ),
    (
        "synapse-workspace.yaml",
        "The root of a monorepo: its members, libraries and object stores.",
    ),
    (
        ".synapseignore",
        "Files that belong to no archive, in the manner of .gitignore.",
    ),
    (
        "~/.synapse/config.json",
        "Saved logins. Nobody else may read it.",
    ),
    (
        "~/.cache/synapse",
        "The store of results. It may be deleted at any time.",
    ),
    (
        "~/.local/share/synapse",
        "The ledger of publishes and the embedded backend. They cannot be made again.",
    ),
];

/// A page.
pub struct Page {
    /// Such as `synapse-plugin-publish`.
    pub name: String,
    /// The words of its command.
    words: Vec<String>,
    /// Its source.
    pub text: Vec<u8>,
}

/// Runs the command; returns the exit code.
pub fn run(app: &App, args: &args::Man) -> Result<u8, Failure> {
    let pages = pages(crate::command());
    if let Some(folder) = &args.output {
        let folder = app.cwd.join(folder);
        write(&folder, &pages).map_err(|error| {
            let shown = folder.display().to_string();
            Failure::environment("write", format!("cannot write to {shown}: {error}"))
                .at(shown)
                .hint("name a folder that you may write to with --output")
        })?;
        if app.output.is_machine() {
            let names: Vec<String> = pages.iter().map(file).collect();
            Printer::stdout(&app.output).json(&json!({
                "schema": 1, "command": "man", "ok": true, "path": folder, "pages": names,
            }));
        } else if !app.output.quiet {
            let (pages, folder) = (count(pages.len() as u64, "page"), folder.display());
            Printer::stdout(&app.output)
                .line(format!("{} {pages} to {folder}", paint(GOOD, "wrote")));
        }
        return Ok(0);
    }
    let words = args.command.as_slice();
    let own = match words {
        [first, rest @ ..] if first == "synapse" => rest,
        words => words,
    };
    let Some(page) = pages.iter().find(|page| page.words == own) else {
        let what = format!("there is no command `{}`", own.join(" "));
        return Err(
            Failure::usage(what).hint("name it as on the command line: synapse man plugin publish")
        );
    };
    let text = String::from_utf8_lossy(&page.text);
    let mut printer = Printer::stdout(&app.output);
    if app.output.is_machine() {
        printer.json(&json!({
            "schema": 1, "command": "man", "ok": true, "page": file(page), "text": text,
        }));
    } else {
        printer.line(text.trim_end());
    }
    Ok(0)
}

fn file(page: &Page) -> String {
    format!("{}.{SECTION}", page.name)
}

fn write(folder: &Path, pages: &[Page]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for page in pages {
        let path = folder.join(file(page));
        // An equal one keeps its time.
        if !fs::read(&path).is_ok_and(|bytes| bytes == page.text) {
            fs::write(path, &page.text)?;
        }
    }
    Ok(())
}

/// The pages of a command and all below it, apart from hidden ones.
pub fn pages(mut command: Command) -> Vec<Page> {
    // Names of commands below, and options of all.
    command.build();
    let mut pages = Vec::new();
    let mut pending = vec![(Vec::new(), &command)];
    while let Some((words, own)) = pending.pop() {
        pages.push(page(&words, own));
        for below in own.get_subcommands().filter(|below| !below.is_hide_set()) {
            let mut words: Vec<String> = words.clone();
            words.push(below.get_name().to_owned());
            pending.push((words, below));
        }
    }
    pages.sort_by(|a, b| a.name.cmp(&b.name));
    pages
}

fn page(words: &[String], command: &Command) -> Page {
    let name = named(words);
    let mut text = Vec::new();
    // Writing to memory cannot fail.
    let _ = render(&name, words, command, &mut text);
    // Each section begins with the same definition of a quote; once is enough.
    let text = String::from_utf8_lossy(&text);
    let text = match text.find(".TH ") {
        Some(end) => {
            let (head, rest) = text.split_at(end);
            format!("{head}{}", rest.replace(head, ""))
        }
        None => text.into_owned(),
    };
    Page {
        name,
        words: words.to_owned(),
        text: text.into_bytes(),
    }
}

fn named(words: &[String]) -> String {
    let all = std::iter::once("synapse").chain(words.iter().map(String::as_str));
    all.collect::<Vec<_>>().join("-")
}

fn render(name: &str, words: &[String], command: &Command, out: &mut Vec<u8>) -> io::Result<()> {
    let examples = command.get_after_help().map(ToString::to_string);
    let bare = command.clone().display_name(name.to_owned());
    let man = clap_mangen::Man::new(bare)
        .title(name.to_uppercase())
        .section(SECTION)
        .source(concat!("synapse ", env!("CARGO_PKG_VERSION")))
        .manual("Synapse Manual");
    man.render_title(out)?;
    man.render_name_section(out)?;
    man.render_synopsis_section(out)?;
    man.render_description_section(out)?;
    man.render_options_section(out)?;
    let below: Vec<&Command> = command
        .get_subcommands()
        .filter(|below| !below.is_hide_set())
        .collect();
    let mut roff = Roff::new();
    if !below.is_empty() {
        roff.control("SH", ["COMMANDS"]);
        for own in &below {
            let about = own.get_about().map(ToString::to_string).unwrap_or_default();
            let mut full = words.to_owned();
            full.push(own.get_name().to_owned());
            roff.control("TP", []);
            roff.text([bold(named(&full)), roman("(1)")]);
            roff.text([roman(about)]);
        }
    }
    if let Some(examples) = examples {
        roff.control("SH", ["EXAMPLES"]);
        roff.control("nf", []);
        for line in lines(&examples) {
            roff.text([roman(line)]);
        }
        roff.control("fi", []);
    }
    for (title, rows) in [
        ("EXIT STATUS", CODES.as_slice()),
        // Some commands have options under the heading "environment".
        ("ENVIRONMENT VARIABLES", VARIABLES.as_slice()),
        ("FILES", FILES.as_slice()),
    ] {
        roff.control("SH", [title]);
        for (term, meaning) in rows {
            roff.control("TP", []);
            roff.text([bold(*term)]);
            roff.text([roman(*meaning)]);
        }
    }
    let above = words.split_last().map(|(_, above)| named(above));
    let others = above.into_iter().chain(below.iter().map(|own| {
        let mut full = words.to_owned();
        full.push(own.get_name().to_owned());
        named(&full)
    }));
    let others: Vec<String> = others.map(|name| format!("{name}(1)")).collect();
    if !others.is_empty() {
        roff.control("SH", ["SEE ALSO"]);
        roff.text([roman(others.join(", "))]);
    }
    roff.to_writer(out)
}

/// The lines of an `Example: ...` or `Examples:` text.
fn lines(examples: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for line in examples.lines().map(str::trim) {
        let line = ["Example:", "Examples:"]
            .iter()
            .fold(line, |line, head| line.strip_prefix(head).unwrap_or(line));
        if !line.trim().is_empty() {
            lines.push(line.trim().to_owned());
        }
    }
    lines
}
