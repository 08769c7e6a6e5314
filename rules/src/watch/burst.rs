//! Owns [`Burst`]: events that belong together. One save makes several, a checkout thousands; they
//! count once it has been quiet for a moment, and at the latest after a while.

use std::{collections::BTreeSet, time::Duration};

/// More events than a save makes: somebody writes many files, and may pause between them.
const MANY: usize = 40;
/// So many times as long it must be quiet then.
const LONGER: u32 = 4;

/// Things that happened in one go. It reads no clock: moments are counted from any start.
#[derive(Debug)]
pub struct Burst<T> {
    quiet: Duration,
    longest: Duration,
    began: Option<Duration>,
    last: Duration,
    events: usize,
    things: BTreeSet<T>,
}

impl<T: Ord> Burst<T> {
    /// One that is over after `quiet` without an event (longer, when there are many), or `longest`
    /// after its first.
    pub fn new(quiet: Duration, longest: Duration) -> Self {
        Self {
            quiet,
            longest,
            began: None,
            last: Duration::ZERO,
            events: 0,
            things: BTreeSet::new(),
        }
    }

    /// Something happened.
    pub fn note(&mut self, things: impl IntoIterator<Item = T>, now: Duration) {
        for thing in things {
            self.events += 1;
            self.things.insert(thing);
            self.began.get_or_insert(now);
            self.last = now;
        }
    }

    /// How long it is until it is over, nothing when nothing happened; zero when it is.
    pub fn due(&self, now: Duration) -> Option<Duration> {
        let quiet = if self.events > MANY {
            self.quiet * LONGER
        } else {
            self.quiet
        };
        let end = (self.last + quiet).min(self.began? + self.longest);
        Some(end.saturating_sub(now))
    }

    /// What happened; the next event begins another.
    pub fn take(&mut self) -> BTreeSet<T> {
        self.began = None;
        self.events = 0;
        std::mem::take(&mut self.things)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Duration = Duration::from_millis(25);
    const LONGEST: Duration = Duration::from_millis(500);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_save_of_several_events_counts_once() {
        let mut burst = Burst::new(QUIET, LONGEST);
        assert_eq!(burst.due(ms(0)), None);
        // An editor's: a file beside it, moved over it, closed.
        for (at, path) in [(100, "4913"), (101, "train.py~"), (103, "train.py")] {
            burst.note([path], ms(at));
            assert_eq!(burst.due(ms(at)), Some(QUIET));
        }
        burst.note(["train.py"], ms(110));
        assert_eq!(burst.due(ms(120)), Some(ms(15)));
        assert_eq!(burst.due(ms(135)), Some(ms(0)));
        assert_eq!(burst.due(ms(900)), Some(ms(0)), "late is over as well");
        let taken: Vec<_> = burst.take().into_iter().collect();
        assert_eq!(taken, ["4913", "train.py", "train.py~"]);
        assert_eq!(burst.due(ms(901)), None);
        assert!(burst.take().is_empty());
    }

    #[test]
    fn many_files_may_take_their_time() {
        let mut burst = Burst::new(QUIET, LONGEST);
        for number in 0..100 {
            burst.note([number], ms(100));
        }
        assert_eq!(burst.due(ms(140)), Some(ms(60)));
        burst.note([100], ms(180));
        assert_eq!(burst.due(ms(279)), Some(ms(1)));
        assert_eq!(burst.due(ms(280)), Some(ms(0)));
        assert_eq!(burst.take().len(), 101);
        burst.note([1], ms(300));
        assert_eq!(burst.due(ms(300)), Some(QUIET), "the next is a save again");
    }

    #[test]
    fn whoever_writes_without_end_is_heard_all_the_same() {
        let mut burst = Burst::new(QUIET, LONGEST);
        let (mut ends, mut at) = (Vec::new(), 0);
        while at < 2_000 {
            burst.note(["noise"], ms(at));
            at += 10;
            if burst.due(ms(at)) == Some(Duration::ZERO) {
                burst.take();
                ends.push(at);
            }
        }
        assert_eq!(ends, [500, 1_000, 1_500, 2_000]);
    }

    #[test]
    fn nothing_is_no_event() {
        let mut burst = Burst::<u8>::new(QUIET, LONGEST);
        burst.note([], ms(5));
        assert_eq!(burst.due(ms(50)), None);
    }
}
