//! `synapse cache`.

use serde_json::json;
use synapse_engine::{
    Failure,
    store::{GcReport, Limits, SqliteStore},
    store_failure,
};

use synapse_rules::environment;

use crate::{
    app::{self, App},
    args,
    render::{BAD, GOOD, HINT, Printer, count, paint, size},
};

/// Files without a name that are younger may belong to a run in progress.
const MARGIN_SECONDS: u64 = 3600;

/// Runs the command; returns the exit code.
pub fn run(app: &App, args: &args::Cache) -> Result<u8, Failure> {
    match args {
        args::Cache::Stats => stats(app),
        args::Cache::Gc { max_size, max_age } => gc(app, max_size, *max_age),
        args::Cache::Check { repair } => check(app, *repair),
        args::Cache::Clear => clear(app),
    }
}

fn stats(app: &App) -> Result<u8, Failure> {
    let stats = app
        .store()?
        .stats()
        .map_err(|error| store_failure(&error))?;
    let mut printer = Printer::stdout(&app.output);
    let path = app.home.store.display().to_string();
    let environments = environment::stats(&app.home.store);
    if app.output.is_machine() {
        printer.json(
            &json!({"schema": 1, "command": "cache stats", "ok": true, "path": path,
                             "stats": stats, "environments": environments}),
        );
        return Ok(0);
    }
    printer.line(format!("store      {path}"));
    printer.line(format!("results    {}", stats.results));
    printer.line(format!(
        "blobs      {}, {}",
        stats.blobs,
        size(stats.blob_bytes)
    ));
    printer.line(format!("streams    {} kept inside them", stats.streams));
    printer.line(format!("history    {}", count(stats.history, "run")));
    printer.line(format!("database   {}", size(stats.database_bytes)));
    printer.line(format!(
        "python     {}, {}; caches of installers {}",
        count(environments.environments, "environment"),
        size(environments.environment_bytes),
        size(environments.cache_bytes)
    ));
    Ok(0)
}

fn gc(app: &App, max_size: &str, max_age: u32) -> Result<u8, Failure> {
    let bytes = parse_size(max_size).ok_or_else(|| {
        Failure::usage(format!("{max_size:?} is not a size"))
            .hint("write it like 500MB, 2GB or 1.5GiB")
    })?;
    let limits = Limits {
        bytes,
        age: i64::from(max_age) * 86_400,
        margin: MARGIN_SECONDS,
    };
    let report = app
        .store()?
        .gc(limits, app::seconds())
        .map_err(|error| store_failure(&error))?;
    let leftovers = app.backend_leftovers(MARGIN_SECONDS)?;
    let report = GcReport {
        orphans: report.orphans + leftovers,
        ..report
    };
    let environments = environment::collect(&app.home.store, limits.age, app::seconds());
    let environments = environments.map_err(|error| {
        Failure::environment(
            "environment",
            format!("cannot remove an environment: {error}"),
        )
        .hint("check the permissions of the store")
    })?;
    let mut printer = Printer::stdout(&app.output);
    if app.output.is_machine() {
        printer.json(
            &json!({"schema": 1, "command": "cache gc", "ok": true, "removed": report,
                             "environments": environments}),
        );
    } else if !app.output.quiet {
        printer.line(format!(
            "removed {}, {} ({}) and {}",
            count(report.results, "result"),
            count(report.blobs, "blob"),
            size(report.bytes),
            count(report.orphans, "leftover file")
        ));
        if environments.environments > 0 {
            printer.line(format!(
                "removed {} ({})",
                count(environments.environments, "environment"),
                size(environments.bytes)
            ));
        }
    }
    Ok(0)
}

fn check(app: &App, repair: bool) -> Result<u8, Failure> {
    let store = app.store()?;
    let report = store
        .check(repair, &app.cancel)
        .map_err(|error| store_failure(&error))?;
    if app.cancel.cancelled() {
        return Err(Failure::cancelled());
    }
    let code = u8::from(!report.is_clean() && !repair);
    let mut printer = Printer::stdout(&app.output);
    if app.output.is_machine() {
        printer.json(
            &json!({"schema": 1, "command": "cache check", "ok": code == 0,
                             "clean": report.is_clean(), "report": report}),
        );
        return Ok(code);
    }
    for damage in &report.damage {
        printer.line(format!(
            "{} blob {}: {}",
            paint(BAD, "damaged"),
            damage.blob,
            damage.what
        ));
    }
    if report.rows > 0 {
        let what = count(report.rows, "result");
        printer.line(format!(
            "{} {what} in the database; made again when needed",
            paint(BAD, "damaged")
        ));
    }
    if let Some(what) = &report.database {
        printer.line(format!("{} database: {what}", paint(BAD, "damaged")));
    }
    if report.is_clean() {
        if !app.output.quiet {
            printer.line(format!(
                "{} {} verified, {}",
                paint(GOOD, "clean:"),
                count(report.blobs, "blob"),
                size(report.bytes)
            ));
        }
    } else if repair {
        printer.line(format!(
            "moved to {}; they are made again when needed",
            app.home.store.join("quarantine").display()
        ));
    } else {
        printer.line(format!(
            "{} run `synapse cache check --repair`",
            paint(HINT, "hint:")
        ));
    }
    Ok(code)
}

fn clear(app: &App) -> Result<u8, Failure> {
    let store = SqliteStore::open(&app.home.store, app.hook.clone())
        .map_err(|error| store_failure(&error))?;
    store.clear().map_err(|error| store_failure(&error))?;
    // Nobody else uses the store, or it would not have let itself be cleared.
    let _ = environment::collect(&app.home.store, 0, i64::from(u32::MAX));
    let _ = std::fs::remove_dir_all(app.home.store.join("libraries"));
    let mut printer = Printer::stdout(&app.output);
    if app.output.is_machine() {
        printer.json(&json!({"schema": 1, "command": "cache clear", "ok": true}));
    } else if !app.output.quiet {
        printer.line(format!("cleared {}", app.home.store.display()));
    }
    Ok(0)
}

/// `500MB`, `2GB`, `1.5GiB`, or plain bytes.
pub(super) fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let split = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: f64 = number.parse().ok()?;
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kb" => 1e3,
        "m" | "mb" => 1e6,
        "g" | "gb" => 1e9,
        "t" | "tb" => 1e12,
        "kib" => 1024.0,
        "mib" => 1024.0 * 1024.0,
        "gib" => 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    let bytes = number * factor;
    (0.0..1e18).contains(&bytes).then_some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        let read = ["0", "10", "500MB", "2 gb", "1.5GiB"].map(|text| parse_size(text).unwrap());
        assert_eq!(read, [0, 10, 500_000_000, 2_000_000_000, 1_610_612_736]);
        for bad in ["", "x", "1.2.3", "-1", "5 apples", "inf", "9e99"] {
            assert_eq!(parse_size(bad), None, "{bad}");
        }
    }
}
