//! Owns the taking of typed values out of a mapping: each wrong one is reported where it stands,
//! and reading goes on.

use super::{
    diagnostic::{quote, short},
    keys::Key,
    scalar::Plain,
    source::Problem,
    suggest::nearest,
    vocabulary::Word,
    yaml::{Node, Value},
};

/// Reads one mapping of a file.
pub(crate) struct Reader<'n, 'p> {
    pub(crate) node: &'n Node,
    pub(crate) problems: &'p mut Vec<Problem>,
    /// What stands before a key in messages: nothing, or `actions.train.`.
    prefix: String,
    /// The keys that are known.
    keys: &'static [Key],
}

impl<'n, 'p> Reader<'n, 'p> {
    pub(crate) fn new(
        node: &'n Node,
        prefix: String,
        keys: &'static [Key],
        problems: &'p mut Vec<Problem>,
    ) -> Self {
        Self {
            node,
            problems,
            prefix,
            keys,
        }
    }

    /// The value of a key; null counts as absent.
    pub(crate) fn get(&self, key: &str) -> Option<&'n Node> {
        debug_assert!(self.knows(key), "{key} is read, but is none of the keys");
        self.node.get(key).filter(|value| !value.is_null())
    }

    fn knows(&self, key: &str) -> bool {
        self.keys.iter().any(|known| known.name == key)
    }

    /// The key that was probably meant.
    pub(crate) fn nearest(&self, text: &str) -> Option<&'static str> {
        nearest(text, self.keys.iter().map(|known| known.name))
    }

    /// The value of a key that must be there. A key that looks like a misspelling of it is named.
    pub(crate) fn required(&mut self, key: &str) -> Option<&'n Node> {
        if let Some(value) = self.get(key) {
            return Some(value);
        }
        let name = quote(&format!("{}{key}", self.prefix));
        let pairs = self.node.as_mapping().unwrap_or_default();
        let own = pairs.iter().find(|(k, _)| k.as_text() == Some(key));
        let code = "config-missing-field";
        let problem = if let Some((own, _)) = own {
            Problem::error(code, own.span(), format!("{name} has no value"))
        } else if let Some((near, text)) = pairs.iter().take(200).find_map(|(k, _)| {
            let text = k.as_text()?;
            (!self.knows(text) && self.nearest(text) == Some(key)).then_some((k, text))
        }) {
            Problem::error(code, near.span(), format!("{name} is missing"))
                .hint(format!("rename {} to `{key}`", quote(text)))
        } else {
            let at = pairs
                .first()
                .map_or_else(|| self.node.span(), |(k, _)| k.span());
            Problem::error(code, at, format!("{name} is missing"))
        };
        self.problems.push(problem);
        None
    }

    /// Warns of keys that are not known but nearly are. Required ones have been reported.
    pub(crate) fn near_misses(&mut self) {
        // Comparing names is slow; a mapping with more keys than this was not typed by a person.
        for (key, _) in self.node.as_mapping().unwrap_or_default().iter().take(200) {
            let Some(text) = key.as_text() else { continue };
            if self.knows(text) {
                continue;
            }
            let mut keys = self.keys.iter();
            let Some(near) = self
                .nearest(text)
                .and_then(|near| keys.find(|key| key.name == near))
            else {
                continue;
            };
            let near_is_there = self.node.get(near.name).is_some();
            if near_is_there || near.required {
                continue;
            }
            let name = quote(&format!("{}{text}", self.prefix));
            self.problems.push(
                Problem::warning(
                    "config-unknown-key",
                    key.span(),
                    format!("unknown key {name}"),
                )
                .hint(format!("did you mean `{}`?", near.name)),
            );
        }
    }

    /// Reports what is neither `true` nor `false` under a key.
    pub(crate) fn boolean(&mut self, key: &str) {
        if let Some(value) = self.get(key)
            && !value
                .as_scalar()
                .is_some_and(|scalar| matches!(scalar.meaning, Plain::Bool(_)))
        {
            self.wrong(key, value, "true or false");
        }
    }

    pub(crate) fn wrong(&mut self, key: &str, value: &Node, wanted: &str) {
        let name = quote(&format!("{}{key}", self.prefix));
        self.problems.push(wrong_type(&name, value, wanted));
    }

    /// Text under a key.
    pub(crate) fn text(&mut self, key: &str) -> Option<(&'n str, &'n Node)> {
        let value = self.get(key)?;
        self.text_of(key, value)
    }

    /// The text of a value that was found under `key`.
    pub(crate) fn text_of(&mut self, key: &str, value: &'n Node) -> Option<(&'n str, &'n Node)> {
        if let Some(text) = value.as_text() {
            Some((text, value))
        } else {
            self.wrong(key, value, "text");
            None
        }
    }

    /// Owned text under a key.
    pub(crate) fn string(&mut self, key: &str) -> Option<String> {
        self.text(key).map(|(text, _)| text.to_owned())
    }

    /// A mapping under a key.
    pub(crate) fn mapping(&mut self, key: &str) -> Option<&'n Node> {
        let value = self.get(key)?;
        if value.as_mapping().is_none() {
            self.wrong(key, value, "a mapping");
            return None;
        }
        Some(value)
    }

    /// A list of texts under a key; a single text counts as a list of one where `single` allows.
    pub(crate) fn texts(&mut self, key: &str, single: bool) -> Vec<(&'n str, &'n Node)> {
        let Some(value) = self.get(key) else {
            return Vec::new();
        };
        match &value.value {
            Value::Sequence(items) => {
                let mut texts = Vec::with_capacity(items.len());
                for item in items {
                    if let Some(text) = item.as_text() {
                        texts.push((text, item));
                    } else {
                        let name = quote(&format!("{}{key}", self.prefix));
                        let name = format!("an item of {name}");
                        self.problems.push(wrong_type(&name, item, "text"));
                    }
                }
                texts
            }
            Value::Scalar(_) if single => self.text_of(key, value).into_iter().collect(),
            _ => {
                self.wrong(key, value, "a list");
                Vec::new()
            }
        }
    }

    /// A word of a closed set under a key.
    pub(crate) fn word<W: Word>(&mut self, key: &str) -> Option<W> {
        let (text, value) = self.text(key)?;
        self.word_of(text, value)
    }

    /// The word that a text is.
    pub(crate) fn word_of<W: Word>(&mut self, text: &str, value: &Node) -> Option<W> {
        let word = W::from_word(text);
        if word.is_none() {
            self.problems.push(unknown_word::<W>(text, value));
        }
        word
    }

    /// A path inside the plugin, under a key: relative, with `/`, normalised.
    pub(crate) fn path(&mut self, key: &str) -> Option<String> {
        let (text, value) = self.text(key)?;
        match inner_path(text) {
            Ok(path) => Some(path),
            Err(why) => {
                let name = quote(&format!("{}{key}", self.prefix));
                self.problems.push(
                    Problem::error("config-bad-path", value.span(), format!("{name} {why}"))
                        .hint("write a path relative to the plugin's folder"),
                );
                None
            }
        }
    }

    /// A PEP 440 specifier.
    pub(crate) fn specifier(
        &mut self,
        key: &str,
        value: &'n Node,
    ) -> Option<pep440_rs::VersionSpecifiers> {
        let code = "config-bad-specifier";
        let name = quote(&format!("{}{key}", self.prefix));
        let Some(text) = value.as_text() else {
            let problem = Problem::error(
                code,
                value.span(),
                format!(
                    "{name} must be a version specifier, but is {}",
                    value.kind()
                ),
            );
            let example = value
                .as_scalar()
                .map(|s| format!("\">={}\"", short(&s.text)));
            let example = example.as_deref().unwrap_or("\">=1.0\"");
            self.problems
                .push(problem.hint(format!("write it quoted, such as {example}")));
            return None;
        };
        if let Ok(specifiers) = text.parse() {
            Some(specifiers)
        } else {
            let bare = text.trim().parse::<pep440_rs::Version>().is_ok();
            let hint = match text.trim() {
                "*" => "write \">=0\" for any version".to_owned(),
                version if bare => {
                    let version = short(version);
                    format!("write \"=={version}\" or \">={version}\"")
                }
                _ => "write it as in \">=1.2,<2\"".to_owned(),
            };
            let message = format!("{name}: {} is not a version specifier", quote(text));
            self.problems
                .push(Problem::error(code, value.span(), message).hint(hint));
            None
        }
    }
}

/// A value of the wrong type. Its text is used for the hint alone, when it can be quoted.
pub(crate) fn wrong_type(name: &str, value: &Node, wanted: &str) -> Problem {
    let message = format!("{name} must be {wanted}, but is {}", value.kind());
    let problem = Problem::error("config-wrong-type", value.span(), message);
    match value.as_scalar() {
        Some(scalar) if wanted == "text" && !scalar.text.is_empty() => {
            problem.hint(format!("quote it: \"{}\"", short(&scalar.text)))
        }
        _ => problem,
    }
}

fn unknown_word<W: Word>(text: &str, value: &Node) -> Problem {
    let code = match W::NAME {
        "category" => "config-unknown-category",
        "method" => "config-unknown-method",
        "data type" => "config-unknown-data-type",
        "package manager" => "config-unknown-package-manager",
        _ => "config-unknown-smart-tool",
    };
    let words = W::ALL.iter().map(|word| word.as_str());
    let hint = match nearest(text, words.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("use one of {}", words.collect::<Vec<_>>().join(", ")),
    };
    let message = format!("unknown {} {}", W::NAME, quote(text));
    Problem::error(code, value.span(), message).hint(hint)
}

/// A relative path that stays inside its folder, without `.` and doubled slashes.
pub(crate) fn inner_path(text: &str) -> Result<String, &'static str> {
    if text.starts_with(['/', '~']) || text.as_bytes().get(1) == Some(&b':') {
        return Err("must be relative");
    }
    if text.contains('\\') {
        return Err("must be written with `/`");
    }
    if text.chars().any(char::is_control) {
        return Err("holds a control character");
    }
    let mut parts = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => return Err("must stay inside the plugin"),
            part => parts.push(part),
        }
    }
    if parts.is_empty() {
        return Err("names nothing");
    }
    Ok(parts.join("/"))
}
