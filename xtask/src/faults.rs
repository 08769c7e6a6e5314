//! Owns the long sweeps: a publish killed or failed at every point where it changes anything, and
//! the checks that the next publish puts it right.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::{bench::private_home, gen_monorepo, gen_monorepo::Random, repo};

/// Calls that change something outside the process.
const CALLS: [&str; 15] = [
    "rename",
    "renameat2",
    "link",
    "linkat",
    "write",
    "pwrite64",
    "fsync",
    "fdatasync",
    "syncfs",
    "unlink",
    "unlinkat",
    "ftruncate",
    "mkdir",
    "mkdirat",
    "copy_file_range",
];
const PLUGINS: u32 = 3;
const FILES: u32 = 9;
/// No call is made more often than this by one thread of so small a publish.
const MOST_CALLS: u32 = 5_000;
/// A publish that takes longer hangs.
const PATIENCE: Duration = Duration::from_mins(2);

/// Kills and fails publishes at every point.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Publishes killed at random times, in each of the two ways.
    #[arg(long)]
    runs: Option<u32>,
    /// Seed of the random times.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Use this `synapse` instead of building one.
    #[arg(long)]
    bin: Option<PathBuf>,
    /// Folder to work in; a temporary one by default.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Sweep this one call, and leave the random times out.
    #[arg(long, value_name = "CALL")]
    only: Option<String>,
    /// Only some of the points and few random times: minutes become seconds.
    #[arg(long)]
    quick: bool,
    /// The table of faults of networks and servers instead, with so many seeds a row.
    #[arg(long, value_name = "SEEDS", conflicts_with_all = ["only", "runs", "quick"])]
    http: Option<u64>,
}

/// Runs all sweeps and prints the counts; true when nothing was found.
pub(crate) fn run(args: &Args) -> Result<bool> {
    if let Some(seeds) = args.http {
        return table(seeds);
    }
    repo::need(&["strace"])?;
    if let Some(only) = &args.only {
        ensure!(
            CALLS.contains(&only.as_str()),
            "the sweeps know {}",
            CALLS.join(", ")
        );
    }
    let lab = Lab::new(args)?;
    let mut tally = Tally::default();
    lab.whole_publish(&lab.home("plain"))?;
    let wanted = |call: &&str| args.only.as_ref().is_none_or(|only| only == call);
    for call in CALLS.into_iter().filter(wanted) {
        tally.sweep(&format!("SIGKILL at {call}"), |tally| {
            lab.sweep(call, "signal=SIGKILL", args.quick, tally)
        })?;
    }
    for error in ["EIO", "ENOSPC"] {
        for call in CALLS.into_iter().filter(wanted) {
            tally.sweep(&format!("{error} from {call}"), |tally| {
                lab.sweep(call, &format!("error={error}"), args.quick, tally)
            })?;
        }
    }
    if args.only.is_none() {
        let runs = args.runs.unwrap_or(if args.quick { 5 } else { 200 });
        let mut random = Random::new(args.seed);
        tally.sweep("SIGKILL at random, cold", |tally| {
            lab.random_cold(runs, &mut random, tally)
        })?;
        tally.sweep("SIGKILL at random, bump", |tally| {
            lab.random_bump(runs, &mut random, tally)
        })?;
    }
    println!(
        "seed {}, {} trials, {} findings",
        args.seed,
        tally.trials,
        tally.findings.len()
    );
    for finding in &tally.findings {
        println!("FOUND {finding}");
    }
    if !tally.findings.is_empty() {
        let kept = lab.scratch.keep();
        println!("everything is kept in {}", kept.display());
        return Ok(false);
    }
    Ok(true)
}

/// The test of the fault table, with more seeds than it has by itself.
fn table(seeds: u64) -> Result<bool> {
    let mut command = repo::cargo();
    command
        .current_dir(repo::root()?)
        .args(["test", "--locked", "--package", "synapse-tests", "--test"])
        .args(["platform", "faults::", "--", "--nocapture"])
        .env("SYNAPSE_FAULT_SEEDS", seeds.to_string());
    Ok(command.status()?.success())
}

/// What was tried and found.
#[derive(Default)]
struct Tally {
    trials: u32,
    findings: Vec<String>,
}

impl Tally {
    fn sweep(&mut self, name: &str, run: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let (trials, findings) = (self.trials, self.findings.len());
        run(self).with_context(|| name.to_owned())?;
        println!(
            "{name:<26} {:>5} trials {:>3} findings",
            self.trials - trials,
            self.findings.len() - findings
        );
        Ok(())
    }

    /// Counts one trial; an error of it is a finding, not the end.
    fn trial(&mut self, name: &str, result: Result<()>) -> bool {
        self.trials += 1;
        match result {
            Ok(()) => true,
            Err(error) => {
                self.findings.push(format!("{name}: {error:#}"));
                false
            }
        }
    }
}

/// The workspace that is published over and over, and the binary that does it.
struct Lab {
    synapse: PathBuf,
    scratch: TempDir,
    workspace: PathBuf,
}

impl Lab {
    fn new(args: &Args) -> Result<Self> {
        let synapse = repo::release_binary(args.bin.as_deref())?;
        let scratch = match &args.dir {
            Some(dir) => {
                fs::create_dir_all(dir)?;
                TempDir::with_prefix_in("synapse-faults-", dir)
            }
            None => TempDir::with_prefix("synapse-faults-"),
        }?;
        let workspace = scratch.path().join("workspace");
        gen_monorepo::workspace(&workspace, PLUGINS, FILES, args.seed)?;
        Ok(Self {
            synapse,
            scratch,
            workspace,
        })
    }

    fn home(&self, name: &str) -> PathBuf {
        self.scratch.path().join("homes").join(name)
    }

    fn in_home(&self, program: impl AsRef<std::ffi::OsStr>, home: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.workspace).stdin(Stdio::null());
        private_home(&mut command, home);
        command
    }

    fn publish(&self, home: &Path, more: &[&str]) -> Command {
        let mut command = self.in_home(&self.synapse, home);
        command
            .args(["plugin", "publish", "--all", "--local", "--yes"])
            .args(more);
        command
    }

    /// The formal releases that the backend has. A file that a killed process left without a
    /// release is none: nobody can see it, and `cache gc` takes it away.
    fn releases(&self, home: &Path) -> Result<usize> {
        let status = document(
            self.in_home(&self.synapse, home)
                .args(["status", "--all", "--local", "--json"]),
        )?;
        let plugins = status["plugins"]
            .as_array()
            .context("no plugins in the status")?;
        let count = |plugin: &serde_json::Value| {
            plugin["targets"][0]["releases"]
                .as_array()
                .map_or(0, Vec::len)
        };
        Ok(plugins.iter().map(count).sum())
    }

    /// Publishes undisturbed and fails unless everything is there.
    fn whole_publish(&self, home: &Path) -> Result<()> {
        fs::create_dir_all(home)?;
        self.recovers(home, &[], PLUGINS as usize)
            .context("an undisturbed publish")
    }

    /// What must hold after any fault: the same command completes, the store is clean, a further
    /// publish does nothing, and there are exactly as many releases as there should be.
    fn recovers(&self, home: &Path, more: &[&str], releases: usize) -> Result<()> {
        let first = document(self.publish(home, more).arg("--json"))?;
        for plugin in first["plugins"]
            .as_array()
            .context("no plugins in the document")?
        {
            let status = plugin["status"].as_str().unwrap_or_default();
            ensure!(
                ["published", "up_to_date"].contains(&status),
                "{} is {status}",
                plugin["code"]
            );
        }
        let check = self
            .in_home(&self.synapse, home)
            .args(["cache", "check"])
            .output()?;
        ensure!(
            check.status.success(),
            "cache check: {}\n{}",
            check.status,
            String::from_utf8_lossy(&check.stderr)
        );
        let again = document(self.publish(home, more).arg("--json"))?;
        ensure!(
            again["totals"]["nodes_run"] == 0,
            "the publish after it still had work to do"
        );
        let found = self.releases(home)?;
        ensure!(found == releases, "{found} releases, not {releases}");
        Ok(())
    }

    /// Injects one fault at the first call, the second, and so on until no call is left.
    fn sweep(&self, call: &str, fault: &str, quick: bool, tally: &mut Tally) -> Result<()> {
        let mut nth = 1;
        while nth < MOST_CALLS {
            let home = self.home("swept");
            let log = self.scratch.path().join("strace.log");
            for leftover in [&home, &log] {
                remove(leftover)?;
            }
            fs::create_dir_all(&home)?;
            let mut command = self.in_home("strace", &home);
            // `?` lets machines pass that do not have the call; strace counts
            // calls per thread, and with one job they come in the same order every time.
            command
                .args(["-f", "-qq", "-o"])
                .arg(&log)
                .args(["-e", &format!("trace=?{call}"), "-e", "signal=none"])
                .args(["-e", &format!("inject=?{call}:{fault}:when={nth}")])
                .arg(&self.synapse)
                .args(["plugin", "publish", "--all", "--local", "--yes", "-j", "1"]);
            let ended = patiently(&mut command)?;
            let killed = ended.signal().is_some();
            let injected =
                killed || fs::read_to_string(&log).is_ok_and(|t| t.contains("(INJECTED)"));
            if !injected {
                ensure!(ended.success(), "undisturbed, it ended with {ended}");
                return Ok(());
            }
            let name = format!("{fault} at {call} number {nth}");
            let result = sane(ended, fault.contains("SIGKILL"))
                .and_then(|()| self.recovers(&home, &[], PLUGINS as usize));
            if !tally.trial(&name, result) {
                fs::rename(&home, self.home(&format!("{call}-{nth}-{}", tally.trials)))?;
            }
            nth += if quick { 1 + nth / 2 } else { 1 };
        }
        anyhow::bail!("{call} is called more than {MOST_CALLS} times")
    }

    /// Kills first publishes at random times.
    fn random_cold(&self, runs: u32, random: &mut Random, tally: &mut Tally) -> Result<()> {
        let home = self.home("cold");
        let started = Instant::now();
        self.publish(&self.home("timed"), &[])
            .stdout(Stdio::null())
            .status()?;
        let whole = started.elapsed();
        for run in 0..runs {
            remove(&home)?;
            fs::create_dir_all(&home)?;
            let delay = self.killed(&home, &[], whole, random)?;
            let result = self.recovers(&home, &[], PLUGINS as usize);
            if !tally.trial(&format!("cold publish killed after {delay:?}"), result) {
                fs::rename(&home, self.home(&format!("cold-{run}")))?;
            }
        }
        Ok(())
    }

    /// Edits one plugin and kills its publish, over and over on one store: each edit must come to
    /// exactly one release more.
    fn random_bump(&self, runs: u32, random: &mut Random, tally: &mut Tally) -> Result<()> {
        let home = self.home("bump");
        remove(&home)?;
        self.whole_publish(&home)?;
        let more = ["--bump", "patch"];
        self.edit(1, "timing")?;
        let started = Instant::now();
        self.publish(&home, &more).stdout(Stdio::null()).status()?;
        let whole = started.elapsed();
        let mut releases = self.releases(&home)?;
        for run in 0..runs {
            self.edit(run % PLUGINS + 1, &format!("run {run}"))?;
            releases += 1;
            let delay = self.killed(&home, &more, whole, random)?;
            let result = self.recovers(&home, &more, releases);
            if !tally.trial(&format!("bump {run} killed after {delay:?}"), result) {
                releases = self.releases(&home)?;
            }
        }
        Ok(())
    }

    fn edit(&self, number: u32, why: &str) -> Result<()> {
        let path = self
            .workspace
            .join(gen_monorepo::plugin_dir(number))
            .join("plugin/train.py");
        writeln!(
            OpenOptions::new().append(true).open(path)?,
            "# edited for {why}"
        )?;
        Ok(())
    }

    /// Starts a publish in a process group of its own and kills the group after a random part of
    /// `whole`, and a little beyond.
    fn killed(
        &self,
        home: &Path,
        more: &[&str],
        whole: Duration,
        random: &mut Random,
    ) -> Result<Duration> {
        let limit = u64::try_from(whole.as_micros())? * 11 / 10;
        let delay = Duration::from_micros(random.below(limit.max(1)));
        let mut command = self.publish(home, more);
        command
            .process_group(0)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut child = command.spawn()?;
        thread::sleep(delay);
        kill_group(child.id());
        child.wait()?;
        Ok(delay)
    }
}

/// Kills every process of the group that the child with this id leads.
fn kill_group(leader: u32) {
    // SAFETY: kill touches no memory. The leader is a child that was started with a group of its
    // own and has not been waited for, so that its id still names this group and no other.
    unsafe { libc::kill(-leader.cast_signed(), libc::SIGKILL) };
}

/// Waits for the command to end, and kills its group when it hangs.
fn patiently(command: &mut Command) -> Result<ExitStatus> {
    command
        .process_group(0)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot start {command:?}"))?;
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if started.elapsed() > PATIENCE {
            kill_group(child.id());
            child.wait()?;
            anyhow::bail!("it hung for {} s and was killed", PATIENCE.as_secs());
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// A failed call may fail the publish, but must not crash it.
fn sane(ended: ExitStatus, kills: bool) -> Result<()> {
    if kills {
        return Ok(());
    }
    ensure!(ended.signal().is_none(), "it crashed: {ended}");
    let code = ended.code().unwrap_or_default();
    ensure!(
        code != 255 && code != 101,
        "it called itself broken: exit code {code}"
    );
    Ok(())
}

fn document(command: &mut Command) -> Result<Value> {
    let output = command
        .output()
        .with_context(|| format!("cannot start {command:?}"))?;
    ensure!(
        output.status.success(),
        "the next publish: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).context("publish --json printed something else")
}

fn remove(path: &Path) -> Result<()> {
    if path.is_dir() {
        fs::remove_dir_all(path)?;
    } else if path.exists() {
        fs::remove_file(path)?;
    }
    Ok(())
}
