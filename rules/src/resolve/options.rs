//! Owns [`Options`]: what a requirements file, or `package_manager_options`, asks of an
//! installer, in terms that pip and uv share.

use std::path::Path;

use super::line::Value;

/// Where packages come from and which of them count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// The index instead of the usual one.
    pub index: Option<Value>,
    /// Further ones.
    pub extra_index: Vec<Value>,
    /// Folders and pages with packages; folders are absolute.
    pub find_links: Vec<Value>,
    /// Use no index.
    pub no_index: bool,
    /// Take releases before a final one.
    pub pre: bool,
    /// Prefer wheels to newer sources.
    pub prefer_binary: bool,
    /// Packages to build from source.
    pub no_binary: Vec<String>,
    /// Packages never to build.
    pub only_binary: Vec<String>,
    /// Hosts without certificates.
    pub trusted_hosts: Vec<String>,
    /// Every package must have a hash.
    pub require_hashes: bool,
    /// Options that only one installer knows; for its command line.
    pub others: Vec<Value>,
}

/// What an option line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// Kept in [`Options`].
    Kept,
    /// `-r`.
    Requirements(Value),
    /// `-c`.
    Constraints(Value),
    /// `-e`.
    Editable(Value),
    /// No such option, or one without its value.
    Unknown(String),
}

/// Options that would lead an installer elsewhere, or change what we read of it.
const REFUSED: [&str; 22] = [
    "--target",
    "-t",
    "--prefix",
    "--root",
    "--user",
    "--python",
    "--report",
    "--dry-run",
    "--ignore-installed",
    "--editable",
    "-e",
    "--requirement",
    "-r",
    "--constraint",
    "-c",
    "--require-virtualenv",
    "--log",
    "--cache-dir",
    "--output-file",
    "-o",
    "--system",
    "--isolated",
];
/// Options of installers that take no value; the others that are not known take one.
const FLAGS: [&str; 22] = [
    "--no-cache-dir",
    "--no-cache",
    "-n",
    "--no-build-isolation",
    "--no-clean",
    "--check-build-dependencies",
    "--no-compile",
    "--compile",
    "--compile-bytecode",
    "--force-reinstall",
    "--upgrade",
    "-U",
    "--use-pep517",
    "--no-use-pep517",
    "--quiet",
    "-q",
    "--verbose",
    "-v",
    "--no-deps",
    "--break-system-packages",
    "--native-tls",
    "--no-sources",
];

impl Options {
    /// Takes in one option with what follows it; `next` gives the following word. `folder` is
    /// where relative folders start.
    fn option(
        &mut self,
        word: &Value,
        folder: &Path,
        next: &mut dyn FnMut() -> Option<Value>,
    ) -> Said {
        let (name, own) = parted(word);
        let mut value = || own.clone().or_else(&mut *next);
        macro_rules! value {
            () => {
                match value() {
                    Some(value) => value,
                    None => return Said::Unknown(format!("{name} needs a value")),
                }
            };
        }
        match name.as_str() {
            "-r" | "--requirement" | "--requirements" => return Said::Requirements(value!()),
            "-c" | "--constraint" | "--constraints" => return Said::Constraints(value!()),
            "-e" | "--editable" => return Said::Editable(value!()),
            "-i" | "--index-url" | "--pypi-url" | "--default-index" => self.index = Some(value!()),
            "--extra-index-url" | "--index" => self.extra_index.push(value!()),
            "-f" | "--find-links" => {
                let value = value!();
                self.find_links.push(link(&value, folder));
            }
            "--no-index" => self.no_index = true,
            "--pre" => self.pre = true,
            "--prefer-binary" => self.prefer_binary = true,
            "--require-hashes" => self.require_hashes = true,
            "--no-binary" => list(&mut self.no_binary, &value!().text),
            "--only-binary" => list(&mut self.only_binary, &value!().text),
            "--trusted-host" | "--allow-insecure-host" => self.trusted_hosts.push(value!().text),
            "--use-feature" | "--always-unzip" | "-Z" if own.is_some() => {}
            "--use-feature" => drop(value!()),
            _ => return Said::Unknown(format!("{name} is no option of a requirements file")),
        }
        Said::Kept
    }

    /// One option line of a requirements file.
    pub fn line(&mut self, words: &[Value], folder: &Path) -> Said {
        let Some((first, rest)) = words.split_first() else {
            return Said::Kept;
        };
        let mut rest = rest.iter();
        let said = self.option(first, folder, &mut || rest.next().cloned());
        match (said, rest.next()) {
            (Said::Kept, Some(more)) if more.shown.starts_with('-') => {
                let left: Vec<Value> = std::iter::once(more).chain(rest).cloned().collect();
                self.line(&left, folder)
            }
            (Said::Kept, Some(more)) => {
                Said::Unknown(format!("{} is one word too many", more.shown))
            }
            (said, _) => said,
        }
    }

    /// `package_manager_options`: what we know goes with the rest of its kind, what only the
    /// installer knows is kept for its command line. An error is the option that cannot be.
    pub fn arguments(&mut self, words: &[Value], folder: &Path) -> Result<(), String> {
        let mut words = words.iter().peekable();
        while let Some(word) = words.next() {
            let (name, own) = parted(word);
            if REFUSED.contains(&name.as_str()) {
                return Err(name);
            }
            let mut known = self.clone();
            let mut ahead = words.clone();
            if known.option(word, folder, &mut || ahead.next().cloned()) == Said::Kept {
                *self = known;
                words = ahead;
                continue;
            }
            self.others.push(word.clone());
            let flag = own.is_some() || FLAGS.contains(&name.as_str()) || !name.starts_with('-');
            if !flag && let Some(value) = words.next_if(|next| !next.shown.starts_with('-')) {
                self.others.push(value.clone());
            }
        }
        Ok(())
    }

    /// As lines of a requirements file that both installers read. `url` is applied to every URL.
    pub fn to_lines(&self, offline: bool, mut url: impl FnMut(&str) -> String) -> Vec<String> {
        let mut lines = Vec::new();
        if self.no_index || offline {
            lines.push("--no-index".to_owned());
        } else {
            lines.extend(
                self.index
                    .iter()
                    .map(|index| format!("--index-url {}", url(&index.text))),
            );
            let extra = self.extra_index.iter();
            lines.extend(extra.map(|index| format!("--extra-index-url {}", url(&index.text))));
        }
        for link in &self.find_links {
            if !offline || !is_url(&link.text) {
                lines.push(format!("--find-links {}", quoted(&url(&link.text))));
            }
        }
        lines.extend(
            self.no_binary
                .iter()
                .map(|name| format!("--no-binary {name}")),
        );
        lines.extend(
            self.only_binary
                .iter()
                .map(|name| format!("--only-binary {name}")),
        );
        lines
    }

    /// What results depend on, without logins.
    pub fn identity(&self) -> String {
        let list = |name: &str, values: &[Value]| {
            let shown = values
                .iter()
                .map(|value| super::credentials::without(&value.shown));
            format!("{name}={}", shown.collect::<Vec<_>>().join(" "))
        };
        let flags = [
            ("no-index", self.no_index),
            ("pre", self.pre),
            ("prefer-binary", self.prefer_binary),
        ];
        let flags = flags
            .iter()
            .filter(|(_, on)| *on)
            .map(|(name, _)| (*name).to_owned());
        let mut parts: Vec<String> = flags.collect();
        parts.push(list("index", self.index.as_slice()));
        parts.push(list("extra", &self.extra_index));
        parts.push(list("links", &self.find_links));
        parts.push(list("others", &self.others));
        parts.push(format!("no-binary={}", self.no_binary.join(",")));
        parts.push(format!("only-binary={}", self.only_binary.join(",")));
        parts.retain(|part| !part.ends_with('='));
        parts.join("; ")
    }
}

/// Whether a text is a URL rather than a path.
pub fn is_url(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| {
        scheme
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
    })
}

/// A word with white space in quotes.
pub fn quoted(text: &str) -> String {
    if text.contains(char::is_whitespace) {
        format!("'{text}'")
    } else {
        text.to_owned()
    }
}

fn list(into: &mut Vec<String>, text: &str) {
    into.extend(
        text.split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .map(str::to_owned),
    );
}

/// `--name=value` and `-nvalue` as name and value.
fn parted(word: &Value) -> (String, Option<Value>) {
    if let Some((name, shown)) = word.shown.split_once('=')
        && let Some((_, text)) = word.text.split_once('=')
        && name.starts_with("--")
    {
        let (text, shown) = (text.to_owned(), shown.to_owned());
        return (name.to_owned(), Some(Value { text, shown }));
    }
    let short = word
        .shown
        .strip_prefix('-')
        .filter(|rest| !rest.starts_with('-') && rest.len() > 1);
    if let Some(rest) = short
        && rest.is_char_boundary(1)
        && "rceif".contains(&rest[..1])
    {
        let shown = rest[1..].trim_start_matches('=').to_owned();
        let text = word
            .text
            .get(2..)
            .unwrap_or_default()
            .trim_start_matches('=')
            .to_owned();
        return (format!("-{}", &rest[..1]), Some(Value { text, shown }));
    }
    (word.shown.clone(), None)
}

fn link(value: &Value, folder: &Path) -> Value {
    if is_url(&value.text) {
        return value.clone();
    }
    Value {
        text: folder.join(&value.text).display().to_string(),
        shown: value.shown.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::line::words;

    fn values(text: &str) -> Vec<Value> {
        let word = |text: String| Value {
            shown: text.clone(),
            text,
        };
        words(text).unwrap().into_iter().map(word).collect()
    }

    #[test]
    fn options_of_every_spelling_are_read() {
        let mut options = Options::default();
        for line in [
            "--index-url https://a/simple",
            "--extra-index-url=https://b/simple",
            "-f wheels",
            "-fmore",
            "--no-binary a,b",
            "--only-binary=:all:",
            "--pre --prefer-binary",
            "--trusted-host h",
            "--use-feature fast-deps",
        ] {
            assert_eq!(
                options.line(&values(line), Path::new("/p")),
                Said::Kept,
                "{line}"
            );
        }
        assert_eq!(
            options.to_lines(false, str::to_owned),
            [
                "--index-url https://a/simple",
                "--extra-index-url https://b/simple",
                "--find-links /p/wheels",
                "--find-links /p/more",
                "--no-binary a",
                "--no-binary b",
                "--only-binary :all:"
            ]
        );
        assert_eq!(options.to_lines(true, str::to_owned)[0], "--no-index");
        let said = options.line(&values("-r ../base.txt"), Path::new("/p"));
        assert!(matches!(said, Said::Requirements(value) if value.text == "../base.txt"));
        for bad in ["--no-such", "--index-url", "--pre x"] {
            let said = options.line(&values(bad), Path::new("/p"));
            assert!(matches!(said, Said::Unknown(_)), "{bad}: {said:?}");
        }
    }

    #[test]
    fn installers_own_options_are_kept_apart() {
        let mut options = Options::default();
        let given = values(
            &[
                "--index-url https://u:p4ss",
                "@a/simple --timeout 60 --no-cache-dir --pre",
            ]
            .concat(),
        );
        options.arguments(&given, Path::new("/p")).unwrap();
        let others: Vec<&str> = options
            .others
            .iter()
            .map(|value| value.text.as_str())
            .collect();
        assert_eq!(others, ["--timeout", "60", "--no-cache-dir"]);
        assert!(options.pre && !options.identity().contains("p4ss"));
        let refused = options.arguments(&values("--target=/x"), Path::new("/p"));
        assert_eq!(refused, Err("--target".to_owned()));
    }
}
