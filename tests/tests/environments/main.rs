//! Requirements become locks and locks become environments, with pip and uv, against an index of
//! tiny wheels that the tests make. Only uv itself and the base environment come from outside.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod bench;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use synapse_engine::FailureKind;
use synapse_rules::environment::{self, Choice, Wanted};

use bench::*;

#[test]
fn equal_locks_share_an_environment_and_a_second_look_starts_nothing() {
    let bench = Bench::new();
    bench.wheel("index", "tiny_c", "1.0", &["tiny-b>=1"]);
    bench.plugin("one", "", "# why\ntiny-c==1.0\nsynapse-sdk>=0.0.1\n");
    bench.plugin("two", "", "tiny_c == 1.0  # another way to say it\n");
    let one = bench.ready("one");
    assert!(
        one.managed && one.note.starts_with("managed environment"),
        "{}",
        one.note
    );
    let program =
        "import sys, tiny_c, tiny_b, pydantic; print(tiny_c.VERSION, pydantic.VERSION, sys.prefix)";
    let prefix = one.interpreter.prefix.canonicalize().unwrap();
    assert_eq!(
        python(&one, program),
        format!("1.0 2.9 {}", prefix.display())
    );
    assert!(bench.started() > 0);
    let again = bench.ready("one");
    assert_eq!(bench.started(), 0, "a second look starts nothing");
    assert_eq!(again.identity, one.identity);
    assert_eq!(
        bench.ready("two").interpreter.prefix,
        one.interpreter.prefix
    );
    assert_eq!(bench.processes.environments.load(Ordering::SeqCst), 1);
    // What is only said otherwise is known, and the SDK is not part of any lock; what is required
    // otherwise is not known.
    bench.started();
    bench.plugin("one", "", "tiny-c==1.0 # changed\n\n");
    bench.ready("one");
    assert_eq!(bench.started(), 0);
    bench.plugin("one", "", "tiny-c==1.0\ntiny-b<9\n");
    bench.ready("one");
    assert!(bench.started() > 0);
    let made = bench.processes.environments.load(Ordering::SeqCst);
    assert_eq!(made, 1, "another question, the same lock");
}

#[test]
fn every_python_of_the_machine_makes_them() {
    let bench = Bench::new();
    bench.plugin("tiny", "", "tiny-a\n");
    let all = synapse_tests::pythons::all();
    assert!(!all.is_empty());
    for own in all {
        let wanted = Wanted {
            python: Some(own.executable.display().to_string()),
            ..Wanted::default()
        };
        let ready = bench.try_ready("tiny", &wanted).unwrap();
        let script = "import sys, tiny_a; print(sys.version_info[1], tiny_a.VERSION)";
        assert_eq!(python(&ready, script), format!("{} 1.0", own.minor));
        assert_eq!(ready.interpreter.version.1, own.minor);
    }
}

#[test]
fn plugins_that_pin_differently_get_their_own() {
    let bench = Bench::new();
    bench.plugin("old", "", "pydantic==2.5\n");
    bench.plugin("new", "", "pydantic==2.9\n");
    let (old, new) = (bench.ready("old"), bench.ready("new"));
    let program = "import pydantic; print(pydantic.VERSION)";
    assert_eq!(
        (python(&old, program), python(&new, program)),
        ("2.5".into(), "2.9".into())
    );
    bench.plugin("both", "", "pydantic==2.5\npydantic==2.9\n");
    let Err(failure) = bench.try_ready("both", &Wanted::default()) else {
        panic!("both at once")
    };
    assert_eq!(
        (failure.kind, failure.code.as_str()),
        (FailureKind::User, "resolution")
    );
    assert!(
        is_in(&failure, "pydantic==2.5") && !is_in(&failure, "Traceback"),
        "{failure}"
    );
}

#[test]
fn package_code_sees_no_token_and_no_home() {
    let bench = Bench::new();
    let spy = "\
import json, os, sys

def told(directory):
    ancestors = []
    pid = os.getpid()
    for _ in range(4):
        try:
            ancestors.append(open(f'/proc/{pid}/cmdline').read())
            pid = int(open(f'/proc/{pid}/stat').read().rsplit(')')[1].split()[1])
        except OSError:
            break
    with open(os.path.join(os.path.dirname(__file__), 'seen.json'), 'a') as out:
        out.write(json.dumps([dict(os.environ), sys.argv, ancestors[:3]]) + '\\n')
    info = os.path.join(directory, 'spy-1.0.dist-info')
    os.makedirs(info, exist_ok=True)
    open(os.path.join(info, 'METADATA'), 'w').write('Metadata-Version: 2.1\\nName: spy\\nVersion: 1.0\\n')
    open(os.path.join(info, 'WHEEL'), 'w').write('Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
    open(os.path.join(info, 'RECORD'), 'w').write('')
    return 'spy-1.0.dist-info'

def prepare_metadata_for_build_wheel(directory, settings=None):
    return told(directory)

def build_wheel(directory, settings=None, metadata=None):
    import zipfile
    name = 'spy-1.0-py3-none-any.whl'
    info = told(directory)
    with zipfile.ZipFile(os.path.join(directory, name), 'w') as wheel:
        for file in ('METADATA', 'WHEEL', 'RECORD'):
            wheel.write(os.path.join(directory, info, file), f'{info}/{file}')
    return name
";
    bench.write("spy/backend.py", spy);
    let project = "[build-system]\nrequires = []\nbuild-backend = \"backend\"\nbackend-path = [\".\"]\n\
                   [project]\nname = \"spy\"\nversion = \"1.0\"\n";
    bench.write("spy/pyproject.toml", project);
    bench.write(
        "user/.netrc",
        "machine private.invalid login me password n3trc\n",
    );
    bench.plugin(
        "tiny",
        "",
        &format!(
            "--extra-index-url https://me:{CANARY}@private.invalid/\nspy @ file://{}\n",
            bench.path("spy").canonicalize().unwrap().display()
        ),
    );
    bench.ready("tiny");
    let seen = fs::read_to_string(bench.path("spy/seen.json"));
    // pip builds a copy on some versions: then it is there that it wrote.
    let seen = seen.expect("package code ran");
    assert!(!seen.contains(CANARY), "{seen}");
    assert!(
        !seen.contains(&format!("\"HOME\": \"{}\"", bench.path("user").display())),
        "{seen}"
    );
    for entry in walk(&bench.store()) {
        let bytes = fs::read(&entry).unwrap();
        let found = bytes
            .windows(CANARY.len())
            .any(|window| window == CANARY.as_bytes());
        assert!(!found, "{}", entry.display());
    }
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let all = walkdir::WalkDir::new(folder)
        .into_iter()
        .map(Result::unwrap);
    all.filter(|entry| entry.file_type().is_file())
        .map(|entry| entry.path().to_owned())
        .collect()
}

#[test]
fn a_broken_environment_is_made_again_and_two_at_once_make_one() {
    let bench = Bench::new();
    bench.plugin("tiny", "", "tiny-a\n");
    std::thread::scope(|scope| {
        let both = [0, 1].map(|_| scope.spawn(|| bench.ready("tiny")));
        let [one, two] = both.map(|thread| thread.join().unwrap());
        assert_eq!(one.interpreter.prefix, two.interpreter.prefix);
    });
    let made = || bench.processes.environments.swap(0, Ordering::SeqCst);
    assert_eq!(made(), 1);
    let prefix = bench.ready("tiny").interpreter.prefix;
    let packages = bench.ready("tiny").interpreter.site_packages[0].clone();
    for broken in [
        prefix.join("synapse-environment.json"),
        prefix.join("bin/python"),
        packages.join("tiny_a-1.0.dist-info"),
    ] {
        if broken.is_dir() {
            fs::remove_dir_all(&broken).unwrap();
        } else {
            fs::remove_file(&broken).unwrap();
        }
        let ready = bench.ready("tiny");
        assert_eq!(
            (made(), ready.interpreter.prefix.clone()),
            (1, prefix.clone())
        );
        assert_eq!(
            python(&ready, "import tiny_a; print(tiny_a.VERSION)"),
            "1.0"
        );
    }
    // A store that forgot keeps what lies there whole.
    for file in ["store.db", "store.db-wal", "store.db-shm"] {
        let _ = fs::remove_file(bench.store().join(file));
    }
    bench.ready("tiny");
    assert_eq!(made(), 0);
}

#[test]
fn a_lock_file_holds_versions_until_it_is_upgraded() {
    let bench = Bench::new();
    bench.plugin("tiny", "", "tiny-a\n");
    let plain = Wanted::default();
    let locked = Wanted {
        locked: true,
        ..Wanted::default()
    };
    let upgrade = Wanted {
        upgrade: true,
        ..Wanted::default()
    };
    let Err(failure) = bench.try_ready("tiny", &locked) else {
        panic!("there is no lock file")
    };
    assert_eq!(failure.code, "lock");
    let change = bench.lock("tiny", &plain).unwrap();
    assert!(
        change.wrote && change.packages == 3 && change.changed.len() == 3,
        "{change:?}"
    );
    bench.wheel("index", "tiny_a", "1.1", &[]);
    let before = fs::metadata(&change.path).unwrap().modified().unwrap();
    assert!(!bench.lock("tiny", &plain).unwrap().wrote);
    assert_eq!(
        fs::metadata(&change.path).unwrap().modified().unwrap(),
        before
    );
    let version = "import tiny_a; print(tiny_a.VERSION)";
    assert_eq!(
        python(&bench.try_ready("tiny", &locked).unwrap(), version),
        "1.0"
    );
    // Something more is required: what is locked stays.
    bench.plugin("tiny", "", "tiny-a\ntiny-b\n");
    let Err(failure) = bench.try_ready("tiny", &locked) else {
        panic!("it does not fit")
    };
    assert!(is_in(&failure, "made from other requirements"), "{failure}");
    assert!(!bench.ready("tiny").warnings.is_empty());
    let change = bench.lock("tiny", &plain).unwrap();
    assert_eq!(change.changed.len(), 1, "{change:?}");
    let change = bench.lock("tiny", &upgrade).unwrap();
    assert_eq!(change.changed[0].new.as_deref(), Some("1.1"));
    let ready = bench.try_ready("tiny", &locked).unwrap();
    assert!(ready.note.contains("locked"), "{}", ready.note);
    assert_eq!(python(&ready, version), "1.1");
}

#[test]
fn the_plugins_own_wheels_and_local_projects_are_installed() {
    let bench = Bench::new();
    bench.plugin(
        "tiny",
        "",
        "-r more/base.txt\n-c limits.txt\ntiny-b; python_version < '3'\n",
    );
    bench.write("tiny/more/base.txt", "tiny-a  # any\n");
    bench.write("tiny/limits.txt", "tiny-a<2\n");
    bench.wheel("index", "tiny_a", "2.0", &[]);
    bench.wheel("tiny/wheels", "brought", "3.0", &["tiny-a"]);
    let ready = bench.ready("tiny");
    let program = "import brought, tiny_a; print(brought.VERSION, tiny_a.VERSION)";
    assert_eq!(python(&ready, program), "3.0 1.0");
    let packages = fs::read_dir(&ready.interpreter.site_packages[0]).unwrap();
    assert!(packages.flatten().all(|entry| {
        !entry
            .file_name()
            .display()
            .to_string()
            .starts_with("tiny_b")
    }));
    // Every file that was read is an input.
    bench.write("tiny/limits.txt", "tiny-a>1\n");
    assert_eq!(python(&bench.ready("tiny"), program), "3.0 2.0");
}

#[test]
fn the_active_environment_is_taken_when_it_satisfies() {
    let mut bench = Bench::new();
    bench.plugin("tiny", "", "tiny-a>=1\n");
    let made = bench.ready("tiny");
    let prefix = made.interpreter.prefix.clone();
    bench.variables.push(("VIRTUAL_ENV".into(), prefix.into()));
    let ready = bench.ready("tiny");
    assert!(
        !ready.managed && ready.note.starts_with("active environment"),
        "{}",
        ready.note
    );
    bench.started();
    bench.ready("tiny");
    assert_eq!(bench.started(), 0);
    bench.plugin("tiny", "", "tiny-a>=1\ntiny-b\n");
    let ready = bench.ready("tiny");
    assert!(
        ready.managed && ready.note.contains("lacks tiny-b"),
        "{}",
        ready.note
    );
    let active = Wanted {
        choice: Choice::Active,
        ..Wanted::default()
    };
    let Err(failure) = bench.try_ready("tiny", &active) else {
        panic!("it lacks tiny-b")
    };
    assert_eq!(failure.kind, FailureKind::Environment);
}

#[test]
fn collection_spares_what_is_leased() {
    let bench = Bench::new();
    bench.plugin("tiny", "", "tiny-a\n");
    let ready = bench.ready("tiny");
    let future = seconds() + 1_000_000;
    let collect = || {
        environment::collect(&bench.store(), 500_000, future)
            .unwrap()
            .environments
    };
    assert_eq!(collect(), 0, "it is in use");
    let prefix = ready.interpreter.prefix.clone();
    drop(ready);
    assert_eq!(
        environment::collect(&bench.store(), 2_000_000, future)
            .unwrap()
            .environments,
        0
    );
    assert_eq!(environment::stats(&bench.store()).environments, 1);
    assert_eq!((collect(), prefix.exists()), (1, false));
    assert!(bench.ready("tiny").interpreter.executable.exists());
}

#[test]
fn machines_without_python_or_network_are_told_so() {
    let mut bench = Bench::new();
    bench.plugin("tiny", "", "tiny-a\n");
    let wanted = |python: &str| Wanted {
        python: Some(python.to_owned()),
        ..Wanted::default()
    };
    for python in ["3.99", "/no/such/python", "no-such-program"] {
        let Err(failure) = bench.try_ready("tiny", &wanted(python)) else {
            panic!("{python}")
        };
        assert_eq!(failure.kind, FailureKind::Environment, "{failure}");
        assert!(failure.hint.is_some());
    }
    for (program, told) in [
        ("/bin/ls", "/bin/ls is no Python"),
        ("/bin/true", "/bin/true is no Python"),
        ("/bin/echo", "/bin/echo is no Python"),
    ] {
        let Err(failure) = bench.try_ready("tiny", &wanted(program)) else {
            panic!("{program}")
        };
        assert_eq!(failure.message, told);
    }
    bench.write("tiny/requirements.txt", "tiny-a\n");
    bench.variables.push((
        "PIP_INDEX_URL".into(),
        format!("http://me:{CANARY}@127.0.0.1:9/").into(),
    ));
    bench
        .variables
        .push(("HTTP_PROXY".into(), "http://127.0.0.1:9".into()));
    bench
        .variables
        .push(("HTTPS_PROXY".into(), "http://127.0.0.1:9".into()));
    let Err(failure) = bench.try_ready("tiny", &Wanted::default()) else {
        panic!("no network")
    };
    assert_eq!(
        (failure.kind, failure.code.as_str()),
        (FailureKind::Environment, "network"),
        "{failure}"
    );
    assert!(!is_in(&failure, CANARY));
}

#[test]
fn pythons_that_cannot_run_plugins_are_told_from_those_that_can() {
    let mut bench = Bench::new();
    bench.plugin("tiny", "", "tiny-a\n");
    // Stand-ins that answer as Pythons of other versions would.
    let ready = bench.ready("tiny");
    let real = ready.interpreter.base_executable.display().to_string();
    for (name, version) in [("python3", "[3, 6, 15]"), ("python3.12", "[3, 12, 4]")] {
        let edit = format!(r#"s/"version": \[[0-9, ]*\]/"version": {version}/"#);
        let script = format!("#!/bin/sh\n'{real}' \"$@\" | sed '{edit}'\n");
        bench.write(&format!("bin/{name}"), &script);
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(bench.path(&format!("bin/{name}")), mode).unwrap();
    }
    bench.variables.retain(|(name, _)| name != "PATH");
    let path = format!("{}:/bin", bench.path("bin").display());
    bench.variables.push(("PATH".into(), path.into()));
    for wanted in ["9.9", "3.6"] {
        let python = Some(wanted.to_owned());
        let wanted = Wanted {
            python,
            ..Wanted::default()
        };
        let Err(failure) = bench.try_ready("tiny", &wanted) else {
            panic!("3.6 was taken")
        };
        let (usable, useless) = failure
            .message
            .split_once("; ")
            .and_then(|(_, there)| there.split_once("; "))
            .unwrap();
        assert!(
            usable.contains("3.12.4") && !usable.contains("3.6"),
            "{failure}"
        );
        assert_eq!(
            useless, "3.6.15 cannot run plugins: CPython 3.10 or later can",
            "{failure}"
        );
    }
}

#[test]
fn offline_with_nothing_there_blames_the_option_and_not_the_requirements() {
    let bench = Bench::new();
    bench.plugin("made", "package_manager: uv\n", "tiny-a\n");
    bench.ready("made");
    let offline = Wanted {
        offline: true,
        ..Wanted::default()
    };
    for manager in ["pip", "uv"] {
        bench.plugin("tiny", &format!("package_manager: {manager}\n"), "");
        bench.write("tiny/requirements.txt", "tiny-a\n");
        let Err(failure) = bench.try_ready("tiny", &offline) else {
            panic!("{manager} found packages")
        };
        assert_eq!(
            (failure.kind, failure.code.as_str()),
            (FailureKind::Environment, "offline"),
            "{failure}"
        );
        assert!(
            failure.message.starts_with("--offline was given") && is_in(&failure, "tiny-a"),
            "{failure}"
        );
        // What is there can be used.
        bench.plugin("tiny", &format!("package_manager: {manager}\n"), "tiny-a\n");
        assert!(bench.try_ready("tiny", &offline).is_ok(), "{manager}");
    }
}

#[test]
fn uv_does_the_same_when_it_is_asked_for() {
    let bench = Bench::new();
    bench.wheel("index", "tiny_c", "1.0", &["tiny-b>=1"]);
    bench.plugin("tiny", "package_manager: uv\n", "tiny-c\n");
    let ready = bench.ready("tiny");
    assert_eq!(
        python(&ready, "import tiny_b; print(tiny_b.VERSION)"),
        "1.0"
    );
    bench.started();
    bench.ready("tiny");
    assert_eq!(bench.started(), 0);
    bench.plugin("tiny", "package_manager: uv\n", "tiny-c>7\n");
    let Err(failure) = bench.try_ready("tiny", &Wanted::default()) else {
        panic!("there is none")
    };
    assert_eq!(failure.code, "resolution");
    assert!(is_in(&failure, "tiny-c"), "{failure}");
}

#[test]
fn the_base_environment_has_pydantic_alone() {
    let bench = Bench::new();
    let count = AtomicU64::new(0);
    let base = || {
        count.fetch_add(1, Ordering::SeqCst);
        let base = bench.environments().base(None, None);
        base.unwrap_or_else(|failure| panic!("{failure:#?}"))
    };
    let ready = base();
    let program = "import pydantic, urllib3; print(pydantic.VERSION)";
    assert_eq!(python(&ready, program), "2.14.4");
    bench.started();
    assert_eq!(base().identity, ready.identity);
    assert_eq!(bench.started(), 0);
}
