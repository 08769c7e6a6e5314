//! What a shell is told: by the engine for every shell, and by a real bash.

use std::{
    ffi::OsString,
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Stdio},
};

use synapse_tests::{Space, snapshot, space};

const PROGRAM: &str = env!("CARGO_BIN_EXE_synapse_under_test");
const SHELLS: [&str; 4] = ["bash", "zsh", "fish", "powershell"];

/// What could come next in `words`, whose last one is being typed, for a shell.
fn next_in(space: &Space, shell: &str, words: &[&str]) -> Vec<String> {
    let all = [&["--", "synapse"], words].concat();
    let mut command = space.command(&all);
    command.env("SYNAPSE_COMPLETE", shell);
    command.env("_CLAP_COMPLETE_INDEX", words.len().to_string());
    command
        .env("_CLAP_COMPLETE_COMP_TYPE", "9")
        .env("_CLAP_COMPLETE_SPACE", "true");
    command.env("_CLAP_IFS", "\n");
    let output = command.output().unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{shell} {words:?}: {output:?}"
    );
    let text = String::from_utf8(output.stdout).unwrap();
    // zsh, fish and PowerShell are given the meaning of each as well.
    let word = |line: &str| match shell {
        "zsh" => line.split(':').next().unwrap_or_default().to_owned(),
        _ => line.split('\t').next().unwrap_or_default().to_owned(),
    };
    text.lines()
        .map(word)
        .map(|word| word.trim().to_owned())
        .collect()
}

fn next(space: &Space, words: &[&str]) -> Vec<String> {
    next_in(space, "bash", words)
}

fn with_actions(count: usize) -> Space {
    let space = Space::tiny(PROGRAM, count);
    space.write(
        "plugins/p1/config.yaml",
        "name: A\ncode: tiny-1\nversion: 0.1.0\ncategory: custom\nactions:\n  train:\n    \
         entrypoint: plugin.run:main\n    description: Train on a dataset\n  infer: plugin.run:main\n",
    );
    space
}

#[test]
fn commands_options_and_words_of_closed_sets() {
    let space = space!();
    for shell in SHELLS {
        assert_eq!(
            next_in(&space, shell, &["plugin", "publ"]),
            ["publish"],
            "{shell}"
        );
        assert_eq!(
            next_in(&space, shell, &["plugin", "publish", "--dry"]),
            ["--dry-run"],
            "{shell}"
        );
        let modes = next_in(&space, shell, &["plugin", "run", "train", "--mode", ""]);
        assert_eq!(modes, ["local", "task", "job", "remote"], "{shell}");
    }
    let commands = next(&space, &[""]);
    assert!(commands.iter().any(|own| own == "plugin"), "{commands:?}");
    assert!(
        commands.iter().all(|own| !own.starts_with("__")),
        "{commands:?}"
    );
    assert_eq!(next(&space, &["explain", "x", "ch"]), ["checksum"]);
    assert_eq!(next(&space, &["completions", "z"]), ["zsh"]);
}

#[test]
fn plugins_and_actions_wherever_the_line_says() {
    let mut space = with_actions(3);
    for shell in SHELLS {
        let codes = next_in(&space, shell, &["plugin", "publish", "--plugin", ""]);
        assert_eq!(codes, ["tiny-0", "tiny-1", "tiny-2"], "{shell}");
        let actions = next_in(&space, shell, &["plugin", "run", "--plugin", "tiny-1", ""]);
        assert!(
            actions.starts_with(&["train".to_owned(), "infer".to_owned()]),
            "{shell}: {actions:?}"
        );
    }
    assert_eq!(next(&space, &["explain", "tiny-2"]), ["tiny-2"]);
    assert_eq!(
        next(&space, &["plugin", "run", "--path", "plugins/p1", "t"]),
        ["train"]
    );
    assert_eq!(
        next(&space, &["plugin", "run", "-p", "tiny-1", "i"]),
        ["infer"]
    );
    assert_eq!(
        next(&space, &["plugin", "run", "--path=plugins/p0", "r"]),
        ["run"]
    );
    assert!(next(&space, &["plugin", "run", "-p", "nobody", "t"]).is_empty());
    space.set_cwd(space.path("plugins/p1"));
    assert_eq!(next(&space, &["plugin", "run", "t"]), ["train"]);
    assert_eq!(
        next(&space, &["plugin", "publish", "-p", "plu"]),
        ["plugin/"]
    );
}

#[test]
fn logins_runs_and_files() {
    let space = with_actions(1);
    space.write("params.json", "{}");
    assert_eq!(
        next(&space, &["plugin", "run", "run", "--params", "@par"]),
        ["@params.json"]
    );
    assert_eq!(next(&space, &["login", "--profile", ""]), ["local"]);
    assert!(
        next(&space, &["runs", "show", ""])
            .iter()
            .all(|own| own.starts_with('-'))
    );
    let login = [
        "login",
        "--host",
        "http://127.0.0.1:9",
        "--profile",
        "staging",
        "--token",
        "-",
        "--no-check",
    ];
    let mut command = space.command(&login);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(child.stdin.as_mut().unwrap(), b"a-token-of-some-length\n").unwrap();
    assert!(child.wait_with_output().unwrap().status.success());
    assert_eq!(
        next(&space, &["plugin", "publish", "--target", "st"]),
        ["staging"]
    );
    // A run needs no Python to be there, only a record of it.
    space.synapse(&["runs", "--json"]).expect(0);
    synapse_backend::Embedded::open(
        &space.home().join("data/backend"),
        synapse_backend::Options::default(),
    )
    .unwrap();
    assert!(
        synapse_backend::newest_runs(&space.home().join("data/backend"), 5)
            .unwrap()
            .is_empty()
    );
}

#[test]
fn asking_writes_nothing_and_mistakes_are_silent() {
    let space = with_actions(2);
    space.write("plugins/p0/config.yaml", "code: [broken\n");
    // What the harness itself makes is there from the first time on.
    next(&space, &["p"]);
    let before = snapshot(space.root());
    for words in [
        &["plugin", "run", ""][..],
        &["plugin", "run", "--path", "plugins/p0", ""],
        &["plugin", "run", "--path", "absent", ""],
        &["plugin", "publish", "--plugin", ""],
        &["runs", "show", ""],
        &["login", "--profile", ""],
        &["bogus", "more", ""],
        &["--bogus", ""],
    ] {
        next(&space, words);
    }
    let run = space
        .synapse_with("SYNAPSE_COMPLETE", "tcsh", &["--", "synapse", ""])
        .expect(0);
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("", ""));
    // Nothing after the shell's own words.
    space
        .synapse_with("SYNAPSE_COMPLETE", "bash", &["--"])
        .expect(0);
    let after = snapshot(space.root());
    assert_eq!(before, after);
    // A home that is a file, or none at all.
    let mut command = space.command(&["--", "synapse", "plugin", "publish", "--plugin", ""]);
    command
        .env("SYNAPSE_COMPLETE", "bash")
        .env("_CLAP_COMPLETE_INDEX", "4");
    command.env_remove("HOME").env_remove("SYNAPSE_HOME");
    let output = command.output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty());
}

#[test]
fn a_configuration_that_is_being_written_still_has_its_code() {
    let space = with_actions(2);
    space.write(
        "plugins/p0/config.yaml",
        "code: 'half-done' # for now\nvariant: acme\nactions: [\n",
    );
    let found = next(&space, &["plugin", "publish", "--plugin", ""]);
    assert_eq!(found, ["half-done@acme", "tiny-1"]);
    let actions = next(&space, &["plugin", "run", "-p", "half-done", ""]);
    assert!(
        actions.iter().all(|own| own.starts_with('-')),
        "{actions:?}"
    );
}

/// Lets a real bash complete a line, whose last word is being typed.
fn in_bash(space: &Space, bin: &Path, line: &[&str]) -> Vec<String> {
    let words: Vec<String> = line.iter().map(|word| format!("'{word}'")).collect();
    let (last, before) = (line[line.len() - 1], line[line.len() - 2]);
    let script = format!(
        "set -u\nsource <(synapse completions bash)\nspec=$(complete -p synapse)\n\
         spec=${{spec##*-F }}\nCOMP_WORDS=({})\nCOMP_CWORD={}\nCOMP_TYPE=9\nCOMP_KEY=9\n\
         ${{spec%% *}} synapse '{last}' '{before}'\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"\n",
        words.join(" "),
        line.len() - 1,
    );
    let mut path = OsString::from(bin);
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap());
    let output = Command::new("bash")
        .args(["--norc", "--noprofile", "-c", &script])
        .current_dir(space.cwd())
        .env("PATH", path)
        .env("SYNAPSE_HOME", space.home())
        .output()
        .unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{line:?}: {output:?}"
    );
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|line| line.trim_end().to_owned())
        .filter(|line| !line.is_empty())
        .collect()
}

#[test]
fn a_real_bash_completes() {
    let space = with_actions(2);
    let bin = space.root().join("bin");
    fs::create_dir(&bin).unwrap();
    symlink(PROGRAM, bin.join("synapse")).unwrap();
    for (line, found) in [
        (&["synapse", "plugin", "pub"][..], &["publish"][..]),
        (
            &["synapse", "plugin", "run", "--plugin", "tiny"],
            &["tiny-0", "tiny-1"],
        ),
        (
            &["synapse", "plugin", "run", "--path", "plugins/p1", "tr"],
            &["train"],
        ),
        (
            &["synapse", "plugin", "publish", "--bump", "m"],
            &["minor", "major"],
        ),
    ] {
        assert_eq!(in_bash(&space, &bin, line), found, "{line:?}");
    }
}

#[test]
fn every_shell_has_a_script_and_those_that_are_here_can_read_it() {
    let space = space!();
    for shell in SHELLS {
        let script = space.synapse(&["completions", shell]).expect(0).stdout;
        let asks = [
            format!("SYNAPSE_COMPLETE={shell}"),
            format!("SYNAPSE_COMPLETE=\"{shell}\""),
            format!("SYNAPSE_COMPLETE = \"{shell}\""),
        ];
        let asks = asks.iter().any(|own| script.contains(own.as_str()));
        assert!(asks, "{shell}: {script}");
        assert!(
            !script.contains("synapse_under_test") && !script.contains("/target/"),
            "{script}"
        );
        let balance =
            |open: char, close: char| script.matches(open).count() == script.matches(close).count();
        assert!(balance('{', '}') && balance('[', ']'), "{shell}: {script}");
        let document = space
            .synapse(&["completions", shell, "--json"])
            .expect(0)
            .json();
        assert_eq!(document["script"].as_str().unwrap().trim(), script.trim());
        let program = if shell == "powershell" { "pwsh" } else { shell };
        let file = space.path("script");
        fs::write(&file, &script).unwrap();
        match Command::new(program).arg("-n").arg(&file).output() {
            Ok(read) if program != "pwsh" => assert!(read.status.success(), "{shell}: {read:?}"),
            Ok(_) => {}
            Err(_) => println!("{program} is not on this machine: its script was looked at only"),
        }
    }
    space.synapse(&["completions", "tcsh"]).expect(2);
}
