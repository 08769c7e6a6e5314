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
const NETWORK: [&str; 16] = [
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
const OFFLINE: [&str; 3] = ["network was disabled", "--offline", "--no-index"];

/// The failure of an installer that could not do `what`.
pub(super) fn failure(
    ended: &Ended,
    what: &str,
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
    let message = format!("{what}\n  {}", lines.join("\n  "));
    if has(&DISK) {
        return Failure::environment("disk-full", message)
            .hint("free some disk space, or run `synapse cache gc`, then run it again");
    }
    if has(&NETWORK) {
        return Failure::environment("network", message)
            .hint("check the network, proxy and index; --offline uses what is on this machine");
    }
    if has(&LOGIN) {
        return Failure::environment("network", message)
            .hint("check the login for the index in ~/.netrc, a keyring or the index URL");
    }
    let hint = if has(&OFFLINE) {
        "leave out --offline, or put the packages into the plugin's wheels folder"
    } else if err.contains("HASHES") || err.contains("Hash mismatch") {
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
            if rest != "ResolutionImpossible:" {
                add(rest);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn told(out: &str, err: &str) -> Failure {
        let ended = Ended {
            status: Status::Code(1),
            stdout: out.into(),
            stderr: err.into(),
        };
        let mut credentials = Credentials::default();
        credentials.take("https://me:s3cret@host/");
        failure(&ended, "pip cannot", &credentials, Path::new("/private"))
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
