//! `synapse dev run` and `synapse dev publish`: does it once, then again what changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    time::{Duration, Instant},
};

use synapse_engine::{Cancel, Failure, FailureKind};
use synapse_rules::{
    plugin::Source,
    publish::Workspace,
    watch::{Change, News, Scope, Setting},
    worker::host::Interrupt,
};

use super::{
    choice::{self, Choice},
    publish, run,
};
use crate::{
    app::{self, App},
    args::{self, Mode, Watching},
    render::{
        dev::{Done, Screen},
        error,
    },
    report,
    select::{self, Otherwise, Selected},
    signals::{self, Signals},
    watch::{self, Key, Lookout, Polls, Told},
};

/// The exit code of whoever is interrupted.
const INTERRUPTED: u8 = 130;
/// A change so soon after a run is likely to be the run's own doing.
const SOON: Duration = Duration::from_secs(1);
/// How often in a row that is likely no longer by chance.
const OFTEN: usize = 3;

/// Runs an action whenever something that it depends on changes; returns the exit code.
pub fn run(app: &App, args: &args::DevRun) -> Result<u8, Failure> {
    refuse_document(app)?;
    refuse_recording(&args.run.options.recording)?;
    let mut options = args.run.options.clone();
    match options.mode {
        None => options.mode = Some(Mode::Local),
        Some(Mode::Local) => {}
        Some(_) => {
            let what = "dev run runs on this machine: a save changes nothing on a platform";
            return Err(Failure::usage(what).hint(
                "synapse dev publish --debug sends what is saved; \
                 synapse plugin run --mode remote --version debug runs it there",
            ));
        }
    }
    let mut loose = Vec::new();
    match options.params.as_deref() {
        // It can be read once only.
        Some("-") => {
            let mut text = String::new();
            io::stdin().read_to_string(&mut text).map_err(|error| {
                Failure::user("params", format!("cannot read standard input: {error}"))
            })?;
            options.params = Some(text);
        }
        Some(given) => {
            let file = given.strip_prefix('@');
            loose.extend(file.map(|file| (whole(app.cwd.join(file)), file.to_owned())));
        }
        None => {}
    }
    let selected = choice::pick(app, &options)?;
    let setting = Setting {
        root: selected.root.clone(),
        scope: Scope::Fixed(selected.sources),
        loose,
        runs: true,
        index: selected.workspace.index,
        counters: Arc::default(),
        now: app::nanoseconds,
    };
    let work = Work::Run {
        action: &args.run.action,
        options: &options,
    };
    Watch::go(app, work, setting, args.watching)
}

/// Publishes debug releases whenever what they hold changes; returns the exit code.
pub fn publish(app: &App, args: &args::DevPublish) -> Result<u8, Failure> {
    refuse_document(app)?;
    let given = &args.publish;
    refuse_recording(&given.recording)?;
    if given.dry_run {
        let what = "dev publish publishes: it has no preview";
        return Err(Failure::usage(what).hint("synapse plugin publish --debug --dry-run"));
    }
    if !given.debug {
        let what = "dev publish makes debug releases only: a version is published once, \
                    and each save would need another";
        return Err(Failure::usage(what)
            .hint("add --debug: a debug release takes the place of the one before"));
    }
    let selected = select::select(app, &given.selection, Otherwise::Refuse)?;
    // Who is not logged in is told at once, not after the first save.
    app.targets(&given.to)?;
    let root = selected.root.clone();
    let setting = Setting {
        root: root.clone(),
        scope: if given.selection.all {
            Scope::All
        } else {
            Scope::Fixed(selected.sources)
        },
        loose: Vec::new(),
        runs: false,
        index: selected.workspace.index,
        counters: Arc::default(),
        now: app::nanoseconds,
    };
    let work = Work::Publish {
        root,
        args: Box::new(given.clone()),
    };
    Watch::go(app, work, setting, args.watching)
}

/// A watch has no end at which it could print a document.
fn refuse_document(app: &App) -> Result<(), Failure> {
    if app.output.json {
        let what = "--json prints one document at the end, and a watch has none";
        return Err(Failure::usage(what).hint("--events prints one JSON object a line"));
    }
    Ok(())
}

/// Nor one at which it could write how long everything took.
fn refuse_recording(recording: &args::Recording) -> Result<(), Failure> {
    let option = match recording {
        args::Recording {
            timings: Some(_), ..
        } => "--timings",
        args::Recording { trace: Some(_), .. } => "--trace",
        args::Recording { .. } => return Ok(()),
    };
    let what = format!("{option} writes a file at the end, and a watch has none");
    Err(Failure::usage(what).hint("synapse plugin run and publish write it"))
}

/// A path as events have it.
fn whole(path: PathBuf) -> PathBuf {
    let parent = path.parent().and_then(|parent| parent.canonicalize().ok());
    match (parent, path.file_name()) {
        (Some(parent), Some(name)) => parent.join(name),
        _ => path,
    }
}

/// What is done.
enum Work<'a> {
    Run {
        action: &'a str,
        options: &'a args::RunOptions,
    },
    Publish {
        root: PathBuf,
        args: Box<args::Publish>,
    },
}

/// What goes on elsewhere.
enum Wake {
    /// The lookout tells; whether that was while an attempt was at work.
    Told(Told, bool),
    /// Do it all again.
    Again,
    /// End with this exit code.
    Quit(u8),
}

/// The attempt that is at work, for whoever wants it to end.
#[derive(Clone, Default)]
struct Current(Arc<Mutex<Option<Attempt>>>);

struct Attempt {
    signals: Signals,
    cancel: Cancel,
    stopped: bool,
}

impl Current {
    /// An attempt begins, after `before`, between which and the beginning nothing can be told: what
    /// was told until here has nothing to end.
    fn begin<T>(&self, app: &App, before: impl FnOnce() -> T) -> T {
        let mut current = self.locked();
        let before = before();
        *current = Some(Attempt {
            signals: app.signals.clone(),
            cancel: app.cancel.clone(),
            stopped: false,
        });
        before
    }

    /// Whether it was made to end.
    fn end(&self) -> bool {
        self.locked().take().is_some_and(|own| own.stopped)
    }

    /// Tells of a change, and whether an attempt was at work; with `stops`, asks that one to end,
    /// once: whoever is about to end is not hurried by the next save. Both at once: an attempt that
    /// knows of the change must not be ended for it.
    fn tell(&self, stops: bool, tell: impl FnOnce(bool)) {
        let mut current = self.locked();
        tell(current.is_some());
        if let Some(own) = current.as_mut().filter(|own| stops && !own.stopped) {
            own.stopped = true;
            own.signals.end(&own.cancel);
        }
    }

    /// Ctrl-C is for it; whether a run has got it.
    fn pass(&self, interrupt: Interrupt) -> bool {
        self.locked().as_mut().is_some_and(|own| {
            own.stopped = true;
            own.signals.pass(interrupt, &own.cancel)
        })
    }

    fn locked(&self) -> MutexGuard<'_, Option<Attempt>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Watch<'a> {
    app: &'a App,
    work: Work<'a>,
    screen: Screen,
    wakes: Receiver<Wake>,
    current: Current,
    busy: Arc<AtomicBool>,
    /// Every plugin, by its place.
    all: BTreeMap<String, Source>,
    /// What is to be done.
    todo: BTreeMap<String, Source>,
    /// Names of what went wrong and has not been put right, by place.
    failing: BTreeMap<String, String>,
    /// Names of plugins as far as they are known, by place.
    names: BTreeMap<String, String>,
    /// When the last attempt ended.
    ended: Instant,
    /// What changed right after an attempt, and how often in a row.
    own_doing: (BTreeSet<String>, usize),
}

impl<'a> Watch<'a> {
    fn go(
        app: &'a App,
        work: Work<'a>,
        setting: Setting,
        watching: Watching,
    ) -> Result<u8, Failure> {
        app.store()?;
        let (tell, wakes) = channel();
        let (lookout, facts) = Lookout::open(setting, watching.poll)?;
        let current = Current::default();
        let _signals = app.signals.divert_to(on_signal(&current, &tell));
        if app.cancel.cancelled() {
            // Since then, or while it was looked what there is.
            return Err(Failure::cancelled());
        }
        let busy = Arc::new(AtomicBool::new(true));
        let keys = tell.clone();
        watch::listen(Arc::clone(&busy), move |key| {
            let _ = keys.send(match key {
                Key::Again => Wake::Again,
                Key::Quit => Wake::Quit(0),
            });
        });
        let screen = Screen::new(&app.output, watching.clear);
        screen.watching(&facts);
        if let Some(polls) = facts.polls.as_ref().filter(|why| **why != Polls::Asked) {
            screen.polls(polls);
        }
        lookout.tell(on_news(&work, &current, tell));
        let all: BTreeMap<String, Source> = facts
            .sources
            .into_iter()
            .map(|source| (source.place.clone(), source))
            .collect();
        let mut watch = Self {
            app,
            work,
            screen,
            wakes,
            current,
            busy,
            todo: all.clone(),
            all,
            failing: BTreeMap::new(),
            names: BTreeMap::new(),
            ended: Instant::now(),
            own_doing: (BTreeSet::new(), 0),
        };
        let mut attempts = 0;
        let code = loop {
            if !watch.todo.is_empty() {
                attempts += 1;
                if let Some(code) = watch.attempt(attempts) {
                    break code;
                }
            }
            if let Some(code) = watch.wait() {
                break code;
            }
        };
        watch.screen.ended(attempts, code);
        Ok(code)
    }

    /// Does what is to be done; returns the exit code when it is the last time.
    fn attempt(&mut self, number: u64) -> Option<u8> {
        let app = self.app.attempt();
        let current = self.current.clone();
        let quit = current.begin(&app, || {
            while let Ok(wake) = self.wakes.try_recv() {
                if let Some(code) = self.take(wake) {
                    return Some(code);
                }
            }
            None
        });
        if quit.is_some() {
            current.end();
            return quit;
        }
        self.busy.store(true, Ordering::Relaxed);
        let todo = std::mem::take(&mut self.todo);
        self.screen.started(number, todo.values());
        let start = Instant::now();
        let (code, failed) = match &mut self.work {
            Work::Run { action, options } => {
                let result = run::run(&app, Choice::Named(action), options);
                let code = result.unwrap_or_else(|failure| {
                    if failure.kind == FailureKind::Cancelled && !app.output.is_machine() {
                        // Whoever made it end knows why.
                        return INTERRUPTED;
                    }
                    report(&app.output, "run", Some(action), &failure, start)
                });
                let failed = todo.keys().filter(|_| code != 0).cloned();
                (
                    code,
                    failed.map(|place| (place, (*action).to_owned())).collect(),
                )
            }
            Work::Publish { root, args } => {
                let root = root.clone();
                match publish_some(&app, args, root, &todo, &mut self.names, start) {
                    Tried::All(code, failed) => {
                        // Whoever agreed once is not asked at each save.
                        args.yes = true;
                        (code, failed)
                    }
                    Tried::None(code) => {
                        self.current.end();
                        return Some(code);
                    }
                }
            }
        };
        let is_run = matches!(self.work, Work::Run { .. });
        let stopped = self.current.end();
        self.busy.store(false, Ordering::Relaxed);
        self.ended = Instant::now();
        let mut fixed = BTreeSet::new();
        if !stopped {
            for place in todo.keys() {
                let before = self.failing.remove(place);
                match failed.get(place) {
                    Some(name) => drop(self.failing.insert(place.clone(), name.clone())),
                    None => fixed.extend(before),
                }
            }
        }
        self.screen.finished(&Done {
            number,
            code,
            stopped,
            ms: start.elapsed().as_millis() as u64,
            fixed: fixed.into_iter().collect(),
            failing: self.failing.values().cloned().collect(),
            is_run,
        });
        None
    }

    /// Waits until there is something to do; returns the exit code when there never will be.
    fn wait(&mut self) -> Option<u8> {
        loop {
            let Ok(wake) = self.wakes.recv() else {
                return Some(INTERRUPTED);
            };
            if let Some(code) = self.take(wake) {
                return Some(code);
            }
            if !self.todo.is_empty() {
                return None;
            }
        }
    }

    fn take(&mut self, wake: Wake) -> Option<u8> {
        match wake {
            Wake::Quit(code) => return Some(code),
            Wake::Again => {
                self.screen.again();
                self.todo.clone_from(&self.all);
            }
            Wake::Told(Told::Polls(polls), _) => self.screen.polls(&polls),
            Wake::Told(Told::News(news), during) => self.news(*news, during),
        }
        None
    }

    fn news(&mut self, news: News, during: bool) {
        if let Some(failure) = &news.trouble {
            self.screen.trouble(failure);
        }
        if news.mended {
            self.screen.mended();
        }
        for (place, name) in &news.gone {
            self.all.remove(place);
            self.todo.remove(place);
            self.failing.remove(place);
            self.screen.gone(name, place);
        }
        if news.changes.is_empty() {
            return;
        }
        let one = matches!(self.work, Work::Run { .. });
        self.screen.changed(&news.changes, one);
        if one {
            self.suspect(&news.changes, during);
        }
        for change in &news.changes {
            let (place, name) = (change.source.place.clone(), change.subject.clone());
            self.names.insert(place, name);
        }
        let changed = news.changes.into_iter().map(|change| change.source);
        for source in changed.chain(news.twins) {
            self.all.insert(source.place.clone(), source.clone());
            self.todo.insert(source.place.clone(), source);
        }
        // What is not right yet stays at the end of the screen.
        for place in self.failing.keys() {
            let source = self.all.get(place).cloned();
            self.todo
                .extend(source.map(|source| (place.clone(), source)));
        }
    }

    /// Says so when an action seems to start itself again and again.
    fn suspect(&mut self, changes: &[Change], during: bool) {
        let reasons = changes.iter().flat_map(|change| &change.reasons);
        let mut subjects = reasons.map(crate::render::dev::subject);
        // Code is what people write; they may save it faster than an action runs.
        let by_people =
            subjects.any(|path| Path::new(&path).extension().is_some_and(|end| end == "py"));
        if by_people || !during && self.ended.elapsed() > SOON {
            self.own_doing = (BTreeSet::new(), 0);
            return;
        }
        let reasons = changes.iter().flat_map(|change| &change.reasons);
        let paths: BTreeSet<String> = reasons.map(crate::render::dev::subject).collect();
        if self.own_doing.0 == paths {
            self.own_doing.1 += 1;
        } else {
            self.own_doing = (paths, 1);
        }
        if self.own_doing.1 == OFTEN {
            self.screen.suspect(&self.own_doing.0);
        }
    }
}

/// Ctrl-C ends what is at work, and then the watch. The second kills a run, and ends anything else
/// at once.
fn on_signal(current: &Current, tell: &Sender<Wake>) -> impl Fn(Interrupt) + Send + Sync + 'static {
    let (current, tell) = (current.clone(), tell.clone());
    let again = AtomicBool::new(false);
    move |interrupt| {
        let _ = tell.send(Wake::Quit(INTERRUPTED));
        let run = current.pass(interrupt);
        if again.swap(true, Ordering::Relaxed) && !run {
            signals::end();
        }
    }
}

/// A change ends a run, to start it again. A release that is on its way arrives; the next one takes
/// its place.
fn on_news(
    work: &Work<'_>,
    current: &Current,
    tell: Sender<Wake>,
) -> impl Fn(Told) + Send + 'static {
    let runs = matches!(work, Work::Run { .. });
    let current = current.clone();
    move |told| {
        let changes = matches!(&told, Told::News(news) if !news.changes.is_empty());
        current.tell(runs && changes, |at_work| {
            let _ = tell.send(Wake::Told(told, at_work));
        });
    }
}

/// What came of a publish.
enum Tried {
    /// The exit code, and the names of those that were not published, by place.
    All(u8, BTreeMap<String, String>),
    /// Whoever was asked did not want it.
    None(u8),
}

/// Publishes some plugins.
fn publish_some(
    app: &App,
    args: &args::Publish,
    root: PathBuf,
    todo: &BTreeMap<String, Source>,
    names: &mut BTreeMap<String, String>,
    start: Instant,
) -> Tried {
    let selected = Selected {
        workspace: Workspace::open(&app.home.index(), &root),
        root,
        sources: todo.values().cloned().collect(),
        warnings: Vec::new(),
    };
    let done = app
        .targets(&args.to)
        .and_then(|targets| publish::attempt(app, args, start, &selected, &targets));
    match done {
        Ok((code, reports)) if reports.is_empty() => Tried::None(code),
        Ok((code, reports)) => {
            for own in &reports {
                let plugin = own.plugin.as_ref().map(|plugin| plugin.subject());
                names.extend(plugin.map(|name| (own.source.place.clone(), name)));
            }
            let bad = reports.iter().filter(|report| error::is_bad(report));
            let bad = bad.map(|report| named(&report.source, names));
            Tried::All(code, bad.collect())
        }
        // At the question: while it is asked, Ctrl-C is an answer and no signal.
        Err(failure) if failure.kind == FailureKind::Cancelled && !app.cancel.cancelled() => {
            Tried::None(INTERRUPTED)
        }
        Err(failure) => {
            let code = report(&app.output, "publish", None, &failure, start);
            if failure.kind == FailureKind::Usage {
                // No save can put that right.
                return Tried::None(code);
            }
            let all = todo.values().map(|source| named(source, names));
            Tried::All(code, all.collect())
        }
    }
}

/// A plugin's place, and its name; its folder's as long as that is not known.
fn named(source: &Source, names: &BTreeMap<String, String>) -> (String, String) {
    let folder = source.folder();
    let folder = folder.file_name().map(|name| name.to_string_lossy());
    let name = names.get(&source.place).cloned();
    let name = name.unwrap_or_else(|| folder.unwrap_or_default().into_owned());
    (source.place.clone(), name)
}
