//! Owns what the doctor says of the platform: the login, the host, the token, clocks, and what
//! in the environment changes how it is reached.

use std::{fs, path::Path};

use synapse_rules::platform::PlatformError;

use super::{Finding, State};
use crate::{
    app::App,
    args,
    commands::{reach, whoami},
    profile::{self, Origin},
};

/// Seconds between two clocks that nobody need care about.
const FAR_APART: i64 = 60;

/// The platform that commands would talk to.
pub(super) fn check(app: &App, args: &args::Doctor) -> Vec<Finding> {
    let profile = match profile::resolve(app, &args.connection, None) {
        Ok(profile) => profile,
        // The check of the file has said so.
        Err(failure) if failure.code == "config-file" => return Vec::new(),
        Err(failure) => return vec![Finding::of("profile", &failure)],
    };
    if profile.embedded {
        let text = "local: the embedded backend on this machine, which needs no login";
        return vec![Finding::ok("profile", text)];
    }
    let Some(auth) = profile.auth.clone() else {
        let text = format!("nobody is logged in to {}", profile.host);
        let finding = Finding::note("profile", text)
            .hint("`synapse login` does that; `synapse login --local` works without a platform");
        return vec![finding];
    };
    let mut findings = vec![Finding::ok(
        "profile",
        format!("{}: {}", profile.name, profile.host),
    )];
    let whence = profile
        .token_from
        .map(|from| whoami::whence(app, from))
        .unwrap_or_default();
    if args.offline {
        findings.push(Finding::note("token", format!("{whence}, not checked")));
        return findings;
    }
    let host = match profile::parse_host(app, &profile.host, Origin::File) {
        Ok(host) => host,
        Err(failure) => return vec![Finding::of("host", &failure)],
    };
    let platform = match reach::platform(app, &host, Some(auth), profile.allow_http) {
        Ok(platform) => platform,
        Err(failure) => return vec![Finding::of("host", &failure)],
    };
    let answers = Finding::ok("host", format!("{host} answers"));
    match reach::is_accepted(&platform) {
        Ok(()) => {
            findings.push(answers);
            findings.push(Finding::ok("token", format!("{whence}, accepted")));
        }
        Err(error @ PlatformError::NotAuthenticated(_)) => {
            findings.push(answers);
            let text = format!("{whence}, refused: {error}");
            let hint = match profile.token_from {
                Some(Origin::Environment) => {
                    "set SYNAPSE_ACCESS_TOKEN anew, or unset it".to_owned()
                }
                Some(Origin::Flag) => "give another token".to_owned(),
                _ => format!("log in again: synapse login --profile {}", profile.name),
            };
            findings.push(Finding::failed("token", text).hint(hint));
        }
        Err(error) => {
            findings.push(Finding::of("host", &error.failure(&host.short())));
            findings.push(Finding::note("token", format!("{whence}, not checked")));
        }
    }
    findings.extend(platform.skew().map(clock));
    findings
}

fn clock(ahead: i64) -> Finding {
    let apart = ahead.unsigned_abs();
    if ahead.abs() <= FAR_APART {
        return Finding::ok("clock", "this machine's clock agrees with the platform's");
    }
    let direction = if ahead > 0 { "behind" } else { "ahead of" };
    let text = format!("this machine's clock is {apart} s {direction} the platform's");
    Finding::warning("clock", text)
        .hint("set the clock, or let the machine keep it by NTP: certificates and signed links depend on it")
}

/// Proxies, certificates and our own variables.
pub(super) fn surroundings(app: &App) -> Vec<Finding> {
    let mut findings = proxies(app);
    for (name, is_folder) in [
        ("SSL_CERT_FILE", false),
        ("SSL_CERT_DIR", true),
        ("REQUESTS_CA_BUNDLE", false),
        ("CURL_CA_BUNDLE", false),
    ] {
        if let Some(value) = (app.variable)(name).filter(|value| !value.is_empty()) {
            findings.push(certificates(name, Path::new(&value), is_folder));
        }
    }
    let own = [
        "SYNAPSE_HOME",
        "SYNAPSE_STORE",
        "SYNAPSE_PROFILE",
        "SYNAPSE_HOST",
        "SYNAPSE_ACCESS_TOKEN",
        "SYNAPSE_TENANT",
        "SYNAPSE_HTTP_TIMEOUT",
        "SYNAPSE_HTTP_RETRIES",
        "RAY_ADDRESS",
    ];
    let set: Vec<&str> = own
        .into_iter()
        .filter(|name| (app.variable)(name).is_some_and(|value| !value.is_empty()))
        .collect();
    if !set.is_empty() {
        let text = format!("set in this shell: {}", set.join(", "));
        findings.push(Finding::note("variables", text));
    }
    findings
}

fn proxies(app: &App) -> Vec<Finding> {
    let mut findings = Vec::new();
    for names in [
        ["https_proxy", "HTTPS_PROXY"],
        ["http_proxy", "HTTP_PROXY"],
        ["all_proxy", "ALL_PROXY"],
    ] {
        let mut values = names.iter().filter_map(|name| {
            let value = (app.variable)(name).filter(|value| !value.is_empty())?;
            Some((*name, value.to_string_lossy().into_owned()))
        });
        let Some((name, value)) = values.next() else {
            continue;
        };
        findings.push(match shown_proxy(&value) {
            Some(shown) => Finding::note("proxy", format!("{name} leads through {shown}")),
            None => Finding::warning("proxy", format!("{name} is not the address of a proxy"))
                .hint("set it like http://proxy.example.com:3128, or unset it"),
        });
    }
    let mut except = ["no_proxy", "NO_PROXY"].iter().filter_map(|name| {
        let value = (app.variable)(name).filter(|value| !value.is_empty())?;
        Some(format!("{name} leaves out {}", value.to_string_lossy()))
    });
    if !findings.is_empty()
        && let Some(text) = except.next()
    {
        findings.push(Finding::note("proxy", text));
    }
    findings
}

/// The address of a proxy without the user and password that may be in it.
fn shown_proxy(value: &str) -> Option<String> {
    let (scheme, rest) = value.split_once("://").unwrap_or(("http", value));
    let known = ["http", "https", "socks4", "socks4a", "socks5", "socks5h"];
    // A password may hold a slash, so that what is before the last at sign is left out first.
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let fits = |char: char| char.is_ascii_alphanumeric() || ".-_:[]".contains(char);
    let is_address = !authority.is_empty() && authority.chars().all(fits);
    (known.contains(&scheme) && is_address).then(|| format!("{scheme}://{authority}"))
}

fn certificates(name: &str, path: &Path, is_folder: bool) -> Finding {
    const CHECK: &str = "certificates";
    let shown = path.display();
    let problem = if is_folder {
        fs::read_dir(path)
            .err()
            .map(|error| format!("cannot be read: {error}"))
    } else {
        match synapse_rules::fileset::read_regular(path) {
            Err(error) => Some(format!("cannot be read: {error}")),
            Ok(bytes) => {
                let mark = b"-----BEGIN CERTIFICATE-----";
                let found = bytes.windows(mark.len()).any(|window| window == mark);
                (!found).then(|| "holds no certificates in PEM form".to_owned())
            }
        }
    };
    match problem {
        None => Finding::new(CHECK, State::Note, format!("{name} names {shown}")),
        Some(problem) => Finding::failed(CHECK, format!("{name}: {shown} {problem}")).hint(
            format!("let {name} name a file of certificates in PEM form, or unset it"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_shown_without_passwords() {
        for (value, shown) in [
            ("http://proxy.test:3128", Some("http://proxy.test:3128")),
            ("proxy.test:3128/", Some("http://proxy.test:3128")),
            (
                "http://me:can@ary@proxy.test:1",
                Some("http://proxy.test:1"),
            ),
            ("socks5h://me:can/ary@[::1]:1", Some("socks5h://[::1]:1")),
            ("http://", None),
            ("ftp://proxy.test", None),
            ("http://me:canary proxy", None),
        ] {
            assert_eq!(shown_proxy(value).as_deref(), shown, "{value}");
        }
    }

    #[test]
    fn clocks_may_differ_a_little() {
        assert_eq!(clock(-60).state, State::Ok);
        assert!(clock(61).text.contains("61 s behind"));
        assert!(clock(-3600).text.contains("3600 s ahead of"));
    }
}
