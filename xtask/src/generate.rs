//! Owns the reference as a chore. What writes it is a test: it knows the command line, and this
//! program must not wait for the crates behind that.

use anyhow::Result;

use crate::repo;

/// Writes `docs/reference` from the code.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Write nothing; fail when a page is not what the code says
    #[arg(long)]
    check: bool,
}

/// Runs the test that writes or checks; true when it passed.
pub(crate) fn run(args: &Args) -> Result<bool> {
    let mut command = repo::cargo();
    command
        .current_dir(repo::root()?)
        // The whole workspace: then no crate is built that other checks do not need.
        .args(["test", "--locked", "--workspace", "--test", "book", "--"])
        .args(["--quiet", "reference::"]);
    if !args.check {
        command.env("SYNAPSE_WRITE_REFERENCE", "1");
    }
    Ok(command.status()?.success())
}
