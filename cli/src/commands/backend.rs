//! Owns `synapse backend`.

use synapse_engine::Failure;

use crate::{app::App, args::Backend};

/// Not there yet.
pub fn run(_app: &App, _args: &Backend) -> Result<u8, Failure> {
    Err(Failure::bug("not there yet"))
}
