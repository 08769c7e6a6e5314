//! Owns whether what a command printed is what its page says.

use std::sync::LazyLock;

use regex::Regex;

/// What differs from one run to the next, and what stands for it.
static MASKS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    [
        (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?Z?", "<time>"),
        (r"\d+(\.\d+)? ?(ms|s|min|h)\b", "<duration>"),
        (r"\d+(\.\d+)? ?(B|bytes|[kMG]i?B)\b", "<size>"),
        (r"\b([0-9a-f]{8,}\b|[0-9a-f]{4,}…)", "<digest>"),
        (r"\bsyn_\d+_[0-9A-Za-z_-]+…?", "<token>"),
        (r"\s+", " "),
    ]
    .map(|(pattern, name)| (Regex::new(pattern).unwrap(), name))
    .into()
});

/// The lines of a text without what differs from run to run.
fn masked<'a>(lines: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mask = |line: &str| {
        let masks = MASKS.iter();
        masks.fold(line.trim_end().to_owned(), |text, (pattern, name)| {
            pattern.replace_all(&text, *name).into_owned()
        })
    };
    lines.into_iter().map(mask).collect()
}

/// Whether `printed` is `said`, where a line `...` is any number of lines and `…` any text.
/// Otherwise the first line that is not there.
pub(crate) fn compare(said: &[String], printed: &str) -> Result<(), String> {
    let said = masked(said.iter().map(String::as_str));
    let printed = masked(printed.lines());
    let mut at = 0;
    let mut is_open = false;
    for line in &said {
        if line == "..." {
            is_open = true;
            continue;
        }
        let found = printed[at..].iter().position(|other| is_same(line, other));
        match found {
            Some(0) => at += 1,
            Some(skipped) if is_open => at += skipped + 1,
            _ => return Err(format!("{line:?} is not printed where the page says so")),
        }
        is_open = false;
    }
    match printed.get(at) {
        Some(more) if !is_open => Err(format!("{more:?} is printed, and not on the page")),
        _ => Ok(()),
    }
}

fn is_same(said: &str, printed: &str) -> bool {
    let parts: Vec<String> = said.split('…').map(regex::escape).collect();
    let pattern = format!("^{}$", parts.join(".*"));
    Regex::new(&pattern).unwrap().is_match(printed)
}

#[test]
fn what_is_printed_is_held_against_the_page() {
    let lines = |text: &str| -> Vec<String> { text.lines().map(str::to_owned).collect() };
    let same = |said: &str, printed: &str| compare(&lines(said), printed).is_ok();
    assert!(same("a  1.2 kB in 3 ms", "a 7.0 MB in 120 ms\n"));
    assert!(same("...\nb\n...", "a\nb\nc\n") && same("a\n...", "a\n"));
    assert!(same("token 5f3c9a4e…", "token 0123456789abcdef\n"));
    assert!(!same("a", "a\nb\n") && !same("a\nc", "a\nb\nc\n") && !same("b", "a\n"));
    assert!(!same("3 plugins", "4 plugins\n") && !same("", "a\n"));
}
