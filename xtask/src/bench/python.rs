//! Owns the bench of the Python side: an action that does nothing beside bare pydantic in the same
//! environment, and inspections of many plugins.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Bench, Series, alternate, bar, document, heading, median, print_table, ratio};
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
        without_python(&mut command);
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
    let python = told["environment"]["executable"].as_str();
    let python = PathBuf::from(python.context("run --json names no Python")?);
    let reference = || {
        let mut command = Command::new(&python);
        without_python(&mut command);
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
             whole processes from fork to wait, no PYTHON* variable set",
            String::from_utf8_lossy(&version).trim()
        ),
    );
    print_table(&series, &series[1]);
    let beyond = |of: fn(&Series) -> Vec<f64>| {
        let [run, reference] = [0, 1].map(|index: usize| median(&of(&series[index])));
        run - BAR_RUN * reference
    };
    let wall = beyond(Series::wall);
    // On a busy machine the wait for a core counts many times over; this does not.
    let pairs = ratio(&series[0], &series[1]).pairwise;
    println!("Ratio of neighbouring runs, median: {pairs:.3}");
    bar(
        &format!("processor time of a run beyond {BAR_RUN} of the reference's, ms"),
        beyond(Series::processor),
        BAR_RUN_MORE,
    );
    Ok(bar(
        &format!("run beyond {BAR_RUN} of the reference, ms"),
        wall,
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
    // Made once, outside of what is measured: the base environment, by a plugin of no workspace
    // that is measured. Environments know where they are, so every run has its home at that place.
    let (home, kept, other) = ["home", "kept", "other"]
        .map(|name| bench.dir.join(format!("inspect-{name}")))
        .into();
    write_plugin(&other, usize::MAX)?;
    let inspect = |folder: &Path, what: &str| {
        let mut command = bench.synapse(folder, &home);
        without_python(&mut command);
        command.args(["plugin", "publish", what, "--local", "--dry-run", "--json"]);
        on_one_core(&mut command);
        command
    };
    measure_output(&mut inspect(&other, "--path=."))?;
    copy(&home, &kept)?;
    let counts = std::cell::RefCell::new(Vec::new());
    let cold = |(workspace, count): &(PathBuf, usize)| -> Result<Usage> {
        // Moved away, not deleted: ext4 steps over every file that was deleted a moment ago.
        let aside = bench
            .dir
            .join(format!("inspect-aside-{}", counts.borrow().len()));
        fs::rename(&home, aside)?;
        copy(&kept, &home)?;
        let (usage, output) = measure_output(&mut inspect(workspace, "--all"))?;
        counts.borrow_mut().push((*count, inspected(&output)?));
        Ok(usage)
    };
    let names = workspaces
        .each_ref()
        .map(|(_, count)| format!("{count} inspected"));
    // The larger one last: the runs after it find what it has left.
    let mut series = alternate(
        rounds,
        &mut [
            (&names[0], Box::new(|_| cold(&workspaces[0]))),
            (&names[1], Box::new(|_| cold(&workspaces[1]))),
        ],
    )?;
    for (count, found) in counts.into_inner() {
        ensure!(found == count, "{found} of {count} plugins were inspected");
    }
    let workspace = &workspaces[1].0;
    let (none, output) = measure_output(&mut inspect(workspace, "--all"))?;
    ensure!(inspected(&output)? == 0, "plugins were inspected again");
    let edited = workspace.join("p1/plugin/train.py");
    fs::write(
        &edited,
        fs::read_to_string(&edited)? + "\n\nEDITED = True\n",
    )?;
    let (one, output) = measure_output(&mut inspect(workspace, "--all"))?;
    let again = inspected(&output)?;
    for (name, usage) in [("none inspected", none), ("one edited", one)] {
        series.push(Series {
            name: name.to_owned(),
            runs: vec![usage],
        });
    }
    heading(
        bench,
        "Inspecting plugins",
        &format!(
            "`publish --all --dry-run` of {plugins} plugins whose params take importing, and of \
             one plugin, on one core; before each run the store is put back to what it was after \
             another plugin's inspection, which made the base environment; {rounds} runs each, \
             alternately; no PYTHON* variable set"
        ),
    );
    print_table(&series, &series[0]);
    let each = |of: fn(&Series) -> Vec<f64>| {
        let [first, all] = [0, 1].map(|index: usize| median(&of(&series[index])));
        (all - first) / (plugins - 1) as f64
    };
    bar(
        "processor time of an inspection after the first, ms",
        each(Series::processor),
        BAR_INSPECT,
    );
    let fast = bar(
        "an inspection after the first, ms",
        each(Series::wall),
        BAR_INSPECT,
    );
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

/// Copies a folder with times and links, and waits for the disk: what is measured next is not to
/// pay for it.
fn copy(from: &Path, to: &Path) -> Result<()> {
    measure_ok(Command::new("cp").arg("-a").args([from, to]))?;
    measure_ok(&mut Command::new("sync"))?;
    Ok(())
}

/// Takes away what would steer Python differently on another machine.
fn without_python(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PYTHON") {
            command.env_remove(name);
        }
    }
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
