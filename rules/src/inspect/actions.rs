//! Owns what the sources alone say of a plugin's actions: those that its config names, and those
//! that it does not.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    Described, Kind, Note,
    classes::{Ancestor, Attribute, Params},
    modules::{Modules, Place, Target},
    sdk,
    source::{Bound, Value},
};
use crate::config::{Method, Word};

/// An action as a config names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name.
    pub action: String,
    /// Dotted module.
    pub module: String,
    /// Class or function.
    pub object: String,
}

/// One action, and where its object is.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) described: Described,
    /// Dotted module that gives the object.
    pub(super) module: String,
    pub(super) object: String,
    /// Whether there may be a params model.
    pub(super) params: Params,
}

/// What the sources say.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) actions: BTreeMap<String, Read>,
    pub(super) found: BTreeMap<String, Read>,
    pub(super) notes: Vec<Note>,
}

/// An action that is defined somewhere.
struct Defined {
    target: Target,
    module: String,
    object: String,
    /// Its name, unless that cannot be told.
    name: Option<String>,
}

pub(super) fn read(modules: &Modules, entries: &[Entry]) -> Reading {
    let mut reading = Reading::default();
    let defined = defined(modules, &mut reading.notes);
    let mut taken = Vec::new();
    for entry in entries {
        let name = &entry.action;
        let mut target = modules.lookup(&entry.module, &entry.object);
        let (mut module, mut object) = (entry.module.clone(), entry.object.clone());
        let mut moved = None;
        // A module that is not the plugin's is one that it does not have.
        let foreign = Target::Foreign(format!("{module}.{object}"));
        if target == Target::Missing || target == foreign {
            let Some(own) = elsewhere(&defined, entry, entries) else {
                reading
                    .notes
                    .push(note(name, &[], format!("there is no {object} in {module}")));
                continue;
            };
            target = own.target.clone();
            (module, object) = (own.module.clone(), own.object.clone());
            moved = Some(format!("{module}:{object}"));
        }
        taken.push(target.clone());
        let mut read = describe(modules, &target, name, &mut reading.notes);
        read.described.entrypoint = moved;
        (read.module, read.object) = (module, object);
        reading.actions.insert(name.clone(), read);
    }
    let names: BTreeSet<&str> = entries.iter().map(|entry| entry.action.as_str()).collect();
    let mut twins: BTreeMap<&str, Vec<&Defined>> = BTreeMap::new();
    for own in defined.iter().filter(|own| !taken.contains(&own.target)) {
        if let Some(name) = own.name.as_deref().filter(|name| !names.contains(name)) {
            twins.entry(name).or_default().push(own);
        }
    }
    for (name, all) in twins {
        let places = || {
            all.iter()
                .map(|own| format!("{}:{}", own.module, own.object))
        };
        let [own] = all[..] else {
            let places = places().collect::<Vec<_>>().join(", ");
            let why = format!("not added, since several have this name: {places}");
            reading.notes.push(note(name, &[], why));
            continue;
        };
        if !name
            .chars()
            .all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))
        {
            let why = format!(
                "not added, since {}:{} has a name that no action may have",
                own.module, own.object
            );
            reading.notes.push(note(name, &[], why));
            continue;
        }
        let mut read = describe(modules, &own.target, name, &mut reading.notes);
        read.described.entrypoint = places().next();
        (read.module, read.object) = (own.module.clone(), own.object.clone());
        reading.found.insert(name.to_owned(), read);
    }
    reading
}

pub(super) fn note(action: &str, keys: &[&str], why: String) -> Note {
    Note {
        action: action.to_owned(),
        keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        why,
    }
}

/// The one other place of an object that a config looks for in vain: an action of its name, else
/// one that calls itself as the config does.
fn elsewhere<'d>(defined: &'d [Defined], entry: &Entry, entries: &[Entry]) -> Option<&'d Defined> {
    let named = |own: &&Defined| {
        entries
            .iter()
            .any(|other| other.module == own.module && other.object == own.object)
    };
    let free: Vec<&Defined> = defined.iter().filter(|own| !named(own)).collect();
    let only = |wanted: &dyn Fn(&&&Defined) -> bool| {
        let mut matching = free.iter().filter(|own| wanted(own));
        let first = matching.next()?;
        matching.next().is_none().then_some(*first)
    };
    only(&|own| own.object == entry.object)
        .or_else(|| only(&|own| own.name.as_deref() == Some(&entry.action)))
}

/// Every action that the plugin's files define, in the order of their paths.
fn defined(modules: &Modules, notes: &mut Vec<Note>) -> Vec<Defined> {
    let mut all = Vec::new();
    for (index, module) in modules.list.iter().enumerate() {
        let file = module.path.rsplit('/').next().unwrap_or_default();
        if file.starts_with("test_") || file == "conftest.py" || !modules.is_importable(index) {
            continue;
        }
        if let Some(why) = module.broken.as_ref().filter(|_| module.mentions_sdk) {
            notes.push(note(
                &module.path,
                &[],
                format!("not searched for actions: {why}"),
            ));
        }
        let bound = |name: &str, own: &Bound| module.names.get(name) == Some(own);
        for (at, class) in module.classes.iter().enumerate() {
            if !bound(&class.name, &Bound::Class(at)) {
                continue;
            }
            let line = modules.line((index, at));
            let is_action = line
                .iter()
                .any(|ancestor| matches!(ancestor, Ancestor::Sdk(_)));
            if !is_action || modules.is_abstract(&line) {
                continue;
            }
            let by_class = || {
                let name = class.name.strip_suffix("Action").unwrap_or(&class.name);
                if name.is_empty() {
                    "action".to_owned()
                } else {
                    name.to_lowercase()
                }
            };
            let name = match modules.attribute(&line, "action_name") {
                Attribute::Sdk(name) => Some(name.to_owned()),
                Attribute::Set(module, value) if value != Value::None => {
                    modules.text(module, &value)
                }
                // By convention not for others.
                _ if class.name.starts_with('_') => continue,
                Attribute::Absent | Attribute::Set(..) => Some(by_class()),
                Attribute::Unclear(_) => None,
            };
            all.push(Defined {
                target: Target::Class((index, at)),
                module: module.name.clone(),
                object: class.name.clone(),
                name,
            });
        }
        for (at, function) in module.functions.iter().enumerate() {
            if bound(&function.name, &Bound::Function(at))
                && let Some((name, _, _)) = decorated(modules, (index, at))
            {
                all.push(Defined {
                    target: Target::Function((index, at)),
                    module: module.name.clone(),
                    object: function.name.clone(),
                    name,
                });
            }
        }
    }
    all
}

/// Name, category and params of a function with `@action`; a name of none cannot be told.
fn decorated(
    modules: &Modules,
    (module, at): Place,
) -> Option<(Option<String>, Option<String>, Params)> {
    let function = &modules.list[module].functions[at];
    let is_action = |value: &Value| {
        matches!(value, Value::Path(path)
        if matches!(modules.path(module, path), Target::Sdk(path) if sdk::is_action(&path)))
    };
    let own_name = || Some(function.name.clone());
    for decorator in &function.decorators {
        match decorator {
            bare if is_action(bare) => return Some((own_name(), None, Params::Absent)),
            Value::Call {
                function,
                args,
                named,
                open,
            } if is_action(function) => {
                let value = |key: &str, at: usize| {
                    let named = named.iter().find(|(own, _)| own == key);
                    named.map(|(_, value)| value).or_else(|| args.get(at))
                };
                let name = match value("name", 0) {
                    None if *open => None,
                    None | Some(Value::None) => own_name(),
                    Some(value) => modules.text(module, value),
                };
                let category = value("category", 4)
                    .and_then(|value| member(modules, module, value, "PluginCategory"));
                let params = match value("params", 2) {
                    None if *open => Params::Model(None),
                    None | Some(Value::None) => Params::Absent,
                    Some(value) => Params::Model(modules.model(module, value)),
                };
                return Some((name, category, params));
            }
            _ => {}
        }
    }
    None
}

/// The value of an enum member of the SDK, or of the text that stands for it.
fn member(modules: &Modules, module: usize, value: &Value, of: &str) -> Option<String> {
    if let Some(text) = modules.text(module, value) {
        return Some(text);
    }
    let Value::Path(path) = value else {
        return None;
    };
    match modules.path(module, path) {
        Target::Sdk(path) => {
            let path = path.strip_suffix(".value").unwrap_or(&path);
            sdk::member(path, of)
        }
        _ => None,
    }
}

/// All that the sources say of an object.
fn describe(modules: &Modules, target: &Target, action: &str, notes: &mut Vec<Note>) -> Read {
    let mut read = Read {
        described: Described::default(),
        module: String::new(),
        object: String::new(),
        params: Params::Model(None),
    };
    let keys = ["method", "input_type", "output_type"];
    match target {
        Target::Class(place) => class(modules, *place, action, &mut read, notes),
        Target::Function(place) => {
            read.described.kind = Some(Kind::Function);
            read.params = Params::Absent;
            if let Some((name, category, params)) = decorated(modules, *place) {
                read.described.action_name = name;
                read.described.category = category;
                if let Params::Model(model) = &params {
                    read.described.params.clone_from(model);
                }
                read.params = params;
            }
        }
        Target::Sdk(path) => {
            if let Some(base) = sdk::base(path) {
                read.described.kind = Some(Kind::Class);
                read.described.category = base.category.map(str::to_owned);
                read.described.output_type = base.output_type.map(str::to_owned);
                read.params = base.params.map_or(Params::Absent, |_| Params::Model(None));
            }
        }
        Target::Unclear(why) => notes.push(note(action, &keys, why.clone())),
        Target::Foreign(path) => {
            let why = format!("{path} is not the plugin's own");
            notes.push(note(action, &keys, why));
        }
        Target::Value(..) => {
            notes.push(note(
                action,
                &keys,
                "its entrypoint is made by a call".to_owned(),
            ));
        }
        Target::Module(_) | Target::Missing => {
            notes.push(note(
                action,
                &keys,
                "its entrypoint is no class or function".to_owned(),
            ));
            read.params = Params::Absent;
        }
    }
    read
}

fn class(modules: &Modules, place: Place, action: &str, read: &mut Read, notes: &mut Vec<Note>) {
    let line = modules.line(place);
    let described = &mut read.described;
    described.kind = Some(Kind::Class);
    described.serves = line.iter().any(
        |ancestor| matches!(ancestor, Ancestor::Sdk(base) if base.name == "BaseServeDeployment"),
    );
    let mut unclear: Vec<(String, &str)> = Vec::new();
    let mut take =
        |key: &'static str, tell: &dyn Fn(usize, &Value) -> Result<String, String>| match modules
            .attribute(&line, key)
        {
            Attribute::Absent | Attribute::Set(_, Value::None) => None,
            Attribute::Sdk(known) => Some(known.to_owned()),
            Attribute::Set(module, value) => match tell(module, &value) {
                Ok(known) => Some(known),
                Err(why) => {
                    unclear.push((why, key));
                    None
                }
            },
            Attribute::Unclear(why) => {
                unclear.push((why, key));
                None
            }
        };
    let data_type = |module: usize, value: &Value| modules.data_type(module, value);
    let method = |module: usize, value: &Value| {
        let found = member(modules, module, value, "RunMethod");
        let found = found.ok_or_else(|| "it is computed".to_owned())?;
        match Method::from_word(&found) {
            Some(_) => Ok(found),
            None => Err(format!("{found:?} is no method")),
        }
    };
    described.method = take("method", &method);
    described.input_type = take("input_type", &data_type);
    described.output_type = take("output_type", &data_type);
    for (why, key) in unclear {
        match notes
            .last_mut()
            .filter(|last| last.action == action && last.why == why)
        {
            Some(last) => last.keys.push(key.to_owned()),
            None => notes.push(note(action, &[key], why)),
        }
    }
    // These steer nothing in a config; where they cannot be told, nothing is lost.
    described.category = match modules.attribute(&line, "category") {
        Attribute::Sdk(known) => Some(known.to_owned()),
        Attribute::Set(module, value) => member(modules, module, &value, "PluginCategory"),
        _ => None,
    };
    described.action_name = match modules.attribute(&line, "action_name") {
        Attribute::Sdk(known) => Some(known.to_owned()),
        Attribute::Set(module, value) => modules.text(module, &value),
        _ => None,
    };
    read.params = modules.params(&line);
    if let Params::Model(model) = &read.params {
        described.params.clone_from(model);
    }
}
