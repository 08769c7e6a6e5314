//! Owns the options of `synapse plugin create`.

use std::path::PathBuf;

use clap::Args;

/// `synapse plugin create`.
#[derive(Debug, Args)]
pub struct Create {
    /// Output directory (default: current)
    #[arg(short, long, value_name = "DIR")]
    pub path: Option<PathBuf>,
    /// Plugin display name
    #[arg(short, long)]
    pub name: Option<String>,
    /// Plugin code identifier: lowercase letters, digits, hyphens (default: from the name)
    #[arg(long)]
    pub code: Option<String>,
    /// Plugin category: `neural_net`, `export`, `upload`, `smart_tool`, `post_annotation`, `pre_annotation`, `data_validation` or `custom`
    #[arg(short, long)]
    pub category: Option<String>,
    /// Kind of data: `image`, `text`, `video`, `pcd`, `audio` or `data`
    #[arg(long, value_name = "TYPE")]
    pub data_type: Option<String>,
    /// Tasks, such as `image.object_detection`; may be repeated, or separated by commas
    #[arg(long, value_name = "TASK", value_delimiter = ',')]
    pub tasks: Vec<String>,
    /// Ask nothing: take defaults for what is missing
    #[arg(short, long)]
    pub yes: bool,
    /// Template of your own: a folder or a git repository, with #REF at a branch, tag or commit
    #[arg(long, value_name = "DIR|GIT")]
    pub template: Option<String>,
}
