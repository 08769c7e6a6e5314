//! `synapse explain --between`.

use std::path::Path;

use serde_json::{Value, json};
use synapse_tests::{Space, copy_tree, expect_schema, fixture, pythons};

use super::{EXPORT, PROGRAM, json, lines, publish, texts};

fn between(space: &Space, from: &str, to: &str) -> Value {
    let document = json(space, &["explain", "--between", from, to]);
    expect_schema("between", &document);
    document
}

/// Each file with how it changed.
fn files(files: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let all = files.as_array().unwrap().iter();
    all.map(|file| (text(&file["path"]), text(&file["change"])))
        .collect()
}

#[test]
fn an_edit_is_named_with_its_digests() {
    let space = Space::workspace(PROGRAM);
    publish(&space, &[], 0);
    let before = blake3::hash(space.read(EXPORT).as_bytes())
        .to_hex()
        .to_string();
    space.append(EXPORT, "# faster\n");
    let after = blake3::hash(space.read(EXPORT).as_bytes())
        .to_hex()
        .to_string();
    space.write("plugins/synapse-coco-export-plugin/plugin/new.txt", "new");
    std::fs::remove_file(space.path("plugins/synapse-coco-export-plugin/README.md")).unwrap();
    publish(&space, &["--bump", "patch"], 0);
    publish(&space, &[], 0);
    for to in ["2", "3", "latest", "-1"] {
        let found = between(&space, "1", to);
        let plugins = found["plugins"].as_array().unwrap();
        assert_eq!(plugins.len(), 1, "{found:#}");
        let own = &plugins[0];
        assert_eq!(own["plugin"], "coco-export");
        assert_eq!(own["versions"], json!(["0.3.0", "0.3.1"]));
        let expected = [
            ("README.md", "removed"),
            ("config.yaml", "changed"),
            ("plugin/export.py", "changed"),
            ("plugin/new.txt", "added"),
        ];
        let expected = expected.map(|(path, change)| (path.to_owned(), change.to_owned()));
        assert_eq!(files(&own["files"]), expected, "{found:#}");
        let export = &own["files"][2];
        assert_eq!(
            (&export["old"], &export["new"]),
            (&json!(before), &json!(after))
        );
        let uploads = own["stages"].as_array().unwrap().iter();
        let upload = uploads
            .into_iter()
            .find(|stage| stage["stage"] == "upload")
            .unwrap();
        assert_ne!(upload["from"]["key"], upload["to"]["key"]);
        assert_eq!(upload["to"]["did"], if to == "2" { "ran" } else { "known" });
        assert_eq!(found["same"].as_array().unwrap().len(), 6);
    }
    assert_eq!(
        texts(&between(&space, "2", "3")["published"]["from"]),
        ["coco-export"]
    );
    let text = space
        .synapse(&["explain", "--between", "1", "2"])
        .expect(0)
        .stdout;
    let line = format!(
        "  plugin/export.py changed ({} to {})",
        &before[..10],
        &after[..10]
    );
    for told in [
        &*line,
        "coco-export 0.3.0 -> 0.3.1",
        "6 plugins the same in both",
    ] {
        assert!(text.contains(told), "{told} in {text}");
    }
    let same = space
        .synapse(&["explain", "--between", "2", "2"])
        .expect(0)
        .stdout;
    assert!(same.ends_with("they are the same\n"), "{same}");
}

#[test]
fn what_was_found_again_is_compared_as_well() {
    let space = Space::tiny(PROGRAM, 3);
    let (config, module) = ("plugins/p1/config.yaml", "plugins/p1/plugin/run.py");
    let first = [space.read(config), space.read(module)];
    publish(&space, &[], 0);
    space.append(module, "# edited\n");
    space.replace(config, "0.1.0", "0.2.0");
    publish(&space, &[], 0);
    // As somebody does who checks out what was.
    space.write(config, &first[0]);
    space.write(module, &first[1]);
    publish(&space, &[], 0);
    let third = &lines(&space)[2];
    assert_eq!(third["counts"]["nodes_run"], 0);
    assert!(third.get("as").is_none() && third["known"][0]["keys"]["tiny-1"].is_string());
    let found = between(&space, "2", "3");
    let own = &found["plugins"][0];
    assert_eq!(own["versions"], json!(["0.2.0", "0.1.0"]));
    let changed =
        ["config.yaml", "plugin/run.py"].map(|path| (path.to_owned(), "changed".to_owned()));
    assert_eq!(files(&own["files"]), changed);
    assert_eq!(between(&space, "1", "3")["plugins"], json!([]));
}

#[test]
fn what_one_alone_was_about_is_said() {
    let space = Space::tiny(PROGRAM, 3);
    publish(&space, &[], 0);
    space
        .synapse(&["plugin", "publish", "--plugin", "tiny-2", "--local"])
        .expect(0);
    let found = between(&space, "1", "2");
    assert_eq!(texts(&found["only"]["from"]), ["tiny-0", "tiny-1"]);
    assert_eq!(texts(&found["only"]["to"]), Vec::<&str>::new());
    assert_eq!(texts(&found["same"]), ["tiny-2"]);
}

#[test]
fn what_the_store_no_longer_has_is_said() {
    let space = Space::tiny(PROGRAM, 2);
    publish(&space, &[], 0);
    space.append("plugins/p0/README.md", "edited\n");
    publish(&space, &["--bump", "patch"], 0);
    space.synapse(&["cache", "clear"]).expect(0);
    let found = between(&space, "1", "2");
    let own = &found["plugins"][0];
    assert_eq!(
        (&own["plugin"], &own["files"]),
        (&json!("tiny-0"), &json!([]))
    );
    let stages = own["stages"].as_array().unwrap();
    let upload = stages
        .iter()
        .find(|stage| stage["stage"] == "upload")
        .unwrap();
    assert_eq!(
        (&upload["from"]["gone"], &upload["to"]["gone"]),
        (&json!(true), &json!(true))
    );
    // The journal still knows why.
    let text = space
        .synapse(&["explain", "--between", "1", "2"])
        .expect(0)
        .stdout;
    assert!(
        text.contains("what it was made of in 1 is no longer in the store"),
        "{text}"
    );
    assert!(text.contains("then because README.md changed ("), "{text}");
    // Looking makes no store.
    std::fs::remove_dir_all(space.home().join("cache")).unwrap();
    between(&space, "1", "2");
    assert!(!space.home().join("cache/store.db").exists());
}

#[test]
fn two_runs_of_an_action_are_compared() {
    const HUSH: &str = "hush-51c2";
    let mut space = Space::new(PROGRAM);
    copy_tree(&fixture("crashes"), space.cwd());
    let python = pythons::usual().expect("a Python");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let environment = pythons::sdk_environment(&python, folder).expect("an environment");
    space.set("VIRTUAL_ENV", environment.to_str().expect("a path"));
    let run = |epochs: i32, token: &str, code: i32| {
        let params = json!({"epochs": epochs, "api_token": token}).to_string();
        space
            .synapse(&["plugin", "run", "echo", "--params", &params])
            .expect(code);
    };
    run(2, HUSH, 0);
    space.append("plugin/ends.py", "# edited\n");
    run(3, "hush-other", 0);
    space.synapse(&["plugin", "run", "raises"]).expect(1);
    let text = std::fs::read_to_string(space.home().join("data/journal.jsonl")).unwrap();
    assert!(!text.contains("hush"), "{text}");
    assert_eq!(lines(&space)[1]["run"]["id"], 2);
    let found = between(&space, "1", "2");
    let changes = found["run"]["changes"].as_array().unwrap();
    let named = |name: &str| {
        changes
            .iter()
            .find(|change| change["name"] == name)
            .cloned()
    };
    let epochs = named("params.epochs").unwrap();
    assert_eq!((&epochs["old"], &epochs["new"]), (&json!(2), &json!(3)));
    let token = named("params.api_token").unwrap();
    assert_eq!(
        (&token["old"], &token["secret"]),
        (&Value::Null, &json!(true))
    );
    assert_eq!(named("result.epochs").unwrap()["new"], 3);
    let edited = [("plugin/ends.py".to_owned(), "changed".to_owned())];
    assert_eq!(files(&found["run"]["files"]), edited);
    assert_eq!(found["run"]["inputs"], json!([]), "{found:#}");
    let shown = space
        .synapse(&["explain", "--between", "1", "2"])
        .expect(0)
        .stdout;
    for told in [
        "params.epochs changed from 2 to 3",
        "params.api_token changed\n",
        "plugin/ends.py changed (",
    ] {
        assert!(shown.contains(told), "{told} in {shown}");
    }
    assert!(!shown.contains("hush") && !found.to_string().contains("hush"));
    let found = between(&space, "2", "3");
    let changes = found["run"]["changes"].to_string();
    assert!(
        changes.contains("\"action\"") && changes.contains("\"status\""),
        "{changes}"
    );
    space.synapse(&["plugin", "publish", "--local"]);
    let mixed = space
        .synapse(&["explain", "--between", "3", "latest"])
        .expect(1);
    assert!(
        mixed.stderr.contains("they have nothing to compare"),
        "{mixed:?}"
    );
}
