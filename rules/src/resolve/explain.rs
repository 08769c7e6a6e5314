//! Owns what an installer says when it fails, cut down to the lines that explain it.

use std::path::Path;

use synapse_engine::Failure;

use super::credentials::Credentials;
use crate::{
    config::diagnostic::printable,
    python::process::{Ended, Status},
};

/// Lines of an explanation that are shown.
const SHOWN: usize = 24;
/// Signs that the network, and not the requirements, is at fault.
const NETWORK: [&str; 17] = [
    "NewConnectionError",
    "ConnectTimeoutError",
    "ReadTimeoutError",
    "Temporary failure in name resolution",
    "Name or service not known",
    "nodename nor servname",
    "Connection refused",
    "Network is unreachable",
    "Max retries exceeded",
    "CERTIFICATE_VERIFY_FAILED",
    "Could not connect",
    "error sending request",
    "failed to lookup address",
    "Could not resolve host",
    "dns error",
    "ProxyError",
    "Connection reset",
];
const DISK: [&str; 3] = [
    "No space left on device",
    "os error 28",
    "Disk quota exceeded",
];
const LOGIN: [&str; 4] = [
    "401 Unauthorized",
    "403 Forbidden",
    "401 Error",
    "status code 401",
];
/// Signs that packages were not found, rather than that they do not go together.
const LACKING: [&str; 10] = [
    "No matching distribution found",
    "Could not find a version that satisfies",
    "network was disabled",
    "was not found in the cache",
    "was not found in the provided package locations",
    "there are no versions of",
    "there is no version of",
    "not found in the package registry",
    "Because only ",
    "Network connectivity is disabled",
];

/// The failure of an installer that could not do `what`; `offline` says that it was to use no
/// network.
pub(super) fn failure(
    ended: &Ended,
    what: &str,
    offline: bool,
    credentials: &Credentials,
    private: &Path,
) -> Failure {
    let (out, err) = (ended.out(), ended.err());
    let has = |signs: &[&str]| {
        signs
            .iter()
            .any(|sign| err.contains(sign) || out.contains(sign))
    };
    let mut lines = essential(&out, &err);
    if lines.is_empty() {
        lines.push(match ended.status {
            Status::Signal(signal) => format!("it was ended by signal {signal}"),
            Status::Code(code) => format!("it ended with code {code} without a word"),
            Status::TimedOut | Status::Cancelled => "it was stopped".to_owned(),
        });
    }
    let more = lines.len().saturating_sub(SHOWN);
    lines.truncate(SHOWN);
    if more > 0 {
        lines.push(format!("... and {more} more lines"));
    }
    let own = private.display().to_string();
    let clean = |line: &String| {
        let line = credentials.redact(line).replace(&format!("{own}/"), "");
        line.chars().map(printable).collect::<String>()
    };
    let lines: Vec<String> = lines.iter().map(clean).collect();
    let lines = lines.join("\n  ");
    let message = format!("{what}\n  {lines}");
    if has(&DISK) {
        return Failure::environment("disk-full", message)
            .hint("free some disk space, or run `synapse cache gc`, then run it again");
    }
    if offline && (has(&LACKING) || has(&NETWORK)) {
        let message = format!(
            "--offline was given, and not all that is required is on this machine\n  {lines}"
        );
        return Failure::environment("offline", message).hint(
            "run it once without --offline, or put the packages into the plugin's wheels folder",
        );
    }
    if has(&NETWORK) {
        return Failure::environment("network", message)
            .hint("check the network, proxy and index; --offline uses what is on this machine");
    }
    if has(&LOGIN) {
        return Failure::environment("network", message)
            .hint("check the login for the index in ~/.netrc, a keyring or the index URL");
    }
    let hint = if err.contains("HASHES") || err.contains("Hash mismatch") {
        "the index has other files than the lock: `synapse plugin lock --upgrade` takes them"
    } else {
        "change the requirements so that they can all be met"
    };
    Failure::user("resolution", message).hint(hint)
}

/// The lines that explain, of pip's or uv's output.
fn essential(out: &str, err: &str) -> Vec<String> {
    let is_uv = err
        .lines()
        .any(|line| line.trim_start().starts_with(['×', '╰', '├']))
        || err.trim_start().starts_with("error: ");
    let is_pip = err.contains("subprocess-exited-with-error")
        || err
            .lines()
            .chain(out.lines())
            .any(|line| line.starts_with("ERROR:"));
    if is_uv && !is_pip {
        let kept = err.lines().filter(|line| {
            !line.trim().is_empty() && !line.starts_with("warning: ") && !line.starts_with("Using ")
        });
        return kept.map(|line| line.trim_end().to_owned()).collect();
    }
    let mut lines: Vec<String> = Vec::new();
    let mut add = |line: &str| {
        let line = line.trim_end().to_owned();
        if !line.is_empty() && lines.last() != Some(&line) {
            lines.push(line);
        }
    };
    // A build that failed: what it said stands in a box.
    let mut boxed = false;
    for line in err.lines() {
        let body = line.trim_start();
        if let Some(rest) = line.strip_prefix("ERROR: ") {
            let rest = rest.split(" for help visit ").next().unwrap_or(rest);
            let noise = ["ResolutionImpossible:", "Ignored the following"];
            if !noise.iter().any(|noise| rest.starts_with(noise)) {
                add(&shortened(rest));
            }
        } else if body.starts_with("error: ") {
            add(body);
        } else if body.starts_with("╰─>") {
            boxed = true;
        } else if body.starts_with("[end of output]") {
            boxed = false;
        } else if boxed {
            add(line);
        }
    }
    let mut cause = false;
    for line in out.lines() {
        if line.starts_with("The conflict is caused by") {
            cause = true;
        } else if line.trim().is_empty() || line.starts_with("To fix this") {
            cause = false;
        } else if cause {
            add(line);
        }
    }
    if lines.is_empty() {
        let tail: Vec<&str> = err.lines().filter(|line| !line.trim().is_empty()).collect();
        let from = tail.len().saturating_sub(SHOWN);
        return tail[from..].iter().map(|line| (*line).to_owned()).collect();
    }
    lines
}

/// A line whose list of all known versions is cut down to the newest.
fn shortened(line: &str) -> String {
    const NEWEST: usize = 5;
    let Some((head, rest)) = line.split_once("(from versions: ") else {
        return line.to_owned();
    };
    let Some((versions, tail)) = rest.split_once(')') else {
        return line.to_owned();
    };
    let versions: Vec<&str> = versions.split(", ").collect();
    let from = versions.len().saturating_sub(NEWEST);
    let more = if from > 0 { "..., " } else { "" };
    format!(
        "{head}(from versions: {more}{}){tail}",
        versions[from..].join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(out: &str, err: &str) -> Failure {
        told_when(false, out, err)
    }

    fn told_when(offline: bool, out: &str, err: &str) -> Failure {
        let ended = Ended {
            status: Status::Code(1),
            stdout: out.into(),
            stderr: err.into(),
        };
        let mut credentials = Credentials::default();
        credentials.take("https://me:s3cret@host/");
        failure(
            &ended,
            "pip cannot",
            offline,
            &credentials,
            Path::new("/private"),
        )
    }

    #[test]
    fn a_conflict_is_told_in_pips_words() {
        let failure = told(
            "Collecting a==1\nThe conflict is caused by:\n    a 1 depends on c<2\n    b 2 depends \
             on c>=2\n\nTo fix this you could try to:\n1. loosen\n",
            "WARNING: x\nERROR: Cannot install a==1 and b==2 because these package versions have \
             conflicting dependencies.\nERROR: ResolutionImpossible: for help visit https://pip\n",
        );
        assert_eq!(failure.code, "resolution");
        assert_eq!(
            failure.message,
            "pip cannot\n  Cannot install a==1 and b==2 because these package versions have \
             conflicting dependencies.\n      a 1 depends on c<2\n      b 2 depends on c>=2"
        );
    }

    #[test]
    fn long_lists_of_versions_are_cut() {
        assert_eq!(
            shortened("no x>9 (from versions: 1, 2, 3, 4, 5, 6, 7)"),
            "no x>9 (from versions: ..., 3, 4, 5, 6, 7)"
        );
        assert_eq!(
            shortened("no x (from versions: none)"),
            "no x (from versions: none)"
        );
    }

    #[test]
    fn the_network_is_told_from_the_requirements_and_logins_are_hidden() {
        let failure = told(
            "",
            "WARNING: Retrying after connection broken by 'NewConnectionError(me:s3cret)': \
             /simple/a/\nERROR: No matching distribution found for a (https://me:s3cret@host/)\n",
        );
        assert_eq!(failure.code, "network");
        assert!(!failure.message.contains("s3cret"), "{}", failure.message);
        let full = told(
            "",
            "ERROR: Could not install: [Errno 28] No space left on device\n",
        );
        assert_eq!(full.code, "disk-full");
    }

    #[test]
    fn offline_what_is_lacking_is_not_the_requirements_fault() {
        for err in [
            "ERROR: Could not find a version that satisfies the requirement a (from versions: \
             none)\nERROR: No matching distribution found for a\n",
            "  × No solution found when resolving dependencies:\n  ╰─▶ Because a was not found in \
             the provided package locations and you require a, we can conclude that your \
             requirements are unsatisfiable.\n",
            "  × No solution found when resolving dependencies:\n  ╰─▶ Because only a==1.0 is \
             available and you require a>7, we can conclude that your requirements are \
             unsatisfiable.\n",
        ] {
            let failure = told_when(true, "", err);
            assert_eq!(failure.kind, synapse_engine::FailureKind::Environment);
            assert_eq!(failure.code, "offline");
            assert!(
                failure.message.starts_with("--offline was given"),
                "{failure}"
            );
            assert_eq!(told("", err).code, "resolution");
        }
        let conflict = "ERROR: Cannot install a==1 and b==2 because these package versions have \
                        conflicting dependencies.\n";
        assert_eq!(told_when(true, "", conflict).code, "resolution");
    }

    #[test]
    fn a_build_that_fails_shows_its_own_words() {
        let failure = told(
            "",
            "  error: subprocess-exited-with-error\n  \n  × Getting requirements to build wheel did \
             not run successfully.\n  │ exit code: 1\n  ╰─> [2 lines of output]\n      Traceback\n      \
             RuntimeError: no\n      [end of output]\n  \n  note: this is\n",
        );
        assert!(
            failure.message.contains("RuntimeError: no"),
            "{}",
            failure.message
        );
    }
}
