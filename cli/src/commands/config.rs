//! Owns `synapse __config`: a configuration as JSON, so that the Python package reads the same.

use std::path::Path;

use synapse_engine::Failure;

use crate::app::App;

/// Not there yet.
pub fn run(_app: &App, _path: &Path) -> Result<u8, Failure> {
    Err(Failure::bug("not there yet"))
}
