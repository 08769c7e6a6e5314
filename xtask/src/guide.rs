//! Owns the guide as a chore: its test alone, with stand-ins or with the real requirements.

use anyhow::Result;

use crate::repo;

/// Works through the guide from top to bottom.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Install the guide's real requirements (torch, ultralytics, numpy) in place of the stand-ins:
    /// several gigabytes, and minutes.
    #[arg(long)]
    real: bool,
}

/// Runs the test of the guide; true when it passed.
pub(crate) fn run(args: &Args) -> Result<bool> {
    let root = repo::root()?;
    let mut command = repo::cargo();
    command
        .current_dir(&root)
        .args(["test", "--locked", "--package", "synapse-tests", "--test"])
        .args(["guide", "--", "--nocapture", "--test-threads", "1"]);
    if args.real {
        command.env("SYNAPSE_TEST_REAL", "1");
    }
    Ok(command.status()?.success())
}
