//! Owns the overview of all commands, grouped by what people want to do.

use std::fmt::Write;

use clap::Command;

/// What people want to do, and the commands for it. A command that is named nowhere here stands
/// in a group of its own at the end.
const GROUPS: [(&str, &[&str]); 6] = [
    (
        "Write and run a plugin",
        &[
            "plugin create",
            "plugin run",
            "plugin infer",
            "plugin deploy",
            "dev run",
            "plugin test",
            "plugin check",
            "plugin update-config",
            "plugin lock",
        ],
    ),
    (
        "Publish plugins",
        &[
            "plugin publish",
            "dev publish",
            "plugin upload",
            "plan",
            "status",
        ],
    ),
    (
        "See what happened, and why",
        &["explain", "graph", "log", "runs"],
    ),
    (
        "Talk to platforms",
        &["login", "logout", "whoami", "profile", "agent"],
    ),
    (
        "Serve and keep on this machine",
        &["backend", "dataset", "model", "cache"],
    ),
    (
        "Set up this machine",
        &["doctor", "completions", "man", "schema"],
    ),
];

/// Commands whose own commands are told one by one.
const PARTED: [&str; 2] = ["plugin", "dev"];

/// Longest text about a command that is not cut at a comma.
const ENOUGH: usize = 55;
/// Columns of the overview where no terminal is narrower.
const COLUMNS: usize = 80;

/// The overview: headings and commands, each with the first sentence about it.
pub fn text(root: &Command, columns: usize) -> String {
    let style = root.get_styles().get_header();
    let mut rows: Vec<(&str, Vec<(String, String)>)> = Vec::new();
    for (heading, names) in GROUPS {
        let own = names.iter().filter_map(|name| row(root, name));
        rows.push((heading, own.collect()));
    }
    rows.push(("More", leftovers(root)));
    rows.retain(|(_, own)| !own.is_empty());
    let widest = rows
        .iter()
        .flat_map(|(_, own)| own)
        .map(|(name, _)| name.len())
        .max()
        .unwrap_or(0);
    let mut out = String::new();
    for (heading, own) in rows {
        let _ = writeln!(out, "{style}{heading}:{style:#}");
        for (name, about) in own {
            let literal = root.get_styles().get_literal();
            let pad = " ".repeat(widest - name.len());
            let line = format!("  {literal}{name}{literal:#}{pad}  {about}");
            let line = super::render::fit::wrapped(&line, Some(columns), widest + 4);
            let _ = writeln!(out, "{line}");
        }
        out.push('\n');
    }
    out
}

fn row(root: &Command, name: &str) -> Option<(String, String)> {
    let mut command = root;
    for word in name.split(' ') {
        command = command.find_subcommand(word)?;
    }
    let shown = !command.is_hide_set();
    shown.then(|| (name.to_owned(), about(command)))
}

fn about(command: &Command) -> String {
    let about = command.get_about().map(ToString::to_string);
    short(&about.unwrap_or_default())
}

/// The beginning of what is said of a command, which says enough among others.
fn short(about: &str) -> String {
    let mut text = about.to_owned();
    if let (Some(begin), Some(end)) = (text.find(" ("), text.find(')')) {
        text.replace_range(begin..=end, "");
    }
    for end in [": ", "; "] {
        text.truncate(text.find(end).unwrap_or(text.len()));
    }
    if text.len() > ENOUGH {
        let besides = [", with ", ", without ", ", as ", ", or "];
        let first = besides.iter().filter_map(|own| text.find(own)).min();
        let last = text.get(..ENOUGH).and_then(|begin| begin.rfind(", "));
        text.truncate(first.or(last).unwrap_or(text.len()));
    }
    text
}

/// Commands that no group names.
fn leftovers(root: &Command) -> Vec<(String, String)> {
    let named = |name: &str| {
        let mut all = GROUPS.iter().flat_map(|(_, names)| *names);
        all.any(|own| *own == name)
    };
    let mut found = Vec::new();
    for command in root.get_subcommands().filter(|own| !own.is_hide_set()) {
        let name = command.get_name().to_owned();
        let below = command.get_subcommands().filter(|own| !own.is_hide_set());
        if PARTED.contains(&name.as_str()) {
            for own in below {
                let name = format!("{name} {}", own.get_name());
                if !named(&name) {
                    found.push((name, about(own)));
                }
            }
        } else if !named(&name) {
            found.push((name, about(command)));
        }
    }
    found
}

/// The help of the whole: the overview in place of clap's list, and the options in short.
pub fn help(root: Command, columns: Option<usize>) -> String {
    let columns = columns.map_or(COLUMNS, |own| own.min(COLUMNS));
    let overview = text(&root, columns);
    let template = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{overview}{{options-heading}}\n{{options}}{{after-help}}"
    );
    let style = root.get_styles().get_header();
    let heading = format!("{style}Options:{style:#}");
    let template = template.replace("{options-heading}", &heading);
    let root = root.mut_arg("color", |color| {
        color
            .hide_possible_values(true)
            .hide_default_value(true)
            .help("Colour the output: auto, always or never")
    });
    let help = root
        .term_width(columns)
        .help_template(template)
        .render_help();
    let help = help.ansi().to_string();
    // There is no longer one.
    help.replace(" (see more with '--help')", "")
}
