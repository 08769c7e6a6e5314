//! What a configuration is made to say by its code, and that nothing else in it changes.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use proptest::prelude::*;
use serde_json::{Value, json};
use synapse_rules::{
    config::{self, yaml},
    inspect::{Described, Form, Inspection, Kind},
    sync::{self, edit},
};

fn described(pairs: &[(&str, &str)]) -> Described {
    let get = |key: &str| {
        pairs
            .iter()
            .find(|(own, _)| *own == key)
            .map(|(_, value)| (*value).to_owned())
    };
    Described {
        kind: Some(Kind::Class),
        entrypoint: get("entrypoint"),
        method: get("method"),
        input_type: get("input_type"),
        output_type: get("output_type"),
        ..Described::default()
    }
}

fn form(names: &[&str]) -> Form {
    let field =
        |name: &&str| json!({"$formkit": "number", "name": name, "label": name, "number": true});
    Form {
        fields: names.iter().map(field).collect(),
        excluded: vec![],
        hidden: false,
    }
}

fn inspection(actions: Vec<(&str, Described)>) -> Inspection {
    let own = actions
        .into_iter()
        .map(|(name, own)| (name.to_owned(), own));
    Inspection {
        actions: own.collect(),
        ..Inspection::default()
    }
}

fn config(actions: &str) -> String {
    format!("# A plugin.\nname: A\ncode: a\nversion: 0.1.0\ncategory: custom   # kept\n\n{actions}")
}

#[track_caller]
fn synced(text: &str, inspection: &Inspection) -> (String, Vec<String>) {
    let synced = sync::bytes(text.as_bytes(), "config.yaml", inspection).unwrap();
    let lines = synced.changes.iter();
    let lines = lines.map(|own| format!("{}: {}", own.action, own.changes.join(", ")));
    let bytes = synced.bytes.unwrap_or_else(|| text.as_bytes().to_vec());
    (String::from_utf8(bytes).unwrap(), lines.collect())
}

/// Each case: actions before, what the code says of `train`, actions after.
#[test]
fn only_the_lines_concerned_change() {
    let types = described(&[
        ("input_type", "yolo_dataset"),
        ("output_type", "model_weights"),
    ]);
    let moved = described(&[("entrypoint", "plugin.new:T")]);
    let blank = described(&[]);
    for (before, says, after) in [
        (
            "actions:\n  train:\n    entrypoint: p:T   # mine\n    method: task # why\n\n  # Next\n  other: p:O\n",
            &types,
            "actions:\n  train:\n    entrypoint: p:T   # mine\n    method: job # why\n    input_type: yolo_dataset\n    output_type: model_weights\n\n  # Next\n  other: p:O\n",
        ),
        (
            "actions:\n    train:\n        entrypoint: 'p.T'\n        method: job",
            &moved,
            "actions:\n    train:\n        entrypoint: 'plugin.new.T'\n        method: job",
        ),
        (
            "actions: {train: {entrypoint: p:T}}\n",
            &blank,
            "actions: {train: {entrypoint: p:T, method: job}}\n",
        ),
        (
            "actions: {train: p:T}\n",
            &blank,
            "actions: {train: {entrypoint: p:T, method: job}}\n",
        ),
        (
            "actions:\n  train: p:T # bare\n  b: p:B\n",
            &blank,
            "actions:\n  train:\n    entrypoint: p:T # bare\n    method: job\n  b: p:B\n",
        ),
        (
            "actions:\n  train:\n    {entrypoint: \"p:T\", # c\n     method: \"task\",}\n",
            &types,
            "actions:\n  train:\n    {entrypoint: \"p:T\", # c\n     method: \"job\", input_type: yolo_dataset, output_type: model_weights,}\n",
        ),
        (
            "x: &base\n  method: job\n  input_type: yolo_dataset\nactions:\n  train:\n    entrypoint: p:T\n    <<: *base\n",
            &types,
            "x: &base\n  method: job\n  input_type: yolo_dataset\nactions:\n  train:\n    entrypoint: p:T\n    <<: *base\n    output_type: model_weights\n",
        ),
        (
            "x: &base\n  entrypoint: p:T\n  method: task\nactions:\n  train: *base\n  b: p:B\n",
            &blank,
            "x: &base\n  entrypoint: p:T\n  method: task\nactions:\n  train:\n    entrypoint: p:T\n    method: job\n  b: p:B\n",
        ),
        (
            "actions:\n  train:\n    entrypoint: p:T\n    method:\n    input_type: ~\n    output_type: |-\n      old\n",
            &types,
            "actions:\n  train:\n    entrypoint: p:T\n    method: job\n    input_type: yolo_dataset\n    output_type: model_weights\n",
        ),
        (
            "actions:\n  train:\n    entrypoint: p:T\n    method: job\n    input_type: &t yolo_dataset\n    output_type: *t\n",
            &types,
            "actions:\n  train:\n    entrypoint: p:T\n    method: job\n    input_type: &t yolo_dataset\n    output_type: model_weights\n",
        ),
    ] {
        for newline in ["\n", "\r\n"] {
            let text = config(before).replace('\n', newline);
            let (found, _) = synced(&text, &inspection(vec![("train", says.clone())]));
            assert_eq!(found, config(after).replace('\n', newline), "{before}");
            let (again, changes) = synced(&found, &inspection(vec![("train", says.clone())]));
            assert_eq!(
                (again, changes),
                (found, vec![]),
                "a second time nothing changes"
            );
        }
    }
}

#[test]
fn methods_are_the_class_s_own_or_go_by_name() {
    let method = |name: &str, written: &str, says: Described| {
        let text = config(&format!(
            "actions:\n  {name}:\n    entrypoint: p:T\n{written}"
        ));
        let (found, changes) = synced(&text, &inspection(vec![(name, says)]));
        let after = config::parse(found.as_bytes(), "f").config.unwrap();
        (
            after.actions[0].method.map(|method| method.to_string()),
            changes,
        )
    };
    let serves = Described {
        serves: true,
        ..described(&[])
    };
    for (name, written, says, expected) in [
        ("train", "    method: task\n", described(&[]), Some("job")),
        (
            "train",
            "    method: task\n",
            described(&[("method", "task")]),
            Some("task"),
        ),
        ("auto_label", "", described(&[]), Some("task")),
        ("other", "", described(&[]), None),
        (
            "other",
            "    method: serve\n",
            described(&[]),
            Some("serve"),
        ),
        ("other", "", described(&[("method", "job")]), Some("job")),
        // The guide's inference is a task.
        (
            "inference",
            "    method: task\n",
            described(&[]),
            Some("task"),
        ),
        (
            "inference",
            "    method: task\n",
            serves.clone(),
            Some("serve"),
        ),
        ("inference", "", serves, Some("serve")),
        ("inference", "", described(&[]), None),
    ] {
        let (found, changes) = method(name, written, says);
        assert_eq!(found.as_deref(), expected, "{name} {written}");
        assert_eq!(
            changes.is_empty(),
            written.contains(expected.unwrap_or("")),
            "{changes:?}"
        );
    }
}

#[test]
fn forms_are_written_and_kept_up_to_date() {
    let train = |names: &[&str]| Described {
        form: Some(form(names)),
        ..described(&[])
    };
    let text = config("actions:\n  train:\n    entrypoint: p:T\n    method: job # job\n");
    let (first, changes) = synced(
        &text,
        &inspection(vec![("train", train(&["epochs", "dataset", "lr"]))]),
    );
    assert_eq!(
        changes,
        ["train: hyperparameters.train_ui_schemas=[epochs, lr]"]
    );
    let item = |name: &str| {
        format!(
            "        - $formkit: number\n          name: {name}\n          label: {name}\n          required: true\n          number: true\n"
        )
    };
    let schemas = "    hyperparameters:\n      train_ui_schemas:\n";
    assert_eq!(
        first,
        format!("{text}{schemas}{}{}", item("epochs"), item("lr"))
    );
    // A comment between the items survives, whatever comes and goes around it.
    let noted = first.replace(
        "        - $formkit: number\n          name: lr",
        "        # the rate\n        - $formkit: number\n          name: lr",
    );
    let (more, _) = synced(
        &noted,
        &inspection(vec![("train", train(&["epochs", "batch", "lr", "seed"]))]),
    );
    let expected = format!(
        "{text}{schemas}{}{}        # the rate\n{}{}",
        item("epochs"),
        item("batch"),
        item("lr"),
        item("seed")
    );
    assert_eq!(more, expected);
    let (less, _) = synced(&more, &inspection(vec![("train", train(&["lr"]))]));
    assert_eq!(
        less,
        format!("{text}{schemas}        # the rate\n{}", item("lr"))
    );
    let (none, _) = synced(&less, &inspection(vec![("train", train(&[]))]));
    assert!(none.contains("train_ui_schemas: []"), "{none}");
    // Keys of one item.
    let old = more.replace("          number: true\n", "          max: 9\n");
    assert_eq!(
        synced(
            &old,
            &inspection(vec![("train", train(&["epochs", "batch", "lr", "seed"]))])
        )
        .0,
        expected
    );

    let text = config("actions:\n  upload: p:U\n");
    let (found, changes) = synced(&text, &inspection(vec![("upload", described(&[]))]));
    assert_eq!(
        found,
        config(
            "actions:\n  upload:\n    entrypoint: p:U\n    method: job\n    ui_schema:\n      - $formkit: text\n        name: group_name\n        label: 묶음 이름\n"
        )
    );
    assert_eq!(changes, ["upload: method=job, ui_schema=[group_name]"]);
}

#[test]
fn new_actions_come_last_in_order() {
    let mut all = inspection(vec![("b", described(&[]))]);
    for (name, place) in [("zeta", "p:Z"), ("train", "p:T"), ("yes", "p:Y")] {
        all.found
            .insert(name.to_owned(), described(&[("entrypoint", place)]));
    }
    let text = config("actions:\n  b: p:B   # first\n# last words\n");
    let (found, changes) = synced(&text, &all);
    assert_eq!(
        found,
        config(
            "actions:\n  b: p:B   # first\n  train:\n    entrypoint: p:T\n    method: job\n  \"yes\":\n    entrypoint: p:Y\n  zeta:\n    entrypoint: p:Z\n# last words\n"
        )
    );
    assert_eq!(
        changes,
        [
            "train: new, entrypoint=p:T, method=job",
            "yes: new, entrypoint=p:Y",
            "zeta: new, entrypoint=p:Z"
        ]
    );
    let flow = config("actions: {b: p:B}\n");
    let (found, _) = synced(&flow, &all);
    assert!(
        found.contains("actions: {b: p:B, train: {entrypoint: \"p:T\", method: job}, \"yes\": {"),
        "{found}"
    );
}

#[test]
fn what_is_right_is_not_touched() {
    let text = config("actions:\n  train: {entrypoint: p:T, method: job}\n  run: p:R\n");
    let (found, changes) = synced(&text, &inspection(vec![("train", described(&[]))]));
    assert_eq!((found, changes), (text, vec![]));
}

/// A small configuration-like document, as text and with places to change.
fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-1000_i64..1000).prop_map(Value::from),
        (-1.0e3_f64..1.0e3).prop_map(|f| json!(f)),
        "[a-z]{1,8}".prop_map(Value::from),
        "[ -~é가\n]{0,12}".prop_map(Value::from),
        Just(json!("yes")),
        Just(json!("1e5")),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("[a-z$ ]{1,6}", inner), 0..4)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

/// The value as YAML, its blocks in one of several hands, with comments and blank lines.
fn written(value: &Value, column: usize, hand: u64, newline: &str) -> String {
    let pad = " ".repeat(column);
    let comment = ["", "  # note", "\t"][(hand % 2) as usize];
    let inline = |value: &Value| value.to_string().replace('\u{7f}', " ");
    match value {
        Value::Object(map) if !map.is_empty() && !hand.is_multiple_of(7) => map
            .iter()
            .enumerate()
            .map(|(at, (key, value))| {
                let hand = hand / 3 + at as u64;
                let gap = if hand.is_multiple_of(3) {
                    format!("{pad}# {at}{newline}{newline}")
                } else {
                    String::new()
                };
                let key = json!(key);
                match value {
                    Value::Object(map) if !map.is_empty() && !hand.is_multiple_of(7) => {
                        format!(
                            "{gap}{pad}{key}:{comment}{newline}{}",
                            written(value, column + 2, hand, newline)
                        )
                    }
                    Value::Array(list) if !list.is_empty() && !hand.is_multiple_of(5) => {
                        let deeper = column + if hand.is_multiple_of(2) { 2 } else { 0 };
                        let dash = " ".repeat(deeper);
                        let items = list
                            .iter()
                            .map(|item| format!("{dash}- {}{comment}{newline}", inline(item)));
                        format!("{gap}{pad}{key}:{newline}{}", items.collect::<String>())
                    }
                    value => format!("{gap}{pad}{key}: {}{comment}{newline}", inline(value)),
                }
            })
            .collect(),
        value => format!("{pad}{}{newline}", inline(value)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn any_document_can_be_made_to_say_anything(
        before in values(),
        after in values(),
        hand in 1_u64..10_000,
        crlf: bool,
    ) {
        let newline = if crlf { "\r\n" } else { "\n" };
        let kept = json!({"a": [1, {"b": "c"}]});
        let old = json!({"first": kept, "middle": before, "last": "x"});
        let new = json!({"first": kept, "middle": after, "last": "x"});
        let text = format!("# head{newline}{}# tail{newline}", written(&old, 0, hand, newline));
        let read = yaml::parse(text.as_bytes(), "f");
        prop_assume!(read.root.as_ref().is_some_and(|root| root.to_json() == old));
        let edited = edit(text.as_bytes(), &new);
        let edited = edited.map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
        let edited = String::from_utf8(edited).unwrap();
        let root = yaml::parse(edited.as_bytes(), "f").root.unwrap();
        prop_assert_eq!(root.to_json(), new, "{}", edited);
        // Everything before and behind the value is there, byte for byte.
        let at = |text: &str, what: &str| text.find(what).unwrap();
        if text.contains("\"middle\"") && !hand.is_multiple_of(7) {
            prop_assert_eq!(&edited[..at(&edited, "\"middle\"")], &text[..at(&text, "\"middle\"")]);
            prop_assert_eq!(&edited[edited.rfind("\"last\"").unwrap()..], &text[text.rfind("\"last\"").unwrap()..]);
        }
        prop_assert_eq!(edit(edited.as_bytes(), &root.to_json()), Ok(edited.into_bytes()));
    }
}
