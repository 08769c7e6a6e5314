//! Owns measuring of whole processes: wall time, processor time and peak memory of one child.

use std::{
    io::{self, Read},
    mem::MaybeUninit,
    os::unix::process::ExitStatusExt,
    process::{Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// What one process cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// From before the fork to after the wait.
    pub(crate) wall: Duration,
    /// Processor time in user mode, its waited-for children included.
    pub(crate) user: Duration,
    /// Processor time in the kernel, its waited-for children included.
    pub(crate) sys: Duration,
    /// Largest resident set in bytes. Linux hands a child its parent's peak at exec, so this
    /// process keeps its own small.
    pub(crate) peak_rss: u64,
    /// How it ended.
    pub(crate) status: ExitStatus,
}

/// Runs `command` to its end, with nothing to read and its standard output thrown away.
pub(crate) fn measure(command: &mut Command) -> Result<Usage> {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let started = Instant::now();
    let child = command
        .spawn()
        .with_context(|| format!("cannot start {command:?}"))?;
    wait(child.id(), started)
}

/// Like [`measure`], and fails unless the process exits with 0.
pub(crate) fn measure_ok(command: &mut Command) -> Result<Usage> {
    let usage = measure(command)?;
    if !usage.status.success() {
        bail!("{command:?}: {}", usage.status);
    }
    Ok(usage)
}

/// Like [`measure_ok`], and returns its standard output too.
pub(crate) fn measure_output(command: &mut Command) -> Result<(Usage, Vec<u8>)> {
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let started = Instant::now();
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot start {command:?}"))?;
    let mut output = Vec::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout
            .read_to_end(&mut output)
            .context("reading a child's output")?;
    }
    let usage = wait(child.id(), started)?;
    if !usage.status.success() {
        bail!("{command:?}: {}", usage.status);
    }
    Ok((usage, output))
}

fn wait(pid: u32, started: Instant) -> Result<Usage> {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    loop {
        // SAFETY: both pointers are to live, writable locals of the types that wait4 asks for,
        // and the pid is a child of ours that nobody else waits for.
        let waited =
            unsafe { libc::wait4(pid.cast_signed(), &raw mut status, 0, usage.as_mut_ptr()) };
        if waited >= 0 {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error).context("waiting for a child");
        }
    }
    let wall = started.elapsed();
    // SAFETY: wait4 succeeded and has written the struct; all-zero bytes were valid before too.
    let usage = unsafe { usage.assume_init() };
    // Linux counts kilobytes here, macOS bytes.
    let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
    Ok(Usage {
        wall,
        user: duration(usage.ru_utime),
        sys: duration(usage.ru_stime),
        peak_rss: u64::try_from(usage.ru_maxrss).unwrap_or(0) * unit,
        status: ExitStatus::from_raw(status),
    })
}

fn duration(time: libc::timeval) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let micros = u64::try_from(time.tv_usec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_micros(micros)
}

/// Has the kernel write everything to disk, so that one run's leftovers do not slow the next.
pub(crate) fn sync_disks() {
    // SAFETY: sync takes no arguments and cannot fail.
    unsafe { libc::sync() };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_measured() {
        let usage = measure(Command::new("sh").args(["-c", "sleep 0.05; exit 3"])).unwrap();
        assert_eq!(usage.status.code(), Some(3));
        assert!(usage.wall >= Duration::from_millis(50));
        assert!(usage.peak_rss > 100_000);
        let (_, output) = measure_output(Command::new("echo").arg("hello")).unwrap();
        assert_eq!(output, b"hello\n");
    }
}
