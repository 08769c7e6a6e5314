//! Owns what actions and agents read and write: jobs as they go on, logs, models, datasets,
//! storages, applications. All of it travels as the platform's own JSON.

use reqwest::Method;
use serde_json::Value;

use super::{
    Platform, PlatformError,
    call::{part, value},
};
use crate::http::Body;

impl Platform {
    /// Tells how a job stands: `status`, `progress_record`, `metrics_record`, `result`, `meta`.
    pub fn update_job(&self, id: &str, update: Value) -> Result<Value, PlatformError> {
        let path = format!("jobs/{}/", part(id));
        self.json(&Method::PATCH, &path, Body::Json(update), true)
    }

    /// What a job said so far.
    pub fn console_logs(&self, id: &str) -> Result<Vec<Value>, PlatformError> {
        match self.get(&format!("jobs/{}/console_logs/", part(id)))? {
            Value::Array(list) => Ok(list),
            Value::Object(mut page) => match page.remove("results") {
                Some(Value::Array(list)) => Ok(list),
                _ => Ok(Vec::new()),
            },
            _ => Ok(Vec::new()),
        }
    }

    /// Adds log entries, one or a list. Not repeated: each would be there twice.
    pub fn log(&self, entries: Value) -> Result<Value, PlatformError> {
        self.json(&Method::POST, "logs/", Body::Json(entries), false)
    }

    /// Makes a model, of a file that [`Platform::send_file`] brought there. Not repeated.
    pub fn create_model(&self, model: Value) -> Result<Value, PlatformError> {
        self.json(&Method::POST, "models/", Body::Json(model), false)
    }

    /// A model.
    pub fn model(&self, id: &str) -> Result<Value, PlatformError> {
        self.get(&format!("models/{}/", part(id)))
    }

    /// All models.
    pub fn models(&self) -> Result<Vec<Value>, PlatformError> {
        self.list("models/")
    }

    /// A storage.
    pub fn storage(&self, id: &str) -> Result<Value, PlatformError> {
        self.get(&format!("storages/{}/", part(id)))
    }

    /// Makes a serve application. Not repeated.
    pub fn create_application(&self, application: Value) -> Result<Value, PlatformError> {
        let body = Body::Json(application);
        self.json(&Method::POST, "serve_applications/", body, false)
    }

    /// A version of a dataset.
    pub fn dataset_version(&self, id: &str) -> Result<Value, PlatformError> {
        self.get(&format!("ground_truth_dataset_versions/{}/", part(id)))
    }

    /// The items of a version of a dataset, with the URLs of their files.
    pub fn ground_truths(&self, version: &str) -> Result<Vec<Value>, PlatformError> {
        self.list(&format!(
            "ground_truths/?ground_truth_dataset_versions={}",
            value(version)
        ))
    }
}
