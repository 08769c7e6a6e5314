//! Owns generated plugins: workspaces of many small ones, and single large ones for the archive
//! bench. The same arguments give the same bytes on every machine.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

/// Writes a workspace of generated plugins.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder to write into; must be empty or absent.
    dir: PathBuf,
    /// Number of plugins.
    #[arg(long, default_value_t = 100)]
    plugins: u32,
    /// Files of each plugin, config.yaml included.
    #[arg(long, default_value_t = 40)]
    files: u32,
    /// Another seed gives other text.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Writes the workspace and says so.
pub(crate) fn run(args: &Args) -> Result<bool> {
    let paths = workspace(&args.dir, args.plugins, args.files, args.seed)?;
    println!(
        "{} plugins, {} files in {}",
        args.plugins,
        paths.len(),
        args.dir.display()
    );
    Ok(true)
}

/// Folder of the plugin with this number, below the workspace.
pub(crate) fn plugin_dir(number: u32) -> String {
    format!("plugins/synapse-p{number:04}-plugin")
}

/// Writes a workspace and returns the paths of all plugin files, relative to `dir`.
pub(crate) fn workspace(dir: &Path, plugins: u32, files: u32, seed: u64) -> Result<Vec<String>> {
    ensure!(
        files >= 2,
        "a plugin has at least its config.yaml and one module"
    );
    fs::create_dir_all(dir)?;
    ensure!(
        fs::read_dir(dir)?.next().is_none(),
        "{} is not empty",
        dir.display()
    );
    fs::write(
        dir.join("synapse-workspace.yaml"),
        "members:\n  - plugins/synapse-*-plugin\n",
    )?;
    let mut paths = Vec::new();
    let names = file_names(files);
    for number in 1..=plugins {
        // Each plugin has its own stream, so plugin 7 is the same in a workspace of any size.
        let mut random = Random::new(seed ^ (u64::from(number) << 32));
        let folder = plugin_dir(number);
        for sub in ["plugin/steps", "plugin/models"] {
            fs::create_dir_all(dir.join(&folder).join(sub))?;
        }
        for name in &names {
            let path = format!("{folder}/{name}");
            fs::write(dir.join(&path), content(name, number, &mut random))
                .with_context(|| path.clone())?;
            paths.push(path);
        }
    }
    Ok(paths)
}

/// The first `count` names of a plugin's files: what it needs first, then modules in turn over
/// its three folders.
fn file_names(count: u32) -> Vec<String> {
    let fixed = [
        "config.yaml",
        "plugin/train.py",
        "plugin/__init__.py",
        "README.md",
        "requirements.txt",
        "plugin/steps/__init__.py",
        "plugin/models/__init__.py",
    ];
    let modules = (0..).map(|index| {
        let folder = ["plugin", "plugin/steps", "plugin/models"][index % 3];
        format!("{folder}/part_{index:03}.py")
    });
    fixed
        .map(str::to_owned)
        .into_iter()
        .chain(modules)
        .take(count as usize)
        .collect()
}

fn content(name: &str, number: u32, random: &mut Random) -> String {
    const CATEGORIES: [&str; 8] = [
        "neural_net",
        "export",
        "upload",
        "smart_tool",
        "post_annotation",
        "pre_annotation",
        "data_validation",
        "custom",
    ];
    match name {
        "config.yaml" => config(
            &format!("p{number:04}"),
            CATEGORIES[number as usize % CATEGORIES.len()],
        ),
        "README.md" => format!("# Generated plugin {number:04}\n\n{}", prose(random)),
        "requirements.txt" => format!("numpy>=1.{}.0\n", 20 + random.below(6)),
        "plugin/train.py" => entrypoint(random),
        _ if name.ends_with("__init__.py") => format!("\"\"\"{}\"\"\"\n", sentence(random)),
        _ => {
            let size = 1_000 + random.below(7_000) as usize;
            let mut text = String::with_capacity(size + 400);
            module(&mut text, size, random);
            text
        }
    }
}

fn config(code: &str, category: &str) -> String {
    format!(
        "# Written by cargo xtask gen-monorepo.\n\
         name: Generated plugin {code}\n\
         code: {code}\n\
         version: 1.0.0\n\
         category: {category}\n\
         description: Stands for one of many plugins\n\
         readme: README.md\n\
         package_manager: pip\n\
         \n\
         actions:\n  train:\n    entrypoint: plugin.train:TrainAction\n    method: job\n    \
         description: Train on a dataset\n"
    )
}

fn entrypoint(random: &mut Random) -> String {
    let mut text = String::from(
        "\"\"\"The action that config.yaml names.\"\"\"\n\n\
         from __future__ import annotations\n\n\
         from pathlib import Path\n\n\
         from pydantic import BaseModel, Field\n\
         from synapse_sdk.plugins import BaseAction\n\n\n\
         class TrainParams(BaseModel):\n    \"\"\"What to train on.\"\"\"\n\n    \
         dataset: int = Field(..., description=\"Dataset ID\")\n    \
         epochs: int = Field(default=10, ge=1)\n\n\n\
         class TrainAction(BaseAction[TrainParams]):\n    \"\"\"Train on a dataset.\"\"\"\n\n    \
         def execute(self) -> dict:\n        \
         for epoch in range(self.params.epochs):\n            \
         self.set_progress(epoch + 1, self.params.epochs)\n        \
         return {\"epochs\": self.params.epochs}\n\n\n",
    );
    functions(&mut text, 2_500, random);
    text
}

/// A plugin of large files: text that compresses like source, and noise that does not at all.
pub(crate) struct Large {
    /// Number and bytes of the text files.
    pub(crate) text: (u32, u64),
    /// Number and bytes of the noise files.
    pub(crate) noise: (u32, u64),
}

impl Large {
    /// The plugin of `bench archive`.
    pub(crate) const BENCH: Self = Self {
        text: (40, 6_000_000),
        noise: (20, 10_000_000),
    };
}

/// The small file of a large plugin that the archive bench edits.
pub(crate) const SMALL_FILE: &str = "plugin/train.py";

/// Writes one large plugin into `dir`, holding one block in memory at a time.
pub(crate) fn large_plugin(dir: &Path, large: &Large, seed: u64) -> Result<()> {
    fs::create_dir_all(dir.join("plugin/corpus"))?;
    fs::create_dir_all(dir.join("plugin/weights"))?;
    let mut random = Random::new(seed);
    fs::write(dir.join("config.yaml"), config("large", "neural_net"))?;
    fs::write(
        dir.join("README.md"),
        format!("# Large plugin\n\n{}", prose(&mut random)),
    )?;
    fs::write(dir.join("plugin/__init__.py"), "")?;
    fs::write(dir.join(SMALL_FILE), entrypoint(&mut random))?;
    for index in 0..large.text.0 {
        let path = dir.join(format!("plugin/corpus/text_{index:03}.txt"));
        write_text(&path, large.text.1, &mut random).with_context(|| path.display().to_string())?;
    }
    for index in 0..large.noise.0 {
        let path = dir.join(format!("plugin/weights/noise_{index:03}.bin"));
        write_noise(&path, large.noise.1, &mut random)
            .with_context(|| path.display().to_string())?;
    }
    Ok(())
}

fn write_text(path: &Path, size: u64, random: &mut Random) -> Result<()> {
    let mut file = BufWriter::with_capacity(1 << 18, File::create(path)?);
    let mut block = String::new();
    let mut left = size;
    while left > 0 {
        block.clear();
        module(&mut block, 4_000, random);
        table(&mut block, 48, random);
        let take = block.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        file.write_all(&block.as_bytes()[..take])?;
        left -= take as u64;
    }
    Ok(file.flush()?)
}

fn write_noise(path: &Path, size: u64, random: &mut Random) -> Result<()> {
    let mut file = File::create(path)?;
    let mut block = vec![0; 1 << 18];
    let mut left = size;
    while left > 0 {
        for word in block.chunks_exact_mut(8) {
            word.copy_from_slice(&random.next().to_le_bytes());
        }
        let take = block.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        file.write_all(&block[..take])?;
        left -= take as u64;
    }
    Ok(())
}

/// The splitmix64 generator: small, seeded, and the same everywhere.
pub(crate) struct Random(u64);

impl Random {
    /// Starts a stream.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number below `limit`, which is not 0.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len() as u64) as usize]
    }
}

const NOUNS: [&str; 48] = [
    "anchor",
    "annotation",
    "batch",
    "blob",
    "box",
    "bucket",
    "camera",
    "channel",
    "checkpoint",
    "chunk",
    "category",
    "cluster",
    "column",
    "corner",
    "crop",
    "dataset",
    "detector",
    "edge",
    "epoch",
    "feature",
    "frame",
    "gradient",
    "heatmap",
    "image",
    "index",
    "kernel",
    "label",
    "layer",
    "loss",
    "mask",
    "matrix",
    "metric",
    "model",
    "offset",
    "overlay",
    "patch",
    "pixel",
    "polygon",
    "project",
    "record",
    "region",
    "sample",
    "score",
    "segment",
    "tensor",
    "tile",
    "vertex",
    "weight",
];

const VERBS: [&str; 32] = [
    "align",
    "append",
    "balance",
    "blend",
    "clip",
    "collect",
    "compare",
    "convert",
    "count",
    "decode",
    "encode",
    "expand",
    "filter",
    "flatten",
    "gather",
    "group",
    "load",
    "merge",
    "normalize",
    "project",
    "rank",
    "reduce",
    "resize",
    "sample",
    "scale",
    "shift",
    "sort",
    "split",
    "stack",
    "trim",
    "update",
    "weigh",
];

const TYPES: [&str; 6] = ["float", "int", "str", "bytes", "Path", "bool"];

fn sentence(random: &mut Random) -> String {
    let (verb, noun, other) = (
        random.pick(&VERBS),
        random.pick(&NOUNS),
        random.pick(&NOUNS),
    );
    match random.below(3) {
        0 => format!("How to {verb} every {noun} of the {other}."),
        1 => format!("The {noun} and its {other}, ready to {verb}."),
        _ => format!("Prepares each {noun} so that one can {verb} the {other}."),
    }
}

fn prose(random: &mut Random) -> String {
    let mut text = String::new();
    for _ in 0..6 {
        text.push_str(&sentence(random));
        text.push('\n');
    }
    text
}

/// Appends one Python module of about `size` bytes.
fn module(text: &mut String, size: usize, random: &mut Random) {
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "\"\"\"{}\"\"\"\n\nfrom __future__ import annotations\n\nfrom pathlib import Path\n\n",
        sentence(random),
    );
    functions(text, size, random);
}

/// Appends what a module defines. As in real sources, it keeps to a few words of its own and
/// repeats its shapes, which is what lets deflate shrink it.
fn functions(text: &mut String, size: usize, random: &mut Random) {
    let end = text.len() + size;
    // No word twice: the stride and the number of words have no common factor.
    let (start, stride) = (
        random.below(48) as usize,
        [5, 7, 11, 13][random.below(4) as usize],
    );
    let nouns: [&str; 5] = std::array::from_fn(|index| NOUNS[(start + index * stride) % 48]);
    let verbs: [&str; 3] = std::array::from_fn(|_| random.pick(&VERBS));
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "LIMIT = {}\nSTEP = 0.{:04}\n",
        random.below(100_000),
        random.below(10_000),
    );
    while text.len() < end {
        function(text, &nouns, &verbs, random);
    }
}

fn function(text: &mut String, nouns: &[&str], verbs: &[&str], random: &mut Random) {
    let verb = random.pick(verbs);
    // Two different words, or a signature would have one name twice.
    let first = random.below(nouns.len() as u64) as usize;
    let second = first + 1 + random.below(nouns.len() as u64 - 1) as usize;
    let (noun, other) = (nouns[first], nouns[second % nouns.len()]);
    let kind = random.pick(&TYPES);
    let number = random.below(1_000);
    let id = random.below(10_000);
    let _ = match random.below(4) {
        0 => write!(
            text,
            "\n\ndef {verb}_{noun}_{id}({noun}s: list[float], {other}: {kind} | None = None) -> \
             dict[str, float]:\n    \"\"\"{}\"\"\"\n    result: dict[str, float] = {{}}\n    \
             for index, {noun} in enumerate({noun}s):\n        if {noun} > {number} * STEP:\n            \
             result[f\"{other}-{{index}}\"] = {noun} / LIMIT\n    return result\n",
            sentence(random),
        ),
        1 => write!(
            text,
            "\n\ndef {verb}_{noun}_{id}({noun}: {kind}, {other}s: list[{kind}]) -> \
             list[{kind}]:\n    if not {other}s:\n        raise ValueError(\"no {other} to {verb}: \
             {id}\")\n    return [{noun} for {other} in {other}s if {other} != {noun}][:{number}]\n",
        ),
        2 => write!(
            text,
            "\n\nclass {}{}{id}:\n    \"\"\"{}\"\"\"\n\n    def __init__(self, {noun}: {kind}, \
             {other}: float = 0.{number:03}) -> None:\n        self.{noun} = {noun}\n        \
             self._{other} = {other}\n\n    def {verb}(self, {other}s: list[float]) -> float:\n        \
             return sum({other} * self._{other} for {other} in {other}s) / LIMIT\n",
            capital(noun),
            capital(other),
            sentence(random),
        ),
        _ => write!(
            text,
            "\n\ndef test_{verb}_{noun}_{id}() -> None:\n    {noun}s = [{}, {}, {}]\n    \
             {other} = sorted({noun}s, reverse=True)\n    assert {other}[0] >= {other}[-1]\n    \
             assert len({other}) == len({noun}s)\n",
            random.below(1_000),
            random.below(1_000),
            random.below(1_000),
        ),
    };
}

/// Appends measured values, which hardly compress: a long file gives deflate so much to look back
/// on that without them it would shrink more than source does.
fn table(text: &mut String, rows: usize, random: &mut Random) {
    text.push_str("\n\nVALUES = [\n");
    for _ in 0..rows {
        let (left, right) = (random.below(100_000_000), random.below(100_000_000));
        let _ = writeln!(text, "    (0.{left:08}, 0.{right:08}),");
    }
    text.push_str("]\n");
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use flate2::{Compression, write::DeflateEncoder};

    use super::*;

    fn deflated(bytes: &[u8]) -> usize {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(6));
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap().len()
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        let scratch = tempfile::tempdir().unwrap();
        let (one, two, three) = (
            scratch.path().join("1"),
            scratch.path().join("2"),
            scratch.path().join("3"),
        );
        let paths = workspace(&one, 3, 12, 7).unwrap();
        workspace(&two, 2, 12, 7).unwrap();
        workspace(&three, 2, 12, 8).unwrap();
        assert_eq!(paths.len(), 36);
        for path in &paths[..24] {
            assert_eq!(
                fs::read(one.join(path)).unwrap(),
                fs::read(two.join(path)).unwrap()
            );
        }
        let part = "plugins/synapse-p0002-plugin/plugin/part_000.py";
        assert_ne!(
            fs::read(one.join(part)).unwrap(),
            fs::read(three.join(part)).unwrap()
        );
        assert!(
            workspace(&one, 1, 12, 7).is_err(),
            "never over what is there"
        );
    }

    #[test]
    fn small_files_compress_like_source() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path().join("w");
        let paths = workspace(&dir, 10, 40, 1).unwrap();
        assert_eq!(paths.len(), 400);
        let mut folders = BTreeSet::new();
        let (mut raw, mut packed) = (0, 0);
        for path in paths.iter().filter(|path| path.contains("/part_")) {
            let bytes = fs::read(dir.join(path)).unwrap();
            assert!(
                (1_000..=9_000).contains(&bytes.len()),
                "{path}: {}",
                bytes.len()
            );
            raw += bytes.len();
            packed += deflated(&bytes);
            if path.starts_with("plugins/synapse-p0001-plugin/") {
                folders.insert(path.rsplit_once('/').unwrap().0.to_owned());
            }
        }
        let ratio = raw as f64 / packed as f64;
        assert!((3.0..=5.0).contains(&ratio), "{ratio}");
        assert_eq!(folders.len(), 3);
    }

    #[test]
    fn large_text_compresses_like_source_and_noise_does_not() {
        let scratch = tempfile::tempdir().unwrap();
        let large = Large {
            text: (1, 1_000_000),
            noise: (1, 1_000_000),
        };
        large_plugin(scratch.path(), &large, 1).unwrap();
        let text = fs::read(scratch.path().join("plugin/corpus/text_000.txt")).unwrap();
        let noise = fs::read(scratch.path().join("plugin/weights/noise_000.bin")).unwrap();
        assert_eq!((text.len(), noise.len()), (1_000_000, 1_000_000));
        let ratio = text.len() as f64 / deflated(&text) as f64;
        assert!((3.0..=5.0).contains(&ratio), "{ratio}");
        assert!(deflated(&noise) >= noise.len());
    }
}
