//! Owns the answers that decide a new plugin, and what is wrong with one, told with the nearest
//! that is right.

use synapse_engine::Failure;

use crate::config::{Category, DataType, Word, diagnostic::quote, nearest, slug};

/// Characters that a code may have.
const CODE: usize = 100;

/// The tasks that are known of each kind of data.
const TASKS: [(DataType, &[&str]); 6] = [
    (
        DataType::Image,
        &[
            "object_detection",
            "classification",
            "segmentation",
            "keypoint_detection",
        ],
    ),
    (
        DataType::Text,
        &["classification", "named_entity_recognition", "generation"],
    ),
    (
        DataType::Video,
        &["object_detection", "classification", "object_tracking"],
    ),
    (DataType::Pcd, &["object_detection", "segmentation"]),
    (DataType::Audio, &["classification", "speech_recognition"]),
    (
        DataType::Data,
        &["classification", "regression", "forecasting"],
    ),
];

/// What decides a new plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answers {
    /// Name for people, on one line.
    pub name: String,
    /// Name for machines.
    pub code: String,
    /// Kind of plugin.
    pub category: Category,
    /// Kind of data, where it matters.
    pub data_type: Option<DataType>,
    /// Tasks, as `data_type.task`.
    pub tasks: Vec<String>,
}

/// Why an answer is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// What is wrong.
    pub message: String,
    /// What may be meant, or all that there is.
    pub hint: String,
}

impl Refused {
    fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: hint.into(),
        }
    }

    /// Few words for a question that is asked again: a long line spoils the screen.
    pub fn short(&self) -> String {
        format!("that cannot be: {}", self.hint)
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        Self::usage(refused.message).hint(refused.hint)
    }
}

/// A name on one line: whitespace and control characters become single spaces.
pub fn name(given: &str) -> Result<String, Refused> {
    let gap = |c: char| c.is_whitespace() || c.is_control();
    let words: Vec<&str> = given.split(gap).filter(|word| !word.is_empty()).collect();
    if words.is_empty() {
        let hint = "give one with --name, such as --name \"My Plugin\"";
        return Err(Refused::new("the name is empty", hint));
    }
    Ok(words.join(" "))
}

/// A code: lowercase letters, digits, and hyphens between them.
pub fn code(given: &str) -> Result<String, Refused> {
    let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let edges = given.starts_with('-') || given.ends_with('-');
    if !given.is_empty() && given.len() <= CODE && !edges && given.chars().all(fine) {
        return Ok(given.to_owned());
    }
    let message = format!(
        "the code {} may hold lowercase letters, digits, and hyphens between them",
        quote(given)
    );
    let hint = match slug(given) {
        _ if given.len() > CODE => format!("write at most {CODE} characters"),
        Some(slug) => format!("write {slug}"),
        None => "write one such as my-plugin".to_owned(),
    };
    Err(Refused::new(message, hint))
}

/// The code that follows from a name.
pub fn code_of(name: &str) -> Result<String, Refused> {
    slug(name).ok_or_else(|| {
        let message = format!("no code follows from the name {}", quote(name));
        Refused::new(message, "give one with --code, such as --code my-plugin")
    })
}

/// The name that follows from a code: `yolo-v8` gives `Yolo V8`.
pub fn name_of(code: &str) -> String {
    let words = code.split('-').filter(|word| !word.is_empty());
    let words = words.map(|word| {
        let (first, rest) = word.split_at(1);
        first.to_uppercase() + rest
    });
    words.collect::<Vec<_>>().join(" ")
}

/// A category.
pub fn category(given: &str) -> Result<Category, Refused> {
    word(given)
}

/// A kind of data.
pub fn data_type(given: &str) -> Result<DataType, Refused> {
    word(given)
}

fn word<W: Word>(given: &str) -> Result<W, Refused> {
    if let Some(word) = W::from_word(given) {
        return Ok(word);
    }
    let all = || W::ALL.iter().map(|word| word.as_str());
    let hint = match nearest(given, all()) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("there are {}", all().collect::<Vec<_>>().join(", ")),
    };
    let message = format!("{} is no {}", quote(given), W::NAME);
    Err(Refused::new(message, hint))
}

/// The tasks that are known of a kind of data, as `data_type.task`; the usual one first.
pub fn tasks_of(data_type: DataType) -> Vec<String> {
    let own = TASKS.iter().find(|(own, _)| *own == data_type);
    let names = own.map_or(&[][..], |(_, names)| names);
    names
        .iter()
        .map(|name| format!("{data_type}.{name}"))
        .collect()
}

/// A task, as `data_type.task`; the kind of data may be left out where it is known.
pub fn task(given: &str, data_type: Option<DataType>) -> Result<String, Refused> {
    let whole = match data_type {
        Some(own) if !given.contains('.') => format!("{own}.{given}"),
        _ => given.to_owned(),
    };
    let known: Vec<String> = match data_type {
        Some(own) => tasks_of(own),
        None => DataType::ALL
            .iter()
            .flat_map(|own| tasks_of(*own))
            .collect(),
    };
    if known.contains(&whole) {
        return Ok(whole);
    }
    let names = || known.iter().map(String::as_str);
    let ends = |own: &&str| own.split_once('.').is_some_and(|(_, task)| task == given);
    let same = names().find(ends);
    let hint = match same.or_else(|| nearest(&whole, names())) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("there are {}", known.join(", ")),
    };
    let what = match data_type {
        Some(own) => format!("{} is no known task of {own} data", quote(given)),
        None => format!("{} is no known task", quote(given)),
    };
    Err(Refused::new(what, hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_strict_and_say_what_they_should_be() {
        for fine in ["yolov8", "a", "3d-box", &"a".repeat(100)] {
            assert_eq!(code(fine).unwrap(), fine);
        }
        for (bad, hint) in [
            ("YOLO v8", "write yolo-v8"),
            ("my_plugin", "write my-plugin"),
            ("-a-", "write a"),
            ("", "write one such as my-plugin"),
            ("검출", "write one such as my-plugin"),
            (&"a".repeat(101), "write at most 100 characters"),
        ] {
            assert_eq!(code(bad).unwrap_err().hint, hint, "{bad}");
        }
    }

    #[test]
    fn names_lie_on_one_line() {
        assert_eq!(name(" a\n b\t\u{7}c ").unwrap(), "a b c");
        assert!(name(" \n").is_err());
        assert_eq!(name_of("yolo-v8"), "Yolo V8");
        assert_eq!(
            code_of("YOLOv8 Object Detection").unwrap(),
            "yolov8-object-detection"
        );
        let refused = code_of("객체 검출").unwrap_err();
        assert!(refused.hint.contains("--code"), "{refused:?}");
    }

    #[test]
    fn what_is_near_is_named_and_else_everything() {
        assert_eq!(
            category("neural-net").unwrap_err().hint,
            "did you mean neural_net?"
        );
        let hint = category("segmentation").unwrap_err().hint;
        assert!(
            Category::ALL.iter().all(|own| hint.contains(own.as_str())),
            "{hint}"
        );
        assert_eq!(data_type("imgae").unwrap_err().hint, "did you mean image?");
        let image = Some(DataType::Image);
        assert_eq!(task("segmentation", image).unwrap(), "image.segmentation");
        assert_eq!(
            task("image.object_detecton", None).unwrap_err().hint,
            "did you mean image.object_detection?"
        );
        assert_eq!(
            task("generation", None).unwrap_err().hint,
            "did you mean text.generation?"
        );
        let hint = task("image.qqqqqqqqqqqqqqqqqqqq", image).unwrap_err().hint;
        assert!(hint.contains("image.classification"), "{hint}");
        let other = task("text.generation", image).unwrap_err();
        assert!(other.message.contains("of image data"), "{other:?}");
        for own in DataType::ALL {
            assert!(!tasks_of(*own).is_empty());
        }
    }
}
