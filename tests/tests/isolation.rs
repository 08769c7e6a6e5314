//! Plugins that all have a module called `plugin.train` never see each other's modules or
//! environment, however many run or are inspected at the same time.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::{path::Path, thread};

use serde_json::Value;
use synapse_tests::{
    Space,
    wheels::{self, Index},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_synapse_under_test");
const PLUGINS: usize = 20;

/// A training action that says what it sees. Its params differ from those of the other plugins in
/// a field's name, its code in what it returns, and its helper in what it holds.
fn train(index: usize) -> String {
    format!(
        "import os\n\
         import sys\n\
         from pydantic import BaseModel, Field\n\
         from synapse_sdk.plugins import BaseAction\n\
         from plugin import helper\n\
         from plugin.only_{index} import HERE\n\n\n\
         class TrainParams(BaseModel):\n    field_{index}: int = Field(default={index}, ge=0)\n\n\n\
         class TrainAction(BaseAction[TrainParams]):\n    action_name = 'train'\n\n    \
         def execute(self):\n        \
         others = sorted(name for name in sys.modules if name.startswith('plugin.only_'))\n        \
         return {{\n            'index': {index},\n            'helper': helper.WHO,\n            \
         'here': HERE,\n            'others': others,\n            'cwd': os.getcwd(),\n            \
         'file': __file__,\n            'first': sys.path[0],\n            \
         'mark': os.environ.get('MARK'),\n            \
         'marks': sorted(name for name in os.environ if name.startswith('ONLY_')),\n        }}\n"
    )
}

fn write_plugin(space: &Space, index: usize, requirements: &str) {
    let place = format!("plugins/p{index}");
    let config = format!(
        "name: Same {index}\ncode: same-{index}\nversion: 0.1.0\ncategory: neural_net\n\
         env:\n  MARK: m{index}\n  ONLY_{index}: x\n\
         actions:\n  train:\n    entrypoint: plugin.train:TrainAction\n    method: job\n"
    );
    space.write(&format!("{place}/config.yaml"), config);
    space.write(&format!("{place}/README.md"), "# Same\n");
    space.write(&format!("{place}/requirements.txt"), requirements);
    space.write(&format!("{place}/plugin/__init__.py"), "");
    space.write(&format!("{place}/plugin/train.py"), train(index));
    space.write(
        &format!("{place}/plugin/helper.py"),
        format!("WHO = 'helper {index}'\n"),
    );
    space.write(
        &format!("{place}/plugin/only_{index}.py"),
        format!("HERE = {index}\n"),
    );
}

fn space(count: usize) -> Space {
    let mut space = Space::new(PROGRAM);
    for (name, value) in Index::usual().variables() {
        space.set(name, &value);
    }
    space.write("synapse-workspace.yaml", "members: ['plugins/*']\n");
    for index in 0..count {
        write_plugin(&space, index, "");
    }
    space
}

fn run(space: &Space, index: usize, more: &[&str]) -> Value {
    let python = wheels::usual_python().executable;
    let code = format!("same-{index}");
    let args = [
        "plugin",
        "run",
        "train",
        "--plugin",
        &code,
        "--json",
        "--env",
        "managed",
        "--python",
        python.to_str().unwrap(),
    ];
    space.synapse(&[&args[..], more].concat()).expect(0).json()["result"].clone()
}

#[test]
fn twenty_at_a_time_run_apart() {
    let space = space(PLUGINS);
    let results: Vec<Value> = thread::scope(|scope| {
        let running: Vec<_> = (0..PLUGINS)
            .map(|index| {
                scope.spawn({
                    let space = &space;
                    move || run(space, index, &[])
                })
            })
            .collect();
        running.into_iter().map(|one| one.join().unwrap()).collect()
    });
    for (index, result) in results.iter().enumerate() {
        let folder = space
            .path(&format!("plugins/p{index}"))
            .canonicalize()
            .unwrap();
        assert_eq!(result["index"], index);
        assert_eq!(result["helper"], format!("helper {index}"));
        assert_eq!(result["here"], index);
        assert_eq!(
            result["others"],
            serde_json::json!([format!("plugin.only_{index}")])
        );
        assert_eq!(result["mark"], format!("m{index}"));
        assert_eq!(
            result["marks"],
            serde_json::json!([format!("ONLY_{index}")])
        );
        for (what, wanted) in [
            ("cwd", folder.clone()),
            ("first", folder.clone()),
            ("file", folder.join("plugin/train.py")),
        ] {
            let found = Path::new(result[what].as_str().unwrap())
                .canonicalize()
                .unwrap();
            assert_eq!(found, wanted, "{what}");
        }
    }
    let runs = space
        .synapse(&["runs", "--limit", "100", "--json"])
        .expect(0)
        .json();
    let runs = runs["runs"].as_array().unwrap();
    assert_eq!(runs.len(), PLUGINS);
    assert!(
        runs.iter().all(|run| run["status"] == "SUCCEEDED"),
        "{runs:#?}"
    );
}

#[test]
fn twenty_at_a_time_are_inspected_apart() {
    let space = space(PLUGINS);
    // One publish inspects all of them; so do twenty commands at the same time.
    let published = space.publish(&["--all"]).expect(0);
    for index in 0..PLUGINS {
        let files = published.unpacked(&format!("same-{index}"));
        let config = String::from_utf8(files["config.yaml"].1.clone()).unwrap();
        for other in 0..PLUGINS {
            assert_eq!(
                config.contains(&format!("field_{other}\n"))
                    || config.contains(&format!("field_{other}'")),
                other == index,
                "field_{other} in\n{config}"
            );
        }
    }
    thread::scope(|scope| {
        for index in 0..PLUGINS {
            let space = &space;
            scope.spawn(move || {
                let path = format!("plugins/p{index}");
                space
                    .synapse(&["plugin", "update-config", "--path", &path])
                    .expect(0);
            });
        }
    });
    for index in 0..PLUGINS {
        let config = space.read(&format!("plugins/p{index}/config.yaml"));
        assert_eq!(config.matches("name: field_").count(), 1, "{config}");
        assert!(
            config.contains(&format!("name: field_{index}\n")),
            "{config}"
        );
    }
}

/// Two plugins with their own pydantic, and a third one that shares an environment with the first.
#[test]
fn each_has_its_own_pydantic() {
    const PINS: [&str; 3] = ["2.11.7", "2.12.5", "2.11.7"];
    let mut space = Space::new(PROGRAM);
    let pins: Vec<String> = PINS[..2]
        .iter()
        .map(|pin| format!("pydantic=={pin}"))
        .collect();
    let python = wheels::usual_python();
    // One download a pin: pip resolves both together otherwise, and cannot.
    let mut folders = vec![Index::usual().folder().display().to_string()];
    for (name, pin) in ["older", "newer"].iter().zip(&pins) {
        let index = Index::of(&python, name, &[pin]);
        folders.push(index.folder().display().to_string());
    }
    for (name, value) in Index::usual().variables() {
        let several = name.ends_with("FIND_LINKS");
        space.set(name, &if several { folders.join(" ") } else { value });
    }
    space.write("synapse-workspace.yaml", "members: ['plugins/*']\n");
    for (index, pin) in PINS.iter().enumerate() {
        write_plugin(&space, index, &format!("pydantic=={pin}\n"));
        let path = format!("plugins/p{index}/plugin/train.py");
        space.replace(&path, "import os\n", "import os\nimport pydantic\n");
        space.replace(
            &path,
            "'mark':",
            "'pydantic': pydantic.VERSION,\n            'prefix': sys.prefix,\n            'mark':",
        );
    }
    let results: Vec<Value> = thread::scope(|scope| {
        let running: Vec<_> = (0..PINS.len())
            .map(|index| {
                scope.spawn({
                    let space = &space;
                    move || run(space, index, &[])
                })
            })
            .collect();
        running.into_iter().map(|one| one.join().unwrap()).collect()
    });
    for (result, pin) in results.iter().zip(PINS) {
        assert_eq!(result["pydantic"], *pin);
    }
    assert_ne!(results[0]["prefix"], results[1]["prefix"]);
    assert_eq!(
        results[0]["prefix"], results[2]["prefix"],
        "one environment for equal locks"
    );
}
