//! Every diagnostic as a person sees it, and proof that no file makes the reader panic or hang.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use synapse_rules::{
    config::{self, Diagnostic, Method, check_entrypoints},
    workspace,
};

const GOOD: &str = include_str!("../../fixtures/good-configs/full/config.yaml");

fn fixtures() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/bad-configs");
    let mut found: Vec<PathBuf> = fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    found.sort();
    found
}

fn files(root: &Path) -> Vec<String> {
    let mut files = Vec::new();
    let mut pending = vec![root.to_path_buf()];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else {
                files.push(
                    path.strip_prefix(root)
                        .unwrap()
                        .to_str()
                        .unwrap()
                        .to_owned(),
                );
            }
        }
    }
    files.sort();
    files
}

fn diagnose(root: &Path) -> Vec<Diagnostic> {
    if let Ok(bytes) = fs::read(root.join(workspace::FILE)) {
        return workspace::parse(&bytes, workspace::FILE, root).diagnostics;
    }
    let bytes = fs::read(root.join("config.yaml")).unwrap();
    let mut parsed = config::parse(&bytes, "config.yaml");
    assert_eq!(
        parsed.config.is_none(),
        parsed.diagnostics.iter().any(Diagnostic::is_error)
    );
    let files = files(root);
    if let Some(config) = parsed.config.filter(|_| files.len() > 1) {
        let sources = |path: &str| fs::read(root.join(path)).ok();
        parsed.diagnostics.extend(check_entrypoints(
            &config,
            "config.yaml",
            &bytes,
            &files,
            &sources,
        ));
    }
    parsed.diagnostics
}

#[test]
fn every_bad_config_is_explained() {
    for root in fixtures() {
        let name = root.file_name().unwrap().to_str().unwrap();
        let diagnostics = diagnose(&root);
        assert!(!diagnostics.is_empty(), "{name} has no diagnostic");
        let mut text = String::new();
        for diagnostic in &diagnostics {
            writeln!(text, "[{}]\n{}", diagnostic.code, diagnostic.render_plain()).unwrap();
        }
        assert!(!text.contains("hunter2"), "{name} shows a secret:\n{text}");
        assert!(!text.contains('\u{1b}'), "{name} shows a control character");
        insta::assert_snapshot!(name, text);
    }
}

#[test]
fn codes_are_kebab_case() {
    let codes: BTreeSet<&str> = fixtures()
        .iter()
        .flat_map(|root| diagnose(root))
        .map(|d| d.code)
        .collect();
    assert!(codes.len() >= 35, "{codes:?}");
    for code in codes {
        assert!(
            code.bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        );
    }
}

#[test]
fn the_good_config_has_no_problem() {
    let parsed = config::parse(GOOD.as_bytes(), "config.yaml");
    assert!(parsed.diagnostics.is_empty(), "{:#?}", parsed.diagnostics);
    let config = parsed.config.unwrap();
    assert!(
        !format!("{config:?}").contains("CUDA_VISIBLE_DEVICES"),
        "Debug shows env"
    );
    assert_eq!(&GOOD[config.version_span.clone()], "1.4.2");
    assert_eq!(config.env["RETRIES"], "3");
    assert_eq!(
        (config.readme.as_str(), config.wheels_dir.as_str()),
        ("docs/README.md", "wheels")
    );
    assert_eq!(
        config.json["x_unknown"]["kept"].to_string(),
        "[1,2.5,null,true]"
    );
    assert_eq!(config.actions[1].effective_method(), Method::Serve);
    insta::assert_snapshot!("good-config", format!("{config:#?}"));
    insta::assert_snapshot!("good-config-json", format!("{:#}", config.json));
}

/// xorshift: the same mutations everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }
}

#[test]
fn mutated_configs_never_panic_or_hang() {
    const PIECES: [&[u8]; 30] = [
        b"\t",
        b"\n",
        b": ",
        b"- ",
        b"[",
        b"]",
        b"{",
        b"}",
        b"&a ",
        b"*a",
        b"<<: *a\n",
        b"'",
        b"\"",
        b"|\n",
        b">-\n",
        b"!!str ",
        b"!x ",
        b"---\n",
        b"...\n",
        b"#",
        b"?",
        b"\xff",
        b"\xc3",
        b"\0",
        b"\r",
        b"\xef\xbb\xbf",
        b"env:\n",
        b"%YAML 1.1\n",
        b"\\",
        "é\u{2028}".as_bytes(),
    ];
    let mut random = Random(0x5eed_5eed_5eed_5eed);
    let mut slowest = Duration::ZERO;
    for _ in 0..4000 {
        let mut bytes = GOOD.as_bytes().to_vec();
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len());
            match random.below(5) {
                0 => bytes[at] = random.below(256) as u8,
                1 if bytes.len() > 1 => drop(bytes.remove(at)),
                2 => {
                    let piece = PIECES[random.below(PIECES.len())];
                    bytes.splice(at..at, piece.iter().copied());
                }
                3 => {
                    let end = (at + random.below(40)).min(bytes.len());
                    let copy = bytes[at..end].to_vec();
                    let to = random.below(bytes.len());
                    bytes.splice(to..to, copy);
                }
                _ => bytes.truncate(at.max(1)),
            }
        }
        let start = Instant::now();
        let parsed = config::parse(&bytes, "config.yaml");
        slowest = slowest.max(start.elapsed());
        for diagnostic in &parsed.diagnostics {
            assert!(diagnostic.render_plain().len() < 4000);
        }
        if let Some(config) = parsed.config {
            let span = config.version_span.clone();
            assert!(bytes.get(span).is_some());
        }
        workspace::parse(&bytes, "w", Path::new("."));
    }
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
}

#[test]
fn bombs_are_refused_fast() {
    let nested = |open: &str, n: usize| open.repeat(n);
    let wide_alias = format!(
        "a: &a {}\nb: [{}]\n",
        "x".repeat(500_000),
        "*a, ".repeat(99)
    );
    let mut laughs = "a0: &a0 {k: v}\n".to_owned();
    for i in 1..60 {
        writeln!(
            laughs,
            "a{i}: &a{i} {{<<: [*a{p}, *a{p}], k{i}: *a{p}}}",
            p = i - 1
        )
        .unwrap();
    }
    for (name, text, code) in [
        ("brackets", nested("[", 500_000), "config-too-deep"),
        ("braces", nested("{a: ", 200_000), "config-too-deep"),
        ("dashes", nested("- ", 400_000), "config-too-deep"),
        ("questions", nested("? ", 400_000), "config-too-deep"),
        ("anchors", nested("&a [", 200_000), "config-too-deep"),
        (
            "items",
            format!("a: [{}]", nested("1,", 500_000)),
            "config-too-many-nodes",
        ),
        (
            "keys",
            (0..90_000).fold(String::new(), |text, i| text + &format!("k{i}: 1\n")),
            "config-too-many-nodes",
        ),
        ("large", nested("a: b\n", 300_000), "config-too-large"),
        ("wide aliases", wide_alias, "config-alias-bomb"),
        ("merges", laughs, "config-alias-bomb"),
    ] {
        let start = Instant::now();
        let parsed = config::parse(text.as_bytes(), "config.yaml");
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "{name}: {:?}",
            start.elapsed()
        );
        assert!(parsed.config.is_none());
        assert!(
            parsed.diagnostics.iter().any(|d| d.code == code),
            "{name}: {:?}",
            parsed.diagnostics
        );
    }
}
