//! Owns the floor under every no-op: `lstat` of a list of paths and nothing else.

use std::{ffi::CStr, fs, mem::MaybeUninit, path::PathBuf, thread, time::Instant};

use anyhow::{Context, Result, ensure};

/// Stats every path of a list.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// File of paths, each ended by a NUL byte; relative ones start at the current folder.
    list: PathBuf,
    /// Threads to share the list among.
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

/// Prints the microseconds that the loop itself took.
pub(crate) fn run(args: &Args) -> Result<bool> {
    let list = fs::read(&args.list).with_context(|| args.list.display().to_string())?;
    let paths: Vec<&CStr> = list
        .split_inclusive(|byte| *byte == 0)
        .map(CStr::from_bytes_with_nul)
        .collect::<Result<_, _>>()
        .context("every path of the list ends with a NUL byte")?;
    let started = Instant::now();
    let share = paths.len().div_ceil(args.threads.max(1)).max(1);
    let found: usize = thread::scope(|scope| {
        let threads: Vec<_> = paths
            .chunks(share)
            .map(|chunk| scope.spawn(|| stat_all(chunk)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or(0))
            .sum()
    });
    let elapsed = started.elapsed();
    ensure!(
        found == paths.len(),
        "{} of {} paths are gone",
        paths.len() - found,
        paths.len()
    );
    println!("{}", elapsed.as_micros());
    Ok(true)
}

fn stat_all(paths: &[&CStr]) -> usize {
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    paths
        .iter()
        // SAFETY: the path is NUL-terminated and the buffer is a live stat struct.
        .filter(|path| unsafe { libc::lstat(path.as_ptr(), stat.as_mut_ptr()) } == 0)
        .count()
}
