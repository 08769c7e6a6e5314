//! Owns [`Ground`]: the plugins, libraries and files that a watch is about, the folders in which
//! they lie, and what of it is different now.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, btree_map::Entry},
    path::{Path, PathBuf},
    sync::Arc,
};

use rayon::prelude::*;
use synapse_engine::{
    DirtyReason, Failure, Files,
    index::{Index, Section},
};

use super::{
    members::{Arranged, Scope, arrange},
    seen::{self, Seen},
    survey::survey,
    touch::{Map, RUN_FILES, Touch},
};
use crate::{
    counters::Counters,
    library,
    plugin::{self, Above, CONFIG_NAMES, Source, Trust},
    workspace,
};

/// What a watch is about.
pub struct Setting {
    /// The workspace's root, or the plugin when there is none.
    pub root: PathBuf,
    /// Which plugins.
    pub scope: Scope,
    /// Files elsewhere that count for all of them, and what they are called.
    pub loose: Vec<(PathBuf, String)>,
    /// What an action runs in counts too, where archives leave it out.
    pub runs: bool,
    /// The workspace's index.
    pub index: Index,
    /// Counts of work.
    pub counters: Arc<Counters>,
    /// Nanoseconds since 1970.
    pub now: fn() -> i64,
}

/// A plugin that is not what it was.
#[derive(Debug, Clone)]
pub struct Change {
    /// Where it is.
    pub source: Source,
    /// Its code, or its folder's name while that is not known.
    pub subject: String,
    /// What changed; nothing where that cannot be told.
    pub reasons: Vec<DirtyReason>,
}

/// What is different.
#[derive(Debug, Clone, Default)]
pub struct News {
    /// Plugins to do again.
    pub changes: Vec<Change>,
    /// Plugins that must be done with them, since they share a code.
    pub twins: Vec<Source>,
    /// Places and names of plugins that are gone.
    pub gone: Vec<(String, String)>,
    /// The workspace cannot be read any more; those it had are watched on.
    pub trouble: Option<Failure>,
    /// It can be read again.
    pub mended: bool,
}

impl News {
    /// Nothing that anybody would want to know.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.gone.is_empty() && self.trouble.is_none() && !self.mended
    }

    /// Takes what was found right after as well.
    pub fn join(&mut self, later: Self) {
        for change in later.changes {
            let same = |own: &&mut Change| own.source.place == change.source.place;
            match self.changes.iter_mut().find(same) {
                Some(own) => own.reasons.extend(change.reasons),
                None => self.changes.push(change),
            }
        }
        self.twins.extend(later.twins);
        self.gone.extend(later.gone);
        self.mended |= later.mended;
        self.trouble = later.trouble.or(self.trouble.take());
    }
}

struct Watched {
    /// Of a plugin.
    source: Option<Source>,
    seen: Seen,
}

/// All that is watched.
pub struct Ground {
    setting: Setting,
    watched: BTreeMap<Touch, Watched>,
    map: Map,
    arranged: Arranged,
    trouble: Option<Failure>,
    folders: Arc<BTreeSet<PathBuf>>,
}

impl Ground {
    /// Finds out what there is, without reading any of it yet: [`Ground::folders`] are to be
    /// watched before that.
    pub fn open(setting: Setting) -> Result<Self, Failure> {
        let mut ground = Self {
            setting,
            watched: BTreeMap::new(),
            map: Map::default(),
            arranged: Arranged::default(),
            trouble: None,
            folders: Arc::default(),
        };
        let arranged = arrange(&ground.setting.root, &ground.setting.scope)?;
        ground.take_arranged(arranged);
        let (root, wanted) = (ground.setting.root.clone(), &mut ground.watched);
        let open: Vec<_> = wanted.iter_mut().collect();
        open.into_par_iter().for_each(|(touch, own)| {
            if let Touch::Plugin(place) | Touch::Library(place) = touch {
                own.seen.folders = survey(&root, place, false).folders;
            }
        });
        ground.spread();
        Ok(ground)
    }

    /// Reads all of it for the first time.
    pub fn begin(&mut self) {
        let all: Vec<Touch> = self.watched.keys().cloned().collect();
        for (touch, seen) in self.looks(&all) {
            if let Some(own) = self.watched.get_mut(&touch) {
                own.seen = seen;
            }
        }
        self.spread();
    }

    /// The folders to watch, each without what is below it.
    pub fn folders(&self) -> Arc<BTreeSet<PathBuf>> {
        Arc::clone(&self.folders)
    }

    /// What an event at `path` is about.
    pub fn touches(&mut self, path: &Path) -> Vec<Touch> {
        self.map.touches(path)
    }

    /// What lies in one of these folders, all of it.
    pub fn within(&self, folders: &BTreeSet<PathBuf>) -> BTreeSet<Touch> {
        let mut touches = BTreeSet::new();
        for folder in folders {
            if self.map.listed.contains(folder) {
                touches.insert(Touch::Members);
            }
            let own = folder.ancestors().find_map(|at| self.map.subjects.get(at));
            touches.extend(own.into_iter().flatten().cloned());
        }
        touches
    }

    /// All plugins, as they are found now.
    pub fn sources(&self) -> Vec<Source> {
        let sources = self.watched.values();
        sources.filter_map(|own| own.source.clone()).collect()
    }

    /// How many files count.
    pub fn files(&self) -> usize {
        self.watched.values().map(|own| own.seen.files.len()).sum()
    }

    /// Looks at what was touched; tells what is different.
    pub fn look(&mut self, touched: &BTreeSet<Touch>) -> News {
        let mut news = News::default();
        let mut changes: BTreeMap<String, Vec<DirtyReason>> = BTreeMap::new();
        let everything = touched.contains(&Touch::Everything);
        let mut fresh = BTreeSet::new();
        if everything || touched.contains(&Touch::Members) {
            match arrange(&self.setting.root, &self.setting.scope) {
                Ok(arranged) => {
                    news.mended = self.trouble.take().is_some();
                    self.workspace_changes(&arranged, &mut changes);
                    (fresh, news.gone) = self.take_arranged(arranged);
                }
                Err(failure) => {
                    let known = self.trouble.as_ref().map(|own| own.message.clone());
                    if known.as_ref() != Some(&failure.message) {
                        news.trouble = Some(failure.clone());
                    }
                    self.trouble = Some(failure);
                }
            }
        }
        let wanted = self.watched.keys();
        let wanted =
            wanted.filter(|own| everything || touched.contains(own) || fresh.contains(own));
        let wanted: Vec<Touch> = wanted.cloned().collect();
        let mut moved = everything || touched.contains(&Touch::Members);
        for (touch, now) in self.looks(&wanted) {
            let Some(own) = self.watched.get_mut(&touch) else {
                continue;
            };
            let before = std::mem::replace(&mut own.seen, now);
            let now = &own.seen;
            moved |= before.folders != now.folders;
            let reasons = if fresh.contains(&touch) {
                let new = now.subject.clone().unwrap_or_else(|| "a plugin".to_owned());
                let name = place_of(&touch);
                Some(vec![DirtyReason::InputChanged {
                    name,
                    old: None,
                    new: Some(new),
                }])
            } else {
                now.since(&before)
            };
            let Some(reasons) = reasons else { continue };
            match &touch {
                Touch::Plugin(place) => changes.entry(place.clone()).or_default().extend(reasons),
                Touch::Library(_) => {
                    let names = [before.subject, now.subject.clone()];
                    for place in self.users(&names) {
                        changes.entry(place).or_default().extend(reasons.clone());
                    }
                }
                _ => {
                    for place in self.places() {
                        changes.entry(place).or_default().extend(reasons.clone());
                    }
                }
            }
        }
        if moved {
            self.spread();
        }
        news.twins = self.twins(&changes);
        news.changes = changes
            .into_iter()
            .filter_map(|(place, reasons)| self.change(place, reasons))
            .collect();
        news
    }

    fn change(&self, place: String, reasons: Vec<DirtyReason>) -> Option<Change> {
        let own = self.watched.get(&Touch::Plugin(place))?;
        let source = own.source.clone()?;
        let mut told = Vec::with_capacity(reasons.len());
        // A file can count in two ways.
        for reason in reasons {
            if !told.contains(&reason) {
                told.push(reason);
            }
        }
        Some(Change {
            subject: name_of(&source, &own.seen),
            source,
            reasons: told,
        })
    }

    fn places(&self) -> Vec<String> {
        let places = self.watched.keys();
        places
            .filter_map(|touch| match touch {
                Touch::Plugin(place) => Some(place.clone()),
                _ => None,
            })
            .collect()
    }

    /// Plugins that need a library, perhaps by way of others.
    fn users(&self, names: &[Option<String>]) -> Vec<String> {
        let libraries: HashMap<&str, &[String]> = self
            .watched
            .iter()
            .filter(|(touch, _)| matches!(touch, Touch::Library(_)))
            .filter_map(|(_, own)| Some((own.seen.subject.as_deref()?, own.seen.needs.as_slice())))
            .collect();
        let uses = |own: &Watched| {
            let mut open: Vec<&str> = own.seen.needs.iter().map(String::as_str).collect();
            let mut done = BTreeSet::new();
            while let Some(name) = open.pop() {
                if names.iter().flatten().any(|own| own == name) {
                    return true;
                }
                if done.insert(name) {
                    let more = libraries.get(name).copied().unwrap_or_default();
                    open.extend(more.iter().map(String::as_str));
                }
            }
            false
        };
        let own = self.watched.iter();
        own.filter_map(|(touch, own)| match touch {
            Touch::Plugin(place) if uses(own) => Some(place.clone()),
            _ => None,
        })
        .collect()
    }

    /// Plugins that share a code with one that changed.
    fn twins(&self, changes: &BTreeMap<String, Vec<DirtyReason>>) -> Vec<Source> {
        let changed = changes.keys().filter_map(|place| {
            let own = self.watched.get(&Touch::Plugin(place.clone()))?;
            own.seen.subject.clone()
        });
        let changed: BTreeSet<String> = changed.collect();
        let own = self.watched.values();
        own.filter(|own| {
            let same = own.seen.subject.as_ref();
            same.is_some_and(|subject| changed.contains(subject))
        })
        .filter_map(|own| own.source.clone())
        .filter(|source| !changes.contains_key(&source.place))
        .collect()
    }

    /// What the workspace file changes for plugins that it leaves where they are: object stores
    /// for all of them, libraries for those that need them.
    fn workspace_changes(&self, now: &Arranged, changes: &mut BTreeMap<String, Vec<DirtyReason>>) {
        let old = &self.arranged;
        let (Some(before), Some(after)) = (old.digest, now.digest) else {
            return;
        };
        let gone = |own: &&String| !now.libraries.contains(own);
        let gone = old.libraries.iter().filter(gone);
        let mut names: Vec<Option<String>> = Vec::new();
        for place in gone {
            let own = self.watched.get(&Touch::Library(place.clone()));
            names.push(own.and_then(|own| own.seen.subject.clone()));
        }
        let places = if old.storage == now.storage {
            self.users(&names)
        } else {
            self.places()
        };
        let reason = DirtyReason::FileChanged {
            path: workspace::FILE.to_owned(),
            old: before.short(),
            new: after.short(),
        };
        for place in places {
            changes.entry(place).or_default().push(reason.clone());
        }
    }

    /// Takes what was found: returns what is new, and the places and names of plugins that are
    /// gone.
    fn take_arranged(&mut self, arranged: Arranged) -> (BTreeSet<Touch>, Vec<(String, String)>) {
        let mut wanted: BTreeMap<Touch, Option<Source>> = BTreeMap::new();
        for source in &arranged.sources {
            wanted.insert(Touch::Plugin(source.place.clone()), Some(source.clone()));
        }
        let libraries = arranged.libraries.iter().cloned().map(Touch::Library);
        wanted.extend(libraries.map(|touch| (touch, None)));
        let loose = self.setting.loose.iter();
        wanted.extend(loose.map(|(path, _)| (Touch::Loose(path.clone()), None)));
        let mut gone = Vec::new();
        self.watched.retain(|touch, own| {
            let stays = wanted.contains_key(touch);
            if let (false, Some(source)) = (stays, &own.source) {
                gone.push((source.place.clone(), name_of(source, &own.seen)));
            }
            stays
        });
        let mut fresh = BTreeSet::new();
        for (touch, source) in wanted {
            if let Entry::Vacant(free) = self.watched.entry(touch) {
                fresh.insert(free.key().clone());
                let seen = Seen::default();
                free.insert(Watched { source, seen });
            }
        }
        self.arranged = arranged;
        (fresh, gone)
    }

    /// Works out which folders are to be watched, and what is about whom.
    fn spread(&mut self) {
        let root = &self.setting.root;
        let mut folders: BTreeSet<PathBuf> = self.arranged.listed.clone();
        folders.insert(root.clone());
        self.map.root.clone_from(root);
        self.map.listed.clone_from(&self.arranged.listed);
        self.map.subjects.clear();
        self.map.singles.clear();
        let mut single = |path: &Path, touch: &Touch| {
            let own = self.map.singles.entry(path.to_owned()).or_default();
            own.push(touch.clone());
            path.parent().map(Path::to_owned)
        };
        for (touch, own) in &self.watched {
            folders.extend(own.seen.folders.iter().cloned());
            let place = match touch {
                Touch::Plugin(place) | Touch::Library(place) => place,
                Touch::Loose(path) => {
                    folders.extend(single(path, touch));
                    continue;
                }
                Touch::Members | Touch::Everything => continue,
            };
            let config = own
                .source
                .as_ref()
                .and_then(|source| source.config.as_ref());
            folders.extend(config.and_then(|path| single(path, touch)));
            let folder = if place.is_empty() {
                root.clone()
            } else {
                root.join(place)
            };
            // Ignore files above it count, and that it comes back where it is gone.
            let above = folder.ancestors().skip(1);
            folders.extend(
                above
                    .take_while(|at| at.starts_with(root))
                    .map(Path::to_owned),
            );
            folders.extend(folder.parent().map(Path::to_owned));
            let subjects = self.map.subjects.entry(folder).or_default();
            subjects.push(touch.clone());
        }
        if folders != *self.folders {
            self.folders = Arc::new(folders);
        }
    }

    /// Looks at some of it, many at once.
    fn looks(&mut self, wanted: &[Touch]) -> Vec<(Touch, Seen)> {
        let (above, now) = (Above::default(), (self.setting.now)());
        let look = |touch: &Touch| {
            let own = self.watched.get(touch)?;
            let (seen, section) = self.look_at(touch, own, &above, now);
            Some((touch.clone(), seen, section))
        };
        let looked: Vec<_> = if wanted.len() == 1 {
            wanted.iter().filter_map(look).collect()
        } else {
            wanted.par_iter().with_min_len(8).filter_map(look).collect()
        };
        let mut all = Vec::with_capacity(looked.len());
        for (touch, seen, section) in looked {
            if let Some((key, section)) = section {
                self.setting.index.put(&key, section);
            }
            all.push((touch, seen));
        }
        all
    }

    fn look_at(
        &self,
        touch: &Touch,
        own: &Watched,
        above: &Above,
        now: i64,
    ) -> (Seen, Option<(String, Section)>) {
        let Setting {
            root,
            index,
            counters,
            ..
        } = &self.setting;
        match (touch, &own.source) {
            (Touch::Plugin(place), Some(source)) => {
                match plugin::load(source, index, above, Trust::Stat, now, counters) {
                    Ok(plugin) => {
                        let mut files = seen::entries("", plugin.section.load());
                        if let Some(config) = &source.config {
                            let shown = config.display().to_string();
                            files.extend(seen::single(config, &shown));
                        }
                        self.steered(&source.folder(), &mut files);
                        let seen = Seen {
                            files,
                            failure: None,
                            folders: folders_of(&source.folder(), &plugin.section),
                            subject: Some(plugin.subject()),
                            needs: plugin.head.needs.clone(),
                        };
                        // An override's files are no state of the plugin itself.
                        let keep = plugin.fresh && source.config.is_none();
                        (seen, keep.then(|| (place.clone(), plugin.section)))
                    }
                    Err(failure) => (self.broken(place, failure, &own.seen), None),
                }
            }
            (Touch::Library(place), _) => match library::look(root, place, index, now, counters) {
                Ok(library) => {
                    let prefix = format!("{place}/");
                    let seen = Seen {
                        files: seen::entries(&prefix, library.section.load()),
                        failure: None,
                        folders: folders_of(&library.folder, &library.section),
                        subject: Some(library.head.name.clone()),
                        needs: library.head.needs.clone(),
                    };
                    let key = library::index_key(place);
                    (seen, library.fresh.then_some((key, library.section)))
                }
                Err(failure) => {
                    let mut seen = self.broken(place, failure, &own.seen);
                    let named = |(path, file)| (format!("{place}/{path}"), file);
                    seen.files = seen.files.into_iter().map(named).collect();
                    (seen, None)
                }
            },
            (Touch::Loose(path), _) => {
                let mut loose = self.setting.loose.iter();
                let shown = loose.find(|(own, _)| own == path);
                let shown = shown.map(|(_, shown)| shown.as_str()).unwrap_or_default();
                let files = seen::single(path, shown);
                let seen = Seen {
                    files,
                    ..Seen::default()
                };
                (seen, None)
            }
            _ => (Seen::default(), None),
        }
    }

    /// What there is of a subject that cannot be loaded.
    fn broken(&self, place: &str, failure: Failure, before: &Seen) -> Seen {
        let found = survey(&self.setting.root, place, true);
        let mut files = found.files;
        self.steered(&self.setting.root.join(place), &mut files);
        Seen {
            files,
            failure: Some(failure),
            folders: found.folders,
            subject: before.subject.clone(),
            needs: before.needs.clone(),
        }
    }

    /// Adds what an action runs in.
    fn steered(&self, folder: &Path, files: &mut seen::Files) {
        for name in RUN_FILES.iter().filter(|_| self.setting.runs) {
            if !files.contains_key(*name) {
                files.extend(seen::single(&folder.join(name), name));
            }
        }
    }
}

fn folders_of(folder: &Path, section: &Section) -> BTreeSet<PathBuf> {
    let own = section.folder_paths().map(|path| match path {
        "" => folder.to_owned(),
        path => folder.join(path),
    });
    own.collect()
}

/// What a plugin is called.
fn name_of(source: &Source, seen: &Seen) -> String {
    let named = |name: &std::ffi::OsStr| name.to_string_lossy().into_owned();
    let folder = || source.folder().file_name().map(named).unwrap_or_default();
    seen.subject.clone().unwrap_or_else(folder)
}

fn place_of(touch: &Touch) -> String {
    match touch {
        Touch::Plugin(place) | Touch::Library(place) if !place.is_empty() => place.clone(),
        Touch::Loose(path) => path.display().to_string(),
        _ => CONFIG_NAMES[0].to_owned(),
    }
}
