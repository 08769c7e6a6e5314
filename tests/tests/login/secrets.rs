//! Tokens are kept where they belong, shown nowhere, and sent to nobody else.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use serde_json::json;
use synapse_tests::{copy_tree, fixture, pythons};
use walkdir::WalkDir;

use crate::{canary, file, home, log_in, piped, platform, tokens};

/// The command lines of all processes, looked at until `done`. A token that was given as an
/// argument is on that one command's line, and on no other's.
fn watch_arguments(done: &AtomicBool) -> (usize, Vec<String>) {
    let (mut looks, mut found) = (0, Vec::new());
    while !done.load(Ordering::Relaxed) {
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            let typed = line.contains("--token") || line.contains("://me:");
            if line.contains("canary-sweep") && !typed {
                found.push(line);
            }
        }
        looks += 1;
        thread::sleep(std::time::Duration::from_millis(2));
    }
    (looks, found)
}

/// Files below a folder that hold a text.
fn holding(folder: &Path, text: &str) -> Vec<PathBuf> {
    let holds = |path: &Path| {
        let bytes = fs::read(path).unwrap_or_default();
        bytes
            .windows(text.len())
            .any(|window| window == text.as_bytes())
    };
    WalkDir::new(folder)
        .into_iter()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_file() && holds(entry.path()))
        .map(walkdir::DirEntry::into_path)
        .collect()
}

#[test]
fn tokens_are_kept_where_they_belong_and_shown_nowhere() {
    let names = ["file", "variable", "flag", "pipe"].map(|name| canary(&format!("sweep-{name}")));
    let [in_file, in_variable, in_flag, in_pipe] = &names;
    let (right, wrong) = (platform(in_file), platform("none of them"));
    let space = home();
    space.tiny_plugin("plugin", "tiny-0");
    let done = AtomicBool::new(false);
    let (runs, (looks, seen)) = thread::scope(|scope| {
        let watch = scope.spawn(|| watch_arguments(&done));
        let mut runs = vec![log_in(&space, &["--host", &right.url], in_file)];
        runs.push(log_in(
            &space,
            &["--profile", "other", "--host", &wrong.url, "--no-check"],
            "t-other",
        ));
        let commands: [&[&str]; 8] = [
            &["whoami"],
            &["whoami", "--json"],
            &["doctor", "--json"],
            &["agent", "list"],
            &["profile", "list"],
            &["plugin", "publish", "--yes", "--path", "plugin"],
            &["status", "--path", "plugin", "--json"],
            &[
                "plugin",
                "publish",
                "--yes",
                "--path",
                "plugin",
                "--verbose",
                "--events",
            ],
        ];
        for command in commands {
            runs.push(space.synapse(command));
            let foreign = |run: &mut Command| {
                run.env("SYNAPSE_HOST", &wrong.url)
                    .env("SYNAPSE_ACCESS_TOKEN", in_variable);
            };
            let mut own = space.command(command);
            foreign(&mut own);
            runs.push(own.output().unwrap().into());
            if command[0] == "profile" {
                continue;
            }
            let flag = ["--host", &wrong.url, "--token", in_flag];
            runs.push(space.synapse(&[command, &flag].concat()));
            let pipe = ["--host", &wrong.url, "--token", "-"];
            runs.push(piped(&space, &[command, &pipe].concat(), in_pipe));
            let mut url = wrong.url.replace("://", &format!("://me:{in_flag}@"));
            runs.push(space.synapse(&[command, &["--host", &url]].concat()));
            url = format!("{}/?token={in_pipe}", wrong.url);
            let mut own = space.command(command);
            own.env("SYNAPSE_HOST", &url);
            runs.push(own.output().unwrap().into());
        }
        runs.push(piped(&space, &["login", "--host", &wrong.url], in_pipe));
        runs.push(space.synapse(&["login", "--host", &wrong.url, "--token", in_flag]));
        runs.push(space.synapse_with("SYNAPSE_ACCESS_TOKEN", "can ary-sweep", &["whoami"]));
        runs.push(space.synapse(&["whoami", "--token", "bad canary-sweep"]));
        done.store(true, Ordering::Relaxed);
        (runs, watch.join().unwrap())
    });
    assert!(looks > 10, "the watch worked");
    assert!(seen.is_empty(), "{seen:#?}");
    for run in &runs {
        assert!(!format!("{run:?}").contains("canary-sweep"), "{run:#?}");
        assert!(!format!("{run:?}").contains("ary-sweep"), "{run:#?}");
    }
    let refused = runs
        .iter()
        .filter(|run| run.stderr.contains("[hidden]"))
        .count();
    assert!(refused > 0, "the server's echo was there, and hidden");
    assert_eq!(holding(space.home(), in_file), [file(&space)]);
    for token in [in_variable, in_flag, in_pipe] {
        assert!(holding(space.root(), token).is_empty());
        // Each of them did reach the platform that it was for.
        assert!(
            tokens(&wrong).contains(&format!("Token {token}")),
            "{token}"
        );
    }
    let to_wrong = tokens(&wrong);
    assert!(
        !to_wrong.contains(&format!("Token {in_file}")),
        "{to_wrong:?}"
    );
    assert!(
        tokens(&right)
            .iter()
            .all(|token| *token == format!("Token {in_file}"))
    );
}

#[test]
fn a_cloned_workspace_names_no_host() {
    let token = canary("clone");
    let (own, foreign) = (platform(&token), platform("none"));
    let mut space = home();
    copy_tree(&fixture("crashes"), space.cwd());
    let python = pythons::usual().unwrap();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let environment = pythons::sdk_environment(&python, folder).unwrap();
    space.set("VIRTUAL_ENV", environment.to_str().unwrap());
    log_in(&space, &["--host", &own.url], &token);
    let url = &foreign.url;
    let names = [
        "host",
        "base_url",
        "SYNAPSE_HOST",
        "profile",
        "access_token",
        "target",
    ];
    let keys = names.map(|name| format!("{name}: {url}\n")).concat();
    space.write("synapse-workspace.yaml", format!("members: ['.']\n{keys}"));
    let config = space.read("config.yaml");
    assert!(config.contains("\nenv:\n"), "{config}");
    let config = config.replace(
        "\nenv:\n",
        &format!("\nenv:\n  SYNAPSE_HOST: {url}\n  SYNAPSE_PROFILE: evil\n  HTTP_PROXY: {url}\n  http_proxy: {url}\n"),
    );
    space.write("config.yaml", format!("{config}{keys}"));
    let profile = json!({"host": url, "profile": "evil", "access_token": null,
                         "profiles": {"evil": {"host": url}}})
    .to_string();
    for path in [
        ".synapse/config.json",
        "config.json",
        "config/config.json",
        "synapse.json",
    ] {
        space.write(path, &profile);
    }
    for path in [".env", ".netrc", "synapse.toml"] {
        space.write(path, format!("SYNAPSE_HOST={url}\n"));
    }
    for args in [
        &["whoami"][..],
        &["doctor"],
        &["agent", "list"],
        &["status", "--path", "."],
        &["plan", "--path", "."],
        &["plugin", "publish"],
        &["plugin", "publish", "--all", "--dry-run"],
        &["plugin", "run", "train"],
    ] {
        let run = space.synapse(args);
        assert_ne!(run.code(), 255, "{run:?}");
    }
    assert!(own.calls().len() >= 4, "{:?}", own.calls().len());
    assert!(foreign.calls().is_empty(), "{:#?}", foreign.calls());
}
