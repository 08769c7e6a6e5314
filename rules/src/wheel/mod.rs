//! Owns wheels: built by the backend that a project's pyproject.toml names, in an environment of
//! their own, from a clean copy, and then brought into a form that has the same bytes each time.

mod backend;
mod builder;
mod lock;
mod name;
mod normalise;
mod rule;
mod sources;
mod stages;

pub use self::{
    backend::{Backend, read as read_backend},
    builder::BUILD_FAILED,
    name::WheelName,
    rule::{RULE, WheelNode},
    sources::{Build, Sources},
    stages::{Prepared, Wheels, backend_of, prepare},
};
