//! Owns `--params`: parameters of an action as JSON, from the argument, a file or standard input.

use std::{
    io::{self, Read},
    path::Path,
};

use serde_json::{Map, Value};
use synapse_engine::Failure;
use synapse_rules::fileset::read_regular;

/// How parameters are written, as the guide's troubleshooting has it.
const HINT: &str = "Verify JSON format: --params '{\"key\": \"value\"}'";

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
    match serde_json::from_slice(text) {
        Ok(Value::Object(map)) => Ok(Value::Object(map)),
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
            let what = format!("Invalid JSON params: {error}");
            let (line, column) = (error.line(), error.column());
            Err(failure(what).at(format!("{place}:{line}:{column}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(given: &str) -> Result<Value, Failure> {
        read(Some(given), Path::new("/nowhere"), io::empty())
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
    fn bad_json_is_placed_and_not_quoted() {
        let failure = from("{'epochs': 5, 'token': 'canary'}").unwrap_err();
        assert_eq!(failure.place.as_deref(), Some("--params:1:2"));
        assert_eq!(failure.hint.as_deref(), Some(HINT));
        assert!(!format!("{failure:?}").contains("canary"));
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
