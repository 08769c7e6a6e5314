//! Owns the keys of configuration files: of config.yaml, of its actions, of a workspace. The
//! reader knows no others, and the JSON Schema is made of them, so that the two cannot differ.

use super::vocabulary::{Category, DataType, Method, PackageManager, SmartTool, Word};

/// A key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// As written in a file.
    pub name: &'static str,
    /// What it says, in a sentence without a full stop.
    pub doc: &'static str,
    /// What stands under it.
    pub shape: Shape,
    /// Whether the mapping is incomplete without it.
    pub required: bool,
    /// What holds without it.
    pub default: Option<&'static str>,
    /// A value as it may stand in a file: JSON, or else plain text.
    pub example: &'static str,
    /// The newer spelling, when this is an older one.
    pub renamed: Option<&'static str>,
}

/// A word of a closed set, and what it means.
pub type Meaning = (&'static str, &'static str);

/// What stands under a key.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// Any text.
    Text,
    /// Text that is not blank.
    Name,
    /// A plugin's code.
    Code,
    /// A version, X.Y.Z.
    Version,
    /// A customer's flavour.
    Variant,
    /// A path in the plugin.
    Path,
    /// A word of a closed set.
    Word(fn() -> Vec<Meaning>),
    /// A list of words of a closed set, or one of them.
    Words(fn() -> Vec<Meaning>),
    /// A list of `data_type.task`.
    Tasks,
    /// A list of texts.
    Texts,
    /// A list of globs.
    Globs,
    /// A list of patterns of folders in the workspace; `!` in front excludes.
    Folders,
    /// A mapping of names to values that are taken as written.
    Variables,
    /// Any mapping.
    Mapping,
    /// `true` or `false`.
    Boolean,
    /// A mapping of names to version specifiers.
    Specifiers,
    /// A version specifier.
    Specifier,
    /// A mapping of the keys of [`REQUIRES`].
    Requires,
    /// A mapping of names to entrypoints, or to mappings of the keys of [`ACTION`].
    Actions,
    /// An entrypoint.
    Entrypoint,
    /// Anything.
    Anything,
}

const fn key(name: &'static str, shape: Shape, example: &'static str, doc: &'static str) -> Key {
    Key {
        name,
        doc,
        shape,
        required: false,
        default: None,
        example,
        renamed: None,
    }
}

impl Key {
    const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    const fn default(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }

    const fn renamed(mut self, newer: &'static str) -> Self {
        self.renamed = Some(newer);
        self
    }
}

fn meanings<W: Word>() -> Vec<Meaning> {
    W::ALL
        .iter()
        .map(|word| (word.as_str(), word.meaning()))
        .collect()
}

/// Path of the readme of a plugin that names none.
pub const README: &str = "README.md";
/// Folder of the wheels of a plugin that names none.
pub const WHEELS: &str = "wheels";

/// Keys of config.yaml.
pub const CONFIG: &[Key] = &[
    key("name", Shape::Name, "YOLOv8 Object Detection", "Name for people").required(),
    key(
        "code",
        Shape::Code,
        "yolov8",
        "Name for machines: lowercase letters, digits, hyphens between them; at most 100 characters",
    )
    .required(),
    key(
        "version",
        Shape::Version,
        "0.1.0",
        "Version X.Y.Z, numbers without leading zeros. Quote it when a reader could take it for a number",
    )
    .required(),
    key("category", Shape::Word(meanings::<Category>), "neural_net", "Kind of plugin").required(),
    key(
        "actions",
        Shape::Actions,
        r#"{"train": {"entrypoint": "plugin.train:TrainAction", "method": "job"}, "inference": "plugin.inference:InferenceAction"}"#,
        "What the plugin does: each action by its name, with its entrypoint, or with a mapping that holds it",
    )
    .required(),
    key(
        "variant",
        Shape::Variant,
        "acme",
        "A customer's flavour: lowercase letters, digits, and `.`, `_`, `-` inside",
    ),
    key("description", Shape::Text, "Train and deploy YOLOv8 models", "What the plugin does, for people"),
    key("readme", Shape::Path, "docs/README.md", "Path of the readme, in the plugin").default(README),
    key(
        "package_manager",
        Shape::Word(meanings::<PackageManager>),
        "uv",
        "Who installs the plugin's dependencies",
    )
    .default("pip"),
    key(
        "package_manager_options",
        Shape::Texts,
        r#"["--no-cache"]"#,
        "Further arguments for the package manager",
    )
    .default("[]"),
    key(
        "wheels_dir",
        Shape::Path,
        "vendor/wheels",
        "Folder in the plugin whose wheels are always packed, also where an ignore file hides them",
    )
    .default(WHEELS),
    key(
        "env",
        Shape::Variables,
        r#"{"CUDA_VISIBLE_DEVICES": "0"}"#,
        "Environment variables of its actions, taken as written. Put no secrets here: they are published",
    )
    .default("{}"),
    key(
        "runtime_env",
        Shape::Mapping,
        r#"{"env_vars": {"OMP_NUM_THREADS": "1"}}"#,
        "Ray's runtime_env, merged over the one that is generated",
    ),
    key("data_type", Shape::Word(meanings::<DataType>), "image", "Kind of data that the plugin works on"),
    key(
        "tasks",
        Shape::Tasks,
        r#"["image.object_detection"]"#,
        "Tasks that the plugin solves, each `data_type.task`",
    )
    .default("[]"),
    key(
        "supported_data_types",
        Shape::Words(meanings::<DataType>),
        r#"["image", "video"]"#,
        "Kinds of data that the plugin supports: a list, or one of them",
    )
    .default("[]"),
    key(
        "supported_data_type",
        Shape::Words(meanings::<DataType>),
        "image",
        "Kinds of data that the plugin supports",
    )
    .renamed("supported_data_types"),
    key("annotation_category", Shape::Text, "object_detection", "Category of annotations"),
    key("annotation_type", Shape::Text, "bbox", "Type of annotations"),
    key(
        "smart_tool",
        Shape::Word(meanings::<SmartTool>),
        "interactive",
        "How a smart tool works with its user",
    ),
    key(
        "smart_tool_type",
        Shape::Word(meanings::<SmartTool>),
        "interactive",
        "How a smart tool works with its user",
    )
    .renamed("smart_tool"),
    key(
        "requires",
        Shape::Requires,
        r#"{"python": ">=3.10"}"#,
        "What the plugin needs of its surroundings: version specifiers (PEP 440), quoted",
    ),
    key(
        "dependencies",
        Shape::Specifiers,
        r#"{"segment-anything": ">=2,<3"}"#,
        "Other plugins that this one needs: their codes, with version specifiers (PEP 440), quoted",
    )
    .default("{}"),
    key("tags", Shape::Texts, r#"["detection"]"#, "Words to find the plugin by").default("[]"),
    key(
        "allow_secrets",
        Shape::Globs,
        r#"["tests/keys/*.pem"]"#,
        "Files that are published although they look like credentials: paths, globs or ids of rules",
    )
    .default("[]"),
];

/// Keys of an action.
pub const ACTION: &[Key] = &[
    key(
        "entrypoint",
        Shape::Entrypoint,
        "plugin.train:TrainAction",
        "Where its code is: module.path:Name, a class or a function",
    )
    .required(),
    key(
        "method",
        Shape::Word(meanings::<Method>),
        "job",
        "How it is executed. Without one: job for upload, export, download, convert, train, test, deployment and to_task; serve for inference; task for any other name",
    ),
    key("description", Shape::Text, "Train on a dataset", "What the action does, for people"),
    key(
        "input_type",
        Shape::Text,
        "yolo_dataset",
        "Semantic type of its input; `synapse plugin update-config` writes what the code says",
    ),
    key(
        "output_type",
        Shape::Text,
        "model_weights",
        "Semantic type of its output; `synapse plugin update-config` writes what the code says",
    ),
    key(
        "hyperparameters",
        Shape::Mapping,
        r#"{"train_ui_schemas": [{"key": "epochs", "default": 100}]}"#,
        "Form fields of the hyperparameters, under train_ui_schemas; `synapse plugin update-config` writes what the code says",
    ),
    key(
        "ui_schema",
        Shape::Anything,
        r#"[{"key": "path", "default": ""}]"#,
        "Form fields of the action's parameters",
    ),
    key("serve_options", Shape::Mapping, r#"{"num_replicas": 1}"#, "Options of Ray Serve"),
    key(
        "cacheable",
        Shape::Boolean,
        "true",
        "Equal params give an equal result: `synapse plugin run --reuse` may then take an earlier one",
    )
    .default("false"),
];

/// Keys of `requires`.
pub const REQUIRES: &[Key] = &[
    key("sdk", Shape::Specifier, ">=2.0", "Versions of the SDK"),
    key(
        "python",
        Shape::Specifier,
        ">=3.10,<3.14",
        "Versions of Python",
    ),
    key("cuda", Shape::Specifier, ">=11.8", "Versions of CUDA"),
];

/// Keys of synapse-workspace.yaml.
pub const WORKSPACE: &[Key] = &[
    key(
        "members",
        Shape::Folders,
        r#"["plugins/synapse-*-plugin", "!plugins/synapse-old-plugin"]"#,
        "Folders of the plugins: paths or globs under the workspace; `!` in front excludes",
    )
    .required(),
    key("variants", Shape::Anything, r#"["acme"]"#, "Reserved; not read yet"),
    key(
        "libraries",
        Shape::Folders,
        r#"["libs/*"]"#,
        "Folders of shared Python packages, whose wheels go into the archives of plugins that need them",
    )
    .default("[]"),
    key(
        "storage",
        Shape::Texts,
        r#"["dev-store"]"#,
        "Object stores that archives go to as well: names of a login's, or their URLs without credentials",
    )
    .default("[]"),
    key("defaults", Shape::Anything, r#"{"package_manager": "uv"}"#, "Reserved; not read yet"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_key_is_named_once_and_older_ones_name_a_newer() {
        for keys in [CONFIG, ACTION, REQUIRES, WORKSPACE] {
            let names: BTreeSet<&str> = keys.iter().map(|key| key.name).collect();
            assert_eq!(names.len(), keys.len());
            for key in keys {
                assert!(
                    !key.doc.ends_with('.') && !key.doc.is_empty(),
                    "{}",
                    key.name
                );
                let newer = key.renamed.is_none_or(|newer| names.contains(newer));
                assert!(newer, "{}", key.name);
            }
        }
    }
}
