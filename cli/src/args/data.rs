//! Owns the options of the commands on data of this machine.

use std::path::PathBuf;

use clap::Subcommand;

/// What every reader of JSON can hold; above it there are free ids.
const HIGHEST_ID: i64 = (1 << 53) - 1;

/// `synapse dataset`.
#[derive(Debug, Subcommand)]
pub enum Dataset {
    /// Register a local folder as a dataset
    #[command(
        after_help = "Example: synapse dataset add ./coco128 --name coco128 --id 123 --format yolo --split train=images/train --split val=images/val"
    )]
    Add {
        /// The folder
        dir: PathBuf,
        /// Its name
        #[arg(short, long)]
        name: String,
        /// Its id (default: the next free one)
        #[arg(long, value_parser = clap::value_parser!(i64).range(1..=HIGHEST_ID))]
        id: Option<i64>,
        /// Its format.
        #[arg(
            long,
            help = "Its format: yolo, coco, pascal_voc, dm_v1 or dm_v2 (default: what its layout tells)"
        )]
        format: Option<String>,
        /// A split and the files that are in it, such as train=images/train; may be repeated
        #[arg(long, value_name = "NAME=PATTERN")]
        split: Vec<String>,
        /// Replace the dataset with this id
        #[arg(long, requires = "id")]
        replace: bool,
    },
    /// List datasets
    #[command(after_help = "Example: synapse dataset list")]
    List,
    /// Show one dataset
    #[command(after_help = "Example: synapse dataset show 123")]
    Show {
        /// Its id or name
        dataset: String,
    },
}

/// `synapse model`.
#[derive(Debug, Subcommand)]
pub enum Model {
    /// List models
    #[command(after_help = "Example: synapse model list")]
    List,
    /// Show one model
    #[command(after_help = "Example: synapse model show 1")]
    Show {
        /// Its id
        id: i64,
    },
    /// Copy a model's file
    #[command(after_help = "Example: synapse model get 1 --output best.pt")]
    Get {
        /// Its id
        id: i64,
        /// Where to (default: its own name, in the current folder)
        #[arg(short, long, value_name = "PATH")]
        output: Option<PathBuf>,
    },
}
