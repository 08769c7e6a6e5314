//! Owns wheels of the tests: packed from sources with the same bytes each time, and the local
//! index that serves them beside real ones, so that no test needs the network twice.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use sha2::{Digest, Sha256};
use walkdir::WalkDir;
use zip::{CompressionMethod, DateTime, ZipWriter, write::SimpleFileOptions};

use crate::{
    fixture,
    pythons::{self, Python},
};

/// What the environments that `synapse` makes need, and what the suites install beside it.
const REAL: [&str; 9] = [
    "pydantic>=2.3",
    "urllib3>=1.26,<3",
    "pytest>=7.0.0",
    "pytest-cov",
    "pytest-mock",
    "pip",
    "setuptools",
    "wheel",
    "uv",
];

/// What a wheel of ours says of itself.
const WHEEL: &str =
    "Wheel-Version: 1.0\nGenerator: synapse-tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n";

/// What `pip install .` of this repository would leave of its metadata; pyproject.toml says the
/// same.
const METADATA: &str = "Metadata-Version: 2.1\nName: synapse-sdk\nVersion: 0.1.0\n";
const ENTRY_POINTS: &str = "[pytest11]\nsynapse = synapse_sdk._pytest\n";

/// Packs the wheel whose sources lie in `source` (a `METADATA` and what goes into the wheel) into
/// `folder`, and returns its path. The same sources give the same bytes.
///
/// # Panics
/// When the sources are no wheel's.
pub fn pack(source: &Path, folder: &Path) -> PathBuf {
    let metadata = fs::read_to_string(source.join("METADATA")).expect("a METADATA");
    let field = |name: &str| {
        let line = metadata
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.unwrap_or_else(|| panic!("no {name} in {}", source.display()))
    };
    let stem = format!("{}-{}", field("Name").replace('-', "_"), field("Version"));
    let mut files = vec![
        (
            format!("{stem}.dist-info/METADATA"),
            metadata.clone().into_bytes(),
        ),
        (format!("{stem}.dist-info/WHEEL"), WHEEL.as_bytes().to_vec()),
    ];
    for entry in WalkDir::new(source) {
        let entry = entry.expect("sources that can be walked");
        let path = entry.path().strip_prefix(source).expect("below it");
        let name = path.to_str().expect("UTF-8").to_owned();
        if entry.file_type().is_file() && name != "METADATA" && !name.contains("__pycache__") {
            files.push((name, fs::read(entry.path()).expect("a file")));
        }
    }
    files.sort();
    let own = format!("{stem}.dist-info/RECORD");
    let mut record: Vec<String> = files
        .iter()
        .map(|(name, bytes)| {
            let digest = data_encoding::BASE64URL_NOPAD.encode(&Sha256::digest(bytes));
            format!("{name},sha256={digest},{}\n", bytes.len())
        })
        .collect();
    record.push(format!("{own},,\n"));
    files.push((own, record.concat().into_bytes()));

    let path = folder.join(format!("{stem}-py3-none-any.whl"));
    let mut zip = ZipWriter::new(File::create(&path).expect("a file"));
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .last_modified_time(DateTime::default())
        .unix_permissions(0o644);
    for (name, bytes) in files {
        zip.start_file(name, options).expect("an entry");
        zip.write_all(&bytes).expect("its bytes");
    }
    zip.finish().expect("a ZIP");
    path
}

/// A folder of wheels that stands in for an index: the stand-ins of `fixtures/wheels`, and what
/// environments and suites need, fetched once.
#[derive(Debug)]
pub struct Index {
    folder: PathBuf,
}

impl Index {
    /// The index for the usual Python.
    ///
    /// # Panics
    /// When there is no Python, or it was never filled and the network is away.
    pub fn usual() -> &'static Self {
        static INDEX: OnceLock<Index> = OnceLock::new();
        INDEX.get_or_init(|| Self::of(&usual_python(), "usual", &[]))
    }

    /// An index for `python` with more than [`Index::usual`] has.
    ///
    /// # Panics
    /// As [`Index::usual`] does.
    pub fn of(python: &Python, name: &str, more: &[&str]) -> Self {
        let folder = made_folder().join(format!("index-{name}-{}", python.name()));
        let all = [&REAL[..], more].concat();
        let folder = pythons::wheelhouse(python, &folder, &all).expect("wheels from the index");
        // Packed by every process alike; the rename lets none of them see half a wheel.
        let scratch = tempfile::tempdir_in(&folder).expect("a folder");
        for entry in fs::read_dir(fixture("wheels")).expect("the sources") {
            let source = entry.expect("a folder").path();
            if source.is_dir() {
                let wheel = pack(&source, scratch.path());
                let name = wheel.file_name().expect("a name").to_owned();
                fs::rename(wheel, folder.join(name)).expect("a rename");
            }
        }
        let links = folder.to_str().expect("UTF-8");
        write_if_other(
            &folder.join("uv.toml"),
            &format!("no-index = true\nfind-links = [{links:?}]\n"),
        );
        Self { folder }
    }

    /// Where the wheels are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Variables that have pip and uv take packages from here and from nowhere else.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let folder = self.folder.to_str().expect("UTF-8").to_owned();
        vec![
            ("PIP_NO_INDEX", "1".to_owned()),
            ("PIP_FIND_LINKS", folder.clone()),
            ("PIP_DISABLE_PIP_VERSION_CHECK", "1".to_owned()),
            // uv has no variable for this.
            ("UV_CONFIG_FILE", format!("{folder}/uv.toml")),
        ]
    }
}

/// The Python that tests use where any will do.
///
/// # Panics
/// When the machine has none from 3.10 to 3.13 that can make environments.
pub fn usual_python() -> Python {
    static PYTHON: OnceLock<Python> = OnceLock::new();
    PYTHON
        .get_or_init(|| pythons::usual().expect("a Python from 3.10 to 3.13 with venv"))
        .clone()
}

/// An environment for `python` with `requirements` from `index`, with `synapse_sdk` of this
/// repository, and with `program` as its `synapse`.
///
/// # Panics
/// When it cannot be made.
pub fn environment(
    python: &Python,
    name: &str,
    requirements: &[&str],
    index: &Index,
    program: &Path,
) -> PathBuf {
    let folder = made_folder().join(format!("environment-{name}-{}", python.name()));
    let variables = index.variables();
    let settings: Vec<_> = variables
        .iter()
        .map(|(name, value)| (*name, value.into()))
        .collect();
    let folder =
        pythons::environment(python, &folder, requirements, &settings).expect("an environment");
    let package = fixture("../python").canonicalize().expect("the package");
    let site = folder.join(format!("lib/python{}/site-packages", python.name()));
    let line = package.to_str().expect("UTF-8").to_owned() + "\n";
    write_if_other(&site.join("synapse-sdk.pth"), &line);
    // What pip would say is installed, as it does for an editable package.
    let about = site.join("synapse_sdk-0.1.0.dist-info");
    fs::create_dir_all(&about).expect("a folder");
    write_if_other(&about.join("METADATA"), METADATA);
    write_if_other(&about.join("entry_points.txt"), ENTRY_POINTS);
    let link = folder.join("bin/synapse");
    if fs::read_link(&link).ok().as_deref() != Some(program) {
        let fresh = tempfile::tempdir_in(&folder).expect("a folder");
        std::os::unix::fs::symlink(program, fresh.path().join("synapse")).expect("a link");
        fs::rename(fresh.path().join("synapse"), link).expect("a rename");
    }
    folder
}

fn write_if_other(path: &Path, text: &str) {
    if fs::read_to_string(path).ok().as_deref() != Some(text) {
        fs::write(path, text).expect("a file");
    }
}

/// The folder in the build folder that keeps what is made once.
///
/// # Panics
/// When it cannot be made.
pub fn made_folder() -> PathBuf {
    let program = std::env::current_exe().expect("a program");
    let target = program
        .ancestors()
        .find(|folder| folder.join("CACHEDIR.TAG").is_file())
        .map_or_else(|| fixture("../target"), Path::to_path_buf);
    let folder = target.join("python");
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_sources_give_the_same_wheel() {
        let scratch = tempfile::tempdir().unwrap();
        let source = scratch.path().join("source");
        fs::create_dir_all(source.join("thing")).unwrap();
        fs::write(
            source.join("METADATA"),
            "Metadata-Version: 2.1\nName: a-thing\nVersion: 1.0\n",
        )
        .unwrap();
        fs::write(source.join("thing/__init__.py"), "x = 1\n").unwrap();
        let packed = ["one", "two"].map(|name| {
            let folder = scratch.path().join(name);
            fs::create_dir(&folder).unwrap();
            let wheel = pack(&source, &folder);
            assert!(wheel.ends_with("a_thing-1.0-py3-none-any.whl"));
            fs::read(wheel).unwrap()
        });
        assert_eq!(packed[0], packed[1]);
        fs::write(source.join("thing/__init__.py"), "x = 2\n").unwrap();
        assert_ne!(fs::read(pack(&source, scratch.path())).unwrap(), packed[0]);
    }
}
