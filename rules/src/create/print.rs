//! Owns what a new plugin looks like to people: its tree, and the commands to try first, which its
//! own README prints.

use super::File;
use crate::config::Config;

/// The commands of a README that are worth trying first.
const FIRST: [&str; 2] = ["synapse dataset add ", "synapse plugin run "];

/// The files as a tree below `folder`, one line each.
pub fn tree(folder: &str, files: &[File]) -> Vec<String> {
    let mut lines = vec![format!("{folder}/")];
    let paths: Vec<Vec<&str>> = files
        .iter()
        .map(|file| file.path.split('/').collect())
        .collect();
    branch(
        &paths.iter().map(Vec::as_slice).collect::<Vec<_>>(),
        "",
        &mut lines,
    );
    lines
}

/// The lines of one folder; paths of one folder stand together, since they are sorted.
fn branch(paths: &[&[&str]], lead: &str, lines: &mut Vec<String>) {
    let groups: Vec<&[&[&str]]> = paths.chunk_by(|a, b| a[0] == b[0]).collect();
    for (index, group) in groups.iter().enumerate() {
        let last = index + 1 == groups.len();
        let (tick, next) = if last {
            ("└── ", "    ")
        } else {
            ("├── ", "│   ")
        };
        let name = group[0][0];
        if group[0].len() == 1 {
            lines.push(format!("{lead}{tick}{name}"));
        } else {
            lines.push(format!("{lead}{tick}{name}/"));
            let below: Vec<&[&str]> = group.iter().map(|path| &path[1..]).collect();
            branch(&below, &format!("{lead}{next}"), lines);
        }
    }
}

/// What to run first: the first run that the README prints, with the datasets added before it;
/// else the first action.
pub fn next_commands(readme: Option<&str>, config: &Config) -> Vec<String> {
    let mut commands = Vec::new();
    for line in readme.unwrap_or_default().lines() {
        let Some(command) = line.strip_prefix("$ ").map(str::trim) else {
            continue;
        };
        if FIRST.iter().any(|first| command.starts_with(first)) {
            commands.push(command.to_owned());
            if command.starts_with(FIRST[1]) {
                return commands;
            }
        }
    }
    let first = config.actions.first().map(|action| action.name.as_str());
    first
        .map(|name| format!("synapse plugin run {name}"))
        .into_iter()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    #[test]
    fn trees_and_commands_read_well() {
        let file = |path: &str| File {
            path: path.to_owned(),
            bytes: Vec::new(),
            executable: false,
        };
        let files = [
            "README.md",
            "config.yaml",
            "plugin/__init__.py",
            "plugin/a/b.py",
            "x",
        ];
        let lines = tree("p", &files.map(file));
        let expected = "p/\n├── README.md\n├── config.yaml\n├── plugin/\n│   ├── __init__.py\n│   \
                        └── a/\n│       └── b.py\n└── x";
        assert_eq!(lines.join("\n"), expected);

        let config = "name: A\ncode: a\nversion: 0.1.0\ncategory: custom\nactions:\n  go:\n    \
                      entrypoint: plugin.a:A\n";
        let config = parse(config.as_bytes(), "config.yaml").config.unwrap();
        let readme = "$ ls\n$ synapse dataset add x --name x\n$ synapse plugin run go\n$ synapse plugin run b\n";
        assert_eq!(
            next_commands(Some(readme), &config),
            ["synapse dataset add x --name x", "synapse plugin run go"]
        );
        assert_eq!(next_commands(None, &config), ["synapse plugin run go"]);
    }
}
