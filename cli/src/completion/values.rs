//! Owns the values that a line may go on with: codes of plugins, actions, logins, runs.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

use clap_complete::CompletionCandidate;
use serde_json::Value;
use synapse_rules::{
    config::{self, Category, Word},
    fileset::read_regular,
    plugin::{CONFIG_NAMES, subject},
    publish, workspace,
};

use super::Asked;
use crate::credentials::Saved;

/// More bytes than this no configuration has before its code.
const HEAD: u64 = 16 * 1024;
/// Runs that are offered, the newest.
const RUNS: u32 = 20;
/// Where the index keeps the list of members.
const MEMBERS: &str = "//members";

fn candidate(value: impl Into<std::ffi::OsString>, help: Option<String>) -> CompletionCandidate {
    let help = help.map(|help| config::diagnostic::short(help.lines().next().unwrap_or_default()));
    CompletionCandidate::new(value).help(help.map(Into::into))
}

fn configuration(folder: &Path) -> Option<Vec<u8>> {
    let mut files = CONFIG_NAMES.iter().map(|name| folder.join(name));
    files.find_map(|path| read_regular(&path).ok())
}

/// Codes of the plugins of the workspace around, with their folders.
fn known(asked: &Asked) -> BTreeMap<String, PathBuf> {
    let folder = asked.line.folder();
    let folder = fs::canonicalize(&folder).unwrap_or(folder);
    let Some(root) = workspace::find_root(&folder) else {
        let own = head(&folder).map(|(code, variant)| subject(&code, variant.as_deref()));
        return own.map(|subject| (subject, folder)).into_iter().collect();
    };
    let index = asked
        .home
        .as_ref()
        .map(|home| publish::Workspace::open(&home.index(), &root).index);
    let noted = index.as_ref().and_then(|index| index.get(MEMBERS));
    // What was there at the last publish is near enough for a list, unless that was never.
    let members =
        noted.and_then(|section| serde_json::from_slice::<Vec<String>>(section.note()).ok());
    let members = members.or_else(|| listed(&root)).unwrap_or_default();
    let mut known = BTreeMap::new();
    for place in members {
        let folder = root.join(&place);
        let note = index.as_ref().and_then(|index| index.get(&place));
        let note = note.and_then(|section| serde_json::from_slice::<Value>(section.note()).ok());
        let noted = note.and_then(|note| {
            let text = |key: &str| note[key].as_str().map(str::to_owned);
            Some((text("code")?, text("variant")))
        });
        if let Some((code, variant)) = noted.or_else(|| head(&folder)) {
            known.insert(subject(&code, variant.as_deref()), folder);
        }
    }
    known
}

fn listed(root: &Path) -> Option<Vec<String>> {
    let bytes = read_regular(&root.join(workspace::FILE)).ok()?;
    let patterns = workspace::parse(&bytes, workspace::FILE, root)
        .workspace?
        .members;
    Some(workspace::expand(root, &patterns).ok()?.members)
}

/// Code and variant of a configuration, read without the rest of it.
fn head(folder: &Path) -> Option<(String, Option<String>)> {
    let mut files = CONFIG_NAMES.iter().map(|name| folder.join(name));
    let path = files.find(|path| path.is_file())?;
    let mut bytes = Vec::new();
    File::open(path)
        .ok()?
        .take(HEAD)
        .read_to_end(&mut bytes)
        .ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let value = |key: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(key))?;
        let value = value.split(" #").next()?.trim().trim_matches(['"', '\'']);
        (!value.is_empty()).then(|| value.to_owned())
    };
    Some((
        value("code:")?,
        value("variant:").filter(|own| own != "null" && own != "~"),
    ))
}

/// Codes of plugins.
pub(super) fn plugins(asked: &Asked) -> Vec<CompletionCandidate> {
    let known = known(asked).into_keys();
    known.map(|subject| candidate(subject, None)).collect()
}

/// Actions of the plugin that the line is about.
pub(super) fn actions(asked: &Asked) -> Vec<CompletionCandidate> {
    let folder = match asked.line.plugin() {
        None => asked.line.folder(),
        Some(code) => {
            let known = known(asked);
            let own = |subject: &str| subject.split('@').next() == Some(code);
            let found = known.get(code).or_else(|| {
                known
                    .iter()
                    .find(|(subject, _)| own(subject))
                    .map(|(_, folder)| folder)
            });
            match found {
                Some(folder) => folder.clone(),
                None => return Vec::new(),
            }
        }
    };
    let Some(bytes) = configuration(&folder) else {
        return Vec::new();
    };
    let actions = config::parse(&bytes, "config.yaml")
        .config
        .map(|config| config.actions);
    let actions = actions.unwrap_or_default().into_iter();
    actions
        .map(|action| candidate(action.name, action.description))
        .collect()
}

/// Stages of a publish.
pub(super) fn stages(_: &Asked) -> Vec<CompletionCandidate> {
    let stages = ["inspect", "sync", "archive", "checksum", "upload"];
    stages.map(|stage| candidate(stage, None)).into()
}

/// Kinds of plugins.
pub(super) fn categories(_: &Asked) -> Vec<CompletionCandidate> {
    let all = Category::ALL.iter();
    all.map(|own| candidate(own.as_str(), Some(own.meaning().to_owned())))
        .collect()
}

/// Saved logins, and the backend of this machine.
pub(super) fn profiles(asked: &Asked) -> Vec<CompletionCandidate> {
    let saved = asked.home.as_ref().and_then(|home| {
        let file = home.config_file();
        file.is_file().then(|| Saved::load(&file).ok()).flatten()
    });
    let mut names = saved.map_or_else(Vec::new, |saved| saved.names());
    names.push("local".to_owned());
    names.dedup();
    names
        .into_iter()
        .map(|name| candidate(name, None))
        .collect()
}

/// The newest runs of this machine, newest first.
pub(super) fn runs(asked: &Asked) -> Vec<CompletionCandidate> {
    let Some(folder) = asked.home.as_ref().map(crate::home::Home::backend) else {
        return Vec::new();
    };
    let runs = synapse_backend::newest_runs(&folder, RUNS).unwrap_or_default();
    let run = |(at, (id, what)): (usize, (i64, String))| {
        candidate(id.to_string(), Some(what)).display_order(Some(at))
    };
    runs.into_iter().enumerate().map(run).collect()
}
