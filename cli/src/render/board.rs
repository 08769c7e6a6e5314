//! Owns the live area: the last lines of a terminal while something takes long. It names what is
//! worked on and what is waited for, is drawn only when that lasts, and is gone when it ends.
//! Where there is no terminal, a line in half a minute says the same.

use std::{
    collections::VecDeque,
    ffi::OsString,
    io::{IsTerminal, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
    time::{Duration, Instant},
};

use super::{DIM, HINT, choice, fit, paint};
use crate::args::{Color, Output};

/// What ends sooner is never shown.
const DELAY: Duration = Duration::from_millis(200);
/// How often it is drawn.
const TICK: Duration = Duration::from_millis(100);
/// How often a log is told that something still goes on.
const BEAT: Duration = Duration::from_secs(30);
/// Items that are shown; the rest is counted.
const SHOWN: usize = 3;
/// Columns at the end of a line that stay free: of the `^C` that a terminal shows there.
const FREE: usize = 3;
/// Columns of a bar.
const BAR: usize = 20;

/// The live area of this process, as there is one terminal.
static BOARD: OnceLock<Board> = OnceLock::new();

/// The live area.
#[derive(Clone)]
pub struct Board(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    shows: Shows,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shows {
    /// Nothing.
    Nothing,
    /// Lines on a terminal.
    Area { colour: bool },
    /// A line now and then.
    Beats,
}

#[derive(Default)]
struct State {
    /// What goes on, oldest first.
    items: VecDeque<Item>,
    next: u64,
    /// Stages done and in all, while there are any.
    stages: Option<(u64, u64)>,
    /// Since when something goes on.
    since: Option<Instant>,
    /// When the next line is due, where there is no area.
    beat: Option<Instant>,
    /// Columns of every line that is drawn.
    drawn: Vec<usize>,
    /// What is drawn.
    text: String,
    /// Nothing may be drawn while this is not 0: somebody is asked.
    paused: u32,
    started: bool,
}

struct Item {
    id: u64,
    text: String,
    /// How far it is, of a thousand.
    part: Option<u64>,
    since: Instant,
    /// It stands for all that goes on, and is named as long as nothing of that is.
    whole: bool,
}

/// Something that goes on, until this is dropped.
pub struct Busy {
    board: Board,
    id: u64,
}

/// The area is taken away until this is dropped.
pub struct Paused(Board);

/// Decides, once, how this process shows what goes on. `dumb`: the terminal cannot move its
/// cursor. `heartbeat`: seconds between lines in a log, where it is not the usual.
pub fn begin(output: &Output, dumb: bool, heartbeat: Option<OsString>) {
    let stderr = std::io::stderr();
    let shows = if output.is_machine() || output.quiet {
        Shows::Nothing
    } else if !stderr.is_terminal() || dumb {
        Shows::Beats
    } else if output.no_progress {
        Shows::Nothing
    } else {
        let colour = match output.color {
            Color::Auto => anstream::AutoStream::choice(&stderr) != anstream::ColorChoice::Never,
            other => choice(other) == anstream::ColorChoice::Always,
        };
        Shows::Area { colour }
    };
    let seconds = heartbeat.and_then(|text| text.to_str()?.parse().ok());
    let beat = seconds
        .filter(|seconds| *seconds > 0)
        .map(Duration::from_secs);
    let _ = BEATS.set(beat.unwrap_or(BEAT));
    let _ = BOARD.set(Board::new(shows));
}

/// Time between heartbeats, where it is not the usual.
static BEATS: OnceLock<Duration> = OnceLock::new();

/// Names something that goes on, or that is waited for: `waiting for process 12`.
#[must_use]
pub fn busy(text: impl Into<String>) -> Busy {
    get().busy(text.into())
}

/// The live area of this process.
pub fn get() -> Board {
    BOARD.get_or_init(|| Board::new(Shows::Nothing)).clone()
}

/// Does something to the terminal where the area is in the way.
pub fn aside<T>(act: impl FnOnce() -> T) -> T {
    match BOARD.get() {
        Some(board) => board.aside(act),
        None => act(),
    }
}

/// Takes the area away for good: the process is about to end.
pub fn end() {
    let Some(board) = BOARD.get() else { return };
    // Whoever draws may be stuck in a terminal that takes nothing.
    for _ in 0..20 {
        if let Ok(mut state) = board.0.state.try_lock() {
            state.paused += 1;
            return erase(&mut state);
        }
        thread::sleep(Duration::from_millis(5));
    }
}

impl Board {
    fn new(shows: Shows) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::default(),
            changed: Condvar::new(),
            shows,
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an area is drawn.
    pub fn is_area(&self) -> bool {
        matches!(self.0.shows, Shows::Area { .. })
    }

    /// Something goes on from now on.
    #[must_use]
    pub fn busy(&self, text: String) -> Busy {
        self.add(text, false)
    }

    /// The same of what has parts: they are named instead, while there are any.
    #[must_use]
    pub fn whole(&self, text: String) -> Busy {
        self.add(text, true)
    }

    fn add(&self, text: String, whole: bool) -> Busy {
        let busy = |id| Busy {
            board: self.clone(),
            id,
        };
        if self.0.shows == Shows::Nothing {
            return busy(0);
        }
        let mut state = self.state();
        state.next += 1;
        let (id, now) = (state.next, Instant::now());
        if state.since.is_none() {
            state.since = Some(now);
            state.beat = Some(now + BEATS.get().copied().unwrap_or(BEAT));
        }
        state.items.push_back(Item {
            id,
            text,
            part: None,
            since: now,
            whole,
        });
        if !std::mem::replace(&mut state.started, true) {
            let own = self.clone();
            thread::spawn(move || own.draw_for_ever());
        }
        drop(state);
        self.0.changed.notify_one();
        busy(id)
    }

    /// Stages done and in all; nothing when none are counted any more.
    pub fn stages(&self, stages: Option<(u64, u64)>) {
        if self.0.shows != Shows::Nothing {
            self.state().stages = stages;
        }
    }

    /// Does something while the area is away.
    pub fn aside<T>(&self, act: impl FnOnce() -> T) -> T {
        if !self.is_area() {
            return act();
        }
        let mut state = self.state();
        erase(&mut state);
        act()
    }

    /// Takes the area away until what is returned is dropped.
    #[must_use]
    pub fn pause(&self) -> Paused {
        let mut state = self.state();
        state.paused += 1;
        erase(&mut state);
        Paused(self.clone())
    }

    fn draw_for_ever(&self) {
        let mut state = self.state();
        loop {
            if state.items.is_empty() {
                erase(&mut state);
                state = self
                    .0
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let now = Instant::now();
            match self.0.shows {
                Shows::Area { colour } => draw(&mut state, colour, now),
                _ => tell(&mut state, now),
            }
            state = self
                .0
                .changed
                .wait_timeout(state, TICK)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

impl Busy {
    /// It is something else now.
    pub fn set(&self, text: impl Into<String>) {
        self.change(|item| item.text = text.into());
    }

    /// The same, so many thousandths of which are done.
    pub fn set_part(&self, text: impl Into<String>, part: u64) {
        self.change(|item| {
            item.text = text.into();
            item.part = Some(part.min(1000));
        });
    }

    fn change(&self, change: impl FnOnce(&mut Item)) {
        if self.id == 0 {
            return;
        }
        let mut state = self.board.state();
        if let Some(item) = state.items.iter_mut().find(|item| item.id == self.id) {
            change(item);
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if self.id == 0 {
            return;
        }
        let mut state = self.board.state();
        state.items.retain(|item| item.id != self.id);
        if state.items.is_empty() {
            // The next thing begins anew, with its own delay.
            state.since = None;
            erase(&mut state);
        }
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        self.0.state().paused -= 1;
    }
}

/// Rows that the drawn lines take in a terminal of so many columns: a narrower one wraps them.
fn rows(drawn: &[usize], columns: usize) -> usize {
    let of = |length: &usize| length.div_ceil(columns.max(1)).max(1);
    drawn.iter().map(of).sum()
}

/// The cursor stands at the end of the last line: back to the start of the first.
fn back(drawn: &[usize], columns: usize) -> String {
    match rows(drawn, columns) {
        0 => String::new(),
        1 => "\r".to_owned(),
        rows => format!("\r\x1b[{}A", rows - 1),
    }
}

fn erase(state: &mut State) {
    if state.drawn.is_empty() {
        return;
    }
    let mut stderr = std::io::stderr();
    let columns = fit::columns(&stderr).unwrap_or(usize::MAX);
    // Row by row, from the last one up: some terminals keep what is cleared from the top at once.
    let mut text = "\r\x1b[2K".to_owned();
    for _ in 1..rows(&state.drawn, columns) {
        text.push_str("\x1b[1A\x1b[2K");
    }
    let _ = stderr.write_all(text.as_bytes());
    state.drawn.clear();
    state.text.clear();
}

fn draw(state: &mut State, colour: bool, now: Instant) {
    let lasts = state.since.is_some_and(|since| now - since >= DELAY);
    if !lasts || state.paused > 0 {
        return;
    }
    let mut stderr = std::io::stderr();
    let Some(columns) = fit::columns(&stderr) else {
        return;
    };
    let lines = lines(state, columns, now);
    let text = lines.join("\n");
    let text = if colour {
        text
    } else {
        anstream::adapter::strip_str(&text).to_string()
    };
    if text == state.text {
        return;
    }
    let mut out = back(&state.drawn, columns);
    for (index, line) in text.split('\n').enumerate() {
        out.push_str(if index > 0 { "\n" } else { "" });
        out.push_str(line);
        // What was there before may have been longer.
        out.push_str("\x1b[K");
    }
    out.push_str("\x1b[J");
    let _ = stderr.write_all(out.as_bytes());
    state.drawn = lines.iter().map(|line| fit::width(line)).collect();
    state.text = text;
}

fn lines(state: &State, columns: usize, now: Instant) -> Vec<String> {
    let columns = columns.saturating_sub(FREE);
    let mut lines = Vec::new();
    let lasted = state.since.map_or(0, |since| (now - since).as_secs());
    let indent = if let Some((done, all)) = state.stages {
        let head = format!("{done} of {all} stages, {lasted} s");
        lines.push(format!(
            "{} {}",
            paint(HINT, "Working"),
            fit::middle(&head, columns.saturating_sub(8))
        ));
        2
    } else {
        0
    };
    let items = named(state);
    for item in items.iter().take(SHOWN) {
        let lasted = (now - item.since).as_secs();
        let mut end = if lasted > 1 && state.stages.is_none() {
            format!(", {lasted} s")
        } else {
            String::new()
        };
        if let Some(part) = item.part {
            let full = (part as usize * BAR) / 1000;
            let bar = format!("{}{}", "#".repeat(full), ".".repeat(BAR - full));
            end = format!("  {bar} {:>3}%", part / 10);
        }
        let room = columns.saturating_sub(indent + end.len());
        let text = fit::middle(&item.text, room);
        lines.push(format!("{}{text}{}", " ".repeat(indent), paint(DIM, end)));
    }
    if items.len() > SHOWN {
        let more = format!("and {} more", items.len() - SHOWN);
        lines.push(format!("{}{}", " ".repeat(indent), paint(DIM, more)));
    }
    lines
}

/// What is named: the parts, and the whole where there are none.
fn named(state: &State) -> Vec<&Item> {
    let parts: Vec<&Item> = state.items.iter().filter(|item| !item.whole).collect();
    if parts.is_empty() {
        return state.items.iter().collect();
    }
    parts
}

/// A line for a log, when one is due.
fn tell(state: &mut State, now: Instant) {
    if state.paused > 0 || state.beat.is_none_or(|beat| now < beat) {
        return;
    }
    state.beat = Some(now + BEATS.get().copied().unwrap_or(BEAT));
    let lasted = state.since.map_or(0, |since| (now - since).as_secs());
    let items = named(state);
    let first = items.iter().take(SHOWN).map(|item| item.text.clone());
    let mut text = first.collect::<Vec<_>>().join("; ");
    if items.len() > SHOWN {
        text = format!("{text}; and {} more", items.len() - SHOWN);
    }
    let stages = state.stages.map_or_else(String::new, |(done, all)| {
        format!(", {done} of {all} stages done")
    });
    let line = format!("still at work after {lasted} s{stages}: {text}\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(items: &[(&str, Option<u64>)], stages: Option<(u64, u64)>, columns: usize) -> String {
        let now = Instant::now();
        let item = |(index, (text, part)): (usize, &(&str, Option<u64>))| Item {
            id: index as u64 + 1,
            text: (*text).to_owned(),
            part: *part,
            since: now,
            whole: false,
        };
        let state = State {
            items: items.iter().enumerate().map(item).collect(),
            stages,
            since: Some(now),
            ..State::default()
        };
        let lines = lines(&state, columns, now + Duration::from_secs(8));
        for line in &lines {
            assert!(fit::width(line) + FREE <= columns.max(20), "{line:?}");
        }
        anstream::adapter::strip_str(&lines.join("\n")).to_string()
    }

    #[test]
    fn an_area_names_three_and_counts_the_rest() {
        let items = [
            ("uploading coco-export to staging: 12.0 of 40.0 MB", None),
            (
                "waiting for https://staging.example.com about box-merge",
                None,
            ),
            ("packing tiny-classifier", None),
            ("packing box-merge", None),
            ("packing auto-tagger", None),
        ];
        insta::assert_snapshot!(shown(&items, Some((12, 40)), 60), @r"
        Working 12 of 40 stages, 8 s
          uploading coco-export to staging: 12.0 of 40.0 MB
          waiting for https://staging.example.com about box-merge
          packing tiny-classifier
          and 2 more
        ");
        insta::assert_snapshot!(shown(&items[..2], None, 40), @r"
        uploading coco-e…12.0 of 40.0 MB, 8 s
        waiting for http…about box-merge, 8 s
        ");
        insta::assert_snapshot!(shown(&[("train 2/5", Some(405))], None, 60), @"train 2/5  ########............  40%");
    }

    #[test]
    fn a_narrower_terminal_has_wrapped_what_was_drawn() {
        assert_eq!(rows(&[57, 20, 0], 60), 3);
        assert_eq!(rows(&[57, 20, 0], 40), 4);
        assert_eq!(back(&[57], 60), "\r");
        assert_eq!(back(&[57, 20], 20), "\r\x1b[3A");
        assert_eq!(back(&[], 20), "");
    }
}
