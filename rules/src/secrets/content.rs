//! Owns what text says: the rules for credentials in text, and [`TextScan`], which applies them
//! to a stream of bytes.
//!
//! Speed comes from one search for all the literals that a credential can begin with; only around
//! those does anything look closer.

use std::sync::LazyLock;

use regex::bytes::Regex;

use super::{PRAGMA, names::placeholder};

/// A kind of credential in text.
#[derive(Debug)]
pub struct Rule {
    /// Stable id, by which it can be allowed.
    pub id: &'static str,
    /// What it finds, for people.
    pub what: &'static str,
    literals: &'static [&'static str],
    shape: Shape,
}

/// What must stand at a literal to make it a credential.
#[derive(Debug, Clone, Copy)]
enum Shape {
    /// The literal, at the start of a word, and then so many bytes of a kind, and no more.
    Token {
        kind: Kind,
        min: usize,
        max: usize,
        mix: Mix,
    },
    /// The literal within the first line of a private key, and key material after it.
    PrivateKey,
    /// `scheme://user:password@host` around the literal.
    Url,
    /// The literal is a name, to which a value of at least 8 bytes is given; `digit`s among them
    /// where names and words of code may stand there too.
    Setting { digit: bool },
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Alphanumeric,
    /// With `-` and `_`.
    Dashed,
    /// Upper case and 2 to 7.
    Base32,
}

/// What a token has besides its length, which words of ordinary text have not.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mix {
    Any,
    Digit,
    BothCases,
}

impl Kind {
    fn has(self, byte: u8) -> bool {
        match self {
            Self::Alphanumeric => byte.is_ascii_alphanumeric(),
            Self::Dashed => byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'),
            Self::Base32 => byte.is_ascii_uppercase() || matches!(byte, b'2'..=b'7'),
        }
    }
}

impl Rule {
    /// A rule for values given to any of the names `literals` in a file that is known to hold
    /// settings.
    pub(super) const fn setting(
        id: &'static str,
        what: &'static str,
        literals: &'static [&'static str],
    ) -> Self {
        Self {
            id,
            what,
            literals,
            shape: Shape::Setting { digit: false },
        }
    }

    const fn token(
        id: &'static str,
        what: &'static str,
        literals: &'static [&'static str],
        (kind, min, max): (Kind, usize, usize),
        mix: Mix,
    ) -> Self {
        Self {
            id,
            what,
            literals,
            shape: Shape::Token {
                kind,
                min,
                max,
                mix,
            },
        }
    }
}

const MANY: usize = 512;

static RULES: [Rule; 16] = [
    Rule {
        id: "private-key",
        what: "private key",
        literals: &["PRIVATE KEY"],
        shape: Shape::PrivateKey,
    },
    Rule {
        id: "url-credentials",
        what: "password in a URL",
        literals: &["://"],
        shape: Shape::Url,
    },
    Rule::token(
        "aws-access-key",
        "AWS access key id",
        &["AKIA", "ASIA"],
        (Kind::Base32, 16, 16),
        Mix::Any,
    ),
    Rule {
        id: "aws-secret-key",
        what: "AWS secret access key",
        literals: &["aws_secret_access_key", "AWS_SECRET_ACCESS_KEY"],
        shape: Shape::Setting { digit: true },
    },
    Rule::token(
        "github-token",
        "GitHub token",
        &["ghp_", "gho_", "ghu_", "ghs_", "ghr_"],
        (Kind::Alphanumeric, 36, MANY),
        Mix::Any,
    ),
    Rule::token(
        "github-fine-token",
        "GitHub token",
        &["github_pat_"],
        (Kind::Dashed, 36, MANY),
        Mix::Digit,
    ),
    Rule::token(
        "gitlab-token",
        "GitLab token",
        &["glpat-"],
        (Kind::Dashed, 20, MANY),
        Mix::Digit,
    ),
    Rule::token(
        "slack-token",
        "Slack token",
        &["xoxa-", "xoxb-", "xoxp-", "xoxr-", "xoxs-"],
        (Kind::Dashed, 20, MANY),
        Mix::Digit,
    ),
    Rule::token(
        "google-api-key",
        "Google API key",
        &["AIza"],
        (Kind::Dashed, 35, 35),
        Mix::Digit,
    ),
    Rule::token(
        "ai-service-key",
        "AI service key",
        &["sk-proj-", "sk-ant-", "sk-svcacct-", "sk-or-"],
        (Kind::Dashed, 24, MANY),
        Mix::Digit,
    ),
    Rule::token(
        "openai-key",
        "OpenAI-like key",
        &["sk-"],
        (Kind::Alphanumeric, 32, 64),
        Mix::Digit,
    ),
    Rule::token(
        "hugging-face-token",
        "Hugging Face token",
        &["hf_"],
        (Kind::Alphanumeric, 30, 48),
        Mix::BothCases,
    ),
    Rule::token(
        "pypi-token",
        "PyPI token",
        &["pypi-AgEI"],
        (Kind::Dashed, 40, MANY),
        Mix::Any,
    ),
    Rule::token(
        "npm-token",
        "npm token",
        &["npm_"],
        (Kind::Alphanumeric, 36, 36),
        Mix::BothCases,
    ),
    Rule::token(
        "stripe-key",
        "Stripe live key",
        &["sk_live_", "rk_live_"],
        (Kind::Alphanumeric, 16, MANY),
        Mix::Any,
    ),
    Rule {
        id: "account-key",
        what: "storage account key",
        literals: &["AccountKey"],
        shape: Shape::Setting { digit: true },
    },
];

/// The rules for text.
pub fn rules() -> &'static [Rule] {
    &RULES
}

/// One search for the literals of all rules. `None` cannot be: the literals are constants.
static LITERALS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let all: Vec<String> = RULES
        .iter()
        .flat_map(|rule| rule.literals)
        .map(|text| regex::escape(text))
        .collect();
    Regex::new(&all.join("|")).ok()
});

/// Bytes that a rule may look at on either side of where its literal begins.
const REACH: usize = 1024;
/// A file with a NUL in its first bytes is not text.
const SNIFFED: usize = 8 << 10;
/// Enough to know what to do about a file.
const MOST: usize = 50;

/// Something found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hit {
    pub(super) rule: &'static Rule,
    pub(super) line: u32,
}

/// The scan of a stream of bytes. Keeps the last 2 KiB between pieces.
#[derive(Debug)]
pub struct TextScan {
    /// The end of what came so far.
    kept: Vec<u8>,
    /// Bytes at the start of `kept` that were scanned and are there to be looked back at.
    done: usize,
    /// Newlines before `kept`.
    lines: u64,
    /// Bytes that were looked at for NUL.
    sniffed: usize,
    binary: bool,
    hits: Vec<Hit>,
}

impl TextScan {
    pub(super) fn new() -> Self {
        Self {
            kept: Vec::new(),
            done: 0,
            lines: 0,
            sniffed: 0,
            binary: false,
            hits: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8], special: Option<&'static Rule>) {
        let head = &bytes[..bytes.len().min(SNIFFED - self.sniffed)];
        self.sniffed += head.len();
        if head.contains(&0) {
            self.binary = true;
            self.hits.clear();
            self.kept = Vec::new();
        }
        if self.binary {
            return;
        }
        let mut block = std::mem::take(&mut self.kept);
        if bytes.len() > 4 * REACH {
            // Only the seam is put together; the rest is scanned where it is.
            let seam = block.len();
            block.extend_from_slice(&bytes[..2 * REACH]);
            self.scan(&block, seam + REACH, special);
            self.lines += newlines(&block[..seam]);
            self.done = REACH;
            self.advance(bytes, special);
            block.clear();
            block.extend_from_slice(&bytes[bytes.len() - 2 * REACH..]);
        } else {
            block.extend_from_slice(bytes);
            let keep = self.advance(&block, special);
            block.drain(..keep);
        }
        self.kept = block;
    }

    /// Scans a block but for what needs the bytes behind it, and moves to what must be kept of it:
    /// the rest, and as much again to look back at. Returns the offset of that.
    fn advance(&mut self, block: &[u8], special: Option<&'static Rule>) -> usize {
        let end = block.len().saturating_sub(REACH).max(self.done);
        self.scan(block, end, special);
        let keep = end.saturating_sub(REACH);
        self.lines += newlines(&block[..keep]);
        self.done = end - keep;
        keep
    }

    pub(super) fn finish(mut self, special: Option<&'static Rule>) -> Vec<Hit> {
        let block = std::mem::take(&mut self.kept);
        if !self.binary {
            self.scan(&block, block.len(), special);
        }
        self.hits
    }

    /// Applies the rules to what begins in `done..end`.
    fn scan(&mut self, block: &[u8], end: usize, special: Option<&'static Rule>) {
        let mut from = self.done;
        while let Some(found) = LITERALS.as_ref().and_then(|all| all.find_at(block, from)) {
            let at = found.start();
            if at >= end || self.hits.len() >= MOST {
                break;
            }
            // Literals may begin with one another, so the rest of the rules is asked too.
            let rule = RULES.iter().find(|rule| {
                rule.literals.iter().any(|literal| {
                    block[at..].starts_with(literal.as_bytes()) && rule.holds(block, at, literal)
                })
            });
            if let Some(rule) = rule {
                self.hit(rule, block, at);
            }
            from = at + 1;
        }
        for literal in special.map_or(&[][..], |rule| rule.literals) {
            let mut from = self.done;
            while let Some(at) = find(&block[from..], literal.as_bytes()).map(|at| from + at) {
                if at >= end || self.hits.len() >= MOST {
                    break;
                }
                if let Some(rule) = special
                    && rule.holds(block, at, literal)
                {
                    self.hit(rule, block, at);
                }
                from = at + 1;
            }
        }
    }

    fn hit(&mut self, rule: &'static Rule, block: &[u8], at: usize) {
        let start = block[..at]
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        let end = line_end(block, at);
        if find(&block[start..end], PRAGMA.as_bytes()).is_some() {
            return;
        }
        let line = (self.lines + newlines(&block[..at]) + 1).min(u64::from(u32::MAX)) as u32;
        if !self
            .hits
            .iter()
            .any(|hit| hit.line == line && hit.rule.id == rule.id)
        {
            self.hits.push(Hit { rule, line });
        }
    }
}

fn newlines(bytes: &[u8]) -> u64 {
    // Sums that fit a byte are what the compiler makes fast.
    let sum = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| u8::from(*byte == b'\n'))
            .sum::<u8>()
    };
    bytes.chunks(255).map(|bytes| u64::from(sum(bytes))).sum()
}

fn line_end(block: &[u8], at: usize) -> usize {
    block[at..]
        .iter()
        .position(|byte| *byte == b'\n')
        .map_or(block.len(), |length| at + length)
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

impl Rule {
    /// Whether the literal at `at` belongs to a credential.
    fn holds(&self, block: &[u8], at: usize, literal: &str) -> bool {
        let after = &block[at + literal.len()..];
        let after = &after[..after.len().min(REACH - 64)];
        let before = &block[at.saturating_sub(REACH)..at];
        match self.shape {
            Shape::Token {
                kind,
                min,
                max,
                mix,
            } => {
                // A dash before is no start of a word: `risk-`, `--sk-`.
                let word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
                let escape = before.ends_with(b"\\n") || before.ends_with(b"\\t");
                if before.last().is_some_and(word) && !escape {
                    return false;
                }
                let length = after.iter().take_while(|byte| kind.has(**byte)).count();
                let token = &after[..length];
                (min..=max).contains(&length) && mix.holds(token) && !repetitive(token)
            }
            Shape::PrivateKey => private_key(before, after),
            Shape::Url => url(before, after),
            Shape::Setting { digit } => setting(before, after, digit),
        }
    }
}

impl Mix {
    fn holds(self, token: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Digit => token.iter().any(u8::is_ascii_digit),
            Self::BothCases => {
                token.iter().any(u8::is_ascii_lowercase) && token.iter().any(u8::is_ascii_uppercase)
            }
        }
    }
}

/// Tokens of documentation: made of few letters, or saying so.
fn repetitive(token: &[u8]) -> bool {
    let mut seen = [false; 256];
    for byte in token {
        seen[usize::from(*byte)] = true;
    }
    seen.iter().filter(|seen| **seen).count() < 6 || placeholder(token)
}

/// `-----BEGIN … PRIVATE KEY…-----` and then something like a key, be it in a file of its own or
/// in a quoted string. The words alone occur in any program that reads keys.
fn private_key(before: &[u8], after: &[u8]) -> bool {
    let line = before
        .rsplit(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    let begins = line
        .strip_suffix(b" ")
        .unwrap_or(line)
        .rsplit(|byte| !(byte.is_ascii_uppercase() || *byte == b' '))
        .next()
        .is_some_and(|words| words.starts_with(b"BEGIN"));
    let dashes = find(line, b"-----BEGIN").is_some();
    let Some(rest) = after
        .strip_prefix(b" BLOCK-----")
        .or_else(|| after.strip_prefix(b"-----"))
    else {
        return false;
    };
    let mut rest = rest;
    // Ends of lines, as they are or escaped, quotes and what joins strings.
    loop {
        rest = match rest {
            [b'\\', b'n' | b'r' | b't', tail @ ..]
            | [
                b' ' | b'\t' | b'\r' | b'\n' | b'"' | b'\'' | b'+' | b'\\' | b'|' | b',',
                tail @ ..,
            ] => tail,
            _ => break,
        };
    }
    let key = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    let material = rest.iter().take_while(key).count() >= 24;
    let header = [&b"Proc-Type:"[..], b"Version:", b"Comment:", b"DEK-Info:"]
        .iter()
        .any(|word| rest.starts_with(word));
    begins && dashes && (material || header)
}

/// `user:password@host` after, and a scheme before.
fn url(before: &[u8], after: &[u8]) -> bool {
    if !before.last().is_some_and(u8::is_ascii_alphanumeric) {
        return false;
    }
    let authority = after
        .iter()
        .position(|byte| {
            byte.is_ascii_whitespace()
                || matches!(byte, b'/' | b'?' | b'#' | b'"' | b'\'' | b'`' | b',' | b'|')
        })
        .map_or(after, |end| &after[..end]);
    let Some(at) = authority.iter().rposition(|byte| *byte == b'@') else {
        return false;
    };
    let (login, host) = (&authority[..at], &authority[at + 1..]);
    let Some(colon) = login.iter().position(|byte| *byte == b':') else {
        return false;
    };
    let (user, password) = (&login[..colon], &login[colon + 1..]);
    let named = |host: &[u8]| {
        [
            &b"example.com"[..],
            b"example.org",
            b"example.net",
            b"host",
            b"hostname",
        ]
        .contains(&host)
    };
    let domain = host.split(|byte| *byte == b':').next().unwrap_or_default();
    let last_two = domain
        .rsplitn(3, |byte| *byte == b'.')
        .take(2)
        .map(<[u8]>::len)
        .sum::<usize>();
    let parent = &domain[domain.len().saturating_sub(last_two + 1)..];
    host.first()
        .is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'[')
        && password != user
        && !placeholder(password)
        && !password
            .iter()
            .any(|byte| matches!(byte, b'<' | b'>' | b'{' | b'}' | b'(' | b'$'))
        && !named(domain)
        && !named(parent)
}

/// `name = value` or `"name": "value"`, the value being literal.
fn setting(before: &[u8], after: &[u8], digit: bool) -> bool {
    if before.last().is_some_and(u8::is_ascii_alphanumeric) {
        return false;
    }
    let skip =
        |bytes: &[u8], set: &[u8]| bytes.iter().take_while(|byte| set.contains(byte)).count();
    let start = skip(after, b" \t\"'\\]");
    let sign = skip(&after[start..], b" \t:=");
    if !after[start..start + sign]
        .iter()
        .any(|byte| matches!(byte, b':' | b'='))
    {
        return false;
    }
    let rest = &after[start + sign..];
    let rest = &rest[skip(rest, b" \t\"'\\")..];
    let value = |byte: &&u8| {
        byte.is_ascii_alphanumeric()
            || matches!(byte, b'+' | b'/' | b'=' | b'-' | b'_' | b'.' | b':')
    };
    let length = rest.iter().take_while(value).count();
    let value = &rest[..length];
    // Code that reads the value from elsewhere: a call, an index, a dotted name without digits.
    let code = matches!(rest.get(length), Some(b'(' | b'[' | b'{'));
    length >= 8 && !code && (!digit || value.iter().any(u8::is_ascii_digit)) && !repetitive(value)
}
