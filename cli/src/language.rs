//! Owns `--lang`: the language of messages. Plugins may have texts in any; what has none in it is
//! told in English.

use synapse_engine::Failure;

/// Languages that the SDK's own messages are in.
const SHIPPED: [&str; 2] = ["en", "ko"];

/// Refuses what names no language.
pub fn check(given: Option<&str>) -> Result<(), Failure> {
    let Some(given) = given else { return Ok(()) };
    let mut parts = given.split(['-', '_', '.', '@']);
    let first = parts.next().unwrap_or_default();
    let word = |part: &str| part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let named = (2..=8).contains(&first.len()) && first.chars().all(|c| c.is_ascii_alphabetic());
    if named && parts.all(word) {
        return Ok(());
    }
    let what = format!("--lang {given:?} names no language");
    Err(Failure::usage(what).hint(format!("known are {}", SHIPPED.join(" and "))))
}

/// What is to be said about a language that the SDK has no messages in.
pub fn note(given: Option<&str>) -> Option<String> {
    let given = given?;
    let base = given.split(['-', '_', '.', '@']).next().unwrap_or_default();
    let shipped = SHIPPED.iter().any(|known| base.eq_ignore_ascii_case(known));
    (!shipped).then(|| {
        format!(
            "--lang {given}: the SDK's messages are in {}; what the plugin has no text for in \
             {given} is told in English",
            SHIPPED.join(" and ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages_are_known_unknown_or_none() {
        for known in ["en", "ko", "KO", "ko-KR", "ko_KR.UTF-8"] {
            check(Some(known)).unwrap();
            assert_eq!(note(Some(known)), None, "{known}");
        }
        for other in ["ja", "xx", "pt-BR"] {
            check(Some(other)).unwrap();
            assert!(note(Some(other)).unwrap().contains("in en and ko"));
        }
        for none in ["", " ", "k", "en ko", "-", "한국어", "en,ko", "../x"] {
            let failure = check(Some(none)).unwrap_err();
            assert_eq!(failure.kind, synapse_engine::FailureKind::Usage, "{none}");
        }
        assert!(check(None).is_ok() && note(None).is_none());
    }
}
