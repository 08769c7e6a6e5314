//! Owns the table of the SDK's names that inspection knows: base classes with what a subclass
//! inherits from them, data types with their `name`.

/// A base class of actions.
#[derive(Debug)]
pub(super) struct Base {
    /// Its name, unique in the SDK.
    pub(super) name: &'static str,
    /// The base class that it derives from.
    pub(super) parent: Option<&'static str>,
    /// Methods that a subclass must define.
    pub(super) needs: &'static [&'static str],
    /// Methods that it defines.
    pub(super) has: &'static [&'static str],
    /// Its `action_name`.
    pub(super) action_name: Option<&'static str>,
    /// Its `category`.
    pub(super) category: Option<&'static str>,
    /// The `name` of its `output_type`.
    pub(super) output_type: Option<&'static str>,
    /// Its params model, where it is not generic.
    pub(super) params: Option<&'static str>,
}

const PLAIN: Base = Base {
    name: "BaseAction",
    parent: None,
    needs: &["execute"],
    has: &[],
    action_name: None,
    category: None,
    output_type: None,
    params: None,
};

/// Base classes of actions.
const BASES: [Base; 12] = [
    PLAIN,
    Base {
        name: "BaseTrainAction",
        parent: Some("BaseAction"),
        needs: &[],
        has: &["execute"],
        category: Some("neural_net"),
        ..PLAIN
    },
    Base {
        name: "BaseInferenceAction",
        parent: Some("BaseAction"),
        needs: &[],
        category: Some("neural_net"),
        ..PLAIN
    },
    Base {
        name: "BaseDeploymentAction",
        parent: Some("BaseAction"),
        needs: &[],
        category: Some("neural_net"),
        ..PLAIN
    },
    Base {
        name: "BaseServeDeployment",
        parent: Some("BaseAction"),
        needs: &["_get_model", "infer"],
        has: &["execute"],
        ..PLAIN
    },
    Base {
        name: "BaseExportAction",
        parent: Some("BaseAction"),
        needs: &[],
        category: Some("export"),
        ..PLAIN
    },
    Base {
        name: "DefaultExportAction",
        parent: Some("BaseExportAction"),
        needs: &[],
        has: &["execute"],
        action_name: Some("export"),
        params: Some("ExportParams"),
        ..PLAIN
    },
    Base {
        name: "BaseUploadAction",
        parent: Some("BaseAction"),
        needs: &[],
        has: &["execute"],
        category: Some("upload"),
        ..PLAIN
    },
    Base {
        name: "DefaultUploadAction",
        parent: Some("BaseUploadAction"),
        needs: &[],
        ..PLAIN
    },
    Base {
        name: "DatasetAction",
        parent: Some("BaseAction"),
        needs: &[],
        has: &["execute"],
        output_type: Some("yolo_dataset"),
        params: Some("DatasetParams"),
        ..PLAIN
    },
    Base {
        name: "ToTaskAction",
        parent: Some("BaseAction"),
        needs: &[],
        has: &["execute"],
        action_name: Some("to_task"),
        params: Some("ToTaskParams"),
        ..PLAIN
    },
    Base {
        name: "BaseAutoLabelAction",
        parent: Some("BaseAction"),
        needs: &["handle_input", "handle_output"],
        has: &["execute"],
        category: Some("smart_tool"),
        ..PLAIN
    },
];

/// Other names that the SDK gives to one of them.
const ALIASES: [(&str, &str); 2] = [
    ("AddTaskDataAction", "ToTaskAction"),
    ("ExportAction", "DefaultExportAction"),
];

/// Data types: class and `name`.
const TYPES: [(&str, &str); 15] = [
    ("DataType", "data"),
    ("Dataset", "dataset"),
    ("DMDataset", "dm_dataset"),
    ("DMv1Dataset", "dm_v1_dataset"),
    ("DMv2Dataset", "dm_v2_dataset"),
    ("YOLODataset", "yolo_dataset"),
    ("COCODataset", "coco_dataset"),
    ("PascalVOCDataset", "pascal_voc_dataset"),
    ("Model", "model"),
    ("ModelWeights", "model_weights"),
    ("ONNXModel", "onnx_model"),
    ("TensorRTModel", "tensorrt_model"),
    ("Result", "result"),
    ("TestResults", "test_results"),
    ("InferenceResults", "inference_results"),
];

/// The package, and everything below it.
pub(super) fn is_own(module: &str) -> bool {
    module == "synapse_sdk" || module.starts_with("synapse_sdk.")
}

fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

/// The base class at a dotted path of the SDK, whichever module it is taken from.
pub(super) fn base(path: &str) -> Option<&'static Base> {
    let name = last(path);
    let name = ALIASES
        .iter()
        .find(|(alias, _)| *alias == name)
        .map_or(name, |(_, own)| own);
    BASES.iter().find(|base| base.name == name)
}

/// The `name` of the data type at a dotted path of the SDK. The enum of the same name as the
/// root of data types lives in `enums`.
pub(super) fn data_type(path: &str) -> Option<&'static str> {
    if path.contains(".enums") {
        return None;
    }
    let name = last(path);
    TYPES
        .iter()
        .find(|(class, _)| *class == name)
        .map(|(_, name)| *name)
}

/// Whether a dotted path of the SDK is the decorator of action functions.
pub(super) fn is_action(path: &str) -> bool {
    last(path) == "action"
}

/// The value of an enum member at a dotted path of the SDK, such as `...PluginCategory.EXPORT`.
pub(super) fn member(path: &str, of: &str) -> Option<String> {
    let (owner, member) = path.rsplit_once('.')?;
    (last(owner) == of).then(|| member.to_lowercase())
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs, path::Path};

    use super::*;
    use crate::inspect::{
        classes::{Ancestor, Attribute, Params},
        modules::Modules,
        source::Value,
    };

    fn sources(folder: &Path, place: &str, all: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{place}/{}", entry.file_name().to_str().unwrap());
            if entry.file_type().unwrap().is_dir() {
                sources(&entry.path(), &name, all);
            } else if crate::inspect::is_source(&name) {
                all.insert(name, fs::read_to_string(entry.path()).unwrap());
            }
        }
    }

    /// The package itself, read as if it were a plugin.
    #[test]
    fn the_table_says_what_the_package_does() {
        let mut all = BTreeMap::new();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../python/synapse_sdk");
        sources(&folder, "synapse_sdk", &mut all);
        let modules = Modules::new(&all);
        let place = |name: &str| {
            modules.list.iter().enumerate().find_map(|(module, own)| {
                let at = own.classes.iter().position(|class| class.name == name)?;
                own.path
                    .starts_with("synapse_sdk/plugins/")
                    .then_some((module, at))
            })
        };
        for base in &BASES {
            let line = modules.line(place(base.name).unwrap_or_else(|| panic!("{}", base.name)));
            let own = |ancestor: &Ancestor| match ancestor {
                Ancestor::Own(place) => Some(*place),
                _ => None,
            };
            let classes: Vec<_> = line
                .iter()
                .filter_map(own)
                .map(|at| modules.class(at))
                .collect();
            let above = classes
                .iter()
                .skip(1)
                .any(|class| Some(class.name.as_str()) == base.parent);
            assert!(above || base.parent.is_none(), "{}", base.name);
            let open = |name: &str| {
                classes
                    .iter()
                    .find_map(|class| class.methods.get(name))
                    .copied()
            };
            for name in [
                "execute",
                "_get_model",
                "infer",
                "handle_input",
                "handle_output",
            ] {
                let mut line = vec![base];
                while let Some(parent) = line.last().unwrap().parent {
                    line.push(super::base(parent).unwrap());
                }
                let told = line.iter().find_map(|base| {
                    let needed = base.needs.contains(&name).then_some(true);
                    needed.or(base.has.contains(&name).then_some(false))
                });
                let callable =
                    open(name).filter(|open| *open || name == "execute" || told.is_some());
                assert_eq!(told, callable, "{}.{name}", base.name);
            }
            let literal = |name: &str| match modules.attribute(&line, name) {
                Attribute::Set(module, value) if value != Value::None => match value {
                    Value::Path(path) => Some(path.last().unwrap().to_lowercase()),
                    other => modules.text(module, &other),
                },
                _ => None,
            };
            let own = |told: fn(&Base) -> Option<&'static str>| {
                let mut at = Some(base);
                while let Some(base) = at {
                    if let Some(told) = told(base) {
                        return Some(told.to_owned());
                    }
                    at = base.parent.and_then(super::base);
                }
                None
            };
            assert_eq!(
                own(|base| base.action_name),
                literal("action_name"),
                "{}",
                base.name
            );
            assert_eq!(
                own(|base| base.category),
                literal("category"),
                "{}",
                base.name
            );
            let output = literal("output_type").map(|name| {
                let known = TYPES.iter().find(|(class, _)| class.to_lowercase() == name);
                known.unwrap().1.to_owned()
            });
            assert_eq!(own(|base| base.output_type), output, "{}", base.name);
            assert_eq!(
                base.params.is_some(),
                modules.params(&line) != Params::Absent,
                "{}",
                base.name
            );
            assert_eq!(
                modules.attribute(&line, "method"),
                Attribute::Absent,
                "{}",
                base.name
            );
        }
        let index = modules
            .list
            .iter()
            .position(|own| own.path == "synapse_sdk/plugins/types.py");
        for (class, name) in TYPES {
            let path = Value::Path(vec![class.to_owned()]);
            assert_eq!(
                modules.data_type(index.unwrap(), &path),
                Ok(name.to_owned())
            );
        }
    }
}
