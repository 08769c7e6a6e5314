//! Owns the bench of publishes that have nothing, or next to nothing, to do in a large workspace.

use std::{
    env,
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use super::{
    Bench, Series, alternate, bar, check_noop, document, heading, median, print_table, ratio, total,
};
use crate::{
    gen_monorepo,
    process::{Usage, measure_ok, measure_output},
    repo,
};

/// A no-op publish may take this share of `git status`.
const BAR_GIT: f64 = 0.7;
/// A publish of one edit may take this many times a no-op.
const BAR_EDIT: f64 = 1.3;
/// The product trusts a stat only once it is about 40 s old; the bench waits for that.
const SETTLE: Duration = Duration::from_secs(45);
/// The ninja release that is installed when there is none on PATH.
const NINJA: &str = "ninja==1.13.0";

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
    /// Leave ninja out; it is installed with pip when it is not on PATH.
    #[arg(long)]
    no_ninja: bool,
}

/// Where the contestants find things.
struct Scene<'a> {
    bench: &'a Bench,
    repo: PathBuf,
    home: PathBuf,
    list: PathBuf,
    ninja_dir: PathBuf,
    ninja: Option<PathBuf>,
    plugins: u32,
}

/// Measures, and returns whether both bars are met.
pub(super) fn run(bench: &Bench, args: &Args) -> Result<bool> {
    repo::need(&["git"])?;
    let plugins = args.plugins.unwrap_or(if bench.quick { 50 } else { 1000 });
    let scene = Scene {
        bench,
        repo: bench.dir.join("repo"),
        home: bench.dir.join("home"),
        list: bench.dir.join("files.list"),
        ninja_dir: bench.dir.join("ninja"),
        ninja: if args.no_ninja { None } else { Some(ninja()?) },
        plugins,
    };
    let paths = gen_monorepo::workspace(&scene.repo, plugins, args.files, args.seed)?;
    eprintln!("{} files written", paths.len());
    fs::write(
        &scene.list,
        paths
            .iter()
            .fold(String::new(), |all, path| all + path + "\0"),
    )?;
    scene.commit()?;
    let settled = Instant::now() + SETTLE;
    let (cold, published) = scene.publish_json(&[])?;
    ensure!(
        total(&published, "published")? == u64::from(plugins),
        "not all were published"
    );
    eprintln!(
        "published {plugins} plugins in {:.1} s",
        cold.wall.as_secs_f64()
    );
    scene.build_ninja(&paths)?;
    thread::sleep(settled.saturating_duration_since(Instant::now()));
    scene.publish_json(&[])?;
    check_noop(&scene.publish_json(&[])?.1, u64::from(plugins)).context("before the bench")?;
    measure_ok(&mut scene.git(&["status"]))?;

    let runs = bench.runs(5, 30);
    let mut inner = Vec::new();
    let noop = scene.noop_round(runs, &mut inner)?;
    check_noop(&scene.publish_json(&[])?.1, u64::from(plugins)).context("after the bench")?;
    let edit_runs = bench.runs(3, 15).min(plugins as usize - 1);
    let edit = scene.edit_round(edit_runs)?;

    heading(
        bench,
        "No-op",
        &format!(
            "{plugins} plugins of {} files in 3 folders each, {} files, all published and \
             committed; git {} at its defaults; warm page cache; whole processes from fork to \
             wait, alternately, {runs} runs each. Cold publish of all: {:.2} s",
            args.files,
            paths.len(),
            git_version(),
            cold.wall.as_secs_f64(),
        ),
    );
    print_table(&noop, &noop[1]);
    println!(
        "Stat loop, two threads, timed inside: {:.1} ms median\n",
        median(&inner)
    );
    println!(
        "The README of another plugin edited before each of {edit_runs} runs, published with \
         `--bump patch`, alternately with the no-op and with the same after an edit of the module \
         of an action, of which Python has to be asked what form it has now:\n"
    );
    print_table(&edit, &edit[1]);
    let met_git = bar(
        "no-op / git status",
        ratio(&noop[0], &noop[1]).of_medians,
        BAR_GIT,
    );
    let met_edit = bar(
        "edit / no-op",
        ratio(&edit[0], &edit[1]).of_medians,
        BAR_EDIT,
    );
    Ok(met_git && met_edit)
}

impl Scene<'_> {
    fn git(&self, args: &[&str]) -> Command {
        let mut command = Command::new("git");
        command.current_dir(&self.repo).args(args);
        // Defaults only: nothing of this user or machine.
        command
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1");
        for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
            command.env_remove(name);
        }
        command
    }

    fn commit(&self) -> Result<()> {
        // Without housekeeping, which would go on in the background while we measure.
        let quiet = ["-c", "gc.auto=0", "-c", "maintenance.auto=false"];
        let author = [
            "-c",
            "user.name=bench",
            "-c",
            "user.email=bench@example.invalid",
        ];
        measure_ok(&mut self.git(&["init", "-q"]))?;
        measure_ok(self.git(&quiet).args(["add", "-A"]))?;
        measure_ok(
            self.git(&quiet)
                .args(author)
                .args(["commit", "-q", "-m", "all"]),
        )?;
        Ok(())
    }

    fn publish(&self, more: &[&str]) -> Command {
        let mut command = self.bench.synapse(&self.repo, &self.home);
        command
            .args(["plugin", "publish", "--all", "--local"])
            .args(more);
        command
    }

    fn publish_json(&self, more: &[&str]) -> Result<(Usage, serde_json::Value)> {
        let (usage, output) = measure_output(self.publish(more).args(["--json", "--yes"]))?;
        Ok((usage, document(&output)?))
    }

    /// One stamp a plugin, made once from all of its files.
    fn build_ninja(&self, paths: &[String]) -> Result<()> {
        let Some(ninja) = &self.ninja else {
            return Ok(());
        };
        fs::create_dir_all(&self.ninja_dir)?;
        let mut text = String::from("rule stamp\n  command = touch $out\n");
        for number in 1..=self.plugins {
            let folder = gen_monorepo::plugin_dir(number) + "/";
            text = text + "build stamps/" + &number.to_string() + ": stamp";
            // The paths are sorted by plugin, but searching each is quick enough here.
            for path in paths.iter().filter(|path| path.starts_with(&folder)) {
                text = text + " ../repo/" + path;
            }
            text.push('\n');
        }
        fs::write(self.ninja_dir.join("build.ninja"), text)?;
        measure_ok(
            Command::new(ninja)
                .arg("--quiet")
                .current_dir(&self.ninja_dir),
        )?;
        measure_ok(
            Command::new(ninja)
                .arg("--quiet")
                .current_dir(&self.ninja_dir),
        )?;
        Ok(())
    }

    fn noop_round(&self, runs: usize, inner: &mut Vec<f64>) -> Result<Vec<Series>> {
        // A copy, because a build meanwhile would take our own file away.
        let own = self.bench.dir.join("stat-loop");
        fs::copy(env::current_exe()?, &own)?;
        let mut contestants: Vec<super::Contestant<'_>> = vec![
            (
                "synapse plugin publish",
                Box::new(|_| measure_ok(&mut self.publish(&[]))),
            ),
            (
                "git status",
                Box::new(|_| measure_ok(&mut self.git(&["status"]))),
            ),
        ];
        if let Some(ninja) = &self.ninja {
            contestants.push((
                "ninja",
                Box::new(move |_| measure_ok(Command::new(ninja).current_dir(&self.ninja_dir))),
            ));
        }
        contestants.push((
            "stat loop, 2 threads",
            Box::new(|_| {
                let mut command = Command::new(&own);
                command
                    .current_dir(&self.repo)
                    .arg("stat-loop")
                    .arg(&self.list);
                let (usage, output) = measure_output(&mut command)?;
                let micros: f64 = String::from_utf8_lossy(&output).trim().parse()?;
                inner.push(micros / 1e3);
                Ok(usage)
            }),
        ));
        alternate(runs, &mut contestants)
    }

    fn edit_round(&self, runs: usize) -> Result<Vec<Series>> {
        // Unmeasured, on the last plugin: exactly one release comes of one edit.
        edit(&self.repo, self.plugins, ACTION, "the check")?;
        let (_, checked) = self.publish_json(&["--bump", "patch"])?;
        ensure!(
            total(&checked, "published")? == 1,
            "one edit published not exactly one plugin"
        );
        // A different plugin each time, spread over the workspace.
        let edited = |file: &'static str, stride: u32| {
            Box::new(move |round: usize| {
                let number = (round as u32 * stride) % (self.plugins - 1) + 1;
                edit(&self.repo, number, file, &format!("run {round}"))?;
                measure_ok(&mut self.publish(&["--bump", "patch", "--yes"]))
            })
        };
        let series = alternate(
            runs,
            &mut [
                ("publish of one edit", edited(TEXT, 37)),
                (
                    "publish of nothing",
                    Box::new(|_| measure_ok(&mut self.publish(&[]))),
                ),
                ("publish of an edited action", edited(ACTION, 41)),
            ],
        )?;
        check_noop(&self.publish_json(&[])?.1, u64::from(self.plugins))
            .context("after the edits")?;
        Ok(series)
    }
}

/// A file that says nothing of actions.
const TEXT: &str = "README.md";
/// The module of an action with a form: Python has to be asked again.
const ACTION: &str = "plugin/train.py";

/// Appends a comment to one file of one plugin.
fn edit(repo: &Path, number: u32, file: &str, why: &str) -> Result<()> {
    let path = repo.join(gen_monorepo::plugin_dir(number)).join(file);
    let mut file = OpenOptions::new().append(true).open(&path)?;
    writeln!(file, "# edited for {why}")?;
    Ok(())
}

/// Ninja from PATH, else from a virtual environment kept under the build folder.
fn ninja() -> Result<PathBuf> {
    if let Some(path) = repo::find("ninja") {
        return Ok(path);
    }
    let venv = repo::target_dir(&repo::root()?).join("bench-tools/venv");
    let path = venv.join("bin/ninja");
    if !path.is_file() {
        repo::need(&["python3"])?;
        eprintln!("installing {NINJA} from PyPI into {}", venv.display());
        measure_ok(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
        measure_ok(Command::new(venv.join("bin/pip")).args(["install", "--quiet", NINJA]))
            .context("installing ninja failed; --no-ninja leaves it out")?;
    }
    Ok(path)
}

fn git_version() -> String {
    measure_output(Command::new("git").arg("--version"))
        .map(|(_, text)| {
            String::from_utf8_lossy(&text)
                .trim()
                .replace("git version ", "")
        })
        .unwrap_or_default()
}
