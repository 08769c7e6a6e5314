//! The native side of the Python worker.
