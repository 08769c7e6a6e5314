//! Owns the tests of wheels: their bytes, their names, and builds that fail.

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::Command,
};

use sha2::{Digest, Sha256};
use synapse_tests::{Space, pythons, wheels::usual_python};

use super::{decision, entries, space, upload};

const HATCH: &str = "\
[build-system]
requires = [\"hatchling\"]
build-backend = \"hatchling.build\"

[project]
name = \"Tiny.Plugin\"
version = \"1.2.0\"
requires-python = \">=3.10\"
scripts = {tiny = \"plugin.run:main\"}

[tool.hatch.build.targets.wheel]
packages = [\"plugin\"]
";

const SETUPTOOLS: &str = "\
[build-system]
requires = [\"setuptools>=61\"]
build-backend = \"setuptools.build_meta\"

[project]
name = \"tiny_plugin\"
version = \"1.2.0\"

[tool.setuptools]
packages = [\"plugin\"]
";

fn plugin(space: &Space, place: &str, pyproject: &str, manager: &str) {
    space.tiny_plugin(place, "tiny");
    let config = space.read(&format!("{place}/config.yaml"));
    let config = format!("{config}package_manager: {manager}\n");
    space.write(&format!("{place}/config.yaml"), config);
    space.write(&format!("{place}/pyproject.toml"), pyproject);
    space.write(&format!("{place}/plugin/data, with comma.txt"), "x\n");
}

/// The one wheel in the store of a space.
fn stored(space: &Space) -> PathBuf {
    let files = fs::read_dir(space.root().join("store")).unwrap();
    let mut wheels: Vec<PathBuf> = files
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "whl"))
        .collect();
    assert_eq!(wheels.len(), 1, "{wheels:?}");
    wheels.remove(0)
}

/// Builds the same plugin in a folder, umask and time zone of its own; the wheel's bytes.
fn built(
    pyproject: &str,
    manager: &str,
    folder: &str,
    umask: &str,
    zone: &str,
) -> (String, Vec<u8>) {
    let mut space = space();
    space.set("TZ", zone);
    space.set("LC_ALL", if zone == "UTC" { "C" } else { "C.UTF-8" });
    space.set("SOURCE_DATE_EPOCH", "1700000000");
    let place = format!("{folder}/plugin");
    plugin(&space, &place, pyproject, manager);
    let url = format!("file://{}", space.root().join("store").display());
    let args = [
        "plugin",
        "upload",
        "--yes",
        "--wheel",
        "--path",
        &place,
        "--storage",
        &url,
    ];
    let own = space.command(&args);
    let mut shell = Command::new("sh");
    shell
        .arg("-c")
        .arg(format!("umask {umask}; exec \"$0\" \"$@\""));
    shell
        .arg(own.get_program())
        .args(own.get_args())
        .env_clear();
    for (name, value) in own.get_envs() {
        shell.env(name, value.unwrap());
    }
    let done = shell.current_dir(space.cwd()).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    let wheel = stored(&space);
    let name = wheel.file_name().unwrap().to_str().unwrap().to_owned();
    (name, fs::read(wheel).unwrap())
}

#[test]
fn the_same_plugin_gives_the_same_wheel_wherever_and_however_it_is_built() {
    for (pyproject, manager) in [(HATCH, "pip"), (SETUPTOOLS, "pip"), (HATCH, "uv")] {
        let one = built(pyproject, manager, "one", "022", "UTC");
        let two = built(pyproject, manager, "another place", "077", "Asia/Seoul");
        assert_eq!(one.0, two.0, "{manager}");
        assert!(one.1 == two.1, "{} by {manager} differs", one.0);
    }
}

/// The files of a wheel, with their modes.
fn unpacked(wheel: &Path) -> BTreeMap<String, (Vec<u8>, u32)> {
    let mut zip = zip::ZipArchive::new(fs::File::open(wheel).unwrap()).unwrap();
    let mut files = BTreeMap::new();
    for at in 0..zip.len() {
        let mut entry = zip.by_index(at).unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        let mode = entry.unix_mode().unwrap() & 0o777;
        files.insert(entry.name().unwrap().to_string(), (bytes, mode));
    }
    files
}

#[test]
fn a_wheel_agrees_with_itself_and_installs() {
    let space = space();
    plugin(&space, "tiny", HATCH, "pip");
    let document = upload(&space, "tiny", &["--wheel"]).expect(0).json();
    let md5 = document["plugins"][0]["checksum"]["md5"].as_str().unwrap();
    let wheel = stored(&space);
    let name = wheel.file_name().unwrap().to_str().unwrap();
    let stem = format!("tiny_plugin-1.2.0+{md5}");
    assert_eq!(name, format!("{stem}-py3-none-any.whl"));
    assert_eq!(document["plugins"][0]["wheel"]["file"], name);
    let files = unpacked(&wheel);
    let info = format!("{stem}.dist-info");
    let text = |file: &str| String::from_utf8(files[&format!("{info}/{file}")].0.clone()).unwrap();
    assert!(text("METADATA").contains(&format!("\nVersion: 1.2.0+{md5}\n")));
    assert!(text("METADATA").contains("\nName: Tiny.Plugin\n"));
    assert!(text("WHEEL").contains("\nTag: py3-none-any\n"));
    // Every file is in RECORD with its hash and size, and nothing else is.
    let mut recorded: Vec<String> = Vec::new();
    for line in text("RECORD").lines() {
        let mut cells = line.rsplitn(3, ',');
        let (size, hash) = (cells.next().unwrap(), cells.next().unwrap());
        let path = cells.next().unwrap().trim_matches('"').to_owned();
        if path == format!("{info}/RECORD") {
            assert_eq!((size, hash), ("", ""));
        } else {
            let bytes = &files[&path].0;
            assert_eq!(size, bytes.len().to_string(), "{path}");
            let sum = data_encoding::BASE64URL_NOPAD.encode(&Sha256::digest(bytes));
            assert_eq!(hash, format!("sha256={sum}"), "{path}");
        }
        recorded.push(path);
    }
    recorded.sort();
    let own: Vec<String> = files.keys().cloned().collect();
    assert_eq!(recorded, own);
    assert!(own.contains(&"plugin/data, with comma.txt".to_owned()));
    assert!(files.values().all(|(_, mode)| *mode == 0o644));
    // Only what is archived was there to be built.
    assert!(!own.iter().any(|path| path.contains("config.yaml")));

    let folder = space.root().join("venv");
    let wheel = wheel.to_str().unwrap();
    let settings = [("PIP_NO_INDEX", "1".into())];
    let venv = pythons::environment(&usual_python(), &folder, &[wheel], &settings).unwrap();
    let script = "import importlib.metadata as m, plugin.run; \
                  print(plugin.run.main(), m.version('tiny-plugin'), len(m.files('tiny-plugin')))";
    let said = Command::new(venv.join("bin/python"))
        .args(["-c", script])
        .output()
        .unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(said.starts_with(&format!("tiny 1.2.0+{md5} ")), "{said}");
    assert!(venv.join("bin/tiny").exists());
    let check = Command::new(venv.join("bin/python"))
        .args(["-m", "pip", "check"])
        .status();
    assert!(check.unwrap().success());
}

#[test]
fn a_wheel_is_built_when_its_inputs_change_and_only_where_it_is_wanted() {
    let space = space();
    plugin(&space, "tiny", HATCH, "pip");
    let plain = upload(&space, "tiny", &[]).expect(0).json();
    assert_eq!(decision(&plain, "wheel"), None);
    assert_eq!(decision(&plain, "build-lock"), None);
    let first = upload(&space, "tiny", &["--wheel"]).expect(0).json();
    assert_eq!(decision(&first, "wheel").as_deref(), Some("run"));
    let again = upload(&space, "tiny", &["--wheel"]).expect(0).json();
    assert_eq!(again["totals"]["nodes_run"], 0, "{again:#}");
    assert_eq!(decision(&again, "wheel").as_deref(), Some("hit"));
    assert_eq!(again["plugins"][0]["wheel"], first["plugins"][0]["wheel"]);
    // Another plugin with the same build system shares the environment and its lock.
    plugin(&space, "other", HATCH, "pip");
    space.replace("other/config.yaml", "code: tiny", "code: other");
    let other = upload(&space, "other", &["--wheel"]).expect(0).json();
    assert_eq!(
        decision(&other, "build-environment").as_deref(),
        Some("hit")
    );
    space.append("tiny/plugin/run.py", "# changed\n");
    let edited = upload(&space, "tiny", &["--wheel"]).expect(0).json();
    assert_eq!(decision(&edited, "wheel").as_deref(), Some("run"));
    assert_eq!(decision(&edited, "build-lock").as_deref(), Some("hit"));
    assert_ne!(edited["plugins"][0]["wheel"], first["plugins"][0]["wheel"]);
}

#[test]
fn without_a_backend_there_is_no_wheel_and_only_verbose_says_so() {
    let space = space();
    space.tiny_plugin("tiny", "tiny");
    let url = format!("file://{}", space.root().join("store").display());
    let args = [
        "plugin",
        "upload",
        "--yes",
        "--wheel",
        "--path",
        "tiny",
        "--storage",
        &url,
    ];
    for pyproject in [None, Some("[project]\nname = \"x\"\nversion = \"1\"\n")] {
        if let Some(text) = pyproject {
            space.write("tiny/pyproject.toml", text);
        }
        let quiet = space.synapse(&args).expect(0).text();
        assert!(!quiet.contains("no wheel"), "{quiet}");
        let verbose = space
            .synapse(&[&args[..], &["-v"]].concat())
            .expect(0)
            .text();
        assert!(verbose.contains("tiny: no wheel"), "{verbose}");
        let document = upload(&space, "tiny", &["--wheel"]).expect(0).json();
        assert!(document["plugins"][0].get("wheel").is_none());
        assert_eq!(entries(&document, "objects").len(), 1);
    }
    // Ignored, it is not part of the plugin.
    space.write("tiny/pyproject.toml", HATCH);
    space.write("tiny/.synapseignore", "pyproject.toml\n");
    let document = upload(&space, "tiny", &["--wheel"]).expect(0).json();
    assert!(document["plugins"][0].get("wheel").is_none());
}

#[test]
fn a_build_that_fails_is_told_in_the_builders_words_and_without_secrets() {
    let mut space = space();
    space.set("SYNAPSE_ACCESS_TOKEN", "canary-token");
    space.set("AWS_SECRET_ACCESS_KEY", "canary-secret");
    space.set("HTTPS_PROXY", "http://me:canary-proxy@127.0.0.1:9");
    let pyproject =
        "[build-system]\nrequires = []\nbuild-backend = \"own\"\nbackend-path = [\".\"]\n";
    plugin(&space, "tiny", pyproject, "pip");
    let backend = "\
import os, sys
def build_wheel(directory, settings=None, metadata=None):
    print('environment:', sorted(name for name in os.environ if 'canary' in os.environ[name]))
    print('home is empty:', os.listdir(os.environ['HOME']))
    print('key: AKIA' + 'ABCDEFGHIJKLMNOP')
    raise SystemExit('no compiler in ' + os.getcwd())
";
    space.write("tiny/own.py", backend);
    let url = format!("file://{}", space.root().join("store").display());
    let args = [
        "plugin",
        "upload",
        "--yes",
        "--wheel",
        "--path",
        "tiny",
        "--storage",
        &url,
    ];
    let said = space.synapse(&args).expect(4).text();
    assert!(!said.contains("canary"), "{said}");
    assert!(!said.contains("AKIAABCDEFGHIJKLMNOP"), "{said}");
    let mut settings = insta::Settings::clone_current();
    let root = space.root().canonicalize().unwrap();
    settings.add_filter(&regex_of(&root), "[root]");
    settings.add_filter(r"dev-[0-9a-f]{32}", "dev-[md5]");
    settings.add_filter(r"in \d+(\.\d+)? m?s", "in [time]");
    settings.add_filter(r"[\d.]+ k?B", "[size]");
    // What the frontend adds differs between its releases.
    settings.add_filter(r"(?m)^  (TIP|\* |ERROR).*\n", "");
    settings.bind(|| insta::assert_snapshot!("build-failed", said));
    // The archive does not wait for the wheel, and the mistake is no reason to send it again.
    let document = upload(&space, "tiny", &["--wheel"]).expect(4).json();
    assert_eq!(document["errors"][0]["code"], "build-failed");
    assert_eq!(entries(&document, "objects")[0]["status"], "there");
}

fn regex_of(path: &Path) -> String {
    path.display().to_string().replace('.', "\\.")
}

#[test]
fn what_pyproject_says_wrongly_is_told_with_its_place() {
    let space = space();
    for (pyproject, place) in [
        (
            "[build-system]\nbuild-backend = \"x\"\n",
            "pyproject.toml:2:17",
        ),
        ("[build-system\n", "pyproject.toml:1:14"),
        (
            "[build-system]\nrequires = [\"-r x\"]\nbuild-backend = \"x\"\n",
            "pyproject.toml:2:14",
        ),
    ] {
        plugin(&space, "tiny", pyproject, "pip");
        let document = upload(&space, "tiny", &["--wheel"]).expect(1).json();
        let error = &document["errors"][0];
        assert!(error["where"].as_str().unwrap().ends_with(place), "{error}");
        assert!(error["hint"].is_string(), "{error}");
    }
    // A backend that is not to be had is a matter of packages.
    let absent = "[build-system]\nrequires = [\"no-such-backend\"]\nbuild-backend = \"x\"\n";
    plugin(&space, "tiny", absent, "pip");
    let document = upload(&space, "tiny", &["--wheel"]).expect(4).json();
    assert_eq!(document["errors"][0]["code"], "resolution");
}

#[test]
fn a_backend_may_ask_for_more_and_finds_it() {
    let space = space();
    let pyproject = "[build-system]\nrequires = [\"hatchling\"]\nbuild-backend = \"own\"\n\
                     backend-path = [\".\"]\n[project]\nname = \"tiny\"\nversion = \"1\"\n\
                     [tool.hatch.build.targets.wheel]\npackages = [\"plugin\"]\n";
    plugin(&space, "tiny", pyproject, "pip");
    let backend = "\
from hatchling.build import build_wheel as build

def get_requires_for_build_wheel(settings=None):
    print('noise on the output')
    return ['numpy']

def build_wheel(*args, **settings):
    import numpy
    with open('plugin/made.py', 'w') as file:
        file.write('numpy = %r\\n' % numpy.__name__)
    return build(*args, **settings)
";
    space.write("tiny/own.py", backend);
    upload(&space, "tiny", &["--wheel"]).expect(0);
    let files = unpacked(&stored(&space));
    assert_eq!(files["plugin/made.py"].0, b"numpy = 'numpy'\n");
    assert!(!space.path("tiny/plugin/made.py").exists());
}
