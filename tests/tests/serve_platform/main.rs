//! The server as a platform: releases sent to it, tokens and tenants, pages in browsers, the
//! OpenAPI document, and what comes of hostile requests.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, reason = "tests")]

mod access;
mod document;
mod hostile;
mod releases;

use std::{
    fs,
    io::{Cursor, Write},
};

use serde_json::{Value, json};
use synapse_tests::{Answer, Serving, Space};
use zip::write::SimpleFileOptions;

/// Of `hello world`.
const MD5: &str = "5eb63bbbe01eeed093cb22bb8f5acdc3";

/// What a client sends to make a release.
pub(crate) struct Sent {
    pub(crate) config: Value,
    pub(crate) archive: Vec<u8>,
}

impl Sent {
    pub(crate) fn new(code: &str, version: &str) -> Self {
        let config = json!({
            "name": "A plugin", "code": code, "version": version, "category": "custom",
            "actions": {"run": {"entrypoint": "plugin.run:main", "method": "task"}},
        });
        let files = [
            ("README.md", format!("# {code}\n")),
            ("config.yaml", format!("code: {code}\nversion: {version}\n")),
            ("plugin/__init__.py", String::new()),
            ("plugin/run.py", "def main(): ...\n".to_owned()),
            ("requirements.txt", "numpy\n".to_owned()),
        ];
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, text) in files {
            let options = SimpleFileOptions::default().unix_permissions(0o644);
            zip.start_file(name, options).unwrap();
            zip.write_all(text.as_bytes()).unwrap();
        }
        let archive = zip.finish().unwrap().into_inner();
        Self { config, archive }
    }

    pub(crate) fn with(mut self, name: &str, value: Value) -> Self {
        self.config[name] = value;
        self
    }

    pub(crate) fn fields<'a>(&self, config: &'a str) -> Vec<(&'a str, String)> {
        let text = |name: &str| self.config[name].as_str().unwrap().to_owned();
        vec![
            ("plugin", text("code")),
            ("version", text("version")),
            ("config", config.to_owned()),
        ]
    }

    pub(crate) fn post_as(&self, serving: &Serving, token: &str, more: &[(&str, &str)]) -> Answer {
        let config = self.config.to_string();
        let own = self.fields(&config);
        let own: Vec<(&str, &str)> = own.iter().map(|(name, text)| (*name, &**text)).collect();
        let archive = (!more.iter().any(|(name, _)| *name == "chunked_upload"))
            .then_some(self.archive.as_slice());
        serving.release(token, &[&own, more].concat(), archive)
    }

    pub(crate) fn post(&self, serving: &Serving) -> Answer {
        self.post_as(serving, &serving.token, &[])
    }
}

pub(crate) fn files(space: &Space) -> usize {
    let folder = space.home().join("data/backend/files");
    fs::read_dir(folder).unwrap().count()
}

pub(crate) fn token(space: &Space, args: &[&str]) -> String {
    let all = [&["--json", "backend", "token", "create"], args].concat();
    let made = space.synapse(&all).expect(0).json();
    made["token"].as_str().unwrap().to_owned()
}
