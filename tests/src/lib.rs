//! The harness of the end-to-end suites: private folders to work in, the command run as people
//! run it, and its documents taken apart.

mod document;
mod http;
pub mod proxy;
pub mod pythons;
mod run;
mod space;
pub mod tmux;
mod tree;
pub mod wheels;

pub use document::{Document, expect_schema};
pub use http::{Answer, Serving, multipart};
pub use run::Run;
pub use space::Space;
pub use tree::{copy_tree, fixture, snapshot};

/// A fresh [`Space`] for the `synapse` built with this crate.
#[macro_export]
macro_rules! space {
    () => {
        $crate::Space::new(env!("CARGO_BIN_EXE_synapse_under_test"))
    };
}
