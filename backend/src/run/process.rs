//! Owns what tells whether a process is still the one that it was: its id is used again by
//! others, its start is not.

/// A name for the process with that id, different from any other process that ever had or will
/// have it. `None` when there is no such process, or the system does not say.
#[cfg(target_os = "linux")]
pub(crate) fn identity(pid: u32) -> Option<String> {
    Some(format!("{} {}", place()?, start(pid)?))
}

/// Whether the process with that id and identity is gone for certain.
#[cfg(target_os = "linux")]
pub(crate) fn is_dead(pid: u32, identity: Option<&str>) -> bool {
    let (Some(identity), Some(place)) = (identity, place()) else {
        return !exists(pid);
    };
    let mut parts = identity.rsplitn(2, ' ');
    let (begun, then) = (parts.next(), parts.next().unwrap_or_default());
    let boot = |place: &str| place.split(' ').next().map(str::to_owned);
    if boot(then) != boot(&place) {
        return true;
    }
    // Ids of another namespace, such as a container's, say nothing here.
    then == place && start(pid).as_deref() != begun
}

/// This boot of the machine and this namespace of process ids.
#[cfg(target_os = "linux")]
fn place() -> Option<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = std::fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{} {}", boot.trim(), namespace.display()))
}

/// When the process started, in ticks since the boot. A zombie has ended.
#[cfg(target_os = "linux")]
fn start(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(18).map(str::to_owned)
}

/// Elsewhere only the id is known.
#[cfg(not(target_os = "linux"))]
pub(crate) fn identity(_pid: u32) -> Option<String> {
    None
}

/// Whether the process with that id is gone.
#[cfg(not(target_os = "linux"))]
pub(crate) fn is_dead(pid: u32, _identity: Option<&str>) -> bool {
    !exists(pid)
}

/// Whether any process has this id.
pub(crate) fn exists(pid: u32) -> bool {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    pid.is_some_and(|pid| {
        !matches!(
            rustix::process::test_kill_process(pid),
            Err(rustix::io::Errno::SRCH)
        )
    })
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn this_process_lives_and_one_that_ended_does_not() {
        let own = std::process::id();
        assert!(exists(own) && !is_dead(own, identity(own).as_deref()));
        let mut child = Command::new("sleep")
            .arg("60")
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let (pid, name) = (child.id(), identity(child.id()));
        assert!(!is_dead(pid, name.as_deref()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(is_dead(pid, name.as_deref()));
        assert!(!exists(0) && !exists(u32::MAX));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn an_id_that_another_process_has_now_is_dead() {
        let own = std::process::id();
        let name = identity(own).unwrap();
        let other = format!("{name}1");
        assert!(is_dead(own, Some(&other)));
        let elsewhere = name.replace("pid:[", "pid:[9");
        assert!(!is_dead(own, Some(&elsewhere)), "another namespace");
        assert!(is_dead(own, Some(&format!("x{elsewhere}"))), "another boot");
    }
}
