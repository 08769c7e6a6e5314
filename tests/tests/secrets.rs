//! Credentials in a plugin: the publish is refused by file and line, and nothing of the
//! credential is kept or said.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::{fs, path::Path};

use synapse_tests::{Document, Run, Space};
use walkdir::WalkDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_synapse_under_test");

/// A text that looks random and is in no file of this repository. Each call gives another.
fn noise(length: usize, seed: u64) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWXYZ234567";
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(std::process::id());
    let mut letter = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        char::from(LETTERS[(state >> 33) as usize % LETTERS.len()])
    };
    (0..length).map(|_| letter()).collect()
}

fn aws(seed: u64) -> String {
    ["AK", "IA", &noise(16, seed)].concat()
}

/// No byte of the home, nor of what was printed, is the canary's.
#[track_caller]
fn expect_unseen(space: &Space, canary: &str, runs: &[Run]) {
    for run in runs {
        assert!(
            !run.stdout.contains(canary) && !run.stderr.contains(canary),
            "{run:#?}"
        );
    }
    for entry in WalkDir::new(space.home())
        .into_iter()
        .filter_map(Result::ok)
    {
        if entry.file_type().is_file() {
            let bytes = fs::read(entry.path()).unwrap();
            let found = bytes
                .windows(canary.len())
                .any(|window| window == canary.as_bytes());
            assert!(!found, "{} holds it", entry.path().display());
        }
    }
}

/// Everything that looks at a plugin, in every form of output.
fn look_everywhere(space: &Space) -> Vec<Run> {
    let mut runs = Vec::new();
    let commands: [&[&str]; 5] = [
        &["plugin", "publish", "--all", "--local"],
        &["plugin", "publish", "--all", "--local", "--debug"],
        &["plugin", "publish", "--all", "--local", "--dry-run"],
        &["plan", "--all", "--local"],
        &["status", "--all", "--local"],
    ];
    for command in commands {
        for form in [&[][..], &["--json"], &["--events"], &["--verbose"]] {
            runs.push(space.synapse(&[command, form].concat()));
        }
    }
    runs.push(space.synapse(&["explain", "tiny-0", "--local", "--json"]));
    runs
}

/// Refused at `place`, and the canary is nowhere.
#[track_caller]
fn expect_refused(space: &Space, canary: &str, place: &str) {
    let document = space.publish(&["--all"]).expect(1);
    let error = document.error();
    assert_eq!(error["code"], "credential", "{error:#}");
    assert!(
        error["where"].as_str().unwrap().ends_with(place),
        "{place}: {error:#}"
    );
    assert!(
        error["hint"].as_str().unwrap().contains("--allow-secret"),
        "{error:#}"
    );
    assert_eq!(document.total("bytes_sent"), 0);
    let debug = space.publish(&["--all", "--debug"]).expect(1);
    assert_eq!(debug.errors(), ["credential"], "debug releases too");
    assert!(space.releases().values().all(Vec::is_empty));
    let mut runs = look_everywhere(space);
    runs.extend([document.run, debug.run]);
    expect_unseen(space, canary, &runs);
}

fn is_in(document: &Document, path: &str, canary: &str) -> bool {
    let files = document.unpacked("tiny-0");
    files[path]
        .1
        .windows(canary.len())
        .any(|window| window == canary.as_bytes())
}

#[test]
fn in_a_file() {
    let space = Space::tiny(PROGRAM, 1);
    let canary = aws(1);
    space.append(
        "plugins/p0/plugin/run.py",
        &format!("\n\nKEY = '{canary}'\n"),
    );
    expect_refused(&space, &canary, "plugin/run.py:5");
    // Allowed by what the hint says, it passes.
    let hint = space.publish(&["--all"]).error()["hint"]
        .as_str()
        .unwrap()
        .to_owned();
    let pattern = hint
        .split("--allow-secret ")
        .nth(1)
        .unwrap()
        .trim_matches('"')
        .to_owned();
    let passed = space
        .publish(&["--all", "--allow-secret", &pattern])
        .expect(0);
    assert!(is_in(&passed, "plugin/run.py", &canary));
    // One allowed file allows no other.
    let other = aws(2);
    space.write("plugins/p0/plugin/other.py", format!("KEY = '{other}'\n"));
    let refused = space
        .publish(&["--all", "--debug", "--allow-secret", &pattern])
        .expect(1);
    assert!(
        refused.error()["where"]
            .as_str()
            .unwrap()
            .ends_with("plugin/other.py:1")
    );
    expect_unseen(&space, &other, &[refused.run]);
}

#[test]
fn by_a_pattern_in_the_configuration() {
    let space = Space::tiny(PROGRAM, 1);
    let canary = aws(3);
    space.write("plugins/p0/tests_data/key.txt", format!("{canary}\n"));
    expect_refused(&space, &canary, "tests_data/key.txt:1");
    space.append(
        "plugins/p0/config.yaml",
        "allow_secrets: [tests_data/*.txt]\n",
    );
    let passed = space.publish(&["--all"]).expect(0);
    assert!(is_in(&passed, "tests_data/key.txt", &canary));
    space.publish(&["--all"]).expect_nothing_done();
}

#[test]
fn a_private_key_block() {
    let space = Space::tiny(PROGRAM, 1);
    let canary = noise(64, 4);
    let dashes = "-".repeat(5);
    let block = format!(
        "{dashes}BEGIN RSA PRIVATE KEY{dashes}\n{canary}\n{dashes}END RSA PRIVATE KEY{dashes}\n"
    );
    space.write("plugins/p0/plugin/notes.txt", format!("first\n{block}"));
    expect_refused(&space, &canary, "plugin/notes.txt:2");
}

#[test]
fn in_the_values_of_env() {
    let space = Space::tiny(PROGRAM, 1);
    let canary = aws(5);
    space.append(
        "plugins/p0/config.yaml",
        &format!("env:\n  HARMLESS: {canary}\n"),
    );
    expect_refused(&space, &canary, "config.yaml:9:3");
}

#[test]
fn in_an_env_value_on_a_line_with_a_mistake() {
    let space = Space::tiny(PROGRAM, 1);
    let canary = noise(24, 6);
    space.append(
        "plugins/p0/config.yaml",
        &format!("env: {{TOKEN: {canary}, PORT: 0777, A: [1]}}\n"),
    );
    let mut runs = look_everywhere(&space);
    let document = space.publish(&["--all"]).expect(1);
    assert!(!document.errors().is_empty());
    runs.push(document.run);
    expect_unseen(&space, &canary, &runs);
}

#[test]
fn in_an_environment_file_brought_back() {
    let space = Space::tiny(PROGRAM, 1);
    let canary = noise(24, 7);
    space.write("plugins/p0/.env", format!("DATABASE_PASSWORD={canary}\n"));
    let passed = space.publish(&["--all", "--dry-run"]).expect(0);
    assert!(
        !passed.plugin("tiny-0")["archive"]
            .to_string()
            .contains(".env")
    );
    space.write("plugins/p0/.synapseignore", "!.env\n");
    let document = space.publish(&["--all"]).expect(1);
    assert!(
        document.errors().iter().all(|code| code == "credential"),
        "{:#}",
        document.value
    );
    let place = document.value["errors"][0]["where"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(place.contains("/.env"), "{place}");
    let mut runs = look_everywhere(&space);
    runs.push(document.run);
    expect_unseen(&space, &canary, &runs);
    assert!(space.releases().values().all(Vec::is_empty));
    let passed = space
        .publish(&["--all", "--allow-secret", ".env"])
        .expect(0);
    assert!(is_in(&passed, ".env", &canary));
}

#[test]
fn in_another_configuration() {
    let space = Space::tiny(PROGRAM, 1);
    let canary = aws(8);
    let config = space.read("plugins/p0/config.yaml") + &format!("description: {canary}\n");
    space.write("other.yaml", config);
    let args = ["--path", "plugins/p0", "--config", "other.yaml"];
    let document = space.publish(&args).expect(1);
    assert_eq!(document.errors(), ["credential"]);
    expect_unseen(&space, &canary, &[document.run]);
    assert!(space.releases().values().all(Vec::is_empty));
}

#[test]
fn several_are_told_of_together() {
    let space = Space::tiny(PROGRAM, 1);
    let canaries = [aws(9), aws(10), aws(11)];
    space.write(
        "plugins/p0/a.txt",
        format!("{}\n\n{}\n", canaries[0], canaries[1]),
    );
    space.write("plugins/p0/b.txt", &canaries[2]);
    let document = space.publish(&["--all"]).expect(1);
    let places: Vec<&str> = document.value["errors"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|error| error["where"].as_str())
        .map(|place| Path::new(place).file_name().unwrap().to_str().unwrap())
        .collect();
    assert_eq!(places, ["a.txt:1", "a.txt:3", "b.txt:1"]);
    for canary in &canaries {
        expect_unseen(&space, canary, std::slice::from_ref(&document.run));
    }
}

#[test]
fn in_a_large_file_and_in_a_known_one() {
    let space = Space::tiny(PROGRAM, 1);
    let canary = aws(12);
    // Across the pieces in which a large file is read.
    for before in [(1 << 20) - 10, (4 << 20) - 7, (8 << 20) - 1] {
        let text = "x".repeat(80) + "\n";
        let mut bytes = text.repeat(before / 81 + 1);
        bytes.truncate(before - 1);
        bytes.push('\n');
        bytes.push_str(&canary);
        bytes.push('\n');
        bytes.push_str(&text.repeat(30_000));
        space.write("plugins/p0/large.txt", bytes);
        let document = space.publish(&["--all"]).expect(1);
        assert_eq!(document.errors(), ["credential"], "{before}");
        expect_unseen(&space, &canary, &[document.run]);
    }
    fs::remove_file(space.path("plugins/p0/large.txt")).unwrap();
    // Bytes deflated once with leave are scanned again without.
    space.write("plugins/p0/key.txt", &canary);
    space
        .publish(&["--all", "--debug", "--allow-secret", "key.txt"])
        .expect(0);
    fs::rename(
        space.path("plugins/p0/key.txt"),
        space.path("plugins/p0/other.txt"),
    )
    .unwrap();
    let document = space
        .publish(&["--all", "--debug", "--allow-secret", "key.txt"])
        .expect(1);
    assert!(
        document.error()["where"]
            .as_str()
            .unwrap()
            .ends_with("other.txt:1")
    );
    let document = space.publish(&["--all"]).expect(1);
    assert_eq!(document.errors(), ["credential"]);
}

#[test]
fn a_token_in_the_users_configuration_is_never_shown() {
    let space = Space::tiny(PROGRAM, 1);
    let canary = noise(40, 13);
    fs::create_dir_all(space.home().join("config")).unwrap();
    let config = space.home().join("config/config.json");
    for text in [
        format!("{{\"host\": \"https://example.org\", \"access_token\": \"{canary}\"}}"),
        format!("{{\"access_token\": \"{canary}"),
        format!("[\"{canary}\"]"),
    ] {
        fs::write(&config, &text).unwrap();
        let mut runs = vec![
            space.synapse(&["plugin", "publish", "--all"]),
            space.synapse(&["plugin", "publish", "--all", "--json"]),
            space.synapse(&["login", "--local"]),
            space.synapse(&["status", "--all"]),
        ];
        runs.push(space.synapse_with(
            "SYNAPSE_ACCESS_TOKEN",
            &canary,
            &["plugin", "publish", "--all"],
        ));
        fs::remove_file(&config).unwrap();
        expect_unseen(&space, &canary, &runs);
    }
}
