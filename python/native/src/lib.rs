//! Owns the native side of the worker: the channel to the command that started it, as a module
//! for the stable ABI of `CPython`.

mod channel;

use pyo3::prelude::*;

/// The worker's native module.
#[pymodule]
mod synapse_native {
    #[pymodule_export]
    use super::{channel::Channel, die_with_parent};
}

/// Asks the system to end this process when the one that started it ends. Systems other than
/// Linux have no such thing: there it does nothing.
#[pyfunction]
fn die_with_parent() -> PyResult<()> {
    #[cfg(target_os = "linux")]
    {
        // SAFETY: this option takes one integer argument.
        let done = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        if done != 0 {
            return Err(std::io::Error::last_os_error().into());
        }
    }
    Ok(())
}
