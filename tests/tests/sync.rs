//! Inspection and sync inside a publish: the same bytes everywhere, the source left alone, and no
//! more work than there is news.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::{fs, path::Path};

use synapse_tests::{Space, snapshot};

const PROGRAM: &str = env!("CARGO_BIN_EXE_synapse_under_test");

const CONFIG: &str = "# The plugin.\nname: Torchy\ncode: torchy   # as in the wiki\nversion: 0.1.0\ncategory: neural_net\n\nactions:\n  # Trains.\n  train:\n    entrypoint: plugin.train:TrainAction\n    method: task   # forced to job\n";
const TRAIN: &str = "import torch\nimport torch.nn as nn\nfrom pydantic import BaseModel, Field\nfrom synapse_sdk.plugins import BaseTrainAction\nfrom synapse_sdk.plugins.types import ModelWeights, YOLODataset\n\nDEVICE = torch.device('cuda' if torch.cuda.is_available() else 'cpu')\n\n\nclass Net(nn.Module):\n    pass\n\n\nclass TrainParams(BaseModel):\n    dataset: int\n    epochs: int = Field(default=100, ge=1, le=1000)\n    rate: float = Field(default=0.01, gt=0)\n\n\nclass TrainAction(BaseTrainAction[TrainParams]):\n    input_type = YOLODataset\n    output_type = ModelWeights\n\n    def execute(self):\n        return {}\n";

fn torchy(space: &Space, place: &str) {
    space.write(&format!("{place}config.yaml"), CONFIG);
    space.write(&format!("{place}plugin/__init__.py"), "");
    space.write(&format!("{place}plugin/train.py"), TRAIN);
}

fn config(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn the_archive_has_what_the_code_says_and_the_source_is_left_alone() {
    let space = Space::new(PROGRAM);
    torchy(&space, "");
    let before = snapshot(space.cwd());
    let made = space.publish(&[]).expect(0);
    assert_eq!(snapshot(space.cwd()), before);
    let packed = config(&made.unpacked("torchy")["config.yaml"].1);
    let head = CONFIG.replace("method: task ", "method: job ");
    assert!(packed.starts_with(&head), "{packed}");
    for line in [
        "input_type: yolo_dataset",
        "output_type: model_weights",
        "name: epochs",
        "max: 1000",
    ] {
        assert!(packed.contains(line), "{line}\n{packed}");
    }
    assert!(
        !packed.contains("name: dataset"),
        "the platform gives it:\n{packed}"
    );
    let again = space.publish(&[]).expect_nothing_done();
    for document in [&made, &again] {
        let told = &document.plugin("torchy")["config"];
        assert_eq!(told["updated"], true, "{told:#}");
        assert_eq!(told["warnings"].as_array().map(Vec::len), Some(0));
    }
    // A person is told.
    space.append("plugin/train.py", "# edited\n");
    let text = space
        .synapse(&["plugin", "publish", "--local", "--debug"])
        .expect(0);
    assert!(text.stderr.contains("update-config"), "{}", text.stderr);
}

#[test]
fn the_same_bytes_by_every_python_with_and_without_the_packages() {
    let mut found: Vec<(String, Vec<u8>)> = Vec::new();
    for version in ["3.10", "3.11", "3.12", "3.13"] {
        for torch in [false, true] {
            let mut space = Space::new(PROGRAM);
            torchy(&space, "");
            space.replace(
                "config.yaml",
                "category:",
                &format!("requires: {{python: \"~={version}.0\"}}\ncategory:"),
            );
            if torch {
                // Of other names and values than any stand-in.
                let lib = space.root().join("lib");
                fs::create_dir_all(lib.join("torch")).unwrap();
                fs::write(
                    lib.join("torch/__init__.py"),
                    "raise RuntimeError('seen')\n",
                )
                .unwrap();
                space.set("PYTHONPATH", lib.to_str().unwrap());
                space.write(
                    ".venv/lib/python3/site-packages/torch/__init__.py",
                    "raise RuntimeError\n",
                );
                space.write(
                    ".venv/lib/other.py",
                    "from synapse_sdk.plugins import *\nclass Spy(BaseTrainAction): pass\n",
                );
            }
            if let Some(pyenv) = std::env::var_os("HOME") {
                let versions = Path::new(&pyenv).join(".pyenv");
                space.set("PYENV_ROOT", versions.to_str().unwrap());
            }
            let run = space.publish(&[]);
            if run.run.code() == 3 && run.errors().iter().any(|code| code == "python") {
                eprintln!("skipped: there is no Python {version}");
                continue;
            }
            let made = run.expect(0);
            let packed = made.unpacked("torchy")["config.yaml"].1.clone();
            assert!(config(&packed).contains("name: epochs"));
            let same = config(&packed).replace(&format!("~={version}.0"), "");
            found.push((format!("{version} {torch}"), same.into_bytes()));
        }
    }
    assert!(found.len() >= 2, "no Python at all");
    for (which, bytes) in &found {
        assert_eq!(
            config(bytes),
            config(&found[0].1),
            "{which} and {}",
            found[0].0
        );
    }
}

#[test]
fn changing_one_plugin_inspects_one() {
    let space = Space::tiny(PROGRAM, 5);
    for index in 0..5 {
        let code = format!("torchy-{index}");
        torchy(&space, &format!("plugins/t{index}/"));
        space.replace(
            &format!("plugins/t{index}/config.yaml"),
            "code: torchy ",
            &format!("code: {code} "),
        );
    }
    space.publish(&["--all"]).expect(0);
    space.append("plugins/t3/plugin/train.py", "# edited\n");
    let edited = space.publish(&["--all", "--debug"]).expect(0);
    let inspected: Vec<String> = edited
        .ran()
        .into_iter()
        .filter(|stage| stage.ends_with(" inspect"))
        .collect();
    assert_eq!(inspected, ["torchy-3 inspect"]);
    // Another file than Python's is none of inspection's business.
    space.append("plugins/t2/config.yaml", "# a comment\n");
    space.write("plugins/t1/notes.txt", "x");
    let edited = space.publish(&["--all", "--debug"]).expect(0);
    let stages = |stage: &str| {
        edited
            .ran()
            .into_iter()
            .filter(|own| own.ends_with(stage))
            .count()
    };
    assert_eq!(
        (stages(" inspect"), stages(" sync"), stages(" archive")),
        (0, 1, 2)
    );
}

#[test]
fn a_synced_configuration_that_is_lost_is_made_again() {
    let space = Space::new(PROGRAM);
    torchy(&space, "");
    let first = space.publish(&[]).expect(0);
    // The target forgets, and so does the store: its blobs, not its records or its index.
    fs::remove_dir_all(space.home().join("data/backend")).unwrap();
    let blobs = space.home().join("cache/blobs");
    fs::remove_dir_all(&blobs).unwrap();
    fs::create_dir(&blobs).unwrap();
    let again = space.publish(&[]).expect(0);
    assert_eq!(again.total("published"), 1);
    assert_eq!(
        again.plugin("torchy")["checksum"],
        first.plugin("torchy")["checksum"]
    );
    space.publish(&[]).expect_nothing_done();
    space.expect_clean_store();
}

#[test]
fn a_custom_configuration_is_synced_as_well() {
    let space = Space::new(PROGRAM);
    torchy(&space, "");
    let other = CONFIG.replace("code: torchy ", "code: other ");
    let path = space.root().join("other.yaml");
    fs::write(&path, &other).unwrap();
    let made = space
        .publish(&["--config", path.to_str().unwrap()])
        .expect(0);
    let packed = config(&made.unpacked("other")["config.yaml"].1);
    assert!(packed.contains("train_ui_schemas"), "{packed}");
    assert_eq!(fs::read_to_string(&path).unwrap(), other);
}

#[test]
fn no_secret_reaches_the_store_by_way_of_sync() {
    let space = Space::new(PROGRAM);
    torchy(&space, "");
    let token = format!("ghp_{}", "Zx9Kq2Lm".repeat(5).split_at(36).0);
    space.append("config.yaml", &format!("env:\n  TOKEN: {token}\n"));
    let refused = space.publish(&[]).expect(1);
    assert_eq!(refused.errors(), ["credential"]);
    for (path, (_, bytes)) in snapshot(space.home()) {
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(&token), "{}", path.display());
    }
}

#[test]
fn modules_that_cannot_be_imported_leave_a_note() {
    let space = Space::new(PROGRAM);
    torchy(&space, "");
    space.replace(
        "plugin/train.py",
        "import torch\n",
        "import torch\nraise RuntimeError('no')\n",
    );
    let made = space.publish(&[]).expect(0);
    let packed = config(&made.unpacked("torchy")["config.yaml"].1);
    assert!(
        packed.contains("method: job") && !packed.contains("train_ui_schemas"),
        "{packed}"
    );
    let look = space
        .synapse(&["plugin", "update-config", "--check"])
        .expect(1);
    assert!(
        look.stderr
            .contains("note: train: hyperparameters left as it is"),
        "{}",
        look.stderr
    );
}

#[test]
fn an_entrypoint_that_sync_mends_is_not_complained_of() {
    let space = Space::new(PROGRAM);
    torchy(&space, "");
    space.replace("config.yaml", "TrainAction", "NoSuch");
    space.publish(&["--dry-run"]).expect(0);
    // Beside one that cannot be mended, whichever file is published.
    space.append(
        "config.yaml",
        "  extra:\n    entrypoint: plugin.train:Neither\n",
    );
    space.write("other.yaml", space.read("config.yaml"));
    for args in [&[][..], &["--config", "other.yaml"]] {
        let text = space.synapse(&[&["plugin", "publish", "--local"], args].concat());
        let text = text.expect(1).stderr;
        let name = args.last().unwrap_or(&"config.yaml");
        assert!(
            text.contains("`Neither`") && text.contains(&format!("{name}:13:")),
            "{text}"
        );
        assert!(!text.contains("`NoSuch`"), "{text}");
    }
}
