//! Owns the tests of libraries: who gets their wheels, and when they are built.

use std::fs;

use serde_json::Value;
use synapse_tests::Space;

use super::{decision, space};

fn library(space: &Space, place: &str, name: &str, needs: &[&str]) {
    let package = name.replace(['-', '.'], "_").to_lowercase();
    let pyproject = format!(
        "[build-system]\nrequires = [\"hatchling\"]\nbuild-backend = \"hatchling.build\"\n\n\
         [project]\nname = \"{name}\"\nversion = \"0.3.0\"\ndependencies = {needs:?}\n\n\
         [tool.hatch.build.targets.wheel]\npackages = [\"{package}\"]\n"
    );
    space.write(&format!("{place}/pyproject.toml"), pyproject);
    let code = format!("NAME = {name:?}\n");
    space.write(&format!("{place}/{package}/__init__.py"), code);
}

/// Three plugins: one needs `common`, which needs `deep`; one needs `deep`; one needs neither.
fn workspace() -> Space {
    let space = space();
    let text = "members: ['plugins/*']\nlibraries: ['libs/*', '!libs/old']\n";
    space.write("synapse-workspace.yaml", text);
    library(&space, "libs/common", "Common.Lib", &["deep-lib>=0.1"]);
    library(&space, "libs/deep", "deep-lib", &[]);
    space.write("libs/old/pyproject.toml", "[project\n");
    for (place, code) in [("a", "user"), ("b", "deep-user"), ("c", "alone")] {
        space.tiny_plugin(&format!("plugins/{place}"), code);
    }
    space.write("plugins/a/requirements.txt", "# ours\n-r more.txt\n");
    space.write("plugins/a/more.txt", "common_lib>=0.3 # shared\nnumpy\n");
    let project = "[project]\nname = \"b\"\nversion = \"1\"\ndependencies = [\"Deep_Lib\"]\n";
    space.write("plugins/b/pyproject.toml", project);
    space
}

fn publish(space: &Space, more: &[&str]) -> synapse_tests::Run {
    let args = ["plugin", "publish", "--all", "--local", "--json"];
    space.synapse(&[&args[..], more].concat())
}

fn plugin<'d>(document: &'d Value, code: &str) -> &'d Value {
    let mut plugins = document["plugins"].as_array().unwrap().iter();
    plugins.find(|own| own["code"] == code).unwrap()
}

fn wheels(document: &Value, code: &str) -> Vec<String> {
    let files = plugin(document, code)["archive"]["files"]
        .as_array()
        .unwrap();
    let paths = files
        .iter()
        .map(|file| file["path"].as_str().unwrap().to_owned());
    paths.filter(|path| path.starts_with("wheels/")).collect()
}

fn statuses(document: &Value) -> [&str; 3] {
    ["user", "deep-user", "alone"].map(|code| plugin(document, code)["status"].as_str().unwrap())
}

/// How often a library was built.
fn builds(document: &Value) -> usize {
    let plugins = document["plugins"].as_array().unwrap().iter();
    let stages = plugins.flat_map(|own| own["stages"].as_array().unwrap());
    let built = |own: &&Value| own["stage"] == "library" && own["decision"] == "run";
    stages.filter(built).count()
}

#[test]
fn a_library_goes_to_its_users_and_an_edit_of_it_concerns_nobody_else() {
    let space = workspace();
    let first = publish(&space, &[]).expect(0).json();
    assert_eq!(statuses(&first), ["published"; 3]);
    assert_eq!(builds(&first), 2, "each once, whoever shares it");
    let names = |code: &str| {
        let stem = |path: &String| path.split('-').next().unwrap().to_owned();
        wheels(&first, code).iter().map(stem).collect::<Vec<_>>()
    };
    assert_eq!(names("user"), ["wheels/common_lib", "wheels/deep_lib"]);
    assert_eq!(names("deep-user"), ["wheels/deep_lib"]);
    assert!(names("alone").is_empty());
    // The archive has what its listing says.
    let archive = plugin(&first, "user")["archive"]["path"].as_str().unwrap();
    let mut zip = zip::ZipArchive::new(fs::File::open(archive).unwrap()).unwrap();
    for path in wheels(&first, "user") {
        zip.by_name(&path).unwrap();
    }
    let again = publish(&space, &[]).expect(0).json();
    assert_eq!(statuses(&again), ["up_to_date"; 3]);
    assert_eq!(again["totals"]["nodes_run"], 0);
    assert_eq!(builds(&again), 0);
    assert_eq!(wheels(&again, "user"), wheels(&first, "user"));

    space.append("libs/common/common_lib/__init__.py", "# changed\n");
    let refused = publish(&space, &[]).expect(4).json();
    assert_eq!(statuses(&refused), ["refused", "up_to_date", "up_to_date"]);
    assert_eq!(refused["errors"][0]["code"], "version-exists");
    let raised = publish(&space, &["--bump", "patch"]).expect(0).json();
    assert_eq!(statuses(&raised), ["published", "up_to_date", "up_to_date"]);
    assert_eq!(plugin(&raised, "user")["version"], "0.1.1");
    space.append("libs/deep/deep_lib/__init__.py", "# changed\n");
    let both = publish(&space, &["--bump", "patch"]).expect(0).json();
    assert_eq!(statuses(&both), ["published", "published", "up_to_date"]);
    assert_eq!(builds(&both), 1);
    // What is ignored is none of it.
    space.write("libs/deep/deep_lib/__pycache__/x.pyc", "x");
    let quiet = publish(&space, &[]).expect(0).json();
    assert_eq!(statuses(&quiet), ["up_to_date"; 3]);
    // The sources are as they were, and the wheels are no part of them.
    assert!(!space.path("plugins/a/wheels").exists());
    space.expect_clean_store();
}

#[test]
fn a_library_is_built_to_the_same_bytes_elsewhere_and_after_the_store_was_lost() {
    let (one, two) = (workspace(), workspace());
    let content = |document: &Value| plugin(document, "user")["checksum"]["content"].clone();
    let first = publish(&one, &[]).expect(0).json();
    let second = publish(&two, &[]).expect(0).json();
    assert_eq!(content(&first), content(&second));
    one.synapse(&["cache", "clear"]).expect(0);
    let again = publish(&one, &[]).expect(0).json();
    assert_eq!(statuses(&again), ["up_to_date"; 3]);
    assert_eq!(builds(&again), 2);
}

#[test]
fn a_preview_lists_the_wheels_and_an_upload_has_them() {
    let space = workspace();
    let preview = publish(&space, &["--dry-run"]).expect(0).json();
    assert_eq!(wheels(&preview, "deep-user").len(), 1);
    let url = format!("file://{}", space.root().join("store").display());
    let args = [
        "plugin",
        "upload",
        "--yes",
        "--json",
        "--path",
        "plugins/a",
        "--storage",
        &url,
    ];
    let document = space.synapse(&args).expect(0).json();
    assert_eq!(wheels(&document, "user").len(), 2);
    assert_eq!(decision(&document, "store").as_deref(), Some("run"));
}

#[test]
fn mistakes_in_libraries_are_told_at_their_place() {
    let space = workspace();
    let project = "[project]\nname = \"Common.Lib\"\nversion = \"1\"\n";
    space.write("libs/common/pyproject.toml", project);
    let document = publish(&space, &[]).expect(4).json();
    let error = &document["errors"][0];
    assert_eq!(error["code"], "library");
    assert!(
        error["where"]
            .as_str()
            .unwrap()
            .ends_with("libs/common/pyproject.toml")
    );
    // Whoever needs no library is published.
    assert_eq!(plugin(&document, "alone")["status"], "published");

    let space = workspace();
    library(&space, "libs/twin", "common-lib", &[]);
    let document = publish(&space, &[]).expect(4).json();
    assert!(
        document["errors"][0]["message"]
            .as_str()
            .unwrap()
            .contains("two libraries")
    );

    let space = workspace();
    space.replace(
        "libs/deep/pyproject.toml",
        "hatchling.build",
        "hatchling.absent",
    );
    let document = publish(&space, &[]).expect(4).json();
    assert_eq!(statuses(&document), ["failed", "failed", "published"]);
    assert_eq!(document["errors"][0]["code"], "build-failed");

    let space = workspace();
    space.replace("synapse-workspace.yaml", "'libs/*'", "'shared/*'");
    let document = publish(&space, &[]).expect(1).json();
    assert_eq!(document["errors"][0]["code"], "library");
    space.replace("synapse-workspace.yaml", "'shared/*'", "'../libs'");
    let document = publish(&space, &[]).expect(1).json();
    assert_eq!(document["errors"][0]["code"], "workspace-bad-pattern");
}

#[test]
fn a_run_finds_the_libraries_too() {
    let space = workspace();
    let code = "from synapse_sdk.plugins import action\n\n\n@action()\ndef main(params, ctx):\n    \
                import common_lib, deep_lib\n\n    return [common_lib.NAME, deep_lib.NAME]\n";
    space.write("plugins/a/plugin/run.py", code);
    let run = || {
        let args = [
            "plugin",
            "run",
            "run",
            "--json",
            "--env",
            "managed",
            "--path",
            "plugins/a",
        ];
        space.synapse(&args).expect(0).json()
    };
    let expected = serde_json::json!(["Common.Lib", "deep-lib"]);
    assert_eq!(run()["result"], expected);
    // A changed library is another environment.
    space.replace("libs/deep/deep_lib/__init__.py", "deep-lib", "deeper");
    assert_eq!(run()["result"], serde_json::json!(["Common.Lib", "deeper"]));
}
