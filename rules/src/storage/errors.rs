//! Owns what an object store's refusal becomes: one sentence, what to do, and no secret. The
//! library's own texts repeat headers and whole answers, so they are looked at and not shown.

use std::error::Error as _;

use opendal::ErrorKind;
use synapse_engine::Failure;

use super::place::{Place, Scheme};
use crate::config::diagnostic::printable;

/// Signs that credentials are unknown, wrong or no longer good.
const UNKNOWN: [&str; 12] = [
    "InvalidAccessKeyId",
    "NotSignedUp",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
    "TokenRefreshRequired",
    "AuthenticationFailed",
    "InvalidAuthenticationInfo",
    "AuthenticationRequired",
    "invalid_grant",
    "status: 401",
    "Permission denied (",
];
/// Signs that there are no credentials at all.
const NONE: [&str; 5] = [
    "no valid credential",
    "signing credential",
    "credential not found",
    "failed to load credential",
    "no credential",
];
/// Signs that the bucket is not there.
const MISSING: [&str; 4] = [
    "NoSuchBucket",
    "ContainerNotFound",
    "The specified bucket does not exist",
    "InvalidBucketName",
];
/// Signs that the bucket is of another region.
const ELSEWHERE: [&str; 5] = [
    "PermanentRedirect",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "status: 301",
    "status: 307",
];
const CLOCK: [&str; 1] = ["RequestTimeTooSkewed"];
const FULL: [&str; 4] = [
    "No space left on device",
    "Disk quota exceeded",
    "QuotaExceeded",
    "status: 507",
];
/// Longest part of a cause that is shown, in characters.
const LONGEST: usize = 200;

/// The failure of a call that an object store did not do.
pub(super) fn failure(place: &Place, secrets: &[String], error: &opendal::Error) -> Failure {
    let all = everything(error);
    let sign = |signs: &[&'static str]| signs.iter().find(|sign| all.contains(**sign)).copied();
    let shown = place.shown();
    let environment =
        |code: &str, what: String| Failure::environment(code, what).at(place.location());
    if let Some(sign) = sign(&UNKNOWN) {
        let sign = match sign {
            "status: 401" => "401",
            "Permission denied (" => "permission denied",
            sign => sign,
        };
        let what = format!("{shown} does not accept the credentials ({sign})");
        return environment("not-authenticated", what).hint(credentials(place.scheme));
    }
    if sign(&NONE).is_some() {
        let what = format!("there are no credentials for {shown} that can be used");
        return environment("not-authenticated", what).hint(credentials(place.scheme));
    }
    if sign(&MISSING).is_some() {
        let what = format!("{shown} has no bucket {}", place.authority);
        return environment("storage-missing", what)
            .hint("check the name, or make the bucket first: synapse makes none");
    }
    if sign(&CLOCK).is_some() {
        let what = format!("{shown} refuses the time of this machine");
        return environment("not-authenticated", what).hint("set the clock");
    }
    if sign(&ELSEWHERE).is_some() {
        let what = format!("the bucket {} is in another region", place.authority);
        return environment("storage", what)
            .hint("set AWS_REGION, or region in the profile's storages");
    }
    if sign(&FULL).is_some() {
        let what = format!("{shown} has no room left");
        return environment("storage", what).hint("make room there, then run it again");
    }
    match error.kind() {
        ErrorKind::PermissionDenied => {
            let what = format!("{shown} does not allow this");
            return environment("not-allowed", what)
                .hint("the credentials must allow to read, write and look up objects there");
        }
        ErrorKind::ConfigInvalid => {
            let what = format!(
                "{shown} cannot be used: {}",
                clean(error.message(), secrets)
            );
            return Failure::user("storage-url", what)
                .at(place.location())
                .hint("check the options of the store");
        }
        ErrorKind::Unsupported => {
            let what = format!("{shown} cannot do what is needed");
            return environment("storage", what).hint("look at the options of the store");
        }
        ErrorKind::RateLimited => {
            let what = format!("{shown} asks for fewer requests");
            return environment("rate-limited", what).hint("wait a little, then run it again");
        }
        _ => {}
    }
    let cause = cause(error, &all);
    let what = format!("{shown} cannot be used: {}", clean(&cause, secrets));
    environment("target-unavailable", what)
        .hint("check that it is there and reachable; run it again: what arrived is not sent twice")
}

/// Where credentials of a kind of store come from.
fn credentials(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::S3 => {
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, an AWS profile, or the keys in the \
             profile's storages"
        }
        Scheme::Gs => {
            "set GOOGLE_APPLICATION_CREDENTIALS, log in with gcloud, or set credential_path in \
             the profile's storages"
        }
        Scheme::Az => {
            "set AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN, or account_key in the \
             profile's storages"
        }
        Scheme::Sftp => {
            "check that `ssh` reaches the host without a password: user and key can be set in the \
             profile's storages"
        }
        Scheme::Webdav | Scheme::Webdavs => {
            "set username and password, or token, in the profile's storages"
        }
        Scheme::File => "check the permissions of the folder",
    }
}

/// All that is known of an error, to look for signs in; never to be shown.
fn everything(error: &opendal::Error) -> String {
    let mut all = format!("{error} {}", error.message());
    let mut source = error.source();
    while let Some(inner) = source {
        all.push('\n');
        all.push_str(&inner.to_string());
        source = inner.source();
    }
    all
}

/// The innermost cause, or the status of an answer.
fn cause(error: &opendal::Error, all: &str) -> String {
    let mut source = error.source();
    let mut last = None;
    while let Some(inner) = source {
        last = Some(inner.to_string());
        source = inner.source();
    }
    if let Some(last) = last.filter(|last| !last.trim().is_empty()) {
        return last;
    }
    let status = all.split("status: ").nth(1).and_then(|rest| {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        (digits.len() == 3).then(|| format!("it answered with status {digits}"))
    });
    status.unwrap_or_else(|| match error.kind() {
        ErrorKind::NotFound => "it is not there".to_owned(),
        kind => kind.into_static().to_lowercase(),
    })
}

/// A text of the outside, short, printable, without secrets.
fn clean(text: &str, secrets: &[String]) -> String {
    let mut text = text.to_owned();
    for secret in secrets {
        text = text.replace(secret.as_str(), "***");
    }
    let line = text.lines().find(|line| !line.trim().is_empty());
    let line = line.unwrap_or_default().trim();
    let mut shown: String = line.chars().take(LONGEST).map(printable).collect();
    if line.chars().count() > LONGEST {
        shown.push_str("...");
    }
    shown
}

#[cfg(test)]
mod tests {
    use opendal::Error;

    use super::*;

    fn told(error: &Error) -> Failure {
        let place = Place::parse("s3://bucket/x").unwrap();
        failure(&place, &["canary-secret".to_owned()], error)
    }

    #[test]
    fn refusals_are_told_apart() {
        let said = |kind, text: &str| {
            let failure = told(&Error::new(kind, text));
            assert!(failure.hint.is_some() && failure.place.is_some());
            (failure.code, failure.message)
        };
        let denied = ErrorKind::PermissionDenied;
        for (kind, text, code) in [
            (
                denied,
                "S3Error { code: \"InvalidAccessKeyId\" }",
                "not-authenticated",
            ),
            (denied, "S3Error { code: \"AccessDenied\" }", "not-allowed"),
            (
                ErrorKind::NotFound,
                "S3Error { code: \"NoSuchBucket\" }",
                "storage-missing",
            ),
            (ErrorKind::Unexpected, "PermanentRedirect", "storage"),
            (
                ErrorKind::Unexpected,
                "RequestTimeTooSkewed",
                "not-authenticated",
            ),
            (ErrorKind::RateLimited, "SlowDown", "rate-limited"),
            (ErrorKind::Unexpected, "whatever", "target-unavailable"),
            (ErrorKind::ConfigInvalid, "bad", "storage-url"),
        ] {
            assert_eq!(said(kind, text).0, code, "{text}");
        }
    }

    #[test]
    fn nothing_of_an_answer_is_repeated_but_a_clean_cause() {
        let inner = std::io::Error::other("refused by canary-secret\nmore");
        let error = Error::new(ErrorKind::Unexpected, "send http request")
            .with_context("response", "Authorization: canary-header")
            .set_source(inner);
        let failure = told(&error);
        let text = format!("{failure:?}");
        assert!(!text.contains("canary"), "{text}");
        assert!(failure.message.ends_with("refused by ***"), "{text}");
        let answer = Error::new(
            ErrorKind::Unexpected,
            "<html>canary-secret canary-echo</html>",
        )
        .with_context("response", "Parts { status: 503, headers: canary }");
        let failure = told(&answer);
        assert!(failure.message.ends_with("it answered with status 503"));
        assert!(!format!("{failure:?}").contains("canary"));
    }
}
