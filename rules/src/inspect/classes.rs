//! Owns the following of classes: bases through the plugin's own modules to the SDK, attributes
//! along the method resolution order, what is left abstract.

use super::{
    modules::{Modules, Place, Target},
    sdk::{self, Base},
    source::{Class, Value},
};

/// Bases above bases; more go in a circle.
const MAX_DEPTH: usize = 40;

/// A class in the line of another.
#[derive(Debug, Clone)]
pub(super) enum Ancestor {
    /// A class of the plugin.
    Own(Place),
    /// A base class of the SDK.
    Sdk(&'static Base),
    /// A class that is not the plugin's.
    Foreign(String),
    /// It cannot be told; why.
    Unclear(String),
}

impl PartialEq for Ancestor {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Own(a), Self::Own(b)) => a == b,
            (Self::Sdk(a), Self::Sdk(b)) => a.name == b.name,
            (Self::Foreign(a), Self::Foreign(b)) => a == b,
            _ => false,
        }
    }
}

/// What is known of one attribute of a class.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Attribute {
    /// Assigned in a class of this module.
    Set(usize, Value),
    /// Comes with this base class of the SDK.
    Sdk(&'static str),
    /// Nobody sets it.
    Absent,
    /// It cannot be told; why.
    Unclear(String),
}

/// What is known of an action's params model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Params {
    /// There is none.
    Absent,
    /// There is one, as `module:Class` where that is known.
    Model(Option<String>),
}

impl Modules {
    pub(super) fn class(&self, (module, at): Place) -> &Class {
        &self.list[module].classes[at]
    }

    /// The class and all above it, in the order in which attributes are looked up.
    pub(super) fn line(&self, place: Place) -> Vec<Ancestor> {
        self.line_below(place, 0)
    }

    fn line_below(&self, place: Place, depth: usize) -> Vec<Ancestor> {
        let own = Ancestor::Own(place);
        if depth > MAX_DEPTH {
            let what = format!("the bases of {} go in a circle", self.class(place).name);
            return vec![Ancestor::Unclear(what)];
        }
        let bases: Vec<Ancestor> = self
            .class(place)
            .bases
            .iter()
            .filter_map(|base| self.base(place, base))
            .collect();
        let mut lines: Vec<Vec<Ancestor>> = bases
            .iter()
            .map(|base| match base {
                Ancestor::Own(above) => self.line_below(*above, depth + 1),
                Ancestor::Sdk(base) => sdk_line(base),
                other => vec![other.clone()],
            })
            .collect();
        lines.push(bases);
        let mut line = vec![own];
        line.extend(merge(lines));
        line
    }

    /// A base as written; none for what only types are made of.
    fn base(&self, place: Place, base: &Value) -> Option<Ancestor> {
        let name = &self.class(place).name;
        let computed = || Ancestor::Unclear(format!("a base class of {name} is computed"));
        let path = match base {
            Value::Path(path) => path,
            Value::Subscript(base, _) => match &**base {
                Value::Path(path) => path,
                _ => return Some(computed()),
            },
            _ => return Some(computed()),
        };
        Some(match self.path(place.0, path) {
            Target::Class(above) => Ancestor::Own(above),
            Target::Sdk(path) => match sdk::base(&path) {
                Some(base) => Ancestor::Sdk(base),
                None => Ancestor::Foreign(path),
            },
            Target::Foreign(path) if is_typing(&path) => return None,
            Target::Foreign(path) => Ancestor::Foreign(path),
            // A builtin, or a name that would fail at import: nothing to inherit.
            Target::Missing => Ancestor::Foreign(path.join(".")),
            Target::Unclear(why) => Ancestor::Unclear(why),
            _ => computed(),
        })
    }

    /// The nearest setting of an attribute.
    pub(super) fn attribute(&self, line: &[Ancestor], name: &str) -> Attribute {
        for ancestor in line {
            match ancestor {
                Ancestor::Own(place) => {
                    let class = self.class(*place);
                    if let Some(value) = class.attributes.get(name) {
                        return Attribute::Set(place.0, value.clone());
                    }
                    if class.methods.contains_key(name) {
                        return Attribute::Unclear(format!("{}.{name} is computed", class.name));
                    }
                }
                Ancestor::Sdk(base) => {
                    let known = match name {
                        "action_name" => base.action_name,
                        "category" => base.category,
                        "output_type" => base.output_type,
                        _ => None,
                    };
                    if let Some(known) = known {
                        return Attribute::Sdk(known);
                    }
                }
                Ancestor::Foreign(_) => {}
                Ancestor::Unclear(why) => return Attribute::Unclear(why.clone()),
            }
        }
        Attribute::Absent
    }

    /// Whether a method that must be defined is not.
    pub(super) fn is_abstract(&self, line: &[Ancestor]) -> bool {
        let needed = line.iter().flat_map(|ancestor| match ancestor {
            Ancestor::Own(place) => {
                let methods = self.class(*place).methods.iter();
                methods
                    .filter(|(_, open)| **open)
                    .map(|(name, _)| name.as_str())
                    .collect()
            }
            Ancestor::Sdk(base) => base.needs.to_vec(),
            _ => Vec::new(),
        });
        let nearest = |name: &str| {
            line.iter().find_map(|ancestor| match ancestor {
                Ancestor::Own(place) => {
                    let class = self.class(*place);
                    let set = class.attributes.contains_key(name).then_some(false);
                    class.methods.get(name).copied().or(set)
                }
                Ancestor::Sdk(base) if base.needs.contains(&name) => Some(true),
                Ancestor::Sdk(base) if base.has.contains(&name) => Some(false),
                // It may well define it.
                Ancestor::Foreign(path) if !path.starts_with("abc.") => {
                    (!is_plain(path)).then_some(false)
                }
                _ => None,
            })
        };
        needed.into_iter().any(|name| nearest(name) == Some(true))
    }

    /// The params model: set in a body, else the generic argument of a base, nearest first.
    pub(super) fn params(&self, line: &[Ancestor]) -> Params {
        for ancestor in line {
            match ancestor {
                Ancestor::Own(place) => {
                    let class = self.class(*place);
                    match class.attributes.get("params_model") {
                        Some(Value::None) => return Params::Absent,
                        Some(value) => return Params::Model(self.model(place.0, value)),
                        None => {}
                    }
                    let arguments = class.bases.iter().filter_map(|base| match base {
                        Value::Subscript(base, items) => match &**base {
                            Value::Path(path) => Some((self.path(place.0, path), items)),
                            _ => None,
                        },
                        _ => None,
                    });
                    for (base, items) in arguments {
                        if matches!(&base, Target::Foreign(path) if is_typing(path)) {
                            continue;
                        }
                        let bound = |item: &&Value| !self.is_type_variable(*place, item);
                        if let Some(argument) = items.iter().find(bound) {
                            // Which argument of another's base it is, the run decides.
                            let certain = matches!(base, Target::Sdk(_)) && items.len() == 1;
                            let model = certain.then(|| self.model(place.0, argument));
                            return Params::Model(model.flatten());
                        }
                    }
                }
                Ancestor::Sdk(base) => {
                    if let Some(params) = base.params {
                        return Params::Model(Some(params.to_owned()));
                    }
                }
                Ancestor::Foreign(_) => {}
                Ancestor::Unclear(_) => return Params::Model(None),
            }
        }
        Params::Absent
    }

    fn is_type_variable(&self, place: Place, argument: &Value) -> bool {
        let path = match argument {
            // A forward reference is no model to the SDK.
            Value::Text(_) => return true,
            Value::Path(path) => path,
            _ => return false,
        };
        if let [name] = &path[..]
            && self.class(place).type_params.contains(name)
        {
            return true;
        }
        matches!(self.path(place.0, path), Target::Value(_, Value::Call { function, .. })
            if matches!(&*function, Value::Path(path)
                if path.last().is_some_and(|name| name == "TypeVar")))
    }

    /// `module:Class` of a model, where that is known.
    pub(super) fn model(&self, module: usize, value: &Value) -> Option<String> {
        let Value::Path(path) = value else {
            return None;
        };
        match self.path(module, path) {
            Target::Class(place) => Some(format!(
                "{}:{}",
                self.list[place.0].name,
                self.class(place).name
            )),
            _ => None,
        }
    }

    /// The `name` of a data type; an error says why it cannot be told.
    pub(super) fn data_type(&self, module: usize, value: &Value) -> Result<String, String> {
        self.type_below(module, value, 0)
    }

    fn type_below(&self, module: usize, value: &Value, depth: usize) -> Result<String, String> {
        let Value::Path(path) = value else {
            return Err("it is computed".to_owned());
        };
        let shown = path.join(".");
        match self.path(module, path) {
            _ if depth > MAX_DEPTH => Err(format!("the bases of {shown} go in a circle")),
            Target::Sdk(path) => sdk::data_type(&path)
                .map(str::to_owned)
                .ok_or_else(|| format!("{shown} is no data type of the SDK")),
            Target::Class(place) => {
                let class = self.class(place);
                match class.attributes.get("name") {
                    Some(name) => self
                        .text(place.0, name)
                        .ok_or_else(|| format!("the name of {shown} is computed")),
                    None if class.methods.contains_key("name") => {
                        Err(format!("the name of {shown} is computed"))
                    }
                    None => {
                        let mut last = Err(format!("{shown} has no name"));
                        for base in &class.bases {
                            last = self.type_below(place.0, base, depth + 1);
                            if last.is_ok() {
                                break;
                            }
                        }
                        last
                    }
                }
            }
            Target::Foreign(path) => Err(format!("{path} is not the plugin's own")),
            Target::Missing => Err(format!("there is no {shown}")),
            Target::Unclear(why) => Err(why),
            _ => Err(format!("{shown} is computed")),
        }
    }
}

/// Classes that define no methods an action needs.
fn is_plain(path: &str) -> bool {
    matches!(path, "object" | "ABC") || is_typing(path)
}

fn is_typing(path: &str) -> bool {
    matches!(
        path.split_once('.'),
        Some(("typing" | "typing_extensions", _))
    )
}

fn sdk_line(base: &'static Base) -> Vec<Ancestor> {
    let mut line = vec![Ancestor::Sdk(base)];
    let mut parent = base.parent;
    while let Some(above) = parent.and_then(sdk::base) {
        line.push(Ancestor::Sdk(above));
        parent = above.parent;
    }
    line
}

/// Python's order (C3) of several lines; where they contradict, the order of writing.
fn merge(mut lines: Vec<Vec<Ancestor>>) -> Vec<Ancestor> {
    let mut merged: Vec<Ancestor> = Vec::new();
    loop {
        lines.retain(|line| !line.is_empty());
        let Some(first) = lines.first() else {
            return merged;
        };
        let free = |candidate: &Ancestor| {
            !lines
                .iter()
                .any(|line| line.iter().skip(1).any(|other| other == candidate))
        };
        let next = lines
            .iter()
            .map(|line| &line[0])
            .find(|head| free(head))
            .unwrap_or(&first[0]);
        let next = next.clone();
        for line in &mut lines {
            if line[0] == next
                || matches!((&line[0], &next),
                (Ancestor::Unclear(a), Ancestor::Unclear(b)) if a == b)
            {
                line.remove(0);
            }
        }
        if !merged.contains(&next) {
            merged.push(next);
        }
    }
}
