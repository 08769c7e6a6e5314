//! Owns the bench of start-up: `synapse --version` beside a process that does nothing.

use std::process::Command;

use anyhow::Result;

use super::{Bench, alternate, bar, heading, median, print_table};
use crate::process::measure_ok;

/// Milliseconds that `synapse --version` may take.
const BAR: f64 = 3.0;

/// Measures, and returns whether the bar is met.
pub(super) fn run(bench: &Bench) -> Result<bool> {
    let runs = bench.runs(20, 200);
    let home = bench.dir.join("home");
    let mut version = bench.synapse(&bench.dir, &home);
    version.arg("--version");
    // One unmeasured run of each reads the files.
    measure_ok(&mut version)?;
    measure_ok(&mut Command::new("/bin/true"))?;
    let series = alternate(
        runs,
        &mut [
            ("synapse --version", Box::new(|_| measure_ok(&mut version))),
            (
                "/bin/true",
                Box::new(|_| measure_ok(&mut Command::new("/bin/true"))),
            ),
        ],
    )?;
    heading(
        bench,
        "Start",
        &format!("{runs} runs each, alternately; whole processes from fork to wait; warm cache"),
    );
    print_table(&series, &series[1]);
    Ok(bar(
        "synapse --version, median ms",
        median(&series[0].wall()),
        BAR,
    ))
}
