//! Owns the limits of a run: processors, GPUs, memory and time, how they are written and what
//! they mean for the action's process.

use std::{ffi::OsString, time::Duration};

use synapse_engine::Failure;

/// The variable that says which GPUs a process sees.
const GPUS: &str = "CUDA_VISIBLE_DEVICES";

/// The variables by which libraries choose how many threads they start.
const THREADS: [&str; 5] = [
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
];

/// Limits of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// GPUs that the action sees.
    pub gpus: Option<u32>,
    /// Processors that it may use.
    pub cpus: Option<u32>,
    /// Bytes of memory that it may use.
    pub memory: Option<u64>,
    /// Time that it may take.
    pub timeout: Option<Duration>,
}

impl Limits {
    /// Sets the variables that carry the limits; says what could not be had.
    pub fn apply(&self, environment: &mut Vec<(OsString, OsString)>) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some(wanted) = self.gpus {
            let visible = visible(environment);
            let names: Vec<String> = match &visible {
                Some(names) => names.iter().take(wanted as usize).cloned().collect(),
                None => (0..wanted).map(|number| number.to_string()).collect(),
            };
            if names.len() < wanted as usize {
                notes.push(format!(
                    "--gpus {wanted}: only {} visible ({GPUS})",
                    match names.len() {
                        1 => "1 is".to_owned(),
                        count => format!("{count} are"),
                    }
                ));
            }
            set(environment, GPUS, &names.join(","));
        }
        if let Some(cpus) = self.cpus {
            for name in THREADS {
                set(environment, name, &cpus.to_string());
            }
        }
        notes
    }
}

/// The GPUs that are visible, when the environment says.
fn visible(environment: &[(OsString, OsString)]) -> Option<Vec<String>> {
    let (_, value) = environment.iter().rfind(|(name, _)| name == GPUS)?;
    let value = value.to_string_lossy();
    let names = value.split(',').map(str::trim);
    // An empty name or -1 ends the list: whatever follows is invisible.
    let seen = names.take_while(|name| !name.is_empty() && *name != "-1");
    Some(seen.map(str::to_owned).collect())
}

/// Sets a variable.
pub fn set(environment: &mut Vec<(OsString, OsString)>, name: &str, value: &str) {
    environment.retain(|(own, _)| own != name);
    environment.push((name.into(), value.into()));
}

/// The processors that the action is bound to: the first of those that this process may use.
#[cfg(target_os = "linux")]
pub(super) fn processors(count: u32) -> Option<rustix::thread::CpuSet> {
    use rustix::thread::{CpuSet, sched_getaffinity};
    let own = sched_getaffinity(None).ok()?;
    let mut chosen = CpuSet::new();
    let allowed = (0..CpuSet::MAX_CPU).filter(|cpu| own.is_set(*cpu));
    for cpu in allowed.take(count as usize) {
        chosen.set(cpu);
    }
    (chosen.count() > 0).then_some(chosen)
}

/// Reads a size in bytes, such as `8GB`, `512MiB` or `1000000`.
pub fn memory(text: &str) -> Result<u64, Failure> {
    const UNITS: [(&str, u64); 13] = [
        ("", 1),
        ("b", 1),
        ("k", 1_000),
        ("kb", 1_000),
        ("kib", 1 << 10),
        ("m", 1_000_000),
        ("mb", 1_000_000),
        ("mib", 1 << 20),
        ("g", 1_000_000_000),
        ("gb", 1_000_000_000),
        ("gib", 1 << 30),
        ("t", 1_000_000_000_000),
        ("tib", 1 << 40),
    ];
    let refused = || {
        Failure::usage(format!("--memory {text}: not a size"))
            .hint("write a number and a unit, such as 8GB, 1.5GiB or 512MB")
    };
    let (number, unit) = split(text);
    let unit = unit.to_ascii_lowercase();
    let (_, factor) = UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or_else(refused)?;
    let bytes = number.ok_or_else(refused)? * *factor as f64;
    if !(1.0..1e18).contains(&bytes) {
        return Err(refused());
    }
    Ok(bytes as u64)
}

/// Reads a time, such as `90s`, `30m`, `2h`, `1d`, `1h30m`, or a number of seconds.
pub fn timeout(text: &str) -> Result<Duration, Failure> {
    let refused = || {
        Failure::usage(format!("--timeout {text}: not a time"))
            .hint("write a number and a unit, such as 90s, 30m or 2h")
    };
    let mut rest = text.trim();
    let mut seconds = 0.0;
    if rest.is_empty() {
        return Err(refused());
    }
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().map_err(|_| refused())?;
        let tail = &rest[digits..];
        let letters = tail
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(tail.len());
        let factor = match &tail[..letters] {
            "ms" => 0.001,
            "" | "s" | "sec" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3_600.0,
            "d" => 86_400.0,
            _ => return Err(refused()),
        };
        // `1h30` could be minutes or seconds.
        if letters == 0 && rest.len() != text.trim().len() {
            return Err(refused());
        }
        seconds += number * factor;
        rest = tail[letters..].trim_start();
    }
    if !(0.001..1e9).contains(&seconds) {
        return Err(refused());
    }
    Ok(Duration::from_secs_f64(seconds))
}

fn split(text: &str) -> (Option<f64>, &str) {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    (text[..digits].parse().ok(), text[digits..].trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        pairs
            .iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect()
    }

    #[test]
    fn gpus_are_taken_from_those_that_are_visible() {
        for (before, wanted, after, notes) in [
            (None, 2, "0,1", 0),
            (None, 0, "", 0),
            (Some("3, 5,7"), 2, "3,5", 0),
            (Some("GPU-8a"), 2, "GPU-8a", 1),
            (Some(""), 1, "", 1),
            (Some("0,-1,2"), 2, "0", 1),
            (Some("4"), 0, "", 0),
        ] {
            let pairs: Vec<_> = before.map(|value| (GPUS, value)).into_iter().collect();
            let mut environment = environment(&pairs);
            let limits = Limits {
                gpus: Some(wanted),
                ..Limits::default()
            };
            assert_eq!(
                limits.apply(&mut environment).len(),
                notes,
                "{before:?} {wanted}"
            );
            assert_eq!(
                environment,
                [(GPUS.into(), after.into())],
                "{before:?} {wanted}"
            );
        }
    }

    #[test]
    fn processors_bound_every_pool_of_threads() {
        let mut environment = environment(&[("OMP_NUM_THREADS", "64")]);
        let limits = Limits {
            cpus: Some(3),
            ..Limits::default()
        };
        assert!(limits.apply(&mut environment).is_empty());
        assert_eq!(environment.len(), THREADS.len());
        assert!(environment.iter().all(|(_, value)| value == "3"));
    }

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("8GB", 8_000_000_000),
            ("1.5 GiB", 3 << 29),
            ("512m", 512_000_000),
            ("100", 100),
        ] {
            assert_eq!(memory(text).expect(text), bytes);
        }
        for text in ["", "GB", "8XB", "-1GB", "0", "nan", "1e30GB", "99999999TB"] {
            assert_eq!(memory(text).expect_err(text).code, "usage", "{text}");
        }
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, seconds) in [
            ("90s", 90.0),
            ("30m", 1800.0),
            ("2h", 7200.0),
            ("1h30m", 5400.0),
            ("5", 5.0),
            ("250ms", 0.25),
        ] {
            assert_eq!(timeout(text).expect(text), Duration::from_secs_f64(seconds));
        }
        for text in ["", "h", "5x", "1h30", "0", "-5s", "1.2.3s", "s5"] {
            assert_eq!(timeout(text).expect_err(text).code, "usage", "{text}");
        }
    }
}
