//! Owns the bench of a watch: how long it takes from a save in a large workspace to the line that
//! says why something is done again.

use std::{
    fs::{self, OpenOptions},
    io::{BufRead, BufReader, Lines, Write},
    path::Path,
    process::{Child, ChildStdout, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::{Bench, bar, heading, largest, median, megabytes, smallest};
use crate::gen_monorepo;

/// From a save to its reason, in milliseconds.
const BAR: f64 = 100.0;
/// Between two saves.
const PAUSE: Duration = Duration::from_millis(300);
/// What is saved: a text, and the module of an action.
const FILES: [&str; 2] = ["README.md", "plugin/train.py"];

/// Sizes of the workspace.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Number of plugins; 1000, or 50 with --quick.
    #[arg(long)]
    plugins: Option<u32>,
    /// Files of each plugin.
    #[arg(long, default_value_t = 40)]
    files: u32,
    /// Seed of the generated text.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Measures, and returns whether the bar is met.
pub(super) fn run(bench: &Bench, args: &Args) -> Result<bool> {
    let plugins = args.plugins.unwrap_or(if bench.quick { 50 } else { 1000 });
    let (repo, home) = (bench.dir.join("repo"), bench.dir.join("home"));
    let files = gen_monorepo::workspace(&repo, plugins, args.files, args.seed)?.len();
    eprintln!("{files} files written");
    let mut watch = Watch::start(bench, &repo, &home)?;
    let watching = watch.next("watching")?;
    watch.next("attempt_finished")?;
    let runs = bench.runs(6, 40);
    let (mut reasons, mut ends) = (Vec::new(), Vec::new());
    for round in 0..runs {
        thread::sleep(PAUSE);
        // Another plugin each time, spread over the workspace.
        let number = (round as u32 * 37) % plugins + 1;
        let place = gen_monorepo::plugin_dir(number);
        let path = repo.join(&place).join(FILES[round % FILES.len()]);
        let mut file = OpenOptions::new().append(true).open(&path)?;
        let start = Instant::now();
        writeln!(file, "# saved for run {round}")?;
        drop(file);
        let changed = watch.next("changed")?;
        reasons.push(start.elapsed().as_secs_f64() * 1e3);
        let told = &changed["plugins"];
        ensure!(
            told.as_array().is_some_and(|all| all.len() == 1) && told[0]["place"] == place.as_str(),
            "one save told of {told}"
        );
        let finished = watch.next("attempt_finished")?;
        ensure!(finished["ok"] == true, "the publish failed: {finished}");
        ends.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let (resident, peak) = watch.memory()?;
    drop(watch);

    heading(
        bench,
        "Watch",
        &format!(
            "`dev publish --debug --all --local --events` in {plugins} plugins, {files} files; \
             {runs} saves, each in another plugin, of README.md and of the module of an action in \
             turn; from before the write to the line read; 25 ms of it are the quiet that ends a \
             burst"
        ),
    );
    println!("| from a save to | min ms | median ms | max ms |");
    println!("|---|---:|---:|---:|");
    for (name, times) in [("its reason", &reasons), ("the release being there", &ends)] {
        let (least, middle, most) = (smallest(times), median(times), largest(times));
        println!("| {name} | {least:.1} | {middle:.1} | {most:.1} |");
    }
    println!();
    println!("| figure | value |");
    println!("|---|---:|");
    println!("| folders watched | {} |", watching["folders"]);
    println!("| resident memory, MB | {:.1} |", megabytes(resident));
    println!("| peak of it, MB | {:.1} |", megabytes(peak));
    println!();
    Ok(bar(
        "from a save to its reason, median ms",
        median(&reasons),
        BAR,
    ))
}

struct Watch {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Watch {
    fn start(bench: &Bench, repo: &Path, home: &Path) -> Result<Self> {
        let mut command = bench.synapse(repo, home);
        command.args(["dev", "publish", "--debug", "--all", "--local", "--events"]);
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let out = child.stdout.take().context("no output")?;
        let lines = BufReader::new(out).lines();
        Ok(Self { child, lines })
    }

    /// The next event of this name.
    fn next(&mut self, name: &str) -> Result<Value> {
        let mark = format!("{{\"event\":\"{name}\"");
        for line in self.lines.by_ref() {
            let line = line?;
            if line.starts_with(&mark) {
                return Ok(serde_json::from_str(&line)?);
            }
        }
        bail!("the watch ended before {name}")
    }

    /// Resident bytes, now and at most.
    fn memory(&self) -> Result<(u64, u64)> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let of = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name));
            let number = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
            number
                .map(|kilobytes| kilobytes * 1024)
                .context("no memory in its status")
        };
        Ok((of("VmRSS:")?, of("VmHWM:")?))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // It has nothing to finish.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
