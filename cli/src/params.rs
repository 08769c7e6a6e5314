//! Owns `--params`: parameters of an action as JSON, from the argument, a file or standard input.

use std::{
    fmt,
    io::{self, Read},
    path::Path,
};

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use synapse_engine::{Excerpt, Failure};
use synapse_rules::fileset::read_regular;

/// How parameters are written, as the guide's troubleshooting has it.
const HINT: &str = "Verify JSON format: --params '{\"key\": \"value\"}'";

/// Stands for the value of a secret.
const HIDDEN: &str = "(hidden)";
/// Words in the name of a parameter whose value is not shown.
const SECRET: [&str; 9] = [
    "token",
    "secret",
    "passw",
    "passphrase",
    "pwd",
    "auth",
    "credential",
    "cookie",
    "session",
];

/// Whether the name of a parameter sounds like that of a secret.
pub fn is_secret(name: &str) -> bool {
    let name = name.to_lowercase();
    let whole = name.replace(['_', '-'], "");
    let is_key = ["apikey", "accesskey", "privatekey", "signingkey"];
    SECRET.iter().any(|word| name.contains(word)) || is_key.iter().any(|word| whole.contains(word))
}

/// The same parameters for people and logs: what sounds like a secret is not shown.
pub fn shown(params: &Value) -> Value {
    match params {
        Value::Object(own) => {
            let shown = own.iter().map(|(name, value)| {
                let value = if is_secret(name) && !value.is_null() {
                    HIDDEN.into()
                } else {
                    shown(value)
                };
                (name.clone(), value)
            });
            Value::Object(shown.collect())
        }
        Value::Array(own) => own.iter().map(shown).collect(),
        other => other.clone(),
    }
}

/// Reads parameters. `stdin` is read for `-` only.
pub fn read(given: Option<&str>, cwd: &Path, stdin: impl Read) -> Result<Value, Failure> {
    let Some(given) = given else {
        return Ok(Value::Object(Map::new()));
    };
    let (text, place) = match given.strip_prefix('@') {
        Some(file) => {
            let path = cwd.join(file);
            let shown = path.display().to_string();
            let bytes = read_regular(&path).map_err(|error| {
                let what = match error.kind() {
                    io::ErrorKind::NotFound => format!("Path not found: {shown}"),
                    _ => format!("cannot read {shown}: {error}"),
                };
                Failure::user("params", what).hint("check the path after --params @")
            })?;
            (bytes, shown)
        }
        None if given == "-" => {
            let mut bytes = Vec::new();
            let mut stdin = stdin;
            stdin.read_to_end(&mut bytes).map_err(|error| {
                Failure::user("params", format!("cannot read standard input: {error}"))
            })?;
            (bytes, "standard input".to_owned())
        }
        None => (given.as_bytes().to_vec(), "--params".to_owned()),
    };
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&text);
    parse(text, &place)
}

fn parse(text: &[u8], place: &str) -> Result<Value, Failure> {
    let failure = |what: String| Failure::user("params", what).hint(HINT);
    if text.iter().all(u8::is_ascii_whitespace) {
        let what = "Invalid JSON params: nothing was given".to_owned();
        return Err(failure(what).at(place));
    }
    match serde_json::from_slice(text).map(|Exact(value)| value) {
        Ok(Value::Object(map)) => match too_large(text) {
            None => Ok(Value::Object(map)),
            Some(number) => {
                let what = format!("Invalid JSON params: {number} does not fit into 64 bits");
                Err(Failure::user("params", what)
                    .at(place)
                    .hint("give it as text: \"...\", which a field of type int takes too"))
            }
        },
        Ok(other) => {
            let kind = match other {
                Value::Null => "null",
                Value::Bool(_) => "a boolean",
                Value::Number(_) => "a number",
                Value::String(_) => "a string",
                Value::Array(_) => "a list",
                Value::Object(_) => "an object",
            };
            let what = format!("Invalid JSON params: an object is needed, but this is {kind}");
            Err(failure(what).at(place))
        }
        Err(error) => {
            // The text itself is not quoted: it may hold what belongs into no log.
            let said = error.to_string();
            let said = said.split(" at line ").next().unwrap_or(&said);
            let said = said.replace("EOF while parsing", "it ends inside");
            let what = format!("Invalid JSON params: {said}");
            let (line, column) = (error.line(), error.column());
            let mut failure = failure(what).at(format!("{place}:{line}:{column}"));
            failure.excerpt = excerpt(text, line, column);
            Err(failure)
        }
    }
}

/// The line that could not be read, near the place in it, with its values hidden: what belongs
/// into no log is among them.
fn excerpt(text: &[u8], line: usize, column: usize) -> Option<Box<Excerpt>> {
    /// Characters that are shown before the place, and after it.
    const AROUND: usize = 36;
    let own = text
        .split(|byte| *byte == b'\n')
        .nth(line.checked_sub(1)?)?;
    let before = own.get(..column.saturating_sub(1).min(own.len()))?;
    let before = String::from_utf8_lossy(before).chars().count();
    let shown = hidden(&String::from_utf8_lossy(own));
    let shown: Vec<char> = shown.trim_end().chars().collect();
    let (from, to) = (
        before.saturating_sub(AROUND),
        (before + AROUND).min(shown.len()),
    );
    let cut = |is_cut: bool| if is_cut { "..." } else { "" };
    let middle: String = shown.get(from..to)?.iter().collect();
    let head = cut(from > 0);
    Some(Box::new(Excerpt {
        line,
        text: format!("{head}{middle}{}", cut(to < shown.len())),
        before: before - from + head.len(),
    }))
}

/// A line of JSON, or of what was meant to be, in which every word is hidden that is neither a
/// key nor a number: `{"key": "*****"}`. It is as long as before.
fn hidden(line: &str) -> String {
    let all: Vec<char> = line.chars().collect();
    let mut out = String::with_capacity(line.len());
    let mut at = 0;
    while at < all.len() {
        let first = all[at];
        let is_word = |own: &char| own.is_alphanumeric() || "_.-+/@=%$".contains(*own);
        let (open, end) = if first == '"' || first == '\'' {
            let mut escaped = false;
            let end = all[at + 1..].iter().position(|own| {
                let ends = *own == first && !escaped;
                escaped = *own == '\\' && !escaped;
                ends
            });
            (1, end.map_or(all.len(), |end| at + end + 2))
        } else if is_word(&first) {
            let length = all[at..].iter().take_while(|own| is_word(own)).count();
            (0, at + length)
        } else {
            (0, at + 1)
        };
        let word: String = all[at..end].iter().collect();
        let next = all[end..].iter().find(|own| !own.is_whitespace());
        let plain = ["true", "false", "null"].contains(&&*word) || word.parse::<f64>().is_ok();
        if next == Some(&':') || plain || (open == 0 && !is_word(&first)) {
            out.push_str(&word);
        } else {
            let closed = open == 1 && end - at > 1 && all[end - 1] == first;
            let stars = end - at - open - usize::from(closed);
            out.extend((open == 1).then_some(first));
            out.push_str(&"*".repeat(stars));
            out.extend(closed.then_some(first));
        }
        at = end;
    }
    out
}

/// The first integer of a JSON text that would lose digits, cut where it is very long.
fn too_large(text: &[u8]) -> Option<String> {
    const LONGEST: usize = 40;
    let mut rest = text;
    while let Some(first) = rest.first() {
        let length = match first {
            b'"' => string(rest),
            b'-' | b'0'..=b'9' => {
                let part =
                    |byte: &&u8| matches!(byte, b'-' | b'+' | b'.' | b'0'..=b'9' | b'e' | b'E');
                let length = rest.iter().take_while(part).count();
                let number = String::from_utf8_lossy(&rest[..length]);
                let whole = !number.contains(['.', 'e', 'E']);
                if whole && number.parse::<i64>().is_err() && number.parse::<u64>().is_err() {
                    let more = if length > LONGEST { "..." } else { "" };
                    return Some(format!("{number:.LONGEST$}{more}"));
                }
                length
            }
            _ => 1,
        };
        rest = &rest[length..];
    }
    None
}

/// The length of the JSON string that a text begins with, with its quotes.
fn string(text: &[u8]) -> usize {
    let mut escaped = false;
    let end = text.iter().skip(1).position(|byte| {
        let ends = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |end| end + 2)
}

/// A JSON value none of whose objects has a key twice.
struct Exact(Value);

impl<'de> Deserialize<'de> for Exact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Exactly).map(Self)
    }
}

struct Exactly;

impl<'de> Visitor<'de> for Exactly {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(Exact(item)) = items.next_element()? {
            all.push(item);
        }
        Ok(Value::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut all = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if all.contains_key(&key) {
                return Err(A::Error::custom(format!("the key {key:?} is given twice")));
            }
            let Exact(value) = entries.next_value()?;
            all.insert(key, value);
        }
        Ok(Value::Object(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(given: &str) -> Result<Value, Failure> {
        read(Some(given), Path::new("/nowhere"), io::empty())
    }

    #[test]
    fn names_that_sound_like_secrets() {
        for name in [
            "token",
            "api_key",
            "ApiKey",
            "api-key",
            "pwd",
            "auth",
            "passphrase",
            "credentials",
        ] {
            assert!(is_secret(name), "{name}");
        }
        for name in ["epochs", "dataset", "keypoints", "compass", "key"] {
            assert!(!is_secret(name), "{name}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let params = serde_json::json!(
            {"epochs": 1, "api_key": "hush", "at": [{"pwd": "hush", "x": 2}], "token": null}
        );
        let expected = serde_json::json!(
            {"epochs": 1, "api_key": "(hidden)", "at": [{"pwd": "(hidden)", "x": 2}], "token": null}
        );
        assert_eq!(shown(&params), expected);
    }

    #[test]
    fn parameters_come_from_three_places() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("p.json"), "\u{feff}{\"epochs\": 5}").unwrap();
        let expected = serde_json::json!({"epochs": 5});
        assert_eq!(from("{\"epochs\": 5}").unwrap(), expected);
        assert_eq!(
            read(Some("@p.json"), folder.path(), io::empty()).unwrap(),
            expected
        );
        let stdin = "{\"epochs\": 5}\n".as_bytes();
        assert_eq!(read(Some("-"), folder.path(), stdin).unwrap(), expected);
        let none = read(None, folder.path(), io::empty()).unwrap();
        assert_eq!(none, serde_json::json!({}));
    }

    #[test]
    fn integers_keep_their_digits_or_are_refused() {
        let kept = "{\"a\": 18446744073709551615, \"b\": [-9223372036854775808, 1.5, 1e30]}";
        let value = from(kept).unwrap();
        assert_eq!(value["a"], u64::MAX);
        assert_eq!(value["b"], serde_json::json!([i64::MIN, 1.5, 1e30]));
        let text = "{\"n\": \"1234567890123456789012345 \\\" 99999999999999999999\"}";
        assert!(from(text).is_ok(), "digits in a text are text");
        for number in ["123456789012345678901234567890", "-9223372036854775809"] {
            let failure = from(&format!("{{\"\\\\\": [1, {{\"n\": {number}}}]}}")).unwrap_err();
            let told = format!("Invalid JSON params: {number} does not fit into 64 bits");
            assert_eq!(failure.message, told);
        }
        let failure = from(&format!("{{\"n\": {}}}", "9".repeat(300))).unwrap_err();
        assert!(failure.message.len() < 120, "{}", failure.message);
    }

    #[test]
    fn a_key_that_is_given_twice_is_named() {
        for text in [
            "{\"a\": 1, \"a\": 1}",
            "{\"x\": [{\"a\": 1, \"\\u0061\": 2}]}",
        ] {
            let failure = from(text).unwrap_err();
            assert!(
                failure
                    .message
                    .starts_with("Invalid JSON params: the key \"a\" is given twice"),
                "{failure}"
            );
        }
        assert!(from("{\"a\": {\"a\": 1}, \"b\": {\"a\": 1}}").is_ok());
    }

    #[test]
    fn nothing_is_told_as_nothing() {
        for (given, place) in [("-", "standard input"), (" ", "--params")] {
            let failure = from(given).unwrap_err();
            assert_eq!(failure.message, "Invalid JSON params: nothing was given");
            assert_eq!(failure.place.as_deref(), Some(place));
        }
    }

    #[test]
    fn bad_json_is_placed_and_not_quoted() {
        let failure = from("{'epochs': 5, 'token': 'canary'}").unwrap_err();
        assert_eq!(failure.place.as_deref(), Some("--params:1:2"));
        assert_eq!(failure.hint.as_deref(), Some(HINT));
        assert!(!format!("{failure:?}").contains("canary"));
        let excerpt = failure.excerpt.unwrap();
        assert_eq!(excerpt.text, "{'epochs': 5, 'token': '******'}");
        assert_eq!((excerpt.line, excerpt.before), (1, 1));
        for text in [
            "{\"a\": \"canary\" \"b\": 1}",
            "{token: canary}",
            "{\"a\": [\"x\", canary+/=, \"canary",
            "{\"a\": \"can\\\"ary canary\", }",
        ] {
            let failure = from(text).unwrap_err();
            assert!(!format!("{failure:?}").contains("canary"), "{failure:?}");
        }
        let long = format!("{{\"a\": [{}\n{}oops]}}", "1, ".repeat(9), "1, ".repeat(90));
        let failure = from(&long).unwrap_err();
        let excerpt = failure.excerpt.unwrap();
        assert_eq!(failure.place.as_deref(), Some("--params:2:271"));
        assert_eq!(excerpt.line, 2);
        assert!(excerpt.text.starts_with("..."), "{excerpt:?}");
        let at = excerpt.text.chars().nth(excerpt.before);
        assert_eq!(at, Some('*'), "{excerpt:?}");
        for text in ["", "[1]", "3", "null", "{\"a\": 1} x", "\u{0}"] {
            let failure = from(text).unwrap_err();
            assert!(
                failure.message.starts_with("Invalid JSON params: "),
                "{text}"
            );
        }
        let failure = from("@missing.json").unwrap_err();
        assert_eq!(failure.message, "Path not found: /nowhere/missing.json");
    }
}
