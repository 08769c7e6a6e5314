//! Logins: which platform gets which token, what is saved and shown, and what the doctor says.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod doctor;
mod secrets;
mod server;
mod terminal;

use std::{
    fs, io::Write, net::TcpListener, os::unix::fs::PermissionsExt, path::PathBuf, process::Stdio,
    thread,
};

use serde_json::{Value, json};
use synapse_tests::{
    Run, Space,
    proxy::{Call, Fault, Proxy},
    space,
};

const AGENTS: &str = r#"{"count": 2, "next": null, "previous": null, "results": [
    {"id": 7, "name": "gpu-1", "url": "", "status": "connected"},
    {"id": 8, "name": "cpu-1", "url": "", "status": "disconnected"}]}"#;

/// A token of its own for each use, made in pieces so that this file holds none.
fn canary(of: &str) -> String {
    let process = std::process::id();
    ["can", "ary-", of, &format!("-{process:x}"), "-41d7c90b"].concat()
}

/// A platform that takes one token and tells callers theirs when it refuses them.
fn platform(token: &str) -> Proxy {
    let token = token.to_owned();
    Proxy::start("127.0.0.1:9", move |call: &Call| {
        let json = "Content-Type: application/json\r\n".to_owned();
        let given = call
            .header("synapse-access-token")
            .or(call.header("authorization"))
            .unwrap_or_default();
        if given != format!("Token {token}") {
            let text = format!("Invalid token: {given}, or none. You sent {given}");
            return Fault::Answer(401, json, json!({"detail": text}).to_string());
        }
        if call.path.starts_with("/agents/") {
            return Fault::Answer(200, json, AGENTS.to_owned());
        }
        if call.path.starts_with("/plugin_releases/?") {
            let none = json!({"count": 0, "next": null, "previous": null, "results": []});
            return Fault::Answer(200, json, none.to_string());
        }
        let text = json!({"detail": format!("there is nothing for {given}")});
        Fault::Answer(404, json, text.to_string())
    })
}

/// An address at which nobody listens.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// A home whose calls are not repeated, so that tests are quick.
fn home() -> Space {
    let mut space = space!();
    space.set("SYNAPSE_HTTP_RETRIES", "0");
    space
}

/// Runs a command with something piped into it.
fn piped(space: &Space, args: &[&str], input: &str) -> Run {
    let mut child = space.command(args).stdin(Stdio::piped()).spawn().unwrap();
    // Whoever reads nothing closes the pipe.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap().into()
}

#[track_caller]
fn log_in(space: &Space, args: &[&str], token: &str) -> Run {
    piped(space, &[&["login"], args].concat(), &format!("{token}\n")).expect(0)
}

fn file(space: &Space) -> PathBuf {
    space.home().join("config/config.json")
}

fn saved(space: &Space) -> Value {
    serde_json::from_slice(&fs::read(file(space)).unwrap()).unwrap()
}

fn write_file(space: &Space, text: &str) {
    fs::create_dir_all(space.home().join("config")).unwrap();
    fs::write(file(space), text).unwrap();
    fs::set_permissions(file(space), fs::Permissions::from_mode(0o600)).unwrap();
}

#[track_caller]
fn expect_error(run: &Run, exit: i32, parts: &[&str]) {
    assert_eq!(run.code(), exit, "{run:#?}");
    for part in parts.iter().chain(&["error: ", "hint: "]) {
        assert!(run.stderr.contains(part), "no {part:?} in {run:#?}");
    }
}

/// The tokens that came with calls.
fn tokens(proxy: &Proxy) -> Vec<String> {
    let names = ["synapse-access-token", "authorization"];
    let calls = proxy.calls();
    let given = calls
        .iter()
        .flat_map(|call| names.map(|name| call.header(name)));
    given.flatten().map(str::to_owned).collect()
}

#[test]
fn a_checked_token_is_saved_for_its_own_host_alone() {
    let token = canary("own");
    let (own, foreign) = (platform(&token), platform("another"));
    let mut space = home();
    let run = piped(
        &space,
        &["login", "--host", &own.url],
        &format!(" \t{token}\r\n\n"),
    );
    let run = run.expect(0);
    assert!(
        run.stdout.contains(&format!("logged in to {}", own.url)),
        "{run:?}"
    );
    assert_eq!(own.count("GET", "/agents/"), 1, "it was checked");
    assert_eq!(
        saved(&space),
        json!({"host": own.url, "access_token": token})
    );
    let mode = fs::metadata(file(&space)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let whoami = space.synapse(&["whoami", "--json"]).expect(0).json();
    assert_eq!(whoami["accepted"], true, "{whoami:#}");
    assert_eq!(whoami["token_from"], "file");
    // By flag, then by variable: nothing goes there.
    let asked = ["whoami", "--json", "--host", &foreign.url];
    let whoami = space.synapse(&asked).expect(3).json();
    assert_eq!(
        whoami["errors"][0]["code"], "not-authenticated",
        "{whoami:#}"
    );
    space.set("SYNAPSE_HOST", &foreign.url);
    for args in [
        &["whoami"][..],
        &["agent", "list"],
        &["doctor"],
        &["plugin", "publish"],
    ] {
        space.synapse(args);
    }
    assert_eq!(foreign.calls().len(), 0, "nobody is logged in there");
    // A token for it does go there.
    let whoami = space.synapse_with("SYNAPSE_ACCESS_TOKEN", "another", &["whoami", "--json"]);
    let whoami = whoami.expect(0).json();
    assert_eq!(whoami["token_from"], "environment", "{whoami:#}");
    assert!(
        tokens(&foreign)
            .iter()
            .all(|given| given == "Token another")
    );
    // An explicit profile is meant as a whole.
    space.synapse(&["whoami", "--profile", "default"]).expect(0);
}

#[test]
fn what_the_platform_refuses_is_not_saved() {
    let own = platform(&canary("right"));
    let space = home();
    let wrong = canary("wrong");
    for args in [
        &["login", "--host", &own.url][..],
        &["login", "--host", &own.url, "--json"],
    ] {
        let run = piped(&space, args, &wrong);
        assert_eq!(run.code(), 3, "{run:?}");
        assert!(!format!("{run:?}").contains(&wrong), "{run:?}");
        assert!(
            format!("{run:?}").contains("does not accept the token"),
            "{run:?}"
        );
        assert!(format!("{run:?}").contains("nothing was saved"), "{run:?}");
    }
    assert!(!file(&space).exists());
    // Nobody there: exit code 3, nothing saved; unless it is wanted.
    let down = nobody();
    let run = piped(&space, &["login", "--host", &down], "t");
    expect_error(&run, 3, &["cannot reach", "--no-check"]);
    assert!(!file(&space).exists());
    let run = piped(&space, &["login", "--host", &down, "--no-check"], "t").expect(0);
    assert!(run.stdout.contains("not checked"), "{run:?}");
    assert_eq!(saved(&space)["access_token"], "t");
    expect_error(&space.synapse(&["whoami"]), 3, &["cannot reach"]);
    // What is there answers something else.
    let html = |call: &Call| {
        let status = if call.path.starts_with("/moved") {
            302
        } else {
            200
        };
        let headers = "Location: http://127.0.0.1:9/elsewhere\r\nContent-Type: text/html\r\n";
        Fault::Answer(status, headers.to_owned(), "<html>".to_owned())
    };
    let page = Proxy::start("127.0.0.1:9", html);
    let run = piped(&space, &["login", "--host", &page.url], "t");
    expect_error(&run, 3, &["does not answer like a Synapse platform"]);
    let run = piped(
        &space,
        &["login", "--host", &format!("{}/moved", page.url)],
        "t",
    );
    expect_error(&run, 3, &["sends callers to", "nothing was saved"]);
    assert_eq!(saved(&space)["host"], down, "the old login is as it was");
}

#[test]
fn several_profiles_live_side_by_side() {
    let (first, second) = (platform("t-1"), platform("t-2"));
    let space = home();
    write_file(
        &space,
        "{\"github\": {\"org\": \"o\"}, \"default_mode\": \"local\"}",
    );
    log_in(
        &space,
        &["--profile", "staging", "--host", &first.url],
        "t-1",
    );
    assert_eq!(
        saved(&space)["profile"],
        "staging",
        "the first is the default"
    );
    let run = log_in(&space, &["--profile", "prod", "--host", &second.url], "t-2");
    assert!(run.stdout.contains("synapse profile use prod"), "{run:?}");
    assert_eq!(saved(&space)["profile"], "staging");
    assert_eq!(saved(&space)["github"]["org"], "o");
    let name = |args: &[&str]| {
        let all = [args, &["--json"]].concat();
        let whoami = space.synapse(&all).expect(0).json();
        whoami["profile"].as_str().unwrap().to_owned()
    };
    assert_eq!(name(&["whoami"]), "staging");
    assert_eq!(name(&["whoami", "--profile", "prod"]), "prod");
    assert_eq!(
        name(&["whoami", "--host", &second.url]),
        "prod",
        "the one login for it"
    );
    let whoami = space.synapse_with("SYNAPSE_PROFILE", "prod", &["whoami", "--json"]);
    assert_eq!(whoami.expect(0).json()["host"], second.url);
    assert!(tokens(&first).iter().all(|token| token == "Token t-1"));
    assert!(tokens(&second).iter().all(|token| token == "Token t-2"));

    space.synapse(&["profile", "use", "prod"]).expect(0);
    assert_eq!(name(&["whoami"]), "prod");
    space.synapse(&["login", "--local"]).expect(0);
    assert_eq!(name(&["whoami"]), "local");
    log_in(&space, &["--profile", "staging"], "t-1");
    assert_eq!(name(&["whoami"]), "local", "another profile is no default");
    log_in(&space, &["--profile", "staging", "--default"], "t-1");
    assert_eq!(name(&["whoami"]), "staging");
    // Without a name: the profile in use, anew.
    log_in(&space, &[], "t-1");
    assert_eq!(saved(&space)["profile"], "staging");
    assert!(saved(&space).get("host").is_none());
    // Without a name but for another host: the profile at the top, from now on.
    log_in(&space, &["--host", &second.url], "t-2");
    assert_eq!(name(&["whoami"]), "default");
    assert_eq!(saved(&space)["profiles"]["staging"]["host"], first.url);
    let list = space
        .synapse(&["profile", "list", "--json"])
        .expect(0)
        .json();
    let names: Vec<&str> = list["profiles"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|profile| profile["name"].as_str())
        .collect();
    assert_eq!(names, ["default", "staging", "prod", "local"]);

    space.synapse(&["logout", "--profile", "prod"]).expect(0);
    space.synapse(&["logout"]).expect(0);
    assert!(saved(&space).get("access_token").is_none());
    assert!(saved(&space)["profiles"].get("prod").is_none());
    assert_eq!(saved(&space)["default_mode"], "local");
    space.synapse(&["logout", "--all"]).expect(0);
    let nothing = json!({"github": {"org": "o"}, "default_mode": "local"});
    assert_eq!(saved(&space), nothing);
    let run = space.synapse(&["logout"]).expect(0);
    assert!(run.stdout.contains("nobody was logged in"));
}

#[test]
fn a_users_token_acts_for_a_tenant() {
    let own = platform("t-user");
    let space = home();
    log_in(&space, &["--host", &own.url, "--tenant", "acme"], "t-user");
    let whoami = space.synapse(&["whoami", "--json"]).expect(0).json();
    assert_eq!(whoami["tenant"], "acme");
    assert_eq!(whoami["token"], "user");
    let calls = own.calls();
    for call in &calls {
        assert_eq!(call.header("authorization"), Some("Token t-user"));
        assert_eq!(call.header("synapse-tenant"), Some("Token acme"));
        assert_eq!(call.header("synapse-access-token"), None);
    }
    assert_eq!(calls.len(), 2);
}

#[test]
fn logins_at_once_lose_nothing() {
    let own = platform("t");
    let space = home();
    thread::scope(|scope| {
        for index in 0..6 {
            let (space, own) = (&space, &own);
            scope.spawn(move || {
                log_in(
                    space,
                    &["--profile", &format!("p{index}"), "--host", &own.url],
                    "t",
                );
            });
        }
    });
    assert_eq!(saved(&space)["profiles"].as_object().unwrap().len(), 6);
}

#[test]
fn an_agent_is_chosen_by_id_or_name() {
    let own = platform("t");
    let space = home();
    log_in(&space, &["--host", &own.url], "t");
    let run = space.synapse(&["agent", "show"]).expect(0);
    assert!(run.stdout.contains("no agent is chosen"), "{run:?}");
    space.synapse(&["agent", "select", "cpu-1"]).expect(0);
    assert_eq!(saved(&space)["agent"], json!({"id": 8, "name": "cpu-1"}));
    space.synapse(&["agent", "select", "7"]).expect(0);
    let shown = space.synapse(&["agent", "show", "--json"]).expect(0).json();
    assert_eq!(shown["agent"], json!({"id": "7", "name": "gpu-1"}));
    let list = space.synapse(&["agent", "list"]).expect(0).stdout;
    assert!(list.contains("* 7  gpu-1  connected"), "{list}");
    let whoami = space.synapse(&["whoami"]).expect(0).stdout;
    assert!(whoami.contains("agent    7 (gpu-1)"), "{whoami}");
    // Logging in anew to the same server keeps it.
    log_in(&space, &[], "t");
    assert_eq!(saved(&space)["agent"]["id"], 7);
    let run = space.synapse(&["agent", "select", "gpu-2"]);
    expect_error(&run, 1, &["no agent gpu-2", "did you mean gpu-1?"]);
    expect_error(&space.synapse(&["agent", "select"]), 2, &["which agent?"]);
    space.synapse(&["agent", "clear"]).expect(0);
    assert_eq!(saved(&space).get("agent"), None);
    let local = ["agent", "select", "7", "--profile", "local"];
    expect_error(&space.synapse(&local), 2, &["on this machine"]);
    // There is no login to keep it with.
    let other = home();
    let asked = ["agent", "select", "7", "--host", &own.url, "--token", "t"];
    expect_error(&other.synapse(&asked), 1, &["no saved login"]);
}

#[test]
fn bad_input_is_told_with_what_to_do() {
    let space = home();
    for (host, part) in [
        ("nonsense", "nonsense is not a URL"),
        ("localhost:1", "such as http://localhost:1"),
        ("ftp://x.test", "neither https nor http"),
        ("https://me:secret-part@x.test", "a user name or a password"),
        ("https://x.test?token=secret-part", "a query"),
        ("https://x .test", "whitespace"),
        ("", "empty"),
    ] {
        for args in [&["login"][..], &["whoami"], &["agent", "list"]] {
            let run = piped(&space, &[args, &["--host", host]].concat(), "t");
            expect_error(&run, 1, &[part, "--host"]);
            assert!(!run.stderr.contains("secret-part"), "{run:?}");
        }
    }
    for args in [&["login"][..], &["whoami", "--token", "t"]] {
        let run = piped(&space, &[args, &["--host", "http://x.test"]].concat(), "t");
        expect_error(&run, 3, &["plain http", "--allow-http"]);
    }
    for (input, part) in [
        ("", "no token came"),
        (" \n\t", "no token came"),
        ("two words", "whitespace"),
        ("t\u{f6}ken", "not ASCII"),
        ("a\0b", "control characters"),
    ] {
        let run = piped(&space, &["login", "--host", &nobody()], input);
        expect_error(&run, 2, &[part]);
    }
    assert!(!file(&space).exists());

    let text = "{\"profiles\": {\"staging\": {\"host\": \"https://s.test\"}}}";
    write_file(&space, text);
    for args in [
        &["whoami", "--profile", "stagign"][..],
        &["logout", "--profile", "stagign"],
        &["profile", "use", "stagign"],
        &["agent", "show", "--profile", "stagign"],
    ] {
        let run = space.synapse(args);
        expect_error(&run, 1, &["no profile stagign", "did you mean staging?"]);
    }
    let run = space.synapse_with("SYNAPSE_PROFILE", "prod", &["whoami"]);
    expect_error(
        &run,
        1,
        &["no profile prod", "SYNAPSE_PROFILE", "staging, local"],
    );
    let run = piped(&space, &["login", "--profile", "a b"], "t");
    expect_error(&run, 2, &["no name of a profile"]);
    let run = space.synapse(&["whoami", "--profile", "local", "--host", "https://x.test"]);
    expect_error(&run, 2, &["no host"]);
    assert_eq!(fs::read_to_string(file(&space)).unwrap(), text);
}

#[test]
fn a_file_that_cannot_be_used_is_told() {
    let mut space = home();
    write_file(&space, "{\"access_token\": \"secret-part");
    for args in [
        &["whoami"][..],
        &["login"],
        &["logout"],
        &["profile", "list"],
        &["doctor"],
    ] {
        let run = piped(&space, args, "t");
        let text = format!("{}{}", run.stdout, run.stderr);
        assert!(text.contains("is not a JSON object"), "{args:?} {run:#?}");
        assert!(text.contains("hint: mend it"), "{args:?} {run:#?}");
        assert!(!text.contains("secret-part"), "{args:?} {run:#?}");
        assert_ne!(run.code(), 0);
    }
    let own = platform("t");
    write_file(
        &space,
        &json!({"host": own.url, "access_token": "t"}).to_string(),
    );
    fs::set_permissions(file(&space), fs::Permissions::from_mode(0o644)).unwrap();
    let run = space.synapse(&["whoami"]).expect(0);
    assert_eq!(
        run.stderr
            .matches("others may read the saved tokens")
            .count(),
        1
    );
    assert!(run.stderr.contains("hint: chmod 600"), "{run:?}");
    // Whoever writes it makes it private.
    log_in(&space, &[], "t");
    assert!(space.synapse(&["whoami"]).expect(0).stderr.is_empty());

    // The disk is full, at the one step that counts.
    let before = saved(&space);
    let run = space.synapse_with("SYNAPSE_TEST_FAIL_AT", "1", &["login", "--local"]);
    expect_error(&run, 3, &["cannot write", "free some space"]);
    assert_eq!(saved(&space), before);

    if !space.become_nobody() {
        return;
    }
    fs::set_permissions(file(&space), fs::Permissions::from_mode(0o000)).unwrap();
    expect_error(
        &space.synapse(&["whoami"]),
        3,
        &["cannot read", "permissions"],
    );
    fs::set_permissions(file(&space), fs::Permissions::from_mode(0o600)).unwrap();
    let folder = space.home().join("config");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o500)).unwrap();
    let run = space.synapse(&["login", "--local"]);
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
    expect_error(&run, 3, &["cannot write", "permissions"]);
    assert_eq!(saved(&space), before);
}

#[test]
fn what_people_read() {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"127\.0\.0\.1:\d+", "127.0.0.1:[port]");
    settings.add_filter(r"/\S*/synapse-home", "[home]");
    settings.add_filter(r"\(os error \d+\)", "(os error)");
    let _bound = settings.bind_to_scope();
    let own = platform("t");
    let space = home();
    let show = |name: &str, run: &Run| insta::assert_snapshot!(name, run.text());
    show("whoami-nobody", &space.synapse(&["whoami"]));
    show("login", &log_in(&space, &["--host", &own.url], "t"));
    show("whoami", &space.synapse(&["whoami"]));
    show(
        "login-another",
        &log_in(&space, &["--profile", "staging", "--host", &own.url], "t"),
    );
    show("login-no-token", &space.synapse(&["login"]));
    show("login-refused", &piped(&space, &["login"], "t-old"));
    show(
        "login-down",
        &piped(&space, &["login", "--host", &nobody()], "t"),
    );
    show(
        "login-http",
        &piped(&space, &["login", "--host", "http://x.test"], "t"),
    );
    let flag = ["login", "--host", &own.url, "--token", "t"];
    show("login-flag", &space.synapse(&flag));
    show("agent-list", &space.synapse(&["agent", "list"]));
    show(
        "agent-select",
        &space.synapse(&["agent", "select", "gpu-1"]),
    );
    show("profile-list", &space.synapse(&["profile", "list"]));
    show(
        "profile-unknown",
        &space.synapse(&["profile", "use", "stagin"]),
    );
    show("logout", &space.synapse(&["logout", "--all"]));
    for command in [
        "logout",
        "whoami",
        "profile",
        "agent",
        "agent select",
        "doctor",
    ] {
        let args: Vec<&str> = command.split(' ').chain(["--help"]).collect();
        let text = space.synapse(&args).expect(0).stdout;
        let text = text.replace("synapse_under_test", "synapse");
        insta::assert_snapshot!(format!("help-{}", command.replace(' ', "-")), text);
    }
}
