//! Owns what a configuration must say of its actions, by what the code says of them: entrypoint,
//! method, types, forms, in this order; new actions last.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::forms;
use crate::{
    config::{Method, Word},
    inspect::{Described, Inspection},
};

/// What changes in one action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The action.
    pub action: String,
    /// Each as `key=value`.
    pub changes: Vec<String>,
}

/// What a configuration is to say.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// The whole file.
    pub json: Json,
    /// What changes, in the file's order; empty when nothing does.
    pub changes: Vec<Change>,
}

/// What the configuration `json` is to say, by an inspection of the code.
pub fn wanted(json: &Json, inspection: &Inspection) -> Wanted {
    let mut json = json.clone();
    let mut changes = Vec::new();
    if let Some(actions) = json.get_mut("actions").and_then(Json::as_object_mut) {
        for (name, value) in actions.iter_mut() {
            let blank = Described::default();
            let described = inspection.actions.get(name).unwrap_or(&blank);
            let own = action(name, value, described);
            if !own.is_empty() {
                changes.push(Change {
                    action: name.clone(),
                    changes: own,
                });
            }
        }
        // A serve class that names no action is what a deployment deploys.
        let is_action = |own: &(&String, &Described)| !own.1.serves || own.1.action_name.is_some();
        for (name, described) in inspection.found.iter().filter(is_action) {
            let mut value = Json::Object(Map::new());
            let mut own = vec!["new".to_owned()];
            own.extend(action(name, &mut value, described));
            actions.insert(name.clone(), value);
            changes.push(Change {
                action: name.clone(),
                changes: own,
            });
        }
    }
    Wanted { json, changes }
}

/// Brings one action up to date; returns what changed.
fn action(name: &str, value: &mut Json, described: &Described) -> Vec<String> {
    let bare = value.as_str().map(str::to_owned);
    let mut own = match (&bare, &*value) {
        (Some(text), _) => Map::from_iter([("entrypoint".to_owned(), Json::String(text.clone()))]),
        (None, Json::Object(own)) => own.clone(),
        _ => return Vec::new(),
    };
    let mut changes = Vec::new();
    if let Some(place) = &described.entrypoint {
        let old = own.get("entrypoint").and_then(Json::as_str);
        // In the spelling of the file.
        let dotted = old.is_some_and(|old| !old.contains(':'));
        let place = if dotted {
            place.replace(':', ".")
        } else {
            place.clone()
        };
        set(&mut own, "entrypoint", &place, &mut changes);
    }
    if let Some(method) = method(name, described) {
        set(&mut own, "method", method.as_str(), &mut changes);
    }
    for (key, name) in [
        ("input_type", &described.input_type),
        ("output_type", &described.output_type),
    ] {
        if let Some(name) = name {
            set(&mut own, key, name, &mut changes);
        }
    }
    form(name, &mut own, described, &mut changes);
    *value = match bare {
        // Nothing but the entrypoint is left: the short form says it all.
        Some(_) if own.len() == 1 => own.remove("entrypoint").unwrap_or_default(),
        _ => Json::Object(own),
    };
    changes
}

fn set(own: &mut Map<String, Json>, key: &str, new: &str, changes: &mut Vec<String>) {
    let old = own.get(key).filter(|old| !old.is_null());
    if old.and_then(Json::as_str) == Some(new) {
        return;
    }
    changes.push(match old.and_then(Json::as_str) {
        Some(old) => format!("{key}={new} (was {old})"),
        None => format!("{key}={new}"),
    });
    own.insert(key.to_owned(), Json::String(new.to_owned()));
}

/// The class's own method, else that of its well-known name. Of an inference the name says
/// little: it is served when its class can be, and otherwise run as its file says.
fn method(name: &str, described: &Described) -> Option<Method> {
    if let Some(method) = described.method.as_deref().and_then(Method::from_word) {
        return Some(method);
    }
    let known = Method::by_name(name)?;
    (known != Method::Serve || described.serves).then_some(known)
}

fn form(name: &str, own: &mut Map<String, Json>, described: &Described, changes: &mut Vec<String>) {
    match name {
        "train" | "tune" => {
            let Some(fields) = described.form.as_ref().and_then(forms::train) else {
                return;
            };
            let there = own
                .get("hyperparameters")
                .and_then(|all| all.get("train_ui_schemas"));
            let fields = Json::Array(fields);
            if there == Some(&fields) || (there.is_none() && fields == Json::Array(Vec::new())) {
                return;
            }
            changes.push(format!(
                "hyperparameters.train_ui_schemas={}",
                names(&fields)
            ));
            let all = own.entry("hyperparameters").or_insert(Json::Null);
            if !all.is_object() {
                *all = Json::Object(Map::new());
            }
            if let Some(all) = all.as_object_mut() {
                all.insert("train_ui_schemas".to_owned(), fields);
            }
        }
        "upload" => {
            let there = own.get("ui_schema");
            let Some(fields) = forms::upload(described.form.as_ref(), there) else {
                return;
            };
            let fields = Json::Array(fields);
            if there == Some(&fields) {
                return;
            }
            changes.push(format!("ui_schema={}", names(&fields)));
            own.insert("ui_schema".to_owned(), fields);
        }
        _ => {}
    }
}

/// The names of a form's fields, as people see them.
fn names(fields: &Json) -> String {
    let name = |item: &Json| {
        item.get("name")
            .and_then(Json::as_str)
            .unwrap_or("?")
            .to_owned()
    };
    let names = fields.as_array().into_iter().flatten().map(name);
    format!("[{}]", names.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_serve_class_is_an_action_only_under_a_name_of_its_own() {
        let served = Described {
            serves: true,
            entrypoint: Some("plugin.a:Served".to_owned()),
            ..Described::default()
        };
        let named = Described {
            action_name: Some("inference".to_owned()),
            ..served.clone()
        };
        let mut inspection = Inspection::default();
        inspection.found.insert("served".to_owned(), served);
        inspection.found.insert("inference".to_owned(), named);
        let wanted = wanted(&json!({"actions": {}}), &inspection);
        let changed: Vec<&str> = wanted
            .changes
            .iter()
            .map(|own| own.action.as_str())
            .collect();
        assert_eq!(changed, ["inference"]);
        assert_eq!(wanted.json["actions"]["inference"]["method"], "serve");
        assert!(wanted.json["actions"].get("served").is_none());
    }
}
