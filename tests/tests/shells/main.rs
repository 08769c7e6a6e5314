//! What serves editors, shells and hooks: schemas, completions, manual pages, help, checks, tests.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod check;
mod completions;
mod help;
mod plugin_test;
mod schema;
mod version;
