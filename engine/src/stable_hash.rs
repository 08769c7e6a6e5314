//! Owns canonical hashing: [`StableHash`], the same bytes for the same value on every machine
//! and in every release. Everything is type-tagged and length-prefixed, so no two values share
//! an encoding; unordered collections are sorted. Golden values are pinned below.

use std::collections::{BTreeMap, HashMap};

use crate::digest::Digest;

/// Collects values for one digest. `domain` keeps digests of different purposes apart.
#[derive(Debug, Clone)]
pub struct StableHasher(blake3::Hasher);

impl StableHasher {
    /// Starts a digest of the given domain.
    pub fn new(domain: &str) -> Self {
        let mut hasher = Self(blake3::Hasher::new());
        hasher.bytes(b'D', domain.as_bytes());
        hasher
    }

    /// Adds raw bytes under a one-byte type tag.
    pub fn bytes(&mut self, tag: u8, bytes: &[u8]) {
        self.0.update(&[tag]);
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    /// The digest of all that was added.
    pub fn finish(&self) -> Digest {
        self.0.finalize().into()
    }
}

/// A value with one canonical encoding.
pub trait StableHash {
    /// Feeds the value to `hasher`.
    fn stable_hash(&self, hasher: &mut StableHasher);

    /// The value's own digest in `domain`.
    fn stable_digest(&self, domain: &str) -> Digest {
        let mut hasher = StableHasher::new(domain);
        self.stable_hash(&mut hasher);
        hasher.finish()
    }
}

impl StableHash for str {
    fn stable_hash(&self, hasher: &mut StableHasher) {
        hasher.bytes(b's', self.as_bytes());
    }
}

impl StableHash for String {
    fn stable_hash(&self, hasher: &mut StableHasher) {
        self.as_str().stable_hash(hasher);
    }
}

impl StableHash for u64 {
    fn stable_hash(&self, hasher: &mut StableHasher) {
        hasher.bytes(b'u', &self.to_le_bytes());
    }
}

impl StableHash for bool {
    fn stable_hash(&self, hasher: &mut StableHasher) {
        hasher.bytes(b'b', &[u8::from(*self)]);
    }
}

impl StableHash for Digest {
    fn stable_hash(&self, hasher: &mut StableHasher) {
        hasher.bytes(b'd', self.as_bytes());
    }
}

impl<T: StableHash + ?Sized> StableHash for &T {
    fn stable_hash(&self, hasher: &mut StableHasher) {
        (**self).stable_hash(hasher);
    }
}

impl<T: StableHash> StableHash for Option<T> {
    fn stable_hash(&self, hasher: &mut StableHasher) {
        hasher.bytes(b'o', &[u8::from(self.is_some())]);
        if let Some(value) = self {
            value.stable_hash(hasher);
        }
    }
}

impl<T: StableHash> StableHash for [T] {
    fn stable_hash(&self, hasher: &mut StableHasher) {
        hasher.bytes(b'l', &(self.len() as u64).to_le_bytes());
        for item in self {
            item.stable_hash(hasher);
        }
    }
}

impl<T: StableHash> StableHash for Vec<T> {
    fn stable_hash(&self, hasher: &mut StableHasher) {
        self.as_slice().stable_hash(hasher);
    }
}

impl<V: StableHash> StableHash for BTreeMap<String, V> {
    fn stable_hash(&self, hasher: &mut StableHasher) {
        hasher.bytes(b'm', &(self.len() as u64).to_le_bytes());
        for (key, value) in self {
            key.stable_hash(hasher);
            value.stable_hash(hasher);
        }
    }
}

impl<V: StableHash, S: std::hash::BuildHasher> StableHash for HashMap<String, V, S> {
    fn stable_hash(&self, hasher: &mut StableHasher) {
        let sorted: BTreeMap<&String, &V> = self.iter().collect();
        hasher.bytes(b'm', &(sorted.len() as u64).to_le_bytes());
        for (key, value) in sorted {
            key.stable_hash(hasher);
            value.stable_hash(hasher);
        }
    }
}

impl StableHash for serde_json::Value {
    fn stable_hash(&self, hasher: &mut StableHasher) {
        use serde_json::Value;
        match self {
            Value::Null => hasher.bytes(b'n', &[]),
            Value::Bool(value) => value.stable_hash(hasher),
            // The text of a JSON number is canonical: serde_json prints the shortest form.
            Value::Number(value) => hasher.bytes(b'f', value.to_string().as_bytes()),
            Value::String(value) => value.stable_hash(hasher),
            Value::Array(items) => items.stable_hash(hasher),
            Value::Object(map) => {
                let sorted: BTreeMap<&String, &Value> = map.iter().collect();
                hasher.bytes(b'm', &(sorted.len() as u64).to_le_bytes());
                for (key, value) in sorted {
                    key.stable_hash(hasher);
                    value.stable_hash(hasher);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden() {
        // A change here changes every key ever stored: raise every rule's VERSION if it is meant.
        let value = serde_json::json!({"b": [1, true, null, "x"], "a": {"y": 1.5}});
        let digests = [
            "text".stable_digest("test"),
            7u64.stable_digest("test"),
            Some("x").stable_digest("test"),
            vec!["a", "b"].stable_digest("test"),
            value.stable_digest("test"),
        ];
        let shown: Vec<String> = digests.iter().map(Digest::short).collect();
        insta::assert_debug_snapshot!(shown);
    }

    #[test]
    fn encodings_do_not_collide() {
        assert_ne!(
            vec!["ab", "c"].stable_digest("t"),
            vec!["a", "bc"].stable_digest("t")
        );
        assert_ne!("".stable_digest("t"), None::<String>.stable_digest("t"));
        assert_ne!(1u64.stable_digest("t"), true.stable_digest("t"));
        assert_ne!("x".stable_digest("t"), "x".stable_digest("u"));
    }

    #[test]
    fn order_of_unordered_things_does_not_count() {
        let one: HashMap<String, u64> = (0..50).map(|n| (n.to_string(), n)).collect();
        let two: HashMap<String, u64> = (0..50).rev().map(|n| (n.to_string(), n)).collect();
        let tree: BTreeMap<String, u64> = one.clone().into_iter().collect();
        assert_eq!(one.stable_digest("t"), two.stable_digest("t"));
        assert_eq!(one.stable_digest("t"), tree.stable_digest("t"));
        let (a, b) = (
            serde_json::json!({"a":1,"b":2}),
            serde_json::json!({"b":2,"a":1}),
        );
        assert_eq!(a.stable_digest("t"), b.stable_digest("t"));
    }
}
