//! Servers of other makers that stand in for object stores, from `PyPI` and of the system.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use synapse_tests::{
    pythons,
    wheels::{made_folder, usual_python},
};

/// Longest that a server may take to start.
const PATIENCE: Duration = Duration::from_mins(2);

/// An environment with the servers, made once.
fn environment() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let requirements = ["moto[server]>=5.1,<6", "wsgidav>=4.3,<5", "cheroot>=10,<12"];
        let folder = made_folder().join("servers");
        pythons::environment(&usual_python(), &folder, &requirements, &[]).expect("servers")
    })
}

/// A server, which ends with its test.
pub(super) struct Server {
    pub(super) port: u16,
    child: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody listens on at the moment.
pub(super) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

impl Server {
    fn start(command: &mut Command, port: u16) -> Self {
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = quiet.stderr(Stdio::null()).spawn().expect("it starts");
        let mut server = Self { port, child };
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begin.elapsed() < PATIENCE, "the server does not listen");
            let ended = server.child.try_wait().unwrap();
            assert!(ended.is_none(), "the server ended: {ended:?}");
            thread::sleep(Duration::from_millis(20));
        }
        server
    }

    /// A call; status and body.
    pub(super) fn call(&self, call: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let headers: String = headers
            .iter()
            .map(|(name, value)| [name, ": ", value, "\r\n"].concat())
            .collect();
        let text = format!(
            "{call} HTTP/1.0\r\nHost: 127.0.0.1:{}\r\nContent-Length: {}\r\n{headers}\r\n{body}",
            self.port,
            body.len()
        );
        stream.write_all(text.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        (status.unwrap(), body.to_owned())
    }
}

/// S3 by moto, which checks signatures with botocore's own code, and a user who may use it.
pub(super) struct S3 {
    pub(super) server: Server,
    pub(super) key: String,
    pub(super) secret: String,
}

impl S3 {
    pub(super) fn start(bucket: &str) -> Self {
        let port = free_port();
        let python = environment().join("bin/python");
        let mut command = Command::new(python);
        let args = ["-I", "-m", "moto.server", "-H", "127.0.0.1", "-p"];
        command.args(args).arg(port.to_string());
        // Given in its environment, these would be what it hands out.
        command.env_remove("AWS_ACCESS_KEY_ID");
        let server = Server::start(&mut command, port);
        let made = server.call(&format!("PUT /{bucket}"), &[], "");
        assert_eq!(made.0, 200, "{}", made.1);
        let scope = "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/iam/aws4_request, \
                     SignedHeaders=host, Signature=x";
        let iam = |action: &str| {
            let form = ("Content-Type", "application/x-www-form-urlencoded");
            let body = format!("Version=2010-05-08&UserName=me&Action={action}");
            let done = server.call("POST /", &[form, ("Authorization", scope)], &body);
            assert_eq!(done.0, 200, "{}", done.1);
            done.1
        };
        iam("CreateUser");
        let made = iam("CreateAccessKey");
        iam(
            "PutUserPolicy&PolicyName=all&PolicyDocument=%7B%22Version%22%3A%222012-10-17%22%2C\
             %22Statement%22%3A%5B%7B%22Effect%22%3A%22Allow%22%2C%22Action%22%3A%22s3%3A*%22%2C\
             %22Resource%22%3A%22*%22%7D%5D%7D",
        );
        let field = |name: &str| {
            let rest = made.split_once(&format!("<{name}>")).unwrap().1;
            rest.split_once('<').unwrap().0.to_owned()
        };
        let (key, secret) = (field("AccessKeyId"), field("SecretAccessKey"));
        // From here on every call is held against its signature.
        let plain = ("Content-Type", "text/plain");
        let strict = server.call("POST /moto-api/reset-auth", &[plain], "0");
        assert_eq!(strict.0, 200, "{}", strict.1);
        Self {
            server,
            key,
            secret,
        }
    }

    pub(super) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.server.port)
    }
}

/// S3 by s3s-fs, which checks signatures and checksums in code of its own, with a bucket
/// `plugins`; nothing where it is not installed.
pub(super) fn strict_s3(folder: &Path, key: &str, secret: &str) -> Option<Server> {
    let built = made_folder().join("../tools/bin/s3s-fs");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let named = std::env::split_paths(&path).map(|folder| folder.join("s3s-fs"));
    let program = std::iter::once(built)
        .chain(named)
        .find(|path| path.is_file())?;
    fs::create_dir_all(folder.join("plugins")).unwrap();
    let port = free_port();
    let mut command = Command::new(program);
    command.args(["--host", "127.0.0.1", "--port", &port.to_string()]);
    command
        .args(["--access-key", key, "--secret-key", secret])
        .arg(folder);
    Some(Server::start(&mut command, port))
}

/// A `WebDAV` server on a folder, for the user `me`.
pub(super) fn webdav(folder: &Path, password: &str) -> Server {
    let port = free_port();
    let shared = folder.join("shared");
    fs::create_dir_all(&shared).unwrap();
    let config = format!(
        "host: 127.0.0.1\nport: {port}\nprovider_mapping:\n  \"/\": \"{}\"\n\
         http_authenticator:\n  domain_controller: null\n  accept_basic: true\n  \
         accept_digest: false\n  default_to_digest: false\nsimple_dc:\n  user_mapping:\n    \
         \"*\":\n      me:\n        password: {password:?}\n",
        shared.display()
    );
    let path = folder.join("wsgidav.yaml");
    fs::write(&path, config).unwrap();
    let mut command = Command::new(environment().join("bin/wsgidav"));
    Server::start(command.arg("--config").arg(path), port)
}

/// The system's SSH server with a key for the user of the test; nothing where there is none.
pub(super) fn ssh(folder: &Path) -> Option<(Server, PathBuf)> {
    let programs = ["/usr/sbin/sshd", "/usr/local/sbin/sshd"];
    let sshd = programs.iter().map(Path::new).find(|path| path.exists())?;
    let root = rustix::process::geteuid().is_root();
    if root && !Path::new("/run/sshd").is_dir() {
        return None;
    }
    fs::create_dir_all(folder).unwrap();
    let key = |name: &str| {
        let path = folder.join(name);
        let args = ["-q", "-t", "ed25519", "-N", "", "-f"];
        let made = Command::new("ssh-keygen").args(args).arg(&path).status();
        assert!(made.unwrap().success());
        path
    };
    let (host, own) = (key("host"), key("key"));
    let authorized = folder.join("authorized");
    fs::copy(own.with_extension("pub"), &authorized).unwrap();
    let port = free_port();
    let config = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\n\
         StrictModes no\nUsePAM no\nPasswordAuthentication no\nPidFile none\n\
         Subsystem sftp internal-sftp\n",
        host.display(),
        authorized.display()
    );
    let path = folder.join("config");
    fs::write(&path, config).unwrap();
    let mut command = Command::new(sshd);
    let server = Server::start(command.args(["-D", "-e", "-f"]).arg(path), port);
    Some((server, own))
}
