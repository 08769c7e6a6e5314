//! Owns which plugins a command is about: one folder, some codes, or a whole workspace.

use std::{
    fs::{self, File},
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use rayon::prelude::*;
use synapse_engine::{
    Digest, Failure, StableHash, filesystem,
    index::{FOLDER_REST, FileStat, FolderEntry, Section, Subtree},
};
use synapse_rules::{
    fileset::read_regular,
    plugin::{self, Above, CONFIG_NAMES, Source, Trust},
    publish::Workspace,
    workspace,
};

use crate::{
    app::{self, App},
    args::Selection,
};

/// Where the index keeps the list of members; no plugin can lie there.
const MEMBERS: &str = "//members";

/// What was selected.
pub struct Selected {
    /// The workspace root, or the plugin when there is none.
    pub root: PathBuf,
    /// The plugins.
    pub sources: Vec<Source>,
    /// The workspace's index.
    pub workspace: Workspace,
    /// Warnings to show.
    pub warnings: Vec<plugin::Warning>,
}

/// What to take when the selection names nothing and this is no plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Otherwise {
    /// It is a mistake: a publish must say what it is about.
    Refuse,
    /// The whole workspace: looking at it changes nothing.
    All,
}

/// Resolves a selection.
pub fn select(app: &App, selection: &Selection, otherwise: Otherwise) -> Result<Selected, Failure> {
    let start = selection
        .path
        .as_ref()
        .map_or_else(|| app.cwd.clone(), |path| app.cwd.join(path));
    let start = fs::canonicalize(&start).map_err(|error| {
        let shown = start.display().to_string();
        let what = match error.kind() {
            std::io::ErrorKind::NotFound => format!("{shown} does not exist"),
            _ => format!("cannot open {shown}: {error}"),
        };
        Failure::user("path", what).at(shown).hint("check the path")
    })?;
    if start.is_file() {
        let what = format!("{} is a file, not a plugin's folder", start.display());
        return Err(Failure::user("path", what).hint(if selection.complete {
            "name the folder; a configuration goes with --config".to_owned()
        } else {
            instead_of(&start)
        }));
    }
    let root = workspace::find_root(&start);
    let here =
        CONFIG_NAMES.iter().any(|name| start.join(name).is_file()) || selection.config.is_some();
    let all = selection.all
        || !selection.plugin.is_empty()
        || (!here && otherwise == Otherwise::All && root.is_some());
    if !all {
        return single(app, &start, root, selection);
    }
    let Some(root) = root else {
        let what = format!(
            "there is no {} in {} or above",
            workspace::FILE,
            start.display()
        );
        return Err(Failure::user("no-workspace", what)
            .hint("go into the monorepo, or name its folder with --path"));
    };
    let mut selected = members(app, &root)?;
    if !selection.plugin.is_empty() {
        by_code(app, &mut selected, &selection.plugin)?;
    }
    Ok(selected)
}

fn single(
    app: &App,
    start: &Path,
    root: Option<PathBuf>,
    selection: &Selection,
) -> Result<Selected, Failure> {
    let config = match &selection.config {
        Some(path) => {
            let path = app.cwd.join(path);
            let real = fs::canonicalize(&path).map_err(|error| {
                let what = format!("Config file not found: {} ({error})", path.display());
                Failure::user("config-not-found", what).hint("check the path given with --config")
            })?;
            let own = CONFIG_NAMES.iter().find(|name| start.join(name).is_file());
            (own.map(|name| start.join(name)) != Some(real.clone())).then_some(real)
        }
        None => None,
    };
    if selection.config.is_none() && !CONFIG_NAMES.iter().any(|name| start.join(name).is_file()) {
        return Err(not_a_plugin(start, root.as_deref(), selection.complete));
    }
    let (root, place) = match root {
        Some(root) => {
            let place = start
                .strip_prefix(&root)
                .unwrap_or(Path::new(""))
                .display()
                .to_string();
            (root, place)
        }
        None => (start.to_owned(), String::new()),
    };
    let sources = vec![Source {
        workspace: root.clone(),
        place,
        config,
    }];
    let workspace = Workspace::open(&app.home.index(), &root);
    Ok(Selected {
        root,
        sources,
        workspace,
        warnings: Vec::new(),
    })
}

fn is_plugin(folder: &Path) -> bool {
    CONFIG_NAMES.iter().any(|name| folder.join(name).is_file())
}

/// What to give instead of a file: the plugin's folder that it lies in.
fn instead_of(file: &Path) -> String {
    match file.ancestors().skip(1).find(|folder| is_plugin(folder)) {
        Some(folder) => format!("give the plugin's folder: --path {}", folder.display()),
        None => "give a plugin's folder, which holds its config.yaml".to_owned(),
    }
}

fn not_a_plugin(start: &Path, root: Option<&Path>, complete: bool) -> Failure {
    let what = format!(
        "Config file not found: there is no config.yaml in {}",
        start.display()
    );
    let failure = Failure::user("config-not-found", what);
    if root == Some(start) {
        return failure.hint(if complete {
            "this is a workspace: --all takes every plugin, --plugin CODE takes one"
        } else {
            "this is a workspace: name the folder of one of its plugins with --path"
        });
    }
    if let Some(above) = start.ancestors().skip(1).find(|folder| is_plugin(folder)) {
        return failure.hint(format!("a plugin lies above: --path {}", above.display()));
    }
    match plugin_below(start) {
        Some(below) => failure.hint(format!("a plugin lies below: --path {}", below.display())),
        None if complete => failure.hint(
            "go to a plugin's folder, name one with --path, or a configuration with --config",
        ),
        None => failure.hint("go to a plugin's folder, or name one with --path"),
    }
}

/// The plugin nearest below a folder; not looked for far down, or among very many.
fn plugin_below(start: &Path) -> Option<PathBuf> {
    const DEPTH: usize = 3;
    const MOST: usize = 1000;
    let mut level = vec![start.to_owned()];
    for _ in 0..DEPTH {
        let mut next = Vec::new();
        for folder in level {
            let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
            next.extend(entries.filter(is_folder).map(|entry| entry.path()));
            if next.len() > MOST {
                return None;
            }
        }
        next.sort();
        if let Some(found) = next.iter().find(|folder| is_plugin(folder)) {
            return Some(found.clone());
        }
        level = next;
    }
    None
}

/// Hidden folders hold no plugins; links may lead anywhere.
fn is_folder(entry: &fs::DirEntry) -> bool {
    let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
    !is_hidden && entry.file_type().is_ok_and(|kind| kind.is_dir())
}

fn members(app: &App, root: &Path) -> Result<Selected, Failure> {
    let mut workspace = Workspace::open(&app.home.index(), root);
    let file = root.join(workspace::FILE);
    let shown = file.display().to_string();
    let bytes = read_regular(&file).map_err(|error| {
        Failure::user("unreadable", format!("cannot read {shown}: {error}")).at(shown.clone())
    })?;
    let guard = bytes_guard(&bytes);
    let sources = |members: Vec<String>| {
        let source = |place| Source {
            workspace: root.to_owned(),
            place,
            config: None,
        };
        members.into_iter().map(source).collect()
    };
    if let Some(section) = workspace
        .index
        .get(MEMBERS)
        .filter(|section| section.guard() == guard)
        && let Ok(open) = File::open(root)
        && section.is_unchanged(open.as_fd())
        && let Ok(known) = serde_json::from_slice::<Vec<String>>(section.note())
        && known
            .par_iter()
            .with_min_len(64)
            .all(|place| has_config(root, place))
    {
        let root = root.to_owned();
        return Ok(Selected {
            root,
            sources: sources(known),
            workspace,
            warnings: Vec::new(),
        });
    }
    let now = app::nanoseconds();
    let parsed = workspace::parse(&bytes, &shown, root);
    if let Some(failure) = plugin::diagnostics_failure(&parsed.diagnostics) {
        return Err(failure);
    }
    let model = parsed
        .workspace
        .ok_or_else(|| Failure::bug("a workspace without errors was refused"))?;
    let expansion = workspace::expand(root, &model.members)
        .map_err(|error| Failure::user("unreadable", error.to_string()).at(shown.clone()))?;
    let unmatched = model.unmatched(&expansion, &bytes, &shown);
    let warnings: Vec<_> = parsed
        .diagnostics
        .iter()
        .chain(&unmatched)
        .map(plugin::Warning::from)
        .collect();
    if warnings.is_empty() {
        let seen = listing(root, guard, &expansion.visited, &expansion.members, now);
        workspace
            .seen
            .extend(seen.map(|section| (MEMBERS.to_owned(), section)));
    }
    if expansion.members.is_empty() {
        let what = "the workspace has no plugins";
        let hint = "list their folders under members, such as plugins/*";
        return Err(Failure::user("no-members", what).at(shown).hint(hint));
    }
    Ok(Selected {
        root: root.to_owned(),
        sources: sources(expansion.members),
        workspace,
        warnings,
    })
}

fn has_config(root: &Path, place: &str) -> bool {
    CONFIG_NAMES
        .iter()
        .any(|name| root.join(place).join(name).exists())
}

fn bytes_guard(bytes: &[u8]) -> Digest {
    Digest::of(bytes).stable_digest("synapse.members")
}

/// The listing as an index section: folders by stat, members as its note. Members themselves
/// change at every edit; all that counts of them is that they still have a configuration.
fn listing(
    root: &Path,
    guard: Digest,
    visited: &[String],
    members: &[String],
    now: i64,
) -> Option<Section> {
    let folder = |path: &String| {
        let meta = fs::metadata(root.join(path)).ok()?;
        Some(FolderEntry {
            path: path.clone(),
            stat: FileStat::from(&meta),
        })
    };
    let visited = visited
        .iter()
        .filter(|path| members.binary_search(path).is_err());
    let mut folders = visited.map(folder).collect::<Option<Vec<_>>>()?;
    folders.sort_by(|a, b| a.path.as_bytes().cmp(b.path.as_bytes()));
    let dev = folders.first()?.stat.dev;
    let settled = filesystem::kind(root).is_honest()
        && folders
            .iter()
            .all(|f| f.stat.dev == dev && f.stat.ctime.saturating_add(FOLDER_REST) < now);
    let note = serde_json::to_vec(members).ok()?;
    Some(
        Subtree {
            guard,
            folders,
            files: Vec::new(),
            note,
            settled,
        }
        .encode(),
    )
}

fn by_code(app: &App, selected: &mut Selected, codes: &[String]) -> Result<(), Failure> {
    let above = Above::default();
    let mut known = Vec::new();
    let mut kept = Vec::new();
    let mut broken = None;
    for source in &selected.sources {
        let loaded = plugin::load(
            source,
            &selected.workspace.index,
            &above,
            Trust::Stat,
            app::nanoseconds(),
            &app.counters,
        );
        match loaded {
            Ok(plugin) => {
                let (code, subject) = (plugin.head.code.clone(), plugin.subject());
                if codes
                    .iter()
                    .any(|wanted| *wanted == code || *wanted == subject)
                {
                    kept.push(source.clone());
                }
                known.push((code, subject));
            }
            Err(failure) => {
                // Its own failure says more than that its code is unknown.
                let folder = source.place.rsplit('/').next().unwrap_or_default();
                if let Some(code) = codes.iter().find(|code| folder.contains(code.as_str())) {
                    kept.push(source.clone());
                    known.push((code.clone(), code.clone()));
                }
                broken = broken.or(Some(failure));
            }
        }
    }
    for wanted in codes {
        if known
            .iter()
            .any(|(code, subject)| wanted == code || wanted == subject)
        {
            continue;
        }
        let near = known
            .iter()
            .map(|(code, _)| (strsim::jaro_winkler(code, wanted), code))
            .filter(|(likeness, _)| *likeness > 0.75)
            .max_by(|a, b| a.0.total_cmp(&b.0));
        let failure = Failure::user(
            "unknown-plugin",
            format!("the workspace has no plugin {wanted:?}"),
        );
        return Err(match (near, broken) {
            (Some((_, code)), _) => failure.hint(format!("did you mean {code}?")),
            (None, Some(other)) => {
                failure.hint(format!("it may be the one that cannot be loaded: {other}"))
            }
            (None, None) => failure.hint("`synapse status --all` lists the plugins"),
        });
    }
    selected.sources = kept;
    Ok(())
}
