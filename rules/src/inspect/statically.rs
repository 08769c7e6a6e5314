//! Owns what a check tells of sources without asking Python: files that are no Python, and
//! entrypoints that name nothing.

use std::collections::BTreeMap;

use ruff_python_parser::parse_module;
use synapse_engine::Failure;

use super::{
    actions::Entry,
    forms::{self, on_deep_stack},
};

/// A place where a source is no Python.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// The file.
    pub path: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What a parser says.
    pub why: String,
}

impl Wrong {
    /// The same as a failure, in the file as messages call it.
    pub fn failure(&self, file: &str) -> Failure {
        let what = format!("{} is no Python: {}", self.path, self.why);
        Failure::user("python-syntax", what)
            .at(format!("{file}:{}:{}", self.line, self.column))
            .hint("mend that line; Python will refuse the whole file")
    }
}

/// Where each source that is no Python first goes wrong.
pub fn wrong_syntax(sources: &BTreeMap<String, String>) -> Result<Vec<Wrong>, Failure> {
    let look = |(path, text): (&String, &String)| {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let error = parse_module(text).err()?;
        let at = usize::from(error.location.start());
        let before = text.get(..at).unwrap_or(text);
        let last = before.rsplit('\n').next().unwrap_or_default();
        Some(Wrong {
            path: path.clone(),
            line: before.matches('\n').count() + 1,
            column: last.chars().count() + 1,
            why: error.error.to_string(),
        })
    };
    on_deep_stack(|| sources.iter().filter_map(look).collect())
}

/// The actions of `entries` whose object is not where they say, each with why.
pub fn not_found(
    sources: &BTreeMap<String, String>,
    entries: &[Entry],
) -> Result<Vec<(String, String)>, Failure> {
    let reading = forms::read(sources, entries)?;
    let look = |entry: &Entry| {
        let why = match reading.actions.get(&entry.action) {
            None => format!("there is no {} in {}", entry.object, entry.module),
            Some(read) => {
                let place = read.described.entrypoint.as_ref()?;
                format!("it is at {place}; `synapse plugin update-config` writes that")
            }
        };
        Some((entry.action.clone(), why))
    };
    Ok(entries.iter().filter_map(look).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(files: &[(&str, &str)]) -> BTreeMap<String, String> {
        let owned = |(path, text): &(&str, &str)| ((*path).to_owned(), (*text).to_owned());
        files.iter().map(owned).collect()
    }

    #[test]
    fn what_is_no_python_is_told_by_its_place() {
        let deep = format!("x = {}1{}\n", "(".repeat(3000), ")".repeat(3000));
        let sources = sources(&[
            ("a.py", "def main():\n    return 1\n"),
            ("b.py", "x = 1\n가 = ]\n"),
            ("c.py", &deep),
        ]);
        let wrong = wrong_syntax(&sources).unwrap();
        let places: Vec<_> = wrong
            .iter()
            .map(|own| (own.path.as_str(), own.line, own.column))
            .collect();
        assert_eq!(places, [("b.py", 2, 5)]);
    }

    #[test]
    fn objects_that_are_elsewhere_or_nowhere_are_told() {
        let sources = sources(&[
            (
                "plugin/a.py",
                "from synapse_sdk.plugins import BaseAction\nclass Run(BaseAction):\n    def execute(self): ...\n",
            ),
            ("plugin/b.py", "# Run is elsewhere\n"),
        ]);
        let entry = |action: &str, module: &str, object: &str| Entry {
            action: action.to_owned(),
            module: module.to_owned(),
            object: object.to_owned(),
        };
        let entries = [
            entry("run", "plugin.b", "Run"),
            entry("gone", "plugin.a", "Gone"),
        ];
        let told = not_found(&sources, &entries).unwrap();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].1.contains("plugin.a:Run"), "{told:?}");
        assert!(told[1].1.contains("no Gone in plugin.a"), "{told:?}");
        assert!(
            not_found(&sources, &[entry("run", "plugin.a", "Run")])
                .unwrap()
                .is_empty()
        );
    }
}
