//! Wheels, libraries and object stores: wheels by real backends, stores behind real servers of this
//! machine.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod libraries;
mod servers;
mod stored;
mod wheels;

use serde_json::Value;
use synapse_tests::{Run, Space, space, wheels::Index};

/// A space whose Python packages come from a folder of this machine.
fn space() -> Space {
    let mut space = space!();
    for (name, value) in index().variables() {
        space.set(name, &value);
    }
    // Nobody is asked for the machine's own credentials.
    space.set("AWS_EC2_METADATA_DISABLED", "true");
    space
}

/// The packages that builds take.
fn index() -> Index {
    let more = ["build>=1.2,<2", "hatchling", "packaging"];
    Index::of(&synapse_tests::wheels::usual_python(), "build", &more)
}

/// `plugin upload --json` of the plugin in `place` into the folder `store` of the space.
fn upload(space: &Space, place: &str, more: &[&str]) -> Run {
    let url = format!("file://{}", space.root().join("store").display());
    let args = [
        "plugin",
        "upload",
        "--yes",
        "--json",
        "--path",
        place,
        "--storage",
        &url,
    ];
    space.synapse(&[&args[..], more].concat())
}

/// The entries of a document's only plugin under a key.
fn entries<'d>(document: &'d Value, key: &str) -> &'d [Value] {
    document["plugins"][0][key].as_array().unwrap()
}

/// The decision of a stage, when it was come to.
fn decision(document: &Value, stage: &str) -> Option<String> {
    let stages = entries(document, "stages").iter();
    let own = stages.rev().find(|own| own["stage"] == stage)?;
    own["decision"].as_str().map(str::to_owned)
}
