//! Owns agents and jobs: who may run a plugin, starting one there, how it goes, and what it says.

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    Platform, PlatformError,
    call::{part, value},
};
use crate::http::Body;

/// A run to be asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct JobRequest {
    /// Plugin code.
    pub plugin: String,
    /// Version of its release; the newest formal one when absent.
    pub version: Option<String>,
    /// Variant of its release.
    pub variant: Option<String>,
    /// Name of the action.
    pub action: String,
    /// Its parameters.
    pub params: Value,
    /// Id of the agent; the platform's choice when absent.
    pub agent: Option<String>,
    /// Debug output, and debug releases where there is no formal one.
    pub debug: bool,
    /// Language of messages.
    pub language: Option<String>,
    /// An id of our choice, under which a job is found again.
    pub client_id: String,
}

impl Platform {
    /// The agents that may run plugins.
    pub fn agents(&self) -> Result<Vec<Value>, PlatformError> {
        self.list("agents/")
    }

    /// Asks for a run, once; returns the job, or the result of one that is over at once. After a
    /// doubt, look for the job with [`Platform::job_of`] before asking again.
    pub fn run(&self, request: &JobRequest) -> Result<Value, PlatformError> {
        let path = format!("plugins/{}/run/", part(&request.plugin));
        // Ids are numbers on most platforms, and those take nothing else.
        let agent = request.agent.as_ref().map(|agent| match agent.parse() {
            Ok(number) => Value::Number(number),
            Err(_) => Value::String(agent.clone()),
        });
        let body = json!({
            "agent": agent,
            "action": request.action,
            "params": request.params,
            "debug": request.debug,
            "version": request.version,
            "variant": request.variant,
            "language": request.language,
            "client_id": request.client_id,
        });
        self.json(&Method::POST, &path, Body::Json(body), false)
    }

    /// A job.
    pub fn job(&self, id: &str) -> Result<Value, PlatformError> {
        self.get(&format!("jobs/{}/", part(id)))
    }

    /// The job that was asked for under an id of our choice. None when there is none.
    pub fn job_of(&self, client_id: &str) -> Result<Option<Value>, PlatformError> {
        let found = self.list(&format!("jobs/?client_id={}", value(client_id)))?;
        // A server that does not know the filter lists everything.
        Ok(found
            .into_iter()
            .find(|job| job["client_id"].as_str() == Some(client_id)))
    }

    /// The newest jobs, at most `limit` of them.
    pub fn jobs(&self, plugin: Option<&str>, limit: u32) -> Result<Value, PlatformError> {
        let plugin = plugin.map(|plugin| format!("&plugin={}", value(plugin)));
        self.get(&format!(
            "jobs/?limit={limit}{}",
            plugin.unwrap_or_default()
        ))
    }

    /// Asks for a job to end.
    pub fn stop(&self, id: &str) -> Result<Value, PlatformError> {
        let body = Body::Json(json!({"status": "STOPPED"}));
        self.json(&Method::PATCH, &format!("jobs/{}/", part(id)), body, true)
    }

    /// What a job says as it comes, as the bytes of server-sent events; `last` goes on after an
    /// event. `take` returns false to stop. Not repeated: whoever reads knows where it stopped.
    pub fn tail(
        &self,
        id: &str,
        last: Option<&str>,
        take: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<(), PlatformError> {
        let mut headers = vec![("accept", "text/event-stream".to_owned())];
        headers.extend(last.map(|last| ("last-event-id", last.to_owned())));
        self.stream(
            &format!("jobs/{}/tail_console_logs/", part(id)),
            &headers,
            take,
        )
    }
}
