//! Every action of `fixtures/actions`, run by the command and by the package: the same results,
//! the same errors.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use synapse_tests::{
    Space, copy_tree, fixture,
    wheels::{self, Index},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_synapse_under_test");

/// A copy of the workspace, with a folder for what actions write and dataset 7.
fn space() -> Space {
    let mut space = Space::new(PROGRAM);
    copy_tree(&fixture("actions"), space.cwd());
    fs::create_dir(space.root().join("out")).unwrap();
    for (name, value) in Index::usual().variables() {
        space.set(name, &value);
    }
    let points = "plugins/synapse-line-fit-plugin/samples/points";
    space
        .synapse(&["dataset", "add", points, "--name", "points", "--id", "7"])
        .expect(0);
    space
}

fn folder(space: &Space, plugin: &str) -> PathBuf {
    space.path(&format!("plugins/synapse-{plugin}-plugin"))
}

/// Puts the folder of the test and values of earlier results into `value`.
fn fill(value: &Value, out: &Path, earlier: &BTreeMap<String, Value>) -> Value {
    match value {
        Value::Array(items) => items.iter().map(|item| fill(item, out, earlier)).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, item)| (name.clone(), fill(item, out, earlier)))
            .collect(),
        Value::String(text) => {
            let inner = text
                .strip_prefix("${")
                .and_then(|rest| rest.strip_suffix('}'));
            match inner.and_then(|inner| inner.split_once('.')) {
                Some((name, key)) => earlier[name][key].clone(),
                None => json!(text.replace("${OUT}", out.to_str().unwrap())),
            }
        }
        other => other.clone(),
    }
}

/// Whether every key of `part` has its value in `whole`; numbers are equal as numbers.
fn holds(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => part
            .iter()
            .all(|(name, part)| whole.get(name).is_some_and(|whole| holds(whole, part))),
        (Value::Array(whole), Value::Array(part)) => {
            whole.len() == part.len() && whole.iter().zip(part).all(|(one, two)| holds(one, two))
        }
        (Value::Number(one), Value::Number(two)) => one.as_f64() == two.as_f64(),
        (one, two) => one == two,
    }
}

/// What came of a run, whichever way it was started.
struct Came {
    result: Option<Value>,
    class: String,
    message: String,
    /// Places that a refused parameter names, with dots.
    fields: Vec<String>,
}

fn fields(errors: &Value) -> Vec<String> {
    let place = |error: &Value| {
        let parts = error["loc"].as_array().cloned().unwrap_or_default();
        let parts: Vec<String> = parts
            .iter()
            .map(|part| {
                part.as_str()
                    .map_or_else(|| part.to_string(), str::to_owned)
            })
            .collect();
        parts.join(".")
    };
    errors.as_array().into_iter().flatten().map(place).collect()
}

fn by_command(space: &Space, plugin: &str, action: &str, params: &Value) -> Came {
    let python = wheels::usual_python().executable;
    let run = space.synapse(&[
        "plugin",
        "run",
        action,
        "--plugin",
        plugin,
        "--json",
        "--python",
        python.to_str().unwrap(),
        "--params",
        &params.to_string(),
    ]);
    let document = run.json();
    let failed = document["ok"] == false;
    assert_eq!(run.code(), i32::from(failed), "{run:#?}");
    let error = &document["error"];
    Came {
        result: (!failed).then(|| document["result"].clone()),
        class: error["class"].as_str().unwrap_or_default().to_owned(),
        message: format!("{} {}", error["message"], error["details"]),
        fields: fields(&error["errors"]),
    }
}

fn by_package(space: &Space, plugin: &str, action: &str, params: &Value) -> Came {
    let environment = wheels::environment(
        &wheels::usual_python(),
        "api",
        &["pydantic>=2.3", "urllib3>=1.26,<3"],
        Index::usual(),
        Path::new(PROGRAM),
    );
    let answer = space.root().join("answer.json");
    let plugin = folder(space, plugin);
    let mut command: Command = space.command(&[]);
    let settings: Vec<_> = command
        .get_envs()
        .map(|(name, value)| (name.to_owned(), value.map(std::ffi::OsStr::to_owned)))
        .collect();
    command = Command::new(environment.join("bin/python"));
    command.env_clear();
    for (name, value) in settings {
        command.env(name, value.unwrap_or_default());
    }
    let mut child = command
        .arg(fixture("actions/run_by_api.py"))
        .arg(&answer)
        .current_dir(&plugin)
        .env("TONE_LIMIT", "128")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let request = json!({"action": action, "params": params}).to_string();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(request.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let came: Value = serde_json::from_slice(&fs::read(&answer).unwrap()).unwrap();
    fs::remove_file(answer).unwrap();
    let error = &came["error"];
    Came {
        result: came.get("result").cloned(),
        class: error["class"].as_str().unwrap_or_default().to_owned(),
        message: format!("{} {}", error["message"], error["details"]),
        fields: fields(&error["details"]),
    }
}

type Way = fn(&Space, &str, &str, &Value) -> Came;

/// Works through `runs.json`; every run that comes out otherwise is named at the end.
fn run_all(run: Way) {
    let text = fs::read_to_string(fixture("actions/runs.json")).unwrap();
    let runs: Vec<Value> = serde_json::from_str(&text).unwrap();
    let space = space();
    let out = space.root().join("out");
    let mut earlier = BTreeMap::new();
    let mut wrong = Vec::new();
    for (index, wanted) in runs.iter().enumerate() {
        let text = |name: &str| wanted[name].as_str().unwrap_or_default();
        let params = fill(&wanted["params"], &out, &earlier);
        let came = run(&space, text("plugin"), text("action"), &params);
        if let Some(result) = &came.result {
            earlier.insert(text("name").to_owned(), result.clone());
        }
        let mut fits = if let Some(result) = &came.result {
            holds(result, &wanted["result"]) && wanted["result"].is_object()
        } else {
            let error = &wanted["error"];
            let said = error["text"].as_str().unwrap_or_default();
            let fields: Vec<String> = error["fields"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|field| field.as_str().unwrap().to_owned())
                .collect();
            came.class == error["class"].as_str().unwrap_or("no error was wanted")
                && came.message.contains(said)
                && came.fields == fields
        };
        for (name, there) in [("made", true), ("not_made", false)] {
            for path in wanted[name].as_array().into_iter().flatten() {
                fits &= out.join(path.as_str().unwrap()).exists() == there;
            }
        }
        if !fits {
            wrong.push(format!(
                "{}. {} {} {params}\n  wanted {} {}\n  got {:?} {} {} {:?}",
                index + 1,
                text("plugin"),
                text("action"),
                wanted["result"],
                wanted["error"],
                came.result.as_ref().map(Value::to_string),
                came.class,
                came.message,
                came.fields,
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} runs\n{}",
        wrong.len(),
        runs.len(),
        wrong.join("\n")
    );
}

#[test]
fn by_the_command() {
    run_all(by_command);
}

#[test]
fn by_the_package() {
    run_all(by_package);
}

#[test]
fn every_action_and_every_category_is_run() {
    let text = fs::read_to_string(fixture("actions/runs.json")).unwrap();
    let runs: Vec<Value> = serde_json::from_str(&text).unwrap();
    let mut categories = Vec::new();
    for entry in fs::read_dir(fixture("actions/plugins")).unwrap() {
        let config = fs::read_to_string(entry.unwrap().path().join("config.yaml")).unwrap();
        let config: Value = serde_yaml::from_str(&config).unwrap();
        categories.push(config["category"].as_str().unwrap().to_owned());
        for action in config["actions"].as_object().unwrap().keys() {
            let works = |run: &&Value| {
                run["plugin"] == config["code"]
                    && run["action"] == action.as_str()
                    && run["result"].is_object()
            };
            assert!(runs.iter().any(|run| works(&run)), "{action} is not run");
        }
    }
    categories.sort();
    let all = [
        "custom",
        "data_validation",
        "export",
        "neural_net",
        "post_annotation",
        "pre_annotation",
        "smart_tool",
        "upload",
    ];
    assert_eq!(categories, all);
}

/// The plugins' own tests, in the environment that a plugin's author has.
#[test]
fn their_own_tests_pass() {
    let environment = wheels::environment(
        &wheels::usual_python(),
        "own-tests",
        &["pydantic>=2.3", "urllib3>=1.26,<3", "pytest"],
        Index::usual(),
        Path::new(PROGRAM),
    );
    let space = space();
    let mut plugins: Vec<_> = fs::read_dir(space.path("plugins"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    plugins.sort();
    for plugin in plugins {
        let output = Command::new(environment.join("bin/python"))
            .args(["-m", "pytest", "-q", "-p", "no:cacheprovider"])
            .current_dir(&plugin)
            .env("SYNAPSE_HOME", space.home())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}\n{}",
            plugin.display(),
            String::from_utf8_lossy(&output.stdout)
        );
    }
}

#[test]
fn params_are_an_object() {
    let space = space();
    let plugin = ["plugin", "run", "collect", "--plugin", "word-report"];
    for params in ["[1]", "3", "null", "\"text\""] {
        let run = space.synapse(&[&plugin[..], &["--params", params]].concat());
        assert_eq!(run.code(), 1, "{run:?}");
        assert!(run.stderr.contains("object"), "{run:?}");
    }
}
