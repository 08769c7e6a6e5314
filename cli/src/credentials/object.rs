//! Owns [`Object`]: a JSON object that keeps the order of its keys and the writing of its values.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::{Value, value::RawValue};

/// A JSON object. May hold secrets.
#[derive(Default)]
pub(super) struct Object {
    entries: Vec<(String, Box<RawValue>)>,
    /// How many objects it lies in.
    depth: usize,
}

impl Object {
    /// The object that `bytes` are, if they are one.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|(key, _)| key.as_str())
    }

    /// The last one of a name counts, as for every reader of JSON.
    fn raw(&self, key: &str) -> Option<&RawValue> {
        let mut entries = self.entries.iter().rev();
        entries.find(|(own, _)| own == key).map(|(_, raw)| &**raw)
    }

    pub(super) fn value(&self, key: &str) -> Option<Value> {
        serde_json::from_str(self.raw(key)?.get()).ok()
    }

    /// A text that is not empty.
    pub(super) fn text(&self, key: &str) -> Option<String> {
        let text: String = serde_json::from_str(self.raw(key)?.get()).ok()?;
        Some(text).filter(|text| !text.is_empty())
    }

    /// The object under a key.
    pub(super) fn object(&self, key: &str) -> Option<Self> {
        let object = Self::parse(self.raw(key)?.get().as_bytes())?;
        let depth = self.depth + 1;
        Some(Self { depth, ..object })
    }

    /// The object under a key, or an empty one.
    pub(super) fn object_or_new(&self, key: &str) -> Self {
        self.object(key).unwrap_or_else(|| Self {
            entries: Vec::new(),
            depth: self.depth + 1,
        })
    }

    /// Sets a text, or removes the key; an equal one keeps its writing.
    pub(super) fn set_text(&mut self, key: &str, text: Option<String>) {
        match text {
            None => self.remove(key),
            same if same == self.text(key) => {}
            Some(text) => self.set(key, &Value::String(text)),
        }
    }

    pub(super) fn set(&mut self, key: &str, value: &Value) {
        if let Ok(raw) = RawValue::from_string(value.to_string()) {
            self.put(key, raw);
        }
    }

    /// Sets an object that was taken from here; an equal one keeps its writing.
    pub(super) fn set_object(&mut self, key: &str, object: &Self) {
        let text = object.to_string();
        if self.object(key).is_some_and(|old| old.to_string() == text) {
            return;
        }
        if let Ok(raw) = RawValue::from_string(text) {
            self.put(key, raw);
        }
    }

    fn put(&mut self, key: &str, raw: Box<RawValue>) {
        match self.entries.iter().position(|(own, _)| own == key) {
            Some(at) => {
                self.entries[at].1 = raw;
                let mut index = 0;
                self.entries.retain(|(own, _)| {
                    index += 1;
                    own != key || index - 1 == at
                });
            }
            None => self.entries.push((key.to_owned(), raw)),
        }
    }

    pub(super) fn remove(&mut self, key: &str) {
        self.entries.retain(|(own, _)| own != key);
    }
}

/// As JSON, a key a line.
impl fmt::Display for Object {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.entries.is_empty() {
            return out.write_str("{}");
        }
        let indent = "  ".repeat(self.depth);
        let mut before = '{';
        for (key, raw) in &self.entries {
            let key = Value::String(key.clone());
            write!(out, "{before}\n{indent}  {key}: {raw}")?;
            before = ',';
        }
        write!(out, "\n{indent}}}")
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = Object;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Object { entries, depth: 0 })
            }
        }

        deserializer.deserialize_map(Entries)
    }
}
