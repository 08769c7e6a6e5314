//! `synapse graph` in all its formats.

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use synapse_tests::{Space, expect_schema};

use super::{PROGRAM, json, publish};

/// A name that means something to every format.
const ODD: &str = "plugin/a<b>\"&'{}[x].txt";

fn graph(space: &Space, args: &[&str]) -> String {
    space.synapse(&[&["graph"], args].concat()).expect(0).stdout
}

/// Two plugins, one of them edited, with a name that means something to every format.
fn space() -> Space {
    let space = Space::tiny(PROGRAM, 2);
    publish(&space, &[], 0);
    space.write(&format!("plugins/p1/{ODD}"), "odd");
    space.replace("plugins/p1/config.yaml", "0.1.0", "0.2.0");
    space
}

/// What stands between tags and in values, as a parser of XML reads it: every text, one a line.
fn xml(text: &str) -> String {
    let script = "import sys, xml.etree.ElementTree as e\n\
                  for n in e.fromstring(sys.stdin.buffer.read()).iter():\n    \
                  print(n.tag.split('}')[-1], n.get('class'), (n.text or '').strip())";
    let mut python = Command::new("python3")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    python
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "no XML: {text}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_document_has_every_stage_and_what_it_waits_for() {
    let space = space();
    let document = json(&space, &["graph", "--local"]);
    expect_schema("graph", &document);
    let nodes = document["nodes"].as_array().unwrap();
    let name = |id: &Value| {
        let node = &nodes[id.as_u64().unwrap() as usize];
        assert_eq!(&node["id"], id);
        format!(
            "{} {}",
            node["stage"].as_str().unwrap(),
            node["subject"].as_str().unwrap()
        )
    };
    let edges = document["edges"].as_array().unwrap().iter();
    let edges: BTreeSet<_> = edges
        .map(|edge| (name(&edge["from"]), name(&edge["to"])))
        .collect();
    let mut expected = BTreeSet::new();
    for plugin in ["tiny-0", "tiny-1"] {
        for (from, to) in [
            ("inspect", "sync"),
            ("sync", "archive"),
            ("archive", "checksum"),
            ("archive", "upload"),
            ("checksum", "upload"),
        ] {
            expected.insert((format!("{from} {plugin}"), format!("{to} {plugin}")));
        }
    }
    assert_eq!(edges, expected);
    let decision = |stage: &str, plugin: &str| {
        let found = nodes
            .iter()
            .find(|node| node["stage"] == stage && node["subject"] == plugin);
        found.unwrap()["decision"].as_str().unwrap().to_owned()
    };
    for stage in ["inspect", "sync", "archive", "checksum", "upload"] {
        assert_eq!(decision(stage, "tiny-0"), "hit", "{stage}");
    }
    assert_eq!(decision("archive", "tiny-1"), "run");
    assert_eq!(decision("checksum", "tiny-1"), "unknown");
    assert_eq!(decision("upload", "tiny-1"), "run");
    let archive = nodes
        .iter()
        .find(|node| node["stage"] == "archive" && node["decision"] == "run");
    let reasons = archive.unwrap()["reasons"].to_string();
    assert!(reasons.contains("was added"), "{reasons}");
    // The same by --format, and without uploads where nobody is logged in.
    let same: Value =
        serde_json::from_str(&graph(&space, &["--local", "--format", "json"])).unwrap();
    assert_eq!(same["edges"], document["edges"]);
    let document = json(&space, &["graph"]);
    assert!(!document.to_string().contains("\"upload\""));
    assert_eq!(document["targets"], json!([]));
}

#[test]
fn a_refused_plugin_is_drawn_and_told() {
    let space = Space::tiny(PROGRAM, 1);
    publish(&space, &[], 0);
    space.append("plugins/p0/README.md", "edited\n");
    let run = space.synapse(&["graph", "--local", "--json"]).expect(1);
    let document = run.json();
    expect_schema("graph", &document);
    assert_eq!(document["errors"][0]["code"], "version-exists");
    let upload = document["nodes"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&upload["decision"], &upload["error"]["code"]),
        (&json!("refused"), &json!("version-exists"))
    );
    let run = space.synapse(&["graph", "--local"]).expect(1);
    assert!(
        run.stderr
            .contains("error: tiny-0 0.1.0 is published already"),
        "{run:?}"
    );
    assert!(xml(&run.stdout).contains("refused"));
}

#[test]
fn the_picture_is_well_formed_and_needs_nothing() {
    let space = space();
    let svg = graph(&space, &["--local"]);
    let parsed = xml(&svg);
    let titles = parsed
        .lines()
        .filter(|line| line.starts_with("title "))
        .count();
    assert!(titles >= 10, "{parsed}");
    assert!(parsed.contains(ODD), "{parsed}");
    let loads = svg.replace("http://www.w3.org/2000/svg", "");
    for load in ["http:", "https:", "url(", "<script", "href"] {
        assert!(!loads.contains(load), "{load}");
    }
    assert!(svg.contains("prefers-color-scheme: dark"));
}

/// Reads DOT as graphviz's grammar has it, as far as we write it: names of nodes, and edges.
fn parse_dot(text: &str) -> (BTreeSet<String>, Vec<(String, String)>) {
    let mut tokens: Vec<String> = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '"' {
            let mut token = "\"".to_owned();
            loop {
                match chars.next().expect("a string ends") {
                    '"' => break,
                    '\\' => token.extend(['\\', chars.next().unwrap()]),
                    '\n' => panic!("a string over lines: {token}"),
                    c => token.push(c),
                }
            }
            tokens.push(token);
        } else if c == '-' && chars.peek() == Some(&'>') {
            chars.next();
            tokens.push("->".to_owned());
        } else if c.is_alphanumeric() || c == '_' {
            let mut token = c.to_string();
            while let Some(c) = chars.next_if(|c| c.is_alphanumeric() || *c == '_') {
                token.push(c);
            }
            tokens.push(token);
        } else if !c.is_whitespace() {
            assert!("{}[]=,;".contains(c), "{c:?} in DOT");
            tokens.push(c.to_string());
        }
    }
    assert_eq!(tokens[..3], ["digraph", "synapse", "{"]);
    assert_eq!(tokens.last().unwrap(), "}");
    let (mut nodes, mut edges) = (BTreeSet::new(), Vec::new());
    let body = &tokens[3..tokens.len() - 1];
    for statement in body.split(|token| token == ";") {
        match statement {
            [] => {}
            [name, open, attributes @ .., close] if open == "[" && close == "]" => {
                for attribute in attributes.split(|token| token == ",") {
                    assert!(
                        matches!(attribute, [_, is, _] if is == "="),
                        "{attribute:?}"
                    );
                }
                nodes.extend((name != "node").then(|| name.clone()));
            }
            [from, arrow, to] if arrow == "->" => edges.push((from.clone(), to.clone())),
            [_, is, _] if is == "=" => {}
            other => panic!("no statement of DOT: {other:?}"),
        }
    }
    (nodes, edges)
}

#[test]
fn dot_and_mermaid_are_what_their_grammars_have() {
    let space = space();
    let dot = graph(&space, &["--local", "--format", "dot"]);
    let (nodes, edges) = parse_dot(&dot);
    assert_eq!((nodes.len(), edges.len()), (10, 10));
    assert!(
        edges
            .iter()
            .all(|(from, to)| nodes.contains(from) && nodes.contains(to))
    );
    let mermaid = graph(&space, &["--local", "--format", "mermaid"]);
    let mut lines = mermaid.lines();
    assert_eq!(lines.next(), Some("flowchart LR"));
    let is_id = |id: &str| {
        id.strip_prefix('n')
            .is_some_and(|id| id.parse::<u32>().is_ok())
    };
    let (mut nodes, mut edges, mut classes) = (0, 0, BTreeSet::new());
    for line in lines.map(str::trim) {
        if let Some(class) = line.strip_prefix("classDef ") {
            classes.insert(class.split(' ').next().unwrap());
        } else if let Some((from, to)) = line.split_once(" --> ") {
            assert!(is_id(from) && is_id(to), "{line}");
            edges += 1;
        } else {
            let (id, rest) = line.split_once("[\"").expect(line);
            let (label, class) = rest.split_once("\"]:::").expect(line);
            assert!(
                is_id(id) && !label.contains(['"', '\'', '(', '[', '{']),
                "{line}"
            );
            assert!(["hit", "run", "unknown"].contains(&class), "{line}");
            nodes += 1;
        }
    }
    assert_eq!((nodes, edges, classes.len()), (10, 10, 6));
}

#[test]
fn many_equal_plugins_are_drawn_as_one() {
    let space = Space::tiny(PROGRAM, 70);
    let rects = |svg: &str| {
        xml(svg)
            .lines()
            .filter(|line| line.starts_with("rect "))
            .count()
    };
    let svg = graph(&space, &["--local"]);
    // Each says that its own release is not there yet: those differ.
    assert_eq!(rects(&graph(&space, &["--local", "--full"])), 351);
    assert_eq!(rects(&svg), 351);
    publish(&space, &[], 0);
    let svg = graph(&space, &["--local"]);
    assert_eq!(rects(&svg), 6, "{svg}");
    assert!(svg.contains("tiny-0 and 69 more"), "{svg}");
    let (nodes, _) = parse_dot(&graph(&space, &["--local", "--format", "dot"]));
    assert_eq!(nodes.len(), 5);
    let tree = graph(&space, &["--local", "--format", "tree"]);
    assert!(
        tree.starts_with("70 plugins up to date: tiny-0, "),
        "{tree}"
    );
    assert!(tree.ends_with("350 up to date; to local\n"), "{tree}");
    let tree = graph(
        &space,
        &["--local", "--format", "tree", "--plugin", "tiny-3"],
    );
    assert!(
        tree.contains("  upload    up to date  after archive, checksum\n"),
        "{tree}"
    );
}

#[test]
fn files_are_written_by_their_endings() {
    let space = Space::tiny(PROGRAM, 1);
    for (name, begins) in [
        ("g.svg", "<svg "),
        ("g.dot", "digraph "),
        ("g.gv", "digraph "),
        ("g.mmd", "flowchart "),
        ("g.json", "{"),
        ("g.txt", "tiny-0\n"),
    ] {
        assert_eq!(graph(&space, &["-o", name]), "");
        let text = fs::read_to_string(space.path(name)).unwrap();
        assert!(text.starts_with(begins), "{name}: {text}");
    }
    graph(&space, &["-o", "g.pdf", "--format", "dot"]);
    for (args, code) in [
        (&["-o", "g.png"][..], 2),
        (&["-o", "nowhere/g.svg"], 3),
        (&["--json", "-o", "g.svg"], 2),
        (&["--json", "--format", "dot"], 2),
        (&["--plugin", "tiny-9"], 1),
    ] {
        let run = space.synapse(&[&["graph"], args].concat()).expect(code);
        let told = format!("{}{}", run.stdout, run.stderr);
        assert!(told.contains("hint"), "{run:?}");
    }
}
