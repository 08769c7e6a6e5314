//! What is asked for by options, and what is wrong with it.

use std::{fs, process::Command};

use serde_json::json;
use synapse_tests::wheels;

use crate::{create, names, space};

#[test]
fn the_guides_example_makes_the_guides_structure() {
    let space = space();
    let args = [
        "--name",
        "YOLOv8 Object Detection",
        "--code",
        "yolov8",
        "--category",
        "neural_net",
        "--path",
        "./plugins",
    ];
    // The guide shows it at a terminal; here nobody can be asked.
    let refused = create(&space, &args).expect(2);
    assert!(
        refused.stderr.contains("there is nobody to ask"),
        "{refused:?}"
    );
    assert!(refused.stderr.contains("hint: --yes"), "{refused:?}");
    assert!(names(space.cwd()).is_empty());

    create(&space, &[&args[..], &["--yes"]].concat()).expect(0);
    let folder = space.path("plugins/synapse-yolov8-plugin");
    for name in [
        "config.yaml",
        "requirements.txt",
        "pyproject.toml",
        "README.md",
    ] {
        assert!(folder.join(name).is_file(), "{name}");
    }
    for name in ["__init__.py", "train.py", "inference.py"] {
        assert!(folder.join("plugin").join(name).is_file(), "{name}");
    }
    let config = space.read("plugins/synapse-yolov8-plugin/config.yaml");
    for line in [
        "name: YOLOv8 Object Detection\n",
        "code: yolov8\n",
        "version: 0.1.0\n",
        "category: neural_net\n",
        "data_type: image\n",
        "tasks: [image.object_detection]\n",
        "    entrypoint: plugin.train:TrainAction\n",
    ] {
        assert!(config.contains(line), "{line}{config}");
    }
    assert_eq!(names(&space.path("plugins")), ["synapse-yolov8-plugin"]);
}

#[test]
fn defaults_are_taken_and_a_program_is_told_all() {
    let space = space();
    let made = create(&space, &["--code", "word-count", "--yes", "--json"]).expect(0);
    let document = made.json();
    assert_eq!(document["command"], "create");
    assert_eq!(document["name"], "Word Count");
    assert_eq!(document["category"], "custom");
    assert_eq!(document["data_type"], json!(null));
    assert_eq!(document["workspace"], json!(null));
    let path = space.path("synapse-word-count-plugin");
    assert_eq!(document["path"], path.to_str().unwrap());
    for file in document["files"].as_array().unwrap() {
        assert!(path.join(file.as_str().unwrap()).is_file(), "{file}");
    }
    assert_eq!(document["next"][0], "cd synapse-word-count-plugin");
    let quiet = create(&space, &["--name", "Quiet", "-y", "-q"]).expect(0);
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""));
    let text = create(
        &space,
        &[
            "--name",
            "Text",
            "-c",
            "export",
            "-y",
            "--data-type",
            "text",
        ],
    );
    assert!(
        text.expect(0)
            .stdout
            .starts_with("synapse-text-plugin/\n├── .gitignore\n")
    );
    let config = space.read("synapse-text-plugin/config.yaml");
    assert!(
        config.contains("data_type: text\n") && !config.contains("tasks"),
        "{config}"
    );
}

#[test]
fn what_is_wrong_is_told_with_what_is_right() {
    let space = space();
    for (args, what, hint) in [
        (
            &["--code", "My_Plugin"][..],
            "the code `My_Plugin`",
            "write my-plugin",
        ),
        (
            &["--code", "-"],
            "the code `-`",
            "write one such as my-plugin",
        ),
        (
            &["-c", "neuralnet"],
            "`neuralnet` is no category",
            "did you mean neural_net?",
        ),
        (
            &["-c", "zzz"],
            "`zzz` is no category",
            "data_validation, custom",
        ),
        (
            &["--data-type", "imgae"],
            "`imgae` is no data type",
            "did you mean image?",
        ),
        (
            &["--tasks", "image.zzzzzzzzzz"],
            "is no known task",
            "image.object_detection, ",
        ),
        (
            &["--tasks", "object_detecton", "--data-type", "pcd"],
            "of pcd data",
            "pcd.object_detection?",
        ),
        (&["--name", " \n"], "the name is empty", "--name"),
        (&["--yes"], "the plugin has no name", "--name"),
        (
            &["--yes", "--name", "객체 검출"],
            "no code follows",
            "--code",
        ),
    ] {
        for more in [&[][..], &["--json"]] {
            let refused = create(&space, &[args, more].concat()).expect(2);
            if more.is_empty() {
                assert!(
                    refused.stderr.contains(what),
                    "{args:?}: {}",
                    refused.stderr
                );
                let line = refused
                    .stderr
                    .lines()
                    .find(|line| line.starts_with("hint: "));
                assert!(
                    line.is_some_and(|line| line.contains(hint)),
                    "{args:?}: {}",
                    refused.stderr
                );
            } else {
                let document = refused.json();
                assert_eq!(document["command"], "create");
                assert_eq!(document["ok"], false);
            }
        }
    }
    let named = create(
        &space,
        &["--yes", "--name", "객체 검출", "--code", "detect"],
    )
    .expect(0);
    assert!(
        named.stdout.contains("created synapse-detect-plugin"),
        "{named:?}"
    );
    assert!(
        space
            .read("synapse-detect-plugin/config.yaml")
            .contains("name: 객체 검출\n")
    );
    assert_eq!(names(space.cwd()), ["synapse-detect-plugin"]);
}

#[test]
fn nasty_names_give_files_that_every_reader_takes() {
    let space = space();
    let long = "n".repeat(300);
    let nasty = [
        "it's \"quoted\": yes # no",
        "- [a, b]: {c} & *d !e |f >g %h @i `j` \\n",
        "two\nlines\tand \u{7}bell \u{2028}\u{85}",
        "yes",
        "1.0",
        "~",
        "\"\"\" ''' ${x} {{ y }} @@code@@ %s",
        "Ünïcödé 검출 \u{1F600} \u{feff}",
        &long,
    ];
    let python = wheels::usual_python();
    for (index, name) in nasty.iter().enumerate() {
        let code = format!("n{index}");
        let name_given = format!("--name={name}");
        create(&space, &["--yes", &name_given, "--code", &code]).expect(0);
        let folder = space.path(&format!("synapse-{code}-plugin"));
        let place = folder.to_str().unwrap();
        space
            .synapse(&["plugin", "update-config", "--check", "--path", place])
            .expect(0);
        let script = "import sys, pathlib, ast\ntry: import tomllib\nexcept ImportError: tomllib = None\n\
                      root = pathlib.Path(sys.argv[1])\n\
                      for path in root.rglob('*.py'): ast.parse(path.read_text('utf-8'))\n\
                      text = (root / 'pyproject.toml').read_text('utf-8')\n\
                      if tomllib: print(tomllib.loads(text)['project']['description'])";
        let mut check = Command::new(&python.executable);
        let said = check
            .args(["-c", script, place])
            .env("PYTHONIOENCODING", "utf-8")
            .output();
        let said = said.unwrap();
        assert!(said.status.success(), "{name:?}: {said:?}");
        let flat = name
            .split(|c: char| c.is_whitespace() || c.is_control())
            .filter(|word| !word.is_empty())
            .collect::<Vec<_>>()
            .join(" ");
        if python.minor > 10 {
            assert_eq!(String::from_utf8_lossy(&said.stdout).trim_end(), flat);
        }
        let config = fs::read_to_string(folder.join("config.yaml")).unwrap();
        let config: serde_yaml::Value = serde_yaml::from_str(&config).unwrap();
        assert_eq!(config["name"].as_str(), Some(flat.as_str()));
        let readme = fs::read_to_string(folder.join("README.md")).unwrap();
        assert!(
            readme.starts_with("# ") && readme.lines().nth(1) == Some(""),
            "{readme}"
        );
    }
}

#[test]
fn places_that_cannot_be_written_to_are_told() {
    let space = space();
    space.write("file", "");
    let below = create(&space, &["--name", "a", "-y", "--path", "file/x"]).expect(3);
    assert!(
        below.stderr.contains("a part of the path is a file"),
        "{below:?}"
    );
    let gone = create(&space, &["--name", "a", "-y", "--path", "/proc/nowhere"]).expect(3);
    assert!(
        gone.stderr
            .contains("hint: name a folder that you may write into"),
        "{gone:?}"
    );
    let mut space = space;
    fs::create_dir(space.path("shut")).unwrap();
    if space.become_nobody() {
        std::os::unix::fs::chown(space.path("shut"), Some(0), Some(0)).unwrap();
        space.chmod("shut", 0o755);
        let shut = create(&space, &["--name", "a", "-y", "--path", "shut"]).expect(3);
        assert!(shut.stderr.contains("Permission denied"), "{shut:?}");
        assert!(shut.stderr.contains("--path"), "{shut:?}");
    }
    assert_eq!(names(&space.path("shut")), [""; 0]);
    assert_eq!(names(space.cwd()), ["file", "shut"]);
}
