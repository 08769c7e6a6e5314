//! Owns [`Cancel`]: the one flag that asks all work to stop.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// A flag shared by everything that works on one run.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Asks all work to stop.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether work was asked to stop.
    pub fn cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
