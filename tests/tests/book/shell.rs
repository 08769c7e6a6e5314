//! Owns [`Shell`]: one shell for all commands of a page, in a space of its own, and the platforms
//! that the page speaks of.

use std::{
    fs,
    fs::File,
    io::{BufRead, BufReader, Write},
    os::unix::fs::symlink,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use synapse_tests::{Serving, Space, fixture, wheels::Index};

use crate::words;

const PROGRAM: &str = env!("CARGO_BIN_EXE_synapse_under_test");
/// Longest that a server may take to come up.
const PATIENCE: Duration = Duration::from_mins(1);

/// A shell that ends with its page.
pub(crate) struct Shell {
    space: Space,
    child: Child,
    input: ChildStdin,
    codes: BufReader<ChildStdout>,
    platforms: Vec<Platform>,
}

/// A platform, and the address that the page gives it.
struct Platform {
    address: String,
    url: String,
    token: String,
    _server: Server,
}

/// What ends with the page.
enum Server {
    Apart { _serving: Serving, _home: Space },
    Here(Child),
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Self::Here(child) = self {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What came of a command.
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) output: String,
}

impl Shell {
    /// One in an empty folder, where `synapse` is the command of this build.
    pub(crate) fn start() -> Self {
        let mut space = Space::new(PROGRAM);
        for (name, value) in Index::usual().variables() {
            space.set(name, &value);
        }
        for folder in ["bin", "tmp"] {
            fs::create_dir(space.root().join(folder)).unwrap();
        }
        symlink(PROGRAM, space.root().join("bin/synapse")).unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        let path = format!("{}:{path}", space.root().join("bin").display());
        space.set("PATH", &path);
        space.set("TMPDIR", &space.root().join("tmp").display().to_string());
        space.set("FIXTURES", &fixture("").display().to_string());
        let mut command = Command::new("bash");
        command.args(["--norc", "--noprofile", "-o", "pipefail"]);
        let model = space.command(&[]);
        command.env_clear().current_dir(space.cwd());
        for (name, value) in model.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("bash starts");
        let (input, codes) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self {
            space,
            child,
            input,
            codes: BufReader::new(codes),
            platforms: Vec::new(),
        }
    }

    /// Makes another machine a platform at `address`.
    pub(crate) fn serve(&mut self, address: &str) {
        let home = Space::new(PROGRAM);
        let serving = Serving::start(&home);
        let exported = self.execute(&format!("export TOKEN={}", serving.token));
        assert_eq!(exported.code, 0);
        self.platforms.push(Platform {
            address: address.to_owned(),
            url: serving.url.clone(),
            token: serving.token.clone(),
            _server: Server::Apart {
                _serving: serving,
                _home: home,
            },
        });
    }

    /// Runs a command as a reader would. What differs from one machine to the next reads as on the
    /// page: addresses, and the folders of the test.
    pub(crate) fn run(&mut self, command: &str) -> Done {
        let parts = words::commands(command);
        let starts = |words: &[String], with: [&str; 2]| words.iter().take(2).eq(with);
        let mut done = match parts.first() {
            Some(words) if starts(words, ["synapse", "backend"]) && words[2] == "serve" => {
                self.serve_here(&words[1..])
            }
            _ => {
                let asks = parts.iter().any(|words| {
                    starts(words, ["synapse", "login"])
                        && !words
                            .iter()
                            .any(|word| ["--token", "--local"].contains(&&**word))
                });
                self.execute(&self.addressed(command, asks))
            }
        };
        for platform in &self.platforms {
            done.output = done.output.replace(&platform.url, &platform.address);
        }
        let folder = |path: &Path| path.display().to_string();
        done.output = done
            .output
            .replace(&folder(&self.space.root().join("user")), "~")
            .replace(&folder(self.space.cwd()), ".");
        done
    }

    /// The command with the platforms' real addresses. With `asks`, it has the token that a person
    /// would be asked for at the terminal.
    fn addressed(&self, command: &str, asks: bool) -> String {
        let named = |platform: &&Platform| command.contains(&platform.address);
        let token = self.platforms.iter().find(named).or(self.platforms.first());
        let mut command = command.to_owned();
        for platform in &self.platforms {
            command = command.replace(&platform.address, &platform.url);
        }
        match token {
            Some(Platform { token, .. }) if asks => {
                let typed = command.split(" #").next().unwrap_or_default();
                format!("{typed} --token - <<< {token}")
            }
            _ => command,
        }
    }

    fn execute(&mut self, command: &str) -> Done {
        let file = self.space.root().join("output");
        let shown = file.display();
        // A here-document of the command comes before what is added to its line.
        writeln!(
            self.input,
            "{{ {command}\n}} > {shown} 2>&1 < /dev/null; echo $?"
        )
        .unwrap();
        let mut line = String::new();
        self.codes.read_line(&mut line).unwrap();
        let output = String::from_utf8(fs::read(&file).unwrap()).expect("output is UTF-8");
        let code = line.trim().parse();
        let code = code.unwrap_or_else(|_| panic!("{command}: the shell ended\n{output}"));
        Done { code, output }
    }

    /// `synapse backend serve` goes on beside the commands that follow, as in another terminal,
    /// with the variables that the shell has by now. Its port is any free one.
    fn serve_here(&mut self, args: &[String]) -> Done {
        let given = args.iter().position(|word| word == "--port");
        let port = given.map_or("8000", |at| args[at + 1].as_str());
        let address = format!("http://127.0.0.1:{port}");
        let file = self.space.root().join(format!("served-{port}"));
        let mut command = Command::new(PROGRAM);
        command
            .args(
                args.iter()
                    .map(|word| if word == port { "0" } else { word }),
            )
            .current_dir(self.space.cwd())
            .env_clear()
            .stdin(Stdio::null())
            .stdout(File::create(&file).unwrap())
            .stderr(File::create(&file).unwrap());
        let variables = self.execute("env -0").output;
        let variables = variables.split('\0').filter_map(|one| one.split_once('='));
        let server = Server::Here(command.envs(variables).spawn().unwrap());
        let output = came_up(&file);
        self.platforms.push(Platform {
            address,
            url: said("url ", &output).expect("an address"),
            token: said("token ", &output).expect("a token"),
            _server: server,
        });
        Done { code: 0, output }
    }
}

/// What a server says once it is up.
fn came_up(file: &Path) -> String {
    let started = Instant::now();
    loop {
        let output = fs::read_to_string(file).unwrap();
        if said("token ", &output).is_some() && output.ends_with('\n') {
            return output;
        }
        assert!(started.elapsed() < PATIENCE, "no server came up: {output}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// What stands behind `word` at the start of a line.
fn said(word: &str, text: &str) -> Option<String> {
    let mut lines = text.lines().map(str::trim_start);
    lines.find_map(|line| Some(line.strip_prefix(word)?.trim().to_owned()))
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
