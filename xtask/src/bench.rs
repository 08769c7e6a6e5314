//! Owns how benches are taken and told: whole processes, alternately, in one run; medians, ratios
//! and a Markdown table with date, machine and method.

mod accepting;
mod archive;
mod noop;
mod publish;
mod python;
mod start;
mod watch;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::{
    process::{self, Usage},
    repo,
};

/// Measures the product beside the tools people know.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to measure.
    #[command(subcommand)]
    what: What,
    /// Folder to work in; a temporary one by default. It must not be on a memory filesystem if
    /// the figures are to be published.
    #[arg(long, global = true)]
    dir: Option<PathBuf>,
    /// Use this `synapse` instead of building one.
    #[arg(long, global = true)]
    bin: Option<PathBuf>,
    /// Measured runs of each contestant.
    #[arg(long, global = true)]
    runs: Option<usize>,
    /// Small sizes and few runs: shows that the bench works, not how fast the product is.
    #[arg(long, global = true)]
    quick: bool,
    /// Exit with 1 when a bar is missed.
    #[arg(long, global = true)]
    strict: bool,
}

#[derive(clap::Subcommand)]
enum What {
    /// A publish with nothing to do, and one with one edited file, beside git status and ninja.
    Noop(noop::Args),
    /// Cold and warm publish of one large plugin, beside zip.
    Archive(archive::Args),
    /// An action that does nothing beside bare pydantic, and inspections of many plugins.
    Python(python::Args),
    /// A publish of many plugins over HTTP, or of one large one.
    Publish(publish::Args),
    /// From a save to the line that says why something is done again, in a large workspace.
    Watch(watch::Args),
    /// The time `synapse --version` takes, beside /bin/true.
    Start,
}

/// Runs one bench. False when a bar is missed and that matters.
pub(crate) fn run(args: &Args) -> Result<bool> {
    let bench = Bench::new(args)?;
    let met = match &args.what {
        What::Noop(noop) => noop::run(&bench, noop),
        What::Archive(archive) => archive::run(&bench, archive),
        What::Python(python) => python::run(&bench, python),
        What::Publish(publish) => publish::run(&bench, publish),
        What::Watch(watch) => watch::run(&bench, watch),
        What::Start => start::run(&bench),
    }?;
    Ok(met || !args.strict)
}

/// What all benches share.
struct Bench {
    synapse: PathBuf,
    /// How it was built, as far as that is known.
    profile: &'static str,
    runs: Option<usize>,
    quick: bool,
    dir: PathBuf,
    /// Removes the folder at the end, when it is ours.
    _scratch: TempDir,
}

impl Bench {
    fn new(args: &Args) -> Result<Self> {
        let synapse = repo::release_binary(args.bin.as_deref())?;
        let profile = match &args.bin {
            None => "release build",
            Some(_) => repo::profile(&synapse)?,
        };
        let scratch = match &args.dir {
            Some(dir) => {
                fs::create_dir_all(dir)?;
                TempDir::with_prefix_in("synapse-bench-", dir)
            }
            None => TempDir::with_prefix("synapse-bench-"),
        }?;
        let dir = scratch.path().canonicalize()?;
        Ok(Self {
            synapse,
            profile,
            runs: args.runs,
            quick: args.quick,
            dir,
            _scratch: scratch,
        })
    }

    /// Number of measured runs: as asked, else `quick` or `full`.
    fn runs(&self, quick: usize, full: usize) -> usize {
        self.runs
            .unwrap_or(if self.quick { quick } else { full })
            .max(1)
    }

    /// The product, started in `dir` with its own store, data and configuration in `home`.
    fn synapse(&self, dir: &Path, home: &Path) -> Command {
        let mut command = Command::new(&self.synapse);
        command.current_dir(dir);
        private_home(&mut command, home);
        command
    }
}

/// Gives a command its own `SYNAPSE_HOME` and no other setting of the product.
pub(crate) fn private_home(command: &mut Command, home: &Path) {
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("SYNAPSE_") {
            command.env_remove(name);
        }
    }
    command.env("SYNAPSE_HOME", home);
}

/// All runs of one contestant.
struct Series {
    name: String,
    runs: Vec<Usage>,
}

type Contestant<'a> = (&'a str, Box<dyn FnMut(usize) -> Result<Usage> + 'a>);

/// Runs every contestant in turn, `rounds` times over: A B C A B C, so that whatever else the
/// machine does meets all of them alike.
fn alternate(rounds: usize, contestants: &mut [Contestant<'_>]) -> Result<Vec<Series>> {
    let mut series: Vec<_> = contestants
        .iter()
        .map(|(name, _)| Series {
            name: (*name).to_owned(),
            runs: Vec::with_capacity(rounds),
        })
        .collect();
    for round in 0..rounds {
        for ((name, run), series) in contestants.iter_mut().zip(&mut series) {
            series
                .runs
                .push(run(round).with_context(|| format!("{name}, run {}", round + 1))?);
        }
    }
    Ok(series)
}

impl Series {
    fn times(&self, of: impl Fn(&Usage) -> Duration) -> Vec<f64> {
        self.runs
            .iter()
            .map(|usage| of(usage).as_secs_f64() * 1e3)
            .collect()
    }

    /// Processor time, user and system, in milliseconds.
    fn processor(&self) -> Vec<f64> {
        self.times(|usage| usage.user + usage.sys)
    }

    fn wall(&self) -> Vec<f64> {
        self.times(|usage| usage.wall)
    }

    fn peak_rss(&self) -> u64 {
        self.runs
            .iter()
            .map(|usage| usage.peak_rss)
            .max()
            .unwrap_or(0)
    }
}

/// The middle value; the mean of the two middle ones of an even number.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => sorted[len / 2],
        len => f64::midpoint(sorted[len / 2 - 1], sorted[len / 2]),
    }
}

fn smallest(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

fn largest(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

/// Two series compared: ratio of the medians, and median of the ratios of neighbouring runs.
struct Ratio {
    of_medians: f64,
    pairwise: f64,
}

fn ratio(over: &Series, under: &Series) -> Ratio {
    let (top, bottom) = (over.wall(), under.wall());
    let pairs: Vec<f64> = top
        .iter()
        .zip(&bottom)
        .map(|(top, bottom)| top / bottom)
        .collect();
    Ratio {
        of_medians: median(&top) / median(&bottom),
        pairwise: median(&pairs),
    }
}

/// Prints the table of some series, each compared with the one named first.
fn print_table(series: &[Series], base: &Series) {
    println!(
        "| process | min ms | median ms | max ms | user ms | sys ms | peak RSS MB | ratio to {} | pairwise |",
        base.name
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|---:|");
    for one in series {
        let wall = one.wall();
        let ratio = ratio(one, base);
        println!(
            "| {} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {:.3} | {:.3} |",
            one.name,
            smallest(&wall),
            median(&wall),
            largest(&wall),
            median(&one.times(|usage| usage.user)),
            median(&one.times(|usage| usage.sys)),
            megabytes(one.peak_rss()),
            ratio.of_medians,
            ratio.pairwise,
        );
    }
    println!();
}

/// Prints one bar as met or missed, and returns which.
fn bar(what: &str, value: f64, limit: f64) -> bool {
    let met = value <= limit;
    println!(
        "{}: {what}: {value:.3} (bar: at most {limit})",
        if met { "PASS" } else { "FAIL" }
    );
    met
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// Prints the heading of a report: what, when, where and how.
fn heading(bench: &Bench, title: &str, method: &str) {
    println!("## {title}\n");
    println!("- Date: {}", jiff::Zoned::now().date());
    println!("- Machine: {}", machine(&bench.dir));
    let version = process::measure_output(Command::new(&bench.synapse).arg("--version"))
        .map(|(_, text)| String::from_utf8_lossy(&text).trim().to_owned())
        .unwrap_or_default();
    println!("- Product: {version}, {}", bench.profile);
    if bench.quick {
        println!("- A quick run: its figures say nothing about speed");
    }
    println!("- Method: {method}\n");
}

fn machine(dir: &Path) -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo")
        .ok()
        .and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("model name"))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        })
        .unwrap_or_else(|| env::consts::ARCH.to_owned());
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").map_or_else(
        |_| env::consts::OS.to_owned(),
        |text| format!("Linux {}", text.trim()),
    );
    format!("{cpu}, {cores} cores, {kernel}, {}", filesystem(dir))
}

/// The type of the filesystem that holds `dir`: that of the longest mount point above it.
fn filesystem(dir: &Path) -> String {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            Some((words.next()?, words.next()?))
        })
        .filter(|(point, _)| dir.starts_with(point))
        .max_by_key(|(point, _)| point.len())
        .map_or_else(
            || "unknown filesystem".to_owned(),
            |(_, kind)| kind.to_owned(),
        )
}

/// Parses the document that `publish --json` printed.
fn document(output: &[u8]) -> Result<serde_json::Value> {
    serde_json::from_slice(output).context("publish --json printed something else than JSON")
}

/// One number of a document's totals.
fn total(document: &serde_json::Value, name: &str) -> Result<u64> {
    document["totals"][name]
        .as_u64()
        .with_context(|| format!("totals.{name} is missing"))
}

/// Fails unless a publish did nothing at all.
fn check_noop(document: &serde_json::Value, plugins: u64) -> Result<()> {
    let (run, fresh) = (
        total(document, "nodes_run")?,
        total(document, "up_to_date")?,
    );
    ensure!(run == 0, "the no-op ran {run} nodes");
    ensure!(
        fresh == plugins,
        "{fresh} of {plugins} plugins are up to date"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn contestants_take_turns() {
        let order = std::cell::RefCell::new(Vec::new());
        let run = |name: &'static str| {
            order.borrow_mut().push(name);
            process::measure_ok(&mut Command::new("true"))
        };
        let series = alternate(
            2,
            &mut [("a", Box::new(|_| run("a"))), ("b", Box::new(|_| run("b")))],
        )
        .unwrap();
        assert_eq!(*order.borrow(), ["a", "b", "a", "b"]);
        assert_eq!(series[1].runs.len(), 2);
    }
}
