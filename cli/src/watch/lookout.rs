//! Owns [`Lookout`]: joins events into bursts, and finds out what is different after each.

use std::{
    collections::BTreeSet,
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use synapse_engine::Failure;
use synapse_rules::{
    plugin::Source,
    watch::{Burst, Ground, News, Setting, Touch},
};

use super::eyes::{Eyes, Notice, Polls};

/// How long it must be quiet after a save.
const QUIET: Duration = Duration::from_millis(25);
/// How long whoever writes on and on can put it off.
const LONGEST: Duration = Duration::from_millis(500);
/// How long it is at least between two looks at everything: a look makes events itself, and could
/// lose some again.
const REST: Duration = Duration::from_secs(2);
/// How often folders that come while others are being watched are looked for.
const ROUNDS: usize = 16;

/// What is watched.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Plugins.
    pub sources: Vec<Source>,
    /// How many files count.
    pub files: usize,
    /// How many folders are watched.
    pub folders: usize,
    /// Why they are polled, if they are.
    pub polls: Option<Polls>,
}

/// What a lookout tells.
#[derive(Debug, Clone)]
pub enum Told {
    /// Something is different.
    News(Box<News>),
    /// It polls from now on.
    Polls(Polls),
}

/// Looks out for changes.
pub struct Lookout {
    ground: Ground,
    eyes: Eyes,
    notices: Receiver<Notice>,
    start: Instant,
}

impl Lookout {
    /// Watches what `setting` is about; everything that happens from now on is told.
    pub fn open(setting: Setting, poll: bool) -> Result<(Self, Facts), Failure> {
        let (tell, notices) = channel();
        let (mut eyes, asked) = Eyes::open(&setting.root, poll, tell);
        let mut ground = Ground::open(setting)?;
        let (_, fallen) = eyes.set(&ground.folders());
        ground.begin();
        let mut lookout = Self {
            ground,
            eyes,
            notices,
            start: Instant::now(),
        };
        let (_, later) = lookout.spread();
        let facts = Facts {
            sources: lookout.ground.sources(),
            files: lookout.ground.files(),
            folders: lookout.eyes.count(),
            polls: fallen.or(later).or(asked),
        };
        Ok((lookout, facts))
    }

    /// Tells on a thread of its own, as long as the process lives.
    pub fn tell(mut self, tell: impl Fn(Told) + Send + 'static) {
        thread::spawn(move || {
            let mut burst = Burst::new(QUIET, LONGEST);
            let (mut lost, mut looked) = (None::<Duration>, None::<Duration>);
            loop {
                let now = self.start.elapsed();
                if lost.is_some_and(|at| at <= now) {
                    lost = None;
                    looked = Some(now);
                    self.eyes.forget_all();
                    burst.note([Touch::Everything], now);
                }
                if burst.due(now) == Some(Duration::ZERO) {
                    self.over(&burst.take(), &tell);
                    continue;
                }
                let until = lost.map(|at| at.saturating_sub(now));
                let wait = burst.due(now).into_iter().chain(until).min();
                let notice = match wait {
                    Some(wait) => match self.notices.recv_timeout(wait) {
                        Ok(notice) => notice,
                        Err(RecvTimeoutError::Timeout) => continue,
                        Err(RecvTimeoutError::Disconnected) => return,
                    },
                    None => match self.notices.recv() {
                        Ok(notice) => notice,
                        Err(_) => return,
                    },
                };
                let now = self.start.elapsed();
                match notice {
                    Notice::At(path) => burst.note(self.ground.touches(&path), now),
                    Notice::Gone(path) => {
                        self.eyes.forget(&path);
                        burst.note(self.ground.touches(&path), now);
                    }
                    Notice::Lost => {
                        let rested = looked.map_or(now, |at| at + REST);
                        lost.get_or_insert(rested.max(now));
                    }
                }
            }
        });
    }

    /// A burst is over.
    fn over(&mut self, touched: &BTreeSet<Touch>, tell: &impl Fn(Told)) {
        let mut news = self.ground.look(touched);
        let (more, polls) = self.spread();
        news.join(more);
        if let Some(polls) = polls {
            tell(Told::Polls(polls));
        }
        if !news.is_empty() {
            tell(Told::News(Box::new(news)));
        }
    }

    /// Watches folders that are new, and looks at what was made in them before that.
    fn spread(&mut self) -> (News, Option<Polls>) {
        let (mut news, mut why) = (News::default(), None);
        for _ in 0..ROUNDS {
            let (added, polls) = self.eyes.set(&self.ground.folders());
            why = why.or(polls);
            let within = self.ground.within(&added);
            if within.is_empty() {
                break;
            }
            news.join(self.ground.look(&within));
        }
        (news, why)
    }
}
