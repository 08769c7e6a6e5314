//! Actions in a watch: run again after a save, ended by the next.

use std::{fs, path::Path};

use synapse_tests::{Space, pythons, space};

use crate::watching::{Watch, append, replace, save};

/// A plugin with one action, which says what `text` has it say.
const ACTION: &str = r#"import time
from pathlib import Path

from pydantic import BaseModel
from synapse_sdk.plugins import action


class Params(BaseModel):
    n: int = 1


@action(params=Params)
def go(params, ctx):
    print("said one", flush=True)
    while Path("wait").exists():
        time.sleep(0.02)
    return params.n
"#;

fn runner() -> Space {
    let mut space = space!();
    let python = pythons::usual().expect("a Python");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let environment = pythons::sdk_environment(&python, folder).expect("an environment");
    space.set("VIRTUAL_ENV", environment.to_str().expect("a path"));
    let config = "name: Go\ncode: go\nversion: 0.1.0\ncategory: custom\nactions:\n  go:\n    \
                  entrypoint: plugin.go:go\n    method: task\n";
    space.write("config.yaml", config);
    space.write("plugin/__init__.py", "");
    space.write("plugin/go.py", ACTION);
    space.write(".synapseignore", "wait\n");
    space.write("../params.json", "{\"n\": 5}");
    space
}

impl Watch {
    /// The action says something.
    #[track_caller]
    fn says(&self, text: &str) {
        loop {
            let event = self.next(&["output", "attempt_finished"]);
            assert_eq!(event["event"], "output", "{event:#}");
            if event["text"]
                .as_str()
                .is_some_and(|said| said.contains(text))
            {
                return;
            }
        }
    }
}

#[test]
fn an_action_runs_again_and_params_count() {
    let space = runner();
    let watch = Watch::start(&space, &["run", "go", "--params", "@../params.json"]);
    let document = watch.document();
    assert_eq!(document["result"], 5, "{document:#}");
    watch.next(&["attempt_finished"]);
    save(&space, "../params.json", "{\"n\": \"many\"}");
    assert_eq!(watch.changed(), ["go: ../params.json"]);
    assert_eq!(watch.document()["ok"], false);
    let finished = watch.next(&["attempt_finished"]);
    assert_eq!(
        finished["failing"],
        serde_json::json!(["go"]),
        "{finished:#}"
    );
    save(&space, "../params.json", "{\"n\": 7}");
    assert_eq!(watch.changed(), ["go: ../params.json"]);
    assert_eq!(watch.document()["result"], 7);
    assert_eq!(watch.next(&["fixed"])["what"], serde_json::json!(["go"]));

    // What an archive leaves out can decide what the action runs in.
    append(&space, ".synapseignore", "requirements.txt\n");
    watch.changed();
    watch.next(&["attempt_finished"]);
    save(&space, "requirements.txt", "pydantic>=2\n");
    assert_eq!(watch.changed(), ["go: requirements.txt"]);
    assert_eq!(watch.next(&["attempt_finished"])["ok"], true);
    space.write("output.log", "ignored\n");
    replace(&space, "plugin/go.py", "said one", "said two");
    assert_eq!(watch.changed(), ["go: plugin/go.py"]);
    watch.says("said two");
    watch.next(&["attempt_finished"]);
    watch.interrupt();
}

#[test]
fn a_save_ends_the_run_and_starts_another() {
    let space = runner();
    space.write("wait", "");
    let watch = Watch::start(&space, &["run", "go"]);
    watch.says("said one");
    // Ignored, and the same: it runs on.
    space.write("x.log", "1\n");
    save(&space, "plugin/go.py", ACTION);
    replace(&space, "plugin/go.py", "said one", "said two");
    let finished = watch.next(&["attempt_finished"]);
    assert_eq!(finished["stopped"], true, "{finished:#}");
    assert_eq!(
        finished["failing"],
        serde_json::json!([]),
        "to end it is no failure"
    );
    assert_eq!(watch.changed(), ["go: plugin/go.py"]);
    watch.says("said two");
    fs::remove_file(space.path("wait")).expect("removed");
    let finished = watch.next(&["attempt_finished"]);
    assert_eq!(
        (&finished["ok"], &finished["attempt"]),
        (&true.into(), &2.into())
    );

    space.write("wait", "");
    replace(&space, "plugin/go.py", "said two", "said three");
    watch.changed();
    watch.says("said three");
    watch.interrupt();
    let runs = space.synapse(&["runs", "--json"]).expect(0).json();
    let statuses: Vec<_> = runs["runs"]
        .as_array()
        .expect("runs")
        .iter()
        .map(|run| &run["status"])
        .collect();
    assert_eq!(statuses, ["STOPPED", "SUCCEEDED", "STOPPED"]);
}
