//! Owns which plugins and libraries there are to watch: what the workspace file names, and the
//! folders whose listings decide it.

use std::{
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
};

use synapse_engine::{Digest, Failure};

use super::survey::join;
use crate::{
    fileset::{
        self,
        ignores::{Verdict, decide},
        read_regular,
    },
    plugin::{self, Source},
    workspace::{self, Workspace},
};

/// Which plugins are watched.
#[derive(Debug, Clone)]
pub enum Scope {
    /// Every member of the workspace, those that come later too.
    All,
    /// These.
    Fixed(Vec<Source>),
}

/// What the workspace file names.
#[derive(Debug, Default)]
pub(super) struct Arranged {
    /// Plugins.
    pub(super) sources: Vec<Source>,
    /// Places of libraries.
    pub(super) libraries: Vec<String>,
    /// Folders in which they can come and go.
    pub(super) listed: BTreeSet<PathBuf>,
    /// Object stores.
    pub(super) storage: Vec<String>,
    /// Of the file, where it can be read.
    pub(super) digest: Option<Digest>,
}

/// Reads the workspace file in `root`, and finds what it names.
pub(super) fn arrange(root: &Path, scope: &Scope) -> Result<Arranged, Failure> {
    let path = root.join(workspace::FILE);
    let shown = path.display().to_string();
    let read = read(root, &path, &shown);
    let (model, digest) = match (read, scope) {
        (Ok((model, digest)), _) => (Some(model), Some(digest)),
        // Whoever does it again says what is wrong with it.
        (Err(_), Scope::Fixed(_)) => (None, None),
        (Err(failure), Scope::All) => return Err(failure),
    };
    let mut arranged = Arranged {
        digest,
        ..Arranged::default()
    };
    let unreadable = |error: workspace::WorkspaceError| {
        Failure::user("unreadable", error.to_string()).at(shown.clone())
    };
    if let Some(model) = &model {
        arranged.storage.clone_from(&model.storage);
        let found = workspace::folders(root, &model.libraries, &["pyproject.toml"]);
        let found = found.map_err(unreadable)?;
        arranged.listed = listed(root, &found.visited, &found.members);
        arranged.libraries = found.members;
    }
    if let Scope::Fixed(sources) = scope {
        arranged.sources.clone_from(sources);
        return Ok(arranged);
    }
    let patterns = model.map(|model| model.members).unwrap_or_default();
    let found = workspace::expand(root, &patterns).map_err(unreadable)?;
    if found.members.is_empty() {
        let what = "the workspace has no plugins";
        let hint = "list their folders under members, such as plugins/*";
        return Err(Failure::user("no-members", what).at(shown).hint(hint));
    }
    let more = listed(root, &found.visited, &found.members);
    arranged.listed.extend(more);
    let source = |place| Source {
        workspace: root.to_owned(),
        place,
        config: None,
    };
    arranged.sources = found.members.into_iter().map(source).collect();
    Ok(arranged)
}

/// The folders that were listed, without those that the ignore rules hide, unless members lie
/// there.
fn listed(root: &Path, visited: &[String], members: &[String]) -> BTreeSet<PathBuf> {
    let leads: BTreeSet<&Path> = members
        .iter()
        .flat_map(|member| Path::new(member).ancestors())
        .collect();
    let mut levels = HashMap::new();
    let shown = visited.iter().filter(|place| {
        if leads.contains(Path::new(place.as_str())) || place.is_empty() {
            return true;
        }
        let parent = place.rsplit_once('/').map_or("", |(parent, _)| parent);
        let levels = levels.entry(parent).or_insert_with(|| {
            // Those of the folder itself as well: they lie above what is in it.
            fileset::outer_levels(root, &join(parent, "-")).unwrap_or_default()
        });
        decide(levels, place, place, true) == Verdict::Keep
    });
    shown.map(|place| root.join(place)).collect()
}

/// The workspace file, and its digest.
fn read(root: &Path, path: &Path, shown: &str) -> Result<(Workspace, Digest), Failure> {
    let bytes = read_regular(path).map_err(|error| {
        Failure::user("unreadable", format!("cannot read {shown}: {error}"))
            .at(shown)
            .hint("put it back, or start again elsewhere")
    })?;
    let parsed = workspace::parse(&bytes, shown, root);
    if let Some(failure) = plugin::diagnostics_failure(&parsed.diagnostics) {
        return Err(failure);
    }
    let model = parsed
        .workspace
        .ok_or_else(|| Failure::bug("a workspace without errors was refused"))?;
    Ok((model, Digest::of(&bytes)))
}
