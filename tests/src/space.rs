//! Owns [`Space`]: a folder of one test, with a home of its own, in which `synapse` runs.

use std::{
    collections::BTreeMap,
    env, fs,
    fs::DirBuilder,
    os::unix::{
        fs::{DirBuilderExt, PermissionsExt, chown, symlink},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;
use walkdir::WalkDir;

use crate::{
    document::Document,
    run::Run,
    tree::{copy_tree, fixture},
};

/// A folder of one test. Nothing that `synapse` does here is seen elsewhere.
pub struct Space {
    folder: TempDir,
    program: PathBuf,
    home: PathBuf,
    cwd: PathBuf,
    variables: Vec<(String, String)>,
    user: Option<u32>,
}

/// The user `nobody`.
const NOBODY: u32 = 65534;

impl Space {
    /// An empty one, for the `synapse` at `program`.
    pub fn new(program: &str) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("synapse-test-")
            .tempdir()
            .expect("a folder");
        let cwd = folder.path().join("here");
        for own in ["here", "user"] {
            fs::create_dir(folder.path().join(own)).expect("a folder");
        }
        let home = folder.path().join("synapse-home");
        Self {
            folder,
            program: program.into(),
            home,
            cwd,
            variables: Vec::new(),
            user: None,
        }
    }

    /// One with a copy of the fixture workspace of seven plugins.
    pub fn workspace(program: &str) -> Self {
        let space = Self::new(program);
        copy_tree(&fixture("workspace"), &space.cwd);
        space
    }

    /// One with a workspace of `count` tiny plugins, `tiny-0` and so on.
    pub fn tiny(program: &str, count: usize) -> Self {
        let space = Self::new(program);
        space.write("synapse-workspace.yaml", "members: ['plugins/*']\n");
        for index in 0..count {
            space.tiny_plugin(&format!("plugins/p{index}"), &format!("tiny-{index}"));
        }
        space
    }

    /// Writes a tiny plugin into the folder at `place`.
    pub fn tiny_plugin(&self, place: &str, code: &str) {
        let config = format!(
            "name: Tiny\ncode: {code}\nversion: 0.1.0\ncategory: custom\nactions:\n  run:\n    \
             entrypoint: plugin.run:main\n"
        );
        self.write(&format!("{place}/config.yaml"), config);
        self.write(&format!("{place}/README.md"), format!("# {code}\n"));
        self.write(&format!("{place}/plugin/__init__.py"), "");
        self.write(
            &format!("{place}/plugin/run.py"),
            format!("def main():\n    return '{code}'\n"),
        );
    }

    /// The folder of the test.
    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    /// The folder in which `synapse` runs.
    pub fn cwd(&self) -> &Path {
        &self.cwd
    }

    /// `SYNAPSE_HOME`.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Goes to another folder.
    pub fn set_cwd(&mut self, cwd: impl Into<PathBuf>) {
        self.cwd = cwd.into();
    }

    /// Takes another `SYNAPSE_HOME`, which is not there yet.
    pub fn set_home(&mut self, name: &str) {
        self.home = self.folder.path().join(name);
    }

    /// Sets an environment variable for all runs.
    pub fn set(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// Gives everything to the user `nobody`, who runs `synapse` from now on. False when only
    /// root could do that and this is not root: then nothing is changed.
    pub fn become_nobody(&mut self) -> bool {
        if !rustix::process::geteuid().is_root() {
            return false;
        }
        // The program may lie where others cannot go.
        let program = self.folder.path().join("synapse");
        if self.program != program {
            fs::copy(&self.program, &program).expect("a copy");
            self.program = program;
        }
        self.user = Some(NOBODY);
        for entry in WalkDir::new(self.folder.path()) {
            let entry = entry.expect("a tree that can be walked");
            if !entry.file_type().is_symlink() {
                chown(entry.path(), Some(NOBODY), Some(NOBODY)).expect("root may do that");
            }
        }
        true
    }

    /// Whoever was last made to run `synapse` gives way to the user of the test.
    pub fn become_myself(&mut self) {
        self.user = None;
    }

    /// A path below the folder in which `synapse` runs.
    pub fn path(&self, path: &str) -> PathBuf {
        self.cwd.join(path)
    }

    /// Writes a file, with its folders.
    pub fn write(&self, path: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, bytes).expect("a file");
    }

    /// Reads a file.
    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).expect("a text")
    }

    /// Adds to the end of a file.
    pub fn append(&self, path: &str, text: &str) {
        let whole = self.read(path) + text;
        fs::write(self.path(path), whole).expect("a file");
    }

    /// Replaces a text that occurs once in a file.
    #[track_caller]
    pub fn replace(&self, path: &str, old: &str, new: &str) {
        let text = self.read(path);
        assert_eq!(text.matches(old).count(), 1, "{old:?} in {path}");
        fs::write(self.path(path), text.replacen(old, new, 1)).expect("a file");
    }

    /// Sets a file's permissions.
    pub fn chmod(&self, path: &str, mode: u32) {
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(mode))
            .expect("permissions");
    }

    /// Lets the store take its environments from a folder that all tests share: making one takes
    /// seconds, and what is in it is checked before it is used.
    fn share_environments(&self) {
        let cache = self.home.join("cache");
        let Some(shared) = self
            .program
            .parent()
            .map(|bin| bin.join("test-environments"))
        else {
            return;
        };
        if self.user.is_some() || cache.exists() {
            return;
        }
        let private = |folder: &Path| DirBuilder::new().recursive(true).mode(0o700).create(folder);
        // Where nothing can be written, the command itself is to say so.
        if private(&shared).is_ok() && private(&cache).is_ok() {
            let _ = symlink(shared, cache.join("environments"));
        }
    }

    /// `synapse` with arguments, not started yet.
    pub fn command(&self, args: &[&str]) -> Command {
        self.share_environments();
        let mut command = Command::new(&self.program);
        command.args(args).current_dir(&self.cwd).env_clear();
        command.env("PATH", env::var_os("PATH").unwrap_or_default());
        command
            .env("HOME", self.folder.path().join("user"))
            .env("SYNAPSE_HOME", &self.home);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs `synapse`.
    pub fn synapse(&self, args: &[&str]) -> Run {
        self.command(args).output().expect("synapse starts").into()
    }

    /// Runs `synapse` with one more environment variable.
    pub fn synapse_with(&self, name: &str, value: &str, args: &[&str]) -> Run {
        self.command(args)
            .env(name, value)
            .output()
            .expect("synapse starts")
            .into()
    }

    /// Runs `synapse plugin publish --local --json` with more arguments.
    #[track_caller]
    pub fn publish(&self, args: &[&str]) -> Document {
        Document::of(self.synapse(&[&["plugin", "publish", "--local", "--json"], args].concat()))
    }

    /// The same with one more environment variable.
    #[track_caller]
    pub fn publish_with(&self, name: &str, value: &str, args: &[&str]) -> Document {
        let all = [&["plugin", "publish", "--local", "--json"], args].concat();
        Document::of(self.synapse_with(name, value, &all))
    }

    /// Versions of the formal releases of every plugin, by code; debug releases as `debug`.
    #[track_caller]
    pub fn releases(&self) -> BTreeMap<String, Vec<String>> {
        let status = self
            .synapse(&["status", "--local", "--json", "--all"])
            .expect(0)
            .json();
        let mut found = BTreeMap::new();
        for plugin in status["plugins"].as_array().into_iter().flatten() {
            let target = &plugin["targets"][0];
            let formal = target["releases"].as_array().into_iter().flatten();
            let mut versions: Vec<String> = formal
                .filter_map(|release| release["version"].as_str())
                .map(str::to_owned)
                .collect();
            if target["debug"] != Value::Null {
                versions.push("debug".to_owned());
            }
            found.insert(
                plugin["code"].as_str().unwrap_or_default().to_owned(),
                versions,
            );
        }
        found
    }

    /// Panics unless every blob of the store is what its name says.
    #[track_caller]
    pub fn expect_clean_store(&self) {
        let report = self.synapse(&["cache", "check", "--json"]).expect(0).json();
        assert_eq!(report["clean"], true, "{report:#}");
    }
}
