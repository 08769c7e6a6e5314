//! Schemas of files that people write are held against the reader and against other people's
//! validator and YAML reader.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use jsonschema::Validator;
use serde_json::{Value, json};
use synapse_rules::{
    config::{self, Diagnostic, schema, yaml},
    workspace,
};
use synapse_tests::{fixture, space};
use walkdir::WalkDir;

const BASE: &str =
    "{name: Demo, code: demo, version: 0.1.0, category: custom, actions: {run: 'plugin.run:Run'}}";

fn validator(schema: &Value) -> Validator {
    assert!(jsonschema::meta::is_valid(schema));
    jsonschema::validator_for(schema).unwrap()
}

/// As our reader has it: YAML 1.1.
fn ours(bytes: &[u8]) -> Option<Value> {
    let document = yaml::parse(bytes, "file");
    Some(document.root.as_ref()?.to_json())
}

/// As a reader of YAML 1.2 has it, such as that of an editor.
fn theirs(bytes: &[u8]) -> Option<Value> {
    let mut value: serde_yaml::Value = serde_yaml::from_slice(bytes).ok()?;
    value.apply_merge().ok()?;
    serde_json::to_value(value).ok()
}

fn errors(bytes: &[u8]) -> Vec<Diagnostic> {
    let mut found = config::parse(bytes, "config.yaml").diagnostics;
    found.retain(Diagnostic::is_error);
    found
}

fn files(under: &str) -> Vec<PathBuf> {
    let wanted = ["config.yaml", "synapse.yaml", workspace::FILE];
    let mut found: Vec<PathBuf> = WalkDir::new(fixture(under))
        .into_iter()
        .map(|entry| entry.unwrap().into_path())
        .filter(|path| wanted.iter().any(|name| path.ends_with(name)))
        .collect();
    found.sort();
    found
}

fn schema_of(path: &Path) -> Value {
    if path.ends_with(workspace::FILE) {
        schema::workspace()
    } else {
        schema::config()
    }
}

#[test]
fn the_copies_in_the_documentation_are_what_is_printed() {
    let space = space!();
    for name in [
        "config",
        "workspace",
        "publish",
        "run",
        "check",
        "test",
        "doctor",
        "graph",
        "log",
        "between",
        "failure",
    ] {
        let printed = space.synapse(&["schema", name]).expect(0).stdout;
        let copy = fixture(&format!("../docs/schema/{name}.schema.json"));
        if std::env::var_os("INSTA_UPDATE").is_some_and(|how| how == "always") {
            fs::write(&copy, &printed).unwrap();
        }
        assert_eq!(fs::read_to_string(copy).unwrap(), printed, "{name}");
        validator(&serde_json::from_str(&printed).unwrap());
        let document = space.synapse(&["schema", name, "--json"]).expect(0).json();
        assert_eq!(
            document["document"],
            serde_json::from_str::<Value>(&printed).unwrap()
        );
    }
    let usual = space.synapse(&["schema"]).expect(0).stdout;
    assert_eq!(usual, schema::text(&schema::config()));
    for made in ["data", "config", "cache/actions.db"] {
        assert!(
            !space.home().join(made).exists(),
            "looking makes nothing: {made}"
        );
    }
}

#[test]
fn a_copy_is_written_where_the_modeline_looks_for_it() {
    let space = space!();
    space.tiny_plugin(".", "tiny-0");
    let args = ["schema", "config", "--output", schema::PLACE];
    let said = space.synapse(&args).expect(0).stdout;
    assert!(said.starts_with("wrote "), "{said}");
    assert!(schema::MODELINE.ends_with(&format!("$schema={}", schema::PLACE)));
    assert_eq!(space.read(schema::PLACE), schema::text(&schema::config()));
    let said = space.synapse(&args).expect(0).stdout;
    assert!(said.starts_with("up to date "), "{said}");
    // Neither it nor the modeline keeps the plugin from being published without it.
    let config = space.read("config.yaml");
    space.write("config.yaml", format!("{}\n{config}", schema::MODELINE));
    let preview = space
        .synapse(&["plugin", "publish", "--dry-run", "--local"])
        .expect(0);
    assert!(
        !preview.stdout.contains("schema.json"),
        "{}",
        preview.stdout
    );
    space.write("file", "");
    let args = ["schema", "--output", "file/config.schema.json", "--json"];
    let refused = space.synapse(&args).expect(3).json();
    assert!(refused["errors"][0]["hint"].is_string(), "{refused:#}");
    space.synapse(&["schema", "moon"]).expect(2);
    // What is no configuration takes no configuration's place.
    let config = space.read("config.yaml");
    for command in ["schema config", "graph --format json --local"] {
        let args: Vec<&str> = command
            .split(' ')
            .chain(["--output", "config.yaml"])
            .collect();
        let refused = space.synapse(&args).expect(2);
        assert!(refused.stderr.contains("is a configuration"), "{refused:?}");
    }
    assert_eq!(space.read("config.yaml"), config);
}

#[test]
fn every_good_file_is_valid_and_every_bad_one_that_can_be_seen_is_not() {
    let mut good = 0;
    for path in files(".")
        .iter()
        .filter(|path| !path.to_string_lossy().contains("bad-configs"))
    {
        let (bytes, schema) = (fs::read(path).unwrap(), validator(&schema_of(path)));
        for value in [ours(&bytes), theirs(&bytes)] {
            let value = value.unwrap();
            let problems: Vec<String> = schema
                .iter_errors(&value)
                .map(|error| format!("{}: {error}", error.instance_path()))
                .collect();
            assert!(problems.is_empty(), "{}: {problems:#?}", path.display());
        }
        good += 1;
    }
    assert!(good > 15, "{good}");

    let mut caught = BTreeSet::new();
    for path in files("bad-configs") {
        let name = path
            .parent()
            .unwrap()
            .file_name()
            .unwrap()
            .to_string_lossy()
            .into_owned();
        let (bytes, schema) = (fs::read(&path).unwrap(), validator(&schema_of(&path)));
        let refused =
            [ours(&bytes), theirs(&bytes)].map(|value| value.map(|it| !schema.is_valid(&it)));
        let [Some(by_ours), Some(by_theirs)] = refused else {
            continue;
        };
        assert_eq!(by_ours, by_theirs, "{name}: the two readings differ");
        if by_ours {
            let wrong = path.ends_with(workspace::FILE) || !errors(&bytes).is_empty();
            assert!(wrong, "{name}: the reader takes what the schema refuses");
            caught.insert(name);
        }
    }
    insta::assert_debug_snapshot!("bad-files-that-a-schema-refuses", caught);
}

/// Every key of a schema, with where it stands.
fn keys(schema: &Value, pointer: &str) -> Vec<(String, Value)> {
    let properties = schema.pointer(pointer).unwrap()["properties"]
        .as_object()
        .unwrap();
    properties
        .iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// The base with a key set, at the top level, in `requires` or in the action.
fn with(place: &str, key: &str, value: &Value) -> Vec<u8> {
    let mut config = theirs(BASE.as_bytes()).unwrap();
    match place {
        "" => config[key] = value.clone(),
        "/properties/requires" => config["requires"] = json!({ key: value }),
        _ => {
            config["actions"]["run"] = json!({"entrypoint": "plugin.run:Run"});
            config["actions"]["run"][key] = value.clone();
        }
    }
    config.to_string().into_bytes()
}

const PLACES: [&str; 3] = ["", "/properties/requires", "/$defs/action"];

#[test]
fn the_reader_knows_every_key_of_the_schema() {
    let schema = schema::config();
    let mut open = Vec::new();
    for place in PLACES {
        for (key, property) in keys(&schema, place) {
            let refused = errors(&with(place, &key, &json!([[1]])));
            if property.get("type").is_some() || property.get("anyOf").is_some() {
                let named = refused.iter().any(|error| error.message.contains(&key));
                assert!(named, "{place} {key}: {refused:#?}");
            } else {
                assert!(refused.is_empty(), "{place} {key}: {refused:#?}");
                open.push(key.clone());
            }
            // The example is one, and the default where there is one.
            let values = property["examples"].as_array().unwrap().iter();
            for value in values.chain(property.get("default")) {
                let bytes = with(place, &key, value);
                assert_eq!(errors(&bytes).len(), 0, "{place} {key}: {value}");
                assert!(
                    validator(&schema).is_valid(&ours(&bytes).unwrap()),
                    "{key}: {value}"
                );
            }
            // A near miss of it is found.
            let text = with(place, &format!("{key}x"), &json!("a"));
            let told = config::parse(&text, "config.yaml").diagnostics;
            let hint = format!("`{key}`");
            let named = told
                .iter()
                .any(|it| it.hint.as_deref().unwrap_or_default().contains(&hint));
            // Too short to be told from others, or another key is as near.
            let short = key.len() < 6;
            let there = ["supported_data_type", "supported_data_types", "entrypoint"]
                .contains(&key.as_str());
            assert!(
                named || short || there || place.is_empty() && BASE.contains(&key),
                "{key}: {told:#?}"
            );
        }
    }
    assert_eq!(open, ["ui_schema"]);
    let parsed = config::parse(BASE.as_bytes(), "config.yaml")
        .config
        .unwrap();
    let default = |key: &str| schema["properties"][key]["default"].clone();
    assert_eq!(default("readme"), json!(parsed.readme));
    assert_eq!(default("wheels_dir"), json!(parsed.wheels_dir));
    assert_eq!(default("package_manager"), json!(parsed.package_manager));
}

#[test]
fn the_guide_names_every_key_and_no_other() {
    let guide = fs::read_to_string(fixture("../docs/guide/config.md")).unwrap();
    let mut told = BTreeSet::new();
    let rows = guide
        .lines()
        .take_while(|line| !line.starts_with("## How YAML"));
    for row in rows.filter(|line| line.starts_with("| `")) {
        let cell = row.split('|').nth(1).unwrap();
        told.extend(cell.split('`').skip(1).step_by(2).map(str::to_owned));
    }
    for old in [
        "supported_data_type",
        "smart_tool_type",
        "sdk",
        "python",
        "cuda",
    ] {
        assert!(guide.contains(&format!("`{old}`")), "{old}");
        told.insert(old.to_owned());
    }
    let schema = schema::config();
    let known = PLACES
        .iter()
        .flat_map(|place| keys(&schema, place))
        .map(|(key, _)| key);
    assert_eq!(told, known.collect::<BTreeSet<_>>());
    let publishing = fs::read_to_string(fixture("../docs/guide/publishing.md")).unwrap();
    for (key, _) in keys(&schema::workspace(), "") {
        let named = [&publishing, &guide].iter().any(|page| page.contains(&key));
        assert!(named, "{key}");
    }
}

/// Whatever stands under whatever key: what the reader takes, the schema takes, and where the
/// schema takes what the reader refuses, it is for a reason that is known.
#[test]
fn reader_and_schema_agree_on_every_kind_of_value() {
    let values = [
        json!(null),
        json!(true),
        json!(12),
        json!(1.5),
        json!("text"),
        json!(""),
        json!(" "),
        json!([]),
        json!(["a"]),
        json!([""]),
        json!([["a"]]),
        json!([1]),
        json!([null]),
        json!({}),
        json!({"a": "b"}),
        json!({"a": 1}),
        json!({"a": ["b"]}),
        json!({"a": null}),
        json!({"a=b": "c"}),
        json!({"": "c"}),
        json!("../x"),
        json!("/abs"),
        json!("~/x"),
        json!("c:/x"),
        json!("a//b"),
        json!("./"),
        json!("."),
        json!(".."),
        json!("a/.."),
        json!("a/..b"),
        json!("a\\b"),
        json!("a\nb"),
        json!("!a"),
        json!("0.1.0"),
        json!("01.0.0"),
        json!("1.2"),
        json!("1.2.3.4"),
        json!("1.2.3-rc1"),
        json!("v1.2.3"),
        json!(">=1"),
        json!(">=1,<2"),
        json!("==2.1.*"),
        json!("~=1.4"),
        json!("!=1"),
        json!("*"),
        json!("image"),
        json!(["image"]),
        json!(["imag"]),
        json!(["image", "video"]),
        json!(["image.x"]),
        json!(["image.x y"]),
        json!(["imag.x"]),
        json!("Yolo"),
        json!("a-b"),
        json!("-a"),
        json!("a_b"),
        json!("a.lock"),
        json!("a..b"),
        json!("a."),
        json!("a-"),
        json!("x".repeat(101)),
        json!("plugin.train:T"),
        json!("plugin.train.T"),
        json!("plugin:T.m"),
        json!("모듈:클래스"),
        json!({"entrypoint": "a:b"}),
        json!({"train": "a:b"}),
        json!({"tr ain": "a:b"}),
        json!({"훈련": "a:b"}),
        json!({"train": {"entrypoint": "a:b", "method": "jobs"}}),
        json!({"train": {"method": "job"}}),
        json!({"train": {"entrypoint": "a:b", "x": [1]}}),
        json!({"python": ">=3"}),
        json!({"python": 3.1}),
        json!({"other": [1]}),
        json!("custom"),
        json!("job"),
        json!("uv"),
        json!("interactive"),
        json!({"a": ">=1"}),
    ];
    let schema = schema::config();
    let validator = validator(&schema);
    let mut looser: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for place in PLACES {
        for (key, _) in keys(&schema, place) {
            for value in &values {
                let bytes = with(place, &key, value);
                let refused = !errors(&bytes).is_empty();
                let invalid = !validator.is_valid(&ours(&bytes).unwrap());
                assert!(
                    refused || !invalid,
                    "{place} {key}: {value} is fine, but not by the schema"
                );
                if refused != invalid {
                    looser
                        .entry(key.clone())
                        .or_default()
                        .insert(value.to_string());
                }
            }
        }
    }
    insta::assert_debug_snapshot!("what-only-the-reader-refuses", looser);
}

#[test]
fn the_reader_knows_every_key_of_a_workspace() {
    let schema = schema::workspace();
    let parse = |value: &Value| {
        let text = value.to_string();
        let parsed = workspace::parse(text.as_bytes(), workspace::FILE, Path::new("/"));
        parsed.diagnostics.iter().any(Diagnostic::is_error)
    };
    for (key, property) in keys(&schema, "") {
        let with = |value: &Value| {
            let mut file = json!({"members": ["plugins/*"]});
            file[key.as_str()] = value.clone();
            file
        };
        for value in [
            json!([[1]]),
            json!({"a": 1}),
            json!("a"),
            json!(["/abs"]),
            json!(["../a"]),
            json!([""]),
        ] {
            let (refused, file) = (parse(&with(&value)), with(&value));
            assert_eq!(
                refused,
                !validator(&schema).is_valid(&file),
                "{key}: {value}"
            );
        }
        let example = with(&property["examples"][0]);
        assert!(
            !parse(&example) && validator(&schema).is_valid(&example),
            "{key}"
        );
    }
    assert!(parse(&json!({})) && !validator(&schema).is_valid(&json!({})));
}
