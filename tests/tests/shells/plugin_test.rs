//! `synapse plugin test`: a plugin's tests where its actions would run, with pytest brought along.

use std::{
    ffi::OsString,
    fs,
    path::Path,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use synapse_tests::{
    Space, copy_tree, expect_schema, fixture, pythons, space,
    wheels::{Index, usual_python},
};

const CONFIG: &str = "name: Tiny\ncode: CODE\nversion: 0.1.0\ncategory: custom\nenv:\n  \
                      GREETING: hello\nactions:\n  run:\n    entrypoint: plugin.run:RunAction\n";
const ACTION: &str = "from pydantic import BaseModel\n\
                      from synapse_sdk.plugins import BaseAction\n\n\n\
                      class Params(BaseModel):\n    dataset: int = 7\n\n\n\
                      class RunAction(BaseAction[Params]):\n    def execute(self):\n        \
                      return {'client': self.ctx.client is not None}\n";
const TESTS: &str = "import os\n\nfrom synapse_sdk.plugins.executors.local import LocalExecutor\n\
                     from plugin.run import RunAction\n\n\ndef test_run():\n    \
                     result = LocalExecutor(env={}).execute(action_cls=RunAction, params={})\n    \
                     assert result['client']\n\n\ndef test_surroundings():\n    \
                     assert os.environ['GREETING'] == 'hello'\n    assert 'SYNAPSE_BIN' in os.environ\n";

/// The environment of all these tests: what the guide's plugin needs, and pytest.
fn environment() -> String {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugin-tests");
    let index = Index::usual().variables();
    let settings: Vec<(&str, OsString)> = index
        .iter()
        .map(|(name, value)| (*name, value.into()))
        .collect();
    let needed = [
        "pydantic>=2.3",
        "urllib3>=1.26,<3",
        "pytest>=7",
        "pytest-cov",
        "pytest-mock",
    ];
    let made = pythons::environment(&usual_python(), &folder, &needed, &settings);
    let made = made.expect("an environment");
    made.to_str().expect("a path").to_owned()
}

fn plugin(space: &Space, place: &str, code: &str) {
    space.tiny_plugin(place, code);
    space.write(
        &format!("{place}/config.yaml"),
        CONFIG.replace("CODE", code),
    );
    space.write(&format!("{place}/plugin/run.py"), ACTION);
    space.write(&format!("{place}/tests/test_run.py"), TESTS);
}

fn with_tests() -> Space {
    let mut space = space!();
    plugin(&space, ".", "tiny-0");
    space.set("VIRTUAL_ENV", &environment());
    space
}

#[track_caller]
fn tested(space: &Space, args: &[&str], code: i32) -> Value {
    let run = space.synapse(&[&["--json", "plugin", "test"], args].concat());
    let document = run.expect(code).json();
    expect_schema("test", &document);
    assert_eq!(document["ok"], code == 0);
    document
}

#[test]
fn tests_run_where_actions_do_and_are_counted() {
    let space = with_tests();
    let document = tested(&space, &[], 0);
    let own = &document["plugins"][0];
    assert_eq!(
        (&own["status"], &own["exit"]),
        (&json!("passed"), &json!(0))
    );
    assert_eq!(
        (&own["counts"]["passed"], &own["counts"]["failed"]),
        (&json!(2), &json!(0))
    );
    assert_eq!(own["environment"]["managed"], false);
    // What pytest prints streams through.
    let run = space.synapse(&["plugin", "test", "--", "-v"]).expect(0);
    assert!(
        run.stdout.contains("test_run.py::test_run PASSED"),
        "{}",
        run.stdout
    );
    let colour = space
        .synapse(&["plugin", "test", "--color", "always"])
        .expect(0);
    assert!(colour.stdout.contains("\u{1b}["), "{}", colour.stdout);
    // One of them alone.
    let one = tested(&space, &["--", "tests/test_run.py::test_run"], 0);
    assert_eq!(one["plugins"][0]["counts"]["passed"], 1);
}

#[test]
fn each_ending_has_its_exit_code() {
    let space = with_tests();
    space.append(
        "tests/test_run.py",
        "\n\ndef test_wrong():\n    assert 1 == 2, 'not so'\n",
    );
    let document = tested(&space, &[], 1);
    let own = &document["plugins"][0];
    assert_eq!(own["status"], "failed");
    assert_eq!(own["failures"][0]["test"], "tests/test_run.py::test_wrong");
    assert!(
        own["failures"][0]["message"]
            .as_str()
            .unwrap()
            .contains("not so"),
        "{own:#}"
    );
    assert_eq!(document["errors"][0]["code"], "tests-failed");
    let words = space.synapse(&["plugin", "test"]).expect(1);
    assert!(
        words.stderr.contains("2 passed, 1 failed") && words.stderr.contains("hint:"),
        "{}",
        words.stderr
    );
    // Nothing that fits what was asked for.
    let document = tested(&space, &["--", "-k", "nobody"], 1);
    assert_eq!(document["plugins"][0]["status"], "no-tests");
    assert!(document["errors"][0]["hint"].is_string());
    // Arguments that pytest does not know are the command line's fault.
    let document = tested(&space, &["--", "--bogus"], 2);
    assert_eq!(document["plugins"][0]["exit"], 4);
    // A file that is no Python.
    space.write("tests/test_run.py", "def test_a(:\n");
    let document = tested(&space, &[], 1);
    assert_eq!(document["plugins"][0]["counts"]["errors"], 1);
    // A process that dies.
    space.write(
        "tests/test_run.py",
        "import os\ndef test_a():\n    os.kill(os.getpid(), 9)\n",
    );
    let document = tested(&space, &[], 1);
    assert_eq!(document["errors"][0]["code"], "tests-killed");
    assert_eq!(document["plugins"][0]["counts"], Value::Null);
    // Without any test nothing is made or started.
    fs::remove_dir_all(space.path("tests")).unwrap();
    let document = space
        .synapse(&["plugin", "test", "--json"])
        .expect(1)
        .json();
    assert_eq!(document["errors"][0]["code"], "no-tests");
}

#[test]
fn ctrl_c_ends_the_tests_and_says_so() {
    let space = with_tests();
    space.write("tests/test_run.py", "import time, pathlib\ndef test_a():\n    pathlib.Path('begun').touch()\n    time.sleep(600)\n");
    let mut command = space.command(&["plugin", "test"]);
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let patience = Instant::now() + Duration::from_mins(2);
    while !space.path("begun").exists() {
        assert!(Instant::now() < patience, "the test never began");
        thread::sleep(Duration::from_millis(20));
    }
    let pid = rustix::process::Pid::from_raw(child.id().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{output:?}");
}

#[test]
fn all_plugins_with_tests_are_summed_up() {
    let mut space = space!();
    space.write("synapse-workspace.yaml", "members: ['plugins/*']\n");
    plugin(&space, "plugins/a", "tiny-a");
    plugin(&space, "plugins/b", "tiny-b");
    space.tiny_plugin("plugins/c", "tiny-c");
    space.append(
        "plugins/b/tests/test_run.py",
        "\ndef test_wrong():\n    assert False\n",
    );
    space.set("VIRTUAL_ENV", &environment());
    let document = tested(&space, &["--all"], 1);
    let states: Vec<(&str, &str)> = document["plugins"]
        .as_array()
        .unwrap()
        .iter()
        .map(|own| {
            (
                own["plugin"].as_str().unwrap(),
                own["status"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(states, [("tiny-a", "passed"), ("tiny-b", "failed")]);
    let words = space.synapse(&["plugin", "test", "--all"]).expect(1);
    let last: Vec<&str> = words.stdout.lines().rev().take(3).collect();
    assert_eq!(last[0], "2 plugins tested: 1 failed");
    assert!(
        last[1].contains("failed tiny-b  2 passed, 1 failed"),
        "{last:?}"
    );
    assert!(last[2].contains("passed tiny-a  2 passed"), "{last:?}");
    space
        .synapse(&["plugin", "test", "--plugin", "tiny-a"])
        .expect(0);
    let refused = space
        .synapse(&["plugin", "test", "--json"])
        .expect(1)
        .json();
    assert_eq!(refused["errors"][0]["code"], "config-not-found");
}

/// The guide's own plugin, whose tests use `mocker` and `--cov`, as its section on testing has it.
#[test]
fn the_guides_tests_pass_in_an_environment_of_their_own() {
    let mut space = space!();
    for (name, value) in Index::usual().variables() {
        space.set(name, &value);
    }
    copy_tree(
        &fixture("yolov8/synapse-yolov8-plugin"),
        &space.path("yolov8"),
    );
    for (path, bytes) in [
        ("coco/images/train/a.jpg", "a"),
        ("coco/images/val/b.jpg", "b"),
        ("coco/labels/train/a.txt", "0 0.5 0.5 1 1\n"),
        ("coco/labels/val/b.txt", "0 0.5 0.5 1 1\n"),
        (
            "coco/dataset.yaml",
            "path: .\ntrain: images/train\nval: images/val\n",
        ),
        ("best.pt", "weights"),
    ] {
        space.write(path, bytes);
    }
    let add = [
        "dataset", "add", "coco", "--name", "coco", "--id", "123", "--format", "yolo",
    ];
    space.synapse(&add).expect(0);
    space.set_cwd(space.path("yolov8"));
    // The one place of the machine that the guide's code names.
    let train = space.read("plugin/train.py");
    let best = space.path("../best.pt");
    space.write(
        "plugin/train.py",
        train.replace("/models/best.pt", best.to_str().unwrap()),
    );
    let args = ["--env", "managed", "--", "tests/", "-v", "--cov=plugin"];
    let document = tested(&space, &args, 0);
    let own = &document["plugins"][0];
    assert_eq!(
        (&own["environment"]["managed"], &own["counts"]["passed"]),
        (&json!(true), &json!(3)),
        "{document:#}"
    );
    // It is found again, and no run has it.
    let executable = own["environment"]["executable"].clone();
    let again = tested(&space, &[&["--offline"], &args[..]].concat(), 0);
    assert_eq!(again["plugins"][0]["environment"]["executable"], executable);
    let params = "{\"dataset\": 123, \"epochs\": 1}";
    let run = [
        "--json", "plugin", "run", "train", "--env", "managed", "--params", params,
    ];
    let run = space.synapse(&run).expect(0).json();
    assert_ne!(run["environment"]["executable"], executable, "{run:#}");
}
