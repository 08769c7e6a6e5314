//! What `synapse plugin run` does before anything heavy: params are refused before an environment
//! is made for them, and the code is held against config.yaml.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::{fs, thread};

use serde_json::Value;
use synapse_tests::{Space, wheels::Index};

const PROGRAM: &str = env!("CARGO_BIN_EXE_synapse_under_test");

const CONFIG: &str = "name: First\ncode: first\nversion: 0.1.0\ncategory: neural_net\nactions:\n  \
                      train:\n    entrypoint: plugin.train:TrainAction\n    method: task\n";
const TRAIN: &str = "from pydantic import BaseModel, Field\n\
                     from synapse_sdk.plugins import BaseTrainAction\n\n\n\
                     class TrainParams(BaseModel):\n    dataset: int\n    \
                     epochs: int = Field(default=10, ge=1)\n\n\n\
                     class TrainAction(BaseTrainAction[TrainParams]):\n    \
                     def execute(self):\n        return {'epochs': self.params.epochs}\n";

fn space(requirements: &str) -> Space {
    let mut space = Space::new(PROGRAM);
    for (name, value) in Index::usual().variables() {
        space.set(name, &value);
    }
    space.write("config.yaml", CONFIG);
    space.write("requirements.txt", requirements);
    space.write("plugin/__init__.py", "");
    space.write("plugin/train.py", TRAIN);
    space
}

fn run(params: &str) -> [&str; 6] {
    ["plugin", "run", "train", "--json", "--params", params]
}

fn stages(document: &Value) -> Vec<(&str, &str)> {
    let stages = document["stages"].as_array().unwrap().iter();
    stages
        .map(|own| {
            (
                own["stage"].as_str().unwrap(),
                own["decision"].as_str().unwrap(),
            )
        })
        .collect()
}

#[test]
fn wrong_params_are_refused_before_an_environment_is_made() {
    // Nothing can be made of this.
    let space = space("a-package-that-is-nowhere\n");
    let wrong = r#"{"dataset": "x", "epochs": 0}"#;
    let text = space.synapse(&["plugin", "run", "train", "--params", wrong]);
    let text = text.expect(1).text();
    insta::assert_snapshot!(text);
    let document = space.synapse(&run(wrong)).expect(1).json();
    assert_eq!(document["errors"][0]["code"], "validation", "{document:#}");
    // Right ones come as far as the requirements.
    let document = space.synapse(&run(r#"{"dataset": 1}"#)).expect(1).json();
    assert_eq!(document["errors"][0]["code"], "resolution", "{document:#}");
    let runs = space.synapse(&["runs", "--json"]).expect(0).json();
    assert_eq!(runs["runs"].as_array().map(Vec::len), Some(0), "{runs:#}");
}

#[test]
fn environment_and_inspection_are_known_the_second_time() {
    let space = space("");
    let first = space.synapse(&run(r#"{"dataset": 1}"#)).expect(0).json();
    let all = ["resolve", "environment", "inspect", "sync", "run"];
    assert_eq!(stages(&first), all.map(|stage| (stage, "run")));
    // `train` runs as a job whatever its config says, and its form is not there yet.
    let differs = "`synapse plugin update-config` writes it";
    assert!(first["notes"].to_string().contains(differs), "{first:#}");
    let again = space.synapse(&run(r#"{"dataset": 2}"#)).expect(0).json();
    let hit = |stage| (stage, if stage == "run" { "run" } else { "hit" });
    assert_eq!(stages(&again), all.map(hit), "{again:#}");
    let text = space.synapse(&["plugin", "run", "train", "--params", r#"{"dataset": 3}"#]);
    assert!(text.expect(0).text().contains(differs));
    space.synapse(&["plugin", "update-config"]).expect(0);
    let text = space.synapse(&["plugin", "run", "train", "--params", r#"{"dataset": 3}"#]);
    assert!(!text.expect(0).text().contains(differs));
}

#[test]
fn a_look_at_the_code_never_stands_in_the_way_of_a_run() {
    let space = space("");
    // The configuration cannot be synced: its action is an alias of another one's.
    let aliased = CONFIG.replace("train:\n", "train: &it\n") + "  again: *it\n";
    space.write("config.yaml", aliased);
    let done = space.synapse(&run(r#"{"dataset": 1}"#)).expect(0).json();
    assert_eq!(done["result"]["epochs"], 10, "{done:#}");
}

#[test]
fn two_processes_at_once_make_one_environment() {
    let space = space("");
    // Not the one that all tests share.
    let environments = space.home().join("cache/environments");
    fs::create_dir_all(&environments).unwrap();
    let both = thread::scope(|scope| {
        let start = || space.synapse(&run(r#"{"dataset": 1}"#)).expect(0).json();
        let both = [scope.spawn(start), scope.spawn(start)];
        both.map(|thread| thread.join().unwrap())
    });
    let [one, two] = both.map(|own| own["environment"]["executable"].clone());
    assert_eq!(one, two);
    let made = fs::read_dir(environments).unwrap().flatten();
    let made = made.filter(|entry| entry.path().join("bin/python").exists());
    // The plugin's, and the one that its params were looked at in.
    assert_eq!(made.count(), 2);
}
