//! In the subset where YAML versions agree, the tree reads what another reader does.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use proptest::prelude::*;
use serde_json::{Value, json};
use synapse_rules::config::yaml;

fn ours(text: &str) -> Result<Value, String> {
    let document = yaml::parse(text.as_bytes(), "f");
    match (document.root, document.problems.as_slice()) {
        (Some(root), []) => Ok(root.to_json()),
        (_, problems) => Err(format!("{problems:?}")),
    }
}

/// Values whose YAML reads the same in 1.1 and 1.2.
fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-1_000_000_i64..1_000_000).prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1.0e6_f64..1.0e6).prop_map(|f| json!(f)),
        "[a-z][a-z A-Z0-9:#,é가'\"\\[\\]{}&*!|>%@`\n-]{0,20}".prop_map(Value::from),
        "[ -~]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec(("[a-z]{3,8}", inner), 0..5)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

/// Text that another reading of the same file would not take for text is quoted by no writer.
fn ambiguous(value: &Value) -> bool {
    match value {
        Value::String(text) => synapse_rules::config::scalar::differs(text.trim()),
        Value::Array(items) => items.iter().any(ambiguous),
        Value::Object(pairs) => pairs
            .iter()
            .any(|(k, v)| synapse_rules::config::scalar::differs(k) || ambiguous(v)),
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn reads_what_the_other_library_writes(value in values()) {
        let value = Value::Object([("top".to_owned(), value)].into_iter().collect());
        prop_assume!(!ambiguous(&value));
        let text = serde_yaml::to_string(&value).unwrap();
        // A float such as 1e-7 is written without the sign or the dot that YAML 1.1 wants.
        prop_assume!(serde_yaml::from_str::<Value>(&text).is_ok_and(|read| read == value));
        prop_assert_eq!(ours(&text), Ok(value), "{}", text);
    }

    #[test]
    fn reads_json_as_yaml(value in values()) {
        let value = Value::Object([("top".to_owned(), value)].into_iter().collect());
        for text in [value.to_string(), format!("{value:#}")] {
            prop_assert_eq!(ours(&text).map(|read| read == value), Ok(true), "{}", text);
        }
    }
}

#[test]
fn places_are_exact() {
    let text = "\u{feff}a: &x 'q'  # c\r\nb:  [1, {c: é, d: *x}]\r\ne: |\r\n  t\r\n\r\nf: g\r\n";
    let root = yaml::parse(text.as_bytes(), "f").root.unwrap();
    let shown = |node: &yaml::Node| (text[node.span()].to_owned(), node.line, node.column);
    let get = |key: &str| root.get(key).unwrap();
    assert_eq!(shown(get("a")), ("'q'".to_owned(), 1, 7));
    assert_eq!(shown(get("b")), ("[1, {c: é, d: *x}]".to_owned(), 2, 5));
    assert_eq!(
        shown(&get("b").as_sequence().unwrap()[1]),
        ("{c: é, d: *x}".to_owned(), 2, 9)
    );
    assert_eq!(shown(get("e")), ("t".to_owned(), 4, 3));
    assert_eq!(shown(get("f")), ("g".to_owned(), 6, 4));
    assert_eq!(shown(&root), (text[3..].trim_end().to_owned(), 1, 1));
}

#[test]
fn merges_and_aliases_read_as_pyyaml_reads_them() {
    let text = "a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc:\n  <<: [*a, *b]\n  x: 0\nd: {<<: *a}\n";
    let value = ours(text).unwrap();
    assert_eq!(value["c"], json!({"x": 0, "y": 2, "z": 4}));
    assert_eq!(value["d"], value["a"]);
    let value = ours("a: {\"<<\": {x: 1}}\n1: x\ntrue: y\n~: z\n").unwrap();
    assert_eq!(
        value.to_string(),
        r#"{"a":{"<<":{"x":1}},"1":"x","true":"y","null":"z"}"#
    );
}
