//! Owns the sync stage: a configuration and the inspection of its code in, the synced
//! configuration out.

use std::{collections::BTreeMap, io::Write, sync::Arc};

use serde_json::Value as Json;
use synapse_engine::{
    Cacheability, Context, Digest, Failure, GraphBuilder, Input, Inputs, Label, Manifest, Node,
    NodeId, NodeReport, Outcome, Pending, Rule, Session, Store, StoreError, store_failure,
};

use super::{
    Refused, edit,
    rules::{Change, wanted},
};
use crate::{
    archive, config,
    inspect::{FORMS, InspectNode, Inspection, Note, Schemas},
    plugin::Plugin,
    secrets::Scanner,
};

/// The rule. Raise the version whenever the same file and inspection would give other bytes.
///
/// 1: entrypoint, method, types, forms, new actions; edits of the bytes concerned.
/// 2: a serve class that names no action is no new action.
pub const RULE: Rule = Rule {
    name: "sync",
    version: 2,
};

/// A configuration, synced.
#[derive(Debug, Clone)]
pub struct Synced {
    /// Its bytes; none when the file is right as it is.
    pub bytes: Option<Vec<u8>>,
    /// What changes.
    pub changes: Vec<Change>,
    /// The forms that it holds, by action.
    pub forms: BTreeMap<String, Json>,
    /// What could not be determined.
    pub notes: Vec<Note>,
}

/// The synced configuration of one plugin. Depends on its inspection. Output `config` is the
/// file, where it differs from the source; `changes`, `notes` and `ui_schemas` are values.
pub struct SyncNode {
    plugin: Arc<Plugin>,
    scanner: Arc<Scanner>,
    store: Arc<dyn Store>,
}

impl SyncNode {
    /// The synced configuration of `plugin`, kept in `store` unless `scanner` finds credentials
    /// in it.
    pub fn new(plugin: Arc<Plugin>, scanner: Arc<Scanner>, store: Arc<dyn Store>) -> Self {
        Self {
            plugin,
            scanner,
            store,
        }
    }
}

/// The stages that make a plugin's synced configuration.
pub fn stages(
    builder: &mut GraphBuilder,
    plugin: &Arc<Plugin>,
    schemas: &Arc<dyn Schemas>,
    scanner: &Arc<Scanner>,
    store: &Arc<dyn Store>,
) -> [(&'static str, NodeId); 2] {
    let inspect = InspectNode::new(Arc::clone(plugin), Arc::clone(schemas));
    let inspect = builder.node(Arc::new(inspect));
    let sync = SyncNode::new(Arc::clone(plugin), Arc::clone(scanner), Arc::clone(store));
    let sync = builder.node(Arc::new(sync));
    builder.depends(sync, inspect);
    [("inspect", inspect), ("sync", sync)]
}

/// The plugin as its sync, which ended with `outcome`, made it.
pub fn applied(plugin: &Plugin, outcome: &Outcome) -> Result<Plugin, Failure> {
    let notes = outcome.get("notes").cloned().unwrap_or_default();
    let notes = serde_json::from_value(notes)
        .map_err(|error| Failure::bug(format!("the notes of a sync cannot be read: {error}")))?;
    plugin.with_synced(outcome.blob_of("config"), notes)
}

/// Stages, and how each ended.
pub type Stages = Vec<(&'static str, NodeReport)>;

/// One plugin, synced, and the stages that led to it.
pub fn synced(
    plugin: &Arc<Plugin>,
    schemas: &Arc<dyn Schemas>,
    session: &Session,
) -> Result<(Plugin, Stages), Failure> {
    let scanner = Scanner::new(&plugin.head.allow_secrets)
        .map_err(|error| Failure::usage(error.to_string()))?;
    let scanner = Arc::new(scanner);
    let mut builder = GraphBuilder::new();
    let stages = stages(&mut builder, plugin, schemas, &scanner, &session.store);
    let graph = builder
        .build()
        .map_err(|cycle| Failure::bug(cycle.to_string()))?;
    let graph = Arc::new(graph);
    let plan = synapse_engine::plan(&graph, session)?;
    let done = synapse_engine::run(&graph, &plan, session);
    let reports = stages.map(|(stage, id)| (stage, done.get(id).clone()));
    let failed = reports.iter().find_map(|(_, own)| own.failure.clone());
    if let Some(failure) = failed {
        return Err(failure);
    }
    let outcome = reports[1].1.outcome.clone();
    let outcome = outcome.ok_or_else(Failure::cancelled)?;
    let plugin = applied(plugin, &outcome)?;
    Ok((plugin, reports.to_vec()))
}

/// Syncs a configuration. `shown` is what failures call the file.
pub fn bytes(source: &[u8], shown: &str, inspection: &Inspection) -> Result<Synced, Failure> {
    let parsed = config::parse(source, shown);
    let Some(own) = parsed.config else {
        let failure = crate::plugin::diagnostics_failure(&parsed.diagnostics);
        return Err(failure.unwrap_or_else(|| Failure::bug("a loaded configuration is refused")));
    };
    let target = wanted(&own.json, inspection);
    let form = |action: &&str| {
        let own = target.json.get("actions")?.get(*action)?;
        let list = own
            .get("ui_schema")
            .or_else(|| own.get("hyperparameters")?.get("train_ui_schemas"));
        Some(((*action).to_owned(), list?.clone()))
    };
    let forms = FORMS.iter().filter_map(form).collect();
    let notes = inspection.notes.clone();
    if target.changes.is_empty() {
        return Ok(Synced {
            bytes: None,
            changes: Vec::new(),
            forms,
            notes,
        });
    }
    let edited = edit(source, &target.json).map_err(|error| refused(&error, source, shown))?;
    // Nothing that is right may come out wrong.
    let after = config::parse(&edited, shown);
    match after.config {
        Some(after) if after.json == target.json => Ok(Synced {
            bytes: Some(edited),
            changes: target.changes,
            forms,
            notes,
        }),
        _ => Err(refused(
            &Refused {
                path: "the file".to_owned(),
                at: 0,
            },
            source,
            shown,
        )),
    }
}

/// The failure of an edit that would touch more than it should.
pub fn refused(error: &Refused, source: &[u8], shown: &str) -> Failure {
    let at = error.at.min(source.len());
    let place = config::source::Source::new(source, shown).position(at);
    Failure::user(
        "sync-refused",
        format!("what the code says cannot be written into {shown}: {error}"),
    )
    .at(format!("{shown}:{}:{}", place.0, place.1))
    .hint("write the action's keys out, without anchors, aliases or tags")
}

fn value(of: impl serde::Serialize) -> Result<Json, Failure> {
    serde_json::to_value(of).map_err(|error| Failure::bug(error.to_string()))
}

impl Node for SyncNode {
    fn rule(&self) -> Rule {
        RULE
    }

    fn label(&self) -> Label {
        Label {
            stage: "sync".to_owned(),
            subject: self.plugin.subject(),
        }
    }

    fn manifest(&self, inputs: Inputs<'_>, out: &mut dyn Manifest) -> Result<(), Pending> {
        out.input(
            "config",
            Input::Digest(self.plugin.source_config().ok_or(Pending)?.digest),
        );
        out.input("inspection", Input::Digest(inputs.output(0, "inspection")?));
        Ok(())
    }

    /// A synced file that is gone from the store is made again.
    fn present(&self, outcome: &Outcome) -> bool {
        outcome
            .blobs()
            .all(|(blob, size)| self.store.has_blob(&blob, size))
    }

    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        let inspection = context
            .input(0)?
            .get("inspection")
            .cloned()
            .unwrap_or_default();
        let inspection: Inspection = serde_json::from_value(inspection)
            .map_err(|error| Failure::bug(format!("an inspection cannot be read: {error}")))?;
        let (source, shown) = self.plugin.read_source_config()?;
        let synced = bytes(&source, &shown, &inspection)?;
        let outcome = Outcome::new(Cacheability::Store)
            .value("changes", value(&synced.changes)?)
            .value("notes", value(&synced.notes)?)
            .value("ui_schemas", value(&synced.forms)?);
        let Some(bytes) = synced.bytes else {
            return Ok(outcome);
        };
        archive::inspect_config(&self.plugin, &self.scanner, &source)?;
        let mut file = context.writer()?;
        file.write_all(&bytes).map_err(|error| {
            let what = "writing a configuration".to_owned();
            store_failure(&StoreError::Io {
                what,
                source: error,
            })
        })?;
        let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
        context.place(file, &digest, size)?;
        Ok(outcome.blob("config", digest, size))
    }
}
