//! Owns libraries: Python packages of a workspace that its plugins share. Each is built to a wheel
//! once for its state, and the wheel goes into the archives of the plugins that need it.

mod build;
mod load;
pub mod needs;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, OnceLock},
};

use synapse_engine::{Digest, Failure, Session, index::Section};

pub use self::load::{Built, Library};
use crate::{
    counters::Counters,
    plugin::{Bundled, Plugin, Trust},
    publish::{Stage, Workspace},
    wheel::Wheels,
};

/// The libraries of a workspace, during one command.
pub struct Libraries {
    /// How they are built.
    pub wheels: Wheels,
    /// Their folders, relative to the workspace.
    pub places: Vec<String>,
    /// Their name, and what is known of each.
    loaded: OnceLock<Result<BTreeMap<String, Library>, Failure>>,
    built: std::sync::Mutex<BTreeMap<String, Result<Built, Failure>>>,
}

/// What the wheels of libraries made of a plugin.
pub struct Fitted {
    /// The plugin with them.
    pub plugin: Plugin,
    /// The builds that it took.
    pub stages: Vec<Stage>,
}

impl Libraries {
    /// Those in the folders at `places`.
    pub fn new(wheels: Wheels, places: Vec<String>) -> Self {
        Self {
            wheels,
            places,
            loaded: OnceLock::new(),
            built: std::sync::Mutex::default(),
        }
    }

    fn all(
        &self,
        workspace: &Workspace,
        root: &Path,
        counters: &Counters,
        now: i64,
    ) -> Result<&BTreeMap<String, Library>, Failure> {
        let load = || {
            let mut all: BTreeMap<String, Library> = BTreeMap::new();
            for place in &self.places {
                let library =
                    load::load(root, place, &workspace.index, Trust::Stat, now, counters)?;
                if let Some(twin) = all.get(&library.head.name) {
                    let what = format!(
                        "{} is the name of two libraries: {} and {place}",
                        library.head.name, twin.place
                    );
                    let file = root.join(place).join("pyproject.toml");
                    return Err(Failure::user("library", what)
                        .at(file.display().to_string())
                        .hint("give each its own name"));
                }
                all.insert(library.head.name.clone(), library);
            }
            Ok(all)
        };
        self.loaded.get_or_init(load).as_ref().map_err(Clone::clone)
    }

    /// The libraries that a plugin needs, those that they need included.
    fn wanted<'l>(all: &'l BTreeMap<String, Library>, needs: &[String]) -> Vec<&'l Library> {
        let mut found: BTreeSet<&str> = BTreeSet::new();
        let mut open: Vec<&str> = needs.iter().map(String::as_str).collect();
        while let Some(name) = open.pop() {
            let Some((name, library)) = all.get_key_value(name) else {
                continue;
            };
            if found.insert(name) {
                open.extend(library.head.needs.iter().map(String::as_str));
            }
        }
        found.into_iter().filter_map(|name| all.get(name)).collect()
    }

    /// A plugin with the wheels of the libraries that it needs, built where that was not done for
    /// their state; nothing when it needs none. `seen` takes what the index should keep of them.
    pub fn fit(
        &self,
        plugin: &Plugin,
        workspace: &Workspace,
        session: &Session,
        (counters, now): (&Counters, i64),
        seen: &mut dyn FnMut(String, Section),
    ) -> Result<Option<Fitted>, Failure> {
        if plugin.head.needs.is_empty() || !plugin.bundled.is_empty() {
            return Ok(None);
        }
        let all = self.all(workspace, &plugin.source.workspace, counters, now)?;
        let wanted = Self::wanted(all, &plugin.head.needs);
        if wanted.is_empty() {
            return Ok(None);
        }
        let (mut wheels, mut stages) = (Vec::new(), Vec::new());
        for library in wanted {
            let (built, own) = self.built(library, session, seen)?;
            stages.extend(own);
            wheels.push(Bundled {
                path: format!("{}/{}", plugin.head.wheels_dir, built.file),
                digest: built.digest,
                size: built.size,
            });
        }
        Ok(Some(Fitted {
            plugin: plugin.with_bundled(wheels),
            stages,
        }))
    }

    fn built(
        &self,
        library: &Library,
        session: &Session,
        seen: &mut dyn FnMut(String, Section),
    ) -> Result<(Built, Vec<Stage>), Failure> {
        let mut done = self
            .built
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(built) = done.get(&library.head.name) {
            return Ok((built.clone()?, Vec::new()));
        }
        let known = library.head.built.clone();
        let known = known.filter(|own| session.store.has_blob(&own.digest, own.size));
        let (built, stages) = match known {
            Some(built) => (Ok(built), Vec::new()),
            None => match build::build(library, &self.wheels, session) {
                Ok((built, stages)) => (Ok(built), stages),
                Err(failure) => (Err(failure), Vec::new()),
            },
        };
        done.insert(library.head.name.clone(), built.clone());
        let built = built?;
        if library.fresh || library.head.built.as_ref() != Some(&built) {
            seen(load::key(&library.place), library.kept(&built)?);
        }
        Ok((built, stages))
    }
}

/// A digest of what decides about a library besides its files.
pub(crate) fn guard(parts: impl Iterator<Item = Digest>) -> Digest {
    use synapse_engine::{StableHash, StableHasher};
    let mut hasher = StableHasher::new("synapse.library.guard");
    parts.collect::<Vec<_>>().stable_hash(&mut hasher);
    hasher.finish()
}

/// Shares libraries between the rounds of a publish.
pub type Shared = Arc<Libraries>;
