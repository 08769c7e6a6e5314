//! Owns [`Eyes`]: who tells that something happened in a folder. The system does, where it can;
//! elsewhere the folders are listed again every second.

use std::{
    collections::{BTreeSet, HashMap},
    ffi::OsString,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc::Sender},
    thread,
    time::Duration,
};

use notify::{
    Config, ErrorKind, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode, ModifyKind, RenameMode},
};
use synapse_engine::filesystem;

/// How often folders are listed where nobody tells.
const EVERY: Duration = Duration::from_secs(1);

/// Something happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Notice {
    /// At this path.
    At(PathBuf),
    /// What was at this path is no longer there; a folder is not watched any more.
    Gone(PathBuf),
    /// Nobody can tell where: some of it was lost.
    Lost,
}

/// Why folders are listed again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Polls {
    /// It was asked for.
    Asked,
    /// They lie on a network, where others write.
    Network,
    /// The system watches no more folders for this user.
    Limit,
    /// The system cannot watch, and says why.
    Unable(String),
}

/// Who tells.
pub(super) struct Eyes {
    how: How,
    tell: Sender<Notice>,
    own: BTreeSet<PathBuf>,
    /// What was asked for last, while nothing of it was lost.
    asked: Option<Arc<BTreeSet<PathBuf>>>,
}

enum How {
    Events(RecommendedWatcher),
    Polls(Arc<Mutex<Listings>>),
}

impl Eyes {
    /// Eyes for a workspace; with the reason where they poll.
    pub(super) fn open(root: &Path, poll: bool, tell: Sender<Notice>) -> (Self, Option<Polls>) {
        let (how, why) = if poll {
            (polls(&tell), Some(Polls::Asked))
        } else if filesystem::kind(root).is_network() {
            (polls(&tell), Some(Polls::Network))
        } else {
            let told = tell.clone();
            let handler = move |event: notify::Result<Event>| {
                for notice in notices(event) {
                    // Nobody listens any more at the end.
                    let _ = told.send(notice);
                }
            };
            match RecommendedWatcher::new(handler, Config::default()) {
                Ok(watcher) => (How::Events(watcher), None),
                Err(error) => (polls(&tell), Some(why(&error))),
            }
        };
        let eyes = Self {
            how,
            tell,
            own: BTreeSet::new(),
            asked: None,
        };
        (eyes, why)
    }

    /// How many folders are watched.
    pub(super) fn count(&self) -> usize {
        self.own.len()
    }

    /// Watches these folders and no others. Returns those that are new, in which something may
    /// have happened before, and why it polls from now on, if that is so.
    pub(super) fn set(
        &mut self,
        wanted: &Arc<BTreeSet<PathBuf>>,
    ) -> (BTreeSet<PathBuf>, Option<Polls>) {
        let mut added = BTreeSet::new();
        if self
            .asked
            .as_ref()
            .is_some_and(|own| Arc::ptr_eq(own, wanted))
        {
            return (added, None);
        }
        for path in self.own.difference(wanted).cloned().collect::<Vec<_>>() {
            self.unwatch(&path);
        }
        for path in wanted.difference(&self.own).cloned().collect::<Vec<_>>() {
            let watched = match &mut self.how {
                How::Events(watcher) => watcher.watch(&path, RecursiveMode::NonRecursive),
                How::Polls(listings) => {
                    let listing = list(&path);
                    locked(listings).insert(path.clone(), listing.unwrap_or_default());
                    Ok(())
                }
            };
            match watched {
                Ok(()) => {
                    added.insert(path.clone());
                    self.own.insert(path);
                }
                // Its parent tells when it is there.
                Err(error) if is_absent(&error) => {}
                Err(error) => {
                    self.how = polls(&self.tell);
                    self.own.clear();
                    self.asked = None;
                    let (added, _) = self.set(wanted);
                    return (added, Some(why(&error)));
                }
            }
        }
        self.asked = Some(Arc::clone(wanted));
        (added, None)
    }

    fn unwatch(&mut self, path: &Path) {
        self.own.remove(path);
        match &mut self.how {
            // It may be gone.
            How::Events(watcher) => drop(watcher.unwatch(path)),
            How::Polls(listings) => drop(locked(listings).remove(path)),
        }
    }

    /// A folder is gone, with all below it; what comes in its place is watched anew.
    pub(super) fn forget(&mut self, path: &Path) {
        let below = self.own.range(path.to_owned()..);
        let below: Vec<PathBuf> = below
            .take_while(|own| own.starts_with(path))
            .cloned()
            .collect();
        for own in below {
            self.asked = None;
            self.unwatch(&own);
        }
    }

    /// Nobody knows what is still watched.
    pub(super) fn forget_all(&mut self) {
        self.own.clear();
        self.asked = None;
    }
}

fn polls(tell: &Sender<Notice>) -> How {
    let listings = Arc::new(Mutex::new(Listings::new()));
    let (shared, tell) = (Arc::downgrade(&listings), tell.clone());
    thread::spawn(move || {
        loop {
            thread::sleep(EVERY);
            let Some(listings) = shared.upgrade() else {
                return;
            };
            for notice in look(&mut locked(&listings)) {
                if tell.send(notice).is_err() {
                    return;
                }
            }
        }
    });
    How::Polls(listings)
}

/// What an event of the system says. Reading is no change; it tells of that as well.
fn notices(event: notify::Result<Event>) -> Vec<Notice> {
    let Ok(event) = event else {
        return vec![Notice::Lost];
    };
    if event.need_rescan() {
        return vec![Notice::Lost];
    }
    let told = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Notice::At,
        // Its two halves have been told.
        EventKind::Modify(ModifyKind::Name(RenameMode::Both)) | EventKind::Access(_) => {
            return Vec::new();
        }
        EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From)) => {
            Notice::Gone
        }
        _ => Notice::At,
    };
    event.paths.into_iter().map(told).collect()
}

fn why(error: &notify::Error) -> Polls {
    // Too many open watchers are a limit as well.
    const INSTANCES: i32 = libc::EMFILE;
    match &error.kind {
        ErrorKind::MaxFilesWatch => Polls::Limit,
        ErrorKind::Io(error) if error.raw_os_error() == Some(INSTANCES) => Polls::Limit,
        _ => Polls::Unable(error.to_string()),
    }
}

fn is_absent(error: &notify::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
    match &error.kind {
        ErrorKind::PathNotFound => true,
        // One that nobody may read says nothing; the plugin's own failure tells of it.
        ErrorKind::Io(error) => {
            matches!(error.kind(), NotFound | NotADirectory | PermissionDenied)
        }
        _ => false,
    }
}

/// What tells one state of a directory's entry from another.
type Mark = (u64, u64, i64, i64, i64, i64, u32);
type Listing = HashMap<OsString, Mark>;
type Listings = HashMap<PathBuf, Listing>;

fn locked(listings: &Mutex<Listings>) -> MutexGuard<'_, Listings> {
    listings.lock().unwrap_or_else(PoisonError::into_inner)
}

fn list(folder: &Path) -> io::Result<Listing> {
    let mut listing = Listing::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // Gone meanwhile: next time.
        let Ok(meta) = entry.metadata() else { continue };
        let mark = if meta.is_dir() {
            // What is in it is told by itself.
            (meta.ino(), 0, 0, 0, 0, 0, meta.mode())
        } else {
            let (time, change) = (meta.mtime(), meta.ctime());
            let (time_ns, change_ns) = (meta.mtime_nsec(), meta.ctime_nsec());
            let (ino, size) = (meta.ino(), meta.size());
            (ino, size, time, time_ns, change, change_ns, meta.mode())
        };
        listing.insert(entry.file_name(), mark);
    }
    Ok(listing)
}

/// What is different since the last time.
fn look(listings: &mut Listings) -> Vec<Notice> {
    let mut notices = Vec::new();
    let mut gone = Vec::new();
    for (folder, before) in listings.iter_mut() {
        let Ok(now) = list(folder) else {
            // An empty one may not have been there yet.
            if !before.is_empty() {
                gone.push(folder.clone());
            }
            continue;
        };
        for (name, mark) in &now {
            if before.get(name) != Some(mark) {
                notices.push(Notice::At(folder.join(name)));
            }
        }
        let left = before.keys().filter(|name| !now.contains_key(*name));
        notices.extend(left.map(|name| Notice::Gone(folder.join(name))));
        *before = now;
    }
    for folder in gone {
        listings.remove(&folder);
        notices.push(Notice::Gone(folder));
    }
    notices
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polling_tells_what_came_changed_and_went() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("sub")).unwrap();
        fs::write(path("same"), "1").unwrap();
        fs::write(path("old"), "1").unwrap();
        fs::write(path("edited"), "1").unwrap();
        let mut listings = Listings::new();
        for own in [folder.path().to_owned(), path("sub")] {
            let listing = list(&own).unwrap();
            listings.insert(own, listing);
        }
        assert_eq!(look(&mut listings), []);
        fs::write(path("sub/new"), "1").unwrap();
        fs::write(path("edited"), "12").unwrap();
        fs::remove_file(path("old")).unwrap();
        let told = |listings: &mut Listings| {
            let told: BTreeSet<String> = look(listings)
                .iter()
                .map(|notice| format!("{notice:?}"))
                .collect();
            told
        };
        let expected = [
            Notice::At(path("sub/new")),
            Notice::At(path("edited")),
            Notice::Gone(path("old")),
        ];
        let expected = expected.iter().map(|notice| format!("{notice:?}"));
        assert_eq!(told(&mut listings), expected.collect());
        assert_eq!(look(&mut listings), []);
        fs::remove_dir_all(path("sub")).unwrap();
        assert!(told(&mut listings).contains(&format!("{:?}", Notice::Gone(path("sub")))));
        assert_eq!(look(&mut listings), []);
    }

    #[test]
    fn reading_is_no_change() {
        let event = |kind| notices(Ok(Event::new(kind).add_path("a".into())));
        let open = EventKind::Access(AccessKind::Open(AccessMode::Any));
        assert_eq!(event(open), []);
        let read = EventKind::Access(AccessKind::Close(AccessMode::Read));
        assert_eq!(event(read), []);
        let write = EventKind::Access(AccessKind::Close(AccessMode::Write));
        assert_eq!(event(write), [Notice::At("a".into())]);
        let moved = EventKind::Modify(ModifyKind::Name(RenameMode::From));
        assert_eq!(event(moved), [Notice::Gone("a".into())]);
        let lost = Event::new(EventKind::Other).set_flag(notify::event::Flag::Rescan);
        assert_eq!(notices(Ok(lost)), [Notice::Lost]);
        assert_eq!(
            why(&notify::Error::new(ErrorKind::MaxFilesWatch)),
            Polls::Limit
        );
    }
}
