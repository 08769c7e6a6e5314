//! Owns `synapse plugin run`.

use synapse_engine::Failure;

use crate::{app::App, args::Run};

/// Not there yet.
pub fn run(_app: &App, _args: &Run) -> Result<u8, Failure> {
    Err(Failure::bug("not there yet"))
}
