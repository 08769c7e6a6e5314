//! Owns what a form in a configuration holds of the fields that a params model gives.

use serde_json::{Map, Value as Json, json};

use crate::inspect::Form;

/// Fields that the platform fills in itself.
const DROPPED: [&str; 11] = [
    "data_path",
    "dataset_path",
    "dataset",
    "splits",
    "checkpoint",
    "model_path",
    "weights_path",
    "output_path",
    "work_dir",
    "is_tune",
    "hyperparameters",
];
/// Keys that stand before `required` in an item.
const BEFORE_REQUIRED: [&str; 6] = ["$formkit", "name", "label", "value", "placeholder", "help"];
/// The field that every upload form ends with.
const GROUP_NAME: &str = "group_name";

fn name(item: &Json) -> Option<&str> {
    item.get("name").and_then(Json::as_str)
}

/// The fields that are shown; none when the model is not meant to be.
fn shown(form: &Form) -> Option<Vec<Json>> {
    let hidden = |item: &&Json| {
        name(item).is_some_and(|name| {
            DROPPED.contains(&name) || form.excluded.iter().any(|own| own == name)
        })
    };
    (!form.hidden).then(|| {
        form.fields
            .iter()
            .filter(|item| !hidden(item))
            .cloned()
            .collect()
    })
}

/// The form of a training: every field must be filled in.
pub(super) fn train(form: &Form) -> Option<Vec<Json>> {
    let required = |item: Json| {
        let Json::Object(item) = item else {
            return item;
        };
        let mut keys = Map::with_capacity(item.len() + 1);
        let mut rest = Map::new();
        for (key, value) in item {
            let first = rest.is_empty() && BEFORE_REQUIRED.contains(&key.as_str());
            let to = if first { &mut keys } else { &mut rest };
            to.insert(key, value);
        }
        rest.remove("required");
        keys.insert("required".to_owned(), Json::Bool(true));
        keys.extend(rest);
        Json::Object(keys)
    };
    Some(shown(form)?.into_iter().map(required).collect())
}

/// The form of an upload; what is there already is kept where nothing else is known, and so is a
/// group field of one's own. None when it is no list, and left alone.
pub(super) fn upload(form: Option<&Form>, there: Option<&Json>) -> Option<Vec<Json>> {
    let old = match there {
        None | Some(Json::Null) => Vec::new(),
        Some(Json::Array(list)) => list.clone(),
        Some(_) => return None,
    };
    let group = |item: &&Json| name(item) == Some(GROUP_NAME);
    let own = old.iter().find(group).cloned();
    let mut fields = form.and_then(shown).unwrap_or(old);
    if !fields.iter().any(|item| group(&item)) {
        let plain = || json!({"$formkit": "text", "name": GROUP_NAME, "label": "묶음 이름"});
        fields.push(own.unwrap_or_else(plain));
    }
    Some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(fields: &[Json]) -> Form {
        Form {
            fields: fields.to_vec(),
            excluded: vec!["cache_dir".into()],
            hidden: false,
        }
    }

    #[test]
    fn training_fields_are_required_and_the_platform_s_own_dropped() {
        let own = form(&[
            json!({"$formkit": "number", "name": "dataset"}),
            json!({"$formkit": "number", "name": "epochs", "label": "Epochs", "value": 1, "min": 1, "required": false, "number": true}),
            json!({"$formkit": "text", "name": "cache_dir"}),
        ]);
        assert_eq!(
            serde_json::to_string(&train(&own)).unwrap(),
            r#"[{"$formkit":"number","name":"epochs","label":"Epochs","value":1,"required":true,"min":1,"number":true}]"#
        );
        let hidden = Form {
            hidden: true,
            ..own
        };
        assert_eq!(train(&hidden), None);
    }

    #[test]
    fn uploads_end_with_the_group() {
        let group = json!({"$formkit": "text", "name": "group_name", "label": "묶음 이름"});
        let field = json!({"$formkit": "text", "name": "name"});
        let own = form(std::slice::from_ref(&field));
        assert_eq!(upload(None, None), Some(vec![group.clone()]));
        assert_eq!(
            upload(Some(&own), None),
            Some(vec![field.clone(), group.clone()])
        );
        assert_eq!(
            upload(None, Some(&json!([field]))),
            Some(vec![field.clone(), group])
        );
        assert_eq!(upload(Some(&own), Some(&json!({"a": 1}))), None);
        let mine = json!({"$formkit": "select", "name": "group_name"});
        assert_eq!(
            upload(Some(&own), Some(&json!([mine]))),
            Some(vec![field.clone(), mine])
        );
        let theirs = form(&[json!({"name": "group_name"}), field.clone()]);
        assert_eq!(upload(Some(&theirs), None), Some(theirs.fields.clone()));
    }
}
