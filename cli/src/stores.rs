//! Owns which object stores a command goes to: those that it names, else those that the workspace
//! names, as far as a profile knows them. Credentials come from the profile or the environment,
//! never from a workspace.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use synapse_engine::{Failure, Session};
use synapse_rules::{
    fileset::read_regular,
    library::{self, Libraries},
    plugin::{self, Plugin},
    publish,
    storage::{self, Place, Storage, Storing},
    wheel::Wheels,
    workspace::{self, Workspace},
};

use crate::{
    app::{self, App},
    args,
    commands::nearest,
    credentials::{DEFAULT, Saved},
    select::Selected,
};

/// What decides about stores.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Names and URLs of the command line.
    pub named: &'a [String],
    /// The saved login whose stores are meant.
    pub profile: Option<&'a str>,
    /// Plain HTTP to other machines is allowed.
    pub allow_http: bool,
    /// Receipts do not count.
    pub verify: bool,
}

/// What a publish stores besides its releases; nothing when there is no store.
pub fn publishing(
    app: &App,
    args: &args::Publish,
    selected: &Selected,
    session: &Session,
) -> Result<Option<Storing>, Failure> {
    if args.stores.no_storage {
        return Ok(None);
    }
    let wanted = Wanted {
        named: &args.stores.storage,
        profile: args.to.connection.profile.as_deref(),
        allow_http: args.to.connection.allow_http,
        verify: args.to.verify,
    };
    let storages = open(app, &wanted, &selected.root)?;
    if storages.is_empty() {
        return Ok(None);
    }
    Ok(Some(Storing {
        storages,
        ledger: app.ledger()?,
        wheels: Some(wheels(app, session)),
        development: args.debug,
    }))
}

/// How wheels are built.
pub fn wheels(app: &App, session: &Session) -> Wheels {
    Wheels {
        environments: Arc::new(app.environments(session)),
    }
}

/// The libraries that the workspace names; nothing when it names none.
pub fn libraries(app: &App, root: &Path, session: &Session) -> Result<Option<Libraries>, Failure> {
    let Some((model, shown)) = workspace_with(root, b"libraries")? else {
        return Ok(None);
    };
    if model.libraries.is_empty() {
        return Ok(None);
    }
    let found = workspace::folders(root, &model.libraries, &["pyproject.toml"])
        .map_err(|error| Failure::user("unreadable", error.to_string()).at(shown.clone()))?;
    if let Some(pattern) = found.unmatched.iter().find(|own| !own.starts_with('!')) {
        let what = format!("the library pattern {pattern} matches no library");
        return Err(Failure::user("library", what)
            .at(shown)
            .hint("a library is a folder with a pyproject.toml"));
    }
    Ok(Some(Libraries::new(wheels(app, session), found.members)))
}

/// A plugin with the wheels of the libraries that it needs, ready to be installed.
pub fn with_libraries(app: &App, plugin: &Plugin, session: &Session) -> Result<Plugin, Failure> {
    let root = &plugin.source.workspace;
    let Some(libraries) = libraries(app, root, session)? else {
        return Ok(plugin.clone());
    };
    let index = publish::Workspace::open(&app.home.index(), root);
    let mut seen = Vec::new();
    let fitted = libraries.fit(
        plugin,
        &index,
        session,
        (&app.counters, app::nanoseconds()),
        &mut |key, section| seen.push((key, section)),
    )?;
    index.save(&seen);
    let Some(fitted) = fitted else {
        return Ok(plugin.clone());
    };
    let folder = app.home.store.join("libraries");
    library::laid_out(&fitted.plugin, session.store.as_ref(), &folder)
}

/// The workspace file, when it has a word in it; most have not, and need not be read for that.
fn workspace_with(root: &Path, word: &[u8]) -> Result<Option<(Workspace, String)>, Failure> {
    let file = root.join(workspace::FILE);
    let Ok(bytes) = read_regular(&file) else {
        return Ok(None);
    };
    if !bytes.windows(word.len()).any(|own| own == word) {
        return Ok(None);
    }
    let shown = file.display().to_string();
    let parsed = workspace::parse(&bytes, &shown, root);
    if let Some(failure) = plugin::diagnostics_failure(&parsed.diagnostics) {
        return Err(failure);
    }
    Ok(parsed.workspace.map(|model| (model, shown)))
}

/// Makes ready to talk to the stores that are meant, each once.
pub fn open(app: &App, wanted: &Wanted<'_>, root: &Path) -> Result<Vec<Arc<Storage>>, Failure> {
    let mut storages: Vec<Arc<Storage>> = Vec::new();
    for place in places(app, wanted, root)? {
        let place = place.allowing_http(wanted.allow_http);
        let http = app.http()?;
        let mut storage = storage::connect(place, &app.variables(), &http, &app.counters)?;
        storage.verify = wanted.verify;
        let twin = |own: &Arc<Storage>| own.identity == storage.identity;
        if !storages.iter().any(twin) {
            storages.push(Arc::new(storage));
        }
    }
    Ok(storages)
}

fn places(app: &App, wanted: &Wanted<'_>, root: &Path) -> Result<Vec<Place>, Failure> {
    if wanted.named.is_empty() {
        return of_workspace(app, wanted, root);
    }
    let known = Known::load(app, wanted)?;
    let named = wanted.named.iter();
    named.map(|text| known.named(text)).collect()
}

/// Those that the workspace names: only what a profile knows.
fn of_workspace(app: &App, wanted: &Wanted<'_>, root: &Path) -> Result<Vec<Place>, Failure> {
    let Some((model, shown)) = workspace_with(root, b"storage")? else {
        return Ok(Vec::new());
    };
    if model.storage.is_empty() {
        return Ok(Vec::new());
    }
    let known = Known::load(app, wanted)?;
    let mut places = Vec::new();
    for (index, text) in model.storage.iter().enumerate() {
        if let Some(place) = known.find(text)? {
            places.push(place);
        } else {
            let bytes = read_regular(Path::new(&shown)).unwrap_or_default();
            let unknown = model.unknown_storage(index, &bytes, &shown);
            return Err(plugin::diagnostics_failure(&unknown)
                .unwrap_or_else(|| Failure::bug("a store that is not known is no mistake")));
        }
    }
    Ok(places)
}

/// The stores that the profile in use knows.
struct Known {
    file: PathBuf,
    stores: Vec<(String, serde_json::Value)>,
}

impl Known {
    fn load(app: &App, wanted: &Wanted<'_>) -> Result<Self, Failure> {
        let file = app.home.config_file();
        let saved = Saved::load(&file)?;
        let variable = (app.variable)("SYNAPSE_PROFILE").and_then(|name| name.into_string().ok());
        let profile = wanted.profile.map(str::to_owned);
        let profile = profile
            .or_else(|| variable.filter(|name| !name.is_empty()))
            .or_else(|| saved.chosen())
            .unwrap_or_else(|| DEFAULT.to_owned());
        let stores = saved.storages(&profile);
        Ok(Self { file, stores })
    }

    fn place(&self, (name, value): &(String, serde_json::Value)) -> Result<Place, Failure> {
        Place::of_profile(name, value).map_err(|failure| Failure {
            place: Some(self.file.display().to_string()),
            ..failure
        })
    }

    /// The one of that name, or at that URL.
    fn find(&self, text: &str) -> Result<Option<Place>, Failure> {
        if let Some(own) = self.stores.iter().find(|(name, _)| name == text) {
            return self.place(own).map(Some);
        }
        let Ok(url) = Place::parse(text) else {
            return Ok(None);
        };
        for own in &self.stores {
            // A mistake in another entry is no business of this one.
            if let Ok(place) = self.place(own)
                && place.is(&url)
            {
                return Ok(Some(place));
            }
        }
        Ok(None)
    }

    /// One that the user names: any URL will do.
    fn named(&self, text: &str) -> Result<Place, Failure> {
        if let Some(place) = self.find(text)? {
            return Ok(place);
        }
        if text.contains("://") {
            return Place::parse(text);
        }
        // What is no name could be a secret in the wrong place.
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let what = if text.len() <= 40 && text.bytes().all(is_name) {
            format!("the profile has no object store {text}")
        } else {
            "the profile has no object store of this name".to_owned()
        };
        let failure = Failure::user("storage-unknown", what).at(self.file.display().to_string());
        let names = || self.stores.iter().map(|(name, _)| name.as_str());
        Err(match (nearest(text, names()), self.stores.is_empty()) {
            (Some(near), _) => failure.hint(format!("did you mean {near}?")),
            (None, true) => failure.hint("give its URL, or describe it under storages there"),
            (None, false) => {
                let names: Vec<&str> = names().collect();
                failure.hint(format!("it has {}", names.join(", ")))
            }
        })
    }
}
