//! Owns the bench of the Python side: an action that does nothing beside bare pydantic in the same
//! environment, and inspections of many plugins.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Bench, Series, alternate, bar, document, heading, median, print_table};
use crate::{
    process::{Usage, measure_ok, measure_output},
    python,
};

/// A run may take this many times the reference, and [`BAR_RUN_MORE`] milliseconds.
const BAR_RUN: f64 = 1.3;
const BAR_RUN_MORE: f64 = 40.0;
/// Milliseconds that an inspection may take on one core, after the first.
const BAR_INSPECT: f64 = 10.0;
/// What any action pays for: a model of pydantic, and no more.
const REFERENCE: &str = "from pydantic import BaseModel, Field\nclass A(BaseModel): a: int";

/// Sizes.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Plugins to inspect; 500, or 20 with --quick.
    #[arg(long)]
    plugins: Option<usize>,
}

/// Measures, and returns whether all bars are met.
pub(super) fn run(bench: &Bench, args: &Args) -> Result<bool> {
    let run = trivial(bench)?;
    let plugins = args.plugins.unwrap_or(if bench.quick { 20 } else { 500 });
    Ok(inspections(bench, plugins.max(2))? && run)
}

/// An action that returns its parameter, run again and again.
fn trivial(bench: &Bench) -> Result<bool> {
    let runs = bench.runs(3, 40);
    let (plugin, home) = (bench.dir.join("trivial"), bench.dir.join("home"));
    write_plugin(&plugin, 0)?;
    let interpreter = interpreter()?;
    let command = || {
        let mut command = bench.synapse(&plugin, &home);
        command
            .args(["plugin", "run", "train", "--mode", "local", "--params"])
            .args([
                r#"{"value_0": 3}"#,
                "--env",
                "managed",
                "--json",
                "--python",
            ])
            .arg(&interpreter);
        command
    };
    // The first run makes the environment, the second one finds it.
    measure_output(&mut command())?;
    let (_, output) = measure_output(&mut command())?;
    let told: Value = serde_json::from_slice(&output).context("run --json printed no JSON")?;
    ensure!(told["result"]["value"] == 3, "the action's result: {told}");
    let environment = only_environment(&home)?;
    let python = environment.join("bin/python");
    let reference = || {
        let mut command = Command::new(&python);
        command.args(["-c", REFERENCE]).current_dir(&plugin);
        command
    };
    measure_ok(&mut reference())?;
    let series = alternate(
        runs,
        &mut [
            (
                "synapse plugin run",
                Box::new(|_| measure_ok(&mut command())),
            ),
            (
                "python and pydantic",
                Box::new(|_| measure_ok(&mut reference())),
            ),
        ],
    )?;
    let version = measure_output(Command::new(&python).arg("--version"))?.1;
    heading(
        bench,
        "Running an action",
        &format!(
            "an action that returns its parameter, through `run --mode local`, warm, beside a \
             model of pydantic in the same environment ({}); {runs} runs each, alternately; \
             whole processes from fork to wait",
            String::from_utf8_lossy(&version).trim()
        ),
    );
    print_table(&series, &series[1]);
    let [run, reference] = [0, 1].map(|index: usize| median(&series[index].wall()));
    let more = run - BAR_RUN * reference;
    Ok(bar(
        &format!("run beyond {BAR_RUN} of the reference, ms"),
        more,
        BAR_RUN_MORE,
    ))
}

/// All plugins inspected on one core, none, and one that was edited.
fn inspections(bench: &Bench, plugins: usize) -> Result<bool> {
    let rounds = bench.runs(1, 3);
    let workspaces = [1, plugins].map(|count| (bench.dir.join(format!("of-{count}")), count));
    for (workspace, count) in &workspaces {
        fs::create_dir_all(workspace)?;
        fs::write(
            workspace.join("synapse-workspace.yaml"),
            "members: ['p*']\n",
        )?;
        for index in 0..*count {
            write_plugin(&workspace.join(format!("p{index}")), index)?;
        }
    }
    // The base environment is made once, outside of what is measured.
    let warm = bench.dir.join("warm");
    let inspect = |workspace: &Path, home: &Path| {
        let mut command = bench.synapse(workspace, home);
        command.args([
            "plugin",
            "publish",
            "--all",
            "--local",
            "--dry-run",
            "--json",
        ]);
        on_one_core(&mut command);
        command
    };
    measure_output(&mut inspect(&workspaces[0].0, &warm))?;
    let mut counts = Vec::new();
    let mut cold = |(workspace, count): &(PathBuf, usize), round: usize| -> Result<Usage> {
        let home = bench.dir.join(format!("cold-{count}-{round}"));
        copy_environments(&warm, &home)?;
        let (usage, output) = measure_output(&mut inspect(workspace, &home))?;
        counts.push((*count, inspected(&output)?));
        Ok(usage)
    };
    let mut series: Vec<Series> = Vec::new();
    for workspace in &workspaces {
        let name = format!("{} inspected", workspace.1);
        series.extend(alternate(
            rounds,
            &mut [(name.as_str(), Box::new(|round| cold(workspace, round)))],
        )?);
    }
    for (count, found) in counts {
        ensure!(found == count, "{found} of {count} plugins were inspected");
    }
    let (workspace, home) = (
        &workspaces[1].0,
        bench.dir.join(format!("cold-{plugins}-0")),
    );
    let (none, output) = measure_output(&mut inspect(workspace, &home))?;
    ensure!(inspected(&output)? == 0, "plugins were inspected again");
    let edited = workspace.join("p1/plugin/train.py");
    fs::write(
        &edited,
        fs::read_to_string(&edited)? + "\n\nEDITED = True\n",
    )?;
    let (one, output) = measure_output(&mut inspect(workspace, &home))?;
    let again = inspected(&output)?;
    series.push(Series {
        name: "none inspected".to_owned(),
        runs: vec![none],
    });
    series.push(Series {
        name: "one edited".to_owned(),
        runs: vec![one],
    });
    heading(
        bench,
        "Inspecting plugins",
        &format!(
            "`publish --all --dry-run` of {plugins} plugins whose params take importing, on one \
             core, from a store that holds nothing but the base environment; beside one plugin; \
             {rounds} runs each"
        ),
    );
    print_table(&series, &series[0]);
    let [first, all] = [0, 1].map(|index: usize| median(&series[index].wall()));
    let each = (all - first) / (plugins - 1) as f64;
    let fast = bar("an inspection after the first, ms", each, BAR_INSPECT);
    let few = bar("inspections after one edit", again as f64, 1.0);
    Ok(fast && few && again == 1)
}

/// How many stages `inspect` a publish ran.
fn inspected(output: &[u8]) -> Result<usize> {
    let document = document(output)?;
    let plugins = document["plugins"].as_array().cloned().unwrap_or_default();
    Ok(plugins
        .iter()
        .filter_map(|plugin| plugin["stages"].as_array())
        .flatten()
        .filter(|stage| stage["stage"] == "inspect" && stage["decision"] == "run")
        .count())
}

/// A plugin with a training action whose params only importing can tell.
fn write_plugin(folder: &Path, index: usize) -> Result<()> {
    fs::create_dir_all(folder.join("plugin"))?;
    let config = format!(
        "name: Bench {index}\ncode: bench-{index}\nversion: 0.1.0\ncategory: neural_net\n\
         actions:\n  train:\n    entrypoint: plugin.train:TrainAction\n    method: job\n"
    );
    let train = format!(
        "from pydantic import BaseModel, Field\n\
         from synapse_sdk.plugins import BaseAction\n\n\n\
         class TrainParams(BaseModel):\n    \
         value_{index}: int = Field(default=1, ge=0, description='A value')\n    \
         rate: float = Field(default=0.1, gt=0, lt=1)\n    name: str = 'a'\n\n\n\
         class TrainAction(BaseAction[TrainParams]):\n    action_name = 'train'\n\n    \
         def execute(self):\n        return {{'value': self.params.value_{index}}}\n"
    );
    for (path, text) in [
        ("config.yaml", config.as_str()),
        ("README.md", "# Bench\n"),
        ("requirements.txt", ""),
        ("plugin/__init__.py", ""),
        ("plugin/train.py", train.as_str()),
    ] {
        fs::write(folder.join(path), text)?;
    }
    Ok(())
}

fn interpreter() -> Result<PathBuf> {
    let python = python::interpreters(true)?.pop().context("no Python")?;
    Ok(python.executable)
}

fn only_environment(home: &Path) -> Result<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(home.join("cache/environments"))? {
        let path = entry?.path();
        if path.join("bin/python").exists() {
            found.push(path);
        }
    }
    ensure!(found.len() == 1, "environments: {found:?}");
    found.pop().context("no environment")
}

/// Gives `home` what `warm` has made of environments and tools, and nothing that it knows of
/// plugins. Environments know their own path, so they are linked, not copied.
fn copy_environments(warm: &Path, home: &Path) -> Result<()> {
    let (from, to) = (warm.join("cache"), home.join("cache"));
    fs::create_dir_all(&to)?;
    for name in [
        "environments",
        "base",
        "interpreters",
        "sdk",
        "tools",
        "locks",
    ] {
        let from = from.join(name);
        if from.exists() {
            std::os::unix::fs::symlink(&from, to.join(name))?;
        }
    }
    Ok(())
}

/// Keeps a command on one core, where the system can do that.
#[cfg(target_os = "linux")]
fn on_one_core(command: &mut Command) {
    use std::{io, os::unix::process::CommandExt};
    let pin = || {
        // SAFETY: the set is a plain bit field, valid when zeroed, and lives through both calls;
        // they take no lock, as is asked of code between fork and exec.
        unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            libc::CPU_SET(0, &mut set);
            match libc::sched_setaffinity(0, size_of_val(&set), &raw const set) {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        }
    };
    // SAFETY: see above.
    unsafe { command.pre_exec(pin) };
}

#[cfg(not(target_os = "linux"))]
fn on_one_core(_command: &mut Command) {}
