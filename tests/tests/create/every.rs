//! Every category, worked through as its own README prints it.

use std::{
    path::Path,
    process::{Command, Stdio},
    sync::Mutex,
    thread,
};

use synapse_tests::{
    Document, Run, Space,
    wheels::{self, Index},
};

use crate::{CATEGORIES, PROGRAM, create, space};

/// Categories at once.
const WORKERS: usize = 2;

/// The commands that a README prints, in its order.
fn commands(readme: &str) -> Vec<String> {
    let lines = readme.lines().filter_map(|line| line.strip_prefix("$ "));
    lines.map(str::to_owned).collect()
}

/// Runs one as a shell would, with `synapse` and a Python that can test.
fn shell(space: &Space, folder: &Path, environment: &Path, command: &str) -> Run {
    let own = space.command(&[]);
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).current_dir(folder).env_clear();
    let variables = own.get_envs();
    shell.envs(variables.filter_map(|(name, value)| Some((name, value?))));
    let path = std::env::var("PATH").unwrap();
    let tests = command.starts_with("python3 -m pytest");
    let bin = environment.join("bin");
    // Only tests run in that environment; actions get one of their own.
    let shown = if tests { bin } else { space.root().join("bin") };
    shell.env("PATH", format!("{}:{path}", shown.display()));
    shell.stdin(Stdio::null()).output().unwrap().into()
}

fn work_through(space: &Space, environment: &Path, category: &str) {
    let code = format!("my-{}", category.replace('_', "-"));
    let made = create(
        space,
        &[
            "--name",
            "My Plugin",
            "--code",
            &code,
            "-c",
            category,
            "--yes",
        ],
    );
    let made = made.expect(0);
    let place = format!("synapse-{code}-plugin");
    let folder = space.path(&place);
    let readme = space.read(&format!("{place}/README.md"));
    let commands = commands(&readme);
    // What is told to do next works: it is what the README prints.
    let next: Vec<&str> = made
        .stdout
        .lines()
        .skip_while(|line| *line != "next:")
        .collect();
    assert_eq!(next[1].trim(), format!("cd {place}"));
    assert_eq!(
        next.last().unwrap().trim(),
        "synapse plugin publish --local"
    );
    for line in &next[2..next.len() - 1] {
        assert!(commands.contains(&line.trim().to_owned()), "{line}");
    }

    let check = ["plugin", "update-config", "--check", "--path", &place];
    let checked = space.synapse(&check).expect(0);
    assert!(
        checked.stdout.ends_with("No changes needed.\n"),
        "{checked:?}"
    );
    let mut runs = 0;
    for command in &commands {
        let command = command.split(" #").next().unwrap().trim();
        let done = shell(space, &folder, environment, command);
        assert_eq!(done.code(), 0, "{category}: {command}\n{}", done.text());
        if command.starts_with("synapse plugin run") {
            assert!(
                done.stdout.contains("Result: {"),
                "{command}\n{}",
                done.text()
            );
            runs += 1;
        }
        if command.contains("pytest") {
            assert!(done.stdout.contains(" passed"), "{}", done.text());
        }
    }
    // Every action of the configuration is run by its README.
    let config = space.read(&format!("{place}/config.yaml"));
    let actions = config.matches("\n    entrypoint: ").count();
    assert!(
        actions > 0 && runs >= actions,
        "{category}: {runs} runs of {actions} actions"
    );
    for line in config.lines().filter(|line| line.contains("entrypoint: ")) {
        let module = line.rsplit("entrypoint: ").next().unwrap();
        let module = module.split(':').next().unwrap().replace('.', "/");
        assert!(folder.join(format!("{module}.py")).is_file(), "{line}");
    }
}

#[test]
fn every_category_runs_tests_and_publishes_as_its_readme_says() {
    let mut space = space();
    for (name, value) in Index::usual().variables() {
        space.set(name, &value);
    }
    std::fs::create_dir(space.root().join("bin")).unwrap();
    let link = space.root().join("bin/synapse");
    std::os::unix::fs::symlink(PROGRAM, link).unwrap();
    // The last line of each README publishes to wherever one is logged in.
    space.synapse(&["login", "--local"]).expect(0);
    let wanted = [
        "pydantic>=2.3",
        "urllib3>=1.26,<3",
        "pytest>=7.0.0",
        "pytest-cov",
        "pytest-mock",
    ];
    let python = wheels::usual_python();
    let program = Path::new(PROGRAM);
    let environment = wheels::environment(&python, "guide", &wanted, Index::usual(), program);
    // The first makes the environment that all share.
    let (first, rest) = CATEGORIES.split_first().unwrap();
    work_through(&space, &environment, first);
    let rest = Mutex::new(rest.iter());
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some(category) = { rest.lock().unwrap().next() } {
                    work_through(&space, &environment, category);
                }
            });
        }
    });
    // All requirements are equal, so there is one environment.
    let releases = space.synapse(&[
        "status",
        "--local",
        "--json",
        "--path",
        "synapse-my-custom-plugin",
    ]);
    let status = releases.expect(0).json();
    assert_eq!(status["plugins"][0]["code"], "my-custom");

    let args = [
        "--path",
        "synapse-my-neural-net-plugin",
        "--bump",
        "patch",
        "--json",
    ];
    space.append(
        "synapse-my-neural-net-plugin/plugin/types.py",
        "\n# changed\n",
    );
    let all = [&["plugin", "publish", "--local"][..], &args].concat();
    let document = Document::of(space.synapse(&all));
    let packed = document.unpacked("my-neural-net");
    let names: Vec<&str> = packed.keys().map(String::as_str).collect();
    assert!(names.contains(&"plugin/train.py"), "{names:?}");
    let inner = ["tests/", "samples/", "output/", ".synapse/", ".git"];
    let strange = names
        .iter()
        .find(|name| inner.iter().any(|own| name.starts_with(own)));
    assert_eq!(strange, None, "{names:?}");
}
