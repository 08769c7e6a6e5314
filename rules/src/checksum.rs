//! Owns the checksum stage: md5, sha256 and blake3 of an archive from one read, which also
//! proves that the file in the store is whole.

use std::sync::Arc;

use synapse_engine::{
    Cacheability, Context, Failure, Input, Inputs, Label, Manifest, Node, Outcome, Pending, Rule,
};

use crate::{digests, plugin::Plugin};

/// The rule.
///
/// 1: md5, sha256, blake3.
pub const RULE: Rule = Rule {
    name: "checksum",
    version: 1,
};

/// The checksums of one plugin's archive, its only dependency.
pub struct ChecksumNode {
    plugin: Arc<Plugin>,
}

impl ChecksumNode {
    /// The checksums of the archive of `plugin`.
    pub fn new(plugin: Arc<Plugin>) -> Self {
        Self { plugin }
    }
}

impl Node for ChecksumNode {
    fn rule(&self) -> Rule {
        RULE
    }

    fn label(&self) -> Label {
        Label {
            stage: "checksum".to_owned(),
            subject: self.plugin.subject(),
        }
    }

    fn manifest(&self, inputs: Inputs<'_>, out: &mut dyn Manifest) -> Result<(), Pending> {
        out.input("archive", Input::Digest(inputs.output(0, "zip")?));
        Ok(())
    }

    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        let zip = context.input(0)?.blob_of("zip");
        let (digest, size) = zip.ok_or_else(|| Failure::bug("an archive without a file"))?;
        let mut blob = context.blob(&digest, size)?;
        let sums = digests::checksums(&mut blob.file, &|| context.cancel().cancelled());
        if context.cancel().cancelled() {
            return Err(Failure::cancelled());
        }
        // What cannot be read, or reads differently, is made again.
        let sums = sums.map_err(|_| Failure::missing_blob(digest))?;
        if sums.blake3 != digest {
            return Err(Failure::missing_blob(digest));
        }
        Ok(Outcome::new(Cacheability::Store)
            .value("md5", sums.md5)
            .value("sha256", sums.sha256)
            .value("blake3", sums.blake3.hex()))
    }
}
