//! Owns [`Tmux`]: a terminal of a known size in which `synapse` runs as at a desk: it can be typed
//! into, resized, and looked at.

use std::{
    fs,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::Space;

/// Longest wait for what is sure to come; a machine may be busy.
const PATIENCE: Duration = Duration::from_mins(1);
/// How often is looked.
const LOOK: Duration = Duration::from_millis(20);
/// What `TERM` says unless the space says otherwise.
const TERM: &str = "xterm-256color";

/// Runs a program and writes its exit code into a file: tmux does not always learn of an end.
const WITNESS: &str = r#"trap : INT; "$@"; echo $? > "$0.new"; mv "$0.new" "$0""#;

/// A terminal with one program in it. Both end with it.
pub struct Tmux {
    folder: TempDir,
    /// The server, which holds the terminal.
    server: Option<Pid>,
    path: String,
}

impl Tmux {
    /// `synapse` with arguments in a terminal of `columns` and `rows`, with the variables of the
    /// space; its `TERM` is that of the terminal.
    #[track_caller]
    pub fn start(space: &Space, (columns, rows): (u16, u16), args: &[&str]) -> Self {
        Self::of(space, (columns, rows), &space.command(args))
    }

    /// A shell's line instead, in which `$SYNAPSE` is the program.
    #[track_caller]
    pub fn shell(space: &Space, (columns, rows): (u16, u16), line: &str) -> Self {
        let own = space.command(&[]);
        let mut command = Command::new("/bin/sh");
        command.args(["-c", line]).env_clear();
        let variables = own.get_envs();
        command.envs(variables.filter_map(|(name, value)| Some((name, value?))));
        command.env("SYNAPSE", own.get_program());
        Self::of(space, (columns, rows), &command)
    }

    #[track_caller]
    fn of(space: &Space, (columns, rows): (u16, u16), command: &Command) -> Self {
        // A folder in that of the test, whose name is short: so must be that of a socket.
        let folder = tempfile::Builder::new()
            .prefix("tmux-")
            .tempdir_in(space.root())
            .expect("a folder");
        let variable = |wanted: &str| {
            let mut all = command.get_envs();
            let found = all.find(|(name, _)| *name == wanted);
            found.and_then(|(_, value)| Some(value?.to_string_lossy().into_owned()))
        };
        let term = variable("TERM").unwrap_or_else(|| TERM.to_owned());
        let settings = format!(
            "set -g remain-on-exit on\nset -g remain-on-exit-format ''\nset -g status off\n\
             set -g history-limit 5000\nset -g escape-time 0\n\
             set -g default-size {columns}x{rows}\nset -g default-terminal '{term}'\n"
        );
        fs::write(folder.path().join("conf"), settings).expect("a file");
        let path = variable("PATH").unwrap_or_default();
        let mut terminal = Self {
            folder,
            server: None,
            path,
        };
        let mut start = terminal.tmux(&["new-session", "-d", "-s", "test"]);
        start
            .args(["-x", &columns.to_string(), "-y", &rows.to_string()])
            .arg("-c")
            .arg(space.cwd())
            .arg("--")
            .args(["/bin/sh", "-c", WITNESS])
            .arg(terminal.folder.path().join("exit"))
            .arg(command.get_program());
        for argument in command.get_args() {
            // To tmux it would part two commands.
            let text = argument.to_string_lossy();
            start.arg(match text.strip_suffix(';') {
                Some(rest) => format!("{rest}\\;"),
                None => text.into_owned(),
            });
        }
        let variables = command.get_envs();
        start.envs(variables.filter_map(|(name, value)| Some((name, value?))));
        let started = start.output().expect("tmux starts");
        assert!(started.status.success(), "{started:?}");
        terminal.server = Pid::from_raw(terminal.tell("#{pid}").parse().expect("a process"));
        terminal
    }

    fn tmux(&self, args: &[&str]) -> Command {
        let mut command = Command::new("tmux");
        command
            .arg("-u")
            .arg("-S")
            .arg(self.folder.path().join("s"))
            .arg("-f")
            .arg(self.folder.path().join("conf"))
            .args(args)
            .env_clear()
            .env("PATH", &self.path)
            .env("SHELL", "/bin/sh")
            .stdin(Stdio::null());
        command
    }

    #[track_caller]
    fn ask(&self, args: &[&str]) -> String {
        let answer = self.tmux(args).output().expect("tmux starts");
        assert!(answer.status.success(), "{args:?}: {answer:?}");
        String::from_utf8(answer.stdout).expect("a screen is UTF-8")
    }

    #[track_caller]
    fn tell(&self, format: &str) -> String {
        let told = self.ask(&["display-message", "-p", "-t", "test", format]);
        told.trim_end().to_owned()
    }

    /// What is on the screen, without empty lines at its end.
    #[track_caller]
    pub fn screen(&self) -> String {
        let text = self.ask(&["capture-pane", "-p", "-t", "test"]);
        format!("{}\n", text.trim_end())
    }

    /// The same with its colours, as escape sequences.
    #[track_caller]
    pub fn colours(&self) -> String {
        let text = self.ask(&["capture-pane", "-p", "-e", "-t", "test"]);
        format!("{}\n", text.trim_end())
    }

    /// The same with what was scrolled out of sight; lines that were wrapped are whole.
    #[track_caller]
    pub fn all(&self) -> String {
        let text = self.ask(&["capture-pane", "-p", "-J", "-S", "-", "-t", "test"]);
        let lines: Vec<&str> = text.trim_end().lines().map(str::trim_end).collect();
        format!("{}\n", lines.join("\n"))
    }

    /// Waits until the screen shows a text; returns the screen.
    #[track_caller]
    pub fn wait_for(&self, text: &str) -> String {
        self.wait_until(text, |screen| screen.contains(text))
    }

    /// Waits until the screen is as it is wanted; `what` says how, should that never be.
    #[track_caller]
    pub fn wait_until(&self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        let start = Instant::now();
        loop {
            // What has ended shows nothing new after that.
            let over = self.ended();
            let screen = self.screen();
            if is_so(&screen) {
                return screen;
            }
            assert!(
                over.is_none() && start.elapsed() < PATIENCE,
                "no {what:?} on the screen (ended: {over:?}):\n{screen}"
            );
            thread::sleep(LOOK);
        }
    }

    /// Types a text.
    #[track_caller]
    pub fn type_in(&self, text: &str) {
        self.ask(&["send-keys", "-t", "test", "-l", text]);
    }

    /// Presses a key by its tmux name: `Enter`, `C-c`, `Down`.
    #[track_caller]
    pub fn press(&self, key: &str) {
        self.ask(&["send-keys", "-t", "test", key]);
    }

    /// Gives the terminal another size.
    #[track_caller]
    pub fn resize(&self, (columns, rows): (u16, u16)) {
        let (columns, rows) = (columns.to_string(), rows.to_string());
        let size = ["-x", columns.as_str(), "-y", rows.as_str()];
        self.ask(&[&["resize-window", "-t", "test"], &size[..]].concat());
    }

    /// Whether the cursor is shown.
    #[track_caller]
    pub fn shows_cursor(&self) -> bool {
        self.tell("#{cursor_flag}") == "1"
    }

    /// The exit code of the program, or `128 + n` after the signal `n`; none while it runs.
    fn ended(&self) -> Option<i32> {
        let code = fs::read_to_string(self.folder.path().join("exit")).ok()?;
        code.trim().parse().ok()
    }

    /// Waits for the end of the program; returns its exit code.
    #[track_caller]
    pub fn exit(&self) -> i32 {
        let start = Instant::now();
        loop {
            if let Some(code) = self.ended() {
                return code;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "it does not end:\n{}",
                self.screen()
            );
            thread::sleep(LOOK);
        }
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let killed = self.tmux(&["kill-server"]).stderr(Stdio::null()).status();
        if !killed.is_ok_and(|status| status.success())
            && let Some(server) = self.server
        {
            // Its socket is gone, with the folder of the test.
            let _ = kill_process(server, Signal::TERM);
        }
    }
}
