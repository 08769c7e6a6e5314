//! Owns queries and pages of lists: `limit`, `offset`, and the addresses of the pages around.

use axum::http::Uri;
use serde_json::{Value, json};

use super::Inner;
use super::reply::Problem;
use crate::page::Page;

/// Items in a page unless the caller says.
const USUAL: u32 = 100;
/// Items in a page at most.
const MOST: u32 = 1000;

/// The part of an address after the question mark.
pub(crate) struct Query {
    path: String,
    pairs: Vec<(String, String)>,
}

impl Query {
    pub(crate) fn of(uri: &Uri) -> Result<Self, Problem> {
        let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|_| Problem::bad("the query of the address cannot be read"))?;
        Ok(Self {
            path: uri.path().to_owned(),
            pairs: pairs.0,
        })
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.pairs.iter().find(|(own, _)| own == name);
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// A number that is not negative.
    pub(crate) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Problem> {
        let read = |text: &str| {
            let problem = || Problem::field(name, "A valid integer is required.");
            text.parse().map_err(|_| problem())
        };
        self.get(name).map(read).transpose()
    }

    /// A truth value.
    pub(crate) fn truth(&self, name: &str) -> Result<Option<bool>, Problem> {
        match self.get(name).map(str::to_ascii_lowercase).as_deref() {
            None => Ok(None),
            Some("true" | "1") => Ok(Some(true)),
            Some("false" | "0") => Ok(Some(false)),
            Some(_) => Err(Problem::field(name, "Must be a valid boolean.")),
        }
    }

    /// `limit` and `offset`.
    pub(crate) fn window(&self) -> Result<(u32, u32), Problem> {
        let limit = self.number("limit")?.unwrap_or(USUAL).clamp(1, MOST);
        Ok((limit, self.number("offset")?.unwrap_or(0)))
    }

    /// A page of a list as the platform writes it.
    pub(crate) fn page(&self, shared: &Inner, page: &Page<Value>) -> Result<Value, Problem> {
        let (limit, offset) = self.window()?;
        let (limit, offset) = (u64::from(limit), u64::from(offset));
        let next = (offset + limit < page.total).then(|| offset + limit);
        let previous = (offset > 0).then(|| offset.saturating_sub(limit));
        let place = |offset: u64| self.address(&shared.url, limit, offset);
        Ok(json!({
            "count": page.total,
            "next": next.map(place),
            "previous": previous.map(place),
            "results": page.items,
        }))
    }

    fn address(&self, url: &str, limit: u64, offset: u64) -> String {
        let own = |name: &str| name == "limit" || name == "offset";
        let mut address = format!("{url}{}?", self.path);
        for (name, value) in self.pairs.iter().filter(|(name, _)| !own(name)) {
            crate::files::percent_encode(name.as_bytes(), &mut address);
            address.push('=');
            crate::files::percent_encode(value.as_bytes(), &mut address);
            address.push('&');
        }
        address + &format!("limit={limit}&offset={offset}")
    }
}
