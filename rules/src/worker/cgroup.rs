//! Owns the memory limit of a run: a control group of its own where this process may make one
//! (version 2, else version 1), else a limit on the size of its address space.

use std::{
    fs::{self, OpenOptions},
    io,
    path::{Path, PathBuf},
};

/// A control group that bounds memory. It is removed when this goes.
#[derive(Debug)]
pub(super) struct Group {
    folder: PathBuf,
    version: Version,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Group {
    /// A group with a limit of `bytes`, below `mounts` (the folder of control groups), for a
    /// process whose own groups are `own` (the text of `/proc/self/cgroup`). `None` where this
    /// process may make none.
    pub(super) fn make(mounts: &Path, own: &str, name: &str, bytes: u64) -> Option<Self> {
        candidates(mounts, own)
            .into_iter()
            .find_map(|(parent, version)| {
                let folder = parent.join(name);
                fs::create_dir(&folder).ok()?;
                let group = Self { folder, version };
                // What was made and cannot be used goes again.
                group.limit(bytes).ok().map(|()| group)
            })
    }

    fn limit(&self, bytes: u64) -> io::Result<()> {
        let text = bytes.to_string();
        match self.version {
            Version::Two => {
                self.write("memory.max", &text)?;
                // Both are there only in some kernels.
                let _ = self.write("memory.swap.max", "0");
                let _ = self.write("memory.oom.group", "1");
                self.member().map(drop)
            }
            Version::One => {
                self.write("memory.limit_in_bytes", &text)?;
                let _ = self.write("memory.memsw.limit_in_bytes", &text);
                self.member().map(drop)
            }
        }
    }

    fn write(&self, file: &str, text: &str) -> io::Result<()> {
        // Never created: a file that is not there is no control.
        let mut control = OpenOptions::new()
            .write(true)
            .open(self.folder.join(file))?;
        io::Write::write_all(&mut control, text.as_bytes())
    }

    /// The file into which a process writes `0` to become a member.
    pub(super) fn member(&self) -> io::Result<fs::File> {
        OpenOptions::new()
            .write(true)
            .open(self.folder.join("cgroup.procs"))
    }

    /// How many of its processes were ended for want of memory.
    pub(super) fn killed(&self) -> u64 {
        let file = match self.version {
            Version::Two => "memory.events",
            Version::One => "memory.oom_control",
        };
        let text = fs::read_to_string(self.folder.join(file)).unwrap_or_default();
        number(&text, "oom_kill").unwrap_or(0)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // All members were ended before; the kernel takes its time to count them out.
        for _ in 0..100 {
            match fs::remove_dir(&self.folder) {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                    std::thread::sleep(std::time::Duration::from_millis(2));
                }
                _ => return,
            }
        }
    }
}

/// How many processes of this machine were ended for want of memory, ever.
pub(super) fn killed_on_machine() -> Option<u64> {
    number(&fs::read_to_string("/proc/vmstat").ok()?, "oom_kill")
}

fn number(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        line.strip_prefix(name)?
            .strip_prefix(' ')?
            .trim()
            .parse()
            .ok()
    })
}

/// Where a group could be made, the best place first.
fn candidates(mounts: &Path, own: &str) -> Vec<(PathBuf, Version)> {
    let mut found = Vec::new();
    for line in own.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        let below = |mount: PathBuf| mount.join(path.trim_start_matches('/'));
        if controllers.is_empty() {
            for mount in [mounts.to_owned(), mounts.join("unified")] {
                let group = below(mount.clone());
                // A group with processes in it gives no controller to those below, except at
                // the root: a sibling it is.
                let parent = group.parent().filter(|_| group != mount);
                found.extend(parent.map(|parent| (parent.to_owned(), Version::Two)));
                found.push((group, Version::Two));
            }
        } else if controllers.split(',').any(|name| name == "memory") {
            found.push((below(mounts.join("memory")), Version::One));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(own: &str, at: &str, files: &[&str]) -> (tempfile::TempDir, Option<Group>) {
        let mounts = tempfile::tempdir().expect("a folder");
        // A real group brings its controls; here they are put there while it is made.
        let folder = mounts.path().join(at);
        fs::create_dir_all(folder.parent().expect("a folder")).expect("folders");
        let made = candidates(mounts.path(), own)
            .into_iter()
            .find_map(|(parent, version)| (parent.join("run") == folder).then_some(version));
        let group = made.and_then(|version| {
            fs::create_dir(&folder).expect("a folder");
            for file in files {
                fs::write(folder.join(file), "").expect("a control");
            }
            let group = Group {
                folder: folder.clone(),
                version,
            };
            group.limit(1000).ok().map(|()| group)
        });
        (mounts, group)
    }

    #[test]
    fn the_second_version_is_a_sibling_of_our_own_group() {
        let files = ["memory.max", "memory.events", "cgroup.procs"];
        let (mounts, group) = group("0::/user/app.scope\n", "user/run", &files);
        let group = group.expect("a group");
        let read = |file: &str| fs::read_to_string(mounts.path().join("user/run").join(file));
        assert_eq!(read("memory.max").expect("a control"), "1000");
        assert_eq!(group.killed(), 0);
        fs::write(group.folder.join("memory.events"), "oom 3\noom_kill 2\n").expect("events");
        assert_eq!(group.killed(), 2);
        assert!(
            read("memory.swap.max").is_err(),
            "what is not there is not made"
        );
    }

    #[test]
    fn the_first_version_is_below_our_own_group() {
        let files = [
            "memory.limit_in_bytes",
            "memory.oom_control",
            "cgroup.procs",
        ];
        let (_mounts, group) = group("4:memory:/a/b\n0::/\n", "memory/a/b/run", &files);
        let group = group.expect("a group");
        let control = group.folder.join("memory.oom_control");
        fs::write(control, "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n").expect("a control");
        assert_eq!(group.killed(), 1);
    }

    #[test]
    fn where_no_limit_can_be_set_there_is_no_group() {
        let mounts = tempfile::tempdir().expect("a folder");
        assert!(Group::make(mounts.path(), "0::/\n", "run", 1000).is_none());
        assert_eq!(
            fs::read_dir(mounts.path()).expect("a folder").count(),
            0,
            "nothing is left"
        );
        assert!(Group::make(mounts.path(), "nonsense", "run", 1000).is_none());
    }
}
