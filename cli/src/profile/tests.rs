//! Which host and which token, in every order of precedence; no token to another server.

use std::{cell::RefCell, ffi::OsString, path::Path};

use super::*;
use crate::args::Output;

thread_local! {
    static VARIABLES: RefCell<Vec<(String, String)>> = const { RefCell::new(Vec::new()) };
}

/// `--profile`, `--host`, `--token`; variables; what they name.
type Case<'a> = ([&'a str; 3], &'a [(&'a str, &'a str)], &'a str);

/// A default login, one for a server of its own, and one with a user's token.
const FILE: &str = r#"{
    "host": "https://main.test/api", "access_token": "t-main", "agent": {"id": 3},
    "profiles": {
        "staging": {"host": "https://staging.test", "access_token": "t-staging"},
        "user": {"host": "https://user.test", "user_token": "t-user", "tenant": "acme"},
        "bare": {"host": "http://127.0.0.1:8000"}
    }}"#;

fn app(folder: &Path, file: &str, variables: &[(&str, &str)]) -> App {
    let home = folder.display().to_string();
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    VARIABLES.with_borrow_mut(|all| {
        *all = variables.iter().map(own).collect();
        all.push(("SYNAPSE_HOME".to_owned(), home));
    });
    let variable = |name: &str| {
        VARIABLES.with_borrow(|all| {
            let found = all.iter().find(|(own, _)| own == name)?;
            Some(OsString::from(&found.1))
        })
    };
    let app = App::new(Output::default(), variable, None).unwrap();
    std::fs::create_dir_all(&app.home.config).unwrap();
    std::fs::write(app.home.config_file(), file).unwrap();
    app
}

/// `HOST TOKEN` of what the options `--profile`, `--host`, `--token` and the variables name,
/// or the code of the failure.
fn resolved(file: &str, flags: [&str; 3], variables: &[(&str, &str)]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let app = app(folder.path(), file, variables);
    let [profile, host, token] =
        flags.map(|text| Some(text.to_owned()).filter(|text| !text.is_empty()));
    let connection = Connection {
        profile,
        host,
        token: token.map(Secret::new),
        allow_http: false,
    };
    match resolve(&app, &connection, None) {
        Err(failure) => failure.code,
        Ok(profile) if profile.embedded => LOCAL.to_owned(),
        Ok(profile) => {
            let auth = profile
                .auth
                .as_ref()
                .map_or("-", |auth| auth.token().expose());
            let tenant = profile.auth.as_ref().and_then(Auth::tenant);
            let at = tenant
                .map(|tenant| format!("@{tenant}"))
                .unwrap_or_default();
            format!("{} {} {auth}{at}", profile.name, profile.host)
        }
    }
}

#[test]
fn flags_come_before_the_environment_before_the_file() {
    let none = ["", "", ""];
    let host = ("SYNAPSE_HOST", "https://env.test");
    let token = ("SYNAPSE_ACCESS_TOKEN", "t-env");
    let staging = ("SYNAPSE_PROFILE", "staging");
    let cases: &[Case<'_>] = &[
        (none, &[], "default https://main.test/api t-main"),
        (none, &[token], "default https://main.test/api t-env"),
        (none, &[host, token], "env.test https://env.test t-env"),
        (none, &[staging], "staging https://staging.test t-staging"),
        (
            none,
            &[staging, token],
            "staging https://staging.test t-env",
        ),
        (["user", "", ""], &[], "user https://user.test t-user@acme"),
        (
            ["user", "", ""],
            &[("SYNAPSE_TENANT", "other")],
            "user https://user.test t-user@other",
        ),
        (
            ["", "", "t-flag"],
            &[token],
            "default https://main.test/api t-flag",
        ),
        (
            ["", "https://flag.test", "t-flag"],
            &[host, token],
            "flag.test https://flag.test t-flag",
        ),
        // A profile that is named is meant as a whole.
        (
            ["staging", "", ""],
            &[host, token],
            "staging https://staging.test t-staging",
        ),
        (
            ["bare", "", ""],
            &[token],
            "bare http://127.0.0.1:8000 t-env",
        ),
        (
            ["staging", "", "t-flag"],
            &[],
            "staging https://staging.test t-flag",
        ),
        (
            ["default", "", ""],
            &[staging],
            "default https://main.test/api t-main",
        ),
        (["stagin", "", ""], &[], "unknown-profile"),
        (none, &[("SYNAPSE_PROFILE", "prod")], "unknown-profile"),
    ];
    for (flags, variables, expected) in cases {
        assert_eq!(
            resolved(FILE, *flags, variables),
            *expected,
            "{flags:?} {variables:?}"
        );
    }
}

#[test]
fn a_saved_token_goes_to_its_own_server_alone() {
    let host = |host: &'static str| ["", host, ""];
    for (flags, expected) in [
        (
            host("https://foreign.test"),
            "foreign.test https://foreign.test -",
        ),
        (
            host("https://main.test"),
            "default https://main.test t-main",
        ),
        (
            host("https://main.test:443/other"),
            "default https://main.test/other t-main",
        ),
        (
            host("https://main.test:444"),
            "main.test:444 https://main.test:444 -",
        ),
        (host("http://main.test"), "insecure-host"),
        (
            host("https://main.test.evil.test"),
            "main.test.evil.test https://main.test.evil.test -",
        ),
        // The one login for that server, without its name.
        (
            host("https://staging.test"),
            "staging https://staging.test t-staging",
        ),
        (
            ["staging", "https://main.test", ""],
            "main.test https://main.test -",
        ),
        (
            ["staging", "https://foreign.test", ""],
            "foreign.test https://foreign.test -",
        ),
    ] {
        assert_eq!(resolved(FILE, flags, &[]), expected, "{flags:?}");
        let [profile, host, _] = flags;
        let variables = [("SYNAPSE_HOST", host)];
        if profile.is_empty() {
            assert_eq!(
                resolved(FILE, ["", "", ""], &variables),
                expected,
                "{host} by variable"
            );
        }
    }
    // Nor does the token of one address in the environment go to another.
    let pair = [
        ("SYNAPSE_HOST", "https://env.test"),
        ("SYNAPSE_ACCESS_TOKEN", "t-env"),
    ];
    let foreign = resolved(FILE, host("https://foreign.test"), &pair);
    assert_eq!(foreign, "foreign.test https://foreign.test -");
    // A token that was saved without an address was saved for the platform's own.
    let old = "{\"access_token\": \"t-old\"}";
    assert_eq!(
        resolved(old, host(""), &[]),
        "default https://api.synapse.sh t-old"
    );
    assert_eq!(
        resolved(old, host("https://x.test"), &[]),
        "x.test https://x.test -"
    );
    assert_eq!(
        resolved("{}", host(""), &[]),
        "default https://api.synapse.sh -"
    );
    let broken = "{\"host\": \"nonsense\", \"access_token\": \"t-old\"}";
    assert_eq!(resolved(broken, host(""), &[]), "host");
    assert_eq!(
        resolved(broken, host("https://x.test"), &[]),
        "x.test https://x.test -"
    );
}

#[test]
fn the_embedded_backend_is_a_profile() {
    let file = FILE.replacen('{', "{\"profile\": \"local\", ", 1);
    let token = ("SYNAPSE_ACCESS_TOKEN", "t-env");
    let host = ("SYNAPSE_HOST", "https://staging.test");
    let local = ("SYNAPSE_PROFILE", "local");
    let cases: &[Case<'_>] = &[
        (["", "", ""], &[], "local"),
        (["", "", ""], &[token], "local"),
        (["", "", ""], &[local, host, token], "local"),
        (
            ["", "", ""],
            &[host],
            "staging https://staging.test t-staging",
        ),
        (
            ["", "https://main.test", ""],
            &[local],
            "default https://main.test t-main",
        ),
        (
            ["default", "", ""],
            &[local],
            "default https://main.test/api t-main",
        ),
        (["local", "", ""], &[host, token], "local"),
        (["local", "https://main.test", ""], &[], "usage"),
        (["local", "", "t"], &[], "usage"),
    ];
    for (flags, variables, expected) in cases {
        assert_eq!(
            resolved(&file, *flags, variables),
            *expected,
            "{flags:?} {variables:?}"
        );
    }
    assert_eq!(resolved("no JSON", ["local", "", ""], &[]), "local");
    assert_eq!(resolved("no JSON", ["", "", ""], &[]), "config-file");
}

#[test]
fn what_is_no_token_is_refused_where_it_is() {
    let folder = tempfile::tempdir().unwrap();
    for (flag, variable, place) in [
        (Some("Token canary"), "", "--token"),
        (None, "can\nary", "SYNAPSE_ACCESS_TOKEN"),
    ] {
        let app = app(folder.path(), FILE, &[("SYNAPSE_ACCESS_TOKEN", variable)]);
        let connection = Connection {
            token: flag.map(Secret::new),
            ..Connection::default()
        };
        let failure = resolve(&app, &connection, None).unwrap_err();
        assert_eq!(failure.place.as_deref(), Some(place));
        assert!(!format!("{failure:?}").contains("ary"));
    }
}

#[test]
fn no_text_of_a_profile_or_of_options_tells_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let file = FILE.replace("t-main", "canary-file");
    let app = app(folder.path(), &file, &[]);
    let connection = Connection {
        token: Some(Secret::new("canary-flag")),
        ..Connection::default()
    };
    let saved = Saved::load(&app.home.config_file()).unwrap();
    let login = saved.login(DEFAULT).unwrap();
    let by_flag = resolve(&app, &connection, None).unwrap();
    let by_file = resolve(&app, &Connection::default(), None).unwrap();
    let text = format!("{connection:?} {login:?} {by_flag:#?} {by_file:#?}");
    assert!(!text.contains("canary"), "{text}");
    assert_eq!(by_file.auth.unwrap().token().expose(), "canary-file");
}
