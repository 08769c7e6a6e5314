//! Owns `synapse __worker`: this executable as a Python interpreter.

use synapse_engine::Failure;

use crate::args::Worker;

/// Not there yet.
pub fn run(_args: &Worker) -> Result<u8, Failure> {
    Err(Failure::bug("not there yet"))
}
