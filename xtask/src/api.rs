//! Owns the check of the server by its own OpenAPI document: schemathesis makes up requests from
//! it, sends them to a server that was just built, and holds every answer against it.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{python::Found, pythons, repo};

/// What makes up the requests, pinned: a newer one finds other things.
const CHECKER: [&str; 1] = ["schemathesis==4.32.5"];
/// Requests made up for each call, beside those at the edges of what the document allows.
const EXAMPLES: &str = "5";
/// What is not asked for. A request may satisfy the document and name what there is not: a job, an
/// upload, a plugin. It is refused then, which `positive_data_acceptance` takes for a fault.
const LEFT_OUT: &str = "positive_data_acceptance";

/// A server, which ends with this.
struct Serving {
    child: Child,
    url: String,
    token: String,
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the check against `target/debug/synapse`, which is there.
pub(crate) fn check(root: &Path) -> Result<Found> {
    let python = pythons::all().pop().context("no Python for schemathesis")?;
    let folder = repo::target_dir(root).join("python/api");
    let environment =
        pythons::environment(&python, &folder, &CHECKER, &[]).context("installing schemathesis")?;
    let home = tempfile::tempdir()?;
    let serving = serve(root, home.path())?;
    let status = Command::new(environment.join("bin/st"))
        .current_dir(home.path())
        .env("HOME", home.path())
        .arg("run")
        .arg(format!("{}/openapi.json", serving.url))
        // Both ways of saying who calls; made-up ones would be refused, and nothing else checked.
        .arg("--header")
        .arg(format!("Synapse-Access-Token: Token {}", serving.token))
        .arg("--header")
        .arg(format!("Authorization: Token {}", serving.token))
        .args(["--header", "Synapse-Tenant: Token default"])
        // A stream goes on as long as its job does, which nobody here ends.
        .args(["--exclude-operation-id", "tailConsoleLogs"])
        .args(["--phases", "examples,coverage,fuzzing"])
        .args(["--max-examples", EXAMPLES, "--seed", "1"])
        .args(["--request-timeout", "20"])
        .args(["--checks", "all", "--exclude-checks", LEFT_OUT])
        .args(["--continue-on-failure", "--no-color", "--warnings", "off"])
        .status()
        .context("schemathesis does not start")?;
    Ok(if status.success() {
        Ok(())
    } else {
        Err(format!("schemathesis: {status}"))
    })
}

/// A server of a backend in which there is one of what can be had without a platform.
fn serve(root: &Path, home: &Path) -> Result<Serving> {
    let program = repo::target_dir(root).join("debug/synapse");
    let synapse = |args: &[&str]| {
        let mut command = Command::new(&program);
        command
            .args(args)
            .current_dir(home)
            .env("HOME", home)
            .env("SYNAPSE_HOME", home.join("synapse"));
        command
    };
    fs::create_dir(home.join("images"))?;
    fs::write(home.join("images/a.jpg"), "a")?;
    let added = synapse(&["dataset", "add", "images", "--name", "images", "--quiet"]).status()?;
    if !added.success() {
        bail!("no dataset to ask for: {added}");
    }
    // Without a limit: it is the calls that are checked, not how many there may be.
    let mut child = synapse(&["backend", "serve", "--until-stdin-closes", "--rate", "0"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("the server does not start")?;
    let mut line = String::new();
    let output = child.stdout.take().context("no output")?;
    BufReader::new(output).read_line(&mut line)?;
    let said: Value = serde_json::from_str(&line).context("what the server says first")?;
    let text = |name: &str| said[name].as_str().unwrap_or_default().to_owned();
    Ok(Serving {
        url: text("url"),
        token: text("token"),
        child,
    })
}
