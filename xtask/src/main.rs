//! Owns the chores of this repository: `cargo xtask CHORE`.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a chore is a terminal program; nothing of it ships"
)]

mod api;
mod bench;
mod book;
mod demo;
mod dist;
mod faults;
mod features;
mod gen_monorepo;
mod generate;
mod guide;
mod links;
mod process;
mod python;
#[allow(
    unreachable_pub,
    dead_code,
    reason = "shared with the harness of the suites, which this program must not wait for"
)]
#[path = "../../tests/src/pythons.rs"]
mod pythons;
mod repo;
mod stat_loop;
mod test;
mod tidy;
mod tools;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Chores of this repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Publishes the sample workspace twice on this machine, and shows what that takes.
    Demo(demo::Args),
    /// Runs every check: format, lints, rules of the house, licences, tests.
    Test(test::Args),
    /// Runs the checks of the Python package alone.
    Python(test::PythonArgs),
    /// Checks the server of the backend by its own OpenAPI document.
    Api,
    /// Checks the rules of the house that compilers do not know.
    Tidy,
    /// Measures the product beside the tools people know.
    Bench(bench::Args),
    /// Kills and fails publishes at every point, and checks what is left.
    Faults(faults::Args),
    /// Builds the documentation as a book, and checks it.
    Book(book::Args),
    /// Writes the pages of the reference that come from the code.
    Generate(generate::Args),
    /// Builds the wheel for release, tries it, and says what it is.
    Dist(dist::Args),
    /// Works through the guide from top to bottom, as a test.
    Guide(guide::Args),
    /// Writes a workspace of generated plugins.
    GenMonorepo(gen_monorepo::Args),
    /// Stats every path of a NUL-separated list: the floor of `bench noop`.
    #[command(hide = true)]
    StatLoop(stat_loop::Args),
}

fn main() -> ExitCode {
    let done = match Cli::parse().chore {
        Chore::Demo(args) => demo::run(&args),
        Chore::Test(args) => test::run(&args),
        Chore::Python(args) => test::run_python(&args),
        Chore::Api => test::run_api(),
        Chore::Tidy => tidy::run(),
        Chore::Bench(args) => bench::run(&args),
        Chore::Faults(args) => faults::run(&args),
        Chore::Book(args) => book::run(&args),
        Chore::Generate(args) => generate::run(&args),
        Chore::Dist(args) => dist::run(&args),
        Chore::Guide(args) => guide::run(&args),
        Chore::GenMonorepo(args) => gen_monorepo::run(&args),
        Chore::StatLoop(args) => stat_loop::run(&args),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
