//! Owns making a new plugin: the answers that decide it, templates and their placeholders, the
//! workspace that it joins, and the writing, which leaves a whole plugin or nothing.

pub mod answers;
pub mod fetch;
pub mod fill;
pub mod member;
mod print;
pub mod template;
pub mod write;

pub use answers::{Answers, Refused};
pub use member::Membership;
pub use print::{next_commands, tree};
pub use template::Template;
pub use write::place;

use crate::config::schema;

/// Where a plugin keeps the schema of its config.yaml, for editors. Never published: the folder is
/// among the default excludes.
pub const SCHEMA: &str = ".synapse/config.schema.json";

/// The schema that goes there, as `synapse schema config` prints it.
pub fn editor_schema() -> String {
    schema::text(&schema::config())
}

/// A file of a template or of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its path below the folder, with `/`.
    pub path: String,
    /// Its content.
    pub bytes: Vec<u8>,
    /// It may be executed.
    pub executable: bool,
}

/// The name of the folder of the plugin with this code.
pub fn folder_name(code: &str) -> String {
    format!("synapse-{code}-plugin")
}
