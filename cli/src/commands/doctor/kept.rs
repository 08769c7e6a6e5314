//! Owns what the doctor says of what is kept: the configuration, the store, the user's data.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use rustix::fs::{Access, access, statvfs};
use synapse_engine::{
    Failure, StoreError,
    filesystem::{self, Kind},
    store::examine,
    store_failure,
};

use super::Finding;
use crate::{
    app::App,
    credentials::{self, Saved},
    render::{count, size},
};

/// With less than this nothing can be published.
const NO_SPACE: u64 = 20_000_000;
/// With less than this an environment may not fit.
const LITTLE_SPACE: u64 = 2_000_000_000;

/// The file of the saved logins.
pub(super) fn configuration(app: &App) -> Vec<Finding> {
    const CHECK: &str = "config";
    let path = app.home.config_file();
    let shown = path.display();
    let saved = match Saved::load(&path) {
        Ok(saved) => saved,
        Err(failure) => return vec![Finding::of(CHECK, &failure)],
    };
    if !path.exists() {
        return vec![
            Finding::note(CHECK, format!("{shown} is not there")).hint("`synapse login` makes it"),
        ];
    }
    let mut findings = Vec::new();
    if let Some(mode) = credentials::exposed(&path) {
        let text = format!("others may read the saved tokens: {shown} has mode {mode:03o}");
        findings.push(Finding::warning(CHECK, text).hint(format!("chmod 600 {shown}")));
    }
    if let Some(folder) = path.parent()
        && let Ok(meta) = fs::metadata(folder)
        && meta.mode() & 0o022 != 0
    {
        let folder = folder.display();
        let mode = meta.mode() & 0o777;
        let text = format!("others may replace the saved tokens: {folder} has mode {mode:03o}");
        findings.push(Finding::warning(CHECK, text).hint(format!("chmod 700 {folder}")));
    }
    if findings.is_empty() {
        let logins = count(saved.names().len() as u64, "login");
        findings.push(Finding::ok(CHECK, format!("{shown}, {logins}, private")));
    }
    findings
}

/// The store, the data folder with the ledger, and the disks they are on.
pub(super) fn folders(app: &App) -> Vec<Finding> {
    let home = &app.home;
    let mut findings = vec![
        store(app),
        database(
            "ledger",
            &home.ledger(),
            "what was sent is written there",
            "move the file away: every publish asks the target what it has",
            || app.ledger().map(|_| String::new()),
        ),
        database(
            "backend",
            &home.backend().join("backend.db"),
            "the embedded backend",
            "bring it back from a backup, or move its folder away and publish again",
            || app.backend().map(|_| String::new()),
        ),
    ];
    let (store, data) = (nearest(&home.store), nearest(&home.data));
    if store.is_dir() {
        findings.push(disk(&store));
    }
    if data.is_dir() && device(&store) != device(&data) {
        findings.push(disk(&data));
    }
    findings
}

fn store(app: &App) -> Finding {
    const CHECK: &str = "store";
    let path = app.home.store.join("store.db");
    let finding = database(
        CHECK,
        &path,
        "results are kept there",
        "run `synapse cache check --repair`",
        || {
            let store = app.store()?;
            let stats = store.stats().map_err(|error| store_failure(&error))?;
            let (results, bytes) = (count(stats.results, "result"), size(stats.blob_bytes));
            Ok(format!(", {results}, {bytes}"))
        },
    );
    let kind = filesystem::kind(&nearest(&app.home.store));
    if finding.state == super::State::Ok && kind == Kind::Network {
        let text = format!("{}, on a network filesystem", finding.text);
        return Finding::warning(CHECK, text).hint(
            "every file is hashed anew there: set SYNAPSE_STORE to a folder on a local disk",
        );
    }
    finding
}

/// A database file and its folder. `open` says more about one that is whole.
fn database(
    check: &'static str,
    path: &Path,
    what: &str,
    mend: &str,
    open: impl FnOnce() -> Result<String, Failure>,
) -> Finding {
    let folder = path.parent().unwrap_or(path);
    let at = nearest(folder);
    if !at.is_dir() {
        let text = format!("{} is not a folder", at.display());
        return Finding::failed(check, text).hint(SET_ELSEWHERE);
    }
    if let Err(error) = access(&at, Access::WRITE_OK | Access::EXEC_OK) {
        let text = format!("{} cannot be written to: {error}", at.display());
        return Finding::failed(check, text).hint(format!(
            "check the permissions of the folder, or {SET_ELSEWHERE}"
        ));
    }
    let shown = path.display();
    if !path.exists() {
        return Finding::ok(check, format!("{shown} is made when it is needed ({what})"));
    }
    match examine(path) {
        Ok(None) => {}
        Ok(Some(damage)) => {
            let text = format!("{shown} is damaged: {}", first_line(&damage));
            return Finding::failed(check, text).hint(mend);
        }
        Err(error) => {
            let what = match error {
                StoreError::Database(what) => what,
                other => other.to_string(),
            };
            let text = format!("{shown} cannot be read: {}", first_line(&what));
            return Finding::failed(check, text).hint(mend);
        }
    }
    match open() {
        Ok(more) => Finding::ok(check, format!("{shown} is whole{more}")),
        Err(failure) => Finding::of(check, &failure),
    }
}

const SET_ELSEWHERE: &str = "set SYNAPSE_HOME to a folder that you may write to";

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// The folder itself, or the nearest above it that is there.
fn nearest(folder: &Path) -> PathBuf {
    let mut above = folder.ancestors();
    let there = above.find(|folder| fs::symlink_metadata(folder).is_ok());
    there.unwrap_or(folder).to_owned()
}

fn device(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|meta| meta.dev())
}

fn disk(folder: &Path) -> Finding {
    const CHECK: &str = "disk";
    let shown = folder.display();
    let stat = match statvfs(folder) {
        Ok(stat) => stat,
        Err(error) => {
            return Finding::warning(CHECK, format!("the space at {shown} is not known: {error}"));
        }
    };
    let kind = match filesystem::kind(folder) {
        Kind::Honest => "a local disk",
        Kind::Network => "a network filesystem",
        Kind::Unknown => "another kind of filesystem, where files are hashed anew each time",
    };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let text = format!("{} free at {shown}, {kind}", size(free));
    let hint = "free some space: `synapse cache gc` removes old results";
    // Some filesystems count no files at all.
    if free < NO_SPACE || (stat.f_files > 0 && stat.f_favail == 0) {
        Finding::failed(CHECK, text).hint(hint)
    } else if free < LITTLE_SPACE {
        Finding::warning(CHECK, text).hint(hint)
    } else {
        Finding::ok(CHECK, text)
    }
}
