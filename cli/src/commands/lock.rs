//! Owns `synapse plugin lock`.

use synapse_engine::Failure;

use crate::{app::App, args::Lock};

/// Not there yet.
pub fn run(_app: &App, _args: &Lock) -> Result<u8, Failure> {
    Err(Failure::bug("not there yet"))
}
