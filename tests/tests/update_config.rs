//! `synapse plugin update-config`: what the code says, written without touching another byte.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::{fs, os::unix::fs::PermissionsExt};

use synapse_tests::{Space, copy_tree, fixture, wheels::Index};

const PROGRAM: &str = env!("CARGO_BIN_EXE_synapse_under_test");

const CONFIG: &str = "# Kept.\nname: \"A\"   # kept\ncode: a\nversion: 0.1.0\ncategory: custom\n\nactions:\n\n  # Kept, too.\n  convert: plugin.a:Convert   # bare\n\n  old:\n    entrypoint: 'plugin.gone.Old'\n    x_unknown: [1,   2]\n";
const CODE: &str = "from synapse_sdk.plugins import BaseAction, action\nfrom synapse_sdk.plugins.types import COCODataset\n\n\nclass Convert(BaseAction):\n    output_type = COCODataset\n\n    def execute(self):\n        return {}\n\n\nclass Old(BaseAction):\n    def execute(self):\n        return {}\n\n\n@action\ndef fresh(params, ctx):\n    return {}\n";
const AFTER: &str = "# Kept.\nname: \"A\"   # kept\ncode: a\nversion: 0.1.0\ncategory: custom\n\nactions:\n\n  # Kept, too.\n  convert:\n    entrypoint: plugin.a:Convert   # bare\n    method: job\n    output_type: coco_dataset\n\n  old:\n    entrypoint: 'plugin.a.Old'\n    x_unknown: [1,   2]\n  fresh:\n    entrypoint: plugin.a:fresh\n";

fn space() -> Space {
    let space = Space::new(PROGRAM);
    space.write("config.yaml", CONFIG);
    space.write("plugin/__init__.py", "");
    space.write("plugin/a.py", CODE);
    space
}

#[test]
fn a_commented_file_changes_in_the_lines_concerned_only() {
    let space = space();
    space.chmod("config.yaml", 0o640);
    let path = space.path("config.yaml").canonicalize().unwrap();
    let expected = "Would update config.yaml:\n  convert: method=job, output_type=coco_dataset\n  \
                    old: entrypoint=plugin.a.Old (was plugin.gone.Old)\n  fresh: new, entrypoint=plugin.a:fresh\n";
    let check = space
        .synapse(&["plugin", "update-config", "--check"])
        .expect(1);
    assert_eq!(
        check.stdout,
        format!("Config file: {}\n{expected}", path.display())
    );
    assert_eq!(space.read("config.yaml"), CONFIG);
    let done = space.synapse(&["plugin", "update-config"]).expect(0);
    assert!(
        done.stdout
            .ends_with(&expected.replace("Would update", "Updated")),
        "{}",
        done.stdout
    );
    assert_eq!(space.read("config.yaml"), AFTER);
    let meta = fs::metadata(&path).unwrap();
    assert_eq!(meta.permissions().mode() & 0o777, 0o640);
    // A second time nothing is written.
    let again = space.synapse(&["plugin", "update-config"]).expect(0);
    assert!(
        again.stdout.ends_with("No changes needed.\n"),
        "{}",
        again.stdout
    );
    assert_eq!(
        fs::metadata(&path).unwrap().modified().unwrap(),
        meta.modified().unwrap()
    );
    space
        .synapse(&["plugin", "update-config", "--check"])
        .expect(0);
    let names: Vec<_> = fs::read_dir(space.cwd())
        .unwrap()
        .flatten()
        .map(|own| own.file_name())
        .collect();
    assert_eq!(names.len(), 2, "nothing is left behind: {names:?}");
}

#[test]
fn no_python_is_needed_where_no_form_is() {
    let mut space = space();
    space.set("PATH", "/nowhere");
    space.synapse(&["plugin", "update-config"]).expect(0);
    assert_eq!(space.read("config.yaml"), AFTER);
    assert!(
        !space.home().join("cache/sdk").exists(),
        "nothing was prepared"
    );
}

#[test]
fn programs_get_a_document() {
    let space = space();
    let run = space
        .synapse(&["plugin", "update-config", "--check", "--json"])
        .expect(1);
    let document = run.json();
    assert_eq!(
        (&document["ok"], &document["changed"]),
        (&false.into(), &true.into())
    );
    assert_eq!(document["changes"][0]["action"], "convert");
}

#[test]
fn what_is_updated_publishes_the_same_bytes_as_before() {
    let space = Space::workspace(PROGRAM);
    let first = space.publish(&["--all"]).expect(0);
    for place in [
        "tiny-classifier",
        "drone-upload",
        "edge-snap",
        "auto-tagger",
    ] {
        let folder = format!("plugins/synapse-{place}-plugin");
        space
            .synapse(&["plugin", "update-config", "--path", &folder])
            .expect(0);
        let packed = first.unpacked(place)["config.yaml"].1.clone();
        assert_eq!(
            space.read(&format!("{folder}/config.yaml")).as_bytes(),
            packed,
            "{place}"
        );
    }
    let again = space.publish(&["--all"]).expect(0);
    assert_eq!(
        (again.total("up_to_date"), again.total("bytes_sent")),
        (7, 0)
    );
    assert!(
        again.ran().iter().all(|stage| stage.ends_with(" sync")),
        "{:?}",
        again.ran()
    );
}

#[test]
fn the_guide_s_own_configuration_keeps_its_lines() {
    let space = Space::new(PROGRAM);
    copy_tree(&fixture("yolov8/synapse-yolov8-plugin"), space.cwd());
    let before = space.read("config.yaml");
    space.synapse(&["plugin", "update-config"]).expect(0);
    let after = space.read("config.yaml");
    let mut rest = after.lines();
    for line in before.lines() {
        assert!(rest.any(|own| own == line), "{line:?} is gone:\n{after}");
    }
}

#[test]
fn a_configuration_is_printed_for_the_package() {
    let space = space();
    let run = space.synapse(&["__config", "."]).expect(0);
    assert_eq!(run.json()["actions"]["convert"], "plugin.a:Convert");
    space.append("config.yaml", "  broken: [\n");
    let run = space.synapse(&["__config", "config.yaml"]).expect(1);
    assert!(run.stderr.contains("config.yaml:"), "{}", run.stderr);
    space.synapse(&["__config", "nowhere"]).expect(1);
}

#[test]
fn what_only_the_environment_knows_is_written_from_there() {
    let mut space = Space::new(PROGRAM);
    for (name, value) in Index::usual().variables() {
        space.set(name, &value);
    }
    let head = "name: A\ncode: a\nversion: 0.1.0\ncategory: neural_net\n";
    let actions = "actions:\n  train:\n    entrypoint: plugin.train:Train\n    method: job\n";
    space.write("config.yaml", format!("{head}{actions}"));
    space.write("requirements.txt", "torch\n");
    space.write("plugin/__init__.py", "");
    space.write(
        "plugin/train.py",
        "import torch\nfrom pydantic import BaseModel\nfrom synapse_sdk.plugins import BaseTrainAction\n\n\n\
         class Params(BaseModel):\n    label: str = torch.__version__\n\n\n\
         class Train(BaseTrainAction[Params]):\n    def execute(self):\n        return {}\n",
    );
    let plain = space.synapse(&["plugin", "update-config"]).expect(0);
    assert!(
        plain
            .text()
            .contains("uses torch, which inspection does without"),
        "{}",
        plain.text()
    );
    assert!(!space.read("config.yaml").contains("label"));
    let managed = ["plugin", "update-config", "--env", "managed"];
    space.synapse(&managed).expect(0);
    let after = space.read("config.yaml");
    assert!(
        after.contains("name: label") && after.contains("2.8.0"),
        "{after}"
    );
    // Every machine publishes that, with the package or without.
    let packed = space.publish(&[]).expect(0).unpacked("a");
    assert_eq!(String::from_utf8_lossy(&packed["config.yaml"].1), after);
    let again = space.synapse(&managed).expect(0);
    assert!(
        again.stdout.ends_with("No changes needed.\n"),
        "{}",
        again.stdout
    );
    space
        .synapse(&["plugin", "update-config", "--check"])
        .expect(0);
}
