//! Owns `synapse model`.

use synapse_engine::Failure;

use crate::{app::App, args::Model};

/// Not there yet.
pub fn run(_app: &App, _args: &Model) -> Result<u8, Failure> {
    Err(Failure::bug("not there yet"))
}
