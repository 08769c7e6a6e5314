//! Owns how refusals are read: the statuses, the ways in which platforms word them, and the three
//! ways in which they say that something is there already.

use reqwest::StatusCode;
use serde_json::Value;

use super::error::PlatformError;
use crate::http::{Reply, retry_after};

/// What says that something exists already, in lower case: a code, English, Korean.
const EXISTS: [&str; 3] = ["version_exists", "already exists", "이미 존재"];
/// Longest text of a platform that is passed on, in characters.
const LONGEST: usize = 500;
/// More problems than this are counted, not listed.
const LISTED: usize = 20;

/// Reads a reply that is no success.
pub(crate) fn refusal(host: &str, reply: &Reply) -> PlatformError {
    let said = said(reply);
    let first = || said.first().cloned();
    let with = |otherwise: &str| first().unwrap_or_else(|| otherwise.to_owned());
    let status = reply.status;
    if matches!(
        status,
        StatusCode::BAD_REQUEST | StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY
    ) && exists(reply)
    {
        return PlatformError::Exists(with("it exists already"));
    }
    match status {
        StatusCode::UNAUTHORIZED => {
            PlatformError::NotAuthenticated(with("the token is not accepted"))
        }
        StatusCode::FORBIDDEN => PlatformError::NotAllowed(with("that is not allowed")),
        StatusCode::NOT_FOUND => PlatformError::NotFound(with("there is no such thing")),
        StatusCode::CONFLICT => PlatformError::Conflict(with("it contradicts what is there")),
        StatusCode::PAYLOAD_TOO_LARGE => {
            PlatformError::Invalid(vec![with("it is larger than the platform takes")])
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => PlatformError::Busy {
            what: with(&format!("{host} has too much to do ({})", status.as_u16())),
            after: retry_after(&reply.headers),
        },
        // It gave up waiting for us: part of the request is missing there.
        StatusCode::REQUEST_TIMEOUT => PlatformError::Server {
            status: status.as_u16(),
            what: with(&format!("{host} gave up waiting for the request (408)")),
        },
        _ if status.is_client_error() => PlatformError::Invalid(if said.is_empty() {
            vec![format!("{host} refused it ({})", status.as_u16())]
        } else {
            said
        }),
        _ => PlatformError::Server {
            status: status.as_u16(),
            what: match first() {
                Some(said) => format!("{host} failed ({}): {said}", status.as_u16()),
                None => format!("{host} failed ({})", status.as_u16()),
            },
        },
    }
}

fn exists(reply: &Reply) -> bool {
    let text = match serde_json::from_slice::<Value>(&reply.body) {
        // Escapes are undone.
        Ok(value) => {
            let mut texts = Vec::new();
            collect(&value, None, &mut texts);
            texts.join("\n")
        }
        Err(_) => String::from_utf8_lossy(&reply.body).into_owned(),
    };
    let text = text.to_lowercase();
    EXISTS.iter().any(|own| text.contains(own))
}

/// What a platform says is wrong, one sentence each: `detail`, or lists by field.
fn said(reply: &Reply) -> Vec<String> {
    let mut said = Vec::new();
    match serde_json::from_slice::<Value>(&reply.body) {
        Ok(Value::Object(map)) => match map.get("detail") {
            Some(detail) if !detail.is_null() => collect(detail, None, &mut said),
            _ => {
                for (field, value) in &map {
                    let whole = matches!(
                        field.as_str(),
                        "non_field_errors" | "errors" | "error" | "message"
                    );
                    let machine = matches!(field.as_str(), "code" | "offset" | "checksum");
                    if !machine {
                        collect(value, (!whole).then_some(field.as_str()), &mut said);
                    }
                }
            }
        },
        Ok(other) => collect(&other, None, &mut said),
        Err(_) => {
            let text = String::from_utf8_lossy(&reply.body);
            // A page of HTML says nothing to a person at a terminal.
            if !text.trim_start().starts_with('<')
                && let Some(line) = text.lines().map(str::trim).find(|line| !line.is_empty())
            {
                said.push(line.to_owned());
            }
        }
    }
    let more = said.len().saturating_sub(LISTED);
    said.truncate(LISTED);
    if more > 0 {
        said.push(format!("and {more} more problems"));
    }
    said.iter().map(|text| shortened(text)).collect()
}

fn collect(value: &Value, field: Option<&str>, into: &mut Vec<String>) {
    match value {
        Value::String(text) => into.push(match field {
            Some(field) => format!("{field}: {text}"),
            None => text.clone(),
        }),
        Value::Array(list) => list.iter().for_each(|one| collect(one, field, into)),
        Value::Object(map) => {
            for (own, value) in map {
                collect(value, Some(own), into);
            }
        }
        Value::Null => {}
        other => into.push(match field {
            Some(field) => format!("{field}: {other}"),
            None => other.to_string(),
        }),
    }
}

/// One line without control characters, and not too long.
fn shortened(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let line: String = words
        .join(" ")
        .chars()
        .filter(|char| !char.is_control())
        .collect();
    let line = line.strip_suffix('.').unwrap_or(&line).to_owned();
    if line.chars().count() <= LONGEST {
        return line;
    }
    let mut short: String = line.chars().take(LONGEST).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderMap;

    use super::*;

    fn read(status: u16, body: &str) -> PlatformError {
        let reply = Reply {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: body.as_bytes().to_vec(),
        };
        refusal("h", &reply)
    }

    #[test]
    fn exists_is_understood_in_all_its_ways() {
        for (status, body) in [
            (409, r#"{"detail": "Release 1.0.0 already exists."}"#),
            (
                400,
                r#"{"version": ["Plugin release with this version Already Exists."]}"#,
            ),
            (400, r#"{"detail": "no", "code": "version_exists"}"#),
            (422, r#"{"errors": [{"code": "version_exists"}]}"#),
            (
                400,
                r#"{"version": ["\uc774\ubbf8 \uc874\uc7ac\ud558\ub294 \ubc84\uc804"]}"#,
            ),
            (400, "이미 존재합니다"),
        ] {
            let error = read(status, body);
            assert!(
                matches!(error, PlatformError::Exists(_)),
                "{body}: {error:?}"
            );
        }
        for (status, body) in [
            (400, r#"{"version": ["This field is required."]}"#),
            (500, "already exists"),
            (404, r#"{"detail": "already exists"}"#),
        ] {
            let error = read(status, body);
            assert!(
                !matches!(error, PlatformError::Exists(_)),
                "{body}: {error:?}"
            );
        }
    }

    #[test]
    fn what_is_said_becomes_sentences() {
        let problems = |body: &str| match read(400, body) {
            PlatformError::Invalid(problems) => problems,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            problems(r#"{"version": ["Required."], "config": {"code": "Too  long.\n"}}"#),
            ["version: Required", "code: Too long"]
        );
        assert_eq!(
            problems(r#"{"non_field_errors": ["One.", "Two."]}"#),
            ["One", "Two"]
        );
        assert_eq!(
            problems("<html><body>no</body></html>"),
            ["h refused it (400)"]
        );
        assert_eq!(problems(""), ["h refused it (400)"]);
        assert_eq!(problems("\u{1b}[31mred"), ["[31mred"]);
        let long = format!(r#"{{"detail": "{}"}}"#, "x".repeat(9000));
        assert_eq!(problems(&long)[0].chars().count(), LONGEST + 1);
    }
}
