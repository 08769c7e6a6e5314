//! Edits change the version's bytes and no other.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use proptest::prelude::*;
use synapse_rules::{
    config::{EditError, parse, set_pyproject_version, set_version},
    version::Version,
};

const REST: &str = "category: custom\nactions: {run: plugin.run:Run}\n";

fn set(text: &str, new: &str) -> Result<String, EditError> {
    let parsed = parse(text.as_bytes(), "config.yaml");
    let config = parsed
        .config
        .unwrap_or_else(|| panic!("{text}\n{:#?}", parsed.diagnostics));
    let bytes = set_version(text.as_bytes(), &config, &new.parse().unwrap())?;
    Ok(String::from_utf8(bytes).unwrap())
}

#[test]
fn the_version_is_replaced_however_it_is_written() {
    for written in [
        "version: 1.2.3",
        "version: 1.2.3   # note",
        "version: '1.2.3'  # 1.2.3",
        "version: \"1.2.3\"",
        "\"version\" : 1.2.3",
        "version: !!str 1.2.3",
        "version: &v 1.2.3",
        "version: |-\n  1.2.3",
        "version:\n    1.2.3",
    ] {
        for (bom, newline) in [("", "\n"), ("\u{feff}", "\r\n")] {
            let text = format!("{bom}# 1.2.3\nname: é 1.2.3\ncode: a\n{written}\n{REST}");
            let text = text.replace('\n', newline);
            let at = text.find(&written.replace('\n', newline)).unwrap();
            let at = at + text[at..].find("1.2.3").unwrap();
            let expected = format!("{}10.0.0{}", &text[..at], &text[at + 5..]);
            assert_eq!(set(&text, "10.0.0").unwrap(), expected, "{written}");
        }
    }
    let flow = "{name: A, code: a, version: 1.2.3, category: custom, actions: {r: 'p:R'}}";
    assert_eq!(set(flow, "1.2.4").unwrap(), flow.replace("1.2.3", "1.2.4"));
}

#[test]
fn a_shared_version_is_not_edited() {
    let text = format!("name: A\ncode: a\nversion: &v 1.2.3\nx: *v\n{REST}");
    assert_eq!(set(&text, "1.2.4"), Err(EditError::Shared));
    let text = format!("x: &v 1.2.3\nname: A\ncode: a\nversion: *v\n{REST}");
    assert_eq!(set(&text, "1.2.4"), Err(EditError::Shared));
}

#[test]
fn a_changed_file_is_not_edited() {
    let text = format!("name: A\ncode: a\nversion: 1.2.3\n{REST}");
    let config = parse(text.as_bytes(), "f").config.unwrap();
    let other = text.replace("name: A", "name: Ab");
    let new = Version::new(2, 0, 0);
    assert_eq!(
        set_version(other.as_bytes(), &config, &new),
        Err(EditError::Changed)
    );
}

#[test]
fn pyproject_follows_when_it_agrees() {
    let (old, new) = (Version::new(0, 1, 0), Version::new(0, 2, 0));
    let set = |text: &str| set_pyproject_version(text, &old, &new);
    for text in [
        "[project]\nname = \"0.1.0\"\nversion = \"0.1.0\" # 0.1.0\n[tool.x]\nversion = \"0.1.0\"\n",
        "[project]\r\nversion   =  '0.1.0'\r\n",
        "project.version = \"\"\"0.1.0\"\"\"\n",
        "project = { name = \"x\", version = \"0.1.0\" }\n",
    ] {
        let at = text.find("version").unwrap();
        let at = at + text[at..].find("0.1.0").unwrap();
        let expected = format!("{}0.2.0{}", &text[..at], &text[at + 5..]);
        assert_eq!(set(text), Ok(Some(expected)), "{text}");
    }
    for text in [
        "",
        "[project]\nname = \"x\"\n",
        "[project]\ndynamic = [\"version\"]\n",
        "[project]\nversion = \"0.1\"\n",
        "[project]\nversion = 1\n",
        "[tool.poetry]\nversion = \"0.1.0\"\n",
    ] {
        assert_eq!(set(text), Ok(None), "{text}");
    }
    assert!(matches!(
        set("\n[project\n"),
        Err(EditError::Toml { line: 2, .. })
    ));
}

proptest! {
    #[test]
    fn everything_outside_the_version_is_identical(
        before in "(# [ -~é]{0,30}\n){0,4}",
        name in "[A-Za-z가-힣][A-Za-z0-9가-힣]{0,12}x",
        quote in prop_oneof![Just(""), Just("'"), Just("\"")],
        comment in "( {1,3}#[ -~]{0,20})?",
        crlf: bool,
        blank in "\n{0,3}",
        numbers in (0_u64..500, 0_u64..500, 0_u64..500),
        next in (0_u64..99_999, 0_u64..500, 0_u64..500),
    ) {
        let old = Version::new(numbers.0, numbers.1, numbers.2);
        let new = Version::new(next.0, next.1, next.2);
        let head = format!("{before}name: {name}\n{blank}code: a\nversion:  {quote}");
        let tail = format!("{quote}{comment}\n{blank}{REST}");
        let newline = if crlf { "\r\n" } else { "\n" };
        let (head, tail) = (head.replace('\n', newline), tail.replace('\n', newline));
        let text = format!("{head}{old}{tail}");
        prop_assert_eq!(set(&text, &new.to_string()), Ok(format!("{head}{new}{tail}")));
    }
}
