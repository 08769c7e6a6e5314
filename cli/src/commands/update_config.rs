//! Owns `synapse plugin update-config`.

use synapse_engine::Failure;

use crate::{app::App, args::UpdateConfig};

/// Not there yet.
pub fn run(_app: &App, _args: &UpdateConfig) -> Result<u8, Failure> {
    Err(Failure::bug("not there yet"))
}
