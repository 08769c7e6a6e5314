//! Owns [`Modules`], a plugin's own Python files as modules, and the following of names through
//! their imports: relative ones, re-exports of packages, aliases, `import *`.

use std::collections::{BTreeMap, HashMap};

use super::{
    sdk,
    source::{Bound, Module, Value},
};

/// Imports followed for one name; more go in a circle.
const MAX_STEPS: usize = 40;

/// A class or function: module and place in it.
pub(super) type Place = (usize, usize);

/// What a name turns out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// A class of the plugin.
    Class(Place),
    /// A function of the plugin.
    Function(Place),
    /// Something of the SDK, by its dotted path.
    Sdk(String),
    /// A module, by its dotted name.
    Module(String),
    /// A value assigned in this module.
    Value(usize, Value),
    /// Something that is not the plugin's, by its dotted path.
    Foreign(String),
    /// The plugin does not have it.
    Missing,
    /// It cannot be told without running it; why.
    Unclear(String),
}

/// The plugin's modules.
#[derive(Debug)]
pub(super) struct Modules {
    pub(super) list: Vec<Module>,
    by_name: HashMap<String, usize>,
}

/// Module name of a file, and whether it is a package; `None` when nothing can import it.
fn module_name(path: &str) -> Option<(String, bool)> {
    let stem = path.strip_suffix(".py")?;
    let (stem, package) = match stem.strip_suffix("/__init__") {
        Some(stem) => (stem, true),
        None => (stem, false),
    };
    let name = |part: &str| {
        let mut chars = part.chars();
        chars.next().is_some_and(|c| c == '_' || c.is_alphabetic())
            && chars.all(|c| c == '_' || c.is_alphanumeric())
    };
    (stem != "__init__" && stem.split('/').all(name)).then(|| (stem.replace('/', "."), package))
}

impl Modules {
    /// Reads all sources: path in the plugin to text.
    pub(super) fn new(sources: &BTreeMap<String, String>) -> Self {
        let mut list = Vec::with_capacity(sources.len());
        let mut by_name: HashMap<String, usize> = HashMap::with_capacity(sources.len());
        for (path, text) in sources {
            let Some((name, package)) = module_name(path) else {
                continue;
            };
            // A package hides a module of its name.
            if package || !by_name.contains_key(&name) {
                by_name.insert(name.clone(), list.len());
            }
            list.push(Module::parse(path, &name, package, text));
        }
        Self { list, by_name }
    }

    /// Whether importing the module's name gives this very file.
    pub(super) fn is_importable(&self, index: usize) -> bool {
        self.by_name.get(&self.list[index].name) == Some(&index)
    }

    fn is_package(&self, name: &str) -> bool {
        let inside = |own: &String| {
            own.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with('.'))
        };
        self.by_name.keys().any(inside)
    }

    fn is_own(&self, module: &str) -> bool {
        let top = module.split('.').next().unwrap_or(module);
        self.by_name.contains_key(top) || self.is_package(top)
    }

    /// A module by its dotted name.
    pub(super) fn module(&self, name: &str) -> Option<&Module> {
        self.by_name.get(name).map(|index| &self.list[*index])
    }

    /// What `name` of the module called `module` is.
    pub(super) fn lookup(&self, module: &str, name: &str) -> Target {
        self.find(module, name, 0)
    }

    fn submodule(&self, module: &str, name: &str) -> Option<Target> {
        let full = format!("{module}.{name}");
        (self.by_name.contains_key(&full) || self.is_package(&full)).then_some(Target::Module(full))
    }

    fn find(&self, module: &str, name: &str, steps: usize) -> Target {
        if steps > MAX_STEPS {
            return Target::Unclear(format!("the imports of {name} go in a circle"));
        }
        let Some(index) = self.by_name.get(module).copied() else {
            return if self.is_own(module) {
                self.submodule(module, name).unwrap_or(Target::Missing)
            } else if sdk::is_own(module) {
                Target::Sdk(format!("{module}.{name}"))
            } else {
                Target::Foreign(format!("{module}.{name}"))
            };
        };
        let own = &self.list[index];
        if let Some(why) = &own.broken {
            return Target::Unclear(format!("{}: {why}", own.path));
        }
        match own.names.get(name) {
            Some(Bound::Module(module)) => Target::Module(module.clone()),
            Some(Bound::From { module, name }) => self.find(module, name, steps + 1),
            Some(Bound::Class(at)) => Target::Class((index, *at)),
            Some(Bound::Function(at)) => Target::Function((index, *at)),
            Some(Bound::Value(Value::Path(path))) => self.path_from(index, path, steps + 1),
            Some(Bound::Value(value)) => Target::Value(index, value.clone()),
            Some(Bound::Unclear) => Target::Unclear(format!(
                "{name} of {} depends on what happens at run time",
                own.path
            )),
            None => self.unbound(index, name, steps),
        }
    }

    /// A name that a module does not bind itself.
    fn unbound(&self, index: usize, name: &str, steps: usize) -> Target {
        let own = &self.list[index];
        let mut foreign = None;
        for star in own.stars.iter().rev() {
            if sdk::is_own(star) {
                let path = format!("{star}.{name}");
                if sdk::base(&path).is_some()
                    || sdk::data_type(&path).is_some()
                    || sdk::is_action(&path)
                {
                    return Target::Sdk(path);
                }
            } else if self.is_own(star) {
                let hidden = match self.module(star).map(|module| &module.exports) {
                    Some(Some(exports)) => !exports.iter().any(|own| own == name),
                    _ => name.starts_with('_'),
                };
                if hidden {
                    continue;
                }
                match self.find(star, name, steps + 1) {
                    Target::Missing => {}
                    found => return found,
                }
            } else {
                foreign = Some(star);
            }
        }
        if let Some(module) = self.submodule(&own.name, name) {
            return module;
        }
        match foreign {
            _ if own.unseen => Target::Unclear(format!("{} makes its names at run time", own.path)),
            Some(star) => Target::Unclear(format!(
                "{} takes its names from {star}, which inspection does not follow",
                own.path
            )),
            None => Target::Missing,
        }
    }

    /// What a dotted path means inside a module.
    pub(super) fn path(&self, index: usize, path: &[String]) -> Target {
        self.path_from(index, path, 0)
    }

    fn path_from(&self, index: usize, path: &[String], steps: usize) -> Target {
        let Some((first, rest)) = path.split_first() else {
            return Target::Missing;
        };
        let mut found = self.find(&self.list[index].name, first, steps);
        for name in rest {
            found = match found {
                Target::Module(module) => self.find(&module, name, steps + 1),
                Target::Sdk(path) => Target::Sdk(format!("{path}.{name}")),
                Target::Foreign(path) => Target::Foreign(format!("{path}.{name}")),
                Target::Missing => return Target::Missing,
                _ => return Target::Unclear(format!("{} is an attribute", path.join("."))),
            };
        }
        // `import synapse_sdk.plugins as plugins`.
        match found {
            Target::Module(module) if sdk::is_own(&module) && !self.is_own(&module) => {
                Target::Sdk(module)
            }
            found => found,
        }
    }

    /// The text that a value is, constants followed.
    pub(super) fn text(&self, index: usize, value: &Value) -> Option<String> {
        match value {
            Value::Text(text) => Some(text.clone()),
            Value::Path(path) => match self.path(index, path) {
                Target::Value(_, Value::Text(text)) => Some(text),
                _ => None,
            },
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modules(files: &[(&str, &str)]) -> Modules {
        let own = files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
        Modules::new(&own.collect())
    }

    /// What `name` of `m` is, in short, in a plugin of a few modules.
    fn found(text: &str, name: &str) -> String {
        let all = modules(&[
            ("m.py", text),
            (
                "p/__init__.py",
                "from .base import Base as Root\nfrom . import deep\n__all__ = ['Root']",
            ),
            (
                "p/base.py",
                "class Base: pass\nclass _Hidden: pass\nNAME = 'n'\n",
            ),
            (
                "p/deep/inner.py",
                "from ..base import *\nfrom ...m import Circle\nfrom p import Root\n",
            ),
            ("p/odd.py", "def __getattr__(name): ...\n"),
            ("p/broken.py", "class A(:\n"),
        ]);
        match all.lookup("m", name) {
            Target::Class((module, at)) => {
                format!(
                    "{}:{}",
                    all.list[module].name, all.list[module].classes[at].name
                )
            }
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn names_are_followed() {
        for (text, name, expected) in [
            ("class A: pass", "A", "m:A"),
            ("class A: pass\nB = A", "B", "m:A"),
            ("from p import Root", "Root", "p.base:Base"),
            ("from p.base import Base as X", "X", "p.base:Base"),
            ("import p.base\nX = p.base.Base", "X", "p.base:Base"),
            ("import p.base as b\nX = b.Base", "X", "p.base:Base"),
            ("from p import base\nX = base.Base", "X", "p.base:Base"),
            ("from p.base import *", "Base", "p.base:Base"),
            ("from p.base import *", "_Hidden", "Missing"),
            ("from p import *", "Root", "p.base:Base"),
            ("from p import *", "deep", "Missing"),
            ("from p.deep.inner import Base", "Base", "p.base:Base"),
            ("from p.deep.inner import Root", "Root", "p.base:Base"),
            (
                "try:\n  from p.base import Base\nexcept ImportError:\n  Base = None",
                "Base",
                "p.base:Base",
            ),
            (
                "if TYPE_CHECKING:\n  from x import A\nelse:\n  class A: pass",
                "A",
                "m:A",
            ),
            ("class A: pass\nclass A: pass", "A", "m:A"),
            ("", "A", "Missing"),
            ("from p import nothing", "nothing", "Missing"),
            ("from p.none import X", "X", "Missing"),
            (
                "import synapse_sdk.plugins as s\nX = s.BaseAction",
                "X",
                r#"Sdk("synapse_sdk.plugins.BaseAction")"#,
            ),
            (
                "from synapse_sdk.plugins import *",
                "BaseAction",
                r#"Sdk("synapse_sdk.plugins.BaseAction")"#,
            ),
            (
                "from torch import nn\nX = nn.Module",
                "X",
                r#"Foreign("torch.nn.Module")"#,
            ),
            (
                "from torch import *",
                "X",
                "Unclear(\"m.py takes its names from torch, which inspection does not follow\")",
            ),
            (
                "from p.odd import X",
                "X",
                "Unclear(\"p/odd.py makes its names at run time\")",
            ),
            (
                "from p.deep.inner import Circle",
                "Circle",
                "Unclear(\"the imports of Circle go in a circle\")",
            ),
            (
                "if x:\n  class A: pass\nelse:\n  class A(B): pass",
                "A",
                "Unclear(\"A of m.py depends on what happens at run time\")",
            ),
            (
                "A = make()\ndel A",
                "A",
                "Unclear(\"A of m.py depends on what happens at run time\")",
            ),
            (
                "globals().update(x)",
                "A",
                "Unclear(\"m.py makes its names at run time\")",
            ),
        ] {
            let text = if name == "Circle" {
                "from p.deep.inner import Circle"
            } else {
                text
            };
            assert_eq!(found(text, name), expected, "{text}");
        }
        assert!(found("from p.broken import A", "A").contains("p/broken.py: line 1 is not Python"));
    }
}
