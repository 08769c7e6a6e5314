//! Owns [`Library`]: one library of a workspace, loaded: its files by digest, its name, what it
//! needs, and the wheel that this very state of it was built to.

use std::{
    collections::HashMap,
    fs::File,
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use synapse_engine::{
    Digest, Failure,
    index::{Index, Section},
};

use super::{guard, needs};
use crate::{
    counters::Counters,
    fileset::{self, Walk, ignores, read_regular},
    plugin::Trust,
    wheel::{Backend, read_backend},
};

/// What the index keeps of a library beside its files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Its distribution's name, normalised.
    pub name: String,
    /// The names of what it requires.
    pub needs: Vec<String>,
    /// The wheel of this very state, once it was built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub built: Option<Built>,
}

/// A wheel that was built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Built {
    /// Its file name.
    pub file: String,
    /// Its blob.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
}

/// A library.
pub struct Library {
    /// Its folder, relative to the workspace.
    pub place: String,
    /// The folder.
    pub folder: PathBuf,
    /// What is known of it.
    pub head: Head,
    /// Its files.
    pub section: Section,
    /// The section differs from the one that the index has.
    pub fresh: bool,
}

const FILE: &str = "pyproject.toml";

/// Loads the library at `place`; an unchanged one comes out of the index.
pub(super) fn load(
    root: &Path,
    place: &str,
    index: &Index,
    trust: Trust,
    now: i64,
    counters: &Counters,
) -> Result<Library, Failure> {
    let folder = root.join(place);
    let shown = folder.display().to_string();
    let unreadable = |error: &std::io::Error| {
        Failure::user("unreadable", format!("cannot read {shown}: {error}"))
            .at(shown.clone())
            .hint("check the path and its permissions")
    };
    let outer = fileset::outer_levels(root, place).map_err(|error| unreadable(&error))?;
    let guard = guard(outer.iter().map(ignores::Level::digest));
    let library = |head, section, fresh| Library {
        place: place.to_owned(),
        folder: folder.clone(),
        head,
        section,
        fresh,
    };
    let known = index.get(&key(place));
    if let Some(section) = known.filter(|own| trust == Trust::Stat && own.guard() == guard) {
        let open = File::open(&folder).map_err(|error| unreadable(&error))?;
        if section.is_unchanged(open.as_fd())
            && let Ok(head) = serde_json::from_slice::<Head>(section.note())
        {
            return Ok(library(head, section.clone(), false));
        }
    }
    // Saved between our two looks at it, it is read again.
    for _ in 0..3 {
        let digests = match (known, trust) {
            (Some(section), Trust::Stat) => section.known(),
            _ => HashMap::new(),
        };
        let walk = Walk {
            root: &folder,
            place,
            outer: &outer,
            wheels_dir: "wheels",
            config: FILE,
            known: &digests,
            now,
            hashed: &counters.files_hashed,
        };
        let mut subtree = fileset::scan(&walk).map_err(|error| error.failure(&folder))?;
        let Some(needs) = needs::read(&folder, &subtree.files) else {
            continue;
        };
        let name = backend(&folder)?.distribution;
        let Some(name) = name else {
            let what = "a library needs a name: [project] name in its pyproject.toml";
            return Err(Failure::user("library", what)
                .at(folder.join(FILE).display().to_string())
                .hint("name it there, as plugins name it in their requirements"));
        };
        let mut head = Head {
            name,
            needs,
            built: None,
        };
        subtree.guard = guard;
        subtree.note = note(&head)?;
        let mut section = subtree.encode();
        // Touched but not changed, it is what it was built from.
        let old = known.filter(|own| same_files(own, &section));
        let old = old.and_then(|own| serde_json::from_slice::<Head>(own.note()).ok());
        if let Some(old) = old {
            head.built = old.built;
            section = section.with_note(&note(&head)?);
        }
        return Ok(library(head, section, true));
    }
    Err(Failure::user(
        "edited-while-reading",
        "the library keeps changing while it is read",
    )
    .at(shown))
}

/// Where the index keeps a library; no plugin can lie there.
pub(super) fn key(place: &str) -> String {
    format!("//library/{place}")
}

fn same_files(a: &Section, b: &Section) -> bool {
    use synapse_engine::Files;
    Files::digest(a) == Files::digest(b)
}

fn note(head: &Head) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(head).map_err(|error| Failure::bug(error.to_string()))
}

/// The build backend of the library in `folder`.
pub(super) fn backend(folder: &Path) -> Result<Backend, Failure> {
    let path = folder.join(FILE);
    let shown = path.display().to_string();
    let bytes = read_regular(&path).map_err(|error| {
        Failure::user("library", format!("cannot read {shown}: {error}"))
            .at(shown.clone())
            .hint("a library is a folder with a pyproject.toml")
    })?;
    let hint = "write [build-system] with requires and build-backend, such as hatchling.build";
    read_backend(&bytes, &shown)?.ok_or_else(|| {
        Failure::user("library", "a library must name its build backend")
            .at(shown)
            .hint(hint)
    })
}

impl Library {
    /// The section with the wheel that this state was built to.
    pub(super) fn kept(&self, built: &Built) -> Result<Section, Failure> {
        let head = Head {
            built: Some(built.clone()),
            ..self.head.clone()
        };
        Ok(self.section.with_note(&note(&head)?))
    }
}
