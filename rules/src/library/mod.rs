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

use synapse_engine::{
    Digest, Failure, Session, Store,
    index::{Index, Section},
};

pub use self::load::{Built, Library};
use crate::{
    counters::Counters,
    plugin::{Bundled, Plugin, Trust},
    publish::{Stage, Workspace},
    resolve::desk::disk,
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
            let folder = plugin.head.wheels_dir.split('/');
            let folder = folder.filter(|part| !matches!(*part, "" | "."));
            let path: Vec<&str> = folder.chain([built.file.as_str()]).collect();
            wheels.push(Bundled {
                path: path.join("/"),
                digest: built.digest,
                size: built.size,
                source: None,
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

/// The library at `place` of the workspace at `root` as it is now, or why it is none.
pub fn look(
    root: &Path,
    place: &str,
    index: &Index,
    now: i64,
    counters: &Counters,
) -> Result<Library, Failure> {
    load::load(root, place, index, Trust::Stat, now, counters)
}

/// Where the index keeps the library at `place`.
pub fn index_key(place: &str) -> String {
    load::key(place)
}

/// The plugin with its libraries' wheels under their own names in `folder`, where installers find
/// them.
pub fn laid_out(plugin: &Plugin, store: &dyn Store, folder: &Path) -> Result<Plugin, Failure> {
    let failed = |error: std::io::Error| disk("cannot lay out the wheels of libraries", &error);
    let mut bundled = plugin.bundled.as_ref().clone();
    for own in &mut bundled {
        let file = own.path.rsplit('/').next().unwrap_or_default();
        let place = folder.join(&own.digest.hex()[..32]);
        let path = place.join(file);
        if std::fs::metadata(&path).is_ok_and(|found| found.len() == own.size) {
            own.source = Some(path);
            continue;
        }
        let blob = store.open_blob(&own.digest);
        let blob = blob.map_err(|error| synapse_engine::store_failure(&error))?;
        let blob = blob.ok_or_else(|| Failure::missing_blob(own.digest))?;
        std::fs::create_dir_all(&place).map_err(failed)?;
        // Half a copy must not be taken for it.
        let scratch = tempfile::tempdir_in(&place).map_err(failed)?;
        let aside = scratch.path().join(file);
        std::fs::copy(&blob.path, &aside).map_err(failed)?;
        std::fs::rename(&aside, &path).map_err(failed)?;
        own.source = Some(path);
    }
    let mut plugin = plugin.clone();
    plugin.bundled = Arc::new(bundled);
    Ok(plugin)
}

/// A digest of what decides about a library besides its files.
pub(crate) fn guard(parts: impl Iterator<Item = Digest>) -> Digest {
    use synapse_engine::{StableHash, StableHasher};
    let mut hasher = StableHasher::new("synapse.library.guard");
    parts.collect::<Vec<_>>().stable_hash(&mut hasher);
    hasher.finish()
}
