//! The guide from top to bottom: its printed blocks, put together and worked through in its
//! order. What is not printed comes from `fixtures/guide/supplied` and is listed in `supplied.md`.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use synapse_tests::{
    Run, Serving, Space, copy_tree, fixture,
    wheels::{self, Index},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_synapse_under_test");
/// The file that the guide's training uploads.
const BEST: &str = "/models/best.pt";

fn block(file: &str) -> String {
    fs::read_to_string(fixture("guide/blocks").join(file)).unwrap()
}

fn supplied(file: &str) -> String {
    fs::read_to_string(fixture("guide/supplied").join(file)).unwrap_or_default()
}

/// Whether the real requirements are wanted in place of the stand-ins.
fn is_real() -> bool {
    env::var_os("SYNAPSE_TEST_REAL").is_some()
}

/// The commands of a shell block: no comments, lines that go on joined.
fn commands(file: &str) -> Vec<String> {
    let text = block(file).replace("\\\n", " ");
    text.lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect()
}

/// The file that training uploads, made if need be and then removed again.
struct Best {
    made: Vec<PathBuf>,
}

impl Best {
    fn supply() -> Self {
        let best = Path::new(BEST);
        let mut made = Vec::new();
        let folder = best.parent().unwrap();
        if !folder.exists() {
            fs::create_dir(folder).unwrap_or_else(|error| {
                panic!("the guide's training uploads {BEST}, which cannot be made here ({error}); make it once as root")
            });
            made.push(folder.to_owned());
        }
        if !best.exists() {
            fs::write(best, b"sixteen weights.").unwrap();
            made.push(best.to_owned());
        }
        Self { made }
    }
}

impl Drop for Best {
    fn drop(&mut self) {
        for path in self.made.iter().rev() {
            let _ = fs::remove_file(path).or_else(|_| fs::remove_dir(path));
        }
    }
}

/// The guide's plugin in a folder of its own, and what it needs around it.
struct Guide {
    space: Space,
    environment: PathBuf,
}

impl Guide {
    /// The plugin, its data, and an environment to test it in.
    fn new() -> Self {
        let mut space = Space::new(PROGRAM);
        let folder = space.path("synapse-yolov8-plugin");
        copy_tree(&fixture("yolov8/synapse-yolov8-plugin"), &folder);
        for (path, bytes) in [
            ("images/train/a.jpg", "a"),
            ("images/train/b.jpg", "b"),
            ("images/val/c.jpg", "c"),
            ("labels/train/a.txt", "0 0.5 0.5 1 1\n"),
            ("labels/train/b.txt", "0 0.5 0.5 1 1\n"),
            ("labels/val/c.txt", "0 0.5 0.5 1 1\n"),
            (
                "dataset.yaml",
                "path: .\ntrain: images/train\nval: images/val\n",
            ),
        ] {
            space.write(&format!("coco3/{path}"), bytes);
        }
        let mut wanted = vec!["pydantic>=2.3", "urllib3>=1.26,<3", "pytest>=7.0.0"];
        wanted.extend(["pytest-cov", "pytest-mock"]);
        let environment = wheels::environment(
            &wheels::usual_python(),
            "guide",
            &wanted,
            Index::usual(),
            Path::new(PROGRAM),
        );
        if is_real() {
            for name in [
                "PIP_CERT",
                "PIP_INDEX_URL",
                "PIP_EXTRA_INDEX_URL",
                "SSL_CERT_FILE",
            ] {
                if let Ok(value) = env::var(name) {
                    space.set(name, &value);
                }
            }
        } else {
            for (name, value) in Index::usual().variables() {
                space.set(name, &value);
            }
        }
        // As after `source bin/activate`, except that the plugin's own environment is managed.
        let path = env::var("PATH").unwrap_or_default();
        let bin = environment.join("bin");
        space.set("PATH", &format!("{}:{path}", bin.display()));
        space.set_cwd(space.path("synapse-yolov8-plugin"));
        Self { space, environment }
    }

    /// Runs a line as printed.
    fn shell(&self, line: &str) -> Run {
        let mut command = Command::new("sh");
        command.args(["-euc", line]);
        self.dressed(command)
    }

    /// Runs Python of the environment on `text`, kept as the file `name`.
    fn python(&self, name: &str, text: &str, args: &[&str]) -> Run {
        self.space.write(name, text);
        let mut command = Command::new(self.environment.join("bin/python"));
        command.arg(name).args(args).env("PYTHONPATH", ".");
        let run = self.dressed(command);
        fs::remove_file(self.space.path(name)).unwrap();
        run
    }

    fn dressed(&self, mut command: Command) -> Run {
        let model = self.space.command(&[]);
        let given: Vec<_> = command
            .get_envs()
            .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
            .collect();
        command.env_clear().current_dir(self.space.cwd());
        for (name, value) in model.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        command.envs(given);
        command.output().unwrap().into()
    }

    /// Puts a pattern's module together: names before the block, a class after it.
    fn pattern(&self, number: &str, name: &str) {
        let [before, after] =
            ["before", "after"].map(|part| supplied(&format!("{number}-{name}.{part}.py")));
        let text = before + &block(&format!("{number}-{name}.py")) + &after;
        self.space.write(&format!("pattern_{name}.py"), text);
    }
}

#[track_caller]
fn expect_text(run: &Run, texts: &[&str]) {
    let all = run.text();
    for text in texts {
        assert!(all.contains(text), "{text:?} is not in\n{all}");
    }
}

#[test]
fn printed_lines_are_unchanged() {
    let index: Vec<Value> =
        serde_json::from_str(&fs::read_to_string(fixture("guide/index.json")).unwrap()).unwrap();
    let names = |of: &str| -> Vec<&str> {
        let names = index.iter().filter_map(|entry| entry.get(of));
        names.map(|name| name.as_str().unwrap()).collect()
    };
    let mut named = names("file");
    named.sort_unstable();
    let mut there: Vec<String> = fs::read_dir(fixture("guide/blocks"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    there.sort();
    assert_eq!(named, there);
    assert_eq!(named.len() + names("plugin").len(), index.len());
    // The guide lies beside the repository where it is developed, not in it.
    let guide = fixture("../../shared/seed/plugin-development.txt");
    let Ok(guide) = fs::read_to_string(guide) else {
        println!("the guide's text is not here: blocks not compared with it");
        return;
    };
    let lines = |text: &str| -> Vec<String> {
        let lines = text.lines().map(str::trim);
        lines
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let guide = lines(&guide);
    for entry in &index {
        let text = |name: &str| entry[name].as_str().unwrap();
        let from = |at: usize, line: &str| {
            let found = guide[at..].iter().position(|other| other == line);
            at + found.unwrap_or_else(|| panic!("{line:?} is not in the guide"))
        };
        let start = from(from(0, text("heading")), text("after")) + 1;
        let (name, own) = match entry.get("plugin") {
            Some(path) => (path.as_str().unwrap(), "yolov8/synapse-yolov8-plugin"),
            None => (text("file"), "guide/blocks"),
        };
        let printed = lines(&fs::read_to_string(fixture(own).join(name)).unwrap());
        let end = start + printed.len();
        assert_eq!(guide[start..end], printed, "{name}");
        let next = guide.get(end).map_or("", String::as_str);
        assert_eq!(
            next,
            text("before"),
            "{name} ends where the guide's block does"
        );
    }
}

#[test]
fn from_top_to_bottom() {
    let _best = Best::supply();
    let guide = Guide::new();
    let space = &guide.space;

    // Dataset 123 is what the guide's commands train on.
    let add = "synapse dataset add ../coco3 --name coco3 --id 123 --format yolo \
               --split train=images/train --split val=images/val";
    guide.shell(add).expect(0);

    // Local Testing: using CLI.
    for line in commands("07-run.sh") {
        let run = guide.shell(&line).expect(0);
        expect_text(&run, &["Starting training...", "/models/best.pt"]);
    }
    let models = space.synapse(&["model", "list", "--json"]).expect(0).json();
    let model = &models["models"][0];
    assert_eq!(model["name"], "yolov8-trained", "{models:#}");
    let model_id = model["id"].to_string();
    let runs = space.synapse(&["runs", "--json"]).expect(0).json();
    assert_eq!(runs["runs"][0]["status"], "SUCCEEDED", "{runs:#}");
    assert_eq!(runs["runs"][0]["action"], "train");

    // Using Python, and LocalExecutor directly.
    let run = guide
        .python("snippet.py", &block("08-run_plugin.py"), &[])
        .expect(0);
    expect_text(&run, &["Result: {", "'final_loss': 0.48", "mAP50-95"]);
    let more = "\nassert result['metrics'] == {'mAP50': 0.85, 'mAP50-95': 0.72}\n\
                assert result.final_loss == 0.48\nprint('both', result['model_path'])\n";
    let text = block("09-local_executor.py") + more;
    let run = guide.python("snippet.py", &text, &[]).expect(0);
    expect_text(&run, &["both "]);

    // Unit Testing.
    for line in commands("11-unit-tests.sh") {
        let run = guide.shell(&line).expect(0);
        expect_text(&run, &["3 passed", "plugin/train.py"]);
    }

    // Error handling and common patterns.
    for (number, name) in [
        ("15", "error_handling"),
        ("16", "checkpoint"),
        ("17", "dataset"),
        ("18", "model_saving"),
    ] {
        guide.pattern(number, name);
    }
    let run = guide.python("patterns.py", &supplied("patterns.py"), &[&model_id]);
    let run = run.expect(0);
    let last = run.stdout.lines().last().unwrap();
    let saved: Value = serde_json::from_str(last).unwrap();
    let id = saved["model_id"].to_string();
    let shown = space
        .synapse(&["model", "show", &id, "--json"])
        .expect(0)
        .json();
    let text = shown.to_string();
    for part in ["yolov8-detection", "Trained on custom dataset", "mAP50"] {
        assert!(text.contains(part), "{shown:#}");
    }
    for name in ["error_handling", "checkpoint", "dataset", "model_saving"] {
        fs::remove_file(space.path(&format!("pattern_{name}.py"))).unwrap();
    }

    // Debug Mode.
    for line in commands("19-debug.sh") {
        guide.shell(&line).expect(0);
    }

    // Check Plugin Configuration, Publishing.
    let before = space.read("config.yaml");
    for line in commands("20-check.sh") {
        guide.shell(&line).expect(0);
    }
    let synced = space.read("config.yaml");
    assert!(synced.contains("input_type: yolo_dataset"), "{synced}");
    for line in before
        .lines()
        .filter(|line| line.trim_start().starts_with('#'))
    {
        assert!(synced.contains(line), "{line} is gone from\n{synced}");
    }
    let again = guide.shell("synapse plugin update-config").expect(0);
    assert_eq!(space.read("config.yaml"), synced, "{again:?}");

    guide.shell("synapse login --local").expect(0);
    for line in commands("14-publish-example.sh") {
        guide.shell(&line).expect(0);
    }
    let status = space.synapse(&["status", "--json"]).expect(0).json();
    let released = &status["plugins"][0]["targets"][0]["releases"];
    assert_eq!(released[0]["version"], "0.1.0", "{status:#}");
    assert_eq!(released.as_array().map(Vec::len), Some(1), "{status:#}");
    for line in commands("12-publish.sh") {
        let run = guide.shell(&line).expect(0);
        expect_text(&run, &["up to date"]);
    }

    // What was published runs on the agent of a server in another process, to the same end.
    let serving = Serving::start(space);
    let line = commands("07-run.sh")[0].replace("--mode local", "--mode remote");
    let run = guide.shell(&line).expect(0);
    expect_text(
        &run,
        &[
            "Mode: remote on local",
            "Starting training...",
            "/models/best.pt",
        ],
    );
    let jobs = serving.get("/jobs/?limit=1").expect(200);
    let job = &jobs["results"][0];
    assert_eq!(
        (&job["status"], &job["mode"]),
        (&"SUCCEEDED".into(), &"remote".into()),
        "{job:#}"
    );
    assert_eq!(job["result"]["model_path"], "/models/best.pt", "{job:#}");
    assert!(
        job["metrics_record"]
            .as_object()
            .is_some_and(|all| !all.is_empty()),
        "{job:#}"
    );
    assert!(
        job["progress_record"]
            .as_object()
            .is_some_and(|all| !all.is_empty()),
        "{job:#}"
    );
    // Its client has made a model of what it trained.
    let models = space.synapse(&["model", "list", "--json"]).expect(0).json();
    assert_ne!(
        models["models"][0]["id"].to_string(),
        model_id,
        "{models:#}"
    );
}

/// The rows of the troubleshooting table that concern local work: what is said holds the
/// problem's name as the table prints it, or what the table tells to do.
#[test]
fn troubleshooting() {
    let mut guide = Guide::new();
    let train = "synapse plugin run train --mode local --params ";

    // Action not found: train.
    let run = guide
        .shell("synapse plugin run trian --mode local --params '{}'")
        .expect(1);
    expect_text(&run, &["Action not found: trian", "train"]);

    // ValidationError: invalid JSON, and params that are refused.
    let run = guide.shell(&format!("{train}'{{dataset: 123}}'")).expect(1);
    expect_text(
        &run,
        &["Invalid JSON params", "--params '{\"key\": \"value\"}'"],
    );
    let run = guide
        .shell(&format!("{train}'{{\"epochs\": 0}}'"))
        .expect(1);
    expect_text(&run, &["dataset", "epochs", "greater than or equal to 1"]);
    let events = guide
        .shell(&format!("{train}'{{\"epochs\": 0}}' --json"))
        .expect(1);
    assert!(events.stdout.contains("ValidationError"), "{events:?}");

    // ModuleNotFoundError: a dependency that requirements.txt does not name.
    guide.space.replace(
        "plugin/train.py",
        "from pydantic",
        "import imagehash\nfrom pydantic",
    );
    let run = guide
        .shell(&format!("{train}'{{\"dataset\": 123}}'"))
        .expect(1);
    expect_text(&run, &["No module named 'imagehash'", "requirements.txt"]);
    guide.space.replace(
        "plugin/train.py",
        "import imagehash\nfrom pydantic",
        "from pydantic",
    );

    // Backend client is None: in plain Python where no `synapse` is found.
    let alone = "import os, sys\n\
                 os.environ['PATH'] = ''\n\
                 sys.executable = '/nowhere/python'\n\
                 from synapse_sdk.plugins.executors.local import LocalExecutor\n\
                 from plugin.train import TrainAction\n\
                 LocalExecutor(env={}).execute(action_cls=TrainAction, params={'dataset': 123})\n";
    let run = guide.python("alone.py", alone, &[]).expect(1);
    expect_text(&run, &["Backend client is None"]);

    // Not authenticated.
    let run = guide.shell("synapse plugin publish --yes");
    assert_ne!(run.code(), 0);
    expect_text(&run, &["synapse login"]);

    // Ray connection failed: modes that come later say so.
    let run = guide.shell("synapse plugin run train --mode job --params '{\"dataset\": 123}'");
    assert_ne!(run.code(), 0);
    expect_text(&run, &["job"]);

    // Config file not found.
    guide.space.set_cwd(guide.space.root().join("user"));
    let run = guide
        .shell("synapse plugin run train --mode local")
        .expect(1);
    expect_text(&run, &["Config file not found"]);
    let elsewhere = "from synapse_sdk.plugins.discovery import PluginDiscovery\n\
                     PluginDiscovery.from_path('.')\n";
    let run = guide.python("elsewhere.py", elsewhere, &[]).expect(1);
    expect_text(&run, &["Config file not found"]);
}
