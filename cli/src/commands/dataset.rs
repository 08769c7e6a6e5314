//! Owns `synapse dataset`.

use synapse_engine::Failure;

use crate::{app::App, args::Dataset};

/// Not there yet.
pub fn run(_app: &App, _args: &Dataset) -> Result<u8, Failure> {
    Err(Failure::bug("not there yet"))
}
