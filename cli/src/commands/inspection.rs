//! Owns what a run learns of the code before the action is started: params that it would refuse,
//! and whether config.yaml says what the code says.

use std::sync::Arc;

use serde_json::Value;
use synapse_engine::{Failure, FailureKind, Session, Silence};
use synapse_rules::{
    action,
    inspect::{self, Schemas},
    plugin::Plugin,
    sync::{self, Stages},
};

use crate::{app::App, render::board, select::Selected};

/// Refuses params that are certainly wrong.
pub(super) fn check(
    app: &App,
    plugin: &Plugin,
    action: &str,
    params: &Value,
    session: &Session,
    offline: bool,
) -> Result<(), Failure> {
    let mut schemas = app.served(session);
    if offline {
        schemas = schemas.where_it_is();
    }
    let _busy = board::busy(format!("holding the parameters against {action}"));
    match inspect::refused(plugin, action, params, &schemas, &app.cancel) {
        Ok(errors) if errors.is_empty() => Ok(()),
        Ok(errors) => Err(action::refused(&errors, action)),
        Err(failure) if failure.kind == FailureKind::Cancelled => Err(failure),
        // The run itself will tell.
        Err(_) => Ok(()),
    }
}

const DIFFERS: &str = "the code says more than config.yaml, or something else; \
                       `synapse plugin update-config` writes it";

/// What a look at the code told.
#[derive(Default)]
pub(super) struct Looked {
    /// What to tell when a publish would send another config.yaml than the one that is there.
    pub(super) differs: Option<&'static str>,
    /// The stages of the look; none where nothing had changed since the last one.
    pub(super) stages: Stages,
}

/// Looks at the code, as far as that needs no environment made for it.
pub(super) fn look(
    app: &App,
    plugin: &Arc<Plugin>,
    selected: &Selected,
) -> Result<Looked, Failure> {
    let differs = |plugin: &Plugin| plugin.synced_config().map(|_| DIFFERS);
    let events = app.invocation.hearing(Arc::new(Silence));
    let session = app.session(&selected.root, events, None, true)?;
    if plugin.head.synced.is_some() && !session.thorough {
        return Ok(Looked {
            differs: differs(plugin),
            stages: Vec::new(),
        });
    }
    let schemas: Arc<dyn Schemas> = Arc::new(app.served(&session).where_it_is());
    let _busy = board::busy(format!("inspecting {}", plugin.subject()));
    match sync::synced(plugin, &schemas, &session) {
        Ok((synced, stages)) => {
            if plugin.head.synced.is_none() && synced.source.config.is_none() {
                let seen = (synced.source.place.clone(), synced.section.clone());
                selected.workspace.save(&[seen]);
            }
            Ok(Looked {
                differs: differs(&synced),
                stages,
            })
        }
        Err(failure) if failure.kind == FailureKind::Cancelled => Err(failure),
        // It is the publish's business to fail for that.
        Err(_) => Ok(Looked::default()),
    }
}
