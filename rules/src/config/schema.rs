//! Owns the JSON Schemas (2020-12) of config.yaml and synapse-workspace.yaml, for editors. They are
//! made of the keys that the reader knows. Whatever the reader takes they take; what it refuses
//! they refuse as far as a schema can see it: neither quotes nor files of the plugin are seen.

use serde_json::{Map, Value, json};

use super::{
    keys::{self, Key, Meaning, Shape},
    vocabulary::{DataType, Word},
};

/// Where a copy of the schema of config.yaml lies beside it. No archive holds that folder.
pub const PLACE: &str = ".synapse/config.schema.json";
/// The first line of a config.yaml, by which editors find the copy at [`PLACE`].
pub const MODELINE: &str = "# yaml-language-server: $schema=.synapse/config.schema.json";

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";
/// Control characters, and backslashes.
const UNFIT: &str = r"\\\x00-\x1f\x7f-\x9f";
/// A word of Python, to within combining marks.
const IDENTIFIER: &str =
    r"[\p{Alphabetic}_][\p{Alphabetic}\p{N}_\u0300-\u036f\u0900-\u109f\u1ab0-\u1aff\u00b7]*";

/// The schema of config.yaml.
pub fn config() -> Value {
    let mut schema = head(
        "urn:synapse:schema:config:1",
        "config.yaml",
        "A plugin of the Synapse ML platform. Keys that are not listed are kept in the release.",
    );
    fill(&mut schema, keys::CONFIG);
    let mut action = Map::new();
    action.insert(
        "description".into(),
        "An action: its entrypoint, or a mapping that holds it".into(),
    );
    action.insert("type".into(), json!(["string", "object"]));
    action.insert("pattern".into(), entrypoint().into());
    fill(&mut action, keys::ACTION);
    schema.insert("$defs".into(), json!({ "action": action }));
    Value::Object(schema)
}

/// The schema of synapse-workspace.yaml.
pub fn workspace() -> Value {
    let mut schema = head(
        "urn:synapse:schema:workspace:1",
        "synapse-workspace.yaml",
        "The root of a monorepo of plugins.",
    );
    fill(&mut schema, keys::WORKSPACE);
    Value::Object(schema)
}

/// A schema as the text of a file.
pub fn text(schema: &Value) -> String {
    // Pretty printing of a value in memory cannot fail; `#` prints the same.
    format!("{schema:#}\n")
}

fn head(id: &str, title: &str, description: &str) -> Map<String, Value> {
    let mut schema = Map::new();
    for (key, text) in [
        ("$schema", DIALECT),
        ("$id", id),
        ("title", title),
        ("description", description),
        ("type", "object"),
    ] {
        schema.insert(key.into(), text.into());
    }
    schema
}

fn fill(schema: &mut Map<String, Value>, keys: &[Key]) {
    let required: Vec<&str> = keys
        .iter()
        .filter(|key| key.required)
        .map(|key| key.name)
        .collect();
    if !required.is_empty() {
        schema.insert("required".into(), json!(required));
    }
    let properties: Map<String, Value> = keys
        .iter()
        .map(|key| (key.name.to_owned(), property(key)))
        .collect();
    schema.insert("properties".into(), Value::Object(properties));
}

fn property(key: &Key) -> Value {
    let mut property = Map::new();
    let doc = match key.renamed {
        Some(newer) => format!("{}. An older spelling: write `{newer}`", key.doc),
        None => key.doc.to_owned(),
    };
    property.insert("description".into(), doc.into());
    if let Value::Object(shape) = shape(key.shape) {
        property.extend(shape);
    }
    // A key without a value counts as absent.
    if !key.required {
        nullable(&mut property);
    }
    if let Some(default) = key.default {
        property.insert("default".into(), value(default));
    }
    property.insert("examples".into(), json!([value(key.example)]));
    if let Some(newer) = key.renamed {
        property.insert("deprecated".into(), true.into());
        // For editors that show it.
        property.insert(
            "deprecationMessage".into(),
            format!("write `{newer}`").into(),
        );
    }
    Value::Object(property)
}

/// JSON, or else the text itself.
fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
}

fn nullable(property: &mut Map<String, Value>) {
    match property.get_mut("type") {
        Some(Value::Array(types)) => types.push("null".into()),
        Some(kind) => *kind = json!([kind.take(), "null"]),
        None => {}
    }
    if let Some(Value::Array(words)) = property.get_mut("enum") {
        words.push(Value::Null);
    }
    if let Some(Value::Array(forms)) = property.get_mut("anyOf") {
        forms.push(json!({"type": "null"}));
    }
}

fn shape(shape: Shape) -> Value {
    let texts = |items: Value| json!({"type": "array", "items": items});
    match shape {
        Shape::Text => json!({"type": "string"}),
        Shape::Name => json!({"type": "string", "pattern": r"\S"}),
        Shape::Code => json!({
            "type": "string", "maxLength": 100,
            "pattern": "^[a-z0-9](?:[a-z0-9_-]*[a-z0-9])?$",
        }),
        Shape::Version => json!({
            "type": "string",
            "pattern": r"^(?:0|[1-9][0-9]*)\.(?:0|[1-9][0-9]*)\.(?:0|[1-9][0-9]*)$",
        }),
        Shape::Variant => json!({
            "type": "string", "maxLength": 100,
            "pattern": r"^(?!.*\.\.)(?!.*\.lock$)[a-z0-9](?:[a-z0-9._-]*[a-z0-9_-])?$",
        }),
        Shape::Path => json!({"type": "string", "pattern": path("")}),
        Shape::Word(words) => word(&words()),
        Shape::Words(words) => {
            let one = word(&words());
            json!({"anyOf": [texts(one.clone()), one]})
        }
        Shape::Tasks => {
            let kinds: Vec<&str> = DataType::ALL.iter().map(|kind| kind.as_str()).collect();
            let pattern = format!("^(?:{})\\.[A-Za-z0-9_-]+$", kinds.join("|"));
            texts(json!({"type": "string", "pattern": pattern}))
        }
        Shape::Texts => texts(json!({"type": "string"})),
        Shape::Globs => texts(json!({"type": "string", "minLength": 1})),
        Shape::Folders => texts(json!({"type": "string", "pattern": path("!?")})),
        Shape::Variables => json!({
            "type": "object",
            "propertyNames": {"pattern": r"^[^=\x00]+$"},
            "additionalProperties": {"type": ["string", "number", "boolean"]},
        }),
        Shape::Mapping => json!({"type": "object"}),
        Shape::Boolean => json!({"type": "boolean"}),
        Shape::Specifiers => {
            json!({"type": "object", "additionalProperties": self::shape(Shape::Specifier)})
        }
        Shape::Specifier => json!({
            "type": "string",
            "pattern": r"^(?!\s+$)\s*(?:(?:~=|===?|!=|<=?|>=?)\s*[^,\s]+\s*(?:,\s*|$))*$",
        }),
        Shape::Requires => {
            let mut schema = Map::new();
            schema.insert("type".into(), "object".into());
            fill(&mut schema, keys::REQUIRES);
            Value::Object(schema)
        }
        Shape::Actions => json!({
            "type": "object", "minProperties": 1,
            "propertyNames": {"pattern": r"^[\p{Alphabetic}\p{N}_.-]+$"},
            "additionalProperties": {"$ref": "#/$defs/action"},
        }),
        Shape::Entrypoint => json!({"type": "string", "pattern": entrypoint()}),
        Shape::Anything => json!({}),
    }
}

fn word(words: &[Meaning]) -> Value {
    let (words, meanings): (Vec<&str>, Vec<&str>) = words.iter().copied().unzip();
    // `enumDescriptions` is what editors show beside each.
    json!({"type": "string", "enum": words, "enumDescriptions": meanings})
}

/// A relative path that stays inside its folder and names something.
fn path(before: &str) -> String {
    format!(r"^{before}(?![/~])(?!.:)(?!(?:\.?/)*\.?$)(?!(?:.*/)?\.\.(?:/|$))[^{UNFIT}]+$")
}

fn entrypoint() -> String {
    let dotted = format!(r"{IDENTIFIER}(?:\.{IDENTIFIER})*");
    format!("^{dotted}[.:]{IDENTIFIER}$")
}
