//! Owns getting a template that lies in a git repository: by the system's git, without questions,
//! hooks or history, into a folder of ours. No message holds a login.

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    time::Duration,
};

use synapse_engine::{Cancel, Failure};
use tempfile::TempDir;

use crate::{
    config::diagnostic::{printable, quote},
    python::{
        Variables,
        process::{Call, Ended, Processes, Status},
    },
};

/// How long a repository may take.
const TIMEOUT: Duration = Duration::from_mins(2);
/// Variables of a git command that we are started by, such as a hook; they mean its repository.
const OUTER: [&str; 9] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
    "GIT_TEMPLATE_DIR",
];
const REMOTE: &str = "template";

/// Where a template lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a folder of this machine.
    Folder(PathBuf),
    /// In a repository, at a branch, tag or commit of it, else at its HEAD.
    Git {
        /// What git is given.
        url: OsString,
        /// The branch, tag or commit.
        reference: Option<String>,
    },
}

impl Place {
    /// What `--template` means, from the folder `cwd`.
    pub fn parse(given: &str, cwd: &Path) -> Result<Self, Failure> {
        let local = cwd.join(given);
        if local.is_dir() {
            return Ok(if is_bare(&local) {
                let url = local.into_os_string();
                let reference = None;
                Self::Git { url, reference }
            } else {
                Self::Folder(local)
            });
        }
        let (place, reference) = split(given);
        if let Some(reference) = reference
            && !is_reference(reference)
        {
            let what = format!("{} names no branch, tag or commit", quote(reference));
            return Err(Failure::usage(what).hint("write it as in templates.git#v2"));
        }
        let reference = reference.map(str::to_owned);
        let local = cwd.join(place);
        if local.join(".git").exists() || is_bare(&local) {
            let url = local.into_os_string();
            return Ok(Self::Git { url, reference });
        }
        if is_remote(place) {
            let url = place.into();
            return Ok(Self::Git { url, reference });
        }
        let what = format!("there is no template {}", quote(&hidden(given)));
        Err(Failure::user("template-not-found", what)
            .hint("--template takes a folder, or the address of a git repository"))
    }

    /// How messages call it.
    pub fn shown(&self) -> String {
        match self {
            Self::Folder(folder) => folder.display().to_string(),
            Self::Git { url, reference } => {
                let url = hidden(&url.to_string_lossy());
                match reference {
                    Some(reference) => format!("{url}#{reference}"),
                    None => url,
                }
            }
        }
    }
}

/// Gets a repository's files into a folder below `scratch`, which goes when it is dropped.
pub fn fetch(
    url: &OsStr,
    reference: Option<&str>,
    scratch: &Path,
    variables: &Variables,
    processes: &dyn Processes,
    cancel: &Cancel,
) -> Result<TempDir, Failure> {
    let folder = tempfile::Builder::new()
        .prefix("synapse-template-")
        .tempdir_in(scratch)
        .map_err(|error| {
            let what = format!("cannot make a folder in {}: {error}", scratch.display());
            Failure::environment("scratch", what)
                .hint("free some space there, or set TMPDIR to another folder")
        })?;
    let git = Git {
        environment: environment(url, variables),
        folder: folder.path(),
        processes,
        cancel,
    };
    let shown = hidden(&url.to_string_lossy());
    let wanted = reference.unwrap_or("HEAD");
    let steps: [&[&str]; 3] = [
        &["init", "--quiet", "--template="],
        &[
            "fetch",
            "--quiet",
            "--depth=1",
            "--no-tags",
            "--no-recurse-submodules",
            REMOTE,
            wanted,
        ],
        &["checkout", "--quiet", "--detach", "FETCH_HEAD"],
    ];
    for step in steps {
        let ended = git.run(step)?;
        match ended.status {
            Status::Code(0) => {}
            Status::Cancelled => return Err(Failure::cancelled()),
            _ => return Err(failed(&ended, &shown, reference, &url.to_string_lossy())),
        }
    }
    Ok(folder)
}

struct Git<'a> {
    environment: Vec<(OsString, OsString)>,
    folder: &'a Path,
    processes: &'a dyn Processes,
    cancel: &'a Cancel,
}

impl Git<'_> {
    fn run(&self, args: &[&str]) -> Result<Ended, Failure> {
        // The repository decides nothing that is run: no hooks, no watcher, no line ends.
        let fixed = [
            "-c",
            "core.hooksPath=/dev/null",
            "-c",
            "core.fsmonitor=false",
            "-c",
            "core.autocrlf=false",
            "-c",
            "advice.detachedHead=false",
            "-c",
            "maintenance.auto=false",
        ];
        let program = Path::new("git");
        let mut call = Call::new(program, self.environment.clone(), self.folder)
            .args(fixed)
            .args(args);
        call.timeout = Some(TIMEOUT);
        self.processes.run(&call, self.cancel).map_err(|error| {
            Failure::environment("git-missing", format!("cannot start git: {error}"))
                .hint("install git, or give the template as a folder")
        })
    }
}

/// The user's environment, with the address in place of an argument, where others could read it.
fn environment(url: &OsStr, variables: &Variables) -> Vec<(OsString, OsString)> {
    let own = |name: &str| OUTER.contains(&name);
    let mut all: Vec<(OsString, OsString)> = variables
        .iter()
        .filter(|(name, _)| !name.to_str().is_some_and(own))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let given = variables.text("GIT_CONFIG_COUNT");
    let count: u32 = given.and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut set = |name: &str, value: OsString| {
        all.retain(|(own, _)| own != name);
        all.push((name.into(), value));
    };
    set("GIT_CONFIG_COUNT", (count + 1).to_string().into());
    let key = format!("remote.{REMOTE}.url");
    set(&format!("GIT_CONFIG_KEY_{count}"), key.into());
    set(&format!("GIT_CONFIG_VALUE_{count}"), url.to_owned());
    set("GIT_TERMINAL_PROMPT", "0".into());
    set("GIT_ALLOW_PROTOCOL", "file:git:http:https:ssh".into());
    set("GIT_LFS_SKIP_SMUDGE", "1".into());
    set("LC_ALL", "C".into());
    let ssh = ["GIT_SSH", "GIT_SSH_COMMAND"];
    if ssh.iter().all(|name| variables.get(name).is_none()) {
        // ssh asks at the terminal by itself, where nobody is heard.
        set("GIT_SSH_COMMAND", "ssh -o BatchMode=yes".into());
    }
    all
}

fn failed(ended: &Ended, shown: &str, reference: Option<&str>, url: &str) -> Failure {
    let said = ended.err().replace(url, shown);
    if let Some(reference) = reference
        && (said.contains("couldn't find remote ref") || said.contains("not our ref"))
    {
        let what = format!(
            "the repository has no branch, tag or commit {}",
            quote(reference)
        );
        return Failure::user("template-reference", what)
            .at(shown)
            .hint(format!("`git ls-remote {shown}` lists what there is"));
    }
    let login = [
        "terminal prompts disabled",
        "Authentication failed",
        "Permission denied",
        "403",
    ];
    let hint = if login.iter().any(|words| said.contains(words)) {
        "git is not asked to log in here: set up a credential helper or a key, and try again"
    } else {
        "check the address; `git ls-remote` with it should work"
    };
    let why = match ended.status {
        Status::TimedOut => format!("git took longer than {} seconds", TIMEOUT.as_secs()),
        _ => last_line(&said).unwrap_or_else(|| "git failed".to_owned()),
    };
    Failure::environment("template-clone", format!("cannot get the template: {why}"))
        .at(shown)
        .hint(hint)
}

/// The line that says most, without any login.
fn last_line(said: &str) -> Option<String> {
    let mut lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
    let told = |line: &&str| line.starts_with("fatal:") || line.starts_with("error:");
    let line = lines.clone().find(told).or_else(|| lines.next_back())?;
    let words = line.split(' ').map(hidden).collect::<Vec<_>>().join(" ");
    Some(words.chars().take(300).map(printable).collect())
}

/// An address without its login and its query.
fn hidden(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = authority.rsplit('@').next().unwrap_or(authority);
    let path = path.split('?').next().unwrap_or(path);
    format!("{scheme}://{host}{path}")
}

/// An address and what follows its `#` or, behind a path, its `@`.
fn split(given: &str) -> (&str, Option<&str>) {
    if let Some((place, reference)) = given.rsplit_once('#')
        && !place.is_empty()
    {
        return (place, Some(reference));
    }
    if let Some((place, reference)) = given.rsplit_once('@') {
        let after = place.split_once("://").map_or(place, |(_, after)| after);
        if after.contains(['/', ':']) && !reference.contains(['/', ':']) {
            return (place, Some(reference));
        }
        if !place.contains("://") && Path::new(place).extension().is_some_and(|end| end == "git") {
            return (place, Some(reference));
        }
    }
    (given, None)
}

fn is_reference(text: &str) -> bool {
    let fine = |c: char| c.is_ascii_alphanumeric() || "._/-+".contains(c);
    !text.is_empty() && !text.starts_with(['-', '+']) && text.chars().all(fine)
}

/// `scheme://...` of a kind that git may use, or `host:path`.
fn is_remote(text: &str) -> bool {
    if let Some((scheme, rest)) = text.split_once("://") {
        let known = ["file", "git", "http", "https", "ssh"];
        return known.contains(&scheme) && !rest.is_empty();
    }
    text.split_once(':').is_some_and(|(host, path)| {
        !host.is_empty()
            && !host.contains('/')
            && !host.starts_with('-')
            && !path.is_empty()
            && !path.starts_with(':')
    })
}

fn is_bare(folder: &Path) -> bool {
    folder.join("HEAD").is_file() && folder.join("objects").is_dir() && folder.join("refs").is_dir()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_folders() {
        let cwd = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(cwd.path().join("own@v1")).unwrap();
        for (given, url, reference) in [
            ("https://git.test/a/b.git", "https://git.test/a/b.git", None),
            (
                "https://git.test/a/b.git#v1",
                "https://git.test/a/b.git",
                Some("v1"),
            ),
            (
                "https://git.test/a/b@v1",
                "https://git.test/a/b",
                Some("v1"),
            ),
            (
                "https://me:secret@git.test/a",
                "https://me:secret@git.test/a",
                None,
            ),
            ("git@git.test:a/b.git", "git@git.test:a/b.git", None),
            (
                "git@git.test:a/b.git@feature-1",
                "git@git.test:a/b.git",
                Some("feature-1"),
            ),
            ("git.test:b#feature/1", "git.test:b", Some("feature/1")),
        ] {
            let wanted = Place::Git {
                url: url.into(),
                reference: reference.map(str::to_owned),
            };
            assert_eq!(Place::parse(given, cwd.path()).unwrap(), wanted, "{given}");
        }
        let folder = Place::parse("own@v1", cwd.path()).unwrap();
        assert_eq!(folder, Place::Folder(cwd.path().join("own@v1")));
        for bad in [
            "nothing/here",
            "ext::sh -c true",
            "ext://sh",
            "-oProxyCommand=x:y",
            "https://git.test/a#--upload-pack=x",
            "https://git.test/a#",
            "git.test:a#b c",
        ] {
            assert!(Place::parse(bad, cwd.path()).is_err(), "{bad}");
        }
    }

    #[test]
    fn no_login_is_shown() {
        for (given, shown) in [
            ("https://me:s@cret@host/a.git", "https://host/a.git"),
            ("https://git.test/a?token=x", "https://git.test/a"),
            ("ssh://git@git.test/a", "ssh://git.test/a"),
            ("git@git.test:a", "git@git.test:a"),
        ] {
            assert_eq!(hidden(given), shown);
        }
        let said = "warning: x\nfatal: unable to access 'https://me:secret@git.test/a/': no\n";
        let line = last_line(said).unwrap();
        assert!(
            line.starts_with("fatal:") && !line.contains("secret"),
            "{line}"
        );
    }
}
