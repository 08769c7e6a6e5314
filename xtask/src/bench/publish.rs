//! Owns the bench of publishes over HTTP: many plugins to a server that takes anything, and one
//! very large plugin to the product's own server.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Bench, accepting::Accepting, bar, document, heading, megabytes, private_home, total};
use crate::{
    gen_monorepo::{self, Large},
    process::{Usage, measure_output},
};

/// Milliseconds of wall time a plugin may take.
const BAR_PLUGIN: f64 = 15.0;
/// Megabytes of memory either side may take for a plugin of 2 GB.
const BAR_RSS: f64 = 150.0;

/// What is published.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Number of plugins; 200, or 20 with --quick.
    #[arg(long)]
    plugins: Option<u32>,
    /// Files of each plugin.
    #[arg(long, default_value_t = 40)]
    files: u32,
    /// Measure memory of both sides on one plugin of this many gigabytes instead; 2 by default.
    #[arg(long, value_name = "GB", num_args = 0..=1, default_missing_value = "2")]
    large: Option<u32>,
    /// Seed of the generated text.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Measures, and returns whether the bars are met.
pub(super) fn run(bench: &Bench, args: &Args) -> Result<bool> {
    match args.large {
        Some(gigabytes) => large(bench, gigabytes, args.seed),
        None => many(bench, args),
    }
}

fn many(bench: &Bench, args: &Args) -> Result<bool> {
    let plugins = args.plugins.unwrap_or(if bench.quick { 20 } else { 200 });
    let repo = bench.dir.join("repo");
    gen_monorepo::workspace(&repo, plugins, args.files, args.seed)?;
    let server = Accepting::start()?;
    let warm = bench.dir.join("warm");
    // Makes the environment in which plugins are inspected, once for all homes.
    publish(bench, &repo, &warm, &server.url, &["--all"])?;
    let rounds = bench.runs(1, 5);
    let (mut cold, mut noop) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let home = bench.dir.join(format!("home-{round}"));
        fs::create_dir_all(home.join("cache"))?;
        std::os::unix::fs::symlink(
            warm.join("cache/environments"),
            home.join("cache/environments"),
        )?;
        let (usage, document) = publish(bench, &repo, &home, &server.url, &["--all"])?;
        ensure!(
            total(&document, "published")? == u64::from(plugins),
            "not all went"
        );
        cold.push(usage.wall.as_secs_f64() * 1e3 / f64::from(plugins));
        let before = server.requests();
        let (usage, document) = publish(bench, &repo, &home, &server.url, &["--all"])?;
        ensure!(
            total(&document, "up_to_date")? == u64::from(plugins),
            "some went again"
        );
        ensure!(server.requests() == before, "the no-op sent requests");
        noop.push(usage.wall.as_secs_f64() * 1e3);
    }
    heading(
        bench,
        "Publish over HTTP",
        &format!(
            "{plugins} plugins of {} files to a server on the loopback interface that takes \
             anything; cold: an empty store, with inspection and sync, the environment for \
             inspections there already; {rounds} runs, medians; whole processes",
            args.files
        ),
    );
    println!("| figure | value |\n|---|---:|");
    println!("| cold, ms a plugin | {:.2} |", super::median(&cold));
    println!(
        "| no-op right after it, ms in all | {:.1} |",
        super::median(&noop)
    );
    println!("| requests of the no-op | 0 |\n");
    Ok(bar("cold, ms a plugin", super::median(&cold), BAR_PLUGIN))
}

fn large(bench: &Bench, gigabytes: u32, seed: u64) -> Result<bool> {
    let plugin = bench.dir.join("synapse-large-plugin");
    // Noise only: what is sent is as large as what is there.
    let large = if bench.quick {
        Large {
            text: (1, 1_000_000),
            noise: (2, 60_000_000),
        }
    } else {
        Large {
            text: (1, 1_000_000),
            noise: (gigabytes * 10, 100_000_000),
        }
    };
    gen_monorepo::large_plugin(&plugin, &large, seed)?;
    let mut serving = Serving::start(bench)?;
    let home = bench.dir.join("home");
    let mut command = bench.synapse(&plugin, &home);
    command
        .args(["plugin", "publish", "--yes", "--json"])
        .env("SYNAPSE_HOST", &serving.url)
        .env("SYNAPSE_ACCESS_TOKEN", &serving.token);
    let (usage, output) = measure_output(&mut command)?;
    let document = document(&output)?;
    ensure!(total(&document, "published")? == 1, "it was not published");
    let theirs = serving.peak_rss()?;
    heading(
        bench,
        "Large publish over HTTP",
        &format!(
            "one plugin of {:.1} GB of incompressible files, published once to `synapse backend \
             serve` in another process, in chunks of 50 MB",
            f64::from(large.noise.0) * large.noise.1 as f64 / 1e9
        ),
    );
    println!("| figure | value |\n|---|---:|");
    println!(
        "| bytes sent, MB | {:.1} |",
        megabytes(total(&document, "bytes_sent")?)
    );
    println!("| wall time, s | {:.1} |", usage.wall.as_secs_f64());
    println!(
        "| peak RSS of the publisher, MB | {:.1} |",
        megabytes(usage.peak_rss)
    );
    println!(
        "| peak RSS of the server, MB | {:.1} |\n",
        megabytes(theirs)
    );
    let met = [
        bar(
            "publisher's peak RSS, MB",
            megabytes(usage.peak_rss),
            BAR_RSS,
        ),
        bar("server's peak RSS, MB", megabytes(theirs), BAR_RSS),
    ];
    Ok(met.iter().all(|met| *met))
}

fn publish(
    bench: &Bench,
    repo: &Path,
    home: &Path,
    url: &str,
    more: &[&str],
) -> Result<(Usage, Value)> {
    let mut command = bench.synapse(repo, home);
    command
        .args(["plugin", "publish", "--yes", "--json"])
        .args(more)
        .env("SYNAPSE_HOST", url)
        .env("SYNAPSE_ACCESS_TOKEN", "anything");
    let (usage, output) = measure_output(&mut command)?;
    Ok((usage, document(&output)?))
}

/// The product's own server, which ends with the bench.
struct Serving {
    child: Child,
    url: String,
    token: String,
}

impl Serving {
    fn start(bench: &Bench) -> Result<Self> {
        let mut command = Command::new(&bench.synapse);
        private_home(&mut command, &bench.dir.join("server"));
        let mut child = command
            .args(["backend", "serve", "--until-stdin-closes"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().context("no output of the server")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let said: Value = serde_json::from_str(&line).context("the server said something else")?;
        let text = |name: &str| said[name].as_str().unwrap_or_default().to_owned();
        Ok(Self {
            url: text("url"),
            token: text("token"),
            child,
        })
    }

    /// Its highest resident set so far, in bytes.
    fn peak_rss(&mut self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmHWM:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
        Ok(kilobytes.context("no VmHWM of the server")? * 1024)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
