//! Owns [`Served`]: forms asked of the inspection server, in the base environment, which knows
//! the SDK and pydantic and nothing else; or in the plugin's own, where that is asked for.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use pep440_rs::VersionSpecifiers;
use serde_json::Value;
use synapse_engine::{Cancel, Failure};

use super::schemas::{Answer, Metadata, Request, Schemas};
use crate::{
    environment::{Environments, Ready},
    python::{
        Variables,
        process::{Private, clean_environment},
    },
    worker::{
        Launcher,
        protocol::{InspectRequest, InspectedAction, WantedAction},
        server::InspectServer,
    },
};

/// The inspection server of one command: started with the first question, one a Python.
pub struct Served {
    environments: Environments,
    /// The store's folder.
    store: PathBuf,
    /// The executable that is running.
    synapse: PathBuf,
    variables: Variables,
    jobs: usize,
    /// Makes no base environment.
    only_there: bool,
    servers: Mutex<HashMap<Option<String>, Arc<Server>>>,
}

/// A server and what it must not outlive.
struct Server {
    inspections: InspectServer,
    /// Holds the lease.
    _ready: Option<Ready>,
    _private: Private,
}

impl Served {
    /// Nothing is started yet.
    pub fn new(
        environments: Environments,
        store: PathBuf,
        synapse: PathBuf,
        variables: Variables,
        jobs: usize,
    ) -> Self {
        Self {
            environments,
            store,
            synapse,
            variables,
            jobs,
            only_there: false,
            servers: Mutex::default(),
        }
    }

    /// One that answers only where the base environment is there already.
    #[must_use]
    pub fn where_it_is(self) -> Self {
        Self {
            only_there: true,
            ..self
        }
    }

    /// One that inspects in this environment.
    pub fn in_environment(self, ready: Ready) -> Result<Self, Failure> {
        let server = Arc::new(self.start(ready)?);
        self.servers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(None, server);
        Ok(self)
    }

    fn start(&self, ready: Ready) -> Result<Server, Failure> {
        let failed = |error: std::io::Error| {
            Failure::environment(
                "inspect-server",
                format!("cannot prepare the inspection: {error}"),
            )
            .at(self.store.display().to_string())
            .hint("check the disk and the permissions of the store")
        };
        let sdk = synapse_python::materialise(&self.store.join("sdk")).map_err(failed)?;
        let private = Private::new(&self.store.join("tmp")).map_err(failed)?;
        let environment = clean_environment(&self.variables, private.path());
        let launcher = Launcher {
            synapse: self.synapse.clone(),
            interpreter: ready.interpreter.executable.clone(),
            libpython: ready.interpreter.libpython.clone(),
            sdk,
        };
        let inspections = InspectServer::new(launcher, environment, private.path(), self.jobs);
        Ok(Server {
            inspections,
            _ready: Some(ready),
            _private: private,
        })
    }

    /// The server for plugins that need this Python.
    fn server(&self, requires: Option<&str>) -> Result<Arc<Server>, Failure> {
        // Held while one starts: everybody else would start the same.
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        let key = if servers.contains_key(&None) {
            None
        } else {
            requires.map(str::to_owned)
        };
        if let Some(server) = servers.get(&key) {
            return Ok(Arc::clone(server));
        }
        if self.only_there && !self.environments.has_base(requires) {
            let what = "there is no base environment to inspect in";
            return Err(Failure::environment("inspect-server", what));
        }
        let specifiers = requires.and_then(|text| text.parse::<VersionSpecifiers>().ok());
        let ready = self.environments.base(None, specifiers.as_ref())?;
        let server = Arc::new(self.start(ready)?);
        servers.insert(key, Arc::clone(&server));
        Ok(server)
    }
}

impl Schemas for Served {
    fn ask(
        &self,
        request: &Request<'_>,
        cancel: &Cancel,
    ) -> Result<BTreeMap<String, Answer>, Failure> {
        let server = self.server(request.requires)?;
        let wanted = request.questions.iter().map(|question| WantedAction {
            action: question.action.clone(),
            module: question.module.clone(),
            object: question.object.clone(),
            params: question.params.clone(),
            ui: question.form,
            check: question.given.is_some(),
            given: question.given.clone().unwrap_or_default(),
        });
        let asked = InspectRequest {
            plugin_dir: request.folder.to_owned(),
            sources: request.sources.clone(),
            wanted: wanted.collect(),
            real: request.real,
        };
        let reply = server.inspections.inspect(&asked, cancel)?;
        Ok(reply
            .actions
            .into_iter()
            .map(|(action, own)| (action, answer(own)))
            .collect())
    }
}

fn answer(own: InspectedAction) -> Answer {
    let fields = match own.ui_schemas {
        Some(Value::Array(fields)) => Some(fields),
        _ => None,
    };
    Answer {
        function: own.kind.as_deref() == Some("function"),
        fields,
        excluded: own.excluded,
        hidden: own.exclude_model,
        modelled: own.model.is_some(),
        refused: own.refused.unwrap_or_default(),
        metadata: own.metadata.map(|own| Metadata {
            action_name: own.action_name,
            method: own.method,
            category: own.category,
            input_type: own.input_type,
            output_type: own.output_type,
        }),
        reason: own.reason,
        syntax: own.syntax,
    }
}
