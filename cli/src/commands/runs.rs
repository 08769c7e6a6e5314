//! Owns `synapse runs`.

use synapse_engine::Failure;

use crate::{app::App, args::Runs};

/// Not there yet.
pub fn run(_app: &App, _args: &Runs) -> Result<u8, Failure> {
    Err(Failure::bug("not there yet"))
}
