//! Owns the programs of other makers that chores and tests start: installed once, below the build
//! folder, when they are not there.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
};

use anyhow::{Context, Result, bail, ensure};

use crate::repo;

/// A program on the crate registry.
pub(crate) struct Tool {
    /// Its crate, and its program.
    name: &'static str,
    version: &'static str,
    options: &'static [&'static str],
}

/// Checks the licences of crates.
pub(crate) const DENY: Tool = Tool {
    name: "cargo-deny",
    version: "0.20.2",
    options: &[],
};
/// The second S3 server of the tests, which checks signatures and checksums in code of its own.
pub(crate) const S3S: Tool = Tool {
    name: "s3s-fs",
    version: "0.14.1",
    options: &["--features", "binary"],
};
/// Makes a book of Markdown. It is MPL: it is started, and linked to nothing.
pub(crate) const MDBOOK: Tool = Tool {
    name: "mdbook",
    version: "0.5.4",
    options: &["--no-default-features"],
};

impl Tool {
    /// Where it is, if it is on this machine.
    pub(crate) fn find(&self, root: &Path) -> Option<PathBuf> {
        let own = folder(root).join("bin").join(self.name);
        let own = own.is_file().then_some(own);
        own.or_else(|| repo::find(self.name))
    }

    /// Where it is, once it is installed. Not optimised: building it costs more than its work.
    pub(crate) fn installed(&self, root: &Path) -> Result<PathBuf> {
        if let Some(found) = self.find(root) {
            return Ok(found);
        }
        let (name, version) = (self.name, self.version);
        println!("installing {name} {version} below the build folder, once; about a minute");
        let mut install = if repo::has("nice") {
            // What is built meanwhile is waited for.
            let mut nice = Command::new("nice");
            nice.args(["-n", "19"]).arg(repo::cargo().get_program());
            nice
        } else {
            repo::cargo()
        };
        install
            .args(["install", "--locked", "--quiet", "--debug", name])
            .args(["--version", version])
            .args(self.options)
            .arg("--root")
            .arg(folder(root))
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            // It builds in a temporary folder of its own, which cargo removes.
            .env_remove("CARGO_TARGET_DIR")
            .current_dir(root)
            .stdin(Stdio::null());
        let done = install.output().context("cargo does not start")?;
        let said = String::from_utf8_lossy(&done.stderr);
        ensure!(done.status.success(), "installing {name} failed\n{said}");
        match self.find(root) {
            Some(found) => Ok(found),
            None => bail!("installing {name} left no program"),
        }
    }
}

fn folder(root: &Path) -> PathBuf {
    repo::target_dir(root).join("tools")
}

/// Installations that go on beside other work, one after the other.
pub(crate) struct Installing {
    ended: mpsc::Receiver<Ended>,
    waiting: Vec<Ended>,
}

/// An installation that has ended.
type Ended = (&'static str, Result<PathBuf>);

impl Installing {
    /// Starts to install `tools`, in this order.
    pub(crate) fn start(root: &Path, tools: Vec<Tool>) -> Self {
        let (sender, ended) = mpsc::channel();
        let root = root.to_owned();
        thread::spawn(move || {
            for tool in tools {
                let _ = sender.send((tool.name, tool.installed(&root)));
            }
        });
        Self {
            ended,
            waiting: Vec::new(),
        }
    }

    /// Waits for one of them; where it is.
    pub(crate) fn wait(&mut self, tool: &Tool) -> Result<PathBuf> {
        loop {
            let mut known = self.waiting.iter();
            if let Some(at) = known.position(|(name, _)| *name == tool.name) {
                return self.waiting.remove(at).1;
            }
            self.waiting
                .push(self.ended.recv().context("it is not being installed")?);
        }
    }
}
