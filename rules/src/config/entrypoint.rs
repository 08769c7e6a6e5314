//! Owns [`Entrypoint`], where an action's code is, and the check that a plugin's files have it.
//! No Python is parsed here: a name that a module never mentions is what can be found out.

use std::ops::Range;

use regex::Regex;

use super::{
    diagnostic::{Diagnostic, quote, short},
    model::Config,
    source::Problem,
    suggest::nearest,
};

/// Where an action's code is: `module.path:Name`, or `module.path.Name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entrypoint {
    /// As written.
    pub text: String,
    /// Dotted module.
    pub module: String,
    /// Class or function.
    pub object: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// Its bytes in the file.
    pub span: Range<usize>,
}

impl Entrypoint {
    /// The files that may hold the module, in Python's order of preference.
    pub fn candidates(&self) -> [String; 2] {
        let path = self.module.replace('.', "/");
        [format!("{path}/__init__.py"), format!("{path}.py")]
    }
}

/// Module and object of an entrypoint's text; else what is wrong with it.
pub(crate) fn split(text: &str) -> Result<(&str, &str), String> {
    let (module, object) = match text.split_once(':') {
        Some(parts) => parts,
        None => text
            .rsplit_once('.')
            .ok_or_else(|| format!("the entrypoint {} names no module", quote(text)))?,
    };
    if module.is_empty() {
        return Err(format!("the entrypoint {} names no module", quote(text)));
    }
    if object.is_empty() {
        return Err(format!(
            "the entrypoint {} names no class or function",
            quote(text)
        ));
    }
    match module
        .split('.')
        .chain([object])
        .find(|part| !is_identifier(part))
    {
        Some(part) => Err(format!(
            "{} in the entrypoint is not a Python name",
            quote(part)
        )),
        None => Ok((module, object)),
    }
}

/// Python's identifiers, to within a few rare characters.
fn is_identifier(text: &str) -> bool {
    let joins = |c: char| {
        // Combining marks: Devanagari, Thai and others need them inside names.
        matches!(c, '\u{300}'..='\u{36f}' | '\u{900}'..='\u{109f}' | '\u{1ab0}'..='\u{1aff}' | '·')
    };
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c == '_' || c.is_alphabetic())
        && chars.all(|c| c == '_' || c.is_alphanumeric() || joins(c))
}

/// Entrypoints that the plugin's files do not have. `files` are the plugin's packed paths,
/// `sources` gives the bytes of one of them.
pub fn check_entrypoints(
    config: &Config,
    file: &str,
    bytes: &[u8],
    files: &[String],
    sources: &dyn Fn(&str) -> Option<Vec<u8>>,
) -> Vec<Diagnostic> {
    let problems: Vec<Problem> = config
        .actions
        .iter()
        .filter_map(|action| check(&action.name, &action.entrypoint, files, sources))
        .collect();
    if problems.is_empty() {
        return Vec::new();
    }
    let document = super::yaml::parse(bytes, file);
    document.source.diagnose(problems, &document.secrets)
}

fn check(
    action: &str,
    entrypoint: &Entrypoint,
    files: &[String],
    sources: &dyn Fn(&str) -> Option<Vec<u8>>,
) -> Option<Problem> {
    let [package, module] = entrypoint.candidates();
    let found = [&package, &module]
        .into_iter()
        .find_map(|path| sources(path).map(|bytes| (path, bytes)));
    let Some((path, bytes)) = found else {
        let problem = Problem::error(
            "config-entrypoint-module",
            entrypoint.span.clone(),
            format!(
                "action {} needs {}, which the plugin does not have",
                quote(action),
                short(&module)
            ),
        );
        let modules: Vec<String> = files.iter().filter_map(|path| module_name(path)).collect();
        let near = nearest(&entrypoint.module, modules.iter().map(String::as_str));
        return Some(match near {
            Some(near) => suggest(problem, near, &entrypoint.object),
            None => problem.hint("the path is counted from the plugin's folder"),
        });
    };
    let text = String::from_utf8_lossy(&bytes);
    if mentions(&text, &entrypoint.object) || provides_unseen(&text) {
        return None;
    }
    let problem = Problem::error(
        "config-entrypoint-object",
        entrypoint.span.clone(),
        format!(
            "action {}: {} has no {}",
            quote(action),
            short(path),
            quote(&entrypoint.object)
        ),
    );
    let names = defined_names(&text);
    Some(match nearest(&entrypoint.object, names.iter().copied()) {
        Some(near) => suggest(problem, &entrypoint.module, near),
        None if names.is_empty() => problem.hint("define the class or function there"),
        None => problem.hint(format!("it defines {}", listed(&names))),
    })
}

fn suggest(problem: Problem, module: &str, object: &str) -> Problem {
    problem.hint(format!(
        "did you mean {}?",
        quote(&format!("{module}:{object}"))
    ))
}

/// At most six names, for a hint.
fn listed(names: &[&str]) -> String {
    let shown = names
        .iter()
        .take(6)
        .map(|n| short(n))
        .collect::<Vec<_>>()
        .join(", ");
    if names.len() > 6 {
        format!("{shown} and more")
    } else {
        shown
    }
}

/// `a/b.py` and `a/b/__init__.py` as `a.b`.
fn module_name(path: &str) -> Option<String> {
    let stem = path.strip_suffix(".py")?;
    let stem = stem.strip_suffix("/__init__").unwrap_or(stem);
    Some(stem.replace('/', "."))
}

/// Whether a name occurs as a whole word.
fn mentions(text: &str, name: &str) -> bool {
    let word = |c: Option<char>| c.is_some_and(|c| c == '_' || c.is_alphanumeric());
    text.match_indices(name).any(|(at, _)| {
        !word(text[..at].chars().next_back()) && !word(text[at + name.len()..].chars().next())
    })
}

/// Whether a module may have names that its text does not mention.
fn provides_unseen(text: &str) -> bool {
    text.contains("__getattr__")
        || text.contains("globals(")
        || text.lines().any(|line| {
            line.contains("import")
                && line
                    .split("import")
                    .any(|rest| rest.trim_start().starts_with('*'))
        })
}

/// Classes and functions that start a line.
fn defined_names(text: &str) -> Vec<&str> {
    let Ok(pattern) = Regex::new(r"(?m)^(?:class|def|async[ \t]+def)[ \t]+([\w]+)") else {
        return Vec::new();
    };
    pattern
        .captures_iter(text)
        .filter_map(|found| found.get(1))
        .map(|name| name.as_str())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_both_forms() {
        assert_eq!(
            split("plugin.train:TrainAction"),
            Ok(("plugin.train", "TrainAction"))
        );
        assert_eq!(
            split("plugin.train.TrainAction"),
            Ok(("plugin.train", "TrainAction"))
        );
        assert_eq!(split("플러그인.학습:행동"), Ok(("플러그인.학습", "행동")));
        for bad in [
            "",
            "Train",
            ":Train",
            "plugin.train:",
            "a b:C",
            "a..b:C",
            "a/b:C",
            "a:B.C",
            "1a:B",
            "a:B:C",
        ] {
            assert!(split(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn mentions_are_whole_words() {
        assert!(mentions("class Train(Base):", "Train"));
        assert!(!mentions("class Trainer: pass\nMyTrain = 1", "Train"));
        assert!(provides_unseen("from .x import  *"));
        assert!(!provides_unseen("import os\na = 2 * 3"));
    }
}
