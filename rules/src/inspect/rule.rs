//! Owns the inspect stage: sources and the config's list of actions in, [`Inspection`] out.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, OnceLock},
};

use synapse_engine::{
    Cacheability, Context, Digest, Failure, Files, GraphBuilder, Input, Inputs, Label, Lane,
    Manifest, Node, Outcome, Pending, Rule, Session, Tree, TreeEntry,
};

use super::{
    Inspection,
    forms::{Subject, inspect},
    schemas::Schemas,
};
use crate::{archive::EDITED, environment::base_digest, plugin::Plugin};

/// The rule. Raise the version whenever the same sources would give another inspection.
///
/// 1: static reading, forms by the inspection server.
pub const RULE: Rule = Rule {
    name: "inspect",
    version: 1,
};

/// The inspection of one plugin. Output `inspection` is an [`Inspection`].
pub struct InspectNode {
    plugin: Arc<Plugin>,
    schemas: Arc<dyn Schemas>,
    sources: OnceLock<Tree>,
}

/// Whether an archived file is Python source.
pub fn is_source(path: &str) -> bool {
    path.strip_suffix(".py").is_some_and(|stem| {
        !stem.is_empty()
            && !stem.ends_with('/')
            && !path.split('/').any(|part| part == "__pycache__")
    })
}

impl InspectNode {
    /// The inspection of `plugin`, its forms known to `schemas`.
    pub fn new(plugin: Arc<Plugin>, schemas: Arc<dyn Schemas>) -> Self {
        Self {
            plugin,
            schemas,
            sources: OnceLock::new(),
        }
    }

    fn sources(&self) -> &Tree {
        self.sources.get_or_init(|| {
            let mut entries = self.plugin.files.load();
            entries.retain(|entry| is_source(&entry.path));
            // To Python a file is none the other for being executable.
            for entry in &mut entries {
                entry.executable = false;
            }
            Tree::new(entries)
        })
    }
}

/// The text of a plugin's sources. Fails when one is not what was scanned; bytes that are no
/// UTF-8 become replacement characters, which no Python has outside of text.
pub fn read_sources(
    plugin: &Plugin,
    entries: &[TreeEntry],
) -> Result<BTreeMap<String, String>, Failure> {
    let mut sources = BTreeMap::new();
    for entry in entries {
        let path = plugin.source_of(&entry.path);
        let bytes = std::fs::read(&path).map_err(|error| unreadable(&path, &error))?;
        if Digest::of(&bytes) != entry.digest {
            return Err(edited(&path));
        }
        let text = String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        sources.insert(entry.path.clone(), text);
    }
    Ok(sources)
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    let shown = path.display().to_string();
    if error.kind() == std::io::ErrorKind::NotFound {
        return edited(path);
    }
    Failure::user("unreadable", format!("cannot read {shown}: {error}"))
        .at(shown)
        .hint("make it readable, or ignore it in .synapseignore")
}

/// A file is not the one that was scanned.
pub(crate) fn edited(path: &Path) -> Failure {
    let shown = path.display().to_string();
    Failure::user(
        EDITED,
        format!("{shown} was edited while it was being inspected"),
    )
    .at(shown)
    .hint("nothing was published; run it again when the file is at rest")
}

impl Node for InspectNode {
    fn rule(&self) -> Rule {
        RULE
    }

    fn label(&self) -> Label {
        Label {
            stage: "inspect".to_owned(),
            subject: self.plugin.subject(),
        }
    }

    /// It waits for a child of the server, which bounds how many there are: more questions than
    /// processors keep every processor busy.
    fn lane(&self) -> Lane {
        Lane::Io
    }

    fn manifest(&self, _inputs: Inputs<'_>, out: &mut dyn Manifest) -> Result<(), Pending> {
        out.input("sdk", Input::Text(synapse_python::digest()));
        out.input("base environment", Input::Digest(base_digest()));
        let entries = &self.plugin.head.actions;
        out.input("actions", Input::Number(entries.len() as u64));
        for entry in entries {
            let entrypoint = format!("{}:{}", entry.module, entry.object);
            out.input(
                &format!("entrypoint of {}", entry.action),
                Input::Text(&entrypoint),
            );
        }
        out.input("sources", Input::Files(self.sources()));
        Ok(())
    }

    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        let sources = read_sources(&self.plugin, &Files::load(self.sources()))?;
        let subject = Subject {
            sources: &sources,
            entries: &self.plugin.head.actions,
            requires: self.plugin.head.requires_python.as_deref(),
            real: None,
        };
        let inspection = inspect(&subject, self.schemas.as_ref(), context.cancel())
            .map_err(|failure| place(failure, &self.plugin))?;
        let value =
            serde_json::to_value(inspection).map_err(|error| Failure::bug(error.to_string()))?;
        Ok(Outcome::new(Cacheability::Store).value("inspection", value))
    }
}

fn place(failure: Failure, plugin: &Plugin) -> Failure {
    if failure.place.is_some() {
        return failure;
    }
    failure.at(plugin.source.folder().display().to_string())
}

/// The inspection of one plugin, from the store where it is known.
pub fn inspected(
    plugin: &Arc<Plugin>,
    schemas: Arc<dyn Schemas>,
    session: &Session,
) -> Result<Inspection, Failure> {
    let mut builder = GraphBuilder::new();
    let id = builder.node(Arc::new(InspectNode::new(Arc::clone(plugin), schemas)));
    let graph = builder
        .build()
        .map_err(|cycle| Failure::bug(cycle.to_string()))?;
    let graph = Arc::new(graph);
    let plan = synapse_engine::plan(&graph, session)?;
    let done = synapse_engine::run(&graph, &plan, session);
    let report = done.get(id);
    if let Some(failure) = &report.failure {
        return Err(failure.clone());
    }
    let outcome = report.outcome.as_ref().ok_or_else(Failure::cancelled)?;
    let value = outcome.get("inspection").cloned().unwrap_or_default();
    serde_json::from_value(value)
        .map_err(|error| Failure::bug(format!("an inspection cannot be read: {error}")))
}
