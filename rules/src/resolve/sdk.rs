//! Owns what the SDK itself needs of an environment, and what its extras stand for: the same as
//! our own pyproject.toml says.

/// What the SDK itself needs in every environment that we make.
pub const IMPLICIT: [&str; 2] = ["pydantic>=2.3", "urllib3>=1.26,<3"];
/// The name under which the SDK stands in requirements; it is layered over environments, not
/// installed into them.
pub const NAME: &str = "synapse-sdk";
/// The extra that is all others together.
const ALL: &str = "all";
/// The other extras, by name.
const EXTRAS: [(&str, &[&str]); 5] = [
    ("dataset", &["globox>=2.9", "pyyaml>=6"]),
    ("progress", &["tqdm>=4.60"]),
    ("ray", &["ray[default]>=2.9"]),
    ("toml", &["tomli>=2; python_version < '3.11'"]),
    ("yaml", &["pyyaml>=6"]),
];

/// What the extra called `name` stands for, each once; nothing when there is no such extra.
pub fn needs(name: &str) -> Vec<&'static str> {
    let mut needs: Vec<&str> = Vec::new();
    for (extra, more) in EXTRAS {
        if name == ALL || name == extra {
            needs.extend(more);
        }
    }
    needs.sort_unstable();
    needs.dedup();
    needs
}

/// Names the extras that there are.
pub fn hint() -> String {
    let names: Vec<&str> = EXTRAS.iter().map(|(name, _)| *name).collect();
    match names.split_last() {
        Some((last, first)) => format!("its extras are {ALL}, {} and {last}", first.join(", ")),
        None => String::new(),
    }
}

#[cfg(test)]
#[path = "sdk_tests.rs"]
mod tests;
