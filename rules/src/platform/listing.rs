//! Owns lists: all pages of one, within bounds.

use serde_json::Value;

use super::{Platform, PlatformError};
use crate::http::WireError;

/// Items asked for at a time.
const PAGE: usize = 200;
/// Pages of one list, so that a server that never ends one does not hold us for ever.
const PAGES: usize = 5_000;

impl Platform {
    /// Everything in a list. `path` may have a query.
    pub fn list(&self, path: &str) -> Result<Vec<Value>, PlatformError> {
        let mut all: Vec<Value> = Vec::new();
        let join = if path.contains('?') { '&' } else { '?' };
        for _ in 0..PAGES {
            let page = format!("{path}{join}limit={PAGE}&offset={}", all.len());
            let mut page = self.get(&page)?;
            // Some lists are no pages.
            if let Value::Array(list) = page {
                return Ok(list);
            }
            let last = page.get("next").is_none_or(Value::is_null);
            let Some(Value::Array(results)) = page.get_mut("results").map(Value::take) else {
                return Err(self.no_list());
            };
            let empty = results.is_empty();
            all.extend(results);
            if last || empty {
                return Ok(all);
            }
        }
        Err(self.no_list())
    }

    fn no_list(&self) -> PlatformError {
        PlatformError::Wire(WireError::Garbled {
            host: self.host().to_owned(),
            what: "its list has no end, or no results".to_owned(),
        })
    }
}
