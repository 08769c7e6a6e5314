//! Owns everything that reads and edits configuration: a YAML tree that keeps places, what
//! config.yaml may say, its diagnostics, and edits that leave every other byte alone.

pub mod diagnostic;
pub mod edit;
pub mod entrypoint;
mod fields;
pub mod keys;
mod lexical;
mod merge;
pub mod model;
pub mod node;
pub(crate) mod reader;
pub mod scalar;
pub mod schema;
pub mod source;
mod suggest;
pub mod vocabulary;
pub mod yaml;

pub use diagnostic::{Diagnostic, Severity};
pub use edit::{EditError, replace, set_pyproject_version, set_version};
pub use entrypoint::{Entrypoint, check_entrypoints};
pub use fields::slug;
pub use model::{Action, Config, Parsed, Requires, Task, parse};
pub(crate) use suggest::nearest;
pub use vocabulary::{Category, DataType, Method, PackageManager, SmartTool, Word};
