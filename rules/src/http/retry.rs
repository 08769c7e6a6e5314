//! Owns how often a call is repeated and how long one waits before: doubling, with jitter, and
//! never less than the other side asked for.

use std::time::{Duration, SystemTime};

use reqwest::{
    StatusCode,
    header::{HeaderMap, RETRY_AFTER},
};

/// How calls are repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Repeats after the first try.
    pub repeats: u32,
    /// The wait before the first repeat; it doubles each time.
    pub first: Duration,
    /// The longest wait of our own choosing.
    pub most: Duration,
    /// The longest wait that the other side may ask for; beyond it one gives up at once.
    pub asked: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            repeats: 4,
            first: Duration::from_millis(200),
            most: Duration::from_secs(8),
            asked: Duration::from_mins(1),
        }
    }
}

impl Retry {
    /// The repeats of one call.
    pub fn tries(self) -> Tries {
        Tries {
            retry: self,
            done: 0,
        }
    }
}

/// The repeats that are left of one call.
#[derive(Debug, Clone)]
pub struct Tries {
    retry: Retry,
    done: u32,
}

impl Tries {
    /// How long to wait before the next repeat; none when there is none.
    pub fn next(&mut self, asked: Option<Duration>) -> Option<Duration> {
        if self.done == self.retry.repeats || asked.is_some_and(|asked| asked > self.retry.asked) {
            return None;
        }
        let own = self.retry.first * 2_u32.saturating_pow(self.done);
        let own = own.min(self.retry.most);
        self.done += 1;
        // Half of it to all of it: many who failed at once do not come back at once.
        let own = own.mul_f64(0.5 + fastrand::f64() / 2.0);
        Some(asked.map_or(own, |asked| asked.max(own)))
    }
}

/// Whether a status says that the same call may go through later.
pub(crate) fn passes(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::REQUEST_TIMEOUT
            | StatusCode::TOO_EARLY
            | StatusCode::TOO_MANY_REQUESTS
            | StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

/// What `Retry-After` says: seconds, or a date.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = httpdate::parse_http_date(text).ok()?;
    Some(until.duration_since(SystemTime::now()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_with_jitter_and_heed_what_is_asked() {
        let retry = Retry::default();
        let mut tries = retry.tries();
        for step in 0..retry.repeats {
            let full = retry.first * 2_u32.pow(step);
            let wait = tries.next(None).unwrap();
            assert!(wait <= full && wait >= full / 2, "{wait:?} of {full:?}");
        }
        assert_eq!(tries.next(None), None);
        let mut tries = retry.tries();
        assert_eq!(
            tries.next(Some(Duration::from_secs(30))),
            Some(Duration::from_secs(30))
        );
        assert_eq!(tries.next(Some(Duration::from_secs(61))), None);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers)
        };
        assert_eq!(of("7"), Some(Duration::from_secs(7)));
        assert_eq!(
            of("Sun, 06 Nov 1994 08:49:37 GMT"),
            Some(Duration::default())
        );
        assert_eq!(of("soon"), None);
        assert_eq!(of("-1"), None);
    }
}
