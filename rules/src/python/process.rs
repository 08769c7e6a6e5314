//! Owns child processes that may run package code: what they are given (little), and that none
//! of them outlives us.

use std::{
    ffi::OsString,
    fs, io,
    io::Read,
    os::unix::{
        fs::DirBuilderExt,
        process::{CommandExt, ExitStatusExt},
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use synapse_engine::Cancel;
use tempfile::TempDir;

use super::Variables;

/// How often a child is looked at.
const LOOK: Duration = Duration::from_millis(4);
/// Time that an asked child gets to end by itself.
const GRACE: Duration = Duration::from_millis(1500);
/// Most of a child's output that is kept, in bytes; the end of it counts.
const OUTPUT: usize = 8 << 20;

/// Variables that children get as they are.
const ALLOWED: [&str; 31] = [
    "PATH",
    "LANG",
    "LANGUAGE",
    "TZ",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    // Compilers of packages that have no wheel.
    "CC",
    "CXX",
    "CFLAGS",
    "CXXFLAGS",
    "LDFLAGS",
    "CUDA_HOME",
    "LD_LIBRARY_PATH",
    "MACOSX_DEPLOYMENT_TARGET",
    // Installers.
    "PIP_CERT",
    "PIP_DEFAULT_TIMEOUT",
    "PIP_NO_INDEX",
    "PIP_TRUSTED_HOST",
    "UV_NATIVE_TLS",
    "UV_SYSTEM_CERTS",
    "UV_HTTP_TIMEOUT",
];
/// Variables that say how a keyring is reached, for those who asked for one.
const KEYRING: [&str; 4] = [
    "PIP_KEYRING_PROVIDER",
    "UV_KEYRING_PROVIDER",
    "DBUS_SESSION_BUS_ADDRESS",
    "XDG_RUNTIME_DIR",
];

/// A child to run to its end, with standard input empty.
#[derive(Debug, Clone)]
pub struct Call {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Its whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// Its working directory.
    pub cwd: PathBuf,
    /// After this long it is killed.
    pub timeout: Option<Duration>,
}

impl Call {
    /// A call without arguments.
    pub fn new(program: &Path, env: Vec<(OsString, OsString)>, cwd: &Path) -> Self {
        Self {
            program: program.to_owned(),
            args: Vec::new(),
            env,
            cwd: cwd.to_owned(),
            timeout: None,
        }
    }

    /// Adds arguments.
    pub fn args<I: IntoIterator<Item: Into<OsString>>>(mut self, args: I) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets a variable, whether or not it was set.
    pub fn set(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.env.retain(|(own, _)| own != name);
        self.env.push((name.into(), value.into()));
        self
    }
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// With an exit code.
    Code(i32),
    /// By a signal.
    Signal(i32),
    /// We killed it: it took too long.
    TimedOut,
    /// We killed it: work was asked to stop.
    Cancelled,
}

/// A child that has ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// How.
    pub status: Status,
    /// What it printed, the end of it when it was a lot.
    pub stdout: Vec<u8>,
    /// What it complained, likewise.
    pub stderr: Vec<u8>,
}

impl Ended {
    /// Whether it did what it was asked.
    pub fn succeeded(&self) -> bool {
        self.status == Status::Code(0)
    }

    /// Standard output as text.
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text.
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}

/// Runs children.
pub trait Processes: Send + Sync {
    /// Runs one to its end. An error means that it could not be started.
    fn run(&self, call: &Call, cancel: &Cancel) -> io::Result<Ended>;
}

/// The real ones.
#[derive(Debug, Clone, Copy, Default)]
pub struct Children;

impl Processes for Children {
    fn run(&self, call: &Call, cancel: &Cancel) -> io::Result<Ended> {
        let mut command = Command::new(&call.program);
        command
            .args(&call.args)
            .env_clear()
            .envs(call.env.iter().map(|(name, value)| (name, value)))
            .current_dir(&call.cwd)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        // SAFETY: `close_descriptors` only makes system calls that are safe after a fork.
        unsafe {
            command.pre_exec(|| {
                close_descriptors();
                Ok(())
            })
        };
        let mut child = command.spawn()?;
        let stdout = child.stdout.take().map(collect);
        let stderr = child.stderr.take().map(collect);
        let group = Pid::from_child(&child);
        let reason = wait(group, call.timeout, cancel);
        // The leader is not reaped yet, so the group is still ours: nobody in it outlives it.
        let _ = kill_process_group(group, Signal::KILL);
        let status = child.wait()?;
        let status = match (reason, status.code(), status.signal()) {
            (Some(reason), _, _) => reason,
            (None, Some(code), _) => Status::Code(code),
            (None, None, signal) => Status::Signal(signal.unwrap_or_default()),
        };
        let text = |reader: Option<JoinHandle<Vec<u8>>>| {
            reader
                .and_then(|reader| reader.join().ok())
                .unwrap_or_default()
        };
        Ok(Ended {
            status,
            stdout: text(stdout),
            stderr: text(stderr),
        })
    }
}

/// Waits until the child has ended, without reaping it; why we ended it, if we did.
fn wait(child: Pid, timeout: Option<Duration>, cancel: &Cancel) -> Option<Status> {
    let start = Instant::now();
    let mut asked: Option<(Status, Instant)> = None;
    loop {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        match waitid(WaitId::Pid(child), options) {
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Ok(Some(_)) | Err(_) => return asked.map(|(reason, _)| reason),
        }
        match asked {
            None => {
                let late = timeout.is_some_and(|timeout| start.elapsed() > timeout);
                if cancel.cancelled() || late {
                    let _ = kill_process_group(child, Signal::TERM);
                    let reason = if late {
                        Status::TimedOut
                    } else {
                        Status::Cancelled
                    };
                    asked = Some((reason, Instant::now()));
                }
            }
            Some((_, at)) if at.elapsed() > GRACE => {
                let _ = kill_process_group(child, Signal::KILL);
            }
            Some(_) => {}
        }
        thread::sleep(LOOK);
    }
}

/// Reads to the end on a thread of its own; keeps the last of it.
fn collect(mut from: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut kept = Vec::new();
        let mut buffer = vec![0; 64 << 10];
        loop {
            match from.read(&mut buffer) {
                Ok(0) => return kept,
                Ok(read) => kept.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return kept,
            }
            if kept.len() > 2 * OUTPUT {
                kept.drain(..kept.len() - OUTPUT);
            }
        }
    })
}

/// Lets no descriptor but the three standard ones through to the program.
fn close_descriptors() {
    const FIRST: libc::c_int = 3;
    #[cfg(target_os = "linux")]
    {
        const CLOSE_ON_EXEC: libc::c_uint = 4;
        // SAFETY: marks descriptors only; those of the standard library are marked already.
        let done = unsafe {
            libc::syscall(
                libc::SYS_close_range,
                FIRST as libc::c_uint,
                libc::c_uint::MAX,
                CLOSE_ON_EXEC,
            )
        };
        if done == 0 {
            return;
        }
    }
    for descriptor in FIRST..1024 {
        // SAFETY: marks a descriptor; one that is not open is refused and nothing happens.
        unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
}

/// A folder for the children of one piece of work, with a HOME and a TMP of their own. Only we
/// can read it; it goes when this is dropped.
#[derive(Debug)]
pub struct Private(TempDir);

impl Private {
    /// Makes one in `folder`, which is created when it is not there.
    pub fn new(folder: &Path) -> io::Result<Self> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
        let private = tempfile::Builder::new()
            .prefix("private-")
            .tempdir_in(folder)?;
        for own in ["home", "tmp"] {
            fs::create_dir(private.path().join(own))?;
        }
        Ok(Self(private))
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// The children's HOME.
    pub fn home(&self) -> PathBuf {
        self.path().join("home")
    }

    /// Writes a file of it and says where it is.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> io::Result<PathBuf> {
        let path = self.path().join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&path, text)?;
        Ok(path)
    }
}

/// The environment of children that run plugin or package code: what they need to find programs,
/// certificates and proxies, and a HOME and TMP of their own. No token is among it.
pub fn clean_environment(variables: &Variables, private: &Path) -> Vec<(OsString, OsString)> {
    let asked = ["PIP_KEYRING_PROVIDER", "UV_KEYRING_PROVIDER"];
    let keyring = asked.iter().any(|name| variables.get(name).is_some());
    let allowed = |name: &str| {
        ALLOWED.contains(&name) || name.starts_with("LC_") || (keyring && KEYRING.contains(&name))
    };
    let mut environment: Vec<(OsString, OsString)> = variables
        .iter()
        .filter(|(name, _)| name.to_str().is_some_and(allowed))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    environment.push(("HOME".into(), private.join("home").into()));
    for name in ["TMPDIR", "TMP", "TEMP"] {
        environment.push((name.into(), private.join("tmp").into()));
    }
    environment
}

#[cfg(test)]
mod tests {
    use std::{os::fd::AsRawFd, sync::Arc};

    use super::*;
    use crate::worker::one_at_a_time;

    fn shell(script: &str) -> Call {
        let env = vec![("PATH".into(), "/usr/bin:/bin".into())];
        Call::new(Path::new("/bin/sh"), env, Path::new("/")).args(["-c", script])
    }

    #[test]
    fn output_and_codes_come_back() {
        let _alone = one_at_a_time();
        let ended = Children
            .run(
                &shell("cat; echo out; echo err >&2; exit 3"),
                &Cancel::default(),
            )
            .unwrap();
        assert_eq!(ended.status, Status::Code(3));
        assert_eq!((ended.out(), ended.err()), ("out\n".into(), "err\n".into()));
        let ended = Children.run(&shell("kill -9 $$"), &Cancel::default());
        assert_eq!(ended.unwrap().status, Status::Signal(9));
        let missing = Call::new(Path::new("/no/such/program"), Vec::new(), Path::new("/"));
        assert!(Children.run(&missing, &Cancel::default()).is_err());
    }

    #[test]
    fn what_a_child_leaves_behind_is_ended_with_it() {
        let _alone = one_at_a_time();
        // The sleeper holds the pipe: without ending it the output would never end.
        let ended = Children
            .run(&shell("sleep 600 & echo $!"), &Cancel::default())
            .unwrap();
        let pid: i32 = ended.out().trim().parse().unwrap();
        let pid = Pid::from_raw(pid).unwrap();
        while rustix::process::test_kill_process(pid).is_ok() {
            let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
            if stat.is_ok_and(|stat| stat.contains(") Z ")) {
                break;
            }
            thread::sleep(LOOK);
        }
    }

    #[test]
    fn cancelled_and_late_children_are_ended() {
        let _alone = one_at_a_time();
        let cancel = Cancel::default();
        cancel.cancel();
        let script = "trap '' TERM; sleep 600; sleep 600";
        let ended = Children.run(&shell(script), &cancel).unwrap();
        assert_eq!(ended.status, Status::Cancelled);
        let mut call = shell("sleep 600");
        call.timeout = Some(Duration::from_millis(20));
        let ended = Children.run(&call, &Cancel::default()).unwrap();
        assert_eq!(ended.status, Status::TimedOut);
    }

    #[test]
    fn no_descriptor_goes_through() {
        let _alone = one_at_a_time();
        let file = fs::File::open("/dev/null").unwrap();
        // Unlike those of the standard library, one that is not marked.
        let leaky = rustix::io::dup(&file).unwrap();
        let script = format!("test -e /proc/self/fd/{} && echo leaked", leaky.as_raw_fd());
        let ended = Children.run(&shell(&script), &Cancel::default()).unwrap();
        assert_eq!(ended.out(), "");
    }

    #[test]
    fn tokens_stay_behind() {
        let variables = Variables::of(
            [
                ("PATH", "/bin"),
                ("LC_ALL", "C"),
                ("HOME", "/users/me"),
                ("SYNAPSE_ACCESS_TOKEN", "canary"),
                ("GITHUB_TOKEN", "canary"),
                ("PIP_INDEX_URL", "https://me:canary@host/simple"),
                ("XDG_RUNTIME_DIR", "/run/me"),
                ("PYTHONPATH", "/x"),
            ]
            .map(|(name, value)| (name.into(), value.into())),
        );
        let environment = clean_environment(&variables, Path::new("/p"));
        let mut names: Vec<_> = environment
            .iter()
            .map(|(name, value)| format!("{}={}", name.display(), value.display()))
            .collect();
        names.sort();
        assert_eq!(
            names,
            [
                "HOME=/p/home",
                "LC_ALL=C",
                "PATH=/bin",
                "TEMP=/p/tmp",
                "TMP=/p/tmp",
                "TMPDIR=/p/tmp"
            ]
        );
        assert!(!format!("{variables:?}").contains("canary"));
        let _shared: Arc<dyn Processes> = Arc::new(Children);
    }
}
