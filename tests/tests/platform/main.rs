//! Publishing over HTTP against a server in another process: what is sent and what is not, several
//! targets, receipts, a server that goes away, and everything a network can do to it.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod contract;
mod faults;
mod publish;
mod tls;
mod wire;

use std::collections::BTreeMap;

use serde_json::Value;
use synapse_tests::{Document, Serving, Space};

const PROGRAM: &str = env!("CARGO_BIN_EXE_synapse_under_test");

/// A server with a home of its own.
struct Site {
    space: Space,
    serving: Serving,
}

impl Site {
    fn start() -> Self {
        let space = Space::new(PROGRAM);
        let serving = Serving::start(&space);
        Self { space, serving }
    }

    /// Every release of a plugin, as the server lists them.
    fn releases(&self, code: &str) -> Vec<Value> {
        let listed = self
            .serving
            .get(&format!("/plugin_releases/?plugin={code}"))
            .expect(200);
        listed["results"].as_array().unwrap().clone()
    }

    /// How many formal releases there are of each `CODE VERSION`.
    fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        let listed = self.serving.get("/plugin_releases/?limit=1000").expect(200);
        for release in listed["results"].as_array().unwrap() {
            if release["debug"] == false {
                let name = format!(
                    "{} {}",
                    release["plugin"].as_str().unwrap(),
                    release["version"].as_str().unwrap()
                );
                *counts.entry(name).or_default() += 1;
            }
        }
        counts
    }
}

/// Makes everything that runs in a space talk to a platform.
fn point(space: &mut Space, url: &str, token: &str) {
    space.set("SYNAPSE_HOST", url);
    space.set("SYNAPSE_ACCESS_TOKEN", token);
}

/// Writes saved logins: names, addresses and tokens.
fn save_logins(space: &Space, logins: &[(&str, &str, &str)]) {
    let folder = space.home().join("config");
    std::fs::create_dir_all(&folder).unwrap();
    let profiles: serde_json::Map<String, Value> = logins
        .iter()
        .map(|(name, host, token)| {
            let login = serde_json::json!({"host": host, "access_token": token});
            ((*name).to_owned(), login)
        })
        .collect();
    let path = folder.join("config.json");
    std::fs::write(&path, serde_json::json!({"profiles": profiles}).to_string()).unwrap();
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&path, private).unwrap();
}

/// `synapse plugin publish --yes --json` with more arguments.
#[track_caller]
fn publish(space: &Space, args: &[&str]) -> Document {
    Document::of(space.synapse(&[&["plugin", "publish", "--yes", "--json"], args].concat()))
}

/// The codes of a document's errors.
fn codes(document: &Document) -> Vec<&str> {
    let errors = document.value["errors"].as_array().unwrap();
    errors
        .iter()
        .map(|error| error["code"].as_str().unwrap())
        .collect()
}
