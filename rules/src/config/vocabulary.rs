//! Owns the closed sets of words that config.yaml uses: categories, methods, data types and the
//! like.

use serde::{Deserialize, Serialize};

/// A closed set of words.
pub trait Word: Copy + 'static {
    /// What one of them is called in a message, such as `category`.
    const NAME: &'static str;
    /// All of them, in the order in which they are listed to people.
    const ALL: &'static [Self];

    /// As written in a file.
    fn as_str(self) -> &'static str;

    /// What it means, in a few words.
    fn meaning(self) -> &'static str;

    /// The word with this spelling.
    fn from_word(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|word| word.as_str() == text)
    }
}

macro_rules! words {
    ($(#[$doc:meta])* $type:ident, $name:literal, {
        $(#[doc = $meaning:literal] $variant:ident = $text:literal,)*
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $type {
            $(#[doc = $meaning] #[serde(rename = $text)] $variant,)*
        }

        impl Word for $type {
            const NAME: &'static str = $name;
            const ALL: &'static [Self] = &[$(Self::$variant,)*];

            fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }

            fn meaning(self) -> &'static str {
                match self {
                    $(Self::$variant => $meaning.trim(),)*
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words!(
    /// What kind of plugin it is.
    Category, "category", {
        /// Trains or serves a model.
        NeuralNet = "neural_net",
        /// Exports data.
        Export = "export",
        /// Uploads data.
        Upload = "upload",
        /// Helps annotators.
        SmartTool = "smart_tool",
        /// Runs after annotation.
        PostAnnotation = "post_annotation",
        /// Runs before annotation.
        PreAnnotation = "pre_annotation",
        /// Checks data.
        DataValidation = "data_validation",
        /// Anything else.
        Custom = "custom",
    }
);

words!(
    /// How an action is executed.
    Method, "method", {
        /// A Ray job.
        Job = "job",
        /// A Ray task.
        Task = "task",
        /// A Ray Serve application.
        Serve = "serve",
        /// A call over HTTP.
        RestApi = "restapi",
    }
);

words!(
    /// What kind of data a plugin works on.
    DataType, "data type", {
        /// Images.
        Image = "image",
        /// Texts.
        Text = "text",
        /// Videos.
        Video = "video",
        /// Point clouds.
        Pcd = "pcd",
        /// Sound.
        Audio = "audio",
        /// Anything.
        Data = "data",
    }
);

words!(
    /// Who installs a plugin's dependencies.
    PackageManager, "package manager", {
        /// pip.
        Pip = "pip",
        /// uv.
        Uv = "uv",
    }
);

words!(
    /// How a smart tool works with its user.
    SmartTool, "smart tool", {
        /// Answers to the user's clicks.
        Interactive = "interactive",
        /// Works alone.
        Automatic = "automatic",
        /// Works alone, the user corrects.
        SemiAutomatic = "semi_automatic",
    }
);

impl Method {
    /// The method of an action that names none: by well-known action name, else a task.
    pub fn default_for(action: &str) -> Self {
        Self::by_name(action).unwrap_or(Self::Task)
    }

    /// The method that goes with a well-known action name.
    pub fn by_name(action: &str) -> Option<Self> {
        Some(match action {
            "upload" | "export" | "download" | "convert" | "train" | "test" | "deployment"
            | "to_task" => Self::Job,
            "inference" => Self::Serve,
            "auto_label" => Self::Task,
            _ => return None,
        })
    }
}
