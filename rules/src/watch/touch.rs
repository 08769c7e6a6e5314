//! Owns [`Touch`]: what an event is about. Paths that the ignore rules hide are about nothing.

use std::{
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
};

use crate::{
    fileset::{
        self,
        ignores::{IGNORE_FILES, Level, Verdict, decide},
    },
    plugin::CONFIG_NAMES,
    resolve, workspace,
};

/// Files in a plugin's folder that decide what an action runs in, also where an archive leaves
/// them out.
pub(super) const RUN_FILES: &[&str] =
    &[resolve::lock::FILE, resolve::requirements::FILE, PYPROJECT];

const PYPROJECT: &str = "pyproject.toml";

/// What to look at again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Touch {
    /// Which plugins and libraries there are.
    Members,
    /// The plugin at this place of the workspace.
    Plugin(String),
    /// The library at this place.
    Library(String),
    /// A file that lies anywhere.
    Loose(PathBuf),
    /// All of it: events were lost.
    Everything,
}

/// Which path is about what.
#[derive(Default)]
pub(super) struct Map {
    /// The workspace's root.
    pub(super) root: PathBuf,
    /// Folders of plugins and libraries, whole paths.
    pub(super) subjects: HashMap<PathBuf, Vec<Touch>>,
    /// Folders whose listings decide which members there are.
    pub(super) listed: BTreeSet<PathBuf>,
    /// Single files, and what they are about.
    pub(super) singles: HashMap<PathBuf, Vec<Touch>>,
    /// Ignore files from the root down to a folder, as far as they were read.
    levels: HashMap<PathBuf, Vec<Level>>,
}

impl Map {
    /// What an event at `path` is about.
    pub(super) fn touches(&mut self, path: &Path) -> Vec<Touch> {
        let mut touches = self.singles.get(path).cloned().unwrap_or_default();
        let name = path.file_name().and_then(|name| name.to_str());
        let Some((parent, name)) = path.parent().zip(name) else {
            return touches;
        };
        if IGNORE_FILES.contains(&name) {
            self.levels.clear();
            let below = self.subjects.iter();
            let below = below.filter(|(folder, _)| folder.starts_with(parent));
            touches.extend(below.flat_map(|(_, own)| own.clone()));
        }
        let marks = name == PYPROJECT || CONFIG_NAMES.contains(&name);
        let decides = |map: &Self| {
            let folder = || map.listed.contains(path) || map.subjects.contains_key(path);
            map.listed.contains(parent) && (marks || folder() || path.is_dir())
        };
        if (parent == self.root && name == workspace::FILE)
            || self.listed.contains(path)
            || decides(self)
        {
            touches.push(Touch::Members);
        }
        for folder in path.ancestors() {
            let Some(own) = self.subjects.get(folder).cloned() else {
                continue;
            };
            if folder == path || self.counts(folder, path, parent, name) {
                touches.extend(own);
            }
        }
        touches
    }

    /// Whether a path below a subject's folder can change the subject.
    fn counts(&mut self, subject: &Path, path: &Path, parent: &Path, name: &str) -> bool {
        let is_wheel = Path::new(name).extension().is_some_and(|end| end == "whl");
        let steers = IGNORE_FILES.contains(&name)
            || (parent == subject && (CONFIG_NAMES.contains(&name) || RUN_FILES.contains(&name)));
        if is_wheel || steers {
            return true;
        }
        let relative = |from: &Path| {
            let rest = path.strip_prefix(from).ok()?;
            rest.to_str().map(str::to_owned)
        };
        let (Some(place), Some(own)) = (relative(&self.root), relative(subject)) else {
            return true;
        };
        let levels = self.levels(parent);
        let keeps = |is_dir| decide(levels, &place, &own, is_dir) == Verdict::Keep;
        match path.symlink_metadata() {
            Ok(meta) => keeps(meta.is_dir()),
            // Gone: whatever it was.
            Err(_) => keeps(false) || keeps(true),
        }
    }

    fn levels(&mut self, folder: &Path) -> &[Level] {
        let root = &self.root;
        self.levels.entry(folder.to_owned()).or_insert_with(|| {
            let place = folder.strip_prefix(root).unwrap_or(Path::new(""));
            let place = place.to_str().unwrap_or_default();
            // Those of the folder itself as well: they lie above what is in it.
            let inner = if place.is_empty() {
                "-".to_owned()
            } else {
                format!("{place}/-")
            };
            fileset::outer_levels(root, &inner).unwrap_or_default()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn events_are_about_plugins_or_about_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write(".gitignore", "*.tmp\n");
        write("plugins/a/.synapseignore", "secret/\n");
        write("plugins/a/plugin/train.py", "");
        write("plugins/new/x", "");
        let plugin = |name: &str| Touch::Plugin(format!("plugins/{name}"));
        let mut map = Map {
            root: root.to_owned(),
            listed: ["", "plugins", "plugins/a", "plugins/b"]
                .map(|own| root.join(own))
                .into(),
            ..Map::default()
        };
        for name in ["a", "b"] {
            let own = root.join("plugins").join(name);
            map.subjects.insert(own, vec![plugin(name)]);
        }
        let params = root.join("params.json");
        map.singles
            .insert(params.clone(), vec![Touch::Loose(params.clone())]);
        let mut about = |path: &str| {
            let mut touches = map.touches(&root.join(path));
            touches.sort();
            touches.dedup();
            touches
        };
        for path in [
            "plugins/a/plugin/train.py",
            "plugins/a/plugin/gone.py",
            "plugins/a/deep/new",
            "plugins/a/requirements.txt",
            "plugins/a/wheels/x.whl",
        ] {
            assert_eq!(about(path), [plugin("a")], "{path}");
        }
        for path in [
            "plugins/a/plugin/train.tmp",
            "plugins/a/plugin/.train.py.swp",
            "plugins/a/plugin/__pycache__",
            "plugins/a/plugin/train.py~",
            "plugins/a/run.log",
            "plugins/other.txt",
            "README.md",
        ] {
            assert_eq!(about(path), [], "{path}");
        }
        assert_eq!(
            about("plugins/a/config.yaml"),
            [Touch::Members, plugin("a")]
        );
        assert_eq!(about("plugins/new"), [Touch::Members]);
        assert_eq!(about("plugins/a"), [Touch::Members, plugin("a")]);
        assert_eq!(about(workspace::FILE), [Touch::Members]);
        assert_eq!(about(".gitignore"), [plugin("a"), plugin("b")]);
        assert_eq!(about("plugins/b/.synapseignore"), [plugin("b")]);
        assert_eq!(about("params.json"), [Touch::Loose(params)]);
        // The rules are read again once they change.
        assert_eq!(about("plugins/b/x.tmp"), []);
        write(".gitignore", "");
        about(".gitignore");
        assert_eq!(about("plugins/b/x.tmp"), [plugin("b")]);
    }
}
